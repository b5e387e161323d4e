//! Requests signed with V4 by a signer of this test's own, and whole answers to them.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, Response};
use sha2::{Digest, Sha256};

use super::{BUCKET, Sandbox};

/// One request to be signed with V4 and sent.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub bucket: &'static str,
    pub key: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub secret: &'static str,
    pub access_key_id: &'static str,
    pub region: &'static str,
    pub date: Option<String>,
}

pub fn call(method: Method, key: &str) -> Call {
    Call {
        method,
        bucket: BUCKET,
        key: key.to_owned(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body: Vec::new(),
        secret: "testsk",
        access_key_id: "testak",
        region: "cn-hangzhou",
        date: None,
    }
}

pub fn encode(text: &str) -> String {
    const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, STRICT).to_string()
}

pub fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

impl Call {
    pub fn query(mut self, name: &str, value: impl ToString) -> Call {
        self.query.insert(name.to_owned(), value.to_string());
        self
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Call {
        self.headers.insert(name.to_owned(), value.to_string());
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Call {
        self.body = body.into();
        self
    }

    pub fn path(&self) -> String {
        encode(&self.key).replace("%2F", "/")
    }

    fn query_text(&self) -> String {
        let pair = |(name, value): (&String, &String)| match value.as_str() {
            "" => encode(name),
            value => format!("{}={}", encode(name), encode(value)),
        };
        self.query.iter().map(pair).collect::<Vec<_>>().join("&")
    }

    fn signature(&self, date: &str, scope: &str) -> String {
        let covered = |name: &&String| {
            name.starts_with("x-oss-") || ["content-type", "content-md5"].contains(&name.as_str())
        };
        let headers: String = self
            .headers
            .keys()
            .filter(covered)
            .map(|name| format!("{name}:{}\n", self.headers[name]))
            .collect();
        let path =
            if self.bucket.is_empty() { "/".into() } else { format!("/{}/{}", self.bucket, self.path()) };
        let query = self.query_text();
        let canonical = format!("{}\n{path}\n{query}\n{headers}\n\nUNSIGNED-PAYLOAD", self.method);
        let digest = hex::encode(Sha256::digest(canonical));
        let key = scope
            .split('/')
            .fold(format!("aliyun_v4{}", self.secret).into_bytes(), |key, part| hmac(&key, part));
        hex::encode(hmac(&key, &format!("OSS4-HMAC-SHA256\n{date}\n{scope}\n{digest}")))
    }

    fn date_and_scope(&self) -> (String, String) {
        let now = || Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = self.date.clone().unwrap_or_else(now);
        let scope = format!("{}/{}/oss/aliyun_v4_request", &date[..8], self.region);
        (date, scope)
    }

    pub fn signed(mut self) -> Call {
        let (date, scope) = self.date_and_scope();
        self = self.header("x-oss-date", &date).header("x-oss-content-sha256", "UNSIGNED-PAYLOAD");
        let signature = self.signature(&date, &scope);
        let id = self.access_key_id;
        let authorization = format!("OSS4-HMAC-SHA256 Credential={id}/{scope},Signature={signature}");
        self.header("authorization", authorization)
    }

    /// Signs the query instead; valid for `expires` seconds.
    pub fn presigned(self, expires: i64) -> Call {
        let (date, scope) = self.date_and_scope();
        let credential = format!("{}/{scope}", self.access_key_id);
        let call = self
            .query("x-oss-signature-version", "OSS4-HMAC-SHA256")
            .query("x-oss-credential", credential)
            .query("x-oss-date", &date)
            .query("x-oss-expires", expires);
        let signature = call.signature(&date, &scope);
        call.query("x-oss-signature", signature)
    }

    pub async fn send_as_is(self, server: &Sandbox) -> reqwest::Result<Response> {
        let mut url = format!("{}/", server.oss.endpoint());
        let named_by_host = self.headers.get("host").is_some_and(|host| host.starts_with(self.bucket));
        if !self.bucket.is_empty() && !named_by_host {
            url += &format!("{}/", self.bucket);
        }
        let query = self.query_text();
        url += &format!("{}{}{query}", self.path(), if query.is_empty() { "" } else { "?" });
        let mut request = server.client.request(self.method, url).body(self.body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.send().await
    }

    pub async fn try_send(self, server: &Sandbox) -> reqwest::Result<Response> {
        self.signed().send_as_is(server).await
    }

    pub async fn send(self, server: &Sandbox) -> Answer {
        Answer::of(self.try_send(server).await.unwrap()).await
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn of(response: Response) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The texts of all elements of this name.
    pub fn all(&self, element: &str) -> Vec<&str> {
        let pieces = self.text().split(&format!("<{element}>")).skip(1).collect::<Vec<_>>();
        pieces.iter().map(|piece| piece.split(&format!("</{element}>")).next().unwrap()).collect()
    }

    pub fn one(&self, element: &str) -> &str {
        self.all(element).first().copied().unwrap_or_default()
    }

    pub fn code(&self) -> (u16, &str) {
        (self.status, self.one("Code"))
    }

    pub fn ok(self) -> Answer {
        assert!(self.status < 300, "{} {}", self.status, String::from_utf8_lossy(&self.body));
        self
    }
}
