//! The backup flow: one table into one vault.
//!
//! Promises:
//! - Every row of the key range is in exactly one file, every cell of it with its version and type; the files' key
//!   intervals tile the range.
//! - A backup exists when its manifest does. Until then a reader of the vault sees nothing of it.
//! - The same command after an interruption goes on with what is left; after a success it makes a new base.
//! - Memory stays inside [`BackupOptions::memory_bytes`] whatever the table's size.

mod cutting;
mod estimate;
mod lease_keeper;
mod options;
mod page_encoder;
mod page_reader;
mod queue;
mod range_task;
mod read_api;
mod resume;
mod running;
mod sample;
mod scan;
mod shares;
mod splits;
mod workers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::{Stream, StreamExt};
use jiff::Timestamp;

pub use estimate::{Estimate, estimate};
pub use options::BackupOptions;
pub use queue::WorkerUse;
pub use read_api::ReadApi;

use crate::catalog::{
    self, FORMAT_VERSION, Manifest, RunId, RunPath, Source, StartedRun, TOOL, TablePath, Vault,
};
use crate::columnar::ColumnPlan;
use crate::model::{KeyRange, TableDefinition};
use crate::objectstore::StorageClass;
use crate::parquet_file::WriterSettings;
use crate::runtime::{CpuPool, Phase, Progress, Shutdown};
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};
use lease_keeper::LeaseKeeper;
use options::MemoryPlan;
use range_task::RunContext;
use scan::Scan;
use shares::Shares;

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
/// Without a Stream position the base is fuzzy: rows written during the scan may be old, new or missing.
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
    let definition = described.definition;
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

/// A run with its plan made, new or taken up.
struct Planned {
    path: RunPath,
    started: StartedRun,
    done: Vec<catalog::FileEntry>,
    splits: Vec<KeyRange>,
    estimated_bytes: u64,
    /// Pages come by BulkExport.
    exports: bool,
    planning_capacity_units: u64,
}

impl Planned {
    /// All data files of a run have the same class, whatever a later attempt asks for.
    fn storage_class(&self) -> Result<Option<StorageClass>> {
        self.started.storage_class.as_deref().map(str::parse).transpose()
    }
}

impl Job<'_> {
    async fn run(&self, lease: &Arc<LeaseKeeper>) -> Result<Backup> {
        let shutdown = &self.runtime.shutdown;
        let (definition, projection) = (self.definition.clone(), self.projection.clone());
        let scan = Scan::new(self.client.clone(), definition, projection, self.shares.pages.clone());
        let planned = until_stopped(shutdown, &self.definition.name, self.plan(&scan)).await?;
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
        let workers = workers::scan_all(context, planned.splits.clone(), planned.estimated_bytes).await?;

        self.runtime.progress.enter(Phase::Committing);
        let manifest = until_stopped(shutdown, &self.definition.name, self.prepare(&planned, lease)).await?;
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

    async fn prepare(&self, planned: &Planned, lease: &LeaseKeeper) -> Result<Manifest> {
        let store = &**self.vault.store();
        lease.confirm().await?;
        // A lost answer or a damaged page may have left an upload behind.
        resume::abort_open_uploads(store, &planned.path).await?;
        let entries = catalog::read_journal(store, &planned.path).await?;
        lease.ensure().await?;
        catalog::prepare_commit(store, &planned.path, &planned.started, &entries, Timestamp::now()).await
    }

    async fn plan(&self, scan: &Scan) -> Result<Planned> {
        let store = &**self.vault.store();
        let bound = resume::Bound {
            table: &self.definition,
            key_range: &self.key_range,
            projection: self.projection.as_deref(),
        };
        let earlier = resume::look_back(store, &self.path, bound).await?;
        let mut splits =
            splits::plan_splits(self.client, &self.definition.name, &self.key_range, self.memory.concurrency)
                .await?;
        let _planning = self.shares.planning().await;
        let (exports, units) =
            read_api::exports(self.options.read_api, scan, &splits.ranges, &self.runtime.cpu).await?;
        splits.capacity_units += units;
        let Some((path, started)) = earlier.unfinished else {
            return self.plan_new(scan, splits, earlier.columns, exports).await;
        };
        resume::abort_open_uploads(store, &path).await?;
        let plan = Arc::new(started.columns.clone());
        let done =
            resume::finished_entries(store, &path, &plan, &self.runtime.cpu, &self.shares.pages).await?;
        let left = self.key_range.minus(done.iter().map(|entry| &entry.range));
        let points: Vec<_> = splits.ranges.iter().map(|range| range.start.clone()).collect();
        Ok(Planned {
            path,
            started,
            done,
            splits: left.iter().flat_map(|range| range.split_at(points.iter().cloned())).collect(),
            estimated_bytes: splits.estimated_bytes,
            exports,
            planning_capacity_units: splits.capacity_units,
        })
    }

    async fn plan_new(
        &self,
        scan: &Scan,
        splits: splits::Splits,
        previous: Option<ColumnPlan>,
        exports: bool,
    ) -> Result<Planned> {
        let sample_bytes = (self.options.memory_bytes / 8).min(64 << 20);
        let (columns, cost) = sample::plan_columns(
            scan,
            &splits.ranges,
            previous.as_ref(),
            &self.runtime.cpu,
            self.writer_settings(&self.memory),
            sample_bytes,
        )
        .await?;
        let now = Timestamp::now();
        let run = RunId::new(now);
        let path = self.path.base(&run);
        let started = StartedRun {
            format_version: FORMAT_VERSION,
            tool: TOOL.to_owned(),
            chain: run.clone(),
            run,
            source: Source {
                instance: self.client.instance().to_owned(),
                endpoint: self.client.endpoint().to_owned(),
            },
            table: self.definition.clone(),
            key_range: self.key_range.clone(),
            projection: self.projection.clone(),
            storage_class: self.options.storage_class.map(|class| class.as_str().to_owned()),
            started_at: now,
            columns,
        };
        started.write(&**self.vault.store(), &path).await?;
        Ok(Planned {
            path,
            started,
            done: Vec::new(),
            splits: splits.ranges,
            estimated_bytes: splits.estimated_bytes,
            exports,
            planning_capacity_units: splits.capacity_units + cost.capacity_units,
        })
    }

    fn writer_settings(&self, memory: &MemoryPlan) -> WriterSettings {
        WriterSettings {
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
