//! Which part of a Stream a delta holds: the places in every shard at its beginning and at its end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{SequenceInfo, TableDefinition};
use crate::{Error, Kind, Result};

/// What makes a Stream one unbroken log: if any of it changes, records are missing in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamIdentity {
    /// The Stream's id.
    pub stream_id: String,
    /// When the Stream was enabled, in microseconds since 1970 UTC.
    pub enabled_at_us: i64,
    /// When the table was created, where the service says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_created_at: Option<i64>,
}

impl StreamIdentity {
    /// The identity of a table's Stream; `None` without one.
    pub fn of(table: &TableDefinition) -> Option<StreamIdentity> {
        table.stream.as_ref().map(|stream| StreamIdentity {
            stream_id: stream.stream_id.clone(),
            enabled_at_us: stream.last_enable_time_us,
            table_created_at: table.creation_time,
        })
    }
}

/// How far one shard is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardProgress {
    /// The shard.
    pub shard_id: String,
    /// The shards it came from by a split or a merge: none, one or two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<String>,
    /// Its place in the lineage: unique in the chain, and larger than that of every parent. Records of a chain are ordered
    /// by (rank, ordinal).
    pub rank: u64,
    /// Records read of it in this chain: the ordinal of its next record.
    pub ordinal: u64,
    /// The commit clock: the largest commit time of what was read of it and of its ancestors, in microseconds. It never falls.
    pub clock_us: i64,
    /// The last record that was read; to find the place again when the iterator is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SequenceInfo>,
    /// When everything committed so far was known to be read. Records are lost to us when the Stream's retention passes from
    /// here without another look.
    pub caught_up_at: Timestamp,
    /// Where to go on.
    pub place: ShardPlace,
}

/// Where reading a shard goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardPlace {
    /// Its parents are not read to their ends.
    Waiting,
    /// At this iterator.
    Iterator(String),
    /// It was closed by a split or a merge and is read to its end.
    Closed,
}

/// A part of a Stream: from one set of places to a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpan {
    /// The Stream.
    pub identity: StreamIdentity,
    /// How long the Stream keeps records, in hours.
    pub expiration_hours: i32,
    /// Every shard that is listed or not read to its end, at the beginning; by rank.
    pub from: Vec<ShardProgress>,
    /// The same at the end.
    pub to: Vec<ShardProgress>,
}

impl StreamSpan {
    /// Checks that this is a span that a reader could have read: ranks ascend and are unique, parents come before children, no
    /// child is begun before its parents' ends, and nothing went backwards.
    ///
    /// # Errors
    /// [`Kind::Corrupt`].
    pub fn check(&self) -> Result<()> {
        let corrupt = |reason: String| {
            Err(Error::new(Kind::Corrupt, "use the positions").on("of a delta").because(reason))
        };
        for side in [&self.from, &self.to] {
            if let Some(pair) = side.windows(2).find(|pair| matches!(pair, [a, b] if a.rank >= b.rank)) {
                return corrupt(format!("the ranks of {pair:?} do not ascend"));
            }
            for shard in side {
                for parent in side.iter().filter(|other| shard.parents.contains(&other.shard_id)) {
                    let begun = shard.place != ShardPlace::Waiting;
                    if parent.rank >= shard.rank || (begun && parent.place != ShardPlace::Closed) {
                        return corrupt(format!("shard `{}` is before its parent", shard.shard_id));
                    }
                }
            }
        }
        for before in &self.from {
            match self.to.iter().find(|after| after.shard_id == before.shard_id) {
                Some(after)
                    if after.rank == before.rank
                        && after.ordinal >= before.ordinal
                        && after.clock_us >= before.clock_us => {}
                // One that is read to its end is forgotten when the service forgets it.
                None if before.place == ShardPlace::Closed => {}
                _ => return corrupt(format!("shard `{}` went backwards", before.shard_id)),
            }
        }
        Ok(())
    }

    /// Up to when everything that was committed is known to be read, on every shard that may have more.
    pub fn reached(&self) -> Option<Timestamp> {
        // More records of a shard can have the clock of the last one, and no smaller one.
        let of_shard = |shard: &ShardProgress| {
            let clock = Timestamp::from_microsecond(shard.clock_us.saturating_sub(1));
            clock.map_or(shard.caught_up_at, |clock| clock.max(shard.caught_up_at))
        };
        let may_have_more = |shard: &&ShardProgress| match shard.place {
            ShardPlace::Iterator(_) => true,
            ShardPlace::Closed => false,
            // As long as a parent is open, it is the parent that has more.
            ShardPlace::Waiting => {
                let is_open = |other: &ShardProgress| other.place != ShardPlace::Closed;
                !self.to.iter().any(|other| shard.parents.contains(&other.shard_id) && is_open(other))
            }
        };
        self.to.iter().filter(may_have_more).map(of_shard).min()
    }

    /// Whether a later span goes on exactly where this one ends.
    pub fn is_followed_by(&self, later: &StreamSpan) -> bool {
        self.identity == later.identity && self.to == later.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str], rank: u64, ordinal: u64, place: ShardPlace) -> ShardProgress {
        ShardProgress {
            shard_id: id.to_owned(),
            parents: parents.iter().map(|id| (*id).to_owned()).collect(),
            rank,
            ordinal,
            clock_us: 0,
            last: None,
            caught_up_at: Timestamp::UNIX_EPOCH,
            place,
        }
    }

    fn span(from: Vec<ShardProgress>, to: Vec<ShardProgress>) -> StreamSpan {
        let identity =
            StreamIdentity { stream_id: "s".to_owned(), enabled_at_us: 1, table_created_at: Some(2) };
        StreamSpan { identity, expiration_hours: 24, from, to }
    }

    #[test]
    fn a_span_that_no_reader_could_have_read_is_refused() {
        let at = || ShardPlace::Iterator("i".to_owned());
        let (closed, waiting) = (ShardPlace::Closed, ShardPlace::Waiting);
        let before = vec![shard("a", &[], 0, 3, at())];
        let after = vec![shard("a", &[], 0, 5, closed.clone()), shard("b", &["a"], 1, 2, at())];
        span(before.clone(), after.clone()).check().unwrap();
        span(after.clone(), vec![shard("b", &["a"], 1, 2, at())]).check().unwrap();
        let wrong = [
            // Fewer records than before; forgotten before its end; a child before its parent; equal ranks.
            (before.clone(), vec![shard("a", &[], 0, 2, at())]),
            (before.clone(), vec![]),
            (before.clone(), vec![shard("a", &[], 0, 5, at()), shard("b", &["a"], 1, 2, at())]),
            (before.clone(), vec![shard("b", &["a"], 0, 2, waiting), shard("a", &[], 1, 5, closed)]),
            (before, vec![shard("a", &[], 0, 5, at()), shard("c", &[], 0, 0, at())]),
        ];
        for (from, to) in wrong {
            assert_eq!(span(from, to.clone()).check().unwrap_err().kind(), Kind::Corrupt, "{to:?}");
        }
    }
}
