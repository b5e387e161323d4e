//! The dictionary of a column chunk: distinct values, in the order in which they came, PLAIN.

use xxhash_rust::xxh3::xxh3_64;

/// Distinct values and their indices. Values are bytes: of a word, or of a string or binary.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// Strings and binaries have their length before them.
    has_lengths: bool,
    page: Vec<u8>,
    /// Of strings and binaries.
    entries: Vec<Entry>,
    /// Values.
    count: usize,
    /// Open addressing: the index, from 1; 0 is free. Never more than a quarter full: a value that is not in its first slot
    /// costs a mispredicted branch.
    slots: Vec<u32>,
    /// The value that came last.
    last: u32,
    /// How often it came again lately; below zero it is not looked at first.
    runs: i32,
}

/// A string or binary.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// As in its [`Key`].
    word: u64,
    length: u32,
    /// Where its bytes start in the dictionary page.
    start: u32,
    /// The page of the column that had it last.
    seen_in: u32,
}

/// A string or binary, to be looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    bytes: &'a [u8],
    /// Its first eight bytes, with zeros behind them.
    word: u64,
}

impl<'a> Key<'a> {
    /// `data[start..end]`.
    #[inline(always)]
    pub(super) fn of(data: &'a [u8], start: usize, end: usize) -> Key<'a> {
        let bytes = &data[start..end];
        // What stands behind a short value is read too, where there is something, and masked: lengths differ from value to
        // value, and a branch for each is slower than that.
        let word = match data[start..].first_chunk::<8>() {
            Some(chunk) => {
                u64::from_le_bytes(*chunk)
                    & u64::MAX.checked_shr(64 - 8 * bytes.len().min(8) as u32).unwrap_or(0)
            }
            None => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        Key { bytes, word }
    }

    #[inline(always)]
    fn hash(&self) -> u64 {
        match self.bytes.len() {
            length @ 0..=8 => word_hash(self.word ^ (length as u64).rotate_right(8)),
            _ => xxh3_64(self.bytes),
        }
    }
}

/// A value's place, and whether this page of the column has it for the first time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) index: u32,
    pub(super) is_new_in_page: bool,
}

/// Values that it takes to change the mind.
const MOST_RUNS: i32 = 64;
const FIRST_SLOTS: usize = 64;
/// Slots per value, at least.
const SLOTS_PER_VALUE: usize = 4;

impl Dictionary {
    pub(super) fn of_words() -> Dictionary {
        Dictionary::new(false)
    }

    pub(super) fn of_bytes() -> Dictionary {
        Dictionary::new(true)
    }

    fn new(has_lengths: bool) -> Dictionary {
        let slots = vec![0; FIRST_SLOTS];
        Dictionary { has_lengths, page: Vec::new(), entries: Vec::new(), count: 0, slots, last: 0, runs: 0 }
    }

    /// Distinct values.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The dictionary page, uncompressed.
    pub(super) fn page(&self) -> &[u8] {
        &self.page
    }

    /// Bits that an index takes.
    pub(super) fn index_width(&self) -> u32 {
        let largest = self.count.saturating_sub(1);
        usize::BITS - largest.leading_zeros()
    }

    /// Starts over, with slots for as many values as it had.
    pub(super) fn clear(&mut self) {
        let slots = (self.count * SLOTS_PER_VALUE).next_power_of_two().max(FIRST_SLOTS);
        self.page.clear();
        self.entries.clear();
        self.count = 0;
        self.slots.clear();
        self.slots.resize(slots, 0);
        self.last = 0;
    }

