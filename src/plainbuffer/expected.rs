//! Rows that hold nothing unusual: every cell a put of an expected name and type, all with one timestamp.
//!
//! Most rows of most tables are like that. Each of their cells is recognised by the bytes it starts with, which are the
//! same in every row, and so is its checksum up to there. This is a shortcut and nothing else: what it takes is what
//! [`RowReader::next_row`](super::RowReader::next_row) would have read, and it leaves everything else, damage included,
//! to that.

use super::crc8;
use super::name::same_bytes;
use super::wire::*;
use crate::model::ValueType;

/// A checked value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// INTEGER.
    Integer(i64),
    /// DOUBLE, as its bits.
    Double(u64),
    /// BOOLEAN.
    Boolean(bool),
    /// STRING: UTF-8.
    String(&'a [u8]),
    /// BINARY.
    Binary(&'a [u8]),
}

impl Payload<'_> {
    /// Bytes by the service's data-size rule, as [`Value::data_size`](crate::model::Value::data_size).
    pub fn data_size(self) -> u64 {
        match self {
            Payload::Integer(_) | Payload::Double(_) => 8,
            Payload::Boolean(_) => 1,
            Payload::String(bytes) | Payload::Binary(bytes) => bytes.len() as u64,
        }
    }
}

/// The cells of one row, each with the index of its [`ExpectedCells`] entry, ascending.
#[derive(Debug, Default)]
pub struct PlacedCells<'a> {
    pub(super) cells: Vec<(u32, Payload<'a>)>,
    pub(super) timestamp: i64,
}

impl<'a> PlacedCells<'a> {
    /// Index and value of each cell; empty for a row that was not as expected.
    pub fn cells(&self) -> &[(u32, Payload<'a>)] {
        &self.cells
    }

    /// Milliseconds since 1970 UTC, of every cell.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }
}

/// The (name, type) pairs that a row may have.
#[derive(Debug, Clone, Default)]
pub struct ExpectedCells {
    cells: Vec<Expected>,
}

#[derive(Debug, Clone)]
struct Expected {
    name: Box<str>,
    value_type: ValueType,
    /// `03 04 length name 05`, and behind it the length and the type code if that length is always the same.
    head: Box<[u8]>,
    /// Checksum of name and type code.
    crc: u8,
    /// The first index with another name: the second cell of a name is an older version.
    next: usize,
}

/// Names skipped one by one before the next name is searched for.
const PROBES: usize = 6;

impl ExpectedCells {
    /// Expects `cells`, which ascend by name; one name may stand there with several types.
    pub fn new<'n>(cells: impl IntoIterator<Item = (&'n str, ValueType)>) -> ExpectedCells {
        let mut cells: Vec<_> = cells.into_iter().map(|(name, kind)| Expected::new(name, kind)).collect();
        debug_assert!(cells.is_sorted_by_key(|cell| cell.name.clone()), "the names ascend");
        for index in (0..cells.len()).rev() {
            let next = match cells.get(index + 1) {
                Some(after) if after.name == cells[index].name => after.next,
                _ => index + 1,
            };
            cells[index].next = next;
        }
        ExpectedCells { cells }
    }

    /// Reads the part of a row behind its key into `placed`: what follows the row, or `None` if the row is not as
    /// expected; `placed` then holds nothing to rely on.
    #[inline]
    pub(super) fn read<'a>(
        &self,
        rest: &'a [u8],
        mut row_crc: u8,
        placed: &mut PlacedCells<'a>,
    ) -> Option<&'a [u8]> {
        let (&ROW_DATA, mut rest) = rest.split_first()? else { return None };
        let mut from = 0;
        let mut shared: Option<([u8; 8], u8)> = None;
        while rest.first() == Some(&CELL) {
            let (index, value) = self.find(from, rest)?;
            let cell = &self.cells[index];
            from = cell.next;
            let (payload, crc, after) = cell.payload(value)?;
            let (&[CELL_TIMESTAMP, ref timestamp @ .., CELL_CHECKSUM, stored], after) =
                after.split_first_chunk::<11>()?
            else {
                return None;
            };
            let (first, timestamp_crc) =
                *shared.get_or_insert_with(|| (*timestamp, crc8::update_8(0, timestamp)));
            let crc = crc8::append_8(crc, timestamp_crc);
            if (stored != crc) | (*timestamp != first) {
                return None;
            }
            row_crc = crc8::update_byte(row_crc, crc);
            placed.cells.push((index as u32, payload));
            rest = after;
        }
        placed.timestamp = i64::from_le_bytes(shared?.0);
        let (&[ROW_CHECKSUM, stored], after) = rest.split_first_chunk::<2>()? else { return None };
        // The zero says that there is no delete marker.
        (stored == crc8::update_byte(row_crc, 0)).then_some(after)
    }

    /// The entry at `from` or later that the cell at the start of `rest` has, and what follows its head.
    #[inline(always)]
    fn find<'a>(&self, from: usize, rest: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let following = self.cells.get(from..)?;
        for (skipped, cell) in following.iter().take(PROBES).enumerate() {
            if let Some(after) = cell.strip_head(rest) {
                return Some((from + skipped, after));
            }
        }
        if following.len() > PROBES { self.search(from, rest) } else { None }
    }

    #[inline(never)]
    fn search<'a>(&self, from: usize, rest: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let (&[CELL, CELL_NAME, ref length @ ..], after) = rest.split_first_chunk::<6>()? else {
            return None;
        };
        let name = after.get(..u32::from_le_bytes(*length) as usize)?;
        let following = self.cells.get(from..)?;
        let first = from + following.partition_point(|cell| cell.name.as_bytes() < name);
        let same_name = self.cells.get(first..self.cells.get(first)?.next)?;
        let find = |(index, cell): (usize, &Expected)| Some((first + index, cell.strip_head(rest)?));
        same_name.iter().enumerate().find_map(find)
    }
}

