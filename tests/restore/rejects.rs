//! Rows that the service does not take: none is lost without a word.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use futures::TryStreamExt;
use otsvault::Kind;
use otsvault::model::{Cell, DefinedColumn, PrimaryKey, PrimaryKeyValue, Row, Value, ValueType};
use otsvault::parquet_file::decode_small_file;
use otsvault::restore::{ErrorLimit, OnConflict, RestoreOptions};
use otsvault::sandbox::faults::{Action, Rule, Service, When};

use crate::play::{Play, own_table, row};
use crate::stage::On;

fn all_errors() -> RestoreOptions {
    RestoreOptions { max_errors: ErrorLimit::Percent(100.0), ..Play::options() }
}

fn keys(play: &Play, table: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    play.stage
        .sandbox
        .table_rows(table, |row| {
            keys.insert(PrimaryKey::from_row(&row.key).unwrap().to_string());
        })
        .unwrap();
    keys
}

/// Key and code of every row in the reject files of a vault.
async fn rejected(play: &Play) -> Vec<(String, String)> {
    let vault = play.stage.vault().await;
    let store = &**vault.store();
    let objects: Vec<_> = object_store::ObjectStore::list(store, None).try_collect().await.unwrap();
    let mut found = Vec::new();
    for object in objects.iter().filter(|object| object.location.as_ref().contains("/rejects/")) {
        let bytes = object_store::ObjectStoreExt::get(store, &object.location).await.unwrap();
        for batch in decode_small_file(&bytes.bytes().await.unwrap()).unwrap() {
            let codes = batch.column_by_name("reject$code").unwrap().as_string::<i32>();
            let rows = batch.column_by_name("reject$row").unwrap().as_primitive::<UInt64Type>();
            assert!(rows.values().is_sorted());
            for at in 0..batch.num_rows() {
                let key = batch.columns()[..2].iter().map(|column| match column.as_string_opt::<i32>() {
                    Some(text) => format!("{:?}", text.value(at)),
                    None => match column.as_primitive_opt::<arrow::datatypes::Int64Type>() {
                        Some(number) => number.value(at).to_string(),
                        None => String::new(),
                    },
                });
                found.push((format!("({})", key.collect::<Vec<_>>().join(", ")), codes.value(at).to_owned()));
            }
        }
    }
    found
}

#[tokio::test]
async fn one_row_in_five_fails_and_every_row_is_in_the_table_or_in_the_reject_file() {
    let play = Play::of(On::Oss, "t=iot:rows=9000,seed=5").await;
    let row_fault = |action, probability, seed| {
        Rule::new(action).on(Service::TableStore, "BatchWriteRow/row").when(When::Rate { probability, seed })
    };
    // For good, for a while, and for want of capacity.
    play.stage.fault(row_fault(Action::error(403, "OTSInvalidPK", "Not this row."), 0.07, 1));
    play.stage.fault(row_fault(Action::error(409, "OTSRowOperationConflict", "Wait."), 0.07, 2));
    play.stage.fault(row_fault(Action::error(503, "OTSServerBusy", "Slow down."), 0.07, 3));
    let restored = play.restore("t", "copy", &all_errors()).await.unwrap();
    let left_out = restored.left_out().unwrap();
    assert_eq!((left_out.kind(), left_out.exit_code()), (Kind::LeftOut, 3));
    assert_eq!(restored.rows.written + restored.rows.rejected, 9000, "{restored:?}");
    let (there, out) = (keys(&play, "copy"), rejected(&play).await);
    assert_eq!(out.len() as u64, restored.rows.rejected);
    assert!(restored.rows.rejected > 300, "{restored:?}");
    assert!(out.iter().all(|(_, code)| code == "OTSInvalidPK"), "the others were sent again");
    let mut all = there.clone();
    all.extend(out.iter().map(|(key, _)| key.clone()));
    assert_eq!((all, there.len() + out.len()), (keys(&play, "t"), 9000));
    // The same once more changes nothing, and still says so.
    let before = play.writes();
    let again = play.restore("t", "copy", &all_errors()).await.unwrap();
    assert_eq!((again.left_out().map(|error| error.exit_code()), play.writes()), (Some(3), before));

    // Half of them can be written now.
    play.stage.sandbox.faults().clear();
    play.stage.fault(row_fault(Action::error(403, "OTSInvalidPK", "Not this row."), 0.5, 4));
    let retried = play.retry("t", "copy", &all_errors()).await.unwrap();
    assert!(retried.rows.rejected > 0 && retried.rows.rejected < restored.rows.rejected, "{retried:?}");
    assert_eq!(rejected(&play).await.len() as u64, retried.rows.rejected);
    play.stage.sandbox.faults().clear();
    let retried = play.retry("t", "copy", &all_errors()).await.unwrap();
    assert_eq!((retried.rows.rejected, retried.rows.written), (0, 9000));
    assert!(retried.left_out().is_none() && rejected(&play).await.is_empty());
    play.assert_same("t", "copy");
    assert_eq!(
        play.definition("copy").await.options.deviation_seconds,
        play.definition("t").await.options.deviation_seconds
    );
}

