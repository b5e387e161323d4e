use super::*;
use crate::model::KeyPart;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn at(value: i64) -> PrimaryKey {
    PrimaryKey(vec![KeyPart::Integer(value)])
}

fn splits(count: i64) -> Vec<KeyRange> {
    KeyRange::all(1).split_at((1..count).map(at))
}

fn queue(splits: Vec<KeyRange>, workers: usize) -> SplitQueue {
    SplitQueue::new(splits, workers, workers, 0, Arc::new(Progress::default()))
}

fn range(next: Next) -> Option<KeyRange> {
    match next {
        Next::Range(range) => Some(range),
        _ => None,
    }
}

#[test]
fn every_split_is_handed_out_once_whoever_asks() {
    for (count, workers) in [(1, 1), (1, 8), (7, 3), (100, 16)] {
        let queue = queue(splits(count), workers);
        // The last worker asks for everything: it takes its own run, then steals the rest.
        let worker = queue.workers() - 1;
        let mut taken: Vec<_> = std::iter::from_fn(|| {
            queue.finished(worker);
            range(queue.next(worker))
        })
        .collect();
        taken.sort_by(|a, b| a.start.cmp(&b.start));
        assert_eq!(KeyRange::all(1).check_tiled_by(&taken), Ok(()), "{count} splits, {workers} workers");
    }
}

#[test]
fn a_worker_reads_neighbours_as_one_range_and_the_back_half_of_them_can_be_taken() {
    let queue = queue(splits(16), 2);
    let first = range(queue.next(0)).unwrap();
    assert_eq!(first.end, at(8));
    assert_eq!(queue.accept(0, &at(3), 1), Ok(at(8)), "a page may end splits");
    // Worker 1 has not come yet: of its eight splits four are taken.
    queue.accept(0, &at(8), 1).unwrap();
    queue.finished(0);
    assert_eq!(range(queue.next(0)).unwrap().start, at(12));
    assert_eq!(range(queue.next(1)).unwrap(), KeyRange { start: at(8), end: at(12) });
    // It reads the first of its four and has not begun the others.
    assert_eq!(queue.accept(1, &at(9), 1), Ok(at(12)));
    queue.finished(0);
    assert_eq!(range(queue.next(0)).unwrap(), KeyRange { start: at(11), end: at(12) });
    assert_eq!(queue.accept(1, &at(12), 1), Err(at(11)));
}

#[test]
fn splits_with_a_gap_between_them_are_ranges_of_their_own() {
    let mut splits = splits(6);
    splits.remove(2);
    let queue = queue(splits, 1);
    let read = std::iter::from_fn(|| {
        queue.finished(0);
        range(queue.next(0)).map(|range| range.start)
    });
    assert_eq!(read.collect::<Vec<_>>(), [PrimaryKey(vec![KeyPart::InfMin]), at(3)]);
}

#[test]
fn a_small_table_gets_few_workers_until_it_proves_larger() {
    let queue = SplitQueue::new(splits(8), 4, 1, 1_000, Arc::new(Progress::default()));
    assert!(matches!(queue.next(0), Next::Range(_)));
    assert!(matches!(queue.next(3), Next::Wait));
    queue.accept(0, &at(0), 4_001).unwrap();
    assert!(matches!(queue.next(3), Next::Range(_)));
}

#[test]
fn a_page_beyond_a_cut_is_not_accepted() {
    let queue = queue(vec![KeyRange { start: at(0), end: at(1_000) }], 2);
    let all = range(queue.next(0)).unwrap();
    assert!(matches!(queue.next(1), Next::Wait), "nothing is known about its length");
    for end in [10, 20] {
        assert_eq!(queue.accept(0, &at(end), 1), Ok(all.end.clone()));
    }
    let Next::Cut(candidate) = queue.next(1) else { panic!("98 pages are left") };
    assert!(queue.learn_top(&candidate, &at(999)).is_some());
    assert_eq!(queue.cut(&candidate, &at(500), 1), Some(KeyRange { start: at(500), end: at(1_000) }));
    assert_eq!(queue.accept(0, &at(501), 1), Err(at(500)));
    assert_eq!(queue.accept(0, &at(500), 1), Ok(at(500)));
    assert_eq!(queue.accept(1, &at(1_000), 1), Ok(at(1_000)));
    queue.finished(0);
    queue.finished(1);
    assert!(matches!(queue.next(0), Next::Done));
}

#[test]
fn what_proves_short_is_not_cut() {
    let queue = queue(vec![KeyRange { start: at(0), end: at(1_000) }], 2);
    range(queue.next(0)).unwrap();
    [10, 20].into_iter().for_each(|end| drop(queue.accept(0, &at(end), 1)));
    let Next::Cut(candidate) = queue.next(1) else { panic!("98 pages seem to be left") };
    assert!(queue.learn_top(&candidate, &at(50)).is_none());
    assert!(matches!(queue.next(1), Next::Wait));
}

/// Workers take turns at random: read a page of random length, cut at random places, come too late.
#[test]
fn the_pages_that_were_accepted_tile_the_keys_whoever_cuts_when() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let workers = random.random_range(1..6);
        let whole = KeyRange { start: at(0), end: at(10_000) };
        let points = (0..random.random_range(0..4)).map(|_| at(random.random_range(1..10_000)));
        let queue = queue(whole.split_at(points.collect::<Vec<_>>()), workers);
        let mut reading: Vec<Option<KeyRange>> = vec![None; workers];
        let mut claims: Vec<Option<Candidate>> = vec![None; workers];
        let mut read = Vec::new();
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 1_000_000, "seed {seed} goes on for ever");
            let worker = random.random_range(0..workers);
            if let Some(range) = reading[worker].take() {
                // The request was sent with the end that was known then.
                let KeyPart::Integer(start) = range.start.0[0] else { panic!() };
                let end = at(start + random.random_range(1..60)).min(range.end.clone());
                match queue.accept(worker, &end, 1) {
                    Ok(now) => {
                        read.push(KeyRange { start: range.start, end: end.clone() });
                        if end < now {
                            reading[worker] = Some(KeyRange { start: end, end: now });
                        } else {
                            queue.finished(worker);
                        }
                    }
                    Err(now) => reading[worker] = Some(KeyRange { start: range.start, end: now }),
                }
            } else if let Some(candidate) = claims[worker].take() {
                let at = at(random.random_range(0..10_000));
                match random.random_range(0..4) {
                    0 => queue.refuse(&candidate),
                    _ => reading[worker] = queue.cut(&candidate, &at, worker),
                }
            } else {
                match queue.next(worker) {
                    Next::Range(range) => reading[worker] = Some(range),
                    Next::Cut(candidate) => claims[worker] = Some(candidate),
                    Next::Wait => {}
                    Next::Done => break,
                }
            }
        }
        read.sort_by(|a, b| a.start.cmp(&b.start));
        assert_eq!(whole.check_tiled_by(&read), Ok(()), "seed {seed}, {} cuts", queue.used().cuts);
    }
}
