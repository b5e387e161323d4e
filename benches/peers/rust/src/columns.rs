//! The SDK's rows in Arrow arrays, with Arrow's own builders.

use std::collections::HashMap;
use std::sync::Arc;

use aliyun_tablestore_rs::model::{ColumnValue, PrimaryKeyValue, Row};
use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch,
    StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::data_set::Description;

/// A builder per key column and per (name, type) of the cells.
pub struct Columns {
    pub schema: SchemaRef,
    /// In the order of the schema: the key first.
    builders: Vec<Builder>,
    /// The builders of a name.
    places: HashMap<String, Vec<usize>>,
    rows: usize,
}

enum Builder {
    Integer(Int64Builder),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
    String(StringBuilder),
    Binary(BinaryBuilder),
}

impl Columns {
    pub fn of(described: &Description) -> Columns {
        let (mut fields, mut builders, mut places) = (Vec::new(), Vec::new(), HashMap::new());
        for (name, type_name) in &described.primary_key {
            let builder = Builder::of(type_name);
            fields.push(Field::new(name, builder.data_type(), false));
            builders.push(builder);
        }
        for (name, type_name) in &described.columns {
            let same_name: &mut Vec<usize> = places.entry(name.clone()).or_default();
            let label = if same_name.is_empty() { name.clone() } else { format!("{name}_{type_name}") };
            same_name.push(builders.len());
            let builder = Builder::of(type_name);
            fields.push(Field::new(label, builder.data_type(), true));
            builders.push(builder);
        }
        let schema = Arc::new(Schema::new(fields));
        Columns { schema, builders, places, rows: 0 }
    }

    /// Appends the key and the newest version of each cell.
    ///
    /// # Panics
    /// If the description lacks a column or its type.
    pub fn append(&mut self, row: &Row) {
        for (builder, column) in self.builders.iter_mut().zip(&row.primary_key.columns) {
            builder.append_key(&column.value);
        }
        let mut previous = None;
        for cell in &row.columns {
            // Versions follow each other, newest first.
            if previous.replace(&cell.name) == Some(&cell.name) {
                continue;
            }
            let taken = self.places[&cell.name]
                .iter()
                .any(|place| self.builders[*place].append(self.rows, &cell.value));
            assert!(taken, "`{}` has a type that is not described", cell.name);
        }
        self.rows += 1;
    }

    /// The rows appended since the last batch.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let arrays = self.builders.iter_mut().map(|builder| builder.finish(rows)).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
    }
}

/// Appends nulls up to `row`, and the value.
macro_rules! append {
    ($builder:expr, $row:expr, $value:expr) => {{
        let missing = $row - $builder.len();
        if missing > 0 {
            $builder.append_nulls(missing);
        }
        $builder.append_value($value);
    }};
}

impl Builder {
    fn of(type_name: &str) -> Builder {
        match type_name.to_ascii_uppercase().as_str() {
            "INTEGER" => Builder::Integer(Default::default()),
            "DOUBLE" => Builder::Double(Default::default()),
            "BOOLEAN" => Builder::Boolean(Default::default()),
            "STRING" => Builder::String(Default::default()),
            "BINARY" => Builder::Binary(Default::default()),
            _ => panic!("`{type_name}` is not a type of Table Store"),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Builder::Integer(_) => DataType::Int64,
            Builder::Double(_) => DataType::Float64,
            Builder::Boolean(_) => DataType::Boolean,
            Builder::String(_) => DataType::Utf8,
            Builder::Binary(_) => DataType::Binary,
        }
    }

    fn append_key(&mut self, value: &PrimaryKeyValue) {
        match (self, value) {
            (Builder::Integer(builder), PrimaryKeyValue::Integer(value)) => builder.append_value(*value),
            (Builder::String(builder), PrimaryKeyValue::String(value)) => builder.append_value(value),
            (Builder::Binary(builder), PrimaryKeyValue::Binary(value)) => builder.append_value(value),
            (_, value) => panic!("{value:?} is not of the key column's type"),
        }
    }

    /// Whether the value is of this type and was appended.
    fn append(&mut self, row: usize, value: &ColumnValue) -> bool {
        match (self, value) {
            (Builder::Integer(builder), ColumnValue::Integer(value)) => append!(builder, row, *value),
            (Builder::Double(builder), ColumnValue::Double(value)) => append!(builder, row, *value),
            (Builder::Boolean(builder), ColumnValue::Boolean(value)) => append!(builder, row, *value),
            (Builder::String(builder), ColumnValue::String(value)) => append!(builder, row, value),
            (Builder::Binary(builder), ColumnValue::Blob(value)) => append!(builder, row, value),
            _ => return false,
        }
        true
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        match self {
            Builder::Integer(builder) => finished(builder, rows, Int64Builder::append_nulls),
            Builder::Double(builder) => finished(builder, rows, Float64Builder::append_nulls),
            Builder::Boolean(builder) => finished(builder, rows, BooleanBuilder::append_nulls),
            Builder::String(builder) => finished(builder, rows, StringBuilder::append_nulls),
            Builder::Binary(builder) => finished(builder, rows, BinaryBuilder::append_nulls),
        }
    }
}

fn finished<B: ArrayBuilder>(builder: &mut B, rows: usize, append_nulls: fn(&mut B, usize)) -> ArrayRef {
    let missing = rows - builder.len();
    if missing > 0 {
        append_nulls(builder, missing);
    }
    builder.finish()
}
