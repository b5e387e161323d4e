//! What a table may be: names, keys, predefined columns, options, partitions, Stream.

use std::collections::BTreeSet;

use super::index;
use super::service_error::{Answer, ServiceError};
use crate::model::{
    DefinedColumn, PrimaryKey, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, ReservedThroughput,
    TableDefinition, TableOptions, ValueType,
};
use crate::{plainbuffer, proto};

/// Ranges over the first primary key column at creation (asserted by the Java SDK's tests).
const MAX_PARTITIONS: usize = 10;

/// Longest STRING or BINARY bound of a partition, in bytes (same source).
const MAX_PARTITION_BOUND: usize = 64;

/// Predefined columns of one table (same source).
const MAX_DEFINED_COLUMNS: usize = 32;

/// Capacity units that can be reserved each way ("Reserved read/write throughput" in the developer guide).
const MAX_RESERVED: i32 = 100_000;

/// Hours that a Stream can be kept ("Limits" in the developer guide).
const MAX_STREAM_HOURS: i32 = 168;

/// Seconds; a shorter time to live is refused ("Data versions and TTL" in the developer guide).
const MIN_TIME_TO_LIVE: i32 = 86_400;

/// Whether `name` can name a table or a column: 1 to 255 bytes, letters, digits and `_`, no digit first.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 255
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Refuses a bad table name.
pub fn check_table_name(name: &str) -> Answer<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(ServiceError::parameter(format!("Invalid table name: '{name}'.")))
}

/// Refuses a bad column name.
pub fn check_column_name(name: &str) -> Answer<()> {
    if is_name(name) {
        return Ok(());
    }
    Err(ServiceError::parameter(format!("Invalid column name: '{name}'.")))
}

/// How the service's messages call the type of an attribute value.
pub fn value_type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Integer => "VT_INTEGER",
        ValueType::Double => "VT_DOUBLE",
        ValueType::Boolean => "VT_BOOLEAN",
        ValueType::String => "VT_STRING",
        ValueType::Binary => "VT_BLOB",
    }
}

/// How the service's messages call the type of a key value; `None` for those that fit every column.
pub fn key_value_type_name(value: PrimaryKeyValue<'_>) -> Option<&'static str> {
    match value {
        PrimaryKeyValue::Integer(_) => Some("VT_INTEGER"),
        PrimaryKeyValue::String(_) => Some("VT_STRING"),
        PrimaryKeyValue::Binary(_) => Some("VT_BLOB"),
        PrimaryKeyValue::AutoIncrement | PrimaryKeyValue::InfMin | PrimaryKeyValue::InfMax => None,
    }
}

/// How the service's messages call the type of a key column.
pub fn key_type_name(column_type: PrimaryKeyType) -> &'static str {
    match column_type {
        PrimaryKeyType::Integer => "VT_INTEGER",
        PrimaryKeyType::String => "VT_STRING",
        PrimaryKeyType::Binary => "VT_BLOB",
    }
}

/// The definition that a CreateTable request asks for, without Stream and creation time.
///
/// # Errors
/// `OTSParameterInvalid` with the service's text where it is known.
pub fn requested_definition(request: &proto::CreateTableRequest) -> Answer<TableDefinition> {
    let meta = &request.table_meta;
    check_table_name(&meta.table_name)?;
    if !(1..=plainbuffer::MAX_KEY_COLUMNS).contains(&meta.primary_key.len()) {
        return Err(key_count());
    }
    let mut primary_key = Vec::new();
    for column in &meta.primary_key {
        check_column_name(&column.name)?;
        primary_key.push(key_column(column)?);
    }
    let automatic = primary_key.iter().filter(|column| column.auto_increment).count();
    let first_is_automatic = primary_key.first().is_some_and(|column| column.auto_increment);
    let wrong_type = primary_key
        .iter()
        .any(|column| column.auto_increment && column.column_type != PrimaryKeyType::Integer);
    if automatic > 1 {
        return Err(ServiceError::parameter("AUTO_INCREMENT primary key count must <= 1."));
    }
    if first_is_automatic {
        return Err(ServiceError::parameter(format!(
            "First primary key can't be auto increment, table: {}.",
            meta.table_name
        )));
    }
    if wrong_type {
        return Err(ServiceError::parameter("AUTO_INCREMENT primary key must be integer."));
    }
    if request.sse_spec.as_ref().is_some_and(|spec| spec.enable) {
        return Err(ServiceError::unsupported("server-side encryption"));
    }
    let indexes = request.index_metas.iter().chain(&meta.index_meta);
    let indexes = indexes.map(index::requested_index).collect::<Answer<_>>()?;
    let asked = request.table_options.as_ref();
    if asked.is_none_or(|options| options.max_versions.is_none() || options.time_to_live.is_none()) {
        let text = "The maxVersions and timeToLive must be set while creating table.";
        return Err(ServiceError::parameter(text));
    }
    let mut options = TableOptions {
        time_to_live: None,
        max_versions: None,
        deviation_seconds: Some(86_400),
        allow_update: Some(true),
        update_full_row: Some(asked.and_then(|options| options.update_full_row).unwrap_or(false)),
    };
    if let Some(asked) = asked {
        change_options(&mut options, asked)?;
    }
    let definition = TableDefinition {
        name: meta.table_name.clone(),
        primary_key,
        defined_columns: requested_defined_columns(&meta.defined_column)?,
        options,
        reserved: reserved(&request.reserved_throughput)?,
        stream: None,
        indexes,
        creation_time: None,
    };
    check_columns(&definition)?;
    index::check_indexes(&definition)?;
    index::check_options(&definition)?;
    Ok(definition)
}

