//! Tables that are computed instead of stored: row `i` is a function of (shape, seed, i), so that a billion rows cost
//! no memory and are the same on every machine.
//!
//! Keys ascend with `i`; the place of any key is found by binary search. Such tables are read-only.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{PrimaryKey, ReservedThroughput, Row, TableDefinition, TableOptions};

mod iot;
mod mixed;

/// When every generated table claims to have been created, in microseconds.
const CREATION_TIME_US: i64 = 1_700_000_000_000_000;

/// Timestamp of the first generated cells, in milliseconds.
const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;

/// What the rows look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Sensor readings: device STRING of 16 bytes and time INTEGER, 8 small columns, one timestamp per row, about
    /// 370 bytes of PlainBuffer.
    Iot,
    /// Everything that is hard to keep: keys STRING, INTEGER, BINARY; columns that change their type from row to row,
    /// up to 5 versions per cell, a timestamp per cell, rows of a key alone, empty strings, NaN payloads, -0.0,
    /// names that differ only in case, columns that appear in the last fifth, rows of 150 columns.
    Mixed,
}

/// A table to generate: `NAME=SHAPE:rows=N,seed=S`.
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
}

impl FromStr for GeneratedTable {
    type Err = String;

    fn from_str(text: &str) -> Result<GeneratedTable, String> {
        let wanted = || format!("`{text}` is not `NAME=SHAPE:rows=N,seed=S`");
        let (name, rest) = text.split_once('=').ok_or_else(wanted)?;
        let (shape, settings) = rest.split_once(':').ok_or_else(wanted)?;
        if !super::schema::is_name(name) {
            return Err(format!("`{name}` is not a table name"));
        }
        let shape = match shape {
            "iot" => Shape::Iot,
            "mixed" => Shape::Mixed,
            _ => return Err(format!("`{shape}` is not a shape; there are `iot` and `mixed`")),
        };
        let (mut rows, mut seed) = (None, 0);
        for setting in settings.split(',') {
            let (name, value) = setting.split_once('=').ok_or_else(wanted)?;
            let number = value.replace('_', "").parse().map_err(|_| format!("`{value}` is not a number"))?;
            match name {
                "rows" => rows = Some(number),
                "seed" => seed = number,
                _ => return Err(format!("`{name}` is not a setting; there are `rows` and `seed`")),
            }
        }
        let rows = rows.filter(|rows| *rows <= MAX_ROWS);
        let rows = rows.ok_or_else(|| format!("`rows` must be given, at most {MAX_ROWS}"))?;
        Ok(GeneratedTable { name: name.to_owned(), shape, rows, seed })
    }
}

/// Keys keep their width up to here.
const MAX_ROWS: u64 = 1_000_000_000_000;

impl fmt::Display for GeneratedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match self.shape {
            Shape::Iot => "iot",
            Shape::Mixed => "mixed",
        };
        write!(f, "{}={shape}:rows={},seed={}", self.name, self.rows, self.seed)
    }
}

impl GeneratedTable {
    /// What DescribeTable says.
    pub fn definition(&self) -> TableDefinition {
        let (primary_key, defined_columns, max_versions) = match self.shape {
            Shape::Iot => (iot::primary_key(), Vec::new(), 1),
            Shape::Mixed => (mixed::primary_key(), mixed::defined_columns(), mixed::MAX_VERSIONS),
        };
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

    /// The key of row `index`, which is below [`GeneratedTable::rows`].
    pub fn key(&self, index: u64) -> PrimaryKey {
        match self.shape {
            Shape::Iot => iot::key(self, index),
            Shape::Mixed => mixed::key(self, index),
        }
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
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(&self.key(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Shows the rows of `range`, backwards if `backward`, until `visit` breaks.
    pub fn scan<F>(&self, range: Range<u64>, backward: bool, visit: F)
    where
        F: FnMut(&mut Row<'_>) -> ControlFlow<()>,
    {
        match (self.shape, backward) {
            (Shape::Iot, false) => iot::scan(self, range, visit),
            (Shape::Iot, true) => iot::scan(self, range.rev(), visit),
            (Shape::Mixed, false) => mixed::scan(self, range, visit),
            (Shape::Mixed, true) => mixed::scan(self, range.rev(), visit),
        }
    }
}

/// 64 bits that look random, the same for the same input (splitmix64's finalizer).
#[inline]
fn hash(seed: u64, value: u64) -> u64 {
    let mut x = seed ^ value.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyPart, RowHasher, RowSum};

    fn tables() -> [GeneratedTable; 2] {
        ["a=iot:rows=4321,seed=3", "b=mixed:rows=4321,seed=3"].map(|text| text.parse().unwrap())
    }

    #[test]
    fn specifications_are_read_as_they_are_printed_and_mistakes_are_named() {
        let table: GeneratedTable = "t_1=iot:rows=1_000,seed=7".parse().unwrap();
        assert_eq!(table.to_string(), "t_1=iot:rows=1000,seed=7");
        for text in
            ["t", "t=iot", "1t=iot:rows=1", "t=io:rows=1", "t=iot:row=1", "t=iot:rows=x", "t=iot:seed=1"]
        {
            assert!(text.parse::<GeneratedTable>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_ascend_and_every_row_is_found_again_by_its_key() {
        for table in tables() {
            for index in 1..table.rows {
                let (before, key) = (table.key(index - 1), table.key(index));
                assert!(before < key, "{table} {index}: {before} {key}");
                assert_eq!(table.rows_below(&key), index);
                assert_eq!(table.rows_up_to(&key), index + 1);
            }
            assert_eq!(table.rows_below(&PrimaryKey::inf_min(table.key(0).parts().len())), 0);
            assert_eq!(table.rows_below(&PrimaryKey(vec![KeyPart::InfMax; 2])), table.rows);
        }
    }

    #[test]
    fn rows_depend_on_the_seed_alone_and_come_the_same_in_both_directions() {
        for table in tables() {
            let sum = |table: &GeneratedTable, backward| {
                let (mut hasher, mut sum, mut keys) = (RowHasher::default(), RowSum::default(), Vec::new());
                table.scan(0..table.rows, backward, |row| {
                    let ordered = row.cells.windows(2).all(|pair| {
                        let newer_first = pair[0].timestamp > pair[1].timestamp;
                        pair[0].name < pair[1].name || (pair[0].name == pair[1].name && newer_first)
                    });
                    assert!(ordered, "{row:?}");
                    sum += hasher.row(row);
                    keys.push(PrimaryKey::from_row(&row.key).unwrap());
                    ControlFlow::Continue(())
                });
                if backward {
                    keys.reverse();
                }
                assert!((0..table.rows).map(|index| table.key(index)).eq(keys), "{table}");
                sum
            };
            assert_eq!(sum(&table, false), sum(&table, true));
            let other = GeneratedTable { seed: 4, ..table.clone() };
            assert_ne!(sum(&table, false), sum(&other, false));
        }
    }

    #[test]
    fn a_trillion_rows_cost_nothing_until_they_are_read() {
        let table: GeneratedTable = "t=iot:rows=1000000000000,seed=1".parse().unwrap();
        let key = table.key(987_654_321_000);
        assert_eq!(table.rows_below(&key), 987_654_321_000);
    }
}
