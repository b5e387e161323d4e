//! Stream records: a row is held to what its record says it is.

use otsvault::model::{Cell, CellOp, PrimaryKeyValue, RecordType, SequenceInfo, Value};
use otsvault::plainbuffer::{Fault, RecordError, decode_origin_record, decode_record, encode_row};

use super::{Row, bytes, encode_all, fixture, list, row, text};

const SEQUENCE: SequenceInfo = SequenceInfo { epoch: 1, timestamp_us: 2, row_index: 3 };

fn with_cells(cells: Vec<Cell<'static>>) -> Row<'static> {
    Row { key: vec![("k", PrimaryKeyValue::Integer(1))], cells, sequence: Some(SEQUENCE), ..Row::default() }
}

fn put(timestamp: Option<i64>) -> Cell<'static> {
    Cell::put("c", Value::Integer(5), timestamp)
}

fn delete_all() -> Cell<'static> {
    Cell { name: "d", value: None, op: Some(CellOp::DeleteAllVersions), timestamp: None }
}

fn delete_one() -> Cell<'static> {
    Cell { name: "e", value: None, op: Some(CellOp::DeleteOneVersion), timestamp: Some(9) }
}

fn error(record_type: RecordType, row: &Row<'_>) -> RecordError {
    decode_record(record_type, &encode_row(row)).unwrap_err()
}

#[test]
fn every_record_of_the_vectors_keeps_its_type_its_place_and_its_cells() {
    let file = fixture("stream_records");
    let mut cases = 0;
    for case in list(&file, "cases") {
        let record_type = match case["action_type"].as_i64().unwrap() {
            1 => RecordType::Put,
            2 => RecordType::Update,
            3 => RecordType::Delete,
            other => panic!("action {other}"),
        };
        let (raw, expected) = (bytes(case, "hex"), row(&case["row"]));
        let record = decode_record(record_type, &raw).unwrap_or_else(|e| panic!("{}: {e}", text(case, "id")));
        assert_eq!(record.record_type, record_type);
        assert_eq!(Some(record.sequence), expected.sequence);
        assert_eq!(record.row, expected);
        cases += 1;
    }
    assert_eq!(cases, 7);
}

#[test]
fn an_update_has_puts_and_both_kinds_of_deletes() {
    let row = with_cells(vec![put(Some(7)), delete_all(), delete_one()]);
    let buffer = encode_row(&row);
    assert_eq!(decode_record(RecordType::Update, &buffer).unwrap().row, row);
}

#[test]
fn what_contradicts_the_record_type_is_named() {
    use RecordType::{Delete, Put, Update};
    let unnumbered = Row { sequence: None, ..with_cells(vec![put(Some(7))]) };
    let increment =
        Cell { name: "c", value: Some(Value::Integer(1)), op: Some(CellOp::Increment), timestamp: None };
    for record_type in [Put, Update] {
        assert_eq!(error(record_type, &unnumbered), RecordError::NoSequenceInfo);
        assert_eq!(
            error(record_type, &with_cells(vec![put(Some(7)), put(None)])),
            RecordError::NoTimestamp(1)
        );
        assert_eq!(error(record_type, &with_cells(vec![increment])), RecordError::Increment(0));
        let marked = Row { delete_marker: true, ..with_cells(vec![]) };
        assert_eq!(error(record_type, &marked), RecordError::DeleteMarker);
    }
    assert_eq!(error(Put, &with_cells(vec![put(Some(7)), delete_all()])), RecordError::DeleteInPut(1));
    assert_eq!(error(Put, &with_cells(vec![delete_one()])), RecordError::DeleteInPut(0));
    assert_eq!(error(Delete, &with_cells(vec![put(Some(7))])), RecordError::CellsInDelete);
    assert_eq!(error(Delete, &with_cells(vec![delete_all()])), RecordError::CellsInDelete);
    for value in [PrimaryKeyValue::InfMin, PrimaryKeyValue::InfMax, PrimaryKeyValue::AutoIncrement] {
        let bound = Row { key: vec![("k", value)], ..with_cells(vec![]) };
        assert_eq!(error(Put, &bound), RecordError::NotAStoredKey);
    }
}

#[test]
fn a_record_is_exactly_one_row() {
    let row = with_cells(vec![put(Some(7))]);
    let one = encode_row(&row);
    assert_eq!(decode_record(RecordType::Put, &[]), Err(RecordError::Empty));
    let two = encode_all(&[row.clone(), row.clone()]);
    assert_eq!(decode_record(RecordType::Put, &two), Err(RecordError::Trailing(one.len())));
    let padded = [one.as_slice(), &[0]].concat();
    assert_eq!(decode_record(RecordType::Put, &padded), Err(RecordError::Trailing(one.len())));
    match decode_record(RecordType::Put, &one[..one.len() - 1]) {
        Err(RecordError::Row(error)) => assert_eq!(error.fault, Fault::Truncated),
        other => panic!("{other:?}"),
    }
    let before = Row { sequence: None, ..row };
    assert_eq!(decode_origin_record(&encode_row(&before)), Ok(before));
}
