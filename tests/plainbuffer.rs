//! PlainBuffer and the row matrix against bytes that the official SDKs made and agree on, and against bytes that nobody
//! made.

#[path = "plainbuffer/row_matrix.rs"]
mod row_matrix;
#[path = "plainbuffer/stream_record.rs"]
mod stream_record;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as Shared;

use otsvault::model::{Cell, CellOp, KeyPart, PrimaryKey, PrimaryKeyValue, Row, SequenceInfo, Value};
use otsvault::plainbuffer::{
    DecodeError, Fault, RowReader, checksum_from, decode_bare_key_value, decode_bare_value, decode_key,
    decode_named_key, decode_request_row, encode_key, encode_row, write_bare_key_value, write_bare_value,
    write_header, write_row,
};
use proptest::prelude::*;
use serde_json::Value as Json;

/// Remembers the largest allocation of each thread, that is, of each test.
struct Watching;

thread_local! {
    static LARGEST: Shared<usize> = const { Shared::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged; the thread-local has no destructor and is not
// lazily allocated, so that it can be used inside an allocator.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;

fn fixture(name: &str) -> Json {
    let path = format!("{}/tests/fixtures/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn list<'j>(json: &'j Json, field: &str) -> &'j [Json] {
    json[field].as_array().unwrap_or_else(|| panic!("no list `{field}`"))
}

fn text<'j>(json: &'j Json, field: &str) -> &'j str {
    json[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {json}"))
}

fn bytes(json: &Json, field: &str) -> Vec<u8> {
    hex::decode(text(json, field)).unwrap()
}

/// The vectors' binaries are hex; a row borrows, so a test leaks them.
fn leaked(json: &Json, field: &str) -> &'static [u8] {
    bytes(json, field).leak()
}

fn value(json: &Json) -> Option<Value<'_>> {
    Some(match json["type"].as_str()? {
        "integer" => Value::Integer(text(json, "value").parse().unwrap()),
        "double" => {
            let bits: [u8; 8] = bytes(&json["value"], "bits_le_hex").try_into().unwrap();
            Value::Double(f64::from_bits(u64::from_le_bytes(bits)))
        }
        "boolean" => Value::Boolean(json["value"].as_bool().unwrap()),
        "string" => Value::String(text(json, "value")),
        "binary" => Value::Binary(leaked(json, "value")),
        other => panic!("type {other}"),
    })
}

fn key_value(json: &Json) -> PrimaryKeyValue<'_> {
    match text(json, "type") {
        "inf_min" => PrimaryKeyValue::InfMin,
        "inf_max" => PrimaryKeyValue::InfMax,
        "auto_increment" => PrimaryKeyValue::AutoIncrement,
        _ => match value(json) {
            Some(Value::Integer(value)) => PrimaryKeyValue::Integer(value),
            Some(Value::String(value)) => PrimaryKeyValue::String(value),
            Some(Value::Binary(value)) => PrimaryKeyValue::Binary(value),
            other => panic!("{other:?} in a key"),
        },
    }
}

fn row(json: &Json) -> Row<'_> {
    let cell = |json| Cell {
        name: text(json, "name"),
        value: value(json),
        op: json["op"].as_str().map(|op| match op {
            "delete_one" => CellOp::DeleteOneVersion,
            "delete_all" => CellOp::DeleteAllVersions,
            "increment" => CellOp::Increment,
            other => panic!("operation {other}"),
        }),
        timestamp: json["ts"].as_str().map(|ts| ts.parse().unwrap()),
    };
    Row {
        key: list(json, "pk").iter().map(|part| (text(part, "name"), key_value(part))).collect(),
        cells: list(json, "cells").iter().map(cell).collect(),
        delete_marker: json["delete_row"].as_bool().unwrap_or(false),
        sequence: json["seq"].is_object().then(|| SequenceInfo {
            epoch: json["seq"]["epoch"].as_i64().unwrap().try_into().unwrap(),
            timestamp_us: text(&json["seq"], "timestamp_us").parse().unwrap(),
            row_index: json["seq"]["row_index"].as_i64().unwrap().try_into().unwrap(),
        }),
    }
}

