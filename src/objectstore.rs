//! A vault URL becomes a store that speaks [`object_store::ObjectStore`].
//!
//! Local disk and memory come from the `object_store` crate; [`oss`] is our own implementation for Alibaba Cloud OSS.
//! `s3` wraps that crate's client for S3. What the trait lacks, finding and removing uploads that a killed run left open, is [`UploadStore`].
//! [`ObjectWriter`] is how the flows write objects of unknown size.
//!
//! What every store here promises:
//! - An object is visible whole or not at all, and a put with [`object_store::PutMode::Create`] never replaces one.
//! - A put that returned is durable: OSS acknowledged it with a matching CRC64, a local file was flushed to the disk.
//! - Errors keep their kind, code and request id through the trait: [`error_of`] gives them back.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::Result;

pub mod checksum;
pub mod errors;
pub mod local;
pub mod location;
pub mod options;
pub mod oss;
pub mod part_size;
#[cfg(feature = "s3")]
pub mod s3;
pub mod upload;

pub use errors::{error_of, error_on};
pub use location::Location;
pub use options::{
    Addressing, AlwaysReadable, ServerSideEncryption, SignatureVersion, StorageClass, StoreOptions,
};
pub use part_size::PartSizePolicy;
pub use upload::{ObjectWriter, Uploaded};

/// A store that can also find and remove the uploads that a killed run left open.
#[async_trait]
pub trait UploadStore: ObjectStore {
    /// Every upload below `prefix` that is neither complete nor aborted, those of running writers included: look at
    /// [`OpenUpload::initiated`] before you abort one. The order is not specified.
    async fn list_uploads(&self, prefix: Option<&Path>) -> object_store::Result<Vec<OpenUpload>>;

    /// Removes an upload and the bytes it holds. An upload that is gone already is a success.
    async fn abort_upload(&self, upload: &OpenUpload) -> object_store::Result<()>;

    /// How long an object can neither be replaced nor deleted after it was written, where the bucket has a retention
    /// policy (WORM). `None` without one, and for stores that are not asked: local directories, memory, S3.
    async fn retention(&self) -> object_store::Result<Option<Duration>> {
        Ok(None)
    }

    /// Removes the empty directories that deleted objects leave below `prefix`, where there are directories. Never
    /// removes an object; what cannot be removed stays.
    async fn remove_empty_directories(&self, _prefix: &Path) {}

    /// What the store itself knows of an object's content. Costs one HEAD.
    async fn stored_content(&self, path: &Path) -> object_store::Result<StoredContent> {
        let bytes = self.head(path).await?.size;
        Ok(StoredContent { bytes, crc64: None })
    }
}

/// An object's content as its store knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredContent {
    /// Size.
    pub bytes: u64,
    /// CRC-64/XZ, computed when the object was stored; `None` where the store keeps none, as all but OSS.
    pub crc64: Option<u64>,
}

/// An upload that was begun and not ended; its bytes cost money or disk until it is aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The object it would have become.
    pub path: Path,
    /// OSS's upload id; for a local file the number after the `#` of its staging file.
    pub upload_id: String,
    /// When it was begun; for a local file, when it was last written.
    pub initiated: jiff::Timestamp,
}

#[async_trait]
impl UploadStore for InMemory {
    async fn list_uploads(&self, _prefix: Option<&Path>) -> object_store::Result<Vec<OpenUpload>> {
        Ok(Vec::new())
    }

    async fn abort_upload(&self, _upload: &OpenUpload) -> object_store::Result<()> {
        Ok(())
    }
}

/// An opened vault URL: the store and the prefix in it below which everything of the vault lies.
#[derive(Debug, Clone)]
pub struct Root {
    /// The store; paths are relative to the bucket or the directory.
    pub store: Arc<dyn UploadStore>,
    /// Empty for a local directory and for a whole bucket.
    pub prefix: Path,
    /// How to print it: `oss://bucket/prefix`, `file:///absolute/dir`, `memory://`. Holds no secret.
    pub url: String,
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Opens `oss://bucket/prefix`, `s3://bucket/prefix` (feature `s3`), `file:///dir`, a bare path, or `memory://` (a new, empty store each time).
///
/// Sends no request: a missing bucket or a wrong key shows with the first operation. A local directory is created
/// if [`StoreOptions::create_directory`] says so.
///
/// # Errors
/// [`crate::Kind::Usage`] for a URL, endpoint or region that makes no sense, [`crate::Kind::Permission`] without
/// credentials or rights, [`crate::Kind::Unsupported`] for `s3` without the feature, [`crate::Kind::NotFound`] and [`crate::Kind::Io`] for local directories.
pub fn open(url: &str, options: &StoreOptions) -> Result<Root> {
    match Location::parse(url)? {
        Location::Memory => Ok(Root {
            store: Arc::new(InMemory::new()),
            prefix: Path::default(),
            url: "memory://".to_owned(),
        }),
        Location::Local { directory } => open_local(directory, options),
        Location::Oss { bucket, prefix } => {
            let url = Location::Oss { bucket: bucket.clone(), prefix: prefix.clone() }.to_string();
            let store = oss::OssStore::open(&bucket, options)?;
            Ok(Root { store: Arc::new(store), prefix, url })
        }
        Location::S3 { bucket, prefix } => open_s3(bucket, prefix, options),
    }
}

#[cfg(feature = "s3")]
fn open_s3(bucket: String, prefix: Path, options: &StoreOptions) -> Result<Root> {
    let store = s3::S3Store::open(&bucket, options)?;
    let url = Location::S3 { bucket, prefix: prefix.clone() }.to_string();
    Ok(Root { store: Arc::new(store), prefix, url })
}

#[cfg(not(feature = "s3"))]
fn open_s3(_bucket: String, _prefix: Path, _options: &StoreOptions) -> Result<Root> {
    Err(crate::Error::new(crate::Kind::Unsupported, "open an `s3` vault")
        .because("this program was built without S3")
        .hint("build it with `--features s3`"))
}

fn open_local(directory: PathBuf, options: &StoreOptions) -> Result<Root> {
    let store = local::LocalStore::open(&directory, options.create_directory)?;
    let url = Location::Local { directory: store.root().to_owned() }.to_string();
    Ok(Root { store: Arc::new(store), prefix: Path::default(), url })
}
