//! Values, keys and cells as the SDKs are told them (see `sdk.rs`).

use serde_json::{Value, json};

/// Seconds: cells may be as old as the epoch.
pub const FOR_EVER: i64 = 9_000_000_000;

pub fn integer(value: i64) -> Value {
    json!({ "integer": value.to_string() })
}

pub fn double(value: f64) -> Value {
    bits(value.to_bits())
}

/// A double by its bits.
pub fn bits(bits: u64) -> Value {
    json!({ "double": format!("{bits:016x}") })
}

pub fn string(value: impl Into<String>) -> Value {
    json!({ "string": value.into() })
}

pub fn binary(value: impl AsRef<[u8]>) -> Value {
    json!({ "binary": hex::encode(value) })
}

pub fn boolean(value: bool) -> Value {
    json!({ "boolean": value })
}

/// Options of a table that keeps `versions` for ever and takes any timestamp.
pub fn options(versions: i32) -> Value {
    json!({ "ttl": -1, "versions": versions, "deviation": FOR_EVER })
}

/// A value of every kind that has pitfalls, small ones only.
pub fn every_value() -> Vec<Value> {
    let integers = [0, 1, -1, 255, i64::MAX, i64::MIN, (1 << 53) + 1, -(1 << 53) - 1];
    let doubles = [
        0.0,
        -0.0,
        0.1,
        1e300,
        5e-324,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let strings =
        ["", "plain", "ümläut €", "\u{10348}\u{1f512}\u{ffff}", "line\nbreak\r\ttab", "\0nul\0", "\"'\\<&>"];
    let binaries: [&[u8]; 4] =
        [b"", b"\0", b"\xff\xfe\x80", &std::array::from_fn::<u8, 256, _>(|byte| byte as u8)];
    let mut values: Vec<Value> = integers.map(integer).into();
    values.extend(doubles.map(double));
    values.extend(strings.map(string));
    values.extend(binaries.map(binary));
    values.extend([true, false].map(boolean));
    values
}
