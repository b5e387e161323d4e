//! Single rows: values, versions, changes, conditions, returned rows, keys made by the service.

use serde_json::{Value, json};

use crate::sdk::Sdk;
use crate::value::{binary, bits, boolean, double, every_value, integer, options, string};

const KEYS: [(&str, &str); 3] = [("text", "string"), ("number", "integer"), ("bytes", "binary")];
const REFUSED: (&str, &str) = ("OTSConditionCheckFail", "Condition check failed.");

fn create(sdk: &mut Sdk, table: &str, versions: i32) {
    let keys: Vec<_> = KEYS.iter().map(|(name, kind)| json!([name, kind, false])).collect();
    sdk.ok("create_table", json!({ "table": table, "keys": keys, "options": options(versions) }));
}

fn key(text: &str) -> Value {
    json!([["text", string(text)], ["number", integer(-7)], ["bytes", binary(b"\0\xff")]])
}

fn put(table: &str, text: &str, cells: Value) -> Value {
    json!({ "table": table, "op": "put", "key": key(text), "cells": cells })
}

fn update(table: &str, text: &str, changes: Value) -> Value {
    json!({ "table": table, "op": "update", "key": key(text), "changes": changes })
}

fn delete(table: &str, text: &str) -> Value {
    json!({ "table": table, "op": "delete", "key": key(text) })
}

fn get(table: &str, text: &str, versions: i32) -> Value {
    json!({ "table": table, "key": key(text), "versions": versions })
}

fn row(text: &str, cells: Value) -> Value {
    json!({ "key": key(text), "cells": cells })
}

fn with(mut call: Value, more: Value) -> Value {
    let more = more.as_object().expect("an object").clone();
    call.as_object_mut().expect("an object").extend(more);
    call
}

/// Every value as a key where it can be one, and as a cell; versions of every type in one column.
pub fn every_value_comes_back(sdk: &mut Sdk) {
    create(sdk, "values", 5);
    let cells: Vec<_> = every_value()
        .into_iter()
        .enumerate()
        .map(|(number, value)| json!([format!("c{number:02}"), value, 1_000 + number]))
        .collect();
    sdk.gives("write", put("values", "all", json!(cells)), Value::Null);
    sdk.gives("get", get("values", "all", 5), row("all", json!(cells)));

    let versions = [integer(1), string("two"), binary(b"3"), double(4.0), boolean(false)];
    let versions: Vec<_> =
        versions.into_iter().enumerate().map(|(age, value)| json!(["v", value, 50 - age])).collect();
    sdk.ok("write", put("values", "versions", json!(versions)));
    for count in [1, 2, 5, i32::MAX] {
        let expected = &versions[..versions.len().min(count as usize)];
        sdk.gives("get", get("values", "versions", count), row("versions", json!(expected)));
    }
    let between = with(get("values", "versions", 5), json!({ "times": [47, 50] }));
    sdk.gives("get", between, row("versions", json!(versions[1..4])));
    sdk.gives("get", get("values", "nobody", 1), Value::Null);

    let long = "x".repeat(1_024);
    let keys = ["", "\0", "a\0b", "ümläut", "\u{10348}", "\u{ffff}", &long];
    for text in keys {
        sdk.ok("write", put("values", text, json!([])));
        sdk.gives("get", get("values", text, 1), row(text, json!([])));
    }
    let large = [string("x".repeat(1 << 21)), binary(vec![0xa5; 1 << 20])];
    let large: Vec<_> = large
        .into_iter()
        .enumerate()
        .map(|(number, value)| json!([format!("l{number}"), value, 1]))
        .collect();
    sdk.ok("write", put("values", "large", json!(large)));
    sdk.gives("get", get("values", "large", 1), row("large", json!(large)));
    let too_long = put("values", "large", json!([["v", string("x".repeat((1 << 21) + 1)), 1]]));
    let text =
        "The length of attribute column: 'v' exceeds the MaxLength:2097152 with CurrentLength:2097153.";
    sdk.refused("write", too_long, "OTSParameterInvalid", text);

    if !sdk.has("nan") {
        return;
    }
    // NaNs with a payload, quiet and signalling.
    let nans = [0x7ff8_0000_dead_beef, 0xfff8_0000_0000_0001, 0x7ff0_0000_0000_0001];
    let nans: Vec<_> = nans
        .into_iter()
        .enumerate()
        .map(|(number, value)| json!([format!("n{number}"), bits(value), 1]))
        .collect();
    sdk.ok("write", put("values", "nans", json!(nans)));
    sdk.gives("get", get("values", "nans", 1), row("nans", json!(nans)));
}

