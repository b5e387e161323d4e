//! Who may call: checks the signature, digest, clock and names of every request, and signs every response.
//!
//! Written from the service's documents and the official SDKs' bytes, apart from any client of this crate, so that
//! one misreading cannot hide in both. Accepts signature v2 (HMAC-SHA1) and v4 (HMAC-SHA256 with a dated key).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use super::service_error::{Answer, ServiceError};

/// How far a request's date may be from the clock (documented as "about 15 minutes").
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// `2018-04-01` is what the Go SDK's tunnel client sends.
const API_VERSIONS: [&str; 2] = ["2015-12-31", "2018-04-01"];

/// The one key pair that the sandbox knows, and the instance it belongs to.
#[derive(Clone)]
pub struct Account {
    /// Instance name.
    pub instance: String,
    /// Region that v4 signatures must name.
    pub region: String,
    /// Access key id.
    pub access_key_id: String,
    /// Access key secret.
    pub access_key_secret: String,
    /// When there are some, every request must carry one of them.
    pub security_tokens: Vec<String>,
    /// Those of them that have expired.
    pub expired_tokens: Arc<Mutex<BTreeSet<String>>>,
}

/// The key that signs the response to one request.
pub struct ResponseKey(Vec<u8>);

impl Account {
    /// Checks one request: method, headers, clock, names, digest, signature, in the order the service names them.
    ///
    /// `path` begins with a slash. `now` is the real clock, not the sandbox's movable one.
    ///
    /// # Errors
    /// 405 `OTSMethodNotAllowed`; 400 `OTSParameterInvalid` for a missing or malformed header; 403 `OTSAuthFailed`
    /// for everything else.
    pub fn verify(
        &self,
        method: &http::Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Answer<ResponseKey> {
        if method != http::Method::POST {
            let text = "Only POST method for requests is supported.";
            return Err(ServiceError::new(405, "OTSMethodNotAllowed", text));
        }
        let version = header(headers, "x-ots-apiversion")?;
        let date = header(headers, "x-ots-date")?;
        let access_key_id = header(headers, "x-ots-accesskeyid")?;
        let instance = header(headers, "x-ots-instancename")?;
        let digest = header(headers, "x-ots-contentmd5")?;
        if !API_VERSIONS.contains(&version) {
            return Err(ServiceError::parameter(format!("Invalid API version: {version}.")));
        }
        let sent = parse_date(date)
            .ok_or_else(|| ServiceError::parameter(format!("Invalid date format: {date}.")))?;
        if now.duration_since(sent).abs() > CLOCK_TOLERANCE {
            return Err(ServiceError::auth(format!("Mismatch between system time and x-ots-date: {date}.")));
        }
        if access_key_id != self.access_key_id {
            return Err(ServiceError::auth("The AccessKeyID does not exist."));
        }
        if instance != self.instance {
            return Err(ServiceError::auth("The instance is not found."));
        }
        self.check_token(optional(headers, "x-ots-ststoken")?)?;
        if body_digest(body) != digest {
            let text = "Mismatch between MD5 value of request body and x-ots-contentmd5 in header.";
            return Err(ServiceError::auth(text));
        }
        let key = self.response_key(headers)?;
        let text = request_text(path, headers)?;
        let genuine = match optional(headers, "x-ots-signaturev4")? {
            Some(signature) => verify::<Hmac<Sha256>>(&key.0, format!("{text}ots").as_bytes(), signature),
            None => verify::<Hmac<Sha1>>(&key.0, text.as_bytes(), header(headers, "x-ots-signature")?),
        };
        let fresh = optional(headers, "x-ots-signdate")?.is_none_or(|day| is_near(day, sent));
        if genuine && fresh { Ok(key) } else { Err(ServiceError::auth("Signature mismatch.")) }
    }

    fn check_token(&self, token: Option<&str>) -> Answer<()> {
        if self.security_tokens.is_empty() {
            return Ok(());
        }
        let known = token.filter(|token| self.security_tokens.iter().any(|known| known == token));
        // Own wordings.
        let Some(token) = known else {
            return Err(ServiceError::auth("The security token is invalid."));
        };
        match self.expired().contains(token) {
            true => Err(ServiceError::auth("The security token has expired.")),
            false => Ok(()),
        }
    }

    /// The token of this request is refused from now on; returns the refusal.
    pub fn expire_token(&self, headers: &HeaderMap) -> ServiceError {
        if let Ok(Some(token)) = optional(headers, "x-ots-ststoken") {
            self.expired().insert(token.to_owned());
        }
        ServiceError::auth("The security token has expired.")
    }

    fn expired(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.expired_tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that signs the answer to a request, genuine or not: the secret, or the v4 key of its date and region.
    ///
    /// # Errors
    /// `OTSAuthFailed` when a v4 request names another region, `OTSParameterInvalid` when it names none.
    pub fn response_key(&self, headers: &HeaderMap) -> Answer<ResponseKey> {
        if !headers.contains_key("x-ots-signaturev4") {
            return Ok(ResponseKey(self.access_key_secret.as_bytes().to_vec()));
        }
        let date = header(headers, "x-ots-signdate")?;
        let region = header(headers, "x-ots-signregion")?;
        if region != self.region {
            return Err(ServiceError::auth("Signature mismatch."));
        }
        Ok(ResponseKey(v4_key(&self.access_key_secret, date, region)))
    }

    /// The key for answers to requests that no key can be told from.
    pub fn default_key(&self) -> ResponseKey {
        ResponseKey(self.access_key_secret.as_bytes().to_vec())
    }

    /// The headers of a response: digest of the body, content type, request id, date, `more` (`x-ots-*` names above
    /// `x-ots-requestid`, ascending), and the signature over these.
    ///
    /// The Python SDK adds up every `x-ots-*` header it sees, so nothing may add one later.
    pub fn response_headers(
        &self,
        key: &ResponseKey,
        path: &str,
        digest: String,
        request_id: &str,
        now: Timestamp,
        more: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("x-ots-contentmd5", digest),
            ("x-ots-contenttype", "protocol buffer".to_owned()),
            ("x-ots-date", now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
            ("x-ots-requestid", request_id.to_owned()),
        ];
        headers.extend(more);
        let mut text = String::new();
        for (name, value) in &headers {
            let _ = writeln!(text, "{name}:{value}");
        }
        text.push_str(path);
        let signature = sign::<Hmac<Sha1>>(&key.0, text.as_bytes());
        headers.push(("authorization", format!("OTS {}:{signature}", self.access_key_id)));
        headers
    }
}

/// The value of a header.
///
/// # Errors
/// `OTSParameterInvalid` when it is no text.
pub fn optional<'a>(headers: &'a HeaderMap, name: &str) -> Answer<Option<&'a str>> {
    match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.trim())),
        Some(Err(_)) => Err(ServiceError::parameter(format!("Invalid header: {name}."))),
    }
}

