//! Ranges: both directions, pages by rows and by bytes, columns, versions, time ranges, filters.

use serde_json::{Value, json};

use crate::sdk::Sdk;
use crate::value::{binary, integer, options, string};

fn key(text: &str, number: i64) -> Value {
    json!([["a", string(text)], ["b", integer(number)]])
}

fn all(name: &str) -> (Value, Value) {
    (json!([[name, "min"]]), json!([[name, "max"]]))
}

fn with(mut call: Value, more: Value) -> Value {
    let more = more.as_object().expect("an object").clone();
    call.as_object_mut().expect("an object").extend(more);
    call
}

/// Reads ranges of small rows in every way, then pages through many rows and through large ones.
pub fn ranges(sdk: &mut Sdk) {
    choices(sdk);
    order(sdk);
    pages(sdk);
}

fn choices(sdk: &mut Sdk) {
    let keys = json!([["a", "string", false], ["b", "integer", false]]);
    sdk.ok("create_table", json!({ "table": "small", "keys": keys, "options": options(3) }));
    let cells = |number: i64| {
        json!([
            ["c1", integer(number), 30],
            ["c1", integer(-number), 20],
            ["c1", string("old"), 10],
            ["c2", string(format!("row {number}")), 20],
            ["d", binary([number as u8]), 10],
        ])
    };
    let row = |number: i64, cells: Value| json!({ "key": key("k", number), "cells": cells });
    for number in 0..6 {
        let put = json!({ "table": "small", "op": "put", "key": key("k", number), "cells": cells(number) });
        sdk.ok("write", put);
    }
    let plain = json!({ "table": "small", "op": "put", "key": key("k", 6), "cells": [] });
    sdk.ok("write", plain);

    let range = |from: i64, to: i64, more: Value| {
        let call = json!({ "table": "small", "from": key("k", from), "to": key("k", to), "versions": 9, "backward": from > to });
        with(call, more)
    };
    let found = |rows: Vec<Value>, next: Option<i64>| json!({ "rows": rows, "next": next.map(|next| key("k", next)) });
    let whole =
        |numbers: &[i64]| numbers.iter().map(|number| row(*number, cells(*number))).collect::<Vec<_>>();
    sdk.gives("range", range(1, 4, json!({})), found(whole(&[1, 2, 3]), None));
    sdk.gives("range", range(4, 1, json!({})), found(whole(&[4, 3, 2]), None));
    sdk.gives("range", range(0, 6, json!({ "limit": 2 })), found(whole(&[0, 1]), Some(2)));
    sdk.gives("range", range(5, 0, json!({ "limit": 2 })), found(whole(&[5, 4]), Some(3)));
    sdk.gives("range", range(0, 2, json!({ "limit": 2 })), found(whole(&[0, 1]), None));
    sdk.gives("range", range(7, 9, json!({})), found(vec![], None));
    let newest = |number: i64| {
        json!([
            ["c1", integer(number), 30],
            ["c2", string(format!("row {number}")), 20],
            ["d", binary([number as u8]), 10]
        ])
    };
    sdk.gives(
        "range",
        range(6, 4, json!({ "versions": 1 })),
        found(vec![row(6, json!([])), row(5, newest(5))], None),
    );
    let two = json!([["c1", integer(1), 30], ["c1", integer(-1), 20]]);
    sdk.gives(
        "range",
        range(1, 2, json!({ "columns": ["c1", "zz"], "versions": 2 })),
        found(vec![row(1, two)], None),
    );
    // A row without any of the columns is left out.
    sdk.gives(
        "range",
        range(5, 7, json!({ "columns": ["d"] })),
        found(vec![row(5, json!([["d", binary([5]), 10]]))], None),
    );
    let between = json!([
        ["c1", integer(-1), 20],
        ["c1", string("old"), 10],
        ["c2", string("row 1"), 20],
        ["d", binary([1]), 10]
    ]);
    sdk.gives("range", range(1, 2, json!({ "times": [10, 30] })), found(vec![row(1, between)], None));
    let newest_between =
        json!([["c1", integer(-1), 20], ["c2", string("row 1"), 20], ["d", binary([1]), 10]]);
    sdk.gives(
        "range",
        range(1, 2, json!({ "times": [10, 30], "versions": 1 })),
        found(vec![row(1, newest_between)], None),
    );
    let middle = json!([["c2", string("row 1"), 20]]);
    let by_name = json!({ "start_column": "c2", "end_column": "d", "versions": 1 });
    sdk.gives("range", range(1, 2, by_name.clone()), found(vec![row(1, middle.clone())], None));
    sdk.gives("get", with(json!({ "table": "small", "key": key("k", 1) }), by_name), row(1, middle));

    let is = |comparison: &str, value: Value| json!({ "column": "c1", "is": comparison, "value": value, "pass_if_missing": false, "latest_only": true });
    let filtered = |filter: Value| range(0, 7, json!({ "filter": filter, "versions": 1 }));
    let rows =
        |numbers: &[i64]| found(numbers.iter().map(|number| row(*number, newest(*number))).collect(), None);
    sdk.gives("range", filtered(is(">=", integer(4))), rows(&[4, 5]));
    sdk.gives(
        "range",
        filtered(json!({ "not": is(">", integer(0)) })),
        found(vec![row(0, newest(0)), row(6, json!([]))], None),
    );
    let ends =
        json!({ "or": [is("==", integer(0)), { "and": [is(">", integer(3)), is("!=", integer(4))] }] });
    sdk.gives("range", filtered(ends), rows(&[0, 5]));
    let any_version = json!({ "column": "c1", "is": "==", "value": integer(-3), "pass_if_missing": false, "latest_only": false });
    sdk.gives("range", range(0, 7, json!({ "filter": any_version })), found(whole(&[3]), None));
    sdk.gives(
        "get",
        json!({ "table": "small", "key": key("k", 3), "versions": 1, "filter": is("<", integer(3)) }),
        Value::Null,
    );
    if sdk.has("page") {
        let second = json!([["c2", string("row 1"), 20]]);
        sdk.gives(
            "range",
            range(1, 2, json!({ "filter": { "page": [1, 1] }, "versions": 1 })),
            found(vec![row(1, second)], None),
        );
    }

    sdk.refused(
        "range",
        range(2, 2, json!({})),
        "OTSParameterInvalid",
        "Begin key must less than end key in FORWARD",
    );
    let text = "Begin key must more than end key in BACKWARD";
    sdk.refused("range", range(1, 2, json!({ "backward": true })), "OTSParameterInvalid", text);
}

