//! `otsvault restore` and `otsvault retry-rejects`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use futures::StreamExt;

use super::backup::{parse_bandwidth, parse_concurrency, parse_key, parse_seconds};
use super::connect::{KeyArgs, StoreArgs, TableStoreArgs};
use super::progress::Audience;
use super::restore_progress;
use super::restore_summary::{RestoreSummary, TableFailure, TableSummary, plan_text};
use super::source::SourceUrl;
use super::summary::Failure;
use super::tables::{is_name, parse_glob};
use super::{Output, print_json, print_json_line, print_line, size};
use crate::catalog::{Moment, RunId, TablePath, Vault};
use crate::fold::TimeToLive;
use crate::model::PrimaryKey;
use crate::restore::{
    AutoIncrement, ErrorLimit, Job, OnConflict, RestoreOptions, RestoreProgress, Restored, Runtime, State,
    plan, restore_all, retry_rejects,
};
use crate::runtime::{ConcurrencyLimit, CpuPool, Shutdown};
use crate::tablestore::{TableStore, TableStoreConfig};
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    otsvault restore oss://backups/prod orders ots://inst.cn-hangzhou/orders_copy\n  \
    otsvault restore oss://backups/prod orders ots://inst.cn-hangzhou/orders_6pm --to 2026-11-26T18:00:00Z\n  \
    otsvault restore oss://backups/prod 'iot_*' 'ots://other.cn-hangzhou/*' --map iot_1=iot_one\n  \
    otsvault restore ./vault orders ots://inst.cn-hangzhou/orders --into-existing merge --from-key '[\"d-17\"]'\n\n\
    Run the same command again after an interruption: it goes on where it stopped. Rows that the service\n\
    refuses are kept in reject files, and the exit code is 3; retry-rejects with the same arguments writes\n\
    them again.")]
