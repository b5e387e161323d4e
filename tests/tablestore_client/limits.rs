//! The limit on requests in flight and the ceilings per second, as the client applies them.

use std::num::NonZeroU32;
use std::time::Duration;

use otsvault::model::KeyRange;
use otsvault::proto;
use otsvault::runtime::ConcurrencyLimit;
use otsvault::tablestore::{Ceilings, RangeRequest, RowChange, TableStore, TableStoreConfig};
use prost::Message;
use tokio::time::Instant;

use super::scripted_server::{Reply, ScriptedServer};
use super::{config, names, row};

const BUSY: Reply = Reply::Error(503, "OTSServerBusy", "Server is busy.");

fn everything() -> RangeRequest {
    RangeRequest::everything("t1", names(&["k"]), KeyRange::all(1))
}

/// A page without rows that cost `units`.
fn page(units: i32) -> proto::GetRangeResponse {
    let capacity_unit = proto::CapacityUnit { read: Some(units), write: Some(0) };
    let consumed = proto::ConsumedCapacity { capacity_unit, capacity_data_size: None };
    proto::GetRangeResponse { consumed, ..Default::default() }
}

#[tokio::test]
async fn a_refusal_for_want_of_capacity_halves_the_limit_and_other_failures_do_not() {
    let timeout = Reply::Error(503, "OTSTimeout", "Operation timeout.");
    let script = [timeout, Reply::Drop, BUSY, Reply::message(&page(1))];
    let server = ScriptedServer::start(script);
    let client = super::client(&server);
    assert_eq!(client.concurrency().limit(), 4);
    client.get_range(&everything()).await.unwrap();
    assert_eq!((client.concurrency().limit(), client.concurrency().in_flight()), (2, 0));
    assert_eq!(client.counters().requests, 4);
}

#[tokio::test]
async fn a_busy_row_of_a_batch_halves_the_limit_too() {
    let answer = |rows: Vec<proto::RowInBatchWriteRowResponse>| {
        let table = proto::TableInBatchWriteRowResponse { table_name: "t1".into(), rows };
        Reply::message(&proto::BatchWriteRowResponse { tables: vec![table] })
    };
    let error = proto::Error { code: "OTSServerBusy".into(), ..Default::default() };
    let busy = proto::RowInBatchWriteRowResponse { error: Some(error), ..Default::default() };
    let done = proto::RowInBatchWriteRowResponse { is_ok: true, ..Default::default() };
    let server = ScriptedServer::start([answer(vec![done.clone(), busy]), answer(vec![done])]);
    let client = super::client(&server);
    let changes = [RowChange::put(&row(vec![])), RowChange::delete(&row(vec![]))];
    assert!(client.write_rows("t1", &changes).await.unwrap().failures.is_empty());
    assert_eq!(client.concurrency().limit(), 2);
}

#[tokio::test]
async fn clones_share_the_limit_and_requests_about_tables_do_not_count() {
    let list = Reply::message(&proto::ListTableResponse { table_names: vec!["a".into()] });
    let server = ScriptedServer::start([list, Reply::message(&page(1))]);
    let fixed = TableStoreConfig { concurrency: ConcurrencyLimit::Fixed(1), ..config(&server.url()) };
    let client = TableStore::new(fixed).unwrap();
    let only = client.clone().concurrency().permit().await;
    assert_eq!(client.list_tables().await.unwrap(), ["a"]);
    let scan = tokio::spawn({
        let client = client.clone();
        async move { client.get_range(&everything()).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(server.seen().len(), 1, "the page waits for its permit");
    drop(only);
    scan.await.unwrap().unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn capacity_units_and_bytes_are_held_to_their_ceilings() {
    let time_of_five = async |ceilings: Ceilings, page: proto::GetRangeResponse| {
        let config = TableStoreConfig { ceilings, ..config("") };
        let client = TableStore::answered_by(config, page.encode_to_vec().into());
        let began = Instant::now();
        for _ in 0..5 {
            client.get_range(&everything()).await.unwrap();
        }
        began.elapsed().as_secs_f64()
    };
    let free = time_of_five(Ceilings::default(), page(1_000)).await;
    assert_eq!(Duration::from_secs_f64(free), Duration::ZERO);
    let units = Ceilings { read_units: NonZeroU32::new(100), ..Ceilings::default() };
    let slow = time_of_five(units, page(200)).await;
    assert!((8.9..=9.1).contains(&slow), "{slow} s for 1,000 units at 100/s, a second of which is free");
    let unused = time_of_five(units, page(0)).await;
    assert_eq!(unused, 0.0);
    let bandwidth = Ceilings { kibibytes: NonZeroU32::new(64), ..Ceilings::default() };
    let large = proto::GetRangeResponse { next_token: Some(vec![0; 64 << 10].into()), ..page(0) };
    let slow = time_of_five(bandwidth, large).await;
    assert!((4.0..=4.3).contains(&slow), "{slow} s for 5 times 64 KiB and a little");
}
