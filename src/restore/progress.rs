//! Counters that a running restore keeps and that a printer reads.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::catalog::RowCounts;

/// Live totals of one restore. Added to once per request or row group, never per row.
#[derive(Debug, Default)]
pub struct RestoreProgress {
    phase: AtomicU8,
    rows_total: AtomicU64,
    rows_done: AtomicU64,
    rows_rejected: AtomicU64,
    row_retries: AtomicU64,
    requests: AtomicU64,
    request_bytes: AtomicU64,
    units_total: AtomicU64,
    units_done: AtomicU64,
    records: AtomicU64,
    times: Mutex<Times>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Times {
    began: Option<Instant>,
    ended: Option<Instant>,
}

/// Where a restore is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestorePhase {
    /// Not begun.
    #[default]
    Waiting,
    /// Looking at backup and target; making the table.
    Preparing,
    /// Writing rows.
    Writing,
    /// Giving the table its options, Stream and indexes.
    Finishing,
    /// Over, well or not.
    Ended,
}

/// [`RestoreProgress`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RestoreSnapshot {
    /// Where it is.
    pub phase: RestorePhase,
    /// Since it began, until it ended.
    pub elapsed_ms: u64,
    /// Rows to write, those of earlier attempts included; about, where a key range cuts row groups.
    pub rows_total: u64,
    /// Rows that have their answer, those of earlier attempts included.
    pub rows_done: u64,
    /// Of those, rows that were refused for good.
    pub rows_rejected: u64,
    /// How often a single row was sent again.
    pub row_retries: u64,
    /// Requests answered.
    pub requests: u64,
    /// Bytes of their bodies.
    pub request_bytes: u64,
    /// Row groups to write.
    pub row_groups_total: u64,
    /// Row groups written.
    pub row_groups_done: u64,
    /// Stream records that were folded into rows.
    pub records: u64,
}

impl RestoreSnapshot {
    /// Share of the rows that have their answer, 0 to 1.
    pub fn share_done(&self) -> f64 {
        match self.rows_total {
            0 => 0.0,
            total => (self.rows_done as f64 / total as f64).min(1.0),
        }
    }
}

impl RestoreProgress {
    /// The restore comes to a phase.
    pub fn enter(&self, phase: RestorePhase) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        match phase {
            RestorePhase::Preparing => times.began = Some(Instant::now()),
            RestorePhase::Ended => times.ended = Some(Instant::now()),
            RestorePhase::Waiting | RestorePhase::Writing | RestorePhase::Finishing => {}
        }
        self.phase.store(phase as u8, Relaxed);
    }

    /// So much is to be done, and so much was done before.
    pub(super) fn planned(&self, rows: u64, row_groups: u64, done: RowCounts, row_groups_done: u64) {
        self.rows_total.store(rows, Relaxed);
        self.units_total.store(row_groups, Relaxed);
        self.rows_done.store(done.all(), Relaxed);
        self.rows_rejected.store(done.rejected, Relaxed);
        self.units_done.store(row_groups_done, Relaxed);
    }

    /// A request has its answer.
    pub(super) fn request(&self, rows: u64, rejected: u64, row_retries: u64, bytes: u64) {
        self.requests.fetch_add(1, Relaxed);
        self.request_bytes.fetch_add(bytes, Relaxed);
        self.rows_done.fetch_add(rows, Relaxed);
        self.rows_rejected.fetch_add(rejected, Relaxed);
        self.row_retries.fetch_add(row_retries, Relaxed);
    }

    /// Rows were found in the target.
    pub(super) fn there(&self, rows: u64) {
        self.rows_done.fetch_add(rows, Relaxed);
    }

    /// A row group is written and logged.
    pub(super) fn unit(&self) {
        self.units_done.fetch_add(1, Relaxed);
    }

    /// So many Stream records were folded into rows.
    pub(super) fn folded(&self, records: u64) {
        self.records.fetch_add(records, Relaxed);
    }

    /// Time since the restore began, until it ended.
    pub fn elapsed(&self) -> Duration {
        let Times { began, ended } = *self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ended.unwrap_or_else(Instant::now);
        began.map_or(Duration::ZERO, |began| end.saturating_duration_since(began))
    }

    /// All counters now.
    pub fn snapshot(&self) -> RestoreSnapshot {
        let phases = [
            RestorePhase::Waiting,
            RestorePhase::Preparing,
            RestorePhase::Writing,
            RestorePhase::Finishing,
            RestorePhase::Ended,
        ];
        let phase = usize::from(self.phase.load(Relaxed));
        RestoreSnapshot {
            phase: phases.get(phase).copied().unwrap_or_default(),
            elapsed_ms: u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX),
            rows_total: self.rows_total.load(Relaxed),
            rows_done: self.rows_done.load(Relaxed),
            rows_rejected: self.rows_rejected.load(Relaxed),
            row_retries: self.row_retries.load(Relaxed),
            requests: self.requests.load(Relaxed),
            request_bytes: self.request_bytes.load(Relaxed),
            row_groups_total: self.units_total.load(Relaxed),
            row_groups_done: self.units_done.load(Relaxed),
            records: self.records.load(Relaxed),
        }
    }
}
