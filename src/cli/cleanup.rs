//! `otsvault cleanup`.

use std::collections::BTreeSet;

use clap::Args;
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs};
use super::vault_tables::{Outcomes, VaultTables, select};
use super::{Output, size};
use crate::catalog::{RunId, TablePath};
use crate::retention::{Cleanup, CleanupPlan, cleanup};
use crate::runtime::Shutdown;
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(after_help = "Removed are, once nothing of them was written for a day:\n  \
    - unfinished runs that no backup goes on with: over a week old, or named by --run\n  \
    - in committed runs: files that are in no file list, lists that no manifest names\n  \
    - uploads that were begun and not ended, and old leases\n\
    Nothing else, and only objects whose names otsvault gives\n\n\
    Examples:\n  otsvault cleanup oss://backups/prod\n  otsvault cleanup oss://backups/prod orders --commit")]
pub(super) struct CleanupArgs {
    /// Vault: oss://bucket/prefix, file:///dir or a path
    vault: String,
    /// Table, as `table` or `instance/table`; may be a pattern; by default every table
    table: Option<VaultTables>,
    /// An unfinished run to give up although a backup could go on with it; can be repeated
    #[arg(long = "run", value_name = "RUN")]
    runs: Vec<RunId>,
    /// Remove what is listed; without it nothing is changed
    #[arg(long)]
    commit: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

/// One table, as `--json` prints it.
#[derive(Debug, Serialize)]
struct TableCleanup {
    instance: String,
    table: String,
    #[serde(flatten)]
    plan: CleanupPlan,
    /// Whether the store can list open uploads; if not, there may be some.
    uploads_listed: bool,
}

/// Cleans up and says which exit code that is worth.
pub(super) async fn run(args: CleanupArgs, output: Output, shutdown: &Shutdown) -> Result<u8> {
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let tables = select(&vault, args.table.as_ref()).await?;
    let named: BTreeSet<RunId> = args.runs.iter().cloned().collect();
    let (vault, named) = (&vault, &named);
    let clean = |table: TablePath| async move {
        let Cleanup { plan, uploads_listed } = cleanup(vault, &table, named, args.commit, shutdown).await?;
        Ok(TableCleanup { instance: table.instance, table: table.table, plan, uploads_listed })
    };
    let outcomes = Outcomes::of(vault, &tables, args.commit, shutdown, clean).await;
    let code = outcomes.print(output, |tables| text(tables, args.commit))?;
    let seen: BTreeSet<&RunId> = outcomes.tables.iter().flat_map(|table| table.plan.runs_seen()).collect();
    match named.iter().find(|run| !seen.contains(run)) {
        Some(missing) if code == 0 => {
            Err(Error::new(Kind::NotFound, format!("find the unfinished run `{missing}`"))
                .on(format!("in {}", vault.url()))
                .hint("`otsvault list` shows what is there"))
        }
        _ => Ok(code),
    }
}

fn text(tables: &[TableCleanup], committed: bool) -> String {
    let mut lines = Vec::new();
    for table in tables {
        lines.extend(table.text());
    }
    let sum = |of: fn(&CleanupPlan) -> u64| tables.iter().map(|table| of(&table.plan)).sum::<u64>();
    let (objects, bytes, uploads) =
        (sum(CleanupPlan::object_count), sum(CleanupPlan::bytes), sum(CleanupPlan::upload_count));
    let what = format!(
        "{} ({}) and {}",
        size::counted(objects, "object"),
        size::human(bytes),
        size::counted(uploads, "open upload")
    );
    lines.push(match (committed, objects + uploads) {
        (_, 0) => "nothing to clean up".to_owned(),
        (true, _) => format!("removed {what}"),
        (false, _) => format!("would remove {what}; nothing was changed: add `--commit` to do it"),
    });
    lines.join("\n")
}

impl TableCleanup {
    fn text(&self) -> Vec<String> {
        let plan = &self.plan;
        let mut lines = Vec::new();
        for dead in &plan.runs {
            let mut what = format!(
                "  remove  run {}, {}, {}",
                dead.run,
                size::counted(dead.objects.len() as u64, "object"),
                size::human(dead.bytes)
            );
            if dead.uploads > 0 {
                what.push_str(&format!(", {}", size::counted(dead.uploads, "open upload")));
            }
            lines.push(format!("{what}: {}", dead.why));
        }
        for orphan in &plan.objects {
            lines.push(format!("  remove  `{}`: {}", orphan.object, orphan.why));
        }
        for stale in &plan.uploads {
            lines.push(format!("  abort   upload of `{}`, begun {:.0}", stale.object, stale.initiated));
        }
        for left in &plan.left {
            lines.push(format!("  keep    run {}: {}", left.run, left.why));
        }
        lines.extend(plan.locked.iter().map(|why| format!("  keep    everything: {why}")));
        if plan.foreign_objects > 0 {
            let others = size::counted(plan.foreign_objects, "object");
            lines.push(format!("  keep    {others} whose names are not ours"));
        }
        if !self.uploads_listed {
            lines.push("  the store cannot list open uploads: leave them to a lifecycle rule".to_owned());
        }
        if !lines.is_empty() {
            lines.insert(0, format!("{}/{}", self.instance, self.table));
        }
        lines
    }
}
