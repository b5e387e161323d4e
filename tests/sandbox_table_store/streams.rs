use std::time::Duration;

use otsvault::model::{Cell, CellOp, Value};
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::sandbox::table_store::StreamSettings;
use otsvault::{plainbuffer, proto};

use crate::client::{puts, row, table};
use crate::shards::{
    at, client_with_stream, decoded, oldest, records, seek, shards, stream_id, stream_spec, switch_stream,
};

const TRIMMED: &str = "404 OTSTrimmedDataAccess Requested stream data is already trimmed or does not exist.";

fn number(name: &str, value: i64) -> Cell<'_> {
    Cell::put(name, Value::Integer(value), None)
}

#[tokio::test]
async fn the_stream_shows_every_change_once_in_commit_order() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let first = oldest(&client, &stream_id, &shard).await;
    assert!(records(&client, &first, 10).await.unwrap().stream_records.is_empty());

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
    let (before, after) = (decoded(put), decoded(update));
    assert!(before.cells.iter().all(|cell| cell.timestamp.is_some() && cell.op.is_none()));
    assert!(before.sequence.unwrap().timestamp_us < after.sequence.unwrap().timestamp_us);
    assert_eq!(after.cells[0], delete);
    assert_eq!((after.cells[1].value, after.cells[1].op), (Some(Value::Integer(7)), None));
    assert!(put.origin_record.is_none() && update.origin_record.is_none());
}

#[tokio::test]
async fn rows_of_one_commit_share_their_time_and_are_told_apart_by_row_index() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let first = oldest(&client, &stream_id, &shard).await;
    let mut atomic =
        puts("t", [0, 1, 2].map(|value| plainbuffer::encode_row(&row(7, &[number("a", value)]))));
    atomic.is_atomic = Some(true);
    client.batch(&atomic).await.unwrap();
    client.put("t", &row(8, &[])).await.unwrap();
    let page = records(&client, &first, 10).await.unwrap();
    let sequence: Vec<_> =
        page.stream_records.iter().map(|record| decoded(record).sequence.unwrap()).collect();
    let times: Vec<_> = sequence.iter().map(|info| info.timestamp_us).collect();
    assert!(times[0] == times[1] && times[1] == times[2] && times[2] < times[3], "{times:?}");
    assert_eq!(sequence.iter().map(|info| info.row_index).collect::<Vec<_>>(), [0, 1, 2, 0]);
}

#[tokio::test]
async fn previous_values_are_recorded_for_the_columns_that_the_stream_names() {
    let (client, stream_id) = client_with_stream(&["b", "a"]).await;
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    client.put("t", &row(1, &[number("a", 1), number("b", 2), number("c", 3)])).await.unwrap();
    client.update("t", &row(1, &[number("c", 4)])).await.unwrap();
    client.put("t", &row(1, &[number("c", 5)])).await.unwrap();
    client.update("t", &row(1, &[number("a", 6)])).await.unwrap();
    let page = records(&client, &oldest(&client, &stream_id, &shard).await, 10).await.unwrap();
    let origins: Vec<_> = page.stream_records.iter().map(|record| record.origin_record.clone()).collect();
    assert!(origins[0].is_none() && origins[3].is_none());
    for origin in origins[1..3].iter().flatten() {
        let origin = proto::StreamRecord { record: origin.clone(), ..Default::default() };
        let found = decoded(&origin);
        assert_eq!(found.key, row(1, &[]).key);
        let cells: Vec<_> = found.cells.iter().map(|cell| (cell.name, cell.value.unwrap())).collect();
        assert_eq!(cells, [("a", Value::Integer(1)), ("b", Value::Integer(2))]);
        assert!(found.cells.iter().all(|cell| cell.timestamp.is_some()));
    }
    assert!(origins[1].is_some() && origins[2].is_some());
}

