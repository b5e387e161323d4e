//! A Stream read through a shard split and a merge, trimmed, and sought by time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ours;
use crate::sandbox_process::SandboxProcess;
use crate::sdk::Sdk;
use crate::value::{integer, options, string};

const TABLE: &str = "streamed";

fn key(number: i64) -> Value {
    json!([["id", integer(number)]])
}

fn put(sdk: &mut Sdk, number: i64, value: i64, at: i64) {
    let cells = json!([["n", integer(value), at]]);
    sdk.ok("write", json!({ "table": TABLE, "op": "put", "key": key(number), "cells": cells }));
}

fn put_record(number: i64, value: i64, at: i64) -> Value {
    json!({ "type": "put", "key": key(number), "changes": [["put", "n", integer(value), at]] })
}

/// Splits, merges and trims while an SDK reads; whatever became of the shards, it sees every change once, in order.
pub fn through_a_split_and_a_merge(sdk: &mut Sdk, sandbox: &SandboxProcess) {
    let keys = json!([["id", "integer", false]]);
    sdk.ok("create_table", json!({ "table": TABLE, "keys": keys, "options": options(3), "stream": 24 }));
    let streams = sdk.ok("list_streams", json!({ "table": TABLE }));
    let mut reader = Reader { stream_id: streams[0].clone(), seen: BTreeMap::new() };
    assert_eq!(streams, json!([reader.stream_id]), "a table has one Stream");
    let first = reader.shards(sdk, 24);
    let [[parent, before, beside]] = first.as_slice() else { panic!("one shard at first: {first:?}") };
    assert_eq!((before.as_str(), beside.as_str()), ("", ""));

    // Nothing yet; then every kind of change, a few records at a time.
    let start = reader.oldest(sdk, parent);
    let (none, end) = reader.page(sdk, &start, 10);
    assert!(none.is_empty() && end.is_string(), "an open shard goes on: {none:?} {end}");
    let expected = every_change(sdk);
    let (found, end) = reader.read(sdk, parent, &end, 3);
    assert_eq!(found, expected);
    assert!(end.is_string(), "an open shard goes on");

    // The iterator of before the split reads the old shard to its end, the children go on behind it.
    sandbox.admin(&partitions(), Some(json!({ "split": [{ "integer": 5 }] })));
    let split = reader.shards(sdk, 24);
    let children: Vec<_> = split.iter().filter(|shard| shard[1] == *parent).map(|shard| &shard[0]).collect();
    let [left, right] = children.as_slice() else { panic!("two children: {split:?}") };
    (3..7).for_each(|number| put(sdk, number, 100 + number, 50));
    let (none, end) = reader.page(sdk, &end, 10);
    assert!(none.is_empty() && end.is_null(), "a closed shard ends: {none:?} {end}");
    let behind = |numbers: &[i64]| -> Vec<Value> {
        numbers.iter().map(|number| put_record(*number, 100 + number, 50)).collect()
    };
    let from = reader.oldest(sdk, left);
    let (found, left_end) = reader.read(sdk, left, &from, 10);
    assert_eq!(found, behind(&[3, 4]));
    let from = reader.oldest(sdk, right);
    let (found, right_end) = reader.read(sdk, right, &from, 1);
    assert_eq!(found, behind(&[5, 6]));

    sandbox.admin(&partitions(), Some(json!({ "merge": [0, 1] })));
    for end in [left_end, right_end] {
        let (none, end) = reader.page(sdk, &end, 10);
        assert!(none.is_empty() && end.is_null(), "merged shards end: {none:?} {end}");
    }
    (4..6).for_each(|number| put(sdk, number, 200 + number, 60));
    let merged = reader.shards(sdk, 24);
    let child = merged.iter().find(|shard| !shard[2].is_empty()).expect("a shard with two parents").clone();
    let mut parents = [child[1].as_str(), child[2].as_str()];
    parents.sort_unstable();
    let mut expected = [left.as_str(), right.as_str()];
    expected.sort_unstable();
    assert_eq!(parents, expected);
    let from = reader.oldest(sdk, &child[0]);
    let (found, _) = reader.read(sdk, &child[0], &from, 10);
    assert_eq!(found, [put_record(4, 204, 60), put_record(5, 205, 60)]);

    // What the SDK saw in each shard, our client sees.
    let described = serde_json::from_str(sandbox.description()).expect("the description is JSON");
    assert_eq!(
        reader.seen,
        ours::stream_through_client(&described, TABLE),
        "{} and our client",
        sdk.language
    );

    // By time, and where it does not go on.
    let moment = reader.seen[parent][4]["at"].as_i64().expect("microseconds");
    let sought = sdk
        .ok("shard_iterator", json!({ "stream_id": reader.stream_id, "shard": parent, "timestamp": moment }));
    let (found, _) = reader.page(sdk, &sought, 100);
    assert!(found.len() < reader.seen[parent].len(), "it goes back to the beginning: {found:?}");
    assert!(found.iter().any(|record| record["at"] == moment), "it begins behind its moment: {found:?}");
    let trim = json!({ "trim": { "shard_id": parent, "records": 3 } });
    sandbox.admin(&format!("/tables/{TABLE}/stream"), Some(trim));
    let text = "Requested stream data is already trimmed or does not exist.";
    sdk.refused("records", json!({ "iterator": start, "limit": 10 }), "OTSTrimmedDataAccess", text);
    sdk.refused("records", json!({ "iterator": "nonsense", "limit": 10 }), "OTSParameterInvalid", "");
}

