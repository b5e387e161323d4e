//! Record batches to the bytes of one Parquet file.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use parquet::arrow::ArrowSchemaConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::SchemaDescPtr;
use sha2::{Digest, Sha256};

use super::column::{ColumnChunk, PageCompressor};
use super::drift::Drift;
use super::footer::{FooterBuilder, MAGIC};
use super::overflow::OverflowChunks;
use super::settings::WriterSettings;
use super::trial::best_encoding;
use crate::columnar::{
    ColumnPlan, Encoding, PlannedColumn, Role, arrow_schema, record_encodings, record_schema,
};
use crate::error::{Context, Error, Kind, Result};

/// Encodes one file. Rows must come in primary key order, since the footer says so.
///
/// Bytes are final when a row group ends and never change afterwards, so they can be uploaded while the file is
/// still growing.
pub struct FileEncoder {
    file: TrackedWrite<Sink>,
    footer: FooterBuilder,
    descriptor: SchemaDescPtr,
    properties: WriterPropertiesPtr,
    schema: SchemaRef,
    /// The open row group: the columns before `_overflow`, and that.
    columns: Vec<ColumnChunk>,
    /// Of files of rows: what the columns were planned as, and whether they still are.
    drift: Vec<(PlannedColumn, Drift)>,
    overflow: OverflowChunks,
    /// Rows in the open row group.
    open_rows: usize,
    compressor: PageCompressor,
    rows: u64,
    settings: WriterSettings,
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
        let encodings = plan.columns().iter().map(|column| column.encoding).collect();
        let mut file =
            FileEncoder::start(plan, &arrow_schema(plan), encodings, settings, key_value_metadata)?;
        let watched = plan.columns().iter().take(file.columns.len());
        file.drift = watched.map(|column| (column.clone(), Drift::default())).collect();
        Ok(file)
    }

    /// A file of Stream records whose rows are of `plan`, with nothing in it. Records must come in the order of primary key, rank
    /// and ordinal.
    ///
    /// # Errors
    /// As [`FileEncoder::new`].
    pub fn of_records(
        plan: &ColumnPlan,
        settings: &WriterSettings,
        key_value_metadata: Vec<(String, String)>,
    ) -> Result<FileEncoder> {
        FileEncoder::start(plan, &record_schema(plan), record_encodings(plan), settings, key_value_metadata)
    }

    /// `encodings`: those of the columns before `_overflow`, which is the last one of `schema`.
    fn start(
        plan: &ColumnPlan,
        schema: &SchemaRef,
        encodings: Vec<Encoding>,
        settings: &WriterSettings,
        key_value_metadata: Vec<(String, String)>,
    ) -> Result<FileEncoder> {
        let properties = Arc::new(settings.properties(plan, key_value_metadata)?);
        let overflow_column = plan.columns().last().filter(|column| column.role == Role::Overflow);
        let overflow_column = overflow_column.ok_or_else(no_overflow)?;
        let overflow_properties = Arc::new(settings.overflow_properties(overflow_column)?);
        let start = || {
            let descriptor = Arc::new(ArrowSchemaConverter::new().convert(schema)?);
            let (leaves, overflow) = descriptor.columns().split_at(schema.fields().len() - 1);
            let columns = leaves.iter().zip(&encodings).map(|(leaf, encoding)| {
                let encoding = settings.profile.allowed(*encoding);
                let compression = properties.compression(leaf.path());
                ColumnChunk::new(leaf.clone(), encoding, settings, compression)
            });
            let field = schema.fields()[leaves.len()].clone();
            let mut file = TrackedWrite::new(Sink::default());
            file.write_all(MAGIC)?;
            Ok::<_, ParquetError>((
                columns.collect(),
                OverflowChunks::new(field, overflow.to_vec(), overflow_properties, settings.profile)?,
                file,
                descriptor,
            ))
        };
        let (columns, overflow, file, descriptor) = start().doing(Kind::Internal, "start a Parquet file")?;
        Ok(FileEncoder {
            file,
            footer: FooterBuilder::new(descriptor.clone(), properties.clone()),
            descriptor,
            properties,
            schema: schema.clone(),
            columns,
            drift: Vec::new(),
            overflow,
            open_rows: 0,
            compressor: PageCompressor::new(settings).doing(Kind::Internal, "start zstd")?,
            rows: 0,
            settings: WriterSettings {
                row_group_rows: settings.row_group_rows.max(1),
                row_group_bytes: settings.row_group_bytes.max(1),
                ..settings.clone()
            },
        })
    }

    /// Encodes a batch of the plan, and ends the row group when it has reached a limit.
    ///
    /// # Errors
    /// `Internal` for a batch of another plan; nothing of it is written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if *batch.schema_ref() != self.schema {
            return Err(Error::new(Kind::Internal, "encode a record batch")
                .because("it has other columns than the file"));
        }
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = self.fitting_rows().min(batch.num_rows() - start);
            let part = batch.slice(start, rows);
            self.write_columns(&part).doing(Kind::Internal, "encode a record batch")?;
            self.follow_drift(&part)?;
            start += rows;
            let is_full = self.open_rows >= self.settings.row_group_rows
                || self.open_bytes() >= self.settings.row_group_bytes
                || self.overflow.cells() >= MAX_OVERFLOW_CELLS;
            if is_full {
                self.end_row_group()?;
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn write_columns(&mut self, batch: &RecordBatch) -> std::result::Result<(), ParquetError> {
        let expected_rows = match self.open_rows {
            0 => batch.num_rows(),
            open_rows => open_rows + self.fitting_rows(),
        };
        for (chunk, array) in self.columns.iter_mut().zip(batch.columns()) {
            chunk.write(array, expected_rows, &mut self.compressor)?;
        }
        self.overflow.write(batch.column(self.columns.len()))?;
        self.open_rows += batch.num_rows();
        Ok(())
    }

    /// Chooses the encoding of later row groups again where values are no longer what they were.
    fn follow_drift(&mut self, batch: &RecordBatch) -> Result<()> {
        // One at a time, for the memory that a sample takes.
        let mut may_begin = !self.drift.iter().any(|(_, drift)| drift.is_sampling());
        let watched = self.columns.iter_mut().zip(&mut self.drift).zip(batch.columns());
        for ((chunk, (column, drift)), array) in watched {
            let Some(sample) = drift.values(array, &mut may_begin) else { continue };
            let leaf = chunk.descriptor();
            if let Some(best) = best_encoding(column, &sample, leaf, &self.settings, &mut self.compressor)? {
                chunk.encode_next_as(best);
            }
        }
        Ok(())
    }

    /// About how many more rows fit into the open row group, one at least.
    fn fitting_rows(&self) -> usize {
        let rows = self.settings.row_group_rows - self.open_rows;
        let left = self.settings.row_group_bytes.saturating_sub(self.open_bytes());
        match (self.open_bytes() / self.open_rows.max(1), self.open_rows) {
            (_, 0) | (0, _) => rows,
            (row_bytes, _) => rows.min((left / row_bytes).max(1)),
        }
    }

    /// Encoded bytes in the open row group, about.
    fn open_bytes(&self) -> usize {
        self.columns.iter().map(ColumnChunk::size).sum::<usize>() + self.overflow.size()
    }

    /// Ends the open row group, if there is one.
    pub fn end_row_group(&mut self) -> Result<()> {
        if std::mem::take(&mut self.open_rows) == 0 {
            return Ok(());
        }
        let mut end = || {
            let place = self.footer.begin()?;
            let footer = &mut self.footer;
            let mut row_group = SerializedRowGroupWriter::new(
                self.descriptor.clone(),
                self.properties.clone(),
                &mut self.file,
                place,
                Some(Box::new(move |_, row_group, _, columns, offsets| {
                    footer.add(row_group, columns, offsets)
                })),
            );
            let mut drift = self.drift.iter_mut();
            for chunk in &mut self.columns {
                let (values, bytes) = chunk.append_to(&mut row_group, &mut self.compressor)?;
                if let Some((_, drift)) = drift.next() {
                    drift.row_group(values, bytes);
                }
            }
            self.overflow.append_to(&mut row_group, &mut self.compressor)?;
            row_group.close()?;
            // What is small waits in front of the sink until it is flushed.
            self.file.flush()?;
            Ok::<_, ParquetError>(())
        };
        end().doing(Kind::Internal, "end a row group")
    }

    /// The bytes finished since the last call, in file order; empty until a row group has ended.
    pub fn take_bytes(&mut self) -> Vec<Bytes> {
        self.file.inner_mut().take()
    }

    /// Size of the file if it ended now, about: finished bytes and the estimate for the open row group.
    pub fn file_bytes(&self) -> u64 {
        (self.file.bytes_written() + self.open_bytes()) as u64
    }

    /// Row groups so far, the open one included.
    pub fn row_groups(&self) -> usize {
        self.footer.row_groups() + 1
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ends the file with `key_value_metadata` added to its footer.
    pub fn finish(mut self, key_value_metadata: Vec<(String, String)>) -> Result<EncodedFile> {
        self.end_row_group()?;
        let pairs = key_value_metadata.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let row_groups = self.footer.row_groups();
        let end = self.footer.finish(pairs.collect(), &mut self.file).and_then(|()| Ok(self.file.flush()?));
        end.doing(Kind::Internal, "end a Parquet file")?;
        let sink = self.file.inner_mut();
        Ok(EncodedFile {
            rest: sink.take(),
            bytes: sink.written,
            rows: self.rows,
            row_groups,
            sha256: std::mem::take(&mut sink.sha256).finalize().into(),
            crc64: sink.crc64.finalize(),
        })
    }
}

fn no_overflow() -> Error {
    Error::new(Kind::Internal, "start a Parquet file").because("the plan does not end with `_overflow`")
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
