//! Permits, in virtual time.

use std::time::Duration;

use super::*;

const ADAPTIVE: ConcurrencyLimit = ConcurrencyLimit::Adaptive { floor: 1, ceiling: 64 };

/// `tasks` that each send one request after the other, every one of which takes `latency` and ends as `outcome`
/// says for the requests in flight.
fn callers(
    concurrency: &Concurrency,
    tasks: usize,
    latency: Duration,
    outcome: impl Fn(u32) -> Outcome + Send + Copy + 'static,
) -> tokio::task::JoinSet<()> {
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let concurrency = concurrency.clone();
        set.spawn(async move {
            loop {
                let permit = concurrency.permit().await;
                let outcome = outcome(concurrency.in_flight());
                tokio::time::sleep(latency).await;
                permit.finish(outcome);
                if outcome == Outcome::Throttled {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    set
}

#[tokio::test(start_paused = true)]
async fn a_fixed_limit_never_moves_and_is_never_passed() {
    let concurrency = Concurrency::new(ConcurrencyLimit::Fixed(3));
    let held = [concurrency.permit().await, concurrency.permit().await, concurrency.permit().await];
    let waited = tokio::time::timeout(Duration::from_secs(60), concurrency.permit()).await;
    assert!(waited.is_err(), "a fourth permit");
    held.into_iter().for_each(|permit| permit.finish(Outcome::Throttled));
    concurrency.throttled();
    assert_eq!((concurrency.limit(), concurrency.in_flight()), (3, 0));
    concurrency.permit().await.finish(Outcome::Answered);
}

#[tokio::test(start_paused = true)]
async fn it_climbs_while_more_requests_bring_more_answers() {
    let concurrency = Concurrency::new(ADAPTIVE);
    let callers = callers(&concurrency, 100, Duration::from_millis(20), |_| Outcome::Answered);
    concurrency.reaches(64).await;
    assert_eq!(concurrency.limit(), 64);
    drop(callers);
}

#[tokio::test(start_paused = true)]
async fn throttling_halves_what_is_in_flight_and_it_recovers_afterwards() {
    let concurrency = Concurrency::new(ADAPTIVE);
    let answered = callers(&concurrency, 100, Duration::from_millis(20), |_| Outcome::Answered);
    concurrency.reaches(64).await;
    // Between two answers, so that all callers have a request on its way.
    tokio::time::sleep(Duration::from_millis(2_007)).await;
    let before = concurrency.limit();
    assert_eq!(concurrency.in_flight(), before);
    concurrency.throttled();
    assert_eq!(concurrency.limit(), before / 2);
    // Those on their way end, and only half of them are followed by another one.
    tokio::time::sleep(Duration::from_millis(21)).await;
    assert_eq!(concurrency.in_flight(), before / 2);
    concurrency.reaches(64).await;
    drop(answered);
}

#[tokio::test(start_paused = true)]
async fn it_finds_a_hidden_limit_that_refuses() {
    let concurrency = Concurrency::new(ADAPTIVE);
    let refuse = |in_flight| if in_flight > 10 { Outcome::Throttled } else { Outcome::Answered };
    let callers = callers(&concurrency, 100, Duration::from_millis(20), refuse);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!((5..=12).contains(&concurrency.limit()), "{}", concurrency.limit());
    drop(callers);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_or_whose_waiter_goes_away_comes_back() {
    let concurrency = Concurrency::new(ConcurrencyLimit::Fixed(1));
    let held = concurrency.permit().await;
    assert!(tokio::time::timeout(Duration::from_millis(5), concurrency.permit()).await.is_err());
    drop(held);
    concurrency.permit().await.finish(Outcome::Answered);
    assert_eq!(concurrency.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn permits_in_hand_when_the_limit_falls_are_not_handed_out_again() {
    let concurrency = Concurrency::new(ConcurrencyLimit::Adaptive { floor: 1, ceiling: 4 });
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(concurrency.permit().await);
    }
    concurrency.throttled();
    assert_eq!(concurrency.limit(), 2);
    held.truncate(2);
    let third = tokio::time::timeout(Duration::from_secs(5), concurrency.permit()).await;
    assert!(third.is_err(), "two are in flight still");
    held.truncate(1);
    assert!(tokio::time::timeout(Duration::from_secs(5), concurrency.permit()).await.is_ok());
}
