//! What a restore would do, found out without a write.

use std::sync::Arc;

use jiff::Timestamp;
use object_store::path::Path;
use serde::Serialize;

use super::lanes::Unit;
use super::options::{AutoIncrement, OnConflict, RestoreOptions};
use super::presplit::partition_bounds;
use super::selection::Selection;
use super::source::units;
use super::{Job, Restored, moment, target};
use crate::catalog::{
    Consistency, Cut, CutBinding, Delta, FileEntry, FinishedRestore, Manifest, Moment, RestoreBinding,
    RestoreLog, RowCounts, RunId, RunPath, StartedRestore, Vault, read_file_list,
};
use crate::fold::{FoldSettings, TimeToLive};
use crate::model::{KeyPart, KeyRange, TableDefinition, TableOptions};
use crate::objectstore::UploadStore;
use crate::tablestore::{MAX_BATCH_DATA, MAX_BATCH_ROWS, TableStore};
use crate::{Error, Kind, Result};

/// Data that one write capacity unit pays for, per row (service: billing is in steps of 4 KB).
const BYTES_PER_UNIT: u64 = 4_096;

/// Backup and target, looked at.
pub(super) struct Prepared {
    pub store: Arc<dyn UploadStore>,
    pub path: RunPath,
    /// The base, with the table's definition as of the moment.
    pub manifest: Manifest,
    /// What is read.
    pub cut: Cut,
    /// How records are folded into the rows; `None` where the base is the table.
    pub fold: Option<FoldSettings>,
    pub entries: Arc<[FileEntry]>,
    /// The keys that are written.
    pub key_range: KeyRange,
    /// About how many rows those are, and how many bytes by the data-size rule.
    pub rows: u64,
    pub data_bytes: u64,
    pub unit_count: usize,
    /// The table in the end.
    pub wanted: TableDefinition,
    /// Where a new one is cut.
    pub bounds: Vec<KeyPart>,
    pub selection: Arc<Selection>,
    pub found: Found,
    pub again: bool,
    on_conflict: Option<OnConflict>,
    auto_increment: AutoIncrement,
    time_to_live: TimeToLive,
    columns: Option<Vec<String>>,
}

/// What is where the rows are to go.
pub(super) enum Found {
    Nothing,
    /// A table as it should be, without rows; or one that an attempt made and died.
    Empty(Box<TableDefinition>),
    /// A table that the user wants to be written into as it is.
    HasRows(Box<TableDefinition>),
    Unfinished {
        started: Box<StartedRestore>,
        done: RowCounts,
    },
    Finished {
        started: Box<StartedRestore>,
        finished: FinishedRestore,
    },
}

/// What a restore would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestorePlan {
    /// Instance and table that the backup is of.
    pub source: String,
    /// The last run of which anything is restored: the base, or a delta.
    pub run: String,
    /// What its rows are worth together.
    pub consistency: Consistency,
    /// As of when; `None` for a fuzzy base.
    pub as_of: Option<Timestamp>,
    /// Stream records that are read to be folded into the rows; those after the moment do not count.
    pub records: u64,
    /// Table that is written to.
    pub target: String,
    /// What is there now.
    pub target_state: TargetState,
    /// Partitions that a new table begins with.
    pub partitions: usize,
    /// Rows to write; about, where a key range cuts files, and without those that Stream records add or delete.
    pub rows: u64,
    /// Rows that earlier attempts have written.
    pub rows_done: u64,
    /// Their bytes by the service's data-size rule; of all columns and versions.
    pub data_bytes: u64,
    /// Bytes of the data files that are read.
    pub stored_bytes: u64,
    /// Row groups to write.
    pub row_groups: usize,
    /// About how many requests it takes.
    pub requests: u64,
    /// About how many write capacity units it takes.
    pub write_capacity_units: u64,
    /// Things about the restored table that its user should know.
    pub notes: Vec<String>,
}

/// What is where the rows are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// No table: it is created.
    Absent,
    /// A table of that kind without rows.
    Empty,
    /// A table that is written into as it is.
    Existing,
    /// An interrupted restore of this run, which goes on.
    Unfinished,
    /// The table is restored already: nothing is written.
    Finished,
}

