//! The manifest, format version 1: the object that makes a run exist.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Delta, FileEntry, ReadCost, RunId, RunPath, document};
use crate::columnar::{ColumnPlan, Role};
use crate::model::{KeyRange, RowSum, TableDefinition};
use crate::{Error, Kind, Result};
use object_store::ObjectStore;

/// The format that this version writes, and the newest one it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Written into every document as its author.
pub const TOOL: &str = concat!("otsvault ", env!("CARGO_PKG_VERSION"));

/// Parquet columns of a run at most, nested ones not counted; ours have 1,000 attributes or so.
const MAX_COLUMNS: usize = 32_768;

/// What a run wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// A full copy.
    Base,
    /// Stream records that follow another run.
    Delta,
}

/// What the rows of a run are worth together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// Each row as it was at some moment of the scan; rows written meanwhile may be old, new or missing.
    Fuzzy,
    /// The table as it was at one position of its Stream.
    Exact,
}

impl std::fmt::Display for Consistency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Consistency::Fuzzy => "fuzzy",
            Consistency::Exact => "exact",
        })
    }
}

/// Where the rows came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Instance name.
    pub instance: String,
    /// Endpoint that was read, without credentials.
    pub endpoint: String,
}

/// The file list that a manifest commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileListReference {
    /// Size of the object in bytes.
    pub bytes: u64,
    /// SHA-256 of the object, 64 hex digits in JSON; its first 16 are in the object's name.
    #[serde(with = "hex::serde")]
    pub sha256: [u8; 32],
    /// Entries, the ones without a file included.
    pub entries: u64,
}

/// Sums over the file list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Rows.
    pub rows: u64,
    /// Cell versions.
    pub cells: u64,
    /// Bytes of keys and cells by the service's data-size rule.
    pub logical_bytes: u64,
    /// Parquet objects.
    pub files: u64,
    /// Bytes of the Parquet objects.
    pub stored_bytes: u64,
    /// Sum over all rows.
    pub row_sum: RowSum,
    /// What reading the rows took; planning and sampling not included.
    pub read: ReadCost,
}

impl Totals {
    /// Adds up a file list.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a FileEntry>) -> Totals {
        let mut totals = Totals::default();
        for entry in entries {
            // Saturating: the entries may be an enemy's, whose sums then differ from the manifest's.
            totals.rows = totals.rows.saturating_add(entry.rows);
            totals.cells = totals.cells.saturating_add(entry.cells);
            totals.logical_bytes = totals.logical_bytes.saturating_add(entry.logical_bytes);
            totals.row_sum += entry.row_sum;
            totals.read += entry.read;
            if let Some(file) = &entry.file {
                totals.files += 1;
                totals.stored_bytes = totals.stored_bytes.saturating_add(file.bytes);
            }
        }
        totals
    }
}

/// One committed run. JSON Schema: `schemas/manifest-v1.schema.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub format_version: u32,
    /// Program and version that wrote it.
    pub tool: String,
    /// What the run wrote.
    pub kind: RunKind,
    /// What the rows are worth together.
    pub consistency: Consistency,
    /// The chain.
    pub chain: RunId,
    /// The run.
    pub run: RunId,
    /// Where the rows came from.
    pub source: Source,
    /// The table's definition when the run started.
    pub table: TableDefinition,
    /// The keys that were asked for; the file list tiles it.
    pub key_range: KeyRange,
    /// The attribute columns that were asked for, ascending: the run is a projection. `None`: all, which is the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<Vec<String>>,
    /// OSS storage class of the data objects, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// When the first attempt started.
    pub started_at: Timestamp,
    /// When the manifest was written.
    pub finished_at: Timestamp,
    /// Every Parquet column of every file, and what it holds.
    pub columns: ColumnPlan,
    /// The file list.
    pub file_list: FileListReference,
    /// Sums over the file list.
    pub totals: Totals,
    /// Delta 0, which makes the base exact: the Stream records from before the scan to after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Box<Delta>>,
    /// The base was not scanned: it is what another chain was at the end of one of its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<Compacted>,
}

