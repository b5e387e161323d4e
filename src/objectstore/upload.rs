//! Writes one object of unknown size: buffers to parts, sends several at a time, and lets go of the caller's memory
//! permits only when the store has the bytes.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, MultipartUpload, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use tokio::task::JoinSet;

use super::checksum::Crc64;
use super::{PartSizePolicy, UploadStore, error_of};
use crate::{Error, Kind, Result};

/// Parts that are not full are not worth a billed request below this.
pub const SMALLEST_EARLY_PART: u64 = 1 << 20;

/// What [`ObjectWriter::finish`] stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Length of the object.
    pub bytes: u64,
    /// CRC-64/XZ of the object, the value that OSS shows as `x-oss-hash-crc64ecma`.
    pub crc64: u64,
}

/// Something the caller lends until the bytes are stored. Never looked at, only dropped; the mutex makes it `Sync`.
type Hold = Arc<Mutex<dyn Send>>;

/// Writes one object.
///
/// - An object that ends before its first part is full is one put; otherwise it is a multipart upload. Either way it
///   becomes visible in [`ObjectWriter::finish`], whole, and replaces an object of the same name.
/// - At most `most_in_flight` parts are on their way; [`ObjectWriter::write`] waits for one of them when it has
///   another. So a writer holds up to `most_in_flight + 1` parts. A byte budget has to be at least that large, or the
///   caller waits for permits that the writer keeps.
/// - The bytes are never copied: a part is a list of the buffers that were written.
/// - CRC64 and length are computed here, in order. SHA-256 is not: at 1 to 2 GB/s it belongs on the CPU pool, where
///   the bytes come from.
/// - After an error, or a `write` that was cancelled, the object cannot be finished any more: abort it.
/// - Dropped without finish or abort, parts on their way are cancelled. OSS then keeps an open upload, whose id is
///   logged and which [`UploadStore::list_uploads`] finds; a local staging file is removed.
pub struct ObjectWriter {
    store: Arc<dyn UploadStore>,
    path: Path,
    attributes: Attributes,
    part_size: PartSizePolicy,
    most_in_flight: usize,
    upload: Option<Box<dyn MultipartUpload>>,
    in_flight: JoinSet<object_store::Result<()>>,
    /// Buffers of the part that is not full yet, and what was lent for them.
    pending: Vec<Bytes>,
    pending_holds: Vec<Hold>,
    pending_bytes: u64,
    parts_begun: u32,
    whole: Crc64,
    /// A write has not come to its end: failed, cancelled, or running.
    broken: bool,
}

impl ObjectWriter {
    /// Sends nothing yet. `attributes` are ignored by a local directory. `most_in_flight` is at least 1.
    pub fn new(
        store: Arc<dyn UploadStore>,
        path: Path,
        attributes: Attributes,
        part_size: PartSizePolicy,
        most_in_flight: usize,
    ) -> ObjectWriter {
        ObjectWriter {
            store,
            path,
            attributes,
            part_size,
            most_in_flight: most_in_flight.max(1),
            upload: None,
            in_flight: JoinSet::new(),
            pending: Vec::new(),
            pending_holds: Vec::new(),
            pending_bytes: 0,
            parts_begun: 0,
            whole: Crc64::default(),
            broken: false,
        }
    }

    /// The object that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written so far, stored or not.
    pub fn bytes(&self) -> u64 {
        self.whole.bytes()
    }

    /// Appends `bytes`. `hold` (a memory permit) is dropped when the store has acknowledged all of them, or when the
    /// writer is gone. Cheap per call above some KiB; hand over large pieces.
    ///
    /// # Errors
    /// Those of the store, also for a part of an earlier call. Then call [`ObjectWriter::abort`].
    pub async fn write(&mut self, mut bytes: Bytes, hold: impl Send + 'static) -> Result<()> {
        self.check()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.broken = true;
        self.whole = self.whole.with_all(std::slice::from_ref(&bytes)).await;
        let hold: Hold = Arc::new(Mutex::new(hold));
        while !bytes.is_empty() {
            let full = self.part_size.part_bytes(self.parts_begun.saturating_add(1));
            let room = usize::try_from(full - self.pending_bytes).unwrap_or(usize::MAX);
            let piece = bytes.split_to(room.min(bytes.len()));
            self.pending_bytes += piece.len() as u64;
            self.pending.push(piece);
            self.pending_holds.push(hold.clone());
            if self.pending_bytes >= full {
                self.send_part().await?;
            }
        }
        self.broken = false;
        Ok(())
    }

