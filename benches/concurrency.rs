//! The adaptive limit on requests in flight against fixed ones: small pages from the sandbox under added latency, from a service
//! without a limit of its own, from one that works on so many requests at once and lets the others wait, and from one that refuses
//! more than so many per second; the client is told none of it. And what a burst of refusals does.
//!
//! Client and sandbox share the process and its cores. The best fixed setting and the adaptive one are measured in turns, so
//! that what else the machine does hits both; medians. Between turns a service that counts by the second forgets the last one.
//! Options through the environment: `SECONDS` (4) measured per setting and turn, `ROUNDS` (3) turns, `WARM_UP` (6) seconds before the
//! adaptive one is measured, `FIXED` (1,2,4,8,16,32,64), `LATENCIES` (5,20,50,100 ms), `SERVICES` (unlimited,places,per-second), `PLACES`
//! (8) requests at once, `HIDDEN` (150) requests per second.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use otsvault::credentials::Credentials;
use otsvault::model::KeyRange;
use otsvault::runtime::ConcurrencyLimit;
use otsvault::sandbox::faults::{self, Action, Rule, When};
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
    let (seconds, rounds, warm_up, fixed) =
        if is_bench { ("4", "3", "6", "1,2,4,8,16,32,64") } else { ("0.1", "1", "0.1", "4") };
    let measured = Duration::from_secs_f64(number(&option("SECONDS", seconds)));
    let warm_up = Duration::from_secs_f64(number(&option("WARM_UP", warm_up)));
    let rounds = number(&option("ROUNDS", rounds)) as usize;
    let fixed: Vec<u32> = list("FIXED", fixed).iter().map(|text| number(text) as u32).collect();
    let latencies = list("LATENCIES", "5,20,50,100");
    let services = list("SERVICES", "unlimited,places,per-second");

    println!(
        "| latency | service | best fixed | its pages/s | adaptive pages/s | of best | limit reached | refused/s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for latency in latencies.iter().map(|text| number(text) as u64) {
        for service in services.iter().map(|name| Service::named(name)) {
            let stage = Stage::start(latency, service).await;
            let mut best = (0, 0.0);
            for setting in &fixed {
                let client = stage.client(ConcurrencyLimit::Fixed(*setting));
                let rate = stage.rate(&client, measured / 4, measured).await.pages;
                if rate > best.1 {
                    best = (*setting, rate);
                }
            }
            let fixed = stage.client(ConcurrencyLimit::Fixed(best.0));
            let adaptive = stage.client(ADAPTIVE);
            stage.rate(&adaptive, warm_up, Duration::ZERO).await;
            let (mut of_fixed, mut of_adaptive, mut refused) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                of_fixed.push(stage.rate(&fixed, measured / 4, measured).await.pages);
                let rate = stage.rate(&adaptive, measured / 4, measured).await;
                of_adaptive.push(rate.pages);
                refused.push(rate.refused);
            }
            let (of_fixed, of_adaptive) = (median(of_fixed), median(of_adaptive));
            println!(
                "| {latency} ms | {service} | {} | {of_fixed:.0} | {of_adaptive:.0} | {:.2} | {} | {:.1} |",
                best.0,
                of_adaptive / of_fixed,
                adaptive.concurrency().limit(),
                median(refused),
            );
        }
    }

    println!("\n| moment | limit | in flight |");
    println!("|---|---|---|");
    let stage = Stage::start(20, Service::Unlimited).await;
    let client = stage.client(ConcurrencyLimit::Adaptive { floor: 1, ceiling: 32 });
    let _callers = stage.callers(&client);
    let show = |moment: &str| {
        let concurrency = client.concurrency();
        println!("| {moment} | {} | {} |", concurrency.limit(), concurrency.in_flight());
    };
    let reaches = client.concurrency().reaches(28);
    let _ = tokio::time::timeout(warm_up * 5, reaches).await;
    show("before");
    let busy = Action::error(503, "OTSServerBusy", "Server is busy.");
    stage.sandbox.faults().clear();
    stage.sandbox.faults().add(rule(busy));
    tokio::time::sleep(Duration::from_millis(100)).await;
    show("0.1 s into refusing everything");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    show("1.6 s into it");
    stage.sandbox.faults().clear();
    stage.slow_down(20);
    let began = Instant::now();
    let _ = tokio::time::timeout(warm_up * 20, client.concurrency().reaches(28)).await;
    show(&format!("{:.1} s after it ended", began.elapsed().as_secs_f64()));
}

