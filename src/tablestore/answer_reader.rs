//! Reads one HTTP/1.1 answer from a stream.
//!
//! What a server may send is bounded: a head in bytes and headers, a body by the caller, silence in time. An answer ends with
//! its length, its last chunk, or its connection; which of them it was is told.

use std::io;

use bytes::BufMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::body_buffers::BodyBuffers;
use super::carrier::{FIRST_ALLOCATION, READ_TIMEOUT};
use super::plain_http::{PlainError, within};

/// Largest head of an answer, and the most headers in it.
const MOST_HEAD_BYTES: usize = 64 << 10;
const MOST_HEADERS: usize = 100;

/// Read at a time where the end is not known.
const PIECE_BYTES: usize = 4 << 10;

/// Where a body ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum BodyEnd {
    /// After so many bytes.
    Length(usize),
    /// With a chunk of no bytes.
    LastChunk,
    /// With the connection: what is missing cannot be told.
    Connection,
}

/// What comes before a body.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) end: BodyEnd,
    /// The server takes another request.
    pub(super) keep_alive: bool,
}

/// Reads a head, then its body.
pub(super) struct AnswerReader<S> {
    stream: S,
    /// Received, and not yet used.
    unread: Vec<u8>,
    most_bytes: usize,
}

impl<S: AsyncRead + Unpin> AnswerReader<S> {
    /// Refuses bodies of more than `most_bytes`.
    pub(super) fn new(stream: S, most_bytes: usize) -> AnswerReader<S> {
        AnswerReader { stream, unread: Vec::with_capacity(PIECE_BYTES), most_bytes }
    }

    /// The stream, unless it has said more than it was asked.
    pub(super) fn into_quiet_stream(self) -> Option<S> {
        self.unread.is_empty().then_some(self.stream)
    }

    /// The head of the answer, behind those that only announce it.
    pub(super) async fn head(&mut self) -> Result<Head, PlainError> {
        loop {
            match parse_head(&self.unread)? {
                Some((head, length)) => {
                    self.unread.drain(..length);
                    if !(100..200).contains(&head.status) {
                        return Ok(head);
                    }
                }
                None if self.unread.len() >= MOST_HEAD_BYTES => {
                    return Err(PlainError::NotHttp("its head does not end"));
                }
                None => drop(receive(&mut self.stream, &mut self.unread, PIECE_BYTES).await?),
            }
        }
    }

    /// The body behind `head`, in one of `buffers`.
    pub(super) async fn body(&mut self, head: &Head, buffers: &BodyBuffers) -> Result<Vec<u8>, PlainError> {
        let announced = match head.end {
            BodyEnd::Length(length) => length,
            BodyEnd::LastChunk | BodyEnd::Connection => 0,
        };
        let most_bytes = self.most_bytes;
        let check_size = |bytes: usize| match bytes <= most_bytes {
            true => Ok(()),
            false => Err(PlainError::TooLarge { headers: Box::new(head.headers.clone()) }),
        };
        check_size(announced)?;
        let mut body = buffers.take(announced.min(FIRST_ALLOCATION));
        match head.end {
            BodyEnd::Length(length) => self.append(&mut body, length).await?,
            BodyEnd::LastChunk => loop {
                let size = self.chunk_size().await?;
                check_size(body.len().saturating_add(size))?;
                if size == 0 {
                    // Headers may follow; they end with an empty line.
                    while !self.line().await?.is_empty() {}
                    break;
                }
                self.append(&mut body, size).await?;
                if !self.line().await?.is_empty() {
                    return Err(PlainError::NotHttp("a chunk does not end where it should"));
                }
            },
            BodyEnd::Connection => {
                body.append(&mut self.unread);
                while within(READ_TIMEOUT, self.stream.read_buf(&mut body)).await? > 0 {
                    check_size(body.len())?;
                }
            }
        }
        Ok(body)
    }

    /// Appends exactly `length` bytes.
    async fn append(&mut self, body: &mut Vec<u8>, length: usize) -> Result<(), PlainError> {
        let there = length.min(self.unread.len());
        body.extend(self.unread.drain(..there));
        let mut left = length - there;
        while left > 0 {
            left -= receive(&mut self.stream, body, left).await?;
        }
        Ok(())
    }

    async fn chunk_size(&mut self) -> Result<usize, PlainError> {
        let line = self.line().await?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        // `from_str_radix` takes a sign.
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(digits).ok().filter(|_| is_hex);
        size.and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or(PlainError::NotHttp("a chunk has no size"))
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<Vec<u8>, PlainError> {
        loop {
            if let Some(at) = self.unread.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.unread.drain(..=at).collect();
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return Ok(line);
            }
            if self.unread.len() >= MOST_HEAD_BYTES {
                return Err(PlainError::NotHttp("a line does not end"));
            }
            receive(&mut self.stream, &mut self.unread, PIECE_BYTES).await?;
        }
    }
}

/// Receives 1 to `most` bytes.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    into: &mut Vec<u8>,
    most: usize,
) -> Result<usize, PlainError> {
    into.reserve(most.min(FIRST_ALLOCATION));
    match within(READ_TIMEOUT, stream.read_buf(&mut into.limit(most))).await? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        received => Ok(received),
    }
}

/// The head that `bytes` begin with, and its length; `None` when more has to come.
fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, PlainError> {
    let mut found = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut found);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(PlainError::NotHttp("its head cannot be read")),
    };
    let status = response.code.ok_or(PlainError::NotHttp("it has no status"))?;
    let mut headers = HeaderMap::new();
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(PlainError::NotHttp("a header cannot be read"));
        };
        headers.append(name, value);
    }
    let end = body_end(status, &headers)?;
    let says_close = headers
        .get_all(CONNECTION)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
    let keep_alive = response.version == Some(1) && !says_close && !matches!(end, BodyEnd::Connection);
    Ok(Some((Head { status, headers, end, keep_alive }, length)))
}

fn body_end(status: u16, headers: &HeaderMap) -> Result<BodyEnd, PlainError> {
    if matches!(status, 100..200 | 204 | 304) {
        return Ok(BodyEnd::Length(0));
    }
    if let Some(encoding) = headers.get(TRANSFER_ENCODING) {
        return match encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            true => Ok(BodyEnd::LastChunk),
            false => Err(PlainError::NotHttp("its transfer encoding is not `chunked`")),
        };
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).into_iter();
    let Some(first) = lengths.next() else { return Ok(BodyEnd::Connection) };
    // `parse` takes a sign.
    let digits = first.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(length) if lengths.all(|other| other == first) => Ok(BodyEnd::Length(length)),
        _ => Err(PlainError::NotHttp("its length is no length")),
    }
}
