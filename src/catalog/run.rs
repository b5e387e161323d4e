//! Runs of a table: committed ones, and unfinished ones with what they are bound to.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::manifest::check_version;
use super::tombstone::hidden_runs;
use super::{FORMAT_VERSION, Manifest, RunId, RunPath, Source, StreamSpan, TablePath, document};
use crate::columnar::ColumnPlan;
use crate::model::{KeyRange, TableDefinition};
use crate::{Error, Result};

/// A run that was started longer ago is not continued: its rows and the new ones would be too far apart.
pub const RESUME_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the scan of a run is bound to: written before the first data file, never changed.
///
/// A later attempt continues the run only for the same table (creation time included) the same key range and the same columns
/// asked for, and with this column plan, since a name must never have two types in one base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartedRun {
    /// 1.
    pub format_version: u32,
    /// Program and version that wrote it.
    pub tool: String,
    /// The chain.
    pub chain: RunId,
    /// The run.
    pub run: RunId,
    /// Where the rows come from.
    pub source: Source,
    /// The table's definition.
    pub table: TableDefinition,
    /// The keys that were asked for.
    pub key_range: KeyRange,
    /// The attribute columns that were asked for, ascending; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<Vec<String>>,
    /// OSS storage class of the data objects, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// When the first attempt started.
    pub started_at: Timestamp,
    /// The columns of every file of the run.
    pub columns: ColumnPlan,
    /// Where the Stream stood before the first row was read; `None` for a fuzzy base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamSpan>,
}

impl StartedRun {
    /// Writes `started.json`.
    pub async fn write(&self, store: &dyn ObjectStore, path: &RunPath) -> Result<()> {
        debug_assert_eq!(self.format_version, FORMAT_VERSION, "this version writes one format");
        document::create(store, &path.started(), document::to_bytes(self)?).await
    }

    async fn read(store: &dyn ObjectStore, path: &RunPath) -> Result<Option<StartedRun>> {
        let object = path.started();
        let Some(bytes) = document::read(store, &object, document::LARGEST_DOCUMENT).await? else {
            return Ok(None);
        };
        check_version(&bytes)
            .map_err(|error| Error::new(error.kind(), "use").on(format!("`{object}`")).source(error))?;
        document::parse(&object, &bytes).map(Some)
    }
}

/// One run directory.
#[derive(Debug, Clone)]
pub enum RunState {
    /// It has a manifest.
    Committed(RunPath, Box<Manifest>),
    /// It has a `started.json` and no manifest.
    Unfinished(RunPath, Box<StartedRun>),
}

/// Every run of a table that is not hidden, oldest first. Costs a list per chain and one or two small reads per run, and
/// a list of the tombstones, after the reads: what was hidden before this call is not found.
///
/// A directory with neither document is a run that never got so far; it holds no data and is left out.
pub async fn find_runs(store: &dyn ObjectStore, table: &TablePath) -> Result<Vec<RunState>> {
    let paths = run_paths(store, table).await?;
    let mut runs: Vec<_> = futures::stream::iter(paths)
        .map(|path| async move { read_run(store, &path).await })
        .buffered(16)
        .try_filter_map(|run| async move { Ok(run) })
        .try_collect()
        .await?;
    let hidden = hidden_runs(store, table).await?;
    runs.retain(|run| !hidden.contains(&run.path().run));
    // Ids of the same second are in no order.
    runs.sort_by(|a, b| (a.started_at(), &a.path().run).cmp(&(b.started_at(), &b.path().run)));
    Ok(runs)
}

/// The chains of a table that have a directory, oldest first. Costs a list.
pub async fn find_chains(store: &dyn ObjectStore, table: &TablePath) -> Result<Vec<RunId>> {
    child_ids(store, &table.prefix()).await
}

/// One run by what is in its directory, hidden or not; `None` when it has neither document.
pub async fn read_run(store: &dyn ObjectStore, path: &RunPath) -> Result<Option<RunState>> {
    if let Some(manifest) = Manifest::read(store, path).await? {
        return Ok(Some(RunState::Committed(path.clone(), Box::new(manifest))));
    }
    let started = StartedRun::read(store, path).await?;
    Ok(started.map(|started| RunState::Unfinished(path.clone(), Box::new(started))))
}

/// Where the runs of a table are, by their ids and so by the seconds they started in, whatever is in them, hidden ones
/// included. Costs a list per chain.
pub async fn run_paths(store: &dyn ObjectStore, table: &TablePath) -> Result<Vec<RunPath>> {
    let mut paths = Vec::new();
    for chain in find_chains(store, table).await? {
        for run in child_ids(store, &table.bases(&chain)).await? {
            paths.push(table.base_in_chain(&chain, &run));
        }
    }
    paths.sort_by(|a, b| a.run.cmp(&b.run));
    Ok(paths)
}

impl RunState {
    /// Where the run is.
    pub fn path(&self) -> &RunPath {
        match self {
            RunState::Committed(path, _) | RunState::Unfinished(path, _) => path,
        }
    }

    /// When its first attempt started.
    pub fn started_at(&self) -> Timestamp {
        match self {
            RunState::Committed(_, manifest) => manifest.started_at,
            RunState::Unfinished(_, started) => started.started_at,
        }
    }
}

async fn child_ids(store: &dyn ObjectStore, prefix: &Path) -> Result<Vec<RunId>> {
    let names = child_names(store, prefix).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Names of the "directories" under a prefix, sorted.
pub(super) async fn child_names(store: &dyn ObjectStore, prefix: &Path) -> Result<Vec<String>> {
    let listed = store
        .list_with_delimiter(Some(prefix))
        .await
        .map_err(|error| document::failed("list", prefix, error))?;
    let mut names: Vec<_> =
        listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}
