//! Counters that a running flow keeps and that a printer reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    scan: Mutex<ScanProgress>,
}

#[derive(Debug, Default)]
struct ScanProgress {
    running: BTreeMap<u64, RangeProgress>,
    share_read: f64,
}

/// One key range that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RangeProgress {
    /// Counts the ranges of the run.
    pub id: u64,
    /// Pages read.
    pub pages: u64,
    /// About which share of its keys is left, by their values, since it was last cut: 0 to 1.
    pub share_left: f64,
}

/// [`Progress`] at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    /// About which share of what this attempt has to read is read, by the values of the keys: 0 to 1.
    pub share_read: f64,
    /// The ranges that are being read, the one with most left first.
    pub running: Vec<RangeProgress>,
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
            scan: Mutex::default(),
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

    /// A page of a range was read, and with it this share of everything.
    pub fn range(&self, range: RangeProgress, share_read: f64) {
        let mut scan = self.scan();
        scan.running.insert(range.id, range);
        scan.share_read = share_read;
    }

    /// A range was cut in two.
    pub fn range_cut(&self) {
        self.splits_total.fetch_add(1, Relaxed);
    }

    /// A range was read to its end, and with it this share of everything.
    pub fn range_ended(&self, id: u64, share_read: f64) {
        self.splits_done.fetch_add(1, Relaxed);
        let mut scan = self.scan();
        scan.running.remove(&id);
        scan.share_read = share_read;
    }

    fn scan(&self) -> MutexGuard<'_, ScanProgress> {
        // Every state in between is a valid one.
        self.scan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// All counters now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let (mut running, share_read) = {
            let scan = self.scan();
            (scan.running.values().copied().collect::<Vec<_>>(), scan.share_read)
        };
        running.sort_by(|a, b| b.share_left.total_cmp(&a.share_left));
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
            share_read,
            running,
        }
    }
}
