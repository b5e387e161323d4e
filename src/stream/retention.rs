//! Warns before a Stream drops what was not read.

/// Shares of the retention that have passed since the last complete look at a shard: worth a warning, and an alarm.
const LATE: f64 = 0.5;
const VERY_LATE: f64 = 0.8;

/// Logs once when a share is passed, and again after it was left and passed anew.
#[derive(Debug, Default)]
pub(super) struct RetentionAlarm {
    raised: u8,
}

impl RetentionAlarm {
    /// `used`: the share of the retention that has passed; at 1 records are lost.
    pub(super) fn look(&mut self, used: f64) {
        let level = u8::from(used > LATE) + u8::from(used > VERY_LATE);
        let percent = (used * 100.0) as u64;
        if level > self.raised {
            match level {
                1 => tracing::warn!(percent, "of the Stream's retention has passed since all of it was read"),
                _ => tracing::error!(
                    percent,
                    "of the Stream's retention has passed since all of it was read: soon records are lost"
                ),
            }
        }
        self.raised = level;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_follows_the_share_up_and_down() {
        let mut alarm = RetentionAlarm::default();
        let levels = [0.1, 0.6, 0.7, 0.9, 0.2, 0.81].map(|used| {
            alarm.look(used);
            alarm.raised
        });
        assert_eq!(levels, [0, 1, 1, 2, 0, 2]);
    }
}
