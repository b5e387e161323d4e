//! The bytes of objects and parts: files that are written once, hashed on the way in, and deleted with their last user.
//!
//! A body crosses to a blocking thread piece by piece, at most [`PIECES_IN_FLIGHT`] at a time, so no part is ever in memory
//! as a whole. A completed upload refers to the files of its parts; nothing is copied.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use crc_fast::CrcAlgorithm::Crc64Xz;
use futures::Stream;
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use super::digests::Hasher;
use super::error::{Failure, OssError};
use crate::sandbox::http::RequestBody;
use crate::{Kind, Result, error::Context as _};

/// Pieces of a body between the socket and the disk; hyper's pieces are at most some 400 KiB.
const PIECES_IN_FLIGHT: usize = 4;

/// How much is read from the disk at once, in bytes.
const READ_BYTES: usize = 256 << 10;

/// The largest body of one request, from the manual's limits of PutObject and UploadPart.
pub const MAX_BODY_BYTES: u64 = 5 << 30;

/// A directory of content files.
pub struct Storage {
    directory: PathBuf,
    next: AtomicU64,
    /// Locked as long as this process lives; only in a directory of our own.
    lock: Option<File>,
}

/// What a directory of our own is called, before the process id.
const OWN_PREFIX: &str = "otsvault-oss-";

/// The file in it that its server keeps locked.
const LOCK: &str = "lock";

/// A directory this young may not have its lock yet.
const YOUNG: Duration = Duration::from_secs(60);

impl Storage {
    /// Uses `directory`, or a new one below the system's temporary directory that goes away with the server.
    ///
    /// # Errors
    /// [`Kind::Io`] when it cannot be made.
    pub fn open(directory: Option<PathBuf>) -> Result<Storage> {
        let owned = directory.is_none();
        let directory = directory.unwrap_or_else(|| {
            let temporary = std::env::temp_dir();
            remove_abandoned(&temporary);
            let name = format!("{OWN_PREFIX}{}-{:016x}", std::process::id(), rand::random::<u64>());
            temporary.join(name)
        });
        let doing = || format!("make the sandbox's directory `{}`", directory.display());
        fs::create_dir_all(&directory).doing(Kind::Io, doing())?;
        let lock = match owned {
            true => {
                let lock = File::create(directory.join(LOCK)).doing(Kind::Io, doing())?;
                lock.lock().doing(Kind::Io, doing())?;
                Some(lock)
            }
            false => None,
        };
        Ok(Storage { directory, next: AtomicU64::new(0), lock })
    }

    /// Stores a body while it arrives, and feeds the hashers with it.
    ///
    /// # Errors
    /// 400 `EntityTooLarge` over 5 GiB; [`Failure::Gone`] when the client does not send all of it.
    pub async fn receive(
        &self,
        body: &mut RequestBody,
        mut hashers: Vec<Hasher>,
    ) -> std::result::Result<(Content, Vec<Hasher>), Failure> {
        let (send, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(PIECES_IN_FLIGHT);
        let mut writing = self.create().map_err(|error| OssError::internal(&error))?;
        let written = tokio::task::spawn_blocking(move || {
            while let Some(piece) = pieces.blocking_recv() {
                writing.write(&piece)?;
                hashers.iter_mut().for_each(|hasher| hasher.update(&piece));
            }
            Ok((writing.finish()?, hashers))
        });
        let mut length = 0u64;
        let received = loop {
            match body.next().await {
                Ok(Some(piece)) => {
                    length += piece.len() as u64;
                    if length > MAX_BODY_BYTES {
                        break Err(too_large().into());
                    }
                    // The writer stops early only when the disk fails; it reports that below.
                    if send.send(piece).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(_) => break Err(Failure::Gone),
            }
        };
        drop(send);
        let content = finished(written).await;
        received?;
        content
    }

    /// Stores the bytes `start..start + length` of other content once more, hashed anew.
    ///
    /// # Errors
    /// 500 when the disk fails.
    pub async fn copy(
        &self,
        from: &Content,
        start: u64,
        length: u64,
    ) -> std::result::Result<Content, Failure> {
        let mut writing = self.create().map_err(|error| OssError::internal(&error))?;
        let slices = from.slices(start, length);
        let written = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; READ_BYTES];
            for slice in slices {
                let mut file = File::open(&slice.file.path)?;
                io::Seek::seek(&mut file, SeekFrom::Start(slice.start))?;
                let mut slice = file.take(slice.length);
                loop {
                    let read = slice.read(&mut buffer)?;
                    if read == 0 {
                        break;
                    }
                    writing.write(buffer.get(..read).unwrap_or_default())?;
                }
            }
            writing.finish()
        });
        finished(written).await
    }

    fn create(&self) -> io::Result<Writing> {
        let name = format!("{:012}", self.next.fetch_add(1, Ordering::Relaxed));
        let path = self.directory.join(name);
        let file = File::create(&path)?;
        let crc64 = crc_fast::Digest::new(Crc64Xz);
        Ok(Writing { file, stored: Arc::new(StoredFile { path }), length: 0, crc64, md5: Md5::new() })
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if self.lock.take().is_some() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Removes the directories of servers that were killed: their locks are free. Anything that cannot be looked at or
/// removed is another user's, and stays.
fn remove_abandoned(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(OWN_PREFIX));
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
        if !ours || !matches!(age, Ok(Ok(age)) if age > YOUNG) {
            continue;
        }
        let lock = File::options().write(true).open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let removed = fs::remove_dir_all(entry.path());
            tracing::info!(directory = %entry.path().display(), ok = removed.is_ok(), "removed what a killed sandbox left");
        }
    }
}

