//! Who may call: checks the signature, digest, clock and names of every request, and signs every response.
//!
//! Written from the service's documents and the official SDKs' bytes, apart from any client of this crate, so that
//! one misreading cannot hide in both. Accepts signature v2 (HMAC-SHA1) and v4 (HMAC-SHA256 with a dated key).

use std::fmt::Write as _;

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
    /// When set, every request must carry it.
    pub security_token: Option<String>,
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
        if self.security_token.is_some()
            && optional(headers, "x-ots-ststoken")? != self.security_token.as_deref()
        {
            // Own wording.
            return Err(ServiceError::auth("The security token is invalid."));
        }
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

    /// The headers of a response: digest of the body (see [`body_digest`]), content type, request id, date, and the signature over these.
    ///
    /// The Python SDK adds up every `x-ots-*` header it sees, so nothing may add one later.
    pub fn response_headers(
        &self,
        key: &ResponseKey,
        path: &str,
        digest: String,
        request_id: &str,
        now: Timestamp,
    ) -> [(&'static str, String); 5] {
        let mut headers = [
            ("x-ots-contentmd5", digest),
            ("x-ots-contenttype", "protocol buffer".to_owned()),
            ("x-ots-date", now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
            ("x-ots-requestid", request_id.to_owned()),
            ("authorization", String::new()),
        ];
        let mut text = String::new();
        for (name, value) in &headers[..4] {
            let _ = writeln!(text, "{name}:{value}");
        }
        text.push_str(path);
        headers[4].1 = format!("OTS {}:{}", self.access_key_id, sign::<Hmac<Sha1>>(&key.0, text.as_bytes()));
        headers
    }
}

fn optional<'a>(headers: &'a HeaderMap, name: &str) -> Answer<Option<&'a str>> {
    match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.trim())),
        Some(Err(_)) => Err(ServiceError::parameter(format!("Invalid header: {name}."))),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Answer<&'a str> {
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
mod tests {
    use http::{HeaderName, HeaderValue, Method};
    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../../tests/fixtures/vectors/signing.json")).unwrap()
    }

    fn text<'a>(value: &'a Value, name: &str) -> &'a str {
        value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
    }

    fn account(token: Option<&str>) -> Account {
        Account {
            instance: "myinstance".into(),
            region: "cn-hangzhou".into(),
            access_key_id: "LTAIexampleKeyId0000".into(),
            access_key_secret: "exampleSecret/0123456789+abcdEF".into(),
            security_token: token.map(str::to_owned),
        }
    }

    struct Request {
        account: Account,
        path: String,
        headers: HeaderMap,
        body: Vec<u8>,
        now: Timestamp,
    }

    impl Request {
        fn from(case: &Value) -> Request {
            let headers = case["headers"].as_object().unwrap().iter().map(|(name, value)| {
                let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
                (name.parse::<HeaderName>().unwrap(), value)
            });
            Request {
                account: account(case["sts_token"].as_str()),
                path: format!("/{}", text(case, "api")),
                headers: headers.collect(),
                body: hex::decode(text(case, "body_hex")).unwrap(),
                now: vectors()["fixed_now"].as_str().unwrap().parse().unwrap(),
            }
        }

        fn refusal(&self) -> Option<String> {
            self.account
                .verify(&Method::POST, &self.path, &self.headers, &self.body, self.now)
                .err()
                .map(|error| format!("{} {} {}", error.status, error.code, error.message))
        }

        fn with(mut self, name: &'static str, value: &str) -> Request {
            self.headers.insert(name, HeaderValue::from_str(value).unwrap());
            self
        }
    }

    #[test]
    fn every_request_signed_by_an_official_sdk_is_accepted_and_no_altered_one() {
        let all = vectors();
        let cases = all["requests"].as_array().unwrap();
        assert!(cases.len() >= 6);
        for case in cases {
            assert_eq!(Request::from(case).refusal(), None, "{}", case["id"]);
            let altered = Request::from(case).with("x-ots-request-tag", "altered");
            assert_eq!(altered.refusal().as_deref(), Some("403 OTSAuthFailed Signature mismatch."));
            let mut other_path = Request::from(case);
            other_path.path = "/DeleteTable".into();
            assert_eq!(other_path.refusal().as_deref(), Some("403 OTSAuthFailed Signature mismatch."));
            let mut other_secret = Request::from(case);
            other_secret.account.access_key_secret.push('x');
            assert_eq!(other_secret.refusal().as_deref(), Some("403 OTSAuthFailed Signature mismatch."));
        }
    }

    #[test]
    fn every_response_is_signed_as_the_python_sdk_expects() {
        let all = vectors();
        let mut signed = 0;
        for case in all["responses"].as_array().unwrap() {
            let verdict = text(&case["python_sdk"], "outcome");
            if verdict == "client_error" || case["headers"].get("authorization").is_none() {
                continue;
            }
            let headers = case["headers"].as_object().unwrap();
            let now: Timestamp = headers["x-ots-date"].as_str().unwrap().parse().unwrap();
            let account = account(None);
            let key = match text(case, "signature_version") {
                "v4" => ResponseKey(v4_key(&account.access_key_secret, "20240305", "cn-hangzhou")),
                _ => account.default_key(),
            };
            let body = hex::decode(text(case, "body_hex")).unwrap();
            let path = format!("/{}", text(case, "api"));
            let id = headers["x-ots-requestid"].as_str().unwrap();
            for (name, value) in account.response_headers(&key, &path, body_digest(&body), id, now) {
                assert_eq!(headers[name].as_str(), Some(value.as_str()), "{} {name}", case["id"]);
            }
            signed += 1;
        }
        assert_eq!(signed, 4);
    }

    #[test]
    fn each_refusal_has_the_services_text() {
        let all = vectors();
        let request = || Request::from(&all["requests"][0]);
        let refused = |request: Request| request.refusal().unwrap_or_default();
        let off = "403 OTSAuthFailed Mismatch between system time and x-ots-date: 2024-03-05T06:07:08.000Z.";
        for seconds in [-901, 901] {
            let mut late = request();
            late.now += SignedDuration::from_secs(seconds);
            assert_eq!(refused(late), off);
        }
        let mut body = request();
        body.body.push(0);
        let text =
            "403 OTSAuthFailed Mismatch between MD5 value of request body and x-ots-contentmd5 in header.";
        assert_eq!(refused(body), text);
        assert_eq!(
            refused(request().with("x-ots-accesskeyid", "other")),
            "403 OTSAuthFailed The AccessKeyID does not exist."
        );
        assert_eq!(
            refused(request().with("x-ots-instancename", "other")),
            "403 OTSAuthFailed The instance is not found."
        );
        assert_eq!(
            refused(request().with("x-ots-date", "yesterday")),
            "400 OTSParameterInvalid Invalid date format: yesterday."
        );
        assert_eq!(
            refused(request().with("x-ots-apiversion", "2014-08-08")),
            "400 OTSParameterInvalid Invalid API version: 2014-08-08."
        );
        let mut bare = request();
        bare.headers.remove("x-ots-signature");
        assert_eq!(refused(bare), "400 OTSParameterInvalid Missing header: x-ots-signature.");
        let mut token = request();
        token.account.security_token = Some("token".into());
        assert_eq!(refused(token), "403 OTSAuthFailed The security token is invalid.");
        let get = request();
        let error =
            get.account.verify(&Method::GET, &get.path, &get.headers, &get.body, get.now).err().unwrap();
        assert_eq!((error.status, error.code.as_str()), (405, "OTSMethodNotAllowed"));
    }

    #[test]
    fn odd_date_fractions_are_accepted_and_do_not_count() {
        let exact: Timestamp = "2024-03-05T06:07:08Z".parse().unwrap();
        for text in ["2024-03-05T06:07:08.3Z", "2024-03-05T06:07:08.11223Z", "2024-03-05T06:07:08.999999Z"] {
            assert_eq!(parse_date(text), Some(exact), "{text}");
        }
        for text in [
            "2024-03-05T06:07:08Z",
            "2024-03-05T06:07:08.Z",
            "2024-03-05T06:07:08.1234567Z",
            "2024-03-05 06:07",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