/// As [`optional`] for a header that must be there and not empty.
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Answer<&'a str> {
    optional(headers, name)?
        .filter(|value| !value.is_empty())
        .ok_or_else(|| ServiceError::parameter(format!("Missing header: {name}.")))
}

/// `YYYY-MM-DDTHH:MM:SS.fZ` with 1 to 6 fraction digits, which do not count: the Go SDK sends month, day and hour
/// there.
fn parse_date(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.')?;
    let digits = fraction.strip_suffix('Z')?;
    let plausible = seconds.len() == 19 && (1..=6).contains(&digits.len());
    if !plausible || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{seconds}Z").parse().ok()
}

/// Whether a v4 key's day, `YYYYMMDD`, is that of the request or next to it (a key may be used across midnight).
fn is_near(day: &str, sent: Timestamp) -> bool {
    jiff::civil::Date::strptime("%Y%m%d", day)
        .and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC))
        .is_ok_and(|day| sent.duration_since(day.timestamp()).abs() <= SignedDuration::from_hours(48))
}

/// The text that both signature versions sign: operation, method, every `x-ots-*` header but the signature.
fn request_text(path: &str, headers: &HeaderMap) -> Answer<String> {
    let mut signed: Vec<(&str, &str)> = Vec::new();
    for name in headers.keys().map(http::HeaderName::as_str) {
        let is_signature = name == "x-ots-signature" || name == "x-ots-signaturev4";
        if name.starts_with("x-ots-") && !is_signature {
            signed.push((name, optional(headers, name)?.unwrap_or_default()));
        }
    }
    signed.sort_unstable();
    let mut text = format!("{path}\nPOST\n\n");
    for (name, value) in signed {
        let _ = writeln!(text, "{name}:{value}");
    }
    Ok(text)
}

/// The signing key of one day and region: the base64 text of the last of four chained HMACs.
fn v4_key(secret: &str, date: &str, region: &str) -> Vec<u8> {
    let mut key = format!("aliyun_v4{secret}").into_bytes();
    for part in [date, region, "ots", "aliyun_v4_request"] {
        key = mac::<Hmac<Sha256>>(&key, part.as_bytes());
    }
    BASE64.encode(key).into_bytes()
}

/// Base64 of the MD5, as both directions carry it.
pub fn body_digest(body: &[u8]) -> String {
    BASE64.encode(Md5::digest(body))
}

fn keyed<M: Mac + hmac::digest::KeyInit>(key: &[u8], text: &[u8]) -> M {
    // HMAC hashes keys of any length.
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of every length")]
    let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC accepts keys of every length");
    mac.update(text);
    mac
}

fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    keyed::<M>(key, text).finalize().into_bytes().to_vec()
}

fn sign<M: Mac + hmac::digest::KeyInit>(key: &[u8], text: &[u8]) -> String {
    BASE64.encode(mac::<M>(key, text))
}

fn verify<M: Mac + hmac::digest::KeyInit>(key: &[u8], text: &[u8], signature: &str) -> bool {
    BASE64.decode(signature).is_ok_and(|bytes| keyed::<M>(key, text).verify_slice(&bytes).is_ok())
}

#[cfg(test)]
mod tests;
