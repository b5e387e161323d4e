//! The rows of an exact base with the records that follow it folded in: the table at one moment, in key order.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::Mutex;

use crate::catalog::{Cut, FileEntry, RunId, RunPath};
use crate::columnar::ColumnPlan;
use crate::fold::{ChainRecords, FoldSettings, FoldedRows, Stretch, TimeToLive};
use crate::model::{KeyRange, PrimaryKey};
use crate::objectstore::UploadStore;
use crate::runtime::{ByteBudget, BytePermit, CpuPool};
use crate::stored::{DataFile, Holds, Reading};
use crate::{Error, Kind, Result};

/// Decoded bytes of a record batch, about.
const BATCH_BYTES: u64 = 4 << 20;

/// What is folded into the rows of a base.
pub(super) struct Folding {
    /// The last run whose records count.
    pub until: RunId,
    settings: FoldSettings,
    records: Arc<ChainRecords>,
    /// Intervals whose records should fit into memory together, in key order.
    stretches: Vec<KeyRange>,
    /// The one in memory.
    held: Mutex<Option<(KeyRange, Arc<Stretch>)>>,
    path: RunPath,
    plan: Arc<ColumnPlan>,
    reading: Reading,
}

impl Folding {
    /// For a base of `entries`; `None` where the base itself is the table at the moment of the cut. Records take a quarter of
    /// `memory_bytes`, their files an eighth, those of the base a half.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for lists of records that are not what their manifests say.
    pub(super) async fn open(
        store: &Arc<dyn UploadStore>,
        cut: &Cut,
        entries: &[FileEntry],
        cpu: &CpuPool,
        memory_bytes: u64,
    ) -> Result<Option<Folding>> {
        let settings = FoldSettings::of(cut, TimeToLive::Apply);
        if !(cut.has_records() || settings.trim || settings.horizon_ms.is_some()) {
            return Ok(None);
        }
        let reading = |largest_whole: u64, whole: u64, blocks: u64| Reading {
            store: store.clone(),
            largest_whole,
            whole: ByteBudget::new(whole),
            blocks: ByteBudget::new(blocks),
            cpu: cpu.clone(),
            batch_bytes: BATCH_BYTES,
        };
        let sixteenth = memory_bytes / 16;
        let of_records = reading(sixteenth / 4, sixteenth, sixteenth);
        let records = Arc::new(ChainRecords::open(cut, of_records, memory_bytes / 4).await?);
        let stretches = records.stretches(entries).into_iter().filter_map(|places| {
            let entries = entries.get(places)?;
            let (first, last) = (entries.first()?, entries.last()?);
            Some(KeyRange { start: first.range.start.clone(), end: last.range.end.clone() })
        });
        Ok(Some(Folding {
            until: cut.run.clone(),
            settings,
            stretches: stretches.collect(),
            records,
            held: Mutex::default(),
            path: cut.path.clone(),
            plan: Arc::new(cut.base.columns.clone()),
            reading: reading(memory_bytes / 4, memory_bytes / 4, memory_bytes / 4),
        }))
    }

    /// The records around a key. Cheap as long as keys ascend within a stretch.
    async fn stretch_at(&self, key: &PrimaryKey) -> Result<Arc<Stretch>> {
        let mut held = self.held.lock().await;
        if let Some((range, stretch)) = held.as_ref()
            && range.contains(key)
        {
            return Ok(stretch.clone());
        }
        // Before the next one is loaded.
        *held = None;
        let around = self.stretches.iter().find(|range| range.contains(key)).cloned();
        let range = around.ok_or_else(|| {
            Error::new(Kind::Internal, "fold rows").because("a key is in no interval of the file list")
        })?;
        let stretch = Arc::new(self.records.stretch(range.clone()).await?);
        *held = Some((range, stretch.clone()));
        Ok(stretch)
    }
}

/// The folded rows of some entries, batch by batch.
pub(super) struct FoldedStream<'a> {
    folding: &'a Folding,
    entries: VecDeque<&'a FileEntry>,
    open: Option<OpenEntry<'a>>,
}

/// The entry whose rows are being read.
struct OpenEntry<'a> {
    entry: &'a FileEntry,
    /// `None` for an interval without rows in the base.
    file: Option<DataFile>,
    next_unit: usize,
    unit: Option<OpenUnit>,
}

/// One row group, with the records of its keys.
struct OpenUnit {
    rows: Box<FoldedRows>,
    stretch: Arc<Stretch>,
    permit: Option<BytePermit>,
}

impl<'a> FoldedStream<'a> {
    pub(super) fn new(folding: &'a Folding, entries: &'a [FileEntry]) -> FoldedStream<'a> {
        FoldedStream { folding, entries: entries.iter().collect(), open: None }
    }

    /// The next batch of the base's plan; `None` at the end.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for files that are not what their lists say.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let folding = self.folding;
        loop {
            let Some(open) = &mut self.open else {
                let Some(entry) = self.entries.pop_front() else { return Ok(None) };
                self.open = Some(OpenEntry::new(folding, entry).await?);
                continue;
            };
            let Some(unit) = open.unit.take() else {
                match open.next_unit(folding).await? {
                    Some(unit) => open.unit = Some(unit),
                    None => self.open = None,
                }
                continue;
            };
            let OpenUnit { mut rows, stretch, permit } = unit;
            let (batch, mut rows) = folding.reading.cpu.run(move || (rows.next(), rows)).await?;
            if batch.is_none() {
                let Some(wanted) = rows.wants() else { continue };
                let part = stretch.part_at(&wanted.start).await?;
                rows.feed(part.records.clone(), &part.range.end);
            }
            open.unit = Some(OpenUnit { rows, stretch, permit });
            if let Some(batch) = batch {
                return batch.map(Some);
            }
        }
    }
}

impl<'a> OpenEntry<'a> {
    async fn new(folding: &Folding, entry: &'a FileEntry) -> Result<OpenEntry<'a>> {
        let file = match &entry.file {
            None => None,
            Some(stored) => {
                let path = folding.path.data_file(entry.id);
                let open = folding.reading.open(path, stored, &folding.plan, Holds::Rows, entry.rows);
                Some(open.await?)
            }
        };
        Ok(OpenEntry { entry, file, next_unit: 0, unit: None })
    }

    async fn next_unit(&mut self, folding: &Folding) -> Result<Option<OpenUnit>> {
        let index = self.next_unit;
        if index >= self.file.as_ref().map_or(1, DataFile::row_groups) {
            return Ok(None);
        }
        self.next_unit += 1;
        let (range, batches, permit) = match &self.file {
            None => (self.entry.range.clone(), None, None),
            Some(file) => {
                let range = file.interval(index, &self.entry.range).await?;
                let bytes = file.batches(index).await?;
                (range, Some(bytes.batches), bytes.permit)
            }
        };
        let stretch = folding.stretch_at(&range.start).await?;
        let base = Box::new(batches.into_iter().flatten());
        let rows = Box::new(FoldedRows::new(base, folding.plan.clone(), folding.settings, range));
        Ok(Some(OpenUnit { rows, stretch, permit }))
    }
}
