//! `otsvault demo`: the whole product in seconds, on this machine alone.

mod story;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::progress::Audience;
use super::{Output, print_json, print_line, progress, size, until_stopped};
use crate::backup::{BackupOptions, Runtime, TableRun, backup};
use crate::catalog::{TablePath, Totals, Vault};
use crate::credentials::Credentials;
use crate::model::{Cell, KeyPart, PrimaryKey, Row, RowSum, Value};
use crate::objectstore::{self, StoreOptions};
use crate::restore::{self, Job, RestoreOptions};
use crate::runtime::{CpuPool, Progress, Shutdown, peak_resident_bytes};
use crate::sandbox::{Sandbox, SandboxDescription, SandboxOptions};
use crate::tablestore::{TableStore, TableStoreConfig};
use crate::verify::{
    Level, RowChange, RowDifference, RunReport, Verifier, VerifyOptions, VerifyProgress, verify_live,
    verify_table,
};
use crate::{Error, Kind, Result};
use story::{Scene, Story};

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
    /// Reading every byte of the backup back.
    verify_seconds: f64,
    /// Restoring it into a new table.
    restore_seconds: f64,
    /// Comparing that table with the backup.
    compare_seconds: f64,
    /// Of the table, of the manifest, of the rows in the files and of the restored table: all four equal.
    row_sum: RowSum,
    proven: bool,
    /// One cell that was changed in the new table then; `None` for a table without cells.
    tampered: Option<Tampered>,
}

/// A cell that was changed, and that a comparison found and named.
#[derive(Debug, Serialize)]
struct Tampered {
    key: PrimaryKey,
    column: String,
    found_in_seconds: f64,
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
    let (chapters, story) = told?;
    if open_uploads > 0 {
        return Err(Error::new(Kind::Verification, "finish the demo")
            .because(format!("{open_uploads} multipart uploads were left open")));
    }
    if output.json {
        return print_json(&serde_json::json!({ "tables": chapters, "stream": story }));
    }
    if let Some(peak) = peak_resident_bytes() {
        say(format!(
            "\nPeak memory of client and servers together, which hold the restored tables: {}.",
            size::human(peak)
        ))?;
    }
    say(NEXT.to_owned())
}

const NEXT: &str = "\nTry next:
  otsvault sandbox --table readings=iot:rows=10000000,seed=7     # serve a table; prints endpoints and a key
  otsvault backup ots://sandbox/readings ./vault                 # with OTS_ENDPOINT and the key in the environment
  otsvault list ./vault
  otsvault show ./vault readings --files
  duckdb -c \"select * from './vault/**/data/*.parquet' limit 5\"";

async fn tell(sandbox: &Sandbox, output: Output, shutdown: &Shutdown) -> Result<(Vec<Chapter>, Story)> {
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
    let cpu = CpuPool::new(0)?;
    let scene = Scene { sandbox, client: &client, vault: &vault, cpu: &cpu, shutdown };
    let story = until_stopped(story::tell(&scene), shutdown).await?;
    if !output.json {
        print_line(&story.text())?;
    }
    Ok((chapters, story))
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
    let totals = done?.manifest.totals;
    let backup_seconds = began.elapsed().as_secs_f64();

    let path = vault.table(client.instance(), table)?;
    let verifier = Verifier { cpu, progress: Arc::new(VerifyProgress::default()) };
    let began = Instant::now();
    let full = VerifyOptions { level: Level::Full, ..VerifyOptions::default() };
    let read = until_stopped(verify_table(vault, &path, None, &full, &verifier), shutdown).await?;
    expect_sound(table, read)?;
    let verify_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let target = restore_all_rows(client, vault, &path, &verifier.cpu, shutdown).await?;
    let restore_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let options = VerifyOptions::default();
    let compared = verify_live(vault, &path, None, (client, &target), &options, &verifier);
    expect_sound(&target, until_stopped(compared, shutdown).await?)?;
    let compare_seconds = began.elapsed().as_secs_f64();

    // The sandbox's own word on both tables.
    let (source, copy) = (sandbox.row_sum(table)?, sandbox.row_sum(&target)?);
    let row_sum = totals.row_sum;
    if source != copy || source != (totals.rows, row_sum) {
        return Err(Error::new(Kind::Verification, "prove the backup").on(format!("of table `{table}`")).because(
            format!(
                "the table has {} rows, row-sum {}; the backup {} and {row_sum}; the restored table {} and {}",
                source.0, source.1, totals.rows, copy.0, copy.1
            ),
        ));
    }
    let against = (vault, &path, client, &*target);
    let tampered = until_stopped(tamper_and_find(sandbox, against, &verifier), shutdown).await?;
    Ok(Chapter {
        table: table.to_owned(),
        totals,
        backup_seconds,
        verify_seconds,
        restore_seconds,
        compare_seconds,
        row_sum,
        proven: true,
        tampered,
    })
}

