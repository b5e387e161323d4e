//! ListMultipartUploads and AbortMultipartUpload.

use object_store::path::Path;
use tokio::time::sleep;

use super::client::{Client, Request, request_id};
use super::failure::Failure;
use super::list::{below, usable_path};
use super::operation::Operation;
use super::xml;
use crate::Kind;
use crate::error::retry::Pace;
use crate::objectstore::OpenUpload;

pub(crate) async fn list_uploads(
    client: &Client,
    prefix: Option<&Path>,
) -> object_store::Result<Vec<OpenUpload>> {
    let operation = Operation::ListUploads;
    let failed = |failure: Failure| failure.into_store(&client.bucket, None);
    let mut found = Vec::new();
    let mut markers: Option<(String, String)> = None;
    loop {
        let mut request = Request::bucket(operation)
            .query("uploads", "")
            .query("prefix", below(prefix))
            .query("max-uploads", "1000")
            .query("encoding-type", "url");
        if let Some((key, id)) = &markers {
            request = request.query("key-marker", key).query("upload-id-marker", id);
        }
        let answer = client.send(&request).await.map_err(failed)?;
        let page = xml::uploads_page(&answer.body)
            .map_err(|error| failed(Failure::malformed(operation, request_id(&answer.headers), error)))?;
        found.extend(page.uploads.into_iter().filter_map(|(key, upload_id, initiated)| {
            Some(OpenUpload { path: usable_path(&key)?, upload_id, initiated })
        }));
        match page.next {
            None => return Ok(found),
            next if next == markers => {
                return Err(failed(Failure::fatal(operation, Kind::Corrupt, "the listing does not advance")));
            }
            next => markers = next,
        }
    }
}

/// Aborts until the service no longer knows the upload: a part that was still on its way can survive one abort.
pub(crate) async fn abort(client: &Client, key: &str, upload_id: &str) -> object_store::Result<()> {
    let request = Request::object(Operation::AbortUpload, key).query("uploadId", upload_id);
    let mut backoff = client.backoff();
    loop {
        match client.send(&request).await {
            Ok(_) => {}
            Err(failure) if failure.status == Some(404) && failure.code != "NoSuchBucket" => return Ok(()),
            Err(failure) => return Err(failure.into_store(&client.bucket, Some(key))),
        }
        let Some(pause) = backoff.next_pause(Pace::Fault) else {
            let failure =
                Failure::fatal(Operation::AbortUpload, Kind::Unavailable, "the upload does not go away");
            return Err(failure.into_store(&client.bucket, Some(key)));
        };
        sleep(pause).await;
    }
}
