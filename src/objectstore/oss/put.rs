//! PutObject.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use object_store::path::Path;
use object_store::{PutMode, PutOptions, PutPayload, PutResult};

use super::attributes::ObjectHeaders;
use super::client::{Client, Request, crc64_of, request_id, text_of};
use super::failure::Failure;
use super::head::find_same;
use super::operation::Operation;
use crate::Kind;
use crate::objectstore::AlwaysReadable;
use crate::objectstore::checksum::Crc64;

/// How often bytes that arrived damaged are sent in all.
pub(crate) const DAMAGED_TRIES: u32 = 3;

pub(crate) async fn put(
    client: &Client,
    defaults: &ObjectHeaders,
    location: &Path,
    payload: PutPayload,
    options: PutOptions,
) -> object_store::Result<PutResult> {
    let create = match options.mode {
        PutMode::Overwrite => false,
        PutMode::Create => true,
        PutMode::Update(_) => {
            let source = "OSS has no conditional update".into();
            return Err(object_store::Error::NotSupported { source });
        }
    };
    let headers = match options.extensions.get::<AlwaysReadable>() {
        Some(AlwaysReadable) => defaults.readable().for_object(&options.attributes, &options.tags)?,
        None => defaults.for_object(&options.attributes, &options.tags)?,
    };
    let mut request = Request::object(Operation::PutObject, location.as_ref()).headers(headers).body(payload);
    if create {
        // What may not be overwritten cannot be repaired: bytes that arrive damaged must be refused, not stored.
        let md5 = content_md5(request.body.clone()).await;
        request = request.header("x-oss-forbid-overwrite", "true").header("content-md5", md5);
    }
    let content = Crc64::of_all(request.body.as_ref()).await;
    let sent = if create {
        create_once(client, location, &request, content).await
    } else {
        send_checked(client, &request, content).await
    };
    sent.map_err(|failure| failure.into_store(&client.bucket, Some(location.as_ref())))
}

async fn content_md5(body: PutPayload) -> String {
    let digest = move || {
        let digest = body.iter().fold(Md5::new(), |digest, piece| digest.chain_update(piece));
        BASE64.encode(digest.finalize())
    };
    // Half a gigabyte per second: documents of some MB do not belong on the async threads.
    tokio::task::spawn_blocking(digest).await.unwrap_or_default()
}

/// Sends bytes and compares the CRC64 that the service computed with ours. Damaged bytes are sent again, which
/// replaces them: only for what may be overwritten.
pub(crate) async fn send_checked(
    client: &Client,
    request: &Request,
    content: Crc64,
) -> Result<PutResult, Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        match send_once(client, request, content).await {
            Err(failure) if failure.status == Some(200) && tries < DAMAGED_TRIES => {
                tracing::warn!(
                    operation = %request.operation.doing(),
                    object = request.key.as_deref().unwrap_or_default(),
                    attempt = tries,
                    "bytes arrived damaged at oss, sending them again"
                );
            }
            other => return other,
        }
    }
}

async fn send_once(client: &Client, request: &Request, content: Crc64) -> Result<PutResult, Failure> {
    let answer = client.send(request).await?;
    match crc64_of(&answer.headers) {
        Some(theirs) if theirs != content.value() => {
            Err(damaged(request.operation, request_id(&answer.headers), content.value(), theirs))
        }
        _ => Ok(PutResult {
            e_tag: text_of(&answer.headers, "etag"),
            version: text_of(&answer.headers, "x-oss-version-id"),
        }),
    }
}

/// The service stored something else than what was sent. Has status 200, as the answer had.
pub(crate) fn damaged(operation: Operation, request_id: Option<String>, ours: u64, theirs: u64) -> Failure {
    let reason = format!("CRC64 of what was stored is {theirs}, of what was sent {ours}");
    let mut failure = Failure::fatal(operation, Kind::Corrupt, reason).with_request_id(request_id);
    failure.status = Some(200);
    failure
}

/// A put that must not overwrite. After a lost answer the object may be our own: then it is the same.
async fn create_once(
    client: &Client,
    location: &Path,
    request: &Request,
    content: Crc64,
) -> Result<PutResult, Failure> {
    let failure = match send_once(client, request, content).await {
        Ok(result) => return Ok(result),
        Err(failure) if failure.ambiguous => failure,
        Err(failure) => return Err(failure),
    };
    match find_same(client, location, content).await {
        Ok(Some(info)) => {
            tracing::debug!(object = location.as_ref(), "create whose answer was lost had succeeded");
            Ok(PutResult { e_tag: info.meta.e_tag, version: info.meta.version })
        }
        // The first failure says more than that the look at the object failed too.
        Ok(None) | Err(_) => Err(failure),
    }
}
