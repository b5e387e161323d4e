//! ListTable, DescribeTable, CreateTable, UpdateTable, DeleteTable.

use super::TableStore;
use super::call::{Operation, Target};
use super::definition::{definition, index_meta, reserved_throughput, table_meta, table_options};
use crate::model::{KeyPart, PrimaryKey, ReservedThroughput, TableDefinition, TableOptions};
use crate::plainbuffer::{decode_key, write_bare_key_value};
use crate::{Result, proto};

const LIST: Operation = Operation {
    name: "ListTable",
    doing: "list the tables of",
    idempotent: true,
    data: false,
    required: &[],
};
const DESCRIBE: Operation = Operation {
    name: "DescribeTable",
    doing: "describe",
    idempotent: true,
    data: false,
    required: &[1, 2, 3],
};
/// Not idempotent: a repeat after a lost answer finds the table that the first attempt made.
const CREATE: Operation =
    Operation { name: "CreateTable", doing: "create", idempotent: false, data: false, required: &[] };
const UPDATE: Operation =
    Operation { name: "UpdateTable", doing: "update", idempotent: false, data: false, required: &[] };
const DELETE: Operation =
    Operation { name: "DeleteTable", doing: "delete", idempotent: false, data: false, required: &[] };

/// What DescribeTable says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDescription {
    /// Everything a restore needs.
    pub definition: TableDefinition,
    /// Where the partitions of the table are cut, ascending, padded with `InfMin`. Empty for an unsplit table.
    pub partition_splits: Vec<PrimaryKey>,
}

/// What UpdateTable changes; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableUpdate {
    /// Reserved throughput.
    pub reserved: Option<ReservedThroughput>,
    /// Options; only those that are `Some` are sent.
    pub options: Option<TableOptions>,
    /// Turns the Stream on or off. Off loses its records, and on again starts a new one.
    pub stream: Option<StreamSetting>,
}

/// Whether a table has a Stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamSetting {
    /// No Stream.
    Off,
    /// A Stream.
    On {
        /// How long records are kept, at most 168 (service limit).
        expiration_hours: i32,
        /// Attribute columns whose previous values are recorded.
        columns: Vec<String>,
    },
}

impl StreamSetting {
    fn into_specification(self) -> proto::StreamSpecification {
        match self {
            StreamSetting::Off => proto::StreamSpecification { enable_stream: false, ..Default::default() },
            StreamSetting::On { expiration_hours, columns } => proto::StreamSpecification {
                enable_stream: true,
                expiration_time: Some(expiration_hours),
                columns_to_get: columns,
            },
        }
    }
}

impl TableStore {
    /// Names of the tables of the instance, those of secondary indexes included, in the service's order.
    pub async fn list_tables(&self) -> Result<Vec<String>> {
        let request = proto::ListTableRequest {};
        self.call(&LIST, Target::Instance, &request, |answer: proto::ListTableResponse, _| {
            Ok(answer.table_names)
        })
        .await
    }

    /// The definition of `table` and its partitions.
    ///
    /// # Errors
    /// `NotFound` if there is no such table. `Corrupt` if the answer contradicts itself or has a type that this
    /// version does not know.
    pub async fn describe_table(&self, table: &str) -> Result<TableDescription> {
        let request = proto::DescribeTableRequest { table_name: table.to_owned() };
        self.call(&DESCRIBE, Target::Table(table), &request, |answer: proto::DescribeTableResponse, _| {
            let definition = definition(&answer)?;
            if definition.name != table {
                return Err("it describes another table".into());
            }
            let columns = definition.primary_key.len();
            let partition_splits = answer
                .shard_splits
                .iter()
                .map(|split| Ok(decode_key(split)?.padded(columns)))
                .collect::<Result<Vec<_>, crate::plainbuffer::DecodeError>>()?;
            Ok(TableDescription { definition, partition_splits })
        })
        .await
    }

    /// Creates the table, with its Stream if the definition has one, and its indexes.
    ///
    /// `partition_splits` are values of the first primary key column, ascending: n values make n + 1 partitions, at
    /// most 10 (service limit). Empty starts with one partition. The table may take some seconds to be ready; reads
    /// wait for it.
    ///
    /// # Errors
    /// `AlreadyExists`. After `Unavailable` the table may exist: describe it.
    pub async fn create_table(
        &self,
        definition: &TableDefinition,
        partition_splits: &[KeyPart],
    ) -> Result<()> {
        let stream = definition.stream.as_ref().map(|stream| StreamSetting::On {
            expiration_hours: stream.expiration_hours,
            columns: stream.columns.clone(),
        });
        let request = proto::CreateTableRequest {
            table_meta: table_meta(definition),
            reserved_throughput: reserved_throughput(definition.reserved),
            table_options: Some(table_options(&definition.options)),
            partitions: partitions(partition_splits),
            stream_spec: stream.map(StreamSetting::into_specification),
            index_metas: definition.indexes.iter().map(index_meta).collect(),
            ..Default::default()
        };
        self.call(&CREATE, Target::Table(&definition.name), &request, |_: proto::CreateTableResponse, _| {
            Ok(())
        })
        .await
    }

    /// Changes throughput, options or the Stream of `table`.
    ///
    /// Safe to repeat unless it sets the Stream, and repeated accordingly.
    pub async fn update_table(&self, table: &str, update: TableUpdate) -> Result<()> {
        let operation = Operation { idempotent: update.stream.is_none(), ..UPDATE };
        let request = proto::UpdateTableRequest {
            table_name: table.to_owned(),
            reserved_throughput: update.reserved.map(reserved_throughput),
            table_options: update.options.as_ref().map(table_options),
            stream_spec: update.stream.map(StreamSetting::into_specification),
        };
        self.call(&operation, Target::Table(table), &request, |_: proto::UpdateTableResponse, _| Ok(())).await
    }

    /// Deletes `table` and everything in it.
    ///
    /// # Errors
    /// `NotFound` if there is no such table. After `Unavailable` it may be gone.
    pub async fn delete_table(&self, table: &str) -> Result<()> {
        let request = proto::DeleteTableRequest { table_name: table.to_owned() };
        self.call(&DELETE, Target::Table(table), &request, |_: proto::DeleteTableResponse, _| Ok(())).await
    }
}

/// `[-inf, p0), [p0, p1), … [pn, +inf)` over the first primary key column, as bare values.
fn partitions(splits: &[KeyPart]) -> Vec<proto::PartitionRange> {
    if splits.is_empty() {
        return Vec::new();
    }
    let bare = |part: &KeyPart| {
        let mut out = Vec::new();
        write_bare_key_value(&mut out, part.as_value());
        bytes::Bytes::from(out)
    };
    let bounds: Vec<_> =
        [&KeyPart::InfMin].into_iter().chain(splits).chain([&KeyPart::InfMax]).map(bare).collect();
    let ranges = bounds.iter().zip(bounds.iter().skip(1));
    ranges.map(|(begin, end)| proto::PartitionRange { begin: begin.clone(), end: end.clone() }).collect()
}
