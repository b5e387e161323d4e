//! What a page's bytes become: compressed, with a header, in the column chunk.

use std::io::Cursor;

use parquet::basic::Encoding;
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::errors::{ParquetError, Result};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use zstd::bulk::Compressor;

use super::super::profile::EncodingProfile;
use super::super::settings::WriterSettings;
use super::room::{Progress, make_room};

/// Compresses the pages of a file one after the other. One context for all: it is some 100 KiB to MiB, and quicker when it is
/// warm. The same goes for the memory that a page takes on its way out.
pub(in super::super) struct PageCompressor {
    compressor: Compressor<'static>,
    /// Tried as well, where size is all: the higher level is not always the smaller one (numbers, at 9 against 1).
    fast: Option<Compressor<'static>>,
    tried: Vec<u8>,
    pub(super) values: Vec<u8>,
    pub(super) levels: Vec<u8>,
    page: Vec<u8>,
}

impl PageCompressor {
    pub(in super::super) fn new(settings: &WriterSettings) -> std::io::Result<PageCompressor> {
        let fast = settings.profile == EncodingProfile::Smallest && settings.zstd_level > 1;
        Ok(PageCompressor {
            compressor: Compressor::new(settings.zstd_level)?,
            fast: fast.then(|| Compressor::new(1)).transpose()?,
            tried: Vec::new(),
            values: Vec::new(),
            levels: Vec::new(),
            page: Vec::new(),
        })
    }

    /// Appends `values` to `page`, smaller: its size.
    fn append(&mut self, page: &mut Vec<u8>, values: &[u8]) -> Result<usize> {
        let start = page.len();
        make_room(page, zstd::zstd_safe::compress_bound(values.len()), Progress::WHOLE);
        let mut end = Cursor::new(page);
        end.set_position(start as u64);
        let external = |error| ParquetError::External(Box::new(error));
        let size = self.compressor.compress_to_buffer(values, &mut end).map_err(external)?;
        let Some(fast) = &mut self.fast else { return Ok(size) };
        self.tried.clear();
        make_room(&mut self.tried, zstd::zstd_safe::compress_bound(values.len()), Progress::WHOLE);
        let tried = fast.compress_to_buffer(values, &mut self.tried).map_err(external)?;
        if tried < size {
            let page = end.into_inner();
            page.truncate(start);
            page.extend_from_slice(&self.tried);
        }
        Ok(size.min(tried))
    }
}

/// A data page before it is compressed.
pub(super) struct DataPage<'a> {
    pub(super) rows: u32,
    pub(super) nulls: u32,
    /// Of nested columns.
    pub(super) repetition_levels: &'a [u8],
    pub(super) definition_levels: &'a [u8],
    pub(super) values: &'a [u8],
    pub(super) encoding: Encoding,
}

impl DataPage<'_> {
    /// Whether levels are more than a fifth of it, so that version 1, which compresses them, is smaller: files of `sparse`
    /// are by a fifth. Version 1 does not have DELTA_BYTE_ARRAY.
    fn has_many_levels(&self) -> bool {
        let levels = self.repetition_levels.len() + self.definition_levels.len();
        levels * 4 > self.values.len().max(256) && self.encoding != Encoding::DELTA_BYTE_ARRAY
    }
}

/// A page's header is some 20 to 50 bytes.
const MOST_HEADER_BYTES: usize = 64;

/// The pages of a column chunk, one after the other.
pub(super) struct Pages {
    bytes: TrackedWrite<Vec<u8>>,
    profile: EncodingProfile,
    /// Bytes of the pages with their headers, not compressed.
    pub(super) uncompressed: usize,
}

impl Pages {
    pub(super) fn new(profile: EncodingProfile) -> Pages {
        Pages { bytes: TrackedWrite::new(Vec::new()), profile, uncompressed: 0 }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.bytes_written()
    }

