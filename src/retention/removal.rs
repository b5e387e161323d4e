//! Doing what a plan says, under the table's lease.

use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use object_store::path::Path;

use super::stored::list_run;
use crate::catalog::{
    LEASE_TIME_TO_LIVE, Lease, RunObject, RunPath, TableObject, TablePath, Vault, hide_run,
};
use crate::objectstore::{OpenUpload, UploadStore, error_on};
use crate::runtime::Shutdown;
use crate::{Error, Kind, Result};

/// Objects that are deleted between two looks at the lease and at a wish to stop: one request of OSS.
const DELETED_AT_ONCE: usize = 1000;

/// Removes things of one table. Holds its lease, so that no backup works on the table meanwhile.
pub(super) struct Remover<'a> {
    store: &'a dyn UploadStore,
    table: &'a TablePath,
    shutdown: &'a Shutdown,
    lease: Lease,
    refreshed: Instant,
}

impl<'a> Remover<'a> {
    /// # Errors
    /// [`Kind::Locked`] while a run works on the table.
    pub(super) async fn start(
        vault: &'a Vault,
        table: &'a TablePath,
        shutdown: &'a Shutdown,
    ) -> Result<Remover<'a>> {
        let store = &**vault.store();
        let refreshed = Instant::now();
        let lease = Lease::acquire(store, table, Timestamp::now()).await?;
        Ok(Remover { store, table, shutdown, lease, refreshed })
    }

    /// The number of the lease that is held.
    pub(super) fn lease_number(&self) -> u64 {
        self.lease.number()
    }

    /// Gives the lease up.
    pub(super) async fn end(self) {
        if let Err(error) = self.lease.release(self.store, self.table).await {
            tracing::warn!(%error, "the lease was not given up; it will expire");
        }
    }

    /// Hides a run. To be done for all of them before the first object goes.
    pub(super) async fn hide(&mut self, run: &RunPath) -> Result<()> {
        self.go_on().await?;
        hide_run(self.store, self.table, run, Timestamp::now()).await
    }

    /// Removes a hidden run: its open uploads, its objects, its manifest, then its tombstone. Objects that are not ours stay.
    pub(super) async fn remove_hidden(&mut self, run: &RunPath) -> Result<()> {
        let mut rounds = 0;
        loop {
            let uploads = self.uploads_of(run).await?;
            let objects = list_run(self.store, self.table, run).await?;
            let left: Vec<_> = objects
                .into_iter()
                .filter(|stored| stored.object != RunObject::Manifest)
                .map(|stored| stored.path)
                .collect();
            if uploads.is_empty() && left.is_empty() {
                break;
            }
            // A writer that was stopped and continued may add something once more.
            rounds += 1;
            if rounds > 3 {
                return Err(Error::new(Kind::Locked, "remove a run")
                    .on(format!("`{}`", run.prefix()))
                    .because("new objects appear all the time")
                    .hint("see whether another process still writes there"));
            }
            self.abort(&uploads).await?;
            self.delete(left).await?;
        }
        self.delete(vec![run.manifest()]).await?;
        self.store.remove_empty_directories(run.prefix()).await;
        self.delete(vec![self.table.tombstone(&run.run)]).await
    }

    /// Deletes objects; one that is gone already is a success.
    pub(super) async fn delete(&mut self, paths: Vec<Path>) -> Result<()> {
        for chunk in paths.chunks(DELETED_AT_ONCE) {
            self.go_on().await?;
            let locations = futures::stream::iter(chunk.to_vec()).map(Ok).boxed();
            let mut outcomes = self.store.delete_stream(locations).enumerate();
            while let Some((index, outcome)) = outcomes.next().await {
                match outcome {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => {
                        let path = chunk.get(index).cloned().unwrap_or_default();
                        return Err(error_on("delete", &path, error)
                            .hint("run the same command again: it finishes what was begun"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Aborts uploads.
    pub(super) async fn abort(&mut self, uploads: &[OpenUpload]) -> Result<()> {
        for upload in uploads {
            self.go_on().await?;
            let aborted = self.store.abort_upload(upload).await;
            aborted.map_err(|error| error_on("abort the upload of", &upload.path, error))?;
        }
        Ok(())
    }

    async fn uploads_of(&self, run: &RunPath) -> Result<Vec<OpenUpload>> {
        let mut open = open_uploads(self.store, run.prefix()).await?.unwrap_or_default();
        open.retain(|upload| matches!(self.table.parse(&upload.path), Some(TableObject::OfRun(..))));
        Ok(open)
    }

    /// Between two steps: stops if that is wished, and keeps the lease.
    async fn go_on(&mut self) -> Result<()> {
        if self.shutdown.requested().is_some() {
            return Err(stopped(self.table));
        }
        if self.refreshed.elapsed() < LEASE_TIME_TO_LIVE / 3 {
            return Ok(());
        }
        let now = Instant::now();
        match self.lease.refresh(self.store, self.table, None, Timestamp::now()).await {
            Ok(()) => self.refreshed = now,
            Err(error) if error.kind() == Kind::Locked => return Err(error),
            // It lives on for two thirds of its time; in a bucket with a retention policy no lease can be refreshed.
            Err(error) if self.refreshed.elapsed() < LEASE_TIME_TO_LIVE => {
                tracing::warn!(%error, "the lease could not be refreshed");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The uploads below a prefix that are open; `None` when the store cannot say.
pub(super) async fn open_uploads(store: &dyn UploadStore, prefix: &Path) -> Result<Option<Vec<OpenUpload>>> {
    match store.list_uploads(Some(prefix)).await {
        Ok(open) => Ok(Some(open)),
        Err(object_store::Error::NotSupported { .. }) => Ok(None),
        Err(error) => Err(error_on("list the open uploads below", prefix, error)),
    }
}

/// How long the bucket protects what was written. Whoever may not ask learns it from the first refusal.
pub(super) async fn retention(store: &dyn UploadStore, table: &TablePath) -> Result<Option<Duration>> {
    match store
        .retention()
        .await
        .map_err(|error| error_on("find out how long objects are kept below", &table.prefix(), error))
    {
        Err(error) if error.kind() == Kind::Permission => {
            tracing::warn!(%error, "whether a retention policy protects objects is not known");
            Ok(None)
        }
        asked => asked,
    }
}

/// Does something that leaves nothing behind when it is dropped, unless a stop is asked for.
pub(super) async fn unless_stopped<T>(
    shutdown: &Shutdown,
    table: &TablePath,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        _ = shutdown.wait() => Err(stopped(table)),
        outcome = work => outcome,
    }
}

fn stopped(table: &TablePath) -> Error {
    Error::new(Kind::Stopped, "finish")
        .on(format!("with table `{}`", table.table))
        .because("it was asked to stop")
        .hint("run the same command again: it finishes what was begun")
}
