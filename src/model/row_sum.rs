//! Row-sums: a checksum of a set of rows that does not depend on their order.
//!
//! Defined here and on the format page, byte by byte, so that another program can compute it:
//!
//! ```text
//! seed(name, type)  = XXH3_64(name bytes, then the PlainBuffer type code as one byte)
//! cell hash         = XXH3_128(value bytes, seed = seed(name, type) + timestamp * 0x9E3779B97F4A7C15 mod 2^64)
//!     value bytes   = INTEGER and DOUBLE: 8 bytes little-endian; BOOLEAN: one byte 0 or 1; STRING, BINARY: the bytes
//! key bytes         = per primary key column: type code (1 byte), then INTEGER: 8 bytes little-endian;
//!                     STRING, BINARY: length as u32 little-endian, then the bytes
//! row hash          = XXH3_128(key bytes, then (sum of the cell hashes mod 2^128) as 16 bytes little-endian,
//!                     then the number of cells as u32 little-endian)
//! row-sum           = sum of the row hashes mod 2^128
//! ```
//!
//! A sum, not an xor: an xor cannot see a row that is there twice. It finds accidents, not forgers; files have
//! SHA-256 for that.

use std::fmt;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128, xxh3_128_with_seed};

use super::column_seeds::ColumnSeeds;
use super::short_bytes;
use super::{Cell, PrimaryKeyValue, Row, Value, ValueType};

/// Sum of row hashes mod 2^128; 32 hex digits in JSON and in print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RowSum(pub u128);

impl Add for RowSum {
    type Output = RowSum;
    fn add(self, other: RowSum) -> RowSum {
        RowSum(self.0.wrapping_add(other.0))
    }
}

impl AddAssign for RowSum {
    fn add_assign(&mut self, other: RowSum) {
        *self = *self + other;
    }
}

impl std::iter::Sum for RowSum {
    fn sum<I: Iterator<Item = RowSum>>(iter: I) -> RowSum {
        iter.fold(RowSum::default(), Add::add)
    }
}

impl fmt::Display for RowSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for RowSum {
    type Err = String;
    fn from_str(text: &str) -> Result<RowSum, String> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("a row-sum is 32 hex digits, not {} characters", text.len()));
        }
        u128::from_str_radix(text, 16).map(RowSum).map_err(|error| error.to_string())
    }
}

impl Serialize for RowSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RowSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RowSum, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Odd constant that spreads timestamps over the seed.
const TIMESTAMP_SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hashes rows; keeps its scratch buffer and the column seeds from row to row.
#[derive(Debug, Default)]
pub struct RowHasher {
    key_bytes: Vec<u8>,
    /// What is to be hashed of the row that [`RowHasher::add_row`] took last; nothing if it took none.
    added: Vec<u8>,
    added_sum: RowSum,
    sum: u128,
    cell_count: u32,
    seeds: ColumnSeeds,
}

impl RowHasher {
    /// The seed of a column of one type; constant per column, so callers on the hot path compute it once.
    pub fn column_seed(name: &str, value_type: ValueType) -> u64 {
        let mut bytes = Vec::with_capacity(name.len() + 1);
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(value_type.code());
        xxh3_64(&bytes)
    }

    /// Adds one cell of the current row. `timestamp` is 0 where the cell has none.
    #[inline]
    pub fn cell(&mut self, column_seed: u64, timestamp: i64, value: Value<'_>) {
        let seed = RowHasher::cell_seed(column_seed, timestamp);
        let hash = match value {
            Value::Integer(value) => RowHasher::cell_hash(seed, &value.to_le_bytes()),
            Value::Double(value) => RowHasher::cell_hash(seed, &value.to_bits().to_le_bytes()),
            Value::Boolean(value) => RowHasher::cell_hash(seed, &[u8::from(value)]),
            Value::String(value) => RowHasher::cell_hash(seed, value.as_bytes()),
            Value::Binary(value) => RowHasher::cell_hash(seed, value),
        };
        self.add_cells(hash, 1);
    }

    /// The seed of a cell of a column.
    #[inline(always)]
    pub fn cell_seed(column_seed: u64, timestamp: i64) -> u64 {
        column_seed.wrapping_add((timestamp as u64).wrapping_mul(TIMESTAMP_SPREAD))
    }

    /// The hash of a cell, from the value's bytes and the cell's seed.
    #[inline(always)]
    pub fn cell_hash(cell_seed: u64, bytes: &[u8]) -> u128 {
        xxh3_128_with_seed(bytes, cell_seed)
    }

    /// Adds `count` cells of the current row, whose hashes add up to `sum`.
    #[inline(always)]
    pub fn add_cells(&mut self, sum: u128, count: u32) {
        self.sum = self.sum.wrapping_add(sum);
        self.cell_count += count;
    }

    /// Adds one primary key column of the current row; call in key order.
    #[inline(always)]
    pub fn key(&mut self, value: PrimaryKeyValue<'_>) {
        let mut bytes_of = |code: u8, bytes: &[u8]| {
            let [l0, l1, l2, l3] = (bytes.len() as u32).to_le_bytes();
            self.key_bytes.extend_from_slice(&[code, l0, l1, l2, l3]);
            short_bytes::append(&mut self.key_bytes, bytes, bytes);
        };
        match value {
            PrimaryKeyValue::Integer(value) => {
                let mut bytes = [ValueType::Integer.code(), 0, 0, 0, 0, 0, 0, 0, 0];
                bytes[1..].copy_from_slice(&value.to_le_bytes());
                self.key_bytes.extend_from_slice(&bytes);
            }
            PrimaryKeyValue::String(value) => bytes_of(ValueType::String.code(), value.as_bytes()),
            PrimaryKeyValue::Binary(value) => bytes_of(ValueType::Binary.code(), value),
            // Never in a stored row; hashed by code so that a mistake shows instead of hiding.
            PrimaryKeyValue::InfMin => self.key_bytes.push(0x09),
            PrimaryKeyValue::InfMax => self.key_bytes.push(0x0A),
            PrimaryKeyValue::AutoIncrement => self.key_bytes.push(0x0B),
        }
    }

