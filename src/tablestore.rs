//! The Table Store client: signed protobuf requests over HTTP, one method per operation.
//!
//! What every method promises: the request is repeated by the one table in [`crate::error::retry`] until its budget is
//! used up; an error names the operation and the table and carries the service's code and request id; an answer
//! that is cut off, lacks a required field or is no answer of Table Store is an error, never an empty result.
//! Requests that move rows or records share one limit on how many are in flight, which follows what the service can do,
//! and ceilings on capacity units and bytes per second; see [`TableStoreConfig`].
//! Rows are handed out as the bytes that arrived: decoding them is [`crate::plainbuffer`]'s work, on another thread.

mod answer_reader;
mod batch_get;
mod batch_write;
mod body_buffers;
mod bulk_export;
mod call;
mod carrier;
mod ceilings;
mod config;
mod counters;
mod definition;
mod failure;
mod get_range;
mod indexes;
mod md5_lanes;
mod plain_http;
mod range_pages;
mod row_batch;
mod row_change;
mod signing;
mod single_row;
mod split_points;
mod stream_records;
mod streams;
mod tables;
mod transport;
mod write_batch;

use std::sync::Arc;

pub use batch_get::{RowsRead, RowsRequest};
pub use batch_write::{BatchResults, RowsWritten};
pub use bulk_export::ExportRequest;
pub use ceilings::Ceilings;
pub use config::{Priority, Signature, TableStoreConfig};
pub use counters::Counters;
pub use get_range::{Direction, Page, RangeRequest, TimeRange};
pub use md5_lanes::md5_of_each;
pub use range_pages::RangePages;
pub use row_change::{Existence, RowChange};
pub use single_row::{EncodedRow, RowRequest, RowWritten};
pub use split_points::SplitPoints;
pub use stream_records::{EncodedRecord, RecordPage, ShardPosition, ShardStart};
pub use streams::{Shard, StreamDescription, StreamSummary};
pub use tables::{StreamSetting, TableDescription, TableUpdate};
pub use write_batch::{BatchFiller, BatchTarget, MAX_BATCH_BODY, MAX_BATCH_DATA, MAX_BATCH_ROWS, WriteBatch};

use crate::Result;
use crate::runtime::Concurrency;

/// A connection pool to one instance. Cheap to clone; the clones share the pool and the counters.
#[derive(Clone)]
pub struct TableStore(Arc<Inner>);

struct Inner {
    transport: transport::Transport,
    endpoint: String,
    instance: String,
    retry_budget: std::time::Duration,
    concurrency: Concurrency,
    ceilings: ceilings::SharedCeilings,
    counters: counters::SharedCounters,
}

impl TableStore {
    /// Checks the configuration; connects to nothing yet.
    ///
    /// # Errors
    /// `Usage` for an endpoint that is not an `http` or `https` URL of a host alone, `Permission` for an access key
    /// with characters that no header can carry.
    pub fn new(config: TableStoreConfig) -> Result<TableStore> {
        Ok(TableStore(Arc::new(Inner {
            endpoint: config.endpoint.clone(),
            instance: config.instance.clone(),
            retry_budget: config.retry_budget,
            concurrency: Concurrency::new(config.concurrency),
            ceilings: ceilings::SharedCeilings::new(config.ceilings),
            transport: transport::Transport::new(config)?,
            counters: counters::SharedCounters::default(),
        })))
    }

    /// A client that sends nothing: every request gets `body` as the body of a success, and is not repeated. For fuzz
    /// targets and for tests in virtual time.
    #[doc(hidden)]
    pub fn answered_by(config: TableStoreConfig, body: bytes::Bytes) -> TableStore {
        TableStore(Arc::new(Inner {
            endpoint: config.endpoint.clone(),
            instance: config.instance.clone(),
            retry_budget: std::time::Duration::ZERO,
            concurrency: Concurrency::new(config.concurrency),
            ceilings: ceilings::SharedCeilings::new(config.ceilings),
            transport: transport::Transport::answering(config, body),
            counters: counters::SharedCounters::default(),
        }))
    }

    /// The instance that every request names.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// The endpoint that requests go to, as it was configured.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The limit on data requests in flight that this client and its clones share.
    pub fn concurrency(&self) -> &Concurrency {
        &self.0.concurrency
    }

    /// What this client and its clones have done so far.
    pub fn counters(&self) -> Counters {
        self.0.counters.read()
    }
}

impl std::fmt::Debug for TableStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableStore").field("instance", &self.0.instance).finish_non_exhaustive()
    }
}
