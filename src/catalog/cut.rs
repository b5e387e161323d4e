//! Cuts: the moments at which a chain can be restored, and what has to be read for one of them.
//!
//! Why a moment can be named by a time at all: along every key's history the commit clock never falls, so "every record whose clock is
//! at most T" is a prefix of each key's history. A base is exact only from the end of its delta 0 on, so no earlier moment can be
//! named, and no moment after one of which a shard is not known to be read.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{Chain, Consistency, Delta, Manifest, RunId, RunPath, ShardPlace, ShardProgress};
use crate::model::TableDefinition;
use crate::{Error, Kind, Result};

/// As of when a chain is wanted. Parsed from a time (RFC 3339) or the id of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Moment {
    /// Everything that the chain holds.
    #[default]
    End,
    /// Everything up to this run and with it. The base's own run: the base as its scan ended.
    Run(RunId),
    /// Every record whose commit clock is at most this.
    Time(Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        if let Ok(run) = text.parse() {
            return Ok(Moment::Run(run));
        }
        text.parse().map(Moment::Time).map_err(|_| {
            "it is a time such as 2026-11-26T18:00:00Z, or the id of a run as `otsvault list` shows it"
                .to_owned()
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moment::End => f.write_str("the end of the chain"),
            Moment::Run(run) => write!(f, "{run}"),
            Moment::Time(time) => write!(f, "{time}"),
        }
    }
}

/// The moments of a chain that can be named by a time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Window {
    /// The earliest: the scan of the base had come to its end.
    pub from: Timestamp,
    /// The latest: up to here every shard is known to be read.
    pub to: Timestamp,
}

/// What makes the image of a table at one moment: rows of a base, and the records since then.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// Where the base is.
    pub path: RunPath,
    /// The base.
    pub base: Box<Manifest>,
    /// Where the records are, in the order of the chain; delta 0 is in the base's own run.
    pub deltas: Vec<(RunPath, Delta)>,
    /// Records with a later commit clock do not count. `None`: all of the deltas.
    pub until_clock_us: Option<i64>,
    /// The table's definition, as the last run that ended by then saw it.
    pub table: TableDefinition,
    /// The last run of which every record counts, or some.
    pub run: RunId,
    /// The moment itself: against it the age of cells is measured. `None` for a fuzzy base, whose rows are of several moments.
    pub at: Option<Timestamp>,
}

impl Chain {
    /// The moments that can be named by a time; `None` for a fuzzy base, and for one whose shards are not read far enough yet.
    pub fn window(&self) -> Option<Window> {
        let first = &self.base.delta.as_ref()?.stream;
        let to = self.end()?.reached()?;
        // Until every position was open, a write can be in the scan and not among the records.
        let opened = first.from.iter().map(|shard| shard.caught_up_at).max();
        let scanned = first.to.iter().filter_map(|shard| time(shard.clock_us)).max();
        let from = [self.scan_began(), opened, scanned].into_iter().flatten().max()?;
        (from <= to).then_some(Window { from, to })
    }

    /// What has to be read for a moment.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a run that is not of this chain, and for a time outside of [`Chain::window`], which the error names.
    pub fn cut(&self, moment: &Moment) -> Result<Cut> {
        let refused = |reason: String| {
            Error::new(Kind::NotFound, "restore")
                .on(format!("table `{}` from chain {}", self.base.table.name, self.path.chain))
                .because(reason)
        };
        let (links, until) = match moment {
            Moment::End => (self.deltas.len(), None),
            Moment::Run(run) if *run == self.path.run => (0, None),
            Moment::Run(run) => {
                let at = self.deltas.iter().position(|link| link.path.run == *run);
                (at.ok_or_else(|| refused(format!("run {run} is not in it")))? + 1, None)
            }
            Moment::Time(time) => {
                let window = self.window().ok_or_else(|| {
                    refused(match self.base.consistency {
                        Consistency::Fuzzy => "its base is fuzzy: its rows are of several moments".to_owned(),
                        Consistency::Exact => {
                            "its shards are not read far enough to name a moment".to_owned()
                        }
                    })
                    .hint("nothing was written; without a time all that the chain holds is restored")
                })?;
                if *time < window.from || *time > window.to {
                    let reason = format!(
                        "{time} is outside of {} to {}, which it can restore",
                        window.from, window.to
                    );
                    return Err(refused(reason).hint("`otsvault show` prints what can be restored"));
                }
                (self.links_until(time.as_microsecond()), Some(time.as_microsecond()))
            }
        };
        let links = self.deltas.get(..links).unwrap_or_default();
        let ends =
            || links.iter().map(|link| (&link.path.run, &link.manifest.table, &link.manifest.delta.stream));
        let table = match moment {
            Moment::Time(time) => {
                let ended =
                    ends().rev().find(|(.., stream)| stream.reached().is_some_and(|end| end <= *time));
                ended.map_or(&self.base.table, |(_, table, _)| table)
            }
            Moment::End | Moment::Run(_) => {
                ends().next_back().map_or(&self.base.table, |(_, table, _)| table)
            }
        };
        let at = match moment {
            Moment::Time(time) => Some(*time),
            Moment::End | Moment::Run(_) => {
                let own = self.base.delta.as_ref().map(|delta| &delta.stream);
                let stream = ends().next_back().map(|(.., stream)| stream).or(own);
                stream.map(|stream| {
                    let reached = stream.reached().unwrap_or(self.base.started_at);
                    self.scan_began().map_or(reached, |began| began.max(reached))
                })
            }
        };
        let own = self.base.delta.iter().map(|delta| (self.path.clone(), (**delta).clone()));
        let later = links.iter().map(|link| (link.path.clone(), link.manifest.delta.clone()));
        Ok(Cut {
            path: self.path.clone(),
            base: self.base.clone(),
            deltas: own.chain(later).collect(),
            until_clock_us: until,
            table: table.clone(),
            run: ends().next_back().map_or(&self.path.run, |(run, ..)| run).clone(),
            at,
        })
    }

