//! What a user can choose about a compaction, and how memory is shared out.

use std::sync::Arc;

use super::file_writer::FileSettings;
use crate::catalog::{Cut, Moment, RunPath};
use crate::objectstore::{StorageClass, UploadStore};
use crate::parquet_file::WriterSettings;
use crate::runtime::CpuPool;
use crate::{Error, Kind, Result};

/// Settings of one compaction. Build from `Default` and change fields.
#[derive(Debug, Clone)]
pub struct CompactOptions {
    /// Up to where: the end of the newest exact chain, or a run and everything before it. A time cannot be followed by deltas and is refused.
    pub to: Moment,
    /// A file is closed when it has about so many bytes. Default 256 MiB.
    pub target_file_bytes: u64,
    /// Bytes that records, files and batches may hold together. Default 512 MiB, at least 64 MiB.
    pub memory_bytes: u64,
    /// How files are written.
    pub writer: WriterSettings,
}

impl Default for CompactOptions {
    fn default() -> CompactOptions {
        CompactOptions {
            to: Moment::End,
            target_file_bytes: 256 << 20,
            memory_bytes: 512 << 20,
            writer: WriterSettings::default(),
        }
    }
}

/// Largest part of an upload that is begun with.
const LARGEST_PART: u64 = 8 << 20;

/// Memory that a worker should have.
const WORKER_BYTES: u64 = 24 << 20;

impl CompactOptions {
    /// # Errors
    /// [`Kind::Usage`] naming the option that is out of range.
    pub fn check(&self) -> Result<()> {
        match (self.memory_bytes >= 64 << 20, self.target_file_bytes >= 64 << 10) {
            (false, _) => Err(Error::new(Kind::Usage, "use `--memory`").because("it must be at least 64MiB")),
            (_, false) => {
                Err(Error::new(Kind::Usage, "use `--target-file-size`").because("it must be at least 64KiB"))
            }
            (true, true) => Ok(()),
        }
    }
}

/// A quarter for records, an eighth each for their files and for those of the base, half for the workers.
pub(super) struct Shares {
    pub records: u64,
    pub record_files: u64,
    pub base_files: u64,
    pub workers: usize,
    worker_bytes: u64,
}

impl Shares {
    pub(super) fn of(options: &CompactOptions) -> Shares {
        let memory = options.memory_bytes;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let workers = (memory / 2 / WORKER_BYTES).clamp(1, cores);
        Shares {
            records: memory / 4,
            record_files: memory / 8,
            base_files: memory / 8,
            workers: usize::try_from(workers).unwrap_or(1),
            worker_bytes: memory / 2 / workers,
        }
    }

    /// A worker holds two batches, an open row group and a finished one, and two parts.
    pub(super) fn files(
        &self,
        options: &CompactOptions,
        store: &Arc<dyn UploadStore>,
        run: &RunPath,
        cut: &Cut,
        cpu: &CpuPool,
    ) -> Result<FileSettings> {
        let share = self.worker_bytes.saturating_sub(2 * super::BATCH_BYTES) / 4;
        let share = share.max(1 << 20);
        let row_group_bytes =
            options.writer.row_group_bytes.min(usize::try_from(share).unwrap_or(usize::MAX));
        let storage_class = cut.base.storage_class.as_deref().map(str::parse::<StorageClass>).transpose()?;
        Ok(FileSettings {
            store: store.clone(),
            run: run.clone(),
            plan: Arc::new(cut.base.columns.clone()),
            keys: cut.base.key_range.clone(),
            writer: WriterSettings { row_group_bytes, ..options.writer.clone() },
            storage_class,
            part_bytes: LARGEST_PART.min(share),
            target_file_bytes: options.target_file_bytes,
            cpu: cpu.clone(),
        })
    }
}