impl Prepared {
    /// Reads the backup's documents, then looks at the target. Writes nothing.
    pub(super) async fn look(
        client: &TableStore,
        vault: &Vault,
        job: &Job,
        options: &RestoreOptions,
    ) -> Result<Prepared> {
        let store: Arc<dyn UploadStore> = vault.store().clone();
        let cut = moment::pick(vault, job, options).await?;
        let path = cut.path.clone();
        let entries: Arc<[FileEntry]> = read_file_list(&*store, &path, &cut.base).await?.into();
        let fold = FoldSettings::of(&cut, options.time_to_live);
        let fold = (cut.has_records() || fold.trim || fold.horizon_ms.is_some()).then_some(fold);
        let manifest = Manifest { table: cut.table.clone(), ..(*cut.base).clone() };
        let wanted = target::wanted(&manifest, &job.target, options);
        let key_range = options.key_range(&manifest.key_range, &wanted.primary_key)?;
        let selection = Selection {
            columns: options.columns.clone().map(|columns| columns.into_iter().collect()),
            flatten: options.flatten,
            reassigned: target::reassigned_column(&wanted),
        };
        if options.on_conflict == Some(OnConflict::Overwrite) {
            refuse_to_lose_columns(&manifest, options, &job.target)?;
        }
        let inside = entries
            .iter()
            .filter(|entry| entry.range.start < key_range.end && entry.range.end > key_range.start);
        let (mut rows, mut data_bytes) = (0, 0);
        for entry in inside {
            rows += entry.rows;
            data_bytes += entry.logical_bytes;
        }
        let unit_count = units(&entries, &key_range, fold.is_some()).len();
        let mut columns = options.columns.clone();
        columns.iter_mut().for_each(|columns| columns.sort());
        let mut prepared = Prepared {
            bounds: partition_bounds(&entries, &key_range),
            store,
            path,
            manifest,
            cut,
            fold,
            entries,
            key_range,
            rows,
            data_bytes,
            unit_count,
            wanted,
            selection: Arc::new(selection),
            found: Found::Nothing,
            again: false,
            on_conflict: options.on_conflict,
            auto_increment: options.auto_increment,
            time_to_live: options.time_to_live,
            columns,
        };
        if let Some(run) = prepared.begun_earlier(client, vault, job, options).await? {
            tracing::info!(%run, target = job.target, "the chain has grown since the restore began, which goes on as it began");
            let options = RestoreOptions { to: Moment::Run(run), ..options.clone() };
            return Box::pin(Prepared::look(client, vault, job, &options)).await;
        }
        prepared.found = prepared.look_at_target(client, vault, job, options).await?;
        prepared.again = options.again && !matches!(prepared.found, Found::Unfinished { .. });
        Ok(prepared)
    }

    /// Up to which run an unfinished restore of the same chain to its end goes, when the chain has grown since it began.
    async fn begun_earlier(
        &self,
        client: &TableStore,
        vault: &Vault,
        job: &Job,
        options: &RestoreOptions,
    ) -> Result<Option<RunId>> {
        let is_open = options.run.is_none() && options.to == Moment::End && !options.again;
        if !is_open || self.cut.deltas.len() < 2 {
            return Ok(None);
        }
        let Some(there) = target::describe(client, &job.target).await? else { return Ok(None) };
        let binding = self.binding(client, &there.definition);
        let up_to = |(path, _): &(RunPath, Delta)| {
            let cut = binding.cut.clone().map(|cut| CutBinding { run: path.run.clone(), ..cut });
            RestoreBinding { cut, ..binding.clone() }
        };
        let root = self.root(job, vault);
        let begun = RestoreLog::unfinished(&root.0, &root.1, self.cut.deltas.iter().rev().map(up_to)).await?;
        Ok(begun.and_then(|binding| binding.cut).map(|cut| cut.run).filter(|run| *run != self.cut.run))
    }

