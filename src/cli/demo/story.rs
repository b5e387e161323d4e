//! The demo's second story: a table that is written to all the time, a delta, and restores to before and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use crate::backup::{self, BackupOptions, backup};
use crate::catalog::{Moment, RunId, ShardPlace, StreamSpan, Vault};
use crate::cli::size;
use crate::delta::{self, DeltaOptions, delta};
use crate::model::{
    Cell, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, ReservedThroughput, Row, RowSum, Stream,
    TableDefinition, TableOptions, Value,
};
use crate::restore::{self, Job, RestoreOptions};
use crate::runtime::{CpuPool, Progress, Shutdown};
use crate::sandbox::Sandbox;
use crate::sandbox::table_store::StreamCut;
use crate::tablestore::{RowChange, TableStore};
use crate::{Error, Kind, Result};

const TABLE: &str = "orders";

/// Orders at the beginning; every tenth is deleted later, every fifth paid.
const ORDERS: i64 = 3_000;

/// Writes at the same time.
const WRITES_IN_FLIGHT: usize = 8;

/// What happened.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    table: &'static str,
    /// Writes that the table took while it was copied.
    writes_meanwhile: u64,
    backup_seconds: f64,
    /// Stream records that the base holds, and the delta.
    base_records: u64,
    delta_records: u64,
    delta_seconds: f64,
    before: Restored,
    after: Restored,
}

/// The table at a moment: of the restored table and by the sandbox's own history, both equal.
#[derive(Debug, Serialize)]
struct Restored {
    rows: u64,
    row_sum: RowSum,
}

/// Where the story plays.
pub(super) struct Scene<'a> {
    pub sandbox: &'a Sandbox,
    pub client: &'a TableStore,
    pub vault: &'a Vault,
    pub cpu: &'a CpuPool,
    pub shutdown: &'a Shutdown,
}

pub(super) async fn tell(scene: &Scene<'_>) -> Result<Story> {
    scene.client.create_table(&definition(), &[]).await?;
    scene.write((0..ORDERS).map(|id| order(id, "new"))).await?;

    let began = Instant::now();
    let (base, writes_meanwhile) = scene.back_up_under_writes().await?;
    let backup_seconds = began.elapsed().as_secs_f64();
    let zero = base.manifest.delta.as_ref();
    let zero =
        zero.ok_or_else(|| Error::new(Kind::Internal, "tell the story").because("the base is fuzzy"))?;
    let before = scene.oracle(&zero.stream)?;

    scene.write((0..ORDERS).step_by(5).map(|id| pay(id, 0))).await?;
    scene.write((0..ORDERS).step_by(10).map(cancel)).await?;
    let began = Instant::now();
    let runtime = delta::Runtime { cpu: scene.cpu.clone(), shutdown: scene.shutdown.clone() };
    let appended = delta(scene.client, TABLE, scene.vault, &DeltaOptions::default(), &runtime).await?;
    let delta_seconds = began.elapsed().as_secs_f64();

    Ok(Story {
        table: TABLE,
        writes_meanwhile,
        backup_seconds,
        base_records: zero.totals.records,
        delta_records: appended.manifest.delta.totals.records,
        delta_seconds,
        before: scene.restore(&base.path.run, "before", before).await?,
        after: scene.restore(&appended.path.run, "after", scene.sandbox.row_sum(TABLE)?).await?,
    })
}

