//! `otsvault backup --dry-run`.

use super::list::aligned;
use super::{Output, print_json, print_line, size};
use crate::Result;
use crate::backup::{BackupOptions, Estimate, Runtime, estimate};
use crate::catalog::Vault;
use crate::tablestore::TableStore;

/// Estimates every table, says so, and writes nothing.
pub(super) async fn run(
    client: &TableStore,
    tables: &[String],
    vault: Option<&Vault>,
    options: &BackupOptions,
    runtime: &Runtime,
    output: Output,
) -> Result<u8> {
    let mut estimates = Vec::new();
    for table in tables {
        estimates.push(estimate(client, table, vault, options, runtime).await?);
    }
    if output.json {
        print_json(&estimates)?;
    } else {
        print_line(&text(&estimates))?;
    }
    Ok(0)
}

fn text(estimates: &[Estimate]) -> String {
    let header =
        ["TABLE", "ROWS", "DATA", "RESPONSES", "REQUESTS", "CAPACITY UNITS", "STORED", "FILES", "WORKERS"];
    let about = |counted: bool, text: String| if counted { text } else { format!("about {text}") };
    let mut rows = vec![header.map(str::to_owned)];
    for estimate in estimates {
        rows.push([
            estimate.table.clone(),
            about(estimate.counted, size::grouped(estimate.rows)),
            size::human(estimate.data_bytes),
            size::human(estimate.response_bytes),
            size::grouped(estimate.requests),
            size::grouped(estimate.capacity_units),
            size::human(estimate.stored_bytes),
            size::grouped(estimate.files),
            estimate.workers.to_string(),
        ]);
    }
    let spent: u64 = estimates.iter().map(|estimate| estimate.capacity_units_spent).sum();
    let sampled: u64 = estimates.iter().map(|estimate| estimate.sampled_rows).sum();
    let mut text = format!(
        "{}\nnothing was written; sizes are the service's estimates, scaled by {} sampled rows, which took {} capacity units",
        aligned(&rows),
        size::grouped(sampled),
        size::grouped(spent),
    );
    for estimate in estimates {
        if let Some(run) = &estimate.resumes {
            text.push_str(&format!(
                "\n`{}` would go on with run {run}, which has {} rows already",
                estimate.table,
                size::grouped(estimate.resumed_rows)
            ));
        }
    }
    text
}
