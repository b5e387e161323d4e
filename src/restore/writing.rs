//! The writing part of a restore: stretch by stretch, each with as many lanes as the memory affords.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::lanes::Lanes;
use super::plan::Prepared;
use super::source::{BATCH_BYTES, Fold, RowSource};
use super::units::{LANE_BYTES, Retry, STEP_RESERVE, Work, write_all};
use super::writer::Writer;
use super::{OnConflict, RestoreOptions, Runtime};
use crate::Result;
use crate::catalog::{RestoreLog, RowCounts, UnitId};
use crate::fold::{BaseRows, ChainRecords};
use crate::model::KeyRange;
use crate::runtime::ByteBudget;
use crate::stored::Reading;
use crate::tablestore::TableStore;

/// Lanes where nobody asked for a number: enough for ten partitions.
const AUTO_LANES: u64 = 16;

/// Row groups up to this size are expected when memory is shared out.
const ROW_GROUP_BYTES: u64 = 8 << 20;

/// One attempt to write what is left.
pub(super) struct Attempt<'a> {
    pub client: &'a TableStore,
    pub log: &'a RestoreLog,
    pub options: &'a RestoreOptions,
    pub runtime: &'a Runtime,
    /// Left out.
    pub done: HashMap<UnitId, RowCounts>,
    /// Rows of earlier attempts may be in the target.
    pub resumed: bool,
    /// Which rows of which row groups are wanted, where not all are.
    pub only: Option<Arc<BTreeMap<UnitId, Retry>>>,
    /// Rows to write, against which refused ones are counted.
    pub rows_total: u64,
}

/// How the memory of a restore is shared out.
struct Shares {
    /// Bytes of the base's files, and of record batches out of them.
    files: u64,
    /// Stream records, and the files that they are in.
    records: u64,
    record_files: u64,
    lanes: usize,
    requests: u64,
}

impl Shares {
    /// With records a quarter is for them and an eighth for their files. A third of the rest is for files, the rest for requests and lanes.
    fn of(options: &RestoreOptions, has_records: bool) -> Shares {
        let (records, record_files) = match has_records {
            true => (options.memory_bytes / 4, options.memory_bytes / 8),
            false => (0, 0),
        };
        let rest = options.memory_bytes - records - record_files;
        let files = rest / 3;
        // A lane that folds holds another batch: the base's and the one that comes of it.
        let lane_bytes = if has_records { LANE_BYTES + BATCH_BYTES } else { LANE_BYTES };
        let lanes = match options.lanes {
            0 => (files / ROW_GROUP_BYTES).min(AUTO_LANES).min(rest / 3 / lane_bytes),
            lanes => lanes as u64,
        };
        let lanes = lanes.max(1);
        let requests = (rest - files).saturating_sub(lanes * lane_bytes).max(2 * STEP_RESERVE);
        Shares { files, records, record_files, lanes: usize::try_from(lanes).unwrap_or(1), requests }
    }
}

impl Prepared {
    /// Writes what is left. Returns what became of the rows of this attempt.
    ///
    /// # Errors
    /// The first that comes up; what was written and not logged is recognised by the next attempt.
    pub(super) async fn write(&self, attempt: &Attempt<'_>) -> Result<RowCounts> {
        let shares = Shares::of(attempt.options, self.fold.is_some());
        let reading = |largest_whole: u64, whole: &ByteBudget, blocks: &ByteBudget| Reading {
            store: self.store.clone(),
            largest_whole,
            whole: whole.clone(),
            blocks: blocks.clone(),
            cpu: attempt.runtime.cpu.clone(),
            batch_bytes: BATCH_BYTES,
        };
        let files = ByteBudget::new(shares.files);
        let of_base = reading(shares.files / shares.lanes as u64, &files, &files);
        let base = BaseRows::new(&self.path, &self.manifest, self.entries.clone(), of_base);
        let records = match &self.fold {
            None => None,
            Some(_) => {
                let half = shares.record_files / 2;
                let budgets = (ByteBudget::new(half), ByteBudget::new(half));
                let of_records = reading(half / 4, &budgets.0, &budgets.1);
                Some(Arc::new(ChainRecords::open(&self.cut, of_records, shares.records).await?))
            }
        };
        let stretches = match &records {
            Some(records) => records.stretches(&self.entries),
            None => std::iter::once(0..self.entries.len()).collect(),
        };
        let mut rows = RowCounts::default();
        for stretch in stretches {
            if !self.is_wanted(attempt, &stretch) {
                continue;
            }
            let fold = match (&self.fold, &records) {
                (Some(settings), Some(records)) => {
                    let range = self.interval(&stretch);
                    Some(Fold { settings: *settings, records: records.stretch(range).await? })
                }
                _ => None,
            };
            let source = RowSource::new(base.clone(), stretch, fold);
            rows += write_all(Arc::new(self.work(attempt, &shares, source, rows.rejected))).await?;
        }
        Ok(rows)
    }

