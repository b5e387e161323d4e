//! One data file: its hash first, then its rows, within a memory budget.
//!
//! A file of up to half the budget is fetched once and decoded from the bytes that were hashed. A larger one is hashed
//! as it streams by, and its row groups are fetched one by one after that.

use std::sync::Arc;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use sha2::{Digest, Sha256};

use crate::catalog::{ENTRY_METADATA, FileEntry, Manifest, RunPath, StoredFile, Vault};
use crate::columnar::ColumnPlan;
use crate::objectstore::{UploadStore, error_of};
use crate::parquet_file::{
    Batches, Contents, ContentsCheck, FOOTER_TAIL_BYTES, FileReader, ReadLimits, RowGroups, StatisticsCheck,
    footer_length,
};
use crate::runtime::{ByteBudget, BytePermit, CpuPool};
use crate::{Error, Kind, Result};

/// Memory that decoding one file should have at least.
const DECODE_BYTES: u64 = 96 << 20;

/// Bytes that are hashed at a time when a file streams by.
const HASHED_AT_ONCE: usize = 4 << 20;

/// Bytes at the end of a file that are read first: the footers of most files are shorter.
const TAIL_BYTES: u64 = 64 << 10;

/// How the data files of one run are read. Clones share the budget.
#[derive(Clone)]
pub(super) struct Reading {
    store: Arc<dyn UploadStore>,
    plan: Arc<ColumnPlan>,
    limits: ReadLimits,
    cpu: CpuPool,
    /// Bytes of files as they are stored.
    budget: ByteBudget,
    files_at_once: usize,
}

/// A file whose hash is the right one.
pub(super) struct DataFile {
    footer: RowGroups,
    object: Path,
    /// Where all of the file is in memory.
    whole: Option<(FileReader, BytePermit)>,
}

impl Reading {
    /// Half of the memory is for files as they are stored, half for decoding.
    pub(super) fn new(vault: &Vault, manifest: &Manifest, cpu: &CpuPool, memory_bytes: u64) -> Reading {
        let decode_bytes = memory_bytes / 2;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let files_at_once = usize::try_from(decode_bytes / DECODE_BYTES).unwrap_or(1).clamp(1, cores);
        Reading {
            store: vault.store().clone(),
            plan: Arc::new(manifest.columns.clone()),
            limits: ReadLimits { decode_bytes: decode_bytes / files_at_once as u64, ..ReadLimits::default() },
            cpu: cpu.clone(),
            budget: ByteBudget::new(memory_bytes / 2),
            files_at_once,
        }
    }

    /// Files that may be decoded at the same time.
    pub(super) fn files_at_once(&self) -> usize {
        self.files_at_once
    }

    pub(super) fn store(&self) -> &dyn UploadStore {
        &*self.store
    }

    pub(super) fn plan(&self) -> &Arc<ColumnPlan> {
        &self.plan
    }

    pub(super) fn cpu(&self) -> &CpuPool {
        &self.cpu
    }

    pub(super) fn limits(&self) -> &ReadLimits {
        &self.limits
    }

    /// Reads a file to its last bit and its last row: SHA-256 and CRC64, what its footer says, keys, counts, row-sum,
    /// statistics.
    ///
    /// # Errors
    /// [`Kind::Verification`] or [`Kind::Corrupt`] for what is not as it should be.
    pub(super) async fn check_file(&self, path: &RunPath, entry: &FileEntry) -> Result<Contents> {
        let file = self.open(path, entry).await?;
        let mut rows = ContentsCheck::new(self.plan.clone(), entry.range.clone(), entry.logical_bytes);
        for index in 0..file.row_groups() {
            let (batches, permit) = file.batches(self, index).await?;
            let footer = file.footer.clone();
            let check = move || {
                let mut statistics = StatisticsCheck::new(&footer, index)?;
                for batch in batches {
                    let batch = batch?;
                    statistics.batch(&batch);
                    rows.batch(&batch)?;
                }
                statistics.end()?;
                drop(permit);
                Ok::<_, Error>(rows)
            };
            rows = self.cpu.run(check).await??;
        }
        let found = rows.contents();
        let described = Contents { rows: entry.rows, cells: entry.cells, row_sum: entry.row_sum };
        if (found, rows.logical_bytes()) != (described, entry.logical_bytes) {
            return Err(differs(format!(
                "it holds {} rows, {} cells, {} bytes, row-sum {}; its entry says {}, {}, {}, {}",
                found.rows,
                found.cells,
                rows.logical_bytes(),
                found.row_sum,
                entry.rows,
                entry.cells,
                entry.logical_bytes,
                entry.row_sum
            )));
        }
        Ok(found)
    }

