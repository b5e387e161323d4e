//! The restore flow: one backup into one table.
//!
//! Promises:
//! - Nothing is written before backup and target were looked at; a target that has rows, or is another kind of table, is
//!   refused with no write at all unless the user says what to do with it.
//! - A chain is restored as of one moment: its records are folded into the rows of its base, and every row is written once.
//! - Every byte of a data file is hashed before any of it is decoded; a row that the service does not take is in a reject
//!   file and in the outcome, never only in a log.
//! - Every write can be repeated: cells have their timestamps. The same command after an interruption goes on with the
//!   row groups that are left, and of those with the rows that the target lacks; after a success it writes nothing.
//! - What is logged is bound to the target's creation time: a table that was created anew is not half restored.
//! - Memory stays inside [`RestoreOptions::memory_bytes`], but for single rows larger than that, and for all the records of one key.

mod lanes;
mod mapping;
mod moment;
mod options;
mod plan;
mod present;
mod presplit;
mod progress;
mod rejects;
mod retry;
mod selection;
mod source;
mod target;
mod unit_rows;
mod units;
mod wide_row;
mod writer;
mod writing;

use std::collections::HashMap;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use object_store::path::Path;

pub use options::{AutoIncrement, ErrorLimit, OnConflict, RestoreOptions};
pub use plan::{RestorePlan, TargetState};
pub use progress::{RestorePhase, RestoreProgress, RestoreSnapshot};
pub use rejects::{Refusal, refusals};
pub use retry::retry_rejects;

use crate::catalog::{
    DoneUnit, FORMAT_VERSION, FinishedRestore, RestoreLog, RowCounts, RunId, StartedRestore, TOOL, TablePath,
    UnitId, Vault,
};
use crate::model::TableDefinition;
use crate::objectstore::UploadStore;
use crate::runtime::{CpuPool, Shutdown};
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};
use plan::{Found, Prepared};
use writing::Attempt;

/// What a restore runs on.
#[derive(Clone)]
pub struct Runtime {
    /// Where decoding and encoding happen.
    pub cpu: CpuPool,
    /// Live totals.
    pub progress: Arc<RestoreProgress>,
    /// The user's wish to stop.
    pub shutdown: Shutdown,
}

/// What is restored, and where to.
#[derive(Clone)]
pub struct Job {
    /// The table's place in the vault.
    pub table: TablePath,
    /// Name of the table that is written to, in the client's instance. Only ever the user's word, never the backup's.
    pub target: String,
    /// Where the log and the reject files are kept; `None` keeps them in the vault, beside the runs.
    pub state: Option<State>,
}

/// Where the log of restores is, when it is not in the vault.
#[derive(Clone)]
pub struct State {
    /// The store.
    pub store: Arc<dyn UploadStore>,
    /// The prefix in it.
    pub prefix: Path,
}

/// A table that is restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The table's name.
    pub target: String,
    /// The last run of which anything was restored: the base, or a delta.
    pub run: RunId,
    /// As of when the rows are; `None` for a fuzzy base, whose rows are of several moments.
    pub as_of: Option<Timestamp>,
    /// Stream records that this attempt folded into the rows of the base.
    pub records: u64,
    /// Whether the restore made the table.
    pub created: bool,
    /// Everything was written before: this attempt changed nothing.
    pub finished_before: bool,
    /// What became of the rows, those of earlier attempts included.
    pub rows: RowCounts,
    /// Of those, the rows of row groups that earlier attempts had finished.
    pub resumed: RowCounts,
    /// Things about the restored table that its user should know.
    pub notes: Vec<String>,
    /// Where the log is; reject files are in `rejects/`, mappings of keys in `mapping/`.
    pub log: String,
}

