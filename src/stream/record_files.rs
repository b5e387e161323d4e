//! Stream records to data files: collected up to a number of bytes, sorted by key, stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::Attribute;

use super::reader::{RecordSink, ShardRecords};
use crate::catalog::{
    DeltaEntry, ENTRY_METADATA, FileId, ReadCost, RecordFileMark, RunPath, ShardSlice, StoredFile,
};
use crate::columnar::{ColumnPlan, RecordBatchBuilder, RecordTotals};
use crate::model::{PrimaryKey, RecordPlace};
use crate::objectstore::{ObjectWriter, PartSizePolicy, StorageClass, UploadStore};
use crate::parquet_file::{FileEncoder, WriterSettings};
use crate::plainbuffer::RecordError;
use crate::runtime::CpuPool;
use crate::tablestore::EncodedRecord;
use crate::{Error, Kind, Result};

/// Decoded bytes of a record batch, about.
const BATCH_BYTES: usize = 1 << 20;

/// Records and encoded bytes of a row group at most.
const ROW_GROUP_RECORDS: usize = 1 << 14;
const ROW_GROUP_BYTES: usize = 1 << 20;

/// What a record takes in memory besides its share of the response body: handles, place, and its key while a file is made.
const BYTES_PER_RECORD: usize = 256;

/// Where the files of one run go, and what they are like.
#[derive(Clone)]
pub struct RecordFileSettings {
    /// The store of the vault.
    pub store: Arc<dyn UploadStore>,
    /// The run that the records belong to.
    pub run: RunPath,
    /// The columns of every file, before those of the sequence.
    pub columns: Arc<ColumnPlan>,
    /// How the files are written.
    pub writer: WriterSettings,
    /// Storage class of the files; `None` leaves it to the bucket.
    pub storage_class: Option<StorageClass>,
    /// A file is made when the records that wait take so many bytes.
    pub file_bytes: usize,
    /// Bytes per part of an upload.
    pub part_bytes: u64,
}

impl RecordFileSettings {
    /// Settings of files of records after those of data files: with small row groups, since a reader that folds holds one of every file.
    pub fn writer(of_rows: &WriterSettings) -> WriterSettings {
        WriterSettings {
            row_group_rows: of_rows.row_group_rows.min(ROW_GROUP_RECORDS),
            row_group_bytes: of_rows.row_group_bytes.min(ROW_GROUP_BYTES),
            ..of_rows.clone()
        }
    }
}

/// A sink that turns records into files of one run.
///
/// A file holds the records of all shards that came since the one before, in the order of (primary key, rank, ordinal). Memory: the bodies of
/// [`RecordFileSettings::file_bytes`] and of one more page, and the file that is made of them.
pub struct RecordFiles {
    settings: RecordFileSettings,
    cpu: CpuPool,
    waiting: Vec<ShardRecords>,
    waiting_bytes: usize,
    files: Vec<DeltaEntry>,
}

impl RecordFiles {
    /// Without a record yet.
    pub fn new(settings: RecordFileSettings, cpu: CpuPool) -> RecordFiles {
        RecordFiles { settings, cpu, waiting: Vec::new(), waiting_bytes: 0, files: Vec::new() }
    }

    /// Whether no record came yet.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.files.is_empty()
    }

    /// Records that came, stored or not.
    pub fn records(&self) -> u64 {
        let stored: u64 = self.files.iter().map(|file| file.records).sum();
        stored + self.waiting.iter().map(|page| page.records.len() as u64).sum::<u64>()
    }

    /// Whether a file was full, so that it is worth a commit.
    pub fn is_full(&self) -> bool {
        !self.files.is_empty()
    }

    /// Stores what waits and says which files there are; they belong to nothing until a manifest names them. Starts over.
    ///
    /// # Errors
    /// Those of the store; [`Kind::Corrupt`] for a record that no file can hold.
    pub async fn finish(&mut self) -> Result<Vec<DeltaEntry>> {
        self.store_waiting().await?;
        Ok(std::mem::take(&mut self.files))
    }

    async fn store_waiting(&mut self) -> Result<()> {
        let pages = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if pages.is_empty() {
            return Ok(());
        }
        let (columns, writer) = (self.settings.columns.clone(), self.settings.writer.clone());
        let drafted = self.cpu.run(move || Draft::of(&pages, &columns, &writer)).await??;
        let entry = self.store(drafted).await?;
        tracing::info!(file = %entry.id, records = entry.records, bytes = entry.file.bytes, "records stored");
        self.files.push(entry);
        Ok(())
    }

    async fn store(&self, draft: Draft) -> Result<DeltaEntry> {
        let RecordFileSettings { store, run, storage_class, part_bytes, .. } = &self.settings;
        let path = run.record_file(draft.entry.id);
        let class = storage_class.map(|class| (Attribute::StorageClass, class.as_str()));
        let part_size = PartSizePolicy::starting_at(*part_bytes);
        let attributes = class.into_iter().collect();
        let mut writer = ObjectWriter::new(store.clone(), path.clone(), attributes, part_size, 1);
        for part in draft.content {
            writer.write(part, ()).await?;
        }
        let uploaded = writer.finish().await?;
        if (uploaded.bytes, uploaded.crc64) != (draft.entry.file.bytes, draft.crc64) {
            return Err(Error::new(Kind::Corrupt, "store")
                .on(format!("`{path}`"))
                .because("the store holds other bytes than were encoded"));
        }
        Ok(draft.entry)
    }
}

