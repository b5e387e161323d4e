//! Scans in simulated time: workers that take as long as real ones for pages, probes and files, on the real queue and the
//! real search for a place to cut.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::super::cut_search::{CutSearch, Question};
use super::{Candidate, Next, SplitQueue, WorkerUse};
use crate::model::{KeyPart, KeyRange, PrimaryKey};
use crate::runtime::Progress;

/// Rows on a page.
const PAGE_ROWS: usize = 20;

/// How long things take, in milliseconds, give or take the half of it.
#[derive(Debug, Clone, Copy)]
struct Times {
    request: f64,
    encode: f64,
    close: f64,
}

/// A scan that is simulated.
struct Scan {
    /// The keys of all rows, ascending.
    rows: Vec<i64>,
    queue: SplitQueue,
    times: Times,
    random: RefCell<StdRng>,
}

fn at(value: i64) -> PrimaryKey {
    PrimaryKey(vec![KeyPart::Integer(value)])
}

impl Scan {
    async fn takes(&self, about: f64) {
        let factor = self.random.borrow_mut().random_range(0.5..1.5);
        sleep(Duration::from_secs_f64(about * factor / 1_000.0)).await;
    }

    /// Place of the first row at `key` or behind.
    fn below(&self, key: &PrimaryKey) -> usize {
        match key.parts() {
            [KeyPart::InfMin] => 0,
            [KeyPart::Integer(value)] => self.rows.partition_point(|row| row < value),
            _ => self.rows.len(),
        }
    }

    /// Where the page that starts at `start` ends: at a key, or with the range.
    async fn page(&self, range: &KeyRange) -> Option<PrimaryKey> {
        self.takes(self.times.request).await;
        let next = self.below(&range.start) + PAGE_ROWS;
        (next < self.below(&range.end)).then(|| at(self.rows[next]))
    }

    /// What `RangeTask::read` does: the next page is asked for before this one is encoded.
    async fn read(&self, worker: usize, mut range: KeyRange, stolen: Option<Option<PrimaryKey>>) {
        let mut page = match stolen {
            Some(first) => first,
            None => self.page(&range).await,
        };
        loop {
            let end = page.clone().unwrap_or_else(|| range.end.clone());
            match self.queue.accept(worker, &end, 1) {
                Ok(now) if end < now => {
                    range = KeyRange { start: end, end: now };
                    (page, ()) = tokio::join!(self.page(&range), self.takes(self.times.encode));
                }
                Ok(_) => {
                    self.takes(self.times.encode).await;
                    return self.queue.finished(worker);
                }
                Err(now) => {
                    range.end = now;
                    page = self.page(&range).await;
                }
            }
        }
    }

    /// What `cutting::cut` does.
    async fn cut(&self, thief: usize, candidate: Candidate) -> Option<(KeyRange, Option<PrimaryKey>)> {
        let mut search = CutSearch::new(candidate.left.clone(), candidate.top.clone());
        loop {
            match search.question() {
                Question::LastKey(range) => {
                    self.takes(self.times.request).await;
                    self.queue.probed(1);
                    let last = self.below(&range.end).checked_sub(1);
                    let Some(last) = last.filter(|last| *last >= self.below(&range.start)) else { break };
                    let last = at(self.rows[last]);
                    self.queue.learn_top(&candidate, &last)?;
                    search.last_key_is(last);
                }
                Question::PageFrom(place) => {
                    let behind = KeyRange { start: place.clone(), end: candidate.left.end.clone() };
                    let first = self.page(&behind).await;
                    self.queue.probed(1);
                    if first.is_some() {
                        return Some((self.queue.cut(&candidate, &place, thief)?, first));
                    }
                    let pages_left = self.queue.learn_top(&candidate, &place)?;
                    search.too_far(place, pages_left);
                }
                Question::GiveUp => break,
            }
        }
        self.queue.refuse(&candidate);
        None
    }

