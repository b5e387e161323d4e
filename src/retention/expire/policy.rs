//! Which backups of a table stay: a pure function of the backups and what was promised.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::catalog::RunId;
use crate::{Error, Kind, Result};

/// What is promised to be kept. Each rule keeps what it names, whatever the others say. Days, weeks (from Monday), months and
/// years are those of UTC.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeepPolicy {
    /// The newest ones.
    pub last: Option<u32>,
    /// Those that are at most so much older than the newest one, and the one before them, so that the beginning of that
    /// time can be restored. A table that is not backed up any more loses nothing by this rule.
    pub within: Option<SignedDuration>,
    /// The newest one of each of so many days that have one.
    pub daily: Option<u32>,
    /// The newest one of each of so many weeks that have one.
    pub weekly: Option<u32>,
    /// The newest one of each of so many months that have one.
    pub monthly: Option<u32>,
    /// The newest one of each of so many years that have one.
    pub yearly: Option<u32>,
}

impl KeepPolicy {
    /// Whether it promises anything. One that does keeps the newest backup.
    pub fn is_empty(&self) -> bool {
        *self == KeepPolicy::default()
    }
}

/// A committed run: a moment to which the table can be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The run.
    pub run: RunId,
    /// The chain it belongs to.
    pub chain: RunId,
    /// Its place in the chain: 0 for the base. A run needs all of its chain with lower numbers.
    pub sequence: u64,
    /// When it was finished.
    pub at: Timestamp,
    /// Points are compared within a series only: whole tables are one, and each projection and key range is another.
    pub series: usize,
    /// The bucket's retention policy keeps its objects until then.
    pub locked_until: Option<Timestamp>,
}

/// Why a run stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// `--keep-last`.
    Last,
    /// `--keep-within`.
    Within,
    /// The newest one before the time of `--keep-within`.
    BeforeWithin,
    /// The newest one of this day.
    Daily(String),
    /// The newest one of this week.
    Weekly(String),
    /// The newest one of this month.
    Monthly(String),
    /// The newest one of this year.
    Yearly(String),
    /// `--keep`.
    Named,
    /// It was not named to be removed.
    NotNamed,
    /// This later run of its chain stays and is nothing without it.
    NeededBy(RunId),
    /// The bucket does not let it go before.
    LockedUntil(Timestamp),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Last => f.write_str("one of the last"),
            Reason::Within => f.write_str("within the time"),
            Reason::BeforeWithin => f.write_str("the last one before the time"),
            Reason::Daily(day) => write!(f, "day {day}"),
            Reason::Weekly(week) => write!(f, "week {week}"),
            Reason::Monthly(month) => write!(f, "month {month}"),
            Reason::Yearly(year) => write!(f, "year {year}"),
            Reason::Named => f.write_str("named"),
            Reason::NotNamed => f.write_str("not named"),
            Reason::NeededBy(run) => write!(f, "needed by {run}"),
            Reason::LockedUntil(time) => write!(f, "protected by the bucket until {time:.0}"),
        }
    }
}

/// What becomes of the runs of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Runs that stay, with the reasons.
    pub keep: BTreeMap<RunId, BTreeSet<Reason>>,
    /// Runs that go, in the order in which they are hidden: what needs others before what it needs.
    pub remove: Vec<RunId>,
}

/// Applies a policy. `pinned` runs stay in any case.
///
/// Guarantees: each rule's runs stay; a run stays with all of its chain before it; where the policy is not empty the newest
/// run of each series stays.
pub fn decide(points: &[Point], policy: &KeepPolicy, pinned: &BTreeSet<RunId>) -> Decision {
    let mut keep: BTreeMap<RunId, BTreeSet<Reason>> = BTreeMap::new();
    let mut series: BTreeMap<usize, Vec<&Point>> = BTreeMap::new();
    for point in points {
        series.entry(point.series).or_default().push(point);
    }
    for newest_first in series.values_mut() {
        newest_first.sort_by(|a, b| (b.at, &b.run).cmp(&(a.at, &a.run)));
        for (run, reason) in kept_by_policy(newest_first, policy) {
            keep.entry(run).or_default().insert(reason);
        }
    }
    for point in points.iter().filter(|point| pinned.contains(&point.run)) {
        keep.entry(point.run.clone()).or_default().insert(Reason::Named);
    }
    with_chains(points, keep)
}

