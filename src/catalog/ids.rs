//! Names that are made once and never reused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `20261122t161530z-9f3a2c71`: UTC second, then 32 random bits. Sorts by time; only `[0-9a-z-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

impl RunId {
    /// A new id for a run that starts now.
    pub fn new(now: jiff::Timestamp) -> RunId {
        let random: u32 = rand::random();
        RunId(format!("{}-{random:08x}", now.strftime("%Y%m%dt%H%M%Sz")))
    }

    /// The id as it stands in paths.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<RunId, String> {
        const SHAPE: &[u8] = b"00000000t000000z-xxxxxxxx";
        let fits = text.len() == SHAPE.len()
            && text.bytes().zip(SHAPE).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                literal => byte == *literal,
            });
        if fits { Ok(RunId(text.to_owned())) } else { Err("not a run id".to_owned()) }
    }
}

/// 64 random bits as 16 hex digits: the name of one data file and of its journal entry. Random from the first
/// digit on, so that object names spread over OSS partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(super) u64);

impl FileId {
    /// A new id.
    pub fn random() -> FileId {
        FileId(rand::random())
    }
}

impl FromStr for FileId {
    type Err = String;

    fn from_str(text: &str) -> Result<FileId, String> {
        let fits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !fits {
            return Err("not a file id".to_owned());
        }
        u64::from_str_radix(text, 16).map(FileId).map_err(|error| error.to_string())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

macro_rules! text_in_json {
    ($id:ty) => {
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$id, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
text_in_json!(RunId);
text_in_json!(FileId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_parse_back_and_nothing_else_parses() {
        let run = RunId::new("2026-11-22T16:15:30Z".parse().unwrap());
        assert!(run.as_str().starts_with("20261122t161530z-"), "{run}");
        assert_eq!(run.as_str().parse(), Ok(run));
        let file = FileId::random();
        assert_eq!(file.to_string().parse(), Ok(file));
        for hostile in
            ["", "..", "../../etc/passwd", "20261122t161530z-9f3a2c7", "20261122T161530Z-9f3a2c71", "a/b"]
        {
            assert!(hostile.parse::<RunId>().is_err(), "{hostile}");
            assert!(hostile.parse::<FileId>().is_err(), "{hostile}");
        }
    }
}