    /// Sends what waits for a full part, if it is [`SMALLEST_EARLY_PART`] or more, so that it takes no memory until the
    /// next write. For a caller who knows that this will be a while.
    ///
    /// # Errors
    /// As [`ObjectWriter::write`].
    pub async fn end_part(&mut self) -> Result<()> {
        self.check()?;
        if self.pending_bytes < SMALLEST_EARLY_PART {
            return Ok(());
        }
        self.broken = true;
        self.send_part().await?;
        self.broken = false;
        Ok(())
    }

    /// Sends what is left and makes the object visible. If that fails the upload is aborted before the error returns.
    ///
    /// # Errors
    /// Those of the store; [`Kind::Internal`] after a write that failed or was cancelled.
    pub async fn finish(mut self) -> Result<Uploaded> {
        match self.store_rest().await {
            Ok(()) => Ok(Uploaded { bytes: self.whole.bytes(), crc64: self.whole.value() }),
            Err(error) => {
                self.clean_up().await;
                Err(error)
            }
        }
    }

    /// Stops the parts on their way, waits until they have stopped, and removes what was stored. A store that cannot
    /// do that now is logged; its upload is found by [`UploadStore::list_uploads`].
    pub async fn abort(mut self) {
        self.clean_up().await;
    }

    fn check(&self) -> Result<()> {
        if self.broken {
            return Err(Error::new(Kind::Internal, "go on writing")
                .on(format!("`{}`", self.path))
                .because("an earlier write failed or was cancelled"));
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<()> {
        while self.in_flight.len() >= self.most_in_flight {
            self.join_one().await?;
        }
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let options =
                    PutMultipartOptions { attributes: self.attributes.clone(), ..Default::default() };
                let begun = self.store.put_multipart_opts(&self.path, options).await.map_err(error_of)?;
                none.insert(begun)
            }
        };
        let payload = PutPayload::from_iter(self.pending.drain(..));
        let holds = std::mem::take(&mut self.pending_holds);
        self.pending_bytes = 0;
        self.parts_begun = self.parts_begun.saturating_add(1);
        let part = upload.put_part(payload);
        self.in_flight.spawn(async move {
            let result = part.await;
            drop(holds);
            result
        });
        Ok(())
    }

    /// Waits for one part; false when there is none.
    async fn join_one(&mut self) -> Result<bool> {
        match self.in_flight.join_next().await {
            None => Ok(false),
            Some(Ok(result)) => result.map(|()| true).map_err(error_of),
            Some(Err(panic)) => Err(Error::new(Kind::Internal, "upload a part")
                .on(format!("of `{}`", self.path))
                .source(panic)),
        }
    }

    async fn store_rest(&mut self) -> Result<()> {
        self.check()?;
        if self.upload.is_none() {
            let payload = PutPayload::from_iter(self.pending.drain(..));
            let options = PutOptions {
                mode: PutMode::Overwrite,
                attributes: self.attributes.clone(),
                ..Default::default()
            };
            self.store.put_opts(&self.path, payload, options).await.map_err(error_of)?;
            self.pending_holds.clear();
            return Ok(());
        }
        if self.pending_bytes > 0 {
            self.send_part().await?;
        }
        while self.join_one().await? {}
        if let Some(upload) = &mut self.upload {
            upload.complete().await.map_err(error_of)?;
        }
        Ok(())
    }

    async fn clean_up(&mut self) {
        self.in_flight.shutdown().await;
        self.pending.clear();
        self.pending_holds.clear();
        if let Some(mut upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(object = self.path.as_ref(), %error, "upload could not be aborted");
        }
    }
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWriter")
            .field("path", &self.path)
            .field("bytes", &self.whole.bytes())
            .field("parts_begun", &self.parts_begun)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use tokio::sync::Semaphore;

