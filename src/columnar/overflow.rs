//! The `_overflow` column: cells without a column of their own, per attribute name, in wire order.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::boolean::BooleanColumn;
use super::bytes::{BinaryColumn, StringColumn};
use super::primitive::{DoubleColumn, IntegerColumn};
use super::schema::overflow_type;
use super::validity::Validity;
use crate::model::{Cell, CellOp, Value};

/// How an operation reads in `op`; a put is null.
pub fn op_name(op: CellOp) -> &'static str {
    match op {
        CellOp::DeleteAllVersions => "delete_all_versions",
        CellOp::DeleteOneVersion => "delete_one_version",
        CellOp::Increment => "increment",
    }
}

/// Builds `MAP<STRING, LIST<STRUCT<op, ts, i, d, s, b, x>>>`; null in rows that never came up.
pub struct OverflowColumn {
    field_id: i32,
    /// Where each row's names end; the leading 0 is there from the start.
    row_offsets: Vec<i32>,
    rows_validity: Validity,
    names: StringColumn,
    name_count: usize,
    /// Where each name's cells end; the leading 0 is there from the start.
    name_offsets: Vec<i32>,
    cell_count: usize,
    op: StringColumn,
    ts: IntegerColumn,
    i: IntegerColumn,
    d: DoubleColumn,
    s: StringColumn,
    b: BooleanColumn,
    x: BinaryColumn,
}

impl OverflowColumn {
    /// An empty column whose field ids start at `field_id`.
    pub fn new(field_id: i32) -> OverflowColumn {
        OverflowColumn {
            field_id,
            row_offsets: vec![0],
            rows_validity: Validity::default(),
            names: StringColumn::default(),
            name_count: 0,
            name_offsets: vec![0],
            cell_count: 0,
            op: StringColumn::default(),
            ts: IntegerColumn::default(),
            i: IntegerColumn::default(),
            d: DoubleColumn::default(),
            s: StringColumn::default(),
            b: BooleanColumn::default(),
            x: BinaryColumn::default(),
        }
    }

    /// Adds a cell to `row`. `same_name` says that the cell added last was of the same row and name.
    pub fn push(&mut self, row: usize, cell: &Cell<'_>, same_name: bool) {
        let index = self.cell_count;
        self.cell_count += 1;
        if let Some(op) = cell.op {
            self.op.push(index, op_name(op));
        }
        if let Some(timestamp) = cell.timestamp {
            self.ts.push(index, timestamp);
        }
        match cell.value {
            Some(Value::Integer(value)) => self.i.push(index, value),
            Some(Value::Double(value)) => self.d.push(index, value),
            Some(Value::String(value)) => self.s.push(index, value),
            Some(Value::Boolean(value)) => self.b.push(index, value),
            Some(Value::Binary(value)) => self.x.push(index, value),
            None => {}
        }
        if !same_name {
            self.names.push(self.name_count, cell.name);
            self.name_offsets.push(0);
            self.name_count += 1;
            self.start_row(row);
        }
        // The last name of the last row grows.
        if let Some(end) = self.name_offsets.last_mut() {
            *end = self.cell_count as i32;
        }
        if let Some(end) = self.row_offsets.last_mut() {
            *end = self.name_count as i32;
        }
    }

    /// Makes `row` the last row that has an end.
    fn start_row(&mut self, row: usize) {
        let rows = self.row_offsets.len() - 1;
        if rows <= row {
            self.fill(row);
            self.row_offsets.push(0);
        }
    }

    /// Rows up to `row` hold nothing.
    fn fill(&mut self, row: usize) {
        let rows = self.row_offsets.len() - 1;
        if rows < row {
            let end = self.row_offsets.last().copied().unwrap_or(0);
            self.rows_validity.gap(rows, row);
            self.row_offsets.resize(row + 1, end);
        }
    }

    /// The array of `rows` rows; the column starts over.
    pub fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.fill(rows);
        let DataType::Map(entries_field, sorted) = overflow_type(self.field_id) else {
            return Err(ArrowError::SchemaError("_overflow is a map".into()));
        };
        let DataType::Struct(entry_fields) = entries_field.data_type() else {
            return Err(ArrowError::SchemaError("a map has entries".into()));
        };
        let DataType::List(cell_field) = entry_fields[1].data_type() else {
            return Err(ArrowError::SchemaError("_overflow maps to lists".into()));
        };
        let DataType::Struct(cell_fields) = cell_field.data_type() else {
            return Err(ArrowError::SchemaError("_overflow lists cells".into()));
        };

        let cells = std::mem::take(&mut self.cell_count);
        let members = vec![
            self.op.finish(cells),
            self.ts.finish(cells),
            self.i.finish(cells),
            self.d.finish(cells),
            self.s.finish(cells),
            self.b.finish(cells),
            self.x.finish(cells),
        ];
        let cells = StructArray::try_new_with_length(cell_fields.clone(), members, None, cells)?;
        let lists = ListArray::try_new(
            Arc::clone(cell_field),
            take_offsets(&mut self.name_offsets),
            Arc::new(cells),
            None,
        )?;
        let names = self.names.finish(std::mem::take(&mut self.name_count));
        let entries = StructArray::try_new(entry_fields.clone(), vec![names, Arc::new(lists)], None)?;
        let offsets = take_offsets(&mut self.row_offsets);
        let nulls = self.rows_validity.finish(rows);
        Ok(Arc::new(MapArray::try_new(entries_field, offsets, entries, nulls, sorted)?))
    }
}

/// The offsets so far, which start at 0 and only grow; a leading 0 stays.
fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])))
}
