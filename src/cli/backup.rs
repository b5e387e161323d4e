//! `otsvault backup`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use globset::GlobMatcher;
use jiff::SignedDuration;

use super::connect::{KeyArgs, StoreArgs, StoredArgs, TableStoreArgs};
use super::dry_run;
use super::encoding::EncodingArgs;
use super::events::{Event, TableProgress};
use super::source::SourceUrl;
use super::summary::{Failure, Summary, TableFailure, TableSummary};
use super::tables::{is_name, parse_glob, select};
use super::{Output, print_line, progress, size};
use crate::Result;
use crate::backup::{BackupOptions, ReadApi, Runtime, TableRun, WantedConsistency, backup_all};
use crate::catalog::TOOL;
use crate::model::{KeyPart, PrimaryKey};
use crate::runtime::{ConcurrencyLimit, CpuPool, Progress, Shutdown};
use crate::tablestore::TableStoreConfig;
use progress::Audience;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    otsvault backup ots://inst.cn-hangzhou/orders oss://backups/prod\n  \
    otsvault backup 'ots://inst.cn-hangzhou/iot_*' oss://backups/prod --exclude '*_test'\n  \
    otsvault backup ots://inst/orders ./vault --ots-endpoint http://127.0.0.1:8080\n\n\
    Run the same command again after an interruption: it goes on where it stopped.")]
pub(super) struct BackupArgs {
    /// Table to copy: ots://instance[.region]/table; or many: a pattern with *, ?, [a-z], {a,b}
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
    /// Leave out tables that match this pattern; can be repeated
    #[arg(long, value_parser = parse_glob, value_name = "PATTERN")]
    exclude: Vec<GlobMatcher>,
    /// Tables copied at the same time; they share --concurrency and --memory
    #[arg(long, default_value_t = 4, value_name = "N")]
    tables_at_once: usize,
    /// Key ranges read at the same time, or auto: follow what the service can do, as far as the memory goes
    #[arg(long, default_value = "auto", value_parser = parse_concurrency, value_name = "N|auto")]
    concurrency: usize,
    /// Read capacity units used per second at most
    #[arg(long, value_name = "UNITS")]
    max_read_cu: Option<NonZeroU32>,
    /// Bytes of Table Store requests and answers per second at most, such as 20MiB
    #[arg(long, value_parser = parse_bandwidth, value_name = "SIZE")]
    max_bandwidth: Option<NonZeroU32>,
    /// Memory for bodies, batches, row groups and parts together, such as 512MiB
    #[arg(long, default_value = "512MiB", value_parser = size::parse, value_name = "SIZE")]
    memory: u64,
    /// Close a data file past this size
    #[arg(long, default_value = "128MiB", value_parser = size::parse, value_name = "SIZE")]
    target_file_size: u64,
    /// Rows per Parquet row group at most
    #[arg(long, default_value_t = 1 << 16, value_name = "ROWS")]
    row_group_rows: usize,
    /// Encoded bytes per Parquet row group at most [default: what the memory allows, up to 128MiB]
    #[arg(long, value_parser = size::parse, value_name = "SIZE")]
    row_group_size: Option<u64>,
    /// Bytes per part of an upload [default: what the memory allows, up to 16MiB]
    #[arg(long, value_parser = size::parse, value_name = "SIZE")]
    part_size: Option<u64>,
    #[command(flatten)]
    encoding: EncodingArgs,
    /// First key to copy, as a JSON array of key column values or a prefix of them, such as '["d-17", 5]'
    #[arg(long, value_parser = parse_key, value_name = "JSON")]
    from_key: Option<PrimaryKey>,
    /// Key to stop before, written as for --from-key
    #[arg(long, value_parser = parse_key, value_name = "JSON")]
    to_key: Option<PrimaryKey>,
    /// Copy the key and these attribute columns only: a projection, labelled so wherever it is shown
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    columns: Option<Vec<String>>,
    /// How rows are read: get-range; bulk-export, billed by the byte, for tables that keep one version, refused where it
    /// would lose something; or auto: bulk-export where it loses nothing
    #[arg(long, default_value_t = ReadApi::GetRange, value_name = "API")]
    read_api: ReadApi,
    /// What the copy is worth: exact, with what the table's Stream says of the time of the scan; fuzzy, where rows written meanwhile may
    /// be old, new or missing; or auto: exact where all of a table with a Stream is copied
    #[arg(long, default_value_t = WantedConsistency::default(), value_name = "WHAT")]
    consistency: WantedConsistency,
    /// Enable the Stream of tables that have none, keeping records for so many hours; otherwise the source is only read
    #[arg(long, value_name = "HOURS")]
    enable_stream: Option<i32>,
    /// How long the service may take to show a committed record in the Stream; an exact copy takes so much longer
    #[arg(long, default_value = "5m", value_parser = parse_duration, value_name = "DURATION")]
    stream_settle: Duration,
    /// Say what a backup would take, and write nothing; reads at most 4,000 rows
    #[arg(long)]
    dry_run: bool,
    /// Seconds between plain progress lines, and between progress events with --json
    #[arg(long, default_value_t = 10.0, value_parser = parse_seconds, value_name = "SECONDS", help_heading = "Output")]
    progress_every: f64,
}

