//! `otsvault show`.

use clap::Args;
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs};
use super::list::aligned;
use super::{Output, print_json, print_line, size};
use crate::catalog::{
    Chain, ChainGap, DeltaManifest, FileEntry, Manifest, RunPath, RunState, TablePath, Vault, Window,
    find_runs, read_file_list,
};
use crate::columnar::Role;
use crate::{Error, Kind, Result};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  otsvault show ./vault\n  otsvault show oss://backups/prod orders --files"
)]
pub(super) struct ShowArgs {
    /// Vault: oss://bucket/prefix, file:///dir or a path
    vault: String,
    /// Table, as `table` or `instance/table`; by default every table
    table: Option<String>,
    /// Which run; by default the newest committed one
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// List every file with its key interval
    #[arg(long)]
    files: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

#[derive(Debug, Serialize)]
struct Shown {
    /// Where the run is, inside the vault's store.
    path: String,
    #[serde(flatten)]
    manifest: Manifest,
    files: Vec<FileEntry>,
    /// The moments to which an exact base can be restored with its deltas.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<Window>,
    /// The runs that follow an exact base, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deltas: Vec<DeltaManifest>,
    /// Records that follow are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<ChainGap>,
}

pub(super) async fn run(args: ShowArgs, output: Output) -> Result<()> {
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let mut shown = Vec::new();
    for table in vault.tables().await?.iter().filter(|table| selects(args.table.as_deref(), table)) {
        if let Some((path, manifest)) = pick_run(&vault, table, args.run.as_deref()).await? {
            let files = read_file_list(&**vault.store(), &path, &manifest).await?;
            let chain = match manifest.delta {
                Some(_) => Some(Chain::read(&**vault.store(), table, &path).await?),
                None => None,
            };
            let window = chain.as_ref().and_then(Chain::window);
            let gap = chain.as_ref().and_then(|chain| chain.gap.clone());
            let links = chain.map(|chain| chain.deltas).unwrap_or_default();
            let deltas = links.into_iter().map(|link| *link.manifest).collect();
            shown.push(Shown { path: path.prefix().to_string(), manifest, files, window, deltas, gap });
        }
    }
    if shown.is_empty() {
        let what =
            args.table.map_or_else(|| "a committed backup".to_owned(), |table| format!("table `{table}`"));
        return Err(Error::new(Kind::NotFound, format!("find {what}"))
            .on(format!("in {}", vault.url()))
            .hint("`otsvault list` shows what is there, unfinished runs included"));
    }
    if output.json {
        return print_json(&shown);
    }
    let texts: Vec<_> = shown.iter().map(|shown| shown.text(args.files)).collect();
    print_line(&texts.join("\n\n"))
}

fn selects(wanted: Option<&str>, table: &TablePath) -> bool {
    match wanted {
        None => true,
        Some(wanted) => match wanted.split_once('/') {
            Some((instance, name)) => instance == table.instance && name == table.table,
            None => wanted == table.table,
        },
    }
}

async fn pick_run(
    vault: &Vault,
    table: &TablePath,
    wanted: Option<&str>,
) -> Result<Option<(RunPath, Manifest)>> {
    let runs = find_runs(&**vault.store(), table).await?;
    Ok(runs.into_iter().rev().find_map(|run| match run {
        RunState::Committed(path, manifest) if wanted.is_none_or(|wanted| wanted == path.run.as_str()) => {
            Some((path, *manifest))
        }
        _ => None,
    }))
}

impl Shown {
    fn text(&self, with_files: bool) -> String {
        let Manifest { table, totals, .. } = &self.manifest;
        let mut text = format!(
            "{}/{}\n  run           {} ({}, {}{})\n  taken         {} to {}\n  keys          {} to {}\n  \
             rows          {}\n  cells         {}\n  row-sum       {}\n  data          {} by the service's size rule\n  \
             stored        {} in {}{}\n  read          {} in {}, {} capacity units\n  \
             options       time to live {}, max versions {}",
            self.manifest.source.instance,
            table.name,
            self.manifest.run,
            "base",
            self.manifest.consistency,
            if self.manifest.projection.is_some() { ", projection" } else { "" },
            self.manifest.started_at.strftime("%Y-%m-%d %H:%M:%SZ"),
            self.manifest.finished_at.strftime("%Y-%m-%d %H:%M:%SZ"),
            self.manifest.key_range.start,
            self.manifest.key_range.end,
            size::grouped(totals.rows),
            size::grouped(totals.cells),
            totals.row_sum,
            size::human(totals.logical_bytes),
            size::human(totals.stored_bytes),
            size::counted(totals.files, "file"),
            size::times_smaller(totals.logical_bytes, totals.stored_bytes),
            size::human(totals.read.response_bytes),
            size::counted(totals.read.pages, "page"),
            size::grouped(totals.read.capacity_units),
            table.options.time_to_live.map_or_else(
                || "unknown".to_owned(),
                |ttl| match ttl {
                    -1 => "none".to_owned(),
                    seconds => format!("{seconds} s"),
                }
            ),
            table.options.max_versions.map_or_else(|| "unknown".to_owned(), |versions| versions.to_string()),
        );
        if let Some(columns) = &self.manifest.projection {
            text.push_str(&format!(
                "\n  projection    {}; the table's other columns are not in it",
                columns.join(", ")
            ));
        }
        text.push_str(&self.chain());
        if let Some(class) = &self.manifest.storage_class {
            text.push_str(&format!("\n  storage class {class}"));
        }
        text.push_str(&format!("\n  path          {}\n\ncolumns\n", self.path));
        text.push_str(&indented(&self.columns()));
        if with_files {
            text.push_str("\n\nfiles\n");
            text.push_str(&indented(&self.file_rows()));
        }
        text
    }

