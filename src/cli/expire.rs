//! `otsvault expire`.

use std::collections::BTreeSet;

use clap::Args;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs};
use super::list::aligned;
use super::vault_tables::{Outcomes, VaultTables, select};
use super::{Output, size};
use crate::catalog::{Consistency, RunId, RunKind, TablePath};
use crate::retention::{Expired, Expiry, Judged, KeepPolicy, Reason, expire};
use crate::runtime::Shutdown;
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(
    after_help = "Rules add up: what one of them keeps stays. Whole tables, projections and key ranges\n\
    are counted apart, each table by itself; the newest backup stays always. Days, weeks,\n\
    months and years are those of UTC\n\n\
    Examples:\n  otsvault expire oss://backups/prod --keep-last 3 --keep-daily 7 --keep-monthly 12\n  \
    otsvault expire oss://backups/prod orders --keep-within 30d --commit"
)]
pub(super) struct ExpireArgs {
    /// Vault: oss://bucket/prefix, file:///dir or a path
    vault: String,
    /// Table, as `table` or `instance/table`; may be a pattern; by default every table
    table: Option<VaultTables>,
    #[command(flatten)]
    keep: KeepArgs,
    /// A backup to remove, instead of what the rules do not keep; can be repeated
    #[arg(long = "run", value_name = "RUN", conflicts_with = "KeepArgs")]
    runs: Vec<RunId>,
    /// With --run: also where no backup of the table would be left
    #[arg(long, requires = "runs")]
    the_last_too: bool,
    /// Remove what is listed; without it nothing is changed
    #[arg(long)]
    commit: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

/// What to keep.
#[derive(Debug, Args)]
#[group(multiple = true)]
struct KeepArgs {
    /// The newest N backups
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "What to keep")]
    keep_last: Option<u32>,
    /// Backups at most so much older than the newest one, such as 30d or 4w, and the one before them
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "What to keep")]
    keep_within: Option<SignedDuration>,
    /// The newest backup of each of the last N days that have one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "What to keep")]
    keep_daily: Option<u32>,
    /// The newest backup of each of the last N weeks that have one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "What to keep")]
    keep_weekly: Option<u32>,
    /// The newest backup of each of the last N months that have one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "What to keep")]
    keep_monthly: Option<u32>,
    /// The newest backup of each of the last N years that have one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "What to keep")]
    keep_yearly: Option<u32>,
    /// This backup, whatever the rules say; can be repeated
    #[arg(long, value_name = "RUN", help_heading = "What to keep")]
    keep: Vec<RunId>,
}

impl ExpireArgs {
    fn expiry(&self) -> Expiry {
        if !self.runs.is_empty() {
            let runs = self.runs.iter().cloned().collect();
            return Expiry::Named { runs, the_last_too: self.the_last_too };
        }
        let keep = &self.keep;
        Expiry::Policy {
            keep: KeepPolicy {
                last: keep.keep_last,
                within: keep.keep_within,
                daily: keep.keep_daily,
                weekly: keep.keep_weekly,
                monthly: keep.keep_monthly,
                yearly: keep.keep_yearly,
            },
            pinned: keep.keep.iter().cloned().collect(),
        }
    }
}

/// `30d`, `4w`, `12h`. Months and years have no fixed length.
fn parse_time(text: &str) -> Result<SignedDuration, String> {
    let shape = "expected a time in hours, days or weeks, such as 12h, 30d or 4w";
    let span: Span = text.parse().map_err(|_| shape.to_owned())?;
    let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| shape.to_owned())?;
    if time.is_positive() { Ok(time) } else { Err(shape.to_owned()) }
}

/// One table, as `--json` prints it.
#[derive(Debug, Serialize)]
struct TableExpiry {
    instance: String,
    table: String,
    /// Every committed run, oldest first.
    runs: Vec<RunExpiry>,
    /// Runs that an earlier removal hid and did not finish; they go as well.
    unfinished_removals: BTreeSet<RunId>,
}

#[derive(Debug, Serialize)]
struct RunExpiry {
    run: RunId,
    chain: RunId,
    /// Its place in the chain: 0 for the base.
    sequence: u64,
    kind: RunKind,
    consistency: Consistency,
    #[serde(skip_serializing_if = "Option::is_none")]
    projection: Option<Vec<String>>,
    finished_at: jiff::Timestamp,
    stored_bytes: u64,
    keep: bool,
    /// Why it stays.
    because: BTreeSet<Reason>,
    /// Objects that go, and their size.
    objects: u64,
    bytes: u64,
}