fn decode_all(buffer: &[u8]) -> Result<Vec<Row<'_>>, DecodeError> {
    let mut reader = RowReader::new(buffer)?;
    let (mut rows, mut row) = (Vec::new(), Row::default());
    while reader.next_row(&mut row)? {
        rows.push(row.clone());
    }
    Ok(rows)
}

fn encode_all(rows: &[Row<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(&mut out);
    rows.iter().for_each(|row| write_row(&mut out, row));
    out
}

#[test]
fn every_sdk_row_encodes_to_the_same_bytes_and_decodes_to_the_same_row() {
    let file = fixture("plainbuffer");
    let mut cases = 0;
    for case in list(&file, "cases") {
        let id = text(case, "id");
        let rows: Vec<_> = match case["rows"].as_array() {
            Some(rows) => rows.iter().map(row).collect(),
            None => vec![row(&case["row"])],
        };
        assert_eq!(hex::encode(encode_all(&rows)), text(case, "hex"), "{id}");
        assert_eq!(decode_all(&bytes(case, "hex")).unwrap(), rows, "{id}");
        cases += 1;
    }
    assert_eq!(cases, 47);
}

#[test]
fn every_stream_record_decodes_and_all_known_ones_encode() {
    let file = fixture("stream_records");
    let mut cases = 0;
    for case in list(&file, "cases") {
        let id = text(case, "id");
        let expected = row(&case["row"]);
        assert_eq!(decode_all(&bytes(case, "hex")).unwrap(), std::slice::from_ref(&expected), "{id}");
        if id != "stream_unknown_extension_tag" {
            assert_eq!(hex::encode(encode_row(&expected)), text(case, "hex"), "{id}");
        }
        cases += 1;
    }
    assert_eq!(cases, 7);
}

#[test]
fn what_every_sdk_rejects_is_rejected_at_the_right_byte() {
    let file = fixture("plainbuffer");
    let offsets = [("bad_header", 0), ("bad_cell_checksum", 24), ("bad_row_checksum", 51)]
        .into_iter()
        .chain([("truncated", 49), ("flipped_value_byte", 49)]);
    let cases = list(&file, "must_reject");
    assert_eq!(cases.len(), 5);
    for (id, offset) in offsets {
        let case = cases.iter().find(|case| text(case, "id") == id).unwrap();
        let error = decode_all(&bytes(case, "hex")).unwrap_err();
        assert_eq!(error.offset, offset, "{id}: {error}");
        assert!(error.to_string().contains(&format!("byte {offset}")), "{error}");
    }
}

#[test]
fn bare_values_are_the_sdks() {
    let file = fixture("plainbuffer");
    let mut cases = 0;
    for case in list(&file, "bare_values") {
        let (id, raw, json) = (text(case, "id"), bytes(case, "hex"), &case["value"]);
        let mut out = Vec::new();
        if id.starts_with("partition_") {
            write_bare_key_value(&mut out, key_value(json));
            assert_eq!(decode_bare_key_value(&raw), Ok(key_value(json)), "{id}");
        } else {
            write_bare_value(&mut out, value(json).unwrap());
            assert_eq!(decode_bare_value(&raw), Ok(value(json).unwrap()), "{id}");
        }
        assert_eq!(out, raw, "{id}");
        for end in 0..raw.len() {
            assert!(decode_bare_value(&raw[..end]).is_err() && decode_bare_key_value(&raw[..end]).is_err());
        }
        let longer = [raw.as_slice(), &[0]].concat();
        assert!(decode_bare_value(&longer).is_err() && decode_bare_key_value(&longer).is_err(), "{id}");
        cases += 1;
    }
    assert_eq!(cases, 10);
}

#[test]
fn checksums_are_the_sdks() {
    let file = fixture("plainbuffer");
    for case in list(&file, "crc8") {
        let seed = u8::try_from(case["seed"].as_u64().unwrap()).unwrap();
        assert_eq!(u64::from(checksum_from(seed, &bytes(case, "input_hex"))), case["crc8"].as_u64().unwrap());
    }
}

#[test]
fn no_bytes_are_no_rows_but_a_header_alone_is_an_error() {
    assert_eq!(decode_all(&[]), Ok(vec![]));
    assert_eq!(decode_all(&[0x75, 0, 0, 0]), Err(DecodeError { offset: 4, fault: Fault::Truncated }));
    assert!(decode_request_row(&[], &mut Row::default()).is_err());
}

fn simple_row() -> Row<'static> {
    Row {
        key: vec![("uid", PrimaryKeyValue::String("u-0001")), ("ts", PrimaryKeyValue::Integer(17))],
        cells: vec![
            Cell::put("a", Value::Integer(1), Some(5)),
            Cell::put("b", Value::String("é中😀"), Some(5)),
            Cell::put("c", Value::Double(-0.0), None),
            Cell::put("d", Value::Boolean(true), Some(5)),
            Cell::put("e", Value::Binary(&[0, 255]), Some(5)),
            Cell { name: "f", value: None, op: Some(CellOp::DeleteOneVersion), timestamp: Some(5) },
            Cell { name: "g", value: None, op: Some(CellOp::DeleteAllVersions), timestamp: None },
            Cell { name: "h", value: Some(Value::Integer(2)), op: Some(CellOp::Increment), timestamp: None },
        ],
        ..Row::default()
    }
}

