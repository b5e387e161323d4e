//! How the shards of a Stream descend from each other, and how far each is read: pure bookkeeping.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::gap::gap;
use crate::catalog::{ShardPlace, ShardProgress};
use crate::tablestore::Shard;
use crate::{Error, Kind, Result};

/// The shards of a Stream that are listed or not read to their ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Lineage {
    shards: BTreeMap<String, ShardProgress>,
    next_rank: u64,
    /// Before the first listing every shard is new and parents may have expired.
    is_new: bool,
}

impl Lineage {
    /// Of a Stream that is not known yet.
    pub fn new() -> Lineage {
        Lineage { shards: BTreeMap::new(), next_rank: 0, is_new: true }
    }

    /// Of a Stream that was read up to here.
    pub fn resume(shards: &[ShardProgress]) -> Lineage {
        Lineage {
            next_rank: shards.iter().map(|shard| shard.rank + 1).max().unwrap_or(0),
            shards: shards.iter().map(|shard| (shard.shard_id.clone(), shard.clone())).collect(),
            is_new: false,
        }
    }

    /// Every shard, by rank.
    pub fn shards(&self) -> Vec<ShardProgress> {
        let mut shards: Vec<_> = self.shards.values().cloned().collect();
        shards.sort_by_key(|shard| shard.rank);
        shards
    }

    /// Whether everything that came of a shard is known: both sides of a split, or what it was merged into.
    pub fn is_succeeded(&self, id: &str) -> bool {
        let children = self.shards.values().filter(|shard| shard.parents.iter().any(|parent| parent == id));
        let (mut count, mut is_merged) = (0, false);
        for child in children {
            count += 1;
            is_merged |= child.parents.len() > 1;
        }
        count > 1 || is_merged
    }

    /// One shard.
    pub fn shard(&self, id: &str) -> Option<&ShardProgress> {
        self.shards.get(id)
    }

    /// Takes in a whole listing, made at `now`. Says which shards are new.
    ///
    /// # Errors
    /// [`Kind::Gap`] when a shard that was not read to its end is not listed any more, or when a new one does not come from shards that
    /// are known; nothing is changed then. [`Kind::Corrupt`] when shards are their own ancestors.
    pub fn list(&mut self, listed: &[Shard], now: Timestamp) -> Result<Vec<String>> {
        let ids: BTreeSet<&str> = listed.iter().map(|shard| shard.shard_id.as_str()).collect();
        let lost = self
            .shards
            .values()
            .find(|known| known.place != ShardPlace::Closed && !ids.contains(known.shard_id.as_str()));
        if let Some(lost) = lost {
            return Err(gap(&lost.shard_id, "it was not read to its end and is not listed any more"));
        }
        let mut next = self.clone();
        let mut waiting: Vec<&Shard> =
            listed.iter().filter(|shard| !self.shards.contains_key(&shard.shard_id)).collect();
        for shard in &waiting {
            let unknown = shard
                .parents
                .iter()
                .find(|parent| !self.shards.contains_key(*parent) && !ids.contains(parent.as_str()));
            match unknown {
                Some(_) if self.is_new => {}
                Some(parent) => {
                    let reason = format!("it comes from shard `{parent}`, which was never seen");
                    return Err(gap(&shard.shard_id, reason));
                }
                None if !self.is_new && shard.parents.is_empty() => {
                    return Err(gap(&shard.shard_id, "it is new and comes from no other shard"));
                }
                None => {}
            }
        }
        let mut added = Vec::new();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|shard| {
                let ready = shard
                    .parents
                    .iter()
                    .all(|parent| next.shards.contains_key(parent) || !ids.contains(parent.as_str()));
                if ready {
                    added.push(shard.shard_id.clone());
                    next.add(shard, now);
                }
                !ready
            });
            if waiting.len() == before {
                return Err(Error::new(Kind::Corrupt, "order the shards")
                    .on("of a Stream")
                    .because("some of them are their own ancestors"));
            }
        }
        next.shards.retain(|id, shard| shard.place != ShardPlace::Closed || ids.contains(id.as_str()));
        next.is_new = false;
        *self = next;
        Ok(added)
    }

    fn add(&mut self, shard: &Shard, now: Timestamp) {
        let parents = shard.parents.iter().filter_map(|parent| self.shards.get(parent));
        // Its records may be as old as the last look at its parents.
        let caught_up_at = parents.map(|parent| parent.caught_up_at).min().unwrap_or(now);
        let progress = ShardProgress {
            shard_id: shard.shard_id.clone(),
            parents: shard.parents.clone(),
            rank: self.next_rank,
            ordinal: 0,
            clock_us: 0,
            last: None,
            caught_up_at,
            place: ShardPlace::Waiting,
        };
        self.next_rank += 1;
        self.shards.insert(shard.shard_id.clone(), progress);
    }

    /// Shards whose parents are all read to their ends, and which are not begun.
    pub fn ready(&self) -> Vec<String> {
        let is_read =
            |parent: &String| self.shards.get(parent).is_none_or(|parent| parent.place == ShardPlace::Closed);
        let waiting = self.shards.values().filter(|shard| shard.place == ShardPlace::Waiting);
        waiting
            .filter(|shard| shard.parents.iter().all(is_read))
            .map(|shard| shard.shard_id.clone())
            .collect()
    }

    /// Shards that are being read, with their iterators.
    pub fn open(&self) -> Vec<(String, String)> {
        let open = self.shards.values().filter_map(|shard| match &shard.place {
            ShardPlace::Iterator(iterator) => Some((shard.shard_id.clone(), iterator.clone())),
            ShardPlace::Waiting | ShardPlace::Closed => None,
        });
        open.collect()
    }

    /// Begins a shard that is [`Lineage::ready`], or finds the place in one again.
    pub fn begin(&mut self, id: &str, iterator: String) {
        let of_parents = self.shards.get(id).map(|shard| {
            let parents = shard.parents.iter().filter_map(|parent| self.shards.get(parent));
            let clock_us = parents.clone().map(|parent| parent.clock_us).max().unwrap_or(0);
            let caught_up_at = parents.map(|parent| parent.caught_up_at).min();
            (clock_us, caught_up_at)
        });
        if let (Some((clock_us, caught_up_at)), Some(shard)) = (of_parents, self.shards.get_mut(id)) {
            if shard.place == ShardPlace::Waiting {
                shard.clock_us = shard.clock_us.max(clock_us);
                shard.caught_up_at = caught_up_at.unwrap_or(shard.caught_up_at);
            }
            shard.place = ShardPlace::Iterator(iterator);
        }
    }

    /// Changes what is known of one shard.
    pub fn update(&mut self, id: &str, change: impl FnOnce(&mut ShardProgress)) {
        if let Some(shard) = self.shards.get_mut(id) {
            change(shard);
        }
    }
}

