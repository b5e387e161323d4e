//! Who sent a request: the key, the signature, the token and the clock are all checked, strictly.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::Method;
use jiff::Timestamp;

use super::error::{OssError, spaced_hex};
use super::s3::Face;
use super::signature_s3::{self, SignatureS3};
use super::signature_v1::SignatureV1;
use super::signature_v4::{ALGORITHM, Covered, SignatureV4};
use super::time::xml_date;
use crate::credentials::Credentials;

/// How far a client's clock may be off, from the manual's "RequestTimeTooSkewed".
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// The keys that the server knows.
pub struct Keys(RwLock<Vec<Known>>);

struct Known {
    credentials: Credentials,
    expired: bool,
}

impl Keys {
    /// These keys, none expired.
    pub fn new(keys: Vec<Credentials>) -> Keys {
        let known = Keys(RwLock::new(Vec::new()));
        known.replace(keys);
        known
    }

    /// Knows only these from now on.
    pub fn replace(&self, keys: Vec<Credentials>) {
        let known = keys.into_iter().map(|credentials| Known { credentials, expired: false }).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Answers `SecurityTokenExpired` to this token from now on.
    pub fn expire(&self, token: &str) {
        for known in self.0.write().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            known.expired |= known.credentials.token() == Some(token);
        }
    }

    fn find(&self, access_key_id: &str, token: Option<&str>) -> Result<Credentials, OssError> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut same_id =
            keys.iter().filter(|known| known.credentials.access_key_id == access_key_id).peekable();
        let token_missing =
            token.is_none() && same_id.clone().all(|known| known.credentials.token().is_some());
        if same_id.peek().is_none() || token_missing {
            let message = "The OSS Access Key Id you provided does not exist in our records.";
            return Err(
                OssError::new(403, "InvalidAccessKeyId", message).with("OSSAccessKeyId", access_key_id)
            );
        }
        let Some(known) = same_id.find(|known| known.credentials.token() == token) else {
            let message = "The security token you provided is invalid.";
            return Err(OssError::new(403, "InvalidSecurityToken", message));
        };
        if known.expired {
            return Err(OssError::token_expired());
        }
        Ok(known.credentials.clone())
    }
}

/// What a request's authentication is checked against.
pub struct Policy<'a> {
    /// The keys.
    pub keys: &'a Keys,
    /// The region that V4 scopes must name.
    pub region: &'a str,
    /// V1 is refused, as on new buckets.
    pub require_v4: bool,
    /// The server's clock.
    pub now: Timestamp,
}

/// Whether a request was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// By a known key.
    Owner,
    /// Not at all.
    Anonymous,
}

