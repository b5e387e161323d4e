//! The Stream operations, against scripted answers and against the sandbox.

use otsvault::credentials::Credentials;
use otsvault::model::{Cell, CellOp, PrimaryKeyValue, RecordType, Row, SequenceInfo, Stream, Value};
use otsvault::plainbuffer::encode_row;
use otsvault::sandbox::Sandbox;
use otsvault::tablestore::{Shard, ShardPosition, ShardStart, TableStore, TableStoreConfig};
use otsvault::{Kind, proto};
use prost::Message;

use super::scripted_server::{Reply, ScriptedServer};
use super::{client, plain_table, vector};

const STREAM: &str = "t1_1700000000000000";

fn described(shards: &[(&str, &[&str])], next: Option<&str>) -> proto::DescribeStreamResponse {
    let shard = |(id, parents): &(&str, &[&str])| proto::StreamShard {
        shard_id: (*id).to_owned(),
        parent_id: parents.first().map(|id| (*id).to_owned()),
        parent_sibling_id: parents.get(1).map(|id| (*id).to_owned()),
    };
    proto::DescribeStreamResponse {
        stream_id: STREAM.to_owned(),
        expiration_time: 168,
        table_name: "t1".to_owned(),
        creation_time: 1_700_000_000_000_000,
        stream_status: proto::StreamStatus::StreamActive.into(),
        shards: shards.iter().map(shard).collect(),
        next_shard_id: next.map(str::to_owned),
        is_timeseries_data_table: None,
    }
}

