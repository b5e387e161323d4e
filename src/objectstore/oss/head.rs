//! HeadObject, and what it is used for besides: to learn whether a request whose answer was lost took effect.

use http::HeaderMap;
use object_store::path::Path;
use object_store::{Attributes, ObjectMeta};

use super::attributes::attributes_of;
use super::client::{Client, Request, crc64_of, text_of};
use super::clock::http_date;
use super::failure::Failure;
use super::operation::Operation;
use crate::Kind;
use crate::objectstore::checksum::Crc64;

/// What the headers of GET and HEAD say about an object.
#[derive(Debug)]
pub(crate) struct ObjectInfo {
    pub(crate) meta: ObjectMeta,
    pub(crate) attributes: Attributes,
    /// Of the whole object, for a ranged GET too.
    pub(crate) crc64: Option<u64>,
}

impl ObjectInfo {
    /// Reads the headers; `size` is that of the whole object.
    pub(crate) fn read(
        operation: Operation,
        location: &Path,
        headers: &HeaderMap,
        size: u64,
    ) -> Result<ObjectInfo, Failure> {
        let last_modified = text_of(headers, "last-modified").and_then(|date| http_date(&date));
        let last_modified = last_modified.ok_or_else(|| {
            Failure::fatal(operation, Kind::Corrupt, "the answer has no usable `Last-Modified`")
        })?;
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: std::time::SystemTime::from(last_modified).into(),
            size,
            e_tag: text_of(headers, "etag"),
            version: text_of(headers, "x-oss-version-id"),
        };
        Ok(ObjectInfo { meta, attributes: attributes_of(headers), crc64: crc64_of(headers) })
    }
}

/// The `Content-Length` of an answer.
pub(crate) fn content_length(operation: Operation, headers: &HeaderMap) -> Result<u64, Failure> {
    let length = text_of(headers, "content-length").and_then(|text| text.parse().ok());
    length
        .ok_or_else(|| Failure::fatal(operation, Kind::Corrupt, "the answer has no usable `Content-Length`"))
}

/// Sends a HEAD with these query parameters and conditions.
pub(crate) async fn head(client: &Client, location: &Path, request: Request) -> Result<ObjectInfo, Failure> {
    let operation = request.operation;
    let headers = client.open(&request).await?.headers;
    ObjectInfo::read(operation, location, &headers, content_length(operation, &headers)?)
}

/// The object, if it is there with exactly this content. Without a CRC64 from the service it is not known to be.
pub(crate) async fn find_same(
    client: &Client,
    location: &Path,
    content: Crc64,
) -> Result<Option<ObjectInfo>, Failure> {
    let request = Request::object(Operation::HeadObject, location.as_ref());
    match head(client, location, request).await {
        Ok(info) => {
            let same = info.meta.size == content.bytes() && info.crc64 == Some(content.value());
            Ok(same.then_some(info))
        }
        Err(failure) if failure.status == Some(404) => Ok(None),
        Err(failure) => Err(failure),
    }
}
