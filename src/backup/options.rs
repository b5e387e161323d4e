//! What a user can choose, and how the one memory budget is shared out.

use std::time::Duration;

use super::{ReadApi, WantedConsistency};
use crate::model::{KeyRange, PrimaryKey, PrimaryKeyColumn};
use crate::objectstore::StorageClass;
use crate::parquet_file::EncodingProfile;
use crate::{Error, Kind, Result};

/// Settings of one backup. Build from `Default` and change fields.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// Ranges read at the same time; 1 to 1,024. 0, the default: as many as the memory affords, up to 64; how many of
    /// them have a request in flight is then up to the client's own limit.
    pub concurrency: usize,
    /// Bytes that response bodies, batches, open row groups and parts in flight may hold together. Default 512 MiB,
    /// at least 64 MiB.
    pub memory_bytes: u64,
    /// A file is closed at the first page boundary past this size. Default 128 MiB. A killed run reads at most one
    /// open file per worker again.
    pub target_file_bytes: u64,
    /// Rows per row group at most. Default 65,536: files of `iot` are 3 % smaller and take 6 % less CPU than with 32,768, for 20 MiB
    /// more in eight workers; 131,072 make them 1 % smaller again.
    pub row_group_rows: usize,
    /// Encoded bytes per row group at most; `None` takes what `memory_bytes` allows, up to 128 MiB. Never more than
    /// the memory allows.
    pub row_group_bytes: Option<u64>,
    /// Bytes per part of a multipart upload; `None` takes what `memory_bytes` allows, up to 16 MiB. At least 100 KiB (OSS
    /// limit), never more than the memory allows. Every part is a billed request.
    pub part_bytes: Option<u64>,
    /// What files are encoded for. Default balanced. A resumed run keeps the encodings that its first attempt chose.
    pub encoding_profile: EncodingProfile,
    /// zstd level, 1 to 22. Default 1; levels above take more memory too.
    pub zstd_level: i32,
    /// First key to copy, inclusive; may be a prefix. `None` starts at the first key.
    pub from_key: Option<PrimaryKey>,
    /// Where to stop, exclusive; may be a prefix. `None` copies to the last key.
    pub to_key: Option<PrimaryKey>,
    /// Tables that are copied at the same time where there are many; 1 to 64. Default 4. They share memory and concurrency.
    pub tables_at_once: usize,
    /// Attribute columns to copy, at most 1,000; `None` copies all. With columns the backup is a projection, not the
    /// table: no full base resumes it or takes its columns over, nor the other way round.
    pub columns: Option<Vec<String>>,
    /// Storage class of the data files; OSS only. Journal, file list and manifest, which resuming and listing read, are
    /// stored as the bucket does by default.
    pub storage_class: Option<StorageClass>,
    /// How pages are read. Default GetRange; whatever it is, every version of every cell is kept with its timestamp.
    pub read_api: ReadApi,
    /// What the base is to be worth.
    pub consistency: WantedConsistency,
    /// How long the service may take to show a committed record in the Stream; an exact base takes so much longer. Default 5
    /// minutes, the margin of the service's own Stream reader for DataX.
    pub stream_settle: Duration,
    /// A table without a Stream gets one that keeps records for so many hours, 1 to 168, before it is copied. `None`: it does without.
    pub enable_stream: Option<i32>,
}

impl Default for BackupOptions {
    fn default() -> BackupOptions {
        BackupOptions {
            concurrency: 0,
            memory_bytes: 512 << 20,
            target_file_bytes: 128 << 20,
            row_group_rows: 1 << 16,
            row_group_bytes: None,
            part_bytes: None,
            encoding_profile: EncodingProfile::default(),
            zstd_level: 1,
            from_key: None,
            to_key: None,
            tables_at_once: 4,
            columns: None,
            storage_class: None,
            read_api: ReadApi::default(),
            consistency: WantedConsistency::default(),
            stream_settle: Duration::from_secs(300),
            enable_stream: None,
        }
    }
}

/// `columns_to_get` has 1,024 names at most (service limit), up to four of which are the key's.
const MOST_COLUMNS: usize = 1_000;

/// Smallest budget: one worker with two pages, a row group and a part.
const SMALLEST_MEMORY: u64 = 64 << 20;

/// Share of a worker's memory that a batch, an open row group or a part should have at least; below it concurrency
/// is lowered instead.
const SMALLEST_SHARE: u64 = 1 << 20;

