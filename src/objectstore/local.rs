//! A directory as a store: `object_store`'s [`LocalFileSystem`], made durable and tolerant.
//!
//! - A put or a completed upload is on the disk, with its directory, before it is visible: a power failure leaves the
//!   whole object or none.
//! - Attributes (content type, storage class) are ignored: a plain file has none.
//! - Objects are written as `name#N` and then renamed or linked. A killed run leaves such files behind;
//!   [`super::UploadStore`] finds and removes them. Objects whose names end in `#` and digits cannot be stored.

use std::fmt;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    UploadPart,
};

use super::errors::{hint_for_io, kind_of_io};
use super::{OpenUpload, UploadStore};
use crate::{Error, Kind, Result};

mod staging;

const STORE: &str = "local disk";

/// A vault in a directory.
#[derive(Debug, Clone)]
pub struct LocalStore {
    inner: Arc<LocalFileSystem>,
    root: PathBuf,
}

impl LocalStore {
    /// Opens a directory; creates it, with its parents, if `create`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is not there and must not be created, [`Kind::Permission`] or [`Kind::Io`] if it
    /// cannot be created or is no directory.
    pub fn open(directory: &FilePath, create: bool) -> Result<LocalStore> {
        let failed = |error: io::Error, doing: &'static str| {
            let hint = hint_for_io(&error);
            let failed =
                Error::new(kind_of_io(&error), doing).on(format!("`{}`", directory.display())).source(error);
            match hint {
                Some(hint) => failed.hint(hint),
                None => failed,
            }
        };
        if create {
            std::fs::create_dir_all(directory).map_err(|error| failed(error, "create the directory"))?;
        }
        let root = directory.canonicalize().map_err(|error| failed(error, "open the directory"))?;
        if !root.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into(), "open the directory"));
        }
        let inner = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| super::error_of(error).with_kind(Kind::Io))?;
        Ok(LocalStore { inner: Arc::new(inner), root })
    }

    /// The directory, absolute.
    pub fn root(&self) -> &FilePath {
        &self.root
    }

    /// Flushes the directories that name an object.
    async fn sync(&self, location: &Path) -> object_store::Result<()> {
        let (path, root) = (self.inner.path_to_filesystem(location)?, self.root.clone());
        blocking(move || staging::sync_directories(&path, &root)).await
    }
}

