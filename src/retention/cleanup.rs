//! `cleanup`: what dead runs left behind in one table of a vault.

pub mod plan;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::removal::{Remover, open_uploads, retention, unless_stopped};
use super::stored::{Stored, list, list_chain, modified};
use crate::catalog::{
    Delta, DeltaManifest, FileListId, Manifest, RunId, RunObject, RunPath, RunState, TableObject, TablePath,
    Vault, find_chains, lease_status, read_delta_list, read_file_list, read_run,
};
use crate::objectstore::{OpenUpload, UploadStore};
use crate::runtime::Shutdown;
use crate::{Error, Kind, Result};
use plan::{CleanupPlan, Loose, RunStanding, SurveyedRun, TableSurvey, plan_cleanup};

/// What a cleanup of a table found, and did if it was told to.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleanup {
    /// What goes, or went.
    pub plan: CleanupPlan,
    /// Whether the store can list open uploads; if not, there may be some.
    pub uploads_listed: bool,
}

/// Finds what nobody needs of a table, and with `commit` removes it. `named`: unfinished runs that are given up. Costs a list of
/// everything that otsvault has of the table.
///
/// # Errors
/// [`Kind::Locked`] with `commit` while another process works on the table and there is something to remove; [`Kind::Usage`]
/// when a named run is committed; [`Kind::Corrupt`] when a manifest cannot be understood: nothing is removed of such a table.
pub async fn cleanup(
    vault: &Vault,
    table: &TablePath,
    named: &BTreeSet<RunId>,
    commit: bool,
    shutdown: &Shutdown,
) -> Result<Cleanup> {
    let store = &**vault.store();
    let found = unless_stopped(shutdown, table, survey(store, table, None, Timestamp::now())).await?;
    check_named(&found.table, named)?;
    let plan = plan_cleanup(&found.table, named, Timestamp::now());
    if !commit || (plan.is_empty() && plan.locked.is_none()) {
        return Ok(Cleanup { plan, uploads_listed: found.uploads_listed });
    }
    let mut remover = Remover::start(vault, table, shutdown).await?;
    let done = remove(store, table, named, &mut remover, shutdown).await;
    remover.end().await;
    done
}

async fn remove(
    store: &dyn UploadStore,
    table: &TablePath,
    named: &BTreeSet<RunId>,
    remover: &mut Remover<'_>,
    shutdown: &Shutdown,
) -> Result<Cleanup> {
    let surveyed = survey(store, table, Some(remover.lease_number()), Timestamp::now());
    let found = unless_stopped(shutdown, table, surveyed).await?;
    // The store dates its objects by its own clock: ours may be ahead, and then everything looks old.
    let now = found.own_lease_written.map_or(Timestamp::now(), |written| written.min(Timestamp::now()));
    let plan = plan_cleanup(&found.table, named, now);
    for dead in &plan.runs {
        remover.hide(&dead.path).await?;
    }
    for dead in &plan.runs {
        remover.remove_hidden(&dead.path).await?;
    }
    let uploads: Vec<OpenUpload> = plan.uploads.iter().map(|stale| stale.upload.clone()).collect();
    remover.abort(&uploads).await?;
    remover.delete(plan.objects.iter().map(|orphan| orphan.path.clone()).collect()).await?;
    Ok(Cleanup { plan, uploads_listed: found.uploads_listed })
}

fn check_named(survey: &TableSurvey, named: &BTreeSet<RunId>) -> Result<()> {
    let committed = |run: &&SurveyedRun| {
        let is_committed = matches!(run.standing, RunStanding::Committed { .. });
        named.contains(&run.path.run) && is_committed && !run.hidden
    };
    match survey.runs.iter().find(committed) {
        None => Ok(()),
        Some(run) => Err(Error::new(Kind::Usage, "clean up a run")
            .on(format!("`{}`", run.path.run))
            .because("it is committed")
            .hint("`otsvault expire` removes committed backups")),
    }
}

/// What [`survey`] saw.
struct Found {
    table: TableSurvey,
    uploads_listed: bool,
    own_lease_written: Option<Timestamp>,
}

