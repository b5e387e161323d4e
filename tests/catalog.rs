//! Documents of every released format version must load for ever.

use otsvault::Kind;
use otsvault::catalog::{Consistency, DeltaManifest, Manifest, RunKind, ShardPlace};
use otsvault::columnar::Role;
use otsvault::model::{KeyPart, PrimaryKey, PrimaryKeyType, ValueType};
use serde_json::{Value, json};

/// Written by otsvault 0.1.0; a backup of 300 rows with `--from-key` and `--to-key`.
const MANIFEST_V1: &[u8] = include_bytes!("fixtures/manifest-v1.json");

/// The fixture with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut document = serde_json::from_slice(MANIFEST_V1).unwrap();
    change(&mut document);
    serde_json::to_vec(&document).unwrap()
}

#[test]
fn a_manifest_of_version_1_loads_with_everything_in_it() {
    let manifest = Manifest::parse(MANIFEST_V1).unwrap();
    assert_eq!((manifest.format_version, manifest.tool.as_str()), (1, "otsvault 0.1.0"));
    assert_eq!((manifest.kind, manifest.consistency), (RunKind::Base, Consistency::Fuzzy));
    assert_eq!(manifest.run.as_str(), "20261122t172419z-61a6a1df");
    assert_eq!(manifest.chain, manifest.run);
    assert_eq!(manifest.started_at.to_string(), "2026-11-22T17:24:19.026119647Z");
    assert_eq!(manifest.finished_at.to_string(), "2026-11-22T17:24:19.150471555Z");

    let text = |text: &str| KeyPart::String(text.to_owned());
    let start = PrimaryKey(vec![text("s0"), KeyPart::Integer(-150), KeyPart::InfMin]);
    let end = PrimaryKey(vec![text("s2"), KeyPart::Integer(150), KeyPart::Binary(vec![0xff, 0])]);
    assert_eq!((manifest.key_range.start, manifest.key_range.end), (start, end));

    let table = &manifest.table;
    assert_eq!((table.name.as_str(), table.creation_time), ("orders", Some(1_795_368_258_512_000)));
    let types: Vec<_> = table.primary_key.iter().map(|column| column.column_type).collect();
    assert_eq!(types, [PrimaryKeyType::String, PrimaryKeyType::Integer, PrimaryKeyType::Binary]);
    assert_eq!(table.defined_columns[0].column_type, ValueType::Double);
    assert_eq!((table.options.max_versions, table.options.deviation_seconds), (Some(3), Some(9_000_000_000)));
    assert_eq!((table.stream.as_ref(), table.indexes[0].name.as_str()), (None, "orders_by_state"));

    let columns = manifest.columns.columns();
    assert_eq!((columns.len(), manifest.columns.key_count()), (15, 3));
    let escaped = manifest.columns.attribute("note", ValueType::Double).unwrap();
    assert_eq!((escaped.field_id, escaped.name.as_str()), (8, "note$xf80321ef$double"));
    assert_eq!(columns[5].role, Role::AttributeTimestamp { attribute: "changed".to_owned() });

    assert_eq!((manifest.file_list.bytes, manifest.file_list.entries), (306, 1));
    assert_eq!((manifest.totals.rows, manifest.totals.cells, manifest.totals.files), (300, 1_380, 1));
    assert_eq!(manifest.totals.row_sum.to_string(), "f1d396cbc5117a61d665a1983c00539a");
}

#[test]
fn a_manifest_of_version_1_is_written_as_it_was_read() {
    let manifest = Manifest::parse(MANIFEST_V1).unwrap();
    let written = serde_json::to_vec_pretty(&manifest).unwrap();
    assert_eq!(Manifest::parse(&written).unwrap(), manifest);
    assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8_lossy(MANIFEST_V1));
}

#[test]
fn a_field_that_is_not_known_is_ignored() {
    let with_more = changed(|document| {
        document["later"] = json!({"a": 1});
        document["table"]["later"] = json!([]);
        document["columns"][0]["later"] = json!("x");
    });
    assert_eq!(Manifest::parse(&with_more).unwrap(), Manifest::parse(MANIFEST_V1).unwrap());
}