impl BackupArgs {
    fn options(&self) -> BackupOptions {
        BackupOptions {
            concurrency: self.concurrency,
            memory_bytes: self.memory,
            target_file_bytes: self.target_file_size,
            row_group_rows: self.row_group_rows,
            row_group_bytes: self.row_group_size,
            part_bytes: self.part_size,
            encoding_profile: self.encoding.profile(),
            zstd_level: self.encoding.zstd_level(),
            from_key: self.from_key.clone(),
            to_key: self.to_key.clone(),
            tables_at_once: self.tables_at_once,
            columns: self.columns.clone(),
            read_api: self.read_api,
            consistency: self.consistency,
            stream_settle: self.stream_settle,
            enable_stream: self.enable_stream,
            // Elsewhere the store knows how to name it.
            storage_class: self.stored.storage_class().filter(|_| self.vault.starts_with("oss://")),
        }
    }
}

/// Copies the tables and says which exit code that is worth. An error that is returned has not been printed.
pub(super) async fn run(args: BackupArgs, output: Output, shutdown: &Shutdown) -> Result<u8> {
    let options = args.options();
    options.check()?;
    let limits = |config: &mut TableStoreConfig| {
        if let Some(fixed) = u32::try_from(args.concurrency).ok().filter(|fixed| *fixed > 0) {
            config.concurrency = ConcurrencyLimit::Fixed(fixed);
        }
        config.ceilings.read_units = args.max_read_cu;
        config.ceilings.kibibytes = args.max_bandwidth;
    };
    let network = args.store.network()?;
    let client = args.table_store.connect_with(&args.source, &args.keys, network, limits).await?;
    let selection = select(&client, &args.source.table, &args.exclude).await?;
    let new_table = |table: String| TableRun { table, progress: Arc::new(Progress::default()) };
    let tables: Vec<_> = selection.tables.iter().cloned().map(new_table).collect();
    let runtime = Runtime {
        cpu: CpuPool::new(0)?,
        progress: Arc::new(Progress::default()),
        shutdown: shutdown.clone(),
    };
    if args.dry_run {
        let vault = args.store.open_if_there(&args.vault, &args.keys).await?;
        return dry_run::run(&client, &selection.tables, vault.as_ref(), &options, &runtime, output).await;
    }
    let vault = args.store.open_or_create(&args.vault, &args.stored, &args.keys).await?;
    let with_events = output.json && !output.quiet;
    if with_events {
        Event::Started {
            tool: TOOL,
            source: &args.source.to_string(),
            vault: vault.url(),
            tables: &selection.tables,
            skipped_indexes: &selection.indexes,
        }
        .print()?;
    }
    let audience = match (output.quiet, output.json) {
        (true, _) => Audience::Nobody,
        (false, true) => Audience::Scripts,
        (false, false) => Audience::People,
    };
    let began = Instant::now();
    let every = Duration::from_secs_f64(args.progress_every);
    let display = progress::start(tables.clone(), audience, every);
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let mut outcomes = std::pin::pin!(backup_all(&client, &tables, &vault, &options, &runtime));
    while let Some((index, outcome)) = outcomes.next().await {
        let Some(TableRun { table, progress }) = tables.get(index) else { continue };
        if with_events {
            Event::Progress(Box::new(TableProgress::new(table, progress.snapshot(), None))).print()?;
        }
        match outcome {
            Ok(backup) => {
                let summary = TableSummary::new(&backup, progress);
                if with_events {
                    Event::TableDone(&summary).print()?;
                }
                done.push(summary);
            }
            Err(error) => {
                display.say(&error.report());
                let signal_code = shutdown.requested().map(|signal| signal.exit_code());
                let failure =
                    TableFailure { table: table.clone(), failure: Failure::new(&error, signal_code) };
                if with_events {
                    Event::TableFailed(&failure).print()?;
                }
                failed.push(failure);
            }
        }
    }
    display.finish();
    let seconds = began.elapsed().as_secs_f64();
    let nothing_to_say = is_name(&args.source.table) && done.is_empty();
    let summary = Summary::new(vault.url(), done, failed, selection.indexes, seconds, client.counters());
    if output.json {
        Event::Finished(&summary).print()?;
    } else if !nothing_to_say {
        print_line(&summary.text())?;
    }
    Ok(summary.exit_code)
}

