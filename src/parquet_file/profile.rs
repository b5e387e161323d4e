//! What files are encoded for: little time, little space, or old readers.

use std::fmt;
use std::str::FromStr;

use crate::columnar::Encoding;

/// What encodings are chosen for, and what their pages look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EncodingProfile {
    /// A slower encoding is taken where it saves an eighth, and of next to nothing an eighth of a bit per value.
    Fast,
    /// A slower encoding is taken where it saves a thirty-third, and of next to nothing an eighth of a bit per value.
    #[default]
    Balanced,
    /// Whatever is smallest: every encoding and, page by page, zstd level 9 or 1.
    Smallest,
    /// PLAIN and dictionaries alone, in data pages of version 1: what every reader of Parquet knows.
    Compatible,
}

const NAMES: [(&str, EncodingProfile); 4] = [
    ("fast", EncodingProfile::Fast),
    ("balanced", EncodingProfile::Balanced),
    ("smallest", EncodingProfile::Smallest),
    ("compatible", EncodingProfile::Compatible),
];

impl EncodingProfile {
    /// The zstd level that goes with it.
    pub fn zstd_level(self) -> i32 {
        match self {
            EncodingProfile::Smallest => 9,
            EncodingProfile::Fast | EncodingProfile::Balanced | EncodingProfile::Compatible => 1,
        }
    }

    /// Bytes of `size` for so many values that a slower encoding has to save: a share of them, and an eighth of a bit per
    /// value, for where all encodings take next to nothing; 0 where any byte saved is enough.
    pub(super) fn worthwhile_saving(self, size: i64, values: usize) -> i64 {
        let share = match self {
            EncodingProfile::Fast => 8,
            EncodingProfile::Balanced | EncodingProfile::Compatible => 33,
            EncodingProfile::Smallest => return 0,
        };
        (size / share).max(values as i64 / 64)
    }

    /// Pages are of version 1.
    pub(super) fn has_old_pages(self) -> bool {
        self == EncodingProfile::Compatible
    }

    /// `encoding`, or what stands for it here.
    pub(super) fn allowed(self, encoding: Encoding) -> Encoding {
        match (self, encoding) {
            (EncodingProfile::Compatible, Encoding::Dictionary) => Encoding::Dictionary,
            (EncodingProfile::Compatible, _) => Encoding::Plain,
            _ => encoding,
        }
    }
}

impl FromStr for EncodingProfile {
    type Err = String;

    fn from_str(text: &str) -> Result<EncodingProfile, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text).map(|(_, profile)| *profile);
        found.ok_or_else(|| {
            format!("`{text}` is no profile; there are {}", NAMES.map(|(name, _)| name).join(", "))
        })
    }
}

impl fmt::Display for EncodingProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, profile)| profile == self).map_or("", |(name, _)| name))
    }
}
