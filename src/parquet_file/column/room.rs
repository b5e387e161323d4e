//! Memory that is filled again and again, to about the same size.

/// Makes room for `more` items and an eighth of all of them. Doubling, as `Vec` does, takes twice the memory for good as soon
/// as the second chunk of a column is a byte longer than the first: 0.9 MB per file of 11 columns and row groups of 65,536 rows.
pub(super) fn make_room<T>(memory: &mut Vec<T>, more: usize) {
    if memory.capacity() - memory.len() < more {
        let needed = memory.len() + more;
        memory.reserve_exact(more + needed / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_chunks_that_grow_a_little_stays_close_to_their_size() {
        let mut memory: Vec<u8> = Vec::new();
        for size in [1_000, 1_001, 1_100, 900, 1_126] {
            memory.clear();
            make_room(&mut memory, size);
            assert!((size..=1_267).contains(&memory.capacity()), "{size}: {}", memory.capacity());
        }
        make_room(&mut memory, 0);
        assert!(memory.capacity() <= 1_267, "nothing more");
    }

    #[test]
    fn small_pieces_take_few_steps() {
        let (mut memory, mut steps, mut before) = (Vec::new(), 0, 0);
        for piece in 0..1_000_u32 {
            make_room(&mut memory, 64);
            memory.extend_from_slice(&[piece; 64]);
            steps += usize::from(memory.capacity() != before);
            before = memory.capacity();
        }
        assert!(steps < 70 && before <= 64_000 / 8 * 9, "{steps} steps to {before}");
    }
}