impl Default for Lineage {
    fn default() -> Lineage {
        Lineage::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard { shard_id: id.to_owned(), parents: parents.iter().map(|id| (*id).to_owned()).collect() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn close(lineage: &mut Lineage, id: &str) {
        lineage.update(id, |shard| shard.place = ShardPlace::Closed);
    }

    fn rank(lineage: &Lineage, id: &str) -> u64 {
        lineage.shard(id).unwrap().rank
    }

    #[test]
    fn a_shard_is_succeeded_when_both_sides_of_its_split_or_what_it_was_merged_into_are_known() {
        let mut lineage = Lineage::new();
        lineage
            .list(&[shard("a", &[]), shard("b", &["a"]), shard("x", &[]), shard("y", &[])], at(1))
            .unwrap();
        assert!(!lineage.is_succeeded("a"), "there is another side");
        let more = [shard("c", &["a"]), shard("z", &["x", "y"])];
        let all = [shard("a", &[]), shard("b", &["a"]), shard("x", &[]), shard("y", &[])];
        lineage.list(&[&all[..], &more].concat(), at(2)).unwrap();
        let succeeded = ["a", "x", "y", "b", "z"].map(|id| lineage.is_succeeded(id));
        assert_eq!(succeeded, [true, true, true, false, false]);
    }

    #[test]
    fn children_wait_for_both_parents_and_rank_behind_them_in_whatever_order_they_are_listed() {
        let mut lineage = Lineage::new();
        lineage
            .list(&[shard("d", &["b", "c"]), shard("c", &[]), shard("b", &["a"]), shard("a", &[])], at(1))
            .unwrap();
        assert!(rank(&lineage, "a") < rank(&lineage, "b") && rank(&lineage, "b") < rank(&lineage, "d"));
        assert!(rank(&lineage, "c") < rank(&lineage, "d"));
        assert_eq!(lineage.ready(), ["a", "c"]);
        for id in ["a", "c"] {
            lineage.begin(id, format!("at {id}"));
        }
        lineage.update("a", |shard| shard.clock_us = 70);
        close(&mut lineage, "a");
        assert_eq!(lineage.ready(), ["b"]);
        lineage.begin("b", "at b".to_owned());
        assert_eq!(lineage.shard("b").unwrap().clock_us, 70, "the clock never falls");
        close(&mut lineage, "b");
        assert!(lineage.ready().is_empty(), "c is still open");
        close(&mut lineage, "c");
        assert_eq!(lineage.ready(), ["d"]);
    }

    #[test]
    fn what_expired_before_the_first_listing_is_no_gap_and_after_it_is_one() {
        let mut lineage = Lineage::new();
        lineage.list(&[shard("b", &["expired"])], at(1)).unwrap();
        assert_eq!(lineage.ready(), ["b"]);
        lineage.begin("b", "i".to_owned());
        let known = lineage.clone();
        for (listing, reason) in [
            (vec![], "not listed any more"),
            (vec![shard("b", &[]), shard("d", &["c"])], "never seen"),
            (vec![shard("b", &[]), shard("e", &[])], "comes from no other shard"),
        ] {
            let error = lineage.list(&listing, at(2)).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (Kind::Gap, 4));
            assert!(error.report().contains(reason), "{}", error.report());
            assert_eq!(lineage, known, "nothing is changed");
        }
    }

    #[test]
    fn a_parent_that_was_read_to_its_end_may_vanish() {
        let mut lineage = Lineage::new();
        lineage.list(&[shard("a", &[])], at(1)).unwrap();
        lineage.begin("a", "i".to_owned());
        close(&mut lineage, "a");
        lineage.list(&[shard("a", &[]), shard("b", &["a"]), shard("c", &["a"])], at(2)).unwrap();
        lineage.list(&[shard("b", &["a"]), shard("c", &["a"])], at(3)).unwrap();
        assert_eq!(lineage.shard("a"), None);
        let mut resumed = Lineage::resume(&lineage.shards());
        assert_eq!(resumed.ready(), ["b", "c"]);
        resumed.list(&[shard("b", &["a"]), shard("c", &["a"]), shard("d", &["b", "c"])], at(4)).unwrap();
        assert_eq!(rank(&resumed, "d"), 3, "ranks go on");
        let circle =
            [shard("b", &[]), shard("c", &[]), shard("d", &[]), shard("x", &["y"]), shard("y", &["x"])];
        assert_eq!(resumed.list(&circle, at(5)).unwrap_err().kind(), Kind::Corrupt);
    }
}
