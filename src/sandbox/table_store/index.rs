//! Secondary indexes: kept as definitions and as table names. Their rows are not maintained, so that reading one is
//! refused; writing one is refused by the service, too.

use super::instance::Instance;
use super::schema::check_table_name;
use super::service_error::{Answer, ServiceError};
use super::table::Table;
use crate::model::{Index, PrimaryKeyColumn, PrimaryKeyType, ReservedThroughput, TableDefinition, ValueType};
use crate::{plainbuffer, proto};

/// Secondary indexes of one table (asserted by the Java SDK's tests, as the next).
const MAX_INDEXES: usize = 5;

/// Attribute columns of one index.
const MAX_ATTRIBUTES: usize = 32;

/// An index as a request describes it.
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn requested_index(meta: &proto::IndexMeta) -> Answer<Index> {
    check_table_name(&meta.name)?;
    Ok(Index {
        name: meta.name.clone(),
        primary_key: meta.primary_key.clone(),
        defined_columns: meta.defined_column.clone(),
        local: meta.index_type == proto::IndexType::ItLocalIndex as i32,
        synchronous: meta.index_update_mode == proto::IndexUpdateMode::IumSyncIndex as i32,
    })
}

/// CreateIndex.
///
/// # Errors
/// As the service.
pub fn create(
    instance: &Instance,
    request: &proto::CreateIndexRequest,
) -> Answer<proto::CreateIndexResponse> {
    let index = requested_index(&request.index_meta)?;
    instance.add_index(&request.main_table_name, |table| {
        if table.index_of.is_some() {
            // Own wording.
            return Err(ServiceError::parameter("An index table can not have indexes."));
        }
        let mut changed = table.definition.clone();
        changed.indexes.push(index.clone());
        check_indexes(&changed)?;
        check_options(&changed)?;
        let ready_at = table.ready_at;
        table.definition = changed;
        Ok(Table { ready_at, ..index_table(&table.definition, &index) })
    })?;
    Ok(proto::CreateIndexResponse {})
}

/// Checks the indexes of a table against its columns.
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn check_indexes(definition: &TableDefinition) -> Answer<()> {
    let refuse = |text: String| Err(ServiceError::parameter(text));
    if definition.indexes.len() > MAX_INDEXES {
        return refuse(format!("Number of index per table exceeds the quota:{MAX_INDEXES}."));
    }
    for index in &definition.indexes {
        let most = plainbuffer::MAX_KEY_COLUMNS;
        if !(1..=most).contains(&index.primary_key.len()) {
            return refuse(format!(
                "The number of primary key columns must be in range: [1, {most}] in index."
            ));
        }
        if index.defined_columns.len() > MAX_ATTRIBUTES {
            return refuse(format!(
                "The number of attribute columns must be in range: [0, {MAX_ATTRIBUTES}] in index."
            ));
        }
        for name in &index.primary_key {
            if key_column(definition, name).is_none() {
                return refuse(format!("Column does not exist:{name}."));
            }
        }
        for name in &index.defined_columns {
            if !definition.defined_columns.iter().any(|column| column.name == *name) {
                return refuse(format!("Column does not exist:{name}."));
            }
        }
        let first = |columns: &[PrimaryKeyColumn]| columns.first().map(|column| column.name.clone());
        if index.local && first(&definition.primary_key).as_ref() != index.primary_key.first() {
            // Own wording.
            return refuse(
                "The first primary key column of a local index must be that of the table.".to_owned(),
            );
        }
    }
    Ok(())
}

/// Checks the options of a table with indexes: one version, no expiry unless rows are never updated ("Secondary
/// index" in the developer guide).
///
/// # Errors
/// `OTSParameterInvalid`, in own wording.
pub fn check_options(definition: &TableDefinition) -> Answer<()> {
    let options = &definition.options;
    let expires = options.time_to_live.is_some_and(|seconds| seconds != -1);
    let is_fit = options.max_versions == Some(1) && (!expires || options.allow_update == Some(false));
    if definition.indexes.is_empty() || is_fit {
        return Ok(());
    }
    let text = "A table with secondary indexes must have max versions 1, and time to live -1 or no updates.";
    Err(ServiceError::parameter(text))
}

/// A primary key or predefined column as a key column; `None` for others and for types that no key can have.
fn key_column(definition: &TableDefinition, name: &str) -> Option<PrimaryKeyColumn> {
    if let Some(column) = definition.primary_key.iter().find(|column| column.name == name) {
        return Some(PrimaryKeyColumn { auto_increment: false, ..column.clone() });
    }
    let column = definition.defined_columns.iter().find(|column| column.name == name)?;
    let column_type = match column.column_type {
        ValueType::Integer => PrimaryKeyType::Integer,
        ValueType::String => PrimaryKeyType::String,
        ValueType::Binary => PrimaryKeyType::Binary,
        ValueType::Double | ValueType::Boolean => return None,
    };
    Some(PrimaryKeyColumn { name: name.to_owned(), column_type, auto_increment: false })
}

/// The table behind an index that was checked: its key columns, then those of the table that are not among them.
pub fn index_table(main: &TableDefinition, index: &Index) -> Table {
    let rest = main.primary_key.iter().map(|column| &column.name);
    let rest = rest.filter(|name| !index.primary_key.contains(name));
    let names = index.primary_key.iter().chain(rest);
    let covered = |name: &String| main.defined_columns.iter().find(|column| column.name == *name).cloned();
    let definition = TableDefinition {
        name: index.name.clone(),
        primary_key: names.filter_map(|name| key_column(main, name)).collect(),
        defined_columns: index.defined_columns.iter().filter_map(covered).collect(),
        options: main.options.clone(),
        reserved: ReservedThroughput::default(),
        stream: None,
        indexes: Vec::new(),
        creation_time: main.creation_time,
    };
    Table { index_of: Some(main.name.clone()), ..Table::empty(definition, Vec::new()) }
}
