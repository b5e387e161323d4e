//! How this machine reaches both services: a proxy, and certificate authorities besides the system's.

use std::path::Path;

use crate::error::Context as _;
use crate::{Error, Kind, Result};

/// The default asks the environment for a proxy (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) and trusts the system's authorities.
#[derive(Debug, Clone, Default)]
pub struct Network {
    proxy: Option<String>,
    /// PEM, some certificates each.
    authorities: Vec<Vec<u8>>,
}

impl Network {
    /// Sends every request through this proxy, `http://host:port`, whatever the environment says; to services on this
    /// machine too.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what is no URL of a proxy, and for a password in it: arguments are visible to every user of the
    /// machine.
    pub fn with_proxy(self, url: &str) -> Result<Network> {
        let bad = |why: &str| {
            Error::new(Kind::Usage, "read the proxy's URL")
                .because(why.to_owned())
                .hint("a proxy is `http://host:port`")
        };
        let parsed = url::Url::parse(url).map_err(|error| bad("it is no URL").source(error))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(bad("it holds a user or a password")
                .hint("set `HTTPS_PROXY` in the environment for a proxy that wants a password"));
        }
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none_or(str::is_empty) {
            return Err(bad("it is not `http` or `https` with a host"));
        }
        Ok(Network { proxy: Some(parsed.into()), ..self })
    }

    /// Also trusts the authorities in this PEM file.
    ///
    /// # Errors
    /// [`Kind::Usage`] when it cannot be read or holds no certificate.
    pub fn with_authorities(mut self, file: &Path) -> Result<Network> {
        let doing = || format!("read the certificates in `{}`", file.display());
        let text = std::fs::read(file).doing(Kind::Usage, doing())?;
        if reqwest::Certificate::from_pem_bundle(&text).doing(Kind::Usage, doing())?.is_empty() {
            return Err(Error::new(Kind::Usage, doing()).because("there is none in PEM form"));
        }
        self.authorities.push(text);
        Ok(self)
    }

    /// The proxy's URL.
    #[cfg(feature = "s3")]
    pub(crate) fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// The additional authorities in PEM form, some certificates in each.
    #[cfg(feature = "s3")]
    pub(crate) fn authorities(&self) -> &[Vec<u8>] {
        &self.authorities
    }

    /// Whether requests without TLS may have to go through a proxy: this one, or one of the environment, which is not asked
    /// for a `loopback` host. No is certain.
    pub(crate) fn may_use_a_proxy(&self, loopback: bool) -> bool {
        const VARIABLES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        self.proxy.is_some() || !loopback && VARIABLES.iter().any(is_set)
    }

    /// Sets a client up. One for a `loopback` host asks no proxy of the environment.
    pub(crate) fn apply(
        &self,
        mut client: reqwest::ClientBuilder,
        loopback: bool,
    ) -> Result<reqwest::ClientBuilder> {
        let doing = "set up the HTTP client";
        if loopback {
            client = client.no_proxy();
        }
        if let Some(url) = &self.proxy {
            client = client.proxy(reqwest::Proxy::all(url).doing(Kind::Usage, doing)?);
        }
        for bundle in &self.authorities {
            let found = reqwest::Certificate::from_pem_bundle(bundle).doing(Kind::Usage, doing)?;
            client = client.tls_certs_merge(found);
        }
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_proxys_url_is_refused_and_not_repeated() {
        let error = Network::default().with_proxy("http://me:hush@proxy:3128").unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.report().contains("HTTPS_PROXY") && !error.report().contains("hush"));
        for url in ["proxy", "ftp://proxy", "http://"] {
            assert_eq!(Network::default().with_proxy(url).unwrap_err().kind(), Kind::Usage, "{url}");
        }
        assert!(Network::default().with_proxy("http://127.0.0.1:3128").is_ok());
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "nothing").unwrap();
        let error = Network::default().with_authorities(file.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(
            Network::default().with_authorities(Path::new("/nowhere")).unwrap_err().kind(),
            Kind::Usage
        );
    }
}
