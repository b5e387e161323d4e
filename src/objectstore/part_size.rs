//! How large the parts of an upload are.

/// Parts per upload (OSS, "Multipart upload" limits: numbers 1 to 10,000).
pub const MOST_PARTS: u32 = 10_000;

/// Smallest part but the last (OSS, "Limits": 100 KB).
const SMALLEST_PART_BYTES: u64 = 100 << 10;

/// Largest part (OSS, "Limits": 5 GB).
const LARGEST_PART_BYTES: u64 = 5 << 30;

/// Parts that all have the first size; behind them an object that got larger than anybody expected takes larger ones.
const EQUAL_PARTS: u32 = 9_000;

/// From then on the size doubles after so many parts.
const PARTS_PER_DOUBLING: u32 = 100;

/// The size of each part of one upload: constant, until it must grow so that 10,000 parts are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSizePolicy {
    first_bytes: u64,
}

impl PartSizePolicy {
    /// Parts of `bytes`, at least 100 KiB and at most 5 GiB (limits of OSS).
    pub fn starting_at(bytes: u64) -> PartSizePolicy {
        PartSizePolicy { first_bytes: bytes.clamp(SMALLEST_PART_BYTES, LARGEST_PART_BYTES) }
    }

    /// Bytes of part `number`, counted from 1.
    pub fn part_bytes(self, number: u32) -> u64 {
        let beyond = number.saturating_sub(1).saturating_sub(EQUAL_PARTS);
        let doublings = beyond.div_ceil(PARTS_PER_DOUBLING).min(32);
        self.first_bytes.saturating_mul(1 << doublings).min(LARGEST_PART_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn parts_are_equal_and_inside_the_limits_of_oss() {
        let policy = PartSizePolicy::starting_at(16 * MIB);
        assert_eq!([1, 2, 9_000, 9_001].map(|number| policy.part_bytes(number)), [16 * MIB; 4]);
        assert_eq!(PartSizePolicy::starting_at(0).part_bytes(1), 100 << 10);
        assert_eq!(PartSizePolicy::starting_at(u64::MAX).part_bytes(10_000), 5 << 30);
    }

    #[test]
    fn behind_9000_parts_they_grow_so_that_the_last_thousand_hold_much_more() {
        for first in [MIB, 16 * MIB] {
            let policy = PartSizePolicy::starting_at(first);
            let room: u64 = (1..=MOST_PARTS).map(|number| policy.part_bytes(number)).sum();
            println!("parts from {first} bytes: {room} bytes");
            assert!(room > 100_000 * first, "{room}");
            let sizes = (1..=MOST_PARTS).map(|number| policy.part_bytes(number));
            assert!(sizes.is_sorted());
        }
    }
}
