//! INTEGER and DOUBLE columns, and timestamps.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{Float64Type, Int64Type};

use super::validity::Validity;

/// INTEGER values or timestamps.
pub type IntegerColumn = PrimitiveColumn<Int64Type>;
/// DOUBLE values; their bits are only moved.
pub type DoubleColumn = PrimitiveColumn<Float64Type>;

/// 8-byte values, one per row, rows without one filled in late.
pub struct PrimitiveColumn<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    validity: Validity,
}

impl<T: ArrowPrimitiveType> Default for PrimitiveColumn<T> {
    fn default() -> PrimitiveColumn<T> {
        PrimitiveColumn { values: Vec::new(), validity: Validity::default() }
    }
}

impl<T: ArrowPrimitiveType> PrimitiveColumn<T> {
    /// Puts `value` into `row`; rows before it that were skipped become null. Rows only go up.
    #[inline]
    pub fn push(&mut self, row: usize, value: T::Native) {
        if self.values.len() != row {
            self.fill(row);
        }
        self.values.push(value);
    }

    /// Takes back the values of `row` and of rows behind it. Rows before it that were skipped stay null.
    pub fn truncate(&mut self, row: usize) {
        self.values.truncate(row);
    }

    /// Rows up to `row` become null.
    fn fill(&mut self, row: usize) {
        debug_assert!(self.values.len() < row, "a row gets one value");
        self.validity.gap(self.values.len(), row);
        self.values.resize(row, T::Native::default());
    }

    /// The array of `rows` rows; the column starts over with room for as many.
    pub fn finish(&mut self, rows: usize) -> ArrayRef {
        if self.values.len() < rows {
            self.fill(rows);
        }
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(rows));
        Arc::new(PrimitiveArray::<T>::new(values.into(), self.validity.finish(rows)))
    }
}
