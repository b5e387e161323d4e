//! A Parquet file of which only some bytes are in memory: its footer first, then one row group at a time.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::datatypes::Schema;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader, RowGroupMetaData};

use super::batches::{Batches, no_panic, refused};
use super::extent::Extent;
use super::read_limits::ReadLimits;
use super::{footer_walk, page_walk};
use crate::columnar::{ColumnPlan, arrow_schema, record_schema};
use crate::error::{Error, Kind, Result};

/// The last bytes of a file: length of the footer, then `PAR1`.
pub const FOOTER_TAIL_BYTES: u64 = 8;

/// The magic at the start of a file.
const MAGIC_BYTES: u64 = 4;

/// Length of the footer of a file of `file_bytes`, of which `tail` are the last 8; the footer stands before them.
///
/// # Errors
/// `Corrupt` if the file does not end so, or its footer would be longer than itself or than `limits`.
pub fn footer_length(tail: &[u8], file_bytes: u64, limits: &ReadLimits) -> Result<u64> {
    let [length @ .., b'P', b'A', b'R', b'1'] = tail else {
        return Err(refused("it does not end like a Parquet file".into()));
    };
    let length = <[u8; 4]>::try_from(length).map_err(|_| refused("it is too short".into()))?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > limits.footer_bytes as u64 {
        return Err(refused(format!("its footer has {length} bytes, more than {}", limits.footer_bytes)));
    }
    match length + FOOTER_TAIL_BYTES + MAGIC_BYTES <= file_bytes {
        true => Ok(length),
        false => Err(refused("its footer is longer than the file".into())),
    }
}

/// The footer of a file, checked against a plan and against limits; clones share it.
#[derive(Debug, Clone)]
pub struct RowGroups {
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) limits: ReadLimits,
    pub(super) file_bytes: u64,
}

impl RowGroups {
    /// Opens the `footer` of a file of `file_bytes`, without the 8 bytes behind it.
    ///
    /// An Arrow schema embedded in the file is ignored: the columns must be those of `plan`, in name, type, order
    /// and field ids.
    ///
    /// # Errors
    /// `Corrupt` if it is not such a file or claims more than `limits`.
    pub fn open(footer: &[u8], file_bytes: u64, plan: &ColumnPlan, limits: &ReadLimits) -> Result<RowGroups> {
        RowGroups::open_as(footer, file_bytes, Some(&arrow_schema(plan)), limits)
    }

    /// As [`RowGroups::open`], for a file of Stream records whose rows are of `plan`.
    ///
    /// # Errors
    /// As [`RowGroups::open`].
    pub fn open_records(
        footer: &[u8],
        file_bytes: u64,
        plan: &ColumnPlan,
        limits: &ReadLimits,
    ) -> Result<RowGroups> {
        RowGroups::open_as(footer, file_bytes, Some(&record_schema(plan)), limits)
    }

    /// As [`RowGroups::open`], for files of a `schema`, or of any.
    pub(super) fn open_as(
        footer: &[u8],
        file_bytes: u64,
        schema: Option<&Schema>,
        limits: &ReadLimits,
    ) -> Result<RowGroups> {
        footer_walk::check(footer, limits).map_err(refused)?;
        let options = ArrowReaderOptions::new()
            .with_skip_arrow_metadata(true)
            .with_page_index_policy(PageIndexPolicy::Skip);
        let metadata = no_panic(|| {
            let metadata = ParquetMetaDataReader::decode_metadata(footer)?;
            ArrowReaderMetadata::try_new(metadata.into(), options)
        })?;
        if schema.is_some_and(|schema| metadata.schema().fields() != schema.fields()) {
            return Err(refused("its columns are not those of the backup".into()));
        }
        page_walk::check_file(metadata.metadata(), limits).map_err(refused)?;
        Ok(RowGroups { metadata, limits: limits.clone(), file_bytes })
    }

