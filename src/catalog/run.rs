//! Runs of a table: committed ones, and unfinished ones with what they are bound to.

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::manifest::check_version;
use super::{FORMAT_VERSION, Manifest, RunId, RunPath, Source, TablePath, document};
use crate::columnar::ColumnPlan;
use crate::model::{KeyRange, TableDefinition};
use crate::{Error, Result};

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

/// Every run of a table, oldest first. Costs a list per chain and one or two small reads per run.
///
/// A directory with neither document is a run that never got so far; it holds no data and is left out.
pub async fn find_runs(store: &dyn ObjectStore, table: &TablePath) -> Result<Vec<RunState>> {
    let mut paths = Vec::new();
    for chain in child_ids(store, &table.prefix()).await? {
        for run in child_ids(store, &table.bases(&chain)).await? {
            paths.push(table.base_in_chain(&chain, &run));
        }
    }
    let mut runs: Vec<_> = futures::stream::iter(paths)
        .map(|path| async move {
            if let Some(manifest) = Manifest::read(store, &path).await? {
                return Ok(Some(RunState::Committed(path, Box::new(manifest))));
            }
            let started = StartedRun::read(store, &path).await?;
            Ok::<_, Error>(started.map(|started| RunState::Unfinished(path, Box::new(started))))
        })
        .buffered(16)
        .try_filter_map(|run| async move { Ok(run) })
        .try_collect()
        .await?;
    runs.sort_by(|a, b| a.path().run.cmp(&b.path().run));
    Ok(runs)
}

impl RunState {
    /// Where the run is.
    pub fn path(&self) -> &RunPath {
        match self {
            RunState::Committed(path, _) | RunState::Unfinished(path, _) => path,
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
