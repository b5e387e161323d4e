//! A piece of a file, at the place where it is in the file.

use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// Some consecutive bytes of a file, addressed by their place in the whole file.
#[derive(Debug, Clone)]
pub struct Extent {
    /// Place of the first byte.
    pub start: u64,
    /// The bytes.
    pub bytes: Bytes,
    /// Size of the whole file.
    pub file_bytes: u64,
}

impl Extent {
    /// All of a file.
    pub fn whole(bytes: Bytes) -> Extent {
        Extent { start: 0, file_bytes: bytes.len() as u64, bytes }
    }

    /// `length` bytes from `start` on; `None` where they are not all here.
    pub fn slice(&self, start: u64, length: usize) -> Option<Bytes> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(length)?;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

impl Length for Extent {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Extent {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        match from.filter(|from| *from <= self.bytes.len()) {
            Some(from) => Ok(self.bytes.slice(from..).reader()),
            None => Err(outside()),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.slice(start, length).ok_or_else(outside)
    }
}

#[cold]
fn outside() -> ParquetError {
    ParquetError::EOF("outside of the bytes that were read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_by_their_place_in_the_file() {
        let extent = Extent { start: 10, bytes: Bytes::from_static(b"abcdef"), file_bytes: 100 };
        assert_eq!(extent.get_bytes(12, 3).unwrap(), "cde");
        assert_eq!(extent.len(), 100);
        for (start, length) in [(9, 1), (14, 3), (16, 1), (u64::MAX, 2), (12, usize::MAX)] {
            assert!(extent.get_bytes(start, length).is_err(), "{start} {length}");
        }
        assert!(extent.get_read(9).is_err() && extent.get_read(17).is_err());
    }
}
