//! CopyObject: within the service, at most 5 GB (OSS, "CopyObject").

use object_store::path::Path;
use object_store::{CopyMode, CopyOptions};

use super::attributes::ObjectHeaders;
use super::client::{Client, Request, request_id};
use super::failure::Failure;
use super::head::head;
use super::operation::Operation;
use super::signing::encode_key;
use super::xml;

pub(crate) async fn copy(
    client: &Client,
    defaults: &ObjectHeaders,
    from: &Path,
    to: &Path,
    options: CopyOptions,
) -> object_store::Result<()> {
    let source = format!("/{}/{}", client.bucket, encode_key(from.as_ref()));
    let mut request = Request::object(Operation::CopyObject, to.as_ref())
        .headers(defaults.for_copy())
        .header("x-oss-copy-source", source);
    if options.mode == CopyMode::Create {
        request = request.header("x-oss-forbid-overwrite", "true");
    }
    let failed = |failure: Failure| {
        // What is missing is the source; what exists already is the target.
        let on = if failure.status == Some(404) { from } else { to };
        failure.into_store(&client.bucket, Some(on.as_ref()))
    };
    match client.send(&request).await {
        Ok(answer) => xml::copied(&answer.body).map_err(|error| {
            failed(Failure::malformed(Operation::CopyObject, request_id(&answer.headers), error))
        }),
        Err(failure) if failure.ambiguous && is_copied(client, from, to).await => Ok(()),
        Err(failure) => Err(failed(failure)),
    }
}

/// After a lost answer: do source and target have the same size and CRC64?
async fn is_copied(client: &Client, from: &Path, to: &Path) -> bool {
    let look = |path: &Path| {
        let path = path.clone();
        async move {
            let request = Request::object(Operation::HeadObject, path.as_ref());
            let info = head(client, &path, request).await.ok()?;
            Some((info.meta.size, info.crc64?))
        }
    };
    matches!((look(from).await, look(to).await), (Some(source), Some(target)) if source == target)
}
