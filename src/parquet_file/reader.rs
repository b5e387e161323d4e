//! A Parquet file whose bytes are all in memory. It may be damaged or hostile.

use arrow::datatypes::Schema;
use bytes::Bytes;

use super::batches::{Batches, refused};
use super::extent::Extent;
use super::read_limits::ReadLimits;
use super::row_groups::{FOOTER_TAIL_BYTES, RowGroups, footer_length};
use crate::columnar::{ColumnPlan, arrow_schema, record_schema};
use crate::error::{Error, Kind, Result};

/// A file whose footer and page headers have been checked against a plan and against limits.
///
/// A panic of the Parquet crate on bytes that passed the checks comes back as an error; the process's panic hook
/// still sees it.
#[derive(Debug)]
pub struct FileReader {
    bytes: Bytes,
    groups: RowGroups,
    /// Rows that a batch of each row group may have.
    batch_rows: Vec<usize>,
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
        FileReader::open_as(bytes, Some(&arrow_schema(plan)), limits)
    }

    /// Opens a file of Stream records whose rows are of `plan`.
    ///
    /// # Errors
    /// As [`FileReader::open`].
    pub fn open_records(bytes: Bytes, plan: &ColumnPlan, limits: &ReadLimits) -> Result<FileReader> {
        FileReader::open_as(bytes, Some(&record_schema(plan)), limits)
    }

    /// As [`FileReader::open`], for a file of a `schema`, or of any.
    pub(super) fn open_as(bytes: Bytes, schema: Option<&Schema>, limits: &ReadLimits) -> Result<FileReader> {
        let Some((rest, tail)) = bytes.split_last_chunk::<{ FOOTER_TAIL_BYTES as usize }>() else {
            return Err(refused("it is too short".into()));
        };
        if !rest.starts_with(b"PAR1") {
            return Err(refused("it does not start like a Parquet file".into()));
        }
        let footer_bytes = usize::try_from(footer_length(tail, bytes.len() as u64, limits)?).ok();
        let footer = footer_bytes.and_then(|length| rest.get(rest.len().checked_sub(length)?..));
        let footer = footer.ok_or_else(|| refused("its footer is longer than the file".into()))?;
        let groups = RowGroups::open_as(footer, bytes.len() as u64, schema, limits)?;
        let extent = Extent::whole(bytes.clone());
        let indexes = 0..groups.rows().len();
        let batch_rows = indexes.map(|index| groups.batch_rows(&extent, index)).collect::<Result<_>>()?;
        Ok(FileReader { bytes, groups, batch_rows })
    }

    /// The file's footer.
    pub fn footer(&self) -> &RowGroups {
        &self.groups
    }

    /// Rows in the file.
    pub fn rows(&self) -> u64 {
        self.groups.rows().sum()
    }

    /// Rows of each row group.
    pub fn row_groups(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.groups.rows()
    }

    /// The last value under `key` in the footer.
    pub fn key_value(&self, key: &str) -> Option<&str> {
        self.groups.key_value(key)
    }

    /// The rows of the whole file, in order.
    pub fn batches(&self) -> Result<Batches> {
        self.row_group_batches((0..self.batch_rows.len()).collect())
    }

    /// The rows of some row groups, in the order given. No batch has rows of two of them.
    ///
    /// # Errors
    /// `Internal` for a row group that is not there.
    pub fn row_group_batches(&self, row_groups: Vec<usize>) -> Result<Batches> {
        let checked = row_groups.into_iter().map(|index| match self.batch_rows.get(index) {
            Some(rows) => Ok((index, *rows)),
            None => Err(Error::new(Kind::Internal, "read a row group")
                .because(format!("there is no row group {index}"))),
        });
        let checked = checked.collect::<Result<_>>()?;
        Ok(self.groups.batches_of(Extent::whole(self.bytes.clone()), checked))
    }
}
