//! Faults on demand: which call of which operation goes wrong, and how.
//!
//! A [`Rule`] names a service, an operation and a key, says which of the matching calls it hits, and what happens to them:
//! an [`Action`]. A call counts for every rule it matches, hit or not. Of the rules that hit, those that only slow down
//! (delay, latency, bandwidth, limit) all take effect, and of the others the first one, in the order they were added. Rules come from
//! the embedding program, from a short text ([`Rule::from_str`](std::str::FromStr)), from a file ([`parse_rules`]), and
//! while the servers run from the admin endpoint. Without rules a call costs one atomic load.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Semaphore;

mod action;
mod pace;
mod rule;
mod spec;
mod timer;
mod verdict;

pub use self::action::Action;
pub use self::pace::Pace;
pub use self::rule::{Rule, Service, When};
pub use self::spec::parse_rules;
pub use self::verdict::Verdict;

/// The rules of a sandbox; clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Default)]
struct Shared {
    armed: AtomicBool,
    rules: Mutex<Vec<Armed>>,
}

struct Armed {
    rule: Rule,
    matched: u64,
    hit: u64,
    random: SmallRng,
    recent: VecDeque<Instant>,
    pace: Option<Pace>,
    /// Calls in flight, by table or bucket.
    limits: HashMap<String, Arc<Semaphore>>,
}

impl Faults {
    /// No faults.
    pub fn new() -> Faults {
        Faults::default()
    }

    /// Adds a rule after the others.
    pub fn add(&self, rule: Rule) {
        let seed = match rule.when {
            When::Rate { seed, .. } => seed,
            _ => 0,
        };
        let pace = match rule.action {
            Action::Bandwidth(bytes_per_second) => Some(Pace::new(bytes_per_second)),
            _ => None,
        };
        let random = SmallRng::seed_from_u64(seed);
        let recent = VecDeque::new();
        let limits = HashMap::new();
        let mut rules = self.lock();
        rules.push(Armed { rule, matched: 0, hit: 0, random, recent, pace, limits });
        self.0.armed.store(true, Ordering::Release);
    }

    /// Removes all rules. Calls that wait for a place under a limit go on.
    pub fn clear(&self) {
        let mut rules = self.lock();
        for semaphore in rules.iter().flat_map(|armed| armed.limits.values()) {
            semaphore.close();
        }
        rules.clear();
        self.0.armed.store(false, Ordering::Release);
    }

    /// The rules, in the order they were added.
    pub fn rules(&self) -> Vec<Rule> {
        self.lock().iter().map(|armed| armed.rule.clone()).collect()
    }

    /// How many calls the rules hit so far, rule by rule, in the order they were added.
    pub fn hits(&self) -> Vec<u64> {
        self.lock().iter().map(|armed| armed.hit).collect()
    }

    /// Counts one call and returns what should happen to it, slowing down aside. `key` is the table name, or `bucket/key`.
    pub fn check(&self, service: Service, operation: &str, key: &str) -> Option<Action> {
        self.verdict(service, operation, key).action
    }

    /// Counts one call and returns everything that should happen to it. `key` is the table name, or `bucket/key`.
    pub fn verdict(&self, service: Service, operation: &str, key: &str) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.0.armed.load(Ordering::Acquire) {
            return verdict;
        }
        for armed in self.lock().iter_mut().filter(|armed| armed.rule.matches(service, operation, key)) {
            armed.matched += 1;
            if !armed.is_due() {
                continue;
            }
            armed.hit += u64::from(armed.apply(service, key, &mut verdict));
        }
        verdict
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rules()).finish()
    }
}

impl Armed {
    fn is_due(&mut self) -> bool {
        match self.rule.when {
            When::Always => true,
            When::Calls { first, last } => (first..=last).contains(&self.matched),
            When::Every(k) => k != 0 && self.matched.is_multiple_of(k),
            When::Rate { probability, .. } => self.random.random_bool(probability.clamp(0.0, 1.0)),
            When::AbovePerSecond(limit) => {
                let now = Instant::now();
                while self.recent.front().is_some_and(|call| now - *call > Duration::from_secs(1)) {
                    self.recent.pop_front();
                }
                let above = self.recent.len() >= limit as usize;
                if !above {
                    self.recent.push_back(now);
                }
                above
            }
        }
    }

