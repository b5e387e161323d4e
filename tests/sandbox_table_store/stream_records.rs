//! Records of a Stream in the exact form that the official SDKs were tried with, and the limits of one page of them.

use otsvault::model::{Cell, CellOp, PrimaryKeyValue, Row, Value};
use otsvault::sandbox::SandboxOptions;
use otsvault::{plainbuffer, proto};

use crate::client::{Client, condition, key_column, puts, row, table};
use crate::shards::{client_with_stream, oldest, records, shards, stream_spec};

/// 2023-11-14, the time of the vectors, in milliseconds.
const THEN: i64 = 1_700_000_000_000;

/// The bytes of a vector, and of a record, without what the moment decides: the 19 bytes of the sequence info.
fn without_sequence(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.len() - 2;
    (&bytes[..end - 19], &bytes[end..])
}

fn vector(id: &str) -> Vec<u8> {
    let text = include_str!("../fixtures/vectors/stream_records.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let case = vectors["cases"].as_array().unwrap().iter().find(|case| case["id"] == id).unwrap();
    hex::decode(case["hex"].as_str().unwrap()).unwrap()
}

/// A sandbox whose table `t` has a Stream, these key columns, and takes timestamps of any age.
async fn client_with_key(key: &[(&str, proto::PrimaryKeyType)]) -> Client {
    let client = Client::new(SandboxOptions::default()).await;
    let mut request = table("t", 3);
    request.table_meta.primary_key = key.iter().map(|(name, kind)| key_column(name, *kind)).collect();
    request.table_options.as_mut().unwrap().deviation_cell_version_in_sec = Some(i64::MAX / 1_000_000);
    request.stream_spec = Some(stream_spec(true, &[]));
    client.create(&request).await.unwrap();
    client
}

async fn last_record(client: &Client) -> proto::StreamRecord {
    let stream_id = crate::shards::stream_id(client).await;
    let shard = shards(client, &stream_id, 10).await.unwrap().remove(0).shard_id;
    let page = records(client, &oldest(client, &stream_id, &shard).await, 100).await.unwrap();
    page.stream_records.last().unwrap().clone()
}

fn assert_is_vector(record: &proto::StreamRecord, id: &str, action: proto::ActionType) {
    let expected = vector(id);
    assert_eq!(without_sequence(&record.record), without_sequence(&expected), "{id}");
    assert_eq!(record.action_type, action as i32, "{id}");
}

#[tokio::test]
async fn records_have_the_bytes_that_the_official_sdks_read() {
    use proto::PrimaryKeyType as Type;
    let client =
        client_with_key(&[("uid", Type::String), ("ts", Type::Integer), ("bin", Type::Binary)]).await;
    let cells =
        vec![Cell::put("a", Value::String("1"), Some(THEN)), Cell::put("b", Value::Double(2.5), Some(THEN))];
    let key = vec![
        ("uid", PrimaryKeyValue::String("u-0001")),
        ("ts", PrimaryKeyValue::Integer(THEN + 123)),
        ("bin", PrimaryKeyValue::Binary(&[0, 1, 0xfe, 0xff])),
    ];
    client.put("t", &Row { key, cells, ..Row::default() }).await.unwrap();
    assert_is_vector(&last_record(&client).await, "stream_put", proto::ActionType::PutRow);

    let client = client_with_key(&[("pk", Type::String)]).await;
    let key = || Row { key: vec![("pk", PrimaryKeyValue::String("a"))], ..Row::default() };
    client.put("t", &key()).await.unwrap();
    assert_is_vector(&last_record(&client).await, "stream_put_no_columns", proto::ActionType::PutRow);
    let delete = |name, op, timestamp| Cell { name, value: None, op: Some(op), timestamp };
    let cells = vec![
        Cell::put("n", Value::Integer(6), Some(THEN + 5)),
        delete("o", CellOp::DeleteOneVersion, Some(THEN)),
        delete("p", CellOp::DeleteAllVersions, None),
    ];
    client.update("t", &Row { cells, ..key() }).await.unwrap();
    assert_is_vector(&last_record(&client).await, "stream_update_mixed", proto::ActionType::UpdateRow);
    let request = proto::DeleteRowRequest {
        table_name: "t".into(),
        primary_key: plainbuffer::encode_row(&Row { delete_marker: true, ..key() }).into(),
        condition: condition(proto::RowExistenceExpectation::Ignore),
        ..Default::default()
    };
    client.call::<proto::DeleteRowResponse>("DeleteRow", &request).await.unwrap();
    assert_is_vector(&last_record(&client).await, "stream_delete_with_marker", proto::ActionType::DeleteRow);
}

#[tokio::test]
async fn a_page_ends_at_a_thousand_records_or_at_four_megabytes() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let shard = shards(&client, &stream_id, 10).await.unwrap().remove(0).shard_id;
    let first = oldest(&client, &stream_id, &shard).await;
    for ids in (0..1_100).collect::<Vec<i64>>().chunks(200) {
        let rows = ids.iter().map(|id| plainbuffer::encode_row(&row(*id, &[])));
        client.batch(&puts("t", rows.collect::<Vec<_>>())).await.unwrap();
    }
    let page = records(&client, &first, 100_000).await.unwrap();
    assert_eq!((page.stream_records.len(), page.may_more_record), (1_000, Some(true)));
    let rest = page.next_shard_iterator.unwrap();
    assert_eq!(records(&client, &rest, 100_000).await.unwrap().stream_records.len(), 100);

    let text = "x".repeat(1_500_000);
    for id in 0..4 {
        client.put("t", &row(id, &[Cell::put("a", Value::String(&text), None)])).await.unwrap();
    }
    let page = records(&client, &rest, 100_000).await.unwrap();
    assert_eq!((page.stream_records.len(), page.may_more_record), (102, Some(true)));
    let units = page.consumed.unwrap().capacity_unit.read.unwrap();
    assert!(units > 2 * 1_500_000 / 4_096, "{units}");
}
