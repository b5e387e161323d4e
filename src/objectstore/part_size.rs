//! How large the parts of an upload are.

const MIB: u64 = 1 << 20;

/// Parts per upload (OSS, "Multipart upload" limits: numbers 1 to 10,000).
pub const MOST_PARTS: u32 = 10_000;

/// Smallest part this program sends, except for the last one: 16 MiB. Each part is a billed request, and smaller
/// ones do not get faster.
pub const SMALLEST_PART_BYTES: u64 = 16 * MIB;

/// Largest part (OSS, "Limits": 5 GB).
const LARGEST_PART_BYTES: u64 = 5 * 1024 * MIB;

/// With an unknown size the part size doubles after so many parts. 10,000 parts then hold 2000 * 16 MiB * 31, about
/// 968 GiB, while an object of a few GiB still has small parts.
const PARTS_PER_SIZE: u32 = 2000;

/// The size of each part of one upload; constant, or growing so that 10,000 parts are always enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSizePolicy {
    first_bytes: u64,
    grows: bool,
}

impl PartSizePolicy {
    /// For an object of about `expected_bytes`: `max(16 MiB, expected / 9000 rounded up to 1 MiB)`. An object that
    /// turns out up to three times larger still fits: from the 9000th part on they grow.
    pub fn expecting(expected_bytes: u64) -> PartSizePolicy {
        let even = expected_bytes.div_ceil(9000).next_multiple_of(MIB);
        PartSizePolicy::starting_at(even.max(SMALLEST_PART_BYTES))
    }

    /// For an object of unknown size: 16 MiB, doubled every 2000 parts.
    pub fn unknown() -> PartSizePolicy {
        PartSizePolicy { first_bytes: SMALLEST_PART_BYTES, grows: true }
    }

    /// Parts of `bytes`, at least 100 KiB (the minimum of OSS) and at most 5 GiB, which do not grow until
    /// 9000 of them are used.
    pub fn starting_at(bytes: u64) -> PartSizePolicy {
        PartSizePolicy { first_bytes: bytes.clamp(100 << 10, LARGEST_PART_BYTES), grows: false }
    }

    /// Bytes of part `number`, counted from 1.
    pub fn part_bytes(self, number: u32) -> u64 {
        let before = number.saturating_sub(1);
        let doublings = if self.grows {
            before / PARTS_PER_SIZE
        } else {
            // The object is larger than was expected: double every 100 parts from the 9000th on.
            before.saturating_sub(9000).div_ceil(100)
        };
        self.first_bytes.saturating_mul(1 << doublings.min(32)).min(LARGEST_PART_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_for(policy: PartSizePolicy, total: u64) -> u32 {
        let mut left = total;
        let mut number = 0;
        while left > 0 {
            number += 1;
            left = left.saturating_sub(policy.part_bytes(number));
        }
        number
    }

    #[test]
    fn an_expected_size_gives_equal_parts_of_at_least_16_mib() {
        assert_eq!(PartSizePolicy::expecting(0).part_bytes(1), 16 * MIB);
        assert_eq!(PartSizePolicy::expecting(9000 * 16 * MIB).part_bytes(1), 16 * MIB);
        let over = PartSizePolicy::expecting(9000 * 16 * MIB + 1);
        assert_eq!((over.part_bytes(1), over.part_bytes(9000)), (17 * MIB, 17 * MIB));
    }

    #[test]
    fn an_unknown_size_doubles_the_parts_every_2000() {
        let policy = PartSizePolicy::unknown();
        let sizes = [1, 2000, 2001, 4001, 10_000].map(|number| policy.part_bytes(number) / MIB);
        assert_eq!(sizes, [16, 16, 32, 64, 256]);
    }

    #[test]
    fn ten_thousand_parts_are_enough_for_the_size_and_three_times_a_wrong_guess() {
        const TIB: u64 = 1 << 40;
        assert!(parts_for(PartSizePolicy::unknown(), 968 << 30) <= MOST_PARTS);
        for expected in [1, 1 << 30, TIB, 40 * TIB] {
            assert!(parts_for(PartSizePolicy::expecting(expected), expected) <= 9000, "{expected}");
        }
        assert!(parts_for(PartSizePolicy::expecting(TIB), 3 * TIB) <= MOST_PARTS);
    }
}
