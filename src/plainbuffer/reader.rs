//! Rows out of a buffer, one at a time, without copying.

use super::error::{DecodeError, Fault, Parsed, Stop, stop, stop_at_tag, stop_in, stop_within};
use super::expected::{CellSink, ExpectedCells};
use super::extension::read_extension;
use super::name::NamePredictor;
use super::wire::*;
use super::{MAX_KEY_COLUMNS, crc8};
use crate::model::{Cell, CellOp, PrimaryKeyValue, Row, Value};

/// Reads the rows of one buffer: the `rows` of a page, or a Stream record.
///
/// ```
/// use otsvault::model::{PrimaryKeyValue, Row};
/// use otsvault::plainbuffer::{RowReader, encode_row};
///
/// let row = Row { key: vec![("id", PrimaryKeyValue::Integer(7))], ..Row::default() };
/// let buffer = encode_row(&row);
/// let mut reader = RowReader::new(&buffer)?;
/// let mut read = Row::default();
/// assert!(reader.next_row(&mut read)?);
/// assert_eq!(read, row);
/// assert!(!reader.next_row(&mut read)?);
/// # Ok::<(), otsvault::plainbuffer::DecodeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct RowReader<'a> {
    input_size: usize,
    rest: &'a [u8],
    key_names: NamePredictor<'a>,
    cell_names: NamePredictor<'a>,
    /// Rows since the last one that was as expected.
    unexpected: u32,
}

/// After so many rows that were not as expected only every so many of them is tried: a table of several versions
/// should not pay for a shortcut that it cannot take.
const MOST_UNEXPECTED: u32 = 64;

impl<'a> RowReader<'a> {
    /// Starts at the header of `buffer`. An empty slice is how the service says "no rows"; a header without a row
    /// is an error.
    pub fn new(buffer: &'a [u8]) -> Result<RowReader<'a>, DecodeError> {
        let rest = match buffer {
            [] => buffer,
            _ => read_header(buffer).map_err(|stop| stop.into_error(buffer.len()))?,
        };
        Ok(RowReader {
            input_size: buffer.len(),
            rest,
            key_names: NamePredictor::default(),
            cell_names: NamePredictor::default(),
            unexpected: 0,
        })
    }

    /// Reads the next row into `row`, whose memory is used again. `false` at the end; `row` is then empty.
    ///
    /// Infinities and the auto-increment placeholder are passed on where a key has them: requests do.
    ///
    /// # Errors
    /// The reader stays at the faulty row; `row` then holds nothing to rely on.
    pub fn next_row(&mut self, row: &mut Row<'a>) -> Result<bool, DecodeError> {
        row.clear();
        if self.rest.is_empty() {
            return Ok(false);
        }
        match self.read_row(row) {
            Ok(rest) => {
                self.rest = rest;
                Ok(true)
            }
            Err(stop) => Err(stop.into_error(self.input_size)),
        }
    }

    /// As [`RowReader::next_row`], but a row with nothing but `expected` cells, all puts with one timestamp, puts them
    /// into `sink` and has none in `row`. Any other row leaves `sink` cleared.
    pub fn next_row_expecting(
        &mut self,
        expected: &ExpectedCells,
        row: &mut Row<'a>,
        sink: &mut impl CellSink<'a>,
    ) -> Result<bool, DecodeError> {
        sink.clear();
        if self.unexpected >= MOST_UNEXPECTED && !self.unexpected.is_multiple_of(MOST_UNEXPECTED) {
            self.unexpected = self.unexpected.wrapping_add(1);
            return self.next_row(row);
        }
        row.clear();
        if self.rest.is_empty() {
            return Ok(false);
        }
        match self.read_row_expecting(expected, row, sink) {
            Ok(rest) => {
                self.rest = rest;
                Ok(true)
            }
            Err(stop) => Err(stop.into_error(self.input_size)),
        }
    }

    #[inline(always)]
    fn read_row_expecting(
        &mut self,
        expected: &ExpectedCells,
        row: &mut Row<'a>,
        sink: &mut impl CellSink<'a>,
    ) -> Result<&'a [u8], Stop> {
        if let Some(after) = expected.read(self.rest, &mut row.key, sink) {
            self.unexpected = 0;
            return Ok(after);
        }
        sink.clear();
        row.key.clear();
        self.unexpected = self.unexpected.saturating_add(1);
        self.read_row(row)
    }

