//! The rows of a sparse column's values: a list, where filling the rows between would cost more than the values do.

use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

/// A column is sparse with fewer than one value in so many rows.
const SPARSE: usize = 4;

/// Ascending row numbers, one per value.
#[derive(Debug, Default)]
pub struct RowList {
    rows: Vec<u32>,
}

impl RowList {
    /// A list if a column that had `values` in the last `rows` rows is better off with one.
    pub fn for_column_with(values: usize, rows: usize) -> Option<RowList> {
        (values < rows / SPARSE).then(RowList::default)
    }

    /// The next value is that of `row`. Batches have fewer rows than 32 bits can count.
    #[inline(always)]
    pub fn push(&mut self, row: usize) {
        debug_assert!(self.rows.last().is_none_or(|last| (*last as usize) < row), "rows only go up");
        self.rows.push(row as u32);
    }

    /// Takes back `row` and rows behind it: how many values stay.
    pub fn truncate(&mut self, row: usize) -> usize {
        while self.rows.last().is_some_and(|last| *last as usize >= row) {
            self.rows.pop();
        }
        self.rows.len()
    }

    /// The row of each value.
    pub fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.iter().map(|row| *row as usize)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The bitmap of `rows` rows, of which those in the list have a value; `None` if all are in it.
    pub fn nulls(&self, rows: usize) -> Option<NullBuffer> {
        if self.rows.len() == rows {
            return None;
        }
        let mut bits = vec![0_u8; rows.div_ceil(8)];
        for row in self.rows() {
            bits[row / 8] |= 1 << (row % 8);
        }
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, rows)))
    }
}