fn records(actions: &[(i32, Row<'_>)], next: Option<&str>) -> proto::GetStreamRecordResponse {
    let record = |(action, row): &(i32, Row<'_>)| proto::StreamRecord {
        action_type: *action,
        record: encode_row(row).into(),
        origin_record: None,
    };
    proto::GetStreamRecordResponse {
        stream_records: actions.iter().map(record).collect(),
        next_shard_iterator: next.map(str::to_owned),
        consumed: None,
        may_more_record: None,
    }
}

fn row(cells: Vec<Cell<'static>>) -> Row<'static> {
    Row {
        key: vec![("k", PrimaryKeyValue::String("a"))],
        cells,
        sequence: Some(SequenceInfo { epoch: 0, timestamp_us: 1_700_000_000_000_001, row_index: 2 }),
        ..Row::default()
    }
}

#[tokio::test]
async fn a_stream_is_described_page_by_page_as_the_sdks_ask() {
    let pages = [
        described(&[("s0", &[])], Some("s1")),
        described(&[("s1", &["s0"]), ("s2", &["s0", ""]), ("s3", &["s1", "s2"])], None),
    ];
    let server = ScriptedServer::start(pages.iter().map(Reply::message));
    let stream = client(&server).describe_stream_in_pages(STREAM, Some(100)).await.unwrap();
    assert_eq!(server.seen()[1].body, vector("requests", "describe_stream"));
    assert_eq!((stream.table.as_str(), stream.expiration_hours, stream.is_active), ("t1", 168, true));
    let shard = |id: &str, parents: &[&str]| Shard {
        shard_id: id.to_owned(),
        parents: parents.iter().map(|id| (*id).to_owned()).collect(),
    };
    let expected = [shard("s0", &[]), shard("s1", &["s0"]), shard("s2", &["s0"]), shard("s3", &["s1", "s2"])];
    assert_eq!(stream.shards, expected);
}

#[tokio::test]
async fn pages_of_shards_that_lead_nowhere_or_contradict_each_other_are_refused() {
    let again = described(&[("s0", &[])], Some("s0"));
    let empty = described(&[], Some("s1"));
    let another = proto::DescribeStreamResponse { stream_id: "x".into(), ..described(&[], None) };
    let status = proto::DescribeStreamResponse { stream_status: 9, ..described(&[], None) };
    let nameless = described(&[("", &[])], None);
    for (page, reason) in [
        (again, "a shard is on two pages"),
        (empty, "an empty page"),
        (another, "another Stream"),
        (status, "unknown Stream status 9"),
        (nameless, "a shard has no id"),
    ] {
        let server = ScriptedServer::start([Reply::message(&page)]);
        let error = client(&server).describe_stream(STREAM).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{reason}");
        assert!(error.report().contains(reason) && error.report().contains(STREAM), "{}", error.report());
    }
}

#[tokio::test]
async fn streams_are_listed_with_their_tables() {
    let listed = proto::ListStreamResponse {
        streams: vec![proto::Stream {
            stream_id: STREAM.into(),
            table_name: "t1".into(),
            creation_time: 1_700_000_000_000_000,
        }],
    };
    let server = ScriptedServer::start([Reply::message(&listed)]);
    let streams = client(&server).list_streams(Some("t1")).await.unwrap();
    assert_eq!(server.seen()[0].body, vector("requests", "list_stream"));
    assert_eq!((streams[0].stream_id.as_str(), streams[0].table.as_str()), (STREAM, "t1"));
    assert_eq!(client(&server).list_streams(Some("t2")).await.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(client(&server).list_streams(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_position_by_time_is_searched_until_there_is_no_token() {
    let answer = |iterator: &str, token: Option<&str>| {
        Reply::message(&proto::GetShardIteratorResponse {
            shard_iterator: iterator.to_owned(),
            next_token: token.map(str::to_owned),
        })
    };
    let script = [answer("it-1", Some("t1")), answer("it-2", Some("t2")), answer("it-3", None)];
    let server = ScriptedServer::start(script);
    let found = client(&server).get_shard_iterator(STREAM, "s1", ShardStart::At(5)).await.unwrap();
    assert_eq!(found, "it-3");
    let asked: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| proto::GetShardIteratorRequest::decode(seen.body.as_slice()).unwrap())
        .map(|request| (request.timestamp, request.token))
        .collect();
    assert_eq!(asked, [(Some(5), None), (Some(5), Some("t1".into())), (Some(5), Some("t2".into()))]);

    let server = ScriptedServer::start([answer("it-1", None)]);
    client(&server).get_shard_iterator(STREAM, "s1", ShardStart::Oldest).await.unwrap();
    assert_eq!(server.seen()[0].body, vector("requests", "get_shard_iterator"));

    let server = ScriptedServer::start([answer("it-1", Some("t1"))]);
    let error = client(&server).get_shard_iterator(STREAM, "s1", ShardStart::At(5)).await.unwrap_err();
    assert!(error.report().contains("repeats its token"), "{}", error.report());
}

#[tokio::test]
async fn records_come_with_their_type_and_the_position_behind_them() {
    let put = row(vec![Cell::put("c", Value::Integer(1), Some(7))]);
    let update =
        row(vec![Cell { name: "c", value: None, op: Some(CellOp::DeleteAllVersions), timestamp: None }]);
    let script = [
        records(&[(1, put.clone()), (2, update.clone()), (3, row(vec![]))], Some("it-2")),
        records(&[], Some("it-2")),
        proto::GetStreamRecordResponse { may_more_record: Some(true), ..records(&[], Some("it-3")) },
        records(&[(1, put.clone())], None),
    ];
    let server = ScriptedServer::start(script.iter().map(Reply::message));
    let client = client(&server);
    let read = async |iterator| client.get_stream_record("t1", iterator, Some(1_000)).await.unwrap();
    let page = read("it-1").await;
    let expected = [vector("requests", "get_stream_record"), b"\x1a\x02t1".to_vec()].concat();
    assert_eq!(server.seen()[0].body, expected);
    assert_eq!(page.position, ShardPosition::More("it-2".into()));
    let decoded: Vec<_> = page.records.iter().map(|record| record.decode().unwrap()).collect();
    let types: Vec<_> = decoded.iter().map(|record| record.record_type).collect();
    assert_eq!(types, [RecordType::Put, RecordType::Update, RecordType::Delete]);
    assert_eq!((&decoded[0].row, &decoded[1].row), (&put, &update));
    assert_eq!(decoded[0].sequence.row_index, 2);
    assert_eq!(read("it-2").await.position, ShardPosition::CaughtUp("it-2".into()));
    assert_eq!(read("it-2").await.position, ShardPosition::More("it-3".into()), "an empty page, not the end");
    let last = read("it-3").await;
    assert_eq!((last.records.len(), last.position), (1, ShardPosition::Closed));
}

#[tokio::test]
async fn an_unknown_record_type_or_an_iterator_that_stands_still_is_refused() {
    for (page, reason) in [
        (records(&[(1, row(vec![])), (4, row(vec![]))], Some("it-2")), "record 1 has the unknown type 4"),
        (records(&[(1, row(vec![]))], Some("it-1")), "repeats its iterator"),
    ] {
        let server = ScriptedServer::start([Reply::message(&page)]);
        let error = client(&server).get_stream_record("t1", "it-1", None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        let report = error.report();
        assert!(report.contains(reason) && report.contains("the Stream of table `t1`"), "{report}");
    }
}

#[tokio::test]
async fn expired_records_are_a_gap() {
    let text = "Requested stream data is already trimmed or does not exist.";
    let server = ScriptedServer::start([Reply::Error(404, "OTSTrimmedDataAccess", text)]);
    let error = client(&server).get_stream_record("t1", "it-1", None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Gap);
    assert_eq!(server.seen().len(), 1, "repeating does not help");
}

#[tokio::test]
async fn what_was_written_to_the_sandbox_is_read_from_its_stream() {
    let sandbox = Sandbox::start(Default::default()).await.unwrap();
    let at = sandbox.description();
    let credentials = Credentials::new(&*at.access_key_id, &*at.access_key_secret, None);
    let config = TableStoreConfig::new(&*at.ots_endpoint, &*at.instance, credentials);
    let client = TableStore::new(config).unwrap();
    let mut table = plain_table("t1", otsvault::model::PrimaryKeyType::String);
    table.stream = Some(Stream {
        stream_id: String::new(),
        expiration_hours: 24,
        last_enable_time_us: 0,
        columns: vec![],
    });
    client.create_table(&table, &[]).await.unwrap();
    let now = jiff::Timestamp::now().as_millisecond();
    let written = |cells: Vec<Cell<'static>>| Row { sequence: None, ..row(cells) };
    let put = written(vec![Cell::put("c", Value::String("v"), Some(now))]);
    let update =
        written(vec![Cell { name: "c", value: None, op: Some(CellOp::DeleteAllVersions), timestamp: None }]);
    client.put_row("t1", &put).await.unwrap();
    client.update_row("t1", &update).await.unwrap();
    client.delete_row("t1", &put).await.unwrap();

    let streams = client.list_streams(Some("t1")).await.unwrap();
    let stream = client.describe_stream(&streams[0].stream_id).await.unwrap();
    assert_eq!((stream.table.as_str(), stream.shards.len()), ("t1", 1));
    let shard = &stream.shards[0];
    let mut iterator =
        client.get_shard_iterator(&stream.stream_id, &shard.shard_id, ShardStart::Oldest).await.unwrap();
    let mut read = Vec::new();
    loop {
        let page = client.get_stream_record("t1", &iterator, Some(2)).await.unwrap();
        for record in &page.records {
            let record = record.decode().unwrap();
            let cells: Vec<_> = record.row.cells.iter().map(|cell| (cell.value.is_some(), cell.op)).collect();
            read.push((record.record_type, cells));
        }
        match page.position {
            ShardPosition::More(next) => iterator = next,
            ShardPosition::CaughtUp(_) | ShardPosition::Closed => break,
        }
    }
    let expected = [
        (RecordType::Put, vec![(true, None)]),
        (RecordType::Update, vec![(false, Some(CellOp::DeleteAllVersions))]),
        (RecordType::Delete, vec![]),
    ];
    assert_eq!(read, expected);
}
