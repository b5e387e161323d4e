//! `otsvault verify`.

use std::num::NonZeroU32;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs, TableStoreArgs};
use super::differences;
use super::drill::{Drill, Drilled, check_prefix};
use super::source::SourceUrl;
use super::tables::{is_name, parse_glob};
use super::verify_progress::watch;
use super::{Output, print_json, print_line, size, until_stopped};
use crate::catalog::{Chain, Consistency, Moment, RunId, TablePath, Vault};
use crate::runtime::{CpuPool, Shutdown};
use crate::tablestore::{TableStore, TableStoreConfig};
use crate::verify::{
    Level, RunReport, Sample, Verifier, VerifyOptions, VerifyProgress, compare_with_table, verify_live,
    verify_table,
};
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    otsvault verify oss://backups/prod\n  \
    otsvault verify oss://backups/prod 'iot_*' --level sample --sample 3/30\n  \
    otsvault verify ./vault orders --level full\n  \
    otsvault verify ./vault orders --level live --against ots://inst.cn-hangzhou/orders\n  \
    otsvault verify ./vault orders --level drill --scratch ots://test.cn-hangzhou/drill_\n\n\
    Exit code 5 where anything differs; everything that does is named. Exit code 3 where a drill's only\n\
    differences are rows that the service refused.")]
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
    /// The moment whose rows levels `live` and `drill` compare: a time such as 2026-11-26T18:00:00Z, or the id of a run; by default
    /// the end of the newest backup with its deltas
    #[arg(long, value_name = "MOMENT", conflicts_with = "run")]
    at: Option<Moment>,
    /// Data files that level `sample` reads: a share such as 5%, chosen by --seed, or a part such as 3/30: 30 runs read all
    #[arg(long, default_value = "5%", value_name = "SHARE|PART")]
    sample: Sample,
    /// Which files a share is; printed, and another one each time by default
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The table that level `live` compares with, ots://instance[.region]/table; ots://instance/* for the table of the same name
    #[arg(long, value_name = "SOURCE")]
    against: Option<SourceUrl>,
    /// Where level `drill` makes its scratch tables, ots://instance[.region]/PREFIX: a new name each time that begins with
    /// PREFIX, deleted at the end
    #[arg(long, value_name = "PLACE")]
    scratch: Option<SourceUrl>,
    /// Write capacity units that level `drill` uses per second at most
    #[arg(long, value_name = "UNITS")]
    max_write_cu: Option<NonZeroU32>,
    /// Rows that levels `live` and `drill` name at most
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

/// The levels, each of which does what the one before it does, `live` and `drill` aside.
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
    /// Quick, and the way back: restores into a scratch table, compares as live does, deletes the table
    Drill,
}

