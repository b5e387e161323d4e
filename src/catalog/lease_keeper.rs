//! Holds the table's lease while a run works.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::{LEASE_TIME_TO_LIVE, Lease, RunId, TablePath, Vault};
use crate::runtime::{Shutdown, Signal};
use crate::{Kind, Result};

/// Time for giving the lease up at the end; without an answer it is left to expire.
const RELEASE_TIME: Duration = Duration::from_secs(1);

/// A lease that refreshes itself every third of its life. Dropped without [`LeaseKeeper::release`], it is left to
/// expire.
pub struct LeaseKeeper {
    held: Arc<Held>,
    task: JoinHandle<()>,
}

struct Held {
    vault: Vault,
    table: TablePath,
    lease: tokio::sync::Mutex<Lease>,
    run: std::sync::Mutex<Option<RunId>>,
    confirmed: std::sync::Mutex<Instant>,
    lost: Shutdown,
}

impl LeaseKeeper {
    /// Takes the table's lease and starts to refresh it.
    ///
    /// # Errors
    /// [`Kind::Locked`] while another run holds it.
    pub async fn acquire(vault: &Vault, table: &TablePath) -> Result<LeaseKeeper> {
        let lease = Lease::acquire(&**vault.store(), table, Timestamp::now()).await?;
        Ok(LeaseKeeper::keep(vault, table, lease))
    }

    /// Takes the lease for deltas and starts to refresh it.
    ///
    /// # Errors
    /// [`Kind::Locked`] while another process holds it.
    pub async fn acquire_for_deltas(vault: &Vault, table: &TablePath) -> Result<LeaseKeeper> {
        let lease = Lease::acquire_for_deltas(&**vault.store(), table, Timestamp::now()).await?;
        Ok(LeaseKeeper::keep(vault, table, lease))
    }

    fn keep(vault: &Vault, table: &TablePath, lease: Lease) -> LeaseKeeper {
        let held = Arc::new(Held {
            vault: vault.clone(),
            table: table.clone(),
            lease: tokio::sync::Mutex::new(lease),
            run: std::sync::Mutex::new(None),
            confirmed: std::sync::Mutex::new(Instant::now()),
            lost: Shutdown::default(),
        });
        let keeping = held.clone();
        let task = tokio::spawn(async move {
            while keeping.lost.requested().is_none() {
                tokio::time::sleep(LEASE_TIME_TO_LIVE / 3).await;
                if let Err(error) = keeping.confirm().await {
                    tracing::warn!(%error, "the lease could not be refreshed");
                }
            }
        });
        LeaseKeeper { held, task }
    }

    /// Names the run in the lease from the next refresh on.
    pub fn working_on(&self, run: &RunId) {
        *self.held.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clone());
    }

    /// Requested when somebody else has the lease: from then on this run must touch nothing of the vault.
    pub fn lost(&self) -> &Shutdown {
        &self.held.lost
    }

    /// Says whether the lease is still ours, asking the store if that was not confirmed lately: a machine that slept
    /// learns here that somebody else went on. Call before anything of the run becomes visible.
    ///
    /// # Errors
    /// [`Kind::Locked`] when it is lost.
    pub async fn ensure(&self) -> Result<()> {
        let confirmed = *self.held.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        let recently = confirmed.elapsed() < LEASE_TIME_TO_LIVE / 2;
        if recently && self.lost().requested().is_none() { Ok(()) } else { self.held.confirm().await }
    }

    /// Asks the store whether the lease is still ours, and refreshes it.
    ///
    /// # Errors
    /// [`Kind::Locked`] when it is lost.
    pub async fn confirm(&self) -> Result<()> {
        self.held.confirm().await
    }

    /// Gives the lease up.
    pub async fn release(&self) {
        self.task.abort();
        let lease = self.held.lease.lock().await;
        let released = lease.release(&**self.held.vault.store(), &self.held.table);
        match tokio::time::timeout(RELEASE_TIME, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease was not given up; it will expire"),
            Err(_) => tracing::warn!("the lease was not given up in time; it will expire"),
        }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Held {
    async fn confirm(&self) -> Result<()> {
        let mut lease = self.lease.lock().await;
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refreshed = lease.refresh(&**self.vault.store(), &self.table, run, Timestamp::now()).await;
        match &refreshed {
            Ok(()) => *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
            Err(error) if error.kind() == Kind::Locked => self.lost.request(Signal::Terminate),
            Err(_) => {}
        }
        refreshed
    }
}
