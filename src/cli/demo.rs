//! `otsvault demo`: the whole product in under a minute, on this machine alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::progress::Audience;
use super::{Output, print_json, print_line, progress, size};
use crate::backup::{BackupOptions, Runtime, TableRun, backup};
use crate::catalog::{Totals, Vault};
use crate::credentials::Credentials;
use crate::model::RowSum;
use crate::objectstore::{self, StoreOptions};
use crate::restore::{self, Job, RestoreOptions};
use crate::runtime::{CpuPool, Progress, Shutdown, peak_resident_bytes};
use crate::sandbox::{Sandbox, SandboxDescription, SandboxOptions};
use crate::tablestore::{TableStore, TableStoreConfig};
use crate::verify::read_back;
use crate::{Error, Kind, Result};

/// The table that is restored too: the one with everything that is hard to keep. The sandbox holds what is written in memory.
const RESTORED: &str = "mixed";

/// Interval of plain progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Rows of the IoT table
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Rows of the table with mixed types and versions
    #[arg(long, default_value_t = 20_000)]
    mixed_rows: u64,
    /// Seed of both tables
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// One table's part of the story.
#[derive(Debug, Serialize)]
struct Chapter {
    table: String,
    totals: Totals,
    backup_seconds: f64,
    read_back_seconds: f64,
    /// Rows and row-sum of the sandbox's own table, of the manifest, and of the Parquet read back: all three equal.
    source_row_sum: RowSum,
    proven: bool,
    /// Restoring it into a new table whose row-sum is the source's.
    restore_seconds: Option<f64>,
}

