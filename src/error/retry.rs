//! The one retry table: for each way a request can fail, whether it may be sent again and how fast.
//!
//! Two questions decide: may the request have been applied, and is it idempotent. The caller answers the second
//! one per operation; this table answers the first one per failure. Sources: the published retry rules of the
//! Java, Go, Python and Node.js SDKs for Table Store, the OSS error code pages.

use std::time::{Duration, Instant};

use super::Kind;

/// May this failure be retried?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Repeating will not help.
    Never,
    /// The request was not applied: repeat it whatever it is.
    Always(Pace),
    /// It may have been applied: repeat it only if that is harmless.
    IfIdempotent(Pace),
}

/// How fast to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A passing fault: start at 20 ms.
    Fault,
    /// The service is over its capacity: start at 100 ms, and send less at a time.
    Throttled,
}

impl Retry {
    /// Whether the service asked to slow down.
    pub fn is_throttled(self) -> bool {
        matches!(self, Retry::Always(Pace::Throttled) | Retry::IfIdempotent(Pace::Throttled))
    }

    /// The pace at which to repeat the request, or `None` if it must not be repeated.
    pub fn pace(self, idempotent: bool) -> Option<Pace> {
        match self {
            Retry::Never => None,
            Retry::Always(pace) => Some(pace),
            Retry::IfIdempotent(pace) => idempotent.then_some(pace),
        }
    }
}

/// The row of the table for an error that Table Store answered.
pub fn table_store(status: u16, code: &str, message: &str) -> Retry {
    use Pace::{Fault, Throttled};
    match code {
        "OTSServerBusy" | "OTSNotEnoughCapacityUnit" | "OTSOperationThrottled" | "OTSStorageServerBusy" => {
            Retry::Always(Throttled)
        }
        "OTSRowOperationConflict"
        | "OTSTableNotReady"
        | "OTSPartitionUnavailable"
        | "OTSOperationConflict" => Retry::Always(Fault),
        "OTSQuotaExhausted" if message.starts_with("Too frequent table operations") => {
            Retry::Always(Throttled)
        }
        "OTSTimeout" | "OTSInternalServerError" | "OTSServerUnavailable" => Retry::IfIdempotent(Fault),
        // A proxy or a load balancer answered in the service's place.
        _ if status >= 500 => Retry::IfIdempotent(Fault),
        _ => Retry::Never,
    }
}

/// The row of the table for an error that OSS answered.
pub fn oss(status: u16, code: &str) -> Retry {
    use Pace::{Fault, Throttled};
    match code {
        // The body was damaged on the way; the next attempt hashes and sends the same bytes again.
        "RequestTimeout" | "InvalidDigest" => Retry::Always(Fault),
        // Signed afresh per attempt, so a corrected clock or another key is used.
        "RequestTimeTooSkewed" => Retry::Always(Fault),
        _ if refuses_the_key(code) => Retry::Always(Fault),
        _ => match status {
            429 | 503 => Retry::Always(Throttled),
            500 | 502 | 504 => Retry::IfIdempotent(Fault),
            _ => Retry::Never,
        },
    }
}

/// The row of the table for a request that could not be signed because there was no key, for an error of this kind.
pub fn no_key(kind: Kind) -> Retry {
    match kind {
        Kind::Unavailable | Kind::Throttled => Retry::Always(Pace::Fault),
        _ => Retry::Never,
    }
}

/// Whether the service refused the key itself with this code. If another key has come meanwhile, the request is
/// repeated with it, once. Table Store has one code for every fault of a key, a signature or a clock.
pub fn refuses_the_key(code: &str) -> bool {
    matches!(code, "OTSAuthFailed" | "SecurityTokenExpired" | "InvalidSecurityToken" | "InvalidAccessKeyId")
}

/// The row of the table for a request that got no answer, or only a part of one. `sent` is false when the
/// connection was never made.
pub fn transport(sent: bool) -> Retry {
    if sent { Retry::IfIdempotent(Pace::Fault) } else { Retry::Always(Pace::Fault) }
}

/// Full-jitter exponential back-off within a time budget.
///
/// The n-th pause is uniform in `[0, min(cap, start * 2^n))`. `start` is 20 ms for faults and 100 ms for
/// throttling; the cap is 5 s.
#[derive(Debug, Clone)]
pub struct Backoff {
    began: Instant,
    budget: Duration,
    attempts: u32,
}

/// Longest pause between two attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long one request may be repeated before it is given up, unless the caller says otherwise. Minutes, not the
/// SDKs' 10 s: a partition that moves or a throttled table must not end a backup that ran for hours.
pub const DEFAULT_BUDGET: Duration = Duration::from_secs(300);

impl Backoff {
    /// Starts the clock of the budget.
    pub fn new(budget: Duration) -> Backoff {
        Backoff { began: Instant::now(), budget, attempts: 0 }
    }

    /// Attempts that have failed so far.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The pause before the next attempt, or `None` when the budget is used up.
    pub fn next_pause(&mut self, pace: Pace) -> Option<Duration> {
        if self.began.elapsed() >= self.budget {
            return None;
        }
        let start = match pace {
            Pace::Fault => Duration::from_millis(20),
            Pace::Throttled => Duration::from_millis(100),
        };
        let ceiling = start.saturating_mul(1 << self.attempts.min(16)).min(LONGEST_PAUSE);
        self.attempts += 1;
        Some(ceiling.mul_f64(rand::random::<f64>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_may_have_been_applied_is_repeated_only_if_idempotent() {
        let timeout = table_store(503, "OTSTimeout", "");
        assert_eq!(timeout.pace(false), None);
        assert_eq!(timeout.pace(true), Some(Pace::Fault));
        assert_eq!(table_store(503, "OTSServerBusy", "").pace(false), Some(Pace::Throttled));
        assert_eq!(transport(false).pace(false), Some(Pace::Fault));
        assert_eq!(transport(true).pace(false), None);
    }

    #[test]
    fn a_full_quota_is_final_but_too_frequent_operations_are_not() {
        let full = "Number of tables exceeds the quota:64.";
        assert_eq!(table_store(403, "OTSQuotaExhausted", full), Retry::Never);
        let frequent = "Too frequent table operations.";
        assert_eq!(table_store(403, "OTSQuotaExhausted", frequent), Retry::Always(Pace::Throttled));
    }

    #[test]
    fn pauses_grow_to_the_cap_and_end_with_the_budget() {
        let mut backoff = Backoff::new(Duration::from_secs(60));
        for attempt in 0..40 {
            let pause = backoff.next_pause(Pace::Throttled).unwrap();
            assert!(pause <= LONGEST_PAUSE, "attempt {attempt} waits {pause:?}");
        }
        assert_eq!(Backoff::new(Duration::ZERO).next_pause(Pace::Fault), None);
    }
}