    /// Rows of each row group.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.metadata.metadata().row_groups().iter().map(|group| group.num_rows().max(0) as u64)
    }

    /// Bytes of all pages when they are decompressed, as the footer claims; pages that pass the checks have no more.
    pub fn uncompressed_bytes(&self) -> u64 {
        let groups = self.metadata.metadata().row_groups().iter();
        let columns = groups.flat_map(|group| group.columns());
        let sizes = columns.map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX));
        sizes.fold(0, u64::saturating_add)
    }

    /// The last value under `key` in the footer.
    pub fn key_value(&self, key: &str) -> Option<&str> {
        let entries = self.metadata.metadata().file_metadata().key_value_metadata()?;
        entries.iter().rev().find(|entry| entry.key == key)?.value.as_deref()
    }

    /// The bytes of the file that a row group takes.
    ///
    /// # Errors
    /// `Internal` for a row group that is not there; `Corrupt` where it lies outside of the file.
    pub fn byte_range(&self, index: usize) -> Result<Range<u64>> {
        self.columns_range(index, usize::MAX)
    }

    /// The bytes of the file from the first to the last of the first `columns` leaf columns of a row group.
    pub(super) fn columns_range(&self, index: usize, columns: usize) -> Result<Range<u64>> {
        let (mut first, mut last) = (u64::MAX, 0);
        for column in self.group(index)?.columns().iter().take(columns) {
            let chunk = page_walk::chunk_extent(column);
            let end = chunk.and_then(|(start, length)| start.checked_add(length as u64));
            let (Some((start, _)), Some(end)) = (chunk, end.filter(|end| *end <= self.file_bytes)) else {
                return Err(refused(format!("row group {index} lies outside of the file")));
            };
            (first, last) = (first.min(start), last.max(end));
        }
        Ok(first.min(last)..last)
    }

    /// The rows of a row group, whose `bytes` are those of [`RowGroups::byte_range`]; nothing is copied.
    ///
    /// # Errors
    /// `Corrupt` if its pages contradict the footer or claim more than the limits.
    pub fn batches(&self, index: usize, bytes: Bytes) -> Result<Batches> {
        let range = self.byte_range(index)?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(Error::new(Kind::Internal, "read a row group").because("these are not its bytes"));
        }
        let extent = Extent { start: range.start, bytes, file_bytes: self.file_bytes };
        let batch_rows = self.batch_rows(&extent, index)?;
        Ok(self.batches_of(extent, VecDeque::from([(index, batch_rows)])))
    }

    /// The rows of row groups that are in `extent`, and that have been checked.
    pub(super) fn batches_of(&self, extent: Extent, groups: VecDeque<(usize, usize)>) -> Batches {
        Batches { extent, metadata: self.metadata.clone(), groups, reader: None }
    }

    /// What the footer says of a row group.
    pub(super) fn group(&self, index: usize) -> Result<&RowGroupMetaData> {
        self.metadata.metadata().row_groups().get(index).ok_or_else(|| {
            Error::new(Kind::Internal, "read a row group").because(format!("there is no row group {index}"))
        })
    }

    /// Checks the pages of a row group, and says how many rows a batch of it may have.
    pub(super) fn batch_rows(&self, extent: &Extent, index: usize) -> Result<usize> {
        let walk = || page_walk::check_row_group(extent, self.metadata.metadata(), index, &self.limits);
        let claims = no_panic(|| Ok(walk()))?.map_err(refused)?;
        let good = self.limits.batch_bytes / mean_row_bytes(self.group(index)?);
        let good = usize::try_from(good).unwrap_or(usize::MAX).clamp(1, self.limits.batch_rows.max(1));
        claims.batch_rows(good, self.limits.decode_bytes).map_err(|bytes| {
            let limit = self.limits.decode_bytes;
            refused(format!(
                "decoding row group {index} may take {bytes} bytes, more than the {limit} there are for it"
            ))
            .hint("where the file is to be trusted, give it more `--memory`")
        })
    }
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
