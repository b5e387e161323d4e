//! The six ways to prove who sends a request, by a signer of this test's own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::Sandbox;
use super::signed_call::{Answer, Call, encode, hmac};

/// A kind of signature, in headers or in the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    V4,
    V4Url,
    V1,
    V1Url,
    S3,
    S3Url,
}

pub const ALL: [Scheme; 6] =
    [Scheme::V4, Scheme::V4Url, Scheme::V1, Scheme::V1Url, Scheme::S3, Scheme::S3Url];

/// How long the URLs of this test are valid, in seconds.
const VALID: i64 = 60;

const LONG: &str = "%Y%m%dT%H%M%SZ";

impl Scheme {
    pub fn is_url(self) -> bool {
        matches!(self, Scheme::V4Url | Scheme::V1Url | Scheme::S3Url)
    }

    /// The prefix of headers in this scheme's words.
    pub fn prefix(self) -> &'static str {
        if matches!(self, Scheme::S3 | Scheme::S3Url) { "x-amz-" } else { "x-oss-" }
    }

    /// The request signed as if it were `offset_seconds` later.
    pub fn sign(self, call: Call, server: &Sandbox, offset_seconds: i64) -> Call {
        let now = Timestamp::now() + SignedDuration::from_secs(offset_seconds);
        let long = now.strftime(LONG).to_string();
        match self {
            Scheme::V4 => Call { date: Some(long), ..call }.signed(),
            Scheme::V4Url => Call { date: Some(long), ..call }.presigned(VALID),
            Scheme::V1 => {
                let call = call.header("date", now.strftime("%a, %d %b %Y %H:%M:%S GMT"));
                let date = call.headers["date"].clone();
                let signature = v1(&call, &date);
                let authorization = format!("OSS {}:{signature}", call.access_key_id);
                call.header("authorization", authorization)
            }
            Scheme::V1Url => {
                let expires = now.as_second() + VALID;
                let signature = v1(&call, &expires.to_string());
                let id = call.access_key_id;
                call.query("OSSAccessKeyId", id).query("Expires", expires).query("Signature", signature)
            }
            Scheme::S3 => {
                let hash = hex::encode(Sha256::digest(&call.body));
                let call = call.header("x-amz-date", &long).header("x-amz-content-sha256", &hash);
                let call = call.header("host", server.oss.endpoint().replace("http://", ""));
                let (scope, names, signature) = s3(&call, &long, &hash);
                let id = call.access_key_id;
                let fields = format!("Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
                call.header("authorization", format!("AWS4-HMAC-SHA256 {fields}"))
            }
            Scheme::S3Url => {
                let call = call.header("host", server.oss.endpoint().replace("http://", ""));
                let names: Vec<&str> =
                    call.headers.keys().filter(|name| s3_signs(name)).map(String::as_str).collect();
                let names = names.join(";");
                let credential = format!("{}/{}", call.access_key_id, s3_scope(&call, &long));
                let call = call
                    .query("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
                    .query("X-Amz-Credential", credential)
                    .query("X-Amz-Date", &long)
                    .query("X-Amz-Expires", VALID)
                    .query("X-Amz-SignedHeaders", names);
                let (_, _, signature) = s3(&call, &long, "UNSIGNED-PAYLOAD");
                call.query("X-Amz-Signature", signature)
            }
        }
    }

    /// Signs, changes something, sends.
    pub async fn send(
        self,
        call: Call,
        server: &Sandbox,
        offset_seconds: i64,
        change: impl FnOnce(Call) -> Call,
    ) -> Answer {
        let signed = change(self.sign(call, server, offset_seconds));
        Answer::of(signed.send_as_is(server).await.unwrap()).await
    }

    /// Another signature of the same length.
    pub fn forge(self, mut call: Call) -> Call {
        let flip = |text: &mut String, at: usize| {
            let other = if text.as_bytes()[at] == b'1' { "2" } else { "1" };
            text.replace_range(at..=at, other);
        };
        if self.is_url() {
            let name = call.query.keys().find(|name| name.to_lowercase().ends_with("signature")).cloned();
            flip(call.query.get_mut(&name.unwrap()).unwrap(), 3);
        } else {
            let value = call.headers.get_mut("authorization").unwrap();
            let at = value.len() - 8;
            flip(value, at);
        }
        call
    }
}

fn v1(call: &Call, date: &str) -> String {
    let header = |name: &str| call.headers.get(name).cloned().unwrap_or_default();
    let lines: String = call
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-"))
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let text = format!(
        "{}\n{}\n{}\n{date}\n{lines}/{}/{}",
        call.method,
        header("content-md5"),
        header("content-type"),
        call.bucket,
        call.key
    );
    let mut mac = Hmac::<Sha1>::new_from_slice(call.secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn s3_signs(name: &str) -> bool {
    name == "host" || name.starts_with("x-amz-") || name.starts_with("content-")
}

fn s3_scope(call: &Call, date: &str) -> String {
    format!("{}/{}/s3/aws4_request", &date[..8], call.region)
}

/// Scope, names of the signed headers, signature.
fn s3(call: &Call, date: &str, hash: &str) -> (String, String, String) {
    let signed: Vec<(&String, &String)> = call.headers.iter().filter(|(name, _)| s3_signs(name)).collect();
    let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let query: Vec<String> =
        call.query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let canonical = format!(
        "{}\n/{}/{}\n{}\n{headers}\n{names}\n{hash}",
        call.method,
        call.bucket,
        call.path(),
        query.join("&")
    );
    let scope = s3_scope(call, date);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let key =
        scope.split('/').fold(format!("AWS4{}", call.secret).into_bytes(), |key, part| hmac(&key, part));
    (scope, names, hex::encode(hmac(&key, &text)))
}
