//! DeleteObject and DeleteMultipleObjects. Deleting what is not there succeeds.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use md5::{Digest, Md5};
use object_store::path::Path;

use super::client::{Client, Request, request_id};
use super::failure::Failure;
use super::operation::Operation;
use super::xml;
use crate::Kind;

/// Keys per request (OSS, "DeleteMultipleObjects").
const MOST_KEYS: usize = 1000;

pub(crate) fn delete_stream(
    client: Arc<Client>,
    locations: BoxStream<'static, object_store::Result<Path>>,
) -> BoxStream<'static, object_store::Result<Path>> {
    locations
        .chunks(MOST_KEYS)
        .then(move |chunk| {
            let client = client.clone();
            async move { stream::iter(delete_chunk(&client, chunk).await) }
        })
        .flatten()
        .boxed()
}

/// One result per location, in order.
async fn delete_chunk(
    client: &Client,
    chunk: Vec<object_store::Result<Path>>,
) -> Vec<object_store::Result<Path>> {
    let keys: Vec<&str> = chunk.iter().flatten().map(AsRef::as_ref).collect();
    let (operation, gone) = match keys.as_slice() {
        [] => return chunk,
        [key] => (Operation::DeleteObject, delete_one(client, key).await),
        keys => (Operation::DeleteObjects, delete_many(client, keys).await),
    };
    // A failure of the whole request goes to its first location; the others refer to it.
    let (gone, mut failure) = match gone {
        Ok(gone) => (gone, None),
        Err(failure) => (HashSet::new(), Some(failure)),
    };
    chunk
        .into_iter()
        .map(|location| {
            let location = location?;
            if gone.contains(location.as_ref()) {
                return Ok(location);
            }
            let failure = failure.take().unwrap_or_else(|| {
                Failure::fatal(operation, Kind::Refused, "the service does not say that it is deleted")
            });
            Err(failure.into_store(&client.bucket, Some(location.as_ref())))
        })
        .collect()
}

async fn delete_one(client: &Client, key: &str) -> Result<HashSet<String>, Failure> {
    match client.send(&Request::object(Operation::DeleteObject, key)).await {
        Err(failure) if failure.code != "NoSuchKey" => Err(failure),
        _ => Ok(HashSet::from([key.to_owned()])),
    }
}

async fn delete_many(client: &Client, keys: &[&str]) -> Result<HashSet<String>, Failure> {
    let body = xml::delete_body(keys.iter().copied());
    let request = Request::bucket(Operation::DeleteObjects)
        .query("delete", "")
        .query("encoding-type", "url")
        .header("content-type", "application/xml")
        .header("content-md5", BASE64.encode(Md5::digest(&body)))
        .body(Bytes::from(body));
    let answer = client.send(&request).await?;
    match xml::deleted(&answer.body) {
        Ok(keys) => Ok(keys.into_iter().collect()),
        Err(error) => Err(Failure::malformed(request.operation, request_id(&answer.headers), error)),
    }
}
