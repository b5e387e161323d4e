//! The adaptive limit on requests in flight against fixed ones: small pages from the sandbox under added latency, with and
//! without a limit per second that the client is not told, and what a burst of refusals does.
//!
//! Client and sandbox share the process and its cores. Options through the environment: `SECONDS` (4) measured per
//! setting, `WARM_UP` (6) seconds before the adaptive one is measured, `FIXED` (1,2,4,8,16,32,64), `HIDDEN` (150) requests
//! per second.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use otsvault::credentials::Credentials;
use otsvault::model::KeyRange;
use otsvault::runtime::ConcurrencyLimit;
use otsvault::sandbox::faults::{Action, Rule, Service, When};
use otsvault::sandbox::{Sandbox, SandboxOptions};
use otsvault::tablestore::{RangeRequest, TableStore, TableStoreConfig};
use tokio::task::JoinSet;

/// Callers that always want a page.
const CALLERS: usize = 128;
const ADAPTIVE: ConcurrencyLimit = ConcurrencyLimit::Adaptive { floor: 1, ceiling: 256 };

#[tokio::main]
async fn main() {
    // Without `--bench` somebody only wants to know that it runs.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (seconds, warm_up, fixed) =
        if is_bench { ("4", "6", "1,2,4,8,16,32,64") } else { ("0.1", "0.1", "4") };
    let measured = Duration::from_secs_f64(number(&option("SECONDS", seconds)));
    let warm_up = Duration::from_secs_f64(number(&option("WARM_UP", warm_up)));
    let fixed: Vec<u32> = option("FIXED", fixed).split(',').map(|text| number(text) as u32).collect();
    let hidden = number(&option("HIDDEN", "150")) as u32;

    println!(
        "| latency | hidden limit | best fixed | its pages/s | adaptive pages/s | of best | limit reached | refused/s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for latency in [5, 20, 50] {
        for hidden in [None, Some(hidden)] {
            let service = Stage::start(latency, hidden).await;
            let mut best = (0, 0.0);
            for setting in &fixed {
                let load = service.load(ConcurrencyLimit::Fixed(*setting));
                tokio::time::sleep(measured / 4).await;
                let rate = load.rate(measured).await.pages;
                if rate > best.1 {
                    best = (*setting, rate);
                }
            }
            let load = service.load(ADAPTIVE);
            tokio::time::sleep(warm_up).await;
            let rate = load.rate(measured).await;
            println!(
                "| {latency} ms | {} | {} | {:.0} | {:.0} | {:.2} | {} | {:.1} |",
                hidden.map_or("none".to_owned(), |hidden| format!("{hidden}/s")),
                best.0,
                best.1,
                rate.pages,
                rate.pages / best.1,
                load.client.concurrency().limit(),
                rate.refused,
            );
        }
    }

    println!("\n| moment | limit | in flight |");
    println!("|---|---|---|");
    let service = Stage::start(20, None).await;
    let load = service.load(ConcurrencyLimit::Adaptive { floor: 1, ceiling: 32 });
    let show = |moment: &str| {
        let concurrency = load.client.concurrency();
        println!("| {moment} | {} | {} |", concurrency.limit(), concurrency.in_flight());
    };
    let reaches = load.client.concurrency().reaches(28);
    let _ = tokio::time::timeout(warm_up * 5, reaches).await;
    show("before");
    let busy = Action::error(503, "OTSServerBusy", "Server is busy.");
    service.sandbox.faults().clear();
    service.sandbox.faults().add(Rule::new(busy).on(Service::TableStore, "GetRange"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    show("0.1 s into refusing everything");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    show("1.6 s into it");
    service.sandbox.faults().clear();
    service.slow_down(20);
    let began = Instant::now();
    let _ = tokio::time::timeout(warm_up * 20, load.client.concurrency().reaches(28)).await;
    show(&format!("{:.1} s after it ended", began.elapsed().as_secs_f64()));
}

struct Stage {
    sandbox: Sandbox,
    request: RangeRequest,
}

/// Callers at work; they stop when this is dropped.
struct Load {
    client: TableStore,
    pages: Arc<AtomicU64>,
    _callers: JoinSet<()>,
}

/// Per second.
struct Rate {
    pages: f64,
    refused: f64,
}

impl Stage {
    async fn start(latency_ms: u64, hidden: Option<u32>) -> Stage {
        let tables = vec!["t=iot:rows=1000,seed=7".parse().expect("a table")];
        let options = SandboxOptions { tables, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        let client = TableStore::new(config(&sandbox, ADAPTIVE)).expect("a client");
        let description = client.describe_table("t").await.expect("a description");
        let key_names: Vec<_> =
            description.definition.primary_key.into_iter().map(|column| column.name).collect();
        let range = KeyRange::all(key_names.len());
        let request = RangeRequest { limit: Some(5), ..RangeRequest::everything("t", key_names, range) };
        let stage = Stage { sandbox, request };
        if let Some(hidden) = hidden {
            let busy = Action::error(503, "OTSServerBusy", "Server is busy.");
            let rule = Rule::new(busy).on(Service::TableStore, "GetRange").key("t");
            stage.sandbox.faults().add(rule.when(When::AbovePerSecond(hidden)));
        }
        stage.slow_down(latency_ms);
        stage
    }

    fn slow_down(&self, latency_ms: u64) {
        let delay = Action::Delay(Duration::from_millis(latency_ms));
        self.sandbox.faults().add(Rule::new(delay).on(Service::TableStore, "GetRange"));
    }

    fn load(&self, concurrency: ConcurrencyLimit) -> Load {
        let client = TableStore::new(config(&self.sandbox, concurrency)).expect("a client");
        let pages = Arc::new(AtomicU64::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (client, pages, request) = (client.clone(), pages.clone(), self.request.clone());
            callers.spawn(async move {
                loop {
                    client.get_range(&request).await.expect("a page");
                    pages.fetch_add(1, Relaxed);
                }
            });
        }
        Load { client, pages, _callers: callers }
    }
}

impl Load {
    async fn rate(&self, time: Duration) -> Rate {
        let (pages, refused) = (self.pages.load(Relaxed), self.client.counters().throttles);
        let began = Instant::now();
        tokio::time::sleep(time).await;
        let seconds = began.elapsed().as_secs_f64();
        let per_second = |now: u64, before: u64| (now - before) as f64 / seconds;
        Rate {
            pages: per_second(self.pages.load(Relaxed), pages),
            refused: per_second(self.client.counters().throttles, refused),
        }
    }
}

fn config(sandbox: &Sandbox, concurrency: ConcurrencyLimit) -> TableStoreConfig {
    let at = sandbox.description();
    let credentials = Credentials::new(&*at.access_key_id, &*at.access_key_secret, None);
    TableStoreConfig {
        concurrency,
        idle_connections: 256,
        ..TableStoreConfig::new(&*at.ots_endpoint, &*at.instance, credentials)
    }
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

fn option(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
