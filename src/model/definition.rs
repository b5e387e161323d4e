//! What a table is: keys, predefined columns, options, Stream, indexes.

use serde::{Deserialize, Serialize};

/// Type of a primary key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrimaryKeyType {
    /// INTEGER.
    Integer,
    /// STRING.
    String,
    /// BINARY.
    Binary,
}

/// One of the 1 to 4 primary key columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryKeyColumn {
    /// Column name.
    pub name: String,
    /// Column type.
    #[serde(rename = "type")]
    pub column_type: PrimaryKeyType,
    /// The service assigns the values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_increment: bool,
}

/// A predefined attribute column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinedColumn {
    /// Column name.
    pub name: String,
    /// Column type.
    #[serde(rename = "type")]
    pub column_type: super::ValueType,
}

/// Table options. `None` where the service did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableOptions {
    /// Seconds that a cell lives; -1 = for ever.
    pub time_to_live: Option<i32>,
    /// Versions kept per column.
    pub max_versions: Option<i32>,
    /// How far a written cell timestamp may be from the service's clock, in seconds.
    pub deviation_seconds: Option<i64>,
    /// Whether UpdateRow is allowed.
    pub allow_update: Option<bool>,
    /// Whether an update must give the full row; fixed at creation.
    pub update_full_row: Option<bool>,
}

/// Reserved throughput in capacity units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedThroughput {
    /// Read capacity units.
    pub read: i32,
    /// Write capacity units.
    pub write: i32,
}

/// The table's Stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Opaque id; a new one each time the Stream is enabled.
    pub stream_id: String,
    /// Retention in hours.
    pub expiration_hours: i32,
    /// When it was enabled, in microseconds.
    pub last_enable_time_us: i64,
    /// Attribute columns whose previous values are recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// A secondary index, kept as metadata: its rows are derived and are not backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Index table name.
    pub name: String,
    /// Primary key columns of the index.
    pub primary_key: Vec<String>,
    /// Covered predefined columns.
    pub defined_columns: Vec<String>,
    /// `true` for a local index, `false` for a global one.
    pub local: bool,
    /// `true` when updated synchronously.
    pub synchronous: bool,
}

/// Everything DescribeTable says that a restore needs to build the same table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDefinition {
    /// Table name.
    pub name: String,
    /// 1 to 4 columns, in key order.
    pub primary_key: Vec<PrimaryKeyColumn>,
    /// At most 32 (service limit).
    pub defined_columns: Vec<DefinedColumn>,
    /// Options at the time of the description.
    pub options: TableOptions,
    /// Reserved throughput at the time of the description.
    pub reserved: ReservedThroughput,
    /// The Stream if one is enabled.
    pub stream: Option<Stream>,
    /// Secondary indexes.
    pub indexes: Vec<Index>,
    /// When the table was created, as the service gives it; absent from older endpoints. A re-created table differs.
    pub creation_time: Option<i64>,
}
