//! The file list: one JSON line per file entry, in key order, as one zstd frame.
//!
//! It is read as a stream: what it claims is compared with the manifest, and with the entry before, line by line, so a
//! list that expands to much, repeats itself or never ends is given up early.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;
use object_store::ObjectStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{
    Delta, DeltaEntry, FileEntry, FileListReference, Manifest, RunPath, Totals, document, json_limits,
};
use crate::model::Tiling;
use crate::{Error, Kind, Result};

/// Largest file list, compressed and decompressed, in bytes: about 400,000 files. Kept when writing, checked when
/// reading.
const LARGEST_FILE_LIST: (u64, u64) = (64 << 20, 256 << 20);

/// How many times smaller a list may be than its lines, once these have more than [`FREE_BYTES`]. Real ones, full of
/// hashes, reach 10.
const LARGEST_RATIO: u64 = 100;

/// Lists up to this size may compress as well as they like.
const FREE_BYTES: u64 = 1 << 20;

/// Bytes of a line at most: two keys of four values of 1,024 bytes, every one of them escaped, and the figures.
const LONGEST_LINE: u64 = 128 << 10;

/// log2 of the zstd window that a reader affords; a writer of level 3 uses 2 MiB.
const WINDOW_LOG: u32 = 24;

/// Reads the file list that a manifest names, in key order, and checks it against the manifest.
///
/// # Errors
/// [`Kind::Corrupt`] when hash, counts or sums differ, the entries do not tile the key range, or two are for one file.
pub async fn read_file_list(
    store: &dyn ObjectStore,
    path: &RunPath,
    manifest: &Manifest,
) -> Result<Vec<FileEntry>> {
    let corrupt = |reason: String| list_error(path, &manifest.file_list, reason);
    let bytes = read_list(store, path, &manifest.file_list).await?;
    let entries = decode_base_list(&bytes, manifest).map_err(corrupt)?;
    if Totals::of(&entries) != manifest.totals {
        return Err(corrupt("its sums are not the ones in the manifest".to_owned()));
    }
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
    let corrupt = |reason: String| list_error(path, &delta.file_list, reason);
    let bytes = read_list(store, path, &delta.file_list).await?;
    let entries: Vec<DeltaEntry> =
        decode_file_list(&bytes, delta.file_list.entries, |_| Ok(())).map_err(corrupt)?;
    let wrong = |error: Error| list_error(path, &delta.file_list, "it is not of this delta").source(error);
    delta.check_covered_by(&entries).map_err(wrong)?;
    Ok(entries)
}

fn list_error(path: &RunPath, list: &FileListReference, reason: impl Into<String>) -> Error {
    let object = path.file_list(&list.sha256);
    Error::new(Kind::Corrupt, "use the file list").on(format!("`{object}`")).because(reason)
}

