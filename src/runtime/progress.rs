//! Counters that a running flow keeps and that a printer reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Live totals of one run. Added to once per page or file, never per row.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    rows: AtomicU64,
    pages: AtomicU64,
    response_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    files: AtomicU64,
    read_capacity_units: AtomicU64,
    splits_total: AtomicU64,
    splits_done: AtomicU64,
}

/// [`Progress`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProgressSnapshot {
    /// Since the run began.
    pub elapsed_ms: u64,
    /// Rows decoded.
    pub rows: u64,
    /// GetRange pages decoded.
    pub pages: u64,
    /// Response bodies in bytes.
    pub response_bytes: u64,
    /// Parquet bytes of closed files.
    pub stored_bytes: u64,
    /// Closed files.
    pub files: u64,
    /// Read capacity units that the service reported.
    pub read_capacity_units: u64,
    /// Splits of the plan.
    pub splits_total: u64,
    /// Splits read to their end.
    pub splits_done: u64,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            began: Instant::now(),
            rows: AtomicU64::new(0),
            pages: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            files: AtomicU64::new(0),
            read_capacity_units: AtomicU64::new(0),
            splits_total: AtomicU64::new(0),
            splits_done: AtomicU64::new(0),
        }
    }
}

impl Progress {
    /// One page was decoded.
    pub fn page(&self, rows: u64, response_bytes: u64, read_capacity_units: u64) {
        self.pages.fetch_add(1, Relaxed);
        self.rows.fetch_add(rows, Relaxed);
        self.response_bytes.fetch_add(response_bytes, Relaxed);
        self.read_capacity_units.fetch_add(read_capacity_units, Relaxed);
    }

    /// One file was closed and stored.
    pub fn file(&self, stored_bytes: u64) {
        self.files.fetch_add(1, Relaxed);
        self.stored_bytes.fetch_add(stored_bytes, Relaxed);
    }

    /// The plan has `count` splits.
    pub fn planned(&self, count: u64) {
        self.splits_total.store(count, Relaxed);
    }

    /// One split was read to its end.
    pub fn split_done(&self) {
        self.splits_done.fetch_add(1, Relaxed);
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// All counters now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        ProgressSnapshot {
            elapsed_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            rows: self.rows.load(Relaxed),
            pages: self.pages.load(Relaxed),
            response_bytes: self.response_bytes.load(Relaxed),
            stored_bytes: self.stored_bytes.load(Relaxed),
            files: self.files.load(Relaxed),
            read_capacity_units: self.read_capacity_units.load(Relaxed),
            splits_total: self.splits_total.load(Relaxed),
            splits_done: self.splits_done.load(Relaxed),
        }
    }
}