/// Predefined columns as a request names them.
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn requested_defined_columns(asked: &[proto::DefinedColumnSchema]) -> Answer<Vec<DefinedColumn>> {
    let column = |column: &proto::DefinedColumnSchema| {
        check_column_name(&column.name)?;
        defined_column(column)
    };
    asked.iter().map(column).collect()
}

/// Checks the columns of a table against each other.
///
/// # Errors
/// `OTSParameterInvalid` for a name that stands twice, or too many predefined columns.
pub fn check_columns(definition: &TableDefinition) -> Answer<()> {
    if definition.defined_columns.len() > MAX_DEFINED_COLUMNS {
        return Err(ServiceError::parameter(format!(
            "The number of defined columns must be in range: [0, {MAX_DEFINED_COLUMNS}]."
        )));
    }
    let mut names = BTreeSet::new();
    for column in &definition.primary_key {
        if !names.insert(&column.name) {
            return Err(ServiceError::parameter(format!("Duplicated primary key name: '{}'.", column.name)));
        }
    }
    for column in &definition.defined_columns {
        if !names.insert(&column.name) {
            // Own wording.
            return Err(ServiceError::parameter(format!("Duplicated column name: '{}'.", column.name)));
        }
    }
    Ok(())
}

fn key_column(column: &proto::PrimaryKeySchema) -> Answer<PrimaryKeyColumn> {
    let column_type = match proto::PrimaryKeyType::try_from(column.r#type) {
        Ok(proto::PrimaryKeyType::Integer) => PrimaryKeyType::Integer,
        Ok(proto::PrimaryKeyType::String) => PrimaryKeyType::String,
        Ok(proto::PrimaryKeyType::Binary) => PrimaryKeyType::Binary,
        Err(_) => return Err(ServiceError::parameter(format!("Invalid type of column: '{}'.", column.name))),
    };
    Ok(PrimaryKeyColumn { name: column.name.clone(), column_type, auto_increment: column.option.is_some() })
}

fn defined_column(column: &proto::DefinedColumnSchema) -> Answer<DefinedColumn> {
    let column_type = match proto::DefinedColumnType::try_from(column.r#type) {
        Ok(proto::DefinedColumnType::DctInteger) => ValueType::Integer,
        Ok(proto::DefinedColumnType::DctDouble) => ValueType::Double,
        Ok(proto::DefinedColumnType::DctBoolean) => ValueType::Boolean,
        Ok(proto::DefinedColumnType::DctString) => ValueType::String,
        Ok(proto::DefinedColumnType::DctBlob) => ValueType::Binary,
        Err(_) => return Err(ServiceError::parameter(format!("Invalid type of column: '{}'.", column.name))),
    };
    Ok(DefinedColumn { name: column.name.clone(), column_type })
}

/// Takes over what `asked` sets.
///
/// # Errors
/// `OTSParameterInvalid` for values outside the documented ranges; `options` may then be changed in part.
pub fn change_options(options: &mut TableOptions, asked: &proto::TableOptions) -> Answer<()> {
    if *asked == proto::TableOptions::default() {
        return Err(ServiceError::parameter("No parameter is specified in table options."));
    }
    if let Some(seconds) = asked.time_to_live {
        if seconds != -1 && seconds < MIN_TIME_TO_LIVE {
            let text = match seconds {
                // Own wording of the second.
                ..=0 => "TimeToLive cannot be 0 or less than -1.".to_owned(),
                _ => format!("TimeToLive must be -1 or at least {MIN_TIME_TO_LIVE}."),
            };
            return Err(ServiceError::parameter(text));
        }
        options.time_to_live = Some(seconds);
    }
    if let Some(versions) = asked.max_versions {
        if versions < 1 {
            let text = "The maximum versions cannot be less than or equal to 0.";
            return Err(ServiceError::parameter(text));
        }
        options.max_versions = Some(versions);
    }
    if let Some(seconds) = asked.deviation_cell_version_in_sec {
        if !(0..=i64::MAX / 1_000_000).contains(&seconds) {
            let text = "The maximum deviation must be in range [0, INT64_MAX/1000000].";
            return Err(ServiceError::parameter(text));
        }
        options.deviation_seconds = Some(seconds);
    }
    if let Some(allowed) = asked.allow_update {
        options.allow_update = Some(allowed);
    }
    if asked.update_full_row.is_some_and(|full| Some(full) != options.update_full_row) {
        return Err(ServiceError::parameter(
            "The option update_full_row can only be set while creating table.",
        ));
    }
    Ok(())
}

