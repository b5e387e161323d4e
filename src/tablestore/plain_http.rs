//! HTTP/1.1 without TLS and without a proxy, as between a machine and its instance's VPC endpoint: bodies go from the socket
//! into the buffer that they stay in, on the task that asked for them.
//!
//! A general client reads into buffers of its own, on a task of its own, and its pieces are then copied. With pages of 1.6 MB
//! that is a tenth of the CPU of a whole backup of small rows. Everything else (TLS, proxies) is reqwest's.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use url::Url;

use super::answer_reader::{AnswerReader, BodyEnd, Head};
use super::body_buffers::BodyBuffers;
use super::carrier::{CONNECT_TIMEOUT, EXCHANGE_TIMEOUT, READ_TIMEOUT, USER_AGENT};

/// Longest idle time after which a connection is used again. When the service closes its own is not documented; one that is
/// closed meanwhile is noticed before it is used.
const MOST_IDLE: Duration = Duration::from_secs(20);

/// Connections to one host.
pub(super) struct PlainHttp {
    host: String,
    port: u16,
    /// The `host` header.
    authority: String,
    most_idle: usize,
    idle: Mutex<Vec<(TcpStream, Instant)>>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct PlainAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The body had a length, or chunks and a last one.
    pub(super) has_an_end: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlainError {
    /// Nothing was sent.
    #[error("no connection")]
    Connect(#[source] io::Error),
    /// The connection ended, or was silent for too long.
    #[error("the connection ended before the answer did")]
    Io(#[from] io::Error),
    /// What came is not HTTP/1.1.
    #[error("the answer is not HTTP: {0}")]
    NotHttp(&'static str),
    /// The body is larger than the caller takes.
    #[error("the body is too large")]
    TooLarge { headers: Box<HeaderMap> },
}

impl PlainError {
    pub(super) fn is_timeout(&self) -> bool {
        let (PlainError::Connect(source) | PlainError::Io(source)) = self else { return false };
        source.kind() == io::ErrorKind::TimedOut
    }
}

impl PlainHttp {
    /// To the host of `url`; keeps `most_idle` connections. `None` when the URL is not one of plain HTTP.
    pub(super) fn new(url: &Url, most_idle: usize) -> Option<PlainHttp> {
        if url.scheme() != "http" {
            return None;
        }
        // An IPv6 address has brackets in the header and none for the resolver.
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(PlainHttp {
            host,
            port: url.port_or_known_default()?,
            authority: url.authority().to_owned(),
            most_idle,
            idle: Mutex::default(),
        })
    }

    /// Sends a POST and reads the whole answer, its body into one of `buffers`; one of more than `most_bytes` is refused
    /// before it is read.
    pub(super) async fn post(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        buffers: &BodyBuffers,
        most_bytes: usize,
    ) -> Result<PlainAnswer, PlainError> {
        let request = Bytes::from(self.request_head(path, headers, body.len())).chain(body);
        let whole = async {
            let stream = self.connection().await?;
            let (answer, stream) = exchange(stream, request, buffers, most_bytes).await?;
            if let Some(stream) = stream {
                self.keep(stream);
            }
            Ok(answer)
        };
        match tokio::time::timeout(EXCHANGE_TIMEOUT, whole).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    /// An idle connection that the server has not closed, or a new one.
    async fn connection(&self) -> Result<TcpStream, PlainError> {
        loop {
            let Some((stream, since)) = self.idle().pop() else { break };
            // One with something to read has ended, or holds what belongs to no request.
            let is_quiet =
                matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if is_quiet && since.elapsed() < MOST_IDLE {
                return Ok(stream);
            }
        }
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = within(CONNECT_TIMEOUT, connect).await.map_err(PlainError::Connect)?;
        stream.set_nodelay(true).map_err(PlainError::Connect)?;
        Ok(stream)
    }

    fn keep(&self, stream: TcpStream) {
        let mut idle = self.idle();
        if idle.len() < self.most_idle {
            idle.push((stream, Instant::now()));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(TcpStream, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request_head(&self, path: &str, headers: &HeaderMap, body_bytes: usize) -> Vec<u8> {
        let own = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: {USER_AGENT}\r\naccept: */*\r\ncontent-length: {body_bytes}\r\n",
            self.authority
        );
        let mut head = own.into_bytes();
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Sends `request` and reads the answer. The stream comes back when another request may follow.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    mut request: impl bytes::Buf,
    buffers: &BodyBuffers,
    most_bytes: usize,
) -> Result<(PlainAnswer, Option<S>), PlainError> {
    let sent = within(READ_TIMEOUT, stream.write_all_buf(&mut request)).await;
    let mut reader = AnswerReader::new(stream, most_bytes);
    // A server may refuse what it has not read to its end.
    let head = match (reader.head().await, &sent) {
        (Ok(head), _) => head,
        (Err(error), Ok(())) => return Err(error),
        (Err(error), Err(_)) => return Err(sent.err().map_or(error, PlainError::from)),
    };
    let body = reader.body(&head, buffers).await?;
    let Head { status, headers, end, keep_alive } = head;
    let stream = reader.into_quiet_stream().filter(|_| keep_alive && sent.is_ok());
    let has_an_end = !matches!(end, BodyEnd::Connection);
    Ok((PlainAnswer { status, headers, body, has_an_end }, stream))
}

/// Does something on a connection in this time, or not at all.
pub(super) async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(time, work).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

    /// What the client makes of `answer`, of which so many bytes arrive at a time.
    async fn answered(answer: &[u8], step: usize) -> Result<(PlainAnswer, bool), PlainError> {
        let (client, mut server) = tokio::io::duplex(step);
        let serve = async move {
            server.read_exact(&mut vec![0; REQUEST.len()]).await.unwrap();
            // The client may have seen enough.
            let _ = server.write_all(answer).await;
        };
        let buffers = BodyBuffers::default();
        let exchange = exchange(client, REQUEST, &buffers, 1 << 20);
        let ((), answer) = tokio::join!(serve, exchange);
        answer.map(|(answer, stream)| (answer, stream.is_some()))
    }

    const STEPS: [usize; 4] = [1, 3, 17, 1 << 16];

    #[tokio::test]
    async fn bodies_arrive_whole_in_whatever_pieces_they_come() {
        let by_length = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nX-Ots-RequestId: 7\r\n\r\nhello world";
        let by_chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nx-ots-requestid: 7\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\ntrailer: 1\r\n\r\n";
        let announced = [b"HTTP/1.1 100 Continue\r\n\r\n".as_slice(), by_length].concat();
        for step in STEPS {
            for answer in [by_length.as_slice(), by_chunks, &announced] {
                let (answer, goes_on) = answered(answer, step).await.unwrap();
                assert_eq!((answer.status, answer.body.as_slice()), (200, b"hello world".as_slice()));
                assert!(answer.headers["x-ots-requestid"] == "7" && answer.has_an_end && goes_on);
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_with_its_answer_or_has_more_to_say_is_not_used_again() {
        for step in STEPS {
            for (answer, has_an_end) in [
                (b"HTTP/1.1 200 OK\r\n\r\nhello".as_slice(), false),
                (b"HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 5\r\n\r\nhello", true),
                (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", true),
            ] {
                let (answer, goes_on) = answered(answer, step).await.unwrap();
                assert_eq!((answer.body.as_slice(), answer.has_an_end), (b"hello".as_slice(), has_an_end));
                assert!(!goes_on);
            }
        }
        let more = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello!";
        assert!(!answered(more, 1 << 16).await.unwrap().1);
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_anywhere_is_no_answer() {
        let by_length = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".as_slice();
        let by_chunks =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".as_slice();
        for answer in [by_length, by_chunks] {
            for length in 0..answer.len() {
                let error = answered(&answer[..length], 1 << 16).await.unwrap_err();
                assert!(matches!(error, PlainError::Io(_)) && !error.is_timeout(), "{length}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_http_is_refused() {
        let long_line = [b"HTTP/1.1 200 OK\r\na: ".as_slice(), &[b'x'; 70_000]].concat();
        let chunked =
            |body: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}").into_bytes();
        let length =
            |value: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {value}\r\n\r\nhello").into_bytes();
        let answers = [
            b"garbage\r\n\r\n".to_vec(),
            b"HTTP/1.1 999999 X\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n".to_vec(),
            long_line,
            length("-5"),
            length("+5"),
            length("99999999999999999999999"),
            length("5\r\ncontent-length: 6"),
            chunked("\r\n"),
            chunked("+5\r\nhello\r\n"),
            chunked("5\r\nhello!\r\n"),
            chunked("ffffffffffffffffff\r\nhello\r\n"),
        ];
        for answer in answers {
            let shown = String::from_utf8_lossy(&answer[..answer.len().min(90)]).into_owned();
            let error = answered(&answer, 1 << 16).await.unwrap_err();
            assert!(matches!(error, PlainError::NotHttp(_)), "{shown:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_body_beyond_the_cap_is_refused_before_it_is_read() {
        for answer in [
            b"HTTP/1.1 200 OK\r\nx-ots-requestid: 7\r\ncontent-length: 1048577\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nx-ots-requestid: 7\r\ntransfer-encoding: chunked\r\n\r\n100001\r\n".to_vec(),
            [b"HTTP/1.1 200 OK\r\nx-ots-requestid: 7\r\n\r\n".as_slice(), &[0; 1_100_000]].concat(),
        ] {
            let error = answered(&answer, 1 << 16).await.unwrap_err();
            assert!(matches!(error, PlainError::TooLarge { headers } if headers["x-ots-requestid"] == "7"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_an_exchange() {
        let (client, server) = tokio::io::duplex(1 << 16);
        let error = exchange(client, REQUEST, &BodyBuffers::default(), 1 << 20).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        drop(server);
    }

    #[tokio::test]
    async fn a_server_may_refuse_what_it_has_not_read() {
        let (client, mut server) = tokio::io::duplex(64);
        let refuse = async move {
            server.write_all(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        };
        let body = vec![0; 10_000];
        let buffers = BodyBuffers::default();
        let ((), answer) = tokio::join!(refuse, exchange(client, body.as_slice(), &buffers, 1 << 20));
        let (answer, stream) = answer.unwrap();
        assert_eq!((answer.status, answer.body.as_slice(), stream.is_some()), (413, b"no".as_slice(), false));
    }

    #[tokio::test]
    async fn an_idle_connection_is_used_again_until_the_server_closes_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let http = PlainHttp::new(&url, 4).unwrap();
        let buffers = BodyBuffers::default();
        let headers = HeaderMap::new();
        let ask = || http.post("/a", &headers, Bytes::new(), &buffers, 100);
        let answer = async |stream: &mut TcpStream| {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            }
            let host = format!("\r\nhost: {}\r\n", url.authority());
            assert!(request.starts_with(b"POST /a HTTP/1.1\r\n"));
            assert!(String::from_utf8(request).unwrap().contains(&host));
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let first = async {
            let mut stream = listener.accept().await.unwrap().0;
            answer(&mut stream).await;
            answer(&mut stream).await;
        };
        let ((one, two), ()) = tokio::join!(async { (ask().await, ask().await) }, first);
        assert!(one.is_ok() && two.is_ok());
        // The first connection is closed now; the request goes over a new one.
        let second = async { answer(&mut listener.accept().await.unwrap().0).await };
        let (three, ()) = tokio::join!(ask(), second);
        assert_eq!(three.unwrap().status, 204);
    }

    #[test]
    fn the_host_of_a_url_is_named_as_servers_expect_it() {
        let of = |url: &str| PlainHttp::new(&Url::parse(url).unwrap(), 1);
        let parts = |http: PlainHttp| (http.host, http.port, http.authority);
        assert_eq!(parts(of("http://a.example").unwrap()), ("a.example".into(), 80, "a.example".into()));
        assert_eq!(parts(of("http://[::1]:81").unwrap()), ("::1".into(), 81, "[::1]:81".into()));
        assert!(of("https://a.example").is_none());
    }
}
