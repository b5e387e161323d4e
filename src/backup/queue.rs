//! Who reads what: the splits of a scan, dealt out as contiguous runs, stolen from the back, and cut while they are
//! read.
//!
//! A worker reads neighbouring splits as one range: a page may end one and begin the next, so that the last page of a split
//! is as full as any other. Whoever takes splits of it moves its end down.
//!
//! The one invariant, under one lock: what is queued, what is running from its position on, and what was read tile the key
//! range. A page counts as read only when [`SplitQueue::accept`] took it, which it does not when a cut has moved the
//! end of the range below the page's; so no key is read for two files, whoever cuts when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::running::Running;
use crate::model::{KeyRange, PrimaryKey};
use crate::runtime::{Progress, RangeProgress};

/// A range with less than this left is not cut: each cut makes a file, and a page is the least that pays one.
const LEAST_PAGES: f64 = 4.0;

/// A range with less left than this part of what a worker has read so far is not cut, so that no file is much smaller than
/// a 32nd of a worker's share. With that the first worker idles for the last 3 to 6 % of the pages, one partition of 95 %
/// or not (`simulation.rs`), where there are some 60 pages per worker and probes do not take longer than pages.
const LEAST_SHARE: f64 = 1.0 / 16.0;

/// The service's sizes leave PlainBuffer's framing out. A scan that took this many times the bytes was estimated too low.
const ESTIMATE_TOLERANCE: u64 = 4;

/// Hands ranges to workers. Each worker starts with a contiguous run of splits, so that its files stay long; one that
/// has nothing left takes the back half of what somebody has not begun; when every split is begun, it cuts the range with
/// most left.
#[derive(Debug)]
pub(super) struct SplitQueue {
    state: Mutex<State>,
    changed: Notify,
    progress: Arc<Progress>,
    /// Workers with a higher number wait until this many bytes were read.
    useful: usize,
    doubtful_bytes: u64,
}

#[derive(Debug)]
struct State {
    runs: Vec<VecDeque<KeyRange>>,
    running: Vec<Option<Running>>,
    /// Share of the scan that one split is.
    split_weight: f64,
    share_done: f64,
    bytes: u64,
    next_id: u64,
    used: WorkerUse,
}

/// How well the workers of a scan were used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WorkerUse {
    /// Workers.
    pub workers: usize,
    /// Pages read in this attempt.
    pub pages: u64,
    /// Of these, how many while every worker had a range.
    pub pages_all_busy: u64,
    /// Pages up to and with the last one that was read while every worker had a range.
    pub pages_until_idle: u64,
    /// Running ranges that were cut in two.
    pub cuts: u64,
    /// Requests that looked for a place to cut.
    pub probes: u64,
    /// Read capacity units of these requests.
    pub probe_capacity_units: u64,
}

/// What a worker is to do.
#[derive(Debug)]
pub(super) enum Next {
    /// Read this range.
    Range(KeyRange),
    /// Look for a place to cut this one. Nobody else does meanwhile.
    Cut(Candidate),
    /// Wait for a change and ask again.
    Wait,
    /// Everything is read.
    Done,
}

/// A running range that is worth a cut.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    holder: usize,
    id: u64,
    /// What is left of it.
    pub left: KeyRange,
    /// Behind it is a page of rows or less, if a probe has asked before.
    pub top: Option<PrimaryKey>,
}

