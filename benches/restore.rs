//! Parquet bytes to signed-ready BatchWriteRow bodies on one core: what the writing half of a restore costs.
//!
//! Reading to record batches, encoding ready batches to PlainBuffer rows, both in one pass, and with the bodies put
//! together and hashed: side by side as the product does it, and one after the other with the `md-5` crate. CPU time of the
//! thread; the stages take turns within a round, ratios are medians of the rounds' ratios. Options through the environment:
//! `SHAPES` (iot,wide,fat,sparse,mixed), `SCALE` (1; multiplies the rows), `ROUNDS` (7).

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

mod pages;

use std::hint::black_box;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use md5::{Digest, Md5};
use otsvault::columnar::{BatchBuilder, ColumnPlan, EncodedRows, RowEncoder, RowSelection, RowsReader};
use otsvault::model::Row;
use otsvault::parquet_file::{FileEncoder, FileReader, ReadLimits, WriterSettings};
use otsvault::plainbuffer::{write_header, write_row};
use otsvault::tablestore::{BatchFiller, BatchTarget, WriteBatch, md5_of_each};
use pages::Pages;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of the shapes of performance.md's size, so that figures can be compared.
const SHAPES: [(&str, usize); 5] =
    [("iot", 200_000), ("wide", 50_000), ("fat", 60_000), ("sparse", 200_000), ("mixed", 50_000)];

/// Bytes of encoded rows between two visits to the batch filler, as in a restore.
const PIECE: usize = 4 << 20;

/// Full batches that are hashed together.
const TOGETHER: usize = 32;

const STAGES: [&str; 10] = [
    "copy the encoded rows (memcpy)",
    "read Parquet to record batches",
    "encode ready batches by RowsReader, in general",
    "encode ready batches",
    "encode ready batches, newest versions, no times",
    "read and encode in one pass",
    "MD5 of the bodies by the md-5 crate",
    "MD5 of the bodies side by side",
    "put bodies together from encoded rows, no MD5",
    "all of it: read, encode, bodies, MD5",
];

fn main() {
    // Without `--bench` somebody only wants to know that it runs.
    let (scale, rounds) = match std::env::args().any(|argument| argument == "--bench") {
        true => (1.0, 7),
        false => (0.02, 1),
    };
    let (scale, rounds) = (option("SCALE", scale), option("ROUNDS", rounds));
    let shapes: String = option("SHAPES", SHAPES.map(|(shape, _)| shape).join(","));
    for (shape, rows) in SHAPES.iter().filter(|(shape, _)| shapes.split(',').any(|wanted| wanted == *shape)) {
        let rows = (*rows as f64 * scale) as usize;
        measure(&Pages::of(&format!("{shape}={shape}:rows={rows},seed=7")), rounds);
    }
}

/// What all stages work on.
struct Restore {
    plan: Arc<ColumnPlan>,
    file: bytes::Bytes,
    batches: Vec<RecordBatch>,
    bodies: Vec<WriteBatch>,
    rows: usize,
}

fn measure(pages: &Pages, rounds: usize) {
    let restore = Restore::of(pages);
    let encoded: Vec<u8> = restore.encoded_rows();
    let mut copy = vec![0; encoded.len()];
    let everything = RowSelection::default();
    let newest = RowSelection { flatten: true, ..RowSelection::default() };
    let mut times: [Vec<f64>; STAGES.len()] = Default::default();
    let mut ratios: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        let copy = time(|| copy.copy_from_slice(black_box(&encoded)));
        let read = time(|| restore.each_batch(|batch| _ = black_box(batch)));
        let general = time(|| restore.encode_in_general());
        let encode = time(|| restore.encode(&everything));
        let flatten = time(|| restore.encode(&newest));
        let both = time(|| restore.read_and_encode());
        let bodies: Vec<&[u8]> = restore.bodies.iter().map(WriteBatch::body).collect();
        let plain = time(|| bodies.iter().for_each(|body| _ = black_box(Md5::digest(body))));
        let lanes = time(|| bodies.chunks(TOGETHER).for_each(|bodies| _ = black_box(md5_of_each(bodies))));
        let whole = time(|| restore.whole(|bodies| drop(black_box(bodies))));
        let bodies = whole - both - lanes;
        let round = [copy, read, general, encode, flatten, both, plain, lanes, bodies, whole];
        times.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
        let round = [(read + encode) / both, whole / (whole - lanes + plain), whole / copy];
        ratios.iter_mut().zip(round).for_each(|(ratios, ratio)| ratios.push(ratio));
    }
    let megabytes = encoded.len() as f64 / 1e6;
    println!(
        "\n{}: {} rows, {:.0} bytes of PlainBuffer per row, {megabytes:.1} MB, {} bodies, {:.1} MB of Parquet",
        pages.table.name,
        restore.rows,
        encoded.len() as f64 / restore.rows as f64,
        restore.bodies.len(),
        restore.file.len() as f64 / 1e6,
    );
    println!("| {:<48} | {:>8} | ms/MB  | GB/s   | M rows/s |", "stage", "ms CPU");
    println!("|---|---|---|---|---|");
    for (name, times) in STAGES.iter().zip(times) {
        let milliseconds = median(times);
        println!(
            "| {name:<48} | {milliseconds:>8.1} | {:>6.2} | {:>6.2} | {:>8.2} |",
            milliseconds / megabytes,
            megabytes / milliseconds,
            restore.rows as f64 / 1e3 / milliseconds,
        );
    }
    let [apart, hashes, copies] = ratios.map(median);
    println!(
        "(read + encode apart) / in one pass = {apart:.3}; all of it / the same with the md-5 crate = {hashes:.3}; \
         all of it = {copies:.1} copies"
    );
}

