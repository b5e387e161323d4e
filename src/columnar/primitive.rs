//! INTEGER and DOUBLE columns, and timestamps.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float64Type, Int64Type};

use super::row_list::RowList;
use super::validity::Validity;

/// INTEGER values or timestamps.
pub type IntegerColumn = PrimitiveColumn<Int64Type>;
/// DOUBLE values; their bits are only moved.
pub type DoubleColumn = PrimitiveColumn<Float64Type>;

/// 8-byte values. Rows without one are filled in when the next value comes; in a column that was sparse in the last batch,
/// at the end.
pub struct PrimitiveColumn<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    validity: Validity,
    /// Where the values belong, if not one after the other.
    list: Option<RowList>,
}

impl<T: ArrowPrimitiveType> Default for PrimitiveColumn<T> {
    fn default() -> PrimitiveColumn<T> {
        PrimitiveColumn { values: Vec::new(), validity: Validity::default(), list: None }
    }
}

impl<T: ArrowPrimitiveType> PrimitiveColumn<T> {
    /// Puts `value` into `row`; rows before it that were skipped become null. Rows only go up.
    #[inline(always)]
    pub fn push(&mut self, row: usize, value: T::Native) {
        if let Some(list) = &mut self.list {
            list.push(row);
        } else if self.values.len() != row {
            self.fill(row);
        }
        self.values.push(value);
    }

    /// Takes back the values of `row` and of rows behind it. Rows before it that were skipped stay null.
    pub fn truncate(&mut self, row: usize) {
        let values = self.list.as_mut().map_or(row, |list| list.truncate(row));
        self.values.truncate(values);
    }

    /// Rows up to `row` become null.
    fn fill(&mut self, row: usize) {
        debug_assert!(self.values.len() < row, "a row gets one value");
        self.validity.gap(self.values.len(), row);
        self.values.resize(row, T::Native::default());
    }

    /// The array of `rows` rows; the column starts over with room for as many.
    pub fn finish(&mut self, rows: usize) -> ArrayRef {
        let (values, nulls, count) = match self.list.take() {
            Some(list) => {
                let mut values = vec![T::Native::default(); rows];
                list.rows().zip(self.values.drain(..)).for_each(|(row, value)| values[row] = value);
                (values, list.nulls(rows), list.len())
            }
            None => {
                if self.values.len() < rows {
                    self.fill(rows);
                }
                let nulls = self.validity.finish(rows);
                let count = rows - nulls.as_ref().map_or(0, NullBuffer::null_count);
                (std::mem::take(&mut self.values), nulls, count)
            }
        };
        self.list = RowList::for_column_with(count, rows);
        self.values.reserve(if self.list.is_some() { count } else { rows });
        Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
    }
}
