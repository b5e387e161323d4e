//! `otsvault list`.

use clap::Args;
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs};
use super::{Output, print_json, print_line, size};
use crate::Result;
use crate::catalog::{Consistency, RunState, Totals, find_runs};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  otsvault list oss://backups/prod")]
pub(super) struct ListArgs {
    /// Vault: oss://bucket/prefix, file:///dir or a path
    vault: String,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

/// One run, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line {
    instance: String,
    table: String,
    run: String,
    chain: String,
    /// `committed` or `unfinished`.
    state: &'static str,
    consistency: Option<Consistency>,
    /// The attribute columns, where not all were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    projection: Option<Vec<String>>,
    started_at: jiff::Timestamp,
    finished_at: Option<jiff::Timestamp>,
    totals: Option<Totals>,
}

pub(super) async fn run(args: ListArgs, output: Output) -> Result<()> {
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let mut lines = Vec::new();
    for table in vault.tables().await? {
        for run in find_runs(&**vault.store(), &table).await? {
            lines.push(Line::new(&table.instance, &table.table, &run));
        }
    }
    if output.json {
        return print_json(&lines);
    }
    if lines.is_empty() {
        return print_line(&format!("no backups in {}", vault.url()));
    }
    print_line(&table_text(&lines))
}

impl Line {
    fn new(instance: &str, table: &str, run: &RunState) -> Line {
        let path = run.path();
        let line = |state, consistency, projection, started_at, finished_at, totals| Line {
            instance: instance.to_owned(),
            table: table.to_owned(),
            run: path.run.to_string(),
            chain: path.chain.to_string(),
            state,
            consistency,
            projection,
            started_at,
            finished_at,
            totals,
        };
        match run {
            RunState::Committed(_, manifest) => line(
                "committed",
                Some(manifest.consistency),
                manifest.projection.clone(),
                manifest.started_at,
                Some(manifest.finished_at),
                Some(manifest.totals),
            ),
            RunState::Unfinished(_, started) => {
                line("unfinished", None, started.projection.clone(), started.started_at, None, None)
            }
        }
    }
}

fn table_text(lines: &[Line]) -> String {
    let mut rows = vec![["TABLE", "RUN", "STATE", "ROWS", "STORED", "FINISHED"].map(str::to_owned)];
    for line in lines {
        let mut state =
            line.consistency.map_or_else(|| line.state.to_owned(), |label| format!("base, {label}"));
        if line.projection.is_some() {
            state.push_str(", projection");
        }
        rows.push([
            format!("{}/{}", line.instance, line.table),
            line.run.clone(),
            state,
            line.totals.map_or_else(|| "-".to_owned(), |totals| size::grouped(totals.rows)),
            line.totals.map_or_else(|| "-".to_owned(), |totals| size::human(totals.stored_bytes)),
            line.finished_at
                .map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()),
        ]);
    }
    aligned(&rows)
}

/// Columns padded to their widest cell; numbers are not treated differently.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
