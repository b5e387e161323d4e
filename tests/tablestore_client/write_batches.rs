//! BatchWriteRow bodies made of encoded rows: the same requests, and the same second tries, as from messages.

use base64::Engine as _;
use md5::{Digest, Md5};
use otsvault::model::{PrimaryKeyValue, Row};
use otsvault::plainbuffer::encode_row;
use otsvault::tablestore::{BatchFiller, BatchTarget, Existence, RowChange, WriteBatch};
use otsvault::{Kind, proto};
use prost::Message;

use super::row_changes::{batch, changes, row_failed, row_ok, some_fail};
use super::scripted_server::{Reply, ScriptedServer};
use super::{client, impatient_client};

fn key_row(id: i64) -> Vec<u8> {
    encode_row(&Row { key: vec![("k", PrimaryKeyValue::Integer(id))], ..Row::default() })
}

fn batch_for(target: BatchTarget, rows: i64) -> WriteBatch {
    let mut filler = BatchFiller::new(target);
    (0..rows).for_each(|id| filler.push(&key_row(id), 9, id as u64));
    let [batch] = <[_; 1]>::try_from(filler.finish()).unwrap();
    batch
}

fn sent_rows(server: &ScriptedServer) -> Vec<Vec<Vec<u8>>> {
    let request = |body: &[u8]| proto::BatchWriteRowRequest::decode(body).unwrap();
    let rows = |request: proto::BatchWriteRowRequest| {
        request.tables[0].rows.iter().map(|row| row.row_change.to_vec()).collect()
    };
    server.seen().iter().map(|seen| rows(request(&seen.body))).collect()
}

#[tokio::test]
async fn a_batch_of_encoded_rows_is_the_request_of_the_same_changes() {
    let server = ScriptedServer::start([batch(vec![row_ok(); 3])]);
    let client = client(&server);
    let written = client.write_batch(&batch_for(BatchTarget::put("t1"), 3)).await.unwrap();
    assert_eq!((written.write_capacity_units, written.failures.len()), (3, 0));
    assert!(client.write_rows("t1", &changes(3)).await.unwrap().failures.is_empty());
    let [ready, message] = <[_; 2]>::try_from(server.seen()).unwrap();
    assert_eq!(ready.body, message.body);
    let md5 = base64::engine::general_purpose::STANDARD.encode(Md5::digest(&ready.body));
    assert!(ready.headers.contains(&("x-ots-contentmd5".into(), md5)), "{:?}", ready.headers);
}

#[tokio::test]
async fn of_a_batch_only_the_rows_that_failed_and_may_be_repeated_are_sent_again() {
    let server = ScriptedServer::start(some_fail());
    let batch = batch_for(BatchTarget::put("t1"), 4);
    let written = client(&server).write_batch(&batch).await.unwrap();
    assert_eq!((written.write_capacity_units, written.row_retries), (3, 3));
    let [(2, refused)] = written.failures.as_slice() else { panic!("{written:?}") };
    assert_eq!(refused.kind(), Kind::Refused);
    assert_eq!((batch.number(2), batch.row(2)), (Some(2), Some(key_row(2).as_slice())));
    let [first, second, third] = <[_; 3]>::try_from(sent_rows(&server)).unwrap();
    assert_eq!(first, [0, 1, 2, 3].map(key_row));
    assert_eq!(second, [1, 3].map(key_row));
    assert_eq!(third, [1].map(key_row));
    for seen in server.seen() {
        let request = proto::BatchWriteRowRequest::decode(seen.body.as_slice()).unwrap();
        assert_eq!(request.encode_to_vec(), seen.body, "canonical");
    }
}

#[tokio::test]
async fn a_batch_that_is_not_idempotent_is_not_sent_again_after_a_time_out() {
    let script = [batch(vec![row_failed("OTSTimeout"), row_failed("OTSServerBusy")]), batch(vec![row_ok()])];
    let server = ScriptedServer::start(script);
    let target = BatchTarget { idempotent: false, ..BatchTarget::put("t1") };
    let written = client(&server).write_batch(&batch_for(target.clone(), 2)).await.unwrap();
    let kinds: Vec<_> = written.failures.iter().map(|(index, error)| (*index, error.kind())).collect();
    assert_eq!(kinds, [(0, Kind::Unavailable)]);
    assert_eq!(sent_rows(&server)[1], [key_row(1)]);
    // Nor is the request as a whole.
    let server = ScriptedServer::start([Reply::Error(503, "OTSTimeout", "slow")]);
    assert!(client(&server).write_batch(&batch_for(target, 2)).await.is_err());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn rows_of_a_batch_that_stay_busy_are_given_up_with_the_budget() {
    let server = ScriptedServer::start([batch(vec![row_failed("OTSServerBusy"); 2])]);
    let written = impatient_client(&server).write_batch(&batch_for(BatchTarget::put("t1"), 2)).await.unwrap();
    let kinds: Vec<_> = written.failures.iter().map(|(index, error)| (*index, error.kind())).collect();
    assert_eq!(kinds, [(0, Kind::Throttled), (1, Kind::Throttled)]);
}

#[tokio::test]
async fn conditions_and_generated_keys_are_asked_for_and_come_back() {
    let mut answered = row_ok();
    answered.row = Some(key_row(77).into());
    let server = ScriptedServer::start([batch(vec![row_ok(), answered])]);
    let target = BatchTarget {
        existence: Existence::NotExists,
        return_key: true,
        idempotent: false,
        ..BatchTarget::put("t1")
    };
    let written = client(&server).write_batch(&batch_for(target, 2)).await.unwrap();
    let [(1, key)] = written.returned.as_slice() else { panic!("{written:?}") };
    assert_eq!(key.decode().unwrap().key, [("k", PrimaryKeyValue::Integer(77))]);
    let change = |id| {
        let key = vec![("k", PrimaryKeyValue::Integer(id))];
        RowChange::put(&Row { key, ..Row::default() }).if_row(Existence::NotExists).return_key()
    };
    let _ = client(&server).write_rows("t1", &[change(0), change(1)]).await.unwrap();
    let [ready, message] = <[_; 2]>::try_from(server.seen()).unwrap();
    assert_eq!(ready.body, message.body);
}