impl Restore {
    fn of(pages: &Pages) -> Restore {
        let settings = WriterSettings::default();
        let plan = Arc::new(pages.plan(&settings));
        let mut file = FileEncoder::new(&plan, &settings, vec![]).expect("a file");
        let mut rows = BatchBuilder::new(plan.clone());
        let mut parts = Vec::new();
        pages.each_row(|row| {
            rows.append(row).expect("a row that fits");
            if rows.bytes() >= 16 << 20 {
                file.write(&rows.finish().expect("a batch").record_batch).expect("a row group");
                parts.extend(file.take_bytes());
            }
        });
        file.write(&rows.finish().expect("a batch").record_batch).expect("a row group");
        parts.extend(file.finish(vec![]).expect("an end").rest);
        let mut restore = Restore {
            plan,
            file: parts.concat().into(),
            batches: Vec::new(),
            bodies: Vec::new(),
            rows: pages.rows,
        };
        let mut batches = Vec::new();
        restore.each_batch(|batch| batches.push(batch));
        restore.batches = batches;
        let mut bodies = Vec::new();
        restore.whole(|some| bodies.extend(some));
        restore.bodies = bodies;
        restore
    }

    fn each_batch(&self, mut visit: impl FnMut(RecordBatch)) {
        let file = FileReader::open(self.file.clone(), &self.plan, &ReadLimits::default()).expect("a file");
        file.batches().expect("batches").for_each(|batch| visit(batch.expect("a batch")));
    }

    fn encoder(&self, selection: &RowSelection) -> RowEncoder {
        RowEncoder::new(self.plan.clone(), selection.clone()).expect("an encoder")
    }

    fn encode(&self, selection: &RowSelection) {
        let (encoder, mut into) = (self.encoder(selection), EncodedRows::default());
        self.batches
            .iter()
            .for_each(|batch| each_piece(&encoder, batch, &mut into, |rows| _ = black_box(rows)));
    }

    fn read_and_encode(&self) {
        let (encoder, mut into) = (self.encoder(&RowSelection::default()), EncodedRows::default());
        self.each_batch(|batch| each_piece(&encoder, &batch, &mut into, |rows| _ = black_box(rows)));
    }

    /// Shows the bodies; the program sends them and forgets them.
    fn whole(&self, mut visit: impl FnMut(Vec<WriteBatch>)) {
        let (encoder, mut into) = (self.encoder(&RowSelection::default()), EncodedRows::default());
        let mut filler = BatchFiller::new(BatchTarget::put("table"));
        let mut number = 0;
        self.each_batch(|batch| {
            each_piece(&encoder, &batch, &mut into, |rows| {
                for row in rows.iter() {
                    filler.push(row.bytes, row.data_size, number);
                    number += 1;
                }
                if filler.full() >= TOGETHER {
                    visit(filler.take_full());
                }
            });
        });
        visit(filler.finish());
        assert_eq!(number as usize, self.rows);
    }

    fn encode_in_general(&self) {
        let mut out = Vec::new();
        for batch in &self.batches {
            out.clear();
            let (mut rows, mut row) = (RowsReader::new(batch, &self.plan).expect("rows"), Row::default());
            while rows.read(&mut row).expect("a row") {
                write_header(&mut out);
                write_row(&mut out, &row);
            }
            black_box(&out);
        }
    }

    fn encoded_rows(&self) -> Vec<u8> {
        let (encoder, mut into) = (self.encoder(&RowSelection::default()), EncodedRows::default());
        let mut all = Vec::new();
        for batch in &self.batches {
            let mut visit = |rows: &EncodedRows| rows.iter().for_each(|row| all.extend_from_slice(row.bytes));
            each_piece(&encoder, batch, &mut into, &mut visit);
        }
        all
    }
}

fn each_piece(
    encoder: &RowEncoder,
    batch: &RecordBatch,
    into: &mut EncodedRows,
    mut visit: impl FnMut(&EncodedRows),
) {
    let mut rows = encoder.batch(batch).expect("a batch of the plan");
    while rows.encode(PIECE, into).expect("rows") {
        visit(into);
    }
}

/// CPU milliseconds of this thread in `work`.
fn time<T>(work: impl FnOnce() -> T) -> f64 {
    let began = thread_cpu();
    black_box(work());
    (thread_cpu() - began).as_secs_f64() * 1e3
}

fn thread_cpu() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to write to.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    assert_eq!(failed, 0, "the system tells a thread's CPU time");
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn option<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