    /// Ends the row: its hash, and the hasher is ready for the next one.
    #[inline]
    pub fn end_row(&mut self) -> RowSum {
        self.end_bytes();
        let hash = xxh3_128(&self.key_bytes);
        self.key_bytes.clear();
        RowSum(hash)
    }

    /// As [`RowHasher::end_row`], with the hash added to what [`RowHasher::take_sum`] gives.
    ///
    /// Quicker for many rows: a row is hashed when the next one has been written, since a processor that reads bytes just
    /// after they were written, in other pieces, waits until they are in the cache (`iot`: 2 % of the pipeline).
    #[inline]
    pub fn add_row(&mut self) {
        self.end_bytes();
        self.hash_added();
        std::mem::swap(&mut self.key_bytes, &mut self.added);
    }

    /// The sum of the rows added since the last call.
    pub fn take_sum(&mut self) -> RowSum {
        self.hash_added();
        std::mem::take(&mut self.added_sum)
    }

    #[inline(always)]
    fn hash_added(&mut self) {
        if !self.added.is_empty() {
            self.added_sum += RowSum(xxh3_128(&self.added));
            self.added.clear();
        }
    }

    #[inline(always)]
    fn end_bytes(&mut self) {
        let mut end = [0; 20];
        end[..16].copy_from_slice(&self.sum.to_le_bytes());
        end[16..].copy_from_slice(&self.cell_count.to_le_bytes());
        self.key_bytes.extend_from_slice(&end);
        (self.sum, self.cell_count) = (0, 0);
    }

    /// The hash of a whole row. Cells without a value (deletes) do not count: a stored row has none.
    pub fn row(&mut self, row: &Row<'_>) -> RowSum {
        for (_, value) in &row.key {
            self.key(*value);
        }
        for Cell { name, value, timestamp, .. } in &row.cells {
            if let Some(value) = value {
                let seed = self.seeds.seed(name, value.value_type());
                self.cell(seed, timestamp.unwrap_or(0), *value);
            }
        }
        self.end_row()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(id: i64, cells: &[(&'a str, i64, Value<'a>)]) -> Row<'a> {
        Row {
            key: vec![("id", PrimaryKeyValue::Integer(id))],
            cells: cells.iter().map(|(name, ts, value)| Cell::put(name, *value, Some(*ts))).collect(),
            ..Row::default()
        }
    }

    #[test]
    fn the_sum_does_not_depend_on_the_order_of_rows_or_cells() {
        let mut hasher = RowHasher::default();
        let one = hasher.row(&row(1, &[("a", 5, Value::Integer(7)), ("b", 5, Value::String("x"))]));
        let same = hasher.row(&row(1, &[("b", 5, Value::String("x")), ("a", 5, Value::Integer(7))]));
        let two = hasher.row(&row(2, &[]));
        assert_eq!(one, same);
        assert_eq!(one + two, two + one);
        assert_ne!(one + one, RowSum::default());
    }

    #[test]
    fn rows_that_are_added_make_the_sum_of_their_hashes() {
        let mut hasher = RowHasher::default();
        for rows in [0, 1, 2, 5] {
            let mut sum = RowSum::default();
            for id in 0..rows {
                sum += RowHasher::default().row(&row(id, &[("a", 5, Value::Integer(id))]));
                hasher.key(PrimaryKeyValue::Integer(id));
                hasher.cell(RowHasher::column_seed("a", ValueType::Integer), 5, Value::Integer(id));
                hasher.add_row();
            }
            assert_eq!(hasher.take_sum(), sum, "{rows}");
        }
    }

    #[test]
    fn every_part_of_a_cell_counts() {
        let mut hasher = RowHasher::default();
        let mut hash = |id, cells: &[(&'static str, i64, Value<'static>)]| hasher.row(&row(id, cells));
        let base = hash(1, &[("a", 5, Value::Integer(7))]);
        assert_ne!(base, hash(2, &[("a", 5, Value::Integer(7))]));
        assert_ne!(base, hash(1, &[("b", 5, Value::Integer(7))]));
        assert_ne!(base, hash(1, &[("a", 6, Value::Integer(7))]));
        assert_ne!(base, hash(1, &[("a", 5, Value::Integer(8))]));
        assert_ne!(base, hash(1, &[("a", 5, Value::Double(f64::from_bits(7)))]));
        assert_ne!(base, hash(1, &[]));
        assert_ne!(
            hash(1, &[("a", 5, Value::Double(0.0))]),
            hash(1, &[("a", 5, Value::Double(-0.0))]),
            "bits, not numbers"
        );
    }

    /// Fixed for ever: a change here breaks every vault that exists.
    #[test]
    fn the_definition_never_changes() {
        let mut hasher = RowHasher::default();
        let sum = hasher.row(&Row {
            key: vec![("k", PrimaryKeyValue::String("a")), ("n", PrimaryKeyValue::Integer(-1))],
            cells: vec![
                Cell::put("c", Value::String("hello"), Some(1_700_000_000_000)),
                Cell::put("d", Value::Boolean(true), Some(0)),
            ],
            ..Row::default()
        });
        assert_eq!(sum.to_string(), "ea1219eac054a931e07d283de1b1eae9");
        assert_eq!(sum.to_string().parse::<RowSum>(), Ok(sum));
    }
}
