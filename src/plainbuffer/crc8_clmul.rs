//! CRC-8 by carry-less multiplication (x86-64 only): of long inputs four to five times as fast as by tables.
//!
//! A message is a polynomial over GF(2), first bit highest; its CRC is that polynomial times x^8 modulo P. Sixteen
//! bytes are `high * x^64 + low`, and moving them n bits up the message multiplies both halves by a constant modulo
//! P. So a block is folded onto a later one with two multiplications and no table. What is left at the end is one
//! block with the same CRC as the whole. The remainder of eight bytes takes one multiplication: by floor(x^72 / P),
//! which gives the quotient (Barrett), and the last bits of quotient times P are the remainder's.

use std::arch::x86_64::{
    __m128i, _mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_set_epi8, _mm_set_epi64x,
    _mm_shuffle_epi8, _mm_unpackhi_epi64, _mm_xor_si128,
};

use super::crc8::{self, Method};

/// From here on four blocks at a time.
const LONG: usize = 80;

/// x^`exponent` mod P.
const fn power_of_x(exponent: u32) -> i64 {
    let mut power = 1_u8;
    let mut step = 0;
    while step < exponent {
        power = (power << 1) ^ (if power & 0x80 != 0 { 0x07 } else { 0 });
        step += 1;
    }
    power as i64
}

/// For the high and the low half of a block that moves one block, and four blocks.
const BY_ONE: (i64, i64) = (power_of_x(128 + 64), power_of_x(128));
const BY_FOUR: (i64, i64) = (power_of_x(512 + 64), power_of_x(512));

/// floor(x^72 / P) without its highest bit, x^64.
const QUOTIENT: i64 = {
    let mut quotient = 0_u64;
    let mut remainder = 1_u8;
    let mut bit = 0;
    // Long division: the first step, whose bit is x^64, leaves x^8 mod P = 0x07.
    while bit < 65 {
        let high = if bit == 0 { 1 } else { (remainder >> 7) as u64 };
        remainder = if bit == 0 { 0x07 } else { (remainder << 1) ^ (0x07 * (remainder >> 7)) };
        quotient = (quotient << 1) | high;
        bit += 1;
    }
    quotient as i64
};

/// Proof that this processor has what [`CarryLess::FEATURES`] names.
#[derive(Debug, Clone, Copy)]
pub(super) struct CarryLess(());

impl CarryLess {
    /// `None` if this processor cannot.
    pub(super) fn detect() -> Option<CarryLess> {
        let has_all = std::arch::is_x86_feature_detected!("pclmulqdq")
            && std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi2");
        has_all.then_some(CarryLess(()))
    }
}

impl Method for CarryLess {
    #[inline(always)]
    fn of_8(self, bytes: &[u8; 8]) -> u8 {
        // SAFETY: `self` is the proof that the processor has the target features.
        unsafe { remainder(u64::from_be_bytes(*bytes)) }
    }

    #[inline(always)]
    fn update_within(self, crc: u8, bytes: &[u8], length: usize) -> u8 {
        match (length, bytes.first_chunk::<16>()) {
            // Most keys and many values: no call.
            (1..=16, Some(first)) => {
                let block = part(crc, first, length);
                // SAFETY: as above.
                let (high, low) = unsafe { (remainder((block >> 64) as u64), remainder(block as u64)) };
                crc8::append_8(high, low)
            }
            // SAFETY: as above.
            _ => unsafe { update_within(crc, bytes, length) },
        }
    }
}

/// The first `size` bytes of a message, 1 to 16, that goes on from `crc`: as the end of a block, since zeros in front of a
/// message do not count, with the CRC added to the first byte.
#[inline(always)]
fn part(crc: u8, first: &[u8; 16], size: usize) -> u128 {
    (u128::from_be_bytes(*first) ^ (u128::from(crc) << 120)) >> (8 * (16 - size))
}

