//! The row groups of a base and the keys that belong to each.

use std::sync::Arc;

use super::{FoldSettings, FoldedRows};
use crate::catalog::{FileEntry, Manifest, RunPath};
use crate::columnar::ColumnPlan;
use crate::model::KeyRange;
use crate::parquet_file::ReadLimits;
use crate::runtime::BytePermit;
use crate::stored::{DataFile, Holds, Reading, UnitBytes};
use crate::{Error, Kind, Result};

/// A base, file by file and row group by row group. Clones share what they are made of.
#[derive(Clone)]
pub struct BaseRows {
    path: RunPath,
    entries: Arc<[FileEntry]>,
    plan: Arc<ColumnPlan>,
    reading: Reading,
}

impl BaseRows {
    /// The base at `path`, with all entries of its file list.
    pub fn new(path: &RunPath, base: &Manifest, entries: Arc<[FileEntry]>, reading: Reading) -> BaseRows {
        BaseRows { path: path.clone(), entries, plan: Arc::new(base.columns.clone()), reading }
    }

    /// The file list.
    pub fn entries(&self) -> &[FileEntry] {
        &self.entries
    }

    /// The columns of its files.
    pub fn plan(&self) -> &Arc<ColumnPlan> {
        &self.plan
    }

    /// Opens the file of an entry; `None` for an interval without rows.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if its SHA-256 is not the one in the file list, or it is no such file.
    pub async fn open(&self, entry: usize) -> Result<Option<DataFile>> {
        let entry = self.entry(entry)?;
        let Some(stored) = &entry.file else { return Ok(None) };
        let path = self.path.data_file(entry.id);
        self.reading.open(path, stored, &self.plan, Holds::Rows, entry.rows).await.map(Some)
    }

    /// Pieces that an entry is folded in: its row groups, or one for an interval without rows.
    pub fn pieces(entry: &FileEntry) -> usize {
        // A list that claims more is found out when the file is opened.
        let most = ReadLimits::default().row_groups;
        entry.file.as_ref().map_or(1, |file| file.row_groups.min(most))
    }

    /// The keys that belong to a piece: from its first row to the first one of the next, and all of the entry's before the first and
    /// behind the last.
    ///
    /// # Errors
    /// Those of reading the key columns of two row groups.
    pub async fn interval(&self, file: Option<&DataFile>, entry: usize, piece: usize) -> Result<KeyRange> {
        let whole = &self.entry(entry)?.range;
        match file {
            Some(file) => file.interval(piece, whole).await,
            None => Ok(whole.clone()),
        }
    }

    /// The rows of a piece, waiting for records; and the memory that its bytes take.
    ///
    /// # Errors
    /// Those of reading the row group.
    pub async fn folded(
        &self,
        file: Option<&DataFile>,
        piece: usize,
        interval: KeyRange,
        settings: FoldSettings,
    ) -> Result<(FoldedRows, Option<BytePermit>)> {
        let (batches, permit) = match file {
            Some(file) => {
                let UnitBytes { batches, permit } = file.batches(piece).await?;
                (Some(batches), permit)
            }
            None => (None, None),
        };
        let base = Box::new(batches.into_iter().flatten());
        Ok((FoldedRows::new(base, self.plan.clone(), settings, interval), permit))
    }

    fn entry(&self, entry: usize) -> Result<&FileEntry> {
        self.entries.get(entry).ok_or_else(|| {
            Error::new(Kind::Internal, "open a data file").because("it is not in the file list")
        })
    }
}
