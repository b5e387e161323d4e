//! The backup flow: one table into one vault.
//!
//! Promises:
//! - Every row of the key range is in exactly one file, every cell of it with its version and type; the files' key
//!   intervals tile the range.
//! - A backup exists when its manifest does. Until then a reader of the vault sees nothing of it.
//! - The same command after an interruption goes on with what is left; after a success it makes a new base.
//! - Memory stays inside [`BackupOptions::memory_bytes`] whatever the table's size.

mod consistency;
mod cut_search;
mod cutting;
mod estimate;
mod options;
mod page_encoder;
mod page_reader;
mod planning;
mod queue;
mod range_task;
mod read_api;
mod resume;
mod running;
mod sample;
mod scan;
mod shares;
mod splits;
mod tail;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;

pub use consistency::WantedConsistency;
pub use estimate::{Estimate, estimate};
pub use options::BackupOptions;
pub use queue::WorkerUse;
pub use read_api::ReadApi;

use crate::catalog::{self, LeaseKeeper, Manifest, RunPath, TablePath, Vault};
use crate::model::{KeyRange, TableDefinition};
use crate::parquet_file::WriterSettings;
use crate::runtime::{CpuPool, Phase, Progress, Shutdown, Signal};
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};
use options::MemoryPlan;
use planning::Planned;
use range_task::RunContext;
use scan::Scan;
use shares::Shares;
use tail::{Tail, Tailed};

/// A run ends at most this long after a stop was asked for, whatever the services do.
const STOP_TIME: Duration = Duration::from_secs(9);

/// What a flow runs on; shared by all flows of a process.
#[derive(Clone)]
pub struct Runtime {
    /// Where decoding and encoding happen.
    pub cpu: CpuPool,
    /// Live totals.
    pub progress: Arc<Progress>,
    /// The user's wish to stop.
    pub shutdown: Shutdown,
}

/// A committed backup.
#[derive(Debug)]
pub struct Backup {
    /// What was committed.
    pub manifest: Manifest,
    /// Where it is.
    pub path: RunPath,
    /// Entries that earlier attempts had finished; 0 for a run in one go.
    pub resumed_entries: usize,
    /// Rows that earlier attempts had finished.
    pub resumed_rows: u64,
    /// Read capacity units of planning, sampling and cutting in this attempt, on top of the manifest's totals.
    pub planning_capacity_units: u64,
    /// How well this attempt's workers were used.
    pub workers: WorkerUse,
}

/// Copies a table into a vault as a new base, or goes on with an unfinished one.
///
/// A base of a table with a Stream is exact: it holds the records from before the scan to after it. Without, it is fuzzy: rows written
/// during the scan may be old, new or missing.
///
/// # Errors
/// [`Kind::NotFound`] for a missing table, [`Kind::Locked`] while another run holds the table's lease,
/// [`Kind::Stopped`] after a shutdown request; whatever a service refused otherwise. All but a usage error leave a
/// run that the same call continues.
pub async fn backup(
    client: &TableStore,
    table: &str,
    vault: &Vault,
    options: &BackupOptions,
    runtime: &Runtime,
) -> Result<Backup> {
    options.check()?;
    backup_within(&Shares::new(options), client, table, vault, options, runtime).await
}

/// One of many tables.
#[derive(Debug, Clone)]
pub struct TableRun {
    /// Table name.
    pub table: String,
    /// Its own totals.
    pub progress: Arc<Progress>,
}

/// Copies many tables, each as [`backup`] does, with the memory and the concurrency of one; at most
/// [`BackupOptions::tables_at_once`] at a time. One that fails leaves the others alone. Gives the place in `tables` and
/// the outcome of each, in the order in which they end.
pub fn backup_all<'a>(
    client: &'a TableStore,
    tables: &'a [TableRun],
    vault: &'a Vault,
    options: &'a BackupOptions,
    runtime: &'a Runtime,
) -> impl Stream<Item = (usize, Result<Backup>)> + 'a {
    let shares = Shares::new(options);
    let one = move |(index, table): (usize, &'a TableRun)| {
        let shares = shares.clone();
        async move {
            let runtime = Runtime { progress: table.progress.clone(), ..runtime.clone() };
            let checked = options.check();
            let outcome = match checked {
                Ok(()) => backup_within(&shares, client, &table.table, vault, options, &runtime).await,
                Err(error) => Err(error),
            };
            (index, outcome)
        }
    };
    futures::stream::iter(tables.iter().enumerate()).map(one).buffer_unordered(options.tables_at_once)
}

