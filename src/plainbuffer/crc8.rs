//! CRC-8 with polynomial 0x07, initial value 0, not reflected, no final xor; `123456789` gives 0xF4.
//!
//! One table lookup per byte is a chain in which each lookup waits for the one before. `TABLES[k]` answers "this
//! byte, then k zero bytes", and the CRC is linear, so the lookups of sixteen bytes are independent of each other.

const TABLES: [[u8; 256]; 16] = {
    let mut tables = [[0_u8; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ (if crc & 0x80 != 0 { 0x07 } else { 0 });
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 16 {
        let mut byte = 0;
        while byte < 256 {
            tables[zeros][byte] = tables[0][tables[zeros - 1][byte] as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
};

/// In a static, so that every use shares one copy.
static TABLE: [[u8; 256]; 16] = TABLES;

#[inline(always)]
fn ahead(zeros: usize, byte: u8) -> u8 {
    TABLE[zeros][usize::from(byte)]
}

/// The CRC-8 of `bytes`.
pub fn checksum(bytes: &[u8]) -> u8 {
    checksum_from(0, bytes)
}

/// Goes on from `crc` over `bytes`.
pub fn checksum_from(crc: u8, bytes: &[u8]) -> u8 {
    update(crc, bytes)
}

/// The CRC-8 of bytes by table look-ups alone, as on processors without carry-less multiplication.
pub fn checksum_by_tables(bytes: &[u8]) -> u8 {
    update_by_tables(0, bytes)
}

/// One byte more.
#[inline(always)]
pub(super) fn update_byte(crc: u8, byte: u8) -> u8 {
    ahead(0, crc ^ byte)
}

/// Four bytes more.
#[inline(always)]
pub(super) fn update_4(crc: u8, bytes: &[u8; 4]) -> u8 {
    let [a, b, c, d] = *bytes;
    ahead(3, a ^ crc) ^ ahead(2, b) ^ ahead(1, c) ^ ahead(0, d)
}

/// The length of a STRING or BINARY more: by tables, so that short values all take the one way for eight bytes or fewer.
#[inline(always)]
pub(super) fn update_length(crc: u8, size: usize) -> u8 {
    update_4(crc, &(size as u32).to_le_bytes())
}

/// Eight bytes more.
#[inline(always)]
pub(super) fn update_8(crc: u8, bytes: &[u8; 8]) -> u8 {
    let [a, b, c, d, e, f, g, h] = *bytes;
    ahead(7, a ^ crc)
        ^ ahead(6, b)
        ^ ahead(5, c)
        ^ ahead(4, d)
        ^ ahead(3, e)
        ^ ahead(2, f)
        ^ ahead(1, g)
        ^ ahead(0, h)
}

/// Eight bytes more whose own checksum, from 0, is `crc_of_eight`.
#[inline(always)]
pub(super) fn append_8(crc: u8, crc_of_eight: u8) -> u8 {
    ahead(7, crc) ^ crc_of_eight
}

/// `first`, then eight bytes: a type code and an INTEGER or DOUBLE.
#[inline(always)]
pub(super) fn update_9(crc: u8, first: u8, bytes: &[u8; 8]) -> u8 {
    ahead(8, first ^ crc) ^ update_8(0, bytes)
}

/// Shorter inputs are not worth the question what the processor can.
#[cfg(target_arch = "x86_64")]
const WORTH_ASKING: usize = 64;

/// Any number of bytes more.
#[inline]
pub(super) fn update(crc: u8, bytes: &[u8]) -> u8 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= WORTH_ASKING
        && let Some(method) = super::crc8_clmul::CarryLess::detect()
    {
        return method.update_within(crc, bytes, bytes.len());
    }
    update_by_tables(crc, bytes)
}

/// A way to compute it, for loops that choose once.
pub(super) trait Method: Copy {
    /// The checksum of eight bytes from 0.
    fn of_8(self, bytes: &[u8; 8]) -> u8;

    /// Whether a checksum is not the one that was stored.
    #[inline(always)]
    fn differ(self, stored: u8, computed: u8) -> bool {
        stored != computed
    }

    /// Goes on from `crc` over the first `length` of `bytes`, which has so many. Quicker where 16 or more are there,
    /// though they may not count.
    fn update_within(self, crc: u8, bytes: &[u8], length: usize) -> u8;
}

/// The way that every processor has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables;

impl Method for Tables {
    #[inline(always)]
    fn of_8(self, bytes: &[u8; 8]) -> u8 {
        update_8(0, bytes)
    }

    #[inline(always)]
    fn update_within(self, crc: u8, bytes: &[u8], length: usize) -> u8 {
        update_by_tables(crc, &bytes[..length])
    }
}

/// No checksum at all: what decoding takes without them, for benches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unchecked;

impl Method for Unchecked {
    #[inline(always)]
    fn of_8(self, _: &[u8; 8]) -> u8 {
        0
    }

    #[inline(always)]
    fn differ(self, _: u8, _: u8) -> bool {
        false
    }

    #[inline(always)]
    fn update_within(self, _: u8, _: &[u8], _: usize) -> u8 {
        0
    }
}

#[inline]
pub(super) fn update_by_tables(mut crc: u8, bytes: &[u8]) -> u8 {
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        let mut next = ahead(15, block[0] ^ crc);
        for (index, byte) in block.iter().enumerate().skip(1) {
            next ^= ahead(15 - index, *byte);
        }
        crc = next;
    }
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        crc = update_8(crc, word);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        crc = update_4(crc, half);
    }
    for byte in rest {
        crc = update_byte(crc, *byte);
    }
    crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, bit by bit.
    fn bitwise(mut crc: u8, bytes: &[u8]) -> u8 {
        for byte in bytes {
            crc ^= byte;
            for _ in 0..8 {
                crc = (crc << 1) ^ (0x07 * (crc >> 7));
            }
        }
        crc
    }

    #[test]
    fn the_check_value_is_the_published_one() {
        assert_eq!(checksum(b"123456789"), 0xF4);
    }

    proptest! {
        #[test]
        fn every_way_to_compute_it_agrees_with_the_definition(
            crc: u8, first: u8, eight: [u8; 8], bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            prop_assert_eq!(update(crc, &bytes), bitwise(crc, &bytes));
            prop_assert_eq!(update_by_tables(crc, &bytes), bitwise(crc, &bytes));
            prop_assert_eq!(update_8(crc, &eight), bitwise(crc, &eight));
            prop_assert_eq!(append_8(crc, update_8(0, &eight)), bitwise(crc, &eight));
            prop_assert_eq!(update_9(crc, first, &eight), bitwise(bitwise(crc, &[first]), &eight));
            let four = [eight[0], eight[1], eight[2], eight[3]];
            prop_assert_eq!(update_4(crc, &four), bitwise(crc, &four));
        }

        #[test]
        fn both_methods_agree_with_the_definition_at_every_length(
            crc: u8, eight: [u8; 8], bytes in proptest::collection::vec(any::<u8>(), 0..400), cut: prop::sample::Index,
        ) {
            let length = cut.index(bytes.len() + 1);
            let expected = (bitwise(0, &eight), bitwise(crc, &bytes[..length]));
            prop_assert_eq!((Tables.of_8(&eight), Tables.update_within(crc, &bytes, length)), expected);
            #[cfg(target_arch = "x86_64")]
            if let Some(method) = crate::plainbuffer::crc8_clmul::CarryLess::detect() {
                prop_assert_eq!((method.of_8(&eight), method.update_within(crc, &bytes, length)), expected);
            }
        }
    }
}
