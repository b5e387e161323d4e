//! What a restore did or would do, for people and for scripts.

use jiff::Timestamp;
use serde::Serialize;

use super::list::aligned;
use super::size;
use super::summary::{Failure, exit_code};
use crate::catalog::RowCounts;
use crate::restore::{RestorePlan, RestoreProgress, Restored, TargetState};
use crate::runtime::peak_resident_bytes;
use crate::{Kind, tablestore};

/// One table that was restored.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TableSummary {
    table: String,
    target: String,
    run: String,
    as_of: Option<Timestamp>,
    records: u64,
    created: bool,
    finished_before: bool,
    rows: RowCounts,
    resumed: RowCounts,
    notes: Vec<String>,
    log: String,
    requests: u64,
    request_bytes: u64,
    row_retries: u64,
    seconds: f64,
}

/// One table that was not.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TableFailure {
    pub table: String,
    pub target: String,
    #[serde(flatten)]
    pub failure: Failure,
}

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct RestoreSummary {
    #[serde(skip)]
    verb: &'static str,
    vault: String,
    target: String,
    /// Sums over the tables that were restored.
    rows: RowCounts,
    seconds: f64,
    requests: tablestore::Counters,
    peak_resident_bytes: Option<u64>,
    pub exit_code: u8,
    tables: Vec<TableSummary>,
    failed: Vec<TableFailure>,
}

impl TableSummary {
    pub(super) fn new(table: &str, restored: Restored, progress: &RestoreProgress) -> TableSummary {
        let progress = progress.snapshot();
        TableSummary {
            table: table.to_owned(),
            target: restored.target,
            run: restored.run.to_string(),
            as_of: restored.as_of,
            records: restored.records,
            created: restored.created,
            finished_before: restored.finished_before,
            rows: restored.rows,
            resumed: restored.resumed,
            notes: restored.notes,
            log: restored.log,
            requests: progress.requests,
            request_bytes: progress.request_bytes,
            row_retries: progress.row_retries,
            seconds: progress.elapsed_ms as f64 / 1_000.0,
        }
    }
}

impl RestoreSummary {
    pub(super) fn new(
        verb: &'static str,
        vault: &str,
        target: &str,
        mut tables: Vec<TableSummary>,
        mut failed: Vec<TableFailure>,
        seconds: f64,
        requests: tablestore::Counters,
    ) -> RestoreSummary {
        tables.sort_by(|a, b| a.table.cmp(&b.table));
        failed.sort_by(|a, b| a.table.cmp(&b.table));
        let mut rows = RowCounts::default();
        tables.iter().for_each(|table| rows += table.rows);
        let codes: Vec<u8> = failed.iter().map(|failed| failed.failure.exit_code).collect();
        let code = match exit_code(&codes, tables.len()) {
            0 if rows.rejected > 0 => Kind::LeftOut.exit_code(),
            code => code,
        };
        RestoreSummary {
            verb,
            vault: vault.to_owned(),
            target: target.to_owned(),
            rows,
            seconds,
            requests,
            peak_resident_bytes: peak_resident_bytes(),
            exit_code: code,
            tables,
            failed,
        }
    }

    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let mut text = match self.tables.as_slice() {
            [table] if self.failed.is_empty() => self.one_table(table),
            _ => self.many_tables(),
        };
        if let Some(bytes) = self.peak_resident_bytes {
            text.push_str(&format!("\n  peak memory {}", size::human(bytes)));
        }
        text
    }

    fn one_table(&self, table: &TableSummary) -> String {
        let mut text = format!("{} `{}` of {} into `{}`", self.verb, table.table, self.vault, table.target);
        text.push_str(&format!("\n  run         {}", table.run));
        if let Some(as_of) = table.as_of {
            let records = size::counted(table.records, "Stream record");
            text.push_str(&format!("\n  as of       {as_of:.0}, {records} folded into the rows"));
        }
        if table.finished_before {
            text.push_str("\n  done        before; nothing was written (`--again` writes it anew)");
        }
        text.push_str(&format!("\n  rows        {}", rows_text(&table.rows)));
        text.push_str(&self.figures());
        if table.resumed.all() > 0 && !table.finished_before {
            text.push_str(&format!(
                "\n  resumed     {} rows were done before",
                size::grouped(table.resumed.all())
            ));
        }
        if table.rows.ambiguous > 0 {
            text.push_str(&format!(
                "\n  ambiguous   {} may lack older versions that a delete brought back; their keys are in `{}/ambiguous`",
                size::counted(table.rows.ambiguous, "row"),
                table.log
            ));
        }
        for note in &table.notes {
            text.push_str(&format!("\n  note        {note}"));
        }
        text
    }

    fn many_tables(&self) -> String {
        let all = self.tables.len() + self.failed.len();
        let mut text = format!(
            "{} {} of {} of {} into {}\n",
            self.verb,
            self.tables.len(),
            size::counted(all as u64, "table"),
            self.vault,
            self.target
        );
        let mut rows = vec![["TABLE", "INTO", "RUN", "ROWS", "REFUSED", "SECONDS"].map(str::to_owned)];
        for table in &self.tables {
            rows.push([
                table.table.clone(),
                table.target.clone(),
                table.run.clone(),
                size::grouped(table.rows.all()),
                size::grouped(table.rows.rejected),
                format!("{:.1}", table.seconds),
            ]);
        }
        if !self.tables.is_empty() {
            aligned(&rows).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
        for TableFailure { table, failure, .. } in &self.failed {
            let reason = failure.error.lines().next().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            text.push_str(&format!("  failed: `{table}`: {reason}\n"));
        }
        for table in &self.tables {
            for note in &table.notes {
                text.push_str(&format!("  note: `{}`: {note}\n", table.target));
            }
        }
        text.push_str(&format!("  rows        {}", rows_text(&self.rows)));
        text.push_str(&self.figures());
        text
    }

    fn figures(&self) -> String {
        let sum = |count: fn(&TableSummary) -> u64| self.tables.iter().map(count).sum::<u64>();
        let resumed = sum(|table| table.resumed.all());
        let rate = self.rows.all().saturating_sub(resumed) as f64 / self.seconds.max(1e-3);
        format!(
            "\n  sent        {} in {}, {} capacity units, {} again\n  time        {:.1} s, {} rows/s",
            size::human(sum(|table| table.request_bytes)),
            size::counted(sum(|table| table.requests), "request"),
            size::grouped(self.rows.write_capacity_units),
            size::counted(sum(|table| table.row_retries), "row"),
            self.seconds,
            size::grouped(rate as u64),
        )
    }
}

