//! The splits of a scan, dealt out as contiguous runs, stolen from the back.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use crate::model::KeyRange;

/// Hands splits to workers. Each worker starts with a contiguous run, so that its files stay long; one that has
/// nothing left takes the back half of the longest remaining run.
#[derive(Debug)]
pub(super) struct SplitQueue {
    runs: Mutex<Vec<VecDeque<KeyRange>>>,
}

impl SplitQueue {
    /// Deals `splits`, given in key order, to at most `workers` workers.
    pub(super) fn new(splits: Vec<KeyRange>, workers: usize) -> SplitQueue {
        let workers = workers.clamp(1, splits.len().max(1));
        let total = splits.len();
        let mut splits = splits.into_iter();
        let runs = (0..workers)
            .map(|worker| {
                let length = total * (worker + 1) / workers - total * worker / workers;
                splits.by_ref().take(length).collect()
            })
            .collect();
        SplitQueue { runs: Mutex::new(runs) }
    }

    /// Workers that have a run of their own.
    pub(super) fn workers(&self) -> usize {
        self.lock().len()
    }

    /// The next split for `worker`, or `None` when every split is taken.
    pub(super) fn next(&self, worker: usize) -> Option<KeyRange> {
        let mut runs = self.lock();
        if let Some(split) = runs.get_mut(worker).and_then(VecDeque::pop_front) {
            return Some(split);
        }
        let longest = runs.iter_mut().max_by_key(|run| run.len())?;
        let mut stolen = longest.split_off(longest.len() / 2);
        let split = stolen.pop_front();
        if let Some(own) = runs.get_mut(worker) {
            *own = stolen;
        }
        split
    }

    fn lock(&self) -> MutexGuard<'_, Vec<VecDeque<KeyRange>>> {
        // Every state in between is a valid one.
        self.runs.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyPart, PrimaryKey};

    fn splits(count: i64) -> Vec<KeyRange> {
        KeyRange::all(1).split_at((1..count).map(|value| PrimaryKey(vec![KeyPart::Integer(value)])))
    }

    #[test]
    fn every_split_is_handed_out_once_whoever_asks() {
        for (count, workers) in [(1, 1), (1, 8), (7, 3), (100, 16)] {
            let queue = SplitQueue::new(splits(count), workers);
            // The last worker asks for everything: it takes its own run, then steals the rest.
            let mut taken: Vec<_> = std::iter::from_fn(|| queue.next(queue.workers() - 1)).collect();
            taken.sort_by(|a, b| a.start.cmp(&b.start));
            assert_eq!(KeyRange::all(1).check_tiled_by(&taken), Ok(()), "{count} splits, {workers} workers");
        }
    }

    #[test]
    fn a_worker_reads_neighbours_one_after_the_other() {
        let queue = SplitQueue::new(splits(8), 2);
        let first = queue.next(0).unwrap();
        let second = queue.next(0).unwrap();
        assert_eq!(first.end, second.start);
        // Worker 1 has splits 4..8; worker 0 has 2 left and then steals the back half of what worker 1 has.
        assert!(queue.next(1).is_some() && queue.next(0).is_some() && queue.next(0).is_some());
        let stolen = queue.next(0).unwrap();
        assert_eq!(stolen, splits(8)[6]);
    }
}
