//! Holds the table's lease while a run works, and stops the run when the lease is lost.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::Result;
use crate::catalog::{LEASE_TIME_TO_LIVE, Lease, RunId, TablePath, Vault};
use crate::runtime::{Shutdown, Signal};

/// A lease that refreshes itself. Dropped without [`LeaseKeeper::release`], it is left to expire.
pub(super) struct LeaseKeeper {
    done: Shutdown,
    run: Arc<Mutex<Option<RunId>>>,
    task: JoinHandle<Result<()>>,
}

impl LeaseKeeper {
    /// Takes the lease and starts to refresh it. When it is lost, `stop` is requested.
    pub(super) async fn acquire(vault: &Vault, table: &TablePath, stop: &Shutdown) -> Result<LeaseKeeper> {
        let lease = Lease::acquire(&**vault.store(), table, Timestamp::now()).await?;
        let done = Shutdown::default();
        let run = Arc::new(Mutex::new(None));
        let task =
            tokio::spawn(keep(lease, vault.clone(), table.clone(), stop.clone(), done.clone(), run.clone()));
        Ok(LeaseKeeper { done, run, task })
    }

    /// Names the run in the lease from the next refresh on.
    pub(super) fn working_on(&self, run: &RunId) {
        *self.run.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(run.clone());
    }

    /// Gives the lease up; an error says that it had been lost before.
    pub(super) async fn release(self) -> Result<()> {
        self.done.request(Signal::Terminate);
        self.task.await.unwrap_or_else(|error| {
            Err(crate::Error::new(crate::Kind::Internal, "keep the lease").source(error))
        })
    }
}

async fn keep(
    mut lease: Lease,
    vault: Vault,
    table: TablePath,
    stop: Shutdown,
    done: Shutdown,
    run: Arc<Mutex<Option<RunId>>>,
) -> Result<()> {
    let store = &**vault.store();
    loop {
        tokio::select! {
            _ = done.wait() => return lease.release(store, &table).await,
            () = tokio::time::sleep(LEASE_TIME_TO_LIVE / 3) => {}
        }
        let run = run.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Err(error) = lease.refresh(store, &table, run, Timestamp::now()).await {
            stop.request(Signal::Terminate);
            return Err(error);
        }
    }
}
