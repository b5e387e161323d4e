//! The admin endpoint, for tests: figures, faults and clocks of a running sandbox. No SDK calls it; it asks for no key
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
//!
//! Every answer is JSON; a request that makes no sense gets 400 and `{"error": "…"}`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
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
use super::table_store::TableStore;
use crate::error::Context as _;
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

fn answered(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refused(status: StatusCode, why: impl ToString) -> Response {
    let body = json!({"error": why.to_string()}).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