    /// Bytes from the start of the buffer to the next row.
    pub fn offset(&self) -> usize {
        self.input_size - self.rest.len()
    }

    fn read_row(&mut self, row: &mut Row<'a>) -> Result<&'a [u8], Stop> {
        let (row_crc, rest) = self.read_key(row)?;
        self.read_data(rest, row_crc, row)
    }

    /// The checksum of the row so far.
    #[inline(always)]
    fn read_key(&mut self, row: &mut Row<'a>) -> Parsed<'a, u8> {
        let Some((&ROW_PK, mut rest)) = self.rest.split_first() else {
            return stop_at_tag(self.rest, "the start of a row");
        };
        let mut row_crc = 0;

        self.key_names.start_row();
        while rest.first() == Some(&CELL) {
            if row.key.len() == MAX_KEY_COLUMNS {
                return stop(rest, Fault::TooManyKeyColumns);
            }
            let (crc, after) = read_key_cell(rest, &mut self.key_names, &mut row.key)?;
            row_crc = crc8::update_byte(row_crc, crc);
            rest = after;
        }
        if row.key.is_empty() {
            return stop_at_tag(rest, "a primary key cell");
        }
        Ok((row_crc, rest))
    }

    /// Everything behind the key.
    #[inline(always)]
    fn read_data(
        &mut self,
        mut rest: &'a [u8],
        mut row_crc: u8,
        row: &mut Row<'a>,
    ) -> Result<&'a [u8], Stop> {
        if let Some((&ROW_DATA, cells)) = rest.split_first() {
            rest = cells;
            self.cell_names.start_row();
            while rest.first() == Some(&CELL) {
                let (crc, after) = read_cell(rest, &mut self.cell_names, &mut row.cells)?;
                row_crc = crc8::update_byte(row_crc, crc);
                rest = after;
            }
            if row.cells.is_empty() {
                return stop_at_tag(rest, "an attribute cell");
            }
        }

        if let Some((&DELETE_ROW_MARKER, after)) = rest.split_first() {
            row.delete_marker = true;
            rest = after;
        }
        if let Some((&EXTENSION, after)) = rest.split_first() {
            (row.sequence, rest) = read_extension(after)?;
        }
        row_crc = crc8::update_byte(row_crc, u8::from(row.delete_marker));
        let Some((&[ROW_CHECKSUM, stored], after)) = rest.split_first_chunk::<2>() else {
            return stop_in(rest, ROW_CHECKSUM, "the end of the row");
        };
        if stored != row_crc {
            return stop(rest, Fault::RowChecksum { stored, computed: row_crc });
        }
        Ok(after)
    }
}

/// Reads the one row of a request. Zero bytes after it are ignored: the Node.js SDK sends its whole over-allocated
/// buffer.
pub fn decode_request_row<'a>(buffer: &'a [u8], row: &mut Row<'a>) -> Result<(), DecodeError> {
    let mut reader = RowReader::new(buffer)?;
    if !reader.next_row(row)? {
        return Err(DecodeError { offset: 0, fault: Fault::Truncated });
    }
    match reader.rest.iter().position(|byte| *byte != 0) {
        Some(zeros) => Err(DecodeError { offset: reader.offset() + zeros, fault: Fault::Trailing }),
        None => Ok(()),
    }
}

fn read_header(buffer: &[u8]) -> Result<&[u8], Stop> {
    match buffer.split_first_chunk::<4>() {
        Some((header, _)) if u32::from_le_bytes(*header) != HEADER => stop(buffer, Fault::Header),
        Some((_, rest)) if !rest.is_empty() => Ok(rest),
        _ => stop(&[], Fault::Truncated),
    }
}

