//! BulkImport: a batch of row changes without conditions, billed by the byte.

use super::change::Change;
use super::instance::{Call, Instance};
use super::range::data_consumed;
use super::rows::{check_write_count, requested_kind, write_one};
use super::schema::check_table_name;
use super::service_error::Answer;
use crate::proto;

/// BulkImport: what needs no table refuses the whole request, the rest one row.
///
/// # Errors
/// As the service.
pub fn bulk_import(
    instance: &Instance,
    request: &proto::BulkImportRequest,
    call: &Call<'_>,
) -> Answer<proto::BulkImportResponse> {
    let name = &request.table_name;
    check_table_name(name)?;
    check_write_count([(name.as_str(), request.rows.len())])?;
    let condition = proto::Condition::default();
    let mut changes = Vec::new();
    for row in &request.rows {
        changes.push(Change::decode(requested_kind(row.r#type)?, &row.row_change, &condition, None)?);
    }
    super::request_row::check_size("BulkImport", changes.iter().map(Change::size))?;
    let import = |change: &Change<'_>| match write_one(instance, name, change, call) {
        Ok(_) => proto::RowInBulkImportResponse {
            is_ok: true,
            error: None,
            consumed: Some(data_consumed(0, change.size())),
        },
        Err(error) => {
            proto::RowInBulkImportResponse { is_ok: false, error: Some(error.to_proto()), consumed: None }
        }
    };
    Ok(proto::BulkImportResponse { table_name: name.clone(), rows: changes.iter().map(import).collect() })
}
