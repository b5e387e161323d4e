//! BatchWriteRow from messages: what is sent again, and what becomes of each row.

use super::*;

pub(super) fn row_ok() -> proto::RowInBatchWriteRowResponse {
    let mut consumed = proto::ConsumedCapacity::default();
    consumed.capacity_unit.write = Some(1);
    proto::RowInBatchWriteRowResponse { is_ok: true, consumed: Some(consumed), ..Default::default() }
}

pub(super) fn row_failed(code: &str) -> proto::RowInBatchWriteRowResponse {
    let error = proto::Error { code: code.into(), ..Default::default() };
    proto::RowInBatchWriteRowResponse { is_ok: false, error: Some(error), ..Default::default() }
}

pub(super) fn batch(rows: Vec<proto::RowInBatchWriteRowResponse>) -> Reply {
    let table = proto::TableInBatchWriteRowResponse { table_name: "t1".into(), rows };
    Reply::message(&proto::BatchWriteRowResponse { tables: vec![table] })
}

/// To four rows: one is refused for good, two are answered only when they are sent again, one of them twice.
pub(super) fn some_fail() -> [Reply; 3] {
    [
        batch(vec![
            row_ok(),
            row_failed("OTSServerBusy"),
            row_failed("OTSParameterInvalid"),
            row_failed("OTSTimeout"),
        ]),
        batch(vec![row_failed("OTSServerBusy"), row_ok()]),
        batch(vec![row_ok()]),
    ]
}

pub(super) fn changes(count: i64) -> Vec<RowChange> {
    let change = |id| {
        let key = vec![("k", PrimaryKeyValue::Integer(id))];
        RowChange::put(&Row { key, ..Row::default() }).idempotent()
    };
    (0..count).map(change).collect()
}

#[tokio::test]
async fn a_batch_sends_again_only_the_rows_that_failed_and_may_be_repeated() {
    let server = ScriptedServer::start(some_fail());
    let client = client(&server);
    let changes = changes(4);
    let written = client.write_rows("t1", &changes).await.unwrap();
    assert_eq!((written.write_capacity_units, written.row_retries), (3, 3));
    let [(2, refused)] = written.failures.as_slice() else { panic!("{written:?}") };
    assert_eq!(refused.kind(), Kind::Refused);
    let sent: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| <proto::BatchWriteRowRequest as prost::Message>::decode(seen.body.as_slice()).unwrap())
        .map(|request| request.tables[0].rows.iter().map(|row| row.row_change.clone()).collect::<Vec<_>>())
        .collect();
    assert_eq!(sent[1], [sent[0][1].clone(), sent[0][3].clone()]);
    assert_eq!(sent[2], [sent[0][1].clone()]);
}

#[tokio::test]
async fn a_row_that_may_have_been_written_is_not_sent_again_unless_idempotent() {
    let server = ScriptedServer::start([batch(vec![row_failed("OTSTimeout")]), batch(vec![row_ok()])]);
    let change = RowChange::put(&Row { key: vec![("k", PrimaryKeyValue::Integer(1))], ..Row::default() });
    let written = client(&server).write_rows("t1", &[change]).await.unwrap();
    assert_eq!(written.failures.len(), 1);
    assert_eq!(written.failures[0].1.kind(), Kind::Unavailable);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn rows_still_busy_when_the_budget_ends_are_reported_one_by_one() {
    let server =
        ScriptedServer::start([batch(vec![row_failed("OTSServerBusy"), row_failed("OTSServerBusy")])]);
    let written = impatient_client(&server).write_rows("t1", &changes(2)).await.unwrap();
    let kinds: Vec<_> = written.failures.iter().map(|(index, error)| (*index, error.kind())).collect();
    assert_eq!(kinds, [(0, Kind::Throttled), (1, Kind::Throttled)]);
}

#[tokio::test]
async fn a_batch_answer_of_another_shape_is_refused() {
    let contradiction = proto::RowInBatchWriteRowResponse { is_ok: false, ..Default::default() };
    for reply in [batch(vec![row_ok()]), batch(vec![row_ok(); 3]), batch(vec![row_ok(), contradiction])] {
        let server = ScriptedServer::start([reply]);
        let error = client(&server).write_rows("t1", &changes(2)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
