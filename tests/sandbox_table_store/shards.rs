//! A Stream as a client reads it: shards page by page, iterators, records.

use otsvault::model::PrimaryKey;
use otsvault::model::{KeyPart, Row};
use otsvault::sandbox::SandboxOptions;
use otsvault::{plainbuffer, proto};

use crate::client::{Client, table};

pub fn stream_spec(enable_stream: bool, columns_to_get: &[&str]) -> proto::StreamSpecification {
    proto::StreamSpecification {
        enable_stream,
        expiration_time: enable_stream.then_some(1),
        columns_to_get: columns_to_get.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// A sandbox with the table `t`, 3 versions, key INTEGER `id`, and its Stream of one hour.
pub async fn client_with_stream(columns_to_get: &[&str]) -> (Client, String) {
    let client = Client::new(SandboxOptions::default()).await;
    let spec = stream_spec(true, columns_to_get);
    client.create(&proto::CreateTableRequest { stream_spec: Some(spec), ..table("t", 3) }).await.unwrap();
    let stream_id = stream_id(&client).await;
    (client, stream_id)
}

/// The Stream of `t`.
pub async fn stream_id(client: &Client) -> String {
    let asked = proto::ListStreamRequest { table_name: Some("t".into()) };
    let list: proto::ListStreamResponse = client.call("ListStream", &asked).await.unwrap();
    list.streams[0].stream_id.clone()
}

/// Disables the Stream of `t`, or enables it.
pub async fn switch_stream(client: &Client, enable_stream: bool) {
    let update = proto::UpdateTableRequest {
        table_name: "t".into(),
        stream_spec: Some(stream_spec(enable_stream, &[])),
        ..Default::default()
    };
    client.call::<proto::UpdateTableResponse>("UpdateTable", &update).await.unwrap();
}

/// Every shard, `limit` at a time.
pub async fn shards(client: &Client, stream_id: &str, limit: i32) -> Result<Vec<proto::StreamShard>, String> {
    let mut request = proto::DescribeStreamRequest {
        stream_id: stream_id.to_owned(),
        shard_limit: Some(limit),
        ..Default::default()
    };
    let mut shards = Vec::new();
    loop {
        let page: proto::DescribeStreamResponse = client.call("DescribeStream", &request).await?;
        assert!(page.shards.len() <= limit as usize);
        shards.extend(page.shards);
        match page.next_shard_id {
            Some(next) => request.inclusive_start_shard_id = Some(next),
            None => return Ok(shards),
        }
    }
}

pub async fn seek(
    client: &Client,
    stream_id: &str,
    shard_id: &str,
    timestamp: Option<i64>,
    token: Option<String>,
) -> Result<proto::GetShardIteratorResponse, String> {
    let request = proto::GetShardIteratorRequest {
        stream_id: stream_id.to_owned(),
        shard_id: shard_id.to_owned(),
        timestamp,
        token,
    };
    client.call("GetShardIterator", &request).await
}

/// The oldest retained record of a shard.
pub async fn oldest(client: &Client, stream_id: &str, shard_id: &str) -> String {
    seek(client, stream_id, shard_id, None, None).await.unwrap().shard_iterator
}

pub async fn records(
    client: &Client,
    from: &str,
    limit: i32,
) -> Result<proto::GetStreamRecordResponse, String> {
    let request = proto::GetStreamRecordRequest {
        shard_iterator: from.to_owned(),
        limit: Some(limit),
        table_name: None,
    };
    client.call("GetStreamRecord", &request).await
}

pub fn decoded(record: &proto::StreamRecord) -> Row<'_> {
    let mut row = Row::default();
    plainbuffer::decode_request_row(&record.record, &mut row).unwrap();
    row
}

pub fn at(id: i64) -> PrimaryKey {
    PrimaryKey(vec![KeyPart::Integer(id)])
}
