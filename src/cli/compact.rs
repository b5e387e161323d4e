//! `otsvault compact`.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::connect::{KeyArgs, StoreArgs};
use super::encoding::EncodingArgs;
use super::vault_tables::{Outcomes, VaultTables, select};
use super::{Output, size};
use crate::Result;
use crate::catalog::{Moment, TablePath};
use crate::compact::{CompactOptions, compact};
use crate::parquet_file::WriterSettings;
use crate::runtime::{CpuPool, Shutdown, peak_resident_bytes};

#[derive(Debug, Args)]
#[command(
    after_help = "The new base is the table at the end of its newest chain, or of the run that --to names, to the last version;\n\
    the next delta follows it. Table Store is not asked. The old chain stays until `otsvault expire` removes it.\n\
    Stop `otsvault delta --follow` meanwhile.\n\n\
    Examples:\n  otsvault compact oss://backups/prod orders\n  otsvault compact ./vault 'iot_*' --memory 2GiB"
)]
pub(super) struct CompactArgs {
    /// Vault: oss://bucket/prefix, file:///dir or a path
    vault: String,
    /// Table, as `table` or `instance/table`; may be a pattern
    table: VaultTables,
    /// Run up to which deltas are folded, that one included; by default all of the newest chain. The new base is then the newest one:
    /// the next delta reads what came after that run from the Stream again
    #[arg(long, value_name = "RUN")]
    to: Option<Moment>,
    /// Bytes of a data file, about
    #[arg(long, default_value = "256MiB", value_parser = size::parse, value_name = "SIZE")]
    target_file_size: u64,
    #[command(flatten)]
    encoding: EncodingArgs,
    /// Memory for records, files and batches together
    #[arg(long, default_value = "512MiB", value_parser = size::parse, value_name = "SIZE")]
    memory: u64,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    keys: KeyArgs,
}

/// One table, as `--json` prints it.
#[derive(Debug, Serialize)]
struct TableCompaction {
    instance: String,
    table: String,
    run: String,
    /// The run up to which was folded, and its chain.
    folded_run: Option<String>,
    folded_chain: Option<String>,
    rows: u64,
    files: u64,
    stored_bytes: u64,
    records: u64,
    /// Rows that may lack older versions, and the first of their keys.
    ambiguous: u64,
    ambiguous_keys: Vec<crate::model::PrimaryKey>,
    seconds: f64,
    peak_resident_bytes: Option<u64>,
}

/// Compacts the tables and says which exit code that is worth.
pub(super) async fn run(args: CompactArgs, output: Output, shutdown: &Shutdown) -> Result<u8> {
    let options = CompactOptions {
        to: args.to.clone().unwrap_or_default(),
        target_file_bytes: args.target_file_size,
        memory_bytes: args.memory,
        writer: WriterSettings {
            profile: args.encoding.profile(),
            zstd_level: args.encoding.zstd_level(),
            ..WriterSettings::default()
        },
    };
    options.check()?;
    let vault = args.store.open(&args.vault, &args.keys).await?;
    let tables = select(&vault, Some(&args.table)).await?;
    let cpu = CpuPool::new(0)?;
    let (vault, options, cpu) = (&vault, &options, &cpu);
    let one = |table: TablePath| async move {
        let began = Instant::now();
        let done = compact(vault, &table, options, cpu, shutdown).await?;
        let from = done.manifest.compacted.as_ref();
        Ok(TableCompaction {
            instance: table.instance,
            table: table.table,
            run: done.manifest.run.to_string(),
            folded_run: from.map(|from| from.run.to_string()),
            folded_chain: from.map(|from| from.chain.to_string()),
            rows: done.manifest.totals.rows,
            files: done.manifest.totals.files,
            stored_bytes: done.manifest.totals.stored_bytes,
            records: done.records,
            ambiguous: done.ambiguous.rows,
            ambiguous_keys: done.ambiguous.keys,
            seconds: began.elapsed().as_secs_f64(),
            peak_resident_bytes: peak_resident_bytes(),
        })
    };
    let outcomes = Outcomes::of(vault, &tables, true, shutdown, one).await;
    outcomes.print(output, |tables| {
        let texts: Vec<String> = tables.iter().map(TableCompaction::text).collect();
        texts.join("\n")
    })
}

impl TableCompaction {
    fn text(&self) -> String {
        let mut text = format!(
            "compacted {}/{}\n  new base    {}\n  folded      {} up to run {}\n  rows        {}\n  stored      {} in {}\n  time        {:.1} s",
            self.instance,
            self.table,
            self.run,
            size::counted(self.records, "Stream record"),
            self.folded_run.as_deref().unwrap_or("-"),
            size::grouped(self.rows),
            size::human(self.stored_bytes),
            size::counted(self.files, "file"),
            self.seconds,
        );
        if self.ambiguous > 0 {
            text.push_str(&format!(
                "\n  ambiguous   {} may lack older versions that a delete brought back; `--json` names them",
                size::counted(self.ambiguous, "row")
            ));
        }
        if let Some(bytes) = self.peak_resident_bytes {
            text.push_str(&format!("\n  peak memory {}", size::human(bytes)));
        }
        text
    }
}
