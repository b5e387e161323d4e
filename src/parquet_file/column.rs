//! One flat column of the open row group: arrays in, a column chunk out.
//!
//! `parquet`'s own column writers hold a compression context and buffers of a MiB for every column of every row group, and
//! take 1.6 times the time for small columns (benches/README.md, "Before and after"). What a page looks like is the same: data pages V2 (V1 in the
//! profile `compatible`, and where levels are much of a page, since V2 does not compress them), the
//! encodings of [`Encoding`], a page index, statistics of pages in that index and of the chunk in its metadata.

mod bounds;
mod delta;
mod dictionary;
mod hybrid;
mod page;
mod room;
#[cfg(test)]
mod tests;
mod values;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{Chain, Read};

use arrow::array::{Array, BooleanBufferBuilder};
use parquet::basic::{BoundaryOrder, Compression, Encoding as ParquetEncoding, EncodingMask, PageType};
use parquet::column::page::PageWriteSpec;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;

use super::profile::EncodingProfile;
use super::settings::WriterSettings;
use crate::columnar::Encoding;
use bounds::Bounds;
use dictionary::Dictionary;
use page::{DataPage, Pages};
use room::Progress;
use values::{OpenPage, Values};

pub(super) use delta::write_zigzag;
pub(super) use hybrid::write_varint;
pub(super) use page::PageCompressor;
pub(super) use values::stored_as;

/// A column of the open row group, and the memory for the next one.
pub(super) struct ColumnChunk {
    descriptor: ColumnDescPtr,
    compression: Compression,
    encoding: Encoding,
    limits: PageLimits,
    profile: EncodingProfile,
    /// Of the open page.
    values: Values,
    validity: BooleanBufferBuilder,
    nulls: usize,
    bounds: Bounds,
    /// Of the chunk, while it has one.
    dictionary: Option<Dictionary>,
    pages: Pages,
    finished: Finished,
    /// Values between nulls, without them.
    scratch: Vec<i64>,
}

/// When a page ends.
#[derive(Debug, Clone, Copy)]
struct PageLimits {
    rows: usize,
    bytes: usize,
    dictionary_bytes: usize,
}

/// What the finished pages of a chunk add up to.
struct Finished {
    rows: usize,
    nulls: usize,
    bounds: Bounds,
    column_index: Option<ColumnIndexBuilder>,
    offset_index: OffsetIndexBuilder,
    /// Data pages per encoding, those of version 1 and those of version 2.
    encodings: BTreeMap<(ParquetEncoding, bool), i32>,
    /// Of the last page that had one.
    last_bounds: Option<Bounds>,
    ascending: bool,
    descending: bool,
}

impl Finished {
    fn new(bounds: &Bounds, descriptor: &ColumnDescPtr) -> Finished {
        Finished {
            rows: 0,
            nulls: 0,
            bounds: bounds.empty(),
            column_index: Some(ColumnIndexBuilder::new(descriptor.physical_type())),
            offset_index: OffsetIndexBuilder::new(),
            encodings: BTreeMap::new(),
            last_bounds: None,
            ascending: true,
            descending: true,
        }
    }

    fn add(&mut self, rows: usize, nulls: usize, page: (ParquetEncoding, bool), bounds: &Bounds) {
        self.rows += rows;
        self.nulls += nulls;
        self.bounds.merge(bounds);
        *self.encodings.entry(page).or_default() += 1;
        let is_null_page = nulls == rows;
        match (bounds.encoded(), &mut self.column_index) {
            (_, Some(index)) if is_null_page => index.append(true, Vec::new(), Vec::new(), nulls as i64),
            (Some((least, most)), Some(index)) => index.append(false, least, most, nulls as i64),
            // Nothing but NaN: there is no page index for such a chunk.
            (None, _) => self.column_index = None,
            (_, None) => {}
        }
        if !bounds.is_empty() {
            let order = self.last_bounds.as_ref().map(|last| last.order(bounds));
            self.ascending &= matches!(order, None | Some(Some(Ordering::Less | Ordering::Equal)));
            self.descending &= matches!(order, None | Some(Some(Ordering::Greater | Ordering::Equal)));
            self.last_bounds = Some(bounds.clone());
        }
    }
}

