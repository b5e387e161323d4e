//! A table as DescribeTable, UpdateTable and ComputeSplitPointsBySize tell it.

use crate::model::{
    DefinedColumn, Index, PrimaryKeyColumn, PrimaryKeyType, ReservedThroughput, TableDefinition,
    TableOptions, ValueType,
};
use crate::proto;

/// The key columns as the service describes them.
pub fn describe_key(columns: &[PrimaryKeyColumn]) -> Vec<proto::PrimaryKeySchema> {
    let describe = |column: &PrimaryKeyColumn| proto::PrimaryKeySchema {
        name: column.name.clone(),
        r#type: match column.column_type {
            PrimaryKeyType::Integer => proto::PrimaryKeyType::Integer,
            PrimaryKeyType::String => proto::PrimaryKeyType::String,
            PrimaryKeyType::Binary => proto::PrimaryKeyType::Binary,
        } as i32,
        option: column.auto_increment.then_some(proto::PrimaryKeyOption::AutoIncrement as i32),
    };
    columns.iter().map(describe).collect()
}

fn describe_defined(column: &DefinedColumn) -> proto::DefinedColumnSchema {
    let column_type = match column.column_type {
        ValueType::Integer => proto::DefinedColumnType::DctInteger,
        ValueType::Double => proto::DefinedColumnType::DctDouble,
        ValueType::Boolean => proto::DefinedColumnType::DctBoolean,
        ValueType::String => proto::DefinedColumnType::DctString,
        ValueType::Binary => proto::DefinedColumnType::DctBlob,
    };
    proto::DefinedColumnSchema { name: column.name.clone(), r#type: column_type as i32 }
}

fn describe_index(index: &Index) -> proto::IndexMeta {
    let (local, global) = (proto::IndexType::ItLocalIndex, proto::IndexType::ItGlobalIndex);
    let (sync, later) = (proto::IndexUpdateMode::IumSyncIndex, proto::IndexUpdateMode::IumAsyncIndex);
    proto::IndexMeta {
        name: index.name.clone(),
        primary_key: index.primary_key.clone(),
        defined_column: index.defined_columns.clone(),
        index_update_mode: if index.synchronous { sync } else { later } as i32,
        index_type: if index.local { local } else { global } as i32,
        index_sync_phase: Some(proto::IndexSyncPhase::IspIncr as i32),
    }
}

/// The options as the service describes them: all of them, always.
pub fn describe_options(options: &TableOptions) -> proto::TableOptions {
    proto::TableOptions {
        time_to_live: options.time_to_live,
        max_versions: options.max_versions,
        bloom_filter_type: None,
        block_size: None,
        deviation_cell_version_in_sec: options.deviation_seconds,
        allow_update: options.allow_update,
        update_full_row: options.update_full_row,
    }
}

/// Reserved throughput with the second at which it was last changed.
pub fn describe_reserved(
    reserved: ReservedThroughput,
    changed_at_s: i64,
) -> proto::ReservedThroughputDetails {
    proto::ReservedThroughputDetails {
        capacity_unit: proto::CapacityUnit { read: Some(reserved.read), write: Some(reserved.write) },
        last_increase_time: changed_at_s,
        last_decrease_time: None,
    }
}

/// The Stream; a table without one says so too.
pub fn describe_stream(definition: &TableDefinition) -> proto::StreamDetails {
    match &definition.stream {
        None => proto::StreamDetails { enable_stream: false, ..Default::default() },
        Some(stream) => proto::StreamDetails {
            enable_stream: true,
            stream_id: Some(stream.stream_id.clone()),
            expiration_time: Some(stream.expiration_hours),
            last_enable_time: Some(stream.last_enable_time_us),
            columns_to_get: stream.columns.clone(),
        },
    }
}

/// The meta part of DescribeTable.
pub fn describe_meta(definition: &TableDefinition) -> proto::TableMeta {
    proto::TableMeta {
        table_name: definition.name.clone(),
        primary_key: describe_key(&definition.primary_key),
        defined_column: definition.defined_columns.iter().map(describe_defined).collect(),
        index_meta: Vec::new(),
        table_id: None,
        global_table_id: None,
    }
}

/// The secondary indexes.
pub fn describe_indexes(definition: &TableDefinition) -> Vec<proto::IndexMeta> {
    definition.indexes.iter().map(describe_index).collect()
}