/// Checks reserved throughput; both fields must be there.
pub fn reserved(asked: &proto::ReservedThroughput) -> Answer<ReservedThroughput> {
    let unit = &asked.capacity_unit;
    let (Some(read), Some(write)) = (unit.read, unit.write) else {
        return Err(ServiceError::parameter(
            "Both read and write capacity unit are required to create table.",
        ));
    };
    for (name, value) in [("read", read), ("write", write)] {
        if !(0..=MAX_RESERVED).contains(&value) {
            let text = format!("Can not reserve {name} capacity unit out of range: [0, {MAX_RESERVED}].");
            return Err(ServiceError::parameter(text));
        }
    }
    Ok(ReservedThroughput { read, write })
}

/// Hours that a Stream is asked to be kept, or `None` to be off; and the columns whose previous values it records.
pub fn requested_stream(spec: &proto::StreamSpecification) -> Answer<Option<(i32, Vec<String>)>> {
    if !spec.enable_stream {
        return Ok(None);
    }
    let hours = spec.expiration_time.unwrap_or_default();
    if !(1..=MAX_STREAM_HOURS).contains(&hours) {
        // Own wording.
        let text = format!("Stream expiration time must be in range: [1, {MAX_STREAM_HOURS}].");
        return Err(ServiceError::parameter(text));
    }
    spec.columns_to_get.iter().try_for_each(|name| check_column_name(name))?;
    Ok(Some((hours, spec.columns_to_get.clone())))
}

/// The boundaries between the partitions that CreateTable asks for.
///
/// # Errors
/// `OTSParameterInvalid` unless the ranges go from INF_MIN to INF_MAX without gap, in the type of the first primary
/// key column.
pub fn requested_boundaries(
    ranges: &[proto::PartitionRange],
    first: PrimaryKeyType,
) -> Answer<Vec<PrimaryKey>> {
    if ranges.len() > MAX_PARTITIONS {
        let text = format!("The count of partitions cannot be greater than {MAX_PARTITIONS}");
        return Err(ServiceError::parameter(text));
    }
    // Own wording of the next two.
    let broken =
        || ServiceError::parameter("The partition ranges must be contiguous from INF_MIN to INF_MAX.");
    let decode = |bytes| {
        plainbuffer::decode_bare_key_value(bytes)
            .map_err(|error| ServiceError::parameter(format!("Invalid partition range: {error}.")))
    };
    let mut boundaries: Vec<PrimaryKey> = Vec::new();
    let mut expected = PrimaryKey::inf_min(1);
    for (position, range) in ranges.iter().enumerate() {
        let (begin, end) = (decode(&range.begin)?, decode(&range.end)?);
        for value in [begin, end] {
            check_partition_bound(value, first)?;
        }
        let (Some(begin), Some(end)) =
            (PrimaryKey::from_row(&[("", begin)]), PrimaryKey::from_row(&[("", end)]))
        else {
            return Err(broken());
        };
        let is_last = position + 1 == ranges.len();
        if begin != expected || end <= begin || is_last != (end == PrimaryKey::inf_max(1)) {
            return Err(broken());
        }
        if !is_last {
            boundaries.push(end.clone());
        }
        expected = end;
    }
    Ok(boundaries)
}

fn check_partition_bound(value: PrimaryKeyValue<'_>, first: PrimaryKeyType) -> Answer<()> {
    let refuse = |text: &str| Err(ServiceError::parameter(text));
    match value {
        PrimaryKeyValue::AutoIncrement => {
            return refuse("The value type of partition does not match with primary key.");
        }
        PrimaryKeyValue::Integer(i64::MIN | i64::MAX) => {
            return refuse("The value of partition range can not be INT64_MIN or INT64_MAX.");
        }
        PrimaryKeyValue::String("") => {
            return refuse("The value of partition range can not be empty string.");
        }
        PrimaryKeyValue::Binary([]) => {
            return refuse("The value of partition range can not be empty binary.");
        }
        _ => {}
    }
    if key_value_type_name(value).is_some_and(|name| name != key_type_name(first)) {
        return refuse("The value type of partition does not match with primary key.");
    }
    let length = match value {
        PrimaryKeyValue::String(text) => text.len(),
        PrimaryKeyValue::Binary(bytes) => bytes.len(),
        _ => 0,
    };
    if length > MAX_PARTITION_BOUND {
        return refuse(&format!(
            "The value of partition range exceeds the MaxLength:{MAX_PARTITION_BOUND} with CurrentLength:{length}."
        ));
    }
    Ok(())
}

/// Too many or too few key columns, in a table or in a row.
pub fn key_count() -> ServiceError {
    ServiceError::parameter(format!(
        "The number of primary key columns must be in range: [1, {}].",
        plainbuffer::MAX_KEY_COLUMNS
    ))
}
