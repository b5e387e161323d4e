//! The log of a restore: what it is bound to, which row groups are in the target, and its end.
//!
//! ```text
//! <root>/restore/<binding>/<attempt>/started.json
//!                                   /done/<file id>-<row group>.json
//!                                   /rejects/<file id>-<row group>.parquet
//!                                   /mapping/<file id>-<row group>.parquet
//!                                   /ambiguous/<file id>-<row group>.json
//!                                   /finished.json
//! ```
//! The root is the table's place in the vault, or wherever the user wants it. The binding is a hash over the run, the
//! target with its creation time, and what of the rows is written: a target that was created anew has another one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::manifest::check_version;
use super::run::child_names;
use super::{FORMAT_VERSION, FileId, RestoreBinding, document};
use crate::model::TableDefinition;
use crate::objectstore::UploadStore;
use crate::{Error, Kind, Result};

/// Entries that are read at the same time.
const READS_IN_FLIGHT: usize = 32;

/// One row group of one data file: what is written and logged as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId {
    /// The data file.
    pub file: FileId,
    /// Row group in the file, from 0.
    pub row_group: u32,
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:05}", self.file, self.row_group)
    }
}

impl FromStr for UnitId {
    type Err = String;

    fn from_str(text: &str) -> Result<UnitId, String> {
        const WRONG: &str = "not the id of a row group";
        let (file, row_group) = text.split_once('-').ok_or(WRONG)?;
        let digits = row_group.len() >= 5 && row_group.bytes().all(|byte| byte.is_ascii_digit());
        let row_group = row_group.parse().ok().filter(|_| digits).ok_or(WRONG)?;
        Ok(UnitId { file: file.parse()?, row_group })
    }
}

impl Serialize for UnitId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<UnitId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `started.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartedRestore {
    /// 1.
    pub format_version: u32,
    /// Program and version that wrote it.
    pub tool: String,
    /// What is written where.
    pub binding: RestoreBinding,
    /// Whether the restore made the table.
    pub created: bool,
    /// What the table gets at the end: options, Stream and indexes.
    pub at_end: TableDefinition,
    /// When the first attempt started.
    pub started_at: Timestamp,
}

/// `done/….json`: all rows of a row group are in the target, were there already, or are among the rejects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneUnit {
    /// The row group; equal to the one in the name.
    pub unit: UnitId,
    /// Sums over its rows.
    #[serde(flatten)]
    pub rows: RowCounts,
}

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows written.
    pub written: u64,
    /// Rows that an earlier attempt had written.
    pub there: u64,
    /// Rows that were left as they are in the target, since the user wanted that.
    pub skipped: u64,
    /// Rows that the service refused for good; they are in the reject file of the same name.
    pub rejected: u64,
    /// Write capacity units.
    pub write_capacity_units: u64,
    /// Of all of them, rows that may lack older versions: what was done to them leaves open whether the service has those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ambiguous: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RowCounts {
    /// Rows of all kinds.
    pub fn all(&self) -> u64 {
        self.written + self.there + self.skipped + self.rejected
    }
}

impl std::ops::AddAssign for RowCounts {
    fn add_assign(&mut self, other: RowCounts) {
        self.written += other.written;
        self.there += other.there;
        self.skipped += other.skipped;
        self.rejected += other.rejected;
        self.write_capacity_units += other.write_capacity_units;
        self.ambiguous += other.ambiguous;
    }
}

/// `finished.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedRestore {
    /// When the table had its options back.
    pub finished_at: Timestamp,
    /// Sums over all row groups.
    pub rows: RowCounts,
}

/// The log of one attempt at one target.
#[derive(Debug, Clone)]
pub struct RestoreLog {
    store: Arc<dyn UploadStore>,
    prefix: Path,
}

impl RestoreLog {
    /// The newest attempt under `root` that is bound so, or the place of the first one.
    pub async fn newest(
        store: &Arc<dyn UploadStore>,
        root: &Path,
        binding: &RestoreBinding,
    ) -> Result<RestoreLog> {
        let attempts = RestoreLog::attempts(store, root, binding).await?;
        RestoreLog::at(store, root, binding, attempts.max(1))
    }

