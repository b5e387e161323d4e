//! The lease of a table in a vault: keeps two runs from doing the same work.
//!
//! It saves work; it does not guard correctness. That comes from names that are never reused and from the commit.
//! Each acquisition creates an object of the next number, which only one of several can do, and refreshes it. The
//! highest number counts. A lease is stale when it was not refreshed for [`TIME_TO_LIVE`], or at once when its holder was a process of this
//! boot and this pid namespace that is gone. Host names are for people only.

use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use serde::{Deserialize, Serialize};

use super::audit::read_as_written;
use super::layout::{lease_number, lease_path};
use super::{RunId, TablePath, document};
use crate::{Error, Kind, Result};

/// Age at which a lease of another machine counts as abandoned.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(15 * 60);

/// A held lease. Refresh it every third of [`TIME_TO_LIVE`]; release it at the end.
#[derive(Debug)]
pub struct Lease {
    /// Where the leases for this kind of work are; the one with the highest number counts.
    folder: Path,
    path: Path,
    number: u64,
    document: LeaseDocument,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LeaseDocument {
    holder: Holder,
    /// Names this acquisition, so that a holder can tell its own lease from a later one of the same process.
    token: String,
    run: Option<RunId>,
    refreshed_at: Timestamp,
    released: bool,
}

/// A process, named so that the same machine can tell whether it still lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holder {
    host: String,
    boot_id: Option<String>,
    pid_namespace: Option<String>,
    pid: u32,
    /// Clock ticks since boot at which the process started: tells a reused pid.
    started: Option<u64>,
}

impl Holder {
    fn current() -> Holder {
        let text = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let pid = std::process::id();
        Holder {
            host: text("/proc/sys/kernel/hostname").unwrap_or_default(),
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            pid_namespace: pid_namespace(),
            pid,
            started: start_ticks(pid),
        }
    }

    /// Whether this process is known to be gone. Unknown counts as alive.
    fn is_gone(&self) -> bool {
        let here = Holder::current();
        let comparable = self.boot_id.is_some()
            && self.boot_id == here.boot_id
            && self.pid_namespace.is_some()
            && self.pid_namespace == here.pid_namespace;
        comparable && self.started.is_some() && start_ticks(self.pid) != self.started
    }
}

fn pid_namespace() -> Option<String> {
    std::fs::read_link("/proc/self/ns/pid").ok().map(|link| link.to_string_lossy().into_owned())
}

/// Field 22 of `/proc/<pid>/stat`, counted behind the command name, which may hold anything.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let state = fields.split_whitespace().next()?;
    // A zombie holds nothing any more; only its parent has not looked yet.
    if state == "Z" || state == "X" {
        return None;
    }
    fields.split_whitespace().nth(19)?.parse().ok()
}

impl Lease {
    /// Takes the table's lease for a run.
    ///
    /// # Errors
    /// [`Kind::Locked`] while another run holds it.
    pub async fn acquire(store: &dyn ObjectStore, table: &TablePath, now: Timestamp) -> Result<Lease> {
        Lease::acquire_in(store, table, table.leases(), now).await
    }

    /// Takes the table's lease for deltas, which bases and removals do not wait for.
    ///
    /// # Errors
    /// [`Kind::Locked`] while another process writes deltas.
    pub async fn acquire_for_deltas(
        store: &dyn ObjectStore,
        table: &TablePath,
        now: Timestamp,
    ) -> Result<Lease> {
        Lease::acquire_in(store, table, table.delta_leases(), now).await
    }

    async fn acquire_in(
        store: &dyn ObjectStore,
        table: &TablePath,
        folder: Path,
        now: Timestamp,
    ) -> Result<Lease> {
        let (number, newest) = newest(store, &folder).await?;
        if let Some(newest) = newest
            && let Some(error) = newest.conflict(table, now)
        {
            return Err(error);
        }
        let lease = Lease {
            path: lease_path(&folder, number + 1),
            folder,
            number: number + 1,
            document: LeaseDocument {
                holder: Holder::current(),
                token: format!("{:016x}", rand::random::<u64>()),
                run: None,
                refreshed_at: now,
                released: false,
            },
        };
        match document::create(store, &lease.path, document::to_bytes(&lease.document)?).await {
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let there = LeaseDocument::read(store, &lease.path).await?;
                Err(there.map_or(error, |there| there.locked(table)))
            }
            created => created.map(|()| lease),
        }
    }

    /// Its number; the highest one of a table counts.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Says that the holder still lives, and which run it is on.
    ///
    /// # Errors
    /// [`Kind::Locked`] when somebody else took the lease meanwhile: stop.
    pub async fn refresh(
        &mut self,
        store: &dyn ObjectStore,
        table: &TablePath,
        run: Option<RunId>,
        now: Timestamp,
    ) -> Result<()> {
        self.check(store, table).await?;
        self.document.refreshed_at = now;
        if run.is_some() {
            self.document.run = run;
        }
        self.write(store).await
    }

    /// Gives the lease up. Overwrites instead of deleting: a backup needs no right to delete.
    pub async fn release(&self, store: &dyn ObjectStore, table: &TablePath) -> Result<()> {
        self.check(store, table).await?;
        let released = LeaseDocument { released: true, ..self.document.clone() };
        document::overwrite(store, &self.path, document::to_bytes(&released)?).await
    }

    async fn write(&self, store: &dyn ObjectStore) -> Result<()> {
        document::overwrite(store, &self.path, document::to_bytes(&self.document)?).await
    }

    async fn check(&self, store: &dyn ObjectStore, table: &TablePath) -> Result<()> {
        match newest(store, &self.folder).await? {
            (number, Some(there)) if number == self.number && there.token == self.document.token => Ok(()),
            (_, Some(there)) => Err(there.locked(table)),
            (_, None) => Err(Error::new(Kind::Locked, "keep the lease")
                .on(format!("`{}`", self.path))
                .because("it is gone")),
        }
    }
}