impl ColumnChunk {
    /// An empty chunk of a column that is not nested, in `encoding`.
    pub(super) fn new(
        descriptor: ColumnDescPtr,
        encoding: Encoding,
        settings: &WriterSettings,
        compression: Compression,
    ) -> ColumnChunk {
        let stored = stored_as(&descriptor);
        let limits = PageLimits {
            rows: settings.data_page_rows.max(1).min(settings.data_page_bytes.max(8) / 8),
            bytes: settings.data_page_bytes.max(1),
            dictionary_bytes: settings.dictionary_page_bytes,
        };
        let bounds = stored.bounds();
        let (values, dictionary) = stored.values(encoding);
        ColumnChunk {
            finished: Finished::new(&bounds, &descriptor),
            descriptor,
            compression,
            encoding,
            limits,
            profile: settings.profile,
            values,
            validity: BooleanBufferBuilder::new(0),
            nulls: 0,
            bounds,
            dictionary,
            pages: Pages::new(settings.profile),
            scratch: Vec::new(),
        }
    }

    /// Adds the values of an array of the column's type to a row group of about `expected_rows`.
    pub(super) fn write(
        &mut self,
        array: &dyn Array,
        expected_rows: usize,
        compressor: &mut PageCompressor,
    ) -> Result<()> {
        let mut start = 0;
        while start < array.len() {
            let room = (self.limits.rows - self.validity.len()).min(array.len() - start);
            let rows = self.values.fitting(array, start, room, self.limits.bytes);
            let part = array.slice(start, rows);
            match part.nulls() {
                Some(nulls) => {
                    self.validity.append_buffer(nulls.inner());
                    self.nulls += nulls.null_count();
                }
                None => self.validity.append_n(rows, true),
            }
            let expected_rows = expected_rows.saturating_sub(self.finished.rows).min(self.limits.rows);
            let page = OpenPage {
                number: self.finished.encodings.values().sum::<i32>() as u32 + 1,
                progress: Progress { rows: self.validity.len(), expected_rows },
            };
            let dictionary = self.dictionary.as_mut();
            self.values.extend(&*part, dictionary, &mut self.bounds, page, &mut self.scratch)?;
            start += rows;
            let is_full = self.validity.len() >= self.limits.rows
                || self.values.size(self.dictionary.as_ref()) >= self.limits.bytes;
            let dictionary_bytes = self.dictionary.as_ref().map_or(0, |dictionary| dictionary.page().len());
            let has_dictionary = matches!(self.values, Values::Indices(_));
            let is_dictionary_full = has_dictionary && dictionary_bytes >= self.limits.dictionary_bytes;
            if is_full || is_dictionary_full {
                self.end_page(compressor)?;
            }
            if is_dictionary_full {
                self.values = stored_as(&self.descriptor).values_after_dictionary(self.profile);
            }
        }
        Ok(())
    }

