//! Reads and writes of single rows and of batches.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::change::Change;
use super::instance::{Call, Instance};
use super::projection::Projection;
use super::range::read_consumed;
use super::request_row::{ChangeKind, KeyPlace, check_size, decode_row, owned_key};
use super::service_error::{Answer, ServiceError};
use super::table::{Table, data_size};
use super::{change, schema};
use crate::model::{PrimaryKeyValue, Row};
use crate::{plainbuffer, proto};

/// Rows of one BatchGetRow (asserted by the Java SDK's tests, as the next).
const MAX_BATCH_READ: usize = 100;

/// Rows of one BatchWriteRow.
const MAX_BATCH_WRITE: usize = 200;

/// GetRow.
///
/// # Errors
/// As the service.
pub fn get_row(
    instance: &Instance,
    request: &proto::GetRowRequest,
    now: i64,
) -> Answer<proto::GetRowResponse> {
    let projection = Projection::new(request, "No version condition is specified.")?;
    if request.token.as_ref().is_some_and(|token| !token.is_empty()) {
        return Err(ServiceError::unsupported("paging inside a row"));
    }
    let mut key = Row::default();
    decode_row(&request.primary_key, &mut key, KeyPlace::Read)?;
    let name = &request.table_name;
    let work = |table: &Table| {
        let (consumed, row) = read_row(table, &key, &projection, now)?;
        Ok(proto::GetRowResponse { consumed, row, next_token: None })
    };
    match transaction(request.transaction_id.as_deref()) {
        None => instance.read(name, now, work),
        Some(id) => {
            let partition_key = key.key.first().map(|(_, value)| *value);
            instance.transactions.read(id, name, &[partition_key], now, work)
        }
    }
}

/// The transaction that a request names. An empty id is none, as some SDKs send it.
pub fn transaction(id: Option<&str>) -> Option<&str> {
    id.filter(|id| !id.is_empty())
}

fn read_row(
    table: &Table,
    key: &Row<'_>,
    projection: &Projection<'_>,
    now: i64,
) -> Answer<(proto::ConsumedCapacity, Bytes)> {
    table.check_key(&key.key)?;
    let (mut found, mut size) = (Bytes::new(), 0);
    table.point(&owned_key(key)?, now, |row| {
        size = data_size(row, table.counts_timestamps());
        if projection.apply(row) {
            found = plainbuffer::encode_row(row).into();
        }
    });
    Ok((read_consumed(size), found))
}

/// BatchGetRow: what needs no table refuses the whole request, the rest one row.
///
/// # Errors
/// As the service.
pub fn batch_get_row(
    instance: &Instance,
    request: &proto::BatchGetRowRequest,
    call: &Call,
) -> Answer<proto::BatchGetRowResponse> {
    let count: usize = request.tables.iter().map(|table| table.primary_key.len()).sum();
    if count == 0 {
        return Err(ServiceError::parameter("No row specified in the request of BatchGetRow."));
    }
    check_row_count(count, MAX_BATCH_READ)?;
    check_table_names(request.tables.iter().map(|table| table.table_name.as_str()))?;
    let mut tables = Vec::new();
    for asked in &request.tables {
        let projection = Projection::new(asked, "No version condition is specified while querying row.")?;
        if asked.token.iter().any(|token| !token.is_empty()) {
            return Err(ServiceError::unsupported("paging inside a row"));
        }
        let mut keys = Vec::new();
        for bytes in &asked.primary_key {
            let mut key = Row::default();
            decode_row(bytes, &mut key, KeyPlace::Read)?;
            keys.push(key);
        }
        tables.push((asked.table_name.as_str(), projection, keys));
    }
    let answer = |name: &str, key: &Row<'_>, projection: &Projection<'_>| {
        let row = call
            .row_fault(name)
            .map_or(Ok(()), Err)
            .and_then(|()| instance.read(name, call.now, |table| read_row(table, key, projection, call.now)));
        match row {
            Ok((consumed, row)) => proto::RowInBatchGetRowResponse {
                is_ok: true,
                error: None,
                consumed: Some(consumed),
                row: Some(row),
                next_token: None,
            },
            Err(error) => proto::RowInBatchGetRowResponse {
                is_ok: false,
                error: Some(error.to_proto()),
                ..Default::default()
            },
        }
    };
    let tables = tables.iter().map(|(name, projection, keys)| proto::TableInBatchGetRowResponse {
        table_name: (*name).to_owned(),
        rows: keys.iter().map(|key| answer(name, key, projection)).collect(),
    });
    Ok(proto::BatchGetRowResponse { tables: tables.collect() })
}

fn check_row_count(count: usize, limit: usize) -> Answer<()> {
    if count > limit {
        return Err(ServiceError::parameter(format!("Rows count exceeds the upper limit: {limit}.")));
    }
    Ok(())
}