pub(super) async fn run(args: DemoArgs, output: Output, shutdown: &Shutdown) -> Result<()> {
    let tables = [
        format!("readings=iot:rows={},seed={}", args.rows, args.seed),
        format!("mixed=mixed:rows={},seed={}", args.mixed_rows, args.seed),
    ];
    let tables = tables.iter().map(|table| {
        table
            .parse()
            .map_err(|reason: String| Error::new(Kind::Usage, format!("generate `{table}`")).because(reason))
    });
    let options = SandboxOptions { tables: tables.collect::<Result<_>>()?, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await?;
    let say = |text: String| if output.json { Ok(()) } else { print_line(&text) };
    say(format!(
        "A local Table Store at {} and a local OSS at {}, both as strict as the service.",
        sandbox.description().ots_endpoint,
        sandbox.description().oss_endpoint
    ))?;
    let told = tell(&sandbox, output, shutdown).await;
    let open_uploads = sandbox.oss().open_uploads().len();
    sandbox.stop().await;
    let chapters = told?;
    if open_uploads > 0 {
        return Err(Error::new(Kind::Verification, "finish the demo")
            .because(format!("{open_uploads} multipart uploads were left open")));
    }
    if output.json {
        return print_json(&chapters);
    }
    if let Some(peak) = peak_resident_bytes() {
        say(format!("\nPeak memory of client and servers together: {}.", size::human(peak)))?;
    }
    say(NEXT.to_owned())
}

const NEXT: &str = "\nTry next:
  otsvault sandbox --table readings=iot:rows=10000000,seed=7     # serve a table; prints endpoints and a key
  otsvault backup ots://sandbox/readings ./vault                 # with OTS_ENDPOINT and the key in the environment
  otsvault list ./vault
  otsvault show ./vault readings --files
  duckdb -c \"select * from './vault/**/data/*.parquet' limit 5\"";

async fn tell(sandbox: &Sandbox, output: Output, shutdown: &Shutdown) -> Result<Vec<Chapter>> {
    let at = sandbox.description();
    let credentials = Credentials::new(&*at.access_key_id, &*at.access_key_secret, None);
    let client =
        TableStore::new(TableStoreConfig::new(&*at.ots_endpoint, &*at.instance, credentials.clone()))?;
    let vault = open_vault(at, credentials).await?;
    let mut chapters = Vec::new();
    for table in ["readings", "mixed"] {
        let chapter = back_up_and_prove(sandbox, &client, &vault, table, output, shutdown).await?;
        if !output.json {
            print_line(&chapter.text())?;
        }
        chapters.push(chapter);
    }
    Ok(chapters)
}

async fn open_vault(at: &SandboxDescription, credentials: Credentials) -> Result<Vault> {
    let options = StoreOptions {
        endpoint: Some(at.oss_endpoint.clone()),
        region: Some(at.region.clone()),
        ..StoreOptions::default()
    };
    let root =
        objectstore::open(&format!("oss://{}/demo", at.bucket), &options.with_credentials(credentials))?;
    Vault::open_or_create(root).await
}

async fn back_up_and_prove(
    sandbox: &Sandbox,
    client: &TableStore,
    vault: &Vault,
    table: &str,
    output: Output,
    shutdown: &Shutdown,
) -> Result<Chapter> {
    let cpu = CpuPool::new(0)?;
    let runtime =
        Runtime { cpu: cpu.clone(), progress: Arc::new(Progress::default()), shutdown: shutdown.clone() };
    let began = Instant::now();
    let audience = if output.quiet || output.json { Audience::Nobody } else { Audience::People };
    let shown = TableRun { table: table.to_owned(), progress: runtime.progress.clone() };
    let display = progress::start(vec![shown], audience, PROGRESS_INTERVAL);
    let done = backup(client, table, vault, &BackupOptions::default(), &runtime).await;
    display.finish();
    let done = done?;
    let backup_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let read = read_back(vault, &done.path, &done.manifest, &cpu).await?;
    let read_back_seconds = began.elapsed().as_secs_f64();
    let (source_rows, source_row_sum) = sandbox.row_sum(table)?;
    let totals = done.manifest.totals;
    let proven = (totals.rows, totals.row_sum) == (source_rows, source_row_sum)
        && (read.rows, read.row_sum) == (source_rows, source_row_sum);
    if !proven {
        return Err(Error::new(Kind::Verification, "prove the backup")
            .on(format!("of table `{table}`"))
            .because(format!(
                "the table has {source_rows} rows, row-sum {source_row_sum}; the backup {} and {}",
                read.rows, read.row_sum
            )));
    }
    let restore_seconds = match table == RESTORED {
        true => Some(restore_and_prove(sandbox, client, vault, table, &cpu, shutdown).await?),
        false => None,
    };
    let table = table.to_owned();
    Ok(Chapter { table, totals, backup_seconds, read_back_seconds, source_row_sum, proven, restore_seconds })
}

/// Restores the newest backup into a new table and compares the two. Returns how many seconds it took.
async fn restore_and_prove(
    sandbox: &Sandbox,
    client: &TableStore,
    vault: &Vault,
    table: &str,
    cpu: &CpuPool,
    shutdown: &Shutdown,
) -> Result<f64> {
    let target = format!("{table}_restored");
    let job = Job { table: vault.table(client.instance(), table)?, target: target.clone(), state: None };
    let runtime = restore::Runtime { cpu: cpu.clone(), progress: Arc::default(), shutdown: shutdown.clone() };
    let began = Instant::now();
    restore::restore(client, vault, &job, &RestoreOptions::default(), &runtime).await?;
    let seconds = began.elapsed().as_secs_f64();
    let (source, copy) = (sandbox.row_sum(table)?, sandbox.row_sum(&target)?);
    match source == copy {
        true => Ok(seconds),
        false => Err(Error::new(Kind::Verification, "prove the restore")
            .on(format!("of table `{table}`"))
            .because(format!(
                "the table has {} rows, row-sum {}; the copy {} and {}",
                source.0, source.1, copy.0, copy.1
            ))),
    }
}

impl Chapter {
    fn text(&self) -> String {
        let totals = &self.totals;
        let rate = |amount: u64, seconds: f64| (amount as f64 / seconds.max(1e-3)) as u64;
        format!(
            "\n`{}`: {} rows, {} cells\n  backed up   {:.1} s   {} rows/s, {}/s of responses, {} capacity units\n  \
             stored      {} in {}, {:.1}x smaller than the responses\n  \
             read back   {:.1} s   {} rows/s, every SHA-256 and every key checked\n  \
             proven      row-sum {} in the table, the manifest and the files",
            self.table,
            size::grouped(totals.rows),
            size::grouped(totals.cells),
            self.backup_seconds,
            size::grouped(rate(totals.rows, self.backup_seconds)),
            size::human(rate(totals.read.response_bytes, self.backup_seconds)),
            size::grouped(totals.read.capacity_units),
            size::human(totals.stored_bytes),
            size::counted(totals.files, "zstd Parquet file"),
            totals.read.response_bytes as f64 / totals.stored_bytes.max(1) as f64,
            self.read_back_seconds,
            size::grouped(rate(totals.rows, self.read_back_seconds)),
            self.source_row_sum,
        ) + &self.restore_seconds.map_or_else(String::new, |seconds| {
            format!(
                "\n  restored    {seconds:.1} s   {} rows/s, into a new table with the same row-sum",
                size::grouped(rate(totals.rows, seconds)),
            )
        })
    }
}