impl LevelArg {
    fn level(self) -> Level {
        match self {
            LevelArg::Quick => Level::Quick,
            LevelArg::Sample => Level::Sample,
            LevelArg::Full => Level::Full,
            LevelArg::Live => Level::Live,
            LevelArg::Drill => Level::Drill,
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
    runs: Vec<Verdict>,
}

/// One run, verified.
#[derive(Debug, Serialize)]
struct Verdict {
    #[serde(flatten)]
    report: RunReport,
    /// Level drill only.
    #[serde(skip_serializing_if = "Option::is_none")]
    drill: Option<Drilled>,
}

impl Verdict {
    fn exit_code(&self) -> u8 {
        match (&self.drill, self.report.is_sound()) {
            (Some(drilled), _) => drilled.exit_code(&self.report),
            (None, true) => 0,
            (None, false) => Kind::Verification.exit_code(),
        }
    }
}

/// Verifies, prints, and says which exit code that is worth.
pub(super) async fn run(args: VerifyArgs, output: Output, shutdown: &Shutdown) -> Result<u8> {
    let seed = args.seed.unwrap_or_else(rand::random);
    let is_share = matches!(args.sample, Sample::Share { .. }) && args.level == LevelArg::Sample;
    let options = VerifyOptions {
        level: args.level.level(),
        sample: args.sample.with_seed(seed),
        memory_bytes: args.memory,
        max_differences: args.max_differences,
    };
    options.check()?;
    let scene = until_stopped(Scene::set(&args, &options, output, shutdown), shutdown).await?;
    let mut verdicts = Vec::new();
    let verified = scene.verify(&mut verdicts).await;
    if verdicts.is_empty() && verified.is_ok() {
        return Err(args.nothing_found(&scene.vault));
    }
    let sound = verdicts.iter().all(|verdict| verdict.report.is_sound());
    // A difference before a row that was refused before a table that is still there.
    let codes: Vec<_> = verdicts.iter().map(Verdict::exit_code).collect();
    let first = [Kind::Verification, Kind::LeftOut].map(Kind::exit_code);
    let exit_code = first.into_iter().find(|code| codes.contains(code));
    let exit_code = exit_code.or_else(|| codes.into_iter().max()).unwrap_or(0);
    let seed = is_share.then_some(seed);
    if output.json {
        verified?;
        let vault = scene.vault.url().to_owned();
        print_json(&Verified { vault, level: options.level, seed, sound, exit_code, runs: verdicts })?;
        return Ok(exit_code);
    }
    let texts: Vec<_> = verdicts.iter().map(|verdict| text(verdict, seed)).collect();
    if !texts.is_empty() {
        print_line(&texts.join("\n\n"))?;
    }
    verified.map(|()| exit_code)
}

/// Everything the command needs, connected.
struct Scene<'a> {
    args: &'a VerifyArgs,
    options: &'a VerifyOptions,
    output: Output,
    shutdown: &'a Shutdown,
    client: Option<TableStore>,
    vault: Vault,
    tables: Vec<TablePath>,
    verifier: Verifier,
}

impl<'a> Scene<'a> {
    async fn set(
        args: &'a VerifyArgs,
        options: &'a VerifyOptions,
        output: Output,
        shutdown: &'a Shutdown,
    ) -> Result<Scene<'a>> {
        let client = args.client().await?;
        let vault = args.store.open(&args.vault, &args.keys).await?;
        let tables = args.tables(&vault).await?;
        let verifier = Verifier { cpu: CpuPool::new(0)?, progress: Arc::new(VerifyProgress::default()) };
        Ok(Scene { args, options, output, shutdown, client, vault, tables, verifier })
    }

    /// Adds what is found to `verdicts`, until an error.
    async fn verify(&self, verdicts: &mut Vec<Verdict>) -> Result<()> {
        if let (LevelArg::Drill, Some(client), Some(scratch)) =
            (self.args.level, &self.client, &self.args.scratch)
        {
            // Stops by itself: it has something to clean up.
            return self.drill(client, &scratch.table, verdicts).await;
        }
        let display = watch(self.verifier.progress.clone(), self.output.quiet || self.output.json);
        let verified = until_stopped(self.read(verdicts), self.shutdown).await;
        display.finish();
        verified
    }

    async fn read(&self, verdicts: &mut Vec<Verdict>) -> Result<()> {
        let (vault, run, options) = (&self.vault, self.args.run.as_ref(), self.options);
        for table in &self.tables {
            let verified = async {
                let base = self.base_at(table).await?;
                let run = base.as_ref().or(run);
                let Some(client) = &self.client else {
                    return verify_table(vault, table, run, options, &self.verifier).await;
                };
                let against = (client, self.args.against_table(table));
                let Some(moment) = &self.args.at else {
                    return verify_live(vault, table, run, against, options, &self.verifier).await;
                };
                match verify_table(vault, table, run, options, &self.verifier).await? {
                    None => Ok(None),
                    Some(report) => {
                        let verifier = &self.verifier;
                        compare_with_table(vault, table, report, against, moment, options, verifier)
                            .await
                            .map(Some)
                    }
                }
            };
            if let Some(report) = self.of_this_table(verified.await)? {
                verdicts.push(Verdict { report, drill: None });
            }
        }
        Ok(())
    }

