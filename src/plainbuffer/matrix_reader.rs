//! Rows out of a row matrix (the service calls it SIMPLE_ROW_MATRIX), one at a time, without copying.
//!
//! ```text
//! matrix  = u32 "SRM0", u32 data offset, u32 option offset, u32 key columns, u32 attribute columns,
//!           name+, options, row*, 01 u8 checksum                 integers little-endian, offsets from the start
//! name    = u16 length, UTF-8                                    key columns first
//! options = 0A u8 whether the key is whole, 03 u32 row count     in either order
//! row     = 02 value+                                            one per column, bare: type byte and payload
//! ```
//!
//! As strict and total as [`RowReader`](super::RowReader): every byte belongs to one of these parts, the parts lie in
//! this order without gaps, the checksum over all of it and the row count must hold.

use std::collections::HashSet;

use super::error::{DecodeError, Fault, Parsed, Stop, stop, stop_in, stop_within};
use super::wire::*;
use super::{MAX_KEY_COLUMNS, crc8};
use crate::model::{Cell, PrimaryKeyValue, Row, Value};

/// Most columns a matrix can have: the most names that a request can ask for (service limit).
const MAX_COLUMNS: u32 = 1_024;
/// Bytes before the names.
const FIXED_HEADER_SIZE: usize = 20;
/// Bytes of the checksum and its tag, at the very end.
const CHECKSUM_SIZE: usize = 2;

/// Reads the rows of one matrix: the `rows` of a BulkExport page.
///
/// Gives the same views as [`RowReader`](super::RowReader). A cell has no timestamp, a null is no cell, and cells come
/// in the order of the request, not by name. A row has only the key columns that were asked for: see
/// [`MatrixReader::has_entire_key`].
///
/// ```
/// use otsvault::model::{PrimaryKeyValue, Row, Value};
/// use otsvault::plainbuffer::MatrixReader;
///
/// let matrix = b"SRM0\x21\0\0\0\x1a\0\0\0\x01\0\0\0\x01\0\0\0\x01\0k\x01\0a\x0a\x01\x03\x01\0\0\0\
///     \x02\0\x07\0\0\0\0\0\0\0\x02\x01\x01\xce";
/// let mut reader = MatrixReader::new(matrix)?;
/// let mut row = Row::default();
/// assert!(reader.next_row(&mut row)?);
/// assert_eq!(row.key, [("k", PrimaryKeyValue::Integer(7))]);
/// assert_eq!(row.cells[0].value, Some(Value::Boolean(true)));
/// assert!(!reader.next_row(&mut row)?);
/// # Ok::<(), otsvault::plainbuffer::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MatrixReader<'a> {
    /// Bytes of the input without its checksum.
    body_size: usize,
    rest: &'a [u8],
    key_names: Vec<&'a str>,
    cell_names: Vec<&'a str>,
    entire_key: bool,
    rows_left: u32,
}

struct Header {
    data_offset: usize,
    option_offset: usize,
    key_columns: u32,
    attribute_columns: u32,
}

