//! A range that a worker is reading, and what can be said about how much of it is left.

use std::collections::VecDeque;

use crate::model::{KeyRange, PrimaryKey};

/// Page ends that are remembered: the speed of the last few pages says more than that of the whole range, whose
/// density may change.
const MARKS: usize = 5;

/// After an attempt that found no place to cut, this many pages are read before the next one.
const PAGES_BETWEEN_ATTEMPTS: u64 = 4;

/// `[position, end)` is still to be read; only its holder moves `position`, only a cut moves `end`.
#[derive(Debug)]
pub(super) struct Running {
    /// Tells it from other ranges of the same worker.
    pub id: u64,
    /// Where to stop.
    pub end: PrimaryKey,
    /// Where the next page starts. Every key below is read.
    pub position: PrimaryKey,
    /// Pages read.
    pub pages: u64,
    /// A probe found that a page of rows or less is behind it.
    pub top: Option<PrimaryKey>,
    /// Somebody is looking for a place to cut it.
    pub claimed: bool,
    /// The ends of its splits in `(position, end)`, ascending.
    points: VecDeque<PrimaryKey>,
    /// Share of the scan that a split is.
    split_weight: f64,
    /// Where the split that is read began, or where the last cut found the position.
    start: PrimaryKey,
    /// Share of the scan that the keys from `start` to the first point are thought to be.
    weight: f64,
    /// Share of the scan that all of it was when it began or was cut.
    whole: f64,
    marks: VecDeque<PrimaryKey>,
    inherited_pages: Option<f64>,
    refused_at: Option<u64>,
}

/// What the reading of a page came past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Passed {
    /// Splits that are read to their ends; not counting the one that ends the range.
    pub splits: u64,
    /// Share of the scan that they are.
    pub share: f64,
}

impl Running {
    /// One split, which is about `weight` of the scan.
    pub(super) fn new(id: u64, split: KeyRange, weight: f64) -> Running {
        Running {
            id,
            end: split.end,
            position: split.start.clone(),
            pages: 0,
            top: None,
            claimed: false,
            points: VecDeque::new(),
            split_weight: weight,
            start: split.start,
            weight,
            whole: weight,
            marks: VecDeque::new(),
            inherited_pages: None,
            refused_at: None,
        }
    }

    /// Reads on through the split that begins where this range ends.
    pub(super) fn extend(&mut self, next: KeyRange) {
        self.points.push_back(std::mem::replace(&mut self.end, next.end));
        self.whole += self.split_weight;
    }

    /// What is left of it.
    pub(super) fn left(&self) -> KeyRange {
        KeyRange { start: self.position.clone(), end: self.end.clone() }
    }

    /// Splits of it that were not begun.
    pub(super) fn splits_left(&self) -> usize {
        self.points.len()
    }

    /// A page that ends at `page_end` was read.
    pub(super) fn advance(&mut self, page_end: &PrimaryKey) -> Passed {
        self.position = page_end.clone();
        self.pages += 1;
        self.marks.push_back(page_end.clone());
        if self.marks.len() > MARKS {
            self.marks.pop_front();
        }
        let mut passed = Passed { splits: 0, share: 0.0 };
        for point in self.points.drain(..self.points.partition_point(|point| point <= page_end)) {
            passed.splits += 1;
            passed.share += std::mem::replace(&mut self.weight, self.split_weight);
            self.start = point;
        }
        passed
    }

    /// Everything from `position` on is to be read again.
    pub(super) fn rewind(&mut self, position: PrimaryKey) {
        self.start = self.start.clone().min(position.clone());
        self.position = position;
        self.marks.clear();
    }

    /// Share of the scan that is read of it and that [`Running::advance`] has not told, by the values of the keys.
    pub(super) fn read(&self) -> f64 {
        let end = self.points.front().unwrap_or(&self.end).clone();
        self.weight * KeyRange { start: self.start.clone(), end }.share_before(&self.position)
    }

    /// Share of the scan that the splits which are not read to their ends are.
    pub(super) fn weight(&self) -> f64 {
        self.weight + self.points.len() as f64 * self.split_weight
    }

    /// Which part is left of what it was when it began or was cut, 0 to 1; 0 of one that is no share of the scan, as far as
    /// its keys tell.
    pub(super) fn share_left(&self) -> f64 {
        match self.whole > 0.0 {
            true => ((self.weight() - self.read()) / self.whole).clamp(0.0, 1.0),
            false => 0.0,
        }
    }

    /// About how many pages are left, going by how far in the key space the last few pages came; `None` while nothing
    /// is known. Keys that do not move at all, such as those of many rows in one partition, count as far from the end.
    pub(super) fn pages_left(&self) -> Option<f64> {
        let top = self.top.as_ref().filter(|key| **key < self.end).unwrap_or(&self.end);
        if self.position >= *top {
            return Some(0.0);
        }
        let pages = self.marks.len().saturating_sub(1) as f64;
        let Some(first) = self.marks.front().filter(|_| pages > 0.0) else {
            return self.inherited_pages.map(|pages| pages - self.pages as f64);
        };
        let seen = KeyRange { start: first.clone(), end: top.clone() }.share_before(&self.position);
        Some(if seen > 0.0 { pages * (1.0 - seen) / seen } else { f64::INFINITY })
    }

    /// Whether somebody may look for a place to cut, were `pages` worth it.
    pub(super) fn may_be_cut(&self, pages: f64) -> bool {
        let rested = self.refused_at.is_none_or(|at| self.pages >= at + PAGES_BETWEEN_ATTEMPTS);
        !self.claimed && rested && self.pages_left().is_some_and(|left| left >= pages)
    }

