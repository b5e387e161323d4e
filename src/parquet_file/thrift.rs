//! As much of the Thrift compact protocol as a Parquet page header needs.
//!
//! The Parquet crate trusts the sizes in a page header before it has read the page; this reader looks at them first.
//! Layout: `PageHeader` in apache/parquet-format `parquet.thrift`; encoding: apache/thrift
//! `doc/specs/thrift-compact-protocol.md`.

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

/// Structs in structs deeper than this are refused; a page header needs 3.
const MAX_DEPTH: u8 = 8;

/// The page header at the start of `bytes`; `None` if there is none.
pub fn page_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut reader = Compact { rest: bytes };
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
                        _ => reader.skip(kind, 1)?,
                    }
                }
            }
            _ => reader.skip(kind, 0)?,
        }
    }
    Some(PageHeader {
        header_bytes: bytes.len() - reader.rest.len(),
        compressed_bytes: compressed?,
        uncompressed_bytes: uncompressed?,
        values: values.unwrap_or(0),
        is_dictionary,
    })
}

/// Compact protocol types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    True,
    False,
    I8,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List,
    Map,
    Struct,
}

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::True,
            2 => Kind::False,
            3 => Kind::I8,
            4 => Kind::I16,
            5 => Kind::I32,
            6 => Kind::I64,
            7 => Kind::Double,
            8 => Kind::Binary,
            9 | 10 => Kind::List,
            11 => Kind::Map,
            12 => Kind::Struct,
            _ => return None,
        })
    }
}

struct Compact<'a> {
    rest: &'a [u8],
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn advance(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count or size: an i32 that is not negative.
    fn size(&mut self) -> Option<usize> {
        i32::try_from(self.zigzag()?).ok().and_then(|size| usize::try_from(size).ok())
    }

    /// The next field of a struct, whose id goes into `id`; inner `None` at its end.
    fn field(&mut self, id: &mut i64) -> Option<Option<Kind>> {
        let header = self.byte()?;
        if header == 0 {
            return Some(None);
        }
        let delta = i64::from(header >> 4);
        *id = if delta == 0 { self.zigzag()? } else { id.checked_add(delta)? };
        Kind::from_code(header & 0x0f).map(Some)
    }

    fn skip(&mut self, kind: Kind, depth: u8) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            Kind::True | Kind::False => {}
            Kind::I8 => self.advance(1)?,
            Kind::I16 | Kind::I32 | Kind::I64 => drop(self.varint()?),
            Kind::Double => self.advance(8)?,
            Kind::Binary => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.advance(length)?;
            }
            Kind::List => {
                let header = self.byte()?;
                let short = u64::from(header >> 4);
                let count = if short == 15 { self.varint()? } else { short };
                self.skip_elements(&[Kind::from_code(header & 0x0f)?], count, depth)?;
            }
            Kind::Map => {
                let count = self.varint()?;
                if count > 0 {
                    let kinds = self.byte()?;
                    let kinds = [Kind::from_code(kinds >> 4)?, Kind::from_code(kinds & 0x0f)?];
                    self.skip_elements(&kinds, count, depth)?;
                }
            }
            Kind::Struct => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
            }
        }
        Some(())
    }

    /// Every element takes at least a byte, so a forged count ends with the input.
    fn skip_elements(&mut self, kinds: &[Kind], count: u64, depth: u8) -> Option<()> {
        for _ in 0..count {
            for kind in kinds {
                match kind {
                    // In a list a boolean is a byte of its own.
                    Kind::True | Kind::False => self.advance(1)?,
                    kind => self.skip(*kind, depth + 1)?,
                }
            }
        }
        Some(())
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
