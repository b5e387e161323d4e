//! Table definitions: the model's types and the messages'.

use super::failure::BoxError;
use crate::model::{
    DefinedColumn, Index, PrimaryKeyColumn, PrimaryKeyType, ReservedThroughput, Stream, TableDefinition,
    TableOptions, ValueType,
};
use crate::plainbuffer::MAX_KEY_COLUMNS;
use crate::proto;

pub(super) fn table_meta(definition: &TableDefinition) -> proto::TableMeta {
    let primary_key = definition.primary_key.iter().map(|column| proto::PrimaryKeySchema {
        name: column.name.clone(),
        r#type: match column.column_type {
            PrimaryKeyType::Integer => proto::PrimaryKeyType::Integer,
            PrimaryKeyType::String => proto::PrimaryKeyType::String,
            PrimaryKeyType::Binary => proto::PrimaryKeyType::Binary,
        }
        .into(),
        option: column.auto_increment.then(|| proto::PrimaryKeyOption::AutoIncrement.into()),
    });
    let defined_column = definition.defined_columns.iter().map(|column| proto::DefinedColumnSchema {
        name: column.name.clone(),
        r#type: match column.column_type {
            ValueType::Integer => proto::DefinedColumnType::DctInteger,
            ValueType::Double => proto::DefinedColumnType::DctDouble,
            ValueType::Boolean => proto::DefinedColumnType::DctBoolean,
            ValueType::String => proto::DefinedColumnType::DctString,
            ValueType::Binary => proto::DefinedColumnType::DctBlob,
        }
        .into(),
    });
    proto::TableMeta {
        table_name: definition.name.clone(),
        primary_key: primary_key.collect(),
        defined_column: defined_column.collect(),
        ..Default::default()
    }
}

pub(super) fn table_options(options: &TableOptions) -> proto::TableOptions {
    proto::TableOptions {
        time_to_live: options.time_to_live,
        max_versions: options.max_versions,
        deviation_cell_version_in_sec: options.deviation_seconds,
        allow_update: options.allow_update,
        update_full_row: options.update_full_row,
        ..Default::default()
    }
}

/// Both fields always: the Go SDK dereferences both, so servers may as well.
pub(super) fn reserved_throughput(reserved: ReservedThroughput) -> proto::ReservedThroughput {
    proto::ReservedThroughput {
        capacity_unit: proto::CapacityUnit { read: Some(reserved.read), write: Some(reserved.write) },
    }
}

pub(super) fn index_meta(index: &Index) -> proto::IndexMeta {
    proto::IndexMeta {
        name: index.name.clone(),
        primary_key: index.primary_key.clone(),
        defined_column: index.defined_columns.clone(),
        index_update_mode: match index.synchronous {
            true => proto::IndexUpdateMode::IumSyncIndex,
            false => proto::IndexUpdateMode::IumAsyncIndex,
        }
        .into(),
        index_type: match index.local {
            true => proto::IndexType::ItLocalIndex,
            false => proto::IndexType::ItGlobalIndex,
        }
        .into(),
        index_sync_phase: None,
    }
}

/// What DescribeTable answered, checked: an enum value that this version does not know is an error, not a default.
pub(super) fn definition(answer: &proto::DescribeTableResponse) -> Result<TableDefinition, BoxError> {
    let meta = &answer.table_meta;
    let indexes = match answer.index_metas.as_slice() {
        [] => &meta.index_meta,
        _ => &answer.index_metas,
    };
    let options = &answer.table_options;
    let reserved = &answer.reserved_throughput_details.capacity_unit;
    Ok(TableDefinition {
        name: meta.table_name.clone(),
        primary_key: key_columns(&meta.primary_key)?,
        defined_columns: meta.defined_column.iter().map(defined_column).collect::<Result<_, _>>()?,
        options: TableOptions {
            time_to_live: options.time_to_live,
            max_versions: options.max_versions,
            deviation_seconds: options.deviation_cell_version_in_sec,
            allow_update: options.allow_update,
            update_full_row: options.update_full_row,
        },
        reserved: ReservedThroughput { read: reserved.read(), write: reserved.write() },
        stream: answer.stream_details.as_ref().map(stream).transpose()?.flatten(),
        indexes: indexes.iter().map(index).collect::<Result<_, _>>()?,
        creation_time: answer.creation_time,
    })
}