#[test]
fn a_request_row_may_end_in_zero_bytes_and_in_nothing_else() {
    let mut buffer = encode_row(&simple_row());
    let size = buffer.len();
    buffer.extend([0; 27]);
    let mut row = Row::default();
    assert_eq!(decode_request_row(&buffer, &mut row), Ok(()));
    assert_eq!(row, simple_row());
    assert_eq!(decode_all(&buffer).unwrap_err().offset, size, "a page is stricter");
    buffer.push(1);
    let error = decode_request_row(&buffer, &mut Row::default()).unwrap_err();
    assert_eq!(error, DecodeError { offset: size + 27, fault: Fault::Trailing });
}

#[test]
fn keys_and_prefixes_come_back_with_their_names() {
    let key = PrimaryKey(vec![KeyPart::String("a\0".into()), KeyPart::InfMin, KeyPart::InfMax]);
    let buffer = encode_key(&["p", "q", "r"], &key);
    assert_eq!(decode_named_key(&buffer), Ok((vec!["p", "q", "r"], key)));
    let prefix = PrimaryKey(vec![KeyPart::Integer(-1)]);
    assert_eq!(decode_key(&encode_key(&["p", "q"], &prefix)), Ok(prefix));
    assert_eq!(decode_key(&encode_row(&simple_row())).unwrap_err().fault, Fault::NotAKey);
    let placeholder = Row { key: vec![("p", PrimaryKeyValue::AutoIncrement)], ..Row::default() };
    assert_eq!(decode_key(&encode_row(&placeholder)).unwrap_err().fault, Fault::NotAKey);
}

