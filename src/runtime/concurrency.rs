//! Permits for requests, as many as an [`AdaptiveLimit`] allows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::adaptive_limit::{AdaptiveLimit, Outcome, Sample};

/// How a limit on requests in flight is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConcurrencyLimit {
    /// Learnt from latencies and refusals, within these bounds.
    Adaptive {
        /// Never fewer, at least 1.
        floor: u32,
        /// Never more.
        ceiling: u32,
    },
    /// Always this many, at least 1.
    Fixed(u32),
}

/// Bounds the requests in flight of everybody who shares it. Clones share everything.
///
/// First come, first served. A permit is for one attempt; it is given back before the pause that follows a failure.
#[derive(Debug, Clone)]
pub struct Concurrency(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    semaphore: Arc<Semaphore>,
    state: Mutex<State>,
    limit: watch::Sender<u32>,
    epoch: Instant,
}

#[derive(Debug)]
struct State {
    /// `None` for a fixed limit.
    adaptive: Option<AdaptiveLimit>,
    /// Permits in circulation: the limit and the surplus.
    permits: u32,
    /// Permits that are to be taken out of circulation when they come back.
    surplus: u32,
}

/// Leave to have one request in flight. Dropped without a word, it says nothing about the service.
#[derive(Debug)]
pub struct ConcurrencyPermit {
    shared: Arc<Shared>,
    permit: Option<OwnedSemaphorePermit>,
    began: Instant,
    in_flight: u32,
}

impl Concurrency {
    /// Nothing in flight yet.
    pub fn new(limit: ConcurrencyLimit) -> Concurrency {
        let (adaptive, start) = match limit {
            ConcurrencyLimit::Adaptive { floor, ceiling } => {
                let adaptive = AdaptiveLimit::new(floor, ceiling);
                let start = adaptive.limit();
                (Some(adaptive), start)
            }
            ConcurrencyLimit::Fixed(limit) => (None, limit.max(1)),
        };
        Concurrency(Arc::new(Shared {
            semaphore: Arc::new(Semaphore::new(start as usize)),
            state: Mutex::new(State { adaptive, permits: start, surplus: 0 }),
            limit: watch::Sender::new(start),
            epoch: Instant::now(),
        }))
    }

    /// Waits for leave to send one request.
    pub async fn permit(&self) -> ConcurrencyPermit {
        // The semaphore is never closed.
        let permit = self.0.semaphore.clone().acquire_owned().await.ok();
        let in_flight = self.in_flight();
        ConcurrencyPermit { shared: self.0.clone(), permit, began: Instant::now(), in_flight }
    }

    /// Requests that may be in flight now.
    pub fn limit(&self) -> u32 {
        *self.0.limit.borrow()
    }

    /// Permits given out now, those included whose waiters have not woken up yet: with callers in waiting that is the
    /// limit, however the answers bunch up.
    pub fn in_flight(&self) -> u32 {
        let state = self.0.lock();
        state.permits.saturating_sub(self.0.semaphore.available_permits() as u32)
    }

    /// Waits until the limit is at least `wanted`.
    pub async fn reaches(&self, wanted: u32) {
        let mut limit = self.0.limit.subscribe();
        // `self` holds the sender, so the channel stays open.
        let _ = limit.wait_for(|limit| *limit >= wanted).await;
    }

    /// A part of an answered request was refused for want of capacity, such as single rows of a batch.
    pub fn throttled(&self) {
        let now = self.0.epoch.elapsed();
        self.0.learn(Sample { began: now, ended: now, in_flight: 0, outcome: Outcome::Throttled });
    }
}

impl ConcurrencyPermit {
    /// The request was answered, or refused for want of capacity.
    pub fn finish(self, outcome: Outcome) {
        let epoch = self.shared.epoch;
        self.shared.learn(Sample {
            began: self.began.duration_since(epoch),
            ended: epoch.elapsed(),
            in_flight: self.in_flight,
            outcome,
        });
    }
}

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            state.surplus -= 1;
            state.permits -= 1;
            permit.forget();
        }
    }
}

impl Shared {
    fn learn(&self, sample: Sample) {
        let mut state = self.lock();
        let State { adaptive: Some(adaptive), permits, surplus } = &mut *state else { return };
        let before = adaptive.limit();
        adaptive.record(sample);
        let after = adaptive.limit();
        if after < before {
            *surplus += before - after;
            // Permits that nobody holds go at once.
            let forgotten = self.semaphore.forget_permits(*surplus as usize) as u32;
            *surplus -= forgotten;
            *permits -= forgotten;
        } else {
            let back = (*surplus).min(after - before);
            *surplus -= back;
            *permits += after - before - back;
            self.semaphore.add_permits((after - before - back) as usize);
        }
        drop(state);
        if after != before {
            tracing::debug!(before, after, outcome = ?sample.outcome, "concurrency changed");
            self.limit.send_replace(after);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every state in between is a valid one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "concurrency/tests.rs"]
mod tests;