async fn backup_within(
    shares: &Shares,
    client: &TableStore,
    table: &str,
    vault: &Vault,
    options: &BackupOptions,
    runtime: &Runtime,
) -> Result<Backup> {
    let publishing = AtomicBool::new(false);
    let out_of_time = async {
        runtime.shutdown.wait().await;
        tokio::time::sleep(STOP_TIME).await;
    };
    runtime.progress.enter(Phase::Planning);
    let outcome = tokio::select! {
        outcome = run_leased(shares, client, table, vault, options, runtime, &publishing) => outcome,
        () = out_of_time => Err(match publishing.load(Relaxed) {
            false => stopped(table),
            true => Error::new(Kind::Stopped, "tell whether the backup is committed")
                .on(format!("of table `{table}`"))
                .because("it was asked to stop, and the store has not answered the last write")
                .hint("`otsvault list` says what it is; where it is not committed, the same command goes on"),
        }),
    };
    runtime.progress.enter(Phase::Ended);
    outcome
}

async fn run_leased(
    shares: &Shares,
    client: &TableStore,
    table: &str,
    vault: &Vault,
    options: &BackupOptions,
    runtime: &Runtime,
    publishing: &AtomicBool,
) -> Result<Backup> {
    let described = until_stopped(&runtime.shutdown, table, client.describe_table(table)).await?;
    let mut definition = described.definition;
    if let (None, Some(hours)) = (&definition.stream, options.enable_stream) {
        let enabled = tail::enable(client, table, hours);
        until_stopped(&runtime.shutdown, table, enabled).await?;
        definition = client.describe_table(table).await?.definition;
    }
    let key_range = options.key_range(&definition.primary_key)?;
    let path = vault.table(client.instance(), table)?;
    let projection = options.projection(&definition.primary_key);
    let memory = options.memory_plan(0);
    let job = Job {
        shares,
        client,
        vault,
        options,
        runtime,
        path,
        definition,
        key_range,
        projection,
        memory,
        publishing,
    };
    let acquired = LeaseKeeper::acquire(vault, &job.path);
    let lease = Arc::new(until_stopped(&runtime.shutdown, table, acquired).await?);
    let outcome = job.run(&lease).await;
    if lease.lost().requested().is_none() {
        lease.release().await;
        return outcome;
    }
    match (outcome, lease.confirm().await) {
        // That is why the run ended, whatever it says itself.
        (Err(_), Err(lost)) => Err(lost),
        (outcome, _) => outcome,
    }
}

/// Does something that leaves nothing behind when it is dropped, unless a stop is asked for.
async fn until_stopped<T>(
    shutdown: &Shutdown,
    table: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        _ = shutdown.wait() => Err(stopped(table)),
        outcome = work => outcome,
    }
}

struct Job<'a> {
    shares: &'a Shares,
    client: &'a TableStore,
    vault: &'a Vault,
    options: &'a BackupOptions,
    runtime: &'a Runtime,
    path: TablePath,
    definition: TableDefinition,
    key_range: KeyRange,
    projection: Option<Vec<String>>,
    /// Before the columns are known.
    memory: MemoryPlan,
    /// From here on nobody but the store knows whether the run is committed.
    publishing: &'a AtomicBool,
}

