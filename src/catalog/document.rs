//! Small JSON documents in a vault: sealed, read within limits, created without overwriting.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::json_limits;
use super::seal::{self, Seal};
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

/// Parses a document whose seal, if it has one, is intact.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let failed = |error: Error| Error::new(Kind::Corrupt, "understand").on(format!("`{path}`")).source(error);
    check(bytes).map_err(failed)?;
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Kind::Corrupt, "understand").on(format!("`{path}`")).source(error))
}

/// Looks at a document before it is parsed: JSON within limits, and a seal that is not broken.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    let damaged = |reason: String| Err(Error::new(Kind::Corrupt, "use a document").because(reason));
    if let Err(reason) = json_limits::check(bytes) {
        return damaged(reason);
    }
    match seal::check(bytes) {
        Seal::Broken => damaged("its SHA-256 is not the one at its end: it has been changed".to_owned()),
        Seal::Intact | Seal::Missing => Ok(()),
    }
}

/// Whether a document that was parsed is, to the byte, what its writer wrote: by its seal or, without one, because
/// writing it again gives the same bytes.
pub(super) fn is_as_written<T: Serialize>(bytes: &[u8], document: &T) -> bool {
    seal::check(bytes) == Seal::Intact || pretty(document).is_ok_and(|again| again == bytes)
}

/// The bytes of a document: pretty JSON, since people read these files, with a seal.
pub(super) fn to_bytes<T: Serialize>(document: &T) -> Result<Bytes> {
    Ok(Bytes::from(seal::seal(&pretty(document)?)))
}

fn pretty<T: Serialize>(document: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(document)
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
