//! What a policy keeps, against a second opinion, over random policies and chains.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use otsvault::catalog::RunId;
use otsvault::retention::{KeepPolicy, Point, Reason, decide};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::seeds;

struct Case {
    points: Vec<Point>,
    policy: KeepPolicy,
    pinned: BTreeSet<RunId>,
}

fn case(seed: u64) -> Case {
    let mut random = StdRng::seed_from_u64(seed);
    let mut points = Vec::new();
    let newest: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
    for _ in 0..random.random_range(0..7) {
        let mut at = newest - SignedDuration::from_secs(random.random_range(0..800 * 24 * 3600));
        let chain = RunId::new(at);
        let (series, locked) = (random.random_range(0..2), random.random_bool(0.2));
        for sequence in 0..random.random_range(1..6) {
            let run = if sequence == 0 { chain.clone() } else { RunId::new(at) };
            let locked_until =
                (locked && random.random_bool(0.5)).then(|| newest + SignedDuration::from_hours(24));
            points.push(Point { run, chain: chain.clone(), sequence, at, series, locked_until });
            at += SignedDuration::from_secs(random.random_range(60..9 * 24 * 3600));
        }
    }
    let mut count = |most: u32| random.random_bool(0.5).then(|| random.random_range(1..most));
    let mut policy = KeepPolicy {
        last: count(5),
        daily: count(20),
        weekly: count(20),
        monthly: count(12),
        yearly: count(4),
        within: None,
    };
    policy.within =
        random.random_bool(0.4).then(|| SignedDuration::from_hours(random.random_range(1..24 * 90)));
    let pinned = points.iter().filter(|_| random.random_bool(0.1)).map(|point| point.run.clone()).collect();
    Case { points, policy, pinned }
}

/// The newest point of each of the `count` latest periods, by grouping instead of walking.
fn of_periods(
    points: &[&Point],
    count: Option<u32>,
    period: fn(&jiff::Zoned) -> (i16, i16),
) -> BTreeSet<RunId> {
    let mut newest: BTreeMap<(i16, i16), &Point> = BTreeMap::new();
    for point in points {
        let entry = newest.entry(period(&point.at.to_zoned(TimeZone::UTC))).or_insert(point);
        if (point.at, &point.run) > (entry.at, &entry.run) {
            *entry = point;
        }
    }
    newest.values().rev().take(count.unwrap_or(0) as usize).map(|point| point.run.clone()).collect()
}

/// What must stay for its own sake.
fn promised(case: &Case) -> BTreeSet<RunId> {
    let mut stays = case.pinned.clone();
    stays.extend(
        case.points.iter().filter(|point| point.locked_until.is_some()).map(|point| point.run.clone()),
    );
    for series in 0..2 {
        let mut points: Vec<&Point> = case.points.iter().filter(|point| point.series == series).collect();
        points.sort_by_key(|point| (point.at, point.run.clone()));
        let policy = &case.policy;
        let last = points.len().saturating_sub(policy.last.unwrap_or(0) as usize);
        stays.extend(points[last..].iter().map(|point| point.run.clone()));
        stays.extend(of_periods(&points, policy.daily, |day| (day.year(), day.day_of_year())));
        stays.extend(of_periods(&points, policy.weekly, |day| {
            let week = day.date().iso_week_date();
            (week.year(), week.week().into())
        }));
        stays.extend(of_periods(&points, policy.monthly, |day| (day.year(), day.month().into())));
        stays.extend(of_periods(&points, policy.yearly, |day| (day.year(), 0)));
        if let (Some(within), Some(newest)) = (policy.within, points.last()) {
            let begin = newest.at - within;
            stays.extend(points.iter().filter(|point| point.at >= begin).map(|point| point.run.clone()));
            // Whatever moment of the promised time somebody asks for, the newest point up to it is there.
            stays.extend(points.iter().rev().find(|point| point.at < begin).map(|point| point.run.clone()));
        }
    }
    stays
}

#[test]
fn of_ten_thousand_random_policies_exactly_what_is_promised_and_what_it_needs_stays() {
    let (mut kept, mut removed) = (0, 0);
    for seed in seeds(12_000) {
        let case = case(seed);
        let decision = decide(&case.points, &case.policy, &case.pinned);
        let promised = promised(&case);
        let needed: BTreeSet<RunId> = case
            .points
            .iter()
            .filter(|point| {
                let of_chain = case.points.iter().filter(|other| other.chain == point.chain);
                let mut later = of_chain.filter(|other| other.sequence >= point.sequence);
                later.any(|other| promised.contains(&other.run))
            })
            .map(|point| point.run.clone())
            .collect();
        let keep: BTreeSet<RunId> = decision.keep.keys().cloned().collect();
        assert_eq!(keep, needed, "RETENTION_SEED={seed}: {:#?} {:#?}", case.points, case.policy);
        for (run, reasons) in &decision.keep {
            let alone = reasons.iter().any(|reason| !matches!(reason, Reason::NeededBy(_)));
            assert_eq!(alone, promised.contains(run), "{run}: {reasons:?}, RETENTION_SEED={seed}");
        }
        let all: BTreeSet<_> = keep.iter().chain(&decision.remove).collect();
        assert_eq!((all.len(), keep.len() + decision.remove.len()), (case.points.len(), case.points.len()));
        let sequence = |run: &RunId| {
            let point = case.points.iter().find(|point| point.run == *run).unwrap();
            (point.chain.clone(), point.sequence)
        };
        for (index, run) in decision.remove.iter().enumerate() {
            let (chain, number) = sequence(run);
            let later = decision.remove[index..].iter().map(sequence);
            assert!(
                later.into_iter().all(|(other, later)| other != chain || later <= number),
                "RETENTION_SEED={seed}"
            );
        }
        kept += keep.len();
        removed += decision.remove.len();
    }
    println!("{kept} runs stay, {removed} go");
    if std::env::var("RETENTION_SEED").is_err() {
        assert!(kept > 5_000 && removed > 5_000, "the cases are all of one kind");
    }
}