    /// Fetches what has to be in memory, compares hashes, and only then looks at what the bytes mean.
    pub(super) async fn open(&self, path: &RunPath, entry: &FileEntry) -> Result<DataFile> {
        let object = path.data_file(entry.id);
        let stored = entry.file.clone().ok_or_else(|| differs("there is no file".to_owned()))?;
        if stored.bytes > self.budget.total() / 2 {
            self.hash_streaming(&object, &stored).await?;
            let footer = self.open_by_footer(path, entry).await?;
            return Ok(DataFile { footer, object, whole: None });
        }
        let (body, permit) = self.whole(&object, &stored).await?;
        let (plan, limits, entry) = (self.plan.clone(), self.limits.clone(), entry.clone());
        let open = move || {
            let reader = FileReader::open(body, &plan, &limits)?;
            check_footer(reader.footer(), &entry, &plan)?;
            Ok::<_, Error>(reader)
        };
        let reader = self.cpu.run(open).await??;
        Ok(DataFile { footer: reader.footer().clone(), object, whole: Some((reader, permit)) })
    }

    /// All bytes of a file, whose hashes are the right ones, and the memory for them.
    pub(super) async fn whole(&self, object: &Path, stored: &StoredFile) -> Result<(Bytes, BytePermit)> {
        if stored.bytes > self.budget.total() {
            return Err(differs(format!("it has {} bytes, more than there is memory for", stored.bytes))
                .hint("give it more `--memory`"));
        }
        let permit = self.budget.acquire(stored.bytes).await;
        let found = self.store.get(object).await.map_err(failed)?;
        check_size(found.meta.size, stored)?;
        let body = found.bytes().await.map_err(failed)?;
        let (hashed, stored) = (body.clone(), stored.clone());
        let check = move || {
            let mut hashes = Hashes::default();
            hashes.update(&hashed);
            hashes.check(&stored)
        };
        self.cpu.run(check).await??;
        Ok((body, permit))
    }

    /// Reads the footer alone, and compares what it says with the entry.
    pub(super) async fn open_by_footer(&self, path: &RunPath, entry: &FileEntry) -> Result<RowGroups> {
        let bytes = entry.file.as_ref().map_or(0, |file| file.bytes);
        let (footer, _permit) = self.footer(&path.data_file(entry.id), bytes).await?;
        let (plan, limits, entry) = (self.plan.clone(), self.limits.clone(), entry.clone());
        let open = move || {
            let footer = RowGroups::open(&footer, bytes, &plan, &limits)?;
            check_footer(&footer, &entry, &plan)?;
            Ok::<_, Error>(footer)
        };
        self.cpu.run(open).await?
    }

    /// The bytes of the footer of a file of so many bytes.
    pub(super) async fn footer(&self, object: &Path, bytes: u64) -> Result<(Bytes, BytePermit)> {
        let mut end = self.range(object, bytes.saturating_sub(TAIL_BYTES)..bytes).await?;
        let at = end.len().saturating_sub(FOOTER_TAIL_BYTES as usize);
        let length = footer_length(end.get(at..).unwrap_or_default(), bytes, &self.limits)?;
        let needed = length + FOOTER_TAIL_BYTES;
        let permit = self.budget.acquire(needed).await;
        if needed > end.len() as u64 {
            end = self.range(object, bytes - needed..bytes).await?;
        }
        let footer = end.slice(end.len() - needed as usize..end.len() - FOOTER_TAIL_BYTES as usize);
        Ok((footer, permit))
    }

    async fn range(&self, object: &Path, range: std::ops::Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = range.end - range.start;
        let bytes = self.store.get_range(object, range).await.map_err(failed)?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(differs(format!("{} bytes of it came where {length} were asked for", bytes.len()))),
        }
    }

    async fn hash_streaming(&self, object: &Path, stored: &StoredFile) -> Result<()> {
        let found = self.store.get(object).await.map_err(failed)?;
        check_size(found.meta.size, stored)?;
        let mut stream = found.into_stream();
        let mut hashes = Hashes::default();
        let (mut waiting, mut waiting_bytes) = (Vec::new(), 0);
        loop {
            let chunk = stream.try_next().await.map_err(failed)?;
            let is_end = chunk.is_none();
            if let Some(chunk) = chunk {
                waiting_bytes += chunk.len();
                waiting.push(chunk);
            }
            if is_end || waiting_bytes >= HASHED_AT_ONCE {
                let chunks = std::mem::take(&mut waiting);
                waiting_bytes = 0;
                let hash = move || {
                    chunks.iter().for_each(|chunk: &Bytes| hashes.update(chunk));
                    hashes
                };
                hashes = self.cpu.run(hash).await?;
            }
            if is_end {
                return hashes.check(stored);
            }
        }
    }
}

