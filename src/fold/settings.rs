//! What decides how rows and records become rows.

use std::fmt;
use std::str::FromStr;

use crate::catalog::Cut;
use crate::model::{FoldRules, TableDefinition};

/// What becomes of cells that had expired at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeToLive {
    /// They are left out, as a reader of the table would have found it then. A row all of whose cells had expired is left out too.
    #[default]
    Apply,
    /// They stay, as far as the backup has them.
    Raw,
}

impl fmt::Display for TimeToLive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimeToLive::Apply => "apply",
            TimeToLive::Raw => "raw",
        })
    }
}

impl FromStr for TimeToLive {
    type Err = String;

    fn from_str(text: &str) -> Result<TimeToLive, String> {
        match text {
            "apply" => Ok(TimeToLive::Apply),
            "raw" => Ok(TimeToLive::Raw),
            _ => Err("it is `apply` or `raw`".to_owned()),
        }
    }
}

/// How rows of a base and records become rows of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldSettings {
    /// What a record does.
    pub rules: FoldRules,
    /// Rows of the base may have more versions of a column than the table kept at the moment.
    pub trim: bool,
    /// Cells older than this (milliseconds) are left out.
    pub horizon_ms: Option<i64>,
    /// Records with a later commit clock (microseconds) do not count.
    pub until_clock_us: Option<i64>,
}

impl FoldSettings {
    /// Those of a cut, whose table's definition of the moment decides.
    pub fn of(cut: &Cut, time_to_live: TimeToLive) -> FoldSettings {
        let versions = |table: &TableDefinition| {
            usize::try_from(table.options.max_versions.unwrap_or(1)).unwrap_or(1).max(1)
        };
        FoldSettings {
            rules: FoldRules { max_versions: versions(&cut.table) },
            trim: versions(&cut.table) < versions(&cut.base.table),
            horizon_ms: match time_to_live {
                TimeToLive::Apply => cut.expiry_horizon_ms(),
                TimeToLive::Raw => None,
            },
            until_clock_us: cut.until_clock_us,
        }
    }
}
