//! Encodings chosen by weighing a sample.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};

use super::column::{ColumnChunk, PageCompressor};
use super::settings::{WriterSettings, candidates};
use crate::columnar::{ColumnPlan, Encoding, PlannedColumn, Role, arrow_schema};
use crate::error::{Context, Kind, Result};

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
    let compression = settings.compression()?;
    // Below what size a slower encoding is worth it.
    let worth = |size: i64| size - size.checked_div(settings.profile.worthwhile_share()).unwrap_or(0);
    let doing = "try an encoding";
    let mut compressor = PageCompressor::new(settings.zstd_level).doing(Kind::Internal, doing)?;
    let leaves = ArrowSchemaConverter::new().convert(&arrow_schema(plan)).doing(Kind::Internal, doing)?;
    for (index, column) in plan.columns().iter().enumerate() {
        let values: usize = batches
            .iter()
            .filter_map(|batch| batch.columns().get(index))
            .map(|array| array.len() - array.null_count())
            .sum();
        let mut best: Option<(i64, Encoding)> = None;
        if values >= MIN_VALUES {
            for encoding in candidates(column, settings.profile) {
                let mut chunk = ColumnChunk::new(leaves.column(index), encoding, settings, compression);
                let mut weigh = || {
                    for array in batches.iter().filter_map(|batch| batch.columns().get(index)) {
                        chunk.write(array, &mut compressor)?;
                    }
                    chunk.finish_size(&mut compressor)
                };
                let size = weigh().doing(Kind::Internal, doing)?;
                if best.is_none_or(|(least, _)| size < worth(least)) {
                    best = Some((size, encoding));
                }
            }
        }
        if column.role == Role::Overflow && values >= MIN_VALUES {
            let [without, with] = [Encoding::Plain, Encoding::Dictionary].map(|encoding| {
                overflow_size(batches, index, &PlannedColumn { encoding, ..column.clone() }, settings)
            });
            let (without, with) = (without?, with?);
            best = Some(if with < worth(without) {
                (with, Encoding::Dictionary)
            } else {
                (without, Encoding::Plain)
            });
        }
        chosen.push(best.map_or(column.encoding, |(_, encoding)| encoding));
    }
    Ok(plan.with_encodings(|index, column| chosen.get(index).copied().unwrap_or(column.encoding)))
}

/// Bytes of a file that has nothing but the `_overflow` of these batches.
fn overflow_size(
    batches: &[RecordBatch],
    index: usize,
    column: &PlannedColumn,
    settings: &WriterSettings,
) -> Result<i64> {
    let doing = "try an encoding";
    let Some(first) = batches.first() else { return Ok(0) };
    let schema = Arc::new(first.schema_ref().project(&[index]).doing(Kind::Internal, doing)?);
    let properties = settings.overflow_properties(column)?;
    let mut file = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).doing(Kind::Internal, doing)?;
    for batch in batches {
        let overflow = batch.project(&[index]).doing(Kind::Internal, doing)?;
        file.write(&overflow).doing(Kind::Internal, doing)?;
    }
    Ok(file.into_inner().doing(Kind::Internal, doing)?.len() as i64)
}
