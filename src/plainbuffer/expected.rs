//! Rows that hold nothing unusual: every cell a put of an expected name and type, all with one timestamp.
//!
//! Most rows of most tables are like that. Each of their cells is recognised by the bytes it starts with, which are the
//! same in every row, and so is its checksum up to there. This is a shortcut and nothing else: what it takes is what
//! [`RowReader::next_row`](super::RowReader::next_row) would have read, and it leaves everything else, damage included,
//! to that.

use super::cell_index::CellIndex;
use super::crc8::{self, Method, Tables, Unchecked};
#[cfg(target_arch = "x86_64")]
use super::crc8_clmul::CarryLess;
use super::expected_key::ExpectedKey;
use super::fetch::fetch_ahead;
use super::head::CellHead;
use super::wire::*;
use crate::model::{PrimaryKeyType, PrimaryKeyValue, ValueType};

/// A checked value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// INTEGER.
    Integer(i64),
    /// DOUBLE, as its bits.
    Double(u64),
    /// BOOLEAN.
    Boolean(bool),
    /// STRING, and the bytes of the page from its start on: a short value is copied quicker together with what follows it.
    String(&'a str, &'a [u8]),
    /// BINARY, and the bytes of the page from its start on.
    Binary(&'a [u8], &'a [u8]),
}

/// Where the cells of expected rows go, one by one, while their row is read.
pub trait CellSink<'a> {
    /// A row begins, or the row that began is not as expected after all: cells put so far do not count, unless somebody
    /// has taken them meanwhile.
    fn clear(&mut self);

    /// The next cell: the index of its [`ExpectedCells`] entry, which ascends, its value, and the timestamp of the row,
    /// in milliseconds since 1970 UTC.
    fn put(&mut self, index: usize, payload: Payload<'a>, timestamp: i64);

    /// The row is as expected: it has `cells` cells, one at least, with that `timestamp`, and `data_size` bytes by the service's
    /// rule, its key included.
    fn end(&mut self, cells: usize, data_size: usize, timestamp: i64);
}

/// The (name, type) pairs that a row may have.
#[derive(Debug, Clone, Default)]
pub struct ExpectedCells {
    key: ExpectedKey,
    cells: Vec<Expected>,
    index: CellIndex,
    /// See [`ExpectedCells::without_checksums`].
    unchecked: bool,
    #[cfg(target_arch = "x86_64")]
    carry_less: Option<CarryLess>,
}

#[derive(Debug, Clone)]
struct Expected {
    /// `03 04 length name 05`, and behind it the length and the type code if that length is always the same.
    head: CellHead,
    value_type: ValueType,
    /// Checksum of name and type code.
    crc: u8,
    /// The same with eight zero bytes behind it.
    crc_before_8: u8,
    /// The first index with another name: the second cell of a name is an older version.
    next: usize,
    name: Box<str>,
}

/// Names skipped one by one before the next name is looked up.
const PROBES: usize = 2;

/// Bytes of a cell, its name and all, up to which it is worth fetching pages ahead.
const SMALL_CELL: usize = 128;

/// `07`, the timestamp, `0A` and the checksum.
const TAIL: usize = 11;

/// Bytes of a cell that are not data: all but its name, its value and the eight of its timestamp; of a STRING or BINARY the
/// four of its length are not either.
const CELL_OVERHEAD: usize = 15;
pub(super) const LENGTH_OVERHEAD: usize = 4;

impl ExpectedCells {
    /// Expects rows with the primary key columns `key` and some of `cells`, which ascend by name; one name may stand there
    /// with several types.
    pub fn new<'n>(
        key: impl IntoIterator<Item = (&'n str, PrimaryKeyType)>,
        cells: impl IntoIterator<Item = (&'n str, ValueType)>,
    ) -> ExpectedCells {
        let mut cells: Vec<_> = cells.into_iter().map(|(name, kind)| Expected::new(name, kind)).collect();
        debug_assert!(cells.is_sorted_by_key(|cell| cell.name.clone()), "the names ascend");
        for index in (0..cells.len()).rev() {
            let next = match cells.get(index + 1) {
                Some(after) if after.name == cells[index].name => after.next,
                _ => index + 1,
            };
            cells[index].next = next;
        }
        ExpectedCells {
            key: ExpectedKey::new(key),
            unchecked: false,
            index: CellIndex::new(cells.iter().map(|cell| &*cell.name)),
            cells,
            #[cfg(target_arch = "x86_64")]
            carry_less: CarryLess::detect(),
        }
    }

    /// The same, but expected rows are taken whatever their checksums are. For benches, which tell what checksums cost; data
    /// read like this is worth nothing.
    #[doc(hidden)]
    #[must_use]
    pub fn without_checksums(self) -> ExpectedCells {
        ExpectedCells { unchecked: true, ..self }
    }

    /// Reads the row at the start of `rest` into `key` and `sink`: what follows the row, or `None` if the row is not as
    /// expected; key and sink then hold nothing to rely on.
    #[inline]
    pub(super) fn read<'a>(
        &self,
        rest: &'a [u8],
        key: &mut Vec<(&'a str, PrimaryKeyValue<'a>)>,
        sink: &mut impl CellSink<'a>,
    ) -> Option<&'a [u8]> {
        if self.unchecked {
            return self.read_by(Unchecked, rest, key, sink);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(method) = self.carry_less {
            // SAFETY: the method is the proof that the processor has the target features.
            return unsafe { self.read_carry_less(method, rest, key, sink) };
        }
        self.read_by(Tables, rest, key, sink)
    }

