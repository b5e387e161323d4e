//! BulkExport: one page of rows, the newest version of each column, without timestamps if the service may choose the
//! compact format.

use super::TableStore;
use super::call::{Operation, Target};
use super::get_range::{Direction, Page, check_next, read_data_bytes};
use crate::model::{KeyRange, PrimaryKey};
use crate::plainbuffer::{BlockFormat, encode_key};
use crate::{Result, proto};

const OPERATION: Operation = Operation {
    name: "BulkExport",
    doing: "export a page of",
    idempotent: true,
    data: true,
    required: &[1, 2],
};

/// What to export.
///
/// Against GetRange: about a third of the bytes in the row matrix, and counted by data size instead of capacity
/// units; but the newest version of each column only, and in the row matrix no timestamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRequest {
    /// Table name.
    pub table: String,
    /// Names of all primary key columns, in key order. Every row has its whole key.
    pub key_names: Vec<String>,
    /// First key, inclusive: a bound, or the `next_start` of the page before.
    pub start: PrimaryKey,
    /// Last bound, exclusive.
    pub end: PrimaryKey,
    /// Attribute columns wanted, at most 1,024 together with the key (service limit). In the row matrix these alone;
    /// in PlainBuffer, empty means all, and a key column in place of attributes means none.
    pub columns: Vec<String>,
    /// The format asked for. The service may answer in the other one: see [`Page::format`].
    pub format: BlockFormat,
}

impl ExportRequest {
    /// The named columns of every row in `range`, as a row matrix.
    pub fn columns(
        table: &str,
        key_names: Vec<String>,
        columns: Vec<String>,
        range: KeyRange,
    ) -> ExportRequest {
        ExportRequest {
            table: table.to_owned(),
            key_names,
            start: range.start,
            end: range.end,
            columns,
            format: BlockFormat::RowMatrix,
        }
    }

    fn message(&self) -> proto::BulkExportRequest {
        let is_matrix = self.format == BlockFormat::RowMatrix;
        // A matrix has only the key columns that are asked for, and a row without any of the named columns is left
        // out unless its key is named.
        let keys = match is_matrix || !self.columns.is_empty() {
            true => self.key_names.as_slice(),
            false => &[],
        };
        proto::BulkExportRequest {
            table_name: self.table.clone(),
            columns_to_get: keys
                .iter()
                .chain(self.columns.iter().filter(|name| !keys.contains(name)))
                .cloned()
                .collect(),
            inclusive_start_primary_key: encode_key(&self.key_names, &self.start).into(),
            exclusive_end_primary_key: encode_key(&self.key_names, &self.end).into(),
            filter: None,
            data_block_type_hint: Some(
                match is_matrix {
                    true => proto::DataBlockType::DbtSimpleRowMatrix,
                    false => proto::DataBlockType::DbtPlainBuffer,
                }
                .into(),
            ),
        }
    }
}

impl TableStore {
    /// Exports one page; see [`TableStore::get_range`] for how pages follow each other.
    ///
    /// # Errors
    /// `NotFound` if the table is gone. `Refused` where the instance does not serve BulkExport. `Corrupt` if the next
    /// key does not lead on or the rows are in an unknown format.
    pub async fn bulk_export(&self, request: &ExportRequest) -> Result<Page> {
        let target = Target::Table(&request.table);
        self.call(&OPERATION, target, &request.message(), |answer: proto::BulkExportResponse, origin| {
            let format = match answer.data_block_type.map(proto::DataBlockType::try_from) {
                // Not said: then it can be seen.
                None if answer.rows.starts_with(b"SRM0") => BlockFormat::RowMatrix,
                None | Some(Ok(proto::DataBlockType::DbtPlainBuffer)) => BlockFormat::PlainBuffer,
                Some(Ok(proto::DataBlockType::DbtSimpleRowMatrix)) => BlockFormat::RowMatrix,
                Some(Err(unknown)) => return Err(unknown.into()),
            };
            let next_start = answer.next_start_primary_key.as_deref().filter(|key| !key.is_empty());
            origin.skip_md5.set(next_start.is_some());
            let bounds = (&request.start, &request.end);
            Ok(Page {
                next_start: next_start
                    .map(|key| check_next(key, &request.key_names, bounds, Direction::Forward))
                    .transpose()?,
                read_capacity_units: origin.read_units(&answer.consumed),
                read_data_bytes: read_data_bytes(&answer.consumed),
                rows: answer.rows,
                format,
                body_bytes: origin.body_bytes,
                request_id: origin.request_id.map(str::to_owned),
            })
        })
        .await
    }
}
