//! Parquet's own `ArrowWriter`, as it comes and with our encodings: what the encoder of a backup is held against.

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding as ParquetEncoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::columnar::{ColumnPlan, Encoding, Role};
use crate::error::{Context, Kind, Result};
use crate::parquet_file::WriterSettings;

/// The writer's defaults but for the compression, zstd at `level`.
///
/// # Errors
/// `Usage` for a level that does not exist.
pub(super) fn default_properties(level: i32) -> Result<WriterProperties> {
    Ok(WriterProperties::builder().set_compression(compression(level)?).build())
}

/// Encodings, compression, row groups, pages and statistics as our encoder has them.
///
/// # Errors
/// `Usage` for a level that does not exist.
pub(super) fn same_properties(plan: &ColumnPlan, settings: &WriterSettings) -> Result<WriterProperties> {
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_compression(compression(settings.zstd_level)?)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(settings.row_group_rows))
        .set_data_page_size_limit(settings.data_page_bytes)
        .set_data_page_row_count_limit(settings.data_page_rows)
        .set_dictionary_page_size_limit(settings.dictionary_page_bytes);
    for column in plan.columns().iter().filter(|column| column.role != Role::Overflow) {
        let path = ColumnPath::from(column.name.clone());
        builder = match column.encoding {
            Encoding::Dictionary => builder.set_column_dictionary_enabled(path, true),
            Encoding::Plain => builder.set_column_encoding(path, ParquetEncoding::PLAIN),
            Encoding::Rle => builder.set_column_encoding(path, ParquetEncoding::RLE),
            Encoding::DeltaBinaryPacked => {
                builder.set_column_encoding(path, ParquetEncoding::DELTA_BINARY_PACKED)
            }
            Encoding::DeltaLengthByteArray => {
                builder.set_column_encoding(path, ParquetEncoding::DELTA_LENGTH_BYTE_ARRAY)
            }
            Encoding::DeltaByteArray => builder.set_column_encoding(path, ParquetEncoding::DELTA_BYTE_ARRAY),
            Encoding::ByteStreamSplit => {
                builder.set_column_encoding(path, ParquetEncoding::BYTE_STREAM_SPLIT)
            }
        };
    }
    Ok(builder.build())
}

fn compression(level: i32) -> Result<Compression> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(level).doing(Kind::Usage, "use this compression level")?))
}

/// The file that `ArrowWriter` makes of `batches`, in memory.
///
/// # Errors
/// `Internal` if it makes none.
pub(super) fn write(batches: &[RecordBatch], properties: &WriterProperties) -> Result<Vec<u8>> {
    let doing = "write Parquet by ArrowWriter";
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let mut writer = ArrowWriter::try_new(Vec::new(), first.schema(), Some(properties.clone()))
        .doing(Kind::Internal, doing)?;
    for batch in batches {
        writer.write(batch).doing(Kind::Internal, doing)?;
    }
    writer.into_inner().doing(Kind::Internal, doing)
}