    /// What `workers::work` does.
    async fn work(&self, worker: usize) {
        let mut is_open = false;
        loop {
            let (range, first) = match self.queue.next(worker) {
                Next::Range(range) => (range, None),
                next => match self.close_and_find(worker, is_open, next).await {
                    Some((range, first)) => (range, Some(first)),
                    None => return,
                },
            };
            self.read(worker, range, first).await;
            is_open = true;
        }
    }

    /// What `workers::close_and_find` does.
    async fn close_and_find(
        &self,
        worker: usize,
        is_open: bool,
        mut next: Next,
    ) -> Option<(KeyRange, Option<PrimaryKey>)> {
        let close = async {
            if is_open {
                self.takes(self.times.close).await;
            }
        };
        tokio::pin!(close);
        let mut closed = false;
        loop {
            let changed = self.queue.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if matches!(next, Next::Wait) {
                next = self.queue.next(worker);
            }
            match std::mem::replace(&mut next, Next::Wait) {
                Next::Done => return None,
                Next::Range(range) => {
                    if !closed {
                        close.await;
                    }
                    let first = self.page(&range).await;
                    return Some((range, first));
                }
                Next::Cut(candidate) => {
                    let cutting = self.cut(worker, candidate);
                    let stolen = match closed {
                        true => cutting.await,
                        false => tokio::join!(&mut close, cutting).1,
                    };
                    closed = true;
                    if stolen.is_some() {
                        return stolen;
                    }
                }
                Next::Wait => tokio::select! {
                    () = &mut close, if !closed => closed = true,
                    () = changed => {}
                },
            }
        }
    }
}

/// One of 64 partitions has 95 % of the rows; `points` of the scan are known.
fn scan(pages: usize, workers: usize, points: i64, times: Times, seed: u64) -> WorkerUse {
    const PARTITION: i64 = 1_000_000;
    let mut random = StdRng::seed_from_u64(seed);
    let mut rows: Vec<i64> = (0..pages * PAGE_ROWS)
        .map(|row| {
            let partition = if row % 20 == 0 { random.random_range(0..64) } else { 31 };
            partition * PARTITION + random.random_range(0..PARTITION)
        })
        .collect();
    rows.sort_unstable();
    rows.dedup();
    let step = rows.len() as i64 / points.max(1);
    let splits = KeyRange::all(1)
        .split_at((1..points).map(|point| at(rows[(point * step) as usize])).collect::<Vec<_>>());
    let queue = SplitQueue::new(splits, workers, workers, 0, Arc::new(Progress::default()));
    let scan = Scan { rows, queue, times, random: RefCell::new(random) };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(futures::future::join_all((0..workers).map(|worker| scan.work(worker))));
    scan.queue.used()
}

#[test]
fn every_worker_is_busy_for_nine_pages_of_ten() {
    // Pages, workers, splits, runs.
    let scans =
        [(260, 4, 1, 40), (260, 4, 8, 40), (1_000, 8, 1, 40), (4_000, 16, 1, 10), (5_000, 16, 50, 10)];
    // A slow service, a slow machine, a slow machine with a slow vault.
    let times = [
        Times { request: 20.0, encode: 5.0, close: 40.0 },
        Times { request: 5.0, encode: 20.0, close: 40.0 },
        Times { request: 5.0, encode: 20.0, close: 300.0 },
    ];
    for (pages, workers, splits, runs) in scans {
        for times in times {
            let used: Vec<_> = (0..runs).map(|seed| scan(pages, workers, splits, times, seed)).collect();
            let share = |used: &WorkerUse| used.pages_until_idle as f64 / used.pages as f64;
            let least = used.iter().map(share).fold(1.0, f64::min);
            let most = |figure: fn(&WorkerUse) -> u64| used.iter().map(figure).max().unwrap_or_default();
            let (cuts, probes) = (most(|used| used.cuts), most(|used| used.probes));
            assert!(
                least >= 0.9,
                "{pages} pages, {workers} workers, {splits} splits, {times:?}: all busy until {:.1} % in the worst run; \
                 {cuts} cuts and {probes} probes at most",
                least * 100.0
            );
        }
    }
}
