//! `otsvault list`.

use clap::Args;
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs};
use super::{Output, print_json, print_line, size};
use crate::catalog::{Chain, Consistency, RunState, TablePath, Totals, Vault, find_runs};
use crate::{Kind, Result};

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
    /// What follows an exact base.
    #[serde(skip_serializing_if = "Option::is_none")]
    deltas: Option<Deltas>,
}

/// The deltas of a base.
#[derive(Debug, Serialize)]
struct Deltas {
    count: usize,
    records: u64,
    stored_bytes: u64,
    /// Everything that was committed up to here is in the chain.
    known_to: Option<jiff::Timestamp>,
    /// Records that follow are gone.
    has_gap: bool,
    /// Why the chain cannot be used, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
}

pub(super) async fn run(args: ListArgs, output: Output) -> Result<()> {
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let mut lines = Vec::new();
    for table in vault.tables().await? {
        for run in find_runs(&**vault.store(), &table).await? {
            let deltas = Deltas::of(&vault, &table, &run).await?;
            lines.push(Line::new(&table.instance, &table.table, &run, deltas));
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

impl Deltas {
    /// `None` for what no delta can follow.
    async fn of(vault: &Vault, table: &TablePath, run: &RunState) -> Result<Option<Deltas>> {
        let RunState::Committed(path, manifest) = run else { return Ok(None) };
        let Some(zero) = &manifest.delta else { return Ok(None) };
        let chain = match Chain::read(&**vault.store(), table, path).await {
            Ok(chain) => chain,
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Unsupported) => {
                let broken = Some(error.one_line());
                return Ok(Some(Deltas {
                    count: 0,
                    records: 0,
                    stored_bytes: 0,
                    known_to: None,
                    has_gap: false,
                    broken,
                }));
            }
            Err(error) => return Err(error),
        };
        let all = || chain.deltas.iter().map(|link| link.manifest.delta.totals).chain([zero.totals]);
        Ok(Some(Deltas {
            count: chain.deltas.len(),
            records: all().map(|totals| totals.records).sum(),
            stored_bytes: all().map(|totals| totals.stored_bytes).sum(),
            known_to: chain.end().and_then(|end| end.reached()),
            has_gap: chain.gap.is_some(),
            broken: None,
        }))
    }
}

impl Line {
    fn new(instance: &str, table: &str, run: &RunState, deltas: Option<Deltas>) -> Line {
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
            deltas,
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
        match &line.deltas {
            Some(Deltas { broken: Some(_), .. }) => state.push_str(", then broken"),
            Some(deltas) if deltas.count > 0 => {
                state.push_str(&format!(" + {}", size::counted(deltas.count as u64, "delta")));
            }
            _ => {}
        }
        if line.deltas.as_ref().is_some_and(|deltas| deltas.has_gap) {
            state.push_str(", then a gap");
        }
        let stored = line.deltas.as_ref().map_or(0, |deltas| deltas.stored_bytes);
        rows.push([
            format!("{}/{}", line.instance, line.table),
            line.run.clone(),
            state,
            line.totals.map_or_else(|| "-".to_owned(), |totals| size::grouped(totals.rows)),
            line.totals.map_or_else(|| "-".to_owned(), |totals| size::human(totals.stored_bytes + stored)),
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