#[inline(always)]
fn read_key_cell<'a>(
    cell: &'a [u8],
    names: &mut NamePredictor<'a>,
    key: &mut Vec<(&'a str, PrimaryKeyValue<'a>)>,
) -> Parsed<'a, u8> {
    let ((name, crc), rest) = names.read(cell)?;
    let Some((&[CELL_VALUE, ref length @ .., code], payload)) = rest.split_first_chunk::<6>() else {
        return stop_in(rest, CELL_VALUE, "a cell value");
    };
    let (value, crc, rest) = match code {
        INTEGER => {
            let (bytes, rest) = fixed::<8>(payload, length)?;
            let value = PrimaryKeyValue::Integer(i64::from_le_bytes(*bytes));
            (value, crc8::update_9(crc, code, bytes), rest)
        }
        STRING => {
            let ((bytes, crc), rest) = variable(payload, length, crc8::update_byte(crc, code))?;
            (PrimaryKeyValue::String(text(bytes, rest)?), crc, rest)
        }
        BLOB => {
            let ((bytes, crc), rest) = variable(payload, length, crc8::update_byte(crc, code))?;
            (PrimaryKeyValue::Binary(bytes), crc, rest)
        }
        _ => {
            let value = match code {
                INF_MIN => PrimaryKeyValue::InfMin,
                INF_MAX => PrimaryKeyValue::InfMax,
                AUTO_INCREMENT => PrimaryKeyValue::AutoIncrement,
                _ => return stop(rest, Fault::TypeCode(code)),
            };
            let (_, rest) = fixed::<0>(payload, length)?;
            (value, crc8::update_byte(crc, code), rest)
        }
    };
    let Some((&[CELL_CHECKSUM, stored], after)) = rest.split_first_chunk::<2>() else {
        return stop_in(rest, CELL_CHECKSUM, "the end of a primary key cell");
    };
    if stored != crc {
        return stop(rest, Fault::CellChecksum { stored, computed: crc });
    }
    key.push((name, value));
    Ok((crc, after))
}

/// Reads one cell into `cells`. It is built in place: a cell inside a `Result` is copied through the stack, and that
/// copy waits for the stores before it.
#[inline(always)]
fn read_cell<'a>(cell: &'a [u8], names: &mut NamePredictor<'a>, cells: &mut Vec<Cell<'a>>) -> Parsed<'a, u8> {
    let ((name, crc), rest) = names.read(cell)?;
    let Some((&[CELL_VALUE, ref length @ .., code], payload)) = rest.split_first_chunk::<6>() else {
        return read_cell_end(cell, rest, Cell { name, value: None, op: None, timestamp: None }, crc, cells);
    };
    let (value, crc, rest) = match code {
        INTEGER => {
            let (bytes, rest) = fixed::<8>(payload, length)?;
            (Value::Integer(i64::from_le_bytes(*bytes)), crc8::update_9(crc, code, bytes), rest)
        }
        DOUBLE => {
            let (bytes, rest) = fixed::<8>(payload, length)?;
            let value = f64::from_bits(u64::from_le_bytes(*bytes));
            (Value::Double(value), crc8::update_9(crc, code, bytes), rest)
        }
        STRING => {
            let ((bytes, crc), rest) = variable(payload, length, crc8::update_byte(crc, code))?;
            (Value::String(text(bytes, rest)?), crc, rest)
        }
        BOOLEAN => {
            let (&[byte], after) = fixed::<1>(payload, length)?;
            if byte > 1 {
                return stop(payload, Fault::Boolean(byte));
            }
            (Value::Boolean(byte == 1), crc8::update_byte(crc8::update_byte(crc, code), byte), after)
        }
        BLOB => {
            let ((bytes, crc), rest) = variable(payload, length, crc8::update_byte(crc, code))?;
            (Value::Binary(bytes), crc, rest)
        }
        _ => return stop(rest, Fault::TypeCode(code)),
    };
    // What a page holds: a put with a timestamp.
    if let Some((&[CELL_TIMESTAMP, ref timestamp @ .., CELL_CHECKSUM, stored], after)) =
        rest.split_first_chunk::<11>()
    {
        let crc = crc8::update_8(crc, timestamp);
        if stored != crc {
            return stop(rest, Fault::CellChecksum { stored, computed: crc });
        }
        cells.push(Cell::put(name, value, Some(i64::from_le_bytes(*timestamp))));
        return Ok((crc, after));
    }
    read_cell_end(cell, rest, Cell { name, value: Some(value), op: None, timestamp: None }, crc, cells)
}

