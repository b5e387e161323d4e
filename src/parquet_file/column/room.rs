//! Memory that is filled again and again, to about the same size.

/// How much of a page is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Rows, those included that are being added.
    pub(super) rows: usize,
    /// How many there will be, about.
    pub(super) expected_rows: usize,
}

impl Progress {
    /// All of it.
    pub(super) const WHOLE: Progress = Progress { rows: 1, expected_rows: 1 };
}

/// Makes room for `more` items and an eighth of all of them, or for more at once where the page is to grow: twice as many at
/// most. Doubling without a look at what is to come, as `Vec` does, takes twice the memory for good as soon as the second
/// chunk of a column is a byte longer than the first: 0.9 MB per file of 11 columns and row groups of 65,536 rows.
pub(super) fn make_room<T>(memory: &mut Vec<T>, more: usize, progress: Progress) {
    if memory.capacity() - memory.len() < more {
        let needed = memory.len() + more;
        let rows_to_come = progress.expected_rows.saturating_sub(progress.rows).min(progress.rows);
        let to_come = needed * rows_to_come / progress.rows.max(1);
        memory.reserve_exact(more + to_come + (needed + to_come) / 8);
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
            make_room(&mut memory, size, Progress::WHOLE);
            assert!((size..=1_267).contains(&memory.capacity()), "{size}: {}", memory.capacity());
        }
        make_room(&mut memory, 0, Progress::WHOLE);
        assert!(memory.capacity() <= 1_267, "nothing more");
    }

    #[test]
    fn small_pieces_take_few_steps_to_little_more_than_they_are() {
        let (mut memory, mut steps, mut before) = (Vec::new(), 0, 0);
        for piece in 0..1_000_u32 {
            let rows = piece as usize + 1;
            make_room(&mut memory, 64, Progress { rows, expected_rows: 1_000 });
            memory.extend_from_slice(&[piece; 64]);
            steps += usize::from(memory.capacity() != before);
            before = memory.capacity();
        }
        assert!(steps < 12 && before <= 64_000 / 8 * 9, "{steps} steps to {before}");
    }
}
