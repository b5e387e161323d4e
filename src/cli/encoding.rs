//! `--encoding-profile` and `--zstd-level`, alike wherever files are made.

use clap::Args;

use crate::parquet_file::EncodingProfile;

#[derive(Debug, Clone, Args)]
pub(super) struct EncodingArgs {
    /// What files are encoded for: fast, balanced, smallest (zstd 9 and whatever encoding is smallest), or compatible with
    /// old readers (PLAIN and dictionaries, data pages of version 1)
    #[arg(long, default_value_t = EncodingProfile::default(), value_name = "PROFILE")]
    encoding_profile: EncodingProfile,
    /// zstd level, 1 (fast) to 22 [default: what the profile takes, 1 or 9]
    #[arg(long, value_name = "LEVEL")]
    zstd_level: Option<i32>,
}

impl EncodingArgs {
    pub(super) fn profile(&self) -> EncodingProfile {
        self.encoding_profile
    }

    pub(super) fn zstd_level(&self) -> i32 {
        self.zstd_level.unwrap_or_else(|| self.encoding_profile.zstd_level())
    }
}
