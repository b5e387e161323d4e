//! As much of the Thrift compact protocol as it takes to look before the Parquet crate leaps.
//!
//! Encoding: apache/thrift `doc/specs/thrift-compact-protocol.md`.

/// Values nested deeper than this are refused; Parquet's own need 6.
const MAX_DEPTH: u8 = 12;

/// Compact protocol types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true`, in the field header.
    True,
    /// `false`, in the field header.
    False,
    /// One byte.
    I8,
    /// A varint.
    I16,
    /// A varint.
    I32,
    /// A varint.
    I64,
    /// 8 bytes.
    Double,
    /// Length and bytes.
    Binary,
    /// A list or a set.
    List,
    /// A map.
    Map,
    /// Fields up to a stop byte.
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

/// Reads forward; `None` means that the bytes are damaged or cut, and nothing more can be read.
pub struct Compact<'a> {
    rest: &'a [u8],
}

impl<'a> Compact<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Compact<'a> {
        Compact { rest: bytes }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

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
    pub fn size(&mut self) -> Option<usize> {
        i32::try_from(self.zigzag()?).ok().and_then(|size| usize::try_from(size).ok())
    }

    /// The next field of a struct, whose id goes into `id`; inner `None` at its end.
    pub fn field(&mut self, id: &mut i64) -> Option<Option<Kind>> {
        let header = self.byte()?;
        if header == 0 {
            return Some(None);
        }
        let delta = i64::from(header >> 4);
        *id = if delta == 0 { self.zigzag()? } else { id.checked_add(delta)? };
        Kind::from_code(header & 0x0f).map(Some)
    }

    /// The start of a list: what its elements are, and how many it claims.
    pub fn list(&mut self) -> Option<(Kind, u64)> {
        let header = self.byte()?;
        let short = u64::from(header >> 4);
        let count = if short == 15 { self.varint()? } else { short };
        Some((Kind::from_code(header & 0x0f)?, count))
    }

    /// Passes over a value inside `depth` structs and lists.
    pub fn skip(&mut self, kind: Kind, depth: u8) -> Option<()> {
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
                let (kind, count) = self.list()?;
                self.skip_elements(&[kind], count, depth)?;
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
