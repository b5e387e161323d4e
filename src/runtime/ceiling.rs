//! A ceiling on what is used per second.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Holds everybody who shares it to so much per second together. Clones share everything.
///
/// What a request costs is known when it is answered: its caller pays then, by waiting, before it goes on. A second's
/// worth may be used at once; over any longer time the ceiling holds, up to what was in flight when it was reached.
/// First come, first served.
#[derive(Debug, Clone)]
pub struct Ceiling(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limiter: RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<Duration>>,
    clock: RuntimeClock,
    per_second: NonZeroU32,
    /// Whose turn it is: a large payment is not overtaken for ever by small ones.
    turn: Mutex<()>,
}

/// The runtime's clock, which tests can move.
#[derive(Debug, Clone, Copy)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Ceiling {
    /// A ceiling with its first second unused.
    pub fn new(per_second: NonZeroU32) -> Ceiling {
        let clock = RuntimeClock(Instant::now());
        let limiter = RateLimiter::direct_with_clock(Quota::per_second(per_second), clock);
        Ceiling(Arc::new(Shared { limiter, clock, per_second, turn: Mutex::new(()) }))
    }

    /// Waits until `amount` is paid for.
    pub async fn pay(&self, amount: u64) {
        let shared = &*self.0;
        let _turn = shared.turn.lock().await;
        let mut left = amount;
        while left > 0 {
            let next = u32::try_from(left).unwrap_or(u32::MAX).min(shared.per_second.get());
            let Some(cells) = NonZeroU32::new(next) else { return };
            match shared.limiter.check_n(cells) {
                Ok(Ok(())) => left -= u64::from(next),
                Ok(Err(early)) => tokio::time::sleep(early.wait_time_from(shared.clock.now())).await,
                // Never asked for more than a second's worth at once.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceiling(per_second: u32) -> Ceiling {
        Ceiling::new(NonZeroU32::new(per_second).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_is_free_and_everything_after_it_takes_its_time() {
        let ceiling = ceiling(100);
        let began = Instant::now();
        ceiling.pay(0).await;
        ceiling.pay(100).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        ceiling.pay(50).await;
        let half = began.elapsed();
        assert!((490..=510).contains(&half.as_millis()), "{half:?}");
        // More than a second's worth at once.
        ceiling.pay(1_000).await;
        let all = began.elapsed();
        assert!((10_400..=10_600).contains(&all.as_millis()), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_who_shares_it_is_held_together_and_in_turn() {
        let ceiling = ceiling(1_000);
        let began = Instant::now();
        let mut payers = tokio::task::JoinSet::new();
        for payer in 0..10_u32 {
            let ceiling = ceiling.clone();
            payers.spawn(async move {
                ceiling.pay(2_000).await;
                payer
            });
        }
        let order = payers.join_all().await;
        assert_eq!(order.len(), 10);
        let all = began.elapsed();
        assert!((18_900..=19_100).contains(&all.as_millis()), "{all:?} for 20,000");
    }
}
