//! From an acknowledged write to a committed delta that holds it: `delta --follow` in this process, a table that is written to steadily.
//!
//! One writer, one row after the other into one partition, so that records come in the order of the writes: a write is in the first delta by
//! which so many records are committed. Options through the environment: `SECONDS` (60), `EVERY` (2000) milliseconds between deltas, `GAP` (10)
//! milliseconds between writes.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use otsvault::backup::{self, BackupOptions, backup};
use otsvault::catalog::Vault;
use otsvault::credentials::Credentials;
use otsvault::delta::{DeltaOptions, FollowEvent, Runtime, follow};
use otsvault::model::{
    Cell, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, ReservedThroughput, Row, Stream,
    TableDefinition, TableOptions, Value,
};
use otsvault::objectstore::{self, StoreOptions};
use otsvault::runtime::{CpuPool, Progress, Shutdown, Signal};
use otsvault::sandbox::{Sandbox, SandboxOptions};
use otsvault::tablestore::{RowChange, TableStore, TableStoreConfig};

const TABLE: &str = "t";

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    // Without `--bench` somebody only wants to know that it runs.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let seconds = Duration::from_secs(option("SECONDS", if is_bench { 60 } else { 3 }));
    let every = Duration::from_millis(option("EVERY", if is_bench { 2_000 } else { 500 }));
    let gap = Duration::from_millis(option("GAP", 10));

    let sandbox = Sandbox::start(SandboxOptions::default()).await.expect("the sandbox starts");
    let at = sandbox.description();
    let credentials = Credentials::new(&*at.access_key_id, &*at.access_key_secret, None);
    let client =
        TableStore::new(TableStoreConfig::new(&*at.ots_endpoint, &*at.instance, credentials.clone()));
    let client = client.expect("a client");
    client.create_table(&definition(), &[]).await.expect("a table");
    let store = StoreOptions {
        endpoint: Some(at.oss_endpoint.clone()),
        region: Some(at.region.clone()),
        ..StoreOptions::default()
    };
    let root = objectstore::open(&format!("oss://{}/bench", at.bucket), &store.with_credentials(credentials));
    let vault = Vault::open_or_create(root.expect("a store")).await.expect("a vault");
    let cpu = CpuPool::new(0).expect("a pool");
    let shutdown = Shutdown::default();
    let backup_runtime = backup::Runtime {
        cpu: cpu.clone(),
        progress: Progress::default().into(),
        shutdown: shutdown.clone(),
    };
    let exact = BackupOptions { stream_settle: Duration::ZERO, ..BackupOptions::default() };
    backup(&client, TABLE, &vault, &exact, &backup_runtime).await.expect("an exact base");

    let acknowledged: Mutex<Vec<Instant>> = Mutex::default();
    let (mut latencies, mut deltas) = (Vec::<f64>::new(), 0);
    let options = DeltaOptions { every, ..DeltaOptions::default() };
    let runtime = Runtime { cpu, shutdown: shutdown.clone() };
    let tell = |event: FollowEvent<'_>| {
        let FollowEvent::Committed(appended) = event else { return Ok(()) };
        let acknowledged = acknowledged.lock().expect("nobody panicked");
        let upto = latencies.len() + appended.manifest.delta.totals.records as usize;
        // A record may be read before its writer has its answer.
        let written = acknowledged.get(latencies.len()..upto.min(acknowledged.len())).unwrap_or_default();
        latencies.extend(written.iter().map(|at| at.elapsed().as_secs_f64()));
        latencies.resize(upto, 0.0);
        deltas += 1;
        Ok(())
    };
    let writes = async {
        let began = Instant::now();
        for id in 0.. {
            if began.elapsed() >= seconds {
                break;
            }
            client.write_row(TABLE, &row(id)).await.expect("a write");
            acknowledged.lock().expect("nobody panicked").push(Instant::now());
            tokio::time::sleep(gap).await;
        }
        tokio::time::sleep(every * 2).await;
        shutdown.request(Signal::Terminate);
    };
    let followed = follow(&client, TABLE, &vault, &options, &runtime, tell);
    let (followed, ()) = tokio::join!(followed, writes);
    followed.expect("it is followed to the end");
    let writes = acknowledged.lock().expect("nobody panicked").len();
    assert_eq!(latencies.len(), writes, "every write is in a delta");
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!("{writes} writes in {seconds:?}, {deltas} deltas, one every {every:?}");
    println!("| p50 | p90 | p99 | most |");
    println!("|---|---|---|---|");
    println!("| {:.2} s | {:.2} s | {:.2} s | {:.2} s |", at(0.5), at(0.9), at(0.99), at(1.0));
    sandbox.stop().await;
}

fn option<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| text.parse().ok().expect(name))
}

fn row(id: i64) -> RowChange {
    let cells = vec![Cell::put("reading", Value::Integer(id), None)];
    RowChange::put(&Row { key: vec![("id", PrimaryKeyValue::Integer(id))], cells, ..Row::default() })
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