pub(super) fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    (0.01..=86_400.0)
        .contains(&seconds)
        .then_some(seconds)
        .ok_or_else(|| "it must be 0.01 to 86400".to_owned())
}

/// A duration such as `2s`, `5m` or `1h 30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    parsed.ok_or_else(|| "expected a duration such as 2s, 5m or 0s".to_owned())
}

/// `auto` is 0.
pub(super) fn parse_concurrency(text: &str) -> Result<usize, String> {
    match text {
        "auto" => Ok(0),
        number => match number.parse() {
            Ok(ranges) if ranges > 0 => Ok(ranges),
            _ => Err("expected a number from 1 to 1024, or `auto`".to_owned()),
        },
    }
}

/// A size in KiB, rounded up.
pub(super) fn parse_bandwidth(text: &str) -> Result<NonZeroU32, String> {
    let kibibytes = size::parse(text)?.div_ceil(1024);
    u32::try_from(kibibytes)
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| "expected 1 byte to 4TiB".to_owned())
}

/// A key as a JSON array: strings, integers, `{"binary": "hex"}`, `"inf_min"` and `"inf_max"` as `{"inf": …}` are
/// not needed, since a prefix says the same.
pub(super) fn parse_key(text: &str) -> Result<PrimaryKey, String> {
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
    fn concurrency_is_a_number_or_auto_and_bandwidth_a_size() {
        assert_eq!((parse_concurrency("auto"), parse_concurrency("7")), (Ok(0), Ok(7)));
        assert!(parse_concurrency("0").is_err() && parse_concurrency("many").is_err());
        assert_eq!(parse_bandwidth("20MiB").map(NonZeroU32::get), Ok(20 << 10));
        assert!(parse_bandwidth("0").is_err());
    }

    #[test]
    fn keys_are_json_arrays() {
        let key = parse_key(r#"["a", -5, {"binary":"00ff"}]"#).unwrap();
        let parts = [KeyPart::String("a".into()), KeyPart::Integer(-5), KeyPart::Binary(vec![0, 255])];
        assert_eq!(key.parts(), parts);
        assert!(parse_key("a").is_err() && parse_key("[1.5]").is_err() && parse_key("[true]").is_err());
    }
}
