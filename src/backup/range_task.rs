//! The unit of work: a contiguous run of key ranges in, file entries out.
//!
//! Idempotent: it may be repeated for any part of the key space that has no entry yet. A file that was not closed
//! leaves nothing behind but an open upload, which the next attempt aborts.

use std::sync::Arc;

use object_store::Attribute;

use super::options::MemoryPlan;
use super::page_encoder::PageEncoder;
use super::page_reader::{HeldPage, PageReader, ReadPage};
use super::queue::SplitQueue;
use super::scan::Scan;
use super::shares::Shares;
use crate::catalog::{
    ENTRY_METADATA, FileEntry, FileId, LeaseKeeper, ReadCost, RunPath, StoredFile, write_journal,
};
use crate::columnar::ColumnPlan;
use crate::model::{KeyRange, PrimaryKey, RowSum};
use crate::objectstore::{ObjectWriter, PartSizePolicy, StorageClass, UploadStore};
use crate::parquet_file::WriterSettings;
use crate::runtime::{CpuPool, Progress, Shutdown};
use crate::{Error, Kind, Result};

/// How the reading of a range ended without an error.
enum ReadEnd {
    Complete,
    /// A stop was asked for.
    Stopped,
    /// A page arrived damaged. The file it was for is given up.
    Damaged(Error),
}

/// What became of a file that a page was added to.
enum Added {
    Whole(Box<OpenFile>),
    /// The page does not decode; the file holds half of it and is no use any more.
    Damaged(Error),
}

/// Row groups, and column chunks in all of them, with which a file is closed: readers refuse files with many more, ours
/// from 10,000 and 500,000 on (`parquet_file::ReadLimits`).
const MOST_ROW_GROUPS: usize = 8_000;
const MOST_COLUMN_CHUNKS: usize = 400_000;

/// Row groups with which a file of these columns is closed.
fn most_row_groups(plan: &ColumnPlan) -> usize {
    let leaves = plan.columns().len() + ColumnPlan::OVERFLOW_CHILDREN as usize;
    (MOST_COLUMN_CHUNKS / leaves).clamp(1, MOST_ROW_GROUPS)
}

/// Pages that may arrive damaged while one file is read before the run fails.
pub(super) const DAMAGED_PAGES: u32 = 3;

/// What every worker of one run shares.
#[derive(Clone)]
pub(super) struct RunContext {
    pub scan: Scan,
    pub store: Arc<dyn UploadStore>,
    pub run: RunPath,
    pub plan: Arc<ColumnPlan>,
    pub settings: WriterSettings,
    pub memory: MemoryPlan,
    /// What all runs of the process share.
    pub shares: Shares,
    pub target_file_bytes: u64,
    pub storage_class: Option<StorageClass>,
    pub cpu: CpuPool,
    pub progress: Arc<Progress>,
    /// The user's wish to stop.
    pub shutdown: Shutdown,
    /// Nothing of the run becomes visible without it.
    pub lease: Arc<LeaseKeeper>,
    /// Tells the workers to stop: the user wished it, or one of them failed.
    pub stop: Shutdown,
}

/// One worker: reads ranges, writes files, journals them.
pub(super) struct RangeTask<'a> {
    context: &'a RunContext,
    queue: &'a SplitQueue,
    worker: usize,
    open: Option<OpenFile>,
    /// The first key of the current run of ranges that no journalled file covers.
    uncovered_from: Option<PrimaryKey>,
}

struct OpenFile {
    id: FileId,
    /// The keys read so far: `[start of the file, start of the next page)`.
    range: KeyRange,
    encoder: PageEncoder,
    writer: ObjectWriter,
    read: ReadCost,
}

impl<'a> RangeTask<'a> {
    pub(super) fn new(context: &'a RunContext, queue: &'a SplitQueue, worker: usize) -> RangeTask<'a> {
        RangeTask { context, queue, worker, open: None, uncovered_from: None }
    }

    /// Reads one range, whose `first` page may be there already, to its end, which somebody else may move down meanwhile. When
    /// it begins where the last one ended, the open file goes on. A page that arrived damaged costs the open file: it is
    /// given up and its keys are read again, [`DAMAGED_PAGES`] times at most before one is closed.
    ///
    /// Returns `false` when a stop was asked for before the end; the open file ends where the last page did.
    pub(super) async fn read(&mut self, range: &KeyRange, mut first: Option<HeldPage>) -> Result<bool> {
        if self.open.as_ref().is_some_and(|open| open.range.end != range.start) {
            self.close().await?;
        }
        if self.open.is_none() {
            self.uncovered_from = Some(range.start.clone());
        }
        let mut range = range.clone();
        let mut damaged = 0;
        let mut damaged_from = None;
        loop {
            match self.read_once(&range, first.take()).await? {
                ReadEnd::Complete => {
                    self.queue.finished(self.worker);
                    return Ok(true);
                }
                ReadEnd::Stopped => return Ok(false),
                ReadEnd::Damaged(error) => {
                    if damaged_from != self.uncovered_from {
                        damaged = 0;
                        damaged_from = self.uncovered_from.clone();
                    }
                    if damaged == DAMAGED_PAGES {
                        return Err(error);
                    }
                    damaged += 1;
                    tracing::warn!(%error, damaged, "reading the keys of the open file again");
                    range.start = self.uncovered_from.clone().unwrap_or(range.start);
                    range.end = self.queue.rewind(self.worker, &range.start).unwrap_or(range.end);
                }
            }
        }
    }

    async fn read_once(&mut self, range: &KeyRange, first: Option<HeldPage>) -> Result<ReadEnd> {
        let mut pages = PageReader::new(&self.context.scan, self.queue, self.worker, range, first);
        loop {
            let page = tokio::select! {
                biased;
                _ = self.context.stop.wait() => return Ok(ReadEnd::Stopped),
                page = pages.next() => page?,
            };
            let Some(page) = page else { return Ok(ReadEnd::Complete) };
            let open = match self.open.take() {
                Some(open) => open,
                None => OpenFile::new(self.context, &page.range.start)?,
            };
            let open = match open.add_page(self.context, page).await? {
                Added::Whole(open) => *open,
                Added::Damaged(error) => return Ok(ReadEnd::Damaged(error)),
            };
            let is_full = open.encoder.file_bytes() >= self.context.target_file_bytes
                || open.encoder.row_groups() >= most_row_groups(&self.context.plan);
            self.open = Some(open);
            if is_full {
                self.close().await?;
            }
        }
    }

    /// Closes the open file, journals it, and is ready for a range somewhere else.
    pub(super) async fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let context = self.context;
        context.lease.ensure().await?;
        let entry = open.store(context).await?;
        context.lease.ensure().await?;
        write_journal(&*context.store, &context.run, &entry).await?;
        self.uncovered_from = Some(entry.range.end.clone());
        if let Some(file) = &entry.file {
            context.progress.file(file.bytes);
        }
        tracing::info!(file = %entry.id, rows = entry.rows, bytes = entry.file.map_or(0, |file| file.bytes), "file closed");
        Ok(())
    }
}

