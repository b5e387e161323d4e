//! The time to sign with: this machine's, corrected by what the service said when it refused it.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Wall clock plus a correction in seconds.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_seconds: AtomicI64,
}

impl Clock {
    /// The value of `x-oss-date`: `20260102T030405Z`.
    pub(crate) fn stamp(&self) -> String {
        self.now().strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// The value of `Date`: `Fri, 02 Jan 2026 03:04:05 GMT`.
    pub(crate) fn date(&self) -> String {
        to_http_date(self.now()).unwrap_or_default()
    }

    fn now(&self) -> Timestamp {
        let offset = jiff::SignedDuration::from_secs(self.offset_seconds.load(Ordering::Relaxed));
        let now = Timestamp::now();
        now.checked_add(offset).unwrap_or(now)
    }

    /// Sets the correction from the `Date` header of an answer. False if it is not a date.
    pub(crate) fn correct(&self, date: &str) -> bool {
        let Some(theirs) = http_date(date) else { return false };
        let offset = theirs.as_second() - Timestamp::now().as_second();
        self.offset_seconds.store(offset, Ordering::Relaxed);
        true
    }
}

/// Parses an HTTP date, `Fri, 02 Jan 2026 03:04:05 GMT`.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

/// Prints an HTTP date.
pub(crate) fn to_http_date(time: Timestamp) -> Option<String> {
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read_and_printed() {
        let text = "Fri, 02 Jan 2026 03:04:05 GMT";
        let time = http_date(text).unwrap();
        assert_eq!(time.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(to_http_date(time).as_deref(), Some(text));
        assert_eq!(http_date("yesterday"), None);
    }

    #[test]
    fn a_correction_moves_the_stamp_and_nonsense_does_not() {
        let clock = Clock::default();
        assert!(clock.correct("Fri, 02 Jan 2026 03:04:05 GMT") && !clock.correct("nonsense"));
        assert!(clock.stamp().starts_with("20260102T0304"), "{}", clock.stamp());
    }
}
