//! The S3-compatible face: a request in S3's words is put into OSS's before it is performed, the answer back after it.
//!
//! What S3 clients say and OSS does not know is refused, never ignored: `aws-chunked`, `If-Match` on a write.
//! `If-None-Match: *` on a write becomes the overwrite check with S3's own answer, 412.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::error::OssError;
use crate::sandbox::http::{Reply, Request};

/// How a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// OSS's own headers and names.
    Oss,
    /// S3's.
    S3,
}

/// Storage classes by both names. S3 has none for the colder ones.
const CLASSES: [(&str, &str); 3] = [("Standard", "STANDARD"), ("IA", "STANDARD_IA"), ("Archive", "GLACIER")];

/// Headers of requests by both names; those that end in `-` are prefixes.
const REQUEST: [(&str, &str); 9] = [
    ("x-amz-meta-", "x-oss-meta-"),
    ("x-amz-copy-source", "x-oss-copy-source"),
    ("x-amz-copy-source-", "x-oss-copy-source-"),
    ("x-amz-metadata-directive", "x-oss-metadata-directive"),
    ("x-amz-tagging", "x-oss-tagging"),
    ("x-amz-tagging-directive", "x-oss-tagging-directive"),
    ("x-amz-server-side-encryption-aws-kms-key-id", "x-oss-server-side-encryption-key-id"),
    ("x-amz-server-side-encryption", "x-oss-server-side-encryption"),
    ("x-amz-acl", "x-oss-acl"),
];

/// Headers of answers by both names; those that end in `-` are prefixes.
const ANSWER: [(&str, &str); 8] = [
    ("x-oss-meta-", "x-amz-meta-"),
    ("x-oss-version-id", "x-amz-version-id"),
    ("x-oss-delete-marker", "x-amz-delete-marker"),
    ("x-oss-restore", "x-amz-restore"),
    ("x-oss-server-side-encryption-key-id", "x-amz-server-side-encryption-aws-kms-key-id"),
    ("x-oss-server-side-encryption", "x-amz-server-side-encryption"),
    ("x-oss-tagging-count", "x-amz-tagging-count"),
    ("x-oss-bucket-region", "x-amz-bucket-region"),
];

impl Face {
    /// A storage class as this face names it.
    pub fn class(self, class: &str) -> &str {
        match CLASSES.iter().find(|(oss, _)| self == Face::S3 && *oss == class) {
            Some((_, s3)) => s3,
            None => class,
        }
    }
}

/// Puts a request into OSS's words. True when it was `If-None-Match: *` that forbids to overwrite.
///
/// # Errors
/// 400 for a storage class that S3 does not name, 501 for conditions on a write that OSS does not know.
pub fn to_oss(method: &Method, headers: &mut HeaderMap) -> Result<bool, OssError> {
    let mut added = Vec::new();
    for (name, value) in headers.iter() {
        if let Some(name) = renamed(name, &REQUEST) {
            let value = match (name.as_str(), value.to_str()) {
                ("x-oss-server-side-encryption", Ok("aws:kms")) => HeaderValue::from_static("KMS"),
                _ => value.clone(),
            };
            added.push((name, value));
        }
    }
    headers.extend(added);
    if let Some(class) = headers.get("x-amz-storage-class").cloned() {
        let known = CLASSES.iter().find(|(_, s3)| class.to_str().is_ok_and(|class| class == *s3));
        let (oss, _) = known.ok_or_else(|| {
            let message = "The storage class you specified is not valid";
            OssError::new(400, "InvalidStorageClass", message)
        })?;
        headers.insert("x-oss-storage-class", HeaderValue::from_static(oss));
    }
    // What S3 clients mean by a range is what OSS calls the standard.
    headers.insert("x-oss-range-behavior", HeaderValue::from_static("standard"));
    if method != Method::PUT && method != Method::POST {
        return Ok(false);
    }
    let not_here = || OssError::not_implemented("a condition on a write other than `If-None-Match: *`");
    if headers.contains_key("if-match") {
        return Err(not_here());
    }
    match headers.remove("if-none-match") {
        None => Ok(false),
        Some(value) if value == "*" => {
            headers.insert("x-oss-forbid-overwrite", HeaderValue::from_static("true"));
            Ok(true)
        }
        Some(_) => Err(not_here()),
    }
}

/// Whether a request, valid or not, speaks like S3; its answer then carries the request id under S3's name too.
pub fn is_spoken_in(request: &Request) -> bool {
    request.headers.contains_key("x-amz-date") || request.query.contains("X-Amz-Signature=")
}

/// Puts an answer into S3's words. The CRC64 has none and keeps its name.
pub fn from_oss(mut reply: Reply) -> Reply {
    let old = std::mem::take(&mut reply.headers);
    for (name, value) in &old {
        let (name, value) = match (name.as_str(), value.to_str()) {
            ("x-oss-storage-class", Ok(class)) => {
                let class = HeaderValue::from_str(Face::S3.class(class)).unwrap_or_else(|_| value.clone());
                (HeaderName::from_static("x-amz-storage-class"), class)
            }
            ("x-oss-server-side-encryption", Ok("KMS")) => {
                (HeaderName::from_static("x-amz-server-side-encryption"), HeaderValue::from_static("aws:kms"))
            }
            _ => (renamed(name, &ANSWER).unwrap_or_else(|| name.clone()), value.clone()),
        };
        reply.headers.append(name, value);
    }
    reply
}

fn renamed(name: &HeaderName, names: &[(&str, &str)]) -> Option<HeaderName> {
    names.iter().find_map(|(from, to)| {
        let rest = name.as_str().strip_prefix(from)?;
        let fits = rest.is_empty() || from.ends_with('-');
        HeaderName::from_bytes(format!("{to}{rest}").as_bytes()).ok().filter(|_| fits)
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_request_says_the_same_in_the_words_of_oss() {
        let list = [
            ("x-amz-meta-run", "7"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-copy-source", "bkt/k"),
            ("x-amz-copy-source-if-match", "e"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "k1"),
            ("if-none-match", "*"),
        ];
        let mut headers: HeaderMap =
            list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        assert!(to_oss(&Method::PUT, &mut headers).unwrap());
        let expected = [
            ("x-oss-meta-run", "7"),
            ("x-oss-storage-class", "IA"),
            ("x-oss-copy-source", "bkt/k"),
            ("x-oss-copy-source-if-match", "e"),
            ("x-oss-server-side-encryption", "KMS"),
            ("x-oss-server-side-encryption-key-id", "k1"),
            ("x-oss-forbid-overwrite", "true"),
        ];
        for (name, value) in expected {
            assert_eq!(headers.get(name).unwrap(), value, "{name}");
        }
        assert!(!headers.contains_key("if-none-match"));
        for (name, value) in [("if-match", "e"), ("if-none-match", "e"), ("x-amz-storage-class", "IA")] {
            let mut headers: HeaderMap =
                [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            assert!(to_oss(&Method::PUT, &mut headers).is_err(), "{name}");
        }
    }

    #[test]
    fn an_answer_says_the_same_in_the_words_of_s3() {
        let reply = Reply::new(StatusCode::OK)
            .with("x-oss-meta-run", "7")
            .with("x-oss-storage-class", "Archive")
            .with("x-oss-hash-crc64ecma", "1");
        let headers = from_oss(reply).headers;
        let expected =
            [("x-amz-meta-run", "7"), ("x-amz-storage-class", "GLACIER"), ("x-oss-hash-crc64ecma", "1")];
        for (name, value) in expected {
            assert_eq!(headers.get(name).unwrap(), value, "{name}");
        }
    }
}
