//! Rows that the service refused for good, as a Parquet file: never dropped, never only logged.
//!
//! One file per row group, next to its entry in the log. The key has its own columns, as in the data files; what was
//! wrong with the row is in columns whose names no table can have. File, row group and row say where the whole row is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int64Builder, RecordBatch, StringArray, StringBuilder,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use serde::Serialize;

use super::State;
use crate::catalog::UnitId;
use crate::columnar::{ColumnPlan, Role};
use crate::error::Context;
use crate::model::{KeyPart, PrimaryKey, PrimaryKeyType};
use crate::objectstore::error_on;
use crate::parquet_file::{decode_small_file, encode_small_file};
use crate::{Error, Kind, Result};

/// Largest reject file that is read back, in bytes.
pub(super) const LARGEST_FILE: u64 = 256 << 20;

const CODE: &str = "reject$code";
const MESSAGE: &str = "reject$message";
const REQUEST_ID: &str = "reject$request_id";
const FILE: &str = "reject$file";
const ROW_GROUP: &str = "reject$row_group";
const ROW: &str = "reject$row";

/// One row that is not in the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reject {
    /// Its place in the row group, from 0.
    pub number: u64,
    /// Its key.
    pub key: PrimaryKey,
    /// The service's code, or one of ours.
    pub code: String,
    /// Why.
    pub message: String,
    /// For support.
    pub request_id: Option<String>,
}

impl Reject {
    /// From what the service, or the client, says about a row.
    pub(super) fn new(number: u64, key: PrimaryKey, error: &Error) -> Reject {
        Reject {
            number,
            key,
            code: error.service_code().map_or_else(|| format!("{:?}", error.kind()), str::to_owned),
            message: error.to_string(),
            request_id: error.service_request_id().map(str::to_owned),
        }
    }
}

/// The reject file of a row group.
pub(super) fn encode(plan: &ColumnPlan, unit: UnitId, rejects: &[Reject]) -> Result<Bytes> {
    let (mut fields, mut columns) =
        key_columns(plan, &rejects.iter().map(|reject| &reject.key).collect::<Vec<_>>());
    let mut text = |name: &str, nullable: bool, values: Vec<Option<String>>| {
        fields.push(Field::new(name, DataType::Utf8, nullable));
        columns.push(Arc::new(StringArray::from(values)));
    };
    let all = |value: &dyn Fn(&Reject) -> Option<String>| rejects.iter().map(value).collect::<Vec<_>>();
    text(CODE, false, all(&|reject| Some(reject.code.clone())));
    text(MESSAGE, false, all(&|reject| Some(reject.message.clone())));
    text(REQUEST_ID, true, all(&|reject| reject.request_id.clone()));
    text(FILE, false, all(&|_| Some(unit.file.to_string())));
    for (name, value) in [(ROW_GROUP, None), (ROW, Some(()))] {
        let values = rejects.iter().map(|reject| match value {
            None => u64::from(unit.row_group),
            Some(()) => reject.number,
        });
        fields.push(Field::new(name, DataType::UInt64, false));
        columns.push(Arc::new(values.collect::<UInt64Array>()));
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        .doing(Kind::Internal, "write a reject file")?;
    encode_small_file(&batch)
}

/// Keys as columns of their own, under the names that the key columns have in the table.
pub(super) fn key_columns(plan: &ColumnPlan, keys: &[&PrimaryKey]) -> (Vec<Field>, Vec<ArrayRef>) {
    let mut all = (Vec::new(), Vec::new());
    for (index, column) in plan.columns().iter().enumerate() {
        let Role::Key { column: name, column_type } = &column.role else { break };
        let (data_type, array) = key_column(keys, index, *column_type);
        all.0.push(Field::new(name, data_type, false));
        all.1.push(array);
    }
    all
}

fn key_column(keys: &[&PrimaryKey], index: usize, column_type: PrimaryKeyType) -> (DataType, ArrayRef) {
    let parts = keys.iter().map(|key| key.parts().get(index));
    match column_type {
        PrimaryKeyType::Integer => {
            let mut builder = Int64Builder::new();
            parts.for_each(|part| match part {
                Some(KeyPart::Integer(value)) => builder.append_value(*value),
                _ => builder.append_value(0),
            });
            (DataType::Int64, Arc::new(builder.finish()))
        }
        PrimaryKeyType::String => {
            let mut builder = StringBuilder::new();
            parts.for_each(|part| match part {
                Some(KeyPart::String(value)) => builder.append_value(value),
                _ => builder.append_value(""),
            });
            (DataType::Utf8, Arc::new(builder.finish()))
        }
        PrimaryKeyType::Binary => {
            let mut builder = BinaryBuilder::new();
            parts.for_each(|part| match part {
                Some(KeyPart::Binary(value)) => builder.append_value(value),
                _ => builder.append_value([]),
            });
            (DataType::Binary, Arc::new(builder.finish()))
        }
    }
}

/// Which rows of its row group a reject file names.
///
/// # Errors
/// [`Kind::Corrupt`] if it is no reject file.
pub(super) fn row_numbers(bytes: &Bytes) -> Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for batch in decode_small_file(bytes)? {
        let column = batch.column_by_name(ROW).and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let column = column.filter(|column| column.null_count() == 0).ok_or_else(|| no_column(ROW))?;
        numbers.extend(column.values().iter().copied());
    }
    Ok(numbers)
}