/// The bytes of a file list, which are the ones that its manifest names.
async fn read_list(store: &dyn ObjectStore, path: &RunPath, list: &FileListReference) -> Result<Bytes> {
    let object = path.file_list(&list.sha256);
    let Some(bytes) = document::read(store, &object, LARGEST_FILE_LIST.0).await? else {
        return Err(list_error(path, list, "the manifest names it and it is not there"));
    };
    if (bytes.len() as u64, Sha256::digest(&bytes).into()) != (list.bytes, list.sha256) {
        return Err(list_error(path, list, "its size and SHA-256 are not the ones in the manifest"));
    }
    Ok(bytes)
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

/// The same entries give the same bytes.
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

/// The list of a base: its entries tile the key range, in order.
fn decode_base_list(bytes: &[u8], manifest: &Manifest) -> Result<Vec<FileEntry>, String> {
    let mut tiling = Tiling::new(&manifest.key_range);
    let mut ids = HashSet::new();
    let entries = decode_file_list(bytes, manifest.file_list.entries, |entry: &FileEntry| {
        entry.range.check_fits(&manifest.table.primary_key)?;
        tiling.add(&entry.range)?;
        if !ids.insert(entry.id) {
            return Err(format!("file {} is named twice", entry.id));
        }
        match entry.file.is_none() && entry.rows > 0 {
            true => Err(format!("{} rows and no file", entry.rows)),
            false => Ok(()),
        }
    })?;
    tiling.end()?;
    Ok(entries)
}

/// Decodes `count` entries, each of which is looked at before the next line is read.
fn decode_file_list<T: DeserializeOwned>(
    bytes: &[u8],
    count: u64,
    mut check: impl FnMut(&T) -> Result<(), String>,
) -> Result<Vec<T>, String> {
    let unreadable = |error: std::io::Error| format!("it does not decompress: {error}");
    let most_bytes =
        (bytes.len() as u64).saturating_mul(LARGEST_RATIO).clamp(FREE_BYTES, LARGEST_FILE_LIST.1);
    let mut frame = zstd::Decoder::new(bytes).map_err(unreadable)?;
    frame.window_log_max(WINDOW_LOG).map_err(unreadable)?;
    let mut lines = BufReader::new(frame.take(most_bytes + 1));
    let mut entries: Vec<T> = Vec::new();
    let mut line = Vec::new();
    let mut read_bytes = 0;
    loop {
        line.clear();
        let length = (&mut lines).take(LONGEST_LINE + 1).read_until(b'\n', &mut line).map_err(unreadable)?;
        read_bytes += length as u64;
        if length == 0 {
            break;
        }
        let at = |reason: String| format!("line {}: {reason}", entries.len() + 1);
        if read_bytes > most_bytes {
            return Err(at(format!("it decompresses to more than {most_bytes} bytes")));
        }
        if length as u64 > LONGEST_LINE {
            return Err(at(format!("it has more than {LONGEST_LINE} bytes")));
        }
        if entries.len() as u64 >= count {
            return Err(at(format!("the manifest names {count} entries")));
        }
        json_limits::check(&line).map_err(at)?;
        let entry: T = serde_json::from_slice(&line).map_err(|error| at(error.to_string()))?;
        check(&entry).map_err(at)?;
        entries.push(entry);
    }
    if entries.len() as u64 != count {
        return Err(format!("it has {} entries, not {count}", entries.len()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{FileId, ReadCost};
    use crate::model::{KeyPart, KeyRange, PrimaryKey, RowSum};

    const MANIFEST: &[u8] = include_bytes!("../../tests/fixtures/manifest-v1.json");

    /// The fixture's manifest, for a list of so many entries.
    fn manifest(entries: u64) -> Manifest {
        let mut manifest = Manifest::parse(MANIFEST).unwrap();
        manifest.file_list.entries = entries;
        manifest
    }

    fn entry(range: KeyRange) -> FileEntry {
        FileEntry {
            id: FileId::random(),
            range,
            rows: 0,
            cells: 0,
            logical_bytes: 0,
            row_sum: RowSum::default(),
            file: None,
            read: ReadCost::default(),
        }
    }

    fn entries(points: i64) -> Vec<FileEntry> {
        let point = |n| PrimaryKey(vec![KeyPart::String("s1".into()), KeyPart::Integer(n), KeyPart::InfMin]);
        manifest(0).key_range.split_at((0..points).map(point)).into_iter().map(entry).collect()
    }

    fn refusal(entries: &[FileEntry], named: u64) -> String {
        let list = encode_file_list(entries).unwrap();
        decode_base_list(&list, &manifest(named)).unwrap_err()
    }

    #[test]
    fn a_list_comes_back_as_it_was_written() {
        let entries = entries(20);
        let list = encode_file_list(&entries).unwrap();
        assert_eq!(decode_base_list(&list, &manifest(21)).unwrap(), entries);
    }

    #[test]
    fn a_list_that_contradicts_itself_or_the_manifest_is_refused() {
        let good = entries(4);
        assert!(refusal(&good, 4).contains("names 4 entries"));
        assert!(refusal(&good, 6).contains("it has 5 entries"));
        let without = |index| [&good[..index], &good[index + 1..]].concat();
        assert!(refusal(&without(2), 4).contains("gap"));
        assert!(refusal(&without(4), 4).contains("covered up to"));
        let mut twice = good.clone();
        twice[3].id = twice[1].id;
        assert!(refusal(&twice, 5).contains("named twice"));
        let mut no_file = good.clone();
        no_file[0].rows = 7;
        assert!(refusal(&no_file, 5).contains("no file"));
        let mut other_key = good.clone();
        other_key[0].range.end.0.pop();
        assert!(refusal(&other_key, 5).contains("not one of this table"));
        let mut long_key = good;
        long_key[0].range.end.0[0] = KeyPart::String("x".repeat(1_025));
        assert!(refusal(&long_key, 5).contains("1024 bytes"));
    }

    #[test]
    fn bombs_are_given_up_early() {
        let spaces = zstd::encode_all(&vec![b' '; 64 << 20][..], 3).unwrap();
        assert!(spaces.len() < 64 << 10);
        assert!(decode_base_list(&spaces, &manifest(1)).unwrap_err().contains("bytes"));
        let newlines = zstd::encode_all(&vec![b'\n'; 8 << 20][..], 3).unwrap();
        assert!(decode_base_list(&newlines, &manifest(u64::MAX)).is_err());
        let line = serde_json::to_vec(&entries(1)[0]).unwrap();
        let same: Vec<u8> = std::iter::repeat_n([&line[..], b"\n"].concat(), 100_000).flatten().collect();
        let same = zstd::encode_all(&same[..], 3).unwrap();
        assert!(decode_base_list(&same, &manifest(u64::MAX)).unwrap_err().starts_with("line 2: overlap"));
    }
}