/// The schema of a primary key: 1 to 4 columns of known types.
pub(super) fn key_columns(schema: &[proto::PrimaryKeySchema]) -> Result<Vec<PrimaryKeyColumn>, BoxError> {
    if schema.is_empty() || schema.len() > MAX_KEY_COLUMNS {
        return Err(format!("{} primary key columns", schema.len()).into());
    }
    let column = |column: &proto::PrimaryKeySchema| {
        let column_type = match proto::PrimaryKeyType::try_from(column.r#type) {
            Ok(proto::PrimaryKeyType::Integer) => PrimaryKeyType::Integer,
            Ok(proto::PrimaryKeyType::String) => PrimaryKeyType::String,
            Ok(proto::PrimaryKeyType::Binary) => PrimaryKeyType::Binary,
            Err(_) => return Err(unknown("primary key type", column.r#type)),
        };
        let auto_increment = match column.option.map(proto::PrimaryKeyOption::try_from) {
            None => false,
            Some(Ok(proto::PrimaryKeyOption::AutoIncrement)) => true,
            Some(Err(_)) => return Err(unknown("primary key option", column.option.unwrap_or_default())),
        };
        Ok(PrimaryKeyColumn { name: column.name.clone(), column_type, auto_increment })
    };
    schema.iter().map(column).collect()
}

fn unknown(what: &str, number: i32) -> BoxError {
    format!("{what} {number} is not known to this version").into()
}

fn defined_column(column: &proto::DefinedColumnSchema) -> Result<DefinedColumn, BoxError> {
    let column_type = match proto::DefinedColumnType::try_from(column.r#type) {
        Ok(proto::DefinedColumnType::DctInteger) => ValueType::Integer,
        Ok(proto::DefinedColumnType::DctDouble) => ValueType::Double,
        Ok(proto::DefinedColumnType::DctBoolean) => ValueType::Boolean,
        Ok(proto::DefinedColumnType::DctString) => ValueType::String,
        Ok(proto::DefinedColumnType::DctBlob) => ValueType::Binary,
        Err(_) => return Err(unknown("predefined column type", column.r#type)),
    };
    Ok(DefinedColumn { name: column.name.clone(), column_type })
}

fn stream(details: &proto::StreamDetails) -> Result<Option<Stream>, BoxError> {
    if !details.enable_stream {
        return Ok(None);
    }
    let stream_id = details.stream_id.clone().filter(|id| !id.is_empty());
    Ok(Some(Stream {
        stream_id: stream_id.ok_or("the Stream is enabled but has no id")?,
        expiration_hours: details.expiration_time(),
        last_enable_time_us: details.last_enable_time(),
        columns: details.columns_to_get.clone(),
    }))
}

fn index(meta: &proto::IndexMeta) -> Result<Index, BoxError> {
    let local = match proto::IndexType::try_from(meta.index_type) {
        Ok(index_type) => index_type == proto::IndexType::ItLocalIndex,
        Err(_) => return Err(unknown("index type", meta.index_type)),
    };
    let synchronous = match proto::IndexUpdateMode::try_from(meta.index_update_mode) {
        Ok(mode) => mode == proto::IndexUpdateMode::IumSyncIndex,
        Err(_) => return Err(unknown("index update mode", meta.index_update_mode)),
    };
    Ok(Index {
        name: meta.name.clone(),
        primary_key: meta.primary_key.clone(),
        defined_columns: meta.defined_column.clone(),
        local,
        synchronous,
    })
}