impl Job<'_> {
    async fn run(&self, lease: &Arc<LeaseKeeper>) -> Result<Backup> {
        let shutdown = &self.runtime.shutdown;
        let (definition, projection) = (self.definition.clone(), self.projection.clone());
        let scan = Scan::new(self.client.clone(), definition, projection, self.shares.pages.clone());
        let mut planned = until_stopped(shutdown, &self.definition.name, self.plan(&scan)).await?;
        lease.working_on(&planned.path.run);
        let memory = self.options.memory_plan(planned.started.columns.columns().len());
        let context = RunContext {
            scan: scan.exporting(planned.exports),
            store: self.vault.store().clone(),
            run: planned.path.clone(),
            plan: Arc::new(planned.started.columns.clone()),
            settings: self.writer_settings(&memory),
            memory,
            shares: self.shares.clone(),
            target_file_bytes: self.options.target_file_bytes,
            storage_class: planned.storage_class()?,
            cpu: self.runtime.cpu.clone(),
            progress: self.runtime.progress.clone(),
            shutdown: shutdown.clone(),
            lease: lease.clone(),
            stop: Shutdown::default(),
        };
        self.runtime.progress.planned(planned.splits.len() as u64);
        tracing::info!(run = %planned.path.run, splits = planned.splits.len(), done = planned.done.len(), "scan planned");
        self.runtime.progress.enter(Phase::Scanning);
        let scan = workers::scan_all(context.clone(), planned.splits.clone(), planned.estimated_bytes);
        let (workers, tailed) = match planned.reader.take().zip(planned.started.stream.as_ref()) {
            None => (scan.await?, None),
            Some((reader, start)) => {
                let files = tail::record_files(&context);
                let tail = Tail::new(reader, start, files, self.options.stream_settle, &self.runtime.cpu);
                let (workers, tailed) = self.scan_with(tail, scan, &context.stop).await?;
                (workers, Some(tailed))
            }
        };

        self.runtime.progress.enter(Phase::Committing);
        let prepared = self.prepare(&planned, lease, tailed);
        let manifest = until_stopped(shutdown, &self.definition.name, prepared).await?;
        self.publishing.store(true, Relaxed);
        // Not dropped by a stop: it would leave open whether the run exists.
        catalog::publish(&**self.vault.store(), &planned.path, &manifest).await?;
        Ok(Backup {
            manifest,
            path: planned.path,
            resumed_entries: planned.done.len(),
            resumed_rows: planned.done.iter().map(|entry| entry.rows).sum(),
            planning_capacity_units: planned.planning_capacity_units + workers.probe_capacity_units,
            workers,
        })
    }

    /// Scans and reads the Stream at the same time. Whichever fails ends the other.
    async fn scan_with(
        &self,
        tail: Tail,
        scan: impl Future<Output = Result<WorkerUse>>,
        stop: &Shutdown,
    ) -> Result<(WorkerUse, Tailed)> {
        let scanned = Shutdown::default();
        let (tail, scan) = (tail.read(&scanned), scan);
        tokio::pin!(tail, scan);
        tokio::select! {
            workers = &mut scan => {
                let workers = workers?;
                scanned.request(Signal::Terminate);
                let tailed = until_stopped(&self.runtime.shutdown, &self.definition.name, tail).await?;
                Ok((workers, tailed))
            }
            tailed = &mut tail => {
                // The scan is not over, so this is an error. What the workers have is worth keeping all the same.
                stop.request(Signal::Terminate);
                let scanned = scan.await;
                tailed.and_then(|tailed| scanned.map(|workers| (workers, tailed)))
            }
        }
    }

    async fn prepare(
        &self,
        planned: &Planned,
        lease: &LeaseKeeper,
        tailed: Option<Tailed>,
    ) -> Result<Manifest> {
        let store = &**self.vault.store();
        lease.confirm().await?;
        // A lost answer or a damaged page may have left an upload behind.
        resume::abort_open_uploads(store, &planned.path).await?;
        let entries = catalog::read_journal(store, &planned.path).await?;
        lease.ensure().await?;
        let Planned { path, started, .. } = planned;
        let delta = match tailed {
            None => None,
            Some((span, files)) => {
                Some(catalog::prepare_delta(store, path, span, &started.columns, files).await?)
            }
        };
        catalog::prepare_commit(store, path, started, &entries, delta, Timestamp::now()).await
    }

    fn writer_settings(&self, memory: &MemoryPlan) -> WriterSettings {
        WriterSettings {
            profile: self.options.encoding_profile,
            zstd_level: self.options.zstd_level,
            row_group_rows: self.options.row_group_rows,
            row_group_bytes: usize::try_from(memory.row_group_bytes).unwrap_or(usize::MAX),
            ..WriterSettings::default()
        }
    }
}

/// The error of a run that somebody asked to stop.
fn stopped(table: &str) -> Error {
    Error::new(Kind::Stopped, "finish the backup")
        .on(format!("of table `{table}`"))
        .because("it was asked to stop")
        .hint("run the same command again to go on where it stopped")
}
