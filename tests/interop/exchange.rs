//! What one SDK wrote, every other one and this crate read the same, to the bit.

use serde_json::{Value, json};

use crate::language::Language::{Go, Java, Node, Python};
use crate::ours;
use crate::sandbox_process::SandboxProcess;
use crate::sdk::Sdk;
use crate::value::{binary, bits, every_value, integer, options, string};

/// Every SDK in every way that it talks.
const TALKERS: [(crate::language::Language, &str); 6] =
    [(Java, ""), (Java, "v4"), (Go, ""), (Node, ""), (Python, ""), (Python, "v4")];

/// Each SDK writes a table of its own; then everybody reads all of them.
pub fn everybody_reads_what_anybody_wrote() -> Result<(), String> {
    let sandbox = SandboxProcess::start(&[]);
    let described: Value = serde_json::from_str(sandbox.description()).map_err(|error| error.to_string())?;
    let mut sdks = TALKERS
        .iter()
        .map(|(language, flavour)| Sdk::start(*language, flavour, sandbox.description()))
        .collect::<Result<Vec<_>, _>>()?;
    let expected = rows();
    let tables: Vec<_> = TALKERS
        .iter()
        .map(|(language, flavour)| format!("by_{language}_{flavour}").replace('.', ""))
        .collect();
    for (sdk, table) in sdks.iter_mut().zip(&tables) {
        write(sdk, table, &expected);
    }
    for (table, (writer, flavour)) in tables.iter().zip(TALKERS) {
        let same = |reader: &str, keeps_nan: bool, found: Vec<Value>| {
            assert_eq!(found.len(), expected.len(), "rows of {writer} {flavour} that {reader} reads");
            for (mut found, mut expected) in found.into_iter().zip(expected.iter().cloned()) {
                if !keeps_nan {
                    with_one_nan(&mut found);
                    with_one_nan(&mut expected);
                }
                assert_eq!(found, expected, "{reader} reads a row that {writer} {flavour} wrote");
            }
        };
        let kept = writer.has("nan");
        for sdk in &mut sdks {
            let (reader, keeps) = (sdk.language.to_string(), kept && sdk.has("nan"));
            same(&reader, keeps, read(sdk, table));
        }
        same("the client", kept, ours::read_through_client(&described, table));
        same("the backup", kept, ours::read_through_backup(&described, table));
    }
    sandbox.stop();
    Ok(())
}

const KEYS: [(&str, &str); 4] = [("a", "string"), ("b", "integer"), ("c", "binary"), ("d", "string")];

/// Rows in key order: every value, versions of changing types, one row with nothing but its key, one with many columns.
fn rows() -> Vec<Value> {
    let key = |a: &str, b: i64, c: &[u8]| {
        json!([["a", string(a)], ["b", integer(b)], ["c", binary(c)], ["d", string("ü")]])
    };
    let mut values = every_value();
    values.extend([0x7ff8_0000_dead_beef, 0xfff8_0000_0000_0001, 0x7ff0_0000_0000_0001].map(bits));
    let cells: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(number, value)| json!([format!("v{number:02}"), value, 1 + 1_000 * number as i64]))
        .collect();
    let versions: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(age, value)| json!(["v", value, 4_102_444_800_000_i64 - age as i64]))
        .collect();
    let many: Vec<_> = (0..300).map(|number| json!([format!("c{number:03}"), integer(number), 7])).collect();
    let row = |key: Value, cells: Vec<Value>| json!({ "key": key, "cells": cells });
    let mut rows = vec![
        row(key("", i64::MIN, b""), cells),
        row(key("", i64::MAX, b"\0"), versions),
        row(key("k", 0, b"\xff"), vec![]),
        row(key("k", 1, b"\xff"), many),
    ];
    rows.extend(values.iter().enumerate().map(|(number, value)| {
        row(
            key("\u{ffff}", number as i64, b""),
            vec![json!(["mixed", value, 5]), json!(["n", integer(number as i64), 6])],
        )
    }));
    rows.push(row(key("\u{10000}", 0, b""), vec![json!(["last", string("\u{10ffff}"), 1])]));
    rows
}

/// Forgets which NaN it was.
fn with_one_nan(value: &mut Value) {
    match value {
        Value::Array(parts) => parts.iter_mut().for_each(with_one_nan),
        Value::Object(fields) => {
            if let Some(Value::String(double)) = fields.get_mut("double") {
                let is_nan = u64::from_str_radix(double, 16).is_ok_and(|bits| f64::from_bits(bits).is_nan());
                if is_nan {
                    "nan".clone_into(double);
                }
            }
            fields.values_mut().for_each(with_one_nan);
        }
        _ => {}
    }
}

/// Writes the rows with single puts, updates and batches in turn.
fn write(sdk: &mut Sdk, table: &str, rows: &[Value]) {
    let keys: Vec<_> = KEYS.iter().map(|(name, kind)| json!([name, kind, false])).collect();
    sdk.ok("create_table", json!({ "table": table, "keys": keys, "options": options(100) }));
    for (number, row) in rows.iter().enumerate() {
        let puts: Vec<_> = row["cells"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|cell| json!(["put", cell[0], cell[1], cell[2]]))
            .collect();
        let put = json!({ "table": table, "op": "put", "key": row["key"], "cells": row["cells"] });
        match number % 3 {
            1 => sdk.ok("batch_write", json!({ "tables": [{ "table": table, "rows": [put] }] })),
            2 if !puts.is_empty() => {
                sdk.ok("write", json!({ "table": table, "op": "update", "key": row["key"], "changes": puts }))
            }
            _ => sdk.ok("write", put),
        };
    }
}

/// Reads the whole table, a few rows a page.
fn read(sdk: &mut Sdk, table: &str) -> Vec<Value> {
    let bound = |bound: &str| KEYS.iter().map(|(name, _)| json!([name, bound])).collect::<Vec<_>>();
    let (mut from, mut rows) = (json!(bound("min")), Vec::new());
    while !from.is_null() {
        let call =
            json!({ "table": table, "from": from, "to": bound("max"), "versions": i32::MAX, "limit": 7 });
        let mut page = sdk.ok("range", call);
        rows.append(page["rows"].as_array_mut().expect("rows"));
        from = page["next"].take();
    }
    rows
}
