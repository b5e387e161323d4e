//! `expire`: backups of one table that a policy does not keep.

pub mod policy;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::removal::{Remover, retention, unless_stopped};
use super::stored::{Stored, list_chain, list_run};
use crate::catalog::{
    Chain, Consistency, RunId, RunKind, RunPath, RunState, TablePath, Vault, find_chains, find_runs,
    hidden_runs,
};
use crate::objectstore::UploadStore;
use crate::runtime::Shutdown;
use crate::{Error, Kind, Result};
use policy::{Decision, KeepPolicy, Point, Reason, decide, decide_named};

/// What should go.
#[derive(Debug, Clone)]
pub enum Expiry {
    /// What a policy does not keep.
    Policy {
        /// The policy.
        keep: KeepPolicy,
        /// Runs that stay whatever it says.
        pinned: BTreeSet<RunId>,
    },
    /// These runs.
    Named {
        /// The runs; those of other tables are ignored.
        runs: BTreeSet<RunId>,
        /// Also where no backup would be left.
        the_last_too: bool,
    },
}

/// A committed run, and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Where it is.
    pub path: RunPath,
    /// What it is.
    pub kind: RunKind,
    /// What its rows are worth together; those of a delta are exact.
    pub consistency: Consistency,
    /// The attribute columns, where not all were asked for.
    pub projection: Option<Vec<String>>,
    /// When it was finished.
    pub finished_at: Timestamp,
    /// The size of its files.
    pub stored_bytes: u64,
    /// Why it stays; empty when it goes.
    pub reasons: BTreeSet<Reason>,
    /// Objects that go with it, and their size.
    pub goes: Option<(u64, u64)>,
}

/// What an expiry of a table found, and did if it was told to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expired {
    /// Every committed run, oldest first.
    pub runs: Vec<Judged>,
    /// Runs that a removal hid and did not finish: they go as well.
    pub unfinished_removals: BTreeSet<RunId>,
}

impl Expired {
    /// The runs that go.
    pub fn going(&self) -> impl Iterator<Item = &Judged> {
        self.runs.iter().filter(|run| run.goes.is_some())
    }
}

/// Decides which backups of a table go, and with `commit` removes them. Costs the manifests of the table, and a list of
/// the objects of each run that goes.
///
/// # Errors
/// [`Kind::Usage`] for a policy that promises nothing; [`Kind::Locked`] with `commit` while another process works on the table and
/// there is something to remove; [`Kind::Refused`] and [`Kind::NotFound`] for runs by name, see [`decide_named`].
pub async fn expire(
    vault: &Vault,
    table: &TablePath,
    expiry: &Expiry,
    commit: bool,
    shutdown: &Shutdown,
) -> Result<Expired> {
    if matches!(expiry, Expiry::Policy { keep, .. } if keep.is_empty()) {
        return Err(Error::new(Kind::Usage, "expire backups")
            .because("nothing is said about what to keep")
            .hint("give for example `--keep-last 3`"));
    }
    let store = &**vault.store();
    let plan = unless_stopped(shutdown, table, plan(store, table, expiry)).await?;
    if !commit || (plan.decision.remove.is_empty() && plan.outcome.unfinished_removals.is_empty()) {
        return Ok(plan.outcome);
    }
    let mut remover = Remover::start(vault, table, shutdown).await?;
    let done = remove(store, table, expiry, &mut remover, shutdown).await;
    remover.end().await;
    done
}

async fn remove(
    store: &dyn UploadStore,
    table: &TablePath,
    expiry: &Expiry,
    remover: &mut Remover<'_>,
    shutdown: &Shutdown,
) -> Result<Expired> {
    let plan = unless_stopped(shutdown, table, plan(store, table, expiry)).await?;
    let paths: BTreeMap<&RunId, &RunPath> =
        plan.outcome.runs.iter().map(|run| (&run.path.run, &run.path)).collect();
    let going: Vec<&RunPath> =
        plan.decision.remove.iter().filter_map(|run| paths.get(run).copied()).collect();
    for path in &going {
        remover.hide(path).await?;
    }
    for path in plan.hidden.iter().chain(going) {
        remover.remove_hidden(path).await?;
    }
    remover.delete(plan.lone_tombstones.iter().map(|run| table.tombstone(run)).collect()).await?;
    Ok(plan.outcome)
}

struct Plan {
    outcome: Expired,
    decision: Decision,
    /// Where the hidden runs are that still have a directory.
    hidden: Vec<RunPath>,
    /// Hidden runs of which nothing is left.
    lone_tombstones: Vec<RunId>,
}