    /// The first of `bindings` of which an attempt under `root` has begun and not come to its end. Costs a list, and two small reads
    /// for each that is there.
    pub async fn unfinished(
        store: &Arc<dyn UploadStore>,
        root: &Path,
        bindings: impl IntoIterator<Item = RestoreBinding>,
    ) -> Result<Option<RestoreBinding>> {
        let there = child_names(&**store, &root.clone().join("restore")).await?;
        for binding in bindings {
            if there.contains(&binding.id()?) {
                let log = RestoreLog::newest(store, root, &binding).await?;
                if log.started().await?.is_some() && log.finished().await?.is_none() {
                    return Ok(Some(binding));
                }
            }
        }
        Ok(None)
    }

    /// The place of an attempt after all others.
    pub async fn another(
        store: &Arc<dyn UploadStore>,
        root: &Path,
        binding: &RestoreBinding,
    ) -> Result<RestoreLog> {
        let attempts = RestoreLog::attempts(store, root, binding).await?;
        RestoreLog::at(store, root, binding, attempts + 1)
    }

    fn at(
        store: &Arc<dyn UploadStore>,
        root: &Path,
        binding: &RestoreBinding,
        attempt: u32,
    ) -> Result<RestoreLog> {
        let prefix = root.clone().join("restore").join(binding.id()?).join(format!("{attempt:04}"));
        Ok(RestoreLog { store: store.clone(), prefix })
    }

    /// The highest number of an attempt; 0 without any.
    async fn attempts(store: &Arc<dyn UploadStore>, root: &Path, binding: &RestoreBinding) -> Result<u32> {
        let prefix = root.clone().join("restore").join(binding.id()?);
        let names = child_names(&**store, &prefix).await?;
        let numbers = names.iter().filter(|name| name.len() >= 4).filter_map(|name| name.parse().ok());
        Ok(numbers.max().unwrap_or(0))
    }

    /// Where it is.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The store that it is in.
    pub fn store(&self) -> &Arc<dyn UploadStore> {
        &self.store
    }

    /// The reject file of a row group.
    pub fn rejects(&self, unit: UnitId) -> Path {
        self.prefix.clone().join("rejects").join(format!("{unit}.parquet"))
    }

    /// The keys of rows of a row group that may lack older versions, as a JSON array.
    pub fn ambiguous(&self, unit: UnitId) -> Path {
        self.prefix.clone().join("ambiguous").join(format!("{unit}.json"))
    }

    /// The old and new keys of a row group, where the service assigned new ones.
    pub fn mapping(&self, unit: UnitId) -> Path {
        self.prefix.clone().join("mapping").join(format!("{unit}.parquet"))
    }

    /// `started.json`, if the attempt got so far.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a newer format, [`Kind::Corrupt`] for anything that is not it.
    pub async fn started(&self) -> Result<Option<StartedRestore>> {
        let path = self.prefix.clone().join("started.json");
        let Some(bytes) = document::read(&*self.store, &path, document::LARGEST_DOCUMENT).await? else {
            return Ok(None);
        };
        check_version(&bytes)
            .map_err(|error| Error::new(error.kind(), "use").on(format!("`{path}`")).source(error))?;
        document::parse(&path, &bytes).map(Some)
    }

    /// Writes `started.json`: from here on the target is this restore's.
    pub async fn start(&self, started: &StartedRestore) -> Result<()> {
        debug_assert_eq!(started.format_version, FORMAT_VERSION, "this version writes one format");
        document::create(
            &*self.store,
            &self.prefix.clone().join("started.json"),
            document::to_bytes(started)?,
        )
        .await
    }

    /// Logs that a row group is written, again after its rejects were retried.
    pub async fn done(&self, done: &DoneUnit) -> Result<()> {
        let path = self.prefix.clone().join("done").join(format!("{}.json", done.unit));
        document::overwrite(&*self.store, &path, document::to_bytes(done)?).await
    }

