//! The two kinds of things that are compared: a committed run, and a table.

use std::sync::Arc;

use super::data_file::Reading;
use super::folded::Folding;
use super::row_blocks::sum_page;
use crate::catalog::{Chain, FileEntry, Manifest, Moment, RunId, RunPath, TablePath, Vault, read_file_list};
use crate::model::{KeyRange, PrimaryKey, PrimaryKeyColumn, RowHasher, RowSum, TableDefinition};
use crate::objectstore::UploadStore;
use crate::runtime::{ByteBudget, CpuPool};
use crate::tablestore::{RangePages, RangeRequest, TableStore};
use crate::{Error, Kind, Result};

/// One of two things to compare.
pub enum Side {
    /// A run of a vault.
    Run(Box<RunSide>),
    /// A table as it is now.
    Table(Box<TableSide>),
}

/// A committed run. Row-sums of whole files come from its file list; rows are read only where these differ.
pub struct RunSide {
    pub(super) path: RunPath,
    manifest: Manifest,
    /// In key order.
    pub(super) entries: Vec<FileEntry>,
    pub(super) reading: Reading,
    /// Records that belong to its rows.
    pub(super) folding: Option<Folding>,
}

/// A table as it is now: every comparison reads it.
pub struct TableSide {
    client: TableStore,
    definition: TableDefinition,
    /// Attribute columns that are read; `None` for all.
    projection: Option<Vec<String>>,
    pages: ByteBudget,
    pub(super) cpu: CpuPool,
}

/// Rows and their sum.
pub(super) type Sum = (u64, RowSum);

impl RunSide {
    /// Reads the file list of a run of `table`. The rows are those of `moment`, which is one of its chain: records up to it are
    /// folded in, and without any it is the base as it is. `memory_bytes` are for its files and their rows.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] where manifest and file list, or the runs of a chain, contradict each other; [`Kind::NotFound`] for a moment that
    /// the chain does not have.
    pub async fn open(
        vault: &Vault,
        table: &TablePath,
        (path, manifest): (RunPath, Manifest),
        moment: &Moment,
        cpu: &CpuPool,
        memory_bytes: u64,
    ) -> Result<RunSide> {
        let entries = read_file_list(&**vault.store(), &path, &manifest).await?;
        let reading = Reading::new(vault, &manifest, cpu, memory_bytes);
        let folding = match &manifest.delta {
            None => None,
            Some(_) => {
                let cut = Chain::read(&**vault.store(), table, &path).await?.cut(moment)?;
                let store: Arc<dyn UploadStore> = vault.store().clone();
                Folding::open(&store, &cut, &entries, cpu, memory_bytes).await?
            }
        };
        Ok(RunSide { path, manifest, entries, reading, folding })
    }

    /// The last run whose records are folded into the rows, if any are.
    pub(super) fn folded_until(&self) -> Option<&RunId> {
        self.folding.as_ref().map(|folding| &folding.until)
    }

    /// What was committed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files that hold keys of `range`.
    pub(super) fn entries_in(&self, range: &KeyRange) -> &[FileEntry] {
        let first = self.entries.partition_point(|entry| entry.range.end <= range.start);
        let end = self.entries.partition_point(|entry| entry.range.start < range.end);
        self.entries.get(first..end).unwrap_or_default()
    }

    /// By the file list; `None` where `range` cuts through a file, or records change the rows.
    fn sum(&self, range: &KeyRange) -> Option<Sum> {
        if self.folding.is_some() {
            return None;
        }
        let entries = self.entries_in(range);
        range.check_tiled_by(entries.iter().map(|entry| &entry.range)).ok()?;
        Some(entries.iter().fold(Sum::default(), |sum, entry| (sum.0 + entry.rows, sum.1 + entry.row_sum)))
    }
}

impl TableSide {
    /// Asks the service what the table is. `projection` names the attribute columns to read; `None` reads all.
    /// `memory_bytes` are for response bodies.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a missing table.
    pub async fn open(
        client: &TableStore,
        table: &str,
        projection: Option<Vec<String>>,
        cpu: &CpuPool,
        memory_bytes: u64,
    ) -> Result<TableSide> {
        let definition = client.describe_table(table).await?.definition;
        let pages = ByteBudget::new(memory_bytes);
        Ok(TableSide { client: client.clone(), definition, projection, pages, cpu: cpu.clone() })
    }