impl Restored {
    /// The error of a restore that left rows out; `None` if every row is in the table or was to stay out.
    pub fn left_out(&self) -> Option<Error> {
        let rejected = self.rows.rejected;
        (rejected > 0).then(|| {
            Error::new(Kind::LeftOut, "restore every row")
                .on(format!("into table `{}`", self.target))
                .because(format!("{rejected} rows were refused"))
                .hint(format!("they are in `{}/rejects`, with key, code and message", self.log))
                .hint("`otsvault retry-rejects` with the same arguments writes them again")
        })
    }
}

/// Says what [`restore`] would do. Reads the backup's documents and looks at the target; writes nothing.
///
/// # Errors
/// Those of [`restore`] before its first write.
pub async fn plan(
    client: &TableStore,
    vault: &Vault,
    job: &Job,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    options.check()?;
    Ok(Prepared::look(client, vault, job, options).await?.describe(options))
}

/// Writes a backup into a table, or goes on with an unfinished restore of it.
///
/// # Errors
/// Before the first write: [`Kind::NotFound`] without such a backup, [`Kind::Usage`] for a target that cannot or shall
/// not be written to, [`Kind::Corrupt`] for documents that contradict each other. Later: [`Kind::Corrupt`] for a file
/// whose hash is wrong, [`Kind::LeftOut`] past [`RestoreOptions::max_errors`], [`Kind::Stopped`] after a shutdown
/// request; whatever the service refuses otherwise. All of the later ones leave a restore that the same call goes on with.
///
/// Rows that were refused are no error: see [`Restored::left_out`].
pub async fn restore(
    client: &TableStore,
    vault: &Vault,
    job: &Job,
    options: &RestoreOptions,
    runtime: &Runtime,
) -> Result<Restored> {
    options.check()?;
    runtime.progress.enter(RestorePhase::Preparing);
    // Dropped at any moment it loses nothing: what is written and not logged is found in the target by the next attempt.
    let outcome = tokio::select! {
        biased;
        _ = runtime.shutdown.wait() => Err(stopped(&job.target)),
        outcome = run(client, vault, job, options, runtime) => outcome,
    };
    runtime.progress.enter(RestorePhase::Ended);
    outcome
}

/// Restores many tables, each as [`restore`] does, at most [`RestoreOptions::tables_at_once`] at a time with as much of the
/// memory each. One that fails leaves the others alone. Gives the place in `jobs` and the outcome of each, in the
/// order in which they end.
pub fn restore_all<'a>(
    client: &'a TableStore,
    vault: &'a Vault,
    jobs: &'a [(Job, Arc<RestoreProgress>)],
    options: &'a RestoreOptions,
    runtime: &'a Runtime,
) -> impl Stream<Item = (usize, Result<Restored>)> + 'a {
    let (at_once, share) = options.shares(jobs.len());
    let one = move |(index, (job, progress)): (usize, &'a (Job, Arc<RestoreProgress>))| async move {
        let runtime = Runtime { progress: progress.clone(), ..runtime.clone() };
        let options = RestoreOptions { memory_bytes: share, ..options.clone() };
        (index, restore(client, vault, job, &options, &runtime).await)
    };
    futures::stream::iter(jobs.iter().enumerate()).map(one).buffer_unordered(at_once)
}

