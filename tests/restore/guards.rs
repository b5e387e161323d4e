//! What is refused, with no write at all.

use object_store::ObjectStoreExt;
use otsvault::Kind;
use otsvault::catalog::RunId;
use otsvault::model::{PrimaryKeyType, TableDefinition, Value};
use otsvault::restore::{OnConflict, RestoreOptions};

use crate::play::{Play, own_table, row};
use crate::stage::On;

/// A backup of table `own` with two rows.
async fn play() -> Play {
    let play = Play::empty(On::Disk).await;
    let rows = [row(1, &[("a", Value::Integer(1), 5)]), row(2, &[("a", Value::Integer(2), 5)])];
    play.make(&own_table("own", 1), &rows).await;
    play.back_up("own").await;
    play
}

async fn refused(play: &Play, target: &str, options: &RestoreOptions, kind: Kind, why: &str) {
    let before = play.writes();
    let error = play.restore("own", target, options).await.unwrap_err();
    assert_eq!(error.kind(), kind, "{}", error.report());
    assert!(error.report().contains(why), "{why}: {}", error.report());
    assert_eq!(play.writes(), before, "{why}: it wrote");
}

#[tokio::test]
async fn a_table_with_rows_is_refused_and_so_is_the_table_itself() {
    let play = play().await;
    refused(&play, "own", &Play::options(), Kind::Usage, "it has rows").await;
    play.make(&own_table("other", 1), &[row(9, &[])]).await;
    refused(&play, "other", &Play::options(), Kind::Usage, "--into-existing").await;
}

#[tokio::test]
async fn a_table_of_another_kind_is_refused() {
    let play = play().await;
    let mut named = own_table("named", 1);
    named.primary_key[0].name = "ID".into();
    let mut typed = own_table("typed", 1);
    typed.primary_key[0].column_type = PrimaryKeyType::String;
    let mut more = own_table("more", 1);
    more.primary_key
        .push(otsvault::model::PrimaryKeyColumn { name: "n".into(), ..typed.primary_key[0].clone() });
    for definition in [named, typed, more] {
        play.make(&definition, &[]).await;
        let name = definition.name.clone();
        refused(&play, &name, &Play::options(), Kind::Usage, "its primary key is").await;
        // Not even when asked to write into it.
        let merge = RestoreOptions { on_conflict: Some(OnConflict::Newer), ..Play::options() };
        refused(&play, &name, &merge, Kind::Usage, "its primary key is").await;
    }
    play.make(&own_table("versions", 5), &[]).await;
    refused(&play, "versions", &Play::options(), Kind::Usage, "it keeps 5 versions").await;
    let mut defined = own_table("defined", 1);
    defined.defined_columns = vec![otsvault::model::DefinedColumn {
        name: "a".into(),
        column_type: otsvault::model::ValueType::String,
    }];
    play.make(&defined, &[]).await;
    refused(&play, "defined", &Play::options(), Kind::Usage, "predefined columns").await;
    let mut fixed: TableDefinition = own_table("fixed", 1);
    fixed.options.allow_update = Some(false);
    play.make(&fixed, &[]).await;
    refused(&play, "fixed", &Play::options(), Kind::Usage, "rules for updates").await;
}

#[tokio::test]
async fn no_backup_no_such_run_and_bounds_that_make_no_sense_are_refused() {
    let play = play().await;
    let run: RunId = "20261122t161530z-9f3a2c71".parse().unwrap();
    let other = RestoreOptions { run: Some(run), ..Play::options() };
    refused(&play, "copy", &other, Kind::NotFound, "20261122t161530z-9f3a2c71").await;
    let before = play.writes();
    let error = play.restore("none", "copy", &Play::options()).await.unwrap_err();
    assert_eq!((error.kind(), play.writes()), (Kind::NotFound, before));
    let text = otsvault::model::PrimaryKey(vec![otsvault::model::KeyPart::String("x".into())]);
    let wrong = RestoreOptions { from_key: Some(text), ..Play::options() };
    refused(&play, "copy", &wrong, Kind::Usage, "--from-key").await;
    let lossy = RestoreOptions {
        on_conflict: Some(OnConflict::Overwrite),
        columns: Some(vec!["a".into()]),
        ..Play::options()
    };
    refused(&play, "own", &lossy, Kind::Usage, "would be lost").await;
}

#[tokio::test]
async fn a_projection_does_not_replace_rows() {
    let play = play().await;
    let projection =
        otsvault::backup::BackupOptions { columns: Some(vec!["a".into()]), ..crate::stage::Stage::options() };
    play.stage.back_up("own", &projection).await.unwrap();
    let overwrite = RestoreOptions { on_conflict: Some(OnConflict::Overwrite), ..Play::options() };
    refused(&play, "own", &overwrite, Kind::Usage, "the backup is a projection").await;
    let restored = play.restore("own", "copy", &Play::options()).await.unwrap();
    assert!(restored.notes.iter().any(|note| note.contains("projection")), "{:?}", restored.notes);
}

#[tokio::test]
async fn a_damaged_backup_writes_no_row() {
    let play = play().await;
    let vault = play.stage.vault().await;
    let store = &**vault.store();
    let objects = object_store::ObjectStore::list(store, None);
    let objects: Vec<_> = futures::TryStreamExt::try_collect(objects).await.unwrap();
    let objects: Vec<object_store::ObjectMeta> = objects;
    let of = |suffix: &str| {
        objects.iter().find(|object| object.location.as_ref().ends_with(suffix)).unwrap().location.clone()
    };
    let flip = async |path: &object_store::path::Path| {
        let mut bytes = store.get(path).await.unwrap().bytes().await.unwrap().to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
        store.put(path, bytes.into()).await.unwrap();
    };
    flip(&of(".parquet")).await;
    let error = play.restore("own", "copy", &Play::options()).await.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Kind::Corrupt, 5), "{}", error.report());
    assert_eq!(play.stage.requests("BatchWriteRow") + play.stage.requests("UpdateRow"), 0);
    flip(&of("jsonl.zst")).await;
    let before = play.writes();
    let error = play.restore("own", "other", &Play::options()).await.unwrap_err();
    assert_eq!((error.kind(), play.writes()), (Kind::Corrupt, before), "{}", error.report());
}
