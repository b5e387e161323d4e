//! Counters that a running flow keeps and that a printer reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Live totals of one run. Added to once per page or file, never per row.
#[derive(Debug)]
pub struct Progress {
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
    phase: Phase,
    began: Option<Instant>,
    scanning: Option<Instant>,
    ended: Option<Instant>,
    running: BTreeMap<u64, RangeProgress>,
    share_read: f64,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not begun.
    #[default]
    Waiting,
    /// Looking for an unfinished run, split points, a sample.
    Planning,
    /// Reading rows.
    Scanning,
    /// Making it exist.
    Committing,
    /// Over, well or not.
    Ended,
}

impl Phase {
    /// Whether something is going on.
    pub fn is_working(self) -> bool {
        !matches!(self, Phase::Waiting | Phase::Ended)
    }
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
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProgressSnapshot {
    /// Where the run is.
    pub phase: Phase,
    /// Since the run began, until it ended.
    pub elapsed_ms: u64,
    /// Since the first row was asked for, planning not included.
    pub scanning_ms: u64,
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

    /// A page of a range was read, and with it so many splits to their ends, and this share of everything.
    pub fn range(&self, range: RangeProgress, splits: u64, share_read: f64) {
        self.splits_done.fetch_add(splits, Relaxed);
        let mut scan = self.scan();
        scan.running.insert(range.id, range);
        scan.share_read = share_read;
    }

    /// A range was cut in two.
    pub fn range_cut(&self) {
        self.splits_total.fetch_add(1, Relaxed);
    }

    /// A range was read to its end, and with it its last split and this share of everything.
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

    /// The run comes to a phase.
    pub fn enter(&self, phase: Phase) {
        let now = Instant::now();
        let mut scan = self.scan();
        scan.phase = phase;
        match phase {
            Phase::Planning => scan.began = Some(now),
            Phase::Scanning => scan.scanning = Some(now),
            Phase::Ended => scan.ended = Some(now),
            Phase::Waiting | Phase::Committing => {}
        }
    }

    /// Time since the run began, until it ended.
    pub fn elapsed(&self) -> Duration {
        let scan = self.scan();
        scan.since(scan.began)
    }

    /// All counters now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        let scan = self.scan();
        let mut running: Vec<_> = scan.running.values().copied().collect();
        let (phase, share_read) = (scan.phase, scan.share_read);
        let [elapsed_ms, scanning_ms] = [scan.began, scan.scanning]
            .map(|start| u64::try_from(scan.since(start).as_millis()).unwrap_or(u64::MAX));
        drop(scan);
        running.sort_by(|a, b| b.share_left.total_cmp(&a.share_left));
        ProgressSnapshot {
            phase,
            elapsed_ms,
            scanning_ms,
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

impl ScanProgress {
    fn since(&self, start: Option<Instant>) -> Duration {
        let end = self.ended.unwrap_or_else(Instant::now);
        start.map_or(Duration::ZERO, |start| end.saturating_duration_since(start))
    }
}

impl ProgressSnapshot {
    /// About how long the scan will take yet, going by the share that is read; `None` while too little is.
    pub fn time_left(&self) -> Option<Duration> {
        let known = self.phase == Phase::Scanning && self.share_read > 0.002;
        known.then(|| {
            Duration::from_millis(self.scanning_ms).mul_f64((1.0 - self.share_read) / self.share_read)
        })
    }
}
