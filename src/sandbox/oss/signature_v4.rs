//! The V4 signature (`OSS4-HMAC-SHA256`), recomputed from the request as it arrived.
//!
//! Written from the manual ("Include a V4 signature in the header", "… in a URL") and checked against signatures made by
//! oss2; shares nothing with any client.

use std::fmt::Write as _;

use hmac::{Hmac, Mac};
use http::HeaderMap;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::error::OssError;
use super::query::{Query, encode, encode_key};
use super::time::parse_basic_date;

/// The name of the algorithm, as `Authorization` and URLs give it.
pub const ALGORITHM: &str = "OSS4-HMAC-SHA256";

/// The only payload hash that OSS documents.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// What a signature covers, decoded.
pub struct Covered<'a> {
    /// The method.
    pub method: &'a str,
    /// The path on the wire, still encoded.
    pub raw_path: &'a str,
    /// The bucket, or empty.
    pub bucket: &'a str,
    /// The key, or empty.
    pub key: &'a str,
    /// The query.
    pub query: &'a Query,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// A V4 signature that came with a request.
#[derive(Debug)]
pub struct SignatureV4 {
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
    additional_headers: Vec<String>,
}

impl SignatureV4 {
    /// Reads the `Authorization` header's value, algorithm removed.
    ///
    /// # Errors
    /// 400 `InvalidArgument` for anything the manual does not allow, 403 `AccessDenied` without a usable date.
    pub fn from_header(fields: &str, headers: &HeaderMap, region: &str) -> Result<SignatureV4, OssError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (mut credential, mut signature, mut additional) = (None, None, None);
        for field in fields.split(',') {
            match field.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                Some(("AdditionalHeaders", value)) => additional = Some(value),
                _ => return Err(invalid_authorization("Invalid field in Authorization header.", field)),
            }
        }
        let (Some(credential), Some(signature)) = (credential, signature) else {
            return Err(invalid_authorization("Invalid Authorization header.", fields));
        };
        if additional == Some("") {
            let message = "Invalid additional headers in Authorization header.";
            return Err(invalid_authorization(message, fields).ec("0002-00000209"));
        }
        match header("x-oss-content-sha256") {
            Some(UNSIGNED_PAYLOAD) => {}
            value => {
                let message = "Header x-oss-content-sha256 must be UNSIGNED-PAYLOAD.";
                return Err(OssError::invalid_argument(
                    message,
                    "x-oss-content-sha256",
                    value.unwrap_or_default(),
                ));
            }
        }
        SignatureV4::new(credential, header("x-oss-date"), signature, additional, region)
    }

    /// Reads the parameters of a signed URL.
    ///
    /// # Errors
    /// As [`SignatureV4::from_header`], and when the URL would be valid for less than 1 second or more than 7 days.
    pub fn from_query(query: &Query, region: &str) -> Result<SignatureV4, OssError> {
        let version = query.get("x-oss-signature-version");
        let fields =
            (query.get("x-oss-credential"), query.get("x-oss-signature"), query.get("x-oss-expires"));
        let (Some(ALGORITHM), (Some(credential), Some(signature), Some(expires))) = (version, fields) else {
            let message =
                "A V4 signed URL needs x-oss-signature-version, -credential, -date, -expires and -signature.";
            return Err(OssError::invalid_argument(
                message,
                "x-oss-signature-version",
                version.unwrap_or_default(),
            ));
        };
        let Some(seconds) = expires.parse().ok().filter(|seconds| (1..=604_800).contains(seconds)) else {
            let message = "x-oss-expires must be between 1 and 604800 seconds.";
            return Err(OssError::invalid_argument(message, "x-oss-expires", expires));
        };
        let additional = query.get("x-oss-additional-headers");
        let found = SignatureV4::new(credential, query.get("x-oss-date"), signature, additional, region)?;
        Ok(SignatureV4 { expires_seconds: Some(seconds), ..found })
    }

    fn new(
        credential: &str,
        date: Option<&str>,
        signature: &str,
        additional: Option<&str>,
        region: &str,
    ) -> Result<SignatureV4, OssError> {
        let (access_key_id, scope) = credential
            .split_once('/')
            .ok_or_else(|| invalid_authorization("Invalid credential.", credential))?;
        let date = date.unwrap_or_default();
        let signed_at = parse_basic_date(date)
            .ok_or_else(|| OssError::access_denied("OSS authentication requires a valid x-oss-date."))?;
        let parts: Vec<&str> = scope.split('/').collect();
        let [day, scope_region, "oss", "aliyun_v4_request"] = parts[..] else {
            return Err(invalid_authorization("Invalid signing scope in Authorization.", credential));
        };
        if !date.starts_with(day) || day.len() != 8 {
            return Err(invalid_authorization("Invalid signing date in Authorization.", credential));
        }
        if scope_region != region {
            let message = format!("Invalid signing region in Authorization, expected {region}.");
            return Err(invalid_authorization(&message, credential));
        }
        let names = additional.unwrap_or_default().split(';').filter(|name| !name.is_empty());
        let additional_headers: Vec<String> = names.map(str::to_owned).collect();
        let lower = additional_headers.iter().all(|name| !name.bytes().any(|byte| byte.is_ascii_uppercase()));
        if !lower || !additional_headers.is_sorted() {
            let message = "Additional headers must be in lower case and sorted.";
            return Err(invalid_authorization(message, additional.unwrap_or_default()).ec("0002-00000209"));
        }
        Ok(SignatureV4 {
            access_key_id: access_key_id.to_owned(),
            signature: signature.to_owned(),
            signed_at,
            expires_seconds: None,
            date: date.to_owned(),
            scope: scope.to_owned(),
            additional_headers,
        })
    }

    /// The canonical request, for the signature and for the error that shows it.
    pub fn canonical_request(&self, covered: &Covered<'_>) -> String {
        let path = match (covered.bucket, covered.key) {
            ("", _) => "/".to_owned(),
            (bucket, key) => format!("/{bucket}/{}", encode_key(key)),
        };
        let mut parameters: Vec<(String, String)> = covered
            .query
            .pairs()
            .filter(|(name, _)| *name != "x-oss-signature")
            .map(|(name, value)| (encode(name), encode(value)))
            .collect();
        parameters.sort();
        let parameters: Vec<String> = parameters
            .into_iter()
            .map(|(name, value)| if value.is_empty() { name } else { format!("{name}={value}") })
            .collect();
        let mut headers: Vec<(&str, String)> = covered
            .headers
            .keys()
            .map(|name| name.as_str())
            .filter(|name| {
                matches!(*name, "content-type" | "content-md5")
                    || name.starts_with("x-oss-")
                    || self.additional_headers.iter().any(|additional| additional == name)
            })
            .map(|name| (name, joined(covered.headers, name)))
            .collect();
        headers.sort();
        let headers = headers.iter().fold(String::new(), |mut block, (name, value)| {
            // Writing to a string cannot fail.
            let _ = writeln!(block, "{name}:{value}");
            block
        });
        format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{UNSIGNED_PAYLOAD}",
            covered.method,
            parameters.join("&"),
            self.additional_headers.join(";"),
        )
    }

    /// The string to sign.
    pub fn string_to_sign(&self, canonical_request: &str) -> String {
        string_to_sign(ALGORITHM, &self.date, &self.scope, canonical_request)
    }

    /// The signature that the holder of `secret` would make.
    pub fn expected(&self, secret: &str, string_to_sign: &str) -> String {
        scoped_signature(&format!("aliyun_v4{secret}"), &self.scope, string_to_sign)
    }
}

