//! Record batches to the bytes of one Parquet file.

use std::io::{self, Write};

use arrow::array::{Array, AsArray, RecordBatch};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use sha2::{Digest, Sha256};

use super::settings::WriterSettings;
use crate::columnar::{ColumnPlan, arrow_schema};
use crate::error::{Context, Kind, Result};

/// Encodes one file. Rows must come in primary key order, since the footer says so.
///
/// Bytes are final when a row group ends and never change afterwards, so they can be uploaded while the file is
/// still growing.
pub struct FileEncoder {
    writer: ArrowWriter<Sink>,
    rows: u64,
    /// Cells in `_overflow` in the open row group, or more.
    overflow_cells: usize,
}

/// A row group ends at so many cells in `_overflow`, so that readers can refuse files that claim four times as many
/// ([`ReadLimits`](super::ReadLimits)): versions that compress to nothing still take memory when read.
const MAX_OVERFLOW_CELLS: usize = 16 << 20;

/// The end of a file, and what identifies all of it.
#[derive(Debug)]
pub struct EncodedFile {
    /// The bytes after those that [`FileEncoder::take_bytes`] gave.
    pub rest: Vec<Bytes>,
    /// Size of the whole file.
    pub bytes: u64,
    /// Rows in the file.
    pub rows: u64,
    /// Row groups in the file.
    pub row_groups: usize,
    /// SHA-256 of the whole file.
    pub sha256: [u8; 32],
    /// CRC-64/XZ of the whole file, the one that OSS computes for an object.
    pub crc64: u64,
}

impl FileEncoder {
    /// A file of `plan` with nothing in it; `key_value_metadata` goes into its footer.
    ///
    /// # Errors
    /// `Usage` for a zstd level that does not exist.
    pub fn new(
        plan: &ColumnPlan,
        settings: &WriterSettings,
        key_value_metadata: Vec<(String, String)>,
    ) -> Result<FileEncoder> {
        let options = settings.options(plan, key_value_metadata)?;
        let writer = ArrowWriter::try_new_with_options(Sink::default(), arrow_schema(plan), options)
            .doing(Kind::Internal, "start a Parquet file")?;
        Ok(FileEncoder { writer, rows: 0, overflow_cells: 0 })
    }

    /// Encodes a batch of the plan, and ends the row group when it has reached a limit. Batches of a
    /// few MiB are best: many small ones cost a fifth more time.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).doing(Kind::Internal, "encode a record batch")?;
        self.rows += batch.num_rows() as u64;
        if self.writer.in_progress_rows() == 0 {
            self.overflow_cells = 0;
        } else {
            self.overflow_cells += overflow_cells(batch);
        }
        if self.overflow_cells >= MAX_OVERFLOW_CELLS { self.end_row_group() } else { Ok(()) }
    }

    /// Ends the open row group, if there is one.
    pub fn end_row_group(&mut self) -> Result<()> {
        self.overflow_cells = 0;
        self.writer.flush().doing(Kind::Internal, "end a row group")
    }

    /// The bytes finished since the last call, in file order; empty until a row group has ended.
    pub fn take_bytes(&mut self) -> Vec<Bytes> {
        self.writer.inner_mut().take()
    }

    /// Size of the file if it ended now, about: finished bytes and the estimate for the open row group.
    pub fn file_bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Row groups so far, the open one included.
    pub fn row_groups(&self) -> usize {
        self.writer.flushed_row_groups().len() + 1
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file with `key_value_metadata` added to its footer.
    pub fn finish(mut self, key_value_metadata: Vec<(String, String)>) -> Result<EncodedFile> {
        for (key, value) in key_value_metadata {
            self.writer.append_key_value_metadata(KeyValue::new(key, value));
        }
        let metadata = self.writer.finish().doing(Kind::Internal, "end a Parquet file")?;
        let sink = self.writer.inner_mut();
        Ok(EncodedFile {
            rest: sink.take(),
            bytes: sink.written,
            rows: self.rows,
            row_groups: metadata.num_row_groups(),
            sha256: std::mem::take(&mut sink.sha256).finalize().into(),
            crc64: sink.crc64.finalize(),
        })
    }
}

/// Cells in the maps of a batch.
fn overflow_cells(batch: &RecordBatch) -> usize {
    let maps = batch.columns().iter().filter_map(|array| array.as_map_opt());
    maps.filter_map(|map| map.values().as_list_opt::<i32>()).map(|lists| lists.values().len()).sum()
}

/// Bytes per chunk. Each is handed on without a copy.
const CHUNK_BYTES: usize = 1 << 20;

/// Where the Parquet writer writes to: collects chunks and hashes them in order.
struct Sink {
    chunk: Vec<u8>,
    full: Vec<Bytes>,
    /// Bytes of the file so far.
    written: u64,
    sha256: Sha256,
    crc64: Crc,
}

impl Default for Sink {
    fn default() -> Sink {
        Sink {
            chunk: Vec::new(),
            full: Vec::new(),
            written: 0,
            sha256: Sha256::new(),
            crc64: Crc::new(CrcAlgorithm::Crc64Xz),
        }
    }
}

impl Sink {
    fn take(&mut self) -> Vec<Bytes> {
        if !self.chunk.is_empty() {
            self.full.push(Bytes::from(std::mem::take(&mut self.chunk)));
        }
        std::mem::take(&mut self.full)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sha256.update(bytes);
        self.crc64.update(bytes);
        self.written += bytes.len() as u64;
        if self.chunk.len() + bytes.len() > CHUNK_BYTES && !self.chunk.is_empty() {
            self.full.push(Bytes::from(std::mem::take(&mut self.chunk)));
        }
        if self.chunk.capacity() == 0 {
            self.chunk.reserve_exact(CHUNK_BYTES.max(bytes.len()));
        }
        self.chunk.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
