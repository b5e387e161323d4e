//! `verify --level drill`: what it proves, what it finds, and that it leaves nothing behind.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use otsvault::model::{DefinedColumn, Index, Stream, Value, ValueType};
use otsvault::sandbox::faults::{Action, Rule, Service, When};
use rstest::rstest;
use serde_json::Value as Json;

use crate::play::{Play, own_table, row};
use crate::stage::{Ended, On};

const SCRATCH: &str = "ots://sandbox/drill_";

impl Play {
    async fn drill(&self, more: &[&str]) -> Ended {
        let url = self.stage.vault_url();
        let arguments = ["verify", &url, "--level", "drill", "--scratch", SCRATCH];
        self.stage.run(&[&arguments, more].concat()).await
    }

    /// Every object of the vault, with its size.
    async fn objects(&self) -> Vec<(String, u64)> {
        let vault = self.stage.vault().await;
        let listed = vault.store().list(None).map_ok(|object| (object.location.to_string(), object.size));
        let mut objects: Vec<_> = listed.try_collect().await.unwrap();
        objects.sort();
        objects
    }

    async fn scratch_table(&self) -> Option<String> {
        let tables = self.stage.client().list_tables().await.unwrap();
        tables.into_iter().find(|table| table.starts_with("drill_"))
    }

    fn fail(&self, operation: &str, action: Action) {
        self.stage.fault(Rule::new(action).on(Service::TableStore, operation));
    }
}

fn report(ended: &Ended) -> Json {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{} {}", ended.stdout, ended.stderr))
}