    /// Encoded bytes so far, about.
    pub(super) fn size(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, |dictionary| dictionary.page().len());
        self.pages.len() + dictionary + self.values.size(self.dictionary.as_ref())
    }

    /// The encoding of the chunks that come after the one that is open.
    pub(super) fn encode_next_as(&mut self, encoding: Encoding) {
        self.encoding = self.profile.allowed(encoding);
    }

    /// What its values are.
    pub(super) fn descriptor(&self) -> &ColumnDescPtr {
        &self.descriptor
    }

    /// Ends the chunk and appends it to a row group; then it is empty again. The values, nulls not counted, and their
    /// bytes.
    pub(super) fn append_to(
        &mut self,
        row_group: &mut SerializedRowGroupWriter<'_, impl std::io::Write + Send>,
        compressor: &mut PageCompressor,
    ) -> Result<(usize, i64)> {
        let values = self.finished.rows - self.finished.nulls + self.validity.len() - self.nulls;
        let (pages, dictionary, close) = self.close(compressor)?;
        let bytes = close.metadata.compressed_size();
        let result = row_group.append_column(&Pieces(&dictionary, &pages), close);
        self.pages.give_back(pages);
        result.map(|()| (values, bytes))
    }

    /// Ends the chunk: its compressed size. Then it is empty again.
    pub(super) fn finish_size(&mut self, compressor: &mut PageCompressor) -> Result<i64> {
        let (_, _, close) = self.close(compressor)?;
        Ok(close.metadata.compressed_size())
    }

    /// Data pages, dictionary page, and what the footer says of them.
    fn close(&mut self, compressor: &mut PageCompressor) -> Result<(Vec<u8>, Vec<u8>, ColumnCloseResult)> {
        if !self.validity.is_empty() {
            self.end_page(compressor)?;
        }
        let mut encoding_stats = Vec::new();
        let mut uncompressed = self.pages.uncompressed;
        let mut dictionary_page = Vec::new();
        if let Some(dictionary) = &self.dictionary {
            let mut page = Pages::new(self.profile);
            page.dictionary(dictionary.page(), dictionary.len(), compressor)?;
            uncompressed += page.uncompressed;
            dictionary_page = page.take()?;
            encoding_stats.push(PageEncodingStats {
                page_type: PageType::DICTIONARY_PAGE,
                encoding: ParquetEncoding::PLAIN,
                count: 1,
            });
        }
        let bounds = self.bounds.empty();
        let finished = std::mem::replace(&mut self.finished, Finished::new(&bounds, &self.descriptor));
        for ((encoding, is_old), count) in &finished.encodings {
            let page_type = if *is_old { PageType::DATA_PAGE } else { PageType::DATA_PAGE_V2 };
            encoding_stats.push(PageEncodingStats { page_type, encoding: *encoding, count: *count });
        }
        let levels = [ParquetEncoding::RLE];
        let encodings = levels.iter().chain(encoding_stats.iter().map(|stats| &stats.encoding));
        let pages = self.pages.take()?;
        let bytes = dictionary_page.len() + pages.len();
        let metadata = ColumnChunkMetaData::builder(self.descriptor.clone())
            .set_compression(self.compression)
            .set_encodings_mask(EncodingMask::new_from_encodings(encodings))
            .set_page_encoding_stats(encoding_stats)
            .set_total_compressed_size(bytes as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(finished.rows as i64)
            .set_data_page_offset(0)
            .set_statistics(finished.bounds.statistics(finished.nulls as u64))
            .build()?;
        let column_index = finished.column_index.map(|mut index| {
            index.set_boundary_order(match (finished.ascending, finished.descending) {
                (true, _) => BoundaryOrder::ASCENDING,
                (false, true) => BoundaryOrder::DESCENDING,
                (false, false) => BoundaryOrder::UNORDERED,
            });
            index.build()
        });
        let close = ColumnCloseResult {
            bytes_written: bytes as u64,
            rows_written: finished.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: column_index.transpose()?,
            offset_index: Some(finished.offset_index.build()),
        };
        // The dictionary was complete after the pages and stands before them.
        let close = close.update_dictionary_location(dictionary_page.len())?;
        let (values, dictionary) = stored_as(&self.descriptor).values(self.encoding);
        match (&mut self.dictionary, dictionary) {
            (Some(used), Some(_)) => used.clear(),
            (used, new) => *used = new,
        }
        if std::mem::discriminant(&values) != std::mem::discriminant(&self.values) {
            self.values = values;
        }
        Ok((pages, dictionary_page, close))
    }

    fn end_page(&mut self, compressor: &mut PageCompressor) -> Result<()> {
        let mut values = std::mem::take(&mut compressor.values);
        let mut levels = std::mem::take(&mut compressor.levels);
        values.clear();
        levels.clear();
        let encoding = self.values.finish(&mut values, self.dictionary.as_ref());
        let rows = self.validity.len();
        if self.descriptor.max_def_level() > 0 {
            match self.nulls {
                0 => hybrid::write_run(&mut levels, 1, rows, 1),
                nulls if nulls == rows => hybrid::write_run(&mut levels, 0, rows, 1),
                _ => hybrid::write_bits(&mut levels, self.validity.as_slice(), rows),
            }
        }
        let page = DataPage {
            rows: rows as u32,
            nulls: self.nulls as u32,
            repetition_levels: &[],
            definition_levels: &levels,
            values: &values,
            encoding,
        };
        let written = self.pages.data(&page, compressor)?;
        (compressor.values, compressor.levels) = (values, levels);
        index_page(&mut self.finished.offset_index, rows, &written);
        let bounds = std::mem::replace(&mut self.bounds, self.finished.bounds.empty());
        let is_old = written.page_type == PageType::DATA_PAGE;
        self.finished.add(rows, self.nulls, (encoding, is_old), &bounds);
        self.validity.truncate(0);
        self.nulls = 0;
        Ok(())
    }
}

