//! What a client counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Totals since the client was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Requests sent, repeats included.
    pub requests: u64,
    /// Requests that repeated an earlier one.
    pub retries: u64,
    /// Answers that asked to slow down, single rows of a batch included.
    pub throttles: u64,
    /// Answers of any status.
    pub answers: u64,
    /// Bytes of response bodies.
    pub response_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct SharedCounters {
    pub(super) requests: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) throttles: AtomicU64,
    pub(super) answers: AtomicU64,
    pub(super) response_bytes: AtomicU64,
}

impl SharedCounters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    pub(super) fn read(&self) -> Counters {
        Counters {
            requests: self.requests.load(Relaxed),
            retries: self.retries.load(Relaxed),
            throttles: self.throttles.load(Relaxed),
            answers: self.answers.load(Relaxed),
            response_bytes: self.response_bytes.load(Relaxed),
        }
    }
}