impl OpenFile {
    fn new(context: &RunContext, start: &PrimaryKey) -> Result<OpenFile> {
        let id = FileId::random();
        let store: Arc<dyn UploadStore> = context.store.clone();
        Ok(OpenFile {
            id,
            range: KeyRange { start: start.clone(), end: start.clone() },
            encoder: PageEncoder::new(context.plan.clone(), &context.settings, context.memory.batch_bytes)?,
            writer: ObjectWriter::new(
                store,
                context.run.data_file(id),
                context
                    .storage_class
                    .map(|class| (Attribute::StorageClass, class.as_str()))
                    .into_iter()
                    .collect(),
                PartSizePolicy::starting_at(context.memory.part_bytes),
                1,
            ),
            read: ReadCost::default(),
        })
    }

    async fn add_page(self, context: &RunContext, read: ReadPage) -> Result<Added> {
        let ReadPage { range, page, permit, cost } = read;
        let OpenFile { id, range: covered, mut encoder, mut writer, read: mut file_cost } = self;
        let end = range.end.clone();
        file_cost += cost;
        let added = context
            .cpu
            .run(move || {
                let rows = encoder.page(&page.rows, &range)?;
                // The body is done with: its bytes go back to the budget before anybody waits for the store.
                drop((page, permit));
                let parts = encoder.take_bytes();
                Ok::<_, Error>((encoder, rows, parts))
            })
            .await?;
        let (encoder, rows, parts) = match added {
            Ok(added) => added,
            Err(error) if error.kind() == Kind::Corrupt => return Ok(Added::Damaged(error)),
            Err(error) => return Err(error),
        };
        context.progress.page(rows, cost.response_bytes, cost.capacity_units);
        if !parts.is_empty() {
            send(&mut writer, parts).await?;
            // A row group has ended; the next one takes its time.
            writer.end_part().await?;
        }
        let range = KeyRange { start: covered.start, end };
        Ok(Added::Whole(Box::new(OpenFile { id, range, encoder, writer, read: file_cost })))
    }

    /// Finishes the Parquet file and its upload; an interval without rows gets no object.
    async fn store(self, context: &RunContext) -> Result<FileEntry> {
        let OpenFile { id, range, mut encoder, mut writer, read } = self;
        let unstored = FileEntry {
            id,
            range,
            rows: 0,
            cells: 0,
            logical_bytes: 0,
            row_sum: RowSum::default(),
            file: None,
            read,
        };
        if encoder.row_count() == 0 {
            return Ok(unstored);
        }
        let (mut entry, mut encoded) = context
            .cpu
            .run(move || {
                let totals = encoder.seal()?;
                let entry = FileEntry {
                    rows: totals.rows,
                    cells: totals.cells,
                    logical_bytes: totals.logical_bytes,
                    row_sum: totals.row_sum,
                    ..unstored
                };
                let metadata = serde_json::to_string(&entry)
                    .map_err(|error| Error::new(Kind::Internal, "describe a file").source(error))?;
                let encoded = encoder.finish(vec![(ENTRY_METADATA.to_owned(), metadata)])?;
                Ok::<_, Error>((entry, encoded))
            })
            .await??;
        send(&mut writer, std::mem::take(&mut encoded.rest)).await?;
        let uploaded = writer.finish().await?;
        if (uploaded.bytes, uploaded.crc64) != (encoded.bytes, encoded.crc64) {
            return Err(Error::new(Kind::Corrupt, "store")
                .on(format!("`{}`", context.run.data_file(id)))
                .because("the store holds other bytes than were encoded"));
        }
        entry.file = Some(StoredFile {
            bytes: encoded.bytes,
            sha256: hex::encode(encoded.sha256),
            crc64: format!("{:016x}", encoded.crc64),
            row_groups: encoded.row_groups,
        });
        Ok(entry)
    }
}

/// Hands finished bytes to the upload. Bounded without a permit: the writer keeps one part on its way and one that
/// is not full; see `MemoryPlan`.
async fn send(writer: &mut ObjectWriter, parts: Vec<bytes::Bytes>) -> Result<()> {
    for part in parts {
        writer.write(part, ()).await?;
    }
    Ok(())
}