#[rstest]
#[case("t=iot:rows=20000,seed=2,partitions=4")]
#[case("t=wide:rows=800,seed=2")]
#[case("t=fat:rows=600,seed=2")]
#[case("t=sparse:rows=2000,seed=2")]
#[case("t=mixed:rows=4000,seed=2,key=binary")]
#[tokio::test]
async fn a_restore_gives_every_shape_back_and_nothing_is_left(#[case] table: &str) {
    let play = Play::of(On::Oss, table).await;
    let (before, rows) = (play.objects().await, play.stage.table_sum("t").0);
    let ended = play.drill(&["--json", "--quiet"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    let report = &report(&ended)["runs"][0];
    assert_eq!(report["drill"]["rows"]["written"], rows, "{report}");
    let compared = &report["comparison"];
    assert_eq!((&compared["left_rows"], &compared["right_rows"]), (&rows.into(), &rows.into()), "{report}");
    assert_eq!(play.scratch_table().await, None);
    assert_eq!(play.objects().await, before, "nothing was written to the vault");
}

#[tokio::test]
async fn old_cells_streams_indexes_and_auto_increment_keys_are_no_difference() {
    let play = Play::empty(On::Disk).await;
    let mut aged = own_table("aged", 2);
    aged.options.time_to_live = Some(90_000);
    aged.options.max_versions = Some(1);
    aged.options.allow_update = Some(false);
    aged.defined_columns = vec![DefinedColumn { name: "name".into(), column_type: ValueType::String }];
    aged.stream = Some(Stream {
        stream_id: String::new(),
        expiration_hours: 24,
        last_enable_time_us: 0,
        columns: vec![],
    });
    aged.indexes = vec![Index {
        name: "by_name".into(),
        primary_key: vec!["name".into(), "id".into()],
        defined_columns: vec![],
        local: false,
        synchronous: false,
    }];
    play.make(&aged, &[]).await;
    let mut fresh = row(1, &[]);
    fresh.cells = vec![otsvault::model::Cell::put("name", Value::String("x"), None)];
    play.stage.client().put_row("aged", &fresh).await.unwrap();
    let client = play.stage.client();
    client.create_table(&super::targets::counted_table(), &[]).await.unwrap();
    super::targets::put_counted(&client, 50).await;
    play.back_up("aged").await;
    play.back_up("own").await;
    // The table itself has no cell any more.
    play.stage.sandbox.advance_clock(Duration::from_secs(30 * 86_400));
    let ended = play.drill(&["--json", "--quiet"]).await;
    assert_eq!(ended.code, Some(0), "{} {}", ended.stdout, ended.stderr);
    let report = report(&ended);
    assert_eq!(report["runs"][0]["comparison"]["right_rows"], 1, "{report}");
    assert_eq!(report["runs"][1]["comparison"]["right_rows"], 50, "{report}");
    assert!(report["runs"][1]["notes"].to_string().contains("plain INTEGER"), "{report}");
    assert_eq!(play.stage.requests("CreateIndex"), 0);
    assert_eq!(play.scratch_table().await, None);
}

#[tokio::test]
async fn a_row_that_came_back_another_one_is_named() {
    let play = Play::empty(On::Disk).await;
    let rows: Vec<_> = (0..300).map(|id| row(id, &[("a", Value::Integer(id), 5)])).collect();
    play.make(&own_table("own", 1), &rows).await;
    play.back_up("own").await;
    let slow = Rule::new(Action::Delay(Duration::from_millis(1_500)));
    play.stage.fault(slow.on(Service::TableStore, "GetRange").key("drill_"));
    let somebody_else = async {
        let scratch = loop {
            match play.scratch_table().await {
                Some(scratch) if play.stage.table_sum(&scratch).0 == 300 => break scratch,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let client = play.stage.client();
        client.put_row(&scratch, &row(123, &[("a", Value::Integer(-1), 5)])).await.unwrap();
        client.delete_row(&scratch, &row(7, &[])).await.unwrap();
    };
    let (ended, ()) = tokio::join!(play.drill(&["--quiet"]), somebody_else);
    assert_eq!(ended.code, Some(5), "{} {}", ended.stdout, ended.stderr);
    for line in ["- (7)", "~ (123) in a", "0 added, 1 removed, 1 changed"] {
        assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
    }
    assert_eq!(play.scratch_table().await, None);
}

#[tokio::test]
async fn rows_that_the_service_refuses_are_said_with_its_reason() {
    let play = Play::of(On::Disk, "t=iot:rows=2000,seed=5").await;
    let every = Rule::new(Action::error(403, "OTSInvalidPK", "No.")).when(When::Every(500));
    play.stage.fault(every.on(Service::TableStore, "BatchWriteRow/row"));
    let ended = play.drill(&["--quiet"]).await;
    assert_eq!(ended.code, Some(3), "{} {}", ended.stdout, ended.stderr);
    // Which rows: those of the requests that happen to come first.
    let keys = regex::Regex::new(r#"\("device-\d+", \d+\)"#).unwrap();
    let settled = super::command::settled(&ended.stdout, &play.stage);
    insta::assert_snapshot!("drill_refused", keys.replace_all(&settled, "<key>"));
    assert_eq!(play.scratch_table().await, None);
}

#[tokio::test]
async fn the_story_of_a_drill() {
    let play = Play::of(On::Disk, "t=iot:rows=2000,seed=5").await;
    let ended = play.drill(&["t"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = format!("{}{}", ended.stderr, ended.stdout);
    insta::assert_snapshot!("drill", super::command::settled(&told, &play.stage));
}

#[rstest]
#[case::refused("BatchWriteRow", 8)]
#[case::not_readable("GetRange", 8)]
#[tokio::test]
async fn a_drill_that_fails_deletes_its_table_too(#[case] operation: &str, #[case] code: i32) {
    let play = Play::of(On::Disk, "t=iot:rows=2000,seed=5").await;
    let denied = Action::error(403, "OTSNoPermissionAccess", "You have no permission.");
    play.fail(operation, denied);
    let ended = play.drill(&["--quiet"]).await;
    assert_eq!(ended.code, Some(code), "{} {}", ended.stdout, ended.stderr);
    assert!(!ended.stderr.contains("same command again"), "{}", ended.stderr);
    assert_eq!((play.stage.requests("CreateTable"), play.scratch_table().await), (1, None));
}

#[tokio::test]
async fn a_table_that_cannot_be_deleted_is_named() {
    let play = Play::of(On::Disk, "t=iot:rows=200,seed=5").await;
    play.fail("DeleteTable", Action::error(403, "OTSNoPermissionAccess", "You have no permission."));
    let ended = play.drill(&["--quiet"]).await;
    let scratch = play.scratch_table().await.unwrap();
    assert_eq!(ended.code, Some(8), "{} {}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains(&format!("left behind `{scratch}`")), "{}", ended.stdout);
    // Where the drill itself fails too.
    play.fail("BatchWriteRow", Action::error(403, "OTSNoPermissionAccess", "You have no permission."));
    let ended = play.drill(&["--quiet"]).await;
    assert_eq!(ended.code, Some(8), "{} {}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("hint: delete the scratch table `drill_"), "{}", ended.stderr);
}

#[rstest]
#[case::while_it_writes("BatchWriteRow")]
#[case::while_it_makes_the_table("CreateTable")]
#[case::while_it_compares("GetRange")]
#[tokio::test]
async fn an_interrupted_drill_deletes_its_table(#[case] operation: &str) {
    let play = Play::of(On::Disk, "t=iot:rows=4000,seed=5").await;
    // Long enough for the signal to hit it, short enough to be over before the last look at the tables.
    let slow = Rule::new(Action::Delay(Duration::from_millis(700)));
    play.stage.fault(slow.on(Service::TableStore, operation).key("drill_"));
    let url = play.stage.vault_url();
    let arguments = ["verify", &url, "--level", "drill", "--scratch", SCRATCH, "--quiet"];
    let child = play.stage.program(&arguments).spawn().unwrap();
    while play.stage.in_flight(Service::TableStore, operation) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = child.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!((play.stage.requests("CreateTable"), play.scratch_table().await), (1, None));
}

#[tokio::test]
async fn a_damaged_backup_is_not_restored() {
    let play = Play::of(On::Oss, "t=iot:rows=2000,seed=5").await;
    let bucket = play.stage.sandbox.description().bucket.clone();
    let listed = play.stage.sandbox.oss().objects(&bucket, "tests/sandbox/t/");
    let file = listed.iter().find(|object| object.key.ends_with(".parquet")).unwrap();
    let path = object_store::path::Path::from(file.key.as_str());
    object_store::ObjectStoreExt::delete(&**play.stage.vault().await.store(), &path).await.unwrap();
    let ended = play.drill(&[]).await;
    assert_eq!((ended.code, play.writes()), (Some(5), 0), "{} {}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("not restored: the backup itself is damaged"), "{}", ended.stdout);
}

#[tokio::test]
async fn without_a_place_or_with_the_wrong_level_nothing_begins() {
    let play = Play::of(On::Disk, "t=iot:rows=200,seed=5").await;
    let url = play.stage.vault_url();
    for arguments in [
        vec!["--level", "drill"],
        vec!["--level", "full", "--scratch", SCRATCH],
        vec!["--level", "drill", "--scratch", "ots://sandbox/9-"],
        vec!["--level", "drill", "--scratch", SCRATCH, "--against", "ots://sandbox/t"],
    ] {
        let ended = play.stage.run(&[&["verify", &url], &arguments[..]].concat()).await;
        assert_eq!((ended.code, play.writes()), (Some(2), 0), "{arguments:?}: {}", ended.stderr);
    }
}
