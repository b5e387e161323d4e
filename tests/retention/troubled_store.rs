//! A store whose listings fail, break off or leave things out, and whose deletions stop at any moment.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use otsvault::objectstore::{OpenUpload, UploadStore};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Nothing,
    /// The n-th listing, from 0, fails after as many entries.
    ListFails {
        nth: u64,
        after: usize,
    },
    /// The n-th listing ends after as many entries and says that it is whole.
    ListLies {
        nth: u64,
        after: usize,
    },
    /// Every change from the n-th on, from 0, fails and changes nothing: as if the process had been killed.
    ChangesStop {
        nth: u64,
    },
}

pub struct TroubledStore {
    inner: Arc<dyn UploadStore>,
    trouble: Trouble,
    lists: AtomicU64,
    changes: Arc<AtomicU64>,
}

fn failure() -> object_store::Error {
    object_store::Error::Generic { store: "test", source: "injected".into() }
}

impl TroubledStore {
    pub fn new(inner: Arc<dyn UploadStore>, trouble: Trouble) -> Arc<TroubledStore> {
        Arc::new(TroubledStore { inner, trouble, lists: AtomicU64::new(0), changes: Arc::default() })
    }

    /// Listings so far.
    pub fn lists(&self) -> u64 {
        self.lists.load(SeqCst)
    }

    /// Changes so far, refused ones too.
    pub fn changes(&self) -> u64 {
        self.changes.load(SeqCst)
    }

    fn change(&self) -> Result<()> {
        next_change(self.trouble, &self.changes)
    }

    /// What happens to the listing that begins now: after how many entries, and whether it says so.
    fn cut(&self) -> Option<(usize, bool)> {
        let number = self.lists.fetch_add(1, SeqCst);
        match self.trouble {
            Trouble::ListFails { nth, after } if nth == number => Some((after, true)),
            Trouble::ListLies { nth, after } if nth == number => Some((after, false)),
            _ => None,
        }
    }
}

fn next_change(trouble: Trouble, changes: &AtomicU64) -> Result<()> {
    let number = changes.fetch_add(1, SeqCst);
    match trouble {
        Trouble::ChangesStop { nth } if number >= nth => Err(failure()),
        _ => Ok(()),
    }
}

impl fmt::Display for TroubledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "troubled {}", self.inner)
    }
}

impl fmt::Debug for TroubledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TroubledStore({:?})", self.trouble)
    }
}

#[async_trait]
impl ObjectStore for TroubledStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.change()?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, trouble, changes) = (self.inner.clone(), self.trouble, self.changes.clone());
        locations
            .then(move |location| {
                let (inner, changes) = (inner.clone(), changes.clone());
                async move {
                    let location = location?;
                    next_change(trouble, &changes)?;
                    let one = stream::iter([Ok(location)]).boxed();
                    inner.delete_stream(one).next().await.unwrap_or_else(|| Err(failure()))
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let whole = self.inner.list(prefix);
        match self.cut() {
            None => whole,
            Some((after, true)) => whole.take(after).chain(stream::iter([Err(failure())])).boxed(),
            Some((after, false)) => whole.take(after).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let cut = self.cut();
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        match cut {
            None => Ok(listed),
            Some((_, true)) => Err(failure()),
            Some((after, false)) => {
                listed.common_prefixes.truncate(after);
                listed.objects.truncate(after);
                Ok(listed)
            }
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl UploadStore for TroubledStore {
    async fn list_uploads(&self, prefix: Option<&Path>) -> Result<Vec<OpenUpload>> {
        let cut = self.cut();
        let mut open = self.inner.list_uploads(prefix).await?;
        match cut {
            None => Ok(open),
            Some((_, true)) => Err(failure()),
            Some((after, false)) => {
                open.truncate(after);
                Ok(open)
            }
        }
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> Result<()> {
        self.change()?;
        self.inner.abort_upload(upload).await
    }

    async fn remove_empty_directories(&self, prefix: &Path) {
        self.inner.remove_empty_directories(prefix).await;
    }
}
