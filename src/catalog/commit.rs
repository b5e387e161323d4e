//! The commit, in two steps: file list, then manifest.

use std::collections::HashMap;

use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::path::Path;

use super::file_list::write_file_list;
use super::journal::file_objects;
use super::{
    Consistency, Delta, DeltaEntry, DeltaTotals, FORMAT_VERSION, FileEntry, FileId, Manifest, RunKind,
    RunPath, StartedRun, StreamSpan, Totals, document,
};
use crate::columnar::ColumnPlan;
use crate::{Error, Kind, Result};

/// Everything of the commit of a base run but the manifest, which it returns: checks that its entries tile the key range
/// and that exactly their data objects are in the store, and writes the file list. With `delta` the base is exact. Until [`publish`] nobody sees anything.
///
/// # Errors
/// [`Kind::Locked`] when the entries leave a gap or overlap, which takes two writers; [`Kind::Corrupt`] when the data prefix holds another
/// object (a plain glob would read it) or lacks one. Nothing is committed then.
pub async fn prepare_commit(
    store: &dyn ObjectStore,
    path: &RunPath,
    started: &StartedRun,
    entries: &[FileEntry],
    delta: Option<Delta>,
    finished_at: Timestamp,
) -> Result<Manifest> {
    let uncommitted = |kind, reason: String| {
        Err(Error::new(kind, "commit the backup")
            .on(format!("`{}`", path.prefix()))
            .because(reason)
            .hint("run the same command again: it sorts this out and goes on"))
    };
    let mut entries = entries.to_vec();
    entries.sort_by(|a, b| a.range.start.cmp(&b.range.start));
    if let Err(break_at) = started.key_range.check_tiled_by(entries.iter().map(|entry| &entry.range)) {
        return uncommitted(Kind::Locked, format!("its files do not tile the key range: {break_at}"));
    }
    let files = entries.iter().filter_map(|entry| entry.file.as_ref().map(|file| (entry.id, file.bytes)));
    if let Err(reason) = check_objects(store, &path.data(), files.collect()).await? {
        return uncommitted(Kind::Corrupt, reason);
    }

    let reference = write_file_list(store, path, &entries).await?;

    Ok(Manifest {
        format_version: FORMAT_VERSION,
        tool: started.tool.clone(),
        kind: RunKind::Base,
        consistency: if delta.is_some() { Consistency::Exact } else { Consistency::Fuzzy },
        chain: started.chain.clone(),
        run: started.run.clone(),
        source: started.source.clone(),
        table: started.table.clone(),
        key_range: started.key_range.clone(),
        projection: started.projection.clone(),
        storage_class: started.storage_class.clone(),
        started_at: started.started_at,
        finished_at,
        columns: started.columns.clone(),
        file_list: reference,
        totals: Totals::of(&entries),
        delta: delta.map(Box::new),
        compacted: None,
    })
}

/// The Stream's part of a commit: checks that `entries` hold every record of `stream` once and that exactly their files are in the
/// store, and writes their list. Until a manifest names it nobody sees anything.
///
/// # Errors
/// [`Kind::Corrupt`] when not.
pub async fn prepare_delta(
    store: &dyn ObjectStore,
    path: &RunPath,
    stream: StreamSpan,
    columns: &ColumnPlan,
    mut entries: Vec<DeltaEntry>,
) -> Result<Delta> {
    let files = entries.iter().map(|entry| (entry.id, entry.file.bytes)).collect();
    if let Err(reason) = check_objects(store, &path.records(), files).await? {
        return Err(Error::new(Kind::Corrupt, "commit records")
            .on(format!("`{}`", path.prefix()))
            .because(reason)
            .hint("run the same command again: it reads them again"));
    }
    entries.sort_by(|a, b| (&a.first_key, &a.shards).cmp(&(&b.first_key, &b.shards)));
    let delta = Delta {
        stream,
        columns: columns.clone(),
        file_list: write_file_list(store, path, &entries).await?,
        totals: DeltaTotals::of(&entries),
    };
    delta.check_covered_by(&entries)?;
    Ok(delta)
}

/// Whether exactly these objects, of these sizes, are below a prefix; if not, why.
async fn check_objects(
    store: &dyn ObjectStore,
    prefix: &Path,
    mut expected: HashMap<FileId, u64>,
) -> Result<Result<(), String>> {
    for (object, id, size) in file_objects(store, prefix).await? {
        if id.and_then(|id| expected.remove(&id)) != Some(size) {
            return Ok(Err(format!("`{object}` is among its files and not one of them")));
        }
    }
    let missing = expected.keys().next();
    Ok(missing.map_or(Ok(()), |missing| Err(format!("file {missing} is not in the store any more"))))
}

/// Writes the manifest: from here on the run exists. A future that is dropped before its end leaves open whether it does.
///
/// # Errors
/// [`Kind::AlreadyExists`] when the run has another manifest.
pub async fn publish(store: &dyn ObjectStore, path: &RunPath, manifest: &Manifest) -> Result<()> {
    document::create(store, &path.manifest(), document::to_bytes(manifest)?).await
}