pub(super) struct RestoreArgs {
    /// Vault to restore from: oss://bucket/prefix, file:///dir or a path
    vault: String,
    /// Table in the vault, as `table` or `instance/table`; or many: a pattern with *, ?, [a-z], {a,b}
    #[arg(value_name = "SOURCE-TABLE")]
    table: String,
    /// Table to write to: ots://instance[.region]/table; a * in it stands for the name in the vault
    target: SourceUrl,
    /// Restore table A as B, when many are restored; can be repeated
    #[arg(long, value_parser = parse_map, value_name = "A=B")]
    map: Vec<(String, String)>,
    /// As of when: a time such as 2026-11-26T18:00:00Z, or a run: everything up to it and with it. By default all that
    /// the newest chain holds
    #[arg(long, value_name = "TIME|RUN")]
    to: Option<Moment>,
    /// Run to restore, as --to; with --to TIME, the base to begin with instead of the newest that has that moment
    #[arg(long, value_name = "RUN")]
    run: Option<RunId>,
    /// Cells that had expired at that moment, where there are Stream records: apply leaves them out, raw writes them
    #[arg(long, default_value = "apply", value_name = "POLICY")]
    ttl: TimeToLive,
    /// Write into a table that has rows or other options: merge leaves cells that are newer than the backup's,
    /// overwrite replaces rows that are in the backup; rows that are not in it stay in either case
    #[arg(long, value_enum, value_name = "HOW")]
    into_existing: Option<IntoExisting>,
    /// With --into-existing merge, for rows that are in both: newer (per cell, the default), skip (keep the table's row),
    /// fail (leave the backup's row out, as a reject) or overwrite
    #[arg(long, value_name = "POLICY")]
    on_conflict: Option<OnConflict>,
    /// First key to write, as a JSON array of key column values or a prefix of them, such as '["d-17", 5]'
    #[arg(long, value_parser = parse_key, value_name = "JSON")]
    from_key: Option<PrimaryKey>,
    /// Key to stop before, written as for --from-key
    #[arg(long, value_parser = parse_key, value_name = "JSON")]
    to_key: Option<PrimaryKey>,
    /// Write the key and these attribute columns only
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    columns: Option<Vec<String>>,
    /// Write the newest version of each cell only, with a timestamp of the service's
    #[arg(long)]
    flatten: bool,
    /// Values of an auto-increment key column: integer keeps them, in a plain INTEGER column; reassign lets the service
    /// assign new ones and writes down which became which
    #[arg(long, default_value = "integer", value_name = "POLICY")]
    auto_increment: AutoIncrement,
    /// Reserve the throughput that the source had; it is billed whether it is used or not
    #[arg(long)]
    keep_reserved: bool,
    /// Stop when more rows than this were refused, such as 500 or 2%
    #[arg(long, default_value = "10000", value_name = "N|P%")]
    max_errors: ErrorLimit,
    /// Say what a restore would do, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Write anew what this restore has finished already
    #[arg(long)]
    again: bool,
    /// Keep progress and reject files here instead of in the vault: a directory or oss://bucket/prefix
    #[arg(long, value_name = "URL")]
    state: Option<String>,
    #[command(flatten)]
    table_store: TableStoreArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Tables written at the same time; they share --concurrency and --memory
    #[arg(long, default_value_t = 4, value_name = "N")]
    tables_at_once: usize,
    /// Requests in flight, or auto: follow what the service can do
    #[arg(long, default_value = "auto", value_parser = parse_concurrency, value_name = "N|auto")]
    concurrency: usize,
    /// Write capacity units used per second at most
    #[arg(long, value_name = "UNITS")]
    max_write_cu: Option<NonZeroU32>,
    /// Bytes of Table Store requests and answers per second at most, such as 20MiB
    #[arg(long, value_parser = parse_bandwidth, value_name = "SIZE")]
    max_bandwidth: Option<NonZeroU32>,
    /// Memory for files, batches and requests together, such as 512MiB
    #[arg(long, default_value = "512MiB", value_parser = size::parse, value_name = "SIZE")]
    memory: u64,
    /// Seconds between plain progress lines
    #[arg(long, default_value_t = 10.0, value_parser = parse_seconds, value_name = "SECONDS", help_heading = "Output")]
    progress_every: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum IntoExisting {
    Merge,
    Overwrite,
}

/// Restores the tables and says which exit code that is worth. An error that is returned has not been printed.
pub(super) async fn run(args: RestoreArgs, output: Output, shutdown: &Shutdown) -> Result<u8> {
    let scene = Scene::set(&args, shutdown).await?;
    if args.dry_run {
        let mut plans = Vec::new();
        for (job, _) in &scene.jobs {
            plans.push(plan(&scene.client, &scene.vault, job, &scene.options).await?);
        }
        match output.json {
            true => print_json(&plans)?,
            false => print_line(&plan_text(&plans))?,
        }
        return Ok(0);
    }
    let outcomes = restore_all(&scene.client, &scene.vault, &scene.jobs, &scene.options, &scene.runtime);
    scene.play(&args, output, "restored", outcomes).await
}

/// Writes refused rows again and says which exit code that is worth.
pub(super) async fn retry(args: RestoreArgs, output: Output, shutdown: &Shutdown) -> Result<u8> {
    if args.dry_run || args.again {
        return Err(Error::new(Kind::Usage, "use `--dry-run` or `--again`")
            .because("`retry-rejects` writes exactly the rows of the reject files"));
    }
    let scene = Scene::set(&args, shutdown).await?;
    let one = |(index, (job, progress)): (usize, &(Job, Arc<RestoreProgress>))| {
        let runtime = Runtime { progress: progress.clone(), ..scene.runtime.clone() };
        let (scene, job) = (&scene, job.clone());
        async move { (index, retry_rejects(&scene.client, &scene.vault, &job, &scene.options, &runtime).await) }
    };
    let outcomes = futures::stream::iter(scene.jobs.iter().enumerate()).then(one);
    scene.play(&args, output, "retried the rejects of", outcomes).await
}

/// Everything a command needs, connected.
struct Scene {
    client: TableStore,
    vault: Vault,
    options: RestoreOptions,
    jobs: Vec<(Job, Arc<RestoreProgress>)>,
    runtime: Runtime,
    shutdown: Shutdown,
}

impl Scene {
    async fn set(args: &RestoreArgs, shutdown: &Shutdown) -> Result<Scene> {
        let options = args.options()?;
        options.check()?;
        let limits = |config: &mut TableStoreConfig| {
            if let Some(fixed) = u32::try_from(args.concurrency).ok().filter(|fixed| *fixed > 0) {
                config.concurrency = ConcurrencyLimit::Fixed(fixed);
            }
            config.ceilings.write_units = args.max_write_cu;
            config.ceilings.kibibytes = args.max_bandwidth;
        };
        let network = args.store.network()?;
        let client = args.table_store.connect_with(&args.target, &args.keys, network, limits).await?;
        let vault = args.store.open(&args.vault, &args.keys).await?;
        let state = match &args.state {
            Some(url) => {
                let root = args.store.open_beside(url, &args.keys)?;
                Some(State { store: root.store, prefix: root.prefix })
            }
            None => None,
        };
        let mut jobs: Vec<(Job, Arc<RestoreProgress>)> = Vec::new();
        for table in select(&vault, &args.table).await? {
            let target = args.target_of(&table.table)?;
            if let Some((other, _)) = jobs.iter().find(|(job, _)| job.target == target) {
                return Err(Error::new(Kind::Usage, "restore many tables").because(format!(
                    "`{}` and `{}` would both become `{target}`",
                    other.table.table, table.table
                )));
            }
            // Tables of one name in different instances have logs of their own.
            let state = state.clone().map(|state: State| State {
                prefix: state.prefix.join(table.instance.as_str()).join(table.table.as_str()),
                ..state
            });
            jobs.push((Job { table, target, state }, Arc::default()));
        }
        let runtime = Runtime { cpu: CpuPool::new(0)?, progress: Arc::default(), shutdown: shutdown.clone() };
        Ok(Scene { client, vault, options, jobs, runtime, shutdown: shutdown.clone() })
    }