    /// Everything in one function that may use these instructions, so that a checksum is no call.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "pclmulqdq,avx2,bmi2")]
    fn read_carry_less<'a>(
        &self,
        method: CarryLess,
        rest: &'a [u8],
        key: &mut Vec<(&'a str, PrimaryKeyValue<'a>)>,
        sink: &mut impl CellSink<'a>,
    ) -> Option<&'a [u8]> {
        self.read_by(method, rest, key, sink)
    }

    #[inline(always)]
    fn read_by<'a>(
        &self,
        method: impl Method,
        rest: &'a [u8],
        key: &mut Vec<(&'a str, PrimaryKeyValue<'a>)>,
        sink: &mut impl CellSink<'a>,
    ) -> Option<&'a [u8]> {
        let row_bytes = rest.len();
        let (row_crc, rest) = self.key.read(method, rest, key)?;
        let (&ROW_DATA, mut rest) = rest.split_first()? else { return None };
        let (bytes, mut cells, mut lengths) = (rest.len(), 0, 0);
        let mut row = RowSoFar { method, crc: row_crc, timestamp: None };
        let mut from = 0;
        while rest.first() == Some(&CELL) {
            let (index, cell, value) = self.find(from, rest)?;
            from = cell.next;
            // Of long values a processor fetches more by itself, and is only disturbed (`fat`: 27 % slower).
            if cells > 0 && bytes - rest.len() < cells * SMALL_CELL {
                fetch_ahead(rest);
            }
            cells += 1;
            // Each arm knows its type down to the column, and reads as much as it can at once.
            rest = match cell.value_type {
                ValueType::Integer => {
                    let (whole, after) = value.split_first_chunk::<{ 8 + TAIL }>()?;
                    let (bytes, timestamp) = row.end_of_word(cell, whole)?;
                    sink.put(index, Payload::Integer(i64::from_le_bytes(bytes)), timestamp);
                    after
                }
                ValueType::Double => {
                    let (whole, after) = value.split_first_chunk::<{ 8 + TAIL }>()?;
                    let (bytes, timestamp) = row.end_of_word(cell, whole)?;
                    sink.put(index, Payload::Double(u64::from_le_bytes(bytes)), timestamp);
                    after
                }
                ValueType::Boolean => {
                    let (&byte, after) = value.split_first().filter(|(byte, _)| **byte <= 1)?;
                    let (tail, after) = after.split_first_chunk::<TAIL>()?;
                    let timestamp = row.end_of_cell(crc8::update_byte(cell.crc, byte), tail)?;
                    sink.put(index, Payload::Boolean(byte == 1), timestamp);
                    after
                }
                ValueType::String => {
                    let (size, bytes) = variable(value, STRING)?;
                    let (tail, after) = bytes.get(size..)?.split_first_chunk::<TAIL>()?;
                    let crc = method.update_within(crc8::update_length(cell.crc, size), bytes, size);
                    let timestamp = row.end_of_cell(crc, tail)?;
                    sink.put(index, Payload::String(utf8(bytes, size)?, bytes), timestamp);
                    lengths += 1;
                    after
                }
                ValueType::Binary => {
                    let (size, bytes) = variable(value, BLOB)?;
                    let (tail, after) = bytes.get(size..)?.split_first_chunk::<TAIL>()?;
                    let crc = method.update_within(crc8::update_length(cell.crc, size), bytes, size);
                    let timestamp = row.end_of_cell(crc, tail)?;
                    sink.put(index, Payload::Binary(&bytes[..size], bytes), timestamp);
                    lengths += 1;
                    after
                }
            };
        }
        // Without a cell there is nothing that the general way would not do as well.
        let (timestamp, _) = row.timestamp?;
        let (&[ROW_CHECKSUM, stored], after) = rest.split_first_chunk::<2>()? else { return None };
        // The zero says that there is no delete marker.
        if method.differ(stored, crc8::update_byte(row.crc, 0)) {
            return None;
        }
        // One byte says that cells begin.
        let overhead = self.key.overhead + 1 + cells * CELL_OVERHEAD + lengths * LENGTH_OVERHEAD;
        let data_size = row_bytes - rest.len() - overhead;
        sink.end(cells, data_size, i64::from_le_bytes(timestamp));
        Some(after)
    }

    /// The entry at `from` or later that the cell at the start of `rest` has, and what follows its head.
    #[inline(always)]
    fn find<'a>(&self, from: usize, rest: &'a [u8]) -> Option<(usize, &Expected, &'a [u8])> {
        let following = self.cells.get(from..)?;
        for (skipped, cell) in following.iter().take(PROBES).enumerate() {
            if let Some(after) = cell.head.strip(rest) {
                return Some((from + skipped, cell, after));
            }
        }
        if following.len() > PROBES { self.look_up(from, rest) } else { None }
    }

    #[inline(never)]
    fn look_up<'a>(&self, from: usize, rest: &'a [u8]) -> Option<(usize, &Expected, &'a [u8])> {
        let (&[CELL, CELL_NAME, ref length @ ..], after) = rest.split_first_chunk::<6>()? else {
            return None;
        };
        let name = after.get(..u32::from_le_bytes(*length) as usize)?;
        self.index
            .find(name, |first| {
                let first = first.max(from);
                let types = self.cells.get(first..self.cells[first].next)?;
                let of_type =
                    |(index, cell): (usize, &Expected)| Some((first + index, cell.head.strip(rest)?));
                types.iter().enumerate().find_map(of_type)
            })
            .map(|(index, after)| (index, &self.cells[index], after))
    }
}

