//! A small HTTP/1.1 server on loopback: raw paths, streamed bodies, keep-alive, `Expect: 100-continue`.
//!
//! Promises to a [`Handler`]: path and query arrive as they were on the wire, never decoded; the request body is read
//! only when asked for (that is also when `100 Continue` goes out); a reply always carries `Content-Length`, except for
//! 204 and 304; the connection can be dropped unanswered ([`Answer::Drop`]) or in the middle of a body
//! ([`Body::cut_after`]). What a handler leaves unread of a body is read and thrown away, up to 64 MiB, so that a
//! client that is still sending sees the reply and not a reset connection.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use self::body::Body;
use super::faults::Pace;
use crate::error::Context as _;
use crate::{Kind, Result};

mod body;

/// How much of an unread request body is thrown away before the reply, in bytes.
const DRAIN_BYTES: u64 = 64 << 20;

/// How long [`Server::stop`] waits for requests in flight.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Answers requests; called from many tasks at once.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle<'a>(&'a self, request: &'a mut Request) -> impl Future<Output = Answer> + Send + 'a;
}

/// One request. The head is complete, the body is still on the wire.
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as sent, still percent-encoded; starts with `/`.
    pub path: String,
    /// What followed the first `?`, as sent; empty without one.
    pub query: String,
    /// The headers; names are lower case.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
}

impl Request {
    /// The value of a header, if it is there and readable as text. Bytes above 127 are taken as UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }
}

/// The body of a request, read piece by piece.
pub struct RequestBody {
    incoming: Incoming,
    read: u64,
    damage: Option<Damage>,
    pace: Option<Pace>,
}

/// What happens to a request's body on its way.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    /// The connection is lost after half of it.
    Cut,
    /// `xor` is XORed into the byte at `offset`.
    Flip {
        /// From 0.
        offset: u64,
        /// The pattern.
        xor: u8,
    },
}

impl RequestBody {
    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// When the client closed the connection or broke the framing.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let polled = std::future::poll_fn(|cx| Pin::new(&mut self.incoming).poll_frame(cx)).await;
            match polled {
                None => return Ok(None),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return self.arrived(data).await.map(Some);
                    }
                }
            }
        }
    }

    /// Lets the rest of the body arrive damaged.
    pub fn damage(&mut self, damage: Damage) {
        self.damage = Some(damage);
    }

    /// Lets the rest of the body arrive at this pace.
    pub fn pace(&mut self, pace: Pace) {
        self.pace = Some(pace);
    }

    async fn arrived(&mut self, data: Bytes) -> io::Result<Bytes> {
        let start = self.read;
        self.read += data.len() as u64;
        if let Some(pace) = &self.pace {
            pace.pass(data.len() as u64).await;
        }
        match self.damage {
            Some(Damage::Cut) => {
                let left = self.incoming.size_hint().exact().unwrap_or(0);
                // At least half of it is here.
                if self.read >= left { Err(io::Error::other("cut on request")) } else { Ok(data) }
            }
            Some(Damage::Flip { offset, xor }) => Ok(flipped(data, start, offset, xor)),
            None => Ok(data),
        }
    }

    /// The rest of the body in one piece, or `None` when it is longer than `limit_bytes`.
    ///
    /// # Errors
    /// As [`RequestBody::next`].
    pub async fn read_all(&mut self, limit_bytes: usize) -> io::Result<Option<Bytes>> {
        let announced = self.incoming.size_hint().lower();
        let mut whole = BytesMut::with_capacity(limit_bytes.min(usize::try_from(announced).unwrap_or(0)));
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > limit_bytes {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }

    /// Bytes handed out so far.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    async fn drain(&mut self) {
        let mut left = DRAIN_BYTES;
        while !self.incoming.is_end_stream() {
            match self.next().await {
                Ok(Some(piece)) if piece.len() as u64 <= left => left -= piece.len() as u64,
                _ => break,
            }
        }
    }
}

/// `data`, which begins at `start` of a body, with `xor` XORed into the body's byte at `offset`.
pub fn flipped(data: Bytes, start: u64, offset: u64, xor: u8) -> Bytes {
    let at = offset.checked_sub(start).and_then(|at| usize::try_from(at).ok());
    let Some(at) = at.filter(|at| *at < data.len()) else { return data };
    let mut damaged = Vec::from(data);
    damaged[at] ^= xor;
    damaged.into()
}

