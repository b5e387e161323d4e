//! Columns whose values are no longer what their encoding was chosen for.

use arrow::array::{Array, ArrayRef};

/// Rows that an encoding is chosen on again: fewer misled trials (see [`choose_encodings`](super::choose_encodings)).
const SAMPLE_ROWS: usize = 20_000;

/// Bytes that these may be: of longer values the encoding is the smallest part.
const SAMPLE_BYTES: usize = 2 << 20;

/// Row groups that an encoding is kept for at least, so that data going to and fro costs little.
const KEPT_ROW_GROUPS: u32 = 8;

/// Watches one column of a file: when the bytes that a value takes move by a quarter, values are collected to choose the
/// encoding again. Holds 2 MiB of arrays at most, and of the batch they end in.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// Bytes per value when the encoding was new.
    bytes_per_value: Option<f64>,
    row_groups: u32,
    has_moved: bool,
    sample: Option<Vec<ArrayRef>>,
}

impl Drift {
    /// Takes note of a row group: how many values the column had in it, and their bytes.
    pub(super) fn row_group(&mut self, values: usize, bytes: i64) {
        self.row_groups += 1;
        if values > 0 {
            let now = bytes as f64 / values as f64;
            let before = *self.bytes_per_value.get_or_insert(now);
            self.has_moved = now > before * 1.25 || now < before * 0.8;
        }
    }

    /// Values are being collected.
    pub(super) fn is_sampling(&self) -> bool {
        self.sample.is_some()
    }

    /// Shows values that are written: a sample, when there is one to choose by. Begins one only where it `may_begin`, and then
    /// no other column may.
    pub(super) fn values(&mut self, array: &ArrayRef, may_begin: &mut bool) -> Option<Vec<ArrayRef>> {
        let is_due = self.has_moved && self.row_groups > KEPT_ROW_GROUPS;
        if self.sample.is_none() && is_due && std::mem::take(may_begin) {
            self.sample = Some(Vec::new());
        }
        let sample = self.sample.as_mut()?;
        sample.push(array.clone());
        let rows: usize = sample.iter().map(|array| array.len()).sum();
        let bytes: usize =
            sample.iter().map(|array| array.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        let is_enough = rows >= SAMPLE_ROWS;
        if !is_enough && bytes < SAMPLE_BYTES {
            return None;
        }
        // What the next encoding makes of a value is not known yet.
        std::mem::take(self).sample.filter(|_| is_enough)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn values_that_keep_their_size_are_left_alone() {
        let mut drift = Drift::default();
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1; SAMPLE_ROWS]));
        for bytes in (1_000..1_200).chain([900, 0]) {
            drift.row_group(if bytes == 0 { 0 } else { 1_000 }, bytes);
            assert!(drift.values(&array, &mut true).is_none(), "{bytes}");
        }
    }

    #[test]
    fn a_column_that_moved_gives_one_sample_and_then_rests() {
        let mut drift = Drift::default();
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1; SAMPLE_ROWS / 2]));
        for bytes in std::iter::repeat_n(1_000, 4).chain([2_000]) {
            drift.row_group(1_000, bytes);
            assert!(drift.values(&array, &mut true).is_none(), "too early");
        }
        for _ in 0..KEPT_ROW_GROUPS {
            drift.row_group(1_000, 2_000);
        }
        assert!(drift.values(&array, &mut true).is_none(), "half a sample");
        assert_eq!(drift.values(&array, &mut true).map(|arrays| arrays.len()), Some(2));
        assert!(!drift.is_sampling());
        for bytes in [3_000; KEPT_ROW_GROUPS as usize] {
            drift.row_group(1_000, bytes);
            assert!(drift.values(&array, &mut true).is_none());
        }
    }

    #[test]
    fn one_column_at_a_time_is_sampled_and_values_too_long_for_it_are_let_go() {
        let mut drifts = [Drift::default(), Drift::default()];
        for drift in &mut drifts {
            drift.row_group(1_000, 1_000);
            (0..KEPT_ROW_GROUPS).for_each(|_| drift.row_group(1_000, 2_000));
        }
        let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(SAMPLE_BYTES / 2)]));
        let mut may_begin = true;
        let [first, second] = &mut drifts;
        assert!(first.values(&long, &mut may_begin).is_none() && first.is_sampling());
        assert!(second.values(&long, &mut may_begin).is_none() && !second.is_sampling());
        assert!(first.values(&long, &mut true).is_none() && !first.is_sampling(), "too long");
        assert!(second.values(&long, &mut true).is_none() && second.is_sampling());
    }
}
