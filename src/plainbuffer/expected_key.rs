//! The primary key of an expected row: the same columns in every row, recognised by the bytes that they start with.

use super::crc8::{self, Method};
use super::expected::{LENGTH_OVERHEAD, utf8, variable};
use super::head::CellHead;
use super::wire::*;
use crate::model::{PrimaryKeyType, PrimaryKeyValue, ValueType};

/// The primary key columns that every row has.
#[derive(Debug, Clone, Default)]
pub(super) struct ExpectedKey {
    columns: Vec<Column>,
    /// Bytes of a row up to the end of its key that are not data.
    pub(super) overhead: usize,
}

#[derive(Debug, Clone)]
struct Column {
    /// `03 04 length name 05`, and of an INTEGER its length and its type code.
    head: CellHead,
    name_bytes: usize,
    column_type: PrimaryKeyType,
    /// Checksum of name and type code.
    crc: u8,
    /// The same with eight zero bytes behind it.
    crc_before_8: u8,
}

/// Bytes of a cell that are not data: all but its name and its value.
const CELL_OVERHEAD: usize = 14;

/// Bytes of a cell before its name.
const BEFORE_NAME: usize = 6;

impl ExpectedKey {
    pub(super) fn new<'n>(columns: impl IntoIterator<Item = (&'n str, PrimaryKeyType)>) -> ExpectedKey {
        let columns: Vec<_> = columns.into_iter().map(|(name, kind)| Column::new(name, kind)).collect();
        let overhead = columns.iter().map(|column| CELL_OVERHEAD + length_overhead(column.column_type));
        // One byte says that a key begins.
        ExpectedKey { overhead: 1 + overhead.sum::<usize>(), columns }
    }

    /// Reads a row up to the end of its key into `key`: the checksum of the row so far, and what follows; `None` if the
    /// key is not as expected.
    #[inline(always)]
    pub(super) fn read<'a>(
        &self,
        method: impl Method,
        row: &'a [u8],
        key: &mut Vec<(&'a str, PrimaryKeyValue<'a>)>,
    ) -> Option<(u8, &'a [u8])> {
        let (&ROW_PK, mut rest) = row.split_first()? else { return None };
        let mut row_crc = 0;
        for column in &self.columns {
            let value = column.head.strip(rest)?;
            let name = rest.get(BEFORE_NAME..BEFORE_NAME + column.name_bytes)?;
            // SAFETY: the head is stripped, so these bytes are those of the column's name, which is a `str`.
            let name = unsafe { std::str::from_utf8_unchecked(name) };
            let (value, crc, end) = match column.column_type {
                PrimaryKeyType::Integer => {
                    let (bytes, end) = value.split_first_chunk::<8>()?;
                    let crc = column.crc_before_8 ^ method.of_8(bytes);
                    (PrimaryKeyValue::Integer(i64::from_le_bytes(*bytes)), crc, end)
                }
                PrimaryKeyType::String => {
                    let (size, bytes) = variable(value, STRING)?;
                    let crc = method.update_within(crc8::update_length(column.crc, size), bytes, size);
                    (PrimaryKeyValue::String(utf8(bytes, size)?), crc, bytes.get(size..)?)
                }
                PrimaryKeyType::Binary => {
                    let (size, bytes) = variable(value, BLOB)?;
                    let crc = method.update_within(crc8::update_length(column.crc, size), bytes, size);
                    (PrimaryKeyValue::Binary(bytes.get(..size)?), crc, bytes.get(size..)?)
                }
            };
            let (&[CELL_CHECKSUM, stored], after) = end.split_first_chunk::<2>()? else { return None };
            if method.differ(stored, crc) {
                return None;
            }
            row_crc = crc8::update_byte(row_crc, crc);
            key.push((name, value));
            rest = after;
        }
        Some((row_crc, rest))
    }
}

/// More of them, by type.
fn length_overhead(column_type: PrimaryKeyType) -> usize {
    match column_type {
        PrimaryKeyType::Integer => 0,
        PrimaryKeyType::String | PrimaryKeyType::Binary => LENGTH_OVERHEAD,
    }
}

impl Column {
    fn new(name: &str, column_type: PrimaryKeyType) -> Column {
        let (code, fixed) = match column_type {
            PrimaryKeyType::Integer => (ValueType::Integer.code(), Some((9, ValueType::Integer.code()))),
            PrimaryKeyType::String => (ValueType::String.code(), None),
            PrimaryKeyType::Binary => (ValueType::Binary.code(), None),
        };
        let crc = crc8::update_byte(crc8::update(0, name.as_bytes()), code);
        Column {
            head: CellHead::of(name, fixed),
            name_bytes: name.len(),
            column_type,
            crc,
            crc_before_8: crc8::append_8(crc, 0),
        }
    }
}
