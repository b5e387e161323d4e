//! Tables that are computed instead of stored: row `i` is a function of (shape, key style, seed, i), so that a billion
//! rows cost no memory and are the same on every machine.
//!
//! Keys ascend with `i`; the place of any key is found by binary search. Such tables are read-only.

use std::ops::{ControlFlow, Range};

use serde::{Deserialize, Serialize};

use self::draft::{Columns, Draft};
use self::keys::Keys;
use super::table::data_size;
use crate::model::{
    KeyPart, PrimaryKey, PrimaryKeyColumn, PrimaryKeyType, ReservedThroughput, Row, TableDefinition,
    TableOptions,
};
use crate::plainbuffer::write_row;

mod draft;
mod fat;
mod iot;
mod keys;
mod mixed;
mod sparse;
mod spec;
mod wide;

/// When every generated table claims to have been created, in microseconds.
const CREATION_TIME_US: i64 = 1_700_000_000_000_000;

/// Timestamp of the first generated cells, in milliseconds.
const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;

/// What the rows look like. Sizes are PlainBuffer bytes per row with sequential keys, measured over 2,000 rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Sensor readings: device STRING of 16 bytes and time INTEGER, 8 small columns, one timestamp per row; about
    /// 325 bytes.
    Iot,
    /// 60 columns of all types, all present; about 2,670 bytes.
    Wide,
    /// 1 KB of JSON, 1 KB of text, an INTEGER; about 2,170 bytes.
    Fat,
    /// 10 of 200 columns, others in every row; about 460 bytes.
    Sparse,
    /// Everything that is hard to keep: keys STRING, INTEGER, BINARY; columns that change their type from row to row,
    /// up to 5 versions per cell, a timestamp per cell, rows of a key alone, empty strings, NaN payloads, -0.0,
    /// names that differ only in case, columns that appear in the last fifth, rows of 150 columns.
    Mixed,
}

/// What the first key column looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyStyle {
    /// STRING: a short word and a counter.
    Sequential,
    /// STRING of 16 hexadecimal digits, spread evenly.
    Hashed,
    /// STRING of 60 bytes, of which the first 48 are always the same.
    SharedPrefix,
    /// BINARY of 16 bytes, spread evenly.
    Binary,
}

/// A table to generate: `NAME=SHAPE:rows=N,seed=S[,key=STYLE][,partitions=P][,skew=PERCENT]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GeneratedTable {
    /// Table name.
    pub name: String,
    /// What the rows look like.
    pub shape: Shape,
    /// How many rows there are.
    pub rows: u64,
    /// Another seed gives other values in the same shape.
    pub seed: u64,
    /// What the first key column looks like; `None` is the shape's own, sequential but for `mixed`.
    pub key: Option<KeyStyle>,
    /// Into how many ranges of the first key column the table is divided; 1 to 1,024.
    pub partitions: u32,
    /// Percent of the rows that are in the middle partition, 1 to 99; `None` spreads them evenly.
    pub skew: Option<u8>,
}

impl GeneratedTable {
    /// What DescribeTable says.
    pub fn definition(&self) -> TableDefinition {
        let (defined_columns, max_versions) = match self.shape {
            Shape::Mixed => (mixed::defined_columns(), mixed::MAX_VERSIONS),
            _ => (Vec::new(), 1),
        };
        let mut primary_key: Vec<_> = self.key_columns().iter().map(key_column).collect();
        primary_key[0].column_type = Keys::new(self).first_type();
        TableDefinition {
            name: self.name.clone(),
            primary_key,
            defined_columns,
            options: TableOptions {
                time_to_live: Some(-1),
                max_versions: Some(max_versions),
                deviation_seconds: Some(86_400),
                allow_update: Some(true),
                update_full_row: Some(false),
            },
            reserved: ReservedThroughput::default(),
            stream: None,
            indexes: Vec::new(),
            creation_time: Some(CREATION_TIME_US),
        }
    }