    /// The index of eight bytes.
    #[inline]
    pub(super) fn word(&mut self, word: i64) -> u32 {
        let bytes = word.to_le_bytes();
        let mask = self.slots.len() - 1;
        let mut at = word_hash(word as u64) as usize & mask;
        loop {
            match self.slots[at] {
                0 => return self.insert(at, &bytes),
                index if self.word_at(index as usize - 1) == Some(&bytes) => return index - 1,
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
    #[inline(always)]
    pub(super) fn bytes(&mut self, key: Key<'_>, column_page: u32) -> Found {
        // Runs are common, in keys above all. Where they are not, the question is a mispredicted branch now and then.
        if self.runs >= 0
            && let Some(entry) = self.entries.get(self.last as usize)
            && entry.seen_in == column_page
            && self.is(entry, &key)
        {
            self.runs = (self.runs + 1).min(MOST_RUNS);
            return Found { index: self.last, is_new_in_page: false };
        }
        let found = self.find(&key, column_page);
        let step = if found.index == self.last { 1 } else { -1 };
        self.runs = (self.runs + step).clamp(-MOST_RUNS, MOST_RUNS);
        self.last = found.index;
        found
    }

    #[inline(always)]
    fn find(&mut self, key: &Key<'_>, column_page: u32) -> Found {
        let mask = self.slots.len() - 1;
        let mut at = key.hash() as usize & mask;
        loop {
            match self.slots[at] {
                0 => return self.insert_bytes(at, key, column_page),
                index if self.is(&self.entries[index as usize - 1], key) => {
                    let entry = &mut self.entries[index as usize - 1];
                    let is_new_in_page = std::mem::replace(&mut entry.seen_in, column_page) != column_page;
                    return Found { index: index - 1, is_new_in_page };
                }
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Whether an entry is of this value.
    #[inline(always)]
    fn is(&self, entry: &Entry, key: &Key<'_>) -> bool {
        let starts_alike = (entry.word == key.word) & (u64::from(entry.length) == key.bytes.len() as u64);
        starts_alike
            && match key.bytes.len() {
                0..=8 => true,
                9..=16 => self.value(entry).last_chunk::<8>() == key.bytes.last_chunk(),
                17..=24 => self.value(entry).last_chunk::<16>() == key.bytes.last_chunk(),
                _ => self.value(entry) == key.bytes,
            }
    }

    #[inline(always)]
    fn value(&self, entry: &Entry) -> &[u8] {
        &self.page[entry.start as usize..][..entry.length as usize]
    }

    #[inline(never)]
    fn insert_bytes(&mut self, at: usize, key: &Key<'_>, column_page: u32) -> Found {
        let length = key.bytes.len() as u32;
        self.page.extend_from_slice(&length.to_le_bytes());
        let start = self.page.len() as u32;
        self.entries.push(Entry { word: key.word, length, start, seen_in: column_page });
        Found { index: self.insert(at, key.bytes), is_new_in_page: true }
    }

    /// Appends a value to the page, and puts its index into a free slot.
    #[inline(never)]
    fn insert(&mut self, at: usize, bytes: &[u8]) -> u32 {
        self.page.extend_from_slice(bytes);
        self.count += 1;
        self.slots[at] = self.count as u32;
        if self.count * SLOTS_PER_VALUE > self.slots.len() {
            self.grow();
        }
        self.count as u32 - 1
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots.clear();
        self.slots.resize(mask + 1, 0);
        for index in 0..self.count {
            let hash = match self.has_lengths {
                true => {
                    let entry = &self.entries[index];
                    Key { bytes: self.value(entry), word: entry.word }.hash()
                }
                false => word_hash(self.word_at(index).map_or(0, |bytes| u64::from_le_bytes(*bytes))),
            };
            let mut at = hash as usize & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = index as u32 + 1;
        }
    }
}

/// Of eight bytes.
#[inline(always)]
fn word_hash(word: u64) -> u64 {
    let hash = (word ^ word >> 29).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_begin_or_end_alike_are_told_apart_whatever_stands_behind_them() {
        let lengths = (0..20).chain([40]);
        let mut values: Vec<Vec<u8>> = lengths.clone().map(|length| vec![0; length]).collect();
        values.extend(lengths.map(|length| b"abcdefghi".iter().cycle().copied().take(length).collect()));
        for place in [0, 3, 7, 8, 15, 16, 23, 24] {
            for length in [place + 1, place + 2, 30] {
                let mut value = vec![b'x'; length];
                value[place] = b'y';
                values.push(value);
            }
        }
        values.sort();
        values.dedup();
        let mut dictionary = Dictionary::of_bytes();
        for (round, behind) in [b"".as_slice(), &[0; 9], &[0xff; 9], b"abc"].into_iter().enumerate() {
            for (index, value) in values.iter().enumerate() {
                let data = [b"before".as_slice(), value, behind].concat();
                let found = dictionary.bytes(Key::of(&data, 6, 6 + value.len()), 1);
                assert_eq!((found.index as usize, found.is_new_in_page), (index, round == 0), "{value:?}");
            }
        }
        assert_eq!(dictionary.len(), values.len());
        let page: Vec<u8> = values
            .iter()
            .flat_map(|value| [&(value.len() as u32).to_le_bytes(), value.as_slice()].concat())
            .collect();
        assert_eq!(dictionary.page(), page);
    }
}
