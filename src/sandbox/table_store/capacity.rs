//! Capacity units of an answer, for the counters.

use bytes::Bytes;
use prost::Message;

use crate::proto;

/// Read and write capacity units that an answer of `operation` reports, added up; 0 for an operation that reports none. Copies no rows.
pub fn consumed(operation: &str, answer: &Bytes) -> u64 {
    match operation {
        "GetRange" => one(answer, |message: proto::GetRangeResponse| message.consumed),
        "BulkExport" => one(answer, |message: proto::BulkExportResponse| message.consumed),
        "GetRow" => one(answer, |message: proto::GetRowResponse| message.consumed),
        "PutRow" => one(answer, |message: proto::PutRowResponse| message.consumed),
        "UpdateRow" => one(answer, |message: proto::UpdateRowResponse| message.consumed),
        "DeleteRow" => one(answer, |message: proto::DeleteRowResponse| message.consumed),
        "ComputeSplitPointsBySize" => {
            one(answer, |message: proto::ComputeSplitPointsBySizeResponse| message.consumed)
        }
        "BatchGetRow" => rows(answer, |message: proto::BatchGetRowResponse| {
            message.tables.into_iter().flat_map(|table| table.rows).filter_map(|row| row.consumed).collect()
        }),
        "BatchWriteRow" => rows(answer, |message: proto::BatchWriteRowResponse| {
            message.tables.into_iter().flat_map(|table| table.rows).filter_map(|row| row.consumed).collect()
        }),
        _ => 0,
    }
}

fn one<M: Message + Default>(answer: &Bytes, consumed: impl Fn(M) -> proto::ConsumedCapacity) -> u64 {
    M::decode(answer.clone()).map(|message| units(&consumed(message))).unwrap_or_default()
}

fn rows<M: Message + Default>(answer: &Bytes, consumed: impl Fn(M) -> Vec<proto::ConsumedCapacity>) -> u64 {
    M::decode(answer.clone()).map(|message| consumed(message).iter().map(units).sum()).unwrap_or_default()
}

fn units(consumed: &proto::ConsumedCapacity) -> u64 {
    let unit = &consumed.capacity_unit;
    [unit.read, unit.write].into_iter().flatten().filter_map(|units| u64::try_from(units).ok()).sum()
}
