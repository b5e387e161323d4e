//! OSS signature V1 (`OSS ak:…`, HMAC-SHA1), for buckets and proxies that know nothing newer: a pure function of the
//! request, the key and the time.
//!
//! Buckets made since 2025-09-01 refuse it. Source: OSS developer guide, "Include a V1 signature in the header".

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::signing::Signable;
use crate::credentials::Credentials;

/// The parameters of this client's requests that are part of the signed resource; all others are not signed.
const SUB_RESOURCES: [&str; 7] =
    ["continuation-token", "delete", "partNumber", "uploadId", "uploads", "versionId", "worm"];

impl Signable<'_> {
    /// The value of `Authorization`. `date` is the value of the `Date` header, `Fri, 02 Jan 2026 03:04:05 GMT`.
    pub(crate) fn authorization_v1(&self, credentials: &Credentials, date: &str) -> String {
        let text = self.string_to_sign_v1(date);
        // HMAC takes keys of every length, so the error arm is never taken.
        let signature = Hmac::<Sha1>::new_from_slice(credentials.secret().as_bytes()).map_or_else(
            |_| String::new(),
            |mut mac| {
                mac.update(text.as_bytes());
                BASE64.encode(mac.finalize().into_bytes())
            },
        );
        format!("OSS {}:{signature}", credentials.access_key_id)
    }

    fn string_to_sign_v1(&self, date: &str) -> String {
        let header = |wanted: &str| {
            let found = self.headers.iter().find(|(name, _)| name == wanted);
            found.map_or("", |(_, value)| value.trim())
        };
        let mut signed: Vec<(&str, &str)> = self
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-oss-"))
            .map(|(name, value)| (name.as_str(), value.trim()))
            .collect();
        signed.sort_unstable();
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let mut sub_resources: Vec<String> = self
            .query
            .iter()
            .filter(|(name, _)| SUB_RESOURCES.contains(name))
            .map(
                |(name, value)| if value.is_empty() { (*name).to_owned() } else { format!("{name}={value}") },
            )
            .collect();
        sub_resources.sort_unstable();
        let mark = if sub_resources.is_empty() { "" } else { "?" };
        format!(
            "{}\n{}\n{}\n{date}\n{headers}/{}/{}{mark}{}",
            self.method,
            header("content-md5"),
            header("content-type"),
            self.bucket,
            self.key.unwrap_or_default(),
            sub_resources.join("&"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value was made by the official Python SDK (oss2 2.19.1).
    #[test]
    fn a_part_upload_is_signed_like_the_sdk_does() {
        let query =
            [("uploadId", "ABC".to_owned()), ("partNumber", "1".to_owned()), ("prefix", "a".to_owned())];
        let headers = [("x-oss-meta-k", "v"), ("content-type", "application/octet-stream")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let signable = Signable {
            method: "PUT",
            bucket: "examplebucket",
            key: Some("dir/a b+é.parquet"),
            query: &query,
            headers: &headers,
        };
        let value = signable
            .authorization_v1(&Credentials::new("testak", "testsk", None), "Fri, 02 Jan 2026 03:04:05 GMT");
        assert_eq!(value, "OSS testak:voipwM6lLv3kg6C08HUXVxOI/E0=");
    }
}