/// Expires and says which exit code that is worth.
pub(super) async fn run(args: ExpireArgs, output: Output, shutdown: &Shutdown) -> Result<u8> {
    let expiry = args.expiry();
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let tables = select(&vault, args.table.as_ref()).await?;
    let (vault, expiry) = (&vault, &expiry);
    let work = |table: TablePath| async move {
        let expired = expire(vault, &table, expiry, args.commit, shutdown).await?;
        Ok(TableExpiry::new(table, expired))
    };
    let outcomes = Outcomes::of(vault, &tables, args.commit, shutdown, work).await;
    let code = outcomes.print(output, |tables| text(tables, args.commit))?;
    let seen: BTreeSet<&RunId> =
        outcomes.tables.iter().flat_map(|table| table.runs.iter().map(|run| &run.run)).collect();
    match args.runs.iter().find(|run| !seen.contains(run)) {
        Some(missing) if code == 0 => Err(Error::new(Kind::NotFound, format!("find the backup `{missing}`"))
            .on(format!("in {}", vault.url()))
            .hint("`otsvault list` shows what is there")),
        _ => Ok(code),
    }
}

impl TableExpiry {
    fn new(table: TablePath, expired: Expired) -> TableExpiry {
        TableExpiry {
            instance: table.instance,
            table: table.table,
            runs: expired.runs.into_iter().map(RunExpiry::new).collect(),
            unfinished_removals: expired.unfinished_removals,
        }
    }
}

impl RunExpiry {
    fn new(judged: Judged) -> RunExpiry {
        let (objects, bytes) = judged.goes.unwrap_or_default();
        RunExpiry {
            run: judged.path.run,
            chain: judged.path.chain,
            sequence: judged.path.sequence,
            kind: judged.kind,
            consistency: judged.consistency,
            projection: judged.projection,
            finished_at: judged.finished_at,
            stored_bytes: judged.stored_bytes,
            keep: judged.goes.is_none(),
            because: judged.reasons,
            objects,
            bytes,
        }
    }
}

fn text(tables: &[TableExpiry], committed: bool) -> String {
    let mut lines = Vec::new();
    for table in tables.iter().filter(|table| !table.runs.is_empty() || !table.unfinished_removals.is_empty())
    {
        lines.push(format!("{}/{}", table.instance, table.table));
        let rows: Vec<[String; 6]> = table.runs.iter().map(RunExpiry::row).collect();
        lines.extend(aligned(&rows).lines().map(|line| format!("  {line}")));
        for run in &table.unfinished_removals {
            lines.push(format!("  remove  {run}  hidden by a removal that did not finish"));
        }
    }
    let runs = || tables.iter().flat_map(|table| &table.runs);
    let going = || runs().filter(|run| !run.keep);
    let unfinished: usize = tables.iter().map(|table| table.unfinished_removals.len()).sum();
    let what = format!(
        "{} of {} ({}, {})",
        size::grouped(going().count() as u64),
        size::counted(runs().count() as u64, "backup"),
        size::counted(going().map(|run| run.objects).sum(), "object"),
        size::human(going().map(|run| run.bytes).sum())
    );
    lines.push(match (committed, going().count() + unfinished) {
        (_, 0) => "every backup stays".to_owned(),
        (true, _) => format!("removed {what}"),
        (false, _) => format!("would remove {what}; nothing was changed: add `--commit` to do it"),
    });
    lines.join("\n")
}

impl RunExpiry {
    fn row(&self) -> [String; 6] {
        let mut label = match self.kind {
            RunKind::Base => format!("base, {}", self.consistency),
            RunKind::Delta => format!("delta {}", self.sequence),
        };
        if self.projection.is_some() {
            label.push_str(", projection");
        }
        let because: Vec<_> = self.because.iter().map(Reason::to_string).collect();
        [
            if self.keep { "keep  " } else { "remove" }.to_owned(),
            self.run.to_string(),
            self.finished_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            label,
            size::human(self.stored_bytes),
            because.join(", "),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_hours_days_or_weeks() {
        let hours = |text: &str| parse_time(text).map(|time| time.as_hours());
        assert_eq!((hours("30d"), hours("4w"), hours("12h")), (Ok(720), Ok(672), Ok(12)));
        for wrong in ["", "30", "1mo", "2y", "-3d", "0d", "soon"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
