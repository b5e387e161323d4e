//! What a user can choose about a restore.

use std::fmt;
use std::str::FromStr;

use crate::catalog::{Moment, RunId};
use crate::fold::TimeToLive;
use crate::model::{KeyRange, PrimaryKey, PrimaryKeyColumn};
use crate::{Error, Kind, Result};

/// Settings of one restore. Build from `Default` and change fields.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Which run to restore: a base as it was, or a chain up to a delta and with it; `None` takes the newest chain. With
    /// [`Moment::Time`], the base of the chain.
    pub run: Option<RunId>,
    /// As of when. Default: all that the chain holds.
    pub to: Moment,
    /// What becomes of cells that had expired at that moment, where there are Stream records. Default: they are left out.
    pub time_to_live: TimeToLive,
    /// First key to write, inclusive; may be a prefix. `None` starts at the run's first key.
    pub from_key: Option<PrimaryKey>,
    /// Where to stop, exclusive; may be a prefix. `None` goes to the run's last key.
    pub to_key: Option<PrimaryKey>,
    /// Attribute columns to write; `None` writes all. Rows without any of them are written with their keys.
    pub columns: Option<Vec<String>>,
    /// Write the newest version of each cell alone, and let the service give it its timestamp.
    pub flatten: bool,
    /// Write into a table that has rows, and what to do where both have a row. `None` refuses such a table.
    pub on_conflict: Option<OnConflict>,
    /// What happens to the values of an auto-increment key column.
    pub auto_increment: AutoIncrement,
    /// The table is for comparing alone: it keeps the options of the load, so that no cell expires, and gets neither Stream
    /// nor indexes.
    pub scratch: bool,
    /// Reserve the throughput that the source had; it is billed whether it is used or not. Default: none.
    pub keep_reserved: bool,
    /// Key ranges written at the same time, 1 to 64; 0, the default, as many as the memory affords, up to 16. How many
    /// requests are in flight is up to the client's limit.
    pub lanes: usize,
    /// Bytes that files, batches and requests may hold together. Default 512 MiB, at least 64 MiB.
    pub memory_bytes: u64,
    /// When to give up because too many rows were refused. Default: past 10,000 rows.
    pub max_errors: ErrorLimit,
    /// Begin anew what is finished already.
    pub again: bool,
    /// Tables that are written at the same time where there are many; 1 to 64. Default 4. Each has its share of the memory.
    pub tables_at_once: usize,
}

impl Default for RestoreOptions {
    fn default() -> RestoreOptions {
        RestoreOptions {
            run: None,
            to: Moment::End,
            time_to_live: TimeToLive::Apply,
            from_key: None,
            to_key: None,
            columns: None,
            flatten: false,
            on_conflict: None,
            auto_increment: AutoIncrement::Integer,
            scratch: false,
            keep_reserved: false,
            lanes: 0,
            memory_bytes: 512 << 20,
            max_errors: ErrorLimit::Rows(10_000),
            again: false,
            tables_at_once: 4,
        }
    }
}

/// Smallest budget: one lane with a row group, a batch and some requests.
const SMALLEST_MEMORY: u64 = 64 << 20;

impl RestoreOptions {
    /// # Errors
    /// [`Kind::Usage`] naming the option that is out of range or does not go with another one.
    pub fn check(&self) -> Result<()> {
        let wrong = |option: &str, reason: &str| {
            Err(Error::new(Kind::Usage, format!("use `{option}`")).because(reason.to_owned()))
        };
        if self.memory_bytes < SMALLEST_MEMORY {
            return wrong("--memory", "it must be at least 64MiB");
        }
        super::moment::check(self.run.as_ref(), &self.to)?;
        if self.lanes > 64 {
            return wrong("lanes", "there are 64 at most");
        }
        if !(1..=64).contains(&self.tables_at_once) {
            return wrong("--tables-at-once", "it must be 1 to 64");
        }
        if self
            .columns
            .as_ref()
            .is_some_and(|columns| columns.is_empty() || columns.iter().any(String::is_empty))
        {
            return wrong("--columns", "it must be one name or more");
        }
        if self.auto_increment == AutoIncrement::Reassign && self.on_conflict.is_some() {
            return wrong(
                "--auto-increment reassign",
                "rows with new keys never meet rows of the target: leave `--into-existing` out",
            );
        }
        if self.flatten && self.on_conflict == Some(OnConflict::Newer) {
            return wrong(
                "--flatten",
                "every cell would be newer than those of the target; use `--into-existing overwrite` or `--on-conflict skip`",
            );
        }
        Ok(())
    }

