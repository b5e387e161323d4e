//! Everything that is hard to keep, in every row some of it.

use std::ops::ControlFlow;

use super::keys::Keys;
use super::{FIRST_TIMESTAMP, GeneratedTable, hash};
use crate::model::{DefinedColumn, KeyPart, PrimaryKeyType, Row, ValueType};
use crate::sandbox::table_store::stored::{StoredRow, StoredValue};

pub(super) const MAX_VERSIONS: i32 = 5;

/// Rows that share the STRING key: 25 INTEGERs with 4 BINARYs each.
pub(super) const ROWS_PER_GROUP: u64 = 100;

const BINARIES: [&[u8]; 4] = [b"", b"\0", b"\0\xff", b"\xff"];

const TEXTS: [&str; 6] = ["", "plain", "line\nbreak\0nul", "ümläut €", "\u{10348}\u{1f512}", " "];

/// Quiet and signalling NaN with payloads, both zeros, both infinities, the ends of the range.
const DOUBLES: [u64; 10] = [
    0x7ff8_0000_0000_0000,
    0x7ff8_0000_dead_beef,
    0xfff0_0000_0000_0001,
    0x8000_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x3ff1_9999_9999_999a,
];

const INTEGERS: [i64; 6] = [i64::MIN, i64::MAX, 0, -1, 1 << 53, (1 << 53) + 1];

pub(super) const KEY: [(&str, PrimaryKeyType); 3] = [
    ("region", PrimaryKeyType::String),
    ("number", PrimaryKeyType::Integer),
    ("tag", PrimaryKeyType::Binary),
];

pub(super) fn defined_columns() -> Vec<DefinedColumn> {
    vec![DefinedColumn { name: "fixed".to_owned(), column_type: ValueType::Integer }]
}

/// The STRING of a group: empty for the first. Later groups begin with U+FB01, then U+1D4B6: ascending in UTF-8,
/// descending in UTF-16.
pub(super) fn region(groups: u64, group: u64) -> String {
    let initial = if group < groups / 2 { '\u{fb01}' } else { '\u{1d4b6}' };
    if group == 0 { String::new() } else { format!("{initial}{group:010}") }
}

/// The INTEGER and the BINARY of the row that is the one `within` its group.
pub(super) fn rest_of_key(within: u64) -> [KeyPart; 2] {
    let number = match within / 4 {
        0 => i64::MIN,
        24 => i64::MAX,
        step => (step as i64 - 12) * 1_000,
    };
    [KeyPart::Integer(number), KeyPart::Binary(BINARIES[(within % 4) as usize].to_vec())]
}

pub(super) fn scan<F>(table: &GeneratedTable, indexes: impl Iterator<Item = u64>, mut visit: F)
where
    F: FnMut(u64, &mut Row<'_>) -> ControlFlow<()>,
{
    let keys = Keys::new(table);
    for index in indexes {
        let (key, cells) = (table.key_in(&keys, index), cells(table, index));
        let mut row = Row::default();
        row.key.extend(KEY.iter().map(|(name, _)| *name).zip(key.parts().iter().map(KeyPart::as_value)));
        cells.view(&mut row, MAX_VERSIONS as usize, i64::MIN);
        if visit(index, &mut row).is_break() {
            return;
        }
    }
}

/// A value of the type that `random` chooses.
fn any_value(random: u64) -> StoredValue {
    let choice = (random >> 8) as usize;
    match random % 5 {
        0 => StoredValue::Integer(INTEGERS[choice % INTEGERS.len()]),
        1 => StoredValue::Double(f64::from_bits(DOUBLES[choice % DOUBLES.len()])),
        2 => StoredValue::Boolean(choice & 1 == 1),
        3 => StoredValue::String(TEXTS[choice % TEXTS.len()].into()),
        _ => StoredValue::Binary(binary(random)),
    }
}

/// 0 to 40 bytes.
fn binary(random: u64) -> Box<[u8]> {
    let length = random >> 16 & 63;
    (0..length.min(40)).map(|at| hash(random, at) as u8).collect()
}

fn cells(table: &GeneratedTable, index: u64) -> StoredRow {
    let random = |salt: u64| hash(table.seed ^ salt.wrapping_mul(0xA076_1D64_78BD_642F), index);
    let start = FIRST_TIMESTAMP + (index % 100_000) as i64 * 1_000;
    let mut row = StoredRow::new(start);
    // A key alone.
    if random(0) % 17 == 0 {
        return row;
    }
    let mut salt = 1;
    let mut put = |name: &str, versions: u64, value: &dyn Fn(u64) -> StoredValue| {
        salt += 1;
        for version in 0..versions {
            let random = random(salt * 8 + version);
            let timestamp = start + (version * 100 + random % 100) as i64;
            row.put(name, timestamp, value(random), MAX_VERSIONS as usize);
        }
    };
    let sometimes = random(1);
    put("fixed", 1, &|random| StoredValue::Integer(random as i64));
    put("varies", 1, &any_value);
    put("versions", 1 + sometimes % 5, &any_value);
    put("name", 1, &|random| StoredValue::String(format!("n{}", random % 1000).into()));
    put("Name", sometimes >> 4 & 1, &|_| StoredValue::String("".into()));
    put("NAME", sometimes >> 5 & 1, &|random| StoredValue::Boolean(random & 1 == 0));
    put("odd", sometimes >> 6 & 1, &|random| {
        StoredValue::Double(f64::from_bits(DOUBLES[(random % DOUBLES.len() as u64) as usize]))
    });
    put("payload", u64::from(sometimes >> 7 & 3 == 0), &|random| {
        StoredValue::Double(f64::from_bits(0x7ff8_0000_0000_0000 | random & 0x7_ffff_ffff_ffff))
    });
    put("blob", 1 + (sometimes >> 9 & 1), &|random| StoredValue::Binary(binary(random)));
    put("text", 1, &|random| StoredValue::String(TEXTS[(random % TEXTS.len() as u64) as usize].into()));
    put("_ts", u64::from(sometimes >> 11 & 7 == 0), &|random| StoredValue::Integer(random as i64 >> 20));
    if sometimes % 199 == 0 {
        put("long", 1, &|random| StoredValue::String("0123456789".repeat((random % 2_000) as usize).into()));
    }
    if index >= table.rows / 5 * 4 {
        put("late", 1, &any_value);
    }
    if sometimes % 101 == 7 {
        for column in 0..150 {
            put(&format!("wide_{column:03}"), 1, &|random| StoredValue::Integer(random as i64 >> 40));
        }
    }
    row
}