    async fn play(
        &self,
        args: &RestoreArgs,
        output: Output,
        verb: &'static str,
        outcomes: impl futures::Stream<Item = (usize, Result<Restored>)>,
    ) -> Result<u8> {
        let audience = if output.quiet || output.json { Audience::Nobody } else { Audience::People };
        let every = Duration::from_secs_f64(args.progress_every);
        let tables = self.jobs.iter().map(|(job, progress)| (job.target.clone(), progress.clone())).collect();
        let began = Instant::now();
        let display = restore_progress::start(tables, audience, every);
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        let mut outcomes = std::pin::pin!(outcomes);
        while let Some((index, outcome)) = outcomes.next().await {
            let Some((job, progress)) = self.jobs.get(index) else { continue };
            match outcome {
                Ok(restored) => {
                    if let Some(left_out) = restored.left_out() {
                        display.say(&left_out.report());
                    }
                    done.push(TableSummary::new(&job.table.table, restored, progress));
                }
                Err(error) => {
                    display.say(&error.report());
                    let signal_code = self.shutdown.requested().map(|signal| signal.exit_code());
                    let (table, target) = (job.table.table.clone(), job.target.clone());
                    failed.push(TableFailure { table, target, failure: Failure::new(&error, signal_code) });
                }
            }
        }
        display.finish();
        let nothing_to_say = is_name(&args.table) && done.is_empty();
        let target = args.target.to_string();
        let seconds = began.elapsed().as_secs_f64();
        let summary = RestoreSummary::new(
            verb,
            self.vault.url(),
            &target,
            done,
            failed,
            seconds,
            self.client.counters(),
        );
        if output.json {
            print_json_line(&summary)?;
        } else if !nothing_to_say {
            print_line(&summary.text())?;
        }
        Ok(summary.exit_code)
    }
}

impl RestoreArgs {
    fn options(&self) -> Result<RestoreOptions> {
        let wrong =
            |reason: &str| Err(Error::new(Kind::Usage, "use `--on-conflict`").because(reason.to_owned()));
        let on_conflict = match (self.into_existing, self.on_conflict) {
            (None, None) => None,
            (None, Some(_)) => return wrong("it goes with `--into-existing merge`"),
            (Some(IntoExisting::Merge), policy) => Some(policy.unwrap_or(OnConflict::Newer)),
            (Some(IntoExisting::Overwrite), None | Some(OnConflict::Overwrite)) => {
                Some(OnConflict::Overwrite)
            }
            (Some(IntoExisting::Overwrite), Some(_)) => {
                return wrong(
                    "with `--into-existing overwrite` rows are overwritten; use `--into-existing merge`",
                );
            }
        };
        Ok(RestoreOptions {
            run: self.run.clone(),
            to: self.to.clone().unwrap_or_default(),
            time_to_live: self.ttl,
            from_key: self.from_key.clone(),
            to_key: self.to_key.clone(),
            columns: self.columns.clone(),
            flatten: self.flatten,
            on_conflict,
            auto_increment: self.auto_increment,
            keep_reserved: self.keep_reserved,
            memory_bytes: self.memory,
            max_errors: self.max_errors,
            again: self.again,
            tables_at_once: self.tables_at_once,
            ..RestoreOptions::default()
        })
    }