    /// How many of `tables` are written at the same time, and the memory of each: no less than one needs, so that fewer
    /// are where the memory is short.
    pub(super) fn shares(&self, tables: usize) -> (usize, u64) {
        let affordable = usize::try_from(self.memory_bytes / SMALLEST_MEMORY).unwrap_or(usize::MAX);
        let at_once = self.tables_at_once.min(tables).min(affordable).max(1);
        (at_once, self.memory_bytes / at_once as u64)
    }

    /// The keys to write: those that were asked for, as far as the run has them.
    ///
    /// # Errors
    /// [`Kind::Usage`] for bounds that do not fit the key or leave nothing.
    pub(super) fn key_range(&self, of_run: &KeyRange, key: &[PrimaryKeyColumn]) -> Result<KeyRange> {
        let bound = |option: &str, bound: &Option<PrimaryKey>| -> Result<Option<PrimaryKey>> {
            let Some(bound) = bound else { return Ok(None) };
            let parts = bound.parts();
            let fits = !parts.is_empty()
                && parts.len() <= key.len()
                && parts.iter().zip(key).all(|(part, column)| part.fits(column.column_type));
            match fits {
                true => Ok(Some(bound.clone().padded(key.len()))),
                false => Err(Error::new(Kind::Usage, format!("use `{option}`")).because(format!(
                    "{bound} does not fit the primary key ({})",
                    key.iter()
                        .map(|column| format!("{} {:?}", column.name, column.column_type))
                        .collect::<Vec<_>>()
                        .join(", ")
                ))),
            }
        };
        let start = bound("--from-key", &self.from_key)?
            .map_or(of_run.start.clone(), |from| from.max(of_run.start.clone()));
        let end =
            bound("--to-key", &self.to_key)?.map_or(of_run.end.clone(), |to| to.min(of_run.end.clone()));
        let range = KeyRange { start, end };
        if range.is_empty() {
            return Err(Error::new(Kind::Usage, "use `--from-key` and `--to-key`").because(format!(
                "nothing of the backup, which has the keys {} to {}, is between them",
                of_run.start, of_run.end
            )));
        }
        Ok(range)
    }
}

/// What happens to a row that is in the backup and in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Both rows' cells stay; of the versions of a column the newest count, as many as the target keeps.
    Newer,
    /// The target's row is replaced.
    Overwrite,
    /// The target's row stays.
    Skip,
    /// The backup's row is left out and named among the rejects, unless both are equal.
    Fail,
}

impl fmt::Display for OnConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnConflict::Newer => "newer",
            OnConflict::Overwrite => "overwrite",
            OnConflict::Skip => "skip",
            OnConflict::Fail => "fail",
        })
    }
}

impl FromStr for OnConflict {
    type Err = String;

    fn from_str(text: &str) -> Result<OnConflict, String> {
        [OnConflict::Newer, OnConflict::Overwrite, OnConflict::Skip, OnConflict::Fail]
            .into_iter()
            .find(|policy| policy.to_string() == text)
            .ok_or_else(|| "it is `newer`, `overwrite`, `skip` or `fail`".to_owned())
    }
}

/// What happens to the values of an auto-increment key column, which the service takes for no new row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AutoIncrement {
    /// They stay; in the target the column is a plain INTEGER.
    #[default]
    Integer,
    /// The service assigns new ones; which old key became which new one is written down.
    Reassign,
}

impl fmt::Display for AutoIncrement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AutoIncrement::Integer => "integer",
            AutoIncrement::Reassign => "reassign",
        })
    }
}

impl FromStr for AutoIncrement {
    type Err = String;