    async fn drill(&self, client: &TableStore, prefix: &str, verdicts: &mut Vec<Verdict>) -> Result<()> {
        let drill = Drill {
            client,
            vault: &self.vault,
            prefix,
            options: self.options,
            verifier: &self.verifier,
            shutdown: self.shutdown,
            output: self.output,
        };
        for table in &self.tables {
            let drilled = async {
                let base = self.base_at(table).await?;
                let moment = self.args.at.clone().or(self.args.run.clone().map(Moment::Run));
                drill.run(table, base.as_ref().or(self.args.run.as_ref()), moment).await
            };
            let outcome = drilled.await;
            if let Some((report, drill)) = self.of_this_table(outcome)? {
                verdicts.push(Verdict { report, drill });
            }
        }
        Ok(())
    }

    /// The base of the newest chain that has the moment that was asked for.
    async fn base_at(&self, table: &TablePath) -> Result<Option<RunId>> {
        let Some(moment) = &self.args.at else { return Ok(None) };
        Ok(Some(Chain::find(&**self.vault.store(), table, moment).await?.path.run))
    }

    /// A run is of one table: where many are asked for, the others have none of that id.
    fn of_this_table<T>(&self, outcome: Result<Option<T>>) -> Result<Option<T>> {
        match outcome {
            Err(error)
                if error.kind() == Kind::NotFound
                    && self.tables.len() > 1
                    && (self.args.run.is_some() || self.args.at.is_some()) =>
            {
                Ok(None)
            }
            outcome => outcome,
        }
    }
}

impl VerifyArgs {
    /// The table's instance comes from the command line alone: an endpoint in a vault is nobody's word.
    async fn client(&self) -> Result<Option<TableStore>> {
        let wrong =
            |doing: &'static str, reason: &str| Error::new(Kind::Usage, doing).because(reason.to_owned());
        let place = match (self.level, &self.against, &self.scratch) {
            (LevelArg::Live, Some(against), None) => against,
            (LevelArg::Live, None, _) => {
                return Err(wrong("compare with a table", "nobody said with which")
                    .hint("give `--against ots://instance/table`, or `ots://instance/*` for the table of the same name"));
            }
            (LevelArg::Drill, None, Some(scratch)) => {
                check_prefix(&scratch.table)?;
                scratch
            }
            (LevelArg::Drill, _, None) => {
                return Err(wrong("restore into a scratch table", "nobody said where").hint(
                    "give `--scratch ots://instance/prefix`: the table is new, and deleted at the end",
                ));
            }
            (LevelArg::Quick | LevelArg::Sample | LevelArg::Full, None, None) => return Ok(None),
            (_, Some(_), _) => {
                return Err(wrong(
                    "use `--against`",
                    "only level `live` compares with a table that is there",
                ));
            }
            (_, None, Some(_)) => return Err(wrong("use `--scratch`", "only level `drill` restores")),
        };
        let limits = |config: &mut TableStoreConfig| config.ceilings.write_units = self.max_write_cu;
        let network = self.store.network()?;
        self.table_store.connect_with(place, &self.keys, network, limits).await.map(Some)
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
fn text(verdict: &Verdict, seed: Option<u64>) -> String {
    let run = &verdict.report;
    let level = match run.level {
        Level::Quick => "quick",
        Level::Sample => "sample",
        Level::Full => "full",
        Level::Live => "live",
        Level::Drill => "drill",
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
    if run.consistency == Some(Consistency::Exact) {
        let (deltas, records) = (size::counted(run.deltas, "delta"), size::counted(run.records, "record"));
        text.push_str(&format!(
            "\n  chain       {deltas} after the base, with {records} of the Stream in all"
        ));
    }
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
    if let Some(drilled) = &verdict.drill {
        text.push_str(&drilled.text());
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