#[tokio::test]
async fn a_split_shard_ends_and_its_children_name_it() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let control = client.sandbox.table_store();
    let root = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let waiting = oldest(&client, &stream_id, &root).await;
    for id in [1, 20, 2] {
        client.put("t", &row(id, &[])).await.unwrap();
    }
    control.split_partition("t", &at(10)).unwrap();
    client.put("t", &row(3, &[])).await.unwrap();
    client.put("t", &row(10, &[])).await.unwrap();
    control.merge_partitions("t", 1, 0).unwrap();
    client.put("t", &row(4, &[])).await.unwrap();

    for limit in [1, 2, 100] {
        let listed = shards(&client, &stream_id, limit).await.unwrap();
        let [first, left, right, child] = listed.as_slice() else { panic!("{listed:?}") };
        assert_eq!((&first.shard_id, &first.parent_id, &first.parent_sibling_id), (&root, &None, &None));
        for half in [left, right] {
            assert_eq!((&half.parent_id, &half.parent_sibling_id), (&Some(root.clone()), &None));
        }
        let parents = (&child.parent_id, &child.parent_sibling_id);
        assert_eq!(parents, (&Some(left.shard_id.clone()), &Some(right.shard_id.clone())));
    }
    let ids = async |from: &str, limit| {
        let page = records(&client, from, limit).await.unwrap();
        let ids: Vec<_> =
            page.stream_records.iter().map(|record| format!("{:?}", decoded(record).key[0].1)).collect();
        (ids.join(" "), page.next_shard_iterator, page.may_more_record)
    };
    // An iterator from before the split reads the parent to its end, where there is no next one.
    let (found, next, more) = ids(&waiting, 2).await;
    assert_eq!((found.as_str(), more), ("Integer(1) Integer(20)", Some(true)));
    let (found, next, more) = ids(&next.unwrap(), 2).await;
    assert_eq!((found.as_str(), next, more), ("Integer(2)", None, Some(false)));
    let listed = shards(&client, &stream_id, 100).await.unwrap();
    for (shard, expected, is_open) in
        [(1, "Integer(3)", false), (2, "Integer(10)", false), (3, "Integer(4)", true)]
    {
        let from = oldest(&client, &stream_id, &listed[shard].shard_id).await;
        let (found, next, _) = ids(&from, 100).await;
        assert_eq!((found.as_str(), next.is_some()), (expected, is_open));
    }
    let foreign = shards(&client, "t_0", 10).await.unwrap_err();
    assert!(foreign.starts_with("404 OTSObjectNotExist"), "{foreign}");
    let missing = seek(&client, &stream_id, "t_0_0", None, None).await.unwrap_err();
    assert!(missing.starts_with("404 OTSObjectNotExist"), "{missing}");
}

#[tokio::test]
async fn a_time_is_found_in_steps_from_at_or_before_it() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let settings = StreamSettings { seek_step: 3, ..StreamSettings::default() };
    client.sandbox.table_store().set_stream_settings("t", settings).unwrap();
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    for id in 0..10 {
        client.put("t", &row(id, &[])).await.unwrap();
        client.sandbox.advance_clock(Duration::from_millis(10));
    }
    let all = records(&client, &oldest(&client, &stream_id, &shard).await, 100).await.unwrap().stream_records;
    let time = |record: &proto::StreamRecord| decoded(record).sequence.unwrap().timestamp_us;
    for (wanted, steps) in [(0, 1), (1, 1), (3, 1), (4, 2), (9, 3)] {
        let (mut token, mut taken) = (None, 0);
        let found = loop {
            let asked = Some(time(&all[wanted]) - 1);
            let answer = seek(&client, &stream_id, &shard, asked, token).await.unwrap();
            taken += 1;
            token = answer.next_token;
            if token.is_none() {
                break answer.shard_iterator;
            }
        };
        assert_eq!(taken, steps, "{wanted}");
        let page = records(&client, &found, 1).await.unwrap();
        assert_eq!(time(&page.stream_records[0]), time(&all[wanted]));
    }
    let end = seek(&client, &stream_id, &shard, Some(i64::MAX), Some("00".repeat(20))).await.unwrap_err();
    assert_eq!(end, "400 OTSParameterInvalid Invalid token.");
}

#[tokio::test]
async fn iterators_that_were_bent_or_belong_elsewhere_are_refused() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let first = oldest(&client, &stream_id, &shard).await;
    let (rest, last) = first.split_at(first.len() - 1);
    let bent = format!("{rest}{}", if last == "0" { '1' } else { '0' });
    assert_eq!(
        records(&client, &bent, 1).await.unwrap_err(),
        "400 OTSParameterInvalid Invalid shard iterator."
    );
    assert!(records(&client, &first, 0).await.unwrap_err().starts_with("400 OTSParameterInvalid"));
    let elsewhere = proto::GetStreamRecordRequest {
        shard_iterator: first.clone(),
        limit: None,
        table_name: Some("other".into()),
    };
    let refused = client.call::<proto::GetStreamRecordResponse>("GetStreamRecord", &elsewhere).await;
    assert!(refused.unwrap_err().starts_with("400 OTSParameterInvalid"));

    // A table of the same name is another table.
    let gone = proto::DeleteTableRequest { table_name: "t".into() };
    client.call::<proto::DeleteTableResponse>("DeleteTable", &gone).await.unwrap();
    let spec = Some(stream_spec(true, &[]));
    client.create(&proto::CreateTableRequest { stream_spec: spec, ..table("t", 3) }).await.unwrap();
    assert_ne!(self::stream_id(&client).await, stream_id);
    assert_eq!(records(&client, &first, 1).await.unwrap_err(), TRIMMED);
}

#[tokio::test]
async fn expired_records_and_streams_enabled_anew_are_gaps() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let first = oldest(&client, &stream_id, &shard).await;
    client.put("t", &row(1, &[])).await.unwrap();
    client.sandbox.advance_clock(Duration::from_secs(3_601));
    assert_eq!(records(&client, &first, 1).await.unwrap_err(), TRIMMED);
    let later = oldest(&client, &stream_id, &shard).await;
    assert!(records(&client, &later, 1).await.unwrap().stream_records.is_empty());

    switch_stream(&client, false).await;
    assert_eq!(records(&client, &later, 1).await.unwrap_err(), TRIMMED);
    switch_stream(&client, true).await;
    assert_eq!(records(&client, &later, 1).await.unwrap_err(), TRIMMED);
    let lost = shards(&client, &stream_id, 10).await.unwrap_err();
    assert!(lost.starts_with("404 OTSObjectNotExist"), "{lost}");
    assert_ne!(self::stream_id(&client).await, stream_id);
}