    /// Adds a data page: where and how large it is.
    pub(super) fn data(
        &mut self,
        page: &DataPage<'_>,
        compressor: &mut PageCompressor,
    ) -> Result<PageWriteSpec> {
        if self.profile.has_old_pages() || page.has_many_levels() {
            return self.old_data(page, compressor);
        }
        let mut buffer = std::mem::take(&mut compressor.page);
        buffer.clear();
        buffer.extend_from_slice(page.repetition_levels);
        buffer.extend_from_slice(page.definition_levels);
        let levels = buffer.len();
        let is_compressed = compressor.append(&mut buffer, page.values)? < page.values.len();
        if !is_compressed {
            buffer.truncate(levels);
            buffer.extend_from_slice(page.values);
        }
        let (buf, uncompressed_size) = (bytes::Bytes::from(buffer), levels + page.values.len());
        let header = Page::DataPageV2 {
            buf: buf.clone(),
            num_values: page.rows,
            encoding: page.encoding,
            num_nulls: page.nulls,
            num_rows: page.rows,
            def_levels_byte_len: page.definition_levels.len() as u32,
            rep_levels_byte_len: page.repetition_levels.len() as u32,
            is_compressed,
            statistics: None,
        };
        self.write(CompressedPage::new(header, uncompressed_size), buf, compressor)
    }

    /// Adds a data page of version 1: levels with their lengths before them, compressed together with the values.
    fn old_data(&mut self, page: &DataPage<'_>, compressor: &mut PageCompressor) -> Result<PageWriteSpec> {
        let mut whole = Vec::with_capacity(8 + page.definition_levels.len() + page.values.len());
        for levels in [page.repetition_levels, page.definition_levels] {
            if !levels.is_empty() {
                whole.extend_from_slice(&(levels.len() as u32).to_le_bytes());
                whole.extend_from_slice(levels);
            }
        }
        whole.extend_from_slice(page.values);
        let mut buffer = std::mem::take(&mut compressor.page);
        buffer.clear();
        // Whatever comes of it, as with a dictionary.
        compressor.append(&mut buffer, &whole)?;
        let buf = bytes::Bytes::from(buffer);
        let header = Page::DataPage {
            buf: buf.clone(),
            num_values: page.rows,
            encoding: page.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.write(CompressedPage::new(header, whole.len()), buf, compressor)
    }

    /// Adds the dictionary page.
    pub(super) fn dictionary(
        &mut self,
        page: &[u8],
        count: usize,
        compressor: &mut PageCompressor,
    ) -> Result<PageWriteSpec> {
        let mut buffer = std::mem::take(&mut compressor.page);
        buffer.clear();
        // Whatever comes of it: no flag would say that it is not compressed.
        compressor.append(&mut buffer, page)?;
        let buf = bytes::Bytes::from(buffer);
        let header = Page::DictionaryPage {
            buf: buf.clone(),
            num_values: count as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.write(CompressedPage::new(header, page.len()), buf, compressor)
    }

    fn write(
        &mut self,
        page: CompressedPage,
        buf: bytes::Bytes,
        compressor: &mut PageCompressor,
    ) -> Result<PageWriteSpec> {
        make_room(self.bytes.inner_mut(), MOST_HEADER_BYTES + buf.len(), Progress::WHOLE);
        let written = SerializedPageWriter::new(&mut self.bytes).write_page(page)?;
        compressor.page = buf.try_into_mut().map(Vec::from).unwrap_or_default();
        self.uncompressed += written.uncompressed_size;
        Ok(written)
    }

    /// All of them; then it starts over in the same memory when they come back.
    pub(super) fn take(&mut self) -> Result<Vec<u8>> {
        self.uncompressed = 0;
        std::mem::replace(&mut self.bytes, TrackedWrite::new(Vec::new())).into_inner()
    }

    /// Takes memory back that [`Pages::take`] gave.
    pub(super) fn give_back(&mut self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.bytes = TrackedWrite::new(bytes);
    }
}
