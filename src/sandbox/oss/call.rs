//! One request on its way through the server, and what the server holds.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};

use super::attributes::Attributes;
use super::authentication::Keys;
use super::bucket::Buckets;
use super::digests::Declared;
use super::error::{Failure, OssError};
use super::query::Query;
use super::s3::Face;
use super::storage::{Content, MAX_BODY_BYTES, Storage, too_large};
use super::xml::Xml;
use crate::sandbox::counters::Counters;
use crate::sandbox::faults::Faults;
use crate::sandbox::http::{Reply, Request};

/// How an operation ends.
pub type Outcome = Result<Reply, Failure>;

/// The state of the server and what it was started with.
pub struct Core {
    pub(super) region: String,
    pub(super) virtual_host_bases: Vec<String>,
    pub(super) require_v4: bool,
    pub(super) refuse_path_style: bool,
    pub(super) min_part_bytes: u64,
    pub(super) clock_offset_seconds: AtomicI64,
    pub(super) restore_delay_ms: AtomicU64,
    pub(super) keys: Keys,
    pub(super) buckets: Buckets,
    pub(super) storage: Storage,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
}

/// One authenticated request.
pub struct Call<'a> {
    pub(super) request: &'a mut Request,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) query: Query,
    pub(super) host: String,
    pub(super) now: Timestamp,
    pub(super) face: Face,
    /// Overwriting was forbidden with `If-None-Match: *`.
    pub(super) if_none_match: bool,
}

impl Core {
    /// How long a restore takes.
    pub fn restore_delay(&self) -> SignedDuration {
        let delay = self.restore_delay_ms.load(Ordering::Relaxed);
        SignedDuration::from_millis(i64::try_from(delay).unwrap_or(i64::MAX))
    }

    /// What a new object of this request will carry; its class is the bucket's unless it names one.
    ///
    /// # Errors
    /// 404 `NoSuchBucket`, and as [`Attributes::of`].
    pub fn attributes(&self, call: &Call<'_>) -> Result<Attributes, OssError> {
        let class = self.buckets.with(&call.bucket, |bucket| Ok(bucket.storage_class.clone()))?;
        Attributes::of(&call.request.headers, &class)
    }
}

impl Call<'_> {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    /// The client wants an existing object left alone.
    pub fn forbids_overwrite(&self) -> bool {
        self.header("x-oss-forbid-overwrite").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// What is there may not be overwritten, in the words of the client's side.
    pub fn already_exists(&self) -> OssError {
        if self.if_none_match {
            OssError::precondition_failed("If-None-Match")
        } else {
            OssError::file_already_exists()
        }
    }

    /// Names in the answer must be percent-encoded.
    ///
    /// # Errors
    /// 400 `InvalidArgument` for another encoding.
    pub fn encodes_names(&self) -> Result<bool, OssError> {
        match self.query.get("encoding-type") {
            None => Ok(false),
            Some(name) if name.eq_ignore_ascii_case("url") => Ok(true),
            Some(name) => Err(OssError::invalid_argument("Invalid Encoding Method.", "encoding-type", name)),
        }
    }

    /// Refuses a request whose body has no known framing, or is announced too large.
    ///
    /// # Errors
    /// 411 `MissingContentLength`, 400 `EntityTooLarge`.
    pub fn check_framing(&self) -> Result<(), OssError> {
        let headers = &self.request.headers;
        let length =
            self.header(header::CONTENT_LENGTH.as_str()).and_then(|length| length.parse::<u64>().ok());
        if length.is_none() && !headers.contains_key(header::TRANSFER_ENCODING) {
            let message = "You must provide the Content-Length HTTP header.";
            return Err(OssError::new(411, "MissingContentLength", message));
        }
        if length.is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(too_large());
        }
        Ok(())
    }

    /// Stores the body and compares it with the digests that were sent.
    ///
    /// # Errors
    /// 400 `EntityTooLarge`, those of [`Declared`]; [`Failure::Gone`].
    pub async fn receive(&mut self, storage: &Storage) -> Result<Content, Failure> {
        let declared = Declared::of(&self.request.headers)?;
        let (content, hashers) = storage.receive(&mut self.request.body, declared.hashers()).await?;
        declared.check(hashers)?;
        Ok(content)
    }

    /// Reads a small body, an XML document, and compares it with the digests that were sent.
    ///
    /// # Errors
    /// 400, those of [`Declared`], `MalformedXML` when it is longer than `limit_bytes`; [`Failure::Gone`].
    pub async fn read_document(&mut self, limit_bytes: usize) -> Result<Bytes, Failure> {
        let declared = Declared::of(&self.request.headers)?;
        let read = self.request.body.read_all(limit_bytes).await.map_err(|_| Failure::Gone)?;
        let document = read.ok_or_else(OssError::malformed_xml)?;
        let mut hashers = declared.hashers();
        hashers.iter_mut().for_each(|hasher| hasher.update(&document));
        declared.check(hashers)?;
        Ok(document)
    }
}

/// 200 with a document.
pub fn xml_reply(xml: Xml) -> Reply {
    Reply::new(StatusCode::OK).with("content-type", "application/xml").with_body(xml.finish())
}

/// An ETag as headers and documents show it.
pub fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// The ETag of bytes that came in one request.
pub fn etag_of(content: &Content) -> String {
    hex::encode_upper(content.md5)
}