/// Rows that were refused with the same code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The service's code, or one of ours.
    pub code: String,
    /// What was said of one of them.
    pub message: String,
    /// How many.
    pub rows: u64,
}

/// Why rows were refused, by code: what is in the reject files of all restores whose logs are in `state`.
///
/// # Errors
/// [`Kind::Corrupt`] for a file that is no reject file; whatever the store says.
pub async fn refusals(state: &State) -> Result<Vec<Refusal>> {
    let failed = |error| error_on("read the reject files in", &state.prefix, error);
    let mut objects: Vec<_> = state.store.list(Some(&state.prefix)).try_collect().await.map_err(failed)?;
    objects.retain(|object| object.location.parts().any(|part| part.as_ref() == "rejects"));
    let mut by_code: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for object in objects {
        if object.size > LARGEST_FILE {
            return Err(Error::new(Kind::Corrupt, "read a reject file")
                .because(format!("it has {} bytes", object.size)));
        }
        let read = state.store.get(&object.location).await.map_err(failed)?;
        let bytes = read.bytes().await.map_err(failed)?;
        for batch in decode_small_file(&bytes)? {
            let text = |name: &str| {
                let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
                column.ok_or_else(|| no_column(name))
            };
            for (code, message) in text(CODE)?.iter().zip(text(MESSAGE)?) {
                let entry = by_code.entry(code.unwrap_or_default().to_owned()).or_default();
                if entry.1 == 0 {
                    entry.0 = message.unwrap_or_default().to_owned();
                }
                entry.1 += 1;
            }
        }
    }
    let refusal = |(code, (message, rows))| Refusal { code, message, rows };
    Ok(by_code.into_iter().map(refusal).collect())
}

fn no_column(name: &str) -> Error {
    Error::new(Kind::Corrupt, "read a reject file").because(format!("it has no column `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::FileId;
    use crate::columnar::{Encoding, PlannedColumn};

    #[test]
    fn rejects_keep_key_code_message_and_where_the_row_is() {
        let plain = |field_id: i32, name: &str, role| PlannedColumn {
            field_id,
            name: name.into(),
            role,
            encoding: Encoding::Plain,
        };
        let key = |name: &str, column_type| Role::Key { column: name.into(), column_type };
        let plan = ColumnPlan::new(vec![
            plain(1, "k", key("k", PrimaryKeyType::String)),
            plain(2, "n", key("n", PrimaryKeyType::Integer)),
            plain(3, "b", key("b", PrimaryKeyType::Binary)),
            plain(4, "_ts", Role::RowTimestamp),
            plain(5, "_overflow", Role::Overflow),
        ])
        .unwrap();
        let key = PrimaryKey(vec![
            KeyPart::String("é".into()),
            KeyPart::Integer(-4),
            KeyPart::Binary(vec![0, 255]),
        ]);
        let error = Error::new(Kind::Refused, "write rows to")
            .code("OTSParameterInvalid")
            .because("no")
            .request_id(Some("r-1"));
        let rejects = [
            Reject::new(70_000, key.clone(), &error),
            Reject::new(70_003, key, &Error::new(Kind::Refused, "write")),
        ];
        let unit = UnitId { file: FileId::random(), row_group: 9 };
        let bytes = encode(&plan, unit, &rejects).unwrap();
        assert_eq!(row_numbers(&bytes).unwrap(), BTreeSet::from([70_000, 70_003]));
        let batch = decode_small_file(&bytes).unwrap().remove(0);
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
        assert_eq!(
            (text("k"), text(CODE), text(REQUEST_ID)),
            ("é".into(), "OTSParameterInvalid".into(), "r-1".into())
        );
        assert_eq!(text(FILE), unit.file.to_string());
        assert!(
            text(MESSAGE).contains("write rows to") && row_numbers(&Bytes::from_static(b"PAR1")).is_err()
        );
    }
}
