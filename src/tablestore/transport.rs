//! One HTTP exchange: a signed POST, the whole answer within bounds.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use url::Url;

use super::body_buffers::BodyBuffers;
use super::config::{Priority, TableStoreConfig};
use super::failure::Failure;
use super::signing::{Signer, content_md5};
use crate::credentials::{Credentials, CredentialsProvider};
use crate::{Error, Kind, Result};

/// A host that does not answer a connection attempt in this time is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence while an answer arrives, or before it begins.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest exchange: a server that sends a byte now and then must not hold a worker for ever.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes set aside for a body before the first of them has arrived, at most.
const FIRST_ALLOCATION: usize = 8 << 20;

pub(super) struct Transport {
    carrier: Carrier,
    endpoint: String,
    credentials: CredentialsProvider,
    signer: Signer,
    verify_md5: bool,
    priority: Option<Priority>,
    max_response_bytes: usize,
    bodies: BodyBuffers,
}

/// What takes requests to their answers.
enum Carrier {
    Http(reqwest::Client),
    /// Nothing is sent; this is the answer to everything.
    Prepared(Answer),
}

/// A complete answer.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) request_id: Option<String>,
    /// `x-ots-contentmd5` as sent.
    md5: Option<String>,
    pub(super) content_type: Option<String>,
}

impl Answer {
    /// Whether the body differs from what the service says it sent; `false` if it does not say.
    pub(super) async fn is_damaged(&self) -> bool {
        match &self.md5 {
            Some(md5) => *md5 != content_md5(&self.body).await,
            None => false,
        }
    }
}

impl Transport {
    pub(super) fn new(config: TableStoreConfig) -> Result<Transport> {
        let url = check_endpoint(&config.endpoint)?;
        check_instance(&config.instance)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(EXCHANGE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(config.idle_connections)
            .user_agent(concat!("otsvault/", env!("CARGO_PKG_VERSION")));
        let http = config.network.apply(http, is_loopback(&url))?;
        let http =
            http.build().map_err(|error| Error::new(Kind::Io, "set up the HTTP client").source(error))?;
        Ok(Transport {
            carrier: Carrier::Http(http),
            endpoint: url.as_str().trim_end_matches('/').to_owned(),
            credentials: config.credentials,
            signer: Signer::new(config.instance, config.signature),
            verify_md5: config.verify_response_md5,
            priority: config.priority,
            max_response_bytes: config.max_response_bytes,
            bodies: BodyBuffers::default(),
        })
    }

    /// Answers every request with `body`, as a success without an MD5.
    pub(super) fn answering(config: TableStoreConfig, body: Bytes) -> Transport {
        let answer = Answer {
            status: 200,
            body,
            request_id: Some("prepared".to_owned()),
            md5: None,
            content_type: None,
        };
        Transport {
            carrier: Carrier::Prepared(answer),
            endpoint: config.endpoint,
            credentials: config.credentials,
            signer: Signer::new(config.instance, config.signature),
            verify_md5: false,
            priority: None,
            max_response_bytes: config.max_response_bytes,
            bodies: BodyBuffers::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Who gives the access key of each attempt.
    pub(super) fn credentials(&self) -> &CredentialsProvider {
        &self.credentials
    }

    /// Sends `body`, whose MD5 is `md5`, once, signed with `credentials` for this moment.
    pub(super) async fn exchange(
        &self,
        operation: &str,
        body: Bytes,
        md5: &str,
        credentials: &Credentials,
    ) -> Result<Answer, Failure> {
        let http = match &self.carrier {
            Carrier::Http(http) => http,
            Carrier::Prepared(answer) => return Ok(answer.clone()),
        };
        let mut headers = HeaderMap::new();
        let now = jiff::Timestamp::now();
        let priority =
            self.priority.map(|priority| ("x-ots-request-priority", priority.header_value().to_owned()));
        for (name, value) in self.signer.headers(credentials, operation, md5, now, priority.as_slice()) {
            let mut value = HeaderValue::from_str(value.trim()).map_err(|_| Failure::HeaderValue)?;
            value.set_sensitive(name.starts_with("x-ots-signature") || name == "x-ots-ststoken");
            headers.insert(HeaderName::from_static(name), value);
        }
        let request = http.post(format!("{}/{operation}", self.endpoint)).headers(headers).body(body);
        let response = request.send().await.map_err(Failure::transport)?;

        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let mut answer = Answer {
            status: response.status().as_u16(),
            body: Bytes::new(),
            request_id: text("x-ots-requestid").map(str::to_owned),
            md5: text("x-ots-contentmd5").map(str::to_owned),
            content_type: text(CONTENT_TYPE.as_str()).map(str::to_owned),
        };
        let has_an_end =
            response.content_length().is_some() || response.headers().contains_key(TRANSFER_ENCODING);
        answer.body = self.read_body(response, answer.request_id.as_deref()).await?;
        // A body that ends with its connection may have lost its tail; only the MD5 can tell.
        if (self.verify_md5 || !has_an_end) && answer.md5.is_none() && answer.status < 300 {
            return Err(Failure::Damaged { request_id: answer.request_id, md5: false });
        }
        if (self.verify_md5 || !has_an_end) && answer.is_damaged().await {
            return Err(Failure::Damaged { request_id: answer.request_id, md5: true });
        }
        Ok(answer)
    }

    async fn read_body(&self, mut response: reqwest::Response, id: Option<&str>) -> Result<Bytes, Failure> {
        let too_large =
            || Failure::TooLarge { limit: self.max_response_bytes, request_id: id.map(str::to_owned) };
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > self.max_response_bytes) {
            return Err(too_large());
        }
        let mut body = self.bodies.take(announced.unwrap_or(0).min(FIRST_ALLOCATION));
        while let Some(chunk) = response.chunk().await.map_err(Failure::transport)? {
            if body.len() + chunk.len() > self.max_response_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(self.bodies.freeze(body))
    }
}

fn check_endpoint(endpoint: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Error::new(Kind::Usage, "use the Table Store endpoint")
            .because(why)
            .hint("an endpoint looks like `https://<instance>.<region>.ots.aliyuncs.com`")
    };
    let url = Url::parse(endpoint.trim()).map_err(|error| wrong("it is not a URL").source(error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it is not an `http` or `https` URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it contains a user name or password"));
    }
    if !url.path().trim_matches('/').is_empty() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("there is something after the host").hint("the instance is not part of the path"));
    }
    Ok(url)
}

/// Whether the endpoint is this machine, which no proxy can reach.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn check_instance(instance: &str) -> Result<()> {
    if instance.trim().is_empty() || HeaderValue::from_str(instance.trim()).is_err() {
        return Err(Error::new(Kind::Usage, "use the instance name")
            .because("it is empty or has characters that a header cannot carry"));
    }
    Ok(())
}