    /// What the Stream adds to an exact base.
    fn chain(&self) -> String {
        let Some(zero) = &self.manifest.delta else { return String::new() };
        let all = || self.deltas.iter().map(|manifest| &manifest.delta.totals).chain([&zero.totals]);
        let (records, bytes) =
            all().fold((0, 0), |sum, totals| (sum.0 + totals.records, sum.1 + totals.stored_bytes));
        let time = |time: jiff::Timestamp| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let gap = self.gap.as_ref().map_or_else(String::new, |gap| {
            format!(
                "\n  gap           behind run {}, found {}: {}",
                gap.after,
                time(gap.found_at),
                gap.reason
            )
        });
        let window = self.window.map_or_else(
            || "to the end of the chain only".to_owned(),
            |window| format!("{} to {}", time(window.from), time(window.to)),
        );
        format!(
            "\n  deltas        {}, with {} in {}\n  restorable    {window}{gap}",
            size::counted(self.deltas.len() as u64, "delta"),
            size::counted(records, "record"),
            size::human(bytes),
        )
    }

    fn columns(&self) -> String {
        let mut rows = vec![["NAME", "HOLDS", "ENCODING"].map(str::to_owned)];
        for column in self.manifest.columns.columns() {
            rows.push([column.name.clone(), holds(&column.role), format!("{:?}", column.encoding)]);
        }
        aligned(&rows)
    }

    fn file_rows(&self) -> String {
        let mut rows = vec![["FILE", "ROWS", "BYTES", "FROM", "TO (EXCLUSIVE)"].map(str::to_owned)];
        for entry in &self.files {
            rows.push([
                entry
                    .file
                    .as_ref()
                    .map_or_else(|| "(no rows)".to_owned(), |_| format!("{}.parquet", entry.id)),
                size::grouped(entry.rows),
                entry.file.as_ref().map_or_else(|| "-".to_owned(), |file| size::grouped(file.bytes)),
                entry.range.start.to_string(),
                entry.range.end.to_string(),
            ]);
        }
        aligned(&rows)
    }
}

/// What a Parquet column holds, in Table Store's words.
fn holds(role: &Role) -> String {
    match role {
        Role::Key { column, column_type } => format!("primary key column `{column}`, {column_type:?}"),
        Role::Attribute { attribute, value_type } => format!("`{attribute}` where it is {value_type:?}"),
        Role::AttributeTimestamp { attribute } => format!("timestamp of `{attribute}` where it is not `_ts`"),
        Role::RowTimestamp => "timestamp of the row's cells, ms UTC".to_owned(),
        Role::Overflow => "every other cell: older versions, rare types, late columns".to_owned(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
