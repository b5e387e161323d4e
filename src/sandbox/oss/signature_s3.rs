//! The signature of S3 clients (`AWS4-HMAC-SHA256`, scope service `s3`), which OSS takes on its S3-compatible face.
//!
//! Written from Amazon's manual ("Authenticating Requests: AWS Signature Version 4") and checked against its published
//! example. Stricter than some servers: `host` and every `x-amz-*` header must be signed, `aws-chunked` is refused.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::error::OssError;
use super::query::{Query, decode, encode, encode_key};
use super::signature_v4::{Covered, joined, scoped_signature, string_to_sign};
use super::time::parse_basic_date;

/// The name of the algorithm, as `Authorization` and URLs give it.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// A signature that came with a request.
#[derive(Debug)]
pub struct SignatureS3 {
    /// The access key id it claims.
    pub access_key_id: String,
    /// The signature.
    pub signature: String,
    /// When the request was signed.
    pub signed_at: Timestamp,
    /// Seconds of validity, in a URL.
    pub expires_seconds: Option<i64>,
    date: String,
    scope: String,
    signed_headers: Vec<String>,
    payload_hash: String,
}

impl SignatureS3 {
    /// Reads the `Authorization` header's value, algorithm removed.
    ///
    /// # Errors
    /// 400 `InvalidArgument` for what is malformed, 403 `AccessDenied` without a usable date or with a header that had to be
    /// signed and is not.
    pub fn from_header(fields: &str, covered: &Covered<'_>, region: &str) -> Result<SignatureS3, OssError> {
        let header = |name: &str| covered.headers.get(name).and_then(|value| value.to_str().ok());
        let (mut credential, mut signature, mut signed) = (None, None, None);
        for field in fields.split(',') {
            match field.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                Some(("SignedHeaders", value)) => signed = Some(value),
                _ => return Err(invalid("Invalid field in Authorization header.", field)),
            }
        }
        let (Some(credential), Some(signature), Some(signed)) = (credential, signature, signed) else {
            return Err(invalid("Invalid Authorization header.", fields));
        };
        let payload_hash = header("x-amz-content-sha256").ok_or_else(|| {
            let message = "Missing required header for this request: x-amz-content-sha256";
            OssError::invalid_argument(message, "x-amz-content-sha256", "")
        })?;
        let is_digest = payload_hash.len() == 64 && payload_hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if payload_hash != UNSIGNED_PAYLOAD && !is_digest {
            let message = "The aws-chunked encoding is not supported.";
            return Err(OssError::invalid_argument(message, "x-amz-content-sha256", payload_hash));
        }
        let date = header("x-amz-date");
        let found = SignatureS3::new(credential, date, signature, signed, payload_hash, region)?;
        found.check_coverage(covered)?;
        Ok(found)
    }

    /// Reads the parameters of a signed URL.
    ///
    /// # Errors
    /// As [`SignatureS3::from_header`], and when the URL would be valid for less than 1 second or more than 7 days.
    pub fn from_query(covered: &Covered<'_>, region: &str) -> Result<SignatureS3, OssError> {
        let query = covered.query;
        let fields = ["X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Expires"];
        let [Some(credential), Some(signature), Some(signed), Some(expires)] =
            fields.map(|name| query.get(name))
        else {
            let message = "A signed URL needs X-Amz-Algorithm, -Credential, -Date, -Expires, -SignedHeaders and -Signature.";
            return Err(OssError::new(400, "AuthorizationQueryParametersError", message));
        };
        let Some(seconds) = expires.parse().ok().filter(|seconds| (1..=604_800).contains(seconds)) else {
            let message = "X-Amz-Expires must be between 1 and 604800 seconds.";
            return Err(OssError::new(400, "AuthorizationQueryParametersError", message));
        };
        let date = query.get("X-Amz-Date");
        let found = SignatureS3::new(credential, date, signature, signed, UNSIGNED_PAYLOAD, region)?;
        found.check_coverage(covered)?;
        Ok(SignatureS3 { expires_seconds: Some(seconds), ..found })
    }

    fn new(
        credential: &str,
        date: Option<&str>,
        signature: &str,
        signed: &str,
        payload_hash: &str,
        region: &str,
    ) -> Result<SignatureS3, OssError> {
        let date = date.unwrap_or_default();
        let signed_at = parse_basic_date(date)
            .ok_or_else(|| OssError::access_denied("AWS authentication requires a valid x-amz-date."))?;
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key_id, day, scope_region, "s3", "aws4_request"] = parts[..] else {
            return Err(invalid("Invalid signing scope in Authorization.", credential));
        };
        if !date.starts_with(day) || day.len() != 8 {
            return Err(invalid("Invalid signing date in Authorization.", credential));
        }
        if scope_region != region {
            let message = format!("Invalid signing region in Authorization, expected {region}.");
            return Err(invalid(&message, credential));
        }
        let signed_headers: Vec<String> = signed.split(';').map(str::to_owned).collect();
        let lower = !signed.bytes().any(|byte| byte.is_ascii_uppercase());
        if !lower || !signed_headers.is_sorted() {
            return Err(invalid("Signed headers must be in lower case and sorted.", signed));
        }
        Ok(SignatureS3 {
            access_key_id: access_key_id.to_owned(),
            signature: signature.to_owned(),
            signed_at,
            expires_seconds: None,
            date: date.to_owned(),
            scope: format!("{day}/{region}/s3/aws4_request"),
            signed_headers,
            payload_hash: payload_hash.to_owned(),
        })
    }

    /// `host` and everything that says `x-amz-` must be covered.
    fn check_coverage(&self, covered: &Covered<'_>) -> Result<(), OssError> {
        let signs = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        let names = covered.headers.keys().map(|name| name.as_str());
        let open: Vec<&str> = names.filter(|name| name.starts_with("x-amz-") && !signs(name)).collect();
        if signs("host") && open.is_empty() {
            return Ok(());
        }
        let message = "There were headers present in the request which were not signed";
        Err(OssError::access_denied(message).with("HeadersNotSigned", open.join(",")))
    }

    /// The canonical request, for the signature and for the error that shows it.
    pub fn canonical_request(&self, covered: &Covered<'_>) -> String {
        // The path as it was sent, bucket included only in path style; encoded once, whatever the client did.
        let path = encode_key(&decode(covered.raw_path).unwrap_or_default());
        let mut parameters: Vec<String> = covered
            .query
            .pairs()
            .filter(|(name, _)| *name != "X-Amz-Signature")
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        parameters.sort();
        let headers = self.signed_headers.iter().fold(String::new(), |mut block, name| {
            let value = joined(covered.headers, name);
            let value: Vec<&str> = value.split_ascii_whitespace().collect();
            // Writing to a string cannot fail.
            let _ = writeln!(block, "{name}:{}", value.join(" "));
            block
        });
        format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{}",
            covered.method,
            parameters.join("&"),
            self.signed_headers.join(";"),
            self.payload_hash,
        )
    }

    /// The string to sign.
    pub fn string_to_sign(&self, canonical_request: &str) -> String {
        string_to_sign(ALGORITHM, &self.date, &self.scope, canonical_request)
    }

    /// The signature that the holder of `secret` would make.
    pub fn expected(&self, secret: &str, string_to_sign: &str) -> String {
        scoped_signature(&format!("AWS4{secret}"), &self.scope, string_to_sign)
    }
}