/// Algorithm, date, scope and the hash of the canonical request, a line each.
pub fn string_to_sign(algorithm: &str, date: &str, scope: &str, canonical_request: &str) -> String {
    let digest = hex::encode(Sha256::digest(canonical_request));
    format!("{algorithm}\n{date}\n{scope}\n{digest}")
}

/// The hex signature of `text` with the key that `root` and the parts of the scope make.
pub fn scoped_signature(root: &str, scope: &str, text: &str) -> String {
    let key = scope.split('/').fold(root.as_bytes().to_vec(), |key, part| hmac_sha256(&key, part));
    hex::encode(hmac_sha256(&key, text))
}

/// A header's value without the white space around it; repeated headers are joined with commas.
pub fn joined(headers: &HeaderMap, name: &str) -> String {
    let values =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    values.collect::<Vec<_>>().join(",")
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC takes keys of any length.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        },
    )
}

fn invalid_authorization(message: &str, value: &str) -> OssError {
    OssError::invalid_argument(message, "Authorization", value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "20260102T030405Z";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let fixed = [("x-oss-content-sha256", UNSIGNED_PAYLOAD), ("x-oss-date", DATE)];
        list.iter()
            .chain(&fixed)
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn signed(method: &str, key: &str, query: &str, list: &[(&'static str, &str)]) -> String {
        let headers = headers(list);
        let fields = "Credential=testak/20260102/cn-hangzhou/oss/aliyun_v4_request, Signature=00";
        let signature = SignatureV4::from_header(fields, &headers, "cn-hangzhou").unwrap();
        let query = Query::parse(query).unwrap();
        let covered =
            Covered { method, raw_path: "/", bucket: "examplebucket", key, query: &query, headers: &headers };
        let canonical = signature.canonical_request(&covered);
        signature.expected("testsk", &signature.string_to_sign(&canonical))
    }

    #[test]
    fn signatures_in_headers_agree_with_oss2() {
        assert_eq!(
            signed(
                "PUT",
                "dir/a b+é.parquet",
                "partNumber=1&uploadId=ABC",
                &[("content-type", "application/octet-stream")]
            ),
            "f51aec3c893f8f96ab53d546bfb0908b837781a575de6e52d9299fae64a2c4cd"
        );
        assert_eq!(
            signed("GET", "dir/k", "", &[("range", "bytes=0-9")]),
            "a5362d2b9cd6e49f4925bae3dfc95ba488b41c59af000151f7e5d92b7ffa0048"
        );
        assert_eq!(
            signed("POST", "", "encoding-type=url&delete=", &[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]),
            "76e6fa328436fa9e330e50d30662c395e977102d25914ad60ea4f9b94332d4a0"
        );
        let class = [
            ("x-oss-storage-class", "IA"),
            ("x-oss-forbid-overwrite", "true"),
            ("x-oss-security-token", "tok/en+1="),
        ];
        assert_eq!(
            signed("PUT", "k", "uploads", &class),
            "846cf5a006f4cd7a1c8a60d26f230e76c444285993595473910b021a61bf617c"
        );
    }

    #[test]
    fn a_signature_in_a_url_agrees_with_oss2() {
        let text = "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20260102T030405Z&x-oss-expires=3600&\
                    x-oss-credential=testak%2F20260102%2Fcn-hangzhou%2Foss%2Faliyun_v4_request&x-oss-signature=00";
        let query = Query::parse(text).unwrap();
        let signature = SignatureV4::from_query(&query, "cn-hangzhou").unwrap();
        let empty = HeaderMap::new();
        let covered = Covered {
            method: "GET",
            raw_path: "/",
            bucket: "examplebucket",
            key: "dir/k",
            query: &query,
            headers: &empty,
        };
        let canonical = signature.canonical_request(&covered);
        assert_eq!(
            signature.expected("testsk", &signature.string_to_sign(&canonical)),
            "e6cbb73403a8d89cb28b4c5abc5703902f01da400f1e26c837f60a82b3370ce0"
        );
    }

    #[test]
    fn what_the_manual_does_not_allow_is_refused() {
        let refused = |fields: &str| {
            let error = SignatureV4::from_header(fields, &headers(&[]), "cn-hangzhou").unwrap_err();
            (error.status.as_u16(), error.error_code())
        };
        let credential = "Credential=testak/20260102/cn-hangzhou/oss/aliyun_v4_request";
        let empty = format!("{credential},AdditionalHeaders=,Signature=00");
        assert_eq!(refused(&empty), (400, "0002-00000209"));
        assert_eq!(refused(&empty.replace("AdditionalHeaders=", "AdditionalHeaders=range;host")).0, 400);
        for wrong in ["20260103", "cn-beijing", "s3", "aws4_request"] {
            let part = match wrong {
                "20260103" => "20260102",
                "cn-beijing" => "cn-hangzhou",
                "s3" => "oss",
                _ => "aliyun_v4_request",
            };
            assert_eq!(
                refused(&format!("{},Signature=00", credential.replace(part, wrong))).0,
                400,
                "{wrong}"
            );
        }
        assert_eq!(refused(credential).0, 400);
        let mut hashed = headers(&[]);
        hashed.insert("x-oss-content-sha256", "e3b0".parse().unwrap());
        let fields = format!("{credential},Signature=00");
        assert!(SignatureV4::from_header(&fields, &hashed, "cn-hangzhou").is_err());
    }
}