/// Changes one cell of a restored table, in the middle, and expects a comparison to name it and nothing else.
async fn tamper_and_find(
    sandbox: &Sandbox,
    (vault, path, client, target): (&Vault, &TablePath, &TableStore, &str),
    verifier: &Verifier,
) -> Result<Option<Tampered>> {
    let (rows, _) = sandbox.row_sum(target)?;
    let mut at = 0;
    let mut found = None;
    sandbox.table_rows(target, |row| {
        if at >= rows / 2 && found.is_none() {
            let cell = row.cells.first().map(|cell| cell.name.to_owned());
            found = PrimaryKey::from_row(&row.key).zip(cell);
        }
        at += 1;
    })?;
    let Some((key, column)) = found else { return Ok(None) };
    let definition = client.describe_table(target).await?.definition;
    let names = definition.primary_key.iter().map(|column| column.name.as_str());
    let changed = Row {
        key: names.zip(key.parts().iter().map(KeyPart::as_value)).collect(),
        cells: vec![Cell::put(&column, Value::String("changed by the demo"), None)],
        ..Row::default()
    };
    client.update_row(target, &changed).await?;
    let began = Instant::now();
    let options = VerifyOptions::default();
    let report = verify_live(vault, path, None, (client, target), &options, verifier).await?;
    let comparison = report.and_then(|report| report.comparison).unwrap_or_default();
    let named = RowDifference { key, change: RowChange::Changed { columns: vec![column.clone()] } };
    match comparison.rows.as_slice() {
        [found] if *found == named => {
            Ok(Some(Tampered { key: named.key, column, found_in_seconds: began.elapsed().as_secs_f64() }))
        }
        found => Err(Error::new(Kind::Verification, "find the cell that was changed")
            .on(format!("in table `{target}`"))
            .because(format!("it is {named:?}, and what was named is {found:?}"))),
    }
}

/// Restores the newest backup into a new table, and gives its name.
async fn restore_all_rows(
    client: &TableStore,
    vault: &Vault,
    table: &TablePath,
    cpu: &CpuPool,
    shutdown: &Shutdown,
) -> Result<String> {
    let target = format!("{}_restored", table.table);
    let job = Job { table: table.clone(), target: target.clone(), state: None };
    let runtime = restore::Runtime { cpu: cpu.clone(), progress: Arc::default(), shutdown: shutdown.clone() };
    let restored = restore::restore(client, vault, &job, &RestoreOptions::default(), &runtime).await?;
    match restored.left_out() {
        None => Ok(target),
        Some(error) => Err(error),
    }
}

fn expect_sound(table: &str, report: Option<RunReport>) -> Result<()> {
    let reason = match report {
        Some(report) if report.is_sound() => return Ok(()),
        Some(report) => format!("{:?} {:?}", report.faults, report.comparison),
        None => "there is none".to_owned(),
    };
    Err(Error::new(Kind::Verification, "prove the backup").on(format!("of table `{table}`")).because(reason))
}

impl Chapter {
    fn text(&self) -> String {
        let totals = &self.totals;
        let per_second =
            |amount: u64, seconds: f64| size::grouped((amount as f64 / seconds.max(1e-3)) as u64);
        let timed = |seconds: f64| format!("{seconds:.1} s   {} rows/s", per_second(totals.rows, seconds));
        let bytes_per_second = totals.read.response_bytes as f64 / self.backup_seconds.max(1e-3);
        format!(
            "\n`{}`: {} rows, {} cells\n  backed up   {}, {}/s of responses, {} capacity units\n  \
             stored      {} in {}, {:.1}x smaller than the responses\n  \
             verified    {}, every byte: SHA-256, pages, keys, counts, row-sums, statistics\n  \
             restored    {}, into a new table\n  \
             compared    {}, the new table with the backup: no row differs\n  \
             proven      row-sum {} of the table, the manifest, the files and the restored table",
            self.table,
            size::grouped(totals.rows),
            size::grouped(totals.cells),
            timed(self.backup_seconds),
            size::human(bytes_per_second as u64),
            size::grouped(totals.read.capacity_units),
            size::human(totals.stored_bytes),
            size::counted(totals.files, "zstd Parquet file"),
            totals.read.response_bytes as f64 / totals.stored_bytes.max(1) as f64,
            timed(self.verify_seconds),
            timed(self.restore_seconds),
            timed(self.compare_seconds),
            self.row_sum,
        ) + &self.tampered.as_ref().map_or_else(String::new, |tampered| {
            format!(
                "\n  tampered    one cell of the new table changed; found in {:.1} s and named: {} in `{}`",
                tampered.found_in_seconds, tampered.key, tampered.column,
            )
        })
    }
}
