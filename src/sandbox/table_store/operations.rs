//! From an operation's name and body to the body of its answer.

use bytes::Bytes;
use prost::Message;

use super::instance::{Call, Instance};
use super::range::{self, PageFault};
use super::service_error::{Answer, ServiceError};
use super::{bulk_import, index, rows, split_points, stream, tables, transaction};
use crate::proto;

/// Every operation that is served.
pub const OPERATIONS: [&str; 26] = [
    "CreateTable",
    "DescribeTable",
    "UpdateTable",
    "DeleteTable",
    "ListTable",
    "ComputeSplitPointsBySize",
    "GetRow",
    "GetRange",
    "BatchGetRow",
    "PutRow",
    "UpdateRow",
    "DeleteRow",
    "BatchWriteRow",
    "BulkExport",
    "BulkImport",
    "StartLocalTransaction",
    "CommitTransaction",
    "AbortTransaction",
    "CreateIndex",
    "DropIndex",
    "AddDefinedColumn",
    "DeleteDefinedColumn",
    "ListStream",
    "DescribeStream",
    "GetShardIterator",
    "GetStreamRecord",
];

/// Runs one operation.
///
/// # Errors
/// As the service.
pub fn run(instance: &Instance, call: &Call<'_>, body: &Bytes, page_fault: PageFault) -> Answer<Vec<u8>> {
    let now = call.now;
    Ok(match call.operation {
        "CreateTable" => tables::create(instance, &decode(body)?, now)?.encode_to_vec(),
        "DescribeTable" => {
            let request: proto::DescribeTableRequest = decode(body)?;
            tables::describe(instance, &request.table_name)?.encode_to_vec()
        }
        "UpdateTable" => tables::update(instance, &decode(body)?, now)?.encode_to_vec(),
        "DeleteTable" => {
            let request: proto::DeleteTableRequest = decode(body)?;
            instance.remove(&request.table_name)?;
            proto::DeleteTableResponse {}.encode_to_vec()
        }
        "ListTable" => {
            let _: proto::ListTableRequest = decode(body)?;
            proto::ListTableResponse { table_names: instance.table_names() }.encode_to_vec()
        }
        "ComputeSplitPointsBySize" => {
            let request: proto::ComputeSplitPointsBySizeRequest = decode(body)?;
            let work = |table: &_| split_points::split_points(table, &request, now);
            instance.read(&request.table_name, now, work)?.encode_to_vec()
        }
        "GetRow" => rows::get_row(instance, &decode(body)?, now)?.encode_to_vec(),
        "GetRange" => range::get_range_of(instance, &decode(body)?, now, page_fault)?.encode_to_vec(),
        "BatchGetRow" => rows::batch_get_row(instance, &decode(body)?, call)?.encode_to_vec(),
        "PutRow" => {
            let request: proto::PutRowRequest = decode(body)?;
            let done = rows::write_row(instance, &(&request).into(), now)?;
            proto::PutRowResponse { consumed: done.consumed, row: done.row }.encode_to_vec()
        }
        "UpdateRow" => {
            let request: proto::UpdateRowRequest = decode(body)?;
            let done = rows::write_row(instance, &(&request).into(), now)?;
            proto::UpdateRowResponse { consumed: done.consumed, row: done.row }.encode_to_vec()
        }
        "DeleteRow" => {
            let request: proto::DeleteRowRequest = decode(body)?;
            let done = rows::write_row(instance, &(&request).into(), now)?;
            proto::DeleteRowResponse { consumed: done.consumed, row: done.row }.encode_to_vec()
        }
        "BatchWriteRow" => rows::batch_write_row(instance, &decode(body)?, call)?.encode_to_vec(),
        "BulkExport" => {
            let request: proto::BulkExportRequest = decode(body)?;
            let work = |table: &_| range::bulk_export(table, &request, now, page_fault);
            instance.read(&request.table_name, now, work)?.encode_to_vec()
        }
        "BulkImport" => bulk_import::bulk_import(instance, &decode(body)?, call)?.encode_to_vec(),
        "StartLocalTransaction" => transaction::start(instance, &decode(body)?, now)?.encode_to_vec(),
        "CommitTransaction" => {
            let request: proto::CommitTransactionRequest = decode(body)?;
            transaction::commit(instance, &request.transaction_id, now)?.encode_to_vec()
        }
        "AbortTransaction" => {
            let request: proto::AbortTransactionRequest = decode(body)?;
            transaction::abort(instance, &request.transaction_id, now)?.encode_to_vec()
        }
        "CreateIndex" => index::create(instance, &decode(body)?)?.encode_to_vec(),
        "DropIndex" => {
            let request: proto::DropIndexRequest = decode(body)?;
            instance.remove_index(&request.main_table_name, &request.index_name)?;
            proto::DropIndexResponse {}.encode_to_vec()
        }
        "AddDefinedColumn" => tables::add_defined(instance, &decode(body)?)?.encode_to_vec(),
        "DeleteDefinedColumn" => tables::delete_defined(instance, &decode(body)?)?.encode_to_vec(),
        "ListStream" => stream::list(instance, &decode(body)?)?.encode_to_vec(),
        "DescribeStream" => stream::describe(instance, &decode(body)?, now)?.encode_to_vec(),
        "GetShardIterator" => stream::iterator(instance, &decode(body)?, now)?.encode_to_vec(),
        "GetStreamRecord" => stream::records(instance, &decode(body)?, now, page_fault)?.encode_to_vec(),
        other => return Err(ServiceError::unsupported(other)),
    })
}

/// The table that a request is about, for faults: the first field of every message that has one. Batches have their
/// table one message deeper; calls to a Stream are known by its id, which begins with the table's name.
pub fn table_name(operation: &str, body: &Bytes) -> String {
    let name = match operation {
        "CreateTable" => {
            decode::<proto::CreateTableRequest>(body).ok().map(|request| request.table_meta.table_name)
        }
        "GetStreamRecord" => decode::<proto::GetStreamRecordRequest>(body)
            .ok()
            .and_then(|request| stream::stream_id(&request.shard_iterator)),
        "BatchGetRow" => decode::<proto::BatchGetRowRequest>(body)
            .ok()
            .and_then(|request| request.tables.into_iter().next().map(|table| table.table_name)),
        "BatchWriteRow" => decode::<proto::BatchWriteRowRequest>(body)
            .ok()
            .and_then(|request| request.tables.into_iter().next().map(|table| table.table_name)),
        _ => decode::<proto::DescribeTableRequest>(body).ok().map(|request| request.table_name),
    };
    name.unwrap_or_default()
}

fn decode<M: Message + Default>(body: &Bytes) -> Answer<M> {
    M::decode(body.clone()).map_err(|_| ServiceError::parameter("Parse PBMessage from RawString failed."))
}
