//! A backed-up table and restores of it.

use std::sync::Arc;

use otsvault::Result;
use otsvault::model::{
    Cell, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, Row, TableDefinition, TableOptions, Value,
};
use otsvault::restore::{Job, RestoreOptions, RestoreProgress, Restored, Runtime, restore, retry_rejects};
use otsvault::runtime::{CpuPool, Shutdown};
use otsvault::sandbox::faults::Service;

use crate::stage::{On, Stage};

/// Everything that changes a table.
const WRITES: [&str; 8] = [
    "CreateTable",
    "UpdateTable",
    "DeleteTable",
    "CreateIndex",
    "BatchWriteRow",
    "PutRow",
    "UpdateRow",
    "DeleteRow",
];

pub struct Play {
    pub stage: Stage,
}

pub fn runtime() -> Runtime {
    Runtime {
        cpu: CpuPool::new(2).unwrap(),
        progress: Arc::new(RestoreProgress::default()),
        shutdown: Shutdown::default(),
    }
}

impl Play {
    /// A generated table, such as `t=iot:rows=1000,seed=1`, backed up.
    pub async fn of(on: On, table: &str) -> Play {
        let play = Play { stage: Stage::with(on, &[table]).await };
        play.back_up("t").await;
        play
    }

    /// A sandbox without tables.
    pub async fn empty(on: On) -> Play {
        Play { stage: Stage::with(on, &[]).await }
    }

    /// Backs a table up into many small files.
    pub async fn back_up(&self, table: &str) {
        self.stage.back_up(table, &Stage::options()).await.unwrap();
    }

    pub fn options() -> RestoreOptions {
        RestoreOptions { memory_bytes: 64 << 20, ..RestoreOptions::default() }
    }

    pub async fn job(&self, table: &str, target: &str) -> Job {
        let table = self.stage.vault().await.table("sandbox", table).unwrap();
        Job { table, target: target.to_owned(), state: None }
    }

    pub async fn restore(&self, table: &str, target: &str, options: &RestoreOptions) -> Result<Restored> {
        let (vault, job) = (self.stage.vault().await, self.job(table, target).await);
        restore(&self.stage.client(), &vault, &job, options, &runtime()).await
    }

    pub async fn retry(&self, table: &str, target: &str, options: &RestoreOptions) -> Result<Restored> {
        let (vault, job) = (self.stage.vault().await, self.job(table, target).await);
        retry_rejects(&self.stage.client(), &vault, &job, options, &runtime()).await
    }

    /// Requests so far that change a table.
    pub fn writes(&self) -> u64 {
        WRITES.iter().map(|operation| self.stage.requests(operation)).sum()
    }

    /// Rows written in batches so far, where each is worth one capacity unit.
    pub fn rows_written(&self) -> u64 {
        self.stage
            .sandbox
            .counters()
            .snapshot()
            .operation(Service::TableStore, "BatchWriteRow")
            .capacity_units
    }

    /// The rows of a table as text, one line per cell; every bit of a value shows.
    pub fn rows(&self, table: &str) -> Vec<String> {
        let mut lines = Vec::new();
        self.stage
            .sandbox
            .table_rows(table, |row| {
                lines.push(format!("{:?}", row.key));
                for cell in &row.cells {
                    let value = match cell.value {
                        Some(Value::Double(value)) => format!("Double({:016x})", value.to_bits()),
                        value => format!("{value:?}"),
                    };
                    lines.push(format!("  {} @{:?} {value}", cell.name, cell.timestamp));
                }
            })
            .unwrap();
        lines
    }

    /// Cell by cell, timestamps and versions included.
    pub fn assert_same(&self, one: &str, other: &str) {
        let (expected, found) = (self.rows(one), self.rows(other));
        let differs = expected.iter().zip(&found).position(|(a, b)| a != b);
        if let Some(at) = differs {
            panic!("`{one}` has {}, `{other}` has {}", expected[at], found[at]);
        }
        assert_eq!(expected.len(), found.len(), "lines of `{one}` and of `{other}`");
        assert_eq!(self.stage.table_sum(one), self.stage.table_sum(other));
    }

    pub async fn definition(&self, table: &str) -> TableDefinition {
        self.stage.client().describe_table(table).await.unwrap().definition
    }

    /// Creates a table with these key columns and puts rows into it.
    pub async fn make(&self, definition: &TableDefinition, rows: &[Row<'_>]) {
        let client = self.stage.client();
        client.create_table(definition, &[]).await.unwrap();
        for row in rows {
            client.put_row(&definition.name, row).await.unwrap();
        }
    }
}

/// A table with one INTEGER key `id` that takes cells of any time.
pub fn own_table(name: &str, max_versions: i32) -> TableDefinition {
    TableDefinition {
        name: name.into(),
        primary_key: vec![PrimaryKeyColumn {
            name: "id".into(),
            column_type: PrimaryKeyType::Integer,
            auto_increment: false,
        }],
        defined_columns: vec![],
        options: TableOptions {
            time_to_live: Some(-1),
            max_versions: Some(max_versions),
            deviation_seconds: Some(9_000_000_000),
            allow_update: Some(true),
            ..TableOptions::default()
        },
        reserved: Default::default(),
        stream: None,
        indexes: vec![],
        creation_time: None,
    }
}

pub fn row<'a>(id: i64, cells: &[(&'a str, Value<'a>, i64)]) -> Row<'a> {
    Row {
        key: vec![("id", PrimaryKeyValue::Integer(id))],
        cells: cells.iter().map(|(name, value, at)| Cell::put(name, *value, Some(*at))).collect(),
        ..Row::default()
    }
}
