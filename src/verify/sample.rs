//! Which data files a sample reads.

use std::collections::HashSet;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::catalog::FileId;

/// Some of the data files of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// About this share, chosen by the seed: another seed chooses others.
    Share {
        /// 0 to 100.
        percent: f64,
        /// The same seed chooses the same files.
        seed: u64,
    },
    /// The `number`-th of `of` parts, from 1 on: every file is in exactly one, so `of` runs read all.
    Part {
        /// 1 to `of`.
        number: u64,
        /// Parts.
        of: u64,
    },
}

impl Sample {
    /// About `percent` of the files.
    pub fn share(percent: f64, seed: u64) -> Sample {
        Sample::Share { percent, seed }
    }

    /// The same sample by another seed; a part has none.
    pub fn with_seed(self, seed: u64) -> Sample {
        match self {
            Sample::Share { percent, .. } => Sample::Share { percent, seed },
            part => part,
        }
    }

    /// The files to read; of a share at least one, where there is one.
    pub(super) fn choose(&self, files: &[FileId]) -> HashSet<FileId> {
        let ids = || files.iter().copied();
        match *self {
            Sample::Part { number, of } => {
                ids().filter(|id| place(*id, 0) % of.max(1) == number.saturating_sub(1)).collect()
            }
            Sample::Share { percent, seed } => {
                let limit = percent / 100.0 * u64::MAX as f64;
                let chosen: HashSet<_> = ids().filter(|id| (place(*id, seed) as f64) < limit).collect();
                match ids().min_by_key(|id| place(*id, seed)) {
                    Some(first) if chosen.is_empty() => HashSet::from([first]),
                    _ => chosen,
                }
            }
        }
    }
}

fn place(id: FileId, seed: u64) -> u64 {
    xxh3_64_with_seed(id.to_string().as_bytes(), seed)
}

impl FromStr for Sample {
    type Err = String;

    /// `5%` or `3/30`.
    fn from_str(text: &str) -> Result<Sample, String> {
        const SHAPE: &str = "a sample is a share such as 5% or a part such as 3/30";
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| SHAPE)?;
            let fits = percent > 0.0 && percent <= 100.0;
            return if fits {
                Ok(Sample::share(percent, 0))
            } else {
                Err("a share is above 0% and up to 100%".into())
            };
        }
        let (number, of) = text.split_once('/').ok_or(SHAPE)?;
        let (number, of) = (number.parse().map_err(|_| SHAPE)?, of.parse().map_err(|_| SHAPE)?);
        if (1..=of).contains(&number) {
            Ok(Sample::Part { number, of })
        } else {
            Err("a part is counted from 1 on".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn files(count: usize) -> Vec<FileId> {
        (0..count).map(|_| FileId::random()).collect()
    }

    #[test]
    fn the_parts_of_a_rotation_read_every_file_once() {
        let files = files(500);
        let parts: Vec<_> = (1..=7).map(|number| Sample::Part { number, of: 7 }.choose(&files)).collect();
        assert_eq!(parts.iter().map(HashSet::len).sum::<usize>(), 500);
        let union: HashSet<_> = parts.into_iter().flatten().collect();
        assert_eq!(union.len(), 500);
    }

    #[test]
    fn a_share_is_about_that_many_files_the_same_for_a_seed_and_never_none() {
        let files = files(2_000);
        let chosen = Sample::share(10.0, 1).choose(&files);
        assert!((120..=280).contains(&chosen.len()), "{}", chosen.len());
        assert_eq!(chosen, Sample::share(10.0, 1).choose(&files));
        assert_ne!(chosen, Sample::share(10.0, 2).choose(&files));
        assert_eq!(Sample::share(100.0, 3).choose(&files).len(), 2_000);
        assert_eq!(Sample::share(0.000_001, 1).choose(&files).len(), 1);
        assert!(Sample::share(5.0, 1).choose(&[]).is_empty());
    }

    #[test]
    fn samples_are_read_as_people_write_them() {
        assert_eq!("5%".parse(), Ok(Sample::share(5.0, 0)));
        assert_eq!("0.5%".parse(), Ok(Sample::share(0.5, 0)));
        assert_eq!("3/30".parse(), Ok(Sample::Part { number: 3, of: 30 }));
        for wrong in ["5", "0%", "101%", "-1%", "NaN%", "0/3", "4/3", "a/b", ""] {
            assert!(wrong.parse::<Sample>().is_err(), "{wrong}");
        }
    }
}
