//! Stream records to record batches and back: rows of the column plan, and the columns that say what each record did and when.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, Int64Builder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};

use super::builder::BatchBuilder;
use super::plan::{ColumnPlan, Encoding, Role};
use super::reader::RowsReader;
use super::schema::{arrow_schema, with_id};
use crate::error::{Context, Error, Kind, Result};
use crate::model::{RecordHasher, RecordPlace, RecordType, Row, RowSum, SequenceInfo, StreamRecord};

/// The columns between those of the plan and its `_overflow`, all required, in this order. Their field ids follow the plan's last one.
///
/// `_op`: put, update or delete. `_seq_rank`, `_seq_ordinal`: the record's place; records of a chain are ordered by it. `_seq_clock`: the commit clock in
/// microseconds, which never falls for a key. `_seq_epoch`, `_seq_time` (microseconds), `_seq_index`, `_seq_shard`: what the service says.
pub const RECORD_COLUMNS: [&str; 8] =
    ["_op", "_seq_rank", "_seq_ordinal", "_seq_clock", "_seq_epoch", "_seq_time", "_seq_index", "_seq_shard"];

/// The schema of every record batch of a delta.
pub fn record_schema(plan: &ColumnPlan) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = arrow_schema(plan).fields().iter().cloned().collect();
    let overflow = fields.pop();
    for (id, name) in (plan.next_field_id()..).zip(RECORD_COLUMNS) {
        let data_type = match name {
            "_op" | "_seq_shard" => DataType::Utf8,
            _ => DataType::Int64,
        };
        fields.push(Arc::new(with_id(Field::new(name, data_type, false), id)));
    }
    Arc::new(Schema::new(fields.into_iter().chain(overflow).collect::<Fields>()))
}

/// How the columns before `_overflow` are encoded, in the order of [`record_schema`].
pub fn record_encodings(plan: &ColumnPlan) -> Vec<Encoding> {
    let of_rows = plan.columns().iter().filter(|column| column.role != Role::Overflow);
    let of_records = RECORD_COLUMNS.map(|name| match name {
        "_seq_ordinal" | "_seq_clock" | "_seq_time" => Encoding::DeltaBinaryPacked,
        // Few values, often the same as before.
        _ => Encoding::Dictionary,
    });
    of_rows.map(|column| column.encoding).chain(of_records).collect()
}

/// Figures of a batch of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordTotals {
    /// Records.
    pub records: u64,
    /// Cells, deletes too.
    pub cells: u64,
    /// Bytes by the service's data-size rule.
    pub logical_bytes: u64,
    /// Sum of the record hashes.
    pub record_sum: RowSum,
}

impl std::ops::AddAssign for RecordTotals {
    fn add_assign(&mut self, other: RecordTotals) {
        self.records += other.records;
        self.cells += other.cells;
        self.logical_bytes += other.logical_bytes;
        self.record_sum += other.record_sum;
    }
}

/// Collects records into record batches of one plan.
pub struct RecordBatchBuilder {
    schema: SchemaRef,
    rows: BatchBuilder,
    op: StringBuilder,
    /// Rank, ordinal, clock, epoch, time, index.
    numbers: [Int64Builder; 6],
    shard: StringBuilder,
    hasher: RecordHasher,
    record_sum: RowSum,
}

impl RecordBatchBuilder {
    /// An empty builder.
    pub fn new(plan: Arc<ColumnPlan>) -> RecordBatchBuilder {
        RecordBatchBuilder {
            schema: record_schema(&plan),
            rows: BatchBuilder::unsummed(plan),
            op: StringBuilder::new(),
            numbers: Default::default(),
            shard: StringBuilder::new(),
            hasher: RecordHasher::default(),
            record_sum: RowSum::default(),
        }
    }