fn index_page(index: &mut OffsetIndexBuilder, rows: usize, written: &PageWriteSpec) {
    index.append_row_count(rows as i64);
    index.append_offset_and_size(written.offset as i64, written.compressed_size as i32);
}

/// Appends a column chunk without a value: `rows` rows of a nested column, whose outermost group is null.
pub(super) fn append_null_column(
    row_group: &mut SerializedRowGroupWriter<'_, impl std::io::Write + Send>,
    descriptor: ColumnDescPtr,
    rows: usize,
    page_rows: usize,
    (compression, profile): (Compression, EncodingProfile),
    compressor: &mut PageCompressor,
) -> Result<()> {
    let bounds = stored_as(&descriptor).bounds();
    let mut finished = Finished::new(&bounds, &descriptor);
    let mut pages = Pages::new(profile);
    let mut left = rows;
    while left > 0 {
        let rows = left.min(page_rows.max(1));
        let (mut repetition, mut definition) = (Vec::new(), Vec::new());
        let width = |level: i16| u32::from(level as u16).checked_ilog2().map_or(0, |bits| bits + 1);
        if descriptor.max_rep_level() > 0 {
            hybrid::write_run(&mut repetition, 0, rows, width(descriptor.max_rep_level()));
        }
        hybrid::write_run(&mut definition, 0, rows, width(descriptor.max_def_level()));
        let page = DataPage {
            rows: rows as u32,
            nulls: rows as u32,
            repetition_levels: &repetition,
            definition_levels: &definition,
            values: &[],
            encoding: ParquetEncoding::PLAIN,
        };
        let written = pages.data(&page, compressor)?;
        index_page(&mut finished.offset_index, rows, &written);
        let is_old = written.page_type == PageType::DATA_PAGE;
        finished.add(rows, rows, (ParquetEncoding::PLAIN, is_old), &bounds);
        left -= rows;
    }
    let uncompressed = pages.uncompressed;
    let bytes = pages.take()?;
    let encodings = [ParquetEncoding::RLE, ParquetEncoding::PLAIN];
    let metadata = ColumnChunkMetaData::builder(descriptor)
        .set_compression(compression)
        .set_encodings_mask(EncodingMask::new_from_encodings(encodings.iter()))
        .set_total_compressed_size(bytes.len() as i64)
        .set_total_uncompressed_size(uncompressed as i64)
        .set_num_values(rows as i64)
        .set_data_page_offset(0)
        .set_statistics(bounds.statistics(rows as u64))
        .build()?;
    let mut column_index = finished.column_index;
    if let Some(index) = &mut column_index {
        index.set_boundary_order(BoundaryOrder::ASCENDING);
    }
    let close = ColumnCloseResult {
        bytes_written: bytes.len() as u64,
        rows_written: rows as u64,
        metadata,
        bloom_filter: None,
        column_index: column_index.map(ColumnIndexBuilder::build).transpose()?,
        offset_index: Some(finished.offset_index.build()),
    };
    row_group.append_column(&Pieces(&[], &bytes), close)
}

/// A column chunk in two pieces of memory, to be read from its start.
struct Pieces<'a>(&'a [u8], &'a [u8]);

impl Length for Pieces<'_> {
    fn len(&self) -> u64 {
        (self.0.len() + self.1.len()) as u64
    }
}

impl<'a> ChunkReader for Pieces<'a> {
    type T = Chain<&'a [u8], &'a [u8]>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        match start {
            0 => Ok(self.0.chain(self.1)),
            _ => Err(ParquetError::General("a column chunk is read from its start".to_owned())),
        }
    }

    fn get_bytes(&self, _: u64, _: usize) -> Result<bytes::Bytes> {
        Err(ParquetError::General("a column chunk is read from its start".to_owned()))
    }
}