/// Removes these runs and no others.
///
/// # Errors
/// [`Kind::NotFound`] for a run that is not there; [`Kind::Refused`] where a run that stays needs one of them, where the bucket
/// keeps one, and, unless `the_last_too`, where no run of a series that has one would be left.
pub fn decide_named(points: &[Point], named: &BTreeSet<RunId>, the_last_too: bool) -> Result<Decision> {
    let refused = |run: &RunId, reason: String| {
        Error::new(Kind::Refused, "remove run").on(format!("`{run}`")).because(reason)
    };
    if let Some(missing) = named.iter().find(|run| !points.iter().any(|point| point.run == **run)) {
        return Err(Error::new(Kind::NotFound, "remove run")
            .on(format!("`{missing}`"))
            .because("the table has no such backup")
            .hint("`otsvault list` shows what is there"));
    }
    let others = points.iter().filter(|point| !named.contains(&point.run));
    let keep = others.map(|point| (point.run.clone(), BTreeSet::from([Reason::NotNamed]))).collect();
    let decision = with_chains(points, keep);
    let staying =
        points.iter().filter(|point| named.contains(&point.run) && decision.keep.contains_key(&point.run));
    if let Some((run, time)) = staying.clone().find_map(|point| Some((&point.run, point.locked_until?))) {
        let reason = format!("the bucket's retention policy protects it until {time:.0}");
        return Err(refused(run, reason));
    }
    if let Some(needed) = staying.clone().next() {
        let later = points.iter().filter(|point| {
            let follows = point.chain == needed.chain && point.sequence > needed.sequence;
            follows && !named.contains(&point.run)
        });
        let later: Vec<_> = later.map(|point| format!("`{}`", point.run)).collect();
        return Err(refused(&needed.run, format!("{} of its chain need it", later.join(", ")))
            .hint("name these runs too"));
    }
    let emptied = points.iter().find(|point| {
        let mut of_series = points.iter().filter(|other| other.series == point.series);
        of_series.all(|other| !decision.keep.contains_key(&other.run))
    });
    match emptied {
        Some(point) if !the_last_too => {
            Err(refused(&point.run, "no backup of its table and columns would be left".to_owned())
                .hint("back the table up first, or say `--the-last-too`"))
        }
        _ => Ok(decision),
    }
}

fn kept_by_policy(newest_first: &[&Point], policy: &KeepPolicy) -> Vec<(RunId, Reason)> {
    let mut keep = Vec::new();
    let last = usize::try_from(policy.last.unwrap_or(0)).unwrap_or(usize::MAX);
    keep.extend(newest_first.iter().take(last).map(|point| (point.run.clone(), Reason::Last)));
    if let (Some(within), Some(newest)) = (policy.within, newest_first.first()) {
        let inside = |point: &&&Point| newest.at.duration_since(point.at) <= within;
        keep.extend(newest_first.iter().filter(inside).map(|point| (point.run.clone(), Reason::Within)));
        let before = newest_first.iter().find(|point| !inside(point));
        keep.extend(before.map(|point| (point.run.clone(), Reason::BeforeWithin)));
    }
    type Period = fn(Date) -> Reason;
    let by_calendar: [(Option<u32>, Period); 4] = [
        (policy.daily, |date| Reason::Daily(date.to_string())),
        (policy.weekly, |date| {
            let week = date.iso_week_date();
            Reason::Weekly(format!("{}-W{:02}", week.year(), week.week()))
        }),
        (policy.monthly, |date| Reason::Monthly(date.strftime("%Y-%m").to_string())),
        (policy.yearly, |date| Reason::Yearly(date.year().to_string())),
    ];
    for (count, period) in by_calendar {
        let mut left = count.unwrap_or(0);
        let mut latest = None;
        for point in newest_first {
            let period = Some(period(point.at.to_zoned(TimeZone::UTC).date()));
            if left > 0 && latest != period {
                left -= 1;
                keep.extend(period.clone().map(|reason| (point.run.clone(), reason)));
            }
            latest = period;
        }
    }
    keep
}

