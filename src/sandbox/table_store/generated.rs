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

mod cjk;
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
    /// A city, a note and a number in Chinese, Japanese or Korean; about 350 bytes.
    Cjk,
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
            Shape::Cjk => Some(&cjk::COLUMNS),
            Shape::Mixed => None,
        }
    }

    /// The boundaries between the partitions, one part each.
    pub fn boundaries(&self) -> Vec<PrimaryKey> {
        Keys::new(self).boundaries()
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
            Shape::Wide | Shape::Fat | Shape::Sparse | Shape::Cjk => {}
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

    /// The number of rows before a bound between partitions, where an unbounded one is the end of the table.
    pub fn rows_before(&self, boundary: Option<&PrimaryKey>) -> u64 {
        boundary.map_or(self.rows, |boundary| self.rows_below(boundary))
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
                Shape::Cjk => cjk::fill(self.seed, index, &mut draft),
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
mod tests;