async fn plan(store: &dyn UploadStore, table: &TablePath, expiry: &Expiry) -> Result<Plan> {
    let tombstones = hidden_runs(store, table).await?;
    let mut chains = Vec::new();
    for run in find_runs(store, table).await? {
        if let RunState::Committed(path, _) = run {
            chains.push(Chain::read(store, table, &path).await?);
        }
    }
    let mut runs: Vec<Judged> = chains.iter().flat_map(judged).collect();
    runs.sort_by(|a, b| (a.finished_at, &a.path.run).cmp(&(b.finished_at, &b.path.run)));
    let mut points = points(&chains);
    let mut decision = judge(&points, expiry)?;
    let mut stored = BTreeMap::new();
    for run in runs.iter().filter(|run| decision.remove.contains(&run.path.run)) {
        stored.insert(run.path.run.clone(), list_run(store, table, &run.path).await?);
    }
    if let Some(retention) = retention(store, table).await? {
        for point in &mut points {
            point.locked_until = locked_until(stored.get(&point.run), retention);
        }
        decision = judge(&points, expiry)?;
    }
    for run in &mut runs {
        run.reasons = decision.keep.get(&run.path.run).cloned().unwrap_or_default();
        let objects = stored.get(&run.path.run).filter(|_| !decision.keep.contains_key(&run.path.run));
        run.goes = objects.map(|objects| (objects.len() as u64, objects.iter().map(|one| one.bytes).sum()));
    }
    let hidden = directories_of(store, table, &tombstones).await?;
    let lone = tombstones.iter().filter(|run| !hidden.iter().any(|path| path.run == **run));
    let lone_tombstones = lone.cloned().collect();
    let outcome = Expired { runs, unfinished_removals: tombstones };
    Ok(Plan { outcome, decision, hidden, lone_tombstones })
}

fn judge(points: &[Point], expiry: &Expiry) -> Result<Decision> {
    match expiry {
        Expiry::Policy { keep, pinned } => Ok(decide(points, keep, pinned)),
        Expiry::Named { runs, the_last_too } => {
            let of_table = runs.iter().filter(|run| points.iter().any(|point| point.run == **run));
            decide_named(points, &of_table.cloned().collect(), *the_last_too)
        }
    }
}

/// The runs of a chain, before anything is decided.
fn judged(chain: &Chain) -> Vec<Judged> {
    let base = &chain.base;
    let zero = base.delta.as_ref().map_or(0, |delta| delta.totals.stored_bytes);
    let run = |path: &RunPath, kind, consistency, finished_at, stored_bytes| Judged {
        path: path.clone(),
        kind,
        consistency,
        projection: base.projection.clone(),
        finished_at,
        stored_bytes,
        reasons: BTreeSet::new(),
        goes: None,
    };
    let stored_bytes = base.totals.stored_bytes + zero;
    let mut runs = vec![run(&chain.path, RunKind::Base, base.consistency, base.finished_at, stored_bytes)];
    runs.extend(chain.deltas.iter().map(|link| {
        let stored_bytes = link.manifest.delta.totals.stored_bytes;
        run(&link.path, RunKind::Delta, Consistency::Exact, link.manifest.finished_at, stored_bytes)
    }));
    runs
}

/// A projection or a part of the keys is no backup of the table, and must not push one out.
fn points(chains: &[Chain]) -> Vec<Point> {
    let mut series: Vec<(&Option<Vec<String>>, &crate::model::KeyRange)> = Vec::new();
    let mut points = Vec::new();
    for chain in chains {
        let kind = (&chain.base.projection, &chain.base.key_range);
        let place = series.iter().position(|known| *known == kind).unwrap_or_else(|| {
            series.push(kind);
            series.len() - 1
        });
        points.extend(judged(chain).into_iter().map(|run| Point {
            run: run.path.run,
            chain: run.path.chain,
            sequence: run.path.sequence,
            at: run.finished_at,
            series: place,
            locked_until: None,
        }));
    }
    points
}

/// Until when the bucket protects a run of which something is younger than `retention`.
fn locked_until(objects: Option<&Vec<Stored>>, retention: std::time::Duration) -> Option<Timestamp> {
    let last = objects?.iter().map(|stored| stored.modified).max()?;
    let until = last + retention;
    (until > Timestamp::now()).then_some(until)
}

/// Where the runs of these names have directories.
async fn directories_of(
    store: &dyn UploadStore,
    table: &TablePath,
    runs: &BTreeSet<RunId>,
) -> Result<Vec<RunPath>> {
    let mut found = Vec::new();
    if runs.is_empty() {
        return Ok(found);
    }
    for chain in find_chains(store, table).await? {
        let (of_chain, _) = list_chain(store, table, &chain).await?;
        found.extend(of_chain.into_iter().map(|(path, _)| path).filter(|path| runs.contains(&path.run)));
    }
    // What needs others goes before what it needs.
    found.sort_by(|a, b| (&a.chain, b.sequence).cmp(&(&b.chain, a.sequence)));
    Ok(found)
}
