//! Rows whose image the service itself leaves open.

use crate::model::PrimaryKey;

/// Keys that are kept by name; more are counted.
const MOST_KEYS: usize = 1_000;

/// Rows of which one version was deleted where older ones may have been trimmed before: neither a scan nor the Stream shows whether the
/// service has one of those again. Such a row is right but for those versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ambiguous {
    /// How many rows.
    pub rows: u64,
    /// Their keys, the first 1,000.
    pub keys: Vec<PrimaryKey>,
}

impl Ambiguous {
    pub(super) fn add(&mut self, key: impl FnOnce() -> Option<PrimaryKey>) {
        self.rows += 1;
        if self.keys.len() < MOST_KEYS {
            self.keys.extend(key());
        }
    }

    /// Adds those of another interval.
    pub fn merge(&mut self, other: Ambiguous) {
        self.rows += other.rows;
        let room = MOST_KEYS.saturating_sub(self.keys.len());
        self.keys.extend(other.keys.into_iter().take(room));
    }
}
