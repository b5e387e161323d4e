//! DELTA_BINARY_PACKED.
//!
//! Encoding: apache/parquet-format `Encodings.md`, "Delta Encoding". Blocks of 256 values in four miniblocks; each block has
//! the smallest of its deltas, each miniblock the width of what its deltas have above that.

use super::hybrid::write_varint;

const BLOCK: usize = 256;
const MINIBLOCKS: usize = 4;
const MINIBLOCK: usize = BLOCK / MINIBLOCKS;

/// The integers of one page. What it holds grows with what they take encoded.
#[derive(Debug)]
pub(super) struct DeltaPacker {
    count: u64,
    first: i64,
    last: i64,
    /// Deltas of the block that is not full.
    deltas: Box<[i64; BLOCK]>,
    pending: usize,
    /// Finished blocks.
    blocks: Vec<u8>,
}

impl Default for DeltaPacker {
    fn default() -> DeltaPacker {
        let deltas = Box::new([0; BLOCK]);
        DeltaPacker { count: 0, first: 0, last: 0, deltas, pending: 0, blocks: Vec::new() }
    }
}

impl DeltaPacker {
    /// Adds `values`.
    pub(super) fn extend(&mut self, values: &[i64]) {
        let mut values = values;
        if self.count == 0
            && let Some((first, rest)) = values.split_first()
        {
            (self.first, self.last, self.count) = (*first, *first, 1);
            values = rest;
        }
        self.count += values.len() as u64;
        while !values.is_empty() {
            let room = &mut self.deltas[self.pending..];
            let (now, rest) = values.split_at(values.len().min(room.len()));
            for (delta, value) in room.iter_mut().zip(now) {
                // Deltas wrap, and so do sums when they are read.
                *delta = value.wrapping_sub(self.last);
                self.last = *value;
            }
            self.pending += now.len();
            values = rest;
            if self.pending == BLOCK {
                self.end_block();
            }
        }
    }

    /// Adds one value.
    #[inline]
    pub(super) fn push(&mut self, value: i64) {
        self.extend(&[value]);
    }

    /// Bytes so far, about.
    pub(super) fn size(&self) -> usize {
        self.blocks.len() + self.pending
    }

    /// Appends the page's values to `out`; the packer starts over.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.pending > 0 {
            self.end_block();
        }
        write_varint(out, BLOCK as u64);
        write_varint(out, MINIBLOCKS as u64);
        write_varint(out, self.count);
        write_zigzag(out, self.first);
        out.extend_from_slice(&self.blocks);
        self.blocks.clear();
        self.count = 0;
    }

    fn end_block(&mut self) {
        let deltas = &mut self.deltas[..self.pending];
        let least = deltas.iter().copied().min().unwrap_or(0);
        write_zigzag(&mut self.blocks, least);
        let widths_at = self.blocks.len();
        self.blocks.extend_from_slice(&[0; MINIBLOCKS]);
        for (index, miniblock) in deltas.chunks_mut(MINIBLOCK).enumerate() {
            let mut above = [0; MINIBLOCK];
            let mut all = 0_u64;
            for (above, delta) in above.iter_mut().zip(miniblock) {
                *above = delta.wrapping_sub(least) as u64;
                all |= *above;
            }
            let width = u64::BITS - all.leading_zeros();
            self.blocks[widths_at + index] = width as u8;
            pack(&mut self.blocks, &mut above, width);
        }
        self.pending = 0;
    }
}

/// Appends the low `width` bits of each value, which has no higher ones, lowest first; the values are used up.
fn pack(out: &mut Vec<u8>, values: &mut [u64; MINIBLOCK], width: u32) {
    if width == 0 {
        return;
    }
    // Two neighbours are one value of twice the width, for as long as that fits.
    let (mut count, mut width) = (MINIBLOCK, width);
    while count > 1 && width <= u64::BITS / 2 {
        count /= 2;
        for index in 0..count {
            values[index] = values[2 * index] | values[2 * index + 1] << width;
        }
        width *= 2;
    }
    let (mut word, mut used) = (0, 0);
    for value in &values[..count] {
        word |= value << used;
        used += width;
        if used >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            used -= u64::BITS;
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    debug_assert_eq!(used, 0, "64 values fill whole words");
}

/// Appends a varint whose lowest bit is the sign.
pub(in super::super) fn write_zigzag(out: &mut Vec<u8>, value: i64) {
    write_varint(out, (value << 1 ^ value >> 63) as u64);
}
