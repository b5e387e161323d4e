//! Deltas: the Stream records of one table between two places, as data files, and the manifest of a run that wrote one.

use jiff::Timestamp;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::manifest::check_version;
use super::{
    FORMAT_VERSION, FileId, FileListReference, ReadCost, RunId, RunKind, RunPath, Source, StoredFile,
    StreamSpan, document,
};
use crate::columnar::ColumnPlan;
use crate::model::{PrimaryKey, RowSum, TableDefinition};
use crate::{Error, Kind, Result};

/// Records of a Stream as files. Part of the manifest of an exact base (delta 0), and the contents of a delta run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// Which part of the Stream it is.
    pub stream: StreamSpan,
    /// The columns of every file that come before the columns of the sequence, which are the same in every delta.
    pub columns: ColumnPlan,
    /// The file list.
    pub file_list: FileListReference,
    /// Sums over the file list.
    pub totals: DeltaTotals,
}

/// One file of a delta: records in the order of (primary key, rank, ordinal).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaEntry {
    /// Name of the data file.
    pub id: FileId,
    /// The smallest key in it.
    pub first_key: PrimaryKey,
    /// The largest key in it.
    pub last_key: PrimaryKey,
    /// Records in it.
    pub records: u64,
    /// Cells in it, deletes of cells too.
    pub cells: u64,
    /// Bytes of keys and cells by the service's data-size rule.
    pub logical_bytes: u64,
    /// Sum over the records.
    pub record_sum: RowSum,
    /// Which records of which shards it holds: all between two ordinals, by rank.
    pub shards: Vec<ShardSlice>,
    /// The object.
    pub file: StoredFile,
    /// What reading the records took.
    pub read: ReadCost,
}

/// What a file of records says of itself in its footer, under [`ENTRY_METADATA`](super::ENTRY_METADATA).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFileMark {
    /// Name of the file.
    pub id: FileId,
    /// Records in it.
    pub records: u64,
    /// Sum over the records.
    pub record_sum: RowSum,
}

impl RecordFileMark {
    /// Of the file of an entry.
    pub fn of(entry: &DeltaEntry) -> RecordFileMark {
        RecordFileMark { id: entry.id, records: entry.records, record_sum: entry.record_sum }
    }
}

/// Records of one shard: from one ordinal to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardSlice {
    /// The shard's rank in the lineage.
    pub rank: u64,
    /// Its first record here.
    pub from: u64,
    /// The ordinal after its last one here.
    pub to: u64,
}

/// Sums over the file list of a delta.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaTotals {
    /// Records.
    pub records: u64,
    /// Cells.
    pub cells: u64,
    /// Bytes by the service's data-size rule.
    pub logical_bytes: u64,
    /// Files.
    pub files: u64,
    /// Their size.
    pub stored_bytes: u64,
    /// Sum over the records.
    pub record_sum: RowSum,
    /// What reading the records took.
    pub read: ReadCost,
}

impl DeltaTotals {
    /// Adds up a file list.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a DeltaEntry>) -> DeltaTotals {
        let mut totals = DeltaTotals::default();
        for entry in entries {
            // Saturating: the entries may be an enemy's, whose sums then differ from the manifest's.
            totals.records = totals.records.saturating_add(entry.records);
            totals.cells = totals.cells.saturating_add(entry.cells);
            totals.logical_bytes = totals.logical_bytes.saturating_add(entry.logical_bytes);
            totals.files += 1;
            totals.stored_bytes = totals.stored_bytes.saturating_add(entry.file.bytes);
            totals.record_sum += entry.record_sum;
            totals.read += entry.read;
        }
        totals
    }
}

