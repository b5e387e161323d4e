//! The bytes of one Parquet file to record batches. The file may be damaged or hostile.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use super::{footer_walk, page_walk};
use crate::columnar::{ColumnPlan, arrow_schema, record_schema};
use crate::error::{Context, Error, Kind, Result};

/// What a file may claim before it is refused. The defaults are far above what [`FileEncoder`](super::FileEncoder)
/// writes with its default settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLimits {
    /// Footer, bytes. Default 64 MiB.
    pub footer_bytes: usize,
    /// Row groups. Default 10,000.
    pub row_groups: usize,
    /// Leaf columns. Default 32,768.
    pub columns: usize,
    /// Bytes of an uncompressed data page. Default 64 MiB.
    pub page_bytes: usize,
    /// Bytes of an uncompressed dictionary page. Default 64 MiB.
    pub dictionary_bytes: usize,
    /// How many times smaller a page above 4 MiB may be in the file. Default 1,000.
    pub page_ratio: usize,
    /// Values of one leaf of `_overflow` in one row group, if more than its rows. Default 64 Mi.
    pub nested_values: i64,
    /// Rows in a record batch at most. Default 8,192, the fastest.
    pub batch_rows: usize,
    /// Bytes that a record batch should stay below; batches of wide rows have fewer rows. Default 16 MiB.
    pub batch_bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> ReadLimits {
        ReadLimits {
            footer_bytes: 64 << 20,
            row_groups: 10_000,
            columns: 32_768,
            page_bytes: 64 << 20,
            dictionary_bytes: 64 << 20,
            page_ratio: 1_000,
            nested_values: 64 << 20,
            batch_rows: 8_192,
            batch_bytes: 16 << 20,
        }
    }
}

/// A Parquet file whose footer and page headers have been checked against a plan and against limits.
///
/// A panic of the Parquet crate on bytes that passed the checks comes back as an error; the process's panic hook
/// still sees it. What the checks cannot see is a long string that a dictionary or a shared prefix repeats: such a
/// file can still ask for up to 2 GiB per string column and batch.
#[derive(Debug)]
pub struct FileReader {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    limits: ReadLimits,
}

impl FileReader {
    /// Opens the file in `bytes`, which are all of it; nothing is copied.
    ///
    /// An Arrow schema embedded in the file is ignored: the columns must be those of `plan`, in name, type, order
    /// and field ids.
    ///
    /// # Errors
    /// `Corrupt` if it is not such a file or claims more than `limits`.
    pub fn open(bytes: Bytes, plan: &ColumnPlan, limits: &ReadLimits) -> Result<FileReader> {
        FileReader::open_as(bytes, &arrow_schema(plan), limits)
    }

    /// Opens a file of Stream records whose rows are of `plan`.
    ///
    /// # Errors
    /// As [`FileReader::open`].
    pub fn open_records(bytes: Bytes, plan: &ColumnPlan, limits: &ReadLimits) -> Result<FileReader> {
        FileReader::open_as(bytes, &record_schema(plan), limits)
    }

    fn open_as(bytes: Bytes, schema: &Schema, limits: &ReadLimits) -> Result<FileReader> {
        let footer = footer(&bytes, limits).map_err(refused)?;
        footer_walk::check(footer, limits).map_err(refused)?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = no_panic(|| ArrowReaderMetadata::load(&bytes, options))?;
        if metadata.schema().fields() != schema.fields() {
            return Err(refused("its columns are not those of the backup".into()));
        }
        no_panic(|| Ok(page_walk::check(&bytes, metadata.metadata(), limits)))?.map_err(refused)?;
        Ok(FileReader { bytes, metadata, limits: limits.clone() })
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows() as u64
    }

    /// Rows of each row group.
    pub fn row_groups(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.metadata.metadata().row_groups().iter().map(|group| group.num_rows() as u64)
    }

