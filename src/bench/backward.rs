//! Parquet to BatchWriteRow bodies.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use md5::{Digest, Md5};

use super::{Measured, Stage, Turns};
use crate::columnar::{ColumnPlan, EncodedRows, RowEncoder, RowSelection};
use crate::error::{Error, Kind, Result};
use crate::parquet_file::{FileReader, ReadLimits};
use crate::tablestore::{BatchFiller, BatchTarget, WriteBatch, md5_of_each};

/// Bytes of encoded rows between two visits to the batch filler, as in a restore.
const PIECE: usize = 4 << 20;

/// Full batches that are hashed together, as in a restore.
const TOGETHER: usize = 32;

/// Measures every stage from a Parquet `file` of `plan` to bodies that only lack a signature.
///
/// # Errors
/// None for a file that [`forward`](super::forward()) made.
pub fn backward(plan: &Arc<ColumnPlan>, file: &Bytes, rounds: usize) -> Result<Measured> {
    let restore = Restore { plan, file };
    let (mut batches, mut bodies) = (Vec::new(), Vec::new());
    restore.each_batch(|batch| {
        batches.push(batch);
        Ok(())
    })?;
    restore.whole(|some| bodies.extend(some))?;
    let bodies: Vec<&[u8]> = bodies.iter().map(WriteBatch::body).collect();
    Ok(Turns::default()
        .stage(Stage::ReadParquet, || {
            restore.each_batch(|batch| {
                black_box(batch);
                Ok(())
            })
        })
        .stage(Stage::EncodeRows, || restore.encode_rows(&batches))
        .stage(Stage::ReadAndEncodeRows, || restore.read_and_encode_rows())
        .stage(Stage::Md5, || bodies.chunks(TOGETHER).for_each(|bodies| _ = black_box(md5_of_each(bodies))))
        .stage(Stage::Md5Crate, || bodies.iter().for_each(|body| _ = black_box(Md5::digest(body))))
        .stage(Stage::Restore, || restore.whole(|bodies| drop(black_box(bodies))))
        .run(rounds))
}

struct Restore<'a> {
    plan: &'a Arc<ColumnPlan>,
    file: &'a Bytes,
}

impl Restore<'_> {
    fn each_batch(&self, mut visit: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let file = FileReader::open(self.file.clone(), self.plan, &ReadLimits::default())?;
        file.batches()?.try_for_each(|batch| visit(batch?))
    }

    fn encoder(&self) -> Result<RowEncoder> {
        RowEncoder::new(self.plan.clone(), RowSelection::default())
    }

    fn encode_rows(&self, batches: &[RecordBatch]) -> Result<()> {
        let (encoder, mut into) = (self.encoder()?, EncodedRows::default());
        let mut seen = |rows: &EncodedRows| _ = black_box(rows);
        batches.iter().try_for_each(|batch| each_piece(&encoder, batch, &mut into, &mut seen))
    }

    fn read_and_encode_rows(&self) -> Result<()> {
        let (encoder, mut into) = (self.encoder()?, EncodedRows::default());
        let mut seen = |rows: &EncodedRows| _ = black_box(rows);
        self.each_batch(|batch| each_piece(&encoder, &batch, &mut into, &mut seen))
    }

    /// Shows the bodies; the program sends them and forgets them.
    fn whole(&self, mut visit: impl FnMut(Vec<WriteBatch>)) -> Result<()> {
        let (encoder, mut into) = (self.encoder()?, EncodedRows::default());
        let mut filler = BatchFiller::new(BatchTarget::put("table"));
        let mut number = 0;
        self.each_batch(|batch| {
            each_piece(&encoder, &batch, &mut into, &mut |rows| {
                for row in rows.iter() {
                    filler.push(row.bytes, row.data_size, number);
                    number += 1;
                }
                if filler.full() >= TOGETHER {
                    visit(filler.take_full());
                }
            })
        })?;
        visit(filler.finish());
        match number {
            0 => Err(Error::new(Kind::Internal, "measure a file that has rows")),
            _ => Ok(()),
        }
    }
}

fn each_piece(
    encoder: &RowEncoder,
    batch: &RecordBatch,
    into: &mut EncodedRows,
    visit: &mut impl FnMut(&EncodedRows),
) -> Result<()> {
    let mut rows = encoder.batch(batch)?;
    while rows.encode(PIECE, into)? {
        visit(into);
    }
    Ok(())
}
