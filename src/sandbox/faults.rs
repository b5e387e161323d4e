//! Faults on demand: which call of which operation goes wrong, and how.
//!
//! A [`Rule`] names a service, an operation and a part of a key, says which of the matching calls it hits, and what
//! happens to them. Rules are tried in the order they were added and the first that hits decides; a call counts for every
//! rule it matches, hit or not. Without rules [`Faults::check`] costs one atomic load.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// The service that a request went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Table Store.
    TableStore,
    /// OSS.
    Oss,
}

/// What goes wrong, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The service; `None` means both.
    #[serde(default)]
    pub service: Option<Service>,
    /// The operation as the service names it (`GetRange`, `UploadPart`); `None` means all.
    #[serde(default)]
    pub operation: Option<String>,
    /// A part of the table name, or of `bucket/key`; `None` means all.
    #[serde(default)]
    pub key: Option<String>,
    /// Which of the matching calls.
    #[serde(default)]
    pub when: When,
    /// What happens to them.
    pub action: Action,
}

impl Rule {
    /// Every call to every service.
    pub fn new(action: impl Into<Action>) -> Rule {
        Rule { service: None, operation: None, key: None, when: When::Always, action: action.into() }
    }

    /// Only calls of this operation.
    pub fn on(mut self, service: Service, operation: impl Into<String>) -> Rule {
        self.service = Some(service);
        self.operation = Some(operation.into());
        self
    }

    /// Only calls to this service.
    pub fn service(mut self, service: Service) -> Rule {
        self.service = Some(service);
        self
    }

    /// Only calls whose table name, or `bucket/key`, contains this.
    pub fn key(mut self, part: impl Into<String>) -> Rule {
        self.key = Some(part.into());
        self
    }

    /// Only these of the matching calls.
    pub fn when(mut self, when: When) -> Rule {
        self.when = when;
        self
    }

    /// Only the `nth` matching call, counted from 1.
    pub fn nth(self, nth: u64) -> Rule {
        self.when(When::Calls { first: nth, last: nth })
    }

    fn matches(&self, service: Service, operation: &str, key: &str) -> bool {
        self.service.is_none_or(|wanted| wanted == service)
            && self.operation.as_deref().is_none_or(|wanted| wanted == operation)
            && self.key.as_deref().is_none_or(|part| key.contains(part))
    }
}

/// Which of the calls that a rule matches are hit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// All of them.
    #[default]
    Always,
    /// The `first` to the `last`, both counted from 1 and both hit.
    Calls {
        /// The first call hit.
        first: u64,
        /// The last call hit.
        last: u64,
    },
    /// Every k-th: k, 2k, …; 0 means none.
    Every(u64),
    /// Each with this probability, from a seeded generator: the same calls in the same order give the same faults.
    Rate {
        /// 0 to 1.
        probability: f64,
        /// The seed.
        seed: u64,
    },
    /// Those above this many within the last second; the calls that are hit do not count towards it.
    AbovePerSecond(u32),
}

/// What happens to a call that a rule hits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing is applied; the service answers with this error.
    Error {
        /// The HTTP status.
        status: u16,
        /// The service's error code.
        code: String,
        /// The service's error message.
        message: String,
    },
    /// Nothing is applied; the connection is closed without an answer.
    DropBefore,
    /// The call is applied; then the connection is closed without an answer.
    DropAfter,
    /// The call waits this long, then goes on as usual. Milliseconds in JSON.
    Delay(#[serde(with = "milliseconds")] Duration),
    /// The call is applied; half of the answer's body is sent under the full `Content-Length`, then the connection closes.
    TruncateBody,
    /// The call is applied; one byte of the answer's body is wrong.
    CorruptBody {
        /// Which byte, from 0; nothing happens when the body is shorter.
        offset: u64,
        /// What is XORed into it.
        xor: u8,
    },
    /// The call is applied; the checksum header of the answer is wrong.
    WrongChecksum,
    /// Something that only one service knows, by name.
    Custom(Cow<'static, str>),
}

impl Action {
    /// An error answer.
    pub fn error(status: u16, code: impl Into<String>, message: impl Into<String>) -> Action {
        Action::Error { status, code: code.into(), message: message.into() }
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        u64::try_from(value.as_millis()).unwrap_or(u64::MAX).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

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
        let random = SmallRng::seed_from_u64(seed);
        let mut rules = self.rules();
        rules.push(Armed { rule, matched: 0, hit: 0, random, recent: VecDeque::new() });
        self.0.armed.store(true, Ordering::Release);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        let mut rules = self.rules();
        rules.clear();
        self.0.armed.store(false, Ordering::Release);
    }

    /// How many calls the rules hit so far, rule by rule, in the order they were added.
    pub fn hits(&self) -> Vec<u64> {
        self.rules().iter().map(|armed| armed.hit).collect()
    }

    /// Counts one call and returns what should happen to it. `key` is the table name, or `bucket/key`.
    pub fn check(&self, service: Service, operation: &str, key: &str) -> Option<Action> {
        if !self.0.armed.load(Ordering::Acquire) {
            return None;
        }
        let mut decided = None;
        for armed in self.rules().iter_mut().filter(|armed| armed.rule.matches(service, operation, key)) {
            armed.matched += 1;
            if armed.is_due() && decided.is_none() {
                armed.hit += 1;
                decided = Some(armed.rule.action.clone());
            }
        }
        decided
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rules().iter().map(|armed| &armed.rule)).finish()
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
    fn rules_can_be_written_in_json() {
        let text = r#"{"service":"oss","operation":"GetObject","when":{"every":3},"action":{"delay":250}}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        let expected = Rule::new(Action::Delay(Duration::from_millis(250))).on(Service::Oss, "GetObject");
        assert_eq!(rule, expected.when(When::Every(3)));
        let again: Rule = serde_json::from_str(&serde_json::to_string(&rule).unwrap()).unwrap();
        assert_eq!(again, rule);
    }
}
