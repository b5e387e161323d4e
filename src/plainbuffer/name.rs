//! Cell names, most of which are those of the row before.

use super::crc8;
use super::error::{Fault, Parsed, stop, stop_at_tag, stop_in};
use super::wire::*;

/// `03 04 length name` of a cell seen before: equal bytes need no new UTF-8 check and no new checksum.
#[derive(Debug, Clone, Copy)]
struct KnownName<'a> {
    head: &'a [u8],
    name: &'a str,
    crc: u8,
}

/// Guesses that a row has the columns of the row before it, at the same positions.
#[derive(Debug, Clone, Default)]
pub(super) struct NamePredictor<'a> {
    known: Vec<KnownName<'a>>,
    next: usize,
}

impl<'a> NamePredictor<'a> {
    pub(super) fn start_row(&mut self) {
        self.next = 0;
    }

    /// Reads the name of the cell that starts at `rest`: the name and its checksum.
    #[inline(always)]
    pub(super) fn read(&mut self, rest: &'a [u8]) -> Parsed<'a, (&'a str, u8)> {
        if let Some(hit) = self.try_slot(self.next, rest) {
            return Ok(hit);
        }
        self.read_unexpected(rest)
    }

    #[inline(always)]
    fn try_slot(&mut self, slot: usize, rest: &'a [u8]) -> Option<((&'a str, u8), &'a [u8])> {
        let guess = self.known.get(slot)?;
        let (head, after) = rest.split_at_checked(guess.head.len())?;
        if !same_bytes(head, guess.head) {
            return None;
        }
        self.next = slot + 1;
        Some(((guess.name, guess.crc), after))
    }

    /// A column is missing, is new, or has one more version than it had.
    #[inline(never)]
    fn read_unexpected(&mut self, rest: &'a [u8]) -> Parsed<'a, (&'a str, u8)> {
        if let Some(hit) = self.try_slot(self.next + 1, rest) {
            return Ok(hit);
        }
        if self.next > 0
            && let Some(hit) = self.try_slot(self.next - 1, rest)
        {
            return Ok(hit);
        }
        let Some((&[CELL, CELL_NAME, ref length @ ..], after)) = rest.split_first_chunk::<6>() else {
            return match rest {
                [CELL, rest @ ..] => stop_in(rest, CELL_NAME, "a cell name"),
                _ => stop_at_tag(rest, "a cell"),
            };
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((bytes, after)) = after.split_at_checked(length) else {
            return stop(after, Fault::Truncated);
        };
        let Ok(name) = std::str::from_utf8(bytes) else {
            return stop(rest, Fault::Utf8);
        };
        let head = &rest[..rest.len() - after.len()];
        let known = KnownName { head, name, crc: crc8::update(0, bytes) };
        match self.known.get_mut(self.next) {
            Some(slot) => *slot = known,
            None => self.known.push(known),
        }
        self.next += 1;
        Ok(((name, known.crc), after))
    }
}

/// Compares slices of the same length without a call where they are 8 to 32 bytes long, as the heads of cells are.
#[inline(always)]
pub(super) fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    if let (8..=16, Some(a_first), Some(b_first), Some(a_last), Some(b_last)) =
        (a.len(), a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>())
    {
        return (a_first == b_first) & (a_last == b_last);
    }
    if let (17..=32, Some(a_first), Some(b_first), Some(a_last), Some(b_last)) =
        (a.len(), a.first_chunk::<16>(), b.first_chunk::<16>(), a.last_chunk::<16>(), b.last_chunk::<16>())
    {
        return (a_first == b_first) & (a_last == b_last);
    }
    a == b
}
