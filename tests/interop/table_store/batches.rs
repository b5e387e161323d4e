//! Batches: several tables, every kind of change, rows that fail alone, atomic batches.

use serde_json::{Value, json};

use crate::sdk::Sdk;
use crate::value::{double, integer, options, string};

fn key(text: &str, number: i64) -> Value {
    json!([["a", string(text)], ["b", integer(number)]])
}

fn put(number: i64, cells: Value) -> Value {
    json!({ "op": "put", "key": key("k", number), "cells": cells })
}

fn row(number: i64, cells: Value) -> Value {
    json!({ "row": { "key": key("k", number), "cells": cells } })
}

/// Writes and reads batches of every kind.
pub fn batches(sdk: &mut Sdk) {
    let keys = json!([["a", "string", false], ["b", "integer", false]]);
    for table in ["one", "two"] {
        sdk.ok("create_table", json!({ "table": table, "keys": keys, "options": options(2) }));
    }
    let done = json!({ "row": null });
    let cells =
        |number: i64| json!([["n", integer(number), 1], ["s", string("x".repeat(number as usize)), 1]]);
    let rows: Vec<_> = (0..100).map(|number| put(number, cells(number))).collect();
    let both =
        json!({ "tables": [{ "table": "one", "rows": rows }, { "table": "two", "rows": rows[..50] }] });
    sdk.gives("batch_write", both, json!([vec![&done; 100], vec![&done; 50]]));

    let read = json!({ "tables": [
        { "table": "one", "keys": [key("k", 5), key("k", 1_000), key("k", 99)], "versions": 1 },
        { "table": "two", "keys": [key("k", 49), key("k", 50)], "versions": 1, "columns": ["n"] },
    ] });
    let expected = json!([
        [row(5, cells(5)), { "row": null }, row(99, cells(99))],
        [row(49, json!([["n", integer(49), 1]])), { "row": null }],
    ]);
    sdk.gives("batch_get", read, expected);
    let above = json!({ "column": "n", "is": ">", "value": integer(5), "pass_if_missing": false, "latest_only": true });
    let read = json!({ "tables": [{ "table": "one", "keys": [key("k", 5), key("k", 6)], "versions": 1, "filter": above }] });
    sdk.gives("batch_get", read, json!([[{ "row": null }, row(6, cells(6))]]));

    let mixed = json!({ "tables": [{ "table": "one", "rows": [
        put(0, json!([["w", string("new"), 3]])),
        { "op": "update", "key": key("k", 1), "exists": "exist",
          "changes": [["put", "w", double(1.5), 4], ["delete_column", "n"], ["delete_version", "s", 1]] },
        { "op": "delete", "key": key("k", 2), "exists": "exist" },
    ] }] });
    sdk.gives("batch_write", mixed, json!([[done, done, done]]));
    let read = json!({ "tables": [{ "table": "one", "keys": [key("k", 0), key("k", 1), key("k", 2)], "versions": 9 }] });
    let expected =
        [row(0, json!([["w", string("new"), 3]])), row(1, json!([["w", double(1.5), 4]])), done.clone()];
    sdk.gives("batch_get", read, json!([expected]));

    // Rows fail alone, in their places.
    let partly = json!({ "tables": [{ "table": "one", "rows": [
        put(1_001, json!([["n", integer(1), 1]])),
        { "op": "put", "key": key("k", 1_002), "exists": "exist", "cells": [] },
        { "op": "put", "key": [["a", integer(1)], ["b", integer(1)]], "cells": [] },
        { "op": "update", "key": key("k", 1_003), "exists": "exist", "changes": [["put", "n", integer(1), 1]] },
        { "op": "delete", "key": key("k", 3), "filter": above },
        put(1_004, json!([])),
    ] }] });
    let refused = json!({ "error": ["OTSConditionCheckFail", "Condition check failed."] });
    let wrong =
        json!({ "error": ["OTSInvalidPK", "Validate PK type fail. Input: VT_INTEGER, Meta: VT_STRING."] });
    sdk.gives("batch_write", partly, json!([[done, refused, wrong, refused, refused, done]]));
    let read = json!({ "tables": [{ "table": "one", "keys": [key("k", 1_001), key("k", 1_002), key("k", 3), key("k", 1_004)], "versions": 1 }] });
    let expected =
        [row(1_001, json!([["n", integer(1), 1]])), done.clone(), row(3, cells(3)), row(1_004, json!([]))];
    sdk.gives("batch_get", read, json!([expected]));

    // The same key again and again: in order, the last one wins.
    let again: Vec<_> = (0..5).map(|number| put(7, json!([["n", integer(number), 9]]))).collect();
    sdk.ok("batch_write", json!({ "tables": [{ "table": "two", "rows": again }] }));
    let seven = json!({ "tables": [{ "table": "two", "keys": [key("k", 7)], "versions": 1 }] });
    sdk.gives("batch_get", seven, json!([[row(7, json!([["n", integer(4), 9]]))]]));

    let nowhere = json!({ "tables": [{ "table": "nowhere", "rows": [put(1, json!([]))] }] });
    let gone = json!([[{ "error": ["OTSObjectNotExist", "Requested table does not exist."] }]]);
    sdk.gives("batch_write", nowhere, gone);
    let rows: Vec<_> = (0..201).map(|number| put(number, json!([]))).collect();
    let many = |count: usize| json!({ "tables": [{ "table": "two", "rows": rows[..count] }] });
    sdk.gives("batch_write", many(200), json!([vec![&done; 200]]));
    sdk.refused("batch_write", many(201), "OTSParameterInvalid", "Rows count exceeds the upper limit: 200.");
    let keys: Vec<_> = (0..101).map(|number| key("k", number)).collect();
    let many = json!({ "tables": [{ "table": "two", "keys": keys, "versions": 1 }] });
    sdk.refused("batch_get", many, "OTSParameterInvalid", "Rows count exceeds the upper limit: 100.");
    if sdk.has("atomic") {
        atomic(sdk, &done);
    }
}

fn atomic(sdk: &mut Sdk, done: &Value) {
    let rows = json!([put(5_000, json!([["n", integer(1), 1]])), put(5_001, json!([]))]);
    sdk.gives(
        "batch_write",
        json!({ "atomic": true, "tables": [{ "table": "one", "rows": rows }] }),
        json!([[done, done]]),
    );
    let rows = json!([put(5_002, json!([])), { "op": "delete", "key": key("k", 9_999), "exists": "exist" }]);
    let answer =
        sdk.call("batch_write", json!({ "atomic": true, "tables": [{ "table": "one", "rows": rows }] }));
    assert!(
        !matches!(&answer, Ok(rows) if rows[0][0].get("row").is_some()),
        "half of an atomic batch: {answer:?}"
    );
    let spread = json!([put(5_003, json!([])), { "op": "put", "key": key("elsewhere", 1), "cells": [] }]);
    let answer =
        sdk.call("batch_write", json!({ "atomic": true, "tables": [{ "table": "one", "rows": spread }] }));
    assert!(format!("{answer:?}").contains("OTSDataOutOfRange"), "{answer:?}");
    let keys: Vec<_> = [5_000, 5_002, 5_003].into_iter().map(|number| key("k", number)).collect();
    let read = json!({ "tables": [{ "table": "one", "keys": keys, "versions": 1 }] });
    sdk.gives("batch_get", read, json!([[row(5_000, json!([["n", integer(1), 1]])), done, done]]));
}
