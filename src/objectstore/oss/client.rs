//! Sends one OSS request until it succeeds, cannot succeed, or its budget is used up.
//!
//! Every attempt is signed afresh, so that a repeated request never carries an old date or an expired token. There is
//! no total timeout: an attempt is given up when no byte moved for [`Operation::patience`].

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderName, HeaderValue};
use object_store::PutPayload;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::clock::Clock;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::operation::Operation;
pub(crate) use super::request::Request;
use super::signing::{Signable, UNSIGNED_PAYLOAD};
use super::xml;
use crate::credentials::{Credentials, CredentialsProvider};
use crate::error::retry::{self, Backoff, Pace, Retry};
use crate::objectstore::{SignatureVersion, StoreOptions};
use crate::{Error, Kind, Result};

/// Longest XML body that is read: a listing of 1000 keys of 1023 percent-encoded bytes has some 4 MB.
const LONGEST_ANSWER_BYTES: usize = 16 << 20;

/// Longest error body that is read.
const LONGEST_ERROR_BYTES: usize = 256 << 10;

/// Bodies are handed to the connection in pieces of this size, so that progress can be seen.
const SENT_PIECE_BYTES: usize = 256 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Codes that get one repeat, after their cause was removed; the codes that refuse the access key are others.
const REPEATED_ONCE: [&str; 2] = ["RequestTimeTooSkewed", "InvalidDigest"];

/// A successful answer whose body was read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A successful answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    response: reqwest::Response,
    operation: Operation,
}

impl Opened {
    /// The next piece of the body, `None` at its end. A connection that was cut is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match timeout(self.operation.patience(), self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => {
                Err(Failure::transport(self.operation, true, "the answer was cut short", Some(error)))
            }
            Err(_) => Err(Failure::transport(self.operation, true, "the answer stopped", None)),
        }
    }

    async fn read_all(&mut self, most_bytes: usize) -> Result<Bytes, Failure> {
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if first.len() + all.len() + piece.len() > most_bytes {
                let reason = format!("the answer is longer than {most_bytes} bytes");
                return Err(Failure::fatal(self.operation, Kind::Corrupt, reason));
            }
            if first.is_empty() && all.is_empty() {
                first = piece;
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&piece);
            }
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    }
}

/// A bucket, and how to talk to it.
pub(crate) struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    pub(crate) bucket: String,
    credentials: CredentialsProvider,
    clock: Clock,
    signature: SignatureVersion,
    retry_budget: Duration,
}