/// Puts replace, updates merge, deletes remove; surplus versions vanish.
pub fn changes(sdk: &mut Sdk) {
    create(sdk, "changes", 3);
    let first = json!([["a", integer(1), 10], ["b", string("x"), 10], ["c", boolean(true), 10]]);
    sdk.ok("write", put("changes", "k", first));
    sdk.ok("write", put("changes", "k", json!([["a", integer(2), 20]])));
    sdk.gives("get", get("changes", "k", 3), row("k", json!([["a", integer(2), 20]])));

    for (value, at) in [(3, 30), (4, 25), (5, 40)] {
        sdk.ok("write", update("changes", "k", json!([["put", "a", integer(value), at]])));
    }
    let newest = json!([["a", integer(5), 40], ["a", integer(3), 30], ["a", integer(4), 25]]);
    sdk.gives("get", get("changes", "k", 9), row("k", newest));

    let mixed = json!([
        ["put", "b", string("y"), 1],
        ["put", "n", double(1.5), 2],
        ["delete_version", "a", 30],
        ["put", "gone", string("soon"), 3],
    ]);
    sdk.ok("write", update("changes", "k", mixed));
    sdk.ok("write", update("changes", "k", json!([["delete_column", "gone"]])));
    let expected =
        json!([["a", integer(5), 40], ["a", integer(4), 25], ["b", string("y"), 1], ["n", double(1.5), 2],]);
    sdk.gives("get", get("changes", "k", 9), row("k", expected));

    for (step, total) in [(5, 5), (-8, -3), (i64::MAX, i64::MAX - 3)] {
        sdk.ok("write", update("changes", "counter", json!([["increment", "n", step.to_string()]])));
        let found = sdk.ok("get", get("changes", "counter", 1));
        assert_eq!(found["cells"][0][1], integer(total), "{found}");
    }
    if sdk.has("after") {
        let more = json!({ "return": "after", "return_columns": ["n"] });
        let found =
            sdk.ok("write", with(update("changes", "counter", json!([["increment", "n", "-7"]])), more));
        assert_eq!(found["cells"][0][1], integer(i64::MAX - 10), "{found}");
    }
    sdk.ok("write", put("changes", "text", json!([["n", string("text"), 1]])));
    sdk.refused(
        "write",
        update("changes", "text", json!([["increment", "n", "1"]])),
        "OTSParameterInvalid",
        "",
    );

    // An update makes the row it does not find; deleting twice is no error.
    sdk.ok("write", update("changes", "new", json!([["put", "a", integer(1), 1]])));
    sdk.gives("get", get("changes", "new", 1), row("new", json!([["a", integer(1), 1]])));
    for _ in 0..2 {
        sdk.gives("write", delete("changes", "new"), Value::Null);
        sdk.gives("get", get("changes", "new", 1), Value::Null);
    }
    let returned = with(put("changes", "back", json!([])), json!({ "return": "pk" }));
    sdk.gives("write", returned, row("back", json!([])));

    let many = |count: usize| -> Vec<Value> {
        (0..count).map(|number| json!([format!("c{number:04}"), integer(1), 1])).collect()
    };
    sdk.ok("write", put("changes", "many", json!(many(1_024))));
    sdk.gives("get", get("changes", "many", 1), row("many", json!(many(1_024))));
    let text = "The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025.";
    sdk.refused("write", put("changes", "many", json!(many(1_025))), "OTSParameterInvalid", text);
    let mut short = put("changes", "k", json!([]));
    short["key"] = json!([["text", string("k")]]);
    sdk.refused("write", short, "OTSInvalidPK", "Validate PK size fail. Input: 1, Meta: 3.");
}

