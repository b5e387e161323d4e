//! Small Parquet files that are no data files of a base: reject files, mappings of keys.

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::reader::{ReadLimits, footer, no_panic, refused};
use super::{footer_walk, page_walk};
use crate::error::{Context, Kind, Result};

/// A file of one batch.
pub fn encode_small_file(batch: &RecordBatch) -> Result<Bytes> {
    let properties = WriterProperties::builder()
        .set_created_by(format!("otsvault {}", env!("CARGO_PKG_VERSION")))
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
    let limits = ReadLimits::default();
    footer_walk::check(footer(bytes, &limits).map_err(refused)?, &limits).map_err(refused)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = no_panic(|| ArrowReaderMetadata::load(bytes, options))?;
    no_panic(|| Ok(page_walk::check(bytes, metadata.metadata(), &limits)))?.map_err(refused)?;
    no_panic(|| {
        ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), metadata.clone())
            .build()?
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(Into::into)
    })
}