impl Policy<'_> {
    /// Checks everything that proves who sent the request; the signature's kind tells how the request speaks.
    ///
    /// # Errors
    /// 403 for what does not fit, 400 for what is malformed.
    pub fn authenticate(&self, covered: &Covered<'_>) -> Result<(Caller, Face), OssError> {
        let header = |name: &str| covered.headers.get(name).and_then(|value| value.to_str().ok());
        let query = covered.query;
        if let Some(authorization) = header("authorization") {
            let token = header("x-oss-security-token").filter(|token| !token.is_empty());
            let (scheme, fields) = authorization.split_once(' ').unwrap_or((authorization, ""));
            match scheme {
                ALGORITHM => {
                    let signature = SignatureV4::from_header(fields, covered.headers, self.region)?;
                    self.check_skew(signature.signed_at)?;
                    self.check_v4(&signature, token, covered)?;
                }
                signature_s3::ALGORITHM => {
                    let signature = SignatureS3::from_header(fields, covered, self.region)?;
                    self.check_skew(signature.signed_at)?;
                    self.check_s3(&signature, header("x-amz-security-token"), covered)?;
                    return Ok((Caller::Owner, Face::S3));
                }
                "OSS" => {
                    let signature = SignatureV1::from_header(fields, covered.headers)?;
                    self.check_skew(signature.signed_at.unwrap_or(self.now))?;
                    // alibabacloud-oss-v2 sends the token of a V1 request under this name.
                    self.check_v1(&signature, token.or_else(|| header("security-token")), covered)?;
                }
                _ => {
                    let message = "Authorization header is invalid.";
                    return Err(OssError::invalid_argument(message, "Authorization", scheme));
                }
            }
        } else if query.has("x-oss-signature") || query.has("x-oss-signature-version") {
            let signature = SignatureV4::from_query(query, self.region)?;
            self.check_age(signature.signed_at, signature.expires_seconds.unwrap_or_default())?;
            self.check_v4(&signature, query.get("x-oss-security-token"), covered)?;
        } else if signature_s3::is_in(query) {
            let signature = SignatureS3::from_query(covered, self.region)?;
            self.check_age(signature.signed_at, signature.expires_seconds.unwrap_or_default())?;
            self.check_s3(&signature, query.get("X-Amz-Security-Token"), covered)?;
            return Ok((Caller::Owner, Face::S3));
        } else if query.has("OSSAccessKeyId") || query.has("Signature") {
            let signature = SignatureV1::from_query(query)?;
            if signature.expires_at.is_some_and(|expires_at| self.now > expires_at) {
                return Err(expired());
            }
            self.check_v1(&signature, query.get("security-token"), covered)?;
        } else {
            return Ok((Caller::Anonymous, Face::Oss));
        }
        Ok((Caller::Owner, Face::Oss))
    }

    fn check_v4(
        &self,
        signature: &SignatureV4,
        token: Option<&str>,
        covered: &Covered<'_>,
    ) -> Result<(), OssError> {
        let key = self.keys.find(&signature.access_key_id, token)?;
        let canonical_request = signature.canonical_request(covered);
        let string_to_sign = signature.string_to_sign(&canonical_request);
        let matches = signature.expected(key.secret(), &string_to_sign) == signature.signature;
        let error = || mismatch(&signature.access_key_id, &signature.signature, &string_to_sign);
        if matches { Ok(()) } else { Err(error().with("CanonicalRequest", canonical_request)) }
    }

    fn check_s3(
        &self,
        signature: &SignatureS3,
        token: Option<&str>,
        covered: &Covered<'_>,
    ) -> Result<(), OssError> {
        let key = self.keys.find(&signature.access_key_id, token)?;
        let canonical_request = signature.canonical_request(covered);
        let string_to_sign = signature.string_to_sign(&canonical_request);
        let matches = signature.expected(key.secret(), &string_to_sign) == signature.signature;
        let error = || mismatch(&signature.access_key_id, &signature.signature, &string_to_sign);
        if matches { Ok(()) } else { Err(error().with("CanonicalRequest", canonical_request)) }
    }

    fn check_v1(
        &self,
        signature: &SignatureV1,
        token: Option<&str>,
        covered: &Covered<'_>,
    ) -> Result<(), OssError> {
        if self.require_v4 {
            return Err(OssError::access_denied(
                "This bucket takes no V1 signatures, sign with OSS4-HMAC-SHA256.",
            ));
        }
        let key = self.keys.find(&signature.access_key_id, token)?;
        let strings = signature.strings_to_sign(covered);
        if strings.iter().any(|text| SignatureV1::expected(key.secret(), text) == signature.signature) {
            return Ok(());
        }
        let shown = strings.first().map(String::as_str).unwrap_or_default();
        Err(mismatch(&signature.access_key_id, &signature.signature, shown))
    }

    fn check_skew(&self, signed_at: Timestamp) -> Result<(), OssError> {
        let apart = self.now.duration_since(signed_at).unsigned_abs();
        if apart > MAX_SKEW { Err(self.skewed(signed_at)) } else { Ok(()) }
    }

    /// Of a signed URL: it is not over, and not from the future.
    fn check_age(&self, signed_at: Timestamp, expires_seconds: i64) -> Result<(), OssError> {
        let age = self.now.as_second() - signed_at.as_second();
        if age > expires_seconds {
            return Err(expired());
        }
        if age < -(MAX_SKEW.as_secs() as i64) { Err(self.skewed(signed_at)) } else { Ok(()) }
    }

    fn skewed(&self, signed_at: Timestamp) -> OssError {
        let message = "The difference between the request time and the current time is too large.";
        OssError::new(403, "RequestTimeTooSkewed", message)
            .with("MaxAllowedSkewMilliseconds", MAX_SKEW.as_millis().to_string())
            .with("RequestTime", xml_date(signed_at))
            .with("ServerTime", xml_date(self.now))
    }
}

/// What an unsigned request may do, by the bucket's ACL.
///
/// # Errors
/// 403 `AccessDenied`.
pub fn check_anonymous(acl: Option<&str>, method: &Method, has_key: bool) -> Result<(), OssError> {
    let reads = method == Method::GET || method == Method::HEAD;
    let allowed = match acl {
        Some("public-read") => reads && has_key,
        Some("public-read-write") => has_key,
        _ => false,
    };
    if allowed {
        return Ok(());
    }
    Err(OssError::access_denied("You have no right to access this object because of bucket acl."))
}

fn expired() -> OssError {
    OssError::access_denied("Request has expired.").ec("0002-00000069")
}

fn mismatch(access_key_id: &str, signature: &str, string_to_sign: &str) -> OssError {
    let message = "The request signature we calculated does not match the signature you provided. Check your key and \
                   signing method.";
    OssError::new(403, "SignatureDoesNotMatch", message)
        .with("OSSAccessKeyId", access_key_id)
        .with("SignatureProvided", signature)
        .with("StringToSign", string_to_sign)
        .with("StringToSignBytes", spaced_hex(string_to_sign))
}
