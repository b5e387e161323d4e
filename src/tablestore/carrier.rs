//! What takes a request to its answer: plain connections where they are enough, otherwise a general client.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use url::Url;

use super::body_buffers::BodyBuffers;
use super::config::TableStoreConfig;
use super::failure::Failure;
use super::plain_http::{PlainError, PlainHttp};
use crate::{Error, Kind, Result};

/// A host that does not answer a connection attempt in this time is tried again.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence while an answer arrives, or before it begins.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest exchange: a server that sends a byte now and then must not hold a worker for ever.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes set aside for a body before the first of them has arrived, at most.
pub(super) const FIRST_ALLOCATION: usize = 8 << 20;
/// Names the program to the service.
pub(super) const USER_AGENT: &str = concat!("otsvault/", env!("CARGO_PKG_VERSION"));

/// Sends POST requests to one endpoint.
pub(super) struct Carrier {
    way: Way,
    buffers: BodyBuffers,
    most_bytes: usize,
}

enum Way {
    /// No TLS, no proxy.
    Plain(PlainHttp),
    /// `base` is the endpoint without a slash at its end.
    Client { client: reqwest::Client, base: String },
    /// Nothing is sent; this is the answer to everything.
    Prepared(Response),
}

/// A whole answer.
#[derive(Clone)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body came with a length, or in chunks with a last one: none of it is missing.
    pub(super) has_an_end: bool,
}

impl Response {
    /// A header, if it is there and text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(&self.headers, name)
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

impl Carrier {
    /// To `endpoint`, with the limits and the network of `config`.
    pub(super) fn new(endpoint: &Url, config: &TableStoreConfig) -> Result<Carrier> {
        let loopback = is_loopback(endpoint);
        let plain = match config.network.may_use_a_proxy(loopback) {
            true => None,
            false => PlainHttp::new(endpoint, config.idle_connections),
        };
        let way = match plain {
            Some(plain) => Way::Plain(plain),
            None => {
                let client = reqwest::Client::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(READ_TIMEOUT)
                    .timeout(EXCHANGE_TIMEOUT)
                    .redirect(reqwest::redirect::Policy::none())
                    .http1_only()
                    .tcp_nodelay(true)
                    .pool_max_idle_per_host(config.idle_connections)
                    .user_agent(USER_AGENT);
                let client = config.network.apply(client, loopback)?.build();
                let client =
                    client.map_err(|error| Error::new(Kind::Io, "set up the HTTP client").source(error))?;
                Way::Client { client, base: endpoint.as_str().trim_end_matches('/').to_owned() }
            }
        };
        Ok(Carrier { way, buffers: BodyBuffers::default(), most_bytes: config.max_response_bytes })
    }

    /// Answers everything with `response`.
    pub(super) fn prepared(response: Response) -> Carrier {
        Carrier { way: Way::Prepared(response), buffers: BodyBuffers::default(), most_bytes: usize::MAX }
    }

    /// Sends `body` to `path`, which begins with a slash, once.
    pub(super) async fn post(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, Failure> {
        match &self.way {
            Way::Plain(plain) => {
                let (buffers, most_bytes) = (&self.buffers, self.most_bytes);
                let answer = plain.post(path, &headers, body, buffers, most_bytes).await;
                let answer = answer.map_err(|error| self.plain_failure(error))?;
                Ok(Response {
                    status: answer.status,
                    headers: answer.headers,
                    body: buffers.freeze(answer.body),
                    has_an_end: answer.has_an_end,
                })
            }
            Way::Client { client, base } => {
                let request = client.post(format!("{base}{path}")).headers(headers).body(body);
                self.read(request.send().await.map_err(client_failure)?).await
            }
            Way::Prepared(response) => Ok(response.clone()),
        }
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Response, Failure> {
        let too_large = |headers: &HeaderMap| self.too_large(headers);
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > self.most_bytes) {
            return Err(too_large(response.headers()));
        }
        let has_an_end = announced.is_some() || response.headers().contains_key(TRANSFER_ENCODING);
        let mut body = self.buffers.take(announced.unwrap_or(0).min(FIRST_ALLOCATION));
        while let Some(chunk) = response.chunk().await.map_err(client_failure)? {
            if body.len() + chunk.len() > self.most_bytes {
                return Err(too_large(response.headers()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: self.buffers.freeze(body),
            has_an_end,
        })
    }

    fn too_large(&self, headers: &HeaderMap) -> Failure {
        Failure::TooLarge { limit: self.most_bytes, request_id: text(headers, "x-ots-requestid") }
    }

    fn plain_failure(&self, error: PlainError) -> Failure {
        if let PlainError::TooLarge { headers } = &error {
            return self.too_large(headers);
        }
        Failure::Transport {
            sent: !matches!(error, PlainError::Connect(_)),
            timed_out: error.is_timeout(),
            source: error.into(),
        }
    }
}

fn client_failure(error: reqwest::Error) -> Failure {
    Failure::Transport { sent: !error.is_connect(), timed_out: error.is_timeout(), source: error.into() }
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
