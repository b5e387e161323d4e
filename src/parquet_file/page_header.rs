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
    /// It is a dictionary.
    pub is_dictionary: bool,
}

/// The page header at the start of `bytes`; `None` if there is none.
pub fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut reader = Compact::new(bytes);
    let (mut compressed, mut uncompressed, mut values, mut is_dictionary) = (None, None, None, false);
    let mut field = 0;
    while let Some(kind) = reader.field(&mut field)? {
        match (field, kind) {
            (2, Kind::I32) => uncompressed = Some(reader.size()?),
            (3, Kind::I32) => compressed = Some(reader.size()?),
            // Data page header, dictionary page header, data page header v2: their first field is num_values.
            (5 | 7 | 8, Kind::Struct) => {
                is_dictionary |= field == 7;
                let mut inner = 0;
                while let Some(kind) = reader.field(&mut inner)? {
                    match (inner, kind) {
                        (1, Kind::I32) => values = Some(reader.size()?),
                        (1, _) => return None,
                        _ => reader.skip(kind, 1)?,
                    }
                }
            }
            // Another type under one of these ids would let the Parquet crate read another header.
            (2 | 3 | 5 | 7 | 8, _) => return None,
            _ => reader.skip(kind, 0)?,
        }
    }
    Some(PageHeader {
        header_bytes: bytes.len() - reader.remaining(),
        compressed_bytes: compressed?,
        uncompressed_bytes: uncompressed?,
        values: values.unwrap_or(0),
        is_dictionary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// type = DATA_PAGE, uncompressed 300, compressed 20, crc, data_page_header {7 values, encodings, statistics}.
    const HEADER: &[u8] = &[
        0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x28, 0x15, 0x02, 0x1c, 0x15, 0x0e, 0x15, 0x00, 0x15, 0x06, 0x15,
        0x06, 0x1c, 0x18, 0x02, b'a', b'b', 0x11, 0x00, 0x00, 0x00,
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
            is_dictionary: false,
        };
        assert_eq!(header, expected);
    }

    #[test]
    fn cut_headers_negative_sizes_and_endless_nesting_are_no_page_headers() {
        for end in 0..HEADER.len() {
            assert_eq!(page_header(&HEADER[..end]), None, "cut at {end}");
        }
        assert_eq!(page_header(&[0x25, 0x01, 0x15, 0x02, 0x00]), None, "-1 bytes");
        assert_eq!(page_header(&[0x1c; 10_000]), None);
        assert_eq!(page_header(&[0x19, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x7f]), None, "forged list length");
    }
}
