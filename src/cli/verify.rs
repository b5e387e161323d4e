//! `otsvault verify`.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs, TableStoreArgs};
use super::differences;
use super::source::SourceUrl;
use super::tables::{is_name, parse_glob};
use super::verify_progress::watch;
use super::{Output, print_json, print_line, size};
use crate::catalog::{RunId, TablePath, Vault};
use crate::runtime::CpuPool;
use crate::tablestore::TableStore;
use crate::verify::{
    Level, RunReport, Sample, Verifier, VerifyOptions, VerifyProgress, verify_live, verify_table,
};
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    otsvault verify oss://backups/prod\n  \
    otsvault verify oss://backups/prod 'iot_*' --level sample --sample 3/30\n  \
    otsvault verify ./vault orders --level full\n  \
    otsvault verify ./vault orders --level live --against ots://inst.cn-hangzhou/orders\n\n\
    Exit code 5 where anything differs; everything that does is named.")]
pub(super) struct VerifyArgs {
    /// Vault: oss://bucket/prefix, file:///dir or a path
    vault: String,
    /// Table, as `table` or `instance/table`, or a pattern with *, ?, [a-z], {a,b}; by default every table
    table: Option<String>,
    /// How much is read
    #[arg(long, value_enum, default_value_t = LevelArg::Quick, value_name = "LEVEL")]
    level: LevelArg,
    /// Which run; by default each table's newest committed one
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Data files that level `sample` reads: a share such as 5%, chosen by --seed, or a part such as 3/30: 30 runs read all
    #[arg(long, default_value = "5%", value_name = "SHARE|PART")]
    sample: Sample,
    /// Which files a share is; printed, and another one each time by default
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The table that level `live` compares with, ots://instance[.region]/table; ots://instance/* for the table of the same name
    #[arg(long, value_name = "SOURCE")]
    against: Option<SourceUrl>,
    /// Rows that level `live` names at most
    #[arg(long, default_value_t = 100, value_name = "ROWS")]
    max_differences: usize,
    /// Memory for data files, decoded rows and response bodies together, such as 512MiB
    #[arg(long, default_value = "512MiB", value_parser = size::parse, value_name = "SIZE")]
    memory: u64,
    #[command(flatten)]
    table_store: TableStoreArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

/// The levels, each of which does what the one before it does, `live` aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LevelArg {
    /// Documents, key intervals, and that every object is there and the right one
    Quick,
    /// That, and some data files whole
    Sample,
    /// Every byte: SHA-256, pages, keys, counts, row-sums, statistics
    Full,
    /// Quick, and the table itself, range by range: names the rows that differ
    Live,
}

