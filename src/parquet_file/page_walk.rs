//! A look at every row group, column chunk and page header before anything is decoded.
//!
//! The Parquet crate reserves what a header claims, so claims are compared with limits and with each other first. What
//! is left is what decoding a row group takes: [`Claims`].

use bytes::Bytes;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::claims::{Claims, PageClaim};
use super::extent::Extent;
use super::page_header::{DELTA_BYTE_ARRAY, DICTIONARY_ENCODINGS, PageHeader, PageKind, page_header};
use super::read_limits::ReadLimits;
use super::value_lengths::{longest_delta_byte_array, longest_entry};

/// Pages up to this size may compress as well as they like: a MiB of zeros is a few bytes. Ours stay below: a page is
/// closed past 1 MiB of values, the last of which has 2 MiB at most; the levels of an `_overflow` leaf, which a page of
/// version 1 compresses too, are five bits for each of 16 Mi cells.
const FREE_PAGE_BYTES: usize = 12 << 20;

/// Checks what the footer says of the file as a whole. The reason of a refusal names no values.
pub fn check_file(metadata: &ParquetMetaData, limits: &ReadLimits) -> Result<(), String> {
    let columns = metadata.file_metadata().schema_descr().num_columns();
    if columns > limits.columns {
        return Err(format!("it has {columns} columns, more than {}", limits.columns));
    }
    let mut rows = 0i64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        if group.num_rows() < 0 || group.columns().len() != columns {
            return Err(format!("row group {index} contradicts the schema"));
        }
        rows = rows.checked_add(group.num_rows()).ok_or("the row counts overflow")?;
    }
    if rows != metadata.file_metadata().num_rows() {
        return Err("the row counts of the row groups do not add up".into());
    }
    Ok(())
}

/// Checks every page of a row group, whose bytes are in `extent`.
pub fn check_row_group(
    extent: &Extent,
    metadata: &ParquetMetaData,
    index: usize,
    limits: &ReadLimits,
) -> Result<Claims, String> {
    check_columns(extent, metadata, index, usize::MAX, limits)
}

/// As [`check_row_group`], for the first `columns` leaf columns alone, whose bytes are in `extent`.
pub fn check_columns(
    extent: &Extent,
    metadata: &ParquetMetaData,
    index: usize,
    columns: usize,
    limits: &ReadLimits,
) -> Result<Claims, String> {
    let group = metadata.row_groups().get(index).ok_or("it is not there")?;
    let rows = usize::try_from(group.num_rows()).map_err(|_| "its row count is negative")?;
    let mut claims = Claims::default();
    for column in group.columns().iter().take(columns) {
        check_chunk(extent, column, rows, limits, &mut claims)
            .map_err(|reason| format!("row group {index}, column `{}`: {reason}", column.column_path()))?;
    }
    Ok(claims)
}

/// Place and length of a column chunk, as the Parquet crate finds them.
pub fn chunk_extent(column: &ColumnChunkMetaData) -> Option<(u64, usize)> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    Some((u64::try_from(start).ok()?, usize::try_from(column.compressed_size()).ok()?))
}

fn check_chunk(
    extent: &Extent,
    column: &ColumnChunkMetaData,
    rows: usize,
    limits: &ReadLimits,
    claims: &mut Claims,
) -> Result<(), String> {
    if column.file_path().is_some() {
        return Err("its data is in another file".into());
    }
    let values = usize::try_from(column.num_values()).map_err(|_| "its value count is negative")?;
    let is_flat = column.column_descr().max_rep_level() == 0;
    if (is_flat && values != rows) || (!is_flat && values > rows.max(limits.nested_values)) {
        return Err(format!("it claims {values} values in {rows} rows"));
    }
    let mut pages = chunk_extent(column)
        .and_then(|(start, length)| extent.slice(start, length))
        .ok_or("it lies outside of the file")?;
    let mut values_left = values;
    let mut uncompressed_left =
        usize::try_from(column.uncompressed_size()).map_err(|_| "its size is negative")?;
    let mut reading = ChunkReading::new(column, rows, is_flat, limits.value_bytes)?;
    while !pages.is_empty() {
        let header = page_header(&pages).ok_or("a page header is damaged")?;
        let is_dictionary = header.page == PageKind::Dictionary;
        let limit = if is_dictionary { limits.dictionary_bytes } else { limits.page_bytes };
        if header.uncompressed_bytes > limit {
            return Err(format!("a page of {} bytes, more than {limit}", header.uncompressed_bytes));
        }
        let ratio_limit = header.compressed_bytes.saturating_mul(limits.page_ratio).max(FREE_PAGE_BYTES);
        if header.uncompressed_bytes > ratio_limit {
            return Err(format!("a page that compresses more than {} : 1", limits.page_ratio));
        }
        uncompressed_left = uncompressed_left
            .checked_sub(header.uncompressed_bytes + header.header_bytes)
            .ok_or("its pages are larger than it claims")?;
        if !is_dictionary {
            values_left =
                values_left.checked_sub(header.values).ok_or("its pages hold more values than it claims")?;
        }
        let page_end = header.header_bytes.checked_add(header.compressed_bytes);
        let page_end =
            page_end.filter(|end| *end <= pages.len()).ok_or("a page is longer than its column chunk")?;
        let body = pages.slice(header.header_bytes..page_end);
        reading.page(&header, &body, claims)?;
        pages = pages.slice(page_end..);
    }
    if values_left > 0 {
        return Err("its pages hold fewer values than it claims".into());
    }
    claims.end_column(reading.dictionary_bytes);
    Ok(())
}