/// 400 `EntityTooLarge`.
pub fn too_large() -> OssError {
    OssError::new(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
        .with("MaxSizeAllowed", MAX_BODY_BYTES.to_string())
}

async fn finished<T>(written: tokio::task::JoinHandle<io::Result<T>>) -> std::result::Result<T, Failure> {
    let content = written.await.map_err(io::Error::other).and_then(|content| content);
    content.map_err(|error| OssError::internal(&error).into())
}

/// A file that nobody changes any more; deleted when it is dropped.
struct StoredFile {
    path: PathBuf,
}

impl Drop for StoredFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

struct Writing {
    file: File,
    stored: Arc<StoredFile>,
    length: u64,
    crc64: crc_fast::Digest,
    md5: Md5,
}

impl Writing {
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.crc64.update(piece);
        self.md5.update(piece);
        self.length += piece.len() as u64;
        Ok(())
    }

    fn finish(self) -> io::Result<Content> {
        let segment = Segment { file: self.stored, length: self.length };
        Ok(Content {
            segments: vec![segment],
            length: self.length,
            crc64: self.crc64.finalize(),
            md5: self.md5.finalize().into(),
        })
    }
}

#[derive(Clone)]
struct Segment {
    file: Arc<StoredFile>,
    length: u64,
}

/// A part of a file to read.
struct Slice {
    file: Arc<StoredFile>,
    start: u64,
    length: u64,
}

/// The bytes of a part or an object.
#[derive(Clone)]
pub struct Content {
    segments: Vec<Segment>,
    /// Length in bytes.
    pub length: u64,
    /// CRC-64/XZ of the bytes.
    pub crc64: u64,
    /// MD5 of the bytes; of a concatenation, MD5 of the MD5s of its pieces.
    pub md5: [u8; 16],
}

impl Content {
    /// All `pieces`, one after another, without reading them.
    pub fn concatenate<'a>(pieces: impl Iterator<Item = &'a Content>) -> Content {
        let mut whole = Content { segments: Vec::new(), length: 0, crc64: 0, md5: [0; 16] };
        let mut md5 = Md5::new();
        for piece in pieces {
            whole.segments.extend(piece.segments.iter().cloned());
            whole.crc64 = crc_fast::checksum_combine(Crc64Xz, whole.crc64, piece.crc64, piece.length);
            whole.length += piece.length;
            md5.update(piece.md5);
        }
        whole.md5 = md5.finalize().into();
        whole
    }

    /// The bytes `start..start + length`, clamped to what is there, as they come from the disk.
    pub fn read(&self, start: u64, length: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let slices = VecDeque::from(self.slices(start, length));
        futures::stream::try_unfold((slices, None), |(mut slices, mut open)| async move {
            loop {
                if let Some((file, left)) = &mut open {
                    let wanted = READ_BYTES.min(usize::try_from(*left).unwrap_or(READ_BYTES));
                    let mut piece = BytesMut::with_capacity(wanted);
                    let read = tokio::fs::File::read_buf(file, &mut bytes::BufMut::limit(&mut piece, wanted))
                        .await?;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *left -= read as u64;
                    if *left == 0 {
                        open = None;
                    }
                    return Ok(Some((piece.freeze(), (slices, open))));
                }
                // The slice keeps its file alive until it is open; then the file system does.
                let Some(slice) = slices.pop_front() else { return Ok(None) };
                if slice.length > 0 {
                    let mut file = tokio::fs::File::open(&slice.file.path).await?;
                    file.seek(SeekFrom::Start(slice.start)).await?;
                    open = Some((file, slice.length));
                }
            }
        })
    }

    /// All bytes, for tests; blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for segment in &self.segments {
            File::open(&segment.file.path)?.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    fn slices(&self, start: u64, length: u64) -> Vec<Slice> {
        let end = start.saturating_add(length).min(self.length);
        let mut slices = Vec::new();
        let mut position = 0;
        for segment in &self.segments {
            let from = start.max(position);
            let to = end.min(position + segment.length);
            if from < to {
                slices.push(Slice {
                    file: Arc::clone(&segment.file),
                    start: from - position,
                    length: to - from,
                });
            }
            position += segment.length;
        }
        slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_server_left_is_removed_and_a_running_ones_files_are_not() {
        let temporary = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let directory = temporary.path().join(name);
            fs::create_dir(&directory).unwrap();
            let lock = File::create(directory.join(LOCK)).unwrap();
            let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
            File::open(&directory).unwrap().set_modified(hour_ago).unwrap();
            (directory, lock)
        };
        let (killed, lock) = make("otsvault-oss-1-a");
        drop(lock);
        let (running, lock) = make("otsvault-oss-2-b");
        lock.lock().unwrap();
        let (other, _) = make("somebody-else");
        let young = temporary.path().join("otsvault-oss-3-c");
        fs::create_dir(&young).unwrap();
        File::create(young.join(LOCK)).unwrap();
        remove_abandoned(temporary.path());
        let left = [&killed, &running, &other, &young].map(|directory| directory.exists());
        assert_eq!(left, [false, true, true, true]);
    }
}
