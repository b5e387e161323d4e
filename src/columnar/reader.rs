//! Record batches back into rows.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Float64Type, Int64Type};

use super::overflow_reader::OverflowReader;
use super::plan::{ColumnPlan, PlannedColumn, Role};
use crate::error::{Error, Kind, Result};
use crate::model::{Cell, PrimaryKeyType, PrimaryKeyValue, Row, Value, ValueType};

/// Gives back the rows of a record batch with exactly the cells that went in: names ascending, newest first, types,
/// timestamps and bits as they were.
///
/// The batch may come from a file that somebody else wrote: columns are found by position, checked by name and type,
/// and cells that make no sense are an error.
#[derive(Debug)]
pub struct RowsReader<'a> {
    keys: Vec<(&'a str, Values<'a>)>,
    attributes: Vec<Attribute<'a>>,
    row_timestamps: &'a Int64Array,
    overflow: OverflowReader<'a>,
    row: usize,
    rows: usize,
}

#[derive(Debug)]
struct Attribute<'a> {
    name: &'a str,
    values: Values<'a>,
    timestamps: Option<&'a Int64Array>,
}

/// An array of one value type.
#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    Integer(&'a Int64Array),
    Double(&'a Float64Array),
    Boolean(&'a BooleanArray),
    String(&'a StringArray),
    Binary(&'a BinaryArray),
}

impl<'a> Values<'a> {
    fn new(array: &'a dyn Array, value_type: ValueType) -> Option<Values<'a>> {
        Some(match value_type {
            ValueType::Integer => Values::Integer(array.as_primitive_opt::<Int64Type>()?),
            ValueType::Double => Values::Double(array.as_primitive_opt::<Float64Type>()?),
            ValueType::Boolean => Values::Boolean(array.as_boolean_opt()?),
            ValueType::String => Values::String(array.as_string_opt()?),
            ValueType::Binary => Values::Binary(array.as_binary_opt()?),
        })
    }

    #[inline]
    fn get(self, row: usize) -> Option<Value<'a>> {
        match self {
            Values::Integer(array) => array.is_valid(row).then(|| Value::Integer(array.value(row))),
            Values::Double(array) => array.is_valid(row).then(|| Value::Double(array.value(row))),
            Values::Boolean(array) => array.is_valid(row).then(|| Value::Boolean(array.value(row))),
            Values::String(array) => array.is_valid(row).then(|| Value::String(array.value(row))),
            Values::Binary(array) => array.is_valid(row).then(|| Value::Binary(array.value(row))),
        }
    }
}

impl<'a> RowsReader<'a> {
    /// A reader before the first row of `batch`.
    ///
    /// # Errors
    /// `Corrupt` if the columns of the batch are not those of the plan.
    pub fn new(batch: &'a RecordBatch, plan: &'a ColumnPlan) -> Result<RowsReader<'a>> {
        let mut keys = Vec::new();
        let mut attributes: Vec<Attribute<'a>> = Vec::new();
        let mut row_timestamps = None;
        let mut overflow = None;
        if batch.num_columns() != plan.columns().len() {
            return Err(mismatch("the batch has another number of columns").on("against its column plan"));
        }
        for ((column, field), array) in
            plan.columns().iter().zip(batch.schema_ref().fields()).zip(batch.columns())
        {
            let wrong = |reason| mismatch(reason).on(format!("at column `{}`", column.name));
            if *field.name() != column.name {
                return Err(wrong("another column stands in its place"));
            }
            add_column(
                column,
                array.as_ref(),
                &mut keys,
                &mut attributes,
                &mut row_timestamps,
                &mut overflow,
            )
            .ok_or_else(|| wrong("it is of another type"))?;
        }
        match (row_timestamps, overflow) {
            (Some(row_timestamps), Some(overflow)) => {
                Ok(RowsReader { keys, attributes, row_timestamps, overflow, row: 0, rows: batch.num_rows() })
            }
            _ => Err(mismatch("`_ts` or `_overflow` is missing")),
        }
    }

    /// Rows not read yet.
    pub fn remaining(&self) -> usize {
        self.rows - self.row
    }

    /// Reads the row at `index` into `row`, and goes on behind it; `false` where there is none.
    ///
    /// # Errors
    /// As [`RowsReader::read`].
    pub fn read_at(&mut self, index: usize, row: &mut Row<'a>) -> Result<bool> {
        self.row = index.min(self.rows);
        self.read(row)
    }

    /// Reads the next row into `row`, whose memory is reused; `false` at the end.
    ///
    /// # Errors
    /// `Corrupt` if a value has no timestamp or an overflow cell makes no sense.
    pub fn read(&mut self, row: &mut Row<'a>) -> Result<bool> {
        row.clear();
        if self.row == self.rows {
            return Ok(false);
        }
        let index = self.row;
        self.row += 1;
        for (name, values) in &self.keys {
            let value = match values.get(index) {
                Some(Value::Integer(value)) => PrimaryKeyValue::Integer(value),
                Some(Value::String(value)) => PrimaryKeyValue::String(value),
                Some(Value::Binary(value)) => PrimaryKeyValue::Binary(value),
                _ => return Err(bad_cell("primary key column", name, "it is null")),
            };
            row.key.push((name, value));
        }
        let row_timestamp = self.row_timestamps.is_valid(index).then(|| self.row_timestamps.value(index));
        let mut overflow = self.overflow.names_of(index).peekable();
        for Attribute { name, values, timestamps } in &self.attributes {
            let Some(value) = values.get(index) else { continue };
            // Overflow cells of a name are older than, or follow, the one in the typed column.
            while let Some(before) = overflow.next_if(|entry| self.overflow.name(*entry) < *name) {
                self.overflow.cells(before, &mut row.cells)?;
            }
            let own = timestamps.filter(|own| own.is_valid(index)).map(|own| own.value(index));
            let Some(timestamp) = own.or(row_timestamp) else {
                return Err(bad_cell("attribute", name, "it has a value and no timestamp"));
            };
            row.cells.push(Cell::put(name, value, Some(timestamp)));
        }
        let has_overflow = !self.overflow.names_of(index).is_empty();
        for rest in overflow {
            self.overflow.cells(rest, &mut row.cells)?;
        }
        // Another writer may have sorted the names of the map in its own way.
        if has_overflow && !row.cells.is_sorted_by_key(|cell| cell.name) {
            row.cells.sort_by_key(|cell| cell.name);
        }
        Ok(true)
    }
}

/// Each row in memory of its own; [`RowsReader::read`] reuses memory.
impl<'a> Iterator for RowsReader<'a> {
    type Item = Result<Row<'a>>;

    fn next(&mut self) -> Option<Result<Row<'a>>> {
        let mut row = Row::default();
        self.read(&mut row).map(|is_row| is_row.then_some(row)).transpose()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining(), Some(self.remaining()))
    }
}