/// Everything after the value, in full generality.
#[inline(never)]
fn read_cell_end<'a>(
    start: &'a [u8],
    mut rest: &'a [u8],
    mut cell: Cell<'a>,
    mut crc: u8,
    cells: &mut Vec<Cell<'a>>,
) -> Parsed<'a, u8> {
    let mut op_code = None;
    if let Some((&[CELL_OP, code], after)) = rest.split_first_chunk::<2>() {
        cell.op = Some(match code {
            DELETE_ALL_VERSIONS => CellOp::DeleteAllVersions,
            DELETE_ONE_VERSION => CellOp::DeleteOneVersion,
            INCREMENT => CellOp::Increment,
            _ => return stop(rest, Fault::Operation(code)),
        });
        op_code = Some(code);
        rest = after;
    }
    if let Some((&[CELL_TIMESTAMP, ref timestamp @ ..], after)) = rest.split_first_chunk::<9>() {
        cell.timestamp = Some(i64::from_le_bytes(*timestamp));
        crc = crc8::update_8(crc, timestamp);
        rest = after;
    }
    // The operation comes first on the wire and last in the checksum.
    if let Some(code) = op_code {
        crc = crc8::update_byte(crc, code);
    }
    let Some((&[CELL_CHECKSUM, stored], after)) = rest.split_first_chunk::<2>() else {
        return match rest {
            // The right tag, but not enough behind it.
            [CELL_VALUE, ..] if cell.value.is_none() => stop(rest, Fault::Truncated),
            [CELL_OP] if cell.op.is_none() => stop(rest, Fault::Truncated),
            [CELL_TIMESTAMP, ..] if cell.timestamp.is_none() => stop(rest, Fault::Truncated),
            _ => stop_in(rest, CELL_CHECKSUM, "the end of a cell"),
        };
    };
    if stored != crc {
        return stop(rest, Fault::CellChecksum { stored, computed: crc });
    }
    let makes_sense = matches!(
        (cell.op, cell.value, cell.timestamp),
        (None, Some(_), _)
            | (Some(CellOp::DeleteOneVersion), None, Some(_))
            | (Some(CellOp::DeleteAllVersions), None, None)
            | (Some(CellOp::Increment), Some(Value::Integer(_)), None)
    );
    if !makes_sense {
        return stop(start, Fault::CellShape);
    }
    cells.push(cell);
    Ok((crc, after))
}

/// A payload of `SIZE` bytes behind its type code.
#[inline(always)]
fn fixed<'a, const SIZE: usize>(payload: &'a [u8], length: &[u8; 4]) -> Parsed<'a, &'a [u8; SIZE]> {
    if u32::from_le_bytes(*length) as usize != SIZE + 1 {
        return stop(payload, Fault::Length);
    }
    match payload.split_first_chunk::<SIZE>() {
        Some(found) => Ok(found),
        None => stop(payload, Fault::Truncated),
    }
}

/// A payload with its own length behind its type code, and the checksum with it.
#[inline(always)]
fn variable<'a>(payload: &'a [u8], length: &[u8; 4], crc: u8) -> Parsed<'a, (&'a [u8], u8)> {
    let Some((inner, after)) = payload.split_first_chunk::<4>() else {
        return stop(payload, Fault::Truncated);
    };
    let size = u32::from_le_bytes(*inner);
    if u64::from(size) + 5 != u64::from(u32::from_le_bytes(*length)) {
        return stop(payload, Fault::Length);
    }
    let Some((bytes, after)) = after.split_at_checked(size as usize) else {
        return stop(after, Fault::Truncated);
    };
    Ok(((bytes, crc8::update(crc8::update_4(crc, inner), bytes)), after))
}

/// `bytes`, which are followed by `after`, as text.
#[inline(always)]
fn text<'a>(bytes: &'a [u8], after: &[u8]) -> Result<&'a str, Stop> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(_) => stop_within(bytes, after, Fault::Utf8),
    }
}
