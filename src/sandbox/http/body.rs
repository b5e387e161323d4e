//! The body of a reply: bytes or a stream, whole, cut short or damaged on request.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use hyper::body::{Frame, SizeHint};

use crate::sandbox::faults::Pace;

/// A body with a pace is sent in pieces of this size.
const PACED_PIECE_BYTES: usize = 16 << 10;

/// The body of a reply, of known length.
pub struct Body {
    content: Content,
    /// Bytes still promised to the client.
    promised: u64,
    /// Bytes that may still be sent before the connection is closed.
    cut: Option<u64>,
    /// Polls to let go by before closing, so that the bytes before the cut leave first.
    flushes: u8,
    held: Vec<Box<dyn Any + Send>>,
}

type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

enum Content {
    Whole(Bytes),
    Stream(Pieces),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Body {
        Bytes::new().into()
    }

    /// Exactly `length` bytes from `stream`; a shorter stream closes the connection, a longer one is a bug.
    pub fn stream(length: u64, stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
        Body::of(Content::Stream(Box::pin(stream)), length)
    }

    fn of(content: Content, promised: u64) -> Body {
        Body { content, promised, cut: None, flushes: 8, held: Vec::new() }
    }

    /// The length in bytes, as `Content-Length` promises it.
    pub fn len(&self) -> u64 {
        self.promised
    }

    /// Promises the whole length, sends at most `bytes`, then closes the connection.
    pub fn cut_after(mut self, bytes: u64) -> Body {
        self.cut = Some(bytes);
        self
    }

    /// Sends the same body with `pattern` XORed into the byte at `offset`.
    pub fn corrupt(self, offset: u64, pattern: u8) -> Body {
        let mut position = 0u64;
        self.through(|stream| {
            stream.map(move |piece| {
                piece.map(|piece| {
                    let start = position;
                    position += piece.len() as u64;
                    super::flipped(piece, start, offset, pattern)
                })
            })
        })
    }

    /// Sends the same body at this pace.
    pub fn paced(self, pace: Pace) -> Body {
        self.through(|stream| {
            let small = stream.flat_map(|piece| {
                let pieces = match piece {
                    Ok(whole) => slices(whole).map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                };
                futures::stream::iter(pieces)
            });
            small.then(move |piece: io::Result<Bytes>| {
                let pace = pace.clone();
                async move {
                    if let Ok(piece) = &piece {
                        pace.pass(piece.len() as u64).await;
                    }
                    piece
                }
            })
        })
    }

    /// The same body through another stream of the same length.
    fn through<S>(mut self, change: impl FnOnce(Pieces) -> S) -> Body
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let (length, held, cut) = (self.promised, std::mem::take(&mut self.held), self.cut);
        let mut body = Body::stream(length, change(self.into_stream()));
        body.held = held;
        body.cut = cut;
        body
    }

    /// Keeps `guard` until the body was sent or given up.
    pub fn hold(&mut self, guard: impl Any + Send) {
        self.held.push(Box::new(guard));
    }

    fn into_stream(self) -> Pieces {
        match self.content {
            Content::Whole(bytes) => Box::pin(futures::stream::once(std::future::ready(Ok(bytes)))),
            Content::Stream(stream) => stream,
        }
    }
}

fn slices(whole: Bytes) -> impl Iterator<Item = Bytes> {
    (0..whole.len())
        .step_by(PACED_PIECE_BYTES)
        .map(move |start| whole.slice(start..whole.len().min(start + PACED_PIECE_BYTES)))
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Body {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Body::of(Content::Whole(bytes), length)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.cut == Some(0) {
            if this.flushes > 0 {
                this.flushes -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(io::Error::other("cut on request"))));
        }
        let piece = match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Content::Stream(stream) => std::task::ready!(stream.as_mut().poll_next(cx)),
        };
        let mut piece = match piece {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(piece)) => piece,
        };
        if let Some(left) = &mut this.cut {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
        }
        this.promised = this.promised.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.promised == 0 && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}