    /// Adds this rule to what happens to a call; false when an earlier rule has decided or there is room left.
    fn apply(&mut self, service: Service, key: &str, verdict: &mut Verdict) -> bool {
        match &self.rule.action {
            Action::Delay(by) => verdict.delay += *by,
            Action::Jitter { least_ms, most_ms } => {
                let span = *least_ms..=*(most_ms.max(least_ms));
                verdict.delay += Duration::from_millis(self.random.random_range(span));
            }
            Action::Latency(of_all) => verdict.latency = verdict.latency.max(*of_all),
            Action::Bandwidth(_) => verdict.pace = self.pace.clone(),
            Action::Limit { in_flight, queue } => {
                // A bucket's objects share its places.
                let name = key.split('/').next().unwrap_or_default();
                let places = || Arc::new(Semaphore::new(*in_flight as usize));
                let semaphore = self.limits.entry(name.to_owned()).or_insert_with(places);
                match Arc::clone(semaphore).try_acquire_owned() {
                    Ok(place) => {
                        verdict.places.push(place);
                        return false;
                    }
                    Err(_) if *queue => verdict.queues.push(Arc::clone(semaphore)),
                    Err(_) if verdict.action.is_some() => return false,
                    Err(_) => verdict.action = Some(Action::busy(service)),
                }
            }
            _ if verdict.action.is_some() => return false,
            action => verdict.action = Some(action.clone()),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(when: When, calls: usize) -> Vec<usize> {
        let faults = Faults::new();
        faults.add(Rule::new(Action::DropBefore).when(when));
        (1..=calls).filter(|_| faults.check(Service::Oss, "PutObject", "b/k").is_some()).collect()
    }

    #[test]
    fn rules_hit_the_calls_they_name() {
        assert_eq!(hits(When::Always, 3), [1, 2, 3]);
        assert_eq!(hits(When::Calls { first: 2, last: 3 }, 5), [2, 3]);
        assert_eq!(hits(When::Every(2), 5), [2, 4]);
        assert_eq!(hits(When::AbovePerSecond(3), 5), [4, 5]);
        let rate = When::Rate { probability: 0.5, seed: 7 };
        assert_eq!(hits(rate, 50), hits(rate, 50));
        assert!((5..45).contains(&hits(rate, 50).len()));
    }

    #[test]
    fn the_first_rule_that_hits_decides_and_only_matching_calls_count() {
        let faults = Faults::new();
        assert_eq!(faults.check(Service::Oss, "UploadPart", "b/k"), None);
        faults.add(Rule::new(Action::DropAfter).on(Service::Oss, "UploadPart").key("/k").nth(2));
        faults.add(Rule::new(Action::WrongChecksum).service(Service::Oss).nth(3));
        assert_eq!(faults.check(Service::Oss, "UploadPart", "b/k"), None);
        assert_eq!(faults.check(Service::Oss, "UploadPart", "b/other"), None);
        assert_eq!(faults.check(Service::TableStore, "UploadPart", "b/k"), None);
        assert_eq!(faults.check(Service::Oss, "UploadPart", "b/k"), Some(Action::DropAfter));
        assert_eq!(faults.hits(), [1, 0]);
        faults.clear();
        assert_eq!(faults.check(Service::Oss, "UploadPart", "b/k"), None);
    }

    #[test]
    fn slow_rules_add_up_and_leave_the_outcome_to_another_rule() {
        let faults = Faults::new();
        faults.add(Rule::new(Action::Delay(Duration::from_millis(20))));
        faults.add(Rule::new(Action::Jitter { least_ms: 5, most_ms: 10 }));
        faults.add(Rule::new(Action::DropAfter).nth(2));
        let first = faults.verdict(Service::TableStore, "GetRange", "t");
        assert!((25..=30).contains(&first.delay.as_millis()), "{:?}", first.delay);
        assert_eq!(first.action, None);
        let second = faults.verdict(Service::TableStore, "GetRange", "t");
        assert!(second.action == Some(Action::DropAfter) && second.delay >= first.delay / 2);
    }

    #[tokio::test]
    async fn a_latency_holds_the_work_on_the_call_and_the_longest_of_several_counts() {
        let faults = Faults::new();
        faults.add(Rule::new(Action::Latency(Duration::from_millis(40))));
        faults.add(Rule::new(Action::Latency(Duration::from_millis(15))));
        let arrived = Instant::now();
        let mut verdict = faults.verdict(Service::TableStore, "GetRange", "t");
        verdict.wait().await;
        assert_eq!((verdict.action.take(), verdict.latency), (None, Duration::from_millis(40)));
        verdict.wait_to_answer(arrived).await;
        let waited = arrived.elapsed();
        assert!(waited >= Duration::from_millis(40));
        // Nothing is added to work that took as long.
        verdict.wait_to_answer(arrived).await;
        assert!(arrived.elapsed() < waited + Duration::from_millis(40));
        assert_eq!(faults.hits(), [1, 1]);
    }

    #[tokio::test]
    async fn a_limit_counts_calls_in_flight_by_table_and_refuses_or_queues() {
        let faults = Faults::new();
        faults.add(Rule::new(Action::Limit { in_flight: 2, queue: false }));
        let get = |table: &str| faults.verdict(Service::TableStore, "GetRange", table);
        let (one, two) = (get("t"), get("t"));
        assert_eq!((&one.action, &two.action), (&None, &None));
        assert_eq!(get("t").action, Some(Action::busy(Service::TableStore)));
        assert_eq!(get("other").action, None, "each table has its own");
        drop(one);
        assert_eq!(get("t").action, None);
        assert_eq!(faults.hits(), [1]);

        faults.clear();
        faults.add(Rule::new(Action::Limit { in_flight: 1, queue: true }));
        let (first, mut second) = (get("t"), get("t"));
        let waiting = tokio::spawn(async move { second.wait().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
    }
}
