//! Which objects of a table nobody needs any more: a pure function of what the store holds.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use object_store::path::Path;
use serde::Serialize;

use crate::catalog::{FileId, FileListId, LEASE_TIME_TO_LIVE, RESUME_WINDOW, RunId, RunObject, RunPath};
use crate::objectstore::OpenUpload;
use crate::retention::Stored;

/// What was written or begun within this time may still be somebody's work, whatever the leases say.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// What a table's prefix holds.
#[derive(Debug, Clone, Default)]
pub struct TableSurvey {
    /// Every run with objects or uploads, in any order.
    pub runs: Vec<SurveyedRun>,
    /// Tombstones without any object of their run.
    pub lone_tombstones: Vec<Loose>,
    /// Leases with their numbers, but for the one that the caller holds.
    pub leases: Vec<(u64, Loose)>,
    /// Why nobody may work on the table now; `None` when its lease is free, or the caller's.
    pub lease_held: Option<String>,
    /// How long the bucket's retention policy protects what was written, if it has one.
    pub retention: Option<Duration>,
    /// Objects beside ours whose names are not ours.
    pub foreign_objects: u64,
}

/// One run directory.
#[derive(Debug, Clone)]
pub struct SurveyedRun {
    /// Where it is.
    pub path: RunPath,
    /// What its documents say.
    pub standing: RunStanding,
    /// Whether it has a tombstone.
    pub hidden: bool,
    /// Its objects.
    pub objects: Vec<Stored>,
    /// Its open uploads.
    pub uploads: Vec<OpenUpload>,
}

/// What the documents of a run say about it.
#[derive(Debug, Clone)]
pub enum RunStanding {
    /// It has a manifest.
    Committed {
        /// The file lists that the manifest names.
        file_lists: Vec<FileListId>,
        /// The files of those lists; `None` when the data objects are as many and as large as the manifest says, so that there
        /// is nothing to look for.
        files: Option<BTreeSet<FileId>>,
    },
    /// It has a `started.json` alone.
    Unfinished {
        /// When its first attempt started.
        started_at: Timestamp,
    },
    /// It has neither: what is left of a removal, or of other programs' deletions.
    Bare,
}

/// An object of the table that belongs to no run's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loose {
    /// Its name.
    pub path: Path,
    /// Its size.
    pub bytes: u64,
    /// When it was last written.
    pub modified: Timestamp,
}

/// What is to be removed of one table, and what was looked at and stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CleanupPlan {
    /// Runs that go as a whole.
    pub runs: Vec<DeadRun>,
    /// Single objects.
    pub objects: Vec<Orphan>,
    /// Uploads of runs that stay.
    pub uploads: Vec<StaleUpload>,
    /// Unfinished runs that stay, and why.
    pub left: Vec<LeftAlone>,
    /// Objects beside ours whose names are not ours; never touched.
    pub foreign_objects: u64,
    /// Why nothing is planned: another process works on the table.
    pub locked: Option<String>,
}

/// A run that goes as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadRun {
    /// The run.
    pub run: RunId,
    /// Where it is.
    #[serde(skip)]
    pub path: RunPath,
    /// Why.
    pub why: &'static str,
    /// Its objects.
    pub objects: Vec<String>,
    /// Their size.
    pub bytes: u64,
    /// Its open uploads.
    pub uploads: u64,
}

/// An object that goes alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Orphan {
    /// Its name.
    pub object: String,
    /// Why.
    pub why: &'static str,
    /// Its size.
    pub bytes: u64,
    /// For deleting it.
    #[serde(skip)]
    pub path: Path,
}

/// An upload that is aborted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StaleUpload {
    /// What it would have become.
    pub object: String,
    /// Its id.
    pub upload_id: String,
    /// When it was begun.
    pub initiated: Timestamp,
    /// For aborting it.
    #[serde(skip)]
    pub upload: OpenUpload,
}

/// A run that stays for now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftAlone {
    /// The run.
    pub run: RunId,
    /// Why.
    pub why: String,
}

impl CleanupPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.objects.is_empty() && self.uploads.is_empty()
    }

    /// The unfinished and dead runs that were looked at.
    pub fn runs_seen(&self) -> impl Iterator<Item = &RunId> {
        self.runs.iter().map(|run| &run.run).chain(self.left.iter().map(|left| &left.run))
    }

    /// Objects that go.
    pub fn object_count(&self) -> u64 {
        let of_runs: usize = self.runs.iter().map(|run| run.objects.len()).sum();
        (of_runs + self.objects.len()) as u64
    }

    /// Bytes of the objects that go; parts of uploads are not counted.
    pub fn bytes(&self) -> u64 {
        let of_runs: u64 = self.runs.iter().map(|run| run.bytes).sum();
        of_runs + self.objects.iter().map(|orphan| orphan.bytes).sum::<u64>()
    }

    /// Uploads that are aborted.
    pub fn upload_count(&self) -> u64 {
        self.uploads.len() as u64 + self.runs.iter().map(|run| run.uploads).sum::<u64>()
    }
}

