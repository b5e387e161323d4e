//! Base files and files of Stream records to the file of the rows at the end, on one core: what compacting costs, and what folding adds.
//!
//! Of the rows one in ten has a record: 80 % update two columns, 15 % put the row anew, 5 % delete it. The records come in `FILES` files, each of
//! which spans all keys. Measured apart, as CPU time of the thread: reading the base, reading the records (both to record batches), encoding the
//! rows at the end; then all of it in one go, as `compact` does it. The stages take turns within a round, the ratio is the median of the
//! rounds' ratios. Options through the environment: `ROWS` (1,000,000), `SHAPE` (iot), `FILES` (8), `ROUNDS` (5).

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use otsvault::bench::{Pages, cpu_time, median};
use otsvault::columnar::{BatchBuilder, ColumnPlan, RecordBatchBuilder};
use otsvault::fold::{FoldSettings, FoldedRows, RecordSetBuilder};
use otsvault::model::{
    Cell, FoldRules, KeyRange, PrimaryKey, RecordPlace, RecordType, Row, SequenceInfo, StreamRecord, Value,
};
use otsvault::parquet_file::{FileEncoder, FileReader, ReadLimits, WriterSettings};
use otsvault::sandbox::table_store::GeneratedTable;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of a batch while files are made.
const BATCH_BYTES: usize = 16 << 20;

/// Records in a row group, as `delta` writes them.
const RECORD_GROUP: usize = 1 << 14;

fn main() {
    // Without `--bench` somebody only wants to know that it runs.
    let (rows, rounds) = match std::env::args().any(|argument| argument == "--bench") {
        true => (1_000_000, 5),
        false => (20_000, 1),
    };
    let chain = Chain::of(&option("SHAPE", "iot".to_owned()), option("ROWS", rows), option("FILES", 8));
    let mut times: [Vec<f64>; 4] = Default::default();
    let mut ratios = Vec::new();
    let result = chain.fold_to_batches();
    for _ in 0..option("ROUNDS", rounds) {
        let base = time(|| chain.each_base_batch(|batch| drop(black_box(batch))));
        let records = time(|| chain.each_record_batch(|_, batch| drop(black_box(batch))));
        let encode = time(|| chain.encode(result.iter().cloned()));
        let all = time(|| chain.encode(chain.fold()));
        times.iter_mut().zip([base, records, encode, all]).for_each(|(times, time)| times.push(time));
        ratios.push(all / (base + records + encode));
    }
    let rows: usize = result.iter().map(RecordBatch::num_rows).sum();
    let megabytes = |files: &[Bytes]| files.iter().map(Bytes::len).sum::<usize>() as f64 / 1e6;
    println!(
        "{} rows ({:.1} MB) and {} records in {} files ({:.1} MB): {rows} rows at the end",
        chain.rows,
        chain.base.len() as f64 / 1e6,
        chain.records,
        chain.deltas.len(),
        megabytes(&chain.deltas),
    );
    println!("| {:<42} | {:>8} |", "stage", "ms CPU");
    println!("|---|---|");
    let stages =
        ["read the base", "read the records", "encode the rows at the end", "all of it: read, fold, encode"];
    for (name, times) in stages.iter().zip(times) {
        println!("| {name:<42} | {:>8.1} |", median(times).expect("a round"));
    }
    println!("all of it / the three apart = {:.3}", median(ratios).expect("a round"));
}

/// A base in one file and files of records.
struct Chain {
    plan: Arc<ColumnPlan>,
    base: Bytes,
    deltas: Vec<Bytes>,
    /// First and last key of each.
    keys: Vec<(PrimaryKey, PrimaryKey)>,
    rows: u64,
    records: u64,
}

/// A file of records that is being made.
struct Delta {
    rows: RecordBatchBuilder,
    file: FileEncoder,
    keys: Option<(PrimaryKey, PrimaryKey)>,
}

impl Chain {
    fn of(shape: &str, rows: u64, files: usize) -> Chain {
        let settings = WriterSettings::default();
        // The plan comes from a small table of the same shape.
        let sample = Pages::of(&format!("t={shape}:rows={},seed=7", rows.min(100_000))).expect("pages");
        let plan = Arc::new(sample.plan(&settings).expect("a plan"));
        let table: GeneratedTable = format!("t={shape}:rows={rows},seed=7").parse().expect("a table");
        let mut base = FileEncoder::new(&plan, &settings, vec![]).expect("a file");
        let mut batch = BatchBuilder::new(plan.clone());
        let of_records = WriterSettings { row_group_rows: RECORD_GROUP, ..settings.clone() };
        let delta = || Delta {
            rows: RecordBatchBuilder::new(plan.clone()),
            file: FileEncoder::of_records(&plan, &of_records, vec![]).expect("a file"),
            keys: None,
        };
        let mut deltas: Vec<Delta> = (0..files).map(|_| delta()).collect();
        let (mut random, mut records) = (StdRng::seed_from_u64(7), 0);
        table.scan(0..table.rows, false, |row| {
            batch.append(row).expect("a row that fits");
            if batch.bytes() >= BATCH_BYTES {
                base.write(&batch.finish().expect("a batch").record_batch).expect("a row group");
            }
            if random.random_bool(0.1) {
                let file = random.random_range(0..files);
                deltas[file].add(row, records, random.random_range(0..100));
                records += 1;
            }
            ControlFlow::Continue(())
        });
        base.write(&batch.finish().expect("a batch").record_batch).expect("a row group");
        let mut keys = Vec::new();
        let mut finish = |mut delta: Delta| {
            delta.flush();
            keys.extend(delta.keys.take());
            bytes_of(delta.file)
        };
        let deltas = deltas.into_iter().filter(|delta| delta.keys.is_some()).map(&mut finish).collect();
        Chain { plan, base: bytes_of(base), deltas, keys, rows: table.rows, records }
    }

