//! Columns whose values are no longer what their encoding was chosen for.

use arrow::array::{Array, ArrayRef};

/// Rows that an encoding is chosen on again: fewer misled trials (see [`choose_encodings`](super::choose_encodings)).
const SAMPLE_ROWS: usize = 20_000;

/// Row groups that an encoding is kept for at least, so that data going to and fro costs little.
const KEPT_ROW_GROUPS: u32 = 8;

/// Watches one column of a file: when the bytes that a value takes move by a quarter, values are collected to choose the
/// encoding again. Holds the arrays of 20,000 rows of that column at most, and of the batch they end in.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// Bytes per value when the encoding was new.
    bytes_per_value: Option<f64>,
    row_groups: u32,
    sample: Option<Vec<ArrayRef>>,
}

impl Drift {
    /// Takes note of a row group: how many values the column had in it, and their bytes.
    pub(super) fn row_group(&mut self, values: usize, bytes: i64) {
        self.row_groups += 1;
        if values == 0 || self.sample.is_some() {
            return;
        }
        let now = bytes as f64 / values as f64;
        let before = *self.bytes_per_value.get_or_insert(now);
        let has_moved = now > before * 1.25 || now < before * 0.8;
        if has_moved && self.row_groups > KEPT_ROW_GROUPS {
            self.sample = Some(Vec::new());
        }
    }

    /// Shows values that are written: a sample, when there is one to choose by.
    pub(super) fn values(&mut self, array: &ArrayRef) -> Option<Vec<ArrayRef>> {
        let sample = self.sample.as_mut()?;
        sample.push(array.clone());
        if sample.iter().map(|array| array.len()).sum::<usize>() < SAMPLE_ROWS {
            return None;
        }
        // What the next encoding makes of a value is not known yet.
        std::mem::take(self).sample
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn values_that_keep_their_size_are_left_alone() {
        let mut drift = Drift::default();
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1; SAMPLE_ROWS]));
        for bytes in (1_000..1_200).chain([900, 0]) {
            drift.row_group(if bytes == 0 { 0 } else { 1_000 }, bytes);
            assert!(drift.values(&array).is_none(), "{bytes}");
        }
    }

    #[test]
    fn a_column_that_moved_gives_one_sample_and_then_rests() {
        let mut drift = Drift::default();
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1; SAMPLE_ROWS / 2]));
        for bytes in std::iter::repeat_n(1_000, 4).chain([2_000]) {
            drift.row_group(1_000, bytes);
            assert!(drift.values(&array).is_none(), "too early");
        }
        for _ in 0..KEPT_ROW_GROUPS {
            drift.row_group(1_000, 2_000);
        }
        assert!(drift.values(&array).is_none(), "half a sample");
        assert_eq!(drift.values(&array).map(|arrays| arrays.len()), Some(2));
        for bytes in [3_000; KEPT_ROW_GROUPS as usize] {
            drift.row_group(1_000, bytes);
            assert!(drift.values(&array).is_none());
        }
    }
}