#[inline(never)]
#[target_feature(enable = "pclmulqdq,avx2,bmi2")]
fn update_within(crc: u8, bytes: &[u8], length: usize) -> u8 {
    let Some(first) = bytes.first_chunk::<16>().filter(|_| length > 0) else {
        return crc8::update_by_tables(crc, &bytes[..length]);
    };
    if length >= LONG {
        return update_long(crc, &bytes[..length]);
    }
    // The first block is a part of one, so that whole ones are left.
    let size = (length - 1) % 16 + 1;
    let mut sum = vector(part(crc, first, size));
    let (blocks, _) = bytes[size..length].as_chunks::<16>();
    for block in blocks {
        sum = _mm_xor_si128(multiply(sum, by_one()), load(block));
    }
    remainder_of_block(sum)
}

#[inline(never)]
#[target_feature(enable = "pclmulqdq,avx2,bmi2")]
fn update_long(crc: u8, bytes: &[u8]) -> u8 {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let Some((first, blocks)) = blocks.split_first_chunk::<4>() else {
        return crc8::update_by_tables(crc, bytes);
    };
    let by_four = _mm_set_epi64x(BY_FOUR.0, BY_FOUR.1);
    let mut lanes = first.map(|block| load(&block));
    lanes[0] = _mm_xor_si128(lanes[0], _mm_set_epi64x(i64::from(crc) << 56, 0));
    let (groups, blocks) = blocks.as_chunks::<4>();
    for group in groups {
        for (lane, block) in lanes.iter_mut().zip(group) {
            *lane = _mm_xor_si128(multiply(*lane, by_four), load(block));
        }
    }
    let [mut sum, lanes @ ..] = lanes;
    for lane in lanes {
        sum = _mm_xor_si128(multiply(sum, by_one()), lane);
    }
    for block in blocks {
        sum = _mm_xor_si128(multiply(sum, by_one()), load(block));
    }
    crc8::update_by_tables(remainder_of_block(sum), rest)
}

/// The CRC of sixteen bytes from 0.
#[inline]
#[target_feature(enable = "pclmulqdq,avx2,bmi2")]
fn remainder_of_block(block: __m128i) -> u8 {
    let high = _mm_cvtsi128_si64(_mm_unpackhi_epi64(block, block)) as u64;
    let low = _mm_cvtsi128_si64(block) as u64;
    crc8::append_8(remainder(high), remainder(low))
}

/// The CRC of eight bytes from 0, the first of them highest.
#[inline]
#[target_feature(enable = "pclmulqdq,avx2,bmi2")]
fn remainder(message: u64) -> u8 {
    let product =
        _mm_clmulepi64_si128::<0x00>(_mm_cvtsi64_si128(message as i64), _mm_cvtsi64_si128(QUOTIENT));
    let quotient = _mm_cvtsi128_si64(_mm_unpackhi_epi64(product, product)) as u64 ^ message;
    (quotient ^ (quotient << 1) ^ (quotient << 2)) as u8
}

#[inline]
#[target_feature(enable = "pclmulqdq,avx2,bmi2")]
fn by_one() -> __m128i {
    _mm_set_epi64x(BY_ONE.0, BY_ONE.1)
}

/// First byte highest.
#[inline]
#[target_feature(enable = "pclmulqdq,avx2,bmi2")]
fn load(block: &[u8; 16]) -> __m128i {
    let bits = u128::from_le_bytes(*block);
    _mm_shuffle_epi8(vector(bits), _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
}

#[inline]
#[target_feature(enable = "pclmulqdq,avx2,bmi2")]
fn vector(bits: u128) -> __m128i {
    _mm_set_epi64x((bits >> 64) as i64, bits as i64)
}

#[inline]
#[target_feature(enable = "pclmulqdq,avx2,bmi2")]
fn multiply(block: __m128i, constants: __m128i) -> __m128i {
    let high = _mm_clmulepi64_si128::<0x11>(block, constants);
    let low = _mm_clmulepi64_si128::<0x00>(block, constants);
    _mm_xor_si128(high, low)
}
