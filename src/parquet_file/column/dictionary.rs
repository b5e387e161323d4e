//! The dictionary of a column chunk: distinct values, in the order in which they came, PLAIN.

use xxhash_rust::xxh3::xxh3_64;

/// Distinct values and their indices. Values are bytes: of a word, or of a string or binary.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// Strings and binaries have their length before them.
    has_lengths: bool,
    page: Vec<u8>,
    /// Where the bytes of each value start in `page`, and the page of the column that had it last.
    entries: Vec<Entry>,
    /// Open addressing: part of the hash and the index, from 1; 0 is free. Never more than half full.
    slots: Vec<(u32, u32)>,
    /// The value that came last.
    last: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    seen_in: u32,
}

/// A value's place, and whether this page of the column has it for the first time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) index: u32,
    pub(super) is_new_in_page: bool,
}

const FIRST_SLOTS: usize = 64;

impl Dictionary {
    pub(super) fn of_words() -> Dictionary {
        Dictionary::new(false)
    }

    pub(super) fn of_bytes() -> Dictionary {
        Dictionary::new(true)
    }

    fn new(has_lengths: bool) -> Dictionary {
        let slots = vec![(0, 0); FIRST_SLOTS];
        Dictionary { has_lengths, page: Vec::new(), entries: Vec::new(), slots, last: 0 }
    }

    /// Distinct values.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The dictionary page, uncompressed.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }

    /// Bits that an index takes.
    pub(super) fn index_width(&self) -> u32 {
        let largest = self.entries.len().saturating_sub(1);
        usize::BITS - largest.leading_zeros()
    }

    /// Starts over.
    pub(super) fn clear(&mut self) {
        self.page.clear();
        self.entries.clear();
        self.slots.clear();
        self.slots.resize(FIRST_SLOTS, (0, 0));
        self.last = 0;
    }

    /// The index of eight bytes.
    #[inline]
    pub(super) fn word(&mut self, word: i64) -> u32 {
        let bytes = word.to_le_bytes();
        let hash = word_hash(&bytes);
        let (tag, mask) = ((hash >> 32) as u32, self.slots.len() - 1);
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                (_, 0) => return self.insert(at, tag, &bytes, 0).index,
                (other, index) if other == tag && self.word_at(index as usize - 1) == Some(&bytes) => {
                    return index - 1;
                }
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Of a dictionary of words.
    #[inline]
    fn word_at(&self, index: usize) -> Option<&[u8; 8]> {
        self.page.as_chunks().0.get(index)
    }

    /// The index of a string or binary in `column_page`.
    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8], column_page: u32) -> Found {
        // Runs are common, in keys above all.
        if let Some(entry) = self.entries.get(self.last as usize)
            && entry.seen_in == column_page
            && equal(self.value(self.last as usize), bytes)
        {
            return Found { index: self.last, is_new_in_page: false };
        }
        let found = self.find(xxh3_64(bytes), bytes, column_page);
        self.last = found.index;
        found
    }

    #[inline]
    fn find(&mut self, hash: u64, bytes: &[u8], column_page: u32) -> Found {
        let (tag, mask) = ((hash >> 32) as u32, self.slots.len() - 1);
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                (_, 0) => return self.insert(at, tag, bytes, column_page),
                (other, index) if other == tag && equal(self.value(index as usize - 1), bytes) => {
                    let entry = &mut self.entries[index as usize - 1];
                    let is_new_in_page = std::mem::replace(&mut entry.seen_in, column_page) != column_page;
                    return Found { index: index - 1, is_new_in_page };
                }
                _ => at = (at + 1) & mask,
            }
        }
    }

    #[inline]
    fn value(&self, index: usize) -> &[u8] {
        let start = self.entries[index].start as usize;
        let end = match self.entries.get(index + 1) {
            Some(next) if self.has_lengths => next.start as usize - 4,
            Some(next) => next.start as usize,
            None => self.page.len(),
        };
        &self.page[start..end]
    }

    #[inline(never)]
    fn insert(&mut self, at: usize, tag: u32, bytes: &[u8], column_page: u32) -> Found {
        if self.has_lengths {
            self.page.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        }
        self.entries.push(Entry { start: self.page.len() as u32, seen_in: column_page });
        self.page.extend_from_slice(bytes);
        let index = self.entries.len() as u32;
        self.slots[at] = (tag, index);
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
        Found { index: index - 1, is_new_in_page: true }
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots.clear();
        self.slots.resize(mask + 1, (0, 0));
        for index in 0..self.entries.len() {
            let hash = match self.has_lengths {
                true => xxh3_64(self.value(index)),
                false => word_hash(self.value(index)),
            };
            let mut at = hash as usize & mask;
            while self.slots[at].1 != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = ((hash >> 32) as u32, index as u32 + 1);
        }
    }
}

/// Whether two values are the same; short ones without a call.
#[inline(always)]
fn equal(a: &[u8], b: &[u8]) -> bool {
    let ends_8 = || (a.first_chunk::<8>() == b.first_chunk()) & (a.last_chunk::<8>() == b.last_chunk());
    let ends_4 = || (a.first_chunk::<4>() == b.first_chunk()) & (a.last_chunk::<4>() == b.last_chunk());
    a.len() == b.len()
        && match a.len() {
            4..=7 => ends_4(),
            8..=16 => ends_8(),
            _ => a == b,
        }
}

/// Of eight bytes.
#[inline(always)]
fn word_hash(bytes: &[u8]) -> u64 {
    let word = bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let hash = (word ^ word >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ hash >> 32
}