    /// The name under which a table is restored.
    fn target_of(&self, table: &str) -> Result<String> {
        if let Some((_, name)) = self.map.iter().find(|(from, _)| from == table) {
            return Ok(name.clone());
        }
        let pattern = &self.target.table;
        let wrong = |reason: String| {
            Error::new(Kind::Usage, "name the table to restore")
                .on(format!("`{table}` to"))
                .because(reason)
                .hint("a target is `ots://instance/name`, or `ots://instance/*` where many are restored")
        };
        match (pattern.matches('*').count(), is_name(&self.table)) {
            (0, true) => Ok(pattern.clone()),
            (0, false) => Err(wrong(format!("many tables cannot all become `{pattern}`"))),
            (1, _) => Ok(pattern.replace('*', table)),
            _ => Err(wrong(format!("`{pattern}` has more than one `*`"))),
        }
    }
}

/// The tables of a vault that a name or a pattern means, in the order of their names.
///
/// # Errors
/// [`Kind::NotFound`] when nothing matches; [`Kind::Usage`] for a name that two instances have.
async fn select(vault: &Vault, wanted: &str) -> Result<Vec<TablePath>> {
    let (instance, name) = match wanted.split_once('/') {
        Some((instance, name)) => (Some(instance), name),
        None => (None, wanted),
    };
    let matcher = parse_glob(name)
        .map_err(|reason| Error::new(Kind::Usage, format!("use the pattern `{name}`")).because(reason))?;
    let mut tables = vault.tables().await?;
    tables.retain(|table| {
        instance.is_none_or(|instance| instance == table.instance) && matcher.is_match(&table.table)
    });
    tables.sort_by(|a, b| (&a.table, &a.instance).cmp(&(&b.table, &b.instance)));
    let twice = tables.iter().zip(tables.iter().skip(1)).find(|(one, next)| one.table == next.table);
    if let Some((one, next)) = twice {
        return Err(Error::new(Kind::Usage, "pick a table")
            .on(format!("`{}`", one.table))
            .because(format!(
                "it was backed up from instance `{}` and from `{}`",
                one.instance, next.instance
            ))
            .hint(format!("write `{}/{name}` or `{}/{name}`", one.instance, next.instance)));
    }
    match tables.is_empty() {
        false => Ok(tables),
        true => Err(Error::new(Kind::NotFound, format!("find table `{wanted}`"))
            .on(format!("in {}", vault.url()))
            .hint("`otsvault list` shows what is there")),
    }
}

fn parse_map(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err("expected two table names, such as orders=orders_copy".to_owned()),
    }
}