impl DataFile {
    /// Row groups of the file.
    pub(super) fn row_groups(&self) -> usize {
        self.footer.rows().len()
    }

    /// The rows of a row group, with the bytes that they hold in the budget besides those of a whole file.
    pub(super) async fn batches(
        &self,
        reading: &Reading,
        index: usize,
    ) -> Result<(Batches, Option<BytePermit>)> {
        if let Some((reader, _)) = &self.whole {
            return Ok((reader.row_group_batches(vec![index])?, None));
        }
        let extent = self.footer.byte_range(index)?;
        let bytes = extent.end - extent.start;
        if bytes > reading.budget.total() {
            return Err(differs(format!(
                "row group {index} has {bytes} bytes, more than there is memory for"
            ))
            .hint("give it more `--memory`"));
        }
        let permit = reading.budget.acquire(bytes).await;
        let bytes = reading.range(&self.object, extent).await?;
        let footer = self.footer.clone();
        let batches = reading.cpu.run(move || footer.batches(index, bytes)).await??;
        Ok((batches, Some(permit)))
    }
}

/// SHA-256 and CRC64 of a file so far.
struct Hashes {
    sha256: Sha256,
    crc64: Crc,
}

impl Default for Hashes {
    fn default() -> Hashes {
        Hashes { sha256: Sha256::new(), crc64: Crc::new(CrcAlgorithm::Crc64Xz) }
    }
}

impl Hashes {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.crc64.update(bytes);
    }

    fn check(self, stored: &StoredFile) -> Result<()> {
        if hex::encode(self.sha256.finalize()) != stored.sha256 {
            return Err(differs("its SHA-256 is another one".to_owned()));
        }
        if format!("{:016x}", self.crc64.finalize()) != stored.crc64 {
            return Err(differs("its CRC64 is not the one in the file list".to_owned()));
        }
        Ok(())
    }
}

fn check_size(found: u64, stored: &StoredFile) -> Result<()> {
    match found == stored.bytes {
        true => Ok(()),
        false => Err(differs(format!("it has {found} bytes, not {}", stored.bytes))),
    }
}

/// A footer says which file it is of; and a file that decodes to much more than its entry says is not decoded.
fn check_footer(footer: &RowGroups, entry: &FileEntry, plan: &ColumnPlan) -> Result<()> {
    let text =
        footer.key_value(ENTRY_METADATA).ok_or_else(|| differs("its footer names no entry".to_owned()))?;
    let described = FileEntry::from_metadata(text)?;
    if described != (FileEntry { file: None, ..entry.clone() }) {
        return Err(differs(format!(
            "it is file {}, not {}, by what its footer says",
            described.id, entry.id
        )));
    }
    let row_groups = entry.file.as_ref().map_or(0, |file| file.row_groups);
    let rows: u64 = footer.rows().fold(0, u64::saturating_add);
    if rows != entry.rows || footer.rows().len() != row_groups {
        return Err(differs(format!(
            "its footer has {rows} rows in {} row groups; its entry says {} in {row_groups}",
            footer.rows().len(),
            entry.rows
        )));
    }
    // What the service counts as data has more bytes than any encoding of it, but for a byte or so of levels per value.
    let columns = plan.columns().len() as u64 + 10;
    let most = entry.logical_bytes.saturating_mul(2);
    let most =
        most.saturating_add(entry.rows.saturating_mul(columns).saturating_mul(4)).saturating_add(4 << 20);
    if footer.uncompressed_bytes() > most {
        return Err(differs(format!(
            "it expands to {} bytes; its entry says {} bytes of data",
            footer.uncompressed_bytes(),
            entry.logical_bytes
        )));
    }
    Ok(())
}

pub(super) fn differs(reason: String) -> Error {
    Error::new(Kind::Verification, "verify the file").because(reason)
}

fn failed(error: object_store::Error) -> Error {
    let lower = error_of(error);
    Error::new(lower.kind(), "read the file").source(lower)
}
