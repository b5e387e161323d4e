//! GetRow, PutRow, UpdateRow, DeleteRow.

use bytes::Bytes;

use super::TableStore;
use super::call::{Operation, Origin, Target};
use super::failure::BoxError;
use super::get_range::TimeRange;
use super::row_change::{ChangeKind, RowChange};
use crate::model::{PrimaryKey, Row};
use crate::plainbuffer::{DecodeError, decode_request_row, encode_key};
use crate::{Result, proto};

const GET: Operation =
    Operation { name: "GetRow", doing: "read a row of", idempotent: true, data: true, required: &[1, 2] };
const PUT: Operation =
    Operation { name: "PutRow", doing: "put a row into", idempotent: false, data: true, required: &[1] };
const UPDATE: Operation =
    Operation { name: "UpdateRow", doing: "update a row of", idempotent: false, data: true, required: &[1] };
const DELETE: Operation =
    Operation { name: "DeleteRow", doing: "delete a row of", idempotent: false, data: true, required: &[1] };

/// One row as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRow(Bytes);

impl EncodedRow {
    /// The row, borrowed from these bytes.
    pub fn decode(&self) -> Result<Row<'_>, DecodeError> {
        let mut row = Row::default();
        decode_request_row(&self.0, &mut row)?;
        Ok(row)
    }

    /// `None` for the empty field that stands for no row. The row is checked here, where an error still has a name.
    pub(super) fn check(bytes: Option<Bytes>) -> Result<Option<EncodedRow>, BoxError> {
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        let row = EncodedRow(bytes);
        row.decode()?;
        Ok(Some(row))
    }
}

/// Which row to read, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRequest {
    /// Table name.
    pub table: String,
    /// Names of all primary key columns, in key order.
    pub key_names: Vec<String>,
    /// The whole key.
    pub key: PrimaryKey,
    /// Attribute columns wanted. Empty: all.
    pub columns: Vec<String>,
    /// Versions per column, newest first; `i32::MAX` reads all. One of this and `time_range` is required.
    pub max_versions: Option<i32>,
    /// Versions by timestamp.
    pub time_range: Option<TimeRange>,
}

/// A change that was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowWritten {
    /// Write capacity units consumed.
    pub write_capacity_units: u64,
    /// The row with the primary key, if [`RowChange::return_key`] asked for it.
    pub returned: Option<EncodedRow>,
}

impl TableStore {
    /// Reads one row; `None` if there is none.
    pub async fn get_row(&self, request: &RowRequest) -> Result<Option<EncodedRow>> {
        let message = proto::GetRowRequest {
            table_name: request.table.clone(),
            primary_key: encode_key(&request.key_names, &request.key).into(),
            columns_to_get: request.columns.clone(),
            time_range: request.time_range.map(TimeRange::into_message),
            max_versions: request.max_versions,
            ..Default::default()
        };
        self.call(&GET, Target::Table(&request.table), &message, |answer: proto::GetRowResponse, origin| {
            origin.read_units(&answer.consumed);
            EncodedRow::check(Some(answer.row))
        })
        .await
    }

    /// Makes one change: PutRow, UpdateRow or DeleteRow, as `change` says.
    ///
    /// # Errors
    /// `Refused` with the code `OTSConditionCheckFail` if the condition does not hold. After `Unavailable` the change
    /// may have been made.
    pub async fn write_row(&self, table: &str, change: &RowChange) -> Result<RowWritten> {
        let operation = |operation| Operation { idempotent: change.idempotent, ..operation };
        let (table_name, row) = (table.to_owned(), change.row.clone());
        let (condition, return_content) = (change.condition(), change.return_content());
        // The three messages differ in the name of field 2 only.
        match change.kind {
            ChangeKind::Put => {
                let message =
                    proto::PutRowRequest { table_name, row, condition, return_content, transaction_id: None };
                let read = |answer: proto::PutRowResponse, origin: &Origin<'_>| {
                    written(origin, &answer.consumed, answer.row)
                };
                self.call(&operation(PUT), Target::Table(table), &message, read).await
            }
            ChangeKind::Update => {
                let message = proto::UpdateRowRequest {
                    table_name,
                    row_change: row,
                    condition,
                    return_content,
                    transaction_id: None,
                };
                let read = |answer: proto::UpdateRowResponse, origin: &Origin<'_>| {
                    written(origin, &answer.consumed, answer.row)
                };
                self.call(&operation(UPDATE), Target::Table(table), &message, read).await
            }
            ChangeKind::Delete => {
                let message = proto::DeleteRowRequest {
                    table_name,
                    primary_key: row,
                    condition,
                    return_content,
                    transaction_id: None,
                };
                let read = |answer: proto::DeleteRowResponse, origin: &Origin<'_>| {
                    written(origin, &answer.consumed, answer.row)
                };
                self.call(&operation(DELETE), Target::Table(table), &message, read).await
            }
        }
    }

    /// PutRow without a condition.
    pub async fn put_row(&self, table: &str, row: &Row<'_>) -> Result<RowWritten> {
        self.write_row(table, &RowChange::put(row)).await
    }

    /// UpdateRow without a condition.
    pub async fn update_row(&self, table: &str, row: &Row<'_>) -> Result<RowWritten> {
        self.write_row(table, &RowChange::update(row)).await
    }

    /// DeleteRow without a condition; of `row` only the key counts.
    pub async fn delete_row(&self, table: &str, row: &Row<'_>) -> Result<RowWritten> {
        self.write_row(table, &RowChange::delete(row)).await
    }
}

fn written(
    origin: &Origin<'_>,
    consumed: &proto::ConsumedCapacity,
    row: Option<Bytes>,
) -> Result<RowWritten, BoxError> {
    Ok(RowWritten { write_capacity_units: origin.write_units(consumed), returned: EncodedRow::check(row)? })
}
