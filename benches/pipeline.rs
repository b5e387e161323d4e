//! Pages to Parquet bytes on one core: what the pipeline costs over its two halves.
//!
//! Decoding to record batches (walk, checksums, row-sum), encoding the ready batches, and both taking turns as a
//! backup does it. CPU time of the thread; the parts take turns within a round, the ratio is the median of the rounds'
//! ratios. Options through the environment: `IOT_ROWS` (200000), `MIXED_ROWS` (100000), `ROUNDS` (5), `ZSTD_LEVEL` (1).

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

mod pages;

use std::hint::black_box;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use crc_fast::{CrcAlgorithm, checksum};
use otsvault::columnar::{BatchBuilder, ColumnPlan};
use otsvault::model::Row;
use otsvault::parquet_file::{EncodedFile, FileEncoder, WriterSettings};
use otsvault::plainbuffer::{CellSink, Payload, RowReader};
use pages::Pages;
use sha2::{Digest, Sha256};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A worker's share of the default memory budget: its batches and its row groups.
const SHARE: usize = (512 << 20) / 100 * 45 / 8 / 5;

fn main() {
    // Without `--bench` somebody only wants to know that it runs.
    let (rows, rounds) = match std::env::args().any(|argument| argument == "--bench") {
        true => ((200_000, 100_000), 5),
        false => ((5_000, 5_000), 1),
    };
    let rounds = option("ROUNDS", rounds);
    let settings = WriterSettings {
        zstd_level: option("ZSTD_LEVEL", 1),
        row_group_bytes: SHARE,
        ..WriterSettings::default()
    };
    for (shape, rows) in [("iot", option("IOT_ROWS", rows.0)), ("mixed", option("MIXED_ROWS", rows.1))] {
        let pages = Pages::of(&format!("{shape}={shape}:rows={rows},seed=7"));
        println!("\n{}, zstd {}", pages.describe(), settings.zstd_level);
        measure(&pages, &settings, rounds);
    }
}

fn measure(pages: &Pages, settings: &WriterSettings, rounds: usize) {
    let plan = pages.plan(settings);
    let shared = Arc::new(plan.clone());
    let batches = decode_to_batches(pages, &shared);
    let file = encode(&plan, &batches, settings);
    let mut times: [Vec<f64>; 8] = Default::default();
    let mut stored = 0;
    for _ in 0..rounds {
        let walk = time(|| pages.each_row(|row| _ = black_box(row)));
        let general = time(|| each_batch_without_shortcut(pages, &shared, |batch| _ = black_box(batch)));
        let walk_expecting = time(|| walk_expecting(pages, &shared));
        let decode = time(|| each_batch(pages, &shared, |batch| _ = black_box(batch)));
        let write = time(|| stored = encode(&plan, &batches, settings).len());
        let hash = time(|| black_box((Sha256::digest(&file), checksum(CrcAlgorithm::Crc64Xz, &file))));
        let whole = time(|| black_box(pipeline(pages, &plan, settings)));
        let ratio = whole / (decode + write);
        for (times, time) in
            times.iter_mut().zip([walk, general, walk_expecting, decode, write, hash, whole, ratio])
        {
            times.push(time);
        }
    }
    let [walk, general, walk_expecting, decode, write, hash, whole, ratio] = times.map(median);
    let without_hash = whole / (decode + write - hash);
    let line = |name: &str, milliseconds: f64| {
        let seconds = milliseconds / 1e3;
        println!(
            "| {name:<42} | {milliseconds:>8.1} | {:>6.2} | {:>6.3} | {:>8.2} |",
            milliseconds / (pages.bytes() as f64 / 1e6),
            pages.bytes() as f64 / 1e9 / seconds,
            pages.rows as f64 / 1e6 / seconds,
        );
    };
    println!("| {:<42} | {:>8} | ms/MB  | GB/s   | M rows/s |", "stage", "ms CPU");
    println!("|---|---|---|---|---|");
    line("walk the rows, all cells in general", walk);
    line("decode that way, with row-sum", general);
    line("walk the rows, expecting the plan's cells", walk_expecting);
    line("decode that way, with row-sum", decode);
    line("encode ready batches", write);
    line("  of which SHA-256 and CRC-64 of the file", hash);
    line("pipeline", whole);
    println!(
        "pipeline / (decode + encode) = {ratio:.3}; without the file's hashes in the denominator {without_hash:.3}; \
         {:.2} bytes of Parquet per row",
        stored as f64 / pages.rows as f64
    );
}

