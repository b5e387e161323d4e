//! The bytes that every cell of one name and type starts with.

use super::wire::*;

/// Bytes compared at once.
const WIDTH: usize = 32;
const WORDS: usize = WIDTH / 8;

/// `03 04 length name` and what else is the same in every such cell.
#[derive(Debug, Clone)]
pub(super) struct CellHead {
    /// The first [`WIDTH`] bytes, or all and zeros behind them.
    words: [u64; WORDS],
    /// All ones where `words` counts.
    masks: [u64; WORDS],
    length: usize,
    /// All of it.
    bytes: Box<[u8]>,
}

impl CellHead {
    /// `03 04 length name 05`, and behind it the length and the type code of a value that are always the same.
    pub(super) fn of(name: &str, fixed: Option<(u32, u8)>) -> CellHead {
        let mut head = vec![CELL, CELL_NAME];
        head.extend_from_slice(&(name.len() as u32).to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        head.push(CELL_VALUE);
        if let Some((length, code)) = fixed {
            head.extend_from_slice(&length.to_le_bytes());
            head.push(code);
        }
        CellHead::new(head)
    }

    pub(super) fn new(bytes: Vec<u8>) -> CellHead {
        let (mut first, mut mask) = ([0; WIDTH], [0; WIDTH]);
        for (index, byte) in bytes.iter().take(WIDTH).enumerate() {
            (first[index], mask[index]) = (*byte, u8::MAX);
        }
        CellHead { words: words(&first), masks: words(&mask), length: bytes.len(), bytes: bytes.into() }
    }

    /// What follows the head in `rest`, if that starts with it.
    #[inline(always)]
    pub(super) fn strip<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        match rest.first_chunk::<WIDTH>() {
            Some(first) if self.length <= WIDTH => {
                let mut difference = 0;
                for (word, (expected, mask)) in words(first).iter().zip(self.words.iter().zip(&self.masks)) {
                    difference |= (word ^ expected) & mask;
                }
                if difference == 0 { rest.get(self.length..) } else { None }
            }
            _ => self.strip_long(rest),
        }
    }

    /// A long name, or the end of a page.
    #[inline(never)]
    fn strip_long<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        rest.strip_prefix(&*self.bytes)
    }
}

#[inline(always)]
fn words(bytes: &[u8; WIDTH]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_any_length_is_seen_wherever_the_page_ends_and_nothing_else_is() {
        for length in 1..70 {
            let bytes: Vec<u8> = (0..length).collect();
            let head = CellHead::new(bytes.clone());
            for behind in 0..40 {
                let mut page = bytes.clone();
                page.resize(bytes.len() + behind, 0xff);
                assert_eq!(head.strip(&page), Some(&[0xff; 40][..behind]), "{length} {behind}");
                for at in 0..bytes.len() {
                    page[at] ^= 0x40;
                    assert_eq!(head.strip(&page), None, "{length} {behind} {at}");
                    page[at] ^= 0x40;
                }
                assert_eq!(head.strip(&bytes[..bytes.len() - 1]), None);
            }
        }
    }
}