/// Row existence and column conditions, in every kind of write; a refused change leaves the row alone.
pub fn conditions(sdk: &mut Sdk) {
    create(sdk, "conditions", 2);
    let cells = json!([["a", integer(5), 1], ["s", string("m"), 1]]);
    let exist = json!({ "exists": "exist" });
    let absent = json!({ "exists": "not_exist" });
    for call in [
        put("conditions", "k", cells.clone()),
        update("conditions", "k", json!([["put", "a", integer(1), 1]])),
        delete("conditions", "k"),
    ] {
        sdk.refused("write", with(call, exist.clone()), REFUSED.0, REFUSED.1);
    }
    sdk.ok("write", with(put("conditions", "k", cells.clone()), absent.clone()));
    sdk.refused("write", with(put("conditions", "k", json!([])), absent), REFUSED.0, REFUSED.1);

    let is = |column: &str, is: &str, value: Value| json!({ "column": column, "is": is, "value": value, "pass_if_missing": false, "latest_only": true });
    let missing = |pass: bool| json!({ "column": "z", "is": "==", "value": integer(1), "pass_if_missing": pass, "latest_only": true });
    let holds = [
        is("a", "==", integer(5)),
        is("a", "!=", integer(6)),
        is("a", ">", integer(4)),
        is("a", ">=", integer(5)),
        is("a", "<", integer(6)),
        is("a", "<=", integer(5)),
        is("s", ">", string("l")),
        missing(true),
        json!({ "not": missing(false) }),
        json!({ "and": [is("a", "==", integer(5)), is("s", "==", string("m"))] }),
        json!({ "or": [is("a", "==", integer(0)), is("s", "==", string("m"))] }),
        json!({ "and": [{ "or": [is("a", "==", integer(0)), missing(true)] }, { "not": is("s", "==", string("n")) }] }),
    ];
    let fails = [
        is("a", "==", integer(6)),
        is("a", "!=", integer(5)),
        is("a", ">", integer(5)),
        is("a", "<", integer(5)),
        is("s", "<=", string("l")),
        missing(false),
        json!({ "not": is("a", "==", integer(5)) }),
        json!({ "and": [is("a", "==", integer(5)), is("s", "==", string("n"))] }),
        json!({ "or": [is("a", "==", integer(0)), is("s", "==", string("n"))] }),
    ];
    for filter in holds {
        let condition = json!({ "exists": "exist", "filter": filter });
        sdk.ok("write", with(put("conditions", "k", cells.clone()), condition));
    }
    for filter in fails {
        let condition = json!({ "exists": "exist", "filter": filter });
        for call in [
            put("conditions", "k", json!([])),
            update("conditions", "k", json!([["put", "a", integer(0), 2]])),
            delete("conditions", "k"),
        ] {
            sdk.refused("write", with(call, condition.clone()), REFUSED.0, REFUSED.1);
        }
    }
    sdk.gives("get", get("conditions", "k", 9), row("k", cells));
    let condition = json!({ "exists": "exist", "filter": is("a", "==", integer(5)) });
    sdk.ok("write", with(delete("conditions", "k"), condition));
    sdk.gives("get", get("conditions", "k", 9), Value::Null);
}

/// The service makes ascending keys and returns them; a key of one's own is refused where no such row is.
pub fn auto_increment(sdk: &mut Sdk) {
    let keys = json!([["queue", "string", false], ["ticket", "integer", true], ["part", "binary", false]]);
    sdk.ok("create_table", json!({ "table": "tickets", "keys": keys, "options": options(1) }));
    let key = |ticket: Value| json!([["queue", string("q")], ["ticket", ticket], ["part", binary(b"p")]]);
    let mut given = Vec::new();
    for number in 0..10 {
        let call = json!({
            "table": "tickets", "op": "put", "key": key(json!("auto")), "cells": [["n", integer(number), 1]], "return": "pk",
        });
        let made = sdk.ok("write", call)["key"][1][1].clone();
        sdk.gives(
            "get",
            json!({ "table": "tickets", "key": key(made.clone()), "versions": 1 }),
            json!({ "key": key(made.clone()), "cells": [["n", integer(number), 1]] }),
        );
        given.push(made["integer"].as_str().and_then(|made| made.parse::<i64>().ok()).expect("an integer"));
    }
    assert!(given.is_sorted_by(|one, next| one < next), "{given:?}");
    let own = json!({ "table": "tickets", "op": "put", "key": key(integer(5)), "cells": [] });
    sdk.refused("write", own.clone(), REFUSED.0, "");
    let known = json!({ "key": key(integer(given[0])), "exists": "exist", "cells": [["n", integer(77), 1]] });
    sdk.ok("write", with(own.clone(), known));
    sdk.ok("write", with(own, json!({ "op": "delete", "key": key(integer(given[1])) })));
}
