//! GetRange pages as the service sends them, made once by the sandbox's generator, and the plan a backup makes of them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::Serialize;
use serde_json::json;

use super::DataSet;
use crate::columnar::{BatchBuilder, ColumnPlan, Sample};
use crate::error::{Context, Error, Kind, Result};
use crate::model::{Cell, PrimaryKeyValue, Row, Value};
use crate::parquet_file::{WriterSettings, choose_encodings};
use crate::plainbuffer::{ExpectedCells, RowReader, write_header, write_row};
use crate::sandbox::table_store::GeneratedTable;

/// Rows of a page, at most (service limit).
const PAGE_ROWS: usize = 5_000;
/// Bytes of a page by the data-size rule, at most (service limit).
const PAGE_BYTES: usize = 4 << 20;
/// Rows that a backup looks at before it plans.
const SAMPLE_ROWS: usize = 20_000;
/// Between two versions of a cell.
const VERSION_STEP_MS: i64 = 1_000;

/// A whole table in memory, in PlainBuffer.
pub struct Pages {
    /// What the generator was asked for.
    pub table: GeneratedTable,
    /// The `rows` of each response: a header and rows.
    pub bodies: Vec<Vec<u8>>,
    /// Rows of all pages.
    pub rows: usize,
    /// Cell versions of all pages.
    pub cells: usize,
}

impl Pages {
    /// The pages of a table such as `iot=iot:rows=200000,seed=7`.
    ///
    /// # Errors
    /// `Usage` if that is no specification of a table.
    pub fn of(table: &str) -> Result<Pages> {
        Pages::of_versions(table, 1)
    }

    /// The pages of a data set with `scale` times its rows.
    ///
    /// # Errors
    /// None for the sets that there are.
    pub fn of_set(set: &DataSet, scale: f64) -> Result<Pages> {
        Pages::of_versions(&set.table(scale), set.versions)
    }

    fn of_versions(table: &str, versions: u32) -> Result<Pages> {
        let table: GeneratedTable =
            table.parse().map_err(|reason: String| Error::new(Kind::Usage, "make pages").because(reason))?;
        let mut pages = Pages { bodies: Vec::new(), rows: 0, cells: 0, table: table.clone() };
        let (mut body, mut page_rows, mut page_bytes) = (Vec::new(), 0, 0);
        table.scan(0..table.rows, false, |row| {
            if versions > 1 {
                row.cells = with_older_versions(&row.cells, versions);
            }
            let size = data_size(row);
            if page_rows == PAGE_ROWS || (page_rows > 0 && page_bytes + size > PAGE_BYTES) {
                pages.bodies.push(std::mem::take(&mut body));
                (page_rows, page_bytes) = (0, 0);
            }
            if body.is_empty() {
                write_header(&mut body);
            }
            write_row(&mut body, row);
            page_rows += 1;
            page_bytes += size;
            pages.rows += 1;
            pages.cells += row.cells.len();
            ControlFlow::Continue(())
        });
        pages.bodies.push(body);
        Ok(pages)
    }

    /// Bytes of all pages.
    pub fn bytes(&self) -> usize {
        self.bodies.iter().map(Vec::len).sum()
    }

    /// Name and measures of the data, for the first line that a bench prints.
    pub fn describe(&self) -> String {
        format!(
            "{}: {} rows, {:.1} cells and {:.0} bytes of PlainBuffer per row, {} pages, {:.1} MB",
            self.table.name,
            self.rows,
            self.cells as f64 / self.rows as f64,
            self.bytes() as f64 / self.rows as f64,
            self.bodies.len(),
            self.bytes() as f64 / 1e6,
        )
    }

