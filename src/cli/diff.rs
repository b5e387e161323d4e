//! `otsvault diff`.

use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs, TableStoreArgs};
use super::differences;
use super::source::SourceUrl;
use super::tables::is_name;
use super::verify_progress::watch;
use super::{Output, print_json, print_line, size};
use crate::catalog::{Chain, Moment, TablePath, Vault};
use crate::runtime::CpuPool;
use crate::verify::{Comparison, RunSide, Side, TableSide, VerifyOptions, VerifyProgress, compare, find_run};
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(
    after_help = "A side is a backup, VAULT#TABLE[@MOMENT], or the table itself, ots://instance[.region]/table.\n\
    TABLE may be instance/table; MOMENT is a run's id, a time, `newest` (the default) or `previous`.\n\n\
    Examples:\n  \
    otsvault diff oss://backups/prod#orders@previous oss://backups/prod#orders\n  \
    otsvault diff ./vault#orders@2026-11-26T18:00:00Z ./vault#orders\n  \
    otsvault diff ./vault#orders ots://inst.cn-hangzhou/orders --json\n\n\
    Prints + for rows that only B has, - for rows that only A has, ~ for rows whose cells differ.\n\
    Exit code 0 where nothing differs, 5 where something does."
)]
pub(super) struct DiffArgs {
    /// The older side: VAULT#TABLE[@MOMENT] or ots://instance[.region]/table
    a: SideArg,
    /// The newer side
    b: SideArg,
    /// Rows that are named at most
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

/// One side as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SideArg {
    Backup { vault: String, instance: Option<String>, table: String, run: RunArg },
    Table(SourceUrl),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RunArg {
    /// So many before the newest.
    Back(usize),
    /// The end of a run, or a time.
    At(Moment),
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Difference {
    a: String,
    b: String,
    equal: bool,
    exit_code: u8,
    #[serde(flatten)]
    comparison: Comparison,
}

/// Compares, prints, and says which exit code that is worth.
pub(super) async fn run(args: DiffArgs, output: Output) -> Result<u8> {
    let options = VerifyOptions {
        memory_bytes: args.memory,
        max_differences: args.max_differences.max(1),
        ..VerifyOptions::default()
    };
    options.check()?;
    let cpu = CpuPool::new(0)?;
    let (a, a_name) = args.open(&args.a, None, &cpu).await?;
    let projection = match &a {
        Side::Run(run) => run.manifest().projection.clone(),
        Side::Table(_) => None,
    };
    let (b, b_name) = args.open(&args.b, projection, &cpu).await?;
    let a = match (a, &b) {
        // The table is read as the backup was.
        (Side::Table(_), Side::Run(run)) if run.manifest().projection.is_some() => {
            args.open(&args.a, run.manifest().projection.clone(), &cpu).await?.0
        }
        (a, _) => a,
    };
    let progress = Arc::new(VerifyProgress::default());
    let display = watch(progress.clone(), output.quiet || output.json);
    let compared = compare(&a, &b, &options, &progress).await;
    display.finish();
    let comparison = compared?;
    let equal = comparison.is_equal();
    let exit_code = if equal { 0 } else { Kind::Verification.exit_code() };
    if output.json {
        print_json(&Difference { a: a_name, b: b_name, equal, exit_code, comparison })?;
        return Ok(exit_code);
    }
    let mut text = format!(
        "A {a_name}, {} rows\nB {b_name}, {} rows\n  compared {} by row-sum, {} of them row by row",
        size::grouped(comparison.left_rows),
        size::grouped(comparison.right_rows),
        size::counted(comparison.ranges, "key range"),
        size::grouped(comparison.differing_ranges - comparison.skipped_ranges),
    );
    match equal {
        true => text.push_str("\n  no row differs"),
        false => text.push_str(&format!("\n{}", differences::text(&comparison))),
    }
    print_line(&text)?;
    Ok(exit_code)
}

impl DiffArgs {
    /// Opens one side, with how it is called. Each has half of the memory.
    async fn open(
        &self,
        side: &SideArg,
        projection: Option<Vec<String>>,
        cpu: &CpuPool,
    ) -> Result<(Side, String)> {
        let memory = self.memory / 2;
        match side {
            SideArg::Table(source) => {
                let network = self.store.network()?;
                let client = self.table_store.connect_with(source, &self.keys, network, |_| {}).await?;
                let table = TableSide::open(&client, &source.table, projection, cpu, memory).await?;
                Ok((Side::Table(Box::new(table)), source.to_string()))
            }
            SideArg::Backup { vault, instance, table, run } => {
                let vault = self.store.open(vault, &self.keys).await?;
                let table = find_table(&vault, instance.as_deref(), table).await?;
                let (path, manifest, moment) = match run {
                    RunArg::Back(back) => {
                        let (path, manifest) = find_run(&vault, &table, None, *back).await?;
                        (path, manifest, Moment::End)
                    }
                    RunArg::At(moment) => {
                        let chain = Chain::find(&**vault.store(), &table, moment).await?;
                        (chain.path, *chain.base, moment.clone())
                    }
                };
                let label = if manifest.projection.is_some() { ", projection" } else { "" };
                let name = format!(
                    "{}#{}/{}@{} ({}{label})",
                    vault.url(),
                    table.instance,
                    table.table,
                    match &moment {
                        Moment::End => path.run.to_string(),
                        moment => moment.to_string(),
                    },
                    manifest.consistency
                );
                let run = RunSide::open(&vault, &table, (path, manifest), &moment, cpu, memory).await?;
                Ok((Side::Run(Box::new(run)), name))
            }
        }
    }
}

async fn find_table(vault: &Vault, instance: Option<&str>, table: &str) -> Result<TablePath> {
    let mut tables = vault.tables().await?;
    tables.retain(|found| found.table == table && instance.is_none_or(|instance| instance == found.instance));
    match tables.len() {
        0 => Err(Error::new(Kind::NotFound, format!("find table `{table}`"))
            .on(format!("in {}", vault.url()))
            .hint("`otsvault list` shows what is there")),
        1 => Ok(tables.remove(0)),
        count => Err(Error::new(Kind::Usage, format!("choose a table `{table}`"))
            .on(format!("in {}", vault.url()))
            .because(format!("{count} instances have one"))
            .hint("write it as `instance/table`")),
    }
}

impl FromStr for SideArg {
    type Err = String;

    fn from_str(text: &str) -> Result<SideArg, String> {
        if text.starts_with("ots://") {
            let source: SourceUrl = text.parse()?;
            return if is_name(&source.table) {
                Ok(SideArg::Table(source))
            } else {
                Err("a side is one table, not a pattern".to_owned())
            };
        }
        const SHAPE: &str = "a side looks like VAULT#TABLE, VAULT#TABLE@MOMENT or ots://instance/table";
        // A vault's own name may have one too.
        let (vault, rest) = text.rsplit_once('#').ok_or(SHAPE)?;
        let (table, run) = match rest.split_once('@') {
            None | Some((_, "newest")) => (rest.split('@').next().unwrap_or(rest), RunArg::Back(0)),
            Some((table, "previous")) => (table, RunArg::Back(1)),
            Some((table, run)) => {
                let moment = run.parse().map_err(|_| {
                    "a moment is a run's id as `otsvault list` shows it, a time such as 2026-11-26T18:00:00Z, `newest` or `previous`"
                })?;
                (table, RunArg::At(moment))
            }
        };
        let (instance, table) = match table.split_once('/') {
            Some((instance, table)) => (Some(instance.to_owned()), table),
            None => (None, table),
        };
        if vault.is_empty() || table.is_empty() {
            return Err(SHAPE.to_owned());
        }
        Ok(SideArg::Backup { vault: vault.to_owned(), instance, table: table.to_owned(), run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(vault: &str, instance: Option<&str>, table: &str, run: RunArg) -> SideArg {
        SideArg::Backup { vault: vault.into(), instance: instance.map(Into::into), table: table.into(), run }
    }

    #[test]
    fn sides_are_read_as_people_write_them() {
        let id = Moment::Run("20261122t161530z-9f3a2c71".parse().unwrap());
        let time = Moment::Time("2026-11-26T18:00:00Z".parse().unwrap());
        for (text, side) in [
            ("./vault#orders", backup("./vault", None, "orders", RunArg::Back(0))),
            ("./vault#orders@newest", backup("./vault", None, "orders", RunArg::Back(0))),
            ("oss://b/p#i-1/orders@previous", backup("oss://b/p", Some("i-1"), "orders", RunArg::Back(1))),
            ("/a#b#t@20261122t161530z-9f3a2c71", backup("/a#b", None, "t", RunArg::At(id))),
            ("v#t@2026-11-26T18:00:00Z", backup("v", None, "t", RunArg::At(time))),
            ("ots://i/t", SideArg::Table("ots://i/t".parse().unwrap())),
        ] {
            assert_eq!(text.parse(), Ok(side), "{text}");
        }
        for wrong in ["./vault", "./vault#", "#t", "./vault#t@yesterday", "ots://i", "ots://i/t*"] {
            assert!(wrong.parse::<SideArg>().is_err(), "{wrong}");
        }
    }
}
