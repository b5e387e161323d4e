//! Borrowed views of cells and rows, as they lie in a response body or a record batch.

use std::cmp::Ordering;

use super::PrimaryKeyValue;
use super::short_bytes::are_one;

/// One value of one cell. Strings and binaries borrow from the bytes they were read from.
///
/// A double keeps its bits: NaN payloads and -0.0 are moved, never computed with.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// INTEGER, 64-bit signed.
    Integer(i64),
    /// DOUBLE, IEEE-754 binary64.
    Double(f64),
    /// BOOLEAN.
    Boolean(bool),
    /// STRING, UTF-8.
    String(&'a str),
    /// BINARY.
    Binary(&'a [u8]),
}

/// The type of a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// INTEGER.
    Integer,
    /// DOUBLE.
    Double,
    /// BOOLEAN.
    Boolean,
    /// STRING.
    String,
    /// BINARY.
    Binary,
}

impl ValueType {
    /// Every type, in the order of their PlainBuffer codes.
    pub const ALL: [ValueType; 5] =
        [ValueType::Integer, ValueType::Double, ValueType::Boolean, ValueType::String, ValueType::Binary];

    /// The PlainBuffer type code; also what the row-sum hashes.
    #[inline]
    pub fn code(self) -> u8 {
        match self {
            ValueType::Integer => 0x00,
            ValueType::Double => 0x01,
            ValueType::Boolean => 0x02,
            ValueType::String => 0x03,
            ValueType::Binary => 0x07,
        }
    }
}

impl<'a> Value<'a> {
    /// The type of this value.
    #[inline]
    pub fn value_type(self) -> ValueType {
        match self {
            Value::Integer(_) => ValueType::Integer,
            Value::Double(_) => ValueType::Double,
            Value::Boolean(_) => ValueType::Boolean,
            Value::String(_) => ValueType::String,
            Value::Binary(_) => ValueType::Binary,
        }
    }

    /// Bytes by the service's data-size rule: INTEGER and DOUBLE 8, BOOLEAN 1, strings and binaries their length.
    #[inline]
    pub fn data_size(self) -> usize {
        match self {
            Value::Integer(_) | Value::Double(_) => 8,
            Value::Boolean(_) => 1,
            Value::String(text) => text.len(),
            Value::Binary(bytes) => bytes.len(),
        }
    }
}

/// Two doubles are equal when their bits are.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Integer(a), Value::Integer(b)) => a == b,
            (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
            (Value::Boolean(a), Value::Boolean(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Binary(a), Value::Binary(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value<'_> {}

/// What a cell in a row change or a Stream record does. `None` in [`Cell::op`] is a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellOp {
    /// Deletes every version of the column.
    DeleteAllVersions,
    /// Deletes the version at the cell's timestamp.
    DeleteOneVersion,
    /// Adds to an INTEGER; requests only, a Stream shows the result as a put.
    Increment,
}

/// One version of one attribute column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    /// Attribute column name.
    pub name: &'a str,
    /// `None` for deletes.
    pub value: Option<Value<'a>>,
    /// `None` for a put.
    pub op: Option<CellOp>,
    /// Milliseconds since 1970 UTC; `None` leaves it to the service.
    pub timestamp: Option<i64>,
}

impl<'a> Cell<'a> {
    /// A put.
    #[inline]
    pub fn put(name: &'a str, value: Value<'a>, timestamp: Option<i64>) -> Cell<'a> {
        Cell { name, value: Some(value), op: None, timestamp }
    }
}

/// Where a Stream record stands in its shard: records of a shard ascend by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct SequenceInfo {
    /// Raised when machine clocks went backwards.
    pub epoch: i32,
    /// Commit time in microseconds.
    pub timestamp_us: i64,
    /// Order within one commit.
    pub row_index: i32,
}

/// One row, reused from row to row: the vectors are cleared, not freed.
///
/// `key` follows the table's primary key order. `cells` follow the wire: by column name ascending, newest version
/// first; a row with a key and no cells is a row.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Row<'a> {
    /// Name and value of each primary key column.
    pub key: Vec<(&'a str, PrimaryKeyValue<'a>)>,
    /// Attribute cells.
    pub cells: Vec<Cell<'a>>,
    /// The row carries the delete marker.
    pub delete_marker: bool,
    /// Stream records only.
    pub sequence: Option<SequenceInfo>,
}

impl<'a> Row<'a> {
    /// Empties the row and keeps its memory.
    #[inline]
    pub fn clear(&mut self) {
        self.key.clear();
        self.cells.clear();
        self.delete_marker = false;
        self.sequence = None;
    }

    /// Whether its primary key is the larger one of two of the same table.
    #[inline]
    pub fn is_after(&self, previous: &Row<'_>) -> bool {
        let mut order =
            self.key.iter().zip(&previous.key).map(|((_, value), (_, before))| match (value, before) {
                // Most keys go on with the first columns of the one before, which is seen without a call.
                (PrimaryKeyValue::String(a), PrimaryKeyValue::String(b))
                    if are_one(a.as_bytes(), b.as_bytes()) =>
                {
                    Ordering::Equal
                }
                _ => value.cmp(before),
            });
        let first = order.find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
        first.then(self.key.len().cmp(&previous.key.len())).is_gt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_after_another_one_where_the_order_of_its_values_says_so() {
        let texts =
            ["", "abcdefg", "abcdefgh", "abcdefgi", "abcdefgh1", "abcdefgh12345678", "abcdefgh12345679"];
        let longer = ["bbcdefgh12345678", "abcdefgh123456789", "abcdefgh123456780"];
        let row = |text, number| Row {
            key: vec![("t", PrimaryKeyValue::String(text)), ("n", PrimaryKeyValue::Integer(number))],
            ..Row::default()
        };
        let rows: Vec<_> =
            texts.into_iter().chain(longer).flat_map(|text| [row(text, -1), row(text, 1)]).collect();
        for a in &rows {
            for b in &rows {
                assert_eq!(a.is_after(b), a.key > b.key, "{a:?} {b:?}");
            }
            assert!(a.is_after(&Row::default()) && !Row::default().is_after(a));
        }
    }
}