    /// The last value under `key` in the footer.
    pub fn key_value(&self, key: &str) -> Option<&str> {
        let entries = self.metadata.metadata().file_metadata().key_value_metadata()?;
        entries.iter().rev().find(|entry| entry.key == key)?.value.as_deref()
    }

    /// The rows of the whole file, in order.
    pub fn batches(&self) -> Result<Batches> {
        self.row_group_batches((0..self.metadata.metadata().num_row_groups()).collect())
    }

    /// The rows of some row groups, in the order given.
    ///
    /// # Errors
    /// `Internal` for a row group that is not there.
    pub fn row_group_batches(&self, row_groups: Vec<usize>) -> Result<Batches> {
        let groups = self.metadata.metadata().row_groups();
        let mut batch_rows = self.limits.batch_rows;
        for index in &row_groups {
            let group = groups.get(*index).ok_or_else(|| {
                Error::new(Kind::Internal, "read a row group")
                    .because(format!("there is no row group {index}"))
            })?;
            batch_rows = batch_rows.min(rows_per_batch(group, &self.limits));
        }
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
                .with_batch_size(batch_rows)
                .with_row_groups(row_groups);
        Ok(Batches { reader: Some(no_panic(|| builder.build())?) })
    }
}

/// Record batches of a file; ends after the first error.
pub struct Batches {
    pub(super) reader: Option<ParquetRecordBatchReader>,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let reader = self.reader.as_mut()?;
        let batch = no_panic(|| reader.next().transpose().map_err(ParquetError::from)).transpose();
        if !matches!(batch, Some(Ok(_))) {
            self.reader = None;
        }
        batch
    }
}

/// Rows per batch of a row group, so that a batch stays about below the limit.
pub(super) fn rows_per_batch(group: &RowGroupMetaData, limits: &ReadLimits) -> usize {
    let rows = usize::try_from(limits.batch_bytes / mean_row_bytes(group).max(1)).unwrap_or(usize::MAX);
    rows.clamp(1, limits.batch_rows.max(1))
}

/// Decoded bytes of a row, going by what the row group claims about itself.
fn mean_row_bytes(group: &RowGroupMetaData) -> u64 {
    let bytes: i64 = group.columns().iter().fold(0, |sum, column| {
        // Dictionaries and run lengths make pages smaller than arrays.
        let values = column.unencoded_byte_array_data_bytes().unwrap_or(0).max(column.uncompressed_size());
        let slots = column.num_values().saturating_mul(8);
        sum.saturating_add(values.max(slots).max(0))
    });
    bytes as u64 / (group.num_rows().max(1) as u64)
}

/// The footer without its length and magic.
pub(super) fn footer<'a>(bytes: &'a [u8], limits: &ReadLimits) -> std::result::Result<&'a [u8], String> {
    let Some((rest, tail)) = bytes.split_last_chunk::<8>() else {
        return Err("it is too short".into());
    };
    let [length @ .., b'P', b'A', b'R', b'1'] = tail else {
        return Err("it does not end like a Parquet file".into());
    };
    let Some(rest) = rest.strip_prefix(b"PAR1") else {
        return Err("it does not start like a Parquet file".into());
    };
    let footer_bytes = u32::from_le_bytes(*length) as usize;
    if footer_bytes > limits.footer_bytes {
        return Err(format!("its footer has {footer_bytes} bytes, more than {}", limits.footer_bytes));
    }
    rest.len()
        .checked_sub(footer_bytes)
        .and_then(|start| rest.get(start..))
        .ok_or_else(|| "its footer is longer than the file".to_owned())
}

/// Runs the Parquet crate on foreign bytes; a panic is an error of the file.
pub(super) fn no_panic<T>(run: impl FnOnce() -> std::result::Result<T, ParquetError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.doing(Kind::Corrupt, "read a Parquet file"),
        Err(_) => Err(refused("the Parquet reader gave up on it".into())),
    }
}

#[cold]
pub(super) fn refused(reason: String) -> Error {
    Error::new(Kind::Corrupt, "read a Parquet file").because(reason)
}
