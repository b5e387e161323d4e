//! A look at every row group, column chunk and page header before anything is decoded.
//!
//! The Parquet crate reserves what a header claims, so claims are compared with limits and with each other first.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::page_header::page_header;
use super::reader::ReadLimits;

/// Pages up to this size may compress as well as they like: a MiB of zeros is a few bytes.
const FREE_PAGE_BYTES: usize = 4 << 20;

/// Checks a file's claims. The reason of a refusal names no values.
pub fn check(file: &[u8], metadata: &ParquetMetaData, limits: &ReadLimits) -> Result<(), String> {
    check_counts(metadata, limits)?;
    (0..metadata.num_row_groups()).try_for_each(|index| check_row_group(file, 0, metadata, index, limits))
}

/// Checks what the footer claims about rows and columns, without the pages.
pub fn check_counts(metadata: &ParquetMetaData, limits: &ReadLimits) -> Result<(), String> {
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

/// Checks every page of a row group in `bytes`, which begin at `start` of the file.
pub fn check_row_group(
    bytes: &[u8],
    start: u64,
    metadata: &ParquetMetaData,
    index: usize,
    limits: &ReadLimits,
) -> Result<(), String> {
    let group = metadata.row_groups().get(index).ok_or("there is no such row group")?;
    for column in group.columns() {
        check_chunk(bytes, start, column, group.num_rows(), limits)
            .map_err(|reason| format!("row group {index}, column `{}`: {reason}", column.column_path()))?;
    }
    Ok(())
}

fn check_chunk(
    bytes: &[u8],
    bytes_start: u64,
    column: &ColumnChunkMetaData,
    rows: i64,
    limits: &ReadLimits,
) -> Result<(), String> {
    if column.file_path().is_some() {
        return Err("its data is in another file".into());
    }
    let values = column.num_values();
    let is_flat = column.column_descr().max_rep_level() == 0;
    if values < 0 || (is_flat && values != rows) || (!is_flat && values > rows.max(limits.nested_values)) {
        return Err(format!("it claims {values} values in {rows} rows"));
    }
    let first = column.dictionary_page_offset().unwrap_or(i64::MAX).min(column.data_page_offset());
    let mut pages = u64::try_from(first)
        .ok()
        .and_then(|first| usize::try_from(first.checked_sub(bytes_start)?).ok())
        .zip(usize::try_from(column.compressed_size()).ok())
        .and_then(|(start, length)| bytes.get(start..start.checked_add(length)?))
        .ok_or("it lies outside of the file")?;
    let mut values_left = values as usize;
    let mut uncompressed_left =
        usize::try_from(column.uncompressed_size()).map_err(|_| "its size is negative")?;
    while !pages.is_empty() {
        let header = page_header(pages).ok_or("a page header is damaged")?;
        let limit = if header.is_dictionary { limits.dictionary_bytes } else { limits.page_bytes };
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
        if !header.is_dictionary {
            values_left =
                values_left.checked_sub(header.values).ok_or("its pages hold more values than it claims")?;
        }
        pages = pages
            .get(header.header_bytes..)
            .and_then(|rest| rest.get(header.compressed_bytes..))
            .ok_or("a page is longer than its column chunk")?;
    }
    if values_left > 0 {
        return Err("its pages hold fewer values than it claims".into());
    }
    Ok(())
}