/// What a base was folded from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// The chain.
    pub chain: RunId,
    /// The last run of it that is in the base.
    pub run: RunId,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.rows = self.rows.saturating_add(other.rows);
        self.cells = self.cells.saturating_add(other.cells);
        self.logical_bytes = self.logical_bytes.saturating_add(other.logical_bytes);
        self.files = self.files.saturating_add(other.files);
        self.stored_bytes = self.stored_bytes.saturating_add(other.stored_bytes);
        self.row_sum += other.row_sum;
        self.read += other.read;
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    format_version: u32,
}

impl Manifest {
    /// Reads and checks the manifest of a run; `None` when the run was never committed.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a newer format, [`Kind::Corrupt`] for anything that is not a manifest of this run.
    pub async fn read(store: &dyn ObjectStore, path: &RunPath) -> Result<Option<Manifest>> {
        let object = path.manifest();
        let Some(bytes) = document::read(store, &object, document::LARGEST_DOCUMENT).await? else {
            return Ok(None);
        };
        let manifest = Manifest::parse(&bytes).map_err(|error| {
            Error::new(error.kind(), "use the manifest").on(format!("`{object}`")).source(error)
        })?;
        if manifest.run != path.run || manifest.chain != path.chain {
            return Err(Error::new(Kind::Corrupt, "use the manifest")
                .on(format!("`{object}`"))
                .because(format!("it describes run {} of chain {}", manifest.run, manifest.chain)));
        }
        let (instance, table) = (&manifest.source.instance, &manifest.table.name);
        if !path.is_of(instance, table) {
            return Err(Error::new(Kind::Corrupt, "use the manifest")
                .on(format!("`{object}`"))
                .because(format!("it is of table `{instance}/{table}`")));
        }
        Ok(Some(manifest))
    }

    /// Parses a manifest of any supported version.
    pub fn parse(bytes: &[u8]) -> Result<Manifest> {
        check_version(bytes)?;
        document::check(bytes)?;
        let manifest: Manifest = serde_json::from_slice(bytes)
            .map_err(|error| Error::new(Kind::Corrupt, "parse a manifest").source(error))?;
        manifest.check_keys()?;
        let is_exact = manifest.consistency == Consistency::Exact;
        let odd = match &manifest.delta {
            _ if manifest.kind != RunKind::Base => Some("it is not of a base"),
            None if is_exact => Some("it is exact and has no delta"),
            Some(_) if !is_exact => Some("it has a delta and is not exact"),
            Some(delta) => return delta.stream.check().map(|()| manifest),
            None => None,
        };
        match odd {
            None => Ok(manifest),
            Some(reason) => Err(Error::new(Kind::Corrupt, "parse a manifest").because(reason)),
        }
    }

    /// Keys must be keys of the table, so that nobody after this has to ask.
    fn check_keys(&self) -> Result<()> {
        let wrong = |reason: String| Err(Error::new(Kind::Corrupt, "use a manifest").because(reason));
        let key_columns = &self.table.primary_key;
        let planned = self.columns.columns().iter().filter_map(|column| match &column.role {
            Role::Key { column, column_type } => Some((column.as_str(), *column_type)),
            _ => None,
        });
        if !planned.eq(key_columns.iter().map(|column| (column.name.as_str(), column.column_type))) {
            return wrong("its columns have another primary key than its table".to_owned());
        }
        if self.columns.columns().len() > MAX_COLUMNS {
            return wrong(format!("it has more than {MAX_COLUMNS} columns"));
        }
        match self.key_range.check_fits(key_columns) {
            Ok(()) => Ok(()),
            Err(reason) => wrong(format!("its key range makes no sense: {reason}")),
        }
    }
}

/// Refuses a document of a newer format before anything else of it is looked at.
pub(super) fn check_version(bytes: &[u8]) -> Result<()> {
    let VersionOnly { format_version } = serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Kind::Corrupt, "find a format version").source(error))?;
    match format_version {
        FORMAT_VERSION => Ok(()),
        newer if newer > FORMAT_VERSION => Err(Error::new(Kind::Unsupported, "read this vault")
            .because(format!("it has format version {newer}; this otsvault reads up to {FORMAT_VERSION}"))
            .hint("use a newer otsvault")),
        odd => Err(Error::new(Kind::Corrupt, "read this vault").because(format!("format version {odd}"))),
    }
}
