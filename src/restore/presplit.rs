//! Where a new table is cut into partitions, so that the load does not begin on one.

use crate::catalog::FileEntry;
use crate::model::{KeyPart, KeyRange};

/// Partitions that CreateTable makes, at most (service limit; asserted by the Java SDK's tests).
const MOST_PARTITIONS: u64 = 10;

/// Bytes of a STRING or BINARY partition bound, at most (service limit; asserted by the Java SDK's tests).
const LONGEST_BOUND: usize = 64;

/// Values of the first primary key column, ascending, that divide the rows of `entries` inside `range` into up to ten
/// parts of about the same number of rows.
///
/// A file is never divided, so there are fewer parts than files; and a bound lies where a file starts, which is as
/// exact as the file list is.
pub(super) fn partition_bounds(entries: &[FileEntry], range: &KeyRange) -> Vec<KeyPart> {
    let inside: Vec<_> = entries
        .iter()
        .filter(|entry| entry.rows > 0 && entry.range.start < range.end && entry.range.end > range.start)
        .collect();
    let rows: u64 = inside.iter().map(|entry| entry.rows).sum();
    let mut bounds: Vec<KeyPart> = Vec::new();
    let mut before = 0;
    let mut part = 1;
    for entry in inside {
        // The first bound at or behind each tenth.
        if before > 0 && before * MOST_PARTITIONS >= part * rows {
            part = before * MOST_PARTITIONS / rows + 1;
            bounds.extend(entry.range.start.parts().first().and_then(usable));
        }
        before += entry.rows;
    }
    bounds.dedup();
    bounds.truncate(MOST_PARTITIONS as usize - 1);
    bounds
}

/// A value as the service takes it for a bound; a long one is cut, which only moves the bound down.
fn usable(part: &KeyPart) -> Option<KeyPart> {
    match part {
        KeyPart::Integer(i64::MIN | i64::MAX) | KeyPart::InfMin | KeyPart::InfMax => None,
        KeyPart::Integer(value) => Some(KeyPart::Integer(*value)),
        KeyPart::String(text) => {
            let mut end = text.len().min(LONGEST_BOUND);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.get(..end).filter(|text| !text.is_empty()).map(|text| KeyPart::String(text.to_owned()))
        }
        KeyPart::Binary(bytes) => {
            let bytes = bytes.get(..LONGEST_BOUND).unwrap_or(bytes);
            (!bytes.is_empty()).then(|| KeyPart::Binary(bytes.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{FileId, ReadCost};
    use crate::model::{PrimaryKey, RowSum};

    fn entries(starts: Vec<KeyPart>, rows: &[u64]) -> Vec<FileEntry> {
        let points = starts.into_iter().map(|part| PrimaryKey(vec![part]));
        let ranges = KeyRange::all(1).split_at(points);
        ranges
            .into_iter()
            .zip(rows)
            .map(|(range, rows)| FileEntry {
                id: FileId::random(),
                range,
                rows: *rows,
                cells: 0,
                logical_bytes: 0,
                row_sum: RowSum::default(),
                file: None,
                read: ReadCost::default(),
            })
            .collect()
    }

    fn integers(values: impl IntoIterator<Item = i64>) -> Vec<KeyPart> {
        values.into_iter().map(KeyPart::Integer).collect()
    }

    #[test]
    fn a_hundred_equal_files_make_ten_partitions() {
        let bounds = partition_bounds(&entries(integers(1..100), &[7; 100]), &KeyRange::all(1));
        assert_eq!(bounds, integers((10..100).step_by(10)));
    }

    #[test]
    fn bounds_follow_the_rows_and_not_the_files() {
        // Half of the rows are in the last file.
        let rows = [1, 1, 1, 1, 1, 1, 1, 1, 1, 9];
        let bounds = partition_bounds(&entries(integers(1..10), &rows), &KeyRange::all(1));
        assert_eq!(bounds, integers([2, 4, 6, 8, 9]));
        assert!(partition_bounds(&entries(vec![], &[5]), &KeyRange::all(1)).is_empty());
        let inside = KeyRange { start: PrimaryKey(integers([3])), end: PrimaryKey(integers([5])) };
        assert_eq!(partition_bounds(&entries(integers(1..10), &rows), &inside), integers([4]));
    }

    #[test]
    fn bounds_that_the_service_would_refuse_are_cut_or_left_out() {
        assert_eq!(usable(&KeyPart::Integer(i64::MIN)), None);
        assert_eq!(usable(&KeyPart::String(String::new())), None);
        let long = KeyPart::String("é".repeat(40));
        assert_eq!(usable(&long), Some(KeyPart::String("é".repeat(32))));
        let odd = KeyPart::String(format!("a{}", "é".repeat(40)));
        assert_eq!(usable(&odd), Some(KeyPart::String(format!("a{}", "é".repeat(31)))));
        assert_eq!(usable(&KeyPart::Binary(vec![7; 100])), Some(KeyPart::Binary(vec![7; 64])));
        // Long strings with one beginning are one bound.
        let same = |n: u8| KeyPart::String(format!("{}{}", "x".repeat(64), n as char));
        let bounds = partition_bounds(&entries(vec![same(b'a'), same(b'b')], &[1, 1, 1]), &KeyRange::all(1));
        assert_eq!(bounds.len(), 1);
    }
}
