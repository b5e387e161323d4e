//! From attribute names to planned columns, by guessing the next one.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64;

use super::plan::{ColumnPlan, Role};
use crate::model::{RowHasher, ValueType};

/// No column of that kind.
pub const NONE: u32 = u32::MAX;

/// The slot of names that are not in the plan; also stands before the first cell of a row.
pub const UNPLANNED: usize = 0;

/// What the plan has for one attribute name.
#[derive(Debug)]
pub struct Slot {
    name: Box<str>,
    /// Index among the attribute columns per value type, or [`NONE`].
    pub columns: [u32; 5],
    /// Row-sum seed per value type.
    pub seeds: [u64; 5],
    /// Index among the timestamp columns, or [`NONE`].
    pub timestamps: u32,
    /// The slot that came after this one last time.
    successor: u32,
}

/// The slots of a plan, ascending by name after [`UNPLANNED`].
#[derive(Debug)]
pub struct Slots {
    slots: Vec<Slot>,
    /// By XXH3-64 of the name. Of two names with one hash only the first is here; the other one is treated as
    /// unplanned, which loses nothing.
    by_hash: HashMap<u64, u32, BuildHasherDefault<HashIsKey>>,
}

/// Place of a type in the arrays of a [`Slot`].
#[inline]
pub fn type_index(value_type: ValueType) -> usize {
    match value_type {
        ValueType::Integer => 0,
        ValueType::Double => 1,
        ValueType::Boolean => 2,
        ValueType::String => 3,
        ValueType::Binary => 4,
    }
}

impl Slots {
    /// One slot per attribute name. Columns and timestamp columns are numbered in plan order, each from 0.
    pub fn new(plan: &ColumnPlan) -> Slots {
        let mut slots =
            vec![Slot { name: "".into(), columns: [NONE; 5], seeds: [0; 5], timestamps: NONE, successor: 1 }];
        let (mut column_count, mut timestamp_count) = (0, 0);
        for column in plan.columns() {
            let (Role::Attribute { attribute, .. } | Role::AttributeTimestamp { attribute }) = &column.role
            else {
                continue;
            };
            if slots.len() == 1 || slots.last().is_some_and(|slot| *slot.name != **attribute) {
                slots.push(Slot {
                    name: attribute.as_str().into(),
                    columns: [NONE; 5],
                    seeds: ValueType::ALL.map(|value_type| RowHasher::column_seed(attribute, value_type)),
                    timestamps: NONE,
                    successor: slots.len() as u32 + 1,
                });
            }
            let Some(slot) = slots.last_mut() else { continue };
            if let Role::Attribute { value_type, .. } = &column.role {
                slot.columns[type_index(*value_type)] = column_count;
                column_count += 1;
            } else {
                slot.timestamps = timestamp_count;
                timestamp_count += 1;
            }
        }
        let mut by_hash = HashMap::default();
        for (index, slot) in slots.iter().enumerate().skip(1) {
            by_hash.entry(xxh3_64(slot.name.as_bytes())).or_insert(index as u32);
        }
        Slots { slots, by_hash }
    }

    /// The slot for `name`, given the slot of the last cell of the row that had one. Learns from a wrong guess.
    #[inline]
    pub fn find(&mut self, previous: usize, name: &str) -> usize {
        let is_at = |index: usize| self.slots.get(index).is_some_and(|slot| equal_names(&slot.name, name));
        let guess = self.slots[previous].successor as usize;
        if is_at(guess) {
            return guess;
        }
        // A column that only some rows have: the guess skips it, and stays right for the other rows.
        if is_at(previous + 1) {
            return previous + 1;
        }
        self.look_up(previous, name)
    }

    fn look_up(&mut self, previous: usize, name: &str) -> usize {
        let Some(&found) = self.by_hash.get(&xxh3_64(name.as_bytes())) else {
            return UNPLANNED;
        };
        if *self.slots[found as usize].name != *name {
            return UNPLANNED;
        }
        // A second version of the same column says nothing about the next name.
        if found as usize != previous {
            self.slots[previous].successor = found;
        }
        found as usize
    }

    /// The slot at an index that [`Slots::find`] gave.
    #[inline]
    pub fn get(&self, index: usize) -> &Slot {
        &self.slots[index]
    }
}

/// Compares names without a call where they are 4 to 32 bytes long, as most are.
#[inline(always)]
pub fn equal_names(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        4..=7 => same_ends::<4>(a, b),
        8..=16 => same_ends::<8>(a, b),
        17..=32 => same_ends::<16>(a, b),
        _ => a == b,
    }
}

/// Whether the first `N` and the last `N` bytes are the same; for 2 `N` bytes at most that is all of them.
#[inline(always)]
fn same_ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
    (a.first_chunk::<N>() == b.first_chunk::<N>()) & (a.last_chunk::<N>() == b.last_chunk::<N>())
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct HashIsKey(u64);

impl Hasher for HashIsKey {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_the_same_only_byte_for_byte() {
        for length in 0..80 {
            let name = "n".repeat(length);
            assert!(equal_names(&name, &name.clone()), "{length}");
            assert!(!equal_names(&name, &format!("{name}n")), "{length}");
            for at in 0..length {
                let mut other = name.clone();
                other.replace_range(at..=at, "x");
                assert!(!equal_names(&name, &other), "{length} {at}");
            }
        }
    }
}
