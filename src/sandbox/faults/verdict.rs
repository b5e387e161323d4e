//! What happens to one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::timer::wait_until;
use super::{Action, Pace};

/// Everything that the rules want for one call. Its places under limits are free when it is dropped: keep it until the
/// answer was sent.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The outcome; `None` is the usual one.
    pub action: Option<Action>,
    /// How long the call waits before it is looked at.
    pub delay: Duration,
    /// How long after the arrival of the call its answer leaves, at the earliest.
    pub latency: Duration,
    /// How fast its bodies pass.
    pub pace: Option<Pace>,
    pub(super) places: Vec<OwnedSemaphorePermit>,
    pub(super) queues: Vec<Arc<Semaphore>>,
}

impl Verdict {
    /// Waits for a place where there is a queue, then for the delay.
    pub async fn wait(&mut self) {
        for queue in std::mem::take(&mut self.queues) {
            // Closed means that the rule is gone.
            self.places.extend(queue.acquire_owned().await);
        }
        if !self.delay.is_zero() {
            wait_until(Instant::now() + self.delay).await;
        }
    }

    /// Waits until the answer to a call that arrived at `arrived` may leave.
    pub async fn wait_to_answer(&self, arrived: Instant) {
        wait_until(arrived + self.latency).await;
    }
}
