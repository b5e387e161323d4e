//! Which bucket and key a request is about, whatever the addressing style, and which names exist at all.

use std::net::IpAddr;

use super::error::OssError;
use super::query::decode;

/// The bucket and key of a request. Empty strings for requests to the service or to a bucket.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Address {
    /// The bucket, or empty.
    pub bucket: String,
    /// The key, decoded, or empty.
    pub key: String,
    /// The bucket was in the path, not in the host name.
    pub path_style: bool,
}

impl Address {
    /// Reads host and path. A host below one of `bases`, or below the endpoint of a region (ali-oss sends
    /// `{bucket}.oss-{region}.aliyuncs.com` to an IP address), names the bucket; every other host leaves it to the path.
    ///
    /// # Errors
    /// 400 `InvalidBucketName`, `InvalidObjectName`.
    pub fn parse(host: &str, raw_path: &str, bases: &[String]) -> Result<Address, OssError> {
        let path = raw_path.strip_prefix('/').unwrap_or(raw_path);
        let (bucket, raw_key, path_style) = match bucket_of_host(host, bases) {
            Some(bucket) => (bucket.to_owned(), path, false),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                let bucket = decode(bucket).ok_or_else(|| invalid_bucket_name(bucket))?;
                (bucket, key, true)
            }
        };
        if !bucket.is_empty() && !is_bucket_name(&bucket) {
            return Err(invalid_bucket_name(&bucket));
        }
        let key = decode(raw_key).ok_or_else(|| invalid_object_name(raw_key))?;
        if !key.is_empty() {
            check_key(&key)?;
        }
        Ok(Address { path_style: path_style && !bucket.is_empty(), bucket, key })
    }
}

/// 3 to 63 of `a-z 0-9 -`, no hyphen at the ends.
pub fn is_bucket_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// 1 to 1023 bytes, not starting with `/` or `\`.
///
/// # Errors
/// 400 `InvalidObjectName`.
pub fn check_key(key: &str) -> Result<(), OssError> {
    let bad = key.is_empty() || key.len() > 1023 || key.starts_with(['/', '\\']);
    if bad { Err(invalid_object_name(key)) } else { Ok(()) }
}

/// 400 `InvalidBucketName`.
pub fn invalid_bucket_name(name: &str) -> OssError {
    OssError::new(400, "InvalidBucketName", "The specified bucket is not valid.").with("BucketName", name)
}

fn invalid_object_name(name: &str) -> OssError {
    OssError::new(400, "InvalidObjectName", "The specified object is not valid.").with("ObjectName", name)
}

fn bucket_of_host<'a>(host: &'a str, bases: &[String]) -> Option<&'a str> {
    // Without its port; an IPv6 literal keeps its brackets and is no name.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    if let Some(endpoint) = name.strip_suffix(".aliyuncs.com") {
        return endpoint.split_once('.').map(|(bucket, _)| bucket);
    }
    bases.iter().find_map(|base| name.strip_suffix(base.as_str())?.strip_suffix('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(host: &str, path: &str) -> (String, String, bool) {
        let address = Address::parse(host, path, &["localhost".to_owned()]).unwrap();
        (address.bucket, address.key, address.path_style)
    }

    fn of(bucket: &str, key: &str, path_style: bool) -> (String, String, bool) {
        (bucket.to_owned(), key.to_owned(), path_style)
    }

    #[test]
    fn the_bucket_is_in_the_host_or_in_the_path() {
        assert_eq!(parse("127.0.0.1:8080", "/"), of("", "", false));
        assert_eq!(parse("127.0.0.1:8080", "/bkt"), of("bkt", "", true));
        assert_eq!(parse("localhost:1", "/bkt/a%2Fb/%C3%A9+"), of("bkt", "a/b/é+", true));
        assert_eq!(parse("bkt.localhost:1", "/a/b"), of("bkt", "a/b", false));
        assert_eq!(parse("bkt.oss-cn-hangzhou.aliyuncs.com", "/a//b/"), of("bkt", "a//b/", false));
        assert_eq!(parse("oss-cn-hangzhou.aliyuncs.com", "/bkt/k"), of("bkt", "k", true));
        assert_eq!(parse("[::1]:80", "/bkt/k"), of("bkt", "k", true));
    }

    #[test]
    fn names_that_cannot_exist_are_refused() {
        let code = |host: &str, path: &str| Address::parse(host, path, &[]).unwrap_err().code;
        for bucket in ["ab", "Bucket", "-ab", "ab-", "a_b", "a.b", "%FF"] {
            assert_eq!(code("127.0.0.1", &format!("/{bucket}/k")), "InvalidBucketName", "{bucket}");
        }
        let long = "k".repeat(1024);
        for key in ["/k", "%2Fk", "%5Ck", "%FF", long.as_str()] {
            assert_eq!(code("127.0.0.1", &format!("/bkt/{key}")), "InvalidObjectName", "{key}");
        }
        assert!(Address::parse("127.0.0.1", &format!("/bkt/{}", "k".repeat(1023)), &[]).is_ok());
    }
}
