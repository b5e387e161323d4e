//! `otsvault delta`.

mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::backup::parse_duration;
use super::connect::{KeyArgs, StoreArgs, TableStoreArgs};
use super::encoding::EncodingArgs;
use super::source::SourceUrl;
use super::tables::is_name;
use super::{Output, print_json_line, print_line, size};
use crate::backup::{self, BackupOptions, WantedConsistency};
use crate::catalog::{DeltaTotals, Vault};
use crate::delta::{Appended, DeltaOptions, FollowEvent, Runtime, delta, follow};
use crate::runtime::{CpuPool, Progress, Shutdown};
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};

/// Memory of a new base after a gap.
const BASE_MEMORY: u64 = 512 << 20;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    otsvault delta ots://inst.cn-hangzhou/orders oss://backups/prod\n  \
    otsvault delta ots://inst.cn-hangzhou/orders oss://backups/prod --follow --every 30s\n\n\
    A delta follows the newest exact base, which `otsvault backup` makes of a table with a Stream.\n\
    Exit code 4: records are gone that no backup holds.")]
pub(super) struct DeltaArgs {
    /// Table to follow: ots://instance[.region]/table
    source: SourceUrl,
    /// Vault that holds its exact base: oss://bucket/prefix, file:///dir or a path
    vault: String,
    #[command(flatten)]
    table_store: TableStoreArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Go on until stopped: append a delta whenever there is something new
    #[arg(long)]
    follow: bool,
    /// With --follow: append what is new so often
    #[arg(long, default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    every: Duration,
    /// With --follow: append as soon as so much is new
    #[arg(long, default_value = "32MiB", value_parser = size::parse, value_name = "SIZE")]
    flush_size: u64,
    /// With --follow: serve lag, retention and counts as Prometheus metrics on this address, such as 127.0.0.1:9184
    #[arg(long, value_name = "ADDRESS", requires = "follow")]
    metrics: Option<SocketAddr>,
    /// What to do when records are gone that no backup holds: fail; mark the gap in the vault and fail; or make a new full base at once
    #[arg(long, default_value = "fail", value_name = "WHAT")]
    on_gap: OnGap,
    /// Memory for pages, records that wait and files together
    #[arg(long, default_value = "128MiB", value_parser = size::parse, value_name = "SIZE")]
    memory: u64,
    #[command(flatten)]
    encoding: EncodingArgs,
    /// For a new base: how long the service may take to show a committed record in the Stream
    #[arg(long, default_value = "5m", value_parser = parse_duration, value_name = "DURATION")]
    stream_settle: Duration,
}

/// What a gap leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnGap {
    /// Exit code 4; nothing is committed past the gap.
    Fail,
    /// The same, and the chain says from then on that it ends there.
    Mark,
    /// A new base, which begins a new chain; the old one stays as it is.
    Full,
}

/// One delta, as `--json` prints it, a line each.
#[derive(Debug, Serialize)]
struct Line<'a> {
    event: &'static str,
    table: &'a str,
    chain: String,
    run: String,
    sequence: u64,
    finished_at: Timestamp,
    /// Everything that was committed up to here is in the chain.
    known_to: Option<Timestamp>,
    /// Seconds from there to the commit.
    lag_seconds: Option<f64>,
    /// Share of the Stream's retention that has passed since all of it was read: at 1 records are lost.
    retention_used: f64,
    totals: DeltaTotals,
}

pub(super) async fn run(args: DeltaArgs, output: Output, shutdown: &Shutdown) -> Result<u8> {
    let options = DeltaOptions {
        memory_bytes: args.memory,
        every: args.every,
        flush_bytes: args.flush_size,
        encoding_profile: args.encoding.profile(),
        zstd_level: args.encoding.zstd_level(),
        mark_gaps: args.on_gap != OnGap::Fail,
    };
    options.check()?;
    if !is_name(&args.source.table) {
        return Err(Error::new(Kind::Usage, format!("follow `{}`", args.source.table))
            .because("a delta is of one table")
            .hint("start one process for each table"));
    }
    let network = args.store.network()?;
    let client = args.table_store.connect_with(&args.source, &args.keys, network, |_| {}).await?;
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let runtime = Runtime { cpu: CpuPool::new(0)?, shutdown: shutdown.clone() };
    let table = args.source.table.as_str();
    if let Some(address) = args.metrics {
        metrics::serve(address)?;
    }
    loop {
        let outcome = match args.follow {
            true => {
                let tell = |event: FollowEvent<'_>| match event {
                    FollowEvent::Looked(status) => {
                        metrics::looked(table, status);
                        Ok(())
                    }
                    FollowEvent::Committed(appended) => {
                        metrics::committed(table, appended);
                        say(table, vault.url(), appended, output)
                    }
                };
                follow(&client, table, &vault, &options, &runtime, tell).await
            }
            false => match delta(&client, table, &vault, &options, &runtime).await {
                Ok(appended) => say(table, vault.url(), &appended, output),
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok(()) => return Ok(0),
            Err(error) if error.kind() == Kind::Gap && args.on_gap == OnGap::Full => {
                eprintln!("{}\nmaking a new base", error.report());
                new_base(&args, &client, &vault, &runtime, output).await?;
                if !args.follow {
                    return Ok(0);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

async fn new_base(
    args: &DeltaArgs,
    client: &TableStore,
    vault: &Vault,
    runtime: &Runtime,
    output: Output,
) -> Result<()> {
    let options = BackupOptions {
        memory_bytes: BASE_MEMORY,
        encoding_profile: args.encoding.profile(),
        zstd_level: args.encoding.zstd_level(),
        consistency: WantedConsistency::Exact,
        stream_settle: args.stream_settle,
        ..BackupOptions::default()
    };
    let runtime = backup::Runtime {
        cpu: runtime.cpu.clone(),
        progress: Arc::new(Progress::default()),
        shutdown: runtime.shutdown.clone(),
    };
    let table = args.source.table.as_str();
    let base = backup::backup(client, table, vault, &options, &runtime).await?;
    let (run, rows) = (&base.path.run, base.manifest.totals.rows);
    match output.json {
        true => print_json_line(&serde_json::json!({
            "event": "new_base", "table": table, "chain": base.path.chain.to_string(),
            "run": run.to_string(), "rows": rows,
        })),
        false => print_line(&format!("new base {run} of `{table}`: {} rows, exact", size::grouped(rows))),
    }
}

fn say(table: &str, vault: &str, appended: &Appended, output: Output) -> Result<()> {
    let manifest = &appended.manifest;
    let known_to = manifest.delta.stream.reached();
    let totals = manifest.delta.totals;
    if output.json {
        return print_json_line(&Line {
            event: "delta",
            table,
            chain: manifest.chain.to_string(),
            run: manifest.run.to_string(),
            sequence: manifest.sequence,
            finished_at: manifest.finished_at,
            known_to,
            lag_seconds: known_to.map(|known| manifest.finished_at.duration_since(known).as_secs_f64()),
            retention_used: appended.retention_used,
            totals,
        });
    }
    print_line(&format!(
        "delta {} of `{table}` in {vault}: {} in {}, {}{}",
        manifest.sequence,
        size::counted(totals.records, "record"),
        size::counted(totals.files, "file"),
        size::human(totals.stored_bytes),
        known_to
            .map_or_else(String::new, |known| format!(", known to {}", known.strftime("%Y-%m-%d %H:%M:%SZ")))
    ))
}
