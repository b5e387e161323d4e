//! A bandwidth that several bodies share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Bytes per second, over all bodies that hold a clone.
#[derive(Debug, Clone)]
pub struct Pace {
    bytes_per_second: u64,
    free_at: Arc<Mutex<Instant>>,
}

impl Pace {
    /// `bytes_per_second` of at least 1.
    pub fn new(bytes_per_second: u64) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), free_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// When this many more bytes have passed.
    pub fn reserve(&self, bytes: u64) -> Instant {
        let took = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        *free_at = (*free_at).max(Instant::now()) + took;
        *free_at
    }

    /// Waits until this many more bytes have passed.
    pub async fn pass(&self, bytes: u64) {
        tokio::time::sleep_until(self.reserve(bytes)).await;
    }
}
