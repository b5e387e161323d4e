//! What a user can choose.

use std::time::Duration;

use crate::parquet_file::EncodingProfile;
use crate::{Error, Kind, Result};

/// Settings of deltas. Build from `Default` and change fields.
#[derive(Debug, Clone)]
pub struct DeltaOptions {
    /// Bytes that pages, records that wait, and the file made of them may hold together. Default 128 MiB, at least 32 MiB.
    pub memory_bytes: u64,
    /// Following: a delta is appended so often at least, if there are records. Default 30 s.
    pub every: Duration,
    /// Following: a delta is appended as soon as so many bytes of records wait. Default 32 MiB, at most a quarter of the memory.
    pub flush_bytes: u64,
    /// What files are encoded for. Default balanced.
    pub encoding_profile: EncodingProfile,
    /// zstd level, 1 to 22. Default 1.
    pub zstd_level: i32,
    /// A gap is written down behind the last run before it, so that everybody who looks at the chain sees it. Default no.
    pub mark_gaps: bool,
}

impl Default for DeltaOptions {
    fn default() -> DeltaOptions {
        DeltaOptions {
            memory_bytes: 128 << 20,
            every: Duration::from_secs(30),
            flush_bytes: 32 << 20,
            encoding_profile: EncodingProfile::default(),
            zstd_level: 1,
            mark_gaps: false,
        }
    }
}

/// Smallest budget: two pages, and as much that waits.
const SMALLEST_MEMORY: u64 = 32 << 20;

/// A page of Stream records, at most.
const PAGE_BYTES: u64 = 4 << 20;

impl DeltaOptions {
    /// # Errors
    /// [`Kind::Usage`] naming the option that is out of range.
    pub fn check(&self) -> Result<()> {
        let wrong = |option: &str, reason: &str| {
            Err(Error::new(Kind::Usage, format!("use `{option}`")).because(reason.to_owned()))
        };
        if self.memory_bytes < SMALLEST_MEMORY {
            return wrong("--memory", "it must be at least 32MiB");
        }
        if !(Duration::from_millis(100)..=Duration::from_secs(86_400)).contains(&self.every) {
            return wrong("--every", "it must be 100ms to 24h");
        }
        if !(1 << 16..=1 << 40).contains(&self.flush_bytes) {
            return wrong("--flush-size", "it must be 64KiB to 1TiB");
        }
        if !(1..=22).contains(&self.zstd_level) {
            return wrong("--zstd-level", "it must be 1 to 22");
        }
        Ok(())
    }

    /// Pages at the same time: a quarter of the memory.
    pub(super) fn pages_in_flight(&self) -> usize {
        usize::try_from(self.memory_bytes / 4 / PAGE_BYTES).unwrap_or(usize::MAX).clamp(1, 8)
    }

    /// Bytes of records that become one file: a quarter of the memory at most, since the file needs as much again while it is made.
    pub(super) fn file_bytes(&self) -> usize {
        usize::try_from(self.flush_bytes.min(self.memory_bytes / 4)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_usage_errors_that_name_the_option() {
        let default = DeltaOptions::default;
        default().check().unwrap();
        for (options, name) in [
            (DeltaOptions { memory_bytes: 1 << 20, ..default() }, "--memory"),
            (DeltaOptions { every: Duration::ZERO, ..default() }, "--every"),
            (DeltaOptions { flush_bytes: 1, ..default() }, "--flush-size"),
            (DeltaOptions { zstd_level: 0, ..default() }, "--zstd-level"),
        ] {
            let error = options.check().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
