//! GetRange pages read as a Rust program reads them without otsvault: the rows of `aliyun-tablestore-rs`, Arrow's builders,
//! `ArrowWriter` with its defaults and zstd 3.
//!
//!     otsvault-peer FOLDER ROUNDS SET...
//!
//! Prints a JSON line per set and stage.

use std::error::Error;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use aliyun_tablestore_rs::data::GetRangeResponse;
use aliyun_tablestore_rs::model::Row;
use aliyun_tablestore_rs::protos;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::sum;
use arrow::datatypes::Int64Type;
use columns::Columns;
use data_set::DataSet;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

mod columns;
mod data_set;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const PEER: &str = "aliyun-tablestore-rs";

/// A stage over all pages: rows read, and bytes of Parquet where it writes some.
type Stage = fn(&DataSet) -> Result<(usize, Option<usize>)>;

const STAGES: [(&str, Stage); 3] = [
    ("decode", decode),
    ("decode+columns", decode_columns),
    ("decode+columns+parquet", decode_columns_parquet),
];

/// What `run` prints.
#[derive(Serialize)]
struct Line<'a> {
    peer: &'a str,
    set: &'a str,
    rows: usize,
    stage: &'a str,
    cpu_ms: Vec<f64>,
    parquet_bytes: Option<usize>,
    #[serde(flatten)]
    read: &'a Read,
    note: &'a str,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().ok_or("wanted: FOLDER ROUNDS SET...");
    let (folder, rounds) = (PathBuf::from(argument()?), argument()?.parse::<usize>()?);
    let note = format!("parser: {PEER} 0.1.3; arrow and parquet {}", arrow::ARROW_VERSION);
    for set in arguments {
        let data = DataSet::read(&folder, &set)?;
        let read = what_was_read(&data)?;
        check(&set, "cells", read.cells, data.described.cells.unwrap_or(read.cells))?;
        let mut measured = STAGES.map(|_| (Vec::new(), None));
        for _ in 0..rounds {
            for ((_, stage), (cpu_ms, parquet_bytes)) in STAGES.iter().zip(&mut measured) {
                let start = process_cpu_ms();
                let (rows, bytes) = stage(&data)?;
                cpu_ms.push(((process_cpu_ms() - start) * 1e3).round() / 1e3);
                *parquet_bytes = bytes;
                check(&set, "rows", rows, data.described.rows)?;
            }
        }
        for (&(stage, _), (cpu_ms, parquet_bytes)) in STAGES.iter().zip(measured) {
            let line = Line {
                peer: PEER,
                set: &set,
                rows: data.described.rows,
                stage,
                cpu_ms,
                parquet_bytes,
                read: &read,
                note: &note,
            };
            println!("{}", serde_json::to_string(&line)?);
        }
    }
    Ok(())
}

/// The rows of a page, through what the SDK's client calls with the message that it received.
///
/// The message owns its bytes: the copy here is the one that prost makes of a response.
fn rows_of(page: &[u8]) -> Result<Vec<Row>> {
    let message = protos::GetRangeResponse { rows: page.to_vec(), ..Default::default() };
    Ok(GetRangeResponse::try_from(message)?.rows)
}

fn batch_of(page: &[u8], columns: &mut Columns) -> Result<RecordBatch> {
    for row in &rows_of(page)? {
        columns.append(row);
    }
    Ok(columns.finish()?)
}

fn decode(data: &DataSet) -> Result<(usize, Option<usize>)> {
    let mut rows = 0;
    for page in &data.pages {
        rows += black_box(rows_of(page)?).len();
    }
    Ok((rows, None))
}

fn decode_columns(data: &DataSet) -> Result<(usize, Option<usize>)> {
    let (mut rows, mut columns) = (0, Columns::of(&data.described));
    for page in &data.pages {
        rows += black_box(batch_of(page, &mut columns)?).num_rows();
    }
    Ok((rows, None))
}

fn decode_columns_parquet(data: &DataSet) -> Result<(usize, Option<usize>)> {
    let (mut rows, mut columns) = (0, Columns::of(&data.described));
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&columns.schema), Some(properties))?;
    for page in &data.pages {
        let batch = batch_of(page, &mut columns)?;
        rows += batch.num_rows();
        writer.write(&batch)?;
    }
    Ok((rows, Some(writer.into_inner()?.len())))
}

/// Counts and a sum by which a reader that leaves something out is found.
#[derive(Serialize)]
struct Read {
    cells: usize,
    values: usize,
    integer_sum: i64,
}

fn what_was_read(data: &DataSet) -> Result<Read> {
    let mut read = Read { cells: 0, values: 0, integer_sum: 0 };
    let mut columns = Columns::of(&data.described);
    for page in &data.pages {
        read.cells += rows_of(page)?.iter().map(|row| row.columns.len()).sum::<usize>();
        let batch = batch_of(page, &mut columns)?;
        let attributes = &batch.columns()[data.described.primary_key.len()..];
        read.values += attributes.iter().map(|column| column.len() - column.null_count()).sum::<usize>();
        let integers = batch.columns().iter().filter_map(|column| column.as_primitive_opt::<Int64Type>());
        read.integer_sum =
            integers.filter_map(sum).fold(read.integer_sum, |total, column| total.wrapping_add(column));
    }
    Ok(read)
}

fn check(set: &str, what: &str, found: usize, wanted: usize) -> Result<()> {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{PEER} read {found} {what} of {wanted} in {set}").into())
    }
}

/// CPU time of the process, all threads.
fn process_cpu_ms() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
