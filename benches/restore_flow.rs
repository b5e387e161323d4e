//! The restore flow into the sandbox, with latency added to every BatchWriteRow, against the model
//! `rows x latency / (200 x requests in flight)`: how much of the time is anything but waiting for the service.
//!
//! Client and sandbox share the process and its cores, so that with many requests in flight the sandbox's work shows as
//! well. Options through the environment: `ROWS` (200000), `SHAPE` (iot), `LATENCY` (20) milliseconds, `FIXED` (2,4,8,16)
//! requests in flight; a last line leaves the number to the client.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use otsvault::backup::{self, BackupOptions, backup};
use otsvault::catalog::Vault;
use otsvault::credentials::Credentials;
use otsvault::objectstore::{self, StoreOptions};
use otsvault::restore::{Job, RestoreOptions, RestoreProgress, Runtime, restore};
use otsvault::runtime::{ConcurrencyLimit, CpuPool, Progress, Shutdown};
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::sandbox::{Sandbox, SandboxOptions};
use otsvault::tablestore::{TableStore, TableStoreConfig};

/// Rows of a BatchWriteRow, at most (service limit).
const BATCH_ROWS: f64 = 200.0;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    // Without `--bench` somebody only wants to know that it runs.
    let (rows, fixed) = match std::env::args().any(|argument| argument == "--bench") {
        true => (200_000, "2,4,8,16"),
        false => (2_000, "4"),
    };
    let (rows, shape): (u64, String) = (option("ROWS", rows), option("SHAPE", "iot".to_owned()));
    let latency = Duration::from_millis(option("LATENCY", 20));
    let fixed = option("FIXED", fixed.to_owned());
    let fixed = fixed.split(',').map(|text| ConcurrencyLimit::Fixed(text.parse().expect("a number")));
    let settings = fixed.chain([ConcurrencyLimit::Adaptive { floor: 1, ceiling: 256 }]);

    let tables = vec![format!("t={shape}:rows={rows},seed=7").parse().expect("a table")];
    let options = SandboxOptions { tables, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.expect("the sandbox starts");
    let directory = tempfile::tempdir().expect("a directory");
    let vault = back_up(&sandbox, &directory).await;
    let delay = Rule::new(Action::Delay(latency)).on(Service::TableStore, "BatchWriteRow");
    sandbox.faults().add(delay);

    println!("{shape}, {rows} rows, {latency:?} added to every BatchWriteRow");
    println!("| in flight | requests | wall s | model s | model / wall |");
    println!("|---|---|---|---|---|");
    for (index, setting) in settings.enumerate() {
        let client = client(&sandbox, setting);
        let target = format!("target_{index}");
        let began = Instant::now();
        run(&client, &vault, &target).await;
        let wall = began.elapsed().as_secs_f64();
        let in_flight = client.concurrency().limit();
        let model = rows as f64 * latency.as_secs_f64() / (BATCH_ROWS * f64::from(in_flight));
        let requests = client.counters().requests;
        match setting {
            ConcurrencyLimit::Fixed(_) => {
                println!("| {in_flight} | {requests} | {wall:.2} | {model:.2} | {:.3} |", model / wall);
            }
            ConcurrencyLimit::Adaptive { .. } => {
                println!("| adaptive, {in_flight} at the end | {requests} | {wall:.2} | | |");
            }
        }
        let sum = |table: &str| sandbox.row_sum(table).expect("a row-sum");
        assert_eq!(sum(&target), sum("t"), "the restored table");
        client.delete_table(&target).await.expect("room for the next one");
    }
}

async fn back_up(sandbox: &Sandbox, directory: &tempfile::TempDir) -> Vault {
    let options = StoreOptions { create_directory: true, ..StoreOptions::default() };
    let url = directory.path().join("vault").display().to_string();
    let vault =
        Vault::open_or_create(objectstore::open(&url, &options).expect("a store")).await.expect("a vault");
    let runtime = backup::Runtime {
        cpu: CpuPool::new(0).expect("threads"),
        progress: Arc::new(Progress::default()),
        shutdown: Shutdown::default(),
    };
    let client = client(sandbox, ConcurrencyLimit::Fixed(8));
    backup(&client, "t", &vault, &BackupOptions::default(), &runtime).await.expect("a backup");
    vault
}

async fn run(client: &TableStore, vault: &Vault, target: &str) {
    let table = vault.table(client.instance(), "t").expect("the table's place");
    let job = Job { table, target: target.to_owned(), state: None };
    let runtime = Runtime {
        cpu: CpuPool::new(0).expect("threads"),
        progress: Arc::new(RestoreProgress::default()),
        shutdown: Shutdown::default(),
    };
    let restored =
        restore(client, vault, &job, &RestoreOptions::default(), &runtime).await.expect("a restore");
    assert!(restored.left_out().is_none(), "every row is written");
}

fn client(sandbox: &Sandbox, concurrency: ConcurrencyLimit) -> TableStore {
    let at = sandbox.description();
    let credentials = Credentials::new(&*at.access_key_id, &*at.access_key_secret, None);
    let config = TableStoreConfig {
        concurrency,
        idle_connections: 256,
        ..TableStoreConfig::new(&*at.ots_endpoint, &*at.instance, credentials)
    };
    TableStore::new(config).expect("a client")
}

fn option<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