/// Removes `directory` and what is below it as far as there are only directories. Does not follow links.
fn remove_empty(directory: &FilePath) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(directory);
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> object_store::Result<T> {
    tokio::task::spawn_blocking(work)
        .await?
        .map_err(|error| object_store::Error::Generic { store: STORE, source: Box::new(error) })
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let create = match options.mode {
            PutMode::Overwrite => false,
            PutMode::Create => true,
            PutMode::Update(_) => {
                let source = "a local directory has no conditional update".into();
                return Err(object_store::Error::NotSupported { source });
            }
        };
        let (path, root) = (self.inner.path_to_filesystem(location)?, self.root.clone());
        let written =
            tokio::task::spawn_blocking(move || staging::write(&path, &root, payload.as_ref(), create));
        match written.await? {
            // It is stored, whether or not it can be looked at.
            Ok(()) => {
                let e_tag = self.head(location).await.ok().and_then(|meta| meta.e_tag);
                Ok(PutResult { e_tag, version: None })
            }
            Err(error) if create && error.kind() == io::ErrorKind::AlreadyExists => {
                let path = location.to_string();
                Err(object_store::Error::AlreadyExists { path, source: Box::new(error) })
            }
            Err(error) => Err(object_store::Error::Generic { store: STORE, source: Box::new(error) }),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        mut options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        options.attributes = Attributes::new();
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(LocalUpload { inner, store: self.clone(), location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> object_store::Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

#[derive(Debug)]
struct LocalUpload {
    inner: Box<dyn MultipartUpload>,
    store: LocalStore,
    location: Path,
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let path = self.store.inner.path_to_filesystem(&self.location)?;
        blocking(move || staging::sync_staged(&path)).await?;
        let result = self.inner.complete().await?;
        self.store.sync(&self.location).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.inner.abort().await
    }
}

#[async_trait]
impl UploadStore for LocalStore {
    async fn list_uploads(&self, prefix: Option<&Path>) -> object_store::Result<Vec<OpenUpload>> {
        let root = self.root.clone();
        let below = match prefix {
            Some(prefix) => prefix.parts().fold(root.clone(), |path, part| path.join(part.as_ref())),
            None => root.clone(),
        };
        blocking(move || staging::list(&root, below)).await
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> object_store::Result<()> {
        if !staging::is_number(&upload.upload_id) {
            let source = "the upload id is not the number of a staging file".into();
            return Err(object_store::Error::Generic { store: STORE, source });
        }
        let (path, number) = (self.inner.path_to_filesystem(&upload.path)?, upload.upload_id.clone());
        blocking(move || staging::remove(&path, &number)).await
    }

    async fn remove_empty_directories(&self, prefix: &Path) {
        let (root, below) = (self.root.clone(), self.inner.path_to_filesystem(prefix));
        let Ok(below) = below else { return };
        // A directory that is not empty, or not ours to remove, stays: that is the point.
        let _ = blocking(move || {
            remove_empty(&below);
            // The run was the last one of its chain: so go the directories above, up to the vault's root.
            for above in below.ancestors().skip(1).take_while(|above| **above != root) {
                if above.starts_with(&root) && std::fs::remove_dir(above).is_err() {
                    break;
                }
            }
            Ok(())
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    #[test]
    fn a_missing_directory_is_created_only_when_asked() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        assert_eq!(LocalStore::open(&directory, false).unwrap_err().kind(), Kind::NotFound);
        LocalStore::open(&directory, true).unwrap();
        assert!(directory.is_dir());
    }

    #[test]
    fn a_file_in_the_way_is_an_io_error_that_names_it() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, b"x").unwrap();
        for path in [file.clone(), file.join("below")] {
            for create in [true, false] {
                let error = LocalStore::open(&path, create).unwrap_err();
                assert!(matches!(error.kind(), Kind::Io | Kind::AlreadyExists), "{error:?}");
                assert!(error.report().contains("file"), "{error:?}");
            }
        }
    }

    #[tokio::test]
    async fn empty_directories_go_and_everything_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(directory.path(), true).unwrap();
        for path in ["v/t/chain/base/run/data/a", "v/t/lease/1"] {
            store.put(&Path::from(path), "x".into()).await.unwrap();
        }
        std::fs::create_dir_all(directory.path().join("v/t/chain/base/run/journal")).unwrap();
        let run = Path::from("v/t/chain/base/run");
        store.remove_empty_directories(&run).await;
        assert!(store.head(&Path::from("v/t/chain/base/run/data/a")).await.is_ok());
        assert!(!directory.path().join("v/t/chain/base/run/journal").exists());
        store.delete(&Path::from("v/t/chain/base/run/data/a")).await.unwrap();
        store.remove_empty_directories(&run).await;
        assert!(!directory.path().join("v/t/chain").exists());
        assert!(store.head(&Path::from("v/t/lease/1")).await.is_ok());
        store.remove_empty_directories(&Path::from("missing/too")).await;
    }

    #[tokio::test]
    async fn staging_files_of_a_killed_run_are_found_and_removed_and_objects_stay() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::open(directory.path(), true).unwrap();
        store.put(&Path::from("a/b/kept"), "kept".into()).await.unwrap();
        std::fs::write(directory.path().join("a/b/cut.parquet#1"), b"half").unwrap();
        std::fs::write(directory.path().join("a/other#12"), b"half").unwrap();
        std::fs::write(directory.path().join("a/b/no#number"), b"mine").unwrap();

        let below = store.list_uploads(Some(&Path::from("a/b"))).await.unwrap();
        assert_eq!(below.len(), 1);
        assert_eq!((below[0].path.as_ref(), below[0].upload_id.as_str()), ("a/b/cut.parquet", "1"));
        assert!(below[0].initiated > jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1));
        for upload in store.list_uploads(None).await.unwrap() {
            store.abort_upload(&upload).await.unwrap();
            store.abort_upload(&upload).await.unwrap();
        }
        assert!(store.list_uploads(None).await.unwrap().is_empty());
        assert!(
            directory.path().join("a/b/kept").exists() && directory.path().join("a/b/no#number").exists()
        );
        assert!(store.list_uploads(Some(&Path::from("missing"))).await.unwrap().is_empty());
    }
}