impl Client {
    pub(crate) fn new(
        bucket: &str,
        endpoint: Endpoint,
        credentials: CredentialsProvider,
        options: &StoreOptions,
    ) -> Result<Client> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("otsvault/", env!("CARGO_PKG_VERSION")));
        http = options.network.apply(http, endpoint.is_loopback())?;
        if let Some(name) = endpoint.virtual_host_below_localhost(bucket) {
            // RFC 6761 says where such names are; the system resolver often does not know. Port 0: the URL's.
            http = http.resolve(&name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
        let http = http
            .build()
            .map_err(|error| Error::new(Kind::Internal, "set up the HTTP client").source(error))?;
        let bucket = bucket.to_owned();
        let StoreOptions { retry_budget, signature, .. } = *options;
        Ok(Client { http, endpoint, bucket, credentials, clock: Clock::default(), signature, retry_budget })
    }

    /// Sends the request and reads the whole answer. An error inside a 200 answer is a failure as well.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let mut tries = Tries::new(self.retry_budget);
        loop {
            let failure = match self.attempt(request).await {
                Ok(mut opened) => match opened.read_all(LONGEST_ANSWER_BYTES).await {
                    Ok(body) => match xml::service_error(&body) {
                        None => return Ok(Answer { headers: opened.headers, body }),
                        Some(error) => {
                            let status = status_of_code(&error.code);
                            Failure::answered(request.operation, status, error)
                                .with_request_id(request_id(&opened.headers))
                        }
                    },
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            tries.pause_after(failure, request).await?;
        }
    }

    /// Sends the request and returns as soon as the answer begins.
    pub(crate) async fn open(&self, request: &Request) -> Result<Opened, Failure> {
        let mut tries = Tries::new(self.retry_budget);
        loop {
            match self.attempt(request).await {
                Ok(opened) => return Ok(opened),
                Err(failure) => tries.pause_after(failure, request).await?,
            }
        }
    }

    /// A back-off with this client's retry budget.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.retry_budget)
    }

    async fn attempt(&self, request: &Request) -> Result<Opened, Failure> {
        let operation = request.operation;
        let credentials =
            self.credentials.current().await.map_err(|error| Failure::no_key(operation, error))?;
        let headers = self.signed_headers(request, &credentials)?;
        let url = self.endpoint.url(&self.bucket, request.key.as_deref(), &request.query);
        let progress = Progress::begin();
        let mut builder = self.http.request(operation.method(), url).headers(headers);
        if request.body.content_length() > 0 {
            builder = builder.body(body_in_pieces(&request.body, progress.clone()));
        }
        // What was handed over may still wait in buffers of this machine: allow for 1 MiB/s.
        let patience = operation.patience() + Duration::from_secs(request.body.content_length() as u64 >> 20);
        let response = match progress.watch(builder.send(), patience).await {
            Some(Ok(response)) => response,
            Some(Err(error)) if error.is_connect() => {
                return Err(Failure::transport(operation, false, "no connection", Some(error)));
            }
            Some(Err(error)) if error.is_builder() => {
                return Err(Failure::fatal(operation, Kind::Usage, error.without_url().to_string()));
            }
            Some(Err(error)) => {
                return Err(Failure::transport(operation, true, "the connection broke", Some(error)));
            }
            None => return Err(Failure::transport(operation, true, "no progress", None)),
        };
        let status = response.status();
        let opened =
            Opened { status: status.as_u16(), headers: response.headers().clone(), response, operation };
        if status.is_success() {
            return Ok(opened);
        }
        Err(self.refused(opened, &credentials).await)
    }

    /// Reads the error of an answer that is not a success, and removes its cause if it was the clock or the key.
    async fn refused(&self, mut opened: Opened, used: &Credentials) -> Failure {
        let body = opened.read_all(LONGEST_ERROR_BYTES).await.unwrap_or_default();
        // HEAD has no body: the error is in a header.
        let in_header =
            opened.headers.get("x-oss-err").and_then(|value| BASE64.decode(value.as_bytes()).ok());
        let found = xml::service_error(&body).or_else(|| xml::service_error(&in_header.unwrap_or_default()));
        let mut failure = Failure::answered(opened.operation, opened.status, found.unwrap_or_default())
            .with_request_id(request_id(&opened.headers));
        let hopeless = match failure.code.as_str() {
            "RequestTimeTooSkewed" => {
                let date = opened.headers.get(DATE).and_then(|date| date.to_str().ok());
                !date.is_some_and(|date| self.clock.correct(date))
            }
            code if retry::refuses_the_key(code) => !self.replace_key(used).await,
            _ => false,
        };
        if hopeless {
            failure.retry = Retry::Never;
        }
        failure
    }

    /// Whether there is another key than the refused one: it was rotated, or its token ended before its time.
    async fn replace_key(&self, refused: &Credentials) -> bool {
        match self.credentials.replace(refused).await {
            Ok(newer) => newer.is_some(),
            Err(error) => {
                // The refusal itself is what the caller gets to see.
                tracing::warn!(%error, "the access key was refused and there is no other one");
                false
            }
        }
    }

    fn signed_headers(&self, request: &Request, credentials: &Credentials) -> Result<HeaderMap, Failure> {
        let operation = request.operation;
        let stamp = match self.signature {
            SignatureVersion::V4 => self.clock.stamp(),
            SignatureVersion::V1 => self.clock.date(),
        };
        let mut headers = request.headers.clone();
        match self.signature {
            SignatureVersion::V4 => {
                headers.push(("x-oss-content-sha256".to_owned(), UNSIGNED_PAYLOAD.to_owned()));
                headers.push(("x-oss-date".to_owned(), stamp.clone()));
            }
            SignatureVersion::V1 => headers.push(("date".to_owned(), stamp.clone())),
        }
        if let Some(token) = credentials.token() {
            headers.push(("x-oss-security-token".to_owned(), token.to_owned()));
        }
        let method = operation.method();
        let signable = Signable {
            method: method.as_str(),
            bucket: &self.bucket,
            key: request.key.as_deref(),
            query: &request.query,
            headers: &headers,
        };
        let authorization = match self.signature {
            SignatureVersion::V4 => signable.authorization(credentials, &self.endpoint.region, &stamp),
            SignatureVersion::V1 => signable.authorization_v1(credentials, &stamp),
        };
        let mut map = HeaderMap::with_capacity(headers.len() + 2);
        for (name, value) in &headers {
            let unusable = || {
                let reason = format!("header `{name}` has characters that HTTP cannot send");
                Failure::fatal(operation, Kind::Usage, reason)
            };
            let header = HeaderName::try_from(name.as_str()).map_err(|_| unusable())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
            value.set_sensitive(name == "x-oss-security-token");
            map.append(header, value);
        }
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| {
            Failure::fatal(
                operation,
                Kind::Permission,
                "the access key id has characters that HTTP cannot send",
            )
        })?;
        value.set_sensitive(true);
        map.insert(AUTHORIZATION, value);
        if matches!(method, http::Method::PUT | http::Method::POST) {
            map.insert(CONTENT_LENGTH, HeaderValue::from(request.body.content_length()));
        }
        Ok(map)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// What happened to one request so far.
struct Tries {
    backoff: Backoff,
    ambiguous: bool,
    repeated: Vec<String>,
}

impl Tries {
    fn new(budget: Duration) -> Tries {
        Tries { backoff: Backoff::new(budget), ambiguous: false, repeated: Vec::new() }
    }

    /// Waits until the request may be sent again, or gives the failure back.
    async fn pause_after(&mut self, mut failure: Failure, request: &Request) -> Result<(), Failure> {
        self.ambiguous |= failure.ambiguous;
        let look_first = request.look_first && failure.ambiguous;
        failure.ambiguous = self.ambiguous;
        if look_first {
            return Err(failure);
        }
        let code = failure.code.as_str();
        let once = REPEATED_ONCE.contains(&code) || retry::refuses_the_key(code);
        if once && self.repeated.contains(&failure.code) {
            return Err(failure);
        }
        // Every operation is harmless to repeat, see `Operation`.
        let pace: Pace = match failure.retry.pace(true) {
            Some(pace) => pace,
            None => return Err(failure),
        };
        let Some(pause) = self.backoff.next_pause(pace) else { return Err(failure) };
        if once {
            self.repeated.push(failure.code.clone());
        }
        self.log(&failure, request, pause);
        sleep(pause).await;
        Ok(())
    }

    /// A passing fault is nobody's business; one that stays is said now and then.
    fn log(&self, failure: &Failure, request: &Request, pause: Duration) {
        let attempt = self.backoff.attempts();
        let operation = request.operation.doing();
        let object = request.key.as_deref().unwrap_or_default();
        let pause_ms = pause.as_millis() as u64;
        let (status, code, reason) = (failure.status, failure.code.as_str(), failure.reason());
        if attempt.is_multiple_of(8) {
            tracing::warn!(%operation, object, attempt, pause_ms, status, code, reason, "oss request keeps failing");
        } else {
            tracing::debug!(%operation, object, attempt, pause_ms, status, code, reason, "oss request failed");
        }
    }
}

/// When a byte last moved.
#[derive(Clone)]
struct Progress {
    began: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Progress {
    fn begin() -> Progress {
        Progress { began: Instant::now(), last_ms: Arc::new(AtomicU64::new(0)) }
    }

    fn touch(&self) {
        self.last_ms.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Runs the future until it ends, or `None` when nothing moved for `patience`.
    async fn watch<F: Future>(&self, future: F, patience: Duration) -> Option<F::Output> {
        tokio::pin!(future);
        loop {
            let last = self.last_ms.load(Ordering::Relaxed);
            let deadline = self.began + Duration::from_millis(last) + patience;
            tokio::select! {
                biased;
                output = &mut future => return Some(output),
                () = sleep_until(deadline) => {
                    if self.last_ms.load(Ordering::Relaxed) == last {
                        return None;
                    }
                }
            }
        }
    }
}

fn body_in_pieces(payload: &PutPayload, progress: Progress) -> reqwest::Body {
    let pieces = payload.clone().into_iter().flat_map(|buffer| {
        (0..buffer.len())
            .step_by(SENT_PIECE_BYTES)
            .map(move |start| buffer.slice(start..buffer.len().min(start + SENT_PIECE_BYTES)))
    });
    let pieces = pieces.map(move |piece| {
        progress.touch();
        Ok::<Bytes, std::convert::Infallible>(piece)
    });
    reqwest::Body::wrap_stream(futures::stream::iter(pieces))
}

/// The status that would have come with this code, for an error inside a 200 answer.
fn status_of_code(code: &str) -> u16 {
    match code {
        "InternalError" | "" => 500,
        "ServiceUnavailable" | "ActiveRequestLimitExceeded" => 503,
        _ if code.ends_with("QpsLimitExceeded") || code.ends_with("TrafficRateLimitExceeded") => 503,
        "AccessDenied" => 403,
        "NoSuchUpload" | "NoSuchKey" | "NoSuchBucket" => 404,
        "FileAlreadyExists" => 409,
        _ => 400,
    }
}

/// The request id of an answer.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("x-oss-request-id")?.to_str().ok()?.to_owned())
}

/// The CRC64 that the service computed.
pub(crate) fn crc64_of(headers: &HeaderMap) -> Option<u64> {
    headers.get("x-oss-hash-crc64ecma")?.to_str().ok()?.trim().parse().ok()
}

/// A header as text.
pub(crate) fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_given_up_when_nothing_moves_and_not_while_something_does() {
        let progress = Progress::begin();
        let patience = Duration::from_millis(60);
        assert_eq!(progress.watch(std::future::pending::<()>(), patience).await, None);

        let progress = Progress::begin();
        let began = Instant::now();
        let moving = async {
            while began.elapsed() < 4 * patience {
                progress.touch();
                sleep(patience / 6).await;
            }
        };
        assert_eq!(progress.watch(moving, patience).await, Some(()));
    }
}
