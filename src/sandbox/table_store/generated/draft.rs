//! One generated row before anybody knows whether it is wanted as a row or as bytes.

use std::ops::Range;

use crate::model::{Cell, PrimaryKeyType, PrimaryKeyValue, Row, Value};
use crate::plainbuffer::RowTemplate;

/// Names of a shape's columns, and the bytes that follow from them.
pub(super) struct Columns {
    /// Key columns, the first one's type left open.
    pub key: &'static [(&'static str, PrimaryKeyType)],
    /// Attribute columns, ascending.
    pub names: Vec<String>,
    template: RowTemplate,
    key_names_size: usize,
}

impl Columns {
    pub fn new(key: &'static [(&'static str, PrimaryKeyType)], names: Vec<String>) -> Columns {
        let key_names: Vec<_> = key.iter().map(|(name, _)| (*name).to_owned()).collect();
        let template = RowTemplate::new(&key_names, &names);
        Columns { key, names, template, key_names_size: key_names.iter().map(String::len).sum() }
    }
}

/// A value of a draft: small, or a part of the draft's text or bytes.
enum DraftValue {
    Integer(i64),
    Double(f64),
    Boolean(bool),
    Word(&'static str),
    Text(Range<usize>),
    Binary(Range<usize>),
}

/// A row of puts with one timestamp. Reused from row to row.
#[derive(Default)]
pub(super) struct Draft {
    /// The first key column.
    pub first: Vec<u8>,
    /// The first key column is BINARY.
    pub first_is_binary: bool,
    /// The second key column, if there is one.
    pub second: Option<i64>,
    /// Of every cell, in milliseconds.
    pub timestamp: i64,
    /// Text of the cells so far; shapes append to it, then call [`Draft::text`].
    pub text: String,
    bytes: Vec<u8>,
    cells: Vec<(usize, DraftValue)>,
}

impl Draft {
    /// Forgets the cells.
    pub fn clear(&mut self) {
        self.text.clear();
        self.bytes.clear();
        self.cells.clear();
    }

    pub fn integer(&mut self, column: usize, value: i64) {
        self.cells.push((column, DraftValue::Integer(value)));
    }

    pub fn double(&mut self, column: usize, value: f64) {
        self.cells.push((column, DraftValue::Double(value)));
    }

    pub fn boolean(&mut self, column: usize, value: bool) {
        self.cells.push((column, DraftValue::Boolean(value)));
    }

    pub fn word(&mut self, column: usize, value: &'static str) {
        self.cells.push((column, DraftValue::Word(value)));
    }

    /// What was appended to `text` since it had `start` bytes.
    pub fn text(&mut self, column: usize, start: usize) {
        self.cells.push((column, DraftValue::Text(start..self.text.len())));
    }

    pub fn binary(&mut self, column: usize, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.cells.push((column, DraftValue::Binary(start..self.bytes.len())));
    }

    fn value<'a>(&'a self, value: &'a DraftValue) -> Value<'a> {
        match value {
            DraftValue::Integer(value) => Value::Integer(*value),
            DraftValue::Double(value) => Value::Double(*value),
            DraftValue::Boolean(value) => Value::Boolean(*value),
            DraftValue::Word(value) => Value::String(value),
            DraftValue::Text(range) => Value::String(&self.text[range.clone()]),
            DraftValue::Binary(range) => Value::Binary(&self.bytes[range.clone()]),
        }
    }

    fn key(&self) -> ([PrimaryKeyValue<'_>; 2], usize) {
        let first = match self.first_is_binary {
            true => PrimaryKeyValue::Binary(&self.first),
            false => PrimaryKeyValue::String(std::str::from_utf8(&self.first).unwrap_or_default()),
        };
        let second = PrimaryKeyValue::Integer(self.second.unwrap_or_default());
        ([first, second], 1 + usize::from(self.second.is_some()))
    }

    /// Fills `row` with this row.
    pub fn view<'a>(&'a self, columns: &'a Columns, row: &mut Row<'a>) {
        let (key, parts) = self.key();
        row.key.extend(columns.key.iter().map(|(name, _)| *name).zip(key).take(parts));
        let cell = |(column, value): &'a (usize, DraftValue)| {
            Cell::put(columns.names[*column].as_str(), self.value(value), Some(self.timestamp))
        };
        row.cells.extend(self.cells.iter().map(cell));
    }

    /// Bytes by the service's data-size rule: names, values, and 8 for each timestamp, which were all given.
    pub fn data_size(&self, columns: &Columns) -> usize {
        let second = if self.second.is_some() { 8 } else { 0 };
        let cell = |(column, value): &(usize, DraftValue)| {
            columns.names[*column].len() + self.value(value).data_size() + 8
        };
        columns.key_names_size + self.first.len() + second + self.cells.iter().map(cell).sum::<usize>()
    }

    /// Appends this row as PlainBuffer.
    pub fn write(&self, columns: &Columns, out: &mut Vec<u8>) {
        let (key, parts) = self.key();
        let cells = self.cells.iter().map(|(column, value)| (*column, self.value(value)));
        columns.template.write_row(out, &key[..parts], cells, self.timestamp);
    }
}
