//! A directory as a store: `object_store`'s [`LocalFileSystem`], made durable and tolerant.
//!
//! - A put or a completed upload is flushed to the disk, with its directory, before it returns.
//! - Attributes (content type, storage class) are ignored: a plain file has none.
//! - [`LocalFileSystem`] writes to `name#N` and then renames or links. A killed run leaves such files behind;
//!   [`super::UploadStore`] finds and removes them. Objects whose names end in `#` and digits cannot be stored.

use std::collections::VecDeque;
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
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
};

use super::errors::{hint_for_io, kind_of_io};
use super::{OpenUpload, UploadStore};
use crate::{Error, Kind, Result};

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

    async fn sync(&self, location: &Path) -> object_store::Result<()> {
        let (path, root) = (self.inner.path_to_filesystem(location)?, self.root.clone());
        blocking(move || sync_file(&path, &root)).await
    }
}

/// Flushes a file and the directories that name it, up to the root.
fn sync_file(path: &FilePath, root: &FilePath) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    for directory in path.ancestors().skip(1).take_while(|directory| directory.starts_with(root)) {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
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
        mut options: PutOptions,
    ) -> object_store::Result<PutResult> {
        options.attributes = Attributes::new();
        let result = self.inner.put_opts(location, payload, options).await?;
        self.sync(location).await?;
        Ok(result)
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
        blocking(move || staging_files(&root, below)).await
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> object_store::Result<()> {
        let digits =
            !upload.upload_id.is_empty() && upload.upload_id.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            let source = "the upload id is not the number of a staging file".into();
            return Err(object_store::Error::Generic { store: STORE, source });
        }
        let mut path = self.inner.path_to_filesystem(&upload.path)?.into_os_string();
        path.push(format!("#{}", upload.upload_id));
        blocking(move || match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }
}

/// The files named `name#N` below a directory. Does not follow links to directories.
fn staging_files(root: &FilePath, below: PathBuf) -> io::Result<Vec<OpenUpload>> {
    let mut found = Vec::new();
    let mut directories = VecDeque::from([below]);
    while let Some(directory) = directories.pop_front() {
        // A directory or file that vanishes meanwhile is no concern of ours.
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                directories.push_back(entry.path());
            } else if metadata.is_file()
                && let Some((path, number)) = staged_for(root, &entry.path())
            {
                let initiated =
                    jiff::Timestamp::try_from(metadata.modified()?).unwrap_or(jiff::Timestamp::MIN);
                found.push(OpenUpload { path, upload_id: number, initiated });
            }
        }
    }
    Ok(found)
}

/// The object and the number of a staging file, `None` if the file is not one.
fn staged_for(root: &FilePath, file: &FilePath) -> Option<(Path, String)> {
    let name = file.strip_prefix(root).ok()?.to_str()?;
    let (name, number) = name.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || name.is_empty() || name.ends_with('/') {
        return None;
    }
    Some((Path::parse(name).ok()?, number.to_owned()))
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
        assert_eq!(store.list_uploads(None).await.unwrap(), []);
        assert!(
            directory.path().join("a/b/kept").exists() && directory.path().join("a/b/no#number").exists()
        );
        assert_eq!(store.list_uploads(Some(&Path::from("missing"))).await.unwrap(), []);
    }
}
