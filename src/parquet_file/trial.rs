//! Encodings chosen by weighing a sample.

use std::io;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use parquet::arrow::ArrowWriter;

use super::settings::{WriterSettings, candidates};
use crate::columnar::{ColumnPlan, Encoding, PlannedColumn};
use crate::error::{Context, Kind, Result};

/// A slower encoding has to save at least one byte in so many.
const WORTHWHILE_SHARE: i64 = 33;

/// Fewer values than this say nothing.
const MIN_VALUES: usize = 256;

/// The same plan with, for each column, the encoding that makes the sample smallest after compression.
///
/// `batches` are of `plan` and should hold 20,000 rows or more in primary key order: 5,000 gave files a quarter
/// larger. Costs about three encodings of the sample. Columns with hardly any values keep what the plan has.
pub fn choose_encodings(
    batches: &[RecordBatch],
    plan: &ColumnPlan,
    settings: &WriterSettings,
) -> Result<ColumnPlan> {
    let mut chosen = Vec::with_capacity(plan.columns().len());
    for (index, column) in plan.columns().iter().enumerate() {
        let values: usize = batches
            .iter()
            .filter_map(|batch| batch.columns().get(index))
            .map(|array| array.len() - array.null_count())
            .sum();
        let mut best: Option<(i64, Encoding)> = None;
        if values >= MIN_VALUES {
            let projected = batches
                .iter()
                .map(|batch| batch.project(&[index]))
                .collect::<std::result::Result<Vec<_>, _>>()
                .doing(Kind::Internal, "project a sample")?;
            for encoding in candidates(column) {
                let size = weigh(&projected, column, *encoding, settings)?;
                if best.is_none_or(|(least, _)| size < least - least / WORTHWHILE_SHARE) {
                    best = Some((size, *encoding));
                }
            }
        }
        chosen.push(best.map_or(column.encoding, |(_, encoding)| encoding));
    }
    Ok(plan.with_encodings(|index, column| chosen.get(index).copied().unwrap_or(column.encoding)))
}

/// Compressed bytes of a column in one encoding.
fn weigh(
    batches: &[RecordBatch],
    column: &PlannedColumn,
    encoding: Encoding,
    settings: &WriterSettings,
) -> Result<i64> {
    let Some(first) = batches.first() else { return Ok(0) };
    let options = settings.trial_options(column, encoding)?;
    let weigh = || {
        let mut writer =
            ArrowWriter::try_new_with_options(io::sink(), Arc::clone(first.schema_ref()), options)?;
        for batch in batches {
            writer.write(batch)?;
        }
        let metadata = writer.close()?;
        Ok(metadata.row_groups().iter().map(|group| group.compressed_size()).sum())
    };
    let size: std::result::Result<i64, parquet::errors::ParquetError> = weigh();
    size.doing(Kind::Internal, "try an encoding")
}
