//! BatchGetRow: rows fail one by one.

use otsvault::model::{Cell, KeyPart, PrimaryKey, PrimaryKeyValue, Row, Value};
use otsvault::plainbuffer::encode_row;
use otsvault::tablestore::RowsRequest;
use otsvault::{Kind, proto};
use prost::Message;

use super::scripted_server::{Reply, ScriptedServer};
use super::{client, impatient_client, names, vector};

fn key(id: i64) -> PrimaryKey {
    PrimaryKey(vec![KeyPart::Integer(id)])
}

fn request(ids: &[i64]) -> RowsRequest {
    RowsRequest {
        table: "t1".into(),
        key_names: names(&["id"]),
        keys: ids.iter().map(|id| key(*id)).collect(),
        columns: vec![],
        max_versions: Some(1),
        time_range: None,
    }
}

fn found(id: i64) -> proto::RowInBatchGetRowResponse {
    let row = Row {
        key: vec![("id", PrimaryKeyValue::Integer(id))],
        cells: vec![Cell::put("c", Value::Integer(id), Some(1))],
        ..Row::default()
    };
    let capacity_unit = proto::CapacityUnit { read: Some(1), write: Some(0) };
    proto::RowInBatchGetRowResponse {
        is_ok: true,
        consumed: Some(proto::ConsumedCapacity { capacity_unit, capacity_data_size: None }),
        row: Some(encode_row(&row).into()),
        ..Default::default()
    }
}

fn missing() -> proto::RowInBatchGetRowResponse {
    proto::RowInBatchGetRowResponse { is_ok: true, ..Default::default() }
}

fn failed(code: &str) -> proto::RowInBatchGetRowResponse {
    let error = proto::Error { code: code.to_owned(), ..Default::default() };
    proto::RowInBatchGetRowResponse { is_ok: false, error: Some(error), ..Default::default() }
}

fn answer(rows: Vec<proto::RowInBatchGetRowResponse>) -> Reply {
    let table = proto::TableInBatchGetRowResponse { table_name: "t1".into(), rows };
    Reply::message(&proto::BatchGetRowResponse { tables: vec![table] })
}

#[tokio::test]
async fn the_request_is_the_sdks() {
    let server = ScriptedServer::start([answer(vec![missing(), missing()])]);
    let key = PrimaryKey(vec![
        KeyPart::String("u-0001".into()),
        KeyPart::Integer(1_700_000_000_123),
        KeyPart::Binary(vec![0, 1, 0xfe, 0xff]),
    ]);
    let request = RowsRequest {
        key_names: names(&["uid", "ts", "bin"]),
        keys: vec![key.clone(), key],
        columns: names(&["s"]),
        ..request(&[])
    };
    let rows = client(&server).batch_get_row(&request).await.unwrap().all().unwrap();
    assert_eq!(rows, [None, None]);
    assert_eq!(server.seen()[0].body, vector("requests", "batch_get_row"));
}

#[tokio::test]
async fn only_the_rows_that_failed_are_asked_for_again() {
    let script = [
        answer(vec![found(1), failed("OTSServerBusy"), missing(), failed("OTSTimeout")]),
        answer(vec![found(2), failed("OTSServerBusy")]),
        answer(vec![found(4)]),
    ];
    let server = ScriptedServer::start(script);
    let client = client(&server);
    let read = client.batch_get_row(&request(&[1, 2, 3, 4])).await.unwrap();
    assert_eq!((read.read_capacity_units, read.row_retries), (3, 3));
    let rows = read.all().unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row.decode().unwrap().key[0].1)).collect();
    let id = |id| Some(PrimaryKeyValue::Integer(id));
    assert_eq!(ids, [id(1), id(2), None, id(4)]);
    let asked: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| {
            proto::BatchGetRowRequest::decode(seen.body.as_slice()).unwrap().tables[0].primary_key.len()
        })
        .collect();
    assert_eq!(asked, [4, 2, 1]);
    assert_eq!(client.counters().throttles, 2);
}

#[tokio::test]
async fn a_row_that_is_refused_fails_alone_and_all_fails_with_it() {
    let script = || ScriptedServer::start([answer(vec![found(1), failed("OTSParameterInvalid")])]);
    let server = script();
    let outcomes: Vec<_> = client(&server).batch_get_row(&request(&[1, 2])).await.unwrap().each().collect();
    assert!(outcomes[0].is_ok());
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.service_request_id()), (Kind::Refused, Some("id-7")));
    assert_eq!(server.seen().len(), 1, "not asked for again");
    let server = script();
    assert!(client(&server).batch_get_row(&request(&[1, 2])).await.unwrap().all().is_err());
}

#[tokio::test]
async fn rows_that_stay_busy_are_given_up_with_the_budget() {
    let server = ScriptedServer::start([answer(vec![failed("OTSServerBusy")])]);
    let read = impatient_client(&server).batch_get_row(&request(&[1])).await.unwrap();
    let error = read.all().unwrap_err();
    assert_eq!(error.kind(), Kind::Throttled);
    assert!(error.report().contains("gave up after"), "{}", error.report());
}

#[tokio::test]
async fn rows_of_another_request_are_refused() {
    let mut silent = failed("OTSServerBusy");
    silent.error = None;
    for (rows, reason) in [
        (vec![found(2)], "another key"),
        (vec![found(1), found(2)], "not those of the request"),
        (vec![silent], "contradicts itself"),
    ] {
        let server = ScriptedServer::start([answer(rows)]);
        let error = client(&server).batch_get_row(&request(&[1])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{reason}");
        assert!(error.report().contains(reason), "{}", error.report());
    }
}
