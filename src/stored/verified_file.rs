//! The bytes of a data file, of which none is used before the SHA-256 of all of them is the one in the file list.
//!
//! A file that fits is read once and kept. A larger one is read twice: once to be hashed, block by block, and then, as
//! its row groups are wanted, again; each block must then be the one that was hashed. The blocks are compared by XXH3
//! with a seed of this process, which nobody can have prepared for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::catalog::StoredFile;
use crate::objectstore::{UploadStore, error_of};
use crate::runtime::{ByteBudget, BytePermit, CpuPool};
use crate::{Error, Kind, Result};

/// Bytes of a block; the last one of a file is shorter.
const BLOCK_BYTES: u64 = 4 << 20;

/// Blocks that are read ahead of the hash.
const BLOCKS_AHEAD: usize = 2;

/// A file whose SHA-256 is right.
pub struct VerifiedFile {
    object: Object,
    content: Content,
}

/// Where the bytes come from.
#[derive(Clone)]
struct Object {
    store: Arc<dyn UploadStore>,
    path: Path,
    bytes: u64,
}

enum Content {
    Whole { bytes: Bytes, _permit: BytePermit },
    Blocks { seed: u64, digests: Vec<u128> },
}

/// Bytes of a file with the memory they take. Those of a whole file are held by the file.
pub struct HeldBytes {
    /// The bytes.
    pub bytes: Bytes,
    /// Of those that the file does not hold.
    pub permit: Option<BytePermit>,
}

impl VerifiedFile {
    /// Reads and hashes the object at `path`. Files of up to `largest_whole` bytes are kept; `whole` is the memory for those,
    /// `blocks` that for blocks of larger ones.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if it is not there, or its size or SHA-256 is another one.
    pub async fn open(
        store: &Arc<dyn UploadStore>,
        path: Path,
        stored: &StoredFile,
        largest_whole: u64,
        (whole, blocks): (&ByteBudget, &ByteBudget),
        cpu: &CpuPool,
    ) -> Result<VerifiedFile> {
        let object = Object { store: store.clone(), path, bytes: stored.bytes };
        let (content, sha256) = match stored.bytes <= largest_whole {
            true => object.read_whole(whole, cpu).await?,
            false => object.hash_blocks(blocks, cpu).await?,
        };
        if hex::encode(sha256) != stored.sha256 {
            return Err(object.corrupt("its SHA-256 is not the one in the file list"));
        }
        Ok(VerifiedFile { object, content })
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.object.bytes
    }

    /// Some bytes of the file.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] if they are not the ones that were hashed any more.
    pub async fn read(&self, range: Range<u64>, memory: &ByteBudget, cpu: &CpuPool) -> Result<HeldBytes> {
        if range.start > range.end || range.end > self.object.bytes {
            return Err(self.object.corrupt("it is shorter than it says"));
        }
        let within = |range: &Range<u64>, start: u64| {
            // Both are below the size of a buffer in memory.
            (range.start - start) as usize..(range.end - start) as usize
        };
        match &self.content {
            Content::Whole { bytes, .. } => {
                Ok(HeldBytes { bytes: bytes.slice(within(&range, 0)), permit: None })
            }
            Content::Blocks { seed, digests } => {
                let first = range.start / BLOCK_BYTES;
                let start = first * BLOCK_BYTES;
                let end = range.end.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES).min(self.object.bytes);
                let permit = memory.acquire(end - start).await;
                let bytes = self.object.get(start..end).await?;
                let (seed, expected) = (*seed, digests.get(first as usize..).unwrap_or_default().to_vec());
                let checked = bytes.clone();
                let is_same = cpu.run(move || {
                    let blocks = checked.chunks(BLOCK_BYTES as usize);
                    let found = blocks.map(|block| xxh3_128_with_seed(block, seed));
                    found.zip(expected).all(|(found, expected)| found == expected)
                });
                if !is_same.await? {
                    return Err(self.object.corrupt("it changed while it was read"));
                }
                Ok(HeldBytes { bytes: bytes.slice(within(&range, start)), permit: Some(permit) })
            }
        }
    }

    /// An error of this file.
    pub fn failed(&self, error: Error) -> Error {
        Error::new(error.kind(), "read").on(format!("`{}`", self.object.path)).source(error)
    }
}

impl Object {
    fn corrupt(&self, reason: &str) -> Error {
        Error::new(Kind::Corrupt, "use").on(format!("`{}`", self.path)).because(reason.to_owned())
    }

    fn failed(&self, error: object_store::Error) -> Error {
        let lower = error_of(error);
        match lower.kind() {
            Kind::NotFound => self.corrupt("the file list names it and it is not there").source(lower),
            kind => Error::new(kind, "read").on(format!("`{}`", self.path)).source(lower),
        }
    }

    /// Exactly these bytes.
    async fn get(&self, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end - range.start;
        let bytes = self.store.get_range(&self.path, range).await.map_err(|error| self.failed(error))?;
        match bytes.len() as u64 == wanted {
            true => Ok(bytes),
            false => Err(self.corrupt("it is shorter than the file list says")),
        }
    }