/// What has been seen of a column chunk so far.
struct ChunkReading {
    is_byte_array: bool,
    is_zstd: bool,
    is_flat: bool,
    /// Bytes of a value, its levels and its offset, without the bytes of a string.
    slot_bytes: u64,
    most_value_bytes: usize,
    rows: usize,
    /// Rows in the pages so far.
    row: usize,
    dictionary_bytes: u64,
    longest_entry: Option<u64>,
}

impl ChunkReading {
    fn new(
        column: &ColumnChunkMetaData,
        rows: usize,
        is_flat: bool,
        most_value_bytes: usize,
    ) -> Result<ChunkReading, String> {
        let is_zstd = match column.compression() {
            Compression::ZSTD(_) => true,
            Compression::UNCOMPRESSED => false,
            _ => return Err("its compression is not one that we write".into()),
        };
        let levels = if is_flat { 2 } else { 4 };
        Ok(ChunkReading {
            is_byte_array: column.column_type() == Type::BYTE_ARRAY,
            is_zstd,
            is_flat,
            slot_bytes: 9 + levels,
            most_value_bytes,
            rows,
            row: 0,
            dictionary_bytes: 0,
            longest_entry: None,
        })
    }

    fn page(&mut self, header: &PageHeader, body: &Bytes, claims: &mut Claims) -> Result<(), String> {
        let values = header.values as u64;
        if header.page == PageKind::Dictionary {
            if self.dictionary_bytes > 0 || self.row > 0 {
                return Err("a dictionary that is not its first page".into());
            }
            // Its entries are held both as bytes and as slices of them.
            self.dictionary_bytes = header.uncompressed_bytes as u64 + values * self.slot_bytes;
            if self.is_byte_array {
                let longest =
                    longest_entry(&self.values_of(header, body)?).ok_or("its dictionary is damaged")?;
                self.longest_entry = Some(self.allowed(longest)?);
            }
            return Ok(());
        }
        // Where a page does not say how many rows it has it may be about any of them.
        let (first_row, rows) = match header.page {
            PageKind::DataV2 { rows, .. } => (self.row, rows),
            _ if self.is_flat => (self.row, header.values),
            _ => (0, self.rows),
        };
        if self.is_flat && rows != header.values {
            return Err("a page with another number of values than rows".into());
        }
        self.row =
            first_row.checked_add(rows).filter(|row| *row <= self.rows).ok_or("its pages have more rows")?;
        let value_bytes = match header.encoding {
            _ if !self.is_byte_array => None,
            encoding if DICTIONARY_ENCODINGS.contains(&encoding) => {
                Some(self.longest_entry.ok_or("a page without its dictionary")?)
            }
            DELTA_BYTE_ARRAY => {
                if header.page == PageKind::DataV1 {
                    return Err("an encoding that a page of version 1 does not have".into());
                }
                let values = self.values_of(header, body)?;
                let longest = longest_delta_byte_array(&values, header.values);
                Some(self.allowed(longest.ok_or("its lengths are damaged")?)?)
            }
            _ => None,
        };
        claims.page(PageClaim {
            first_row,
            rows,
            values,
            slot_bytes: self.slot_bytes,
            page_bytes: header.uncompressed_bytes as u64,
            value_bytes,
            is_flat: self.is_flat,
        });
        Ok(())
    }

    fn allowed(&self, longest: usize) -> Result<u64, String> {
        match longest <= self.most_value_bytes {
            true => Ok(longest as u64),
            false => Err(format!("a value of {longest} bytes, more than {}", self.most_value_bytes)),
        }
    }

    /// The values of a page, decompressed.
    fn values_of(&self, header: &PageHeader, body: &Bytes) -> Result<Bytes, String> {
        let (levels, is_compressed) = match header.page {
            PageKind::DataV2 { level_bytes, is_compressed, .. } => (level_bytes, is_compressed),
            _ => (0, true),
        };
        let size =
            header.uncompressed_bytes.checked_sub(levels).ok_or("its levels are longer than the page")?;
        if levels > body.len() {
            return Err("its levels are longer than the page".into());
        }
        let values = body.slice(levels..);
        if size == 0 {
            // Nothing is a few bytes when it is compressed.
            return Ok(Bytes::new());
        }
        if !self.is_zstd || !is_compressed {
            return Ok(values);
        }
        zstd::bulk::decompress(&values, size)
            .map(Bytes::from)
            .map_err(|_| "a page does not decompress".into())
    }
}
