//! Sensor readings: 2,000 rows per device, about five seconds apart.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::draft::{Columns, Draft};
use super::{FIRST_TIMESTAMP, hash, names};
use crate::model::PrimaryKeyType;

pub(super) const ROWS_PER_DEVICE: u64 = 2_000;
const STEP_MS: u64 = 5_000;
const JITTER_MS: u64 = 4_000;

/// Rows between two corners of the curves that temperature and humidity follow.
const CURVE_STEP: u64 = 64;

const STATUSES: [&str; 8] = ["ok", "ok", "ok", "ok", "idle", "warning", "error", "offline"];

const KEY: [(&str, PrimaryKeyType); 2] =
    [("device", PrimaryKeyType::String), ("time", PrimaryKeyType::Integer)];

pub(super) static COLUMNS: LazyLock<Columns> = LazyLock::new(|| {
    Columns::new(&KEY, names(["code", "count", "humid", "msg", "on", "status", "temp", "volt"]))
});

pub(super) fn time(seed: u64, index: u64, within: u64) -> i64 {
    FIRST_TIMESTAMP + (within * STEP_MS + (hash(seed, index) >> 48) % JITTER_MS) as i64
}

/// A curve through random corners, 0 to 65,535.
fn curve(seed: u64, index: u64) -> i64 {
    let corner = |at: u64| (hash(seed, at) >> 48) as i64;
    let (left, along) = (index / CURVE_STEP, (index % CURVE_STEP) as i64);
    let (from, to) = (corner(left), corner(left + 1));
    from + (to - from) * along / CURVE_STEP as i64
}

/// Row `index`, which is the one `within` its device.
pub(super) fn fill(seed: u64, index: u64, within: u64, draft: &mut Draft) {
    let random = hash(seed, index);
    let more = hash(random, index);
    let temp = curve(seed ^ 1, index) * 5_000 / 65_536 - 1_000 + (random % 16) as i64;
    let humid = curve(seed ^ 2, index) * 600 / 65_536 + 300;
    draft.timestamp = time(seed, index, within);
    draft.second = Some(draft.timestamp);
    draft.integer(0, (random >> 8 & 0xffff) as i64 % 500);
    draft.integer(1, (within * 3 + random % 3) as i64);
    if random >> 24 & 0xff >= 13 {
        draft.double(2, humid as f64 / 10.0);
    }
    if random & 3 == 0 {
        let _ = write!(draft.text, "event {more:016x} on channel {}", random >> 4 & 15);
        draft.text(3, 0);
    }
    draft.boolean(4, random >> 32 & 7 != 0);
    draft.word(5, STATUSES[(random >> 36 & 7) as usize]);
    draft.double(6, temp as f64 / 100.0);
    draft.double(7, 3.0 + (more >> 11) as f64 / (1u64 << 53) as f64);
}