impl Delta {
    /// Checks that files hold exactly the records between the two places: each of them once.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] otherwise.
    pub fn check_covered_by(&self, entries: &[DeltaEntry]) -> Result<()> {
        self.stream.check()?;
        let corrupt =
            |reason: String| Err(Error::new(Kind::Corrupt, "use the files").on("of a delta").because(reason));
        let mut slices: Vec<ShardSlice> =
            entries.iter().flat_map(|entry| entry.shards.iter().copied()).collect();
        slices.sort_unstable();
        for shard in &self.stream.to {
            let before = self.stream.from.iter().find(|before| before.shard_id == shard.shard_id);
            let mut reached = before.map_or(0, |before| before.ordinal);
            for slice in slices.iter().filter(|slice| slice.rank == shard.rank) {
                if slice.from != reached || slice.to <= slice.from {
                    return corrupt(format!(
                        "record {reached} of shard `{}` is missing or twice",
                        shard.shard_id
                    ));
                }
                reached = slice.to;
            }
            if reached != shard.ordinal {
                let reason =
                    format!("shard `{}` ends at record {reached}, not {}", shard.shard_id, shard.ordinal);
                return corrupt(reason);
            }
        }
        match slices.iter().find(|slice| !self.stream.to.iter().any(|shard| shard.rank == slice.rank)) {
            Some(slice) => corrupt(format!("there is no shard of rank {}", slice.rank)),
            None if DeltaTotals::of(entries) != self.totals => corrupt("the sums differ".to_owned()),
            None => Ok(()),
        }
    }
}

/// The run that a delta follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The run.
    pub run: RunId,
    /// SHA-256 of its `manifest.json`, 64 hex digits in JSON.
    #[serde(with = "hex::serde")]
    pub manifest_sha256: [u8; 32],
}

/// One committed delta run. JSON Schema: `schemas/delta-manifest-v1.schema.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeltaManifest {
    /// 1.
    pub format_version: u32,
    /// Program and version that wrote it.
    pub tool: String,
    /// `delta`.
    pub kind: RunKind,
    /// The chain.
    pub chain: RunId,
    /// The run.
    pub run: RunId,
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// The run before it.
    pub parent: Parent,
    /// Where the records came from.
    pub source: Source,
    /// The table's definition when the run ended.
    pub table: TableDefinition,
    /// When the run started.
    pub started_at: Timestamp,
    /// When the manifest was written.
    pub finished_at: Timestamp,
    /// The records.
    pub delta: Delta,
}

impl DeltaManifest {
    /// Reads and checks the manifest of a delta run, and says its SHA-256; `None` when the run was never committed.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a newer format, [`Kind::Corrupt`] for anything that is not a manifest of this run.
    pub async fn read(store: &dyn ObjectStore, path: &RunPath) -> Result<Option<(DeltaManifest, [u8; 32])>> {
        let object = path.manifest();
        let Some(bytes) = document::read(store, &object, document::LARGEST_DOCUMENT).await? else {
            return Ok(None);
        };
        let manifest = DeltaManifest::parse(&bytes).map_err(|error| {
            Error::new(error.kind(), "use the manifest").on(format!("`{object}`")).source(error)
        })?;
        if (&manifest.run, &manifest.chain, manifest.sequence) != (&path.run, &path.chain, path.sequence) {
            return Err(Error::new(Kind::Corrupt, "use the manifest").on(format!("`{object}`")).because(
                format!(
                    "it describes run {}, number {} of chain {}",
                    manifest.run, manifest.sequence, manifest.chain
                ),
            ));
        }
        Ok(Some((manifest, Sha256::digest(&bytes).into())))
    }

    /// Parses a manifest of any supported version.
    pub fn parse(bytes: &[u8]) -> Result<DeltaManifest> {
        check_version(bytes)?;
        document::check(bytes)?;
        let manifest: DeltaManifest = serde_json::from_slice(bytes)
            .map_err(|error| Error::new(Kind::Corrupt, "parse a manifest").source(error))?;
        if manifest.kind != RunKind::Delta {
            return Err(Error::new(Kind::Corrupt, "parse a manifest").because("it is not of a delta"));
        }
        manifest.delta.stream.check()?;
        debug_assert_eq!(manifest.format_version, FORMAT_VERSION, "other versions were refused above");
        Ok(manifest)
    }

    /// Writes the manifest: from here on the delta exists. Gives its SHA-256.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] when the run has another manifest.
    pub async fn publish(&self, store: &dyn ObjectStore, path: &RunPath) -> Result<[u8; 32]> {
        let bytes = document::to_bytes(self)?;
        let sha256 = Sha256::digest(&bytes).into();
        document::create(store, &path.manifest(), bytes).await?;
        Ok(sha256)
    }
}