impl Scene<'_> {
    async fn write(&self, changes: impl Iterator<Item = RowChange>) -> Result<()> {
        futures::stream::iter(changes)
            .map(|change| async move { self.client.write_row(TABLE, &change).await.map(drop) })
            .buffer_unordered(WRITES_IN_FLIGHT)
            .try_collect()
            .await
    }

    /// Copies the table while orders are paid all the time.
    async fn back_up_under_writes(&self) -> Result<(backup::Backup, u64)> {
        let runtime = backup::Runtime {
            cpu: self.cpu.clone(),
            progress: Arc::new(Progress::default()),
            shutdown: self.shutdown.clone(),
        };
        // The sandbox shows records at once.
        let options = BackupOptions { stream_settle: Duration::ZERO, ..BackupOptions::default() };
        let written = AtomicU64::new(0);
        let writes = async {
            for round in 1.. {
                for id in (0..ORDERS).step_by(7) {
                    self.client.write_row(TABLE, &pay(id, round)).await?;
                    written.fetch_add(1, Relaxed);
                }
            }
            Ok(())
        };
        let copied = tokio::select! {
            copied = backup(self.client, TABLE, self.vault, &options, &runtime) => copied?,
            failed = writes => return Err(failed.err().unwrap_or_else(|| Error::new(Kind::Internal, "write"))),
        };
        Ok((copied, written.load(Relaxed)))
    }

    /// What the sandbox's own history says of the moment at which a span ends.
    fn oracle(&self, span: &StreamSpan) -> Result<(u64, RowSum)> {
        let begun = span.to.iter().filter(|shard| shard.place != ShardPlace::Waiting);
        let cut = StreamCut {
            stream_id: span.identity.stream_id.clone(),
            records: begun.map(|shard| (shard.shard_id.clone(), shard.ordinal)).collect(),
        };
        self.sandbox.table_store().image_sum(TABLE, &cut, None)
    }

    /// Restores to the end of a run, and expects the table of then.
    async fn restore(&self, run: &RunId, name: &str, expected: (u64, RowSum)) -> Result<Restored> {
        let target = format!("{TABLE}_{name}");
        let table = self.vault.table(self.client.instance(), TABLE)?;
        let job = Job { table, target: target.clone(), state: None };
        let options = RestoreOptions { to: Moment::Run(run.clone()), ..RestoreOptions::default() };
        let runtime = restore::Runtime {
            cpu: self.cpu.clone(),
            progress: Arc::default(),
            shutdown: self.shutdown.clone(),
        };
        let restored = restore::restore(self.client, self.vault, &job, &options, &runtime).await?;
        if let Some(error) = restored.left_out() {
            return Err(error);
        }
        let found = self.sandbox.row_sum(&target)?;
        match found == expected {
            true => Ok(Restored { rows: found.0, row_sum: found.1 }),
            false => Err(Error::new(Kind::Verification, "prove the restore")
                .on(format!("into `{target}`"))
                .because(format!(
                    "it has {} rows, row-sum {}; the table had {}, {}",
                    found.0, found.1, expected.0, expected.1
                ))),
        }
    }
}

impl Story {
    pub(super) fn text(&self) -> String {
        let Story { before, after, .. } = self;
        format!(
            "\n`{}`: {} orders, paid all the time, with a Stream\n  backed up   {:.1} s, during which the table took {} writes; exact: rows and {} \
             belong together\n  changed     orders paid and cancelled\n  delta       {:.1} s, {} appended\n  before      restored to the end of \
             the backup: {} rows, row-sum {}, as the table was\n  after       restored to the end of the delta: {} rows, row-sum {}, as it is",
            self.table,
            size::grouped(ORDERS as u64),
            self.backup_seconds,
            size::grouped(self.writes_meanwhile),
            size::counted(self.base_records, "Stream record"),
            self.delta_seconds,
            size::counted(self.delta_records, "record"),
            size::grouped(before.rows),
            before.row_sum,
            size::grouped(after.rows),
            after.row_sum,
        )
    }
}

fn definition() -> TableDefinition {
    TableDefinition {
        name: TABLE.to_owned(),
        primary_key: vec![PrimaryKeyColumn {
            name: "id".to_owned(),
            column_type: PrimaryKeyType::Integer,
            auto_increment: false,
        }],
        defined_columns: Vec::new(),
        options: TableOptions {
            time_to_live: Some(-1),
            max_versions: Some(1),
            deviation_seconds: Some(86_400),
            allow_update: Some(true),
            update_full_row: None,
        },
        reserved: ReservedThroughput::default(),
        stream: Some(Stream {
            stream_id: String::new(),
            expiration_hours: 24,
            last_enable_time_us: 0,
            columns: Vec::new(),
        }),
        indexes: Vec::new(),
        creation_time: None,
    }
}

fn key(id: i64) -> Vec<(&'static str, PrimaryKeyValue<'static>)> {
    vec![("id", PrimaryKeyValue::Integer(id))]
}

fn order(id: i64, status: &'static str) -> RowChange {
    let cells = vec![
        Cell::put("amount", Value::Integer(id * 3), None),
        Cell::put("status", Value::String(status), None),
    ];
    RowChange::put(&Row { key: key(id), cells, ..Row::default() })
}

fn pay(id: i64, round: i64) -> RowChange {
    let cells = vec![
        Cell::put("paid", Value::Integer(round), None),
        Cell::put("status", Value::String("paid"), None),
    ];
    RowChange::update(&Row { key: key(id), cells, ..Row::default() })
}

fn cancel(id: i64) -> RowChange {
    RowChange::delete(&Row { key: key(id), ..Row::default() })
}
