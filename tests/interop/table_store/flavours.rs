//! The other ways in which SDKs talk: compressed both ways.

use serde_json::json;

use crate::sandbox_process::SandboxProcess;
use crate::sdk::Sdk;
use crate::value::{options, string};

/// Large requests and answers are compressed on the way, and read back as they were.
pub fn compression(sdk: &mut Sdk, sandbox: &SandboxProcess) {
    let keys = json!([["k", "string", false]]);
    sdk.ok("create_table", json!({ "table": "packed", "keys": keys, "options": options(1) }));
    let text = "a sentence that repeats. ".repeat(40_000);
    let key = json!([["k", string("x")]]);
    let cells = json!([["text", string(text), 1]]);
    sdk.ok("write", json!({ "table": "packed", "op": "put", "key": key, "cells": cells }));
    let row = json!({ "key": key, "cells": cells });
    sdk.gives("get", json!({ "table": "packed", "key": key, "versions": 1 }), row.clone());
    let range = json!({ "table": "packed", "from": [["k", "min"]], "to": [["k", "max"]], "versions": 1 });
    sdk.gives("range", range, json!({ "rows": [row], "next": null }));

    let figures = sandbox.admin("/figures", None);
    for (operation, direction) in [("PutRow", "bytes_in"), ("GetRow", "bytes_out"), ("GetRange", "bytes_out")]
    {
        let bytes = figures["table_store"]["operations"][operation][direction].as_u64();
        assert!(
            bytes.is_some_and(|bytes| (1..50_000).contains(&bytes)),
            "{operation} of a megabyte took {bytes:?} bytes: {figures}"
        );
    }
}
