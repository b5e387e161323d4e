//! What a verification found.

use serde::Serialize;

use super::Audited;
use crate::catalog::{Consistency, Fault, TablePath};
use crate::model::PrimaryKey;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Documents, names, sizes and what the store or the footers know of the content.
    Quick,
    /// Some data files whole.
    Sample,
    /// Every byte.
    Full,
    /// The table as well.
    Live,
    /// A table that it was restored into as well.
    Drill,
}

/// One run, verified.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// Instance name.
    pub instance: String,
    /// Table name.
    pub table: String,
    /// The run.
    pub run: String,
    /// What the rows are worth together; `None` where there is no manifest that says so.
    pub consistency: Option<Consistency>,
    /// The run holds some columns only.
    pub is_projection: bool,
    /// How much was read.
    pub level: Level,
    /// Rows by the manifest.
    pub rows: u64,
    /// Data files by the manifest; those of records too, where Stream records follow an exact base.
    pub files: u64,
    /// Deltas that follow an exact base.
    pub deltas: u64,
    /// Stream records in them, and in the base's own.
    pub records: u64,
    /// Documents and data objects that are there as they should be, by their names and sizes.
    pub objects: u64,
    /// Data files whose content is the right one by the CRC64 that the store keeps.
    pub files_by_crc64: u64,
    /// Data files that are the right ones by what their own footers say, where the store keeps no CRC64.
    pub files_by_footer: u64,
    /// Data files that were read whole.
    pub files_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Their rows.
    pub rows_read: u64,
    /// What is wrong with which object.
    pub faults: Vec<Fault>,
    /// How the run differs from the table; [`Level::Live`] and [`Level::Drill`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What the reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl RunReport {
    pub(super) fn new(table: &TablePath, level: Level, audited: &Audited) -> RunReport {
        let manifest = audited.audit.manifest.as_ref();
        RunReport {
            instance: table.instance.clone(),
            table: table.table.clone(),
            run: audited.path.run.to_string(),
            consistency: manifest.map(|manifest| manifest.consistency),
            is_projection: manifest.is_some_and(|manifest| manifest.projection.is_some()),
            level,
            rows: manifest.map_or(0, |manifest| manifest.totals.rows),
            files: manifest.map_or(0, |manifest| manifest.totals.files),
            deltas: 0,
            records: 0,
            objects: audited.audit.objects,
            files_by_crc64: 0,
            files_by_footer: 0,
            files_read: 0,
            bytes_read: 0,
            rows_read: 0,
            faults: audited.newer_faults.iter().chain(&audited.audit.faults).cloned().collect(),
            comparison: None,
            notes: Vec::new(),
        }
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty() && self.comparison.as_ref().is_none_or(Comparison::is_equal)
    }

    pub(super) fn sort(&mut self) {
        self.faults.sort_by(|a, b| (&a.object, &a.reason).cmp(&(&b.object, &b.reason)));
    }
}

/// How two sets of rows differ: "left" is the older one, or the backup; "right" the newer one, or the table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Key ranges that were compared by row-sum.
    pub ranges: u64,
    /// Those that differ, which were then compared row by row.
    pub differing_ranges: u64,
    /// Of them, how many were not looked into any more because enough rows had been named.
    pub skipped_ranges: u64,
    /// Key ranges whose row-sums differ though no row does: the row-sum in a file list is not that of the rows, or a
    /// table was another one for a moment.
    pub unexplained_ranges: u64,
    /// Rows on the left, in the key ranges that were compared.
    pub left_rows: u64,
    /// Rows on the right.
    pub right_rows: u64,
    /// Rows on the right only, of those named.
    pub added: u64,
    /// Rows on the left only, of those named.
    pub removed: u64,
    /// Rows whose cells differ, of those named.
    pub changed: u64,
    /// The rows that differ, in key order, as many as were asked for.
    pub rows: Vec<RowDifference>,
    /// There are more rows that differ than are named.
    pub has_more: bool,
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.rows.is_empty() && !self.has_more && self.unexplained_ranges == 0
    }
}

/// A row that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowDifference {
    /// Its primary key.
    pub key: PrimaryKey,
    /// How it differs.
    #[serde(flatten)]
    pub change: RowChange,
}

/// How a row differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum RowChange {
    /// It is on the right only.
    Added,
    /// It is on the left only.
    Removed,
    /// Cells of these attribute columns differ, in value, type, timestamp or number of versions.
    Changed {
        /// Ascending.
        columns: Vec<String>,
    },
}