/// Takes one array by the role of its column; `None` if it is of another type.
fn add_column<'a>(
    column: &'a PlannedColumn,
    array: &'a dyn Array,
    keys: &mut Vec<(&'a str, Values<'a>)>,
    attributes: &mut Vec<Attribute<'a>>,
    row_timestamps: &mut Option<&'a Int64Array>,
    overflow: &mut Option<OverflowReader<'a>>,
) -> Option<()> {
    match &column.role {
        Role::Key { column, column_type } => {
            let value_type = match column_type {
                PrimaryKeyType::Integer => ValueType::Integer,
                PrimaryKeyType::String => ValueType::String,
                PrimaryKeyType::Binary => ValueType::Binary,
            };
            keys.push((column, Values::new(array, value_type)?));
        }
        Role::Attribute { attribute, value_type } => {
            let values = Values::new(array, *value_type)?;
            attributes.push(Attribute { name: attribute, values, timestamps: None });
        }
        Role::AttributeTimestamp { attribute } => {
            let own = array.as_primitive_opt::<Int64Type>()?;
            for typed in attributes.iter_mut().rev().take_while(|typed| typed.name == attribute) {
                typed.timestamps = Some(own);
            }
        }
        Role::RowTimestamp => *row_timestamps = Some(array.as_primitive_opt::<Int64Type>()?),
        Role::Overflow => *overflow = Some(OverflowReader::new(array)?),
    }
    Some(())
}

#[cold]
fn mismatch(reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "read rows from a record batch").because(reason)
}

#[cold]
fn bad_cell(what: &'static str, name: &str, reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "read a cell").on(format!("of {what} `{name}`")).because(reason)
}