/// Refuses bad names, and a name that stands twice.
fn check_table_names<'a>(names: impl Iterator<Item = &'a str>) -> Answer<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        schema::check_table_name(name)?;
        if !seen.insert(name) {
            return Err(ServiceError::parameter(format!("Duplicated table name: '{name}'.")));
        }
    }
    Ok(())
}

/// Refuses a batch of too many changes, of none, and of none for one of its tables.
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn check_write_count<'a>(tables: impl IntoIterator<Item = (&'a str, usize)>) -> Answer<()> {
    let mut total = None;
    for (name, rows) in tables {
        if rows == 0 {
            return Err(ServiceError::parameter(format!("No operation is specified for table: '{name}'.")));
        }
        total = Some(total.unwrap_or(0) + rows);
    }
    match total {
        None => Err(ServiceError::parameter("No row is specified in BatchWriteRow.")),
        Some(total) => check_row_count(total, MAX_BATCH_WRITE),
    }
}

/// What a change of a batch is asked to do.
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn requested_kind(operation_type: i32) -> Answer<ChangeKind> {
    match proto::OperationType::try_from(operation_type) {
        Ok(proto::OperationType::Put) => Ok(ChangeKind::Put),
        Ok(proto::OperationType::Update) => Ok(ChangeKind::Update),
        Ok(proto::OperationType::Delete) => Ok(ChangeKind::Delete),
        Err(_) => Err(ServiceError::parameter("The type of row in batch write operation is invalid.")),
    }
}

/// The fields that PutRow, UpdateRow and DeleteRow have in common.
pub struct WriteRequest<'a> {
    /// What to do.
    pub kind: ChangeKind,
    /// Where.
    pub table_name: &'a str,
    /// The row, encoded.
    pub row: &'a Bytes,
    /// When.
    pub condition: &'a proto::Condition,
    /// What to answer.
    pub returns: Option<&'a proto::ReturnContent>,
    /// In which transaction.
    pub transaction_id: Option<&'a str>,
}

impl<'a> From<&'a proto::PutRowRequest> for WriteRequest<'a> {
    fn from(request: &'a proto::PutRowRequest) -> WriteRequest<'a> {
        WriteRequest {
            kind: ChangeKind::Put,
            table_name: &request.table_name,
            row: &request.row,
            condition: &request.condition,
            returns: request.return_content.as_ref(),
            transaction_id: request.transaction_id.as_deref(),
        }
    }
}

impl<'a> From<&'a proto::UpdateRowRequest> for WriteRequest<'a> {
    fn from(request: &'a proto::UpdateRowRequest) -> WriteRequest<'a> {
        WriteRequest {
            kind: ChangeKind::Update,
            table_name: &request.table_name,
            row: &request.row_change,
            condition: &request.condition,
            returns: request.return_content.as_ref(),
            transaction_id: request.transaction_id.as_deref(),
        }
    }
}

impl<'a> From<&'a proto::DeleteRowRequest> for WriteRequest<'a> {
    fn from(request: &'a proto::DeleteRowRequest) -> WriteRequest<'a> {
        WriteRequest {
            kind: ChangeKind::Delete,
            table_name: &request.table_name,
            row: &request.primary_key,
            condition: &request.condition,
            returns: request.return_content.as_ref(),
            transaction_id: request.transaction_id.as_deref(),
        }
    }
}

/// PutRow, UpdateRow, DeleteRow.
///
/// # Errors
/// As the service.
pub fn write_row(instance: &Instance, asked: &WriteRequest<'_>, now: i64) -> Answer<change::Written> {
    let WriteRequest { kind, table_name, row, condition, returns, transaction_id } = *asked;
    schema::check_table_name(table_name)?;
    let change = Change::decode(kind, row, condition, returns)?;
    let operation = match kind {
        ChangeKind::Put => "PutRow",
        ChangeKind::Update => "UpdateRow",
        ChangeKind::Delete => "DeleteRow",
    };
    check_size(operation, std::iter::once(change.size()))?;
    match transaction(transaction_id) {
        None => instance.write(table_name, now, |table| Ok(change.apply(table, now)?.0)),
        Some(id) => instance.transactions.write(id, table_name, &change, row, condition, now),
    }
}

