//! Rows of a base and records of the same keys, merged.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;

use super::taking_apart::TakingApart;
use super::{Ambiguous, FoldSettings, RecordSet};
use crate::columnar::{BatchBuilder, ColumnPlan, KeyColumns, RecordsReader, RowsReader, arrow_schema};
use crate::error::Context;
use crate::model::{KeyRange, PrimaryKey, Row, RowImage, StreamRecord};
use crate::{Error, Kind, Result};

/// A batch ends when the rows that records made have so many bytes, about.
const MADE_BYTES: usize = 4 << 20;

/// A batch ends at so many rows that records made.
const MADE_ROWS: usize = 8_192;

/// Record batches of a base, in key order.
pub type BaseBatches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The rows of an interval of keys at one moment, as record batches in key order.
///
/// Records come in as sets: [`FoldedRows::feed`] one, take batches until there are none, and feed the next as long as
/// [`FoldedRows::wants`] names an interval. A batch has at most the rows of one batch of the base and 8,192 others.
pub struct FoldedRows {
    base: BaseBatches,
    plan: Arc<ColumnPlan>,
    schema: SchemaRef,
    settings: FoldSettings,
    taking_apart: TakingApart,
    range: KeyRange,
    /// The batch of the base in hand; `None` before the first and after the last.
    current: Option<Current>,
    base_ended: bool,
    last_key: Option<PrimaryKey>,
    records: Arc<RecordSet>,
    /// Records that are still to come.
    next: Range<usize>,
    /// Everything below is decided by the records so far.
    until: PrimaryKey,
    made: BatchBuilder,
    ambiguous: Ambiguous,
    folded: u64,
}

struct Current {
    batch: RecordBatch,
    keys: KeyColumns,
    /// Rows that have to be taken apart whatever happened to them.
    apart: Option<Arc<[bool]>>,
    row: usize,
}

/// Where a row of the batch to come lies: in the base's batch, or among those that were made.
const OF_BASE: usize = 0;
const MADE: usize = 1;

impl FoldedRows {
    /// `base`: the rows of the base inside `range`, as batches of `plan` in key order; none is looked at before it is wanted.
    pub fn new(
        base: BaseBatches,
        plan: Arc<ColumnPlan>,
        settings: FoldSettings,
        range: KeyRange,
    ) -> FoldedRows {
        FoldedRows {
            base,
            schema: arrow_schema(&plan),
            taking_apart: TakingApart::new(&plan, settings),
            made: BatchBuilder::unsummed(plan.clone()),
            plan,
            settings,
            until: range.start.clone(),
            range,
            current: None,
            base_ended: false,
            last_key: None,
            records: Arc::new(RecordSet::default()),
            next: 0..0,
            ambiguous: Ambiguous::default(),
            folded: 0,
        }
    }

    /// The interval whose records are wanted next; `None` when the rows are complete.
    pub fn wants(&self) -> Option<KeyRange> {
        let rest = KeyRange { start: self.until.clone(), end: self.range.end.clone() };
        (!rest.is_empty()).then_some(rest)
    }

    /// Takes all records from where the ones before ended up to `until`; `records` may have others, too.
    pub fn feed(&mut self, records: Arc<RecordSet>, until: &PrimaryKey) {
        let end = until.clone().min(self.range.end.clone());
        self.next = records.span(&KeyRange { start: self.until.clone(), end: end.clone() });
        (self.records, self.until) = (records, end);
    }

    /// Rows so far that the service leaves open.
    pub fn ambiguous(&self) -> &Ambiguous {
        &self.ambiguous
    }