    async fn look_at_target(
        &self,
        client: &TableStore,
        vault: &Vault,
        job: &Job,
        options: &RestoreOptions,
    ) -> Result<Found> {
        let Some(there) = target::describe(client, &job.target).await? else { return Ok(Found::Nothing) };
        let there = Box::new(there.definition);
        let root = self.root(job, vault);
        let log = RestoreLog::newest(&root.0, &root.1, &self.binding(client, &there)).await?;
        match (log.started().await?.map(Box::new), log.finished().await?) {
            (Some(started), Some(finished)) if !options.again => {
                return Ok(Found::Finished { started, finished });
            }
            (Some(started), None) => {
                if self.selection.reassigned.is_some() {
                    return Err(Error::new(Kind::Usage, "go on with the restore")
                        .on(format!("into table `{}`", job.target))
                        .because(
                            "it was interrupted, and rows with keys of the service's own cannot be told from others",
                        )
                        .hint("nothing was written; delete the table and run the same command again"));
                }
                let mut done = RowCounts::default();
                log.all_done().await?.iter().for_each(|unit| done += unit.rows);
                return Ok(Found::Unfinished { started, done });
            }
            _ => {}
        }
        target::guard(client, &there, &self.wanted, options.on_conflict).await?;
        Ok(match options.on_conflict {
            None => Found::Empty(there),
            Some(_) => Found::HasRows(there),
        })
    }

    /// The options of the table that is written to, but for those of the load.
    pub(super) fn options_of_target(&self) -> &TableOptions {
        match &self.found {
            Found::Nothing | Found::Empty(_) => &self.wanted.options,
            Found::HasRows(there) => &there.options,
            Found::Unfinished { started, .. } | Found::Finished { started, .. } => &started.at_end.options,
        }
    }

    /// What a restore into `there` is bound to.
    pub(super) fn binding(&self, client: &TableStore, there: &TableDefinition) -> RestoreBinding {
        RestoreBinding {
            source: self.manifest.source.clone(),
            table: self.manifest.table.name.clone(),
            run: self.manifest.run.clone(),
            target_instance: client.instance().to_owned(),
            target_table: there.name.clone(),
            target_creation_time: there.creation_time,
            key_range: self.key_range.clone(),
            columns: self.columns.clone(),
            flatten: self.selection.flatten,
            auto_increment: self.auto_increment.to_string(),
            on_conflict: self.on_conflict.map(|policy| policy.to_string()),
            cut: self.cut.base.delta.as_ref().map(|_| CutBinding {
                run: self.cut.run.clone(),
                until_clock_us: self.cut.until_clock_us,
                time_to_live: self.time_to_live.to_string(),
            }),
        }
    }

    /// Everything that may have rows to be written, in key order.
    pub(super) fn units(&self) -> Vec<Unit> {
        units(&self.entries, &self.key_range, self.fold.is_some())
    }

    /// Where logs are.
    pub(super) fn root(&self, job: &Job, vault: &Vault) -> (Arc<dyn UploadStore>, Path) {
        match &job.state {
            Some(state) => (state.store.clone(), state.prefix.clone()),
            None => (vault.store().clone(), job.table.prefix()),
        }
    }

    /// The log of a restore that was started.
    pub(super) async fn log(&self, job: &Job, vault: &Vault, started: &StartedRestore) -> Result<RestoreLog> {
        let root = self.root(job, vault);
        RestoreLog::newest(&root.0, &root.1, &started.binding).await
    }

    /// The outcome of a restore whose rows came to `rows`.
    pub(super) fn outcome(&self, started: &StartedRestore, log: &RestoreLog, rows: RowCounts) -> Restored {
        Restored {
            target: self.wanted.name.clone(),
            run: self.cut.run.clone(),
            as_of: self.cut.at,
            records: 0,
            created: started.created,
            finished_before: false,
            rows,
            resumed: RowCounts::default(),
            notes: self.notes(&started.at_end),
            log: log.prefix().to_string(),
        }
    }