fn walk_expecting(pages: &Pages, plan: &Arc<ColumnPlan>) {
    let expected = BatchBuilder::new(plan.clone()).expected();
    for body in &pages.bodies {
        let mut reader = RowReader::new(body).expect("a page");
        let (mut row, mut cells) = (Row::default(), Unread);
        while reader.next_row_expecting(&expected, &mut row, &mut cells).expect("a row") {
            black_box(&row);
        }
    }
}

/// Shows the rows of every page as batches of [`SHARE`] bytes, each cell read in full generality.
fn each_batch_without_shortcut(pages: &Pages, plan: &Arc<ColumnPlan>, mut visit: impl FnMut(RecordBatch)) {
    let mut builder = BatchBuilder::new(plan.clone());
    pages.each_row(|row| {
        builder.append(row).expect("a row that fits");
        if builder.bytes() >= SHARE {
            visit(builder.finish().expect("a batch").record_batch);
        }
    });
    visit(builder.finish().expect("a batch").record_batch);
}

/// Shows the rows of every page as batches of [`SHARE`] bytes.
fn each_batch(pages: &Pages, plan: &Arc<ColumnPlan>, mut visit: impl FnMut(RecordBatch)) {
    let mut builder = BatchBuilder::new(plan.clone());
    for body in &pages.bodies {
        let expected = builder.expected();
        let mut reader = RowReader::new(body).expect("a page");
        let mut row = Row::default();
        while reader.next_row_expecting(&expected, &mut row, builder.placed_cells()).expect("a row") {
            builder.append_read(&row).expect("a row that fits");
            if builder.bytes() >= SHARE {
                visit(builder.finish().expect("a batch").record_batch);
            }
        }
    }
    visit(builder.finish().expect("a batch").record_batch);
}

/// Where the cells of a bare walk go.
struct Unread;

impl<'a> CellSink<'a> for Unread {
    fn clear(&mut self) {}

    #[inline(always)]
    fn put(&mut self, index: usize, payload: Payload<'a>, timestamp: i64) {
        black_box((index, payload, timestamp));
    }
}

fn decode_to_batches(pages: &Pages, plan: &Arc<ColumnPlan>) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    each_batch(pages, plan, |batch| batches.push(batch));
    batches
}

fn encode(plan: &ColumnPlan, batches: &[RecordBatch], settings: &WriterSettings) -> Vec<u8> {
    let mut file = FileEncoder::new(plan, settings, vec![]).expect("a file");
    let mut bytes = Vec::new();
    for batch in batches {
        file.write(batch).expect("a batch");
        bytes.extend(file.take_bytes());
    }
    bytes.extend(file.finish(vec![]).expect("an end").rest);
    bytes.concat()
}

/// What the encoder of a backup does with the pages of one file, the check of the key order included.
fn pipeline(pages: &Pages, plan: &ColumnPlan, settings: &WriterSettings) -> EncodedFile {
    let mut rows = BatchBuilder::new(Arc::new(plan.clone()));
    let mut file = FileEncoder::new(plan, settings, vec![]).expect("a file");
    for body in &pages.bodies {
        let mut reader = RowReader::new(body).expect("a page");
        let (mut row, mut previous) = (Row::default(), Row::default());
        let expected = rows.expected();
        while reader.next_row_expecting(&expected, &mut row, rows.placed_cells()).expect("a row") {
            let key = row.key.iter().map(|(_, value)| value);
            assert!(key.gt(previous.key.iter().map(|(_, value)| value)), "pages are in key order");
            rows.append_read(&row).expect("a row that fits");
            if rows.bytes() >= SHARE {
                file.write(&rows.finish().expect("a batch").record_batch).expect("a row group");
            }
            std::mem::swap(&mut row, &mut previous);
        }
        black_box(file.take_bytes());
    }
    file.write(&rows.finish().expect("a batch").record_batch).expect("a row group");
    file.finish(vec![]).expect("an end")
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
