//! The table that comes out: options, Stream, indexes, partitions; and rows that meet rows.

use otsvault::model::{
    DefinedColumn, Index, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, ReservedThroughput, Row, Stream,
    Value, ValueType,
};
use otsvault::restore::{AutoIncrement, OnConflict, RestoreOptions, TargetState, plan};
use otsvault::tablestore::TableStore;
use rstest::rstest;

use crate::play::{Play, own_table, row};
use crate::stage::On;

#[tokio::test]
async fn options_stream_and_indexes_are_those_of_the_source_again() {
    let play = Play::empty(On::Disk).await;
    let mut source = own_table("own", 1);
    source.options.deviation_seconds = Some(7_200);
    source.defined_columns = vec![DefinedColumn { name: "name".into(), column_type: ValueType::String }];
    source.reserved = ReservedThroughput { read: 1, write: 2 };
    source.stream = Some(Stream {
        stream_id: String::new(),
        expiration_hours: 24,
        last_enable_time_us: 0,
        columns: vec![],
    });
    source.indexes = vec![Index {
        name: "by_name".into(),
        primary_key: vec!["name".into(), "id".into()],
        defined_columns: vec![],
        local: false,
        synchronous: false,
    }];
    play.make(&source, &[]).await;
    let mut old = row(1, &[]);
    old.cells = vec![otsvault::model::Cell::put("name", Value::String("x"), None)];
    play.stage.client().put_row("own", &old).await.unwrap();
    play.back_up("own").await;
    // Long after, its cells are older than the deviation allows.
    play.stage.sandbox.advance_clock(std::time::Duration::from_secs(30 * 86_400));
    let restored = play.restore("own", "copy", &Play::options()).await.unwrap();
    assert_eq!(restored.rows.written, 1, "{restored:?}");
    play.assert_same("own", "copy");
    let copy = play.definition("copy").await;
    let source = play.definition("own").await;
    assert_eq!(copy.options, source.options);
    assert_eq!(copy.defined_columns, source.defined_columns);
    let stream = copy.stream.unwrap();
    assert_eq!(stream.expiration_hours, 24);
    assert_ne!(stream.stream_id, source.stream.unwrap().stream_id);
    assert_eq!(copy.reserved, ReservedThroughput::default(), "billed whether it is used or not");
    assert!(restored.notes.iter().any(|note| note.contains("--keep-reserved")), "{:?}", restored.notes);
    // The index of the source has the name already.
    assert!(copy.indexes.is_empty());
    assert!(restored.notes.iter().any(|note| note.contains("`by_name`")), "{:?}", restored.notes);
    play.stage.client().delete_table("own").await.unwrap();
    let kept = RestoreOptions { keep_reserved: true, ..Play::options() };
    let restored = play.restore("own", "kept", &kept).await.unwrap();
    let definition = play.definition("kept").await;
    assert_eq!(definition.reserved, ReservedThroughput { read: 1, write: 2 });
    assert_eq!(definition.indexes, source.indexes, "{:?}", restored.notes);
}

#[tokio::test]
async fn a_new_table_begins_with_up_to_ten_partitions_of_about_the_same_size() {
    let play = Play::of(On::Disk, "t=iot:rows=30000,seed=9,key=hashed").await;
    let planned =
        plan(&play.stage.client(), &play.stage.vault().await, &play.job("t", "copy").await, &Play::options())
            .await
            .unwrap();
    let before = play.writes();
    assert_eq!((planned.target_state, planned.rows, before), (TargetState::Absent, 30_000, 0));
    play.restore("t", "copy", &Play::options()).await.unwrap();
    let partitions = play.stage.sandbox.table_store().partitions("copy").unwrap();
    assert_eq!(partitions.len(), planned.partitions);
    assert!((2..=10).contains(&partitions.len()), "{}", partitions.len());
    play.assert_same("t", "copy");
}