/// Adds what the bucket holds fast, and to every run that stays what it needs; the rest goes.
fn with_chains(points: &[Point], mut keep: BTreeMap<RunId, BTreeSet<Reason>>) -> Decision {
    for point in points {
        if let Some(time) = point.locked_until {
            keep.entry(point.run.clone()).or_default().insert(Reason::LockedUntil(time));
        }
    }
    let mut chains: BTreeMap<&RunId, Vec<&Point>> = BTreeMap::new();
    for point in points {
        chains.entry(&point.chain).or_default().push(point);
    }
    let mut remove = Vec::new();
    for chain in chains.values_mut() {
        chain.sort_by(|a, b| (b.sequence, &b.run).cmp(&(a.sequence, &a.run)));
        // From its end: once one stays, all before it do.
        let mut needed_by: Option<&RunId> = None;
        for point in chain {
            if let Some(later) = needed_by {
                keep.entry(point.run.clone()).or_default().insert(Reason::NeededBy(later.clone()));
            }
            match keep.contains_key(&point.run) {
                true => needed_by = Some(&point.run),
                false => remove.push(point.run.clone()),
            }
        }
    }
    Decision { keep, remove }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(chain: u32, sequence: u64, at: &str) -> Point {
        let id = |n: u64| format!("20260101t000000z-{n:08x}").parse::<RunId>().unwrap();
        let base = id(u64::from(chain) * 0x100);
        Point {
            run: id(u64::from(chain) * 0x100 + sequence),
            chain: base,
            sequence,
            at: at.parse().unwrap(),
            series: 0,
            locked_until: None,
        }
    }

    fn kept(decision: &Decision) -> Vec<&RunId> {
        decision.keep.keys().collect()
    }

    #[test]
    fn the_newest_of_each_period_stays_and_periods_without_a_backup_do_not_count() {
        let points: Vec<_> =
            ["2026-11-01T10:00:00Z", "2026-11-01T20:00:00Z", "2026-11-20T10:00:00Z", "2026-11-20T23:59:59Z"]
                .iter()
                .enumerate()
                .map(|(n, at)| point(n as u32, 0, at))
                .collect();
        let policy = KeepPolicy { daily: Some(7), ..KeepPolicy::default() };
        let decision = decide(&points, &policy, &BTreeSet::new());
        assert_eq!(kept(&decision), [&points[1].run, &points[3].run]);
        assert_eq!(decision.keep[&points[3].run], BTreeSet::from([Reason::Daily("2026-11-20".to_owned())]));
        let monthly = KeepPolicy { monthly: Some(1), ..KeepPolicy::default() };
        assert_eq!(kept(&decide(&points, &monthly, &BTreeSet::new())), [&points[3].run]);
    }

    #[test]
    fn the_beginning_of_the_promised_time_can_be_restored() {
        let at =
            ["2026-11-01T00:00:00Z", "2026-11-08T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z"];
        let points: Vec<_> = at.iter().enumerate().map(|(n, at)| point(n as u32, 0, at)).collect();
        let policy = KeepPolicy { within: Some(SignedDuration::from_hours(24 * 7)), ..KeepPolicy::default() };
        let decision = decide(&points, &policy, &BTreeSet::new());
        assert_eq!(decision.remove, [points[0].run.clone()]);
        assert_eq!(decision.keep[&points[1].run], BTreeSet::from([Reason::BeforeWithin]));
    }

    #[test]
    fn a_delta_stays_with_all_before_it_and_what_follows_goes_first() {
        let points: Vec<_> = (0..4).map(|n| point(1, n, &format!("2026-11-0{}T00:00:00Z", n + 1))).collect();
        let pinned = BTreeSet::from([points[2].run.clone()]);
        let decision = decide(&points, &KeepPolicy::default(), &pinned);
        assert_eq!(decision.remove, [points[3].run.clone()]);
        assert_eq!(decision.keep[&points[0].run], BTreeSet::from([Reason::NeededBy(points[1].run.clone())]));
        let none = decide(&points, &KeepPolicy::default(), &BTreeSet::new());
        assert_eq!(none.remove.first(), Some(&points[3].run), "deltas before their base");
        assert_eq!(none.remove.last(), Some(&points[0].run));
    }

    #[test]
    fn a_base_that_a_delta_needs_is_refused_by_name() {
        let mut points: Vec<_> = (0..3).map(|n| point(1, n, "2026-11-01T00:00:00Z")).collect();
        let base = BTreeSet::from([points[0].run.clone()]);
        let error = decide_named(&points, &base, false).unwrap_err();
        assert!(error.report().contains(points[1].run.as_str()), "{}", error.report());
        let all: BTreeSet<_> = points.iter().map(|point| point.run.clone()).collect();
        assert!(decide_named(&points, &all, false).unwrap_err().report().contains("--the-last-too"));
        assert_eq!(decide_named(&points, &all, true).unwrap().remove.len(), 3);
        points[2].locked_until = Some("2027-01-01T00:00:00Z".parse().unwrap());
        let locked = decide_named(&points, &all, true).unwrap_err();
        assert!(locked.report().contains("2027-01-01"), "{}", locked.report());
        let unknown = BTreeSet::from(["20260101t000000z-ffffffff".parse().unwrap()]);
        assert_eq!(decide_named(&points, &unknown, false).unwrap_err().kind(), Kind::NotFound);
    }
}
