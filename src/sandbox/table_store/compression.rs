//! Compressed bodies: `deflate`, which here means a zlib stream, both ways.
//!
//! The digest and the signature of a request are over the compressed bytes. Those of a response are over what the
//! client sees after inflating (what the Java SDK, the only one that asks for it, checks).

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use http::HeaderMap;

use super::auth::{header, optional};
use super::service_error::{Answer, ServiceError};

const REQUEST_TYPE: &str = "x-ots-request-compress-type";
const REQUEST_SIZE: &str = "x-ots-request-compress-size";
const RESPONSE_TYPE: &str = "x-ots-response-compress-type";

/// What a request says of its own body and of the answer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compressed {
    /// The request is compressed and has this many bytes when inflated.
    pub request_size: Option<usize>,
    /// The answer may be compressed.
    pub response: bool,
}

impl Compressed {
    /// Reads the headers. A request may inflate to `limit` bytes.
    ///
    /// # Errors
    /// `OTSParameterInvalid`, `OTSRequestBodyTooLarge`.
    pub fn requested(headers: &HeaderMap, limit: usize) -> Answer<Compressed> {
        let asks = |name| match optional(headers, name)? {
            None => Ok(false),
            Some(kind) if kind.eq_ignore_ascii_case("deflate") => Ok(true),
            // Own wording, as the rest of this file.
            Some(kind) => Err(ServiceError::parameter(format!("Unsupported compress type: {kind}."))),
        };
        let mut request_size = None;
        if asks(REQUEST_TYPE)? {
            let size = header(headers, REQUEST_SIZE)?;
            let parsed = size.parse::<usize>();
            let size =
                parsed.map_err(|_| ServiceError::parameter(format!("Invalid header: {REQUEST_SIZE}.")))?;
            if size > limit {
                return Err(ServiceError::too_large());
            }
            request_size = Some(size);
        }
        Ok(Compressed { request_size, response: asks(RESPONSE_TYPE)? })
    }
}

/// Inflates a body that says it has `size` bytes; stops there, whatever the stream goes on to say.
///
/// # Errors
/// `OTSParameterInvalid` unless it is one whole zlib stream of exactly that size.
pub fn inflate(body: &[u8], size: usize) -> Answer<Bytes> {
    let refuse = || ServiceError::parameter("The request body does not match its compress type and size.");
    let mut inflated = Vec::with_capacity(size);
    let mut decoder = ZlibDecoder::new(body);
    decoder.by_ref().take(size as u64 + 1).read_to_end(&mut inflated).map_err(|_| refuse())?;
    if inflated.len() != size || decoder.total_in() != body.len() as u64 {
        return Err(refuse());
    }
    Ok(inflated.into())
}

/// The body as a zlib stream; `None` for an empty one, which has no size that a client would take.
pub fn deflate(body: &[u8]) -> Option<Vec<u8>> {
    if body.is_empty() {
        return None;
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

/// The headers of an answer that has `size` bytes when inflated, in the order of signing.
pub fn response_headers(size: usize) -> [(&'static str, String); 2] {
    [("x-ots-response-compress-size", size.to_string()), (RESPONSE_TYPE, "deflate".to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_inflates_to_what_it_says_and_never_to_more() {
        let bomb = deflate(&vec![0; 1 << 20]).unwrap();
        assert_eq!(inflate(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        for size in [0, 1_000, (1 << 20) - 1, (1 << 20) + 1] {
            assert!(inflate(&bomb, size).is_err(), "{size}");
        }
        assert!(inflate(&bomb[..bomb.len() - 1], 1 << 20).is_err());
        assert!(inflate(&[&bomb[..], &[0]].concat(), 1 << 20).is_err());
        assert!(inflate(b"no zlib", 7).is_err());
    }
}
