//! What is known of one closed file: the unit of resuming, of verification, and of the file list.

use serde::{Deserialize, Serialize};

use super::{FileId, json_limits};
use crate::model::{KeyRange, RowSum};
use crate::{Error, Kind, Result};

/// Key of the Parquet metadata that holds a file's entry (all but the object itself), so that a complete file proves
/// what it is without a journal or a list.
pub const ENTRY_METADATA: &str = "otsvault.entry";

/// One closed key interval and the data file that holds its rows. Also the line format of the file list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name of the data file and of the journal entry.
    pub id: FileId,
    /// Every row of the table in here, and no other, is in the file.
    pub range: KeyRange,
    /// Rows in the file.
    pub rows: u64,
    /// Cell versions in the file.
    pub cells: u64,
    /// Bytes of keys and cells by the service's data-size rule.
    pub logical_bytes: u64,
    /// Sum over the rows; see the format page.
    pub row_sum: RowSum,
    /// The object; `None` when the interval holds no row.
    pub file: Option<StoredFile>,
    /// What reading the interval took.
    pub read: ReadCost,
}

impl FileEntry {
    /// Reads the entry out of the metadata of a file, which may be anybody's.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for text that is no entry.
    pub fn from_metadata(text: &str) -> Result<FileEntry> {
        let wrong = || Error::new(Kind::Corrupt, "use the entry in a data file's metadata");
        json_limits::check(text.as_bytes()).map_err(|reason| wrong().because(reason))?;
        serde_json::from_str(text).map_err(|error| wrong().source(error))
    }
}

/// A stored Parquet object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Object size.
    pub bytes: u64,
    /// SHA-256 of the object, 64 hex digits.
    pub sha256: String,
    /// CRC-64/XZ of the object, 16 hex digits: what OSS reports in decimal as `x-oss-hash-crc64ecma`.
    pub crc64: String,
    /// Row groups.
    pub row_groups: usize,
}

/// What the source was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCost {
    /// GetRange requests answered.
    pub pages: u64,
    /// Response bodies in bytes.
    pub response_bytes: u64,
    /// Read capacity units that the service reported.
    pub capacity_units: u64,
}

impl std::ops::AddAssign for ReadCost {
    fn add_assign(&mut self, other: ReadCost) {
        self.pages = self.pages.saturating_add(other.pages);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
        self.capacity_units = self.capacity_units.saturating_add(other.capacity_units);
    }
}
