//! Stream records to record batches and Parquet files, and back: nothing is lost, whatever the plan.

use std::sync::Arc;

use bytes::Bytes;
use otsvault::Kind;
use otsvault::columnar::{
    ColumnPlan, PlacedRecord, RECORD_COLUMNS, RecordBatchBuilder, RecordsReader, Sample, SplitBatch,
    record_schema,
};
use otsvault::model::{
    Cell, CellOp, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, RecordHasher, RecordPlace, RecordType,
    Row, RowSum, SequenceInfo, StreamRecord, Value,
};
use otsvault::parquet_file::{FileEncoder, FileReader, ReadLimits, WriterSettings};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::seeds;

const NAMES: [&str; 5] = ["a", "b", "c", "_op", "Ä"];

/// A plan that knows some of the names and types and not others.
fn plan(random: &mut StdRng) -> Arc<ColumnPlan> {
    let key = |name: &str, column_type| PrimaryKeyColumn {
        name: name.to_owned(),
        column_type,
        auto_increment: false,
    };
    let mut sample = Sample::default();
    for _ in 0..20 {
        let row = Row { key: Vec::new(), cells: cells(random, RecordType::Put), ..Row::default() };
        sample.observe(&row);
    }
    let keys = [key("k", PrimaryKeyType::String), key("n", PrimaryKeyType::Integer)];
    Arc::new(sample.plan(&keys, &[]).unwrap())
}

fn value(random: &mut StdRng) -> Value<'static> {
    match random.random_range(0..5) {
        0 => Value::Integer(random.random()),
        1 => Value::Double(f64::from_bits(random.random())),
        2 => Value::Boolean(random.random()),
        3 => Value::String(["", "x", "ümläut"][random.random_range(0..3)]),
        _ => Value::Binary(&[0, 255, 1]),
    }
}

/// Cells in wire order: by name, newest first.
fn cells(random: &mut StdRng, record_type: RecordType) -> Vec<Cell<'static>> {
    let mut cells = Vec::new();
    if record_type == RecordType::Delete {
        return cells;
    }
    for name in NAMES {
        for version in 0..random.random_range(0..3) {
            let timestamp = Some(1_700_000_000_000 - version * 5);
            let delete = |op, timestamp| Cell { name, value: None, op: Some(op), timestamp };
            cells.push(match random.random_range(0..6) {
                0 if record_type == RecordType::Update => delete(CellOp::DeleteAllVersions, None),
                1 if record_type == RecordType::Update => delete(CellOp::DeleteOneVersion, timestamp),
                _ => Cell::put(name, value(random), timestamp),
            });
        }
    }
    cells.sort_by_key(|cell| cell.name);
    cells
}

fn record(random: &mut StdRng) -> StreamRecord<'static> {
    let record_type = [RecordType::Put, RecordType::Update, RecordType::Delete][random.random_range(0..3)];
    let sequence = SequenceInfo {
        epoch: random.random_range(0..3),
        timestamp_us: random.random(),
        row_index: random.random_range(0..9),
    };
    let key = vec![
        ("k", PrimaryKeyValue::String(["", "a", "b"][random.random_range(0..3)])),
        ("n", PrimaryKeyValue::Integer(random.random())),
    ];
    let row = Row { key, cells: cells(random, record_type), delete_marker: false, sequence: Some(sequence) };
    StreamRecord { record_type, sequence, row }
}

/// Records with places, as a delta has them.
fn placed(random: &mut StdRng, count: u64) -> Vec<PlacedRecord<'static>> {
    (0..count)
        .map(|ordinal| PlacedRecord {
            record: record(random),
            place: RecordPlace { rank: random.random_range(0..3), ordinal, clock_us: random.random() },
            shard_id: ["s_0", "s_1"][random.random_range(0..2)],
        })
        .collect()
}