/// What becomes of a request.
pub enum Answer {
    /// Reply with this.
    Reply(Reply),
    /// Close the connection without a word.
    Drop,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Reply(reply)
    }
}

/// A reply. `Content-Length` is set from the body unless the handler set it (a HEAD does).
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Reply {
    /// An empty reply.
    pub fn new(status: StatusCode) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: Body::empty() }
    }

    /// With a header. A value that no header can hold (a control character) is left out.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Reply {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_ref()));
        if let (Ok(name), Ok(value)) = parsed {
            self.headers.insert(name, value);
        }
        self
    }

    /// With a body.
    pub fn with_body(mut self, body: impl Into<Body>) -> Reply {
        self.body = body.into();
        self
    }
}

/// A running server. Dropping it closes everything at once; [`Server::stop`] lets requests in flight finish.
pub struct Server {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens on `127.0.0.1:port`; port 0 takes a free one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Kind::Io`] when the port is taken.
    pub async fn start(port: u16, handler: Arc<impl Handler>) -> Result<Server> {
        let doing = || format!("listen on 127.0.0.1:{port}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.doing(Kind::Io, doing())?;
        let address = listener.local_addr().doing(Kind::Io, doing())?;
        let (stopping, stop) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, handler, stop));
        Ok(Server { address, stopping, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more, lets requests in flight finish for up to 5 seconds, then closes what is left.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        if tokio::time::timeout(STOP_GRACE, &mut self.accepting).await.is_err() {
            self.accepting.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, handler: Arc<impl Handler>, mut stop: watch::Receiver<bool>) {
    // Dropping the set aborts its connections.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&handler), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "sandbox cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            Some(finished) = connections.join_next() => report(finished),
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    while let Some(finished) = connections.join_next().await {
        report(finished);
    }
}

fn report(finished: std::result::Result<(), tokio::task::JoinError>) {
    if let Err(error) = finished {
        tracing::error!(%error, "a sandbox connection failed");
    }
}

async fn serve(stream: TcpStream, handler: Arc<impl Handler>, mut stop: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    // What the system prefers may pace what is sent, as BBR does with timers: a quarter of the CPU of a sandbox that replays,
    // and on one machine there is no way to be kind to.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_congestion(&stream, "reno");
    let service = hyper::service::service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { respond(&*handler, request).await }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = async { stop.wait_for(|stop| *stop).await.is_ok() } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        // Clients that go away and connections dropped on request both end here.
        tracing::debug!(%error, "sandbox connection closed early");
    }
}

/// The error that makes hyper close the connection unanswered.
#[derive(Debug, thiserror::Error)]
#[error("dropped on request")]
struct Dropped;

async fn respond(
    handler: &impl Handler,
    request: http::Request<Incoming>,
) -> std::result::Result<http::Response<Body>, Dropped> {
    let (head, incoming) = request.into_parts();
    // A client that waits for `100 Continue` must not be told to go on only to throw its body away.
    let waits_for_continue = head.headers.contains_key(header::EXPECT);
    let mut request = Request {
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        method: head.method,
        headers: head.headers,
        body: RequestBody { incoming, read: 0, damage: None, pace: None },
    };
    let Answer::Reply(reply) = handler.handle(&mut request).await else {
        tracing::debug!(method = %request.method, path = request.path, "closed without an answer");
        return Err(Dropped);
    };
    // Without the query: a presigned URL carries its signature there.
    tracing::debug!(method = %request.method, path = request.path, status = reply.status.as_u16(), "answered");
    let is_unread = request.body.read == 0 && waits_for_continue;
    if !is_unread {
        request.body.drain().await;
    }
    let mut response = http::Response::new(reply.body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    if is_unread {
        // The connection ends here, since its next bytes may be the body; a client that is not told would use it again.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let bodiless = reply.status == StatusCode::NO_CONTENT || reply.status == StatusCode::NOT_MODIFIED;
    if !bodiless && !response.headers().contains_key(header::CONTENT_LENGTH) {
        let length = response.body().len();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