/// Rows 1 to 3 are in the backup, rows 2 to 4 in the target.
#[rstest]
#[case::newer(OnConflict::Newer, &["1 a=1@5", "2 a=2@5 b=20@9", "3 a=30@9", "4 a=40@9"], 0, 0)]
#[case::overwrite(OnConflict::Overwrite, &["1 a=1@5", "2 a=2@5", "3 a=3@5", "4 a=40@9"], 0, 0)]
#[case::skip(OnConflict::Skip, &["1 a=1@5", "2 a=20@3 b=20@9", "3 a=30@9", "4 a=40@9"], 2, 0)]
#[case::fail(OnConflict::Fail, &["1 a=1@5", "2 a=20@3 b=20@9", "3 a=30@9", "4 a=40@9"], 0, 2)]
#[tokio::test]
async fn rows_that_meet_rows(
    #[case] policy: OnConflict,
    #[case] expected: &[&str],
    #[case] skipped: u64,
    #[case] rejected: u64,
) {
    let play = Play::empty(On::Disk).await;
    let rows: Vec<_> =
        (1..=3).map(|id| row(id, &[("a", Value::Integer(id), 5)])).chain([row(7, &[])]).collect();
    play.make(&own_table("own", 1), &rows).await;
    play.back_up("own").await;
    let there = [
        row(2, &[("a", Value::Integer(20), 3), ("b", Value::Integer(20), 9)]),
        row(3, &[("a", Value::Integer(30), 9)]),
        row(4, &[("a", Value::Integer(40), 9)]),
        row(7, &[]),
    ];
    let mut target = own_table("target", 1);
    target.options.time_to_live = Some(2_000_000_000);
    play.make(&target, &there).await;
    let before = play.definition("target").await;
    let options = RestoreOptions { on_conflict: Some(policy), ..Play::options() };
    let restored = play.restore("own", "target", &options).await.unwrap();
    let mut found = Vec::new();
    play.stage
        .sandbox
        .table_rows("target", |row| {
            let PrimaryKeyValue::Integer(id) = row.key[0].1 else { panic!() };
            let cells = row.cells.iter().map(|cell| {
                let Some(Value::Integer(value)) = cell.value else { panic!() };
                format!(" {}={value}@{}", cell.name, cell.timestamp.unwrap())
            });
            found.push(format!("{id}{}", cells.collect::<String>()));
        })
        .unwrap();
    let mut expected: Vec<_> = expected.iter().map(|line| (*line).to_owned()).collect();
    expected.push("7".to_owned());
    assert_eq!(found, expected, "{restored:?}");
    assert_eq!(restored.rows.rejected, rejected, "{restored:?}");
    assert!(restored.rows.skipped >= skipped, "{restored:?}");
    assert_eq!(play.definition("target").await, before, "its own options again");
}

/// With an auto-increment key column.
pub fn counted_table() -> otsvault::model::TableDefinition {
    let mut definition = own_table("own", 1);
    definition.primary_key = vec![
        PrimaryKeyColumn { name: "p".into(), column_type: PrimaryKeyType::String, auto_increment: false },
        PrimaryKeyColumn { name: "n".into(), column_type: PrimaryKeyType::Integer, auto_increment: true },
    ];
    definition
}

pub async fn put_counted(client: &TableStore, rows: i64) {
    for at in 0..rows {
        let mut new = row(0, &[("a", Value::Integer(at), 5)]);
        new.key = vec![("p", PrimaryKeyValue::String("x")), ("n", PrimaryKeyValue::AutoIncrement)];
        client.put_row("own", &new).await.unwrap();
    }
}

#[tokio::test]
async fn auto_increment_values_stay_or_are_assigned_anew_with_a_mapping() {
    let play = Play::empty(On::Disk).await;
    let client = play.stage.client();
    client.create_table(&counted_table(), &[]).await.unwrap();
    put_counted(&client, 300).await;
    play.back_up("own").await;
    let kept = play.restore("own", "kept", &Play::options()).await.unwrap();
    assert!(kept.notes.iter().any(|note| note.contains("plain INTEGER")), "{:?}", kept.notes);
    play.assert_same("own", "kept");
    assert!(!play.definition("kept").await.primary_key[1].auto_increment);

    let reassign = RestoreOptions { auto_increment: AutoIncrement::Reassign, ..Play::options() };
    let restored = play.restore("own", "anew", &reassign).await.unwrap();
    assert_eq!(restored.rows.written, 300);
    assert!(play.definition("anew").await.primary_key[1].auto_increment);
    let key_and_value = |table: &str| {
        let mut found = std::collections::BTreeMap::new();
        let visit = |row: &Row<'_>| {
            let PrimaryKeyValue::Integer(n) = row.key[1].1 else { panic!() };
            let Some(Value::Integer(value)) = row.cells[0].value else { panic!() };
            found.insert(n, value);
        };
        play.stage.sandbox.table_rows(table, visit).unwrap();
        found
    };
    let (old, new) = (key_and_value("own"), key_and_value("anew"));
    assert_eq!(new.len(), 300);
    let mapping = mapping(&play).await;
    assert_eq!(mapping.len(), 300);
    assert!(mapping.iter().all(|(before, after)| old[before] == new[after] && before != after));
}

/// Old and new values in all mapping files of the vault.
async fn mapping(play: &Play) -> Vec<(i64, i64)> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use futures::TryStreamExt;
    let vault = play.stage.vault().await;
    let store = &**vault.store();
    let objects: Vec<_> = object_store::ObjectStore::list(store, None).try_collect().await.unwrap();
    let mut pairs = Vec::new();
    for object in objects.iter().filter(|object| object.location.as_ref().contains("/mapping/")) {
        let bytes =
            object_store::ObjectStoreExt::get(store, &object.location).await.unwrap().bytes().await.unwrap();
        for batch in otsvault::parquet_file::decode_small_file(&bytes).unwrap() {
            let column =
                |name| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec();
            pairs.extend(column("n").into_iter().zip(column("mapping$new")));
        }
    }
    pairs
}