/// What the client is not told.
#[derive(Clone, Copy)]
enum Service {
    Unlimited,
    /// Works on so many requests at once; the others wait.
    Places(u32),
    /// Refuses more than so many per second.
    PerSecond(u32),
}

impl Service {
    fn named(name: &str) -> Service {
        match name {
            "unlimited" => Service::Unlimited,
            "places" => Service::Places(number(&option("PLACES", "8")) as u32),
            "per-second" => Service::PerSecond(number(&option("HIDDEN", "150")) as u32),
            _ => panic!("`{name}` is none of unlimited, places and per-second"),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Unlimited => f.write_str("no limit"),
            Service::Places(places) => write!(f, "{places} at once"),
            Service::PerSecond(rate) => write!(f, "{rate}/s"),
        }
    }
}

struct Stage {
    sandbox: Sandbox,
    service: Service,
    request: RangeRequest,
}

/// Per second.
struct Rate {
    pages: f64,
    refused: f64,
}

fn rule(action: Action) -> Rule {
    Rule::new(action).on(faults::Service::TableStore, "GetRange")
}

impl Stage {
    async fn start(latency_ms: u64, service: Service) -> Stage {
        let tables = vec!["t=iot:rows=1000,seed=7".parse().expect("a table")];
        let options = SandboxOptions { tables, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
        let client = TableStore::new(config(&sandbox, ADAPTIVE)).expect("a client");
        let description = client.describe_table("t").await.expect("a description");
        let key_names: Vec<_> =
            description.definition.primary_key.into_iter().map(|column| column.name).collect();
        let range = KeyRange::all(key_names.len());
        let request = RangeRequest { limit: Some(5), ..RangeRequest::everything("t", key_names, range) };
        let stage = Stage { sandbox, service, request };
        match service {
            Service::Unlimited => {}
            Service::Places(in_flight) => {
                stage.sandbox.faults().add(rule(Action::Limit { in_flight, queue: true }));
            }
            Service::PerSecond(rate) => {
                let busy = Action::error(503, "OTSServerBusy", "Server is busy.");
                stage.sandbox.faults().add(rule(busy).key("t").when(When::AbovePerSecond(rate)));
            }
        }
        stage.slow_down(latency_ms);
        stage
    }

    fn slow_down(&self, latency_ms: u64) {
        self.sandbox.faults().add(rule(Action::Delay(Duration::from_millis(latency_ms))));
    }

    fn client(&self, concurrency: ConcurrencyLimit) -> TableStore {
        TableStore::new(config(&self.sandbox, concurrency)).expect("a client")
    }

    /// Callers at work; they stop when the set is dropped.
    fn callers(&self, client: &TableStore) -> (JoinSet<()>, Arc<AtomicU64>) {
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
        (callers, pages)
    }

    /// Lets a client work, and looks at it for `time` after `settle`.
    async fn rate(&self, client: &TableStore, settle: Duration, time: Duration) -> Rate {
        if let Service::PerSecond(_) = self.service {
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        let (_callers, pages) = self.callers(client);
        tokio::time::sleep(settle).await;
        let (pages_before, refused_before) = (pages.load(Relaxed), client.counters().throttles);
        let began = Instant::now();
        tokio::time::sleep(time).await;
        let seconds = began.elapsed().as_secs_f64();
        let per_second = |now: u64, before: u64| (now - before) as f64 / seconds;
        Rate {
            pages: per_second(pages.load(Relaxed), pages_before),
            refused: per_second(client.counters().throttles, refused_before),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
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

fn list(name: &str, default: &str) -> Vec<String> {
    option(name, default).split(',').map(str::to_owned).collect()
}

fn option(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
