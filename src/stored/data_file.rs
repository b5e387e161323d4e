//! A data file whose hash is right and whose footer is read.

use std::sync::Arc;

use object_store::path::Path;

use super::{HeldBytes, VerifiedFile};
use crate::catalog::StoredFile;
use crate::columnar::ColumnPlan;
use crate::model::{KeyRange, PrimaryKey};
use crate::objectstore::UploadStore;
use crate::parquet_file::{Batches, FOOTER_TAIL_BYTES, ReadLimits, RowGroups, footer_length};
use crate::runtime::{ByteBudget, BytePermit, CpuPool};
use crate::{Error, Kind, Result};

/// How data files are read. Clones share the budgets.
#[derive(Clone)]
pub struct Reading {
    /// Where they are.
    pub store: Arc<dyn UploadStore>,
    /// Files of up to so many bytes are kept in memory while they are open; larger ones are read twice.
    pub largest_whole: u64,
    /// For files that are kept.
    pub whole: ByteBudget,
    /// For blocks of larger ones. Nobody who holds some of it waits for more of either.
    pub blocks: ByteBudget,
    /// Where they are hashed and decoded.
    pub cpu: CpuPool,
    /// Decoded bytes of a record batch, about.
    pub batch_bytes: u64,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Rows of a base.
    Rows,
    /// Stream records.
    Records,
}

/// An open file.
pub struct DataFile {
    file: VerifiedFile,
    row_groups: RowGroups,
    plan: Arc<ColumnPlan>,
    reading: Reading,
}

/// The rows of a row group, and the memory that its bytes take.
pub struct UnitBytes {
    /// The rows; nothing is decoded yet.
    pub batches: Batches,
    /// To be held as long as they are read.
    pub permit: Option<BytePermit>,
}

impl Reading {
    /// Opens the file at `path`, which is to have so many rows of `plan`.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if its SHA-256 is not the one in the file list, or it is no such file.
    pub async fn open(
        &self,
        path: Path,
        stored: &StoredFile,
        plan: &Arc<ColumnPlan>,
        holds: Holds,
        rows: u64,
    ) -> Result<DataFile> {
        let (whole, blocks, cpu) = (&self.whole, &self.blocks, &self.cpu);
        let file =
            VerifiedFile::open(&self.store, path, stored, self.largest_whole, (whole, blocks), cpu).await?;
        let limits = ReadLimits { batch_bytes: self.batch_bytes, ..ReadLimits::default() };
        let bytes = file.bytes();
        let tail_start = bytes.saturating_sub(FOOTER_TAIL_BYTES);
        let tail = file.read(tail_start..bytes, blocks, cpu).await?.bytes;
        let footer = footer_length(&tail, bytes, &limits).map_err(|error| file.failed(error))?;
        let footer = file.read(tail_start - footer..tail_start, blocks, cpu).await?;
        let of_plan = plan.clone();
        let open = move || match holds {
            Holds::Rows => RowGroups::open(&footer.bytes, bytes, &of_plan, &limits),
            Holds::Records => RowGroups::open_records(&footer.bytes, bytes, &of_plan, &limits),
        };
        let row_groups = cpu.run(open).await?.map_err(|error| file.failed(error))?;
        let found: u64 = row_groups.rows().sum();
        if (row_groups.rows().len(), found) != (stored.row_groups, rows) {
            let reason = format!("it holds {found} rows, and the file list says {rows}");
            return Err(file.failed(Error::new(Kind::Corrupt, "use its rows").because(reason)));
        }
        Ok(DataFile { file, row_groups, plan: plan.clone(), reading: self.clone() })
    }
}

impl DataFile {
    /// Number of row groups.
    pub fn row_groups(&self) -> usize {
        self.row_groups.rows().len()
    }

    /// The rows of a row group.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for bytes that changed meanwhile, and for pages that contradict the footer.
    pub async fn batches(&self, index: usize) -> Result<UnitBytes> {
        let Reading { blocks, cpu, .. } = &self.reading;
        let range = self.row_groups.byte_range(index).map_err(|error| self.failed(error))?;
        let HeldBytes { bytes, permit } = self.file.read(range, blocks, cpu).await?;
        let groups = self.row_groups.clone();
        let batches = cpu.run(move || groups.batches(index, bytes)).await?;
        Ok(UnitBytes { batches: batches.map_err(|error| self.failed(error))?, permit })
    }

    /// The first key of a row group; `None` for one without rows. Reads and decodes the first page of the key columns.
    ///
    /// # Errors
    /// As [`DataFile::batches`].
    pub async fn first_key(&self, index: usize) -> Result<Option<PrimaryKey>> {
        let Reading { blocks, cpu, .. } = &self.reading;
        let range =
            self.row_groups.key_bytes(index, self.plan.key_count()).map_err(|error| self.failed(error))?;
        let HeldBytes { bytes, permit } = self.file.read(range, blocks, cpu).await?;
        let (groups, plan) = (self.row_groups.clone(), self.plan.clone());
        let key = cpu.run(move || groups.first_key(index, bytes, &plan)).await?;
        drop(permit);
        key.map_err(|error| self.failed(error))
    }

    /// The keys that belong to a row group of a file with the keys `whole`: from its first row to the first of the next one.
    ///
    /// # Errors
    /// As [`DataFile::batches`]; [`Kind::Corrupt`] for a row group without rows.
    pub async fn interval(&self, index: usize, whole: &KeyRange) -> Result<KeyRange> {
        let first = async |index: usize| {
            let no_row = || Error::new(Kind::Corrupt, "use a row group").because("it has no row");
            self.first_key(index).await?.ok_or_else(no_row).map_err(|error| self.failed(error))
        };
        let start = if index == 0 { whole.start.clone() } else { first(index).await? };
        let is_last = index + 1 >= self.row_groups();
        let end = if is_last { whole.end.clone() } else { first(index + 1).await? };
        Ok(KeyRange { start, end })
    }

    /// An error of this file.
    pub fn failed(&self, error: Error) -> Error {
        self.file.failed(error)
    }
}