impl Expected {
    fn new(name: &str, value_type: ValueType) -> Expected {
        let code = value_type.code();
        let fixed = match value_type {
            ValueType::Integer | ValueType::Double => Some((9, code)),
            ValueType::Boolean => Some((2, code)),
            ValueType::String | ValueType::Binary => None,
        };
        let crc = crc8::update_byte(crc8::update(0, name.as_bytes()), code);
        let crc_before_8 = crc8::append_8(crc, 0);
        Expected {
            name: name.into(),
            value_type,
            head: CellHead::of(name, fixed),
            crc,
            crc_before_8,
            next: 0,
        }
    }
}

/// What the cells of a row up to here have shown.
struct RowSoFar<M> {
    method: M,
    /// Of the row.
    crc: u8,
    /// The bytes of the first cell's timestamp, and their checksum from 0.
    timestamp: Option<([u8; 8], u8)>,
}

impl<M: Method> RowSoFar<M> {
    /// Eight bytes of a value and the tail of the cell: the bytes, and the timestamp.
    #[inline(always)]
    fn end_of_word(&mut self, cell: &Expected, whole: &[u8; 8 + TAIL]) -> Option<([u8; 8], i64)> {
        let (bytes, tail) = (whole.first_chunk::<8>()?, whole.last_chunk::<TAIL>()?);
        let timestamp = self.end_of_cell(cell.crc_before_8 ^ self.method.of_8(bytes), tail)?;
        Some((*bytes, timestamp))
    }

    /// The tail of a cell whose checksum up to there is `crc`: the timestamp.
    #[inline(always)]
    fn end_of_cell(&mut self, crc: u8, tail: &[u8; TAIL]) -> Option<i64> {
        let &[CELL_TIMESTAMP, ref timestamp @ .., CELL_CHECKSUM, stored] = tail else { return None };
        let method = self.method;
        let (first, timestamp_crc) =
            *self.timestamp.get_or_insert_with(|| (*timestamp, method.of_8(timestamp)));
        let crc = crc8::append_8(crc, timestamp_crc);
        self.crc = crc8::update_byte(self.crc, crc);
        (!method.differ(stored, crc) & (*timestamp == first)).then_some(i64::from_le_bytes(first))
    }
}

/// The size of a value with its own length behind its type `code`, and what follows that length.
#[inline(always)]
pub(super) fn variable(rest: &[u8], code: u8) -> Option<(usize, &[u8])> {
    let (&[l0, l1, l2, l3, found, ref inner @ ..], after) = rest.split_first_chunk::<9>()?;
    let size = u32::from_le_bytes(*inner);
    let fits = u64::from(u32::from_le_bytes([l0, l1, l2, l3])) == u64::from(size) + 5;
    ((found == code) & fits).then_some((size as usize, after))
}

/// The first `size` of `bytes`, which has so many, if they are UTF-8. Short ASCII, which most strings are, is seen
/// without a call.
#[inline(always)]
pub(super) fn utf8(bytes: &[u8], size: usize) -> Option<&str> {
    const HIGH: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;
    let word = |bytes: &[u8; 16]| u128::from_le_bytes(*bytes);
    let text = &bytes[..size];
    let seen = match (size, bytes.first_chunk::<16>(), text.last_chunk::<16>()) {
        (0, _, _) => 0,
        (1..=16, Some(first), _) => (word(first) << (8 * (16 - size))) & HIGH,
        (17..=32, Some(first), Some(last)) => (word(first) | word(last)) & HIGH,
        (33..=64, _, _) => u128::from(!text.is_ascii()),
        _ => 1,
    };
    match seen {
        // SAFETY: every byte of `text` was looked at, in one of the words or by `is_ascii`, and none has its high bit set: it
        // is ASCII.
        0 => Some(unsafe { std::str::from_utf8_unchecked(text) }),
        _ => simdutf8::basic::from_utf8(text).ok(),
    }
}
