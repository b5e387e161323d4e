//! RLE / bit-packing hybrid: levels, booleans and dictionary indices.
//!
//! Encoding: apache/parquet-format `Encodings.md`, "Run Length Encoding / Bit-Packing Hybrid". A run is a varint of twice
//! its length and the value in as few bytes as it takes; a literal is a varint of twice its number of groups of eight,
//! plus one, and the bits, lowest first.

/// Values per group of a literal.
const GROUP: usize = 8;

/// Bytes of eight equal bits that are worth a run of their own: its header, value, and that of the next literal.
const SHORTEST_BIT_RUN: usize = 5;

/// Appends the first `count` of `bits`, lowest first in each byte, each as a value of one bit.
pub(super) fn write_bits(out: &mut Vec<u8>, bits: &[u8], count: usize) {
    let whole = count / GROUP;
    let (mut at, mut literal) = (0, 0);
    while at < whole {
        let byte = bits[at];
        let run = match byte {
            0 | 0xff => bits[at..whole].iter().take_while(|other| **other == byte).count(),
            _ => 1,
        };
        if run >= SHORTEST_BIT_RUN {
            write_bit_groups(out, &bits[literal..at]);
            write_run(out, u32::from(byte & 1), run * GROUP, 1);
            literal = at + run;
        }
        at += run;
    }
    write_bit_groups(out, &bits[literal..count.div_ceil(GROUP)]);
}

fn write_bit_groups(out: &mut Vec<u8>, groups: &[u8]) {
    if !groups.is_empty() {
        write_varint(out, (groups.len() as u64) << 1 | 1);
        out.extend_from_slice(groups);
    }
}

/// Appends `count` times `value`, which has `width` bits.
pub(super) fn write_run(out: &mut Vec<u8>, value: u32, count: usize, width: u32) {
    if count > 0 {
        write_varint(out, (count as u64) << 1);
        out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
    }
}

/// Appends `values` of `width` bits each, 32 at most.
pub(super) fn write_values(out: &mut Vec<u8>, values: &[u32], width: u32) {
    let (mut at, mut literal) = (0, 0);
    while at < values.len() {
        let rest = &values[at..];
        let run = rest.iter().take_while(|value| **value == rest[0]).count();
        if run >= GROUP {
            // A literal is made of whole groups, so a run is looked for where one ends.
            write_groups(out, &values[literal..at], width);
            write_run(out, rest[0], run, width);
            at += run;
            literal = at;
        } else {
            at += GROUP.min(rest.len());
        }
    }
    write_groups(out, &values[literal..], width);
}

fn write_groups(out: &mut Vec<u8>, values: &[u32], width: u32) {
    if values.is_empty() {
        return;
    }
    write_varint(out, (values.len().div_ceil(GROUP) as u64) << 1 | 1);
    for group in values.chunks(GROUP) {
        let (low, high) = group.split_at(group.len().min(GROUP / 2));
        let half = width * GROUP as u32 / 2;
        // Up to 16 bits per value half a group is a word, and all of it a double one.
        if width <= 16 {
            let pack = |values: &[u32]| {
                values.iter().rev().fold(0_u64, |packed, value| packed << width | u64::from(*value))
            };
            let packed = u128::from(pack(low)) | u128::from(pack(high)) << half;
            out.extend_from_slice(&packed.to_le_bytes()[..width as usize]);
        } else {
            let pack = |values: &[u32]| {
                values.iter().rev().fold(0_u128, |packed, value| packed << width | u128::from(*value))
            };
            let (low, high) = (pack(low), pack(high));
            let mut bytes = [0; 48];
            bytes[..16].copy_from_slice(&(low | high << half).to_le_bytes());
            bytes[16..32].copy_from_slice(&(high >> (128 - half)).to_le_bytes());
            out.extend_from_slice(&bytes[..width as usize]);
        }
    }
}

/// Appends seven bits a byte, lowest first.
pub(in super::super) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads it as the specification says, value by value.
    fn read(mut bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        let mut next = || {
            let (first, rest) = bytes.split_first().unwrap();
            bytes = rest;
            *first
        };
        while values.len() < count {
            let mut header = 0_u64;
            for shift in (0..).step_by(7) {
                let byte = next();
                header |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let value =
                    (0..width.div_ceil(8)).fold(0, |value, byte| value | u32::from(next()) << (8 * byte));
                values.extend(std::iter::repeat_n(value, (header >> 1) as usize));
            } else {
                for _ in 0..header >> 1 {
                    let group: Vec<u8> = (0..width).map(|_| next()).collect();
                    let bit = |at: u32| u32::from(group[at as usize / 8] >> (at % 8) & 1);
                    values
                        .extend((0..8).map(|value| {
                            (0..width).fold(0, |bits, at| bits | bit(value * width + at) << at)
                        }));
                }
            }
        }
        assert!(
            bytes.is_empty() && values.len() < count + 8 && values[count..].iter().all(|value| *value == 0)
        );
        values.truncate(count);
        values
    }

    /// Values of `width` bits, some of them in runs.
    fn values(width: u32) -> impl Strategy<Value = Vec<u32>> {
        let most = ((1_u64 << width) - 1) as u32;
        let piece = (0..=most, 1..40_usize, any::<bool>());
        prop::collection::vec(piece, 0..20).prop_map(move |pieces| {
            let value = |(start, count, runs): (u32, usize, bool)| {
                (0..count as u32)
                    .map(move |at| if runs { start } else { start.wrapping_mul(at * 7 + 1) & most })
            };
            pieces.into_iter().flat_map(value).collect()
        })
    }

    proptest! {
        #[test]
        fn values_of_every_width_come_back((width, values) in (0..=31_u32).prop_flat_map(|width| (Just(width), values(width)))) {
            let mut bytes = Vec::new();
            write_values(&mut bytes, &values, width);
            prop_assert_eq!(read(&bytes, width, values.len()), values);
        }

        #[test]
        fn bits_come_back(values in values(1)) {
            let mut bits = vec![0; values.len().div_ceil(8)];
            values.iter().enumerate().for_each(|(at, value)| bits[at / 8] |= (*value as u8) << (at % 8));
            let mut bytes = Vec::new();
            write_bits(&mut bytes, &bits, values.len());
            prop_assert_eq!(read(&bytes, 1, values.len()), values);
        }
    }
}
