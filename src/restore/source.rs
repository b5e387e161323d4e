//! Where the rows come from: the row groups of a base, in key order.
//!
//! The one place that knows how a backup is stored; whoever writes rows asks for units and gets record batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OnceCell;

use super::lanes::Unit;
use super::verified_file::{HeldBytes, VerifiedFile};
use crate::catalog::{FileEntry, Manifest, RunPath, UnitId};
use crate::columnar::ColumnPlan;
use crate::model::KeyRange;
use crate::objectstore::UploadStore;
use crate::parquet_file::{Batches, FOOTER_TAIL_BYTES, ReadLimits, RowGroups, footer_length};
use crate::runtime::{ByteBudget, BytePermit, CpuPool};
use crate::{Error, Kind, Result};

/// Decoded bytes of a record batch, about. A batch becomes requests of two to four times its size.
pub(super) const BATCH_BYTES: u64 = 4 << 20;

/// The rows of one base.
pub(super) struct RowSource {
    store: Arc<dyn UploadStore>,
    path: RunPath,
    entries: Vec<FileEntry>,
    /// The columns of its files.
    pub plan: Arc<ColumnPlan>,
    largest_whole: u64,
    memory: ByteBudget,
    cpu: CpuPool,
    open: Mutex<HashMap<usize, Weak<OnceCell<OpenFile>>>>,
}

/// A file that was checked, and its footer.
pub(super) struct OpenFile {
    file: VerifiedFile,
    row_groups: RowGroups,
}

/// A file that stays open as long as somebody holds it.
pub(super) type HeldFile = Arc<OnceCell<OpenFile>>;

/// The rows of a row group, and the memory that its bytes take.
pub(super) struct UnitBatches {
    pub batches: Batches,
    pub permit: Option<BytePermit>,
}

impl RowSource {
    /// Files of up to `largest_whole` bytes are kept in memory while they are open; `memory` is for the bytes of files.
    pub(super) fn new(
        store: &Arc<dyn UploadStore>,
        path: &RunPath,
        manifest: &Manifest,
        entries: Vec<FileEntry>,
        largest_whole: u64,
        memory: ByteBudget,
        cpu: CpuPool,
    ) -> RowSource {
        RowSource {
            store: store.clone(),
            path: path.clone(),
            entries,
            plan: Arc::new(manifest.columns.clone()),
            largest_whole,
            memory,
            cpu,
            open: Mutex::default(),
        }
    }

    /// Every row group that may have rows inside `range`, in key order.
    pub(super) fn units(&self, range: &KeyRange) -> Vec<Unit> {
        units(&self.entries, range)
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
        held.get_or_try_init(|| self.open_file(unit)).await?;
        Ok(held)
    }

    async fn open_file(&self, unit: &Unit) -> Result<OpenFile> {
        let missing = || Error::new(Kind::Internal, "open a data file").because("it is not in the file list");
        let entry = self.entries.get(unit.entry).ok_or_else(missing)?;
        let stored = entry.file.as_ref().ok_or_else(missing)?;
        let (path, memory) = (self.path.data_file(entry.id), &self.memory);
        let file =
            VerifiedFile::open(&self.store, path, stored, self.largest_whole, memory, &self.cpu).await?;
        let limits = ReadLimits { batch_bytes: BATCH_BYTES, ..ReadLimits::default() };
        let bytes = file.bytes();
        let tail_start = bytes.saturating_sub(FOOTER_TAIL_BYTES);
        let tail = file.read(tail_start..bytes, memory, &self.cpu).await?;
        let footer = footer_length(&tail.bytes, bytes, &limits).map_err(|error| file.failed(error))?;
        let footer = file.read(tail_start - footer..tail_start, memory, &self.cpu).await?;
        let plan = self.plan.clone();
        let opened = self.cpu.run(move || RowGroups::open(&footer.bytes, bytes, &plan, &limits)).await?;
        let row_groups = opened.map_err(|error| file.failed(error))?;
        let rows: u64 = row_groups.rows().sum();
        if (row_groups.rows().len(), rows) != (stored.row_groups, entry.rows) {
            let reason = format!("it holds {rows} rows, and the file list says {}", entry.rows);
            return Err(file.failed(Error::new(Kind::Corrupt, "use its rows").because(reason)));
        }
        Ok(OpenFile { file, row_groups })
    }

    /// The rows of a unit of an open file.
    pub(super) async fn batches(&self, held: &HeldFile, unit: UnitId) -> Result<UnitBatches> {
        let closed = || Error::new(Kind::Internal, "read a row group").because("its file is not open");
        let OpenFile { file, row_groups } = held.get().ok_or_else(closed)?;
        let index = unit.row_group as usize;
        let range = row_groups.byte_range(index).map_err(|error| file.failed(error))?;
        let HeldBytes { bytes, permit } = file.read(range, &self.memory, &self.cpu).await?;
        let groups = row_groups.clone();
        let batches = self.cpu.run(move || groups.batches(index, bytes)).await?;
        Ok(UnitBatches { batches: batches.map_err(|error| file.failed(error))?, permit })
    }
}

fn units(entries: &[FileEntry], range: &KeyRange) -> Vec<Unit> {
    let mut units = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(file) = &entry.file else { continue };
        if entry.range.start >= range.end || entry.range.end <= range.start {
            continue;
        }
        // A list that claims more is found out when the file is opened.
        for row_group in 0..file.row_groups.min(ReadLimits::default().row_groups) {
            let id = UnitId { file: entry.id, row_group: u32::try_from(row_group).unwrap_or(u32::MAX) };
            units.push(Unit { id, entry: index, rows: entry.rows / file.row_groups as u64 });
        }
    }
    units
}
