//! STRING and BINARY columns.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::types::{BinaryType, ByteArrayType, Utf8Type};
use arrow::array::{ArrayRef, GenericByteArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};

use super::row_list::RowList;
use super::validity::Validity;
use crate::model::short_bytes::{self, SHORT};

/// STRING values.
pub type StringColumn = BytesColumn<Utf8Type>;
/// BINARY values.
pub type BinaryColumn = BytesColumn<BinaryType>;

/// Values of any length end to end. Rows without one are filled in when the next value comes; in a column that was sparse
/// in the last batch, at the end.
pub struct BytesColumn<T> {
    data: Vec<u8>,
    /// Where each row's value ends, or of a sparse column each value; the leading 0 is there from the start.
    offsets: Vec<i32>,
    validity: Validity,
    /// Where the values belong, if not one after the other.
    list: Option<RowList>,
    value_type: PhantomData<T>,
}

impl<T> Default for BytesColumn<T> {
    fn default() -> BytesColumn<T> {
        BytesColumn {
            data: Vec::new(),
            offsets: vec![0],
            validity: Validity::default(),
            list: None,
            value_type: PhantomData,
        }
    }
}

impl<T: ByteArrayType<Offset = i32>> BytesColumn<T> {
    /// Puts `value` into `row`; rows before it that were skipped become null. Rows only go up.
    ///
    /// The caller keeps the column's total under 2 GiB; [`BatchBuilder`](super::BatchBuilder) checks that per row.
    #[inline(always)]
    pub fn push(&mut self, row: usize, value: &T::Native) {
        self.push_from(row, value, value.as_ref());
    }

    /// As [`BytesColumn::push`]; `page` starts with the value and goes on behind it.
    #[inline(always)]
    pub fn push_from(&mut self, row: usize, value: &T::Native, page: &[u8]) {
        let value: &[u8] = value.as_ref();
        if let Some(list) = &mut self.list {
            list.push(row);
        } else if self.offsets.len() != row + 1 {
            self.fill(row);
        }
        short_bytes::append(&mut self.data, value, page);
        debug_assert!(i32::try_from(self.data.len()).is_ok(), "the caller bounds the batch");
        self.offsets.push(self.data.len() as i32);
    }

    /// Takes back the values of `row` and of rows behind it. Rows before it that were skipped stay null.
    pub fn truncate(&mut self, row: usize) {
        let values = self.list.as_mut().map_or(row, |list| list.truncate(row));
        if let Some(end) = self.offsets.get(values) {
            self.data.truncate(*end as usize);
            self.offsets.truncate(values + 1);
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
        let (nulls, count) = match self.list.take() {
            Some(list) => {
                let ends = std::mem::take(&mut self.offsets);
                self.offsets.reserve(rows + 1);
                for (row, end_before) in list.rows().zip(&ends) {
                    self.offsets.resize(row + 1, *end_before);
                }
                self.offsets.resize(rows + 1, self.data.len() as i32);
                (list.nulls(rows), list.len())
            }
            None => {
                if self.offsets.len() < rows + 1 {
                    self.fill(rows);
                }
                // Of a row that was not counted.
                self.truncate(rows);
                let nulls = self.validity.finish(rows);
                let count = rows - nulls.as_ref().map_or(0, NullBuffer::null_count);
                (nulls, count)
            }
        };
        self.list = RowList::for_column_with(count, rows);
        let mut next_offsets = Vec::with_capacity(if self.list.is_some() { count + 1 } else { rows + 1 });
        next_offsets.push(0);
        let offsets = std::mem::replace(&mut self.offsets, next_offsets).into();
        let room = self.data.len();
        let data = std::mem::replace(&mut self.data, Vec::with_capacity(room + SHORT));
        assert!(
            i32::try_from(data.len()).is_ok(),
            "the builder refuses rows far below what an offset can count"
        );
        // SAFETY: the offsets start at 0 and are what the length of `data` was, one value later each; the last one is that
        // length. There are `rows` values and as many validity bits. `data` is values of the native type end to end, with an
        // offset at every end and nowhere else, so that each slot of a STRING column is UTF-8. Checking all that again took
        // a third of the decoding of Chinese text.
        Arc::new(unsafe {
            let offsets = OffsetBuffer::new_unchecked(offsets);
            GenericByteArray::<T>::new_unchecked(offsets, data.into(), nulls)
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, StringArray};

    use super::*;

    /// Batches in which every `step`th row has a value, and one row is taken back and put again.
    #[test]
    fn dense_and_sparse_batches_follow_each_other() {
        let mut column = StringColumn::default();
        for step in [1, 9, 9, 100, 1, 5, 5, 3, 200] {
            let value = |row: usize| (row % step == step / 2).then(|| "é".repeat(row % 7));
            for row in 0..150 {
                if let Some(value) = value(row) {
                    column.push(row, "taken back");
                    column.truncate(row);
                    column.push(row, &value);
                }
            }
            let array = column.finish(150);
            array.to_data().validate_full().unwrap();
            assert_eq!(
                array.as_any().downcast_ref::<StringArray>(),
                Some(&(0..150).map(value).collect()),
                "{step}"
            );
        }
    }
}
