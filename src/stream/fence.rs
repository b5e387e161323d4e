//! Up to where a Stream is to be read.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::reader::{CLOCK_MARGIN, micros};
use crate::catalog::{ShardPlace, ShardProgress};

/// Up to where to read: everything that was committed before a moment.
#[derive(Debug, Clone, Copy)]
pub struct Fence {
    moment: Instant,
    moment_us: i64,
    settle: Duration,
}

impl Fence {
    /// Everything that is acknowledged by now. `settle`: how long the service may take to show a committed record in the Stream.
    pub fn now(settle: Duration) -> Fence {
        Fence { moment: Instant::now(), moment_us: Timestamp::now().as_microsecond(), settle }
    }

    /// Between two looks at a Stream that has nothing new.
    pub(super) fn pause(&self) -> Duration {
        self.settle.clamp(Duration::from_millis(5), Duration::from_millis(500))
    }

    pub(super) fn is_passed_by(&self, shard: &ShardProgress, caught_up: Option<&Instant>) -> bool {
        let settled_us = self.moment_us.saturating_add(micros(self.settle + CLOCK_MARGIN));
        shard.place == ShardPlace::Closed
            || caught_up.is_some_and(|sent| *sent >= self.moment + self.settle)
            // One that is written to all the time is never caught up with.
            || shard.last.is_some_and(|last| last.timestamp_us > settled_us)
    }
}
