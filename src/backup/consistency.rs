//! Whether a base is to be exact, and what that takes.

use std::fmt;
use std::str::FromStr;

use super::BackupOptions;
use crate::catalog::StreamIdentity;
use crate::model::{KeyRange, TableDefinition};
use crate::{Error, Kind, Result};

/// What a base is to be worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WantedConsistency {
    /// Exact if all of a table with a Stream is copied, otherwise fuzzy.
    #[default]
    Auto,
    /// Exact; an error where it cannot be.
    Exact,
    /// Fuzzy: the Stream is not read.
    Fuzzy,
}

impl WantedConsistency {
    const NAMES: [(&str, WantedConsistency); 3] = [
        ("auto", WantedConsistency::Auto),
        ("exact", WantedConsistency::Exact),
        ("fuzzy", WantedConsistency::Fuzzy),
    ];
}

impl FromStr for WantedConsistency {
    type Err = String;

    fn from_str(text: &str) -> Result<WantedConsistency, String> {
        let known = WantedConsistency::NAMES.into_iter().find(|(name, _)| *name == text);
        known.map(|(_, wanted)| wanted).ok_or_else(|| "expected auto, exact or fuzzy".to_owned())
    }
}

impl fmt::Display for WantedConsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = WantedConsistency::NAMES.into_iter().find(|(_, wanted)| wanted == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

impl BackupOptions {
    /// The Stream that makes the base of these keys exact; `None` for a fuzzy one.
    ///
    /// # Errors
    /// [`Kind::Refused`] without a Stream and [`Kind::Usage`] for a part of a table, where an exact base was asked for.
    pub(super) fn stream_wanted(
        &self,
        table: &TableDefinition,
        key_range: &KeyRange,
    ) -> Result<Option<StreamIdentity>> {
        let stream = StreamIdentity::of(table);
        let is_whole = *key_range == KeyRange::all(table.primary_key.len()) && self.columns.is_none();
        match (self.consistency, stream) {
            (WantedConsistency::Fuzzy, _) => Ok(None),
            (WantedConsistency::Auto, stream) => Ok(stream.filter(|_| is_whole)),
            (WantedConsistency::Exact, _) if !is_whole => {
                Err(Error::new(Kind::Usage, "use `--consistency exact`")
                    .because("only a copy of all keys and columns can be exact"))
            }
            (WantedConsistency::Exact, None) => Err(Error::new(Kind::Refused, "make an exact backup")
                .on(format!("of table `{}`", table.name))
                .because("it has no Stream")
                .hint("`--enable-stream HOURS` enables it first; `--consistency fuzzy` does without")),
            (WantedConsistency::Exact, stream) => Ok(stream),
        }
    }
}
