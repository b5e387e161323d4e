//! Local transactions: of one SDK, and what the others see and may do meanwhile.

use serde_json::{Value, json};

use crate::sandbox_process::SandboxProcess;
use crate::sdk::Sdk;
use crate::value::{integer, options, string};

const TABLE: &str = "cities";

const BUSY: (&str, &str) = ("OTSRowOperationConflict", "Data is being modified by the other request.");
const GONE: (&str, &str) = ("OTSSessionNotExist", "Session not exist or may be timeout.");

fn key(city: &str, number: i64) -> Value {
    json!([["city", string(city)], ["number", integer(number)]])
}

fn put(city: &str, number: i64, transaction: Option<&Value>) -> Value {
    let cells = json!([["n", integer(number), 1]]);
    let call = json!({ "table": TABLE, "op": "put", "key": key(city, number), "cells": cells });
    within(call, transaction)
}

fn within(mut call: Value, transaction: Option<&Value>) -> Value {
    if let Some(transaction) = transaction {
        call["transaction"] = transaction.clone();
    }
    call
}

/// The second key values of a city, as a transaction or everybody sees them.
fn numbers(sdk: &mut Sdk, city: &str, transaction: Option<&Value>) -> Vec<Value> {
    let bound = |bound: &str| json!([["city", string(city)], ["number", bound]]);
    let call = json!({ "table": TABLE, "from": bound("min"), "to": bound("max"), "versions": 1 });
    let found = sdk.ok("range", within(call, transaction));
    found["rows"].as_array().into_iter().flatten().map(|row| row["key"][1][1].clone()).collect()
}

fn begin(sdk: &mut Sdk, city: &str) -> Value {
    sdk.ok("begin", json!({ "table": TABLE, "key": [["city", string(city)]] }))
}

/// Every SDK in turn has a transaction that holds off all the others.
pub fn one_at_a_time(sdks: &mut [Sdk], sandbox: &SandboxProcess) {
    let maker = sdks.iter_mut().find(|sdk| sdk.has("transactions")).expect("an SDK that can ask for them");
    let keys = json!([["city", "string", false], ["number", "integer", false]]);
    let options = options(1);
    maker.ok(
        "create_table",
        json!({ "table": TABLE, "keys": keys, "options": options, "transactions": true }),
    );
    maker.ok("create_table", json!({ "table": "plain", "keys": keys, "options": options }));
    for turn in 0..sdks.len() {
        sdks.rotate_left(1);
        let [holder, others @ ..] = sdks else { unreachable!("there are SDKs") };
        let city = format!("city {turn}");
        commits(holder, others, &city);
        gives_up(holder, others, &format!("{city}, later"));
        let refused = "Try to call method using explicit transaction on explicit-transaction-disabled table.";
        let call = json!({ "table": "plain", "key": [["city", string("x")]] });
        holder.refused("begin", call, "OTSParameterInvalid", refused);
    }
    let figures = sandbox.admin("/figures", None);
    let calls = |name: &str| figures["table_store"]["operations"][name]["requests"].as_u64().unwrap_or(0);
    assert!(calls("CommitTransaction") >= 4 && calls("AbortTransaction") >= 4, "{figures}");
}

fn commits(holder: &mut Sdk, others: &mut [Sdk], city: &str) {
    holder.ok("write", put(city, 1, None));
    let transaction = begin(holder, city);
    holder.ok("write", put(city, 2, Some(&transaction)));
    let update = json!({ "table": TABLE, "op": "update", "key": key(city, 1), "changes": [["put", "n", integer(7), 2]] });
    holder.ok("write", within(update, Some(&transaction)));
    let read = json!({ "table": TABLE, "key": key(city, 1), "versions": 1 });
    let row = |value: i64, at: i64| json!({ "key": key(city, 1), "cells": [["n", integer(value), at]] });
    holder.gives("get", within(read.clone(), Some(&transaction)), row(7, 2));
    assert_eq!(numbers(holder, city, Some(&transaction)), [integer(1), integer(2)]);
    let batch = json!({ "tables": [{ "table": TABLE, "rows": [put(city, 3, None), put(city, 4, None)] }], "transaction": transaction });
    match holder.call("batch_write", batch) {
        Ok(done) => assert_eq!(done, json!([[{ "row": null }, { "row": null }]])),
        // Go's SDK has no such field.
        Err(refusal) => {
            assert_eq!(refusal.code, "unsupported", "{}: {refusal:?}", holder.language);
            (3..5).for_each(|number| drop(holder.ok("write", put(city, number, Some(&transaction)))));
        }
    }
    let text =
        format!("Data out of scope of transaction. Transaction PartKey:{city}. Data PartKey:elsewhere");
    holder.refused("write", put("elsewhere", 1, Some(&transaction)), "OTSDataOutOfRange", &text);
    for other in &mut *others {
        other.gives("get", read.clone(), row(1, 1));
        assert_eq!(numbers(other, city, None), [integer(1)], "{} sees it before it is there", other.language);
        other.refused("write", put(city, 9, None), BUSY.0, BUSY.1);
        other.refused("begin", json!({ "table": TABLE, "key": [["city", string(city)]] }), BUSY.0, BUSY.1);
        other.ok("write", put(&format!("beside {city}"), 9, None));
    }
    holder.ok("commit", json!({ "transaction": transaction }));
    for other in others {
        other.gives("get", read.clone(), row(7, 2));
        assert_eq!(numbers(other, city, None), [1, 2, 3, 4].map(integer));
        other.refused("commit", json!({ "transaction": transaction }), GONE.0, GONE.1);
    }
    holder.refused("write", put(city, 5, Some(&transaction)), GONE.0, GONE.1);
}

fn gives_up(holder: &mut Sdk, others: &mut [Sdk], city: &str) {
    let transaction = begin(holder, city);
    holder.ok("write", put(city, 1, Some(&transaction)));
    holder.ok("abort", json!({ "transaction": transaction }));
    holder.refused("abort", json!({ "transaction": transaction }), GONE.0, GONE.1);
    for other in others {
        assert_eq!(numbers(other, city, None), [] as [Value; 0]);
        other.ok("write", put(city, 2, None));
        other.ok("write", json!({ "table": TABLE, "op": "delete", "key": key(city, 2) }));
    }
}