    /// What the table is.
    pub fn definition(&self) -> &TableDefinition {
        &self.definition
    }

    /// Every row and every cell in `range`, or those of the projection; the key is named with it, so that a row
    /// without any of its columns comes too.
    pub(super) fn rows(&self, range: &KeyRange) -> RangePages {
        let key_names: Vec<_> =
            self.definition.primary_key.iter().map(|column| column.name.clone()).collect();
        let columns = match &self.projection {
            None => Vec::new(),
            Some(names) => key_names.iter().chain(names).cloned().collect(),
        };
        let everything = RangeRequest::everything(&self.definition.name, key_names, range.clone());
        RangePages::new(&self.client, RangeRequest { columns, ..everything }, self.pages.clone())
    }

    async fn sum(&self, range: &KeyRange, on_page: &(impl Fn(u64, u64) + Sync)) -> Result<Sum> {
        let mut pages = self.rows(range);
        let mut sum = Sum::default();
        let mut hasher = RowHasher::default();
        while let Some((page, permit)) = pages.next().await? {
            let bytes = page.body_bytes as u64;
            let read = move || {
                let sum = sum_page(&page, &mut hasher);
                drop((page, permit));
                (sum, hasher)
            };
            let (of_page, back) = self.cpu.run(read).await?;
            hasher = back;
            let of_page = of_page?;
            on_page(bytes, of_page.0);
            sum = (sum.0 + of_page.0, sum.1 + of_page.1);
        }
        Ok(sum)
    }
}

impl Side {
    /// The keys that this side has.
    pub fn key_range(&self) -> KeyRange {
        match self {
            Side::Run(run) => run.manifest.key_range.clone(),
            Side::Table(table) => KeyRange::all(table.definition.primary_key.len()),
        }
    }

    /// Names and types of the key columns.
    pub fn primary_key(&self) -> &[PrimaryKeyColumn] {
        match self {
            Side::Run(run) => &run.manifest.table.primary_key,
            Side::Table(table) => &table.definition.primary_key,
        }
    }

    /// The attribute columns that it shows; `None` for all.
    pub(super) fn projection(&self) -> Option<&[String]> {
        match self {
            Side::Run(run) => run.manifest.projection.as_deref(),
            Side::Table(table) => table.projection.as_deref(),
        }
    }

    /// Whether row-sums of ranges are known, or can be had, without comparing rows.
    pub(super) fn has_sums(&self) -> bool {
        match self {
            Side::Run(run) => run.folding.is_none(),
            Side::Table(_) => true,
        }
    }

    /// Keys at which its files meet; `None` where any key would do.
    pub(super) fn boundaries(&self) -> Option<Vec<PrimaryKey>> {
        match self {
            Side::Run(run) => Some(run.entries.iter().map(|entry| entry.range.start.clone()).collect()),
            Side::Table(_) => None,
        }
    }

    /// Rows and row-sum of `range`; `None` where they are not known without comparing rows. `on_page` is told bytes and
    /// rows of what is read.
    pub(super) async fn sum(
        &self,
        range: &KeyRange,
        on_page: &(impl Fn(u64, u64) + Sync),
    ) -> Result<Option<Sum>> {
        match self {
            Side::Run(run) => Ok(run.sum(range)),
            Side::Table(table) => table.sum(range, on_page).await.map(Some),
        }
    }
}

/// Two sides can be compared when their keys and their columns are the same.
pub(super) fn check_comparable(left: &Side, right: &Side) -> Result<()> {
    let refuse = |reason: &str| Err(Error::new(Kind::Usage, "compare the two").because(reason.to_owned()));
    let keys = |side: &Side| {
        side.primary_key().iter().map(|column| (column.name.clone(), column.column_type)).collect::<Vec<_>>()
    };
    if keys(left) != keys(right) {
        return refuse("they have different primary keys");
    }
    if left.projection() != right.projection() {
        return refuse("they hold different columns: a projection is compared with one of the same columns");
    }
    Ok(())
}