    /// Every row group that is written. Costs one list and one small read each.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for an entry that does not parse or bears another name; a list error is an error, never an
    /// empty log.
    pub async fn all_done(&self) -> Result<Vec<DoneUnit>> {
        let prefix = self.prefix.clone().join("done");
        let objects: Vec<_> = self
            .store
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(|error| document::failed("list", &prefix, error))?;
        futures::stream::iter(objects)
            .map(|object| async move {
                let path = object.location;
                let Some(bytes) = document::read(&*self.store, &path, document::LARGEST_DOCUMENT).await?
                else {
                    return Err(Error::new(Kind::NotFound, "read")
                        .on(format!("`{path}`"))
                        .because("it was just listed"));
                };
                let done: DoneUnit = document::parse(&path, &bytes)?;
                let named = path.filename().and_then(|name| name.strip_suffix(".json"));
                if named.and_then(|name| name.parse().ok()) != Some(done.unit) {
                    return Err(Error::new(Kind::Corrupt, "use")
                        .on(format!("`{path}`"))
                        .because(format!("it describes row group {}", done.unit)));
                }
                Ok(done)
            })
            .buffer_unordered(READS_IN_FLIGHT)
            .try_collect()
            .await
    }

    /// `finished.json`, if the restore came to its end.
    pub async fn finished(&self) -> Result<Option<FinishedRestore>> {
        let path = self.prefix.clone().join("finished.json");
        match document::read(&*self.store, &path, document::LARGEST_DOCUMENT).await? {
            Some(bytes) => document::parse(&path, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Writes `finished.json`, again after rejects were retried.
    pub async fn finish(&self, finished: &FinishedRestore) -> Result<()> {
        let path = self.prefix.clone().join("finished.json");
        document::overwrite(&*self.store, &path, document::to_bytes(finished)?).await
    }

    /// Writes a reject or mapping file whatever is there.
    pub async fn write_file(&self, path: &Path, bytes: bytes::Bytes) -> Result<()> {
        document::overwrite(&*self.store, path, bytes).await
    }

    /// Removes a reject file. One that is not there is a success, without the right to delete.
    pub async fn remove_file(&self, path: &Path) -> Result<()> {
        let removed = match self.store.head(path).await {
            Ok(_) => self.store.delete(path).await,
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(document::failed("delete", path, error)),
        }
    }

    /// Reads a reject or mapping file of at most `limit` bytes; `None` when it is not there.
    pub async fn read_file(&self, path: &Path, limit: u64) -> Result<Option<bytes::Bytes>> {
        document::read(&*self.store, path, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::restore_binding::tests::binding;
    use super::*;
    use object_store::memory::InMemory;

    #[test]
    fn ids_of_row_groups_parse_back_and_nothing_else_parses() {
        let unit = UnitId { file: FileId::random(), row_group: 123_456 };
        assert_eq!(unit.to_string().parse(), Ok(unit));
        for hostile in
            ["", "-", "../../00ff00ff00ff00ff-00001", "00ff00ff00ff00ff-1", "00ff00ff00ff00ff-0000x"]
        {
            assert!(hostile.parse::<UnitId>().is_err(), "{hostile}");
        }
    }

    #[tokio::test]
    async fn what_is_done_comes_back_and_another_attempt_starts_with_nothing() {
        let store: Arc<dyn UploadStore> = Arc::new(InMemory::new());
        let root = Path::from("v/i/t");
        let log = RestoreLog::newest(&store, &root, &binding()).await.unwrap();
        assert!(log.started().await.unwrap().is_none() && log.finished().await.unwrap().is_none());
        let rows = RowCounts { written: 7, ..RowCounts::default() };
        let done = DoneUnit { unit: UnitId { file: FileId::random(), row_group: 3 }, rows };
        log.done(&done).await.unwrap();
        let again = RestoreLog::newest(&store, &root, &binding()).await.unwrap();
        assert_eq!(again.all_done().await.unwrap(), vec![done]);
        let other = RestoreLog::another(&store, &root, &binding()).await.unwrap();
        assert!(other.all_done().await.unwrap().is_empty());
        assert_ne!(other.prefix(), log.prefix());
    }
}