impl RecordSink for RecordFiles {
    async fn take(&mut self, records: ShardRecords) -> Result<()> {
        self.waiting_bytes += records.body_bytes + records.records.len() * BYTES_PER_RECORD;
        self.waiting.push(records);
        if self.waiting_bytes >= self.settings.file_bytes {
            self.store_waiting().await?;
        }
        Ok(())
    }
}

/// A file that is not stored.
struct Draft {
    entry: DeltaEntry,
    content: Vec<Bytes>,
    crc64: u64,
}

/// A record and what decides where it goes.
struct Sorted<'a> {
    key: PrimaryKey,
    place: RecordPlace,
    record: &'a EncodedRecord,
    shard_id: &'a str,
}

impl Draft {
    fn of(pages: &[ShardRecords], columns: &Arc<ColumnPlan>, settings: &WriterSettings) -> Result<Draft> {
        let sorted = sort(pages)?;
        let mut file = FileEncoder::of_records(columns, settings, Vec::new())?;
        let mut batch = RecordBatchBuilder::new(columns.clone());
        let mut totals = RecordTotals::default();
        for Sorted { place, record, shard_id, .. } in &sorted {
            batch.append(&record.decode().map_err(undecodable)?, *place, shard_id)?;
            if batch.bytes() >= BATCH_BYTES {
                flush(&mut batch, &mut file, &mut totals)?;
            }
        }
        flush(&mut batch, &mut file, &mut totals)?;
        let mut content = file.take_bytes();
        let id = FileId::random();
        let mark = RecordFileMark { id, records: totals.records, record_sum: totals.record_sum };
        let mark = serde_json::to_string(&mark)
            .map_err(|error| Error::new(Kind::Internal, "describe a file").source(error))?;
        let encoded = file.finish(vec![(ENTRY_METADATA.to_owned(), mark)])?;
        content.extend(encoded.rest);
        let key = |record: Option<&Sorted<'_>>| {
            let none = || Error::new(Kind::Internal, "make a file of records").because("there is none");
            record.map(|record| record.key.clone()).ok_or_else(none)
        };
        let entry = DeltaEntry {
            id,
            first_key: key(sorted.first())?,
            last_key: key(sorted.last())?,
            records: totals.records,
            cells: totals.cells,
            logical_bytes: totals.logical_bytes,
            record_sum: totals.record_sum,
            shards: slices(pages),
            file: StoredFile {
                bytes: encoded.bytes,
                sha256: hex::encode(encoded.sha256),
                crc64: format!("{:016x}", encoded.crc64),
                row_groups: encoded.row_groups,
            },
            read: read_cost(pages),
        };
        Ok(Draft { entry, content, crc64: encoded.crc64 })
    }
}

/// Every record, by key, rank and ordinal.
fn sort(pages: &[ShardRecords]) -> Result<Vec<Sorted<'_>>> {
    let mut sorted = Vec::with_capacity(pages.iter().map(|page| page.records.len()).sum());
    for page in pages {
        for ((record, clock_us), ordinal) in
            page.records.iter().zip(&page.clocks_us).zip(page.first_ordinal..)
        {
            let decoded = record.decode().map_err(undecodable)?;
            let key = PrimaryKey::from_row(&decoded.row.key);
            let key = key.ok_or_else(|| {
                Error::new(Kind::Corrupt, "sort a record")
                    .on(format!("of shard `{}`", page.shard_id))
                    .because("its key has a value that no stored key has")
            })?;
            let place = RecordPlace { rank: page.rank, ordinal, clock_us: *clock_us };
            sorted.push(Sorted { key, place, record, shard_id: &page.shard_id });
        }
    }
    sorted.sort_unstable_by(|a, b| {
        (&a.key, a.place.rank, a.place.ordinal).cmp(&(&b.key, b.place.rank, b.place.ordinal))
    });
    Ok(sorted)
}

fn flush(batch: &mut RecordBatchBuilder, file: &mut FileEncoder, totals: &mut RecordTotals) -> Result<()> {
    if batch.records() == 0 {
        return Ok(());
    }
    let (record_batch, of_batch) = batch.finish()?;
    *totals += of_batch;
    file.write(&record_batch)
}

/// Which records of which shards the pages hold. Pages of a shard follow each other.
fn slices(pages: &[ShardRecords]) -> Vec<ShardSlice> {
    let mut slices: BTreeMap<u64, ShardSlice> = BTreeMap::new();
    for page in pages {
        let to = page.first_ordinal + page.records.len() as u64;
        let new = ShardSlice { rank: page.rank, from: page.first_ordinal, to };
        let slice = slices.entry(page.rank).or_insert(new);
        slice.to = slice.to.max(to);
    }
    slices.into_values().collect()
}

fn read_cost(pages: &[ShardRecords]) -> ReadCost {
    let mut cost = ReadCost::default();
    for page in pages {
        cost += ReadCost {
            pages: 1,
            response_bytes: page.body_bytes as u64,
            capacity_units: page.read_capacity_units,
        };
    }
    cost
}

fn undecodable(error: RecordError) -> Error {
    Error::new(Kind::Corrupt, "understand a record").source(error)
}
