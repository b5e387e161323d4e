//! Half-open ranges of primary keys, and the arithmetic that keeps a scan without gap or overlap.

use serde::{Deserialize, Serialize};

use super::{KeyPart, PrimaryKey, PrimaryKeyColumn};

/// `[start, end)` in primary key order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// First key inside, or a bound before it.
    pub start: PrimaryKey,
    /// First key outside.
    pub end: PrimaryKey,
}

impl KeyRange {
    /// The range that holds every key of `columns` primary key columns.
    pub fn all(columns: usize) -> KeyRange {
        KeyRange { start: PrimaryKey::inf_min(columns), end: PrimaryKey::inf_max(columns) }
    }

    /// Whether nothing can be inside.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether `key` is inside.
    pub fn contains(&self, key: &PrimaryKey) -> bool {
        *key >= self.start && *key < self.end
    }

    /// Cuts the range at `points`; points outside are ignored, order and repeats do not matter.
    ///
    /// The results tile `self`: the first starts at `start`, the last ends at `end`, each ends where the next begins.
    pub fn split_at(&self, points: impl IntoIterator<Item = PrimaryKey>) -> Vec<KeyRange> {
        let mut points: Vec<_> =
            points.into_iter().filter(|point| *point > self.start && *point < self.end).collect();
        points.sort();
        points.dedup();
        let mut ranges = Vec::with_capacity(points.len() + 1);
        let mut start = self.start.clone();
        for point in points {
            ranges.push(KeyRange { start, end: point.clone() });
            start = point;
        }
        ranges.push(KeyRange { start, end: self.end.clone() });
        ranges
    }

    /// What is left of `self` when `done` is taken out, in key order. `done` may be in any order.
    pub fn minus<'a>(&self, done: impl IntoIterator<Item = &'a KeyRange>) -> Vec<KeyRange> {
        let mut done: Vec<_> = done.into_iter().filter(|range| !range.is_empty()).collect();
        done.sort_by(|a, b| a.start.cmp(&b.start));
        let mut left = Vec::new();
        let mut cursor = self.start.clone();
        for range in done {
            if range.start > cursor && cursor < self.end {
                let end = range.start.clone().min(self.end.clone());
                left.push(KeyRange { start: cursor.clone(), end });
            }
            cursor = cursor.max(range.end.clone());
        }
        if cursor < self.end {
            left.push(KeyRange { start: cursor, end: self.end.clone() });
        }
        left
    }

    /// Whether `parts`, given in key order, cover `self` exactly: no gap, no overlap, nothing outside.
    /// Says where it breaks.
    pub fn check_tiled_by<'a>(&self, parts: impl IntoIterator<Item = &'a KeyRange>) -> Result<(), String> {
        let mut tiling = Tiling::new(self);
        parts.into_iter().try_for_each(|part| tiling.add(part))?;
        tiling.end()
    }

    /// Whether both ends are bounds of a table with these primary key columns, within the service's limits.
    pub fn check_fits(&self, key_columns: &[PrimaryKeyColumn]) -> Result<(), String> {
        for key in [&self.start, &self.end] {
            let parts = key.parts();
            let fits = parts.len() == key_columns.len()
                && parts.iter().zip(key_columns).all(|(part, column)| part.fits(column.column_type));
            if !fits {
                return Err("a key is not one of this table".to_owned());
            }
            let longest = parts.iter().map(KeyPart::data_size).max().unwrap_or(0);
            if longest > MAX_KEY_VALUE_BYTES {
                return Err(format!("a key value has more than {MAX_KEY_VALUE_BYTES} bytes"));
            }
        }
        Ok(())
    }
}

/// Bytes of a STRING or BINARY primary key value at most (service limit).
const MAX_KEY_VALUE_BYTES: usize = 1_024;

/// [`KeyRange::check_tiled_by`] for parts that come one by one.
#[derive(Debug)]
pub struct Tiling<'a> {
    whole: &'a KeyRange,
    cursor: PrimaryKey,
}

impl<'a> Tiling<'a> {
    /// Nothing of `whole` is covered yet.
    pub fn new(whole: &'a KeyRange) -> Tiling<'a> {
        Tiling { whole, cursor: whole.start.clone() }
    }

    /// The next part in key order. Says where it breaks.
    pub fn add(&mut self, part: &KeyRange) -> Result<(), String> {
        if part.start != self.cursor {
            let what = if part.start > self.cursor { "gap" } else { "overlap" };
            return Err(format!("{what} between {} and {}", self.cursor, part.start));
        }
        if part.is_empty() {
            return Err(format!("empty or reversed interval at {}", part.start));
        }
        self.cursor = part.end.clone();
        Ok(())
    }

    /// There are no more parts.
    pub fn end(&self) -> Result<(), String> {
        if self.cursor == self.whole.end {
            return Ok(());
        }
        Err(format!("covered up to {} instead of {}", self.cursor, self.whole.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyPart;

    fn at(value: i64) -> PrimaryKey {
        PrimaryKey(vec![KeyPart::Integer(value)])
    }

    fn range(start: i64, end: i64) -> KeyRange {
        KeyRange { start: at(start), end: at(end) }
    }

    #[test]
    fn splitting_tiles_the_range_whatever_the_points() {
        let all = KeyRange::all(1);
        let parts = all.split_at([at(5), at(-3), at(5), PrimaryKey::inf_min(1)]);
        assert_eq!(parts.len(), 3);
        assert_eq!(all.check_tiled_by(&parts), Ok(()));
        assert_eq!(range(0, 4).split_at([at(0), at(4), at(9)]), vec![range(0, 4)]);
    }

    #[test]
    fn what_is_left_and_what_is_done_tile_the_range_again() {
        let all = KeyRange::all(1);
        let done = [range(10, 20), range(0, 5), range(20, 30)];
        let left = all.minus(&done);
        assert_eq!(left.len(), 3);
        let mut parts: Vec<_> = done.iter().chain(&left).cloned().collect();
        parts.sort_by(|a, b| a.start.cmp(&b.start));
        assert_eq!(all.check_tiled_by(&parts), Ok(()));
        assert!(all.minus([&all]).is_empty());
        assert_eq!(all.minus([]), vec![all]);
    }

    #[test]
    fn gaps_overlaps_and_short_ends_are_named() {
        let whole = range(0, 10);
        assert!(whole.check_tiled_by(&[range(0, 4), range(5, 10)]).unwrap_err().starts_with("gap"));
        assert!(whole.check_tiled_by(&[range(0, 6), range(5, 10)]).unwrap_err().starts_with("overlap"));
        assert!(whole.check_tiled_by(&[range(0, 6)]).unwrap_err().starts_with("covered up to"));
    }
}