/// Whether a query carries such a signature.
pub fn is_in(query: &Query) -> bool {
    query.has("X-Amz-Algorithm") || query.has("X-Amz-Signature")
}

fn invalid(message: &str, value: &str) -> OssError {
    OssError::invalid_argument(message, "Authorization", value)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    /// The example of Amazon's manual: "GET Object" with a range, and the same as a signed URL.
    #[test]
    fn the_published_examples_come_out() {
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let list = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let headers: HeaderMap =
            list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let fields = "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                      SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=00";
        let query = Query::default();
        let covered = Covered {
            method: "GET",
            raw_path: "/test.txt",
            bucket: "examplebucket",
            key: "test.txt",
            query: &query,
            headers: &headers,
        };
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let made = |signature: &SignatureS3, covered: &Covered<'_>| {
            signature.expected(secret, &signature.string_to_sign(&signature.canonical_request(covered)))
        };
        let signature = SignatureS3::from_header(fields, &covered, "us-east-1").unwrap();
        assert_eq!(
            made(&signature, &covered),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let fewer = fields.replace("x-amz-content-sha256;", "");
        assert_eq!(SignatureS3::from_header(&fewer, &covered, "us-east-1").unwrap_err().code, "AccessDenied");

        let text = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
                    aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
        let query = Query::parse(text).unwrap();
        let headers: HeaderMap =
            [("host".parse().unwrap(), "examplebucket.s3.amazonaws.com".parse().unwrap())]
                .into_iter()
                .collect();
        let covered = Covered { query: &query, headers: &headers, ..covered };
        let signature = SignatureS3::from_query(&covered, "us-east-1").unwrap();
        assert_eq!(
            made(&signature, &covered),
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }
}
