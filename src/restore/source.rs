//! Where the rows come from: the row groups of a base, in key order, with the records since then folded into them where there are any.
//!
//! The one place that knows how a backup is stored; whoever writes rows asks for units and gets record batches.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::RecordBatch;
use tokio::sync::OnceCell;

use super::lanes::Unit;
use crate::catalog::{FileEntry, Manifest, RunPath, UnitId};
use crate::columnar::ColumnPlan;
use crate::fold::{Ambiguous, FoldSettings, FoldedRows, RecordPart, Stretch};
use crate::model::KeyRange;
use crate::parquet_file::{Batches, ReadLimits};
use crate::runtime::BytePermit;
use crate::stored::{DataFile, Holds, Reading, UnitBytes};
use crate::{Error, Kind, Result};

/// Decoded bytes of a record batch, about. A batch becomes requests of two to four times its size.
pub(super) const BATCH_BYTES: u64 = 4 << 20;

/// The rows of one base, or of a stretch of it.
pub(super) struct RowSource {
    path: RunPath,
    entries: Arc<[FileEntry]>,
    /// Places of the entries whose rows are wanted.
    stretch: Range<usize>,
    /// The columns of its files.
    pub plan: Arc<ColumnPlan>,
    reading: Reading,
    fold: Option<Fold>,
    open: Mutex<HashMap<usize, Weak<OnceCell<DataFile>>>>,
}

/// What is folded into the rows.
pub(super) struct Fold {
    pub settings: FoldSettings,
    pub records: Stretch,
}

/// A file that stays open as long as somebody holds it. Never opened where an interval has no file.
pub(super) type HeldFile = Arc<OnceCell<DataFile>>;

/// The rows of a unit, and the memory that the bytes of its row group take.
pub(super) struct UnitBatches {
    pub rows: UnitBatchSource,
    pub permit: Option<BytePermit>,
}

/// The record batches of a unit.
pub(super) enum UnitBatchSource {
    /// As they are stored.
    Stored(Box<Batches>),
    /// With records folded into them.
    Folded(Box<FoldedRows>),
}

impl Iterator for UnitBatchSource {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        match self {
            UnitBatchSource::Stored(batches) => batches.next(),
            UnitBatchSource::Folded(rows) => rows.next(),
        }
    }
}

impl UnitBatchSource {
    /// The keys whose records are wanted before there are more rows; `None` when all rows were given.
    pub(super) fn wants(&self) -> Option<KeyRange> {
        match self {
            UnitBatchSource::Stored(_) => None,
            UnitBatchSource::Folded(rows) => rows.wants(),
        }
    }

    /// Takes the next records.
    pub(super) fn feed(&mut self, part: &RecordPart) {
        if let UnitBatchSource::Folded(rows) = self {
            rows.feed(part.records.clone(), &part.range.end);
        }
    }

    /// Records that counted, and rows that the service leaves open.
    pub(super) fn folded(&self) -> (u64, Ambiguous) {
        match self {
            UnitBatchSource::Stored(_) => Default::default(),
            UnitBatchSource::Folded(rows) => (rows.records(), rows.ambiguous().clone()),
        }
    }
}

impl RowSource {
    /// The rows of the entries at `stretch`.
    pub(super) fn new(
        path: &RunPath,
        manifest: &Manifest,
        entries: Arc<[FileEntry]>,
        stretch: Range<usize>,
        reading: Reading,
        fold: Option<Fold>,
    ) -> RowSource {
        let plan = Arc::new(manifest.columns.clone());
        RowSource { path: path.clone(), entries, stretch, plan, reading, fold, open: Mutex::default() }
    }

    /// Every row group that may have rows inside `range`, in key order.
    pub(super) fn units(&self, range: &KeyRange) -> Vec<Unit> {
        let all = units(&self.entries, range, self.fold.is_some());
        all.into_iter().filter(|unit| self.stretch.contains(&unit.entry)).collect()
    }

    /// Whether all units may be written at once; otherwise they come one after another, from the first to the last.
    pub(super) fn is_parallel(&self) -> bool {
        self.fold.as_ref().is_none_or(|fold| fold.records.is_whole())
    }

