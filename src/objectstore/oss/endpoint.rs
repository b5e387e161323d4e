//! Where requests go: scheme, host, addressing style and the region they are signed for.

use std::net::IpAddr;

use super::signing::{encode_key, encode_query};
use crate::objectstore::{Addressing, StoreOptions};
use crate::{Error, Kind, Result};

/// A bucket's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: String,
    /// Host and port, without the bucket.
    authority: String,
    style: Addressing,
    loopback: bool,
    /// `cn-hangzhou`.
    pub(crate) region: String,
}

impl Endpoint {
    /// Puts the options, then `variable` (the environment), then defaults together.
    pub(crate) fn resolve(
        options: &StoreOptions,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Endpoint> {
        let given =
            options.endpoint.clone().or_else(|| variable("OSS_ENDPOINT")).filter(|text| !text.is_empty());
        let region = options.region.clone().filter(|region| !region.is_empty());
        let region =
            region.or_else(|| given.as_deref().and_then(region_in)).or_else(|| variable("OSS_REGION"));
        let Some(region) = region.filter(|region| !region.is_empty()) else {
            return Err(Error::new(Kind::Usage, "find the region of the bucket")
                .because(match &given {
                    Some(_) => "the endpoint does not name it",
                    None => "neither endpoint nor region is set",
                })
                .hint("set `OSS_REGION` (such as `cn-hangzhou`), or `OSS_ENDPOINT` to an endpoint that names it"));
        };
        // The console shows `oss-cn-hangzhou`; signatures want `cn-hangzhou`.
        let region = region.strip_prefix("oss-").unwrap_or(&region).to_owned();
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Error::new(Kind::Usage, "read the region").because(format!("`{region}` is none")));
        }

        let given = match (given, options.internal) {
            (Some(given), false) => given,
            (None, false) => format!("oss-{region}.aliyuncs.com"),
            (Some(other), true) if region_in(&other).is_none() => {
                return Err(Error::new(Kind::Usage, "choose the OSS endpoint")
                    .because("the internal endpoint is asked for, and an endpoint that is no region's")
                    .hint("leave one of the two away"));
            }
            (_, true) => format!("oss-{region}-internal.aliyuncs.com"),
        };
        let bad = |why: &str| {
            Error::new(Kind::Usage, "read the OSS endpoint")
                .because(why.to_owned())
                .hint("an endpoint is `oss-cn-hangzhou.aliyuncs.com` or `http://127.0.0.1:9000`")
        };
        let absolute = if given.contains("://") { given.clone() } else { format!("https://{given}") };
        let url = url::Url::parse(&absolute).map_err(|error| bad("it is no host name").source(error))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it has no host"))?;
        let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !bare || !matches!(url.path(), "" | "/") {
            return Err(bad("it holds more than a scheme, a host and a port"));
        }
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let loopback = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let scheme = match url.scheme() {
            _ if loopback && !given.contains("://") => "http",
            scheme @ ("http" | "https") => scheme,
            _ => return Err(bad("its scheme is neither `http` nor `https`")),
        };
        let style = match options.addressing {
            Addressing::Auto if address.is_some() || host == "localhost" => Addressing::Path,
            Addressing::Auto => Addressing::VirtualHost,
            chosen => chosen,
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Endpoint { scheme: scheme.to_owned(), authority, style, loopback, region })
    }

    /// The endpoint is on this machine: no proxy is asked for it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.loopback
    }

    /// The name `{bucket}.localhost`, if that is where requests go.
    pub(crate) fn virtual_host_below_localhost(&self, bucket: &str) -> Option<String> {
        let host = self.authority.split(':').next()?;
        let below = self.style == Addressing::VirtualHost && host == "localhost";
        below.then(|| format!("{bucket}.localhost"))
    }

    /// The URL of an object, or of the bucket.
    pub(crate) fn url(&self, bucket: &str, key: Option<&str>, query: &[(&str, String)]) -> String {
        let Endpoint { scheme, authority, .. } = self;
        let key = encode_key(key.unwrap_or_default());
        let mut url = match self.style {
            Addressing::Path => format!("{scheme}://{authority}/{bucket}/{key}"),
            Addressing::Auto | Addressing::VirtualHost => format!("{scheme}://{bucket}.{authority}/{key}"),
            Addressing::CustomDomain => format!("{scheme}://{authority}/{key}"),
        };
        if !query.is_empty() {
            url.push('?');
            url.push_str(&encode_query(query));
        }
        url
    }
}