/// Keys come in the service's order, whatever the SDK's language thinks of it.
fn order(sdk: &mut Sdk) {
    let keys = json!([["t", "string", false], ["n", "integer", false], ["b", "binary", false]]);
    sdk.ok("create_table", json!({ "table": "order", "keys": keys, "options": options(1) }));
    let ascending: [(&str, i64, &[u8]); 12] = [
        ("", i64::MIN, b""),
        ("", i64::MIN, b"\0"),
        ("", 0, b""),
        ("", i64::MAX, b"\xff"),
        ("a", -1, b""),
        ("a", 0, b"\x7f"),
        ("a", 0, b"\x80"),
        ("a\0", 0, b""),
        ("ab", 0, b""),
        ("b", 0, b""),
        ("\u{ffff}", 0, b""),
        ("\u{10000}", 0, b""),
    ];
    let key = |(text, number, bytes): &(&str, i64, &[u8])| {
        json!([["t", string(*text)], ["n", integer(*number)], ["b", binary(bytes)]])
    };
    let mut keys: Vec<_> = ascending.iter().map(key).collect();
    for key in keys.iter().rev() {
        sdk.ok("write", json!({ "table": "order", "op": "put", "key": key, "cells": [] }));
    }
    let bound = |bound: &str| json!([["t", bound], ["n", bound], ["b", bound]]);
    for backward in [false, true] {
        let (from, to) = if backward { ("max", "min") } else { ("min", "max") };
        let call = json!({ "table": "order", "from": bound(from), "to": bound(to), "backward": backward, "versions": 1 });
        let found = sdk.ok("range", call);
        let found: Vec<_> =
            found["rows"].as_array().expect("rows").iter().map(|row| row["key"].clone()).collect();
        assert_eq!(found, keys, "{} reads the keys in another order", sdk.language);
        keys.reverse();
    }
}

fn pages(sdk: &mut Sdk) {
    // A row has 2 + 8 bytes of key and 1 + 100,000 of column: 41 rows stay below 4 MiB.
    for (table, count, value, sizes) in
        [("many", 5_001, "x".to_owned(), vec![5_000, 1]), ("large", 50, "x".repeat(100_000), vec![41, 9])]
    {
        sdk.ok(
            "create_table",
            json!({ "table": table, "keys": [["id", "integer", false]], "options": options(1) }),
        );
        let rows: Vec<_> = (0..count)
            .map(|id| json!({ "op": "put", "key": [["id", integer(id)]], "cells": [["v", string(value.as_str()), 1]] }))
            .collect();
        for rows in rows.chunks((3_000_000 / value.len()).clamp(1, 200)) {
            sdk.ok("batch_write", json!({ "tables": [{ "table": table, "rows": rows }] }));
        }
        for backward in [false, true] {
            let (min, max) = all("id");
            let (mut from, to) = if backward { (max, min) } else { (min, max) };
            let (mut found, mut ids) = (Vec::new(), Vec::new());
            while !from.is_null() {
                let call =
                    json!({ "table": table, "from": from, "to": to, "backward": backward, "versions": 1 });
                let page = sdk.ok("range", call);
                let rows = page["rows"].as_array().expect("rows");
                found.push(rows.len());
                ids.extend(rows.iter().map(|row| row["key"][0][1].clone()));
                from = page["next"].clone();
            }
            assert_eq!(found, sizes, "{} pages of {table}", sdk.language);
            let mut expected: Vec<_> = (0..count).map(integer).collect();
            if backward {
                expected.reverse();
            }
            assert!(ids == expected, "{} reads other ids from {table}", sdk.language);
        }
    }
}
