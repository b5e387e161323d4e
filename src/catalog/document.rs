//! Small JSON documents in a vault: read with a size cap, created without overwriting.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::objectstore::AlwaysReadable;
pub(super) use crate::objectstore::error_on as failed;
use crate::{Error, Kind, Result};

/// Largest document that is read, in bytes. A manifest with 1,000 columns has about 200 KB.
pub(super) const LARGEST_DOCUMENT: u64 = 16 << 20;

/// Reads an object of at most `limit` bytes; `None` when it does not exist.
pub(super) async fn read(store: &dyn ObjectStore, path: &Path, limit: u64) -> Result<Option<Bytes>> {
    let found = match store.get(path).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed("read", path, error)),
    };
    if found.meta.size > limit {
        return Err(Error::new(Kind::Corrupt, "read")
            .on(format!("`{path}`"))
            .because(format!("it has {} bytes, more than the {limit} allowed", found.meta.size)));
    }
    found.bytes().await.map(Some).map_err(|error| failed("read", path, error))
}

/// Parses a document.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Kind::Corrupt, "understand").on(format!("`{path}`")).source(error))
}

/// The bytes of a document: pretty JSON, since people read these files.
pub(super) fn to_bytes<T: Serialize>(document: &T) -> Result<Bytes> {
    serde_json::to_vec_pretty(document)
        .map(Bytes::from)
        .map_err(|error| Error::new(Kind::Internal, "write a document").source(error))
}

/// Creates an object; never overwrites one. Succeeds when an equal object is there already, which is what a repeated
/// request finds whose first answer was lost.
pub(super) async fn create(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> Result<()> {
    match store.put_opts(path, bytes.clone().into(), options(PutMode::Create)).await {
        Ok(_) => Ok(()),
        Err(object_store::Error::AlreadyExists { .. }) => {
            match read(store, path, LARGEST_DOCUMENT.max(bytes.len() as u64)).await? {
                Some(there) if there == bytes => Ok(()),
                _ => Err(Error::new(Kind::AlreadyExists, "create")
                    .on(format!("`{path}`"))
                    .because("another object has this name")),
            }
        }
        Err(error) => Err(failed("create", path, error)),
    }
}

/// Writes an object whatever is there.
pub(super) async fn overwrite(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> Result<()> {
    let put = store.put_opts(path, bytes.into(), options(PutMode::Overwrite)).await;
    put.map(drop).map_err(|error| failed("write", path, error))
}

/// Documents are read to resume, list and restore: they are never in a class that has to be restored itself.
fn options(mode: PutMode) -> PutOptions {
    let mut options = PutOptions::from(mode);
    options.extensions.insert(AlwaysReadable);
    options
}
