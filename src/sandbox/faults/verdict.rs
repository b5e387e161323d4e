//! What happens to one call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Action, Pace};

/// Everything that the rules want for one call. Its places under limits are free when it is dropped: keep it until the
/// answer was sent.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The outcome; `None` is the usual one.
    pub action: Option<Action>,
    /// How long the call waits before it is looked at.
    pub delay: Duration,
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
            tokio::time::sleep(self.delay).await;
        }
    }
}