impl<'a> MatrixReader<'a> {
    /// Checks the checksum, reads the header and stands before the first row. An empty slice has no rows.
    pub fn new(matrix: &'a [u8]) -> Result<MatrixReader<'a>, DecodeError> {
        if matrix.is_empty() {
            return Ok(MatrixReader {
                body_size: 0,
                rest: matrix,
                key_names: Vec::new(),
                cell_names: Vec::new(),
                entire_key: true,
                rows_left: 0,
            });
        }
        let fail = |offset, fault| Err(DecodeError { offset, fault });
        match matrix.first_chunk::<4>() {
            Some(header) if u32::from_le_bytes(*header) == MATRIX_HEADER => {}
            Some(_) => return fail(0, Fault::Header),
            None => return fail(matrix.len(), Fault::Truncated),
        }
        let Some((body, &[tag, stored])) = matrix.split_last_chunk::<CHECKSUM_SIZE>() else {
            return fail(matrix.len(), Fault::Truncated);
        };
        if tag != MATRIX_CHECKSUM {
            let expected = "the checksum at the end";
            return fail(body.len(), Fault::Tag { expected, found: tag });
        }
        let computed = crc8::update_byte(crc8::update(0, body), tag);
        if stored != computed {
            return fail(body.len(), Fault::MatrixChecksum { stored, computed });
        }
        MatrixReader::read_header(body).map_err(|stop| stop.into_error(body.len()))
    }

    /// Whether every row has its whole primary key.
    pub fn has_entire_key(&self) -> bool {
        self.entire_key
    }

    /// Rows not read yet.
    pub fn remaining(&self) -> usize {
        self.rows_left as usize
    }

    /// Reads the next row into `row`, whose memory is used again. `false` at the end; `row` is then empty.
    ///
    /// # Errors
    /// The reader stays at the faulty row; `row` then holds nothing to rely on.
    pub fn next_row(&mut self, row: &mut Row<'a>) -> Result<bool, DecodeError> {
        row.clear();
        let Some(rows_left) = self.rows_left.checked_sub(1) else {
            return match self.rest {
                [] => Ok(false),
                _ => Err(DecodeError { offset: self.offset(), fault: Fault::Trailing }),
            };
        };
        match self.read_row(row) {
            Ok(rest) => {
                (self.rest, self.rows_left) = (rest, rows_left);
                Ok(true)
            }
            Err(stop) => Err(stop.into_error(self.body_size)),
        }
    }

    /// Bytes from the start of the matrix to the next row.
    pub fn offset(&self) -> usize {
        self.body_size - self.rest.len()
    }

    fn read_header(body: &'a [u8]) -> Result<MatrixReader<'a>, Stop> {
        let (header, mut rest) = fixed_header(body)?;
        if header.key_columns as usize > MAX_KEY_COLUMNS {
            return stop(body.get(12..).unwrap_or_default(), Fault::TooManyKeyColumns);
        }
        if header.attribute_columns > MAX_COLUMNS {
            return stop(body.get(16..).unwrap_or_default(), Fault::TooManyColumns);
        }
        let (mut key_names, mut cell_names) = (Vec::new(), Vec::new());
        for _ in 0..header.key_columns {
            let (name, after) = name(rest)?;
            key_names.push(name);
            rest = after;
        }
        let mut seen = HashSet::new();
        for _ in 0..header.attribute_columns {
            let (name, after) = name(rest)?;
            if !seen.insert(name) {
                return stop(rest, Fault::RepeatedColumn);
            }
            cell_names.push(name);
            rest = after;
        }
        if body.len() - rest.len() != header.option_offset {
            return stop(rest, Fault::Offset);
        }
        let ((entire_key, rows_left), rest) = options(rest)?;
        if body.len() - rest.len() != header.data_offset {
            return stop(rest, Fault::Offset);
        }
        Ok(MatrixReader { body_size: body.len(), rest, key_names, cell_names, entire_key, rows_left })
    }

    fn read_row(&self, row: &mut Row<'a>) -> Result<&'a [u8], Stop> {
        let Some((&MATRIX_ROW, mut rest)) = self.rest.split_first() else {
            return stop_in(self.rest, MATRIX_ROW, "the start of a row");
        };
        for name in &self.key_names {
            let (value, after) = key_value(rest)?;
            row.key.push((name, value));
            rest = after;
        }
        for name in &self.cell_names {
            let (value, after) = value(rest)?;
            if let Some(value) = value {
                row.cells.push(Cell::put(name, value, None));
            }
            rest = after;
        }
        Ok(rest)
    }
}

fn fixed_header(body: &[u8]) -> Parsed<'_, Header> {
    let Some((header, rest)) = body.split_first_chunk::<FIXED_HEADER_SIZE>() else {
        return stop(&[], Fault::Truncated);
    };
    let (numbers, _) = header.as_chunks::<4>();
    let [_, data_offset, option_offset, key_columns, attribute_columns] = numbers else {
        return stop(body, Fault::Truncated);
    };
    let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    let header = Header {
        data_offset: number(data_offset) as usize,
        option_offset: number(option_offset) as usize,
        key_columns: number(key_columns),
        attribute_columns: number(attribute_columns),
    };
    Ok((header, rest))
}

fn name(rest: &[u8]) -> Parsed<'_, &str> {
    let Some((length, after)) = rest.split_first_chunk::<2>() else {
        return stop(rest, Fault::Truncated);
    };
    let Some((bytes, after)) = after.split_at_checked(u16::from_le_bytes(*length).into()) else {
        return stop(after, Fault::Truncated);
    };
    text(bytes, after)
}

/// Whether the key is whole, and the number of rows; the service writes them in this order, readers take both.
fn options(mut rest: &[u8]) -> Parsed<'_, (bool, u32)> {
    let (mut entire_key, mut rows) = (None, None);
    loop {
        if let (Some(entire_key), Some(rows)) = (entire_key, rows) {
            return Ok(((entire_key, rows), rest));
        }
        match rest {
            [MATRIX_ENTIRE_KEYS, flag, after @ ..] if entire_key.is_none() => {
                if *flag > 1 {
                    return stop(rest, Fault::Boolean(*flag));
                }
                entire_key = Some(*flag == 1);
                rest = after;
            }
            [MATRIX_ROW_COUNT, a, b, c, d, after @ ..] if rows.is_none() => {
                rows = Some(u32::from_le_bytes([*a, *b, *c, *d]));
                rest = after;
            }
            [MATRIX_ENTIRE_KEYS] | [MATRIX_ROW_COUNT, ..] | [] => return stop(rest, Fault::Truncated),
            [found, ..] => {
                return stop(rest, Fault::Tag { expected: "an option", found: *found });
            }
        }
    }
}

