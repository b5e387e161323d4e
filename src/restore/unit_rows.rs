//! The CPU side of a row group: record batches in, filled requests out. Never waits.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::selection::Selection;
use super::source::UnitBatchSource;
use crate::columnar::{BatchRows, ColumnPlan, EncodedRows, KeyColumns, RowEncoder, RowsReader};
use crate::error::Context;
use crate::fold::{Ambiguous, RecordPart};
use crate::model::{KeyRange, PrimaryKey, Row, RowHasher};
use crate::tablestore::{BatchFiller, BatchTarget, WriteBatch};
use crate::{Kind, Result};

/// Attribute cells of one row change, at most (service limit; asserted by the Java SDK's tests, as the next).
pub(super) const MOST_CELLS: usize = 1_024;

/// Bytes of one row change by the data-size rule, at most.
pub(super) const LARGEST_ROW: usize = 4_194_304;

/// Which requests rows become.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    /// Rows as they are.
    pub rows: BatchTarget,
    /// Rows without a cell, where they need another request.
    pub keys_alone: Option<BatchTarget>,
}

/// A row that is too large for one request.
#[derive(Debug)]
pub(super) struct WideRow {
    /// Its place in the row group, from 0.
    pub number: u64,
    /// The whole row, as PlainBuffer.
    pub bytes: Vec<u8>,
}

/// What one step of encoding gave.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub batches: Vec<WriteBatch>,
    pub wide: Vec<WideRow>,
    /// Nothing of the record batch is left.
    pub batch_ended: bool,
}

impl Step {
    /// Bytes that its requests and rows take.
    pub(super) fn bytes(&self) -> u64 {
        let batches = self.batches.iter().map(|batch| batch.body().len() as u64);
        batches.sum::<u64>() + self.wide.iter().map(|row| row.bytes.len() as u64).sum::<u64>()
    }
}

/// The rows of a row group on their way into requests.
pub(super) struct UnitRows {
    batches: UnitBatchSource,
    plan: Arc<ColumnPlan>,
    selection: Arc<Selection>,
    encoder: RowEncoder,
    /// The keys that are wanted, where the row group may have others.
    range: Option<KeyRange>,
    /// The rows that are wanted, by their place in the row group.
    only: Option<Arc<BTreeSet<u64>>>,
    rows: BatchFiller,
    keys_alone: Option<BatchFiller>,
    /// Rows of the record batches so far.
    rows_before: u64,
    current: Option<Current>,
    scratch: EncodedRows,
}

/// The record batch that is being encoded.
struct Current {
    batch: RecordBatch,
    /// Place in the row group of each of its rows.
    numbers: Vec<u64>,
    encoding: Option<BatchRows>,
    encoded: usize,
}

/// First and last key of the rows that wait.
#[derive(Debug, Clone)]
pub(super) struct KeySpan {
    pub first: PrimaryKey,
    pub last: PrimaryKey,
}

impl UnitRows {
    pub(super) fn new(
        batches: UnitBatchSource,
        plan: Arc<ColumnPlan>,
        selection: Arc<Selection>,
        requests: Requests,
        range: Option<KeyRange>,
        only: Option<Arc<BTreeSet<u64>>>,
    ) -> Result<UnitRows> {
        Ok(UnitRows {
            batches,
            encoder: RowEncoder::new(plan.clone(), selection.for_encoder())?,
            plan,
            selection,
            range,
            only,
            rows: BatchFiller::new(requests.rows),
            keys_alone: requests.keys_alone.map(BatchFiller::new),
            rows_before: 0,
            current: None,
            scratch: EncodedRows::default(),
        })
    }

    /// The keys whose Stream records are wanted before more rows can be loaded.
    pub(super) fn wants(&self) -> Option<KeyRange> {
        self.batches.wants()
    }

    /// Takes the next Stream records.
    pub(super) fn feed(&mut self, part: &RecordPart) {
        self.batches.feed(part);
    }

    /// Records that counted, and rows that the service leaves open.
    pub(super) fn folded(&self) -> (u64, Ambiguous) {
        self.batches.folded()
    }

