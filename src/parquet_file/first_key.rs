//! The first key of a row group, without the rest of it.

use std::ops::Range;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::RowGroups;
use super::batches::{no_panic, refused};
use super::extent::Extent;
use super::page_walk;
use crate::columnar::{ColumnPlan, KeyColumns};
use crate::error::Result;
use crate::model::PrimaryKey;

impl RowGroups {
    /// The bytes of the file that the first `keys` columns of a row group take.
    ///
    /// # Errors
    /// As [`RowGroups::byte_range`].
    pub fn key_bytes(&self, index: usize, keys: usize) -> Result<Range<u64>> {
        self.columns_range(index, keys)
    }

    /// The key of the first row, from the `bytes` of [`RowGroups::key_bytes`]; `None` without rows. Decodes the first page of
    /// each key column.
    ///
    /// # Errors
    /// `Corrupt` if the pages of the key columns contradict the footer or claim more than the limits.
    pub fn first_key(&self, index: usize, bytes: Bytes, plan: &ColumnPlan) -> Result<Option<PrimaryKey>> {
        let keys = plan.key_count();
        let start = self.key_bytes(index, keys)?.start;
        let extent = Extent { start, bytes, file_bytes: self.file_bytes };
        let metadata = self.metadata.metadata();
        let walk = || page_walk::check_columns(&extent, metadata, index, keys, &self.limits);
        let claims = no_panic(|| Ok(walk()))?.map_err(refused)?;
        claims.batch_rows(1, self.limits.decode_bytes).map_err(|bytes| {
            refused(format!("decoding a key of row group {index} may take {bytes} bytes"))
        })?;
        let schema = metadata.file_metadata().schema_descr();
        let batch = no_panic(|| {
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(extent.clone(), self.metadata.clone())
                    .with_projection(ProjectionMask::leaves(schema, 0..keys))
                    .with_row_groups(vec![index])
                    .with_batch_size(1)
                    .with_limit(1);
            builder.build()?.next().transpose().map_err(ParquetError::from)
        })?;
        let Some(batch) = batch.filter(|batch| batch.num_rows() > 0) else { return Ok(None) };
        Ok(Some(KeyColumns::new(&batch, plan)?.key(0)))
    }
}