    /// When the scan of the base began; `None` for one that was not scanned.
    fn scan_began(&self) -> Option<Timestamp> {
        self.base.compacted.is_none().then_some(self.base.started_at)
    }

    /// How many deltas may have records up to a clock. A delta's records are not before the clocks at which it begins, so all
    /// deltas from the first on that begins later are left out.
    fn links_until(&self, clock_us: i64) -> usize {
        let begins_later = |shards: &[ShardProgress]| {
            let open = shards.iter().filter(|shard| shard.place != ShardPlace::Closed);
            open.map(|shard| shard.clock_us).min().is_some_and(|begin| begin > clock_us)
        };
        let later = self.deltas.iter().position(|link| begins_later(&link.manifest.delta.stream.from));
        later.unwrap_or(self.deltas.len())
    }
}

impl Cut {
    /// Whether there are records to be folded into the base's rows.
    pub fn has_records(&self) -> bool {
        self.records() > 0
    }

    /// Records in the deltas, those after the moment included.
    pub fn records(&self) -> u64 {
        self.deltas.iter().fold(0, |sum, (_, delta)| sum.saturating_add(delta.totals.records))
    }

    /// Cells older than this had expired at the moment, by the table's time to live; milliseconds. `None` where none does.
    pub fn expiry_horizon_ms(&self) -> Option<i64> {
        let seconds = self.table.options.time_to_live.filter(|seconds| *seconds >= 0)?;
        Some(self.at?.as_millisecond().saturating_sub(i64::from(seconds) * 1_000))
    }
}

