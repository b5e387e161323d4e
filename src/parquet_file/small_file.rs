//! Small Parquet files that are no data files of a base: reject files, mappings of keys.

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::read_limits::ReadLimits;
use super::reader::FileReader;
use super::settings::CREATED_BY;
use crate::error::{Context, Kind, Result};

/// A file of one batch.
pub fn encode_small_file(batch: &RecordBatch) -> Result<Bytes> {
    let properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut bytes = Vec::new();
    let write = || {
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
        writer.write(batch)?;
        writer.close()
    };
    write().doing(Kind::Internal, "write a Parquet file")?;
    Ok(Bytes::from(bytes))
}

/// The batches of a file, which may be damaged or hostile.
///
/// # Errors
/// `Corrupt` if it does not decode or claims more than a file may.
pub fn decode_small_file(bytes: &Bytes) -> Result<Vec<RecordBatch>> {
    FileReader::open_as(bytes.clone(), None, &ReadLimits::default())?.batches()?.collect()
}
