//! BulkImport and BulkExport, in both block types.

use serde_json::{Value, json};

use crate::sdk::Sdk;
use crate::value::{binary, boolean, double, integer, options, string};

fn key(number: i64) -> Value {
    json!([["a", string("k")], ["b", integer(number)]])
}

fn cells(number: i64) -> Value {
    json!([["n", integer(number), 10], ["s", string(format!("row {number}")), 10]])
}

fn put(number: i64, cells: Value) -> Value {
    json!({ "op": "put", "key": key(number), "cells": cells })
}

fn import(rows: impl IntoIterator<Item = Value>) -> Value {
    json!({ "table": "bulk", "rows": rows.into_iter().collect::<Vec<_>>() })
}

fn export(from: i64, to: i64, matrix: bool, columns: &[&str]) -> Value {
    json!({ "table": "bulk", "from": key(from), "to": key(to), "matrix": matrix, "columns": columns })
}

/// A row of a matrix has no timestamps.
fn without_timestamps(mut cells: Value) -> Value {
    cells.as_array_mut().into_iter().flatten().for_each(|cell| cell[2] = Value::Null);
    cells
}

/// Imports every kind of change and exports it again, whole and by columns.
pub fn imports_and_exports(sdk: &mut Sdk) {
    let keys = json!([["a", "string", false], ["b", "integer", false]]);
    sdk.ok("create_table", json!({ "table": "bulk", "keys": keys, "options": options(1) }));
    let done = json!({ "row": null });
    for first in (0..5_200).step_by(200) {
        let rows = (first..first + 200).map(|number| put(number, cells(number)));
        sdk.gives("bulk_import", import(rows), json!(vec![&done; 200]));
    }
    let row = |number: i64, cells: Value| json!({ "key": key(number), "cells": cells });
    let found = |rows: Vec<Value>| json!({ "rows": rows, "next": null });
    let whole = (10..13).map(|number| row(number, cells(number))).collect();
    sdk.gives("bulk_export", export(10, 13, false, &[]), found(whole));
    let wanted = ["a", "b", "s", "none"];
    let projected =
        |number: i64| row(number, without_timestamps(json!([["s", string(format!("row {number}")), 0]])));
    sdk.gives("bulk_export", export(10, 12, true, &wanted), found((10..12).map(projected).collect()));

    // Pages of 5,000 rows.
    let first = sdk.ok("bulk_export", export(0, 5_200, true, &["a", "b", "n"]));
    assert_eq!((first["rows"].as_array().map(Vec::len), &first["next"]), (Some(5_000), &key(5_000)));
    let second = sdk.ok("bulk_export", export(5_000, 5_200, true, &["a", "b", "n"]));
    assert_eq!((second["rows"].as_array().map(Vec::len), &second["next"]), (Some(200), &Value::Null));

    // Every kind of change and value, and rows that fail alone.
    let values = json!([
        ["d", double(-0.0), 5],
        ["i", integer(i64::MIN), 5],
        ["t", boolean(true), 5],
        ["x", binary(b"\0\xff"), 5]
    ]);
    let wrong_key = json!({ "op": "put", "key": [["a", integer(1)], ["b", integer(1)]], "cells": [] });
    let changes = [
        put(1, values.clone()),
        json!({ "op": "update", "key": key(2), "changes": [["delete_column", "n"], ["put", "s", string("new"), 20]] }),
        wrong_key,
        json!({ "op": "delete", "key": key(3) }),
        put(4, json!([])),
    ];
    let refused =
        json!({ "error": ["OTSInvalidPK", "Validate PK type fail. Input: VT_INTEGER, Meta: VT_STRING."] });
    sdk.gives("bulk_import", import(changes), json!([done, done, refused, done, done]));
    let rows = vec![row(1, values.clone()), row(2, json!([["s", string("new"), 20]])), row(4, json!([]))];
    sdk.gives("bulk_export", export(1, 5, false, &[]), found(rows));
    let typed = row(1, without_timestamps(values));
    sdk.gives("bulk_export", export(1, 2, true, &["a", "b", "d", "i", "t", "x"]), found(vec![typed]));
    let above = json!({ "column": "n", "is": ">", "value": integer(98), "pass_if_missing": false, "latest_only": true });
    let mut filtered = export(90, 100, false, &[]);
    filtered["filter"] = above;
    sdk.gives("bulk_export", filtered, found(vec![row(99, cells(99))]));

    let need = "DBT_SIMPLE_ROW_MATRIX need at least one column to get.";
    sdk.refused("bulk_export", export(0, 5, true, &[]), "OTSParameterInvalid", need);
    let begin = "Begin key must less than end key in FORWARD";
    sdk.refused("bulk_export", export(5, 5, false, &[]), "OTSParameterInvalid", begin);
    let many = import((0..201).map(|number| put(number, json!([]))));
    sdk.refused("bulk_import", many, "OTSParameterInvalid", "Rows count exceeds the upper limit: 200.");
    let mut nowhere = import([put(1, json!([]))]);
    nowhere["table"] = json!("nowhere");
    let gone = json!([{ "error": ["OTSObjectNotExist", "Requested table does not exist."] }]);
    sdk.gives("bulk_import", nowhere, gone);
}

/// GetRange in row matrices gives the same rows as in PlainBuffer.
pub fn ranges_in_matrices(sdk: &mut Sdk) {
    let keys = json!([["a", "string", false], ["b", "integer", false]]);
    sdk.ok("create_table", json!({ "table": "bulk", "keys": keys, "options": options(2) }));
    for number in 0..30 {
        sdk.ok("write", {
            let mut row = put(number, cells(number));
            row["table"] = json!("bulk");
            row
        });
    }
    let range = |matrix: bool| {
        json!({
            "table": "bulk", "from": key(3), "to": key(25), "versions": 1, "columns": ["a", "b", "s", "n"],
            "matrix": matrix, "limit": 7,
        })
    };
    let plain = sdk.ok("range", range(false));
    let matrix = sdk.ok("range", range(true));
    assert_eq!((plain["rows"].as_array().map(Vec::len), &plain["next"]), (Some(7), &key(10)));
    let rows = |page: &Value| -> Vec<(Value, Vec<(Value, Value)>)> {
        let row = |row: &Value| {
            let mut cells: Vec<_> = row["cells"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|cell| (cell[0].clone(), cell[1].clone()))
                .collect();
            // A matrix keeps the order of the request.
            cells.sort_by_key(|(name, _)| name.to_string());
            (row["key"].clone(), cells)
        };
        page["rows"].as_array().into_iter().flatten().map(row).collect()
    };
    assert_eq!((rows(&plain), &plain["next"]), (rows(&matrix), &matrix["next"]));
}
