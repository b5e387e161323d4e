//! How long the longest value of a page is, where few stored bytes can stand for many decoded ones.
//!
//! A dictionary repeats an entry, DELTA_BYTE_ARRAY a prefix, as often as a page has values. The Parquet crate makes a copy
//! each time, so how many rows may be decoded at once depends on that length and not on the page's size.

/// Longest entry of a dictionary page of byte arrays, which are PLAIN: length, bytes, and so on.
pub fn longest_entry(page: &[u8]) -> Option<usize> {
    let mut rest = page;
    let mut longest = 0;
    while let Some((length, bytes)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        rest = bytes.get(length..)?;
        longest = longest.max(length);
    }
    rest.is_empty().then_some(longest)
}

/// Longest value of the values of a DELTA_BYTE_ARRAY page: lengths of prefixes, lengths of suffixes, suffixes.
pub fn longest_delta_byte_array(values: &[u8], most_values: usize) -> Option<usize> {
    let (prefixes, rest) = delta_binary_packed(values, most_values)?;
    let (suffixes, _) = delta_binary_packed(rest, most_values)?;
    if prefixes.len() != suffixes.len() {
        return None;
    }
    let mut lengths = prefixes.iter().zip(&suffixes).map(|(prefix, suffix)| {
        let prefix = usize::try_from(*prefix).ok()?;
        prefix.checked_add(usize::try_from(*suffix).ok()?)
    });
    lengths.try_fold(0, |longest, length| Some(longest.max(length?)))
}

/// Decodes a DELTA_BINARY_PACKED run of at most `most_values`; gives the bytes behind it too. Encoding: apache/parquet-format
/// `Encodings.md`.
fn delta_binary_packed(bytes: &[u8], most_values: usize) -> Option<(Vec<i64>, &[u8])> {
    let mut rest = bytes;
    let block_values = usize::try_from(varint(&mut rest)?).ok()?;
    let miniblocks = usize::try_from(varint(&mut rest)?).ok()?;
    let count = usize::try_from(varint(&mut rest)?).ok()?;
    let mut value = zigzag(varint(&mut rest)?);
    // The format wants blocks of a multiple of 128 values; what is much larger than a page is not ours.
    let is_sane = (1..=512).contains(&miniblocks) && (1..=1 << 20).contains(&block_values);
    if !is_sane || block_values % miniblocks != 0 || count > most_values {
        return None;
    }
    let per_miniblock = block_values / miniblocks;
    let mut values = Vec::with_capacity(count);
    if count > 0 {
        values.push(value);
    }
    while values.len() < count {
        let min_delta = zigzag(varint(&mut rest)?);
        let (widths, packed) = rest.split_at_checked(miniblocks)?;
        rest = packed;
        for width in widths {
            if values.len() == count {
                break;
            }
            let width = usize::from(*width);
            if width > 64 {
                return None;
            }
            let packed_bytes = (width * per_miniblock).div_ceil(8);
            let in_miniblock = per_miniblock.min(count - values.len());
            // The last miniblock may be cut where its values end.
            let (packed, behind) = match rest.split_at_checked(packed_bytes) {
                Some(parts) => parts,
                None => rest.split_at_checked((width * in_miniblock).div_ceil(8))?,
            };
            rest = behind;
            for index in 0..in_miniblock {
                let delta = bits(packed, index * width, width) as i64;
                value = value.wrapping_add(min_delta).wrapping_add(delta);
                values.push(value);
            }
        }
    }
    Some((values, rest))
}

/// `width` bits from bit `start` on, the lowest first; bits behind the end are 0.
fn bits(bytes: &[u8], start: usize, width: usize) -> u64 {
    let mut value = 0u128;
    for (place, byte) in bytes.iter().skip(start / 8).take(9).enumerate() {
        value |= u128::from(*byte) << (8 * place);
    }
    let mask = (1u128 << width) - 1;
    ((value >> (start % 8)) & mask) as u64
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_dictionary_entry_is_found_and_cut_pages_are_refused() {
        let page =
            [&3u32.to_le_bytes()[..], b"abc", &0u32.to_le_bytes(), &5u32.to_le_bytes(), b"hello"].concat();
        assert_eq!(longest_entry(&page), Some(5));
        assert_eq!(longest_entry(&[]), Some(0));
        assert_eq!(longest_entry(&page[..page.len() - 1]), None);
        assert_eq!(longest_entry(&page[..2]), None);
    }

    /// The example of `Encodings.md`: 7, 5, 3, 1, 2, 3, 4, 5 with blocks of 128 values.
    #[test]
    fn packed_deltas_come_out_as_the_format_page_says() {
        let header = [0x80, 0x01, 0x04, 0x08, 0x0e];
        // First value 7; deltas -2 -2 -2 1 1 1 1; min delta -2; 2 bits each: 0 0 0 3 3 3 3.
        let block = [0x03, 0x02, 0x00, 0x00, 0x00, 0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        let bytes = [&header[..], &block, b"rest"].concat();
        let (values, rest) = delta_binary_packed(&bytes, 8).unwrap();
        assert_eq!(values, [7, 5, 3, 1, 2, 3, 4, 5]);
        assert_eq!(rest, b"rest");
        assert_eq!(delta_binary_packed(&bytes, 7), None, "more values than the page");
        for end in 0..11 {
            assert_eq!(delta_binary_packed(&bytes[..end], 8), None, "cut at {end}");
        }
    }

    #[test]
    fn forged_counts_take_no_memory() {
        let huge = [0x80, 0x01, 0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00];
        assert_eq!(delta_binary_packed(&huge, 1 << 20), None);
        assert_eq!(longest_delta_byte_array(&huge, 1 << 20), None);
    }
}
