//! A Parquet file of which only some bytes are in memory: its footer first, then one row group at a time.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::reader::{ChunkReader, Length};

use super::reader::{Batches, ReadLimits, no_panic, refused, rows_per_batch};
use super::{footer_walk, page_walk};
use crate::columnar::{ColumnPlan, arrow_schema};
use crate::error::{Error, Kind, Result};

/// The last bytes of a file: length of the footer, then `PAR1`.
pub const FOOTER_TAIL_BYTES: u64 = 8;

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
    match length + FOOTER_TAIL_BYTES < file_bytes {
        true => Ok(length),
        false => Err(refused("its footer is longer than the file".into())),
    }
}

/// The footer of a file, checked against a plan and against limits; clones share it.
#[derive(Debug, Clone)]
pub struct RowGroups {
    metadata: ArrowReaderMetadata,
    limits: ReadLimits,
    file_bytes: u64,
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
        footer_walk::check(footer, limits).map_err(refused)?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = no_panic(|| {
            let metadata = ParquetMetaDataReader::decode_metadata(footer)?;
            ArrowReaderMetadata::try_new(Arc::new(metadata), options)
        })?;
        if metadata.schema().fields() != arrow_schema(plan).fields() {
            return Err(refused("its columns are not those of the backup".into()));
        }
        page_walk::check_counts(metadata.metadata(), limits).map_err(refused)?;
        Ok(RowGroups { metadata, limits: limits.clone(), file_bytes })
    }

    /// Rows of each row group.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.metadata.metadata().row_groups().iter().map(|group| group.num_rows().max(0) as u64)
    }

    /// The bytes of the file that a row group takes.
    ///
    /// # Errors
    /// `Corrupt` if there is no such row group, or it claims to lie outside of the file.
    pub fn byte_range(&self, row_group: usize) -> Result<Range<u64>> {
        let group = self.metadata.metadata().row_groups().get(row_group);
        let group = group.ok_or_else(|| refused(format!("it has no row group {row_group}")))?;
        let outside = || refused(format!("row group {row_group} lies outside of the file"));
        let mut range = self.file_bytes..0;
        for column in group.columns() {
            let first = column.dictionary_page_offset().unwrap_or(i64::MAX).min(column.data_page_offset());
            let start = u64::try_from(first).map_err(|_| outside())?;
            let length = u64::try_from(column.compressed_size()).map_err(|_| outside())?;
            let end = start.checked_add(length).filter(|end| *end <= self.file_bytes).ok_or_else(outside)?;
            range = range.start.min(start)..range.end.max(end);
        }
        match range.start <= range.end {
            true => Ok(range),
            false => Err(outside()),
        }
    }

    /// The rows of a row group, whose `bytes` are those of [`RowGroups::byte_range`]; nothing is copied.
    ///
    /// # Errors
    /// `Corrupt` if its pages contradict the footer or claim more than the limits.
    pub fn batches(&self, row_group: usize, bytes: Bytes) -> Result<Batches> {
        let range = self.byte_range(row_group)?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(Error::new(Kind::Internal, "read a row group").because("these are not its bytes"));
        }
        let metadata = self.metadata.metadata();
        no_panic(|| Ok(page_walk::check_row_group(&bytes, range.start, metadata, row_group, &self.limits)))?
            .map_err(refused)?;
        let rows =
            metadata.row_groups().get(row_group).map_or(1, |group| rows_per_batch(group, &self.limits));
        let piece = Piece { start: range.start, file_bytes: self.file_bytes, bytes };
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(piece, self.metadata.clone())
            .with_batch_size(rows)
            .with_row_groups(vec![row_group]);
        Ok(Batches { reader: Some(no_panic(|| builder.build())?) })
    }
}

/// Bytes of a file from `start` on.
struct Piece {
    start: u64,
    file_bytes: u64,
    bytes: Bytes,
}

impl Piece {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let offset = start.checked_sub(self.start).and_then(|offset| usize::try_from(offset).ok());
        match offset.filter(|offset| *offset <= self.bytes.len()) {
            Some(offset) => Ok(self.bytes.slice(offset..)),
            None => Err(ParquetError::EOF("a read outside of the row group".to_owned())),
        }
    }
}

impl Length for Piece {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Piece {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let from = self.from(start)?;
        match length <= from.len() {
            true => Ok(from.slice(..length)),
            false => Err(ParquetError::EOF("a read beyond the row group".to_owned())),
        }
    }
}