#[test]
fn the_grammar_is_enforced() {
    let fault = |row: &Row<'_>| decode_all(&encode_row(row)).unwrap_err().fault;
    let keys = |count| Row { key: vec![("k", PrimaryKeyValue::Integer(1)); count], ..Row::default() };
    assert!(decode_all(&encode_row(&keys(4))).is_ok());
    assert_eq!(fault(&keys(5)), Fault::TooManyKeyColumns);
    assert!(matches!(fault(&keys(0)), Fault::Tag { .. }));

    let shape = |value, op, timestamp| {
        let mut row = keys(1);
        row.cells.push(Cell { name: "c", value, op, timestamp });
        fault(&row)
    };
    let one = Some(Value::Integer(1));
    assert_eq!(shape(None, None, None), Fault::CellShape);
    assert_eq!(shape(None, None, Some(1)), Fault::CellShape);
    assert_eq!(shape(one, Some(CellOp::DeleteAllVersions), None), Fault::CellShape);
    assert_eq!(shape(None, Some(CellOp::DeleteOneVersion), None), Fault::CellShape);
    assert_eq!(shape(Some(Value::Boolean(true)), Some(CellOp::Increment), None), Fault::CellShape);

    // `02` without a cell, and a second key section.
    let plain = encode_row(&keys(1));
    let end = plain.len() - 2;
    let with = |extra: &[u8]| [&plain[..end], extra, &plain[end..]].concat();
    assert!(matches!(decode_all(&with(&[2])).unwrap_err().fault, Fault::Tag { found: 9, .. }));
    assert!(matches!(decode_all(&with(&[1])).unwrap_err().fault, Fault::Tag { found: 1, .. }));
    assert!(matches!(decode_all(&with(&[8, 8])).unwrap_err().fault, Fault::Tag { found: 8, .. }));
}

#[test]
fn lengths_beyond_the_input_are_errors_and_allocate_nothing() {
    let row = Row {
        key: vec![("k", PrimaryKeyValue::String("abc"))],
        cells: vec![Cell::put("c", Value::Binary(b"xyz"), Some(1))],
        sequence: Some(SequenceInfo { epoch: 0, timestamp_us: 1, row_index: 2 }),
        ..Row::default()
    };
    let buffer = encode_row(&row);
    // Every place where a u32 length could be gets a large one.
    LARGEST.set(0);
    for at in 4..buffer.len() - 4 {
        for huge in [u32::MAX, i32::MAX as u32, u32::MAX - 4] {
            let mut broken = buffer.clone();
            broken[at..at + 4].copy_from_slice(&huge.to_le_bytes());
            let _ = decode_all(&broken);
        }
    }
    assert!(LARGEST.get() < 4096, "{} bytes at once for {} bytes of input", LARGEST.get(), buffer.len());
    let mut broken = buffer;
    broken[7..11].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode_all(&broken), Err(DecodeError { offset: 11, fault: Fault::Truncated }));
}