    /// Whether anything of a stretch is left to be written.
    fn is_wanted(&self, attempt: &Attempt<'_>, stretch: &Range<usize>) -> bool {
        let mut units = self.units().into_iter().filter(|unit| stretch.contains(&unit.entry));
        units.any(|unit| match &attempt.only {
            None => !attempt.done.contains_key(&unit.id),
            Some(only) => only.contains_key(&unit.id),
        })
    }

    /// The keys of the entries of a stretch that have keys to be written.
    fn interval(&self, stretch: &Range<usize>) -> KeyRange {
        let entries = self.entries.get(stretch.clone()).unwrap_or_default();
        let wanted = || {
            entries
                .iter()
                .map(|entry| &entry.range)
                .filter(|range| range.start < self.key_range.end && range.end > self.key_range.start)
        };
        match (wanted().next(), wanted().next_back()) {
            (Some(first), Some(last)) => KeyRange { start: first.start.clone(), end: last.end.clone() },
            _ => self.key_range.clone(),
        }
    }

    /// What the lanes of a stretch share.
    fn work(&self, attempt: &Attempt<'_>, shares: &Shares, source: RowSource, rejected: u64) -> Work {
        let Attempt { options, runtime, .. } = attempt;
        let wide = self.options_of_target();
        let no_wide_rows = match (options.on_conflict, wide.allow_update, wide.update_full_row) {
            (_, Some(false), _) => Some("it needs more than one request, and the table allows no updates"),
            (_, _, Some(true)) => {
                Some("it needs more than one request, and an update replaces whole rows of the table")
            }
            (Some(OnConflict::Skip | OnConflict::Fail), ..) => Some(
                "it needs more than one request, which `--on-conflict skip` and `fail` cannot make one of",
            ),
            _ => None,
        };
        let mut units = source.units(&self.key_range);
        match &attempt.only {
            None => units.retain(|unit| !attempt.done.contains_key(&unit.id)),
            Some(only) => units.retain(|unit| only.contains_key(&unit.id)),
        }
        let before: u64 = attempt.done.values().map(|rows| rows.rejected).sum();
        let before = if attempt.only.is_some() { 0 } else { before };
        let lanes = if source.is_parallel() { shares.lanes } else { 1 };
        let key = self.wanted.primary_key.iter();
        Work {
            lanes: Lanes::new(units, lanes),
            source,
            writer: Writer {
                client: attempt.client.clone(),
                table: self.wanted.name.clone(),
                key_names: key.map(|column| column.name.clone()).collect(),
                selection: self.selection.clone(),
                on_conflict: options.on_conflict,
                no_wide_rows,
                cpu: runtime.cpu.clone(),
                progress: runtime.progress.clone(),
            },
            log: attempt.log.clone(),
            range: self.key_range.clone(),
            resumed: attempt.resumed,
            rejected: AtomicU64::new(before + rejected),
            only: attempt.only.clone(),
            memory: ByteBudget::new(shares.requests),
            max_errors: options.max_errors,
            rows_total: attempt.rows_total,
        }
    }
}
