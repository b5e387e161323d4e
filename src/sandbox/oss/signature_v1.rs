//! The V1 signature (`OSS ak:…`), recomputed from the request as it arrived.
//!
//! Buckets created since 2025-09-01 refuse it; older ones and older SDKs still use it. Written from the manual ("Include a
//! V1 signature in the header", "… in a URL") and checked against a signature made by oss2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha1::Sha1;

use super::error::OssError;
use super::query::Query;
use super::signature_v4::{Covered, joined};
use super::time::parse_http_date;

/// The parameters that are part of the signed resource, in every SDK.
const SUB_RESOURCES: &[&str] = &[
    "acl",
    "append",
    "asyncFetch",
    "bucketInfo",
    "callback",
    "callback-var",
    "cname",
    "comp",
    "continuation-token",
    "cors",
    "delete",
    "encryption",
    "endTime",
    "img",
    "inventory",
    "inventoryId",
    "lifecycle",
    "live",
    "location",
    "logging",
    "metaQuery",
    "objectMeta",
    "partNumber",
    "policy",
    "position",
    "qos",
    "qosInfo",
    "qosRequester",
    "referer",
    "regionList",
    "replication",
    "replicationLocation",
    "replicationProgress",
    "requestPayment",
    "requesterQosInfo",
    "resourceGroup",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "security-token",
    "sequential",
    "startTime",
    "stat",
    "status",
    "style",
    "styleName",
    "symlink",
    "tagging",
    "transferAcceleration",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "vod",
    "website",
    "worm",
    "wormExtend",
    "wormId",
    "x-oss-ac-forward-allow",
    "x-oss-ac-source-ip",
    "x-oss-ac-subnet-mask",
    "x-oss-ac-vpc-id",
    "x-oss-async-process",
    "x-oss-process",
    "x-oss-request-payer",
    "x-oss-traffic-limit",
    "x-oss-write-get-object-response",
];

/// The parameters that only some SDKs count as part of it. Either way is accepted.
const DISPUTED: &[&str] = &["group", "link", "objectInfo"];

/// A V1 signature that came with a request.
#[derive(Debug)]
pub struct SignatureV1 {
    /// The access key id it claims.
    pub access_key_id: String,
    /// The signature, base64.
    pub signature: String,
    /// When the request was signed; absent in a URL.
    pub signed_at: Option<Timestamp>,
    /// When the URL expires, in a URL.
    pub expires_at: Option<Timestamp>,
    date: String,
}

impl SignatureV1 {
    /// Reads the `Authorization` header's value, `OSS ` removed.
    ///
    /// # Errors
    /// 400 `InvalidArgument` when it is malformed, 403 `AccessDenied` without a usable date.
    pub fn from_header(fields: &str, headers: &http::HeaderMap) -> Result<SignatureV1, OssError> {
        let (access_key_id, signature) = fields.trim().split_once(':').ok_or_else(|| {
            OssError::invalid_argument("Authorization header is invalid.", "Authorization", fields)
        })?;
        let date = ["x-oss-date", "date"].into_iter().find(|name| headers.contains_key(*name));
        let date = date.map(|name| joined(headers, name)).unwrap_or_default();
        let signed_at = parse_http_date(&date)
            .ok_or_else(|| OssError::access_denied("OSS authentication requires a valid Date."))?;
        Ok(SignatureV1 {
            access_key_id: access_key_id.to_owned(),
            signature: signature.to_owned(),
            signed_at: Some(signed_at),
            expires_at: None,
            date,
        })
    }

    /// Reads the parameters of a signed URL.
    ///
    /// # Errors
    /// 403 `AccessDenied` when one is missing or `Expires` is no number.
    pub fn from_query(query: &Query) -> Result<SignatureV1, OssError> {
        let fields = (query.get("OSSAccessKeyId"), query.get("Signature"), query.get("Expires"));
        let (Some(access_key_id), Some(signature), Some(expires)) = fields else {
            let message =
                "Query-string authentication requires the Signature, Expires and OSSAccessKeyId parameters";
            return Err(OssError::access_denied(message));
        };
        let expires_at = expires.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        let expires_at = expires_at
            .ok_or_else(|| OssError::access_denied("Invalid date (should be seconds since epoch)."))?;
        Ok(SignatureV1 {
            access_key_id: access_key_id.to_owned(),
            signature: signature.to_owned(),
            signed_at: None,
            expires_at: Some(expires_at),
            date: expires.to_owned(),
        })
    }

