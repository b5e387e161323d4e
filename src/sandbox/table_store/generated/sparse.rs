//! Readings of whatever was there: ten of 200 columns per row, others in every row.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::draft::{Columns, Draft};
use super::{FIRST_TIMESTAMP, Random, hash};
use crate::model::PrimaryKeyType;

const COUNT: u64 = 200;

const PRESENT: u32 = 10;

const KEY: [(&str, PrimaryKeyType); 1] = [("id", PrimaryKeyType::String)];

pub(super) static COLUMNS: LazyLock<Columns> =
    LazyLock::new(|| Columns::new(&KEY, (0..COUNT).map(|column| format!("sensor_{column:03}")).collect()));

pub(super) fn fill(seed: u64, index: u64, draft: &mut Draft) {
    let mut random = Random(hash(seed, index));
    draft.timestamp = FIRST_TIMESTAMP + (index * 40) as i64 + random.below(40) as i64;
    let (mut present, mut chosen) = ([0_u64; COUNT.div_ceil(64) as usize], 0);
    while chosen < PRESENT {
        let column = random.below(COUNT);
        let (word, bit) = ((column / 64) as usize, 1 << (column % 64));
        chosen += u32::from(present[word] & bit == 0);
        present[word] |= bit;
    }
    for (word, mut bits) in present.into_iter().enumerate() {
        while bits != 0 {
            let column = word * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            match column % 5 {
                0 => draft.integer(column, random.below(1_000) as i64),
                1 => draft.double(column, random.below(100_000) as f64 / 100.0),
                2 => draft.integer(column, (index * 10) as i64 + random.below(10) as i64),
                3 => {
                    let start = draft.text.len();
                    let _ = write!(draft.text, "state-{:09}", random.below(1_000));
                    draft.text(column, start);
                }
                _ => draft.boolean(column, random.below(2) == 0),
            }
        }
    }
}