    /// Whether all rows of a unit are inside `range`.
    pub(super) fn is_inside(&self, unit: &Unit, range: &KeyRange) -> bool {
        self.entries
            .get(unit.entry)
            .is_some_and(|entry| entry.range.start >= range.start && entry.range.end <= range.end)
    }

    /// The file of a unit. Opened once, however many ask for it at the same time.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if its SHA-256 is not the one in the file list, or it is no such file.
    pub(super) async fn file(&self, unit: &Unit) -> Result<HeldFile> {
        let missing = || Error::new(Kind::Internal, "open a data file").because("it is not in the file list");
        let entry = self.entries.get(unit.entry).ok_or_else(missing)?;
        let Some(stored) = &entry.file else { return Ok(HeldFile::default()) };
        let held = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|_, file| file.strong_count() > 0);
            match open.get(&unit.entry).and_then(Weak::upgrade) {
                Some(held) => held,
                None => {
                    let held = HeldFile::default();
                    open.insert(unit.entry, Arc::downgrade(&held));
                    held
                }
            }
        };
        let path = self.path.data_file(entry.id);
        let open = || self.reading.open(path, stored, &self.plan, Holds::Rows, entry.rows);
        held.get_or_try_init(open).await?;
        Ok(held)
    }

    /// The rows of a unit, whose file is open.
    pub(super) async fn batches(&self, held: &HeldFile, unit: &Unit) -> Result<UnitBatches> {
        let stored = match held.get() {
            Some(file) => Some(file.batches(unit.id.row_group as usize).await?),
            None => None,
        };
        match (&self.fold, stored) {
            (None, Some(UnitBytes { batches, permit })) => {
                Ok(UnitBatches { rows: UnitBatchSource::Stored(Box::new(batches)), permit })
            }
            (None, None) => {
                Err(Error::new(Kind::Internal, "read a row group").because("its file is not open"))
            }
            (Some(fold), stored) => {
                let range = self.interval(held, unit).await?;
                let (batches, permit) = match stored {
                    Some(UnitBytes { batches, permit }) => (Some(batches), permit),
                    None => (None, None),
                };
                let base = Box::new(batches.into_iter().flatten());
                let rows = FoldedRows::new(base, self.plan.clone(), fold.settings, range);
                Ok(UnitBatches { rows: UnitBatchSource::Folded(Box::new(rows)), permit })
            }
        }
    }

    /// The keys that belong to a unit, all of its file's where it is the only one: from its first row to the first of the next row group.
    async fn interval(&self, held: &HeldFile, unit: &Unit) -> Result<KeyRange> {
        let missing = || Error::new(Kind::Internal, "fold rows").because("the unit is not in the file list");
        let whole = &self.entries.get(unit.entry).ok_or_else(missing)?.range;
        let Some(file) = held.get() else { return Ok(whole.clone()) };
        file.interval(unit.id.row_group as usize, whole).await
    }

    /// The records that are folded into the rows from the start of `wanted` on.
    pub(super) async fn records(&self, wanted: &KeyRange) -> Result<Arc<RecordPart>> {
        let nothing = || Error::new(Kind::Internal, "fold rows").because("there are no records");
        self.fold.as_ref().ok_or_else(nothing)?.records.part_at(&wanted.start).await
    }
}

/// The row groups of `entries` that may have rows inside `range`, in key order; with `without_file` one unit for each interval that
/// has no row in the base, since records may have put some there.
pub(super) fn units(entries: &[FileEntry], range: &KeyRange, without_file: bool) -> Vec<Unit> {
    let mut units = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.range.start >= range.end || entry.range.end <= range.start {
            continue;
        }
        let (row_groups, rows) = match &entry.file {
            // A list that claims more is found out when the file is opened.
            Some(file) => (
                file.row_groups.min(ReadLimits::default().row_groups),
                entry.rows / file.row_groups.max(1) as u64,
            ),
            None => (usize::from(without_file), 0),
        };
        for row_group in 0..row_groups {
            let id = UnitId { file: entry.id, row_group: u32::try_from(row_group).unwrap_or(u32::MAX) };
            units.push(Unit { id, entry: index, rows });
        }
    }
    units
}
