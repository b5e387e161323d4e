//! Tables: keys of every type, predefined columns, options, pre-split partitions, refusals.

use serde_json::{Value, json};

use crate::sdk::Sdk;
use crate::value::{FOR_EVER, binary, boolean, double, integer, options, string};

/// Creates tables of every shape, reads their definitions back, changes the options, drops them.
pub fn life(sdk: &mut Sdk) {
    sdk.gives("list_tables", json!({}), json!([]));
    let columns = [["a", "string"], ["b", "integer"], ["c", "binary"], ["d", "string"]];
    let keys: Vec<_> = columns.iter().map(|[name, kind]| json!([name, kind, false])).collect();
    for count in 1..=4 {
        let table = format!("keys_{count}");
        sdk.ok("create_table", json!({ "table": table, "keys": keys[..count], "options": options(1) }));
        let expected = json!({ "keys": keys[..count], "defined": [], "options": options(1) });
        sdk.gives("describe_table", json!({ "table": table }), expected);
    }
    for (number, kind) in ["integer", "binary"].into_iter().enumerate() {
        let keys = json!([["k", kind, false], ["made", "integer", true]]);
        let table = format!("made_{number}");
        sdk.ok("create_table", json!({ "table": table, "keys": keys, "options": options(1) }));
        sdk.gives(
            "describe_table",
            json!({ "table": table }),
            json!({ "keys": keys, "defined": [], "options": options(1) }),
        );
    }

    let defined = json!([
        ["v_i", "integer"],
        ["v_d", "double"],
        ["v_t", "boolean"],
        ["v_s", "string"],
        ["v_b", "binary"]
    ]);
    let full = json!({ "keys": keys[..2], "defined": defined, "options": { "ttl": 86_400, "versions": 7, "deviation": 3_600 } });
    let mut create = full.clone();
    create["table"] = json!("full");
    sdk.ok("create_table", create);
    sdk.gives("describe_table", json!({ "table": "full" }), full.clone());
    let key = json!([["a", string("k")], ["b", integer(1)]]);
    let write = |column: &str, value: Value| json!({ "table": "full", "op": "put", "key": key, "cells": [[column, value]] });
    let fitting = [
        ("v_i", integer(1)),
        ("v_d", double(1.0)),
        ("v_t", boolean(true)),
        ("v_s", string("x")),
        ("v_b", binary("x")),
    ];
    for (place, (column, value)) in fitting.iter().enumerate() {
        sdk.ok("write", write(column, value.clone()));
        let (_, other) = &fitting[(place + 1) % fitting.len()];
        sdk.refused("write", write(column, other.clone()), "OTSParameterInvalid", "");
    }
    let changed = json!({ "ttl": 172_800, "versions": 3, "deviation": FOR_EVER });
    sdk.ok("update_table", json!({ "table": "full", "options": changed }));
    let mut expected = full;
    expected["options"] = changed;
    sdk.gives("describe_table", json!({ "table": "full" }), expected);

    let mut names = vec!["keys_1", "keys_2", "keys_3", "keys_4", "made_0", "made_1", "full"];
    if sdk.has("splits") {
        for (table, column, points) in [
            ("split_text", json!(["k", "string", false]), vec![string("d"), string("m"), string("ü")]),
            (
                "split_numbers",
                json!(["k", "integer", false]),
                vec![integer(-5), integer(0), integer(1 << 40)],
            ),
        ] {
            sdk.ok(
                "create_table",
                json!({ "table": table, "keys": [column], "options": options(1), "splits": points }),
            );
            names.push(table);
        }
    }
    names.sort_unstable();
    sdk.gives("list_tables", json!({}), json!(names));
    refusals(sdk);
    for name in names {
        sdk.ok("delete_table", json!({ "table": name }));
        sdk.refused(
            "describe_table",
            json!({ "table": name }),
            "OTSObjectNotExist",
            "Requested table does not exist.",
        );
    }
    sdk.gives("list_tables", json!({}), json!([]));
}

fn refusals(sdk: &mut Sdk) {
    let gone = "Requested table does not exist.";
    sdk.refused("delete_table", json!({ "table": "nowhere" }), "OTSObjectNotExist", gone);
    let key = json!([["k", string("x")]]);
    sdk.refused("get", json!({ "table": "nowhere", "key": key, "versions": 1 }), "OTSObjectNotExist", gone);
    let mut create = |table: &str, keys: Value, options: Value, code: &str, text: &str| {
        sdk.refused("create_table", json!({ "table": table, "keys": keys, "options": options }), code, text);
    };
    let one = json!([["k", "string", false]]);
    create("full", one.clone(), options(1), "OTSObjectAlreadyExist", "Requested table already exists.");
    create("0digit", one.clone(), options(1), "OTSParameterInvalid", "Invalid table name: '0digit'.");
    let five: Vec<_> = (0..5).map(|number| json!([format!("k{number}"), "integer", false])).collect();
    let text = "The number of primary key columns must be in range: [1, 4].";
    create("five", json!(five), options(1), "OTSParameterInvalid", text);
    let short = json!({ "ttl": 86_399, "versions": 1, "deviation": 86_400 });
    create("short_life", one, short, "OTSParameterInvalid", "");
}