fn time(clock_us: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(clock_us).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{DeltaManifest, Link, StreamIdentity, StreamSpan};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A shard whose last record is of second `clock`, and that was read to its end at second `caught_up`.
    fn shard(id: &str, clock: i64, caught_up: i64, place: ShardPlace) -> ShardProgress {
        ShardProgress {
            shard_id: id.to_owned(),
            parents: if id == "child" { vec!["a".to_owned()] } else { Vec::new() },
            rank: if id == "child" { 2 } else { u64::from(id == "b") },
            ordinal: 0,
            clock_us: at(clock).as_microsecond(),
            last: None,
            caught_up_at: at(caught_up),
            place,
        }
    }

    /// Shards `a` and `b` as [`shard`]s that are open.
    fn open(a: (i64, i64), b: (i64, i64)) -> Vec<ShardProgress> {
        let place = || ShardPlace::Iterator("i".to_owned());
        vec![shard("a", a.0, a.1, place()), shard("b", b.0, b.1, place())]
    }

    fn delta(from: Vec<ShardProgress>, to: Vec<ShardProgress>) -> Delta {
        let template: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/delta-manifest-v1.json")).unwrap();
        let template: Delta = serde_json::from_value(template["delta"].clone()).unwrap();
        let identity = StreamIdentity { stream_id: "s".to_owned(), enabled_at_us: 1, table_created_at: None };
        Delta { stream: StreamSpan { identity, expiration_hours: 24, from, to }, ..template }
    }

    fn run(number: u64) -> RunId {
        format!("20270115t080000z-{number:08x}").parse().unwrap()
    }

    /// A base that was scanned from second 0 to 10, and deltas to 20 and 30; the last shrank the time to live.
    fn chain() -> Chain {
        let table = crate::catalog::TablePath::new(&object_store::path::Path::from("v"), "i", "t").unwrap();
        let mut base = Manifest::parse(include_bytes!("../../tests/fixtures/manifest-v1.json")).unwrap();
        let ends = [
            open((-50, 1), (-9, 1)),
            open((8, 10), (9, 12)),
            open((18, 20), (15, 22)),
            open((25, 30), (28, 29)),
        ];
        base.started_at = at(0);
        base.consistency = Consistency::Exact;
        base.delta = Some(Box::new(delta(ends[0].clone(), ends[1].clone())));
        let path = table.base(&run(0));
        let mut deltas = Vec::new();
        for (number, pair) in (1..).zip(ends[1..].windows(2)) {
            let text = include_bytes!("../../tests/fixtures/delta-manifest-v1.json");
            let mut manifest: DeltaManifest = serde_json::from_slice(text).unwrap();
            manifest.table = base.table.clone();
            manifest.table.options.time_to_live = Some(if number == 2 { 5 } else { -1 });
            manifest.delta = delta(pair[0].clone(), pair[1].clone());
            let path = table.delta(&run(0), number, &run(number));
            deltas.push(Link { path, manifest: Box::new(manifest), sha256: [0; 32] });
        }
        Chain { path, base: Box::new(base), base_sha256: [0; 32], deltas, gap: None }
    }

    #[test]
    fn a_chain_can_be_restored_from_the_end_of_its_scan_to_where_its_slowest_shard_was_read() {
        let mut chain = chain();
        assert_eq!(chain.window(), Some(Window { from: at(9), to: at(29) }));
        chain.deltas.clear();
        assert_eq!(chain.window(), Some(Window { from: at(9), to: at(10) }));
        // A busy shard that was never seen at its end: the last record's clock may come again.
        let to = &mut chain.base.delta.as_mut().unwrap().stream.to;
        to[0].caught_up_at = at(1);
        assert_eq!(chain.window(), None, "up to just before second 8, and the scan ended at 9");
        chain.base.delta = None;
        assert_eq!(chain.window(), None, "fuzzy");
    }

    #[test]
    fn a_child_that_nobody_read_yet_holds_the_window_back_once_its_parents_are_closed() {
        let closed = |to: &mut Vec<ShardProgress>| {
            to[0].place = ShardPlace::Closed;
            to.push(shard("child", 0, 26, ShardPlace::Waiting));
        };
        let mut chain = chain();
        let end = &mut chain.deltas.last_mut().unwrap().manifest.delta.stream;
        closed(&mut end.to);
        assert_eq!(end.reached(), Some(at(26)));
        end.to[0].place = ShardPlace::Iterator("i".to_owned());
        assert_eq!(end.reached(), Some(at(29)), "its parent is open: nothing is in the child yet");
    }

    #[test]
    fn a_cut_reads_what_can_have_records_up_to_its_moment_and_nothing_else() {
        let chain = chain();
        let sequences = |cut: &Cut| cut.deltas.iter().map(|(path, _)| path.sequence).collect::<Vec<_>>();
        let end = chain.cut(&Moment::End).unwrap();
        assert_eq!((sequences(&end), end.until_clock_us, &end.run), (vec![0, 1, 2], None, &run(2)));
        assert_eq!((end.at, end.expiry_horizon_ms()), (Some(at(29)), Some(at(24).as_millisecond())));
        let first = chain.cut(&Moment::Run(run(0))).unwrap();
        assert_eq!((sequences(&first), first.at), (vec![0], Some(at(10))));
        assert_eq!(sequences(&chain.cut(&Moment::Run(run(1))).unwrap()), [0, 1]);
        // Second 14 is before anything that the second delta can have: it begins at 18 and 15.
        let time = chain.cut(&Moment::Time(at(14))).unwrap();
        assert_eq!((sequences(&time), time.until_clock_us), (vec![0, 1], Some(at(14).as_microsecond())));
        let late = chain.cut(&Moment::Time(at(16))).unwrap();
        assert_eq!((sequences(&late), late.at), (vec![0, 1, 2], Some(at(16))));
        assert_eq!(late.expiry_horizon_ms(), None, "the time to live was seen later");
    }

    #[test]
    fn a_moment_that_cannot_be_restored_is_refused_with_the_ones_that_can() {
        let mut chain = chain();
        for second in [8, 30] {
            let error = chain.cut(&Moment::Time(at(second))).unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound);
            assert!(error.report().contains(&format!("{} to {}", at(9), at(29))), "{}", error.report());
        }
        assert_eq!(chain.cut(&Moment::Run(run(7))).unwrap_err().kind(), Kind::NotFound);
        chain.base.consistency = Consistency::Fuzzy;
        chain.base.delta = None;
        chain.deltas.clear();
        assert!(chain.cut(&Moment::Time(at(14))).unwrap_err().report().contains("fuzzy"));
        let end = chain.cut(&Moment::End).unwrap();
        assert!(end.deltas.is_empty() && end.at.is_none() && end.expiry_horizon_ms().is_none());
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        for text in ["2026-11-26T18:00:00Z", "20270115t080000z-00000001"] {
            assert_eq!(text.parse::<Moment>().unwrap().to_string(), text);
        }
        assert!("yesterday".parse::<Moment>().is_err());
    }
}
