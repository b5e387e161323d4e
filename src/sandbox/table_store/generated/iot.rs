//! Sensor readings: 2,000 rows per device, about five seconds apart.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use super::{FIRST_TIMESTAMP, GeneratedTable, hash};
use crate::model::{
    Cell, KeyPart, PrimaryKey, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, Row, Value,
};

const ROWS_PER_DEVICE: u64 = 2_000;
const STEP_MS: u64 = 5_000;
const JITTER_MS: u64 = 4_000;

/// Rows between two corners of the curves that temperature and humidity follow.
const CURVE_STEP: u64 = 64;

const STATUSES: [&str; 8] = ["ok", "ok", "ok", "ok", "idle", "warning", "error", "offline"];

pub(super) fn primary_key() -> Vec<PrimaryKeyColumn> {
    [("device", PrimaryKeyType::String), ("time", PrimaryKeyType::Integer)]
        .map(|(name, column_type)| PrimaryKeyColumn {
            name: name.to_owned(),
            column_type,
            auto_increment: false,
        })
        .into()
}

pub(super) fn key(table: &GeneratedTable, index: u64) -> PrimaryKey {
    let device = device_name(index / ROWS_PER_DEVICE);
    let device = std::str::from_utf8(&device).unwrap_or_default().to_owned();
    PrimaryKey(vec![KeyPart::String(device), KeyPart::Integer(time(index, hash(table.seed, index)))])
}

/// `device-000000017`.
fn device_name(mut device: u64) -> [u8; 16] {
    let mut name = *b"device-000000000";
    for digit in name[7..].iter_mut().rev() {
        *digit = b'0' + (device % 10) as u8;
        device /= 10;
    }
    name
}

fn time(index: u64, random: u64) -> i64 {
    FIRST_TIMESTAMP + (index % ROWS_PER_DEVICE * STEP_MS + (random >> 48) % JITTER_MS) as i64
}

/// A curve through random corners, 0 to 65,535.
fn curve(seed: u64, index: u64) -> i64 {
    let corner = |at: u64| (hash(seed, at) >> 48) as i64;
    let (left, along) = (index / CURVE_STEP, (index % CURVE_STEP) as i64);
    let (from, to) = (corner(left), corner(left + 1));
    from + (to - from) * along / CURVE_STEP as i64
}

pub(super) fn scan<F>(table: &GeneratedTable, indexes: impl Iterator<Item = u64>, mut visit: F)
where
    F: FnMut(&mut Row<'_>) -> ControlFlow<()>,
{
    let mut message = String::new();
    let mut spare = Row::default();
    for index in indexes {
        let random = hash(table.seed, index);
        let more = hash(random, index);
        let device = device_name(index / ROWS_PER_DEVICE);
        let time = time(index, random);
        let temp = curve(table.seed ^ 1, index) * 5_000 / 65_536 - 1_000 + (random % 16) as i64;
        let humid = curve(table.seed ^ 2, index) * 600 / 65_536 + 300;
        message.clear();
        let has_message = random & 3 == 0;
        if has_message {
            let _ = write!(message, "event {more:016x} on channel {}", random >> 4 & 15);
        }

        let mut row = recycled(spare);
        row.key.push(("device", PrimaryKeyValue::String(std::str::from_utf8(&device).unwrap_or_default())));
        row.key.push(("time", PrimaryKeyValue::Integer(time)));
        let mut put = |name, value| row.cells.push(Cell::put(name, value, Some(time)));
        put("code", Value::Integer((random >> 8 & 0xffff) as i64 % 500));
        put("count", Value::Integer((index % ROWS_PER_DEVICE * 3 + random % 3) as i64));
        if random >> 24 & 0xff >= 13 {
            put("humid", Value::Double(humid as f64 / 10.0));
        }
        if has_message {
            put("msg", Value::String(&message));
        }
        put("on", Value::Boolean(random >> 32 & 7 != 0));
        put("status", Value::String(STATUSES[(random >> 36 & 7) as usize]));
        put("temp", Value::Double(temp as f64 / 100.0));
        put("volt", Value::Double(3.0 + (more >> 11) as f64 / (1u64 << 53) as f64));
        if visit(&mut row).is_break() {
            return;
        }
        spare = recycled(row);
    }
}

/// The same memory for a row that borrows from elsewhere: collecting an emptied vector into one of the same layout
/// keeps its allocation.
fn recycled<'a>(mut row: Row<'_>) -> Row<'a> {
    row.clear();
    Row {
        key: row.key.into_iter().map_while(|_| None).collect(),
        cells: row.cells.into_iter().map_while(|_| None).collect(),
        ..Row::default()
    }
}