#[tokio::test]
async fn too_many_errors_stop_the_restore_which_can_go_on() {
    let play = Play::of(On::Disk, "t=iot:rows=6000,seed=5").await;
    play.stage.fault(
        Rule::new(Action::error(403, "OTSInvalidPK", "No."))
            .on(Service::TableStore, "BatchWriteRow/row")
            .when(When::Every(10)),
    );
    let few = RestoreOptions { max_errors: ErrorLimit::Rows(5), ..Play::options() };
    let error = play.restore("t", "copy", &few).await.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Kind::LeftOut, 3), "{}", error.report());
    assert!(error.report().contains("--max-errors 5"), "{}", error.report());
    play.stage.sandbox.faults().clear();
    let all = play.restore("t", "copy", &all_errors()).await.unwrap();
    assert_eq!(all.rows.all(), 6000);
    assert_eq!(rejected(&play).await.len() as u64, all.rows.rejected);
    assert!(play.retry("t", "copy", &all_errors()).await.unwrap().left_out().is_none());
    play.assert_same("t", "copy");
}

#[tokio::test]
async fn a_reject_file_of_an_attempt_that_ended_before_its_log_does_not_outlive_the_next() {
    let play = Play::of(On::Oss, "t=iot:rows=500,seed=5").await;
    let rows = |action| Rule::new(action).on(Service::TableStore, "BatchWriteRow/row").when(When::Every(10));
    play.stage.fault(rows(Action::error(403, "OTSInvalidPK", "No.")));
    play.stage.fault(
        Rule::new(Action::error(403, "AccessDenied", "No.")).on(Service::Oss, "PutObject").key("/done/"),
    );
    play.restore("t", "copy", &all_errors()).await.unwrap_err();
    assert!(!rejected(&play).await.is_empty(), "written before the log");
    play.stage.sandbox.faults().clear();
    let all = play.restore("t", "copy", &all_errors()).await.unwrap();
    assert_eq!((all.rows.all(), all.rows.rejected), (500, 0));
    assert_eq!(rejected(&play).await, [], "they are in the table now");
    play.assert_same("t", "copy");
}

#[tokio::test]
async fn a_row_that_spoils_its_request_is_found_among_the_others() {
    let play = Play::empty(On::Disk).await;
    // One request. Nine halvings, the first included, leave one row of 200.
    let rows: Vec<_> = (0..200).map(|id| row(id, &[("a", Value::Integer(id), 5)])).collect();
    play.make(&own_table("own", 1), &rows).await;
    play.back_up("own").await;
    // What the service finds wrong with a request as a whole.
    play.stage.fault(
        Rule::new(Action::error(400, "OTSParameterInvalid", "Invalid row."))
            .on(Service::TableStore, "BatchWriteRow")
            .when(When::Calls { first: 1, last: 9 }),
    );
    let restored = play.restore("own", "copy", &all_errors()).await.unwrap();
    assert_eq!((restored.rows.rejected, restored.rows.written), (1, 199), "{restored:?}");
    play.stage.sandbox.faults().clear();
    play.retry("own", "copy", &all_errors()).await.unwrap();
    play.assert_same("own", "copy");
}

#[tokio::test]
async fn types_that_the_target_refuses_and_rows_too_large_for_it_are_rejected_one_by_one() {
    let play = Play::empty(On::Disk).await;
    let client = play.stage.client();
    client.create_table(&own_table("own", 1), &[]).await.unwrap();
    client.put_row("own", &row(1, &[("a", Value::Integer(1), 5)])).await.unwrap();
    client.put_row("own", &row(2, &[("a", Value::String("x"), 5)])).await.unwrap();
    let names: Vec<String> = (0..1_500).map(|at| format!("c{at:04}")).collect();
    for part in names.chunks(1_000) {
        let cells = part.iter().map(|name| Cell::put(name, Value::Integer(7), Some(11))).collect();
        let row = Row { key: vec![("id", PrimaryKeyValue::Integer(3))], cells, ..Row::default() };
        client.update_row("own", &row).await.unwrap();
    }
    play.back_up("own").await;
    let mut strict = own_table("strict", 1);
    strict.defined_columns = vec![DefinedColumn { name: "a".into(), column_type: ValueType::Integer }];
    strict.options.allow_update = Some(false);
    play.make(&strict, &[]).await;
    let merge = RestoreOptions { on_conflict: Some(OnConflict::Overwrite), ..Play::options() };
    let restored = play.restore("own", "strict", &merge).await.unwrap();
    assert_eq!((restored.rows.written, restored.rows.rejected), (1, 2), "{restored:?}");
    let codes: BTreeSet<_> = rejected(&play).await.into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, BTreeSet::from(["OTSParameterInvalid".to_owned(), "RowTooLarge".to_owned()]));
}

#[tokio::test]
async fn rows_whose_answers_are_lost_are_written_all_the_same() {
    let play = Play::of(On::Disk, "t=iot:rows=4000,seed=5").await;
    for (nth, action) in [(2, Action::DropAfter), (3, Action::DropBefore), (5, Action::TruncateBody)] {
        play.stage.table_store_fault("BatchWriteRow", nth, action);
    }
    let restored = play.restore("t", "copy", &Play::options()).await.unwrap();
    assert_eq!((restored.rows.written, restored.rows.rejected), (4000, 0));
    play.assert_same("t", "copy");
}