    /// No place to cut was found.
    pub(super) fn refuse(&mut self) {
        self.claimed = false;
        self.refused_at = Some(self.pages);
    }

    /// Gives the back half of the splits that were not begun away, as a range with this `id`; `None` when there is none.
    pub(super) fn give_splits(&mut self, id: u64) -> Option<Running> {
        let mut points = self.points.split_off(self.points.len() / 2);
        let at = points.pop_front()?;
        let split = KeyRange { start: at.clone(), end: std::mem::replace(&mut self.end, at) };
        let mut taken = Running { points, ..Running::new(id, split, self.split_weight) };
        taken.whole = taken.weight();
        self.whole -= taken.whole;
        Some(taken)
    }

    /// Gives `[at, end)` away, as a range with this `id`; `None` when `at` is not inside what is left or there are splits
    /// to give instead. Returns the share of the scan that was read so far and that neither of the two counts any more, too.
    pub(super) fn cut(&mut self, at: &PrimaryKey, id: u64) -> Option<(Running, f64)> {
        if *at <= self.position || *at >= self.end || !self.points.is_empty() {
            return None;
        }
        let read = self.read();
        let pages_left = self.pages_left().filter(|pages| pages.is_finite()).map(|pages| pages / 2.0);
        let weight = (self.weight - read) / 2.0;
        let range = KeyRange { start: at.clone(), end: std::mem::replace(&mut self.end, at.clone()) };
        self.start = self.position.clone();
        (self.weight, self.whole) = (weight, weight);
        let top = self.top.take();
        Some((Running { top, inherited_pages: pages_left, ..Running::new(id, range, weight) }, read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyPart;

    fn at(value: i64) -> PrimaryKey {
        PrimaryKey(vec![KeyPart::Integer(value)])
    }

    fn running(start: i64, end: i64) -> Running {
        Running::new(1, KeyRange { start: at(start), end: at(end) }, 1.0)
    }

    #[test]
    fn what_is_left_follows_the_speed_of_the_last_pages() {
        let mut range = running(0, 1_000);
        assert_eq!(range.pages_left(), None);
        // Sparse keys first, dense ones then.
        for end in [100, 200, 201, 202, 203, 204, 205] {
            assert_eq!(range.advance(&at(end)), Passed { splits: 0, share: 0.0 });
        }
        assert!((range.pages_left().unwrap() - 795.0).abs() < 1.0, "{:?}", range.pages_left());
        // A probe finds out that there is little.
        range.top = Some(at(210));
        assert!((range.pages_left().unwrap() - 5.0).abs() < 1.0, "{:?}", range.pages_left());
    }

    /// Four splits of 100 keys, each a quarter of the scan.
    fn four_splits() -> Running {
        let split = |start| KeyRange { start: at(start), end: at(start + 100) };
        let mut range = Running::new(1, split(0), 0.25);
        [100, 200, 300].into_iter().for_each(|start| range.extend(split(start)));
        range
    }

    #[test]
    fn a_page_may_end_splits_and_what_is_read_counts_once() {
        let mut range = four_splits();
        assert_eq!(range.advance(&at(50)), Passed { splits: 0, share: 0.0 });
        assert!((range.read() - 0.125).abs() < 1e-9 && (range.share_left() - 0.875).abs() < 1e-9);
        assert_eq!(range.advance(&at(250)), Passed { splits: 2, share: 0.5 });
        assert!((range.read() - 0.125).abs() < 1e-9 && (range.share_left() - 0.375).abs() < 1e-9);
        // The split that ends the range ends with it.
        assert_eq!(range.advance(&at(400)), Passed { splits: 1, share: 0.25 });
        assert!((range.read() - 0.25).abs() < 1e-9 && range.share_left() < 1e-9);
    }

    #[test]
    fn the_back_half_of_the_splits_that_were_not_begun_is_given_away() {
        let mut range = four_splits();
        range.advance(&at(10));
        let taken = range.give_splits(2).unwrap();
        assert_eq!(
            (range.left(), taken.left().start, taken.left().end),
            (KeyRange { start: at(10), end: at(200) }, at(200), at(400))
        );
        assert_eq!((range.splits_left(), taken.splits_left()), (1, 1));
        assert!((range.weight() + taken.weight() - 1.0).abs() < 1e-9);
        assert_eq!(range.give_splits(3).unwrap().left(), KeyRange { start: at(100), end: at(200) });
        assert!(range.give_splits(4).is_none(), "the split that is read stays");
    }

    #[test]
    fn what_keys_too_close_to_tell_apart_leave_is_a_number() {
        let range = Running::new(1, KeyRange { start: at(0), end: at(1) }, 0.0);
        assert_eq!(range.share_left(), 0.0);
    }

    #[test]
    fn a_cut_divides_what_is_left_and_never_what_is_read() {
        let mut range = running(0, 100);
        range.advance(&at(10));
        range.advance(&at(20));
        assert!(range.cut(&at(20), 2).is_none() && range.cut(&at(100), 2).is_none());
        let (taken, read) = range.cut(&at(60), 2).unwrap();
        assert!((range.weight() + taken.weight() + read - 1.0).abs() < 1e-9);
        assert_eq!((range.position, range.end, taken.position, taken.end), (at(20), at(60), at(60), at(100)));
        assert_eq!(taken.inherited_pages, Some(4.0));
    }

    #[test]
    fn a_range_that_could_not_be_cut_is_left_alone_for_some_pages() {
        let mut range = running(0, 1_000);
        range.advance(&at(1));
        range.advance(&at(2));
        assert!(range.may_be_cut(4.0));
        range.refuse();
        assert!(!range.may_be_cut(4.0));
        for end in 3..7 {
            range.advance(&at(end));
        }
        assert!(range.may_be_cut(4.0));
    }
}
