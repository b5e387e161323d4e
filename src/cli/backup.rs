//! `otsvault backup`.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs, StoredArgs, TableStoreArgs};
use super::source::SourceUrl;
use super::{Output, print_json, print_line, progress, size};
use crate::backup::{Backup, BackupOptions, Runtime, backup};
use crate::catalog::{Consistency, Totals};
use crate::model::{KeyPart, PrimaryKey};
use crate::runtime::{CpuPool, Progress, Shutdown, peak_resident_bytes};
use crate::{Result, tablestore};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    otsvault backup ots://inst.cn-hangzhou/orders oss://backups/prod\n  \
    otsvault backup ots://inst/orders ./vault --ots-endpoint http://127.0.0.1:8080\n\n\
    Run the same command again after an interruption: it goes on where it stopped.")]
pub(super) struct BackupArgs {
    /// Table to copy: ots://instance[.region]/table
    source: SourceUrl,
    /// Vault to copy it into: oss://bucket/prefix, file:///dir or a path
    vault: String,
    #[command(flatten)]
    table_store: TableStoreArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    stored: StoredArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Key ranges read at the same time
    #[arg(long, default_value_t = 8, value_name = "N")]
    concurrency: usize,
    /// Memory for bodies, batches, row groups and parts together, such as 512MiB
    #[arg(long, default_value = "512MiB", value_parser = size::parse, value_name = "SIZE")]
    memory: u64,
    /// Close a data file past this size
    #[arg(long, default_value = "128MiB", value_parser = size::parse, value_name = "SIZE")]
    target_file_size: u64,
    /// Rows per Parquet row group at most
    #[arg(long, default_value_t = 1 << 17, value_name = "ROWS")]
    row_group_rows: usize,
    /// Encoded bytes per Parquet row group at most [default: what the memory allows, up to 128MiB]
    #[arg(long, value_parser = size::parse, value_name = "SIZE")]
    row_group_size: Option<u64>,
    /// Bytes per part of an upload [default: what the memory allows, up to 16MiB]
    #[arg(long, value_parser = size::parse, value_name = "SIZE")]
    part_size: Option<u64>,
    /// zstd level, 1 (fast) to 22
    #[arg(long, default_value_t = 1, value_name = "LEVEL")]
    zstd_level: i32,
    /// First key to copy, as a JSON array of key column values or a prefix of them, such as '["d-17", 5]'
    #[arg(long, value_parser = parse_key, value_name = "JSON")]
    from_key: Option<PrimaryKey>,
    /// Key to stop before, written as for --from-key
    #[arg(long, value_parser = parse_key, value_name = "JSON")]
    to_key: Option<PrimaryKey>,
}

/// What `--json` prints, and what the summary is made from.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    table: String,
    run: String,
    consistency: Consistency,
    totals: Totals,
    /// This attempt's wall time.
    seconds: f64,
    resumed_entries: usize,
    resumed_rows: u64,
    planning_capacity_units: u64,
    requests: tablestore::Counters,
    peak_resident_bytes: Option<u64>,
}

pub(super) async fn run(args: BackupArgs, output: Output, shutdown: &Shutdown) -> Result<()> {
    let options = BackupOptions {
        concurrency: args.concurrency,
        memory_bytes: args.memory,
        target_file_bytes: args.target_file_size,
        row_group_rows: args.row_group_rows,
        row_group_bytes: args.row_group_size,
        part_bytes: args.part_size,
        zstd_level: args.zstd_level,
        from_key: args.from_key,
        to_key: args.to_key,
        ..BackupOptions::default()
    };
    options.check()?;
    let client = args.table_store.connect(&args.source, &args.keys, args.store.network()?).await?;
    let vault = args.store.open_or_create(&args.vault, &args.stored, &args.keys).await?;
    let runtime = Runtime {
        cpu: CpuPool::new(0)?,
        progress: Arc::new(Progress::default()),
        shutdown: shutdown.clone(),
    };
    let bar = progress::start(runtime.progress.clone(), &args.source.table, output);
    let outcome = backup(&client, &args.source.table, &vault, &options, &runtime).await;
    bar.finish();
    let done = outcome?;
    let summary = Summary::new(&done, &runtime.progress, client.counters());
    if output.json { print_json(&summary) } else { print_line(&summary.text(vault.url())) }
}

impl Summary {
    pub(super) fn new(done: &Backup, progress: &Progress, requests: tablestore::Counters) -> Summary {
        Summary {
            table: done.manifest.table.name.clone(),
            run: done.manifest.run.to_string(),
            consistency: done.manifest.consistency,
            totals: done.manifest.totals,
            seconds: progress.elapsed().as_secs_f64(),
            resumed_entries: done.resumed_entries,
            resumed_rows: done.resumed_rows,
            planning_capacity_units: done.planning_capacity_units,
            requests,
            peak_resident_bytes: peak_resident_bytes(),
        }
    }

    /// The summary as a person reads it.
    pub(super) fn text(&self, vault: &str) -> String {
        let totals = &self.totals;
        let read_rows = totals.rows - self.resumed_rows;
        let rate = read_rows as f64 / self.seconds.max(1e-3);
        let mut text = format!(
            "backed up `{}` to {vault}\n  run         {} ({})\n  rows        {}\n  row-sum     {}\n  \
             read        {} in {}, {} capacity units\n  stored      {} in {}{}\n  \
             time        {:.1} s, {} rows/s",
            self.table,
            self.run,
            self.consistency,
            size::grouped(totals.rows),
            totals.row_sum,
            size::human(totals.read.response_bytes),
            size::counted(totals.read.pages, "page"),
            size::grouped(totals.read.capacity_units + self.planning_capacity_units),
            size::human(totals.stored_bytes),
            size::counted(totals.files, "file"),
            size::times_smaller(totals.read.response_bytes, totals.stored_bytes),
            self.seconds,
            size::grouped(rate as u64),
        );
        if self.resumed_entries > 0 {
            let rows = size::grouped(self.resumed_rows);
            text.push_str(&format!(
                "\n  resumed     {rows} rows in {} intervals were done",
                self.resumed_entries
            ));
        }
        if let Some(bytes) = self.peak_resident_bytes {
            text.push_str(&format!("\n  peak memory {}", size::human(bytes)));
        }
        text
    }
}

/// A key as a JSON array: strings, integers, `{"binary": "hex"}`, `"inf_min"` and `"inf_max"` as `{"inf": …}` are
/// not needed, since a prefix says the same.
fn parse_key(text: &str) -> Result<PrimaryKey, String> {
    let shape = |_| "expected a JSON array such as [\"d-17\", 5] or [{\"binary\": \"00ff\"}]".to_owned();
    let values: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(|error| shape(error.to_string()))?;
    let part = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Ok(KeyPart::String(text)),
        serde_json::Value::Number(number) => {
            number.as_i64().map(KeyPart::Integer).ok_or_else(|| format!("{number} is not a 64-bit integer"))
        }
        object => serde_json::from_value(object).map_err(|error| shape(error.to_string())),
    };
    values.into_iter().map(part).collect::<Result<_, _>>().map(PrimaryKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_json_arrays() {
        let key = parse_key(r#"["a", -5, {"binary":"00ff"}]"#).unwrap();
        let parts = [KeyPart::String("a".into()), KeyPart::Integer(-5), KeyPart::Binary(vec![0, 255])];
        assert_eq!(key.parts(), parts);
        assert!(parse_key("a").is_err() && parse_key("[1.5]").is_err() && parse_key("[true]").is_err());
    }
}
