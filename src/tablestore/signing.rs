//! Request signatures V2 and V4, with or without a security token.
//!
//! ```text
//! string-to-sign = "/" operation "\nPOST\n\n", then per x-ots-* header, sorted: name ":" value "\n"
//! V2: x-ots-signature   = base64(HMAC-SHA1(secret, string-to-sign))
//! V4: x-ots-signaturev4 = base64(HMAC-SHA256(day key, string-to-sign + "ots"))
//!     day key = base64 TEXT of HMAC-SHA256 chained over: "aliyun_v4" + secret, date, region, "ots", "aliyun_v4_request"
//! ```
//!
//! The signature over the response is not checked: TLS and the checksums of the rows do that work.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::Sha256;

use super::config::Signature;
use crate::credentials::Credentials;

/// API version that every SDK sends.
const API_VERSION: &str = "2015-12-31";

/// Bodies up to this size are hashed where they are: at 0.6 GB/s that is a tenth of a millisecond.
const HASHED_IN_PLACE: usize = 64 << 10;

/// Base64 of the MD5 of `body`, as in `x-ots-contentmd5`. Large bodies are hashed on a blocking thread.
pub(super) async fn content_md5(body: &Bytes) -> String {
    let hash = |body: &[u8]| BASE64.encode(Md5::digest(body));
    if body.len() <= HASHED_IN_PLACE {
        return hash(body);
    }
    let shared = body.clone();
    // The thread fails only while the runtime shuts down.
    tokio::task::spawn_blocking(move || hash(&shared)).await.unwrap_or_else(|_| hash(body))
}

/// Makes the headers of a request.
pub(super) struct Signer {
    instance: String,
    signature: Signature,
    /// The V4 key of a day; it changes at midnight UTC, and with the access key.
    day_key: Mutex<Option<DayKey>>,
}

impl Signer {
    pub(super) fn new(instance: String, signature: Signature) -> Signer {
        Signer { instance, signature, day_key: Mutex::new(None) }
    }

    /// Every `x-ots-*` header of a request sent at `now`, `extra` ones included, the signature last. `md5` is the
    /// body's [`content_md5`].
    pub(super) fn headers(
        &self,
        credentials: &Credentials,
        operation: &str,
        md5: &str,
        now: jiff::Timestamp,
        extra: &[(&'static str, String)],
    ) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("x-ots-date", now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()),
            ("x-ots-apiversion", API_VERSION.to_owned()),
            ("x-ots-accesskeyid", credentials.access_key_id.clone()),
            ("x-ots-instancename", self.instance.clone()),
            ("x-ots-contentmd5", md5.to_owned()),
        ];
        headers.extend_from_slice(extra);
        if let Some(token) = credentials.token() {
            headers.push(("x-ots-ststoken", token.to_owned()));
        }
        let date = now.strftime("%Y%m%d").to_string();
        if let Signature::V4 { region } = &self.signature {
            headers.push(("x-ots-signdate", date.clone()));
            headers.push(("x-ots-signregion", region.clone()));
        }
        headers.sort_unstable();
        let mut text = format!("/{operation}\nPOST\n\n");
        for (name, value) in &headers {
            text.extend([name, ":", value.trim(), "\n"]);
        }
        headers.push(match &self.signature {
            Signature::V2 => ("x-ots-signature", sign_v2(credentials, &text)),
            Signature::V4 { region } => {
                ("x-ots-signaturev4", self.sign_v4(credentials, &text, &date, region))
            }
        });
        headers
    }

    fn sign_v4(&self, credentials: &Credentials, text: &str, date: &str, region: &str) -> String {
        let mut cached = self.day_key.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let key = match &*cached {
            Some(DayKey { date: day, of, key }) if day == date && of.is_same(credentials) => key.clone(),
            _ => {
                let key = SecretString::from(day_key(credentials.secret(), date, region));
                *cached = Some(DayKey { date: date.to_owned(), of: credentials.clone(), key: key.clone() });
                key
            }
        };
        drop(cached);
        let key = key.expose_secret().as_bytes();
        BASE64.encode(keyed::<Hmac<Sha256>>(key, format!("{text}ots").as_bytes()))
    }
}

struct DayKey {
    date: String,
    of: Credentials,
    key: SecretString,
}

fn sign_v2(credentials: &Credentials, text: &str) -> String {
    BASE64.encode(keyed::<Hmac<Sha1>>(credentials.secret().as_bytes(), text.as_bytes()))
}

fn day_key(secret: &str, date: &str, region: &str) -> String {
    let mut key = format!("aliyun_v4{secret}").into_bytes();
    for step in [date, region, "ots", "aliyun_v4_request"] {
        key = keyed::<Hmac<Sha256>>(&key, step.as_bytes());
    }
    BASE64.encode(key)
}

fn keyed<M: Mac + hmac::digest::KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    // An HMAC takes a key of any length; the empty answer would only fail to verify.
    match <M as Mac>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(text).finalize().into_bytes().to_vec(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_request_that_the_sdks_signed_gets_the_same_headers() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/vectors/signing.json")).unwrap();
        let requests = file["requests"].as_array().unwrap();
        assert_eq!(requests.len(), 6);
        for case in requests {
            let id = case["id"].as_str().unwrap();
            let expected = case["headers"].as_object().unwrap();
            let credentials = Credentials::new(
                case["access_key_id"].as_str().unwrap(),
                case["access_key_secret"].as_str().unwrap(),
                case["sts_token"].as_str().map(str::to_owned),
            );
            let signature = match expected.get("x-ots-signregion") {
                Some(region) => Signature::V4 { region: region.as_str().unwrap().to_owned() },
                None => Signature::V2,
            };
            let signer = Signer::new(case["instance"].as_str().unwrap().to_owned(), signature);
            let known = |name: &str| signer_header_names().contains(&name);
            let extra: Vec<_> = expected
                .iter()
                .filter(|(name, _)| !known(name))
                .map(|(name, value)| (&*name.clone().leak(), value.as_str().unwrap().to_owned()))
                .collect();
            let body = hex::decode(case["body_hex"].as_str().unwrap()).unwrap();
            let md5 = content_md5(&body.into()).await;
            let now: jiff::Timestamp = "2024-03-05T06:07:08Z".parse().unwrap();
            // Twice: the second time with the cached key of the day.
            for _ in 0..2 {
                let headers = signer.headers(&credentials, case["api"].as_str().unwrap(), &md5, now, &extra);
                assert_eq!(headers.len(), expected.len(), "{id}");
                for (name, value) in headers {
                    assert_eq!(Some(value.trim()), expected[name].as_str().map(str::trim), "{id}: {name}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_body_has_the_same_md5_in_place_and_on_a_blocking_thread() {
        for size in [HASHED_IN_PLACE, HASHED_IN_PLACE + 1] {
            let body = Bytes::from(vec![7; size]);
            assert_eq!(content_md5(&body).await, BASE64.encode(Md5::digest(&body)));
        }
    }

    fn signer_header_names() -> [&'static str; 10] {
        [
            "x-ots-date",
            "x-ots-apiversion",
            "x-ots-accesskeyid",
            "x-ots-instancename",
            "x-ots-contentmd5",
            "x-ots-ststoken",
            "x-ots-signdate",
            "x-ots-signregion",
            "x-ots-signature",
            "x-ots-signaturev4",
        ]
    }
}