    async fn read_whole(&self, memory: &ByteBudget, cpu: &CpuPool) -> Result<(Content, [u8; 32])> {
        let permit = memory.acquire(self.bytes).await;
        let found = self.store.get(&self.path).await.map_err(|error| self.failed(error))?;
        // Before its bytes are in memory.
        if found.meta.size != self.bytes {
            return Err(self.corrupt(&format!("it has {} bytes, not {}", found.meta.size, self.bytes)));
        }
        let bytes = found.bytes().await.map_err(|error| self.failed(error))?;
        let hashed = bytes.clone();
        let sha256 = cpu.run(move || Sha256::digest(&hashed).into()).await?;
        Ok((Content::Whole { bytes, _permit: permit }, sha256))
    }

    async fn hash_blocks(&self, memory: &ByteBudget, cpu: &CpuPool) -> Result<(Content, [u8; 32])> {
        let head = self.store.head(&self.path).await.map_err(|error| self.failed(error))?;
        if head.size != self.bytes {
            return Err(self.corrupt(&format!("it has {} bytes, not {}", head.size, self.bytes)));
        }
        let _permit = memory.acquire((BLOCKS_AHEAD as u64 + 1) * BLOCK_BYTES).await;
        let seed: u64 = rand::random();
        let starts = (0..self.bytes.div_ceil(BLOCK_BYTES)).map(|block| block * BLOCK_BYTES);
        let blocks = futures::stream::iter(starts)
            .map(|start| self.get(start..(start + BLOCK_BYTES).min(self.bytes)))
            .buffered(BLOCKS_AHEAD);
        let hashed = (Sha256::new(), Vec::new());
        let (sha256, digests) = blocks
            .try_fold(hashed, |(mut sha256, mut digests), block| async move {
                cpu.run(move || {
                    sha256.update(&block);
                    digests.push(xxh3_128_with_seed(&block, seed));
                    (sha256, digests)
                })
                .await
            })
            .await?;
        Ok((Content::Blocks { seed, digests }, sha256.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    struct Setting {
        store: Arc<dyn UploadStore>,
        path: Path,
        stored: StoredFile,
        content: Vec<u8>,
    }

    /// Two and a half blocks.
    async fn setting() -> Setting {
        let content: Vec<u8> = (0..BLOCK_BYTES * 5 / 2).map(|at| ((at * at) >> 7) as u8).collect();
        let store: Arc<dyn UploadStore> = Arc::new(InMemory::new());
        let path = Path::from("a.parquet");
        store.put(&path, content.clone().into()).await.unwrap();
        let sha256 = hex::encode(Sha256::digest(&content));
        let stored = StoredFile { bytes: content.len() as u64, sha256, crc64: String::new(), row_groups: 1 };
        Setting { store, path, stored, content }
    }

    async fn open(setting: &Setting, largest_whole: u64) -> Result<VerifiedFile> {
        let (memory, cpu) = (ByteBudget::new(64 << 20), CpuPool::new(1).unwrap());
        VerifiedFile::open(
            &setting.store,
            setting.path.clone(),
            &setting.stored,
            largest_whole,
            (&memory, &memory),
            &cpu,
        )
        .await
    }

    #[tokio::test]
    async fn a_file_in_blocks_gives_the_same_bytes_as_a_whole_one() {
        let setting = setting().await;
        let (memory, cpu) = (ByteBudget::new(64 << 20), CpuPool::new(1).unwrap());
        for largest_whole in [u64::MAX, 0] {
            let file = open(&setting, largest_whole).await.unwrap();
            for range in
                [0..8, BLOCK_BYTES - 3..BLOCK_BYTES + 3, 17..file.bytes(), file.bytes() - 8..file.bytes()]
            {
                let held = file.read(range.clone(), &memory, &cpu).await.unwrap();
                assert_eq!(held.bytes, setting.content[range.start as usize..range.end as usize]);
            }
            assert!(file.read(9..file.bytes() + 1, &memory, &cpu).await.is_err());
        }
    }

    #[tokio::test]
    async fn another_byte_another_length_and_no_object_are_refused_before_anything_is_read() {
        for largest_whole in [u64::MAX, 0] {
            let mut setting = setting().await;
            let mut damaged = setting.content.clone();
            damaged[BLOCK_BYTES as usize + 5] ^= 1;
            setting.store.put(&setting.path, damaged.into()).await.unwrap();
            let error = open(&setting, largest_whole).await.err().unwrap();
            assert_eq!(error.kind(), Kind::Corrupt, "{error}");
            assert!(error.to_string().contains("SHA-256"), "{error}");
            setting.stored.bytes -= 1;
            assert_eq!(open(&setting, largest_whole).await.err().unwrap().kind(), Kind::Corrupt);
            setting.path = Path::from("none");
            assert_eq!(open(&setting, largest_whole).await.err().unwrap().kind(), Kind::Corrupt);
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_after_it_was_hashed_is_noticed() {
        let setting = setting().await;
        let (memory, cpu) = (ByteBudget::new(64 << 20), CpuPool::new(1).unwrap());
        let file = open(&setting, 0).await.unwrap();
        let mut changed = setting.content.clone();
        *changed.last_mut().unwrap() ^= 1;
        setting.store.put(&setting.path, changed.into()).await.unwrap();
        assert!(file.read(0..9, &memory, &cpu).await.is_ok());
        let error = file.read(file.bytes() - 9..file.bytes(), &memory, &cpu).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