/// What to remove. `named`: runs that the user gives up, whatever their age.
///
/// - A run is dead when it has no manifest, was started [`RESUME_WINDOW`] ago (no backup goes on with it then) or is
///   named, and nothing of it was written for a day (named: for the life of a lease). A hidden run is dead.
/// - Of a committed run only what its manifest leads to is kept; journal entries too.
/// - Uploads that are a day old belong to nobody.
/// - While another process holds the table's lease nothing is planned.
pub fn plan_cleanup(survey: &TableSurvey, named: &BTreeSet<RunId>, now: Timestamp) -> CleanupPlan {
    let mut plan = CleanupPlan { foreign_objects: survey.foreign_objects, ..CleanupPlan::default() };
    if let Some(holder) = &survey.lease_held {
        plan.locked = Some(holder.clone());
        return plan;
    }
    let clock = Clock { now, retention: survey.retention };
    for run in &survey.runs {
        plan_run(&mut plan, run, named.contains(&run.path.run), &clock);
    }
    for tombstone in survey.lone_tombstones.iter().filter(|loose| !clock.is_protected(loose.modified)) {
        plan.objects.push(Orphan::of(tombstone, "the tombstone of a run that is gone"));
    }
    let highest = survey.leases.iter().map(|(number, _)| *number).max();
    for (number, lease) in &survey.leases {
        if Some(*number) != highest && clock.is_old(lease.modified) && !clock.is_protected(lease.modified) {
            plan.objects.push(Orphan::of(lease, "an old lease; a later one counts"));
        }
    }
    plan
}

fn plan_run(plan: &mut CleanupPlan, run: &SurveyedRun, named: bool, clock: &Clock) {
    let why = match &run.standing {
        _ if run.hidden => Ok("hidden by a removal that did not finish"),
        RunStanding::Committed { file_lists, files } => {
            for stored in &run.objects {
                let why = match stored.object {
                    RunObject::FileList(list) if !file_lists.contains(&list) => {
                        "a file list that no manifest names"
                    }
                    RunObject::Data(file) | RunObject::Records(file)
                        if files.as_ref().is_some_and(|files| !files.contains(&file)) =>
                    {
                        "a data file that is not in the file list"
                    }
                    _ => continue,
                };
                if clock.is_old(stored.modified) && !clock.is_protected(stored.modified) {
                    plan.objects.push(Orphan {
                        object: stored.path.to_string(),
                        why,
                        bytes: stored.bytes,
                        path: stored.path.clone(),
                    });
                }
            }
            Err(None)
        }
        RunStanding::Unfinished { started_at } if !named && clock.age(*started_at) < RESUME_WINDOW => {
            Err(Some("a backup may still go on with it".to_owned()))
        }
        RunStanding::Unfinished { .. } | RunStanding::Bare => {
            let quiet = if named { LEASE_TIME_TO_LIVE } else { RECENT };
            match run.last_activity() {
                Some(last) if clock.age(last) < quiet => Err(Some(format!("it was written to at {last:.0}"))),
                _ if named => Ok("given up by name"),
                _ if matches!(run.standing, RunStanding::Bare) => Ok("it has neither manifest nor start"),
                _ => Ok("unfinished, and too old to go on with"),
            }
        }
    };
    let protected =
        run.objects.iter().map(|stored| stored.modified).max().filter(|last| clock.is_protected(*last));
    let why = match (why, protected) {
        (Ok(_), Some(last)) => Err(Some(format!(
            "the bucket's retention policy protects it until {:.0}",
            last + clock.retention.unwrap_or_default()
        ))),
        (why, _) => why,
    };
    match why {
        Ok(why) => plan.runs.push(DeadRun {
            run: run.path.run.clone(),
            path: run.path.clone(),
            why,
            objects: run.objects.iter().map(|stored| stored.path.to_string()).collect(),
            bytes: run.objects.iter().map(|stored| stored.bytes).sum(),
            uploads: run.uploads.len() as u64,
        }),
        Err(left) => {
            plan.left.extend(left.map(|why| LeftAlone { run: run.path.run.clone(), why }));
            let stale = run.uploads.iter().filter(|upload| clock.is_old(upload.initiated));
            plan.uploads.extend(stale.map(|upload| StaleUpload {
                object: upload.path.to_string(),
                upload_id: upload.upload_id.clone(),
                initiated: upload.initiated,
                upload: upload.clone(),
            }));
        }
    }
}

/// The moment of a plan.
struct Clock {
    now: Timestamp,
    retention: Option<Duration>,
}

impl Clock {
    /// Zero for what another clock dates to the future.
    fn age(&self, time: Timestamp) -> Duration {
        Duration::try_from(self.now.duration_since(time)).unwrap_or_default()
    }

    fn is_old(&self, time: Timestamp) -> bool {
        self.age(time) >= RECENT
    }

    /// By a retention policy of the bucket.
    fn is_protected(&self, modified: Timestamp) -> bool {
        self.retention.is_some_and(|retention| self.age(modified) < retention)
    }
}

impl SurveyedRun {
    fn last_activity(&self) -> Option<Timestamp> {
        let written = self.objects.iter().map(|stored| stored.modified);
        written.chain(self.uploads.iter().map(|upload| upload.initiated)).max()
    }
}

impl Orphan {
    fn of(loose: &Loose, why: &'static str) -> Orphan {
        Orphan { object: loose.path.to_string(), why, bytes: loose.bytes, path: loose.path.clone() }
    }
}
