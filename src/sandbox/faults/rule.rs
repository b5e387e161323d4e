//! Which calls a fault hits.

use serde::{Deserialize, Serialize};

use super::Action;

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
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The service; `None` means both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// The operation as the service names it (`GetRange`, `UploadPart`), with `/row` for the rows of a batch
    /// (`BatchWriteRow/row`); `None` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// A part of the table name, or of `bucket/key`; with a `*` in it, a pattern for the whole of it. `None` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

    /// Only calls whose table name, or `bucket/key`, contains this, or is like this when there is a `*` in it.
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

    pub(super) fn matches(&self, service: Service, operation: &str, key: &str) -> bool {
        // The rows of a batch are no calls: they match by name only.
        let operation_matches = match &self.operation {
            Some(wanted) => wanted == operation,
            None => !operation.contains('/'),
        };
        operation_matches
            && self.service.is_none_or(|wanted| wanted == service)
            && self.key.as_deref().is_none_or(|pattern| is_like(key, pattern))
    }
}

/// Whether `key` contains `pattern`, or is what `pattern` says where `*` stands for anything.
fn is_like(key: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return key.contains(pattern) };
    let Some(mut left) = key.strip_prefix(first) else { return false };
    let mut pieces: Vec<_> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = left.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    left.ends_with(last)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_part_or_with_a_star_a_pattern() {
        for (pattern, key, expected) in [
            ("ord", "orders", true),
            ("/k", "b/k", true),
            ("ord*", "orders", true),
            ("*ord", "orders", false),
            ("b/*/data/*.parquet", "b/t/base/data/1.parquet", true),
            ("b/*/data/*.parquet", "b/t/base/manifest.json", false),
            ("*", "", true),
        ] {
            assert_eq!(is_like(key, pattern), expected, "{key} like {pattern}");
        }
    }

    #[test]
    fn a_rule_for_everything_leaves_the_rows_of_batches_alone() {
        let rule = Rule::new(Action::DropBefore);
        assert!(rule.matches(Service::TableStore, "BatchWriteRow", "t"));
        assert!(!rule.matches(Service::TableStore, "BatchWriteRow/row", "t"));
    }
}
