//! Where the expected cells of a name begin.

use xxhash_rust::xxh3::xxh3_64;

/// A hash table from names to the index of their first cell: for rows that have a few of many columns, where the next name
/// is seldom the next one expected.
#[derive(Debug, Clone, Default)]
pub(super) struct CellIndex {
    /// Indexes plus one; 0 is free. Twice as many as names at least, a power of two.
    slots: Box<[u32]>,
}

impl CellIndex {
    /// The index of `names`, which may repeat one after the other: the first of each counts.
    pub(super) fn new<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> CellIndex {
        let mut slots = vec![0; (names.len() * 2).next_power_of_two()].into_boxed_slice();
        let mut last = None;
        for (number, name) in (1..).zip(names) {
            if last.replace(name) == Some(name) {
                continue;
            }
            let mut slot = home(name.as_bytes(), slots.len());
            while slots[slot] != 0 {
                slot = (slot + 1) % slots.len();
            }
            slots[slot] = number;
        }
        CellIndex { slots }
    }

    /// What `visit` says of the first cell of `name`. It is asked about others too, which it must tell apart.
    #[inline]
    pub(super) fn find<T>(&self, name: &[u8], mut visit: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let mut slot = home(name, self.slots.len());
        loop {
            match *self.slots.get(slot)? {
                0 => return None,
                number => {
                    if let found @ Some(_) = visit(number as usize - 1) {
                        return found;
                    }
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

#[inline]
fn home(name: &[u8], slots: usize) -> usize {
    xxh3_64(name) as usize & slots.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_at_its_first_place_and_others_are_not() {
        for count in [0, 1, 2, 3, 200, 1_000] {
            let names: Vec<_> = (0..count).map(|number| format!("column_{}", number / 2)).collect();
            let index = CellIndex::new(names.iter().map(String::as_str));
            let find = |name: &str| index.find(name.as_bytes(), |at| (names[at] == name).then_some(at));
            for (at, name) in names.iter().enumerate() {
                assert_eq!(find(name), Some(at - at % 2), "{name} of {count}");
            }
            assert_eq!(find("column_"), None);
        }
    }
}