#[test]
fn every_truncation_and_every_flipped_bit_of_a_row_is_found() {
    let buffer = encode_row(&simple_row());
    for end in 1..buffer.len() {
        assert!(decode_all(&buffer[..end]).is_err(), "cut at {end}");
    }
    for at in 0..buffer.len() {
        for bit in 0..8 {
            let mut flipped = buffer.clone();
            flipped[at] ^= 1 << bit;
            assert!(decode_all(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_broken_row_behind_a_good_one_is_reported_where_it_is_and_stays_reported() {
    let (first, mut buffer) = (encode_row(&simple_row()).len(), encode_all(&[simple_row(), simple_row()]));
    let last = buffer.len() - 1;
    buffer[last] ^= 1;
    let mut reader = RowReader::new(&buffer).unwrap();
    let mut row = Row::default();
    assert_eq!(reader.next_row(&mut row), Ok(true));
    assert_eq!(reader.offset(), first);
    let error = reader.next_row(&mut row).unwrap_err();
    assert_eq!(error.offset, last - 1);
    assert_eq!(reader.next_row(&mut row), Err(error));
}

/// Rows whose columns come and go, so that the guess about the next name is right, wrong, and wrong by one.
fn any_rows() -> impl Strategy<Value = Vec<OwnedRow>> {
    let name = || prop_oneof![3 => "[a-d]", 1 => "[a-zA-Z_é]{0,40}"];
    let any_value = prop_oneof![
        any::<i64>().prop_map(OwnedValue::Integer),
        any::<u64>().prop_map(OwnedValue::Double),
        any::<bool>().prop_map(OwnedValue::Boolean),
        ".{0,40}".prop_map(OwnedValue::String),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(OwnedValue::Binary),
    ];
    let shape = prop_oneof![
        8 => (any_value.prop_map(Some), prop::option::of(any::<i64>())).prop_map(|(v, t)| (v, None, t)),
        1 => any::<i64>().prop_map(|t| (None, Some(CellOp::DeleteOneVersion), Some(t))),
        1 => Just((None, Some(CellOp::DeleteAllVersions), None)),
        1 => any::<i64>().prop_map(|n| (Some(OwnedValue::Integer(n)), Some(CellOp::Increment), None)),
    ];
    let part = prop_oneof![
        any::<i64>().prop_map(KeyPart::Integer),
        ".{0,20}".prop_map(KeyPart::String),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(KeyPart::Binary),
        Just(KeyPart::InfMin),
        Just(KeyPart::InfMax),
    ];
    let sequence = (any::<i32>(), any::<i64>(), any::<i32>())
        .prop_map(|(epoch, timestamp_us, row_index)| SequenceInfo { epoch, timestamp_us, row_index });
    let row = (
        prop::collection::vec((name(), part), 1..=4),
        prop::collection::vec((name(), shape), 0..8),
        any::<bool>(),
        prop::option::of(sequence),
    )
        .prop_map(|(key, cells, delete_marker, sequence)| OwnedRow {
            key,
            cells,
            delete_marker,
            sequence,
        });
    prop::collection::vec(row, 0..6)
}

#[derive(Debug, Clone)]
enum OwnedValue {
    Integer(i64),
    Double(u64),
    Boolean(bool),
    String(String),
    Binary(Vec<u8>),
}

impl OwnedValue {
    fn borrow(&self) -> Value<'_> {
        match self {
            OwnedValue::Integer(value) => Value::Integer(*value),
            OwnedValue::Double(bits) => Value::Double(f64::from_bits(*bits)),
            OwnedValue::Boolean(value) => Value::Boolean(*value),
            OwnedValue::String(value) => Value::String(value),
            OwnedValue::Binary(value) => Value::Binary(value),
        }
    }
}

/// Value, operation, timestamp.
type OwnedCell = (Option<OwnedValue>, Option<CellOp>, Option<i64>);

#[derive(Debug, Clone)]
struct OwnedRow {
    key: Vec<(String, KeyPart)>,
    cells: Vec<(String, OwnedCell)>,
    delete_marker: bool,
    sequence: Option<SequenceInfo>,
}

impl OwnedRow {
    fn borrow(&self) -> Row<'_> {
        Row {
            key: self.key.iter().map(|(name, part)| (name.as_str(), part.as_value())).collect(),
            cells: self
                .cells
                .iter()
                .map(|(name, (v, op, timestamp))| Cell {
                    name,
                    value: v.as_ref().map(OwnedValue::borrow),
                    op: *op,
                    timestamp: *timestamp,
                })
                .collect(),
            delete_marker: self.delete_marker,
            sequence: self.sequence,
        }
    }
}

proptest! {
    #[test]
    fn rows_survive_the_round_trip(rows in any_rows()) {
        let rows: Vec<_> = rows.iter().map(OwnedRow::borrow).collect();
        let buffer = if rows.is_empty() { Vec::new() } else { encode_all(&rows) };
        prop_assert_eq!(decode_all(&buffer).unwrap(), rows);
    }

    #[test]
    fn damage_is_an_error_or_a_row_but_never_a_panic(
        rows in any_rows(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index,
    ) {
        let rows: Vec<_> = rows.iter().map(OwnedRow::borrow).collect();
        let mut buffer = encode_all(&rows);
        let at = at.index(buffer.len());
        buffer[at] = byte;
        let _ = decode_all(&buffer);
        let _ = decode_named_key(&buffer);
        let _ = decode_all(&buffer[..cut.index(buffer.len())]);
    }

    #[test]
    fn noise_is_never_a_panic(noise in prop::collection::vec(prop_oneof![0_u8..=16, any::<u8>()], 0..300)) {
        let _ = decode_all(&noise);
        let _ = decode_all(&[&[0x75, 0, 0, 0, 1, 3, 4], noise.as_slice()].concat());
        let _ = decode_bare_value(&noise);
        let _ = decode_bare_key_value(&noise);
    }
}
