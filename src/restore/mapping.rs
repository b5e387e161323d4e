//! Which key became which, where the service assigned new ones: a Parquet file per row group.
//!
//! The old key has its own columns, as in the data files; the new value is in `mapping$new`, a name that no table can
//! have.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;

use super::rejects::key_columns;
use crate::columnar::ColumnPlan;
use crate::error::Context;
use crate::model::PrimaryKey;
use crate::parquet_file::encode_small_file;
use crate::{Kind, Result};

/// The mapping file of a row group: old keys by place in the row group, and the new values that were assigned.
pub(super) fn encode(
    plan: &ColumnPlan,
    old_keys: &HashMap<u64, PrimaryKey>,
    assigned: &[(u64, i64)],
) -> Result<Bytes> {
    let mut pairs: Vec<_> =
        assigned.iter().filter_map(|(number, new)| Some((number, old_keys.get(number)?, *new))).collect();
    pairs.sort_by_key(|(number, ..)| **number);
    let keys: Vec<_> = pairs.iter().map(|(_, key, _)| *key).collect();
    let (mut fields, mut columns) = key_columns(plan, &keys);
    fields.push(Field::new("mapping$new", DataType::Int64, false));
    let new: ArrayRef = Arc::new(pairs.iter().map(|(.., new)| *new).collect::<Int64Array>());
    columns.push(new);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .doing(Kind::Internal, "write a mapping of keys")?;
    encode_small_file(&batch)
}
