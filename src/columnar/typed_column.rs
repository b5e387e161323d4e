//! One growing column of any value type.

use arrow::array::ArrayRef;

use super::boolean::BooleanColumn;
use super::bytes::{BinaryColumn, StringColumn};
use super::primitive::{DoubleColumn, IntegerColumn};
use crate::model::{PrimaryKeyType, PrimaryKeyValue, Value, ValueType};
use crate::plainbuffer::Payload;

/// The column builder of one value type.
pub enum TypedColumn {
    /// INTEGER.
    Integer(IntegerColumn),
    /// DOUBLE.
    Double(DoubleColumn),
    /// BOOLEAN.
    Boolean(BooleanColumn),
    /// STRING.
    String(StringColumn),
    /// BINARY.
    Binary(BinaryColumn),
}

impl TypedColumn {
    /// An empty column for attributes of this type.
    pub fn of(value_type: ValueType) -> TypedColumn {
        match value_type {
            ValueType::Integer => TypedColumn::Integer(IntegerColumn::default()),
            ValueType::Double => TypedColumn::Double(DoubleColumn::default()),
            ValueType::Boolean => TypedColumn::Boolean(BooleanColumn::default()),
            ValueType::String => TypedColumn::String(StringColumn::default()),
            ValueType::Binary => TypedColumn::Binary(BinaryColumn::default()),
        }
    }

    /// An empty column for a primary key column of this type.
    pub fn of_key(column_type: PrimaryKeyType) -> TypedColumn {
        TypedColumn::of(match column_type {
            PrimaryKeyType::Integer => ValueType::Integer,
            PrimaryKeyType::String => ValueType::String,
            PrimaryKeyType::Binary => ValueType::Binary,
        })
    }

    /// Puts `value` into `row`; `false`, and nothing done, if it is of another type.
    #[inline(always)]
    pub fn push(&mut self, row: usize, value: Value<'_>) -> bool {
        match (self, value) {
            (TypedColumn::Integer(column), Value::Integer(value)) => column.push(row, value),
            (TypedColumn::Double(column), Value::Double(value)) => column.push(row, value),
            (TypedColumn::Boolean(column), Value::Boolean(value)) => column.push(row, value),
            (TypedColumn::String(column), Value::String(value)) => column.push(row, value),
            (TypedColumn::Binary(column), Value::Binary(value)) => column.push(row, value),
            _ => return false,
        }
        true
    }

    /// As [`TypedColumn::push`].
    #[inline(always)]
    pub fn push_payload(&mut self, row: usize, payload: Payload<'_>) -> bool {
        match (self, payload) {
            (TypedColumn::Integer(column), Payload::Integer(value)) => column.push(row, value),
            (TypedColumn::Double(column), Payload::Double(bits)) => column.push(row, f64::from_bits(bits)),
            (TypedColumn::Boolean(column), Payload::Boolean(value)) => column.push(row, value),
            (TypedColumn::String(column), Payload::String(text, page)) => column.push_from(row, text, page),
            (TypedColumn::Binary(column), Payload::Binary(bytes, page)) => column.push_from(row, bytes, page),
            _ => return false,
        }
        true
    }

    /// Takes back the values of `row` and of rows behind it.
    pub fn truncate(&mut self, row: usize) {
        match self {
            TypedColumn::Integer(column) => column.truncate(row),
            TypedColumn::Double(column) => column.truncate(row),
            TypedColumn::Boolean(column) => column.truncate(row),
            TypedColumn::String(column) => column.truncate(row),
            TypedColumn::Binary(column) => column.truncate(row),
        }
    }

    /// Whether a primary key value can go into this column.
    pub fn takes(&self, value: PrimaryKeyValue<'_>) -> bool {
        matches!(
            (self, value),
            (TypedColumn::Integer(_), PrimaryKeyValue::Integer(_))
                | (TypedColumn::String(_), PrimaryKeyValue::String(_))
                | (TypedColumn::Binary(_), PrimaryKeyValue::Binary(_))
        )
    }

    /// Bytes that one row takes before any string or binary data, rounded up.
    pub fn row_width(&self) -> usize {
        match self {
            TypedColumn::Integer(_) | TypedColumn::Double(_) => 9,
            TypedColumn::Boolean(_) => 1,
            TypedColumn::String(_) | TypedColumn::Binary(_) => 5,
        }
    }

    /// The array of `rows` rows; the column starts over.
    pub fn finish(&mut self, rows: usize) -> ArrayRef {
        match self {
            TypedColumn::Integer(column) => column.finish(rows),
            TypedColumn::Double(column) => column.finish(rows),
            TypedColumn::Boolean(column) => column.finish(rows),
            TypedColumn::String(column) => column.finish(rows),
            TypedColumn::Binary(column) => column.finish(rows),
        }
    }
}