    /// Records so far that counted.
    pub fn records(&self) -> u64 {
        self.folded
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if self.current.is_none() && !self.base_ended {
                self.current = self.load()?;
                self.base_ended = self.current.is_none();
            }
            let Some(mut current) = self.current.take() else {
                let made = self.fold(None, self.next.end)?;
                return match made {
                    Some(made) => Ok(Some(made)),
                    None if self.next.is_empty() => Ok(None),
                    // Records that leave no row.
                    None => continue,
                };
            };
            let rows = current.keys.rows();
            let until = match self.until < self.range.end {
                true => current.keys.first_from(current.row..rows, &self.until),
                false => rows,
            };
            // Records behind the last row of the batch belong to the next one, but for those behind the last that may be decided now.
            let records = match until == rows {
                true => self.records_up_to(&current.keys, rows - 1),
                false => self.next.end,
            };
            if current.row == until && self.next.start == records {
                self.current = Some(current);
                return Ok(None);
            }
            let batch = self.fold(Some((&mut current, until)), records)?;
            if current.row < rows {
                self.current = Some(current);
            }
            if batch.is_some() {
                return Ok(batch);
            }
        }
    }

    /// The next batch of the base that has rows.
    fn load(&mut self) -> Result<Option<Current>> {
        for batch in self.base.by_ref() {
            let batch = batch?;
            let keys = KeyColumns::new(&batch, &self.plan)?;
            let Some(last) = keys.rows().checked_sub(1) else { continue };
            let is_sorted = keys.first_not_ascending().is_none()
                && self.last_key.as_ref().is_none_or(|key| keys.compare_to(0, key) == Ordering::Greater);
            if !is_sorted {
                return Err(corrupt("the keys of a data file do not ascend"));
            }
            let is_outside = keys.compare_to(0, &self.range.start) == Ordering::Less
                || keys.compare_to(last, &self.range.end) != Ordering::Less;
            if is_outside {
                return Err(corrupt("a data file has a row outside of its interval"));
            }
            self.last_key = Some(keys.key(last));
            let batch = batch
                .with_schema(self.schema.clone())
                .doing(Kind::Corrupt, "use a record batch of another plan")?;
            let apart = self.taking_apart.rows(&batch).map(Arc::from);
            return Ok(Some(Current { batch, keys, apart, row: 0 }));
        }
        Ok(None)
    }

    /// The first record behind the key at `row`.
    fn records_up_to(&self, keys: &KeyColumns, row: usize) -> usize {
        let is_up_to = |place: &usize| {
            let (part, record) = self.records.at(*place).unwrap_or_default();
            self.records.keys(part).compare(record, keys, row) != Ordering::Greater
        };
        let (mut low, mut high) = (self.next.start, self.next.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match is_up_to(&middle) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// Folds records up to place `records`, and rows of the base up to row `until`, into one batch; stops early when it is full. `None`
    /// where no row is left of them.
    fn fold(&mut self, base: Option<(&mut Current, usize)>, records: usize) -> Result<Option<RecordBatch>> {
        let (mut current, until) = base.map_or((None, 0), |(current, until)| (Some(current), until));
        let of_base = current
            .as_deref()
            .map(|current| (current.batch.clone(), current.keys.clone(), current.apart.clone()));
        let start = current.as_deref().map_or(0, |current| current.row);
        if let (Some(current), Some((batch, _, None))) = (&mut current, &of_base)
            && self.next.start == records
        {
            current.row = until;
            return Ok((start < until).then(|| batch.slice(start, until - start)));
        }
        let set = self.records.clone();
        let mut row = start;
        let (places, folded) = {
            let mut merge = Merge {
                base: match &of_base {
                    Some((batch, keys, apart)) => Some(OfBase {
                        keys,
                        apart: apart.as_deref(),
                        rows: RowsReader::new(batch, &self.plan)?,
                    }),
                    None => None,
                },
                set: &set,
                readers: Vec::new(),
                taking_apart: &self.taking_apart,
                settings: &self.settings,
                made: &mut self.made,
                image: RowImage::absent(),
                row: Row::default(),
                of_record: Row::default(),
                places: Vec::new(),
                ambiguous: &mut self.ambiguous,
                folded: 0,
            };
            while self.next.start < records && !merge.is_full() {
                let group = merge.group(self.next.start..records);
                self.next.start = group.end;
                row = merge.key(row..until, group)?;
            }
            if self.next.start == records {
                row = merge.rows(row..until)?;
            }
            (std::mem::take(&mut merge.places), merge.folded)
        };
        self.folded += folded;
        if let Some(current) = current {
            current.row = row;
        }
        if places.is_empty() {
            return Ok(None);
        }
        let made = self.made.finish()?.record_batch;
        match of_base {
            None => Ok(Some(made)),
            Some((batch, ..)) => interleave_record_batch(&[&batch, &made], &places)
                .doing(Kind::Internal, "put rows in order")
                .map(Some),
        }
    }
}

/// Ends where the records so far end, and lets them go.
impl Iterator for FoldedRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let batch = self.next_batch().transpose();
        if batch.is_none() {
            (self.records, self.next) = (Arc::default(), 0..0);
        }
        batch
    }
}

/// One step of the merge, with everything borrowed that it needs.
struct Merge<'a> {
    base: Option<OfBase<'a>>,
    set: &'a RecordSet,
    /// By part; opened when a record of it comes.
    readers: Vec<Option<RecordsReader<'a>>>,
    taking_apart: &'a TakingApart,
    settings: &'a FoldSettings,
    made: &'a mut BatchBuilder,
    /// Of the key in hand, and the row it came from, and its record; kept for their memory.
    image: RowImage<'a>,
    row: Row<'a>,
    of_record: Row<'a>,
    /// Where the rows of the result lie.
    places: Vec<(usize, usize)>,
    ambiguous: &'a mut Ambiguous,
    folded: u64,
}