/// The same where nobody asked for so many workers, and how many there are then at most.
const AUTO_SHARE: u64 = 2 << 20;
const AUTO_WORKERS: u64 = 64;

/// Row groups larger than this gain nothing for readers.
const LARGEST_ROW_GROUP: u64 = 128 << 20;

/// Parts larger than this gain nothing for uploads of the sizes written here.
const LARGEST_PART: u64 = 16 << 20;

/// A page of Stream records, at most, and records that wait for a file, at most.
const RECORD_PAGE: u64 = 4 << 20;
const LARGEST_RECORDS: usize = 32 << 20;

/// What an open column of an open file costs whatever is in it: encoder buffers and a page that is not full.
const BYTES_PER_COLUMN: u64 = 256 << 10;

/// What a worker holds besides pages: a batch, the open row group, the finished row group that goes to the writer,
/// the part that is not full yet, and the part on its way.
const SHARES_PER_WORKER: u64 = 5;

/// The shares of the memory budget. They are fixed at the start, so that no share can starve another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryPlan {
    /// Response bodies requested or waiting to be decoded.
    pub page_bytes: u64,
    /// Size of a part; the upload writer keeps one on its way and one that is not full.
    pub part_bytes: u64,
    /// Encoded bytes after which a worker closes its row group.
    pub row_group_bytes: u64,
    /// Decoded bytes after which a worker hands a batch to the encoder.
    pub batch_bytes: usize,
    /// Workers.
    pub concurrency: usize,
    /// What one worker may hold besides pages.
    pub worker_bytes: u64,
    /// What all workers may hold besides pages.
    pub all_workers_bytes: u64,
    /// Bytes of Stream records that wait for a file.
    pub record_bytes: usize,
    /// Pages of Stream records at the same time.
    pub stream_pages: usize,
}

impl BackupOptions {
    /// # Errors
    /// [`Kind::Usage`] naming the option that is out of range.
    pub fn check(&self) -> Result<()> {
        let wrong = |option: &str, reason: &str| {
            Err(Error::new(Kind::Usage, format!("use `{option}`")).because(reason.to_owned()))
        };
        if self.concurrency > 1024 {
            return wrong("--concurrency", "it must be 1 to 1024, or auto");
        }
        if !(1..=64).contains(&self.tables_at_once) {
            return wrong("--tables-at-once", "it must be 1 to 64");
        }
        let named = self.columns.as_ref().is_none_or(|columns| {
            (1..=MOST_COLUMNS).contains(&columns.len()) && !columns.iter().any(String::is_empty)
        });
        if !named {
            return wrong("--columns", "it must be 1 to 1000 names");
        }
        if self.memory_bytes < SMALLEST_MEMORY {
            return wrong("--memory", "it must be at least 64MiB");
        }
        if !(1 << 16..=1 << 40).contains(&self.target_file_bytes) {
            return wrong("--target-file-size", "it must be 64KiB to 1TiB");
        }
        if !(1..=1 << 27).contains(&self.row_group_rows) {
            return wrong("--row-group-rows", "it must be 1 to 134217728");
        }
        if self.row_group_bytes.is_some_and(|bytes| !(1 << 16..=1 << 32).contains(&bytes)) {
            return wrong("--row-group-size", "it must be 64KiB to 4GiB");
        }
        if self.part_bytes.is_some_and(|bytes| !(100 << 10..=5 << 30).contains(&bytes)) {
            return wrong("--part-size", "it must be 100KiB to 5GiB");
        }
        if !(1..=22).contains(&self.zstd_level) {
            return wrong("--zstd-level", "it must be 1 to 22");
        }
        if self.enable_stream.is_some_and(|hours| !(1..=168).contains(&hours)) {
            return wrong("--enable-stream", "it must be 1 to 168 hours");
        }
        if self.enable_stream.is_some() && self.consistency == WantedConsistency::Fuzzy {
            return wrong("--enable-stream", "a fuzzy backup does not read the Stream");
        }
        Ok(())
    }

    /// The key range that was asked for, as bounds over the table's primary key columns.
    ///
    /// # Errors
    /// [`Kind::Usage`] when a bound has too many parts or a wrong type, or when nothing is inside.
    pub(super) fn key_range(&self, columns: &[PrimaryKeyColumn]) -> Result<KeyRange> {
        let all = KeyRange::all(columns.len());
        let start = self.from_key.clone().map_or(Ok(all.start), |key| bound("--from-key", key, columns))?;
        let end = self.to_key.clone().map_or(Ok(all.end), |key| bound("--to-key", key, columns))?;
        let range = KeyRange { start, end };
        if range.is_empty() {
            return Err(Error::new(Kind::Usage, "use `--from-key` and `--to-key`")
                .because(format!("nothing is between {} and {}", range.start, range.end)));
        }
        Ok(range)
    }

