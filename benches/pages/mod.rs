//! GetRange pages as the service sends them, made once by the sandbox's generator, and the plan a backup makes of them.

#![allow(dead_code, reason = "each bench uses its part")]

use std::ops::ControlFlow;
use std::sync::Arc;

use otsvault::columnar::{BatchBuilder, ColumnPlan, Sample};
use otsvault::model::{PrimaryKeyValue, Row, Value};
use otsvault::parquet_file::{WriterSettings, choose_encodings};
use otsvault::plainbuffer::{RowReader, write_header, write_row};
use otsvault::sandbox::table_store::GeneratedTable;

/// Rows of a page, at most (service limit).
const PAGE_ROWS: usize = 5_000;
/// Bytes of a page by the data-size rule, at most (service limit).
const PAGE_BYTES: usize = 4 << 20;
/// Rows that a backup looks at before it plans.
const SAMPLE_ROWS: usize = 20_000;

/// A whole table in memory, in PlainBuffer.
pub struct Pages {
    pub table: GeneratedTable,
    pub bodies: Vec<Vec<u8>>,
    pub rows: usize,
    pub cells: usize,
}

impl Pages {
    /// The pages of a table such as `iot=iot:rows=200000,seed=7`.
    pub fn of(table: &str) -> Pages {
        let table: GeneratedTable = table.parse().expect("a table specification");
        let mut pages = Pages { bodies: Vec::new(), rows: 0, cells: 0, table: table.clone() };
        let (mut body, mut page_rows, mut page_bytes) = (Vec::new(), 0, 0);
        table.scan(0..table.rows, false, |row| {
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
        pages
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
    pub fn each_row(&self, mut visit: impl FnMut(&Row<'_>)) {
        for body in &self.bodies {
            let mut reader = RowReader::new(body).expect("a page");
            let mut row = Row::default();
            while reader.next_row(&mut row).expect("a row") {
                visit(&row);
            }
        }
    }

    /// The plan that a backup makes, from rows spread over the table.
    pub fn plan(&self, settings: &WriterSettings) -> ColumnPlan {
        let definition = self.table.definition();
        let step = (self.rows / SAMPLE_ROWS).max(1);
        let sampled = Pages {
            bodies: self.bodies.iter().step_by(step).cloned().collect(),
            table: self.table.clone(),
            ..*self
        };
        let mut sample = Sample::default();
        sampled.each_row(|row| sample.observe(row));
        let plan = sample.plan(&definition.primary_key, &definition.defined_columns).expect("a plan");
        let mut rows = BatchBuilder::new(Arc::new(plan.clone()));
        sampled.each_row(|row| rows.append(row).expect("a row"));
        let batch = rows.finish().expect("a batch").record_batch;
        choose_encodings(&[batch], &plan, settings).expect("encodings")
    }
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
