//! STRING and BINARY columns.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::types::{BinaryType, ByteArrayType, Utf8Type};
use arrow::array::{ArrayRef, GenericByteArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};

use super::validity::Validity;

/// STRING values.
pub type StringColumn = BytesColumn<Utf8Type>;
/// BINARY values.
pub type BinaryColumn = BytesColumn<BinaryType>;

/// Values of any length end to end, rows without one filled in late.
pub struct BytesColumn<T> {
    data: Vec<u8>,
    /// Where each row's value ends; the leading 0 is there from the start.
    offsets: Vec<i32>,
    validity: Validity,
    value_type: PhantomData<T>,
}

impl<T> Default for BytesColumn<T> {
    fn default() -> BytesColumn<T> {
        BytesColumn {
            data: Vec::new(),
            offsets: vec![0],
            validity: Validity::default(),
            value_type: PhantomData,
        }
    }
}

impl<T: ByteArrayType<Offset = i32>> BytesColumn<T> {
    /// Puts `value` into `row`; rows before it that were skipped become null. Rows only go up.
    ///
    /// The caller keeps the column's total under 2 GiB; [`BatchBuilder`](super::BatchBuilder) checks that per row.
    #[inline]
    pub fn push(&mut self, row: usize, value: &T::Native) {
        let value: &[u8] = value.as_ref();
        if self.offsets.len() != row + 1 {
            self.fill(row);
        }
        self.data.extend_from_slice(value);
        debug_assert!(i32::try_from(self.data.len()).is_ok(), "the caller bounds the batch");
        self.offsets.push(self.data.len() as i32);
    }

    /// Takes back the values of `row` and of rows behind it. Rows before it that were skipped stay null.
    pub fn truncate(&mut self, row: usize) {
        if let Some(end) = self.offsets.get(row) {
            self.data.truncate(*end as usize);
            self.offsets.truncate(row + 1);
        }
    }

    /// Rows up to `row` become null.
    fn fill(&mut self, row: usize) {
        debug_assert!(self.offsets.len() < row + 1, "a row gets one value");
        self.validity.gap(self.offsets.len() - 1, row);
        self.offsets.resize(row + 1, self.data.len() as i32);
    }

    /// The array of `rows` rows; the column starts over with room for as many.
    pub fn finish(&mut self, rows: usize) -> ArrayRef {
        if self.offsets.len() < rows + 1 {
            self.fill(rows);
        }
        let mut next_offsets = Vec::with_capacity(rows + 1);
        next_offsets.push(0);
        let offsets = ScalarBuffer::from(std::mem::replace(&mut self.offsets, next_offsets));
        let room = self.data.len();
        let data = std::mem::replace(&mut self.data, Vec::with_capacity(room));
        let nulls = self.validity.finish(rows);
        // Checks that they start at 0 and only grow.
        let offsets = OffsetBuffer::new(offsets);
        // SAFETY: the last offset is the length of the data, there are `rows` values and as many validity bits; `data` is
        // values of the native type end to end, with an offset at every end and nowhere else, so that each slot of a
        // STRING column is UTF-8. Checking that again took a third of the decoding of Chinese text.
        Arc::new(unsafe { GenericByteArray::<T>::new_unchecked(offsets, data.into(), nulls) })
    }
}
