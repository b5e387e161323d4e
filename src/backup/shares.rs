//! What the runs of one process share: memory for pages and for workers, and the number of workers.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::BackupOptions;
use super::options::MemoryPlan;
use crate::runtime::{ByteBudget, BytePermit};

/// Clones share everything. A worker takes a [`Place`] before it reads and gives it back while it has nothing to do, so
/// that tables that are copied at the same time take no more memory, and ask the services for no more, than one.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    /// Response bodies, requested or waiting to be decoded.
    pub pages: ByteBudget,
    workers: ByteBudget,
    places: Arc<Semaphore>,
    planning: Arc<Semaphore>,
}

/// The right to work, with the memory for it.
#[derive(Debug)]
pub(super) struct Place {
    _worker: Option<OwnedSemaphorePermit>,
    _bytes: BytePermit,
}

impl Shares {
    pub(super) fn new(options: &BackupOptions) -> Shares {
        let memory = options.memory_plan(0);
        Shares {
            pages: ByteBudget::new(memory.page_bytes),
            // A permit is rounded up to a KiB.
            workers: ByteBudget::new(memory.all_workers_bytes + (memory.concurrency as u64) * 1024),
            places: Arc::new(Semaphore::new(memory.concurrency)),
            planning: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits for a place; first come, first served.
    pub(super) async fn place(&self, memory: &MemoryPlan) -> Place {
        // The semaphore is never closed.
        let worker = self.places.clone().acquire_owned().await.ok();
        Place { _worker: worker, _bytes: self.workers.acquire(memory.worker_bytes).await }
    }

    /// One run at a time samples its table or proves files, since both hold bytes that no other share covers.
    pub(super) async fn planning(&self) -> Option<OwnedSemaphorePermit> {
        self.planning.clone().acquire_owned().await.ok()
    }
}