/// `1,000 written, 20 there already, 3 refused`.
fn rows_text(rows: &RowCounts) -> String {
    let mut text = format!("{} written", size::grouped(rows.written));
    let others =
        [(rows.there, "there already"), (rows.skipped, "left as they are"), (rows.rejected, "refused")];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {} {what}", size::grouped(count)));
    }
    text
}

/// What restores would do.
pub(super) fn plan_text(plans: &[RestorePlan]) -> String {
    let header =
        ["BACKUP", "RUN", "INTO", "TARGET NOW", "ROWS", "DATA", "READ", "REQUESTS", "WRITE CU", "PARTITIONS"];
    let mut rows = vec![header.map(str::to_owned)];
    for plan in plans {
        let state = match plan.target_state {
            TargetState::Absent => "absent",
            TargetState::Empty => "empty",
            TargetState::Existing => "written into",
            TargetState::Unfinished => "half restored",
            TargetState::Finished => "restored",
        };
        rows.push([
            plan.source.clone(),
            format!("{} ({})", plan.run, plan.consistency),
            plan.target.clone(),
            state.to_owned(),
            size::grouped(plan.rows),
            size::human(plan.data_bytes),
            size::human(plan.stored_bytes),
            size::grouped(plan.requests),
            size::grouped(plan.write_capacity_units),
            if plan.partitions == 0 { "-".to_owned() } else { plan.partitions.to_string() },
        ]);
    }
    let mut text =
        format!("{}\nnothing was written; requests and capacity units are estimates", aligned(&rows));
    for plan in plans {
        if let Some(as_of) = plan.as_of {
            text.push_str(&format!(
                "\n`{}` as of {as_of:.0}: up to {} to fold into the rows",
                plan.target,
                size::counted(plan.records, "Stream record")
            ));
        }
        if plan.rows_done > 0 {
            text.push_str(&format!(
                "\n`{}` has {} of its rows already",
                plan.target,
                size::grouped(plan.rows_done)
            ));
        }
        for note in &plan.notes {
            text.push_str(&format!("\n`{}`: {note}", plan.target));
        }
    }
    text
}
