//! The Arrow schema of a plan.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use super::plan::{ColumnPlan, PlannedColumn, Role};
use crate::model::{PrimaryKeyType, ValueType};

/// The Arrow field metadata key under which the Parquet writer expects a field id.
pub const FIELD_ID: &str = "PARQUET:field_id";

/// The schema of every record batch of `plan`: keys required, everything else nullable, a Parquet field id on every
/// field (as Iceberg counts them: a map's key and value, a list's element, a struct's members).
///
/// Timestamps are plain 64-bit integers of milliseconds, as Table Store has them: values beyond any calendar survive.
pub fn arrow_schema(plan: &ColumnPlan) -> SchemaRef {
    Arc::new(Schema::new(plan.columns().iter().map(field).collect::<Fields>()))
}

fn field(column: &PlannedColumn) -> Field {
    let (data_type, nullable) = match &column.role {
        Role::Key { column_type, .. } => (key_type(*column_type), false),
        Role::Attribute { value_type, .. } => (attribute_type(*value_type), true),
        Role::AttributeTimestamp { .. } | Role::RowTimestamp => (DataType::Int64, true),
        Role::Overflow => (overflow_type(column.field_id), true),
    };
    with_id(Field::new(&column.name, data_type, nullable), column.field_id)
}

pub(super) fn with_id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(FIELD_ID.to_owned(), id.to_string())]))
}

fn key_type(column_type: PrimaryKeyType) -> DataType {
    match column_type {
        PrimaryKeyType::Integer => DataType::Int64,
        PrimaryKeyType::String => DataType::Utf8,
        PrimaryKeyType::Binary => DataType::Binary,
    }
}

fn attribute_type(value_type: ValueType) -> DataType {
    match value_type {
        ValueType::Integer => DataType::Int64,
        ValueType::Double => DataType::Float64,
        ValueType::Boolean => DataType::Boolean,
        ValueType::String => DataType::Utf8,
        ValueType::Binary => DataType::Binary,
    }
}

/// `MAP<STRING, LIST<STRUCT<op, ts, i, d, s, b, x>>>` with the standard Parquet names of the groups between.
pub fn overflow_type(field_id: i32) -> DataType {
    let key = with_id(Field::new("key", DataType::Utf8, false), field_id + 1);
    let value = with_id(Field::new("value", cell_list_type(field_id), false), field_id + 2);
    let entries = Field::new("key_value", DataType::Struct(vec![key, value].into()), false);
    DataType::Map(Arc::new(entries), false)
}

fn cell_list_type(field_id: i32) -> DataType {
    let element = Field::new("element", DataType::Struct(cell_fields(field_id)), false);
    DataType::List(Arc::new(with_id(element, field_id + 3)))
}

fn cell_fields(field_id: i32) -> Fields {
    let members = [
        ("op", DataType::Utf8),
        ("ts", DataType::Int64),
        ("i", DataType::Int64),
        ("d", DataType::Float64),
        ("s", DataType::Utf8),
        ("b", DataType::Boolean),
        ("x", DataType::Binary),
    ];
    (field_id + 4..)
        .zip(members)
        .map(|(id, (name, data_type))| with_id(Field::new(name, data_type, true), id))
        .collect()
}