    /// Adds one record.
    ///
    /// # Errors
    /// As [`BatchBuilder::append`]; `Refused` for a place that no 64-bit integer holds.
    pub fn append(&mut self, record: &StreamRecord<'_>, place: RecordPlace, shard: &str) -> Result<()> {
        let signed = |number: u64| {
            i64::try_from(number).doing(Kind::Refused, "add a record whose place is beyond 64-bit integers")
        };
        let SequenceInfo { epoch, timestamp_us, row_index } = record.sequence;
        let numbers = [
            signed(place.rank)?,
            signed(place.ordinal)?,
            place.clock_us,
            epoch.into(),
            timestamp_us,
            row_index.into(),
        ];
        self.rows.append(&record.row)?;
        self.op.append_value(op_name(record.record_type));
        for (builder, number) in self.numbers.iter_mut().zip(numbers) {
            builder.append_value(number);
        }
        self.shard.append_value(shard);
        self.record_sum += self.hasher.record(record, place);
        Ok(())
    }

    /// Records since the last [`RecordBatchBuilder::finish`].
    pub fn records(&self) -> usize {
        self.rows.rows()
    }

    /// Estimate of the memory that the batch takes when finished.
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.records() * 96
    }

    /// The batch of the records so far and its figures; the builder starts over.
    pub fn finish(&mut self) -> Result<(RecordBatch, RecordTotals)> {
        let rows = self.rows.finish()?;
        let mut columns: Vec<ArrayRef> = rows.record_batch.columns().to_vec();
        let overflow = columns.pop();
        columns.push(Arc::new(self.op.finish()));
        columns.extend(self.numbers.iter_mut().map(|numbers| Arc::new(numbers.finish()) as ArrayRef));
        columns.push(Arc::new(self.shard.finish()));
        columns.extend(overflow);
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .doing(Kind::Internal, "build a batch of records")?;
        let totals = RecordTotals {
            records: rows.totals.rows,
            cells: rows.totals.cells,
            logical_bytes: rows.totals.logical_bytes,
            record_sum: std::mem::take(&mut self.record_sum),
        };
        Ok((batch, totals))
    }
}

/// A batch of records taken apart, for [`RecordsReader`] to borrow from.
#[derive(Debug)]
pub struct SplitBatch {
    rows: RecordBatch,
    op: StringArray,
    numbers: Vec<Int64Array>,
    shard: StringArray,
}

impl SplitBatch {
    /// Checks the columns of a batch, which may come from a file that somebody else wrote.
    ///
    /// # Errors
    /// `Corrupt` if they are not those of a delta of this plan.
    pub fn new(batch: &RecordBatch, plan: &ColumnPlan) -> Result<SplitBatch> {
        let own = plan.columns().len() - 1;
        if batch.schema_ref().fields() != record_schema(plan).fields() {
            return Err(corrupt("its columns are not those of a delta of this plan"));
        }
        let of_rows: Vec<usize> = (0..own).chain([own + RECORD_COLUMNS.len()]).collect();
        let rows = batch.project(&of_rows).doing(Kind::Internal, "take a batch apart")?;
        let column = |at: usize| {
            let column = batch.columns().get(own + at).filter(|column| column.null_count() == 0);
            column.ok_or_else(|| corrupt("a required column has nulls"))
        };
        let text = |at| Ok::<_, Error>(column(at)?.as_string_opt().ok_or_else(|| corrupt("text"))?.clone());
        let number = |at| {
            let column = column(at)?.as_primitive_opt::<Int64Type>();
            column.cloned().ok_or_else(|| corrupt("a number is of another type"))
        };
        let numbers = (1..7).map(number).collect::<Result<_>>()?;
        Ok(SplitBatch { rows, op: text(0)?, numbers, shard: text(7)? })
    }

    /// Where the record at `row`, which there must be, stands in the chain.
    ///
    /// # Errors
    /// `Corrupt` for a place that none can have.
    #[inline]
    pub fn place(&self, row: usize) -> Result<RecordPlace> {
        let [rank, ordinal, clock_us, ..] = &self.numbers[..] else {
            return Err(corrupt("numbers are missing"));
        };
        let place = |numbers: &Int64Array| {
            u64::try_from(numbers.value(row)).map_err(|_| corrupt("a place is negative"))
        };
        Ok(RecordPlace { rank: place(rank)?, ordinal: place(ordinal)?, clock_us: clock_us.value(row) })
    }
}

