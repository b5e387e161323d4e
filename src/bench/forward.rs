//! Pages to Parquet.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::default_writer::{default_properties, same_properties, write};
use super::{Measured, Pages, Stage, Turns};
use crate::columnar::{BatchBuilder, ColumnPlan};
use crate::error::{Error, Kind, Result};
use crate::model::Row;
use crate::parquet_file::{FileEncoder, WriterSettings};
use crate::plainbuffer::{CellSink, DecodeError, ExpectedCells, Payload, RowReader};

/// A worker's share of the default memory budget: its row groups, and the batches that both writers are given. Batches of a
/// backup have [`ColumnPlan::batch_bytes`].
pub(super) const BATCH_BYTES: usize = (512 << 20) / 100 * 45 / 8 / 5;

/// What was measured of the way into a vault, and what came out.
pub struct Forward {
    /// CPU times.
    pub measured: Measured,
    /// Bytes of the file that the pipeline makes, at zstd 1, 3 and 6.
    pub bytes: [usize; 3],
    /// Bytes of the file that `ArrowWriter` makes by its defaults, at zstd 1.
    pub default_bytes: usize,
    /// The plan that was made for the set.
    pub plan: Arc<ColumnPlan>,
    /// The file at zstd 1.
    pub file: Bytes,
}

/// Measures every stage from the pages of a set to Parquet.
///
/// # Errors
/// None for pages that [`Pages`] made.
pub fn forward(pages: &Pages, rounds: usize) -> Result<Forward> {
    let settings =
        |zstd_level| WriterSettings { zstd_level, row_group_bytes: BATCH_BYTES, ..WriterSettings::default() };
    let [zstd_1, zstd_3, zstd_6] = [1, 3, 6].map(settings);
    let plan = Arc::new(pages.plan(&zstd_1)?);
    let mut batches = Vec::new();
    pages.each_batch(BatchBuilder::unsummed(plan.clone()), BATCH_BYTES, |batch| batches.push(batch))?;
    let (same, defaults) = (same_properties(&plan, &zstd_1)?, default_properties(1)?);
    let (plan_, batches_) = (&plan, &batches);
    let expected = BatchBuilder::unsummed(plan.clone()).expected();
    let unchecked = (*expected).clone().without_checksums();
    let mut copy = Vec::new();
    let measured = Turns::default()
        .stage(Stage::Copy, || {
            for body in &pages.bodies {
                copy.clear();
                copy.extend_from_slice(black_box(body));
                black_box(&copy);
            }
        })
        .stage(Stage::WalkUnchecked, || walk(pages, &unchecked))
        .stage(Stage::Walk, || walk(pages, &expected))
        .unmeasured(|| decode(pages, BatchBuilder::unsummed(plan_.clone()), plan_.batch_bytes()))
        .stage(Stage::DecodeUnchecked, || decode_unchecked(pages, &unchecked, plan_))
        .stage(Stage::Decode, || decode(pages, BatchBuilder::unsummed(plan_.clone()), plan_.batch_bytes()))
        .stage(Stage::DecodeAndSum, || decode(pages, BatchBuilder::new(plan_.clone()), plan_.batch_bytes()))
        .stage(Stage::Encode, || encode(plan_, batches_, &zstd_1))
        .stage(Stage::EncodeZstd3, || encode(plan_, batches_, &zstd_3))
        .stage(Stage::EncodeZstd6, || encode(plan_, batches_, &zstd_6))
        .stage(Stage::EncodeSame, || write(batches_, &same))
        .stage(Stage::EncodeDefault, || write(batches_, &defaults))
        // As in a backup and in the programs of others, which do nothing else in between.
        .unmeasured(|| pipeline(pages, plan_, &zstd_1))
        .stage(Stage::Pipeline, || pipeline(pages, plan_, &zstd_1))
        .run(rounds);
    let size = |settings| Ok::<_, Error>(encode(&plan, &batches, settings)?.iter().map(Bytes::len).sum());
    Ok(Forward {
        measured,
        bytes: [size(&zstd_1)?, size(&zstd_3)?, size(&zstd_6)?],
        default_bytes: write(&batches, &defaults)?.len(),
        file: pipeline(pages, &plan, &zstd_1)?.concat().into(),
        plan,
    })
}

/// Reads every cell of `pages` and keeps none: how many there are.
///
/// # Errors
/// None for pages that [`Pages`] made.
pub fn walk(pages: &Pages, expected: &ExpectedCells) -> Result<usize> {
    let mut cells = Seen(0);
    for body in &pages.bodies {
        let mut reader = RowReader::new(body).map_err(bad_page)?;
        let mut row = Row::default();
        while reader.next_row_expecting(expected, &mut row, &mut cells).map_err(bad_page)? {
            cells.0 += row.cells.len();
        }
    }
    Ok(cells.0)
}

/// Counts cells.
struct Seen(usize);

impl<'a> CellSink<'a> for Seen {
    fn clear(&mut self) {}

    #[inline(always)]
    fn put(&mut self, index: usize, payload: Payload<'a>, timestamp: i64) {
        self.0 += 1;
        black_box((index, payload, timestamp));
    }

    fn end(&mut self, _: usize, _: usize, _: i64) {}
}

fn decode(pages: &Pages, rows: BatchBuilder, batch_bytes: usize) -> Result<()> {
    pages.each_batch(rows, batch_bytes, |batch| _ = black_box(batch))
}

fn decode_unchecked(pages: &Pages, unchecked: &ExpectedCells, plan: &Arc<ColumnPlan>) -> Result<()> {
    let rows = BatchBuilder::unsummed(plan.clone());
    pages.each_batch_expecting(unchecked, rows, plan.batch_bytes(), |batch| _ = black_box(batch))
}

fn encode(plan: &ColumnPlan, batches: &[RecordBatch], settings: &WriterSettings) -> Result<Vec<Bytes>> {
    let mut file = FileEncoder::new(plan, settings, vec![])?;
    let mut bytes = Vec::new();
    for batch in batches {
        file.write(batch)?;
        bytes.extend(file.take_bytes());
    }
    bytes.extend(file.finish(vec![])?.rest);
    Ok(bytes)
}

/// What the encoder of a backup does with the pages of one file, the check of the key order included.
fn pipeline(pages: &Pages, plan: &Arc<ColumnPlan>, settings: &WriterSettings) -> Result<Vec<Bytes>> {
    let mut rows = BatchBuilder::new(plan.clone());
    let mut file = FileEncoder::new(plan, settings, vec![])?;
    let mut bytes = Vec::new();
    for body in &pages.bodies {
        let mut reader = RowReader::new(body).map_err(bad_page)?;
        let (mut row, mut previous) = (Row::default(), Row::default());
        let expected = rows.expected();
        while reader.next_row_expecting(&expected, &mut row, rows.placed_cells()).map_err(bad_page)? {
            if !row.is_after(&previous) {
                return Err(Error::new(Kind::Internal, "measure pages in ascending key order"));
            }
            rows.append_read(&row)?;
            if rows.bytes() >= plan.batch_bytes() {
                file.write(&rows.finish()?.record_batch)?;
            }
            std::mem::swap(&mut row, &mut previous);
        }
        bytes.extend(file.take_bytes());
    }
    file.write(&rows.finish()?.record_batch)?;
    bytes.extend(file.finish(vec![])?.rest);
    Ok(bytes)
}

fn bad_page(error: DecodeError) -> Error {
    Error::new(Kind::Internal, "read a page").source(error)
}
