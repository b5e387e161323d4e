//! What a restore is bound to: what of a run is written where, and how.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{RunId, Source, document};
use crate::Result;
use crate::model::KeyRange;

/// What of a run is written where, and how: everything that must be the same for a log to be gone on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreBinding {
    /// Where the rows came from once.
    pub source: Source,
    /// Its table.
    pub table: String,
    /// The run that is restored.
    pub run: RunId,
    /// Instance that is written to.
    pub target_instance: String,
    /// Table that is written to.
    pub target_table: String,
    /// When the target was created, as the service says; `None` where it does not.
    pub target_creation_time: Option<i64>,
    /// The keys that are written.
    pub key_range: KeyRange,
    /// The attribute columns that are written; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Newest versions alone, with timestamps of the service.
    pub flatten: bool,
    /// What happens to auto-increment keys, in the words of the command line.
    pub auto_increment: String,
    /// What happens to rows that are there already, in the words of the command line; `None` for a target that was
    /// empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_conflict: Option<String>,
    /// Up to where Stream records count; `None` for a fuzzy base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<CutBinding>,
}

/// Up to where the records of a chain are folded into its base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutBinding {
    /// The last run of which records count.
    pub run: RunId,
    /// Records with a later commit clock do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_clock_us: Option<i64>,
    /// What becomes of expired cells, in the words of the command line.
    pub time_to_live: String,
}

impl RestoreBinding {
    /// 16 hex digits of a SHA-256 over all of it.
    pub fn id(&self) -> Result<String> {
        // The endpoint is how the source was reached, not what it is.
        let source = Source { endpoint: String::new(), ..self.source.clone() };
        let bytes = document::to_bytes(&RestoreBinding { source, ..self.clone() })?;
        Ok(hex::encode(Sha256::digest(&bytes)).get(..16).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A whole table into its copy.
    pub(in crate::catalog) fn binding() -> RestoreBinding {
        RestoreBinding {
            source: Source { instance: "i".into(), endpoint: "http://a".into() },
            table: "t".into(),
            run: "20261122t161530z-9f3a2c71".parse().unwrap(),
            target_instance: "i".into(),
            target_table: "copy".into(),
            target_creation_time: Some(17),
            key_range: KeyRange::all(1),
            columns: None,
            flatten: false,
            auto_increment: "integer".into(),
            on_conflict: None,
            cut: None,
        }
    }

    #[test]
    fn a_table_that_was_created_anew_and_other_columns_are_another_binding() {
        let same = RestoreBinding {
            source: Source { instance: "i".into(), endpoint: "http://b".into() },
            ..binding()
        };
        let id = |binding: RestoreBinding| binding.id().unwrap();
        assert_eq!(id(binding()), id(same));
        assert_eq!(id(binding()).len(), 16);
        let again = RestoreBinding { target_creation_time: Some(18), ..binding() };
        let fewer = RestoreBinding { columns: Some(vec!["a".into()]), ..binding() };
        assert_ne!(id(binding()), id(again));
        assert_ne!(id(binding()), id(fewer));
        let cut = |until_clock_us| {
            let cut = CutBinding { run: binding().run, until_clock_us, time_to_live: "apply".into() };
            id(RestoreBinding { cut: Some(cut), ..binding() })
        };
        assert!(cut(None) != id(binding()) && cut(None) != cut(Some(1)) && cut(Some(2)) != cut(Some(1)));
    }
}