fn partitions() -> String {
    format!("/tables/{TABLE}/partitions")
}

/// Makes every kind of change; the records that must show them.
fn every_change(sdk: &mut Sdk) -> Vec<Value> {
    let mut records = Vec::new();
    for number in 0..7 {
        put(sdk, number, number, 10);
        records.push(put_record(number, number, 10));
    }
    let cells = json!([["n", integer(1), 20], ["s", string("ü"), 30]]);
    sdk.ok("write", json!({ "table": TABLE, "op": "put", "key": key(1), "cells": cells }));
    let changes = json!([["put", "n", integer(1), 20], ["put", "s", string("ü"), 30]]);
    records.push(json!({ "type": "put", "key": key(1), "changes": changes }));
    // In the order of their names, as the service shows cells.
    let changes = json!([["delete_version", "n", 20], ["put", "p", integer(9), 40], ["delete_column", "s"]]);
    sdk.ok("write", json!({ "table": TABLE, "op": "update", "key": key(1), "changes": changes }));
    records.push(json!({ "type": "update", "key": key(1), "changes": changes }));
    sdk.ok("write", json!({ "table": TABLE, "op": "delete", "key": key(0) }));
    records.push(json!({ "type": "delete", "key": key(0), "changes": [] }));
    records
}

/// A Stream, and all that was read of it, by shard.
struct Reader {
    stream_id: Value,
    seen: BTreeMap<String, Vec<Value>>,
}

impl Reader {
    /// Every shard with its parent and the parent's sibling, one a page.
    fn shards(&self, sdk: &mut Sdk, hours: i64) -> Vec<[String; 3]> {
        let (mut shards, mut from) = (Vec::new(), None);
        loop {
            let mut call = json!({ "stream_id": self.stream_id, "limit": 1 });
            if let Some(from) = from {
                call["shard"] = from;
            }
            let found = sdk.ok("describe_stream", call);
            assert_eq!((&found["table"], &found["hours"]), (&json!(TABLE), &json!(hours)));
            shards
                .extend(serde_json::from_value::<Vec<[String; 3]>>(found["shards"].clone()).expect("shards"));
            if found["next"] == "" {
                return shards;
            }
            from = Some(found["next"].clone());
        }
    }

    fn oldest(&self, sdk: &mut Sdk, shard: &str) -> Value {
        sdk.ok("shard_iterator", json!({ "stream_id": self.stream_id, "shard": shard }))
    }

    fn page(&self, sdk: &mut Sdk, iterator: &Value, limit: usize) -> (Vec<Value>, Value) {
        let mut page = sdk.ok("records", json!({ "iterator": iterator, "limit": limit }));
        let Value::Array(records) = page["records"].take() else { panic!("no records: {page}") };
        assert!(records.len() <= limit, "more than {limit} records");
        (records, page["next"].take())
    }

    /// Reads on until there is nothing more for now; the records without their times, which must ascend.
    fn read(&mut self, sdk: &mut Sdk, shard: &str, from: &Value, limit: usize) -> (Vec<Value>, Value) {
        let (mut found, mut iterator) = (Vec::new(), from.clone());
        loop {
            let (page, next) = self.page(sdk, &iterator, limit);
            let is_end = page.is_empty() || next.is_null();
            found.extend(page);
            iterator = next;
            if is_end {
                break;
            }
        }
        self.seen.entry(shard.to_owned()).or_default().extend(found.iter().cloned());
        assert!(found.is_sorted_by_key(|record| record["at"].as_i64()), "{found:?}");
        for record in &mut found {
            record.as_object_mut().expect("a record").remove("at");
        }
        (found, iterator)
    }
}