impl Expected {
    fn new(name: &str, value_type: ValueType) -> Expected {
        let mut head = vec![CELL, CELL_NAME];
        head.extend_from_slice(&(name.len() as u32).to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        head.push(CELL_VALUE);
        let size: u32 = match value_type {
            ValueType::Integer | ValueType::Double => 9,
            ValueType::Boolean => 2,
            ValueType::String | ValueType::Binary => 0,
        };
        if size > 0 {
            head.extend_from_slice(&size.to_le_bytes());
            head.push(value_type.code());
        }
        let crc = crc8::update_byte(crc8::update(0, name.as_bytes()), value_type.code());
        Expected { name: name.into(), value_type, head: head.into(), crc, next: 0 }
    }

    #[inline(always)]
    fn strip_head<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (head, after) = rest.split_at_checked(self.head.len())?;
        same_bytes(head, &self.head).then_some(after)
    }

    /// The value behind the head, the checksum up to there, and what follows.
    #[inline(always)]
    fn payload<'a>(&self, rest: &'a [u8]) -> Option<(Payload<'a>, u8, &'a [u8])> {
        match self.value_type {
            ValueType::Integer => {
                let (bytes, after) = rest.split_first_chunk::<8>()?;
                Some((Payload::Integer(i64::from_le_bytes(*bytes)), crc8::update_8(self.crc, bytes), after))
            }
            ValueType::Double => {
                let (bytes, after) = rest.split_first_chunk::<8>()?;
                Some((Payload::Double(u64::from_le_bytes(*bytes)), crc8::update_8(self.crc, bytes), after))
            }
            ValueType::Boolean => {
                let (&byte, after) = rest.split_first().filter(|(byte, _)| **byte <= 1)?;
                Some((Payload::Boolean(byte == 1), crc8::update_byte(self.crc, byte), after))
            }
            ValueType::String => {
                let (bytes, crc, after) = self.variable(rest, STRING)?;
                is_utf8(bytes).then_some((Payload::String(bytes), crc, after))
            }
            ValueType::Binary => {
                let (bytes, crc, after) = self.variable(rest, BLOB)?;
                Some((Payload::Binary(bytes), crc, after))
            }
        }
    }

    #[inline(always)]
    fn variable<'a>(&self, rest: &'a [u8], code: u8) -> Option<(&'a [u8], u8, &'a [u8])> {
        let (&[l0, l1, l2, l3, found, ref inner @ ..], after) = rest.split_first_chunk::<9>()?;
        let size = u32::from_le_bytes(*inner);
        let fits = u64::from(u32::from_le_bytes([l0, l1, l2, l3])) == u64::from(size) + 5;
        if (found != code) | !fits {
            return None;
        }
        let (bytes, after) = after.split_at_checked(size as usize)?;
        Some((bytes, crc8::update(crc8::update_4(self.crc, inner), bytes), after))
    }
}

/// Short ASCII, which most strings are, is seen without a call.
#[inline(always)]
fn is_utf8(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    match (bytes.len(), bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (0..8, _, _) if bytes.iter().fold(0, |all, byte| all | byte) < 0x80 => true,
        (8..=16, Some(first), Some(last)) if (word(first) | word(last)) & HIGH == 0 => true,
        _ => simdutf8::basic::from_utf8(bytes).is_ok(),
    }
}
