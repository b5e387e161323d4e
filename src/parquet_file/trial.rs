//! Encodings chosen by weighing a sample.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::schema::types::ColumnDescPtr;

use super::column::{ColumnChunk, PageCompressor};
use super::settings::{WriterSettings, candidates};
use crate::columnar::{ColumnPlan, Encoding, PlannedColumn, Role, arrow_schema};
use crate::error::{Context, Kind, Result};

const DOING: &str = "try an encoding";

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
    let mut compressor = PageCompressor::new(settings).doing(Kind::Internal, DOING)?;
    let leaves = ArrowSchemaConverter::new().convert(&arrow_schema(plan)).doing(Kind::Internal, DOING)?;
    for (index, column) in plan.columns().iter().enumerate() {
        let arrays: Vec<_> = batches.iter().filter_map(|batch| batch.columns().get(index)).cloned().collect();
        let best = match (column.role == Role::Overflow, values_in(&arrays) >= MIN_VALUES) {
            (_, false) => None,
            (false, true) => {
                best_encoding(column, &arrays, &leaves.column(index), settings, &mut compressor)?
            }
            (true, true) => Some(overflow_encoding(batches, index, column, settings)?),
        };
        chosen.push(best.unwrap_or(column.encoding));
    }
    Ok(plan.with_encodings(|index, column| chosen.get(index).copied().unwrap_or(column.encoding)))
}

/// The encoding that makes these values of a flat column smallest, or nearly so and faster; `None` where there is no choice.
pub(super) fn best_encoding(
    column: &PlannedColumn,
    arrays: &[ArrayRef],
    leaf: &ColumnDescPtr,
    settings: &WriterSettings,
    compressor: &mut PageCompressor,
) -> Result<Option<Encoding>> {
    let compression = settings.compression()?;
    let values = values_in(arrays);
    let rows = arrays.iter().map(|array| array.len()).sum();
    let mut best: Option<(i64, Encoding)> = None;
    for encoding in candidates(column, settings.profile) {
        let mut chunk = ColumnChunk::new(leaf.clone(), encoding, settings, compression);
        let mut weigh = || {
            arrays.iter().try_for_each(|array| chunk.write(array, rows, compressor))?;
            chunk.finish_size(compressor)
        };
        let size = weigh().doing(Kind::Internal, DOING)?;
        if best.is_none_or(|(least, _)| size < worthwhile(least, values, settings)) {
            best = Some((size, encoding));
        }
    }
    Ok(best.map(|(_, encoding)| encoding))
}

/// Whether the leaves of `_overflow` are smaller with dictionaries.
fn overflow_encoding(
    batches: &[RecordBatch],
    index: usize,
    column: &PlannedColumn,
    settings: &WriterSettings,
) -> Result<Encoding> {
    let size =
        |encoding| overflow_size(batches, index, &PlannedColumn { encoding, ..column.clone() }, settings);
    let (without, with) = (size(Encoding::Plain)?, size(Encoding::Dictionary)?);
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    Ok(if with < worthwhile(without, rows, settings) { Encoding::Dictionary } else { Encoding::Plain })
}

/// Below what size of so many values a slower encoding is worth it.
fn worthwhile(size: i64, values: usize, settings: &WriterSettings) -> i64 {
    size - settings.profile.worthwhile_saving(size, values)
}

fn values_in(arrays: &[ArrayRef]) -> usize {
    arrays.iter().map(|array| array.len() - array.null_count()).sum()
}

/// Bytes of a file that has nothing but the `_overflow` of these batches.
fn overflow_size(
    batches: &[RecordBatch],
    index: usize,
    column: &PlannedColumn,
    settings: &WriterSettings,
) -> Result<i64> {
    let Some(first) = batches.first() else { return Ok(0) };
    let schema = Arc::new(first.schema_ref().project(&[index]).doing(Kind::Internal, DOING)?);
    let properties = settings.overflow_properties(column)?;
    let mut file = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).doing(Kind::Internal, DOING)?;
    for batch in batches {
        let overflow = batch.project(&[index]).doing(Kind::Internal, DOING)?;
        file.write(&overflow).doing(Kind::Internal, DOING)?;
    }
    Ok(file.into_inner().doing(Kind::Internal, DOING)?.len() as i64)
}