#[inline]
fn key_value(rest: &[u8]) -> Parsed<'_, PrimaryKeyValue<'_>> {
    let Some((&code, payload)) = rest.split_first() else { return stop(rest, Fault::Truncated) };
    match code {
        INTEGER => {
            let (bytes, after) = fixed(payload)?;
            Ok((PrimaryKeyValue::Integer(i64::from_le_bytes(*bytes)), after))
        }
        STRING => {
            let (bytes, after) = variable(payload)?;
            text(bytes, after).map(|(text, after)| (PrimaryKeyValue::String(text), after))
        }
        BLOB => variable(payload).map(|(bytes, after)| (PrimaryKeyValue::Binary(bytes), after)),
        _ => stop(rest, Fault::TypeCode(code)),
    }
}

#[inline]
fn value(rest: &[u8]) -> Parsed<'_, Option<Value<'_>>> {
    let Some((&code, payload)) = rest.split_first() else { return stop(rest, Fault::Truncated) };
    let (value, after) = match code {
        NULL => return Ok((None, payload)),
        INTEGER => {
            let (bytes, after) = fixed(payload)?;
            (Value::Integer(i64::from_le_bytes(*bytes)), after)
        }
        DOUBLE => {
            let (bytes, after) = fixed(payload)?;
            (Value::Double(f64::from_bits(u64::from_le_bytes(*bytes))), after)
        }
        BOOLEAN => {
            let (&[byte], after) = fixed(payload)?;
            if byte > 1 {
                return stop(payload, Fault::Boolean(byte));
            }
            (Value::Boolean(byte == 1), after)
        }
        STRING => {
            let (bytes, after) = variable(payload)?;
            let (text, after) = text(bytes, after)?;
            (Value::String(text), after)
        }
        BLOB => {
            let (bytes, after) = variable(payload)?;
            (Value::Binary(bytes), after)
        }
        _ => return stop(rest, Fault::TypeCode(code)),
    };
    Ok((Some(value), after))
}

#[inline]
fn fixed<const SIZE: usize>(payload: &[u8]) -> Parsed<'_, &[u8; SIZE]> {
    match payload.split_first_chunk() {
        Some(found) => Ok(found),
        None => stop(payload, Fault::Truncated),
    }
}

#[inline]
fn variable(payload: &[u8]) -> Parsed<'_, &[u8]> {
    let Some((length, after)) = payload.split_first_chunk::<4>() else {
        return stop(payload, Fault::Truncated);
    };
    match after.split_at_checked(u32::from_le_bytes(*length) as usize) {
        Some(found) => Ok(found),
        None => stop(after, Fault::Truncated),
    }
}

/// `bytes`, which are followed by `after`, as text.
#[inline]
fn text<'a>(bytes: &'a [u8], after: &'a [u8]) -> Parsed<'a, &'a str> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Ok((text, after)),
        Err(_) => stop_within(bytes, after, Fault::Utf8),
    }
}
