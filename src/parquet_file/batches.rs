//! Record batches out of row groups whose bytes are in memory.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::extent::Extent;
use crate::error::{Context, Error, Kind, Result};

/// Record batches of a file; ends after the first error.
pub struct Batches {
    pub(super) extent: Extent,
    pub(super) metadata: ArrowReaderMetadata,
    /// Row groups to come, and how many rows a batch of each has.
    pub(super) groups: VecDeque<(usize, usize)>,
    pub(super) reader: Option<ParquetRecordBatchReader>,
}

impl Batches {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(reader) = &mut self.reader {
                match no_panic(|| reader.next().transpose().map_err(ParquetError::from))? {
                    Some(batch) => return Ok(Some(batch)),
                    None => self.reader = None,
                }
            }
            let Some((index, batch_rows)) = self.groups.pop_front() else { return Ok(None) };
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.extent.clone(),
                self.metadata.clone(),
            )
            .with_batch_size(batch_rows)
            .with_row_groups(vec![index]);
            self.reader = Some(no_panic(|| builder.build())?);
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.next_batch();
        if batch.is_err() {
            self.groups.clear();
            self.reader = None;
        }
        batch.transpose()
    }
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