fn sum(records: &[PlacedRecord<'_>]) -> RowSum {
    let mut hasher = RecordHasher::default();
    records.iter().map(|placed| hasher.record(&placed.record, placed.place)).sum()
}

#[test]
fn records_come_back_as_they_were_through_batches_and_files() {
    for seed in seeds(40) {
        let mut random = StdRng::seed_from_u64(seed);
        let plan = plan(&mut random);
        let count = random.random_range(1..200);
        let records = placed(&mut random, count);
        let mut builder = RecordBatchBuilder::new(plan.clone());
        for PlacedRecord { record, place, shard_id } in &records {
            builder.append(record, *place, shard_id).unwrap();
        }
        let (batch, totals) = builder.finish().unwrap();
        let cells: usize = records.iter().map(|placed| placed.record.row.cells.len()).sum();
        assert_eq!((totals.records, totals.cells), (count, cells as u64), "DELTA_SEED={seed}");
        assert_eq!(totals.record_sum, sum(&records), "DELTA_SEED={seed}");
        assert_eq!(builder.records(), 0);

        let mut encoder = FileEncoder::of_records(&plan, &WriterSettings::default(), Vec::new()).unwrap();
        encoder.write(&batch).unwrap();
        let mut bytes: Vec<Bytes> = encoder.take_bytes();
        bytes.extend(encoder.finish(Vec::new()).unwrap().rest);
        let file = FileReader::open_records(bytes.concat().into(), &plan, &ReadLimits::default()).unwrap();
        let mut read = 0;
        for batch in file.batches().unwrap() {
            let split = SplitBatch::new(&batch.unwrap(), &plan).unwrap();
            for placed in RecordsReader::new(&split, &plan).unwrap() {
                assert_eq!(placed.unwrap(), records[read], "record {read}, DELTA_SEED={seed}");
                read += 1;
            }
        }
        assert_eq!(read, records.len(), "DELTA_SEED={seed}");
    }
}

#[test]
fn a_batch_that_is_not_of_the_delta_is_refused() {
    let mut random = StdRng::seed_from_u64(1);
    let plan = plan(&mut random);
    let records = placed(&mut random, 5);
    let mut builder = RecordBatchBuilder::new(plan.clone());
    for PlacedRecord { record, place, shard_id } in &records {
        builder.append(record, *place, shard_id).unwrap();
    }
    let (batch, _) = builder.finish().unwrap();
    let schema = record_schema(&plan);
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert!(names[..names.len() - 1].ends_with(&RECORD_COLUMNS), "{names:?}");
    assert_eq!(names.last(), Some(&"_overflow"));
    let ids: std::collections::BTreeSet<_> =
        schema.fields().iter().map(|field| field.metadata()["PARQUET:field_id"].clone()).collect();
    assert_eq!(ids.len(), names.len(), "field ids are unique");

    let without_last: Vec<usize> = (0..batch.num_columns() - 1).collect();
    let rows_alone: Vec<usize> = (0..plan.columns().len()).collect();
    for columns in [without_last, rows_alone] {
        let wrong = batch.project(&columns).unwrap();
        assert_eq!(SplitBatch::new(&wrong, &plan).unwrap_err().kind(), Kind::Corrupt);
    }
    let op = plan.columns().len() - 1;
    for (column, wrong) in [
        (op, Arc::new(arrow::array::StringArray::from(vec!["insert"; 5])) as arrow::array::ArrayRef),
        (op + 1, Arc::new(arrow::array::Int64Array::from(vec![-1; 5]))),
        (op + 4, Arc::new(arrow::array::Int64Array::from(vec![i64::MAX; 5]))),
    ] {
        let mut columns = batch.columns().to_vec();
        columns[column] = wrong;
        let batch = arrow::array::RecordBatch::try_new(schema.clone(), columns).unwrap();
        let split = SplitBatch::new(&batch, &plan).unwrap();
        let first = RecordsReader::new(&split, &plan).unwrap().next().unwrap();
        assert_eq!(first.unwrap_err().kind(), Kind::Corrupt);
    }
}
