//! One data file of the new base, while it grows.

use std::sync::Arc;

use bytes::Bytes;
use object_store::Attribute;

use crate::catalog::{ENTRY_METADATA, FileEntry, FileId, ReadCost, RunPath, StoredFile};
use crate::columnar::ColumnPlan;
use crate::fold::FoldedRows;
use crate::model::{KeyRange, PrimaryKey};
use crate::objectstore::{ObjectWriter, PartSizePolicy, StorageClass, UploadStore};
use crate::parquet_file::{ContentsCheck, FileEncoder, WriterSettings};
use crate::runtime::CpuPool;
use crate::{Error, Kind, Result};

/// Row groups, and column chunks in all of them, with which a file is closed: readers refuse files with many more.
const MOST_ROW_GROUPS: usize = 8_000;
const MOST_COLUMN_CHUNKS: usize = 400_000;

/// Where files go and what they are like.
pub(super) struct FileSettings {
    pub store: Arc<dyn UploadStore>,
    pub run: RunPath,
    pub plan: Arc<ColumnPlan>,
    /// All keys of the run.
    pub keys: KeyRange,
    pub writer: WriterSettings,
    pub storage_class: Option<StorageClass>,
    pub part_bytes: u64,
    pub target_file_bytes: u64,
    pub cpu: CpuPool,
}

/// An open file.
pub(super) struct FileWriter {
    id: FileId,
    start: PrimaryKey,
    /// Away while it works.
    encoding: Option<Box<Encoding>>,
    object: ObjectWriter,
}

/// The CPU side.
struct Encoding {
    file: FileEncoder,
    contents: ContentsCheck,
}

impl FileWriter {
    /// A file whose interval begins at `start`.
    pub(super) fn new(settings: &FileSettings, start: PrimaryKey) -> Result<FileWriter> {
        let id = FileId::random();
        let class = settings.storage_class.map(|class| (Attribute::StorageClass, class.as_str()));
        let object = ObjectWriter::new(
            settings.store.clone(),
            settings.run.data_file(id),
            class.into_iter().collect(),
            PartSizePolicy::starting_at(settings.part_bytes),
            1,
        );
        let encoding = Encoding {
            file: FileEncoder::new(&settings.plan, &settings.writer, Vec::new())?,
            contents: ContentsCheck::new(settings.plan.clone(), settings.keys.clone(), u64::MAX),
        };
        Ok(FileWriter { id, start, encoding: Some(Box::new(encoding)), object })
    }

    /// Encodes and counts batches until there are none, or records are wanted.
    pub(super) async fn append(
        &mut self,
        settings: &FileSettings,
        mut rows: FoldedRows,
    ) -> Result<FoldedRows> {
        loop {
            let mut encoding = self.encoding.take().ok_or_else(gave_up)?;
            let encode = move || {
                let batch = rows.next().transpose()?;
                if let Some(batch) = &batch {
                    encoding.contents.batch(batch)?;
                    encoding.file.write(batch)?;
                }
                let parts = encoding.file.take_bytes();
                Ok::<_, Error>((encoding, rows, parts, batch.is_none()))
            };
            let (encoding, returned, parts, is_end) = settings.cpu.run(encode).await??;
            (self.encoding, rows) = (Some(encoding), returned);
            if !parts.is_empty() {
                self.send(parts).await?;
                // A row group has ended; the next one takes its time.
                self.object.end_part().await?;
            }
            if is_end {
                return Ok(rows);
            }
        }
    }

    /// Whether the file is to be closed.
    pub(super) fn is_full(&self, settings: &FileSettings) -> bool {
        let leaves = settings.plan.columns().len() + ColumnPlan::OVERFLOW_CHILDREN as usize;
        let most_row_groups = (MOST_COLUMN_CHUNKS / leaves).clamp(1, MOST_ROW_GROUPS);
        self.encoding.as_ref().is_some_and(|encoding| {
            let file = &encoding.file;
            file.file_bytes() >= settings.target_file_bytes || file.row_groups() >= most_row_groups
        })
    }

    /// Ends the file, whose interval ends at `end`. One without rows gets no object.
    ///
    /// # Errors
    /// Those of the store; [`Kind::Corrupt`] when it holds other bytes than were encoded.
    pub(super) async fn close(mut self, settings: &FileSettings, end: PrimaryKey) -> Result<FileEntry> {
        let Encoding { file, contents: check } = *self.encoding.take().ok_or_else(gave_up)?;
        let contents = check.contents();
        let mut entry = FileEntry {
            id: self.id,
            range: KeyRange { start: self.start.clone(), end },
            rows: contents.rows,
            cells: contents.cells,
            logical_bytes: check.logical_bytes(),
            row_sum: contents.row_sum,
            file: None,
            read: ReadCost::default(),
        };
        if entry.rows == 0 {
            return Ok(entry);
        }
        let metadata = serde_json::to_string(&entry)
            .map_err(|error| Error::new(Kind::Internal, "describe a file").source(error))?;
        let metadata = vec![(ENTRY_METADATA.to_owned(), metadata)];
        let mut encoded = settings.cpu.run(move || file.finish(metadata)).await??;
        let path = self.object.path().clone();
        for part in std::mem::take(&mut encoded.rest) {
            self.object.write(part, ()).await?;
        }
        let uploaded = self.object.finish().await?;
        if (uploaded.bytes, uploaded.crc64) != (encoded.bytes, encoded.crc64) {
            return Err(Error::new(Kind::Corrupt, "store")
                .on(format!("`{path}`"))
                .because("the store holds other bytes than were encoded"));
        }
        entry.file = Some(StoredFile {
            bytes: encoded.bytes,
            sha256: hex::encode(encoded.sha256),
            crc64: format!("{:016x}", encoded.crc64),
            row_groups: encoded.row_groups,
        });
        tracing::info!(file = %entry.id, rows = entry.rows, bytes = encoded.bytes, "file closed");
        Ok(entry)
    }

    async fn send(&mut self, parts: Vec<Bytes>) -> Result<()> {
        for part in parts {
            self.object.write(part, ()).await?;
        }
        Ok(())
    }
}

#[cold]
fn gave_up() -> Error {
    Error::new(Kind::Internal, "go on with a data file").because("it failed before")
}
