//! ListObjectsV2: in the order of the keys' UTF-8 bytes, 1000 per page.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

use super::client::{Client, Request, request_id};
use super::failure::Failure;
use super::operation::Operation;
use super::xml::{self, ListPage, ListedObject};
use crate::Kind;

/// The `prefix` parameter for everything below a path.
pub(crate) fn below(prefix: Option<&Path>) -> String {
    match prefix {
        Some(prefix) if !prefix.as_ref().is_empty() => format!("{prefix}/"),
        _ => String::new(),
    }
}

fn first_request(prefix: Option<&Path>) -> Request {
    Request::bucket(Operation::ListObjects)
        .query("list-type", "2")
        .query("prefix", below(prefix))
        .query("max-keys", "1000")
        .query("encoding-type", "url")
}

async fn page(client: &Client, first: &Request, token: Option<&str>) -> Result<ListPage, Failure> {
    let mut request = first.clone();
    if let Some(token) = token {
        request = request.query("continuation-token", token);
    }
    let answer = client.send(&request).await?;
    let page = xml::list_page(&answer.body)
        .map_err(|error| Failure::malformed(Operation::ListObjects, request_id(&answer.headers), error))?;
    if page.next.is_some() && page.next.as_deref() == token {
        let reason = "the listing does not advance";
        return Err(Failure::fatal(Operation::ListObjects, Kind::Corrupt, reason));
    }
    Ok(page)
}

/// Everything below `prefix`, after `offset`.
pub(crate) fn list(
    client: Arc<Client>,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
    let mut first = first_request(prefix);
    if let Some(offset) = offset {
        first = first.query("start-after", offset.as_ref());
    }
    // The state: the token of the page to read, `None` at the end.
    let pages = stream::try_unfold(Some(None::<String>), move |state| {
        let (client, first) = (client.clone(), first.clone());
        async move {
            let Some(token) = state else { return Ok(None) };
            let page = page(&client, &first, token.as_deref())
                .await
                .map_err(|failure| failure.into_store(&client.bucket, None))?;
            let objects: Vec<_> = page.objects.into_iter().filter_map(usable).map(Ok).collect();
            Ok::<_, object_store::Error>(Some((stream::iter(objects), page.next.map(Some))))
        }
    });
    pages.try_flatten().boxed()
}

/// The objects and the "directories" right below `prefix`.
pub(crate) async fn list_with_delimiter(
    client: &Client,
    prefix: Option<&Path>,
) -> object_store::Result<ListResult> {
    let first = first_request(prefix).query("delimiter", "/");
    let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
    let mut token = None;
    loop {
        let page = page(client, &first, token.as_deref())
            .await
            .map_err(|failure| failure.into_store(&client.bucket, None))?;
        result.objects.extend(page.objects.into_iter().filter_map(usable));
        result.common_prefixes.extend(page.common_prefixes.iter().filter_map(|name| usable_path(name)));
        match page.next {
            Some(next) => token = Some(next),
            None => return Ok(result),
        }
    }
}

fn usable(object: ListedObject) -> Option<ObjectMeta> {
    // The console and some tools keep empty objects such as `dir/` for directories.
    if object.key.ends_with('/') {
        return None;
    }
    Some(ObjectMeta {
        location: usable_path(&object.key)?,
        last_modified: std::time::SystemTime::from(object.last_modified).into(),
        size: object.size,
        e_tag: object.e_tag,
        version: None,
    })
}

/// The trait's paths cannot name every key; such objects are not ours, and nobody could ask for them.
pub(crate) fn usable_path(key: &str) -> Option<Path> {
    match Path::parse(key) {
        Ok(path) => Some(path),
        Err(error) => {
            tracing::warn!(%error, "an object in the bucket has a name that cannot be used, it is ignored");
            None
        }
    }
}
