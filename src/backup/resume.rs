//! Taking up an unfinished run: what is done, what is left, what lies around.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use crate::catalog::{
    ENTRY_METADATA, FileEntry, RESUME_WINDOW, RunPath, RunState, StartedRun, StoredFile, StreamIdentity,
    TablePath, find_runs, read_journal, write_journal,
};
use crate::columnar::ColumnPlan;
use crate::model::{KeyRange, TableDefinition};
use crate::objectstore::{UploadStore, error_of};
use crate::parquet_file::{Contents, FileReader, ReadLimits, read_contents};
use crate::runtime::{ByteBudget, CpuPool};
use crate::{Error, Kind, Result};

/// What earlier runs of the table mean to a new one.
#[derive(Default)]
pub(super) struct Earlier {
    /// The run to continue.
    pub unfinished: Option<(RunPath, StartedRun)>,
    /// The columns of the newest committed base, which the next one keeps, so that queries go on working.
    pub columns: Option<ColumnPlan>,
}

/// What a run is bound to.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    /// The table as it is now.
    pub table: &'a TableDefinition,
    /// The keys that are asked for.
    pub key_range: &'a KeyRange,
    /// The attribute columns that are asked for; `None` for all.
    pub projection: Option<&'a [String]>,
    /// The Stream that is to make the base exact; `None` for a fuzzy one.
    pub stream: Option<&'a StreamIdentity>,
}

/// The newest unfinished run that this backup may continue: same keys, same columns asked for, and the same table with the
/// same definition.
/// A run of more than seven days ago is not continued.
///
/// A table that was dropped and created again is another table, whatever its name; its unfinished runs stay where
/// they are and are not touched.
pub(super) async fn look_back(
    store: &dyn ObjectStore,
    path: &TablePath,
    bound: Bound<'_>,
) -> Result<Earlier> {
    let Bound { table, key_range, projection, stream } = bound;
    let same = |started: &StartedRun| {
        // Reserved throughput is often raised for a backup and changes no row.
        let now = TableDefinition { reserved: started.table.reserved, ..table.clone() };
        let age = Duration::try_from(Timestamp::now().duration_since(started.started_at)).unwrap_or_default();
        let same_rows = started.key_range == *key_range && started.projection.as_deref() == projection;
        let same_stream = started.stream.as_ref().map(|span| &span.identity) == stream;
        started.table == now && same_rows && same_stream && age < RESUME_WINDOW
    };
    let mut earlier = Earlier::default();
    let mut left_alone = 0;
    for run in find_runs(store, path).await?.into_iter().rev() {
        match run {
            RunState::Unfinished(path, started) if earlier.unfinished.is_none() && same(&started) => {
                earlier.unfinished = Some((path, *started));
            }
            RunState::Committed(_, manifest)
                if earlier.columns.is_none()
                    && manifest.table.primary_key == table.primary_key
                    && manifest.projection.as_deref() == projection =>
            {
                earlier.columns = Some(manifest.columns);
            }
            RunState::Unfinished(..) => left_alone += 1,
            RunState::Committed(..) => {}
        }
    }
    if left_alone > 0 {
        tracing::warn!(
            table = path.table,
            runs = left_alone,
            "unfinished runs of other keys or columns, of another table definition or of over a week ago are left alone"
        );
    }
    Ok(earlier)
}

/// Aborts every upload under a run's prefix that is still open. Only the holder of the table's lease may do this.
/// Returns how many there were.
pub(super) async fn abort_open_uploads(store: &dyn UploadStore, run: &RunPath) -> Result<usize> {
    let mut aborted = 0;
    // A part that was on its way while its upload was aborted can bring it back once.
    for _ in 0..3 {
        let open = match store.list_uploads(Some(run.prefix())).await {
            Ok(open) => open,
            Err(error @ object_store::Error::NotSupported { .. }) => {
                tracing::warn!(%error, "uploads that an earlier run left open, if any, stay and are billed");
                return Ok(aborted);
            }
            Err(error) => return Err(read_failed(run.prefix(), error)),
        };
        if open.is_empty() {
            return Ok(aborted);
        }
        for upload in open {
            tracing::info!(object = %upload.path, upload_id = upload.upload_id, "aborting an open upload");
            store.abort_upload(&upload).await.map_err(|error| read_failed(&upload.path, error))?;
            aborted += 1;
        }
    }
    Err(Error::new(Kind::Locked, "abort the open uploads")
        .on(format!("under `{}`", run.prefix()))
        .because("new ones appear all the time")
        .hint("see whether another run still writes there"))
}

