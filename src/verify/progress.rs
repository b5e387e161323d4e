//! How far a verification is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters that a printer reads. Added to once per file or page, never per row.
#[derive(Debug, Default)]
pub struct VerifyProgress {
    planned: AtomicU64,
    done: AtomicU64,
    bytes: AtomicU64,
    rows: AtomicU64,
}

/// [`VerifyProgress`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyCount {
    /// Files or key ranges to look at.
    pub planned: u64,
    /// Looked at.
    pub done: u64,
    /// Bytes read of data files, and of response bodies.
    pub bytes: u64,
    /// Rows in them.
    pub rows: u64,
}

impl VerifyProgress {
    /// There is more to do.
    pub fn plan(&self, count: u64) {
        self.planned.fetch_add(count, Relaxed);
    }

    /// A file was read.
    pub fn file(&self, bytes: u64, rows: u64) {
        self.done.fetch_add(1, Relaxed);
        self.read(bytes, rows);
    }

    /// A file was looked at without reading it, or a key range was compared.
    pub fn looked(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// Something was read.
    pub fn read(&self, bytes: u64, rows: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.rows.fetch_add(rows, Relaxed);
    }

    /// All counters now.
    pub fn count(&self) -> VerifyCount {
        VerifyCount {
            planned: self.planned.load(Relaxed),
            done: self.done.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            rows: self.rows.load(Relaxed),
        }
    }
}