/// BatchWriteRow: what needs no table refuses the whole request, the rest one row; or all rows of a table, when
/// `is_atomic` is set.
///
/// # Errors
/// As the service.
pub fn batch_write_row(
    instance: &Instance,
    request: &proto::BatchWriteRowRequest,
    call: &Call,
) -> Answer<proto::BatchWriteRowResponse> {
    check_table_names(request.tables.iter().map(|table| table.table_name.as_str()))?;
    check_write_count(request.tables.iter().map(|table| (table.table_name.as_str(), table.rows.len())))?;
    let mut tables = Vec::new();
    for asked in &request.tables {
        let changes = asked.rows.iter().map(|row| {
            let kind = requested_kind(row.r#type)?;
            Change::decode(kind, &row.row_change, &row.condition, row.return_content.as_ref())
        });
        tables.push((asked, changes.collect::<Answer<Vec<_>>>()?));
    }
    check_size("BatchWriteRow", tables.iter().flat_map(|(_, changes)| changes).map(Change::size))?;
    let is_atomic = request.is_atomic.unwrap_or(false);
    let transaction = transaction(request.transaction_id.as_deref());
    let answer = |(asked, changes): &(&proto::TableInBatchWriteRowRequest, Vec<Change<'_>>)| {
        let name = asked.table_name.as_str();
        let results = match (transaction, is_atomic) {
            (Some(id), _) => {
                let rows = asked.rows.iter().zip(changes);
                let write = |(row, change): (&proto::RowInBatchWriteRowRequest, &Change<'_>)| {
                    let (row, condition) = (&row.row_change, &row.condition);
                    call.row_fault(name).map_or(Ok(()), Err)?;
                    instance.transactions.write(id, name, change, row, condition, call.now)
                };
                rows.map(write).collect()
            }
            (None, true) => write_atomically(instance, name, changes, call),
            (None, false) => {
                let repeated = repeated_conditions(changes);
                let write = |(change, refusal): (&Change<'_>, Option<ServiceError>)| {
                    refusal.map_or_else(|| write_one(instance, name, change, call), Err)
                };
                changes.iter().zip(repeated).map(write).collect()
            }
        };
        proto::TableInBatchWriteRowResponse {
            table_name: name.to_owned(),
            rows: results.into_iter().map(row_result).collect(),
        }
    };
    Ok(proto::BatchWriteRowResponse { tables: tables.iter().map(answer).collect() })
}

/// For each change why it cannot be in a batch with the others: rows that stand twice cannot have conditions.
fn repeated_conditions<'a>(changes: &[Change<'a>]) -> Vec<Option<ServiceError>> {
    let mut seen: BTreeMap<Vec<PrimaryKeyValue<'_>>, usize> = BTreeMap::new();
    let key = |change: &Change<'a>| change.row.key.iter().map(|(_, value)| *value).collect::<Vec<_>>();
    if changes.iter().all(Change::is_unconditional) {
        return vec![None; changes.len()];
    }
    changes.iter().for_each(|change| *seen.entry(key(change)).or_default() += 1);
    let text = "Repeated rows do not support row exist expectation check in BatchModify.";
    let refuse = |change: &Change<'a>| {
        let is_repeated = seen.get(&key(change)).is_some_and(|count| *count > 1);
        (is_repeated && !change.is_unconditional()).then(|| ServiceError::parameter(text))
    };
    changes.iter().map(refuse).collect()
}

/// One change of a batch.
///
/// # Errors
/// As the service.
pub fn write_one(
    instance: &Instance,
    name: &str,
    change: &Change<'_>,
    call: &Call<'_>,
) -> Answer<change::Written> {
    if let Some(fault) = call.row_fault(name) {
        return Err(fault);
    }
    instance.write(name, call.now, |table| Ok(change.apply(table, call.now)?.0))
}

fn write_atomically(
    instance: &Instance,
    name: &str,
    changes: &[Change<'_>],
    call: &Call,
) -> Vec<Answer<change::Written>> {
    let all_fail = |error: ServiceError| changes.iter().map(|_| Err(error.clone())).collect();
    let first = changes.first().and_then(Change::partition_key);
    if let Some(other) = changes.iter().map(Change::partition_key).find(|key| *key != first) {
        let text = format!(
            "Data out of scope of atomic. Atomic PartKey:{}. Data PartKey:{}",
            shown(first),
            shown(other)
        );
        return all_fail(ServiceError::new(400, "OTSDataOutOfRange", text));
    }
    if let Some(fault) = changes.iter().find_map(|_| call.row_fault(name)) {
        return all_fail(fault);
    }
    let changes_now = changes.iter().map(|change| (change, call.now));
    let written = instance.write(name, call.now, |table| change::apply_all(table, changes_now));
    match written {
        Ok(written) => written.into_iter().map(Ok).collect(),
        Err(error) => all_fail(error),
    }
}

/// A partition key as the service's messages show it.
pub fn shown(partition_key: Option<PrimaryKeyValue<'_>>) -> String {
    match partition_key {
        Some(PrimaryKeyValue::Integer(value)) => value.to_string(),
        Some(PrimaryKeyValue::String(value)) => value.to_owned(),
        Some(PrimaryKeyValue::Binary(value)) => hex::encode(value),
        Some(PrimaryKeyValue::AutoIncrement | PrimaryKeyValue::InfMin | PrimaryKeyValue::InfMax) | None => {
            String::new()
        }
    }
}

fn row_result(result: Answer<change::Written>) -> proto::RowInBatchWriteRowResponse {
    match result {
        Ok(written) => proto::RowInBatchWriteRowResponse {
            is_ok: true,
            error: None,
            consumed: Some(written.consumed),
            row: written.row,
        },
        Err(error) => proto::RowInBatchWriteRowResponse {
            is_ok: false,
            error: Some(error.to_proto()),
            consumed: None,
            row: None,
        },
    }
}