#[tokio::test]
async fn an_idle_shard_loses_old_iterators_but_no_data() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let first = oldest(&client, &stream_id, &shard).await;
    client.sandbox.advance_clock(Duration::from_secs(3 * 3_600));
    assert_eq!(records(&client, &first, 1).await.unwrap_err(), TRIMMED);
    let settings = StreamSettings { idle_iterators_expire: false, ..StreamSettings::default() };
    client.sandbox.table_store().set_stream_settings("t", settings).unwrap();
    assert!(records(&client, &first, 1).await.unwrap().stream_records.is_empty());
    client.sandbox.table_store().set_stream_settings("t", StreamSettings::default()).unwrap();
    client.put("t", &row(1, &[])).await.unwrap();
    assert_eq!(records(&client, &first, 1).await.unwrap().stream_records.len(), 1);
}

#[tokio::test]
async fn trimming_takes_records_and_whole_shards_away() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let control = client.sandbox.table_store();
    let root = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let first = oldest(&client, &stream_id, &root).await;
    for id in 0..4 {
        client.put("t", &row(id, &[])).await.unwrap();
    }
    control.trim_stream("t", &root, 3).unwrap();
    assert_eq!(records(&client, &first, 1).await.unwrap_err(), TRIMMED);
    let third = oldest(&client, &stream_id, &root).await;
    assert_eq!(decoded(&records(&client, &third, 9).await.unwrap().stream_records[0]).key, row(3, &[]).key);
    control.split_partition("t", &at(2)).unwrap();
    control.trim_stream("t", &root, 4).unwrap();
    assert_eq!(records(&client, &third, 1).await.unwrap_err(), TRIMMED);
    let listed = shards(&client, &stream_id, 10).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|shard| shard.parent_id.as_ref() == Some(&root)));
    // A closed shard is listed for as long as its records are retained.
    control.merge_partitions("t", 0, 1).unwrap();
    assert_eq!(shards(&client, &stream_id, 10).await.unwrap().len(), 3);
    client.sandbox.advance_clock(Duration::from_secs(3_601));
    assert_eq!(shards(&client, &stream_id, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn clocks_go_back_and_stand_still_on_demand() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let control = client.sandbox.table_store();
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let first = oldest(&client, &stream_id, &shard).await;
    client.put("t", &row(0, &[])).await.unwrap();
    control.shift_stream_clock("t", 0, -600_000).unwrap();
    client.put("t", &row(1, &[])).await.unwrap();
    control.hold_stream_clock("t", true).unwrap();
    client.put("t", &row(2, &[])).await.unwrap();
    control.hold_stream_clock("t", false).unwrap();
    client.put("t", &row(3, &[])).await.unwrap();
    let page = records(&client, &first, 10).await.unwrap().stream_records;
    let info: Vec<_> = page.iter().map(|record| decoded(record).sequence.unwrap()).collect();
    assert_eq!(info.iter().map(|info| info.epoch).collect::<Vec<_>>(), [0, 1, 1, 1]);
    assert!(info[1].timestamp_us < info[0].timestamp_us - 500_000_000);
    assert_eq!((info[2].timestamp_us, info[2].row_index), (info[1].timestamp_us, 1));
    assert!(info[3].timestamp_us > info[2].timestamp_us);
    // Whatever the clock did, a time is found at or before its first record.
    let seek_to = info[1].timestamp_us;
    let found = seek(&client, &stream_id, &shard, Some(seek_to), None).await.unwrap().shard_iterator;
    assert_eq!(records(&client, &found, 10).await.unwrap().stream_records.len(), 4);
    let seek_to = info[0].timestamp_us + 1;
    let found = seek(&client, &stream_id, &shard, Some(seek_to), None).await.unwrap().shard_iterator;
    assert!(records(&client, &found, 10).await.unwrap().stream_records.is_empty());
}

#[tokio::test]
async fn an_empty_page_can_have_more_behind_it() {
    let (client, stream_id) = client_with_stream(&[]).await;
    let shard = shards(&client, &stream_id, 10).await.unwrap()[0].shard_id.clone();
    let first = oldest(&client, &stream_id, &shard).await;
    client.put("t", &row(0, &[])).await.unwrap();
    let empty =
        Rule::new(Action::Custom("empty-page".into())).on(Service::TableStore, "GetStreamRecord").nth(1);
    client.sandbox.faults().add(empty);
    let page = records(&client, &first, 10).await.unwrap();
    assert_eq!((page.stream_records.len(), page.may_more_record), (0, Some(true)));
    let page = records(&client, &page.next_shard_iterator.unwrap(), 10).await.unwrap();
    assert_eq!((page.stream_records.len(), page.may_more_record), (1, Some(false)));
}
