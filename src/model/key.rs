//! Primary keys: borrowed values, owned bounds, and the service's order over them.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PrimaryKeyType;

/// One primary key value as it lies in a buffer.
///
/// The derived order is meaningful between values of the same type only, and is the service's: INTEGER signed,
/// STRING and BINARY bytewise unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrimaryKeyValue<'a> {
    /// INTEGER.
    Integer(i64),
    /// STRING, at most 1,024 bytes of UTF-8 (service limit).
    String(&'a str),
    /// BINARY, at most 1,024 bytes (service limit).
    Binary(&'a [u8]),
    /// The placeholder for an auto-increment column; requests only.
    AutoIncrement,
    /// Before every value; bounds only.
    InfMin,
    /// After every value; bounds only.
    InfMax,
}

/// One column of an owned key or key bound. Ordered `InfMin < values < InfMax`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPart {
    /// Before every value.
    InfMin,
    /// INTEGER.
    Integer(i64),
    /// STRING.
    String(String),
    /// BINARY; hex in JSON.
    Binary(#[serde(with = "hex::serde")] Vec<u8>),
    /// After every value.
    InfMax,
}

impl KeyPart {
    /// The borrowed view.
    pub fn as_value(&self) -> PrimaryKeyValue<'_> {
        match self {
            KeyPart::InfMin => PrimaryKeyValue::InfMin,
            KeyPart::Integer(value) => PrimaryKeyValue::Integer(*value),
            KeyPart::String(value) => PrimaryKeyValue::String(value),
            KeyPart::Binary(value) => PrimaryKeyValue::Binary(value),
            KeyPart::InfMax => PrimaryKeyValue::InfMax,
        }
    }

    /// Copies a borrowed value; `None` for the auto-increment placeholder, which has no place in the order.
    pub fn from_value(value: PrimaryKeyValue<'_>) -> Option<KeyPart> {
        Some(match value {
            PrimaryKeyValue::InfMin => KeyPart::InfMin,
            PrimaryKeyValue::Integer(value) => KeyPart::Integer(value),
            PrimaryKeyValue::String(value) => KeyPart::String(value.to_owned()),
            PrimaryKeyValue::Binary(value) => KeyPart::Binary(value.to_vec()),
            PrimaryKeyValue::InfMax => KeyPart::InfMax,
            PrimaryKeyValue::AutoIncrement => return None,
        })
    }

    /// Whether this part can stand in a column of type `column_type`. The infinities always can.
    pub fn fits(&self, column_type: PrimaryKeyType) -> bool {
        match self {
            KeyPart::InfMin | KeyPart::InfMax => true,
            KeyPart::Integer(_) => column_type == PrimaryKeyType::Integer,
            KeyPart::String(_) => column_type == PrimaryKeyType::String,
            KeyPart::Binary(_) => column_type == PrimaryKeyType::Binary,
        }
    }

    /// Bytes of a STRING or BINARY, 8 for an INTEGER, none for an end of the key space.
    pub fn data_size(&self) -> usize {
        match self {
            KeyPart::Integer(_) => 8,
            KeyPart::String(text) => text.len(),
            KeyPart::Binary(bytes) => bytes.len(),
            KeyPart::InfMin | KeyPart::InfMax => 0,
        }
    }

    /// Whether this is a value rather than an end of the key space.
    pub fn is_value(&self) -> bool {
        !matches!(self, KeyPart::InfMin | KeyPart::InfMax)
    }

    fn rank(&self) -> u8 {
        match self {
            KeyPart::InfMin => 0,
            KeyPart::Integer(_) => 1,
            KeyPart::String(_) => 2,
            KeyPart::Binary(_) => 3,
            KeyPart::InfMax => 4,
        }
    }
}

impl Ord for KeyPart {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (KeyPart::Integer(a), KeyPart::Integer(b)) => a.cmp(b),
            (KeyPart::String(a), KeyPart::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (KeyPart::Binary(a), KeyPart::Binary(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for KeyPart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A whole primary key, or a bound between keys, one part per primary key column, ordered left to right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrimaryKey(pub Vec<KeyPart>);

impl PrimaryKey {
    /// The bound before every key of `columns` columns.
    pub fn inf_min(columns: usize) -> PrimaryKey {
        PrimaryKey(vec![KeyPart::InfMin; columns])
    }

    /// The bound after every key of `columns` columns.
    pub fn inf_max(columns: usize) -> PrimaryKey {
        PrimaryKey(vec![KeyPart::InfMax; columns])
    }

    /// Copies a row's key; `None` if it holds the auto-increment placeholder.
    pub fn from_row(key: &[(&str, PrimaryKeyValue<'_>)]) -> Option<PrimaryKey> {
        key.iter().map(|(_, value)| KeyPart::from_value(*value)).collect::<Option<Vec<_>>>().map(PrimaryKey)
    }

    /// Pads a prefix with `InfMin` to `columns` parts: how a split point becomes a bound.
    pub fn padded(mut self, columns: usize) -> PrimaryKey {
        self.0.resize(columns, KeyPart::InfMin);
        self
    }

    /// The parts, first primary key column first.
    pub fn parts(&self) -> &[KeyPart] {
        &self.0
    }
}

/// Names a position for people: `("d-0001", 17, -inf)`. Never used for logs of row keys, only for bounds of ranges.
impl fmt::Display for PrimaryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match part {
                KeyPart::InfMin => f.write_str("-inf")?,
                KeyPart::InfMax => f.write_str("+inf")?,
                KeyPart::Integer(value) => write!(f, "{value}")?,
                KeyPart::String(value) => write!(f, "{value:?}")?,
                KeyPart::Binary(value) => write!(f, "0x{}", hex::encode(value))?,
            }
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[KeyPart]) -> PrimaryKey {
        PrimaryKey(parts.to_vec())
    }

    #[test]
    fn keys_order_as_the_service_orders_them() {
        let text = |s: &str| KeyPart::String(s.to_owned());
        let ascending = [
            key(&[KeyPart::InfMin, KeyPart::InfMin]),
            key(&[text(""), KeyPart::InfMin]),
            key(&[text(""), KeyPart::Integer(i64::MIN)]),
            key(&[text("a"), KeyPart::Integer(-1)]),
            key(&[text("a"), KeyPart::Integer(0)]),
            key(&[text("a"), KeyPart::InfMax]),
            key(&[text("a\0"), KeyPart::Integer(0)]),
            // U+FFFF before U+10000: bytewise over UTF-8, not UTF-16.
            key(&[text("\u{ffff}"), KeyPart::Integer(0)]),
            key(&[text("\u{10000}"), KeyPart::Integer(0)]),
            key(&[KeyPart::InfMax, KeyPart::InfMax]),
        ];
        assert!(ascending.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn keys_survive_json() {
        let bound = key(&[
            KeyPart::InfMin,
            KeyPart::Integer(i64::MIN),
            KeyPart::String("é".into()),
            KeyPart::Binary(vec![0, 255]),
            KeyPart::InfMax,
        ]);
        let json = serde_json::to_string(&bound).unwrap();
        let text =
            r#"["inf_min",{"integer":-9223372036854775808},{"string":"é"},{"binary":"00ff"},"inf_max"]"#;
        assert_eq!(json, text);
        assert_eq!(serde_json::from_str::<PrimaryKey>(&json).unwrap(), bound);
    }
}
