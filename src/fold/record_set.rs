//! Stream records of an interval of keys, in memory and in order.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};

use crate::columnar::{ColumnPlan, KeyColumns, RecordsReader, SplitBatch};
use crate::error::Context;
use crate::model::{KeyRange, PrimaryKey};
use crate::{Error, Kind, Result};

/// Batches are put together up to so many records: of small files there may be thousands.
const RECORDS_TOGETHER: usize = 1 << 16;

/// Bytes beside the arrays that a record takes: its place in the order.
const ORDER_BYTES: u64 = size_of::<Spot>() as u64;

/// Records in the order of (primary key, rank, ordinal).
#[derive(Debug, Default)]
pub struct RecordSet {
    parts: Vec<Part>,
    order: Vec<Spot>,
}

/// Some of the records, in any order.
#[derive(Debug)]
struct Part {
    plan: Arc<ColumnPlan>,
    batch: RecordBatch,
    split: SplitBatch,
    keys: KeyColumns,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
struct Spot {
    part: u32,
    row: u32,
}

impl RecordSet {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The places in the order whose keys are inside `range`.
    pub fn span(&self, range: &KeyRange) -> Range<usize> {
        let first = |bound: &PrimaryKey| self.order.partition_point(|spot| self.is_below(*spot, bound));
        first(&range.start)..first(&range.end)
    }

    /// The part and the row of the record at a place.
    pub(super) fn at(&self, place: usize) -> Option<(usize, usize)> {
        self.order.get(place).map(|spot| (spot.part as usize, spot.row as usize))
    }

    pub(super) fn keys(&self, part: usize) -> &KeyColumns {
        &self.parts[part].keys
    }

    pub(super) fn split(&self, part: usize) -> &SplitBatch {
        &self.parts[part].split
    }

    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn reader(&self, part: usize) -> Result<RecordsReader<'_>> {
        RecordsReader::new(&self.parts[part].split, &self.parts[part].plan)
    }

    fn is_below(&self, spot: Spot, bound: &PrimaryKey) -> bool {
        let keys = &self.parts[spot.part as usize].keys;
        keys.compare_to(spot.row as usize, bound) == Ordering::Less
    }
}

/// Collects the records of an interval, and gives up its end when they become too many.
#[derive(Debug)]
pub struct RecordSetBuilder {
    range: KeyRange,
    most_bytes: u64,
    batches: Vec<(Arc<ColumnPlan>, RecordBatch)>,
    /// Small ones that are put together, all of one plan.
    waiting: Vec<(Arc<ColumnPlan>, RecordBatch)>,
    waiting_records: usize,
    bytes: u64,
}

impl RecordSetBuilder {
    /// For the records inside `range`, as many of them as fit into `most_bytes`.
    pub fn new(range: KeyRange, most_bytes: u64) -> RecordSetBuilder {
        RecordSetBuilder {
            range,
            most_bytes,
            batches: Vec::new(),
            waiting: Vec::new(),
            waiting_records: 0,
            bytes: 0,
        }
    }

    /// The interval whose records are kept. Its end moves down when they do not fit.
    pub fn range(&self) -> &KeyRange {
        &self.range
    }

    /// Bytes that the records take, about.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds those records of a batch, which are in key order, that are inside the interval. All of them must be inside `file`, the
    /// interval between the keys that the list names, both included.
    ///
    /// # Errors
    /// `Corrupt` for records that are not of `plan`, whose keys do not ascend, or that are outside of `file`.
    pub fn add(
        &mut self,
        batch: &RecordBatch,
        plan: &Arc<ColumnPlan>,
        file: (&PrimaryKey, &PrimaryKey),
    ) -> Result<()> {
        let keys = KeyColumns::new(batch, plan)?;
        let rows = keys.rows();
        if rows == 0 {
            return Ok(());
        }
        let outside = |row: usize, bound: &PrimaryKey, order| keys.compare_to(row, bound) == order;
        if outside(0, file.0, Ordering::Less) || outside(rows - 1, file.1, Ordering::Greater) {
            return Err(corrupt("a record is outside of the keys that the list names"));
        }
        let split = SplitBatch::new(batch, plan)?;
        for row in 1..rows {
            let is_after = match keys.compare(row - 1, &keys, row) {
                Ordering::Less => true,
                Ordering::Equal => split.place(row - 1)? < split.place(row)?,
                Ordering::Greater => false,
            };
            if !is_after {
                return Err(corrupt("its records are not in order"));
            }
        }
        let inside = keys.first_from(0..rows, &self.range.start)..keys.first_from(0..rows, &self.range.end);
        if inside.is_empty() {
            return Ok(());
        }
        let added = match inside.len() == rows {
            true => batch.clone(),
            // A slice would keep all of the batch in memory.
            false => taken(batch, inside.start as u32..inside.end as u32)?,
        };
        self.bytes += bytes_of(&added);
        if added.num_rows() >= RECORDS_TOGETHER / 2 {
            self.batches.push((plan.clone(), added));
        } else {
            if self.waiting.last().is_some_and(|(other, _)| !Arc::ptr_eq(other, plan) && **other != **plan) {
                self.put_together()?;
            }
            self.waiting_records += added.num_rows();
            self.waiting.push((plan.clone(), added));
            if self.waiting_records >= RECORDS_TOGETHER {
                self.put_together()?;
            }
        }
        match self.bytes > self.most_bytes {
            true => self.cut(),
            false => Ok(()),
        }
    }