    fn each_base_batch(&self, visit: impl FnMut(RecordBatch)) {
        self.base_batches().map(|batch| batch.expect("a batch")).for_each(visit);
    }

    fn base_batches(&self) -> impl Iterator<Item = otsvault::Result<RecordBatch>> + Send + use<> {
        let file = FileReader::open(self.base.clone(), &self.plan, &ReadLimits::default()).expect("a file");
        file.batches().expect("batches")
    }

    fn each_record_batch(&self, mut visit: impl FnMut(usize, RecordBatch)) {
        for (number, bytes) in self.deltas.iter().enumerate() {
            let file = FileReader::open_records(bytes.clone(), &self.plan, &ReadLimits::default());
            let batches = file.expect("a file").batches().expect("batches");
            batches.for_each(|batch| visit(number, batch.expect("a batch")));
        }
    }

    fn fold(&self) -> impl Iterator<Item = RecordBatch> {
        let all = KeyRange::all(self.plan.key_count());
        let mut records = RecordSetBuilder::new(all.clone(), u64::MAX);
        self.each_record_batch(|number, batch| {
            let (first, last) = &self.keys[number];
            records.add(&batch, &self.plan, (first, last)).expect("records in order");
        });
        let (records, covered) = records.finish().expect("records");
        let settings = FoldSettings {
            rules: FoldRules { max_versions: 1 },
            trim: false,
            horizon_ms: None,
            until_clock_us: None,
        };
        let mut rows = FoldedRows::new(Box::new(self.base_batches()), self.plan.clone(), settings, all);
        rows.feed(Arc::new(records), &covered.end);
        rows.map(|batch| batch.expect("a batch"))
    }

    fn fold_to_batches(&self) -> Vec<RecordBatch> {
        self.fold().collect()
    }

    fn encode(&self, batches: impl Iterator<Item = RecordBatch>) {
        let mut file = FileEncoder::new(&self.plan, &WriterSettings::default(), vec![]).expect("a file");
        for batch in batches {
            file.write(&batch).expect("a row group");
            black_box(file.take_bytes());
        }
        black_box(file.finish(vec![]).expect("an end"));
    }
}

impl Delta {
    /// Adds a record of `row`, which is of one of three kinds by a number below 100.
    fn add(&mut self, row: &Row<'_>, ordinal: u64, kind: u32) {
        let timestamp_us = 1_800_000_000_000_000 + ordinal as i64;
        let at = Some(timestamp_us / 1_000);
        let (record_type, cells) = match kind {
            0..80 => {
                let two = row.cells.iter().rev().take(2).rev();
                (RecordType::Update, two.map(|cell| Cell { timestamp: at, ..changed(cell) }).collect())
            }
            80..95 => {
                let all = row.cells.iter();
                (RecordType::Put, all.map(|cell| Cell { timestamp: at, ..changed(cell) }).collect())
            }
            _ => (RecordType::Delete, Vec::new()),
        };
        let sequence = SequenceInfo { epoch: 0, timestamp_us, row_index: 0 };
        let record = StreamRecord {
            record_type,
            sequence,
            row: Row { key: row.key.clone(), cells, ..Row::default() },
        };
        let place = RecordPlace { rank: 0, ordinal, clock_us: timestamp_us };
        self.rows.append(&record, place, "00000000-0000-0000-0000-000000000000").expect("a record that fits");
        let key = PrimaryKey::from_row(&row.key).expect("a key");
        let first = self.keys.take().map_or_else(|| key.clone(), |(first, _)| first);
        self.keys = Some((first, key));
        if self.rows.bytes() >= BATCH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.file.write(&self.rows.finish().expect("a batch").0).expect("a row group");
    }
}

fn changed<'a>(cell: &Cell<'a>) -> Cell<'a> {
    let value = match cell.value {
        Some(Value::Double(value)) => Some(Value::Double(value + 1.0)),
        Some(Value::Integer(value)) => Some(Value::Integer(value ^ 1)),
        value => value,
    };
    Cell { value, ..*cell }
}

fn bytes_of(mut file: FileEncoder) -> Bytes {
    let mut parts = file.take_bytes();
    parts.extend(file.finish(vec![]).expect("an end").rest);
    parts.concat().into()
}

/// CPU milliseconds of this thread in `work`.
fn time<T>(work: impl FnOnce() -> T) -> f64 {
    let began = cpu_time();
    black_box(work());
    (cpu_time() - began).as_secs_f64() * 1e3
}

fn option<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
