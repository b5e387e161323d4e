//! The commit, in two steps: file list, then manifest.

use std::io::Read;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::ObjectStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::journal::data_objects;
use super::{
    Consistency, Delta, DeltaEntry, FORMAT_VERSION, FileEntry, FileListReference, Manifest, RunKind, RunPath,
    StartedRun, Totals, document,
};
use crate::{Error, Kind, Result};

/// Largest file list, compressed and decompressed, in bytes: about half a million files. Kept when writing, checked
/// when reading.
const LARGEST_FILE_LIST: (u64, u64) = (64 << 20, 512 << 20);

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

/// Writes the file list of a run; without a manifest that names it, it means nothing. Entries of files or of deltas.
pub async fn write_file_list<T: Serialize>(
    store: &dyn ObjectStore,
    path: &RunPath,
    entries: &[T],
) -> Result<FileListReference> {
    let list = encode_file_list(entries)?;
    let reference = FileListReference {
        bytes: list.len() as u64,
        sha256: Sha256::digest(&list).into(),
        entries: entries.len() as u64,
    };
    document::create(store, &path.file_list(&reference.sha256), list).await?;
    Ok(reference)
}

/// Writes the manifest: from here on the run exists. A future that is dropped before its end leaves open whether it does.
///
/// # Errors
/// [`Kind::AlreadyExists`] when the run has another manifest.
pub async fn publish(store: &dyn ObjectStore, path: &RunPath, manifest: &Manifest) -> Result<()> {
    document::create(store, &path.manifest(), document::to_bytes(manifest)?).await
}

/// Reads the file list that a manifest names, in key order, and checks it against the manifest.
///
/// # Errors
/// [`Kind::Corrupt`] when hash, counts or sums differ or the entries do not tile the key range.
pub async fn read_file_list(
    store: &dyn ObjectStore,
    path: &RunPath,
    manifest: &Manifest,
) -> Result<Vec<FileEntry>> {
    let entries: Vec<FileEntry> = read_list(store, path, &manifest.file_list).await?;
    let corrupt = |reason: String| list_error(path, &manifest.file_list, reason);
    if Totals::of(&entries) != manifest.totals {
        return Err(corrupt("its sums are not the ones in the manifest".to_owned()));
    }
    manifest.key_range.check_tiled_by(entries.iter().map(|entry| &entry.range)).map_err(corrupt)?;
    Ok(entries)
}

/// Reads the file list of a delta and checks it against the manifest.
///
/// # Errors
/// [`Kind::Corrupt`] when hash, counts or sums differ or the files do not hold every record between the two places once.
pub async fn read_delta_list(
    store: &dyn ObjectStore,
    path: &RunPath,
    delta: &Delta,
) -> Result<Vec<DeltaEntry>> {
    let entries: Vec<DeltaEntry> = read_list(store, path, &delta.file_list).await?;
    let wrong = |error: Error| list_error(path, &delta.file_list, "it is not of this delta").source(error);
    delta.check_covered_by(&entries).map_err(wrong)?;
    Ok(entries)
}

fn list_error(path: &RunPath, list: &FileListReference, reason: impl Into<String>) -> Error {
    let object = path.file_list(&list.sha256);
    Error::new(Kind::Corrupt, "use the file list").on(format!("`{object}`")).because(reason)
}

async fn read_list<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    path: &RunPath,
    list: &FileListReference,
) -> Result<Vec<T>> {
    let corrupt = |reason: &str| list_error(path, list, reason);
    let object = path.file_list(&list.sha256);
    let Some(bytes) = document::read(store, &object, LARGEST_FILE_LIST.0).await? else {
        return Err(corrupt("the manifest names it and it is not there"));
    };
    if <[u8; 32]>::from(Sha256::digest(&bytes)) != list.sha256 {
        return Err(corrupt("its SHA-256 is not the one in the manifest"));
    }
    let entries = decode_file_list(&bytes).map_err(|reason| corrupt(&reason))?;
    if entries.len() as u64 != list.entries {
        return Err(corrupt("it has not as many entries as the manifest says"));
    }
    Ok(entries)
}

/// One JSON line per entry, in key order, as one zstd frame. The same entries give the same bytes.
fn encode_file_list<T: Serialize>(entries: &[T]) -> Result<Bytes> {
    let failed = |error: std::io::Error| Error::new(Kind::Internal, "compress the file list").source(error);
    let mut lines = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut lines, entry)
            .map_err(|error| Error::new(Kind::Internal, "write the file list").source(error))?;
        lines.push(b'\n');
    }
    let list = zstd::encode_all(lines.as_slice(), 3).map_err(failed)?;
    if (list.len() as u64) > LARGEST_FILE_LIST.0 || (lines.len() as u64) > LARGEST_FILE_LIST.1 {
        return Err(Error::new(Kind::Unsupported, "commit the backup")
            .because(format!("its list of {} files is larger than the format allows", entries.len()))
            .hint("use a larger `--target-file-size`"));
    }
    Ok(Bytes::from(list))
}

fn decode_file_list<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, String> {
    let frame = zstd::Decoder::new(bytes).map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    frame.take(LARGEST_FILE_LIST.1 + 1).read_to_end(&mut lines).map_err(|error| error.to_string())?;
    if lines.len() as u64 > LARGEST_FILE_LIST.1 {
        return Err(format!("it decompresses to more than {} bytes", LARGEST_FILE_LIST.1));
    }
    let mut entries = Vec::new();
    for (number, line) in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        entries.push(serde_json::from_slice(line).map_err(|error| format!("line {}: {error}", number + 1))?);
    }
    Ok(entries)
}