/// The lease of a table, as seen by somebody who does not want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// Its number.
    pub number: u64,
    /// Why nobody else may work on the table now; `None` when it is free.
    pub held: Option<String>,
}

/// The lease that counts; `None` when there was never one.
pub async fn lease_status(
    store: &dyn ObjectStore,
    table: &TablePath,
    now: Timestamp,
) -> Result<Option<LeaseStatus>> {
    let (number, newest) = newest(store, &table.leases()).await?;
    let held = newest.and_then(|newest| newest.conflict(table, now)).map(|error| error.to_string());
    Ok((number > 0).then_some(LeaseStatus { number, held }))
}

/// Leases of a table that cannot be read, as errors; nobody but a writer looks at them otherwise. Costs a list and a
/// small read per lease.
pub(super) async fn unreadable(store: &dyn ObjectStore, table: &TablePath) -> Result<Vec<(Path, Error)>> {
    let mut listed: Vec<ObjectMeta> = Vec::new();
    for prefix in [table.leases(), table.delta_leases()] {
        let of_folder: Vec<_> = store
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(|error| document::failed("list", &prefix, error))?;
        listed.extend(of_folder);
    }
    let mut unreadable = Vec::new();
    for object in listed.into_iter().filter(|object| lease_number(&object.location).is_some()) {
        match read_as_written::<LeaseDocument>(store, &object.location).await {
            Ok(_) => {}
            // A later run may have removed it meanwhile.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) if error.kind() == Kind::Corrupt => unreadable.push((object.location, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(unreadable)
}

/// The lease that counts, and its number; number 0 when there was never one.
async fn newest(store: &dyn ObjectStore, folder: &Path) -> Result<(u64, Option<LeaseDocument>)> {
    let listed: Vec<_> = store
        .list(Some(folder))
        .try_collect()
        .await
        .map_err(|error| document::failed("list", folder, error))?;
    let highest = listed.iter().filter_map(|object| lease_number(&object.location)).max();
    match highest {
        None => Ok((0, None)),
        Some(number) => Ok((number, LeaseDocument::read(store, &lease_path(folder, number)).await?)),
    }
}

impl LeaseDocument {
    async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Option<LeaseDocument>> {
        match document::read(store, path, document::LARGEST_DOCUMENT).await? {
            Some(bytes) => document::parse(path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    fn conflict(&self, table: &TablePath, now: Timestamp) -> Option<Error> {
        // From the future: another clock is ahead, and its process alive.
        let age = Duration::try_from(now.duration_since(self.refreshed_at)).unwrap_or_default();
        let free = self.released || age >= TIME_TO_LIVE || self.holder.is_gone();
        (!free).then(|| self.locked(table))
    }

    fn locked(&self, table: &TablePath) -> Error {
        let expires = self.refreshed_at + TIME_TO_LIVE;
        Error::new(Kind::Locked, "work")
            .on(format!("on table `{}`", table.table))
            .because(format!("process {} on host {:?} holds its lease", self.holder.pid, self.holder.host))
            .hint(format!(
                "wait for that run; if it is dead on another machine, its lease expires at {expires:.0}"
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn setting() -> (InMemory, TablePath, Timestamp) {
        let table = TablePath::new(&Path::from("v"), "i", "t").unwrap();
        (InMemory::new(), table, "2026-11-22T00:00:00Z".parse().unwrap())
    }

    #[tokio::test]
    async fn a_second_run_is_refused_until_the_first_one_releases() {
        let (store, table, now) = setting();
        let first = Lease::acquire(&store, &table, now).await.unwrap();
        let error = Lease::acquire(&store, &table, now).await.unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (Kind::Locked, 6));
        first.release(&store, &table).await.unwrap();
        Lease::acquire(&store, &table, now).await.unwrap();
    }

    #[tokio::test]
    async fn of_many_that_find_it_free_at_the_same_moment_one_gets_it() {
        let (store, table, now) = setting();
        let tries = (0..8).map(|_| Lease::acquire(&store, &table, now));
        let won = futures::future::join_all(tries).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn an_abandoned_lease_is_taken_and_its_old_holder_notices() {
        let (store, table, now) = setting();
        let mut first = Lease::acquire(&store, &table, now).await.unwrap();
        let later = now + TIME_TO_LIVE;
        Lease::acquire(&store, &table, later).await.unwrap();
        assert_eq!(first.refresh(&store, &table, None, later).await.unwrap_err().kind(), Kind::Locked);
    }

    #[tokio::test]
    async fn the_lease_of_a_dead_process_of_this_machine_is_free_at_once() {
        let (store, table, now) = setting();
        let mut lease = Lease::acquire(&store, &table, now).await.unwrap();
        // The same pid, started at another moment: that process is gone.
        lease.document.holder.started = lease.document.holder.started.map(|ticks| ticks + 1);
        lease.write(&store).await.unwrap();
        Lease::acquire(&store, &table, now).await.unwrap();
    }
}
