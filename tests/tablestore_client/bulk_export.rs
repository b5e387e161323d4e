//! BulkExport: pages in either format.

use otsvault::model::{Cell, KeyPart, KeyRange, PrimaryKey, PrimaryKeyValue, Row, Value};
use otsvault::plainbuffer::{BlockFormat, encode_key, encode_row};
use otsvault::tablestore::ExportRequest;
use otsvault::{Kind, proto};
use prost::Message;
use serde_json::Value as Json;

use super::scripted_server::{Reply, ScriptedServer};
use super::{client, names};

/// Two rows with the keys "a" and "b", of which the first has `i` = 1.
fn matrix() -> Vec<u8> {
    let file: Json =
        serde_json::from_str(include_str!("../fixtures/vectors/simple_row_matrix.json")).unwrap();
    let case =
        file["cases"].as_array().unwrap().iter().find(|case| case["id"] == "matrix_partial_primary_key");
    hex::decode(case.unwrap()["hex"].as_str().unwrap()).unwrap()
}

fn answer(rows: Vec<u8>, format: Option<i32>, next: Option<&str>) -> proto::BulkExportResponse {
    let next = next.map(|next| PrimaryKey(vec![KeyPart::String(next.into())]));
    proto::BulkExportResponse {
        consumed: proto::ConsumedCapacity {
            capacity_unit: proto::CapacityUnit { read: Some(0), write: Some(0) },
            capacity_data_size: Some(proto::CapacityDataSize { read_size: Some(80), write_size: None }),
        },
        rows: rows.into(),
        next_start_primary_key: next.map(|next| encode_key(&["uid"], &next).into()),
        data_block_type: format,
    }
}

fn request() -> ExportRequest {
    ExportRequest::columns("t1", names(&["uid"]), names(&["i"]), KeyRange::all(1))
}

#[tokio::test]
async fn a_page_of_either_format_gives_the_same_views() {
    let plain_row = Row {
        key: vec![("uid", PrimaryKeyValue::String("a"))],
        cells: vec![Cell::put("i", Value::Integer(1), Some(7))],
        ..Row::default()
    };
    let plain = encode_row(&plain_row);
    let script = [
        answer(matrix(), Some(1), Some("c")),
        answer(matrix(), None, None),
        answer(plain.clone(), Some(0), None),
        answer(plain, None, None),
    ];
    let server = ScriptedServer::start(script.iter().map(Reply::message));
    let client = client(&server);
    for (index, format) in
        [BlockFormat::RowMatrix, BlockFormat::RowMatrix, BlockFormat::PlainBuffer, BlockFormat::PlainBuffer]
            .into_iter()
            .enumerate()
    {
        let page = client.bulk_export(&request()).await.unwrap();
        assert_eq!((page.format, page.read_capacity_units, page.read_data_bytes), (format, 0, 80));
        assert_eq!(page.next_start.is_some(), index == 0);
        let mut reader = page.reader().unwrap();
        let mut row = Row::default();
        assert!(reader.next_row(&mut row).unwrap());
        assert_eq!(row.key, plain_row.key);
        assert_eq!(row.cells[0].value, Some(Value::Integer(1)));
    }
    let sent = proto::BulkExportRequest::decode(server.seen()[0].body.as_slice()).unwrap();
    assert_eq!(sent.columns_to_get, ["uid", "i"], "the key too, or its columns would be missing");
    assert_eq!(sent.data_block_type_hint(), proto::DataBlockType::DbtSimpleRowMatrix);
}

#[tokio::test]
async fn everything_in_plain_buffer_names_no_column() {
    let server = ScriptedServer::start([Reply::message(&answer(vec![], Some(0), None))]);
    let request = ExportRequest { columns: vec![], format: BlockFormat::PlainBuffer, ..request() };
    let page = client(&server).bulk_export(&request).await.unwrap();
    assert!(!page.reader().unwrap().next_row(&mut Row::default()).unwrap());
    let sent = proto::BulkExportRequest::decode(server.seen()[0].body.as_slice()).unwrap();
    assert!(sent.columns_to_get.is_empty());
    assert_eq!(sent.data_block_type_hint(), proto::DataBlockType::DbtPlainBuffer);
}

#[tokio::test]
async fn an_unknown_format_or_a_next_key_that_does_not_lead_on_is_refused() {
    for page in [answer(matrix(), Some(2), None), answer(matrix(), Some(1), Some("a"))] {
        let server = ScriptedServer::start([Reply::message(&page)]);
        let start = PrimaryKey(vec![KeyPart::String("a".into())]);
        let error = client(&server).bulk_export(&ExportRequest { start, ..request() }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
    let empty = proto::BulkExportResponse::default();
    let server = ScriptedServer::start([Reply::message(&empty), Reply::Ok(vec![])]);
    assert!(client(&server).bulk_export(&request()).await.is_ok(), "required fields are there, if empty");
    assert_eq!(client(&server).bulk_export(&request()).await.unwrap_err().kind(), Kind::Corrupt);
}