impl SplitQueue {
    /// Deals `splits`, given in key order, to at most `workers` workers; only the first `useful` of them begin at once.
    /// The others join when more than `estimated_bytes` by far were read.
    pub(super) fn new(
        splits: Vec<KeyRange>,
        workers: usize,
        useful: usize,
        estimated_bytes: u64,
        progress: Arc<Progress>,
    ) -> SplitQueue {
        let workers = workers.max(1);
        let useful = useful.clamp(1, workers);
        let dealt = useful.min(splits.len()).max(1);
        let total = splits.len();
        let mut splits = splits.into_iter();
        let runs = (0..workers)
            .map(|worker| {
                let until = |worker: usize| total * worker.min(dealt) / dealt;
                splits.by_ref().take(until(worker + 1) - until(worker)).collect()
            })
            .collect();
        let state = State {
            runs,
            running: (0..workers).map(|_| None).collect(),
            split_weight: 1.0 / (total.max(1) as f64),
            share_done: 0.0,
            bytes: 0,
            next_id: 0,
            used: WorkerUse { workers, ..WorkerUse::default() },
        };
        let doubtful_bytes = estimated_bytes.saturating_mul(ESTIMATE_TOLERANCE);
        SplitQueue { state: Mutex::new(state), changed: Notify::new(), progress, useful, doubtful_bytes }
    }

    /// Workers, those included that begin later.
    pub(super) fn workers(&self) -> usize {
        self.lock().runs.len()
    }

    /// Ends when something changed since it was made and enabled.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// What `worker`, who reads nothing now, is to do next.
    pub(super) fn next(&self, worker: usize) -> Next {
        let mut state = self.lock();
        let nothing_queued = state.runs.iter().all(VecDeque::is_empty);
        if nothing_queued && state.running.iter().all(Option::is_none) {
            return Next::Done;
        }
        if worker >= self.useful && state.bytes < self.doubtful_bytes {
            return Next::Wait;
        }
        if let Some(taken) = state.take_splits(worker) {
            let range = taken.left();
            state.start(worker, taken);
            return Next::Range(range);
        }
        match state.candidate() {
            Some(candidate) => Next::Cut(candidate),
            None => Next::Wait,
        }
    }

    /// Takes a page of `body_bytes` of the range that `worker` reads, which ends at `page_end`, and returns where the range
    /// ends now.
    ///
    /// # Errors
    /// Where the range ends now, when that is below `page_end`: the page is not to be used.
    pub(super) fn accept(
        &self,
        worker: usize,
        page_end: &PrimaryKey,
        body_bytes: usize,
    ) -> Result<PrimaryKey, PrimaryKey> {
        let mut state = self.lock();
        state.bytes += body_bytes as u64;
        let busy = state.running.iter().flatten().count() == state.running.len();
        let Some(running) = state.running.get_mut(worker).and_then(Option::as_mut) else {
            // Nobody can have cut what is not running.
            return Ok(page_end.clone());
        };
        if *page_end > running.end {
            return Err(running.end.clone());
        }
        let passed = running.advance(page_end);
        let end = running.end.clone();
        let range = RangeProgress { id: running.id, pages: running.pages, share_left: running.share_left() };
        state.share_done += passed.share;
        state.used.pages += 1;
        if busy {
            state.used.pages_all_busy += 1;
            state.used.pages_until_idle = state.used.pages;
        }
        self.progress.range(range, passed.splits, state.share_read());
        drop(state);
        self.changed.notify_waiters();
        Ok(end)
    }

    /// `worker` reads its range again from `start` on, which nobody else was given. Returns where it ends now.
    pub(super) fn rewind(&self, worker: usize, start: &PrimaryKey) -> Option<PrimaryKey> {
        let mut state = self.lock();
        let running = state.running.get_mut(worker)?.as_mut()?;
        running.rewind(start.clone());
        Some(running.end.clone())
    }