    /// Decodes record batches up to the first with a row that is wanted; `None` at the end of the row group, or where records are wanted.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for a batch that does not decode.
    pub(super) fn load(&mut self) -> Result<Option<KeySpan>> {
        self.current = None;
        for batch in self.batches.by_ref() {
            let batch = batch?;
            let first = self.rows_before;
            self.rows_before += batch.num_rows() as u64;
            let mut wanted = 0..batch.num_rows();
            if let Some(range) = &self.range {
                let keys = KeyColumns::new(&batch, &self.plan)?;
                let below = |bound: &PrimaryKey| keys.first_from(0..batch.num_rows(), bound);
                wanted = below(&range.start)..below(&range.end);
            }
            if wanted.is_empty() {
                continue;
            }
            let mut current = Current {
                numbers: wanted.clone().map(|row| first + row as u64).collect(),
                batch: batch.slice(wanted.start, wanted.len()),
                encoding: None,
                encoded: 0,
            };
            if let Some(only) = &self.only {
                let mask: Vec<_> = current.numbers.iter().map(|number| only.contains(number)).collect();
                current.keep(mask)?;
            }
            let rows = current.batch.num_rows();
            if rows == 0 {
                continue;
            }
            let keys = KeyColumns::new(&current.batch, &self.plan)?;
            self.current = Some(current);
            return Ok(Some(KeySpan { first: keys.key(0), last: keys.key(rows - 1) }));
        }
        Ok(None)
    }

    /// Drops the rows that wait and that the target has, going by their hashes. Returns how many.
    pub(super) fn drop_present(&mut self, present: &HashSet<u128>) -> Result<u64> {
        let Some(current) = &mut self.current else { return Ok(0) };
        let mut rows = RowsReader::new(&current.batch, &self.plan)?;
        let (mut row, mut hasher) = (Row::default(), RowHasher::default());
        let mut mask = Vec::with_capacity(current.numbers.len());
        while rows.read(&mut row)? {
            mask.push(!present.contains(&self.selection.hash(&mut hasher, &row)));
        }
        let dropped = mask.iter().filter(|keep| !**keep).count();
        current.keep(mask)?;
        Ok(dropped as u64)
    }

    /// Encodes about `max_bytes` of the rows that wait.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for a cell that makes no sense.
    pub(super) fn encode(&mut self, max_bytes: usize) -> Result<Step> {
        let mut step = Step::default();
        let Some(current) = &mut self.current else { return Ok(Step { batch_ended: true, ..step }) };
        if current.encoding.is_none() {
            current.encoding = Some(self.encoder.batch(&current.batch)?);
        }
        if let Some(rows) = &mut current.encoding {
            step.batch_ended = !rows.encode(max_bytes, &mut self.scratch)? || rows.remaining() == 0;
            let numbers = current.numbers.get(current.encoded..).unwrap_or_default();
            for (row, number) in self.scratch.iter().zip(numbers) {
                if row.cells > MOST_CELLS || row.data_size > LARGEST_ROW {
                    step.wide.push(WideRow { number: *number, bytes: row.bytes.to_vec() });
                    continue;
                }
                match &mut self.keys_alone {
                    Some(filler) if row.cells == 0 => filler.push(row.bytes, row.data_size, *number),
                    _ => self.rows.push(row.bytes, row.data_size, *number),
                }
            }
            current.encoded += self.scratch.len();
        }
        step.batches = self.rows.take_full();
        step.batches.extend(self.keys_alone.iter_mut().flat_map(BatchFiller::take_full));
        Ok(step)
    }

    /// The keys of the record batch that was loaded last, by place in the row group.
    pub(super) fn keys(&self) -> Result<Vec<(u64, PrimaryKey)>> {
        let Some(current) = &self.current else { return Ok(Vec::new()) };
        let mut rows = RowsReader::new(&current.batch, &self.plan)?;
        let (mut row, mut keys) = (Row::default(), Vec::with_capacity(current.numbers.len()));
        while rows.read(&mut row)? {
            let number = current.numbers.get(keys.len()).copied();
            keys.extend(number.zip(PrimaryKey::from_row(&row.key)));
        }
        Ok(keys)
    }

    /// The requests that are not full.
    pub(super) fn finish(self) -> Step {
        let mut batches = self.rows.finish();
        batches.extend(self.keys_alone.into_iter().flat_map(BatchFiller::finish));
        Step { batches, ..Step::default() }
    }
}

impl Current {
    fn keep(&mut self, mask: Vec<bool>) -> Result<()> {
        if mask.iter().all(|keep| *keep) {
            return Ok(());
        }
        let mut kept = mask.iter();
        self.numbers.retain(|_| kept.next().copied().unwrap_or(false));
        self.batch = filter_record_batch(&self.batch, &BooleanArray::from(mask))
            .doing(Kind::Internal, "leave out rows")?;
        Ok(())
    }
}