    fn key_columns(&self) -> &'static [(&'static str, PrimaryKeyType)] {
        match self.columns() {
            Some(columns) => columns.key,
            None => &mixed::KEY,
        }
    }

    /// The columns of a shape whose rows are drafts.
    fn columns(&self) -> Option<&'static Columns> {
        match self.shape {
            Shape::Iot => Some(&iot::COLUMNS),
            Shape::Wide => Some(&wide::COLUMNS),
            Shape::Fat => Some(&fat::COLUMNS),
            Shape::Sparse => Some(&sparse::COLUMNS),
            Shape::Mixed => None,
        }
    }

    /// The boundaries between the partitions, one part each.
    pub fn boundaries(&self) -> Vec<PrimaryKey> {
        Keys::new(self).boundaries()
    }

    /// The rows of each partition, in key order.
    pub fn partition_rows(&self) -> Vec<Range<u64>> {
        Keys::new(self).row_ranges().collect()
    }

    /// The key of row `index`, which is below [`GeneratedTable::rows`].
    pub fn key(&self, index: u64) -> PrimaryKey {
        self.key_in(&Keys::new(self), index)
    }

    fn key_in(&self, keys: &Keys, index: u64) -> PrimaryKey {
        let (group, within) = keys.group(index);
        let mut parts = vec![keys.first(group)];
        match self.shape {
            Shape::Iot => parts.push(KeyPart::Integer(iot::time(self.seed, index, within))),
            Shape::Mixed => parts.extend(mixed::rest_of_key(within)),
            Shape::Wide | Shape::Fat | Shape::Sparse => {}
        }
        PrimaryKey(parts)
    }

    /// How many rows have a key below `bound`: the index of the first row at or after it.
    pub fn rows_below(&self, bound: &PrimaryKey) -> u64 {
        self.count_while(|key| key < bound)
    }

    /// How many rows have a key at or below `bound`.
    pub fn rows_up_to(&self, bound: &PrimaryKey) -> u64 {
        self.count_while(|key| key <= bound)
    }

    fn count_while(&self, is_before: impl Fn(&PrimaryKey) -> bool) -> u64 {
        let keys = Keys::new(self);
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(&self.key_in(&keys, middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Shows the rows of `range`, backwards if `backward`, until `visit` breaks.
    pub fn scan<F>(&self, range: Range<u64>, backward: bool, mut visit: F)
    where
        F: FnMut(&mut Row<'_>) -> ControlFlow<()>,
    {
        match self.columns() {
            None => mixed::scan(self, indexes(range, backward), |_, row| visit(row)),
            Some(columns) => self.drafts(indexes(range, backward), |_, draft| {
                let mut row = Row::default();
                draft.view(columns, &mut row);
                visit(&mut row)
            }),
        }
    }

    /// Appends rows of `range` to `out` as PlainBuffer, backwards if `backward`, for as long as `fits` says yes to a
    /// row's number and its size by the service's data-size rule; it may write to `out` before that row.
    pub fn encode<F>(&self, range: Range<u64>, backward: bool, out: &mut Vec<u8>, mut fits: F)
    where
        F: FnMut(u64, usize, &mut Vec<u8>) -> bool,
    {
        match self.columns() {
            None => mixed::scan(self, indexes(range, backward), |index, row| {
                if !fits(index, data_size(row, true), out) {
                    return ControlFlow::Break(());
                }
                write_row(out, row);
                ControlFlow::Continue(())
            }),
            Some(columns) => self.drafts(indexes(range, backward), |index, draft| {
                if !fits(index, draft.data_size(columns), out) {
                    return ControlFlow::Break(());
                }
                draft.write(columns, out);
                ControlFlow::Continue(())
            }),
        }
    }

    fn drafts<F>(&self, indexes: impl Iterator<Item = u64>, mut visit: F)
    where
        F: FnMut(u64, &Draft) -> ControlFlow<()>,
    {
        let keys = Keys::new(self);
        let mut draft = Draft::default();
        draft.first_is_binary = keys.first_type() == PrimaryKeyType::Binary;
        let mut last_group = None;
        for index in indexes {
            let (group, within) = keys.group(index);
            if last_group != Some(group) {
                keys.write_first(group, &mut draft.first);
                last_group = Some(group);
            }
            draft.clear();
            match self.shape {
                Shape::Iot => iot::fill(self.seed, index, within, &mut draft),
                Shape::Wide => wide::fill(self.seed, index, &mut draft),
                Shape::Fat => fat::fill(self.seed, index, &mut draft),
                Shape::Sparse => sparse::fill(self.seed, index, &mut draft),
                Shape::Mixed => return,
            }
            if visit(index, &draft).is_break() {
                return;
            }
        }
    }
}

/// The numbers of `range`, forwards or backwards.
fn indexes(range: Range<u64>, backward: bool) -> impl Iterator<Item = u64> {
    let (start, end) = (range.start, range.end);
    range.map(move |index| if backward { end - 1 - (index - start) } else { index })
}

fn key_column(&(name, column_type): &(&'static str, PrimaryKeyType)) -> PrimaryKeyColumn {
    PrimaryKeyColumn { name: name.to_owned(), column_type, auto_increment: false }
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

/// 64 bits that look random, the same for the same input (splitmix64's finalizer).
#[inline]
fn hash(seed: u64, value: u64) -> u64 {
    let mut x = seed ^ value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The numbers of one row, each from the one before (splitmix64).
struct Random(u64);

impl Random {
    #[inline]
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        hash(self.0, 0)
    }

    /// Below `limit`, which is not 0.
    #[inline]
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RowHasher, RowSum};

    fn tables() -> Vec<GeneratedTable> {
        let shapes = ["iot", "wide", "fat", "sparse", "mixed"];
        let settings = [
            "",
            ",key=sequential",
            ",key=hashed",
            ",key=shared-prefix,partitions=7",
            ",key=binary,partitions=8,skew=90",
        ];
        let table = |shape, setting| format!("t={shape}:rows=1234,seed=3{setting}").parse().unwrap();
        shapes.iter().flat_map(|shape| settings.map(|setting| table(shape, setting))).collect()
    }

    #[test]
    fn keys_ascend_and_every_row_is_found_again_by_its_key() {
        for table in tables() {
            for index in 1..table.rows {
                let (before, key) = (table.key(index - 1), table.key(index));
                assert!(before < key, "{table} {index}: {before} {key}");
                if index % 10 == 0 {
                    assert_eq!(table.rows_below(&key), index);
                    assert_eq!(table.rows_up_to(&key), index + 1);
                }
            }
            assert_eq!(table.rows_below(&PrimaryKey::inf_min(table.key(0).parts().len())), 0);
            assert_eq!(table.rows_below(&PrimaryKey(vec![KeyPart::InfMax; 2])), table.rows);
        }
    }

    #[test]
    fn rows_depend_on_the_seed_alone_and_come_the_same_in_both_directions_and_as_bytes() {
        for table in tables() {
            let read = |table: &GeneratedTable, backward| {
                let (mut hasher, mut sum) = (RowHasher::default(), RowSum::default());
                let (mut keys, mut bytes, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
                table.scan(0..table.rows, backward, |row| {
                    let ordered = row.cells.windows(2).all(|pair| {
                        let newer_first = pair[0].timestamp > pair[1].timestamp;
                        pair[0].name < pair[1].name || (pair[0].name == pair[1].name && newer_first)
                    });
                    assert!(ordered, "{row:?}");
                    sum += hasher.row(row);
                    keys.push(PrimaryKey::from_row(&row.key).unwrap());
                    write_row(&mut bytes, row);
                    sizes.push(data_size(row, true));
                    ControlFlow::Continue(())
                });
                let (mut encoded, mut encoded_sizes) = (Vec::new(), Vec::new());
                table.encode(0..table.rows, backward, &mut encoded, |_, size, _| {
                    encoded_sizes.push(size);
                    true
                });
                assert!(encoded == bytes && encoded_sizes == sizes, "{table}");
                if backward {
                    keys.reverse();
                }
                assert!((0..table.rows).map(|index| table.key(index)).eq(keys), "{table}");
                sum
            };
            assert_eq!(read(&table, false), read(&table, true));
            let other = GeneratedTable { seed: 4, ..table.clone() };
            assert_ne!(read(&table, false), read(&other, false));
        }
    }

    #[test]
    fn partitions_tile_the_rows_and_begin_at_their_boundaries() {
        for table in tables() {
            let (ranges, boundaries) = (table.partition_rows(), table.boundaries());
            assert_eq!(ranges.len(), table.partitions as usize);
            assert_eq!(boundaries.len() + 1, ranges.len());
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, table.rows));
            for (pair, boundary) in ranges.windows(2).zip(&boundaries) {
                assert!(pair[0].end == pair[1].start && !pair[0].is_empty(), "{table}: {ranges:?}");
                assert_eq!(table.rows_below(boundary), pair[1].start, "{table}");
            }
            if let Some(percent) = table.skew {
                let hot = &ranges[ranges.len() / 2];
                let share = (hot.end - hot.start) * 100 / table.rows;
                assert!(share.abs_diff(u64::from(percent)) <= 2, "{table}: {share} %");
            }
        }
    }

    #[test]
    fn rows_have_the_size_that_their_shape_promises() {
        let mut wrong = Vec::new();
        for (shape, expected) in [("iot", 324), ("wide", 2_669), ("fat", 2_174), ("sparse", 461)] {
            let table: GeneratedTable = format!("t={shape}:rows=2000,seed=1").parse().unwrap();
            let mut bytes = Vec::new();
            table.encode(0..table.rows, false, &mut bytes, |_, _, _| true);
            let size = bytes.len() as u64 / table.rows;
            println!("{shape}: {size} bytes per row");
            wrong.extend(
                (size.abs_diff(expected) * 50 > expected).then(|| format!("{shape}: {size}, not {expected}")),
            );
        }
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn a_trillion_rows_cost_nothing_until_they_are_read() {
        for setting in ["", ",key=hashed,partitions=64,skew=95"] {
            let table: GeneratedTable = format!("t=iot:rows=1000000000000,seed=1{setting}").parse().unwrap();
            let key = table.key(987_654_321_000);
            assert_eq!(table.rows_below(&key), 987_654_321_000);
        }
    }
}
