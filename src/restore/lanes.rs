//! Who writes which row group next.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::catalog::UnitId;

/// A row group to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// Its name in the log.
    pub id: UnitId,
    /// The file's place in the file list.
    pub entry: usize,
    /// About how many rows it has.
    pub rows: u64,
}

/// Row groups in key order, cut into as many stretches of about the same number of rows as there are lanes.
///
/// Each lane goes through its own stretch: so that the lanes write to different partitions at any moment, and only one
/// file per lane is open. A lane with nothing left takes the back half of the longest stretch.
#[derive(Debug)]
pub(super) struct Lanes {
    stretches: Mutex<Vec<VecDeque<Unit>>>,
}

impl Lanes {
    /// At least one lane; none without a row group.
    pub(super) fn new(units: Vec<Unit>, lanes: usize) -> Lanes {
        let lanes = lanes.clamp(1, units.len().max(1));
        let rows: u64 = units.iter().map(|unit| unit.rows.max(1)).sum();
        let mut stretches = vec![VecDeque::new(); lanes];
        let mut before = 0;
        for unit in units {
            // The middle of the row group decides.
            let middle = before + unit.rows.max(1) / 2;
            let lane = (u128::from(middle) * lanes as u128 / u128::from(rows.max(1))) as usize;
            stretches[lane.min(lanes - 1)].push_back(unit);
            before += unit.rows.max(1);
        }
        Lanes { stretches: Mutex::new(stretches) }
    }

    /// Number of lanes.
    pub(super) fn count(&self) -> usize {
        self.stretches().len()
    }

    /// The next row group of a lane; `None` when nothing is left.
    pub(super) fn next(&self, lane: usize) -> Option<Unit> {
        let mut stretches = self.stretches();
        if let Some(unit) = stretches.get_mut(lane)?.pop_front() {
            return Some(unit);
        }
        let longest = stretches
            .iter_mut()
            .max_by_key(|stretch| stretch.iter().map(|unit| unit.rows.max(1)).sum::<u64>())?;
        let mut taken = longest.split_off(longest.len() / 2);
        let unit = taken.pop_front();
        stretches[lane] = taken;
        unit
    }

    fn stretches(&self) -> MutexGuard<'_, Vec<VecDeque<Unit>>> {
        // Every state in between is a valid one.
        self.stretches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::FileId;

    fn units(rows: &[u64]) -> Vec<Unit> {
        let file = FileId::random();
        let unit = |(at, rows): (usize, &u64)| Unit {
            id: UnitId { file, row_group: at as u32 },
            entry: 0,
            rows: *rows,
        };
        rows.iter().enumerate().map(unit).collect()
    }

    #[test]
    fn lanes_begin_far_apart_and_every_row_group_is_given_out_once() {
        let all = units(&[10; 12]);
        let lanes = Lanes::new(all.clone(), 4);
        let first: Vec<_> = (0..4).map(|lane| lanes.next(lane).unwrap().id.row_group).collect();
        assert_eq!(first, [0, 3, 6, 9]);
        // One lane alone does the rest.
        let mut rest: Vec<_> = std::iter::from_fn(|| lanes.next(1)).map(|unit| unit.id.row_group).collect();
        rest.extend(first);
        rest.sort();
        assert_eq!(rest, (0..12).collect::<Vec<_>>());
        assert!(lanes.next(0).is_none());
    }

    #[test]
    fn stretches_follow_the_rows() {
        let lanes = Lanes::new(units(&[90, 5, 5, 90]), 2);
        assert_eq!(lanes.next(0).unwrap().id.row_group, 0);
        assert_eq!(lanes.next(1).unwrap().id.row_group, 2);
        assert_eq!(Lanes::new(units(&[1]), 8).count(), 1);
        assert_eq!(Lanes::new(Vec::new(), 8).next(0), None);
    }
}
