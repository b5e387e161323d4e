//! What is stored of runs, by names that are ours.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::Result;
use crate::catalog::{RunId, RunObject, RunPath, TableObject, TablePath};
use crate::objectstore::error_on;

/// One object of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub path: Path,
    /// What it is.
    pub object: RunObject,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: Timestamp,
}

impl Stored {
    fn new(meta: ObjectMeta, object: RunObject) -> Stored {
        let modified = modified(&meta);
        Stored { path: meta.location, object, bytes: meta.size, modified }
    }
}

/// When the store says that an object was written.
pub(super) fn modified(meta: &ObjectMeta) -> Timestamp {
    let time = &meta.last_modified;
    let nanoseconds = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp::new(time.timestamp(), nanoseconds).unwrap_or(Timestamp::MAX)
}

/// Everything below a prefix.
pub(super) async fn list(store: &dyn ObjectStore, prefix: &Path) -> Result<Vec<ObjectMeta>> {
    store.list(Some(prefix)).try_collect().await.map_err(|error| error_on("list", prefix, error))
}

/// The objects of one run.
pub(super) async fn list_run(
    store: &dyn ObjectStore,
    table: &TablePath,
    run: &RunPath,
) -> Result<Vec<Stored>> {
    let listed =
        list(store, run.prefix()).await?.into_iter().filter_map(|meta| match table.parse(&meta.location) {
            Some(TableObject::OfRun(path, object)) if path == *run => Some(Stored::new(meta, object)),
            _ => None,
        });
    Ok(listed.collect())
}

/// The runs of a chain that have objects, with them, and the number of objects below the chain that are not ours.
pub(super) async fn list_chain(
    store: &dyn ObjectStore,
    table: &TablePath,
    chain: &RunId,
) -> Result<(Vec<(RunPath, Vec<Stored>)>, u64)> {
    let mut runs: BTreeMap<RunId, (RunPath, Vec<Stored>)> = BTreeMap::new();
    let mut foreign = 0;
    for meta in list(store, &table.chain(chain)).await? {
        match table.parse(&meta.location) {
            Some(TableObject::OfRun(path, object)) => {
                let (_, objects) = runs.entry(path.run.clone()).or_insert_with(|| (path, Vec::new()));
                objects.push(Stored::new(meta, object));
            }
            _ => foreign += 1,
        }
    }
    Ok((runs.into_values().collect(), foreign))
}
