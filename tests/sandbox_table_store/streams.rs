use std::time::Duration;

use otsvault::model::{Cell, CellOp, Row, Value};
use otsvault::sandbox::SandboxOptions;
use otsvault::{plainbuffer, proto};

use crate::client::{Client, puts, row, table};

const TRIMMED: &str = "404 OTSTrimmedDataAccess Requested stream data is already trimmed or does not exist.";

async fn client_with_stream() -> (Client, String) {
    let client = Client::new(SandboxOptions::default()).await;
    let spec =
        proto::StreamSpecification { enable_stream: true, expiration_time: Some(1), columns_to_get: vec![] };
    client.create(&proto::CreateTableRequest { stream_spec: Some(spec), ..table("t", 3) }).await.unwrap();
    let asked = proto::ListStreamRequest { table_name: Some("t".into()) };
    let list: proto::ListStreamResponse = client.call("ListStream", &asked).await.unwrap();
    (client, list.streams[0].stream_id.clone())
}

async fn start(client: &Client, stream_id: &str) -> Result<String, String> {
    let asked = proto::DescribeStreamRequest { stream_id: stream_id.to_owned(), ..Default::default() };
    let about: proto::DescribeStreamResponse = client.call("DescribeStream", &asked).await?;
    assert_eq!((about.shards.len(), about.expiration_time), (1, 1));
    let shard_id = about.shards[0].shard_id.clone();
    let asked =
        proto::GetShardIteratorRequest { stream_id: stream_id.to_owned(), shard_id, ..Default::default() };
    Ok(client.call::<proto::GetShardIteratorResponse>("GetShardIterator", &asked).await?.shard_iterator)
}

async fn records(client: &Client, from: &str, limit: i32) -> Result<proto::GetStreamRecordResponse, String> {
    let asked = proto::GetStreamRecordRequest {
        shard_iterator: from.to_owned(),
        limit: Some(limit),
        table_name: None,
    };
    client.call("GetStreamRecord", &asked).await
}

#[tokio::test]
async fn the_stream_shows_every_change_once_in_commit_order() {
    let (client, stream_id) = client_with_stream().await;
    let first = start(&client, &stream_id).await.unwrap();
    assert!(records(&client, &first, 10).await.unwrap().stream_records.is_empty());

    let number = |name, value| Cell::put(name, Value::Integer(value), None);
    client.put("t", &row(1, &[number("a", 1), number("n", 5)])).await.unwrap();
    let step = Cell { op: Some(CellOp::Increment), ..number("n", 2) };
    let delete = Cell { name: "a", value: None, op: Some(CellOp::DeleteAllVersions), timestamp: None };
    client.update("t", &row(1, &[delete, step])).await.unwrap();
    // Taken back: it leaves no record.
    let mut atomic = puts("t", [row(2, &[]), row(2, &[])].map(|row| plainbuffer::encode_row(&row)));
    atomic.is_atomic = Some(true);
    atomic.tables[0].rows[1].condition.row_existence = proto::RowExistenceExpectation::ExpectNotExist as i32;
    assert!(client.batch(&atomic).await.unwrap().iter().all(Result::is_err));

    let page = records(&client, &first, 1).await.unwrap();
    assert_eq!((page.stream_records.len(), page.may_more_record), (1, Some(true)));
    let rest = records(&client, page.next_shard_iterator.as_ref().unwrap(), 10).await.unwrap();
    assert_eq!((rest.stream_records.len(), rest.may_more_record), (1, Some(false)));
    let (put, update) = (&page.stream_records[0], &rest.stream_records[0]);
    assert_eq!(put.action_type, proto::ActionType::PutRow as i32);
    assert_eq!(update.action_type, proto::ActionType::UpdateRow as i32);
    let (mut before, mut after) = (Row::default(), Row::default());
    plainbuffer::decode_request_row(&put.record, &mut before).unwrap();
    plainbuffer::decode_request_row(&update.record, &mut after).unwrap();
    assert!(before.cells.iter().all(|cell| cell.timestamp.is_some() && cell.op.is_none()));
    assert!(before.sequence.unwrap().timestamp_us < after.sequence.unwrap().timestamp_us);
    assert_eq!(after.cells[0], delete);
    assert_eq!((after.cells[1].value, after.cells[1].op), (Some(Value::Integer(7)), None));
}

#[tokio::test]
async fn expired_records_and_streams_enabled_anew_are_gaps() {
    let (client, stream_id) = client_with_stream().await;
    let first = start(&client, &stream_id).await.unwrap();
    client.put("t", &row(1, &[])).await.unwrap();
    client.sandbox.advance_clock(Duration::from_secs(3_601));
    assert_eq!(records(&client, &first, 1).await.unwrap_err(), TRIMMED);
    let later = start(&client, &stream_id).await.unwrap();
    assert!(records(&client, &later, 1).await.unwrap().stream_records.is_empty());

    for enable_stream in [false, true] {
        let spec =
            proto::StreamSpecification { enable_stream, expiration_time: Some(1), columns_to_get: vec![] };
        let update = proto::UpdateTableRequest {
            table_name: "t".into(),
            stream_spec: Some(spec),
            ..Default::default()
        };
        client.call::<proto::UpdateTableResponse>("UpdateTable", &update).await.unwrap();
    }
    assert_eq!(records(&client, &later, 1).await.unwrap_err(), TRIMMED);
    assert!(start(&client, &stream_id).await.unwrap_err().starts_with("404 OTSObjectNotExist"));
}