    fn from_str(text: &str) -> Result<AutoIncrement, String> {
        match text {
            "integer" => Ok(AutoIncrement::Integer),
            "reassign" => Ok(AutoIncrement::Reassign),
            _ => Err("it is `integer` or `reassign`".to_owned()),
        }
    }
}

/// How many rows may be refused before a restore gives up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ErrorLimit {
    /// So many rows.
    Rows(u64),
    /// So many of a hundred rows of the table.
    Percent(f64),
}

impl ErrorLimit {
    /// Whether `rejected` of `rows` rows are too many.
    pub(super) fn is_exceeded(self, rejected: u64, rows: u64) -> bool {
        match self {
            ErrorLimit::Rows(most) => rejected > most,
            ErrorLimit::Percent(percent) => rejected as f64 > rows as f64 * percent / 100.0,
        }
    }
}

impl fmt::Display for ErrorLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorLimit::Rows(rows) => write!(f, "{rows}"),
            ErrorLimit::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for ErrorLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<ErrorLimit, String> {
        const SHAPE: &str = "it is a number of rows, or 0% to 100%";
        match text.strip_suffix('%') {
            None => text.parse().map(ErrorLimit::Rows).map_err(|_| SHAPE.to_owned()),
            Some(percent) => match percent.parse() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(ErrorLimit::Percent(percent)),
                _ => Err(SHAPE.to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyPart, PrimaryKeyType};

    #[test]
    fn limits_and_policies_are_read_as_they_are_written() {
        for text in ["0", "250", "12.5%"] {
            assert_eq!(text.parse::<ErrorLimit>().unwrap().to_string(), text);
        }
        assert!("101%".parse::<ErrorLimit>().is_err() && "-1".parse::<ErrorLimit>().is_err());
        assert!(
            !ErrorLimit::Percent(10.0).is_exceeded(10, 100) && ErrorLimit::Percent(10.0).is_exceeded(11, 100)
        );
        assert!(!ErrorLimit::Rows(0).is_exceeded(0, 9) && ErrorLimit::Rows(0).is_exceeded(1, 9));
        for policy in ["newer", "overwrite", "skip", "fail"] {
            assert_eq!(policy.parse::<OnConflict>().unwrap().to_string(), policy);
        }
        for policy in ["integer", "reassign"] {
            assert_eq!(policy.parse::<AutoIncrement>().unwrap().to_string(), policy);
        }
    }

    #[test]
    fn many_tables_share_the_memory_and_fewer_run_where_it_is_short() {
        let with = |memory_bytes| RestoreOptions { memory_bytes, ..RestoreOptions::default() };
        assert_eq!(with(512 << 20).shares(9), (4, 128 << 20));
        assert_eq!(with(512 << 20).shares(1), (1, 512 << 20));
        assert_eq!(with(150 << 20).shares(9), (2, 75 << 20));
        assert_eq!(with(64 << 20).shares(9), (1, 64 << 20));
    }

    #[test]
    fn bounds_are_padded_and_cut_to_what_the_run_has() {
        let key =
            [("a", PrimaryKeyType::String), ("b", PrimaryKeyType::Integer)].map(|(name, column_type)| {
                PrimaryKeyColumn { name: name.into(), column_type, auto_increment: false }
            });
        let text = |text: &str| PrimaryKey(vec![KeyPart::String(text.into())]);
        let of_run = KeyRange { start: PrimaryKey::inf_min(2), end: text("m").padded(2) };
        let options =
            RestoreOptions { from_key: Some(text("c")), to_key: Some(text("x")), ..Default::default() };
        let range = options.key_range(&of_run, &key).unwrap();
        assert_eq!(range, KeyRange { start: text("c").padded(2), end: text("m").padded(2) });
        let beyond = RestoreOptions { from_key: Some(text("m")), ..Default::default() };
        assert_eq!(beyond.key_range(&of_run, &key).unwrap_err().kind(), Kind::Usage);
        let wrong = PrimaryKey(vec![KeyPart::Integer(1)]);
        let wrong = RestoreOptions { to_key: Some(wrong), ..Default::default() };
        assert_eq!(wrong.key_range(&of_run, &key).unwrap_err().kind(), Kind::Usage);
    }
}
