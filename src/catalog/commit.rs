//! The commit, in two steps: file list, then manifest.

use jiff::Timestamp;
use object_store::ObjectStore;

use super::file_list::write_file_list;
use super::journal::data_objects;
use super::{
    Consistency, FORMAT_VERSION, FileEntry, Manifest, RunKind, RunPath, StartedRun, Totals, document,
};
use crate::{Error, Kind, Result};

/// Everything of the commit of a base run but the manifest, which it returns: checks that its entries tile the key range
/// and that exactly their data objects are in the store, and writes the file list. Until [`publish`] nobody sees anything.
///
/// # Errors
/// [`Kind::Locked`] when the entries leave a gap or overlap, which takes two writers; [`Kind::Corrupt`] when the data prefix holds another
/// object (a plain glob would read it) or lacks one. Nothing is committed then.
pub async fn prepare_commit(
    store: &dyn ObjectStore,
    path: &RunPath,
    started: &StartedRun,
    entries: &[FileEntry],
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
    let mut expected: std::collections::HashMap<_, _> =
        entries.iter().filter_map(|entry| entry.file.as_ref().map(|file| (entry.id, file.bytes))).collect();
    for (object, id, size) in data_objects(store, path).await? {
        if id.and_then(|id| expected.remove(&id)) != Some(size) {
            return uncommitted(
                Kind::Corrupt,
                format!("`{object}` is in its data prefix and not in its journal"),
            );
        }
    }
    if let Some(missing) = expected.keys().next() {
        return uncommitted(Kind::Corrupt, format!("data file {missing} is not in the store any more"));
    }

    let reference = write_file_list(store, path, &entries).await?;

    Ok(Manifest {
        format_version: FORMAT_VERSION,
        tool: started.tool.clone(),
        kind: RunKind::Base,
        consistency: Consistency::Fuzzy,
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
        delta: None,
    })
}

/// Writes the manifest: from here on the run exists. A future that is dropped before its end leaves open whether it does.
///
/// # Errors
/// [`Kind::AlreadyExists`] when the run has another manifest.
pub async fn publish(store: &dyn ObjectStore, path: &RunPath, manifest: &Manifest) -> Result<()> {
    document::create(store, &path.manifest(), document::to_bytes(manifest)?).await
}
