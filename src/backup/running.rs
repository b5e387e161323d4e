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
    /// Where the share counts from: the start, or where the last cut found the position.
    pub start: PrimaryKey,
    /// Where the next page starts. Every key below is read.
    pub position: PrimaryKey,
    /// Where to stop.
    pub end: PrimaryKey,
    /// Share of the scan that `[start, end)` is thought to be.
    pub weight: f64,
    /// Pages read.
    pub pages: u64,
    /// A probe found that a page of rows or less is behind it.
    pub top: Option<PrimaryKey>,
    /// Somebody is looking for a place to cut it.
    pub claimed: bool,
    marks: VecDeque<PrimaryKey>,
    inherited_pages: Option<f64>,
    refused_at: Option<u64>,
}

impl Running {
    pub(super) fn new(id: u64, range: KeyRange, weight: f64) -> Running {
        Running {
            id,
            position: range.start.clone(),
            start: range.start,
            end: range.end,
            weight,
            pages: 0,
            top: None,
            claimed: false,
            marks: VecDeque::new(),
            inherited_pages: None,
            refused_at: None,
        }
    }

    /// A page that ends at `page_end` was read.
    pub(super) fn advance(&mut self, page_end: &PrimaryKey) {
        self.position = page_end.clone();
        self.pages += 1;
        self.marks.push_back(page_end.clone());
        if self.marks.len() > MARKS {
            self.marks.pop_front();
        }
    }

    /// Everything from `position` on is to be read again.
    pub(super) fn rewind(&mut self, position: PrimaryKey) {
        self.start = self.start.clone().min(position.clone());
        self.position = position;
        self.marks.clear();
    }

    /// Share of `[start, end)` that is read, by the values of the keys.
    pub(super) fn share_read(&self) -> f64 {
        KeyRange { start: self.start.clone(), end: self.end.clone() }.share_before(&self.position)
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

    /// Gives `[at, end)` away, as a range with this `id`; `None` when `at` is not inside what is left. Returns the
    /// share of the scan that was read so far and that neither of the two counts any more, too.
    pub(super) fn cut(&mut self, at: &PrimaryKey, id: u64) -> Option<(Running, f64)> {
        if *at <= self.position || *at >= self.end {
            return None;
        }
        let read = self.weight * self.share_read();
        let pages_left = self.pages_left().filter(|pages| pages.is_finite()).map(|pages| pages / 2.0);
        let weight = (self.weight - read) / 2.0;
        let range = KeyRange { start: at.clone(), end: std::mem::replace(&mut self.end, at.clone()) };
        self.start = self.position.clone();
        self.weight = weight;
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
            range.advance(&at(end));
        }
        assert!((range.pages_left().unwrap() - 795.0).abs() < 1.0, "{:?}", range.pages_left());
        // A probe finds out that there is little.
        range.top = Some(at(210));
        assert!((range.pages_left().unwrap() - 5.0).abs() < 1.0, "{:?}", range.pages_left());
    }

    #[test]
    fn a_cut_divides_what_is_left_and_never_what_is_read() {
        let mut range = running(0, 100);
        range.advance(&at(10));
        range.advance(&at(20));
        assert!(range.cut(&at(20), 2).is_none() && range.cut(&at(100), 2).is_none());
        let (taken, read) = range.cut(&at(60), 2).unwrap();
        assert_eq!((range.position, range.end, taken.position, taken.end), (at(20), at(60), at(60), at(100)));
        assert!((range.weight + taken.weight + read - 1.0).abs() < 1e-9);
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
        (3..7).for_each(|end| range.advance(&at(end)));
        assert!(range.may_be_cut(4.0));
    }
}
