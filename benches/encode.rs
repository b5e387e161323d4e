//! Rows to record batches, and record batches to Parquet bytes, on one core.
//!
//! Rows like those of sensors: 2 key columns, 8 attributes (2 integers, 3 doubles, a boolean, a status of five, a
//! message in every fourth row), one timestamp per row, about 190 bytes by the service's data-size rule; and sparse
//! ones: 12 of 200 integer attributes in each row. Throughput in rows/s; the data size per row is printed first.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::RecordBatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use otsvault::columnar::{BatchBuilder, ColumnPlan, RowsReader, Sample};
use otsvault::model::{Cell, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, Row, Value};
use otsvault::parquet_file::{FileEncoder, FileReader, ReadLimits, WriterSettings, choose_encodings};

const ROWS: usize = 100_000;
/// Batches of about 4 MiB.
const BATCH_BYTES: usize = 4 << 20;

/// Owns the text that the rows borrow.
struct Data {
    devices: Vec<String>,
    messages: Vec<String>,
    names: Vec<String>,
}

impl Data {
    fn new() -> Data {
        Data {
            devices: (0..ROWS / 500 + 1).map(|n| format!("device-{n:06}")).collect(),
            messages: (0..ROWS / 4 + 1).map(|n| format!("event {:x} at {n}", n * 0x9e37_79b9)).collect(),
            names: (0..200).map(|n| format!("attribute_{n:03}")).collect(),
        }
    }

    fn key(&self, n: usize) -> Vec<(&str, PrimaryKeyValue<'_>)> {
        vec![
            ("device", PrimaryKeyValue::String(&self.devices[n / 500])),
            ("at", PrimaryKeyValue::Integer(1_700_000_000_000 + n as i64 * 5_000)),
        ]
    }

    fn sensors(&self) -> Vec<Row<'_>> {
        let mut random = Random::default();
        (0..ROWS)
            .map(|n| {
                let mut row = Row { key: self.key(n), ..Row::default() };
                let mut put = |name, value| {
                    row.cells.push(Cell::put(name, value, Some(1_700_000_000_000 + n as i64 * 7)))
                };
                put("code", Value::Integer((random.next() % 500) as i64));
                put("count", Value::Integer(n as i64 * 3 + (random.next() % 3) as i64));
                put("humidity", Value::Double((random.next() % 1_000) as f64 / 10.0));
                put("on", Value::Boolean(random.next() % 2 == 0));
                put(
                    "status",
                    Value::String(["ok", "warm", "hot", "off", "lost"][random.next() as usize % 5]),
                );
                put("temperature", Value::Double(20.0 + (random.next() % 900) as f64 / 100.0));
                if n % 4 == 0 {
                    put("text", Value::String(&self.messages[n / 4]));
                }
                put("volt", Value::Double((random.next() >> 11) as f64 / (1u64 << 53) as f64));
                row
            })
            .collect()
    }

    fn sparse(&self) -> Vec<Row<'_>> {
        let mut random = Random::default();
        (0..ROWS)
            .map(|n| {
                let mut row = Row { key: self.key(n), ..Row::default() };
                let mut name = 0;
                for _ in 0..12 {
                    name += 1 + random.next() as usize % 15;
                    let value = Value::Integer((random.next() % 10_000) as i64);
                    row.cells.push(Cell::put(&self.names[name], value, Some(1_700_000_000_000 + n as i64)));
                }
                row
            })
            .collect()
    }
}

/// xorshift64 with a fixed seed.
struct Random(u64);

impl Default for Random {
    fn default() -> Random {
        Random(0x2545_f491_4f6c_dd1d)
    }
}

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }
}

fn plan_of(rows: &[Row<'_>]) -> ColumnPlan {
    let keys =
        [("device", PrimaryKeyType::String), ("at", PrimaryKeyType::Integer)].map(|(name, column_type)| {
            PrimaryKeyColumn { name: name.into(), column_type, auto_increment: false }
        });
    let mut sample = Sample::default();
    rows.iter().take(20_000).for_each(|row| sample.observe(row));
    sample.plan(&keys, &[]).expect("a plan")
}

fn build(builder: &mut BatchBuilder, rows: &[Row<'_>]) -> (Vec<RecordBatch>, u64) {
    let mut batches = Vec::new();
    let mut logical_bytes = 0;
    let mut finish = |builder: &mut BatchBuilder| {
        let batch = builder.finish().expect("a batch");
        logical_bytes += batch.totals.logical_bytes;
        batches.push(batch.record_batch);
    };
    for row in rows {
        builder.append(row).expect("a row");
        if builder.bytes() >= BATCH_BYTES {
            finish(builder);
        }
    }
    finish(builder);
    (batches, logical_bytes)
}

fn encode(plan: &ColumnPlan, batches: &[RecordBatch], settings: &WriterSettings) -> Vec<u8> {
    let mut encoder = FileEncoder::new(plan, settings, vec![]).expect("a file");
    batches.iter().for_each(|batch| encoder.write(batch).expect("a batch"));
    encoder.finish(vec![]).expect("an end").rest.concat()
}

#[expect(clippy::print_stderr, reason = "a bench states the shape of its data")]
fn stages(criterion: &mut Criterion) {
    let data = Data::new();
    for (name, rows) in [("sensors", data.sensors()), ("sparse", data.sparse())] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20).throughput(Throughput::Elements(ROWS as u64));
        let plan = plan_of(&rows);
        let settings = WriterSettings::default();
        let mut builder = BatchBuilder::new(Arc::new(plan.clone()));
        let (batches, logical_bytes) = build(&mut builder, &rows);
        let plan = choose_encodings(&batches, &plan, &settings).expect("encodings");
        let slower = WriterSettings { zstd_level: 3, ..settings.clone() };
        let file = encode(&plan, &batches, &settings);
        eprintln!(
            "{name}: {:.1} bytes per row by the data-size rule, {:.1} in Arrow, {:.2} in Parquet ({:.2} at zstd 3)",
            logical_bytes as f64 / ROWS as f64,
            batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() as f64 / ROWS as f64,
            file.len() as f64 / ROWS as f64,
            encode(&plan, &batches, &slower).len() as f64 / ROWS as f64,
        );

        group.bench_function("build record batches", |bencher| {
            bencher.iter(|| build(&mut builder, black_box(&rows)));
        });
        group.bench_function("encode at zstd 1", |bencher| {
            bencher.iter(|| encode(&plan, black_box(&batches), &settings));
        });
        group.bench_function("encode at zstd 3", |bencher| {
            bencher.iter(|| encode(&plan, black_box(&batches), &slower));
        });
        let file = bytes::Bytes::from(file);
        group.bench_function("read rows", |bencher| {
            bencher.iter(|| {
                let reader = FileReader::open(file.clone(), &plan, &ReadLimits::default()).expect("a file");
                let mut cells = 0;
                for batch in reader.batches().expect("batches") {
                    let batch = batch.expect("a batch");
                    let mut rows = RowsReader::new(&batch, &plan).expect("rows");
                    let mut row = Row::default();
                    while rows.read(&mut row).expect("a row") {
                        cells += row.cells.len();
                    }
                }
                cells
            });
        });
        group.finish();
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