#[test]
fn a_newer_format_is_refused_before_anything_else_is_looked_at() {
    let newer = changed(|document| document["format_version"] = json!(2));
    let unlike = br#"{"format_version": 2, "everything": "else"}"#;
    for bytes in [newer.as_slice(), unlike] {
        let error = Manifest::parse(bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.report().contains("use a newer otsvault"), "{}", error.report());
    }
}

#[test]
fn what_is_no_manifest_is_corrupt() {
    let without_totals = changed(|document| {
        document.as_object_mut().unwrap().remove("totals");
    });
    let two_overflows = changed(|document| {
        let columns = document["columns"].as_array_mut().unwrap();
        columns.push(columns[14].clone());
    });
    let version_0 = changed(|document| document["format_version"] = json!(0));
    let hostile_run = changed(|document| document["run"] = json!("../../20261122t172419z-61a6a1df"));
    let cut = MANIFEST_V1[..MANIFEST_V1.len() - 1].to_vec();
    for bytes in [without_totals, two_overflows, version_0, hostile_run, cut, Vec::new()] {
        let error = Manifest::parse(&bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{}", error.report());
    }
}

/// The third delta of a chain, over the split of a shard.
const DELTA_MANIFEST_V1: &[u8] = include_bytes!("fixtures/delta-manifest-v1.json");

#[test]
fn a_delta_manifest_of_version_1_loads_with_everything_in_it_and_is_written_as_it_was_read() {
    let manifest = DeltaManifest::parse(DELTA_MANIFEST_V1).unwrap();
    assert_eq!((manifest.kind, manifest.sequence), (RunKind::Delta, 3));
    assert_eq!(manifest.parent.run.as_str(), "20261126t154500z-600df00d");
    assert_eq!(manifest.parent.manifest_sha256, [0x5e; 32]);
    let stream = &manifest.delta.stream;
    assert_eq!(stream.identity.table_created_at, manifest.table.creation_time);
    let [closed, open, waiting] = &stream.to[..] else { panic!("{stream:?}") };
    assert_eq!((closed.place.clone(), waiting.place.clone()), (ShardPlace::Closed, ShardPlace::Waiting));
    assert_eq!(open.place, ShardPlace::Iterator("bmV4dA==".to_owned()));
    assert_eq!((open.rank, open.ordinal, open.parents.as_slice()), (1, 3, &["s_0".to_owned()][..]));
    assert_eq!(closed.last.map(|last| (last.epoch, last.row_index)), Some((1, 2)));
    assert_eq!((manifest.delta.totals.records, manifest.delta.columns.columns().len()), (20, 15));
    let written = serde_json::to_vec_pretty(&manifest).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), String::from_utf8_lossy(DELTA_MANIFEST_V1));
}

#[test]
fn a_base_is_exact_if_and_only_if_it_has_a_delta_and_neither_kind_passes_for_the_other() {
    let delta: Value = serde_json::from_slice(DELTA_MANIFEST_V1).unwrap();
    let exact = changed(|document| {
        document["consistency"] = json!("exact");
        document["delta"] = delta["delta"].clone();
    });
    let manifest = Manifest::parse(&exact).unwrap();
    assert_eq!(manifest.delta.unwrap().totals.records, 20);
    let exact_alone = changed(|document| document["consistency"] = json!("exact"));
    let fuzzy_with = changed(|document| document["delta"] = delta["delta"].clone());
    for wrong in [exact_alone, fuzzy_with, DELTA_MANIFEST_V1.to_vec()] {
        assert_eq!(Manifest::parse(&wrong).unwrap_err().kind(), Kind::Corrupt);
    }
    for wrong in [MANIFEST_V1, br#"{"format_version": 2}"#] {
        assert!(DeltaManifest::parse(wrong).is_err());
    }
    let mut backwards = delta.clone();
    backwards["delta"]["stream"]["to"][0]["ordinal"] = json!(39);
    let error = DeltaManifest::parse(&serde_json::to_vec(&backwards).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}
