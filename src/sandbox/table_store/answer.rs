//! An answer as it is before it is signed: everything that costs time is done.

use bytes::Bytes;
use http::StatusCode;

use super::auth::body_digest;
use super::capacity;
use super::compression::{deflate, response_headers};
use super::service_error::{Answer, ServiceError};

/// A body with its digest; clones share the bytes.
#[derive(Clone)]
pub struct PreparedAnswer {
    /// 200, or that of an error.
    pub status: StatusCode,
    /// As it is sent.
    pub body: Bytes,
    /// Base64 of the MD5 of the body before it was compressed.
    pub digest: String,
    /// Bytes of a compressed body when it is inflated.
    pub inflated_bytes: Option<usize>,
    /// Read and write capacity units that the answer reports.
    pub capacity_units: u64,
}

impl PreparedAnswer {
    /// Hashes what `operation` answered, and compresses it if the client takes that. Up to 10 ms: not on a thread that
    /// serves connections, except for an error.
    pub fn new(operation: &str, answer: Answer<Vec<u8>>, may_deflate: bool) -> PreparedAnswer {
        let body = match answer {
            Ok(body) => Bytes::from(body),
            Err(error) => return PreparedAnswer::refusal(&error),
        };
        let capacity_units = capacity::consumed(operation, &body);
        let digest = body_digest(&body);
        let deflated = may_deflate.then(|| deflate(&body)).flatten();
        let (body, inflated_bytes) = match deflated {
            Some(compressed) => (compressed.into(), Some(body.len())),
            None => (body, None),
        };
        PreparedAnswer { status: StatusCode::OK, body, digest, inflated_bytes, capacity_units }
    }

    /// What a client is told that is refused.
    pub fn refusal(error: &ServiceError) -> PreparedAnswer {
        let body = Bytes::from(error.body());
        PreparedAnswer {
            status: StatusCode::from_u16(error.status).unwrap_or_default(),
            digest: body_digest(&body),
            body,
            inflated_bytes: None,
            capacity_units: 0,
        }
    }

    /// The headers that say how the body was compressed, in the order of signing.
    pub fn compression_headers(&self) -> Vec<(&'static str, String)> {
        self.inflated_bytes.map_or_else(Vec::new, |size| response_headers(size).into())
    }
}
