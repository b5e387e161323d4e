//! Stream records to a file of records.

use std::hint::black_box;
use std::sync::Arc;

use super::forward::BATCH_BYTES;
use super::{Measured, Pages, Stage, Turns};
use crate::columnar::{ColumnPlan, RecordBatchBuilder};
use crate::error::{Context, Kind, Result};
use crate::model::{RecordPlace, RecordType, Row, SequenceInfo};
use crate::parquet_file::{FileEncoder, WriterSettings};
use crate::plainbuffer::{decode_record, encode_row};

const SHARD: &str = "00000000-0000-0000-0000-000000000000";

/// Measures every stage from records as GetStreamRecord sends them, each an update of all cells of a row of `pages`, to
/// Parquet.
///
/// # Errors
/// None for pages that [`Pages`] made, and their plan.
pub fn records(pages: &Pages, plan: &Arc<ColumnPlan>, rounds: usize) -> Result<Measured> {
    let mut records = Vec::with_capacity(pages.rows);
    pages.each_row(|row| {
        let timestamp_us = row.cells.first().and_then(|cell| cell.timestamp).unwrap_or_default() * 1_000;
        let sequence = Some(SequenceInfo { epoch: 0, timestamp_us, row_index: 0 });
        records.push(encode_row(&Row { sequence, ..row.clone() }));
    })?;
    let mut batches = Vec::new();
    each_batch(&records, plan, |batch| {
        batches.push(batch.clone());
        Ok(())
    })?;
    let settings = WriterSettings { row_group_rows: 1 << 14, ..WriterSettings::default() };
    Ok(Turns::default()
        .stage(Stage::DecodeRecords, || {
            each_batch(&records, plan, |batch| {
                black_box(batch);
                Ok(())
            })
        })
        .stage(Stage::EncodeRecords, || {
            let mut file = FileEncoder::of_records(plan, &settings, vec![])?;
            batches.iter().try_for_each(|batch| file.write(batch))?;
            file.finish(vec![])
        })
        .run(rounds))
}

fn each_batch(
    records: &[Vec<u8>],
    plan: &Arc<ColumnPlan>,
    mut visit: impl FnMut(&arrow::array::RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut builder = RecordBatchBuilder::new(plan.clone());
    for (ordinal, bytes) in (0..).zip(records) {
        let record = decode_record(RecordType::Update, bytes).doing(Kind::Internal, "read a record")?;
        let place = RecordPlace { rank: 0, ordinal, clock_us: record.sequence.timestamp_us };
        builder.append(&record, place, SHARD)?;
        if builder.bytes() >= BATCH_BYTES {
            visit(&builder.finish()?.0)?;
        }
    }
    visit(&builder.finish()?.0)
}