/// A record out of a delta, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedRecord<'a> {
    /// The record.
    pub record: StreamRecord<'a>,
    /// Where it stands in the chain.
    pub place: RecordPlace,
    /// The shard it was read from.
    pub shard_id: &'a str,
}

/// Gives back the records of a batch exactly as they went in.
#[derive(Debug)]
pub struct RecordsReader<'a> {
    rows: RowsReader<'a>,
    batch: &'a SplitBatch,
    next: usize,
}

impl<'a> RecordsReader<'a> {
    /// A reader before the first record.
    ///
    /// # Errors
    /// As [`RowsReader::new`].
    pub fn new(batch: &'a SplitBatch, plan: &'a ColumnPlan) -> Result<RecordsReader<'a>> {
        Ok(RecordsReader { rows: RowsReader::new(&batch.rows, plan)?, batch, next: 0 })
    }

    /// The record at `row`; `None` where there is none. Reading goes on behind it.
    ///
    /// # Errors
    /// `Corrupt` for a record that makes no sense.
    pub fn read_at(&mut self, row: usize) -> Result<Option<PlacedRecord<'a>>> {
        self.next = row;
        self.read()
    }

    fn read(&mut self) -> Result<Option<PlacedRecord<'a>>> {
        let (at, mut row) = (self.next, Row::default());
        let Some((record_type, sequence)) = self.record_at(at, &mut row)? else { return Ok(None) };
        self.next += 1;
        Ok(Some(PlacedRecord {
            record: StreamRecord { record_type, sequence, row },
            place: self.batch.place(at)?,
            shard_id: self.batch.shard.value(at),
        }))
    }

    /// Reads the row of the record at `at` into `row`, whose memory is reused, and says what the record did and when; `None` where
    /// there is none.
    ///
    /// # Errors
    /// `Corrupt` for a record that makes no sense.
    pub fn record_at(&mut self, at: usize, row: &mut Row<'a>) -> Result<Option<(RecordType, SequenceInfo)>> {
        if !self.rows.read_at(at, row)? {
            return Ok(None);
        }
        let record_type = [RecordType::Put, RecordType::Update, RecordType::Delete]
            .into_iter()
            .find(|record_type| op_name(*record_type) == self.batch.op.value(at))
            .ok_or_else(|| corrupt("`_op` is unknown"))?;
        let [.., epoch, timestamp_us, row_index] = &self.batch.numbers[..] else {
            return Err(corrupt("numbers are missing"));
        };
        let small = |numbers: &Int64Array| {
            i32::try_from(numbers.value(at)).map_err(|_| corrupt("a sequence number is too large"))
        };
        let sequence = SequenceInfo {
            epoch: small(epoch)?,
            timestamp_us: timestamp_us.value(at),
            row_index: small(row_index)?,
        };
        row.sequence = Some(sequence);
        if record_type == RecordType::Delete && !row.cells.is_empty() {
            return Err(corrupt("a delete has cells"));
        }
        if record_type == RecordType::Put && row.cells.iter().any(|cell| cell.op.is_some()) {
            return Err(corrupt("a put deletes a cell"));
        }
        Ok(Some((record_type, sequence)))
    }
}

impl<'a> Iterator for RecordsReader<'a> {
    type Item = Result<PlacedRecord<'a>>;

    fn next(&mut self) -> Option<Result<PlacedRecord<'a>>> {
        self.read().transpose()
    }
}

/// How a record type reads in `_op`.
fn op_name(record_type: RecordType) -> &'static str {
    match record_type {
        RecordType::Put => "put",
        RecordType::Update => "update",
        RecordType::Delete => "delete",
    }
}

#[cold]
fn corrupt(reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "read records from a record batch").because(reason)
}