/// The region in `oss-{region}[-internal].aliyuncs.com`. Acceleration endpoints and custom domains do not name one.
fn region_in(endpoint: &str) -> Option<String> {
    let host = endpoint.rsplit("://").next()?.split(['/', ':']).next()?;
    let region = host.strip_suffix(".aliyuncs.com")?.strip_prefix("oss-")?;
    let region = region.strip_suffix("-internal").unwrap_or(region);
    (!region.is_empty() && !region.contains('.') && !region.starts_with("accelerate"))
        .then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(endpoint: &str, region: &str) -> Result<Endpoint> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let options = StoreOptions { endpoint: some(endpoint), region: some(region), ..Default::default() };
        Endpoint::resolve(&options, |_| None)
    }

    #[test]
    fn the_region_comes_from_the_endpoint_or_has_to_be_given() {
        for endpoint in [
            "oss-cn-hangzhou.aliyuncs.com",
            "oss-cn-hangzhou-internal.aliyuncs.com",
            "https://oss-cn-hangzhou.aliyuncs.com:443/",
        ] {
            assert_eq!(resolve(endpoint, "").unwrap().region, "cn-hangzhou", "{endpoint}");
        }
        for endpoint in ["", "oss-accelerate.aliyuncs.com", "backups.example.com", "http://127.0.0.1:9000"] {
            assert_eq!(resolve(endpoint, "").unwrap_err().kind(), Kind::Usage, "{endpoint}");
            assert_eq!(resolve(endpoint, "oss-cn-beijing").unwrap().region, "cn-beijing", "{endpoint}");
        }
    }

    #[test]
    fn an_address_or_localhost_gets_path_style_and_names_get_virtual_hosts() {
        let key = Some("a b/é");
        let local = resolve("127.0.0.1:9000", "r").unwrap();
        assert_eq!(local.url("bkt", key, &[]), "http://127.0.0.1:9000/bkt/a%20b/%C3%A9");
        let local = resolve("https://[::1]:9000", "r").unwrap();
        assert_eq!(local.url("bkt", None, &[]), "https://[::1]:9000/bkt/");
        let public = resolve("", "cn-hangzhou").unwrap();
        let query = [("uploads", String::new()), ("prefix", "a/".to_owned())];
        assert_eq!(
            public.url("bkt", None, &query),
            "https://bkt.oss-cn-hangzhou.aliyuncs.com/?prefix=a%2F&uploads"
        );
    }

    #[test]
    fn the_internal_endpoint_is_the_regions_and_excludes_another_one() {
        let internal = |endpoint: Option<&str>| StoreOptions {
            internal: true,
            endpoint: endpoint.map(str::to_owned),
            region: Some("cn-hangzhou".into()),
            ..Default::default()
        };
        for public in
            [None, Some("oss-cn-hangzhou.aliyuncs.com"), Some("oss-cn-hangzhou-internal.aliyuncs.com")]
        {
            let endpoint = Endpoint::resolve(&internal(public), |_| None).unwrap();
            assert_eq!(endpoint.url("bkt", None, &[]), "https://bkt.oss-cn-hangzhou-internal.aliyuncs.com/");
        }
        let both = Endpoint::resolve(&internal(Some("backups.example.com")), |_| None);
        assert_eq!(both.unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_custom_domain_holds_no_bucket() {
        let options = StoreOptions {
            endpoint: Some("backups.example.com".into()),
            region: Some("cn-hangzhou".into()),
            addressing: Addressing::CustomDomain,
            ..Default::default()
        };
        let endpoint = Endpoint::resolve(&options, |_| None).unwrap();
        assert_eq!(endpoint.url("bkt", Some("k"), &[]), "https://backups.example.com/k");
    }

    #[test]
    fn the_environment_comes_after_the_options() {
        let variable = |name: &str| match name {
            "OSS_ENDPOINT" => Some("http://localhost:1".to_owned()),
            "OSS_REGION" => Some("cn-shanghai".to_owned()),
            _ => None,
        };
        let endpoint = Endpoint::resolve(&StoreOptions::default(), variable).unwrap();
        assert_eq!((endpoint.region.as_str(), endpoint.is_loopback()), ("cn-shanghai", true));
        let options =
            StoreOptions { endpoint: Some("oss-cn-beijing.aliyuncs.com".into()), ..Default::default() };
        assert_eq!(Endpoint::resolve(&options, variable).unwrap().region, "cn-beijing");
    }

    #[test]
    fn an_endpoint_with_more_than_a_host_is_refused_without_repeating_it() {
        for endpoint in ["http://user:hush@h/", "http://h/path", "ftp://h", "http://"] {
            let error = resolve(endpoint, "r").unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{endpoint}");
            assert!(!error.report().contains("hush"));
        }
    }
}
