//! What `backup --json` prints: one JSON object per line. schemas/events-v1.schema.json describes every one.

use std::time::Duration;

use serde::Serialize;

use super::summary::{Failure, Summary, TableFailure, TableSummary};
use super::tables::SkippedIndex;
use super::{print_json_line, size};
use crate::Result;
use crate::runtime::{Phase, ProgressSnapshot, RangeProgress};

/// Ranges that a progress event names.
const SLOWEST: usize = 3;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// The first line.
    Started {
        tool: &'a str,
        source: &'a str,
        vault: &'a str,
        tables: &'a [String],
        skipped_indexes: &'a [SkippedIndex],
    },
    /// Where a table is; at intervals, and once when it ends.
    Progress(Box<TableProgress>),
    /// A table is committed.
    TableDone(&'a TableSummary),
    /// A table is not.
    TableFailed(&'a TableFailure),
    /// The last line, and with `--quiet` the only one.
    Finished(&'a Summary),
    /// The last line where nothing could begin.
    Error(&'a Failure),
}

/// One table's progress.
#[derive(Debug, Serialize)]
pub(super) struct TableProgress {
    table: String,
    phase: Phase,
    elapsed_ms: u64,
    rows: u64,
    pages: u64,
    response_bytes: u64,
    stored_bytes: u64,
    files: u64,
    read_capacity_units: u64,
    splits_total: u64,
    splits_done: u64,
    share_read: f64,
    rows_per_second: u64,
    bytes_per_second: u64,
    seconds_left: Option<u64>,
    /// The ranges with most left.
    slowest: Vec<RangeProgress>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: jiff::Timestamp,
    #[serde(flatten)]
    event: Event<'a>,
}

impl Event<'_> {
    /// Prints it on stdout.
    pub(super) fn print(self) -> Result<()> {
        print_json_line(&Line { time: jiff::Timestamp::now(), event: self })
    }
}

impl TableProgress {
    /// Rates are since `last`, or since the beginning.
    pub(super) fn new(table: &str, now: ProgressSnapshot, last: Option<&ProgressSnapshot>) -> TableProgress {
        let rates = Rates::between(last, &now);
        TableProgress {
            table: table.to_owned(),
            phase: now.phase,
            elapsed_ms: now.elapsed_ms,
            rows: now.rows,
            pages: now.pages,
            response_bytes: now.response_bytes,
            stored_bytes: now.stored_bytes,
            files: now.files,
            read_capacity_units: now.read_capacity_units,
            splits_total: now.splits_total,
            splits_done: now.splits_done,
            share_read: now.share_read,
            rows_per_second: rates.rows,
            bytes_per_second: rates.bytes,
            seconds_left: now.time_left().map(|time| time.as_secs()),
            slowest: now.running.into_iter().take(SLOWEST).collect(),
        }
    }
}

/// Per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub rows: u64,
    pub bytes: u64,
}

impl Rates {
    /// From `last`, or the beginning, to `now`.
    pub(super) fn between(last: Option<&ProgressSnapshot>, now: &ProgressSnapshot) -> Rates {
        let (elapsed, rows, bytes) =
            last.map_or((0, 0, 0), |last| (last.elapsed_ms, last.rows, last.response_bytes));
        let seconds = (Duration::from_millis(now.elapsed_ms - elapsed).as_secs_f64()).max(1e-3);
        let per_second = |amount: u64| (amount as f64 / seconds) as u64;
        Rates { rows: per_second(now.rows - rows), bytes: per_second(now.response_bytes - bytes) }
    }

    /// `61,700 rows/s, 22.8 MiB/s`.
    pub(super) fn text(self) -> String {
        format!("{} rows/s, {}/s", size::grouped(self.rows), size::human(self.bytes))
    }
}
