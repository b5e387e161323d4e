//! BOOLEAN columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};

use super::validity::{Validity, bits};

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// Bits, one per row, rows without one filled in late.
#[derive(Default)]
pub struct BooleanColumn {
    /// The lowest bit first; none is set behind the last row.
    words: Vec<u64>,
    rows: usize,
    validity: Validity,
}

impl BooleanColumn {
    /// Puts `value` into `row`; rows before it that were skipped become null. Rows only go up.
    #[inline]
    pub fn push(&mut self, row: usize, value: bool) {
        if self.rows != row {
            self.fill(row);
        }
        if row.is_multiple_of(WORD) {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            // No branch on what the data is: it would be mispredicted.
            *word |= u64::from(value) << (row % WORD);
        }
        self.rows = row + 1;
    }

    /// Takes back the values of `row` and of rows behind it. Rows before it that were skipped stay null.
    pub fn truncate(&mut self, row: usize) {
        if row < self.rows {
            self.words.truncate(row.div_ceil(WORD));
            if let (Some(word), 1..) = (self.words.last_mut(), row % WORD) {
                *word &= (1 << (row % WORD)) - 1;
            }
            self.rows = row;
        }
    }

    /// Rows up to `row` become null.
    fn fill(&mut self, row: usize) {
        debug_assert!(self.rows < row, "a row gets one value");
        self.validity.gap(self.rows, row);
        self.words.resize(row.div_ceil(WORD), 0);
        self.rows = row;
    }

    /// The array of `rows` rows; the column starts over with room for as many.
    pub fn finish(&mut self, rows: usize) -> ArrayRef {
        if self.rows < rows {
            self.fill(rows);
        }
        self.rows = 0;
        let room = self.words.len();
        let words = std::mem::replace(&mut self.words, Vec::with_capacity(room));
        Arc::new(BooleanArray::new(bits(words, rows), self.validity.finish(rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches in which every `step`th row has a value, and one row is taken back and put again.
    #[test]
    fn values_taken_back_leave_nothing_behind() {
        let mut column = BooleanColumn::default();
        for step in [1, 9, 2, 100, 1, 64, 63] {
            let value = |row: usize| (row % step == step / 2).then_some(row.is_multiple_of(3));
            for row in 0..300 {
                if let Some(value) = value(row) {
                    column.push(row, true);
                    column.truncate(row);
                    column.push(row, value);
                }
            }
            let expected: BooleanArray = (0..300).map(value).collect();
            assert_eq!(column.finish(300).as_any().downcast_ref::<BooleanArray>(), Some(&expected), "{step}");
        }
    }
}