    /// The attribute columns that were asked for, ascending, each once; `None` means all.
    pub(super) fn projection(&self, primary_key: &[PrimaryKeyColumn]) -> Option<Vec<String>> {
        let mut columns = self.columns.clone()?;
        columns.retain(|name| !primary_key.iter().any(|column| column.name == *name));
        columns.sort();
        columns.dedup();
        Some(columns)
    }

    /// Shares the budget: 40 % pages, 40 % workers; 20 % stays for the rest. A table of `columns` Parquet columns costs every
    /// open file [`BYTES_PER_COLUMN`] each; wide tables get fewer workers.
    pub(super) fn memory_plan(&self, columns: usize) -> MemoryPlan {
        let part_of_budget = |percent: u64| self.memory_bytes / 100 * percent;
        let workers = part_of_budget(40);
        let width = columns as u64 * BYTES_PER_COLUMN;
        let affordable = |share: u64| workers / (SHARES_PER_WORKER * share + width);
        let concurrency = match self.concurrency {
            0 => AUTO_WORKERS.min(affordable(AUTO_SHARE)),
            asked => (asked as u64).min(affordable(SMALLEST_SHARE)),
        };
        let concurrency = concurrency.max(1);
        let share = ((workers / concurrency).saturating_sub(width) / SHARES_PER_WORKER).max(SMALLEST_SHARE);
        MemoryPlan {
            page_bytes: part_of_budget(40),
            part_bytes: self.part_bytes.unwrap_or(LARGEST_PART).min(share),
            row_group_bytes: self.row_group_bytes.unwrap_or(LARGEST_ROW_GROUP).min(share),
            // A batch larger than a file would make every file too large.
            batch_bytes: usize::try_from(share.min(8 << 20).min(self.target_file_bytes))
                .unwrap_or(usize::MAX),
            concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX),
            worker_bytes: (workers / concurrency).min(SHARES_PER_WORKER * share + width),
            all_workers_bytes: workers,
            // An eighth of the budget for the Stream: half of it pages, half of it records that wait.
            record_bytes: usize::try_from(self.memory_bytes / 16).unwrap_or(usize::MAX).min(LARGEST_RECORDS),
            stream_pages: usize::try_from(self.memory_bytes / 16 / RECORD_PAGE)
                .unwrap_or(usize::MAX)
                .clamp(1, 8),
        }
    }
}

fn bound(option: &'static str, key: PrimaryKey, columns: &[PrimaryKeyColumn]) -> Result<PrimaryKey> {
    let wrong = |reason: String| Err(Error::new(Kind::Usage, format!("use `{option}`")).because(reason));
    if key.parts().len() > columns.len() {
        return wrong(format!("it has {} parts, the primary key has {}", key.parts().len(), columns.len()));
    }
    for (part, column) in key.parts().iter().zip(columns) {
        if !part.fits(column.column_type) {
            let column_type = format!("{:?}", column.column_type).to_uppercase();
            return wrong(format!("column `{}` is {column_type}", column.name));
        }
    }
    Ok(key.padded(columns.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_stay_inside_the_budget_whatever_is_asked_for() {
        for memory_bytes in [64 << 20, 512 << 20, 8 << 30] {
            for concurrency in [0, 1, 16, 1024] {
                let options = BackupOptions { memory_bytes, concurrency, ..BackupOptions::default() };
                options.check().unwrap();
                let plan = options.memory_plan(20);
                let worker = plan.batch_bytes as u64 + 2 * plan.row_group_bytes + 2 * plan.part_bytes;
                assert!(plan.page_bytes + plan.concurrency as u64 * worker <= memory_bytes, "{plan:?}");
                assert!(plan.concurrency >= 1 && plan.row_group_bytes >= SMALLEST_SHARE, "{plan:?}");
            }
        }
    }

    #[test]
    fn options_out_of_range_are_usage_errors_that_name_the_option() {
        let options = BackupOptions { zstd_level: 23, ..BackupOptions::default() };
        let error = options.check().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--zstd-level"), "{error}");
    }
}