impl LevelArg {
    fn level(self) -> Level {
        match self {
            LevelArg::Quick => Level::Quick,
            LevelArg::Sample => Level::Sample,
            LevelArg::Full => Level::Full,
            LevelArg::Live => Level::Live,
        }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Verified {
    vault: String,
    level: Level,
    /// What chose the data files of a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Nothing differs.
    sound: bool,
    exit_code: u8,
    runs: Vec<RunReport>,
}

/// Verifies, prints, and says which exit code that is worth.
pub(super) async fn run(args: VerifyArgs, output: Output) -> Result<u8> {
    let seed = args.seed.unwrap_or_else(rand::random);
    let is_share = matches!(args.sample, Sample::Share { .. }) && args.level == LevelArg::Sample;
    let options = VerifyOptions {
        level: args.level.level(),
        sample: args.sample.with_seed(seed),
        memory_bytes: args.memory,
        max_differences: args.max_differences,
    };
    options.check()?;
    let client = args.client().await?;
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let tables = args.tables(&vault).await?;
    let verifier = Verifier { cpu: CpuPool::new(0)?, progress: Arc::new(VerifyProgress::default()) };
    let display = watch(verifier.progress.clone(), output.quiet || output.json);
    let mut runs = Vec::new();
    let verified = async {
        for table in &tables {
            let report = match &client {
                None => verify_table(&vault, table, args.run.as_ref(), &options, &verifier).await,
                Some(client) => {
                    let against = (client, args.against_table(table));
                    verify_live(&vault, table, args.run.as_ref(), against, &options, &verifier).await
                }
            };
            match report {
                Ok(report) => runs.extend(report),
                // A run is of one table.
                Err(error) if error.kind() == Kind::NotFound && tables.len() > 1 && args.run.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
    .await;
    display.finish();
    verified?;
    if runs.is_empty() {
        return Err(args.nothing_found(&vault));
    }
    let sound = runs.iter().all(RunReport::is_sound);
    let exit_code = if sound { 0 } else { Kind::Verification.exit_code() };
    let seed = is_share.then_some(seed);
    if output.json {
        let vault = vault.url().to_owned();
        print_json(&Verified { vault, level: options.level, seed, sound, exit_code, runs })?;
        return Ok(exit_code);
    }
    let texts: Vec<_> = runs.iter().map(|run| text(run, seed)).collect();
    print_line(&texts.join("\n\n"))?;
    Ok(exit_code)
}

impl VerifyArgs {
    /// The table's instance comes from the command line alone: an endpoint in a vault is nobody's word.
    async fn client(&self) -> Result<Option<TableStore>> {
        match (self.level, &self.against) {
            (LevelArg::Live, Some(against)) => {
                let network = self.store.network()?;
                self.table_store.connect_with(against, &self.keys, network, |_| {}).await.map(Some)
            }
            (LevelArg::Live, None) => Err(Error::new(Kind::Usage, "compare with a table")
                .because("nobody said with which")
                .hint("give `--against ots://instance/table`, or `ots://instance/*` for the table of the same name")),
            (_, Some(_)) => Err(Error::new(Kind::Usage, "use `--against`").because("only level `live` reads a table")),
            (_, None) => Ok(None),
        }
    }

    fn against_table<'a>(&'a self, table: &'a TablePath) -> &'a str {
        match &self.against {
            Some(against) if is_name(&against.table) => &against.table,
            _ => &table.table,
        }
    }

    async fn tables(&self, vault: &Vault) -> Result<Vec<TablePath>> {
        let pattern = self.table.as_deref().unwrap_or("*");
        let (instance, name) = pattern.split_once('/').unwrap_or(("*", pattern));
        let glob = |text: &str| {
            parse_glob(text).map_err(|reason| {
                Error::new(Kind::Usage, format!("use the pattern `{pattern}`")).because(reason)
            })
        };
        let (instance, name) = (glob(instance)?, glob(name)?);
        let mut tables = vault.tables().await?;
        tables.retain(|table| instance.is_match(&table.instance) && name.is_match(&table.table));
        if tables.is_empty() {
            return Err(self.nothing_found(vault));
        }
        let with_one = self.against.as_ref().is_some_and(|against| is_name(&against.table));
        if with_one && tables.len() > 1 {
            return Err(Error::new(Kind::Usage, "compare with one table")
                .because(format!("{} tables of the vault were asked for", tables.len()))
                .hint("name the table of the vault, or give `--against ots://instance/*`"));
        }
        Ok(tables)
    }

    fn nothing_found(&self, vault: &Vault) -> Error {
        let what =
            self.table.as_ref().map_or_else(|| "a backup".to_owned(), |table| format!("table `{table}`"));
        Error::new(Kind::NotFound, format!("find {what}"))
            .on(format!("in {}", vault.url()))
            .hint("`otsvault list` shows what is there, unfinished runs included")
    }
}

/// As a person reads it.
fn text(run: &RunReport, seed: Option<u64>) -> String {
    let level = match run.level {
        Level::Quick => "quick",
        Level::Sample => "sample",
        Level::Full => "full",
        Level::Live => "live",
    };
    let label = match (run.consistency, run.is_projection) {
        (None, _) => "not committed".to_owned(),
        (Some(consistency), false) => format!("base, {consistency}"),
        (Some(consistency), true) => format!("base, {consistency}, projection"),
    };
    let mut text = format!(
        "{} {}/{}\n  run         {} ({label})\n  level       {level}\n  objects     {} there with their names and sizes",
        if run.is_sound() { "verified" } else { "NOT AS IT SHOULD BE:" },
        run.instance,
        run.table,
        run.run,
        size::grouped(run.objects),
    );
    if run.files_by_crc64 > 0 {
        let files = size::counted(run.files_by_crc64, "data file");
        text.push_str(&format!("\n  recognised  {files} by the CRC64 that the store keeps"));
    }
    if run.files_by_footer > 0 {
        let files = size::counted(run.files_by_footer, "data file");
        text.push_str(&format!(
            "\n  recognised  {files} by what their footers say; their rows were not read"
        ));
    }
    if run.files_read > 0 {
        text.push_str(&format!(
            "\n  read        {} of {}, {}, {} rows: SHA-256, pages, keys, counts, row-sums, statistics",
            size::grouped(run.files_read),
            size::counted(run.files, "data file"),
            size::human(run.bytes_read),
            size::grouped(run.rows_read),
        ));
    }
    if let Some(seed) = seed {
        text.push_str(&format!("\n  seed        {seed}"));
    }
    if let Some(comparison) = &run.comparison {
        text.push_str(&format!(
            "\n  compared    {} rows of the backup with {} of the table in {} by row-sum, {} of them row by row",
            size::grouped(comparison.left_rows),
            size::grouped(comparison.right_rows),
            size::counted(comparison.ranges, "key range"),
            size::grouped(comparison.differing_ranges - comparison.skipped_ranges),
        ));
    }
    for note in &run.notes {
        text.push_str(&format!("\n  note        {note}"));
    }
    if run.is_sound() {
        text.push_str("\n  differences none");
        return text;
    }
    for fault in &run.faults {
        text.push_str(&format!("\n  `{}`: {}", fault.object, fault.reason));
    }
    if let Some(comparison) = run.comparison.as_ref().filter(|comparison| !comparison.is_equal()) {
        text.push_str(&format!("\n{}", differences::text(comparison)));
    }
    text
}