    /// Shows every row.
    ///
    /// # Errors
    /// None for pages made here.
    pub fn each_row(&self, mut visit: impl FnMut(&Row<'_>)) -> Result<()> {
        self.bodies.iter().try_for_each(|body| each_row_of(body, &mut visit))
    }

    /// The plan that a backup makes, from rows spread over the table.
    ///
    /// # Errors
    /// None for the generator's tables.
    pub fn plan(&self, settings: &WriterSettings) -> Result<ColumnPlan> {
        let definition = self.table.definition();
        let step = (self.rows / SAMPLE_ROWS).max(1);
        let sampled = || self.bodies.iter().step_by(step);
        let mut sample = Sample::default();
        for body in sampled() {
            each_row_of(body, |row| sample.observe(row))?;
        }
        let plan = sample.plan(&definition.primary_key, &definition.defined_columns)?;
        let mut rows = BatchBuilder::unsummed(Arc::new(plan.clone()));
        let expected = rows.expected();
        for body in sampled() {
            each_batch_of(body, &expected, &mut rows, usize::MAX, &mut |_| {})?;
        }
        choose_encodings(&[rows.finish()?.record_batch], &plan, settings)
    }

    /// Decodes all pages as a backup does, and shows batches of about `batch_bytes`.
    ///
    /// # Errors
    /// None for pages made here and a builder of their plan.
    pub fn each_batch(
        &self,
        rows: BatchBuilder,
        batch_bytes: usize,
        visit: impl FnMut(RecordBatch),
    ) -> Result<()> {
        let expected = rows.expected();
        self.each_batch_expecting(&expected, rows, batch_bytes, visit)
    }

    /// The same with cells that `rows` expects, but read in another way.
    ///
    /// # Errors
    /// As [`Pages::each_batch`].
    pub fn each_batch_expecting(
        &self,
        expected: &ExpectedCells,
        mut rows: BatchBuilder,
        batch_bytes: usize,
        mut visit: impl FnMut(RecordBatch),
    ) -> Result<()> {
        for body in &self.bodies {
            each_batch_of(body, expected, &mut rows, batch_bytes, &mut visit)?;
        }
        visit(rows.finish()?.record_batch);
        Ok(())
    }

    /// Writes `NAME.pages` (per page its length as u32 little-endian, then its bytes) and `NAME.json`, which says what
    /// is in them, into `folder`, for other programs.
    ///
    /// # Errors
    /// `Io` if that cannot be written.
    pub fn dump(&self, folder: &Path) -> Result<()> {
        let doing = || Error::new(Kind::Io, "write pages").on(folder.display().to_string());
        let write = || {
            let file = File::create(folder.join(format!("{}.pages", self.table.name)))?;
            let mut file = BufWriter::new(file);
            for body in &self.bodies {
                file.write_all(&(body.len() as u32).to_le_bytes())?;
                file.write_all(body)?;
            }
            file.flush()
        };
        std::fs::create_dir_all(folder).and_then(|()| write()).map_err(|error| doing().source(error))?;
        let mut columns = BTreeSet::new();
        self.each_row(|row| {
            let values = row.cells.iter().filter_map(|cell| Some((cell.name, cell.value?.value_type())));
            for (name, value_type) in values {
                if !columns.iter().any(|(known, known_type)| known == name && *known_type == value_type) {
                    columns.insert((name.to_owned(), value_type));
                }
            }
        })?;
        let columns: Vec<_> = columns.iter().map(|(name, value_type)| type_named(name, value_type)).collect();
        let key = self.table.definition().primary_key;
        let key: Vec<_> = key.iter().map(|column| type_named(&column.name, &column.column_type)).collect();
        let contents = json!({
            "set": self.table.name, "rows": self.rows, "cells": self.cells, "bytes": self.bytes(),
            "pages": self.bodies.len(), "primary_key": key, "columns": columns,
        });
        std::fs::write(folder.join(format!("{}.json", self.table.name)), contents.to_string())
            .map_err(|error| doing().source(error))
    }
}

fn each_row_of(body: &[u8], mut visit: impl FnMut(&Row<'_>)) -> Result<()> {
    let doing = "read a page";
    let mut reader = RowReader::new(body).doing(Kind::Internal, doing)?;
    let mut row = Row::default();
    while reader.next_row(&mut row).doing(Kind::Internal, doing)? {
        visit(&row);
    }
    Ok(())
}

fn each_batch_of(
    body: &[u8],
    expected: &ExpectedCells,
    rows: &mut BatchBuilder,
    batch_bytes: usize,
    visit: &mut impl FnMut(RecordBatch),
) -> Result<()> {
    let doing = "read a page";
    let mut reader = RowReader::new(body).doing(Kind::Internal, doing)?;
    let mut row = Row::default();
    while reader.next_row_expecting(expected, &mut row, rows.placed_cells()).doing(Kind::Internal, doing)? {
        rows.append_read(&row)?;
        if rows.bytes() >= batch_bytes {
            visit(rows.finish()?.record_batch);
        }
    }
    Ok(())
}

/// Each cell with older ones of the same value behind it.
fn with_older_versions<'a>(cells: &[Cell<'a>], versions: u32) -> Vec<Cell<'a>> {
    let versions_of = |cell: &Cell<'a>| {
        let (cell, newest) = (*cell, cell.timestamp.unwrap_or_default());
        (0..i64::from(versions))
            .map(move |age| Cell { timestamp: Some(newest - age * VERSION_STEP_MS), ..cell })
    };
    cells.iter().flat_map(versions_of).collect()
}

/// `["name", "TYPE"]`.
fn type_named(name: &str, value_type: &impl Serialize) -> serde_json::Value {
    let named = json!(value_type).as_str().map(str::to_uppercase);
    json!([name, named])
}

fn data_size(row: &Row<'_>) -> usize {
    let key_value = |value: &PrimaryKeyValue<'_>| match value {
        PrimaryKeyValue::String(text) => text.len(),
        PrimaryKeyValue::Binary(bytes) => bytes.len(),
        _ => 8,
    };
    let key: usize = row.key.iter().map(|(name, value)| name.len() + key_value(value)).sum();
    let cells = row.cells.iter().map(|cell| cell.name.len() + cell.value.map_or(0, Value::data_size) + 8);
    key + cells.sum::<usize>()
}
