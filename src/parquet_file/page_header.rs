//! What a page header claims: the Parquet crate reserves memory for it before it has read the page.
//!
//! Layout: `PageHeader` in apache/parquet-format `parquet.thrift`.

use super::thrift::{Compact, Kind};

/// What a page header says about its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// Bytes of the header itself.
    pub header_bytes: usize,
    /// Bytes of the page as stored.
    pub compressed_bytes: usize,
    /// Bytes of the page in memory.
    pub uncompressed_bytes: usize,
    /// Values, nulls included.
    pub values: usize,
    /// Encoding of the values, as `parquet.thrift` numbers them.
    pub encoding: i64,
    /// What sort of page it is.
    pub page: PageKind,
}

/// Sorts of pages that our files have; an index page is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// The dictionary of a column chunk.
    Dictionary,
    /// A data page of version 1.
    DataV1,
    /// A data page of version 2.
    DataV2 {
        /// Rows that begin in it.
        rows: usize,
        /// Bytes of repetition and definition levels, which are stored before the values and never compressed.
        level_bytes: usize,
        /// Whether the values are compressed.
        is_compressed: bool,
    },
}

/// RLE_DICTIONARY and, of old, PLAIN_DICTIONARY.
pub const DICTIONARY_ENCODINGS: [i64; 2] = [8, 2];

/// DELTA_BYTE_ARRAY.
pub const DELTA_BYTE_ARRAY: i64 = 7;

/// The page header at the start of `bytes`; `None` if there is none.
pub fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut reader = Compact::new(bytes);
    let (mut page_type, mut compressed, mut uncompressed, mut inner) = (None, None, None, None);
    let mut field = 0;
    while let Some(kind) = reader.field(&mut field)? {
        match (field, kind) {
            (1, Kind::I32) => page_type = Some(reader.size()?),
            (2, Kind::I32) => uncompressed = Some(reader.size()?),
            (3, Kind::I32) => compressed = Some(reader.size()?),
            // Two of them would let the Parquet crate read another page than we do.
            (5 | 7 | 8, Kind::Struct) if inner.is_none() => inner = Some((field, Fields::read(&mut reader)?)),
            // As would another type under one of these ids.
            (1..=3 | 5..=8, _) => return None,
            _ => reader.skip(kind, 0)?,
        }
    }
    let (of, fields) = inner?;
    let (page, encoding) = match (page_type?, of) {
        (0, 5) => (PageKind::DataV1, fields.numbers[2]?),
        (2, 7) => (PageKind::Dictionary, fields.numbers[2]?),
        (3, 8) => (
            PageKind::DataV2 {
                rows: fields.numbers[3]?,
                level_bytes: fields.numbers[5]?.checked_add(fields.numbers[6]?)?,
                is_compressed: fields.is_compressed,
            },
            fields.numbers[4]?,
        ),
        _ => return None,
    };
    Some(PageHeader {
        header_bytes: bytes.len() - reader.remaining(),
        compressed_bytes: compressed?,
        uncompressed_bytes: uncompressed?,
        values: fields.numbers[1]?,
        encoding: encoding as i64,
        page,
    })
}

/// The first fields of the three structs, by field id.
struct Fields {
    numbers: [Option<usize>; 7],
    is_compressed: bool,
}

impl Fields {
    fn read(reader: &mut Compact<'_>) -> Option<Fields> {
        let mut fields = Fields { numbers: [None; 7], is_compressed: true };
        let mut field = 0;
        while let Some(kind) = reader.field(&mut field)? {
            let number = usize::try_from(field).ok().and_then(|field| fields.numbers.get_mut(field));
            match (number, kind) {
                (Some(number), Kind::I32) => *number = Some(reader.size()?),
                // The fields of a data page of version 2 are its `is_compressed`, after these, and statistics.
                (_, Kind::True | Kind::False) if field == 7 => fields.is_compressed = kind == Kind::True,
                // Statistics of a data page of version 1, and whether a dictionary is sorted.
                (Some(_), Kind::Struct) if field == 5 => reader.skip(kind, 1)?,
                (Some(_), Kind::True | Kind::False) if field == 3 => {}
                (Some(_), _) => return None,
                (None, _) => reader.skip(kind, 1)?,
            }
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// type = DATA_PAGE, uncompressed 300, compressed 20, crc, data_page_header {7 values, encodings, statistics}.
    const HEADER: &[u8] = &[
        0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x28, 0x15, 0x02, 0x1c, 0x15, 0x0e, 0x15, 0x00, 0x15, 0x06, 0x15,
        0x06, 0x1c, 0x18, 0x02, b'a', b'b', 0x11, 0x00, 0x00, 0x00,
    ];

    /// type = DATA_PAGE_V2, uncompressed 300, compressed 20, data_page_header_v2 {7 values, 2 nulls, 5 rows, RLE_DICTIONARY, 4
    /// and 3 bytes of levels, not compressed}.
    const HEADER_V2: &[u8] = &[
        0x15, 0x06, 0x15, 0xd8, 0x04, 0x15, 0x28, 0x5c, 0x15, 0x0e, 0x15, 0x04, 0x15, 0x0a, 0x15, 0x10, 0x15,
        0x08, 0x15, 0x06, 0x12, 0x00, 0x00,
    ];

    #[test]
    fn a_page_header_gives_its_sizes_and_its_end() {
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(b"page");
        let header = page_header(&bytes).unwrap();
        let expected = PageHeader {
            header_bytes: HEADER.len(),
            compressed_bytes: 20,
            uncompressed_bytes: 300,
            values: 7,
            encoding: 0,
            page: PageKind::DataV1,
        };
        assert_eq!(header, expected);
        let header = page_header(HEADER_V2).unwrap();
        assert_eq!((header.values, header.encoding, header.header_bytes), (7, 8, HEADER_V2.len()));
        assert_eq!(header.page, PageKind::DataV2 { rows: 5, level_bytes: 7, is_compressed: false });
    }

    #[test]
    fn cut_headers_negative_sizes_and_endless_nesting_are_no_page_headers() {
        for whole in [HEADER, HEADER_V2] {
            for end in 0..whole.len() {
                assert_eq!(page_header(&whole[..end]), None, "cut at {end}");
            }
        }
        assert_eq!(page_header(&[0x25, 0x01, 0x15, 0x02, 0x00]), None, "-1 bytes");
        assert_eq!(page_header(&[0x1c; 10_000]), None);
        assert_eq!(page_header(&[0x19, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x7f]), None, "forged list length");
        let mut other_type = HEADER.to_vec();
        other_type[1] = 0x04;
        assert_eq!(page_header(&other_type), None, "a dictionary page with the header of a data page");
    }
}
