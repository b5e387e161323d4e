//! Table to vault to table: the same cells.

use otsvault::model::{Cell, KeyPart, PrimaryKey, PrimaryKeyValue, Row, Value};
use otsvault::restore::RestoreOptions;
use rstest::rstest;

use crate::play::{Play, own_table, row};
use crate::stage::On;

#[rstest]
#[case::iot("t=iot:rows=12000,seed=3")]
#[case::wide("t=wide:rows=1500,seed=3")]
#[case::fat("t=fat:rows=1500,seed=3")]
#[case::sparse("t=sparse:rows=4000,seed=3")]
#[case::mixed("t=mixed:rows=6000,seed=3")]
#[case::hashed_keys("t=iot:rows=6000,seed=4,key=hashed")]
#[case::binary_keys("t=iot:rows=6000,seed=5,key=binary")]
#[case::nothing("t=iot:rows=0,seed=6")]
#[tokio::test]
async fn every_shape_comes_back_cell_by_cell(#[values(On::Oss, On::Disk)] on: On, #[case] table: &str) {
    let play = Play::of(on, table).await;
    let restored = play.restore("t", "copy", &Play::options()).await.unwrap();
    assert!(restored.created && restored.rows.rejected == 0, "{restored:?}");
    play.assert_same("t", "copy");
    let (source, copy) = (play.definition("t").await, play.definition("copy").await);
    assert_eq!((source.primary_key, source.defined_columns), (copy.primary_key, copy.defined_columns));
    assert_eq!(source.options.time_to_live, copy.options.time_to_live);
    assert_eq!(source.options.max_versions, copy.options.max_versions);
}

#[tokio::test]
async fn files_larger_than_their_share_are_read_in_row_groups() {
    use otsvault::backup::BackupOptions;
    let play = Play { stage: crate::stage::Stage::with(On::Oss, &["t=fat:rows=9000,seed=2"]).await };
    let options = BackupOptions { row_group_rows: 700, memory_bytes: 64 << 20, ..BackupOptions::default() };
    let done = play.stage.back_up("t", &options).await.unwrap();
    let options = RestoreOptions { lanes: 16, ..Play::options() };
    // A sixteenth of a third of the memory: every file is larger than what is kept whole.
    assert!(done.manifest.totals.stored_bytes / done.manifest.totals.files > (64 << 20) / 3 / 16);
    play.restore("t", "copy", &options).await.unwrap();
    play.assert_same("t", "copy");
}

#[tokio::test]
async fn rows_with_keys_alone_odd_cells_and_many_versions_survive() {
    let play = Play::empty(On::Disk).await;
    let large = "x".repeat(2 << 20);
    let nan = f64::from_bits(0x7ff8_dead_beef_0001);
    let mut rows = vec![
        row(i64::MIN, &[]),
        row(-1, &[("", Value::Integer(1), 0)]),
        row(0, &[]),
        row(1, &[("v", Value::String(""), 5), ("v", Value::Integer(7), 4), ("v", Value::Double(nan), 3)]),
        row(
            2,
            &[("V", Value::Double(-0.0), 9), ("v", Value::Binary(&[]), 9), ("v", Value::Boolean(true), 8)],
        ),
        row(3, &[("big", Value::String(&large), 10_000_000_000_000)]),
        row(i64::MAX, &[("_ts", Value::Integer(1), 1)]),
    ];
    rows.remove(1);
    play.make(&own_table("own", 3), &rows).await;
    play.back_up("own").await;
    play.restore("own", "copy", &Play::options()).await.unwrap();
    play.assert_same("own", "copy");
}

#[tokio::test]
async fn rows_too_large_for_one_request_are_a_put_and_updates() {
    let play = Play::empty(On::Disk).await;
    let client = play.stage.client();
    client.create_table(&own_table("own", 2), &[]).await.unwrap();
    let names: Vec<String> = (0..3_000).map(|at| format!("c{at:04}")).collect();
    let large = "y".repeat(2 << 20);
    for part in names.chunks(1_000) {
        let cells = part.iter().map(|name| Cell::put(name, Value::Integer(7), Some(11))).collect();
        let row = Row { key: vec![("id", PrimaryKeyValue::Integer(1))], cells, ..Row::default() };
        client.update_row("own", &row).await.unwrap();
    }
    for name in ["a", "b", "c"] {
        client.update_row("own", &row(2, &[(name, Value::String(&large), 12)])).await.unwrap();
    }
    client.put_row("own", &row(3, &[("c0000", Value::Integer(8), 13)])).await.unwrap();
    play.back_up("own").await;
    let restored = play.restore("own", "copy", &Play::options()).await.unwrap();
    assert_eq!((restored.rows.written, restored.rows.rejected), (3, 0));
    play.assert_same("own", "copy");
}

#[tokio::test]
async fn a_key_range_restores_exactly_its_rows() {
    let play = Play::of(On::Disk, "t=iot:rows=9000,seed=8").await;
    let keys: Vec<_> = {
        let mut keys = Vec::new();
        play.stage.sandbox.table_rows("t", |row| keys.push(PrimaryKey::from_row(&row.key).unwrap())).unwrap();
        keys
    };
    let options = RestoreOptions {
        from_key: Some(keys[1_234].clone()),
        to_key: Some(keys[7_777].clone()),
        ..Play::options()
    };
    let restored = play.restore("t", "copy", &options).await.unwrap();
    assert_eq!(restored.rows.written, 7_777 - 1_234);
    let mut found = Vec::new();
    play.stage.sandbox.table_rows("copy", |row| found.push(PrimaryKey::from_row(&row.key).unwrap())).unwrap();
    assert_eq!(found, keys[1_234..7_777]);
    let nothing = RestoreOptions {
        from_key: Some(PrimaryKey(vec![KeyPart::String("\u{10ffff}".into())])),
        ..Play::options()
    };
    let empty = play.restore("t", "empty", &nothing).await.unwrap();
    assert_eq!(empty.rows.all(), 0);
}

#[tokio::test]
async fn some_columns_alone_and_the_newest_versions_alone() {
    let play = Play::empty(On::Disk).await;
    let rows = [
        row(1, &[("a", Value::Integer(2), 9), ("a", Value::Integer(1), 8), ("b", Value::String("x"), 9)]),
        row(2, &[("b", Value::String("y"), 9)]),
        row(3, &[]),
    ];
    play.make(&own_table("own", 3), &rows).await;
    play.back_up("own").await;
    let columns = RestoreOptions { columns: Some(vec!["a".into()]), ..Play::options() };
    play.restore("own", "some", &columns).await.unwrap();
    let expected = [&[("a", Value::Integer(2), 9), ("a", Value::Integer(1), 8)][..], &[], &[]];
    let expected: Vec<_> = expected.iter().zip(1..).map(|(cells, id)| row(id, cells)).collect();
    play.make(&own_table("expected", 3), &expected).await;
    play.assert_same("expected", "some");

    let flatten = RestoreOptions { flatten: true, ..Play::options() };
    play.restore("own", "flat", &flatten).await.unwrap();
    let mut found = Vec::new();
    let began = 1_600_000_000_000;
    play.stage
        .sandbox
        .table_rows("flat", |row| {
            assert!(row.cells.iter().all(|cell| cell.timestamp.unwrap() > began), "the service's own");
            found.push(
                row.cells
                    .iter()
                    .map(|cell| format!("{}={:?}", cell.name, cell.value.unwrap()))
                    .collect::<Vec<_>>(),
            );
        })
        .unwrap();
    assert_eq!(found, [vec!["a=Integer(2)", "b=String(\"x\")"], vec!["b=String(\"y\")"], vec![]]);
}