    fn put_together(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_records = 0;
        let Some((plan, first)) = waiting.first() else { return Ok(()) };
        let together = concat_batches(&first.schema(), waiting.iter().map(|(_, batch)| batch))
            .doing(Kind::Internal, "put batches of records together")?;
        let before: u64 = waiting.iter().map(|(_, batch)| bytes_of(batch)).sum();
        self.bytes = self.bytes.saturating_sub(before) + bytes_of(&together);
        self.batches.push((plan.clone(), together));
        Ok(())
    }

    /// Keeps the lower half of the keys. One key is never divided: where all records are of one, they all stay.
    fn cut(&mut self) -> Result<()> {
        self.put_together()?;
        let set = assemble(std::mem::take(&mut self.batches))?;
        let key_at = |place: usize| set.at(place).map(|(part, row)| set.keys(part).key(row));
        let (Some(first), Some(middle)) = (key_at(0), key_at(set.len() / 2)) else { return Ok(()) };
        let end = match middle > first {
            true => Some(middle),
            false => {
                let behind = set.order.partition_point(|spot| {
                    let keys = set.keys(spot.part as usize);
                    keys.compare_to(spot.row as usize, &first) != Ordering::Greater
                });
                key_at(behind)
            }
        };
        let kept = set.order.partition_point(|spot| end.as_ref().is_none_or(|end| set.is_below(*spot, end)));
        let mut rows = vec![Vec::new(); set.parts.len()];
        for spot in set.order.get(..kept).unwrap_or_default() {
            rows[spot.part as usize].push(spot.row);
        }
        self.bytes = 0;
        for (part, mut rows) in set.parts.into_iter().zip(rows) {
            // In the order of the file again, which is sorted faster later.
            rows.sort_unstable();
            let all = part.batch;
            let batch = match rows.len() == all.num_rows() {
                true => all,
                false => taken(&all, rows)?,
            };
            if batch.num_rows() > 0 {
                self.bytes += bytes_of(&batch);
                self.batches.push((part.plan, batch));
            }
        }
        if let Some(end) = end {
            self.range.end = end;
        }
        Ok(())
    }

    /// The records, sorted, and the interval of which they are all there are.
    ///
    /// # Errors
    /// `Corrupt` for a record that is there twice.
    pub fn finish(mut self) -> Result<(RecordSet, KeyRange)> {
        self.put_together()?;
        Ok((assemble(self.batches)?, self.range))
    }
}

/// Sorts the records of all batches. Files are sorted, so that this is a merge of their runs.
fn assemble(batches: Vec<(Arc<ColumnPlan>, RecordBatch)>) -> Result<RecordSet> {
    let mut set = RecordSet { parts: Vec::with_capacity(batches.len()), order: Vec::new() };
    let mut places = Vec::with_capacity(batches.len());
    for (number, (plan, batch)) in (0..).zip(batches) {
        let (keys, split) = (KeyColumns::new(&batch, &plan)?, SplitBatch::new(&batch, &plan)?);
        let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        set.order.extend((0..rows).map(|row| Spot { part: number, row }));
        let of_part = (0..rows as usize).map(|row| split.place(row));
        places.push(
            of_part
                .map(|place| place.map(|place| (place.rank, place.ordinal)))
                .collect::<Result<Vec<_>>>()?,
        );
        set.parts.push(Part { plan, batch, split, keys });
    }
    let compare = |a: &Spot, b: &Spot| {
        let keys = |spot: &Spot| &set.parts[spot.part as usize].keys;
        let place = |spot: &Spot| places[spot.part as usize][spot.row as usize];
        keys(a).compare(a.row as usize, keys(b), b.row as usize).then_with(|| place(a).cmp(&place(b)))
    };
    let mut order = std::mem::take(&mut set.order);
    order.sort_by(compare);
    if order.windows(2).any(|pair| matches!(pair, [a, b] if compare(a, b) == Ordering::Equal)) {
        return Err(corrupt("a record is there twice"));
    }
    set.order = order;
    Ok(set)
}

fn taken(batch: &RecordBatch, rows: impl IntoIterator<Item = u32>) -> Result<RecordBatch> {
    let rows: UInt32Array = rows.into_iter().collect::<Vec<_>>().into();
    take_record_batch(batch, &rows).doing(Kind::Internal, "take records out of a batch")
}

fn bytes_of(batch: &RecordBatch) -> u64 {
    batch.get_array_memory_size() as u64 + batch.num_rows() as u64 * ORDER_BYTES
}

#[cold]
fn corrupt(reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "use the records of a delta").because(reason)
}