/// What earlier attempts have done, in key order: the journal, and complete files whose journal entry was never
/// written. Such a file is taken over only after every byte and every row of it has been read and agrees with the
/// entry in its own metadata; otherwise, and when it is larger than the whole budget of `memory`, which holds it
/// meanwhile, it is deleted, since a plain glob over the data files would read it.
pub(super) async fn finished_entries(
    store: &dyn UploadStore,
    run: &RunPath,
    plan: &Arc<ColumnPlan>,
    cpu: &CpuPool,
    memory: &ByteBudget,
) -> Result<Vec<FileEntry>> {
    let mut entries = read_journal(store, run).await?;
    let journalled: HashSet<Path> =
        entries.iter().filter(|entry| entry.file.is_some()).map(|entry| run.data_file(entry.id)).collect();
    let data = run.data();
    let listed: Vec<_> =
        store.list(Some(&data)).try_collect().await.map_err(|error| read_failed(&data, error))?;
    let strays = listed.into_iter().filter(|object| !journalled.contains(&object.location));
    let proved: Vec<Option<FileEntry>> = futures::stream::iter(strays)
        .then(|object| prove_or_delete(store, run, object, plan, cpu, memory))
        .try_collect()
        .await?;
    entries.extend(proved.into_iter().flatten());
    discard_overlaps(store, run, entries).await
}

/// Two writers that both believed to hold the lease, one of them stopped and continued, can both have read a key. Each
/// of their files is right on its own; together they are not. Keeps the one that starts first and deletes the other.
async fn discard_overlaps(
    store: &dyn UploadStore,
    run: &RunPath,
    mut entries: Vec<FileEntry>,
) -> Result<Vec<FileEntry>> {
    entries.sort_by(|a, b| (&a.range.start, &b.range.end, a.id).cmp(&(&b.range.start, &a.range.end, b.id)));
    let mut kept: Vec<FileEntry> = Vec::with_capacity(entries.len());
    for entry in entries {
        if kept.last().is_none_or(|last| last.range.end <= entry.range.start) {
            kept.push(entry);
            continue;
        }
        tracing::warn!(file = %entry.id, "two files cover the same keys; the later one is removed");
        // A run that is killed between the two finds the file without an entry, takes it over, and ends up here again.
        delete(store, &run.journal_entry(entry.id)).await?;
        if entry.file.is_some() {
            delete(store, &run.data_file(entry.id)).await?;
        }
    }
    Ok(kept)
}

async fn prove_or_delete(
    store: &dyn UploadStore,
    run: &RunPath,
    object: object_store::ObjectMeta,
    plan: &Arc<ColumnPlan>,
    cpu: &CpuPool,
    memory: &ByteBudget,
) -> Result<Option<FileEntry>> {
    let path = object.location;
    if object.size <= memory.total() {
        let permit = memory.acquire(object.size).await;
        let read = async { store.get(&path).await?.bytes().await };
        let proved = match read.await.map_err(|error| read_failed(&path, error)) {
            Ok(body) => {
                let plan = plan.clone();
                cpu.run(move || prove(body, &plan)).await?
            }
            // Archived objects cannot be read.
            Err(error) if error.kind() == Kind::Refused => Err(error),
            Err(error) => return Err(error),
        };
        drop(permit);
        match proved {
            Ok(entry) if run.data_file(entry.id) == path => {
                write_journal(store, run, &entry).await?;
                tracing::info!(object = %path, rows = entry.rows, "took over a complete file");
                return Ok(Some(entry));
            }
            Ok(_) => tracing::warn!(object = %path, "a data file under another file's name"),
            Err(error) => tracing::warn!(object = %path, %error, "a data file that proves nothing"),
        }
    }
    delete(store, &path).await?;
    Ok(None)
}

pub(super) async fn delete(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => {
            let lower = error_of(error);
            Err(Error::new(lower.kind(), "remove a left-over object")
                .on(format!("`{path}`"))
                .source(lower)
                .hint("delete this object, or the whole unfinished run, and run the same command again"))
        }
    }
}

/// Reads a whole file and returns the entry in its metadata if its rows are what that says.
fn prove(body: bytes::Bytes, plan: &ColumnPlan) -> Result<FileEntry> {
    let wrong = |reason: &str| Error::new(Kind::Corrupt, "prove a data file").because(reason.to_owned());
    let sha256 = hex::encode(Sha256::digest(&body));
    let crc64 = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, &body);
    let bytes = body.len() as u64;
    let file = FileReader::open(body, plan, &ReadLimits::default())?;
    let text = file.key_value(ENTRY_METADATA).ok_or_else(|| wrong("it carries no entry"))?;
    let mut entry = FileEntry::from_metadata(text)?;
    let row_groups = file.row_groups().len();
    let found = read_contents(&file, plan, &entry.range)?;
    let described = Contents { rows: entry.rows, cells: entry.cells, row_sum: entry.row_sum };
    if found != described {
        return Err(wrong("its rows are not the ones its entry describes"));
    }
    entry.file = Some(StoredFile { bytes, sha256, crc64: format!("{crc64:016x}"), row_groups });
    Ok(entry)
}

pub(super) fn read_failed(path: &Path, error: object_store::Error) -> Error {
    let lower = error_of(error);
    Error::new(lower.kind(), "read").on(format!("`{path}`")).source(lower)
}
