//! What a backup did, for people and for scripts.

use serde::Serialize;

use super::list::aligned;
use super::size;
use super::tables::SkippedIndex;
use crate::backup::{Backup, WorkerUse};
use crate::catalog::{Consistency, Totals};
use crate::runtime::{Progress, peak_resident_bytes};
use crate::{Error, Kind, tablestore};

/// One table that was copied.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TableSummary {
    pub table: String,
    run: String,
    consistency: Consistency,
    /// The attribute columns, where not all were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    projection: Option<Vec<String>>,
    totals: Totals,
    /// This attempt's wall time.
    seconds: f64,
    resumed_entries: usize,
    resumed_rows: u64,
    planning_capacity_units: u64,
    workers: WorkerUse,
}

/// One table that was not.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TableFailure {
    pub table: String,
    #[serde(flatten)]
    pub failure: Failure,
}

/// An error, for scripts.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failure {
    /// As a person reads it.
    pub error: String,
    pub kind: String,
    pub exit_code: u8,
    pub service_code: Option<String>,
    pub request_id: Option<String>,
}

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub vault: String,
    /// Sums over the tables that were copied.
    totals: Totals,
    /// This process's wall time.
    pub seconds: f64,
    planning_capacity_units: u64,
    requests: tablestore::Counters,
    peak_resident_bytes: Option<u64>,
    pub exit_code: u8,
    tables: Vec<TableSummary>,
    failed: Vec<TableFailure>,
    skipped_indexes: Vec<SkippedIndex>,
}

impl TableSummary {
    pub(super) fn new(done: &Backup, progress: &Progress) -> TableSummary {
        let manifest = &done.manifest;
        TableSummary {
            table: manifest.table.name.clone(),
            run: manifest.run.to_string(),
            consistency: manifest.consistency,
            projection: manifest.projection.clone(),
            totals: manifest.totals,
            seconds: progress.elapsed().as_secs_f64(),
            resumed_entries: done.resumed_entries,
            resumed_rows: done.resumed_rows,
            planning_capacity_units: done.planning_capacity_units,
            workers: done.workers,
        }
    }
}

impl Failure {
    /// `signal_code` is the exit code of the signal that stopped the process, if one did.
    pub(super) fn new(error: &Error, signal_code: Option<u8>) -> Failure {
        // A run that a signal stopped reports the signal, as shells and supervisors expect.
        let exit_code = match (error.kind(), signal_code) {
            (Kind::Stopped, Some(code)) => code,
            _ => error.exit_code(),
        };
        Failure {
            error: error.report(),
            kind: format!("{:?}", error.kind()),
            exit_code,
            service_code: error.service_code().map(str::to_owned),
            request_id: error.service_request_id().map(str::to_owned),
        }
    }
}