    /// `worker` has read its range to the end.
    pub(super) fn finished(&self, worker: usize) {
        let mut state = self.lock();
        if let Some(ended) = state.running.get_mut(worker).and_then(Option::take) {
            state.share_done += ended.weight();
            self.progress.range_ended(ended.id, state.share_read());
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// A probe found that behind `top` a candidate has a page of rows or less. Returns about how many pages are left, if
    /// that is still worth a cut; if not, the candidate is free again.
    pub(super) fn learn_top(&self, candidate: &Candidate, top: &PrimaryKey) -> Option<f64> {
        let mut state = self.lock();
        let least = state.least_pages();
        let running = state.claimed(candidate)?;
        running.top = Some(top.clone());
        let left = running.pages_left().filter(|left| *left >= least);
        running.claimed = left.is_some();
        left
    }

    /// Gives `[at, end)` of a candidate to `thief`, and says what that is; `None` when its holder has come past `at`
    /// meanwhile. The candidate is free again.
    pub(super) fn cut(&self, candidate: &Candidate, at: &PrimaryKey, thief: usize) -> Option<KeyRange> {
        let mut state = self.lock();
        let id = state.new_id();
        let running = state.claimed(candidate)?;
        running.claimed = false;
        let (taken, read) = running.cut(at, id)?;
        let range = taken.left();
        state.share_done += read;
        state.used.cuts += 1;
        state.start(thief, taken);
        self.progress.range_cut();
        drop(state);
        self.changed.notify_waiters();
        Some(range)
    }

    /// No place to cut was found; the candidate is free again.
    pub(super) fn refuse(&self, candidate: &Candidate) {
        if let Some(running) = self.lock().claimed(candidate) {
            running.refuse();
        }
    }

    /// A request that looked for a place to cut was answered.
    pub(super) fn probed(&self, capacity_units: u64) {
        let mut state = self.lock();
        state.used.probes += 1;
        state.used.probe_capacity_units += capacity_units;
    }

    /// How well the workers were used so far.
    pub(super) fn used(&self) -> WorkerUse {
        self.lock().used
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every state in between is a valid one.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// What `worker` is to read: the neighbours that its run begins with; when it has none, of the back half of what
    /// somebody has not begun.
    fn take_splits(&mut self, worker: usize) -> Option<Running> {
        let id = self.new_id();
        if self.runs.get(worker).is_none_or(VecDeque::is_empty) {
            let longest = self.runs.iter_mut().max_by_key(|run| run.len());
            let holder = self.running.iter_mut().flatten().max_by_key(|running| running.splits_left());
            let queued = longest.as_ref().map_or(0, |run| run.len());
            if let Some(holder) = holder.filter(|holder| holder.splits_left() > queued) {
                return holder.give_splits(id);
            }
            let stolen = longest.map(|run| run.split_off(run.len() / 2));
            if let Some((own, stolen)) = self.runs.get_mut(worker).zip(stolen) {
                *own = stolen;
            }
        }
        let own = self.runs.get_mut(worker)?;
        let mut taken = Running::new(id, own.pop_front()?, self.split_weight);
        while own.front().is_some_and(|next| next.start == taken.end)
            && let Some(next) = own.pop_front()
        {
            taken.extend(next);
        }
        Some(taken)
    }

    fn start(&mut self, worker: usize, range: Running) {
        if let Some(place) = self.running.get_mut(worker) {
            *place = Some(range);
        }
    }

    /// Claims the running range with most left, if any is worth a cut.
    fn candidate(&mut self) -> Option<Candidate> {
        let least = self.least_pages();
        let left = |running: &Running| running.pages_left().unwrap_or_default();
        let ranges = self.running.iter_mut().enumerate();
        let worth = ranges.filter_map(|(worker, running)| Some((worker, running.as_mut()?)));
        let (holder, running) = worth
            .filter(|(_, running)| running.may_be_cut(least))
            .max_by(|(_, a), (_, b)| left(a).total_cmp(&left(b)))?;
        running.claimed = true;
        Some(Candidate { holder, id: running.id, left: running.left(), top: running.top.clone() })
    }

    fn claimed(&mut self, candidate: &Candidate) -> Option<&mut Running> {
        let running = self.running.get_mut(candidate.holder)?.as_mut()?;
        (running.id == candidate.id).then_some(running)
    }

    fn least_pages(&self) -> f64 {
        let share = self.used.pages as f64 / self.running.len() as f64;
        (share * LEAST_SHARE).max(LEAST_PAGES)
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn share_read(&self) -> f64 {
        let running: f64 = self.running.iter().flatten().map(Running::read).sum();
        (self.share_done + running).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests;