    use super::*;

    const SMALL: u64 = 100 << 10;

    fn writer(store: &Arc<InMemory>, most_in_flight: usize) -> ObjectWriter {
        let part_size = PartSizePolicy::starting_at(SMALL);
        ObjectWriter::new(store.clone(), Path::from("a"), Attributes::new(), part_size, most_in_flight)
    }

    fn data(length: usize) -> Bytes {
        (0..length).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>().into()
    }

    #[tokio::test]
    async fn what_is_written_in_any_pieces_is_what_is_stored() {
        let store = Arc::new(InMemory::new());
        for length in [0, 1, SMALL as usize, SMALL as usize * 3 + 17] {
            for piece in [999, 70_000, 250_000] {
                let all = data(length);
                let mut writer = writer(&store, 3);
                for piece in all.chunks(piece) {
                    writer.write(all.slice_ref(piece), ()).await.unwrap();
                }
                let uploaded = writer.finish().await.unwrap();
                let crc64 = Crc64::of(&all).value();
                assert_eq!(uploaded, Uploaded { bytes: length as u64, crc64 }, "{length} in {piece}");
                assert_eq!(store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap(), all);
            }
        }
    }

    #[tokio::test]
    async fn a_permit_comes_back_only_when_every_part_that_holds_its_bytes_is_stored() {
        let store = Arc::new(InMemory::new());
        let budget = Arc::new(Semaphore::new(1));
        let mut writer = writer(&store, 1);
        let permit = budget.clone().try_acquire_owned().unwrap();
        // One part and a half: the half keeps the permit.
        writer.write(data(SMALL as usize * 3 / 2), permit).await.unwrap();
        writer.write(data(1), ()).await.unwrap();
        assert_eq!(budget.available_permits(), 0);
        writer.finish().await.unwrap();
        assert_eq!(budget.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_part_that_is_ended_early_lets_go_of_its_permit_and_a_small_one_waits() {
        let store = Arc::new(InMemory::new());
        let budget = Arc::new(Semaphore::new(1));
        let part_size = PartSizePolicy::starting_at(8 << 20);
        let mut writer = ObjectWriter::new(store.clone(), Path::from("a"), Attributes::new(), part_size, 1);
        let (large, small) = (data(2 << 20), data(1_000));
        writer.write(large.clone(), budget.clone().try_acquire_owned().unwrap()).await.unwrap();
        assert_eq!(budget.available_permits(), 0, "far from a full part");
        writer.end_part().await.unwrap();
        // Comes back when the store has the part.
        let permit = budget.clone().acquire_owned().await.unwrap();
        writer.write(small.clone(), permit).await.unwrap();
        writer.end_part().await.unwrap();
        assert_eq!(budget.available_permits(), 0, "too small for a request of its own");
        writer.finish().await.unwrap();
        assert_eq!(budget.available_permits(), 1);
        let stored = store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap();
        assert_eq!(stored, [large, small].concat());
    }

    #[tokio::test]
    async fn an_object_whose_write_was_cancelled_cannot_be_finished() {
        let store = Arc::new(InMemory::new());
        let mut writer = writer(&store, 2);
        // More than is hashed without a pause: the first poll does not end it.
        assert!(writer.write(data(3 << 20), ()).now_or_never().is_none());
        assert_eq!(writer.write(data(1), ()).await.unwrap_err().kind(), Kind::Internal);
        assert_eq!(writer.finish().await.unwrap_err().kind(), Kind::Internal);
        assert!(store.get(&Path::from("a")).await.is_err());
    }

    #[tokio::test]
    async fn an_aborted_object_never_appears_and_its_permits_come_back() {
        let store = Arc::new(InMemory::new());
        let budget = Arc::new(Semaphore::new(1));
        let mut writer = writer(&store, 2);
        writer.write(data(SMALL as usize * 5), budget.clone().try_acquire_owned().unwrap()).await.unwrap();
        writer.abort().await;
        assert_eq!(budget.available_permits(), 1);
        assert!(matches!(store.get(&Path::from("a")).await, Err(object_store::Error::NotFound { .. })));
    }
}