    /// The strings to sign that SDKs would make of this request; the first is the one to show.
    pub fn strings_to_sign(&self, covered: &Covered<'_>) -> Vec<String> {
        let resource = match (covered.bucket, covered.key) {
            ("", _) => "/".to_owned(),
            (bucket, key) => format!("/{bucket}/{key}"),
        };
        let mut strings = vec![
            self.string_to_sign(covered, &resource, false),
            self.string_to_sign(covered, &resource, true),
        ];
        // In path style opendal leaves the slash behind the bucket away, in the URL and in what it signs.
        if covered.key.is_empty() && covered.raw_path == resource.trim_end_matches('/') {
            strings.push(self.string_to_sign(covered, covered.raw_path, false));
        }
        strings
    }

    fn string_to_sign(&self, covered: &Covered<'_>, resource: &str, with_disputed: bool) -> String {
        // Sorted by name alone: with the colon behind it, a name would come after the longer ones that start with it.
        let mut names: Vec<&str> = covered.headers.keys().map(|name| name.as_str()).collect();
        names.retain(|name| name.starts_with("x-oss-"));
        names.sort_unstable();
        let headers = names.iter().map(|name| format!("{name}:{}\n", joined(covered.headers, name)));
        let headers: String = headers.collect();
        let mut sub_resources: Vec<(&str, &str)> = covered
            .query
            .pairs()
            .filter(|(name, _)| SUB_RESOURCES.contains(name) || (with_disputed && DISPUTED.contains(name)))
            .collect();
        sub_resources.sort();
        let mut resource = resource.to_owned();
        for (index, (name, value)) in sub_resources.into_iter().enumerate() {
            resource.push(if index == 0 { '?' } else { '&' });
            resource.push_str(name);
            if !value.is_empty() {
                resource.push('=');
                resource.push_str(value);
            }
        }
        format!(
            "{}\n{}\n{}\n{}\n{headers}{resource}",
            covered.method,
            joined(covered.headers, "content-md5"),
            joined(covered.headers, "content-type"),
            self.date,
        )
    }

    /// The signature that the holder of `secret` would make.
    pub fn expected(secret: &str, string_to_sign: &str) -> String {
        // HMAC takes keys of any length.
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).map_or_else(
            |_| String::new(),
            |mut mac| {
                mac.update(string_to_sign.as_bytes());
                STANDARD.encode(mac.finalize().into_bytes())
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_signature_in_a_header_agrees_with_oss2() {
        let list = [
            ("content-type", "application/octet-stream"),
            ("date", "Fri, 02 Jan 2026 03:04:05 GMT"),
            ("x-oss-meta-k", "v"),
        ];
        let headers: HeaderMap =
            list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let query = Query::parse("uploadId=ABC&partNumber=1&prefix=ignored").unwrap();
        let key = "dir/a b+é.parquet";
        let covered = Covered {
            method: "PUT",
            raw_path: "/",
            bucket: "examplebucket",
            key,
            query: &query,
            headers: &headers,
        };
        let signature = SignatureV1::from_header("testak:x", &headers).unwrap();
        for text in signature.strings_to_sign(&covered) {
            assert_eq!(SignatureV1::expected("testsk", &text), "voipwM6lLv3kg6C08HUXVxOI/E0=");
        }
    }

    #[test]
    fn the_oss_date_comes_before_the_date_and_one_of_them_is_needed() {
        let mut headers = HeaderMap::new();
        assert!(SignatureV1::from_header("ak:s", &headers).is_err());
        headers.insert("date", "nonsense".parse().unwrap());
        assert!(SignatureV1::from_header("ak:s", &headers).is_err());
        headers.insert("x-oss-date", "Fri, 02 Jan 2026 03:04:05 GMT".parse().unwrap());
        assert!(SignatureV1::from_header("ak:s", &headers).is_ok());
        assert!(SignatureV1::from_header("ak", &headers).is_err());
    }
}
