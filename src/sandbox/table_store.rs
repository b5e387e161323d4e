//! The local Table Store: strict, in memory, used by the unmodified official SDKs.
//!
//! Promises: requests are verified and limited as by the service, with its texts; row changes are atomic; pages,
//! capacity units and data sizes follow the documented rules. Tables are stored or [`generated`]. Secondary
//! indexes are kept as definitions, their rows are not maintained. Partitions split and merge on demand or by load, and
//! the shards of a Stream with them; the history of a Stream is kept whole, so that an oracle can tell what the table was
//! at any place in it, whatever clients are still shown. Not served: search indexes, SQL, paging inside a row (which the
//! service has not opened either); such calls are refused, never half done.

mod answer;
mod auth;
mod block;
mod bulk_import;
mod capacity;
mod change;
mod compression;
mod control;
mod description;
mod filter;
pub mod generated;
mod index;
mod instance;
mod operations;
mod oracle;
mod partitions;
mod projection;
mod range;
mod replay;
mod request_row;
mod rows;
mod schema;
mod server;
mod service_error;
mod split_points;
mod storage;
mod stored;
mod stream;
mod table;
mod tables;
mod transaction;

pub use operations::OPERATIONS;

use std::ops::{ControlFlow, Deref};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

pub use auth::Account;
pub use control::Control;
pub use generated::{GeneratedTable, KeyStyle, Shape};
pub use oracle::{ShardPosition, StreamCut};
pub use partitions::{PartitionDescription, PartitionLimits};
pub use stream::StreamSettings;

use self::instance::Instance;
use self::replay::Replay;
use self::server::Front;
use self::service_error::ServiceError;
use self::table::Table;
use super::counters::Counters;
use super::faults::Faults;
use super::http::Server;
use crate::model::{KeyRange, Row, RowHasher, RowSum};
use crate::{Error, Kind, Result};

/// A running Table Store with one instance; what tests do to its tables from inside is [`Control`]'s.
pub struct TableStore {
    server: Server,
    control: Control,
    clock_skew: Arc<AtomicI64>,
}

/// What a [`TableStore`] serves, and to whom.
pub struct TableStoreOptions<'a> {
    /// 0 takes a free port.
    pub port: u16,
    /// Who may call.
    pub account: Account,
    /// Tables to generate.
    pub tables: Vec<GeneratedTable>,
    /// How long a new table answers `OTSTableNotReady`.
    pub table_ready_after: Duration,
    /// Where tables survive; nowhere without.
    pub data_dir: Option<&'a Path>,
    /// Bytes of generated pages that are kept and sent again.
    pub replay_bytes: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// What is counted.
    pub counters: Counters,
}

/// Faults that only this service knows.
pub(super) const CUSTOM_FAULTS: [&str; 4] =
    ["repeat-next-key", "bad-row-checksum", "empty-page", "timeout-after"];

/// The operations by name.
pub(super) fn operation_names() -> &'static [&'static str] {
    &operations::OPERATIONS
}

impl TableStore {
    /// Listens on 127.0.0.1.
    ///
    /// # Errors
    /// [`Kind::Io`] when the port is taken or the directory cannot be used.
    pub async fn start(options: TableStoreOptions<'_>) -> Result<TableStore> {
        let TableStoreOptions { port, account, tables, table_ready_after, data_dir, .. } = options;
        let tables = tables.into_iter().map(Table::generated).collect();
        let mut instance = Instance::new(tables, table_ready_after, options.faults);
        if let Some(data_dir) = data_dir {
            instance = instance.stored_in(data_dir)?;
        }
        let instance = Arc::new(instance);
        let request_number = AtomicU64::new(1);
        let clock_skew = Arc::new(AtomicI64::new(0));
        let front = Front {
            account,
            instance: Arc::clone(&instance),
            replay: Replay::new(options.replay_bytes),
            counters: options.counters,
            request_number,
            clock_skew: Arc::clone(&clock_skew),
        };
        Ok(TableStore {
            server: Server::start(port, Arc::new(front)).await?,
            control: Control { instance },
            clock_skew,
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Shows every row that a client could read now, with all readable versions, in key order.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn for_each_row(&self, table: &str, mut visit: impl FnMut(&Row<'_>)) -> Result<()> {
        let now = self.control.instance.now();
        let shown = self.control.instance.inspect(table, |table| {
            let all = KeyRange::all(table.definition.primary_key.len());
            table.scan(&all, now, |row| {
                visit(row);
                ControlFlow::Continue(())
            });
            Ok(())
        });
        shown.map_err(|error: ServiceError| {
            Error::new(Kind::NotFound, "read").on(format!("sandbox table `{table}`")).because(error.message)
        })
    }

    /// Rows and row-sum of a table as a client could read it now: what a complete backup must hold.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn row_sum(&self, table: &str) -> Result<(u64, RowSum)> {
        let (mut hasher, mut rows, mut sum) = (RowHasher::default(), 0, RowSum::default());
        self.for_each_row(table, |row| {
            sum += hasher.row(row);
            rows += 1;
        })?;
        Ok((rows, sum))
    }

    /// Moves the clock that cell timestamps and TTL go by.
    pub fn advance_clock(&self, by: Duration) {
        self.control.instance.advance_clock(by);
    }

    /// What [`TableStore::advance_clock`] does, for whoever outlives the borrow.
    pub fn clock(&self) -> impl Fn(Duration) + Send + Sync + 'static {
        let instance = Arc::clone(&self.control.instance);
        move |by| instance.advance_clock(by)
    }

    /// Sets the clock that signatures go by this many seconds ahead of the real one.
    pub fn skew(&self) -> impl Fn(i64) + Send + Sync + 'static {
        let clock_skew = Arc::clone(&self.clock_skew);
        move |seconds| clock_skew.store(seconds, Ordering::Relaxed)
    }

    /// Lets requests in flight finish, then closes.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl Deref for TableStore {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}