impl Summary {
    pub(super) fn new(
        vault: &str,
        mut tables: Vec<TableSummary>,
        mut failed: Vec<TableFailure>,
        skipped_indexes: Vec<SkippedIndex>,
        seconds: f64,
        requests: tablestore::Counters,
    ) -> Summary {
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        failed.sort_by(|a, b| a.table.cmp(&b.table));
        let mut totals = Totals::default();
        tables.iter().for_each(|table| totals += table.totals);
        let codes: Vec<u8> = failed.iter().map(|failed| failed.failure.exit_code).collect();
        Summary {
            vault: vault.to_owned(),
            totals,
            seconds,
            planning_capacity_units: tables.iter().map(|table| table.planning_capacity_units).sum(),
            requests,
            peak_resident_bytes: peak_resident_bytes(),
            exit_code: exit_code(&codes, tables.len()),
            tables,
            failed,
            skipped_indexes,
        }
    }

    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let mut text = match self.tables.as_slice() {
            [table] if self.failed.is_empty() && self.skipped_indexes.is_empty() => self.one_table(table),
            _ => self.many_tables(),
        };
        if let Some(bytes) = self.peak_resident_bytes {
            text.push_str(&format!("\n  peak memory {}", size::human(bytes)));
        }
        text
    }

    fn one_table(&self, table: &TableSummary) -> String {
        let mut text = format!(
            "backed up `{}` to {}\n  run         {} ({})",
            table.table,
            self.vault,
            table.run,
            label(table)
        );
        if let Some(columns) = &table.projection {
            text.push_str(&format!("\n  columns     {}; no others", columns.join(", ")));
        }
        text.push_str(&format!(
            "\n  rows        {}\n  row-sum     {}",
            size::grouped(table.totals.rows),
            table.totals.row_sum
        ));
        text.push_str(&self.figures(table.resumed_rows));
        if table.resumed_entries > 0 {
            let rows = size::grouped(table.resumed_rows);
            text.push_str(&format!(
                "\n  resumed     {rows} rows in {} intervals were done",
                table.resumed_entries
            ));
        }
        text
    }

    fn many_tables(&self) -> String {
        let all = self.tables.len() + self.failed.len();
        let mut text = format!(
            "backed up {} of {} to {}\n",
            self.tables.len(),
            size::counted(all as u64, "table"),
            self.vault
        );
        let mut rows = vec![["TABLE", "RUN", "ROWS", "STORED", "SECONDS"].map(str::to_owned)];
        for table in &self.tables {
            rows.push([
                table.table.clone(),
                format!("{} ({})", table.run, label(table)),
                size::grouped(table.totals.rows),
                size::human(table.totals.stored_bytes),
                format!("{:.1}", table.seconds),
            ]);
        }
        if !self.tables.is_empty() {
            aligned(&rows).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
        for TableFailure { table, failure } in &self.failed {
            let reason = failure.error.lines().next().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            text.push_str(&format!("  failed: `{table}`: {reason}\n"));
        }
        for skipped in &self.skipped_indexes {
            text.push_str(&format!("  left out: `{}` is an index of `{}`\n", skipped.index, skipped.table));
        }
        text.push_str(&format!("  rows        {}", size::grouped(self.totals.rows)));
        text.push_str(&self.figures(self.tables.iter().map(|table| table.resumed_rows).sum()));
        text
    }

    fn figures(&self, resumed_rows: u64) -> String {
        let totals = &self.totals;
        let rate = (totals.rows - resumed_rows) as f64 / self.seconds.max(1e-3);
        format!(
            "\n  read        {} in {}, {} capacity units\n  stored      {} in {}{}\n  time        {:.1} s, {} rows/s",
            size::human(totals.read.response_bytes),
            size::counted(totals.read.pages, "page"),
            size::grouped(totals.read.capacity_units + self.planning_capacity_units),
            size::human(totals.stored_bytes),
            size::counted(totals.files, "file"),
            size::times_smaller(totals.read.response_bytes, totals.stored_bytes),
            self.seconds,
            size::grouped(rate as u64),
        )
    }
}

/// `fuzzy`, `fuzzy, projection`.
fn label(table: &TableSummary) -> String {
    match table.projection {
        None => table.consistency.to_string(),
        Some(_) => format!("{}, projection", table.consistency),
    }
}

/// 0 when nothing failed; the code that all failures share when nothing else happened, or else 1; 3 when some tables were
/// copied. A signal's code goes before all.
pub(super) fn exit_code(failed: &[u8], done: usize) -> u8 {
    let signal = failed.iter().copied().find(|code| *code > 128);
    match (signal, failed) {
        (Some(code), _) => code,
        (None, []) => 0,
        (None, _) if done > 0 => Kind::LeftOut.exit_code(),
        (None, [first, rest @ ..]) => {
            if rest.iter().all(|code| code == first) {
                *first
            } else {
                1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_whether_everything_something_or_nothing_is_done() {
        assert_eq!(exit_code(&[], 3), 0);
        assert_eq!(exit_code(&[7], 0), 7);
        assert_eq!(exit_code(&[7, 7], 0), 7);
        assert_eq!(exit_code(&[7, 6], 0), 1);
        assert_eq!(exit_code(&[7], 2), 3);
        assert_eq!(exit_code(&[7, 130], 2), 130);
    }
}
