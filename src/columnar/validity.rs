//! Which rows of a column hold a value, recorded only where rows without one come in.

use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

/// A null bitmap that does no work for dense columns: it is told about gaps, not about values.
#[derive(Debug, Default)]
pub struct Validity {
    /// A bit per row, the lowest first, set where there is a value.
    words: Vec<u64>,
    /// Rows decided so far.
    rows: usize,
    nulls: usize,
}

impl Validity {
    /// Rows from the last gap up to `start` hold values; rows in `start..end` do not.
    #[inline]
    pub fn gap(&mut self, start: usize, end: usize) {
        self.words.resize(end.div_ceil(64), 0);
        self.values_up_to(start);
        self.rows = end;
        self.nulls += end - start;
    }

    /// The bitmap of the `rows` rows so far, `None` if all hold a value; starts over.
    pub fn finish(&mut self, rows: usize) -> Option<NullBuffer> {
        let nulls = std::mem::take(&mut self.nulls);
        if nulls == 0 {
            self.rows = 0;
            return None;
        }
        self.words.resize(rows.div_ceil(64), 0);
        self.values_up_to(rows);
        self.rows = 0;
        let room = self.words.len();
        let words = std::mem::replace(&mut self.words, Vec::with_capacity(room));
        Some(NullBuffer::new(bits(words, rows)))
    }

    #[inline]
    fn values_up_to(&mut self, end: usize) {
        let start = std::mem::replace(&mut self.rows, end);
        if start >= end {
            return;
        }
        let (first, last) = (start / 64, (end - 1) / 64);
        let (from, to) = (u64::MAX << (start % 64), u64::MAX >> (63 - (end - 1) % 64));
        if first == last {
            self.words[first] |= from & to;
        } else {
            self.words[first] |= from;
            self.words[first + 1..last].fill(u64::MAX);
            self.words[last] |= to;
        }
    }
}

/// The first `rows` bits of `words`, the lowest of each first.
pub(super) fn bits(mut words: Vec<u64>, rows: usize) -> BooleanBuffer {
    // Arrow counts bits byte by byte.
    words.iter_mut().for_each(|word| *word = word.to_le());
    BooleanBuffer::new(Buffer::from_vec(words), 0, rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gaps_are_null_and_all_else_is_not(
            runs in prop::collection::vec((0_usize..200, 1_usize..200), 0..20), rest in 0_usize..200,
        ) {
            let mut validity = Validity::default();
            for _ in 0..2 {
                let mut expected = Vec::new();
                for (values, nulls) in &runs {
                    expected.resize(expected.len() + values, true);
                    validity.gap(expected.len(), expected.len() + nulls);
                    expected.resize(expected.len() + nulls, false);
                }
                expected.resize(expected.len() + rest, true);
                let found = validity.finish(expected.len()).map(|nulls| nulls.iter().collect::<Vec<_>>());
                prop_assert_eq!(found, (!runs.is_empty()).then_some(expected));
            }
        }
    }
}