async fn run(
    client: &TableStore,
    vault: &Vault,
    job: &Job,
    options: &RestoreOptions,
    runtime: &Runtime,
) -> Result<Restored> {
    let prepared = Prepared::look(client, vault, job, options).await?;
    if let Found::Finished { started, finished } = &prepared.found {
        let log = prepared.log(job, vault, started).await?;
        return Ok(Restored {
            finished_before: true,
            resumed: finished.rows,
            ..prepared.outcome(started, &log, finished.rows)
        });
    }
    let (log, started) = prepared.begin(client, vault, job).await?;
    // Without a creation time nothing proves that the table is the one of the log.
    let trusted = started.binding.target_creation_time.is_some();
    let done = if trusted { log.all_done().await? } else { Vec::new() };
    let resumed = matches!(prepared.found, Found::Unfinished { .. });
    let before = sum(&done);
    runtime.progress.planned(prepared.rows, prepared.unit_count as u64, before, done.len() as u64);
    runtime.progress.enter(RestorePhase::Writing);
    let records = prepared.cut.records();
    tracing::info!(run = %prepared.cut.run, target = job.target, records, done = done.len(), resumed, "restore begins");
    let attempt = Attempt {
        client,
        log: &log,
        options,
        runtime,
        done: done_units(&done),
        resumed,
        only: None,
        rows_total: prepared.rows,
    };
    let written = prepared.write(&attempt).await.map_err(|error| match error.kind() {
        Kind::Internal => error,
        // It is deleted, not gone on with.
        _ if options.scratch => error,
        _ => error.hint("run the same command again to go on where it stopped"),
    })?;
    runtime.progress.enter(RestorePhase::Finishing);
    let names_taken = target::finish(client, &started.at_end).await?;
    let mut rows = before;
    rows += written;
    log.finish(&FinishedRestore { finished_at: Timestamp::now(), rows }).await?;
    let mut restored = Restored { resumed: before, ..prepared.outcome(&started, &log, rows) };
    restored.records = runtime.progress.snapshot().records;
    restored.notes.extend(names_taken.iter().map(|name| {
        format!(
            "index `{name}` was not made: the instance has a table of that name, maybe the source's own index"
        )
    }));
    Ok(restored)
}

fn done_units(done: &[DoneUnit]) -> HashMap<UnitId, RowCounts> {
    done.iter().map(|done| (done.unit, done.rows)).collect()
}

fn sum(done: &[DoneUnit]) -> RowCounts {
    let mut sum = RowCounts::default();
    done.iter().for_each(|done| sum += done.rows);
    sum
}

impl Prepared {
    /// Makes the target or opens it, and writes down that it is this restore's. The first write.
    async fn begin(
        &self,
        client: &TableStore,
        vault: &Vault,
        job: &Job,
    ) -> Result<(RestoreLog, StartedRestore)> {
        let (created, at_end, there) = match &self.found {
            Found::Finished { started, .. } | Found::Unfinished { started, .. } => {
                let log = self.log(job, vault, started).await?;
                let there = client.describe_table(&job.target).await?.definition;
                self.open(client, &there).await?;
                return Ok((log, (**started).clone()));
            }
            Found::Nothing => {
                let there = target::create(client, &self.wanted, &self.bounds).await?;
                (true, self.wanted.clone(), there.definition)
            }
            // What is set at the end: what it should have had from the beginning, or what it has now.
            Found::Empty(there) => (false, self.wanted.clone(), (**there).clone()),
            Found::HasRows(there) => (false, (**there).clone(), (**there).clone()),
        };
        let started = StartedRestore {
            format_version: FORMAT_VERSION,
            tool: TOOL.to_owned(),
            binding: self.binding(client, &there),
            created,
            at_end: TableDefinition { creation_time: there.creation_time, ..at_end },
            started_at: Timestamp::now(),
        };
        let root = self.root(job, vault);
        let log = match self.again {
            true => RestoreLog::another(&root.0, &root.1, &started.binding).await?,
            false => RestoreLog::newest(&root.0, &root.1, &started.binding).await?,
        };
        log.start(&started).await?;
        if !created {
            self.open(client, &there).await?;
        }
        Ok((log, started))
    }

    async fn open(&self, client: &TableStore, there: &TableDefinition) -> Result<()> {
        match self.selection.flatten {
            // The service's own timestamps are always in time.
            true => Ok(()),
            false => target::open_for_load(client, there).await,
        }
    }
}

/// The error of a restore that somebody asked to stop.
fn stopped(target: &str) -> Error {
    Error::new(Kind::Stopped, "finish the restore")
        .on(format!("into table `{target}`"))
        .because("it was asked to stop")
        .hint("run the same command again to go on where it stopped")
}
