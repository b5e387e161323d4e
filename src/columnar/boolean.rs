//! BOOLEAN columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder};

use super::validity::Validity;

/// Bits, one per row, rows without one filled in late.
pub struct BooleanColumn {
    values: BooleanBufferBuilder,
    validity: Validity,
}

impl Default for BooleanColumn {
    fn default() -> BooleanColumn {
        BooleanColumn { values: BooleanBufferBuilder::new(0), validity: Validity::default() }
    }
}

impl BooleanColumn {
    /// Puts `value` into `row`; rows before it that were skipped become null. Rows only go up.
    #[inline]
    pub fn push(&mut self, row: usize, value: bool) {
        if self.values.len() != row {
            self.fill(row);
        }
        self.values.append(value);
    }

    /// Takes back the values of `row` and of rows behind it. Rows before it that were skipped stay null.
    pub fn truncate(&mut self, row: usize) {
        self.values.truncate(row.min(self.values.len()));
    }

    /// Rows up to `row` become null.
    fn fill(&mut self, row: usize) {
        debug_assert!(self.values.len() < row, "a row gets one value");
        self.validity.gap(self.values.len(), row);
        self.values.append_n(row - self.values.len(), false);
    }

    /// The array of `rows` rows; the column starts over.
    pub fn finish(&mut self, rows: usize) -> ArrayRef {
        if self.values.len() < rows {
            self.fill(rows);
        }
        Arc::new(BooleanArray::new(self.values.finish(), self.validity.finish(rows)))
    }
}
