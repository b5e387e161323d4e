//! Where the rows come from: the row groups of a base, in key order, with the records since then folded into them where there are any.
//!
//! The one place that knows how a backup is stored; whoever writes rows asks for units and gets record batches.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::RecordBatch;
use tokio::sync::OnceCell;

use super::lanes::Unit;
use crate::catalog::{FileEntry, UnitId};
use crate::columnar::ColumnPlan;
use crate::fold::{Ambiguous, BaseRows, FoldSettings, FoldedRows, RecordPart, Stretch};
use crate::model::KeyRange;
use crate::parquet_file::Batches;
use crate::runtime::BytePermit;
use crate::stored::{DataFile, UnitBytes};
use crate::{Error, Kind, Result};

/// Decoded bytes of a record batch, about. A batch becomes requests of two to four times its size.
pub(super) const BATCH_BYTES: u64 = 4 << 20;

/// The rows of one base, or of a stretch of it.
pub(super) struct RowSource {
    base: BaseRows,
    /// Places of the entries whose rows are wanted.
    stretch: Range<usize>,
    fold: Option<Fold>,
    open: Mutex<HashMap<usize, Weak<OnceCell<Option<DataFile>>>>>,
}

/// What is folded into the rows.
pub(super) struct Fold {
    pub settings: FoldSettings,
    pub records: Stretch,
}

/// A file that stays open as long as somebody holds it; none where an interval has no rows.
pub(super) type HeldFile = Arc<OnceCell<Option<DataFile>>>;

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
    pub(super) fn new(base: BaseRows, stretch: Range<usize>, fold: Option<Fold>) -> RowSource {
        RowSource { base, stretch, fold, open: Mutex::default() }
    }

    /// The columns of its files.
    pub(super) fn plan(&self) -> &Arc<ColumnPlan> {
        self.base.plan()
    }

    /// Every row group that may have rows inside `range`, in key order.
    pub(super) fn units(&self, range: &KeyRange) -> Vec<Unit> {
        let all = units(self.base.entries(), range, self.fold.is_some());
        all.into_iter().filter(|unit| self.stretch.contains(&unit.entry)).collect()
    }

    /// Whether all units may be written at once; otherwise they come one after another, from the first to the last.
    pub(super) fn is_parallel(&self) -> bool {
        self.fold.as_ref().is_none_or(|fold| fold.records.is_whole())
    }

    /// Whether all rows of a unit are inside `range`.
    pub(super) fn is_inside(&self, unit: &Unit, range: &KeyRange) -> bool {
        let entry = self.base.entries().get(unit.entry);
        entry.is_some_and(|entry| entry.range.start >= range.start && entry.range.end <= range.end)
    }

    /// The file of a unit. Opened once, however many ask for it at the same time.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if its SHA-256 is not the one in the file list, or it is no such file.
    pub(super) async fn file(&self, unit: &Unit) -> Result<HeldFile> {
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
        held.get_or_try_init(|| self.base.open(unit.entry)).await?;
        Ok(held)
    }

    /// The rows of a unit, whose file is open.
    pub(super) async fn batches(&self, held: &HeldFile, unit: &Unit) -> Result<UnitBatches> {
        let closed = || Error::new(Kind::Internal, "read a row group").because("its file is not open");
        let file = held.get().and_then(Option::as_ref);
        let piece = unit.id.row_group as usize;
        match &self.fold {
            None => {
                let UnitBytes { batches, permit } = file.ok_or_else(closed)?.batches(piece).await?;
                Ok(UnitBatches { rows: UnitBatchSource::Stored(Box::new(batches)), permit })
            }
            Some(fold) => {
                let interval = self.base.interval(file, unit.entry, piece).await?;
                let (rows, permit) = self.base.folded(file, piece, interval, fold.settings).await?;
                Ok(UnitBatches { rows: UnitBatchSource::Folded(Box::new(rows)), permit })
            }
        }
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
        if entry.file.is_none() && !without_file {
            continue;
        }
        let row_groups = BaseRows::pieces(entry);
        let rows = entry.rows / row_groups.max(1) as u64;
        for row_group in 0..row_groups {
            let id = UnitId { file: entry.id, row_group: u32::try_from(row_group).unwrap_or(u32::MAX) };
            units.push(Unit { id, entry: index, rows });
        }
    }
    units
}