struct OfBase<'a> {
    keys: &'a KeyColumns,
    apart: Option<&'a [bool]>,
    rows: RowsReader<'a>,
}

impl<'a> Merge<'a> {
    fn is_full(&self) -> bool {
        self.made.rows() >= MADE_ROWS || self.made.bytes() >= MADE_BYTES
    }

    /// The records at the beginning of `records` that have one key.
    fn group(&self, records: Range<usize>) -> Range<usize> {
        let same = |place: usize| match (self.set.at(records.start), self.set.at(place)) {
            (Some((part, row)), Some((other, other_row))) => {
                self.set.keys(part).compare(row, self.set.keys(other), other_row) == Ordering::Equal
            }
            _ => false,
        };
        let others = (records.start + 1..records.end).take_while(|place| same(*place)).count();
        records.start..records.start + 1 + others
    }

    /// Takes the rows of the base before a key as they are, and makes the row of that key. Says which row of the base comes next.
    fn key(&mut self, rows: Range<usize>, group: Range<usize>) -> Result<usize> {
        let mut row = rows.start;
        self.image.clear();
        self.row.clear();
        let mut is_there = false;
        if let Some((part, record)) = self.set.at(group.start) {
            let keys = self.set.keys(part);
            let (at, found) = self.base.as_ref().map_or((row, false), |base| {
                let at = base.keys.first_near(rows.clone(), keys, record);
                (at, at < rows.end && base.keys.compare(at, keys, record) == Ordering::Equal)
            });
            self.rows(row..at)?;
            (row, is_there) = (at, found);
        }
        let mut is_touched = false;
        for place in group {
            let Some((part, record)) = self.set.at(place) else { continue };
            let clock_us = self.set.split(part).place(record)?.clock_us;
            if self.settings.until_clock_us.is_some_and(|until| clock_us > until) {
                continue;
            }
            if !is_touched
                && is_there
                && let Some(base) = &mut self.base
            {
                base.rows.read_at(row, &mut self.row)?;
                self.image.see(&self.row);
            }
            is_touched = true;
            self.folded += 1;
            let record = self.record(part, record)?;
            self.image.apply(&record, self.settings.rules);
            if self.row.key.is_empty() {
                self.row.key.extend_from_slice(&record.row.key);
            }
            self.of_record = record.row;
        }
        let end = row + usize::from(is_there);
        match is_touched {
            true => self.make()?,
            false => {
                self.rows(row..end)?;
            }
        }
        Ok(end)
    }

    fn record(&mut self, part: usize, row: usize) -> Result<StreamRecord<'a>> {
        if self.readers.is_empty() {
            self.readers.resize_with(self.set.parts(), || None);
        }
        let set = self.set;
        let reader = match &mut self.readers[part] {
            Some(reader) => reader,
            none => none.insert(set.reader(part)?),
        };
        let mut of_record = std::mem::take(&mut self.of_record);
        let record = reader.record_at(row, &mut of_record)?;
        let (record_type, sequence) = record.ok_or_else(|| corrupt("a record is not there"))?;
        Ok(StreamRecord { record_type, sequence, row: of_record })
    }

    /// Puts what is left of a row into the batch.
    fn make(&mut self) -> Result<()> {
        if !self.image.exists() {
            return Ok(());
        }
        let mut row = std::mem::take(&mut self.row);
        if self.image.is_ambiguous() {
            self.ambiguous.add(|| PrimaryKey::from_row(&row.key));
        }
        row.cells.clear();
        self.image.put_cells(i64::MIN, &mut row.cells);
        self.append(&mut row)?;
        self.row = row;
        Ok(())
    }

    /// A row without the cells that do not count any more. One that has lost all of them has expired.
    fn append(&mut self, row: &mut Row<'a>) -> Result<()> {
        let cells = row.cells.len();
        self.taking_apart.leave_out(&mut row.cells);
        if cells > 0 && row.cells.is_empty() {
            return Ok(());
        }
        self.places.push((MADE, self.made.rows()));
        self.made.append(row)
    }

    /// Takes rows of the base that no record names. Returns the end of `rows`.
    fn rows(&mut self, rows: Range<usize>) -> Result<usize> {
        let apart = self.base.as_ref().and_then(|base| base.apart);
        let Some(apart) = apart else {
            self.places.extend(rows.clone().map(|row| (OF_BASE, row)));
            return Ok(rows.end);
        };
        for row in rows.clone() {
            if !apart.get(row).copied().unwrap_or(false) {
                self.places.push((OF_BASE, row));
                continue;
            }
            let mut taken = Row::default();
            if let Some(base) = &mut self.base {
                base.rows.read_at(row, &mut taken)?;
            }
            self.append(&mut taken)?;
        }
        Ok(rows.end)
    }
}

#[cold]
fn corrupt(reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "fold records into rows").because(reason)
}