    pub(super) fn describe(&self, options: &RestoreOptions) -> RestorePlan {
        let (target_state, rows_done) = match &self.found {
            Found::Nothing => (TargetState::Absent, 0),
            Found::Empty(_) => (TargetState::Empty, 0),
            Found::HasRows(_) => (TargetState::Existing, 0),
            Found::Unfinished { done, .. } => (TargetState::Unfinished, done.all()),
            Found::Finished { finished, .. } => (TargetState::Finished, finished.rows.all()),
        };
        let at_end = match &self.found {
            Found::HasRows(there) => there,
            Found::Unfinished { started, .. } | Found::Finished { started, .. } => &started.at_end,
            Found::Nothing | Found::Empty(_) => &self.wanted,
        };
        let left = self.rows.saturating_sub(rows_done);
        let row_bytes = self.data_bytes / self.rows.max(1);
        let data_left = row_bytes * left;
        let inside = |entry: &&FileEntry| {
            entry.range.start < self.key_range.end && entry.range.end > self.key_range.start
        };
        let files = self.entries.iter().filter(inside).filter_map(|entry| entry.file.as_ref());
        RestorePlan {
            source: format!("{}/{}", self.manifest.source.instance, self.manifest.table.name),
            run: self.cut.run.to_string(),
            consistency: self.manifest.consistency,
            as_of: self.cut.at,
            records: self.cut.records(),
            target: self.wanted.name.clone(),
            target_state,
            partitions: if target_state == TargetState::Absent { self.bounds.len() + 1 } else { 0 },
            rows: self.rows,
            rows_done,
            data_bytes: self.data_bytes,
            stored_bytes: files.map(|file| file.bytes).sum(),
            row_groups: self.unit_count,
            requests: left.div_ceil(MAX_BATCH_ROWS as u64).max(data_left.div_ceil(MAX_BATCH_DATA as u64)),
            write_capacity_units: left * row_bytes.div_ceil(BYTES_PER_UNIT).max(1),
            notes: {
                debug_assert_eq!(options.on_conflict, self.on_conflict, "made for these options");
                self.notes(at_end)
            },
        }
    }

    /// What a careful user would want to be told about the table as it will be.
    fn notes(&self, at_end: &TableDefinition) -> Vec<String> {
        let mut notes = Vec::new();
        let source = &self.manifest.table;
        if let Some(column) = source.primary_key.iter().find(|column| column.auto_increment) {
            notes.push(match self.auto_increment {
                AutoIncrement::Integer => format!(
                    "`{}` was an auto-increment column; here it is a plain INTEGER with the original values, and new \
                     rows need values of their own (`--auto-increment reassign` gives new keys instead)",
                    column.name
                ),
                AutoIncrement::Reassign => format!(
                    "`{}` has new values, assigned by the service; which old key became which is in `mapping/`",
                    column.name
                ),
            });
        }
        if let Some(seconds) = at_end.options.time_to_live.filter(|seconds| *seconds > 0) {
            notes.push(format!(
                "the table has its time to live of {seconds} s again: cells that are older are gone for readers"
            ));
        }
        if let Some(columns) = &self.manifest.projection {
            notes.push(format!(
                "the backup is a projection: of the attributes it has {} alone",
                columns.join(", ")
            ));
        }
        if self.selection.flatten {
            notes
                .push("older versions and the original timestamps were not written (`--flatten`)".to_owned());
        }
        let reserved = source.reserved;
        if at_end.reserved != reserved
            && (reserved.read, reserved.write) != (0, 0)
            && !matches!(self.found, Found::HasRows(_))
        {
            notes.push(format!(
                "the source had {} read and {} write capacity units reserved, this table has none (`--keep-reserved`)",
                reserved.read, reserved.write
            ));
        }
        if at_end.stream.is_some() && !matches!(self.found, Found::HasRows(_)) {
            notes.push("its Stream is a new one: it begins behind the restore".to_owned());
        }
        if let Found::HasRows(there) = &self.found {
            if there.stream.is_some() {
                notes.push("the table has a Stream: what was written is in it".to_owned());
            }
            let versions = |definition: &TableDefinition| definition.options.max_versions.unwrap_or(1);
            if versions(there) < versions(source) && !self.selection.flatten {
                notes.push(format!(
                    "the table keeps {} versions, the backup has up to {}: the older ones are not kept",
                    versions(there),
                    versions(source)
                ));
            }
        }
        notes
    }
}

/// Whole rows are replaced: with some columns alone that would delete the others.
fn refuse_to_lose_columns(manifest: &Manifest, options: &RestoreOptions, target: &str) -> Result<()> {
    let what = match (&manifest.projection, &options.columns) {
        (Some(_), _) => "the backup is a projection",
        (None, Some(_)) => "not all columns are written",
        (None, None) => return Ok(()),
    };
    Err(Error::new(Kind::Usage, "overwrite rows")
        .on(format!("of table `{target}`"))
        .because(format!("{what}: the other columns of the rows would be lost"))
        .hint("nothing was written; `--into-existing merge` leaves them"))
}