/// Looks at everything of a table. Other people's directories are not entered. `own_lease`: the lease that the caller holds.
async fn survey(
    store: &dyn UploadStore,
    table: &TablePath,
    own_lease: Option<u64>,
    now: Timestamp,
) -> Result<Found> {
    let lease = lease_status(store, table, now).await?;
    let held = lease.filter(|lease| Some(lease.number) != own_lease).and_then(|lease| lease.held);
    let mut seen = TableSurvey { lease_held: held, ..TableSurvey::default() };
    seen.retention = retention(store, table).await?;
    let mut own_lease_written = None;
    let mut tombstones = BTreeMap::new();
    for prefix in table.side_prefixes() {
        for meta in list(store, &prefix).await? {
            let loose = Loose { modified: modified(&meta), bytes: meta.size, path: meta.location };
            match table.parse(&loose.path) {
                Some(TableObject::Lease(number)) if Some(number) == own_lease => {
                    own_lease_written = Some(loose.modified);
                }
                Some(TableObject::Lease(number)) => seen.leases.push((number, loose)),
                // Few, and nobody but their holders looks at them.
                Some(TableObject::DeltaLease(_)) => {}
                Some(TableObject::Tombstone(run)) => drop(tombstones.insert(run, loose)),
                _ => seen.foreign_objects += 1,
            }
        }
    }
    let uploads = open_uploads(store, &table.prefix()).await?;
    let uploads_listed = uploads.is_some();
    let mut runs: BTreeMap<RunId, (RunPath, Vec<Stored>, Vec<OpenUpload>)> = BTreeMap::new();
    for chain in find_chains(store, table).await? {
        let (of_chain, foreign) = list_chain(store, table, &chain).await?;
        seen.foreign_objects += foreign;
        runs.extend(
            of_chain.into_iter().map(|(path, objects)| (path.run.clone(), (path, objects, Vec::new()))),
        );
    }
    for upload in uploads.unwrap_or_default() {
        if let Some(TableObject::OfRun(path, _)) = table.parse(&upload.path) {
            let run = runs.entry(path.run.clone()).or_insert_with(|| (path, Vec::new(), Vec::new()));
            run.2.push(upload);
        }
    }
    seen.runs = futures::stream::iter(runs.into_values())
        .map(|(path, objects, uploads)| async {
            let hidden = tombstones.contains_key(&path.run);
            // Nothing of a hidden run is looked into: it may be half gone.
            let standing = if hidden { RunStanding::Bare } else { standing(store, &path, &objects).await? };
            Ok::<_, Error>(SurveyedRun { path, standing, hidden, objects, uploads })
        })
        .buffered(16)
        .try_collect()
        .await?;
    tombstones.retain(|run, _| !seen.runs.iter().any(|surveyed| surveyed.path.run == *run));
    seen.lone_tombstones = tombstones.into_values().collect();
    Ok(Found { table: seen, uploads_listed, own_lease_written })
}

/// Asks the documents themselves: a listing that lacks one must not make a run look dead.
async fn standing(store: &dyn UploadStore, path: &RunPath, objects: &[Stored]) -> Result<RunStanding> {
    if path.sequence > 0 {
        return Ok(match DeltaManifest::read(store, path).await? {
            None => RunStanding::Bare,
            Some((manifest, _)) => committed(store, path, None, Some(&manifest.delta), objects).await?,
        });
    }
    Ok(match read_run(store, path).await? {
        None => RunStanding::Bare,
        Some(RunState::Unfinished(_, started)) => RunStanding::Unfinished { started_at: started.started_at },
        Some(RunState::Committed(_, manifest)) => {
            committed(store, path, Some(&manifest), manifest.delta.as_deref(), objects).await?
        }
    })
}

/// What a manifest leads to. The lists are read only when more or other files are there than it says.
async fn committed(
    store: &dyn UploadStore,
    path: &RunPath,
    base: Option<&Manifest>,
    delta: Option<&Delta>,
    objects: &[Stored],
) -> Result<RunStanding> {
    let lists = [base.map(|base| &base.file_list), delta.map(|delta| &delta.file_list)];
    let file_lists = lists.into_iter().flatten().map(|list| FileListId::of(&list.sha256)).collect();
    let said = (
        base.map_or(0, |base| base.totals.files) + delta.map_or(0, |delta| delta.totals.files),
        base.map_or(0, |base| base.totals.stored_bytes) + delta.map_or(0, |delta| delta.totals.stored_bytes),
    );
    let is_file = |stored: &&Stored| matches!(stored.object, RunObject::Data(_) | RunObject::Records(_));
    let there = objects.iter().filter(is_file);
    let there = there.fold((0, 0), |(files, bytes), stored| (files + 1, bytes + stored.bytes));
    if there == said {
        return Ok(RunStanding::Committed { file_lists, files: None });
    }
    let mut files = BTreeSet::new();
    if let Some(base) = base {
        let entries = read_file_list(store, path, base).await?;
        files.extend(entries.iter().filter(|entry| entry.file.is_some()).map(|entry| entry.id));
    }
    if let Some(delta) = delta {
        files.extend(read_delta_list(store, path, delta).await?.iter().map(|entry| entry.id));
    }
    Ok(RunStanding::Committed { file_lists, files: Some(files) })
}
