//! Records of a business table: 60 columns, all present, in every type and from two values to all different.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::draft::{Columns, Draft};
use super::{FIRST_TIMESTAMP, Random, hash};
use crate::model::PrimaryKeyType;

const COUNT: usize = 60;

const KEY: [(&str, PrimaryKeyType); 1] = [("id", PrimaryKeyType::String)];

const STATES: [&str; 6] = ["created", "paid", "delivered", "returned", "cancelled", "waiting-for-payment"];

pub(super) static COLUMNS: LazyLock<Columns> =
    LazyLock::new(|| Columns::new(&KEY, (0..COUNT).map(|column| format!("column_{column:02}")).collect()));

/// Of twelve neighbours four are INTEGER, three DOUBLE, three STRING, one BOOLEAN, one BINARY.
pub(super) fn fill(seed: u64, index: u64, draft: &mut Draft) {
    let mut random = Random(hash(seed, index));
    draft.timestamp = FIRST_TIMESTAMP + (index * 40) as i64 + random.below(40) as i64;
    for column in 0..COUNT {
        match column % 12 {
            0 => draft.integer(column, (index * 7) as i64 + random.below(7) as i64),
            1 => draft.integer(column, random.below(100) as i64),
            2 => draft.integer(column, random.below(1 << 20) as i64),
            3 => draft.integer(column, FIRST_TIMESTAMP + (index * 1_000) as i64),
            4 => draft.double(column, random.below(100_000) as f64 / 100.0),
            5 => draft.double(column, random.below(200) as f64 / 4.0),
            6 => draft.double(column, random.next() as f64 / u64::MAX as f64),
            7 => draft.word(column, STATES[random.below(STATES.len() as u64) as usize]),
            8 => {
                let start = draft.text.len();
                let _ = write!(draft.text, "customer-{:08}", random.below(50_000));
                draft.text(column, start);
            }
            9 => {
                let start = draft.text.len();
                let _ = write!(draft.text, "{:016x}-{:07}", random.next(), index % 10_000_000);
                draft.text(column, start);
            }
            10 => draft.boolean(column, random.below(4) == 0),
            _ => {
                let bytes = (u128::from(random.next()) << 64 | u128::from(index)).to_be_bytes();
                draft.binary(column, &bytes);
            }
        }
    }
}
