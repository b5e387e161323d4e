//! The seeds of columns that were hashed before.

use super::{RowHasher, ValueType};

/// Columns that are remembered, at most.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 10;

/// Remembers the seed of each column in a place that follows from its name's length and last bytes; of two columns with
/// one place, the one that came last.
#[derive(Debug, Default)]
pub(super) struct ColumnSeeds {
    /// Empty until the first column comes.
    places: Vec<Option<ColumnSeed>>,
}

#[derive(Debug, Clone)]
struct ColumnSeed {
    name: Box<str>,
    value_type: ValueType,
    seed: u64,
}

impl ColumnSeeds {
    /// [`RowHasher::column_seed`] of the column.
    #[inline]
    pub(super) fn seed(&mut self, name: &str, value_type: ValueType) -> u64 {
        match self.places.get(place(name, value_type)) {
            Some(Some(known)) if known.value_type == value_type && *known.name == *name => known.seed,
            _ => self.remember(name, value_type),
        }
    }

    #[inline(never)]
    fn remember(&mut self, name: &str, value_type: ValueType) -> u64 {
        let seed = RowHasher::column_seed(name, value_type);
        self.places.resize(PLACES, None);
        self.places[place(name, value_type)] = Some(ColumnSeed { name: name.into(), value_type, seed });
        seed
    }
}

#[inline]
fn place(name: &str, value_type: ValueType) -> usize {
    let name = name.as_bytes();
    let end = match name.last_chunk::<8>() {
        Some(end) => u64::from_le_bytes(*end),
        None => name.iter().fold(0, |end, byte| end << 8 | u64::from(*byte)),
    };
    let bits = end ^ (name.len() as u64) << 24 ^ u64::from(value_type.code()) << 40;
    // The highest bits of the product depend on all bits.
    (bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - PLACE_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_remembered_seed_is_the_seed_even_where_columns_share_a_place() {
        let mut seeds = ColumnSeeds::default();
        let names: Vec<String> =
            (0..3_000).map(|n| format!("{}{}", "prefix".repeat(n % 5), n / 7 * 7)).collect();
        for _ in 0..3 {
            for name in names.iter().map(String::as_str).chain(["", "é", "x"]) {
                for value_type in ValueType::ALL {
                    assert_eq!(
                        seeds.seed(name, value_type),
                        RowHasher::column_seed(name, value_type),
                        "{name}"
                    );
                }
            }
        }
        assert_eq!(seeds.places.len(), PLACES);
        let places: HashSet<_> =
            (0..200).map(|n| place(&format!("attribute_{n:03}"), ValueType::Integer)).collect();
        assert!(
            places.len() > 150,
            "{}: names that differ in their last bytes alone are spread",
            places.len()
        );
        // Names that differ before their last eight bytes only.
        assert_eq!(place("a_temperature", ValueType::Double), place("b_temperature", ValueType::Double));
        assert_ne!(
            seeds.seed("a_temperature", ValueType::Double),
            seeds.seed("b_temperature", ValueType::Double)
        );
    }
}
