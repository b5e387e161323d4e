//! The admin endpoint, for tests: figures, faults, clocks, partitions and Streams of a running sandbox. No SDK calls it; it asks for no key
//! and listens on loopback only.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /figures` | requests, errors, bytes, capacity units, calls in flight and their peak by operation; open uploads |
//! | `POST /figures/reset` | starts the figures again from zero |
//! | `GET /faults` | the rules, each with how many calls it hit |
//! | `POST /faults` | adds rules: one line as text, or the JSON of a faults file |
//! | `PUT /faults` | the same in place of the rules that are there |
//! | `DELETE /faults` | removes all rules |
//! | `POST /clock` | `{"advance_seconds": 3600}` moves what cell timestamps and TTL go by, `{"skew_seconds": -1200}` what signatures go by |
//! | `GET /tables/T/partitions` | the partitions of the table T in key order: first key, rows, the Stream's open shard |
//! | `POST /tables/T/partitions` | `{"split": [{"string": "m"}]}` splits the partition that holds a key, `{"merge": [0, 1]}` merges two neighbours |
//! | `POST /tables/T/stream` | `{"trim": {"shard_id": "…", "records": 5}}` takes a shard's first records away from clients |
//!
//! Every answer is JSON; a request that makes no sense gets 400 and `{"error": "…"}`, one for a table that is not there 404.
//! Keys are written as in a manifest: `{"integer": 1}`, `{"string": "x"}`, `{"binary": "00ff"}`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::counters::Counters;
use super::faults::{Faults, Rule, parse_rules};
use super::oss::OssServer;
use super::table_store::{Control, PartitionDescription, TableStore};
use crate::error::Context as _;
use crate::model::PrimaryKey;
use crate::{Kind, Result};

/// A running admin endpoint; dropping it closes it.
pub(super) struct Admin {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

/// What the endpoint can reach.
struct Reach {
    faults: Faults,
    counters: Counters,
    tables: Control,
    advance: Box<dyn Fn(Duration) + Send + Sync>,
    skew: Box<dyn Fn(i64) + Send + Sync>,
}

impl Admin {
    /// Listens on a free port of 127.0.0.1.
    pub(super) async fn start(
        faults: &Faults,
        counters: &Counters,
        table_store: &TableStore,
        oss: &OssServer,
    ) -> Result<Admin> {
        let (skew_table_store, skew_oss) = (table_store.skew(), oss.skew());
        let reach = Reach {
            faults: faults.clone(),
            counters: counters.clone(),
            tables: Control::clone(table_store),
            advance: Box::new(table_store.clock()),
            skew: Box::new(move |seconds| {
                skew_table_store(seconds);
                skew_oss(seconds);
            }),
        };
        let router = Router::new()
            .route("/figures", get(figures))
            .route("/figures/reset", post(reset))
            .route("/faults", get(show_faults).post(add_faults).put(replace_faults).delete(clear_faults))
            .route("/clock", post(clock))
            .route("/tables/{table}/partitions", get(show_partitions).post(change_partitions))
            .route("/tables/{table}/stream", post(change_stream))
            .fallback(async || {
                refused(StatusCode::NOT_FOUND, "there is nothing here; see `otsvault sandbox --help`")
            })
            .with_state(Arc::new(reach));
        let doing = "listen for the admin endpoint";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.doing(Kind::Io, doing)?;
        let address = listener.local_addr().doing(Kind::Io, doing)?;
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the admin endpoint failed");
            }
        });
        Ok(Admin { address, serving })
    }

    /// `http://127.0.0.1:PORT`.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Shared = State<Arc<Reach>>;

async fn figures(State(reach): Shared) -> Response {
    match serde_json::to_value(reach.counters.snapshot()) {
        Ok(figures) => answered(figures),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

async fn reset(State(reach): Shared) -> Response {
    reach.counters.reset();
    answered(json!({}))
}

async fn show_faults(State(reach): Shared) -> Response {
    let rules = reach.faults.rules().into_iter().zip(reach.faults.hits());
    answered(rules.map(|(rule, hits)| json!({"rule": rule, "hits": hits})).collect())
}

async fn add_faults(State(reach): Shared, body: String) -> Response {
    match rules(&body) {
        Ok(rules) => added(&reach, rules),
        Err(why) => refused(StatusCode::BAD_REQUEST, why),
    }
}

async fn replace_faults(State(reach): Shared, body: String) -> Response {
    match rules(&body) {
        Ok(rules) => {
            reach.faults.clear();
            added(&reach, rules)
        }
        Err(why) => refused(StatusCode::BAD_REQUEST, why),
    }
}

async fn clear_faults(State(reach): Shared) -> Response {
    reach.faults.clear();
    answered(json!({}))
}

/// One line of text, or JSON.
fn rules(body: &str) -> Result<Vec<Rule>, String> {
    let body = body.trim();
    match body.starts_with(['[', '{', '"']) {
        true => parse_rules(body),
        false => body.parse().map(|rule| vec![rule]),
    }
}

fn added(reach: &Reach, rules: Vec<Rule>) -> Response {
    let count = rules.len();
    rules.into_iter().for_each(|rule| reach.faults.add(rule));
    answered(json!({"added": count}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    advance_seconds: Option<u64>,
    skew_seconds: Option<i64>,
}

async fn clock(State(reach): Shared, body: String) -> Response {
    let Move { advance_seconds, skew_seconds } = match serde_json::from_str(&body) {
        Ok(wanted) => wanted,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error),
    };
    if let Some(seconds) = advance_seconds {
        (reach.advance)(Duration::from_secs(seconds));
    }
    if let Some(seconds) = skew_seconds {
        (reach.skew)(seconds);
    }
    answered(json!({}))
}

async fn show_partitions(State(reach): Shared, Path(table): Path<String>) -> Response {
    done(reach.tables.partitions(&table).map(|partitions| {
        let show = |partition: PartitionDescription| {
            json!({"start": partition.start, "rows": partition.rows, "shard_id": partition.shard_id})
        };
        partitions.into_iter().map(show).collect()
    }))
}

/// Partitions are counted from 0 in key order.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PartitionChange {
    Split(PrimaryKey),
    Merge(usize, usize),
}

async fn change_partitions(State(reach): Shared, Path(table): Path<String>, body: String) -> Response {
    let changed = match serde_json::from_str(&body) {
        Ok(PartitionChange::Split(at)) => reach.tables.split_partition(&table, &at),
        Ok(PartitionChange::Merge(a, b)) => reach.tables.merge_partitions(&table, a, b),
        Err(error) => return refused(StatusCode::BAD_REQUEST, error),
    };
    done(changed.map(|()| json!({})))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StreamChange {
    Trim { shard_id: String, records: u64 },
}

async fn change_stream(State(reach): Shared, Path(table): Path<String>, body: String) -> Response {
    let changed = match serde_json::from_str(&body) {
        Ok(StreamChange::Trim { shard_id, records }) => reach.tables.trim_stream(&table, &shard_id, records),
        Err(error) => return refused(StatusCode::BAD_REQUEST, error),
    };
    done(changed.map(|()| json!({})))
}

fn done(outcome: Result<Value>) -> Response {
    match outcome {
        Ok(value) => answered(value),
        Err(error) if error.kind() == Kind::NotFound => refused(StatusCode::NOT_FOUND, error.report()),
        Err(error) => refused(StatusCode::BAD_REQUEST, error.report()),
    }
}

fn answered(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refused(status: StatusCode, why: impl ToString) -> Response {
    let body = json!({"error": why.to_string()}).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
