//! A backup is the table: complete, exact, resumable, and invisible until it is committed.

mod stage;

use otsvault::Kind;
use otsvault::catalog::{RunState, find_runs, read_file_list};
use otsvault::model::{Cell, KeyPart, PrimaryKey, PrimaryKeyValue, Row, Value};
use otsvault::sandbox::faults::{Action, Rule, Service, When};
use rstest::rstest;
use stage::{On, Stage, runtime};

const IOT: &str = "t=iot:rows=30000,seed=11";
const MIXED: &str = "t=mixed:rows=12000,seed=12";

#[rstest]
#[tokio::test]
async fn every_row_cell_version_and_type_comes_back(
    #[values(On::Oss, On::Disk)] on: On,
    #[values(IOT, MIXED)] table: &str,
) {
    let stage = Stage::with(on, &[table]).await;
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    assert!(done.manifest.totals.files > 1, "small files on purpose");
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn an_empty_table_has_a_backup_without_files() {
    let stage = Stage::with(On::Oss, &["t=iot:rows=0,seed=1"]).await;
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    assert_eq!((done.manifest.totals.rows, done.manifest.totals.files), (0, 0));
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn after_a_success_the_same_command_makes_a_new_base() {
    let stage = Stage::with(On::Disk, &["t=iot:rows=500,seed=1"]).await;
    let first = stage.back_up("t", &Stage::options()).await.unwrap();
    let second = stage.back_up("t", &Stage::options()).await.unwrap();
    assert_ne!(first.manifest.run, second.manifest.run);
    assert_eq!(first.manifest.totals.row_sum, second.manifest.totals.row_sum);
    stage.assert_equals_table("t", &second).await;
}

#[tokio::test]
async fn a_key_range_is_copied_exactly() {
    let stage = Stage::with(On::Disk, &["t=iot:rows=5000,seed=3"]).await;
    let mut keys = Vec::new();
    stage.sandbox.table_rows("t", |row| keys.push(PrimaryKey::from_row(&row.key).unwrap())).unwrap();
    let (from, to) = (keys[1234].clone(), keys[4321].clone());
    let options =
        otsvault::backup::BackupOptions { from_key: Some(from), to_key: Some(to), ..Stage::options() };
    let done = stage.back_up("t", &options).await.unwrap();
    assert_eq!(done.manifest.totals.rows, 4321 - 1234);
}

#[tokio::test]
async fn the_files_of_a_run_tile_its_keys_and_nothing_else_is_beside_them() {
    let stage = Stage::with(On::Oss, &[IOT]).await;
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    let vault = stage.vault().await;
    // read_file_list checks the tiling, the sums and the hash.
    let entries = read_file_list(&**vault.store(), &done.path, &done.manifest).await.unwrap();
    let stored = stage.sandbox.oss().objects("vault", done.path.data().as_ref());
    assert_eq!(stored.len(), entries.iter().filter(|entry| entry.file.is_some()).count());
}

#[rstest]
#[tokio::test]
async fn a_failed_run_resumes_without_reading_finished_ranges(#[values(On::Oss, On::Disk)] on: On) {
    let stage = Stage::with(on, &[IOT]).await;
    // Everything from the 8th page on fails for good.
    stage.fault(
        Rule::new(Action::error(400, "OTSParameterInvalid", "on purpose"))
            .on(Service::TableStore, "GetRange")
            .when(When::Calls { first: 8, last: 1_000_000 }),
    );
    let options = otsvault::backup::BackupOptions { concurrency: 1, ..Stage::options() };
    let error = stage.back_up("t", &options).await.unwrap_err();
    assert_eq!(error.service_code(), Some("OTSParameterInvalid"));
    assert!(error.report().contains("run the same command again"), "{}", error.report());
    stage.assert_no_open_uploads().await;
    let vault = stage.vault().await;
    let runs = find_runs(&**vault.store(), &vault.table("sandbox", "t").unwrap()).await.unwrap();
    assert!(matches!(runs.as_slice(), [RunState::Unfinished(..)]), "nothing half-visible");

    stage.sandbox.faults().clear();
    let before = stage.requests("GetRange");
    let done = stage.back_up("t", &options).await.unwrap();
    assert_eq!(done.manifest.run, runs[0].path().run, "the same run goes on");
    assert!(done.resumed_rows > 0, "finished files are not read again");
    let left = done.manifest.totals.rows - done.resumed_rows;
    assert_eq!(stage.requests("GetRange") - before, left.div_ceil(5000), "only what was left is read");
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn a_complete_file_without_a_journal_entry_is_proved_and_taken_over() {
    let stage = Stage::with(On::Oss, &[IOT]).await;
    // The second journal entry cannot be written: its data file is complete and nobody says so.
    stage.fault(
        Rule::new(Action::error(403, "AccessDenied", "on purpose"))
            .on(Service::Oss, "PutObject")
            .key("/journal/")
            .nth(2),
    );
    let options = otsvault::backup::BackupOptions { concurrency: 1, ..Stage::options() };
    let error = stage.back_up("t", &options).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Permission, "{}", error.report());
    stage.sandbox.faults().clear();
    let done = stage.back_up("t", &options).await.unwrap();
    assert_eq!(done.resumed_entries, 2, "one journalled, one proved");
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn a_damaged_file_without_a_journal_entry_is_removed_and_read_again() {
    let stage = Stage::with(On::Disk, &["t=iot:rows=20000,seed=5"]).await;
    stage.table_store_fault("GetRange", 7, Action::error(400, "OTSParameterInvalid", "on purpose"));
    let options = otsvault::backup::BackupOptions { concurrency: 1, ..Stage::options() };
    stage.back_up("t", &options).await.unwrap_err();
    // Damage one data file and take its journal entry away.
    let find = |extension: &str| -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![stage.directory.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|found| found == extension) {
                    found.push(path);
                }
            }
        }
        found
    };
    let file = find("parquet").pop().unwrap();
    let entry = file.parent().unwrap().parent().unwrap().join("journal").join(file.file_stem().unwrap());
    std::fs::remove_file(entry.with_extension("json")).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&file, bytes).unwrap();

    let done = stage.back_up("t", &options).await.unwrap();
    assert!(!file.exists(), "a plain glob must not find it");
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn a_table_made_anew_under_the_same_name_does_not_resume_the_old_run() {
    let stage = Stage::with(On::Disk, &[]).await;
    let client = stage.client();
    make_table(&client, 40).await;
    stage.table_store_fault("GetRange", 2, Action::error(400, "OTSParameterInvalid", "on purpose"));
    stage.back_up("own", &Stage::options()).await.unwrap_err();
    client.delete_table("own").await.unwrap();
    // Creation times have milliseconds at best.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    make_table(&client, 60).await;
    let done = stage.back_up("own", &Stage::options()).await.unwrap();
    assert_eq!((done.resumed_entries, done.manifest.totals.rows), (0, 60));
    stage.assert_equals_table("own", &done).await;
}

#[tokio::test]
async fn a_stop_request_ends_the_run_soon_and_resumable() {
    let stage = Stage::with(On::Oss, &["t=iot:rows=400000,seed=2"]).await;
    stage.fault(
        Rule::new(Action::Delay(std::time::Duration::from_millis(50))).on(Service::TableStore, "GetRange"),
    );
    let vault = stage.vault().await;
    let stopped = runtime();
    let shutdown = stopped.shutdown.clone();
    let progress = stopped.progress.clone();
    let client = stage.client();
    let options = Stage::options();
    let run = backup_task(client, vault, options, stopped);
    let stopper = async {
        while progress.snapshot().pages < 10 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        shutdown.request(otsvault::runtime::Signal::Terminate);
        std::time::Instant::now()
    };
    let (outcome, asked) = tokio::join!(run, stopper);
    assert!(asked.elapsed() < std::time::Duration::from_secs(10), "stops within 10 s");
    assert_eq!(outcome.unwrap_err().kind(), Kind::Stopped);
    stage.assert_no_open_uploads().await;
    stage.sandbox.faults().clear();
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    assert!(done.resumed_rows > 0, "what was read before the stop is kept");
    stage.assert_equals_table("t", &done).await;
}

async fn backup_task(
    client: otsvault::tablestore::TableStore,
    vault: otsvault::catalog::Vault,
    options: otsvault::backup::BackupOptions,
    runtime: otsvault::backup::Runtime,
) -> otsvault::Result<otsvault::backup::Backup> {
    otsvault::backup::backup(&client, "t", &vault, &options, &runtime).await
}

#[tokio::test]
async fn two_runs_on_one_table_exclude_each_other() {
    let stage = Stage::with(On::Oss, &["t=iot:rows=50000,seed=2"]).await;
    let vault = stage.vault().await;
    let first = backup_task(stage.client(), vault.clone(), Stage::options(), runtime());
    let second = backup_task(stage.client(), vault, Stage::options(), runtime());
    let (first, second) = tokio::join!(first, second);
    let outcomes = [first, second];
    let locked =
        outcomes.iter().filter(|outcome| matches!(outcome, Err(error) if error.kind() == Kind::Locked));
    let done = outcomes.iter().filter(|outcome| outcome.is_ok());
    assert_eq!((locked.count(), done.count()), (1, 1));
}

/// A table of its own with one INTEGER key and a few odd rows.
async fn make_table(client: &otsvault::tablestore::TableStore, rows: i64) {
    use otsvault::model::{PrimaryKeyColumn, PrimaryKeyType, TableDefinition, TableOptions};
    let definition = TableDefinition {
        name: "own".into(),
        primary_key: vec![PrimaryKeyColumn {
            name: "id".into(),
            column_type: PrimaryKeyType::Integer,
            auto_increment: false,
        }],
        defined_columns: vec![],
        options: TableOptions {
            time_to_live: Some(-1),
            max_versions: Some(3),
            deviation_seconds: Some(9_000_000_000),
            ..TableOptions::default()
        },
        reserved: Default::default(),
        stream: None,
        indexes: vec![],
        creation_time: None,
    };
    client.create_table(&definition, &[]).await.unwrap();
    let big = "x".repeat(2 << 20);
    for id in 0..rows {
        let mut row = Row { key: vec![("id", PrimaryKeyValue::Integer(id))], ..Row::default() };
        match id % 4 {
            // A key alone.
            0 => {}
            1 => row.cells.push(Cell::put("v", Value::Integer(id), Some(id))),
            2 => {
                row.cells.push(Cell::put("v", Value::String(""), Some(id + 1)));
                row.cells.push(Cell::put(
                    "V",
                    Value::Double(f64::from_bits(0x7ff8_0000_0000_0001)),
                    Some(id),
                ));
            }
            _ if id % 16 == 3 => row.cells.push(Cell::put("big", Value::String(&big), Some(5))),
            _ => row.cells.push(Cell::put("_ts", Value::Boolean(id % 8 == 3), Some(7))),
        }
        client.put_row("own", &row).await.unwrap();
    }
}

#[tokio::test]
async fn names_that_clash_and_cells_of_two_megabytes_survive() {
    let stage = Stage::with(On::Oss, &[]).await;
    make_table(&stage.client(), 80).await;
    let done = stage.back_up("own", &Stage::options()).await.unwrap();
    let names: Vec<_> =
        done.manifest.columns.columns().iter().map(|column| column.name.to_lowercase()).collect();
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(names.len(), unique.len(), "{names:?}");
    stage.assert_equals_table("own", &done).await;
}

#[tokio::test]
async fn a_bound_of_the_wrong_type_is_a_usage_error() {
    let stage = Stage::with(On::Disk, &["t=iot:rows=10,seed=3"]).await;
    let options = otsvault::backup::BackupOptions {
        from_key: Some(PrimaryKey(vec![KeyPart::Integer(1)])),
        ..Stage::options()
    };
    let error = stage.back_up("t", &options).await.unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().contains("--from-key")), (2, true), "{error}");
}

#[tokio::test]
async fn files_of_two_writers_over_the_same_keys_are_sorted_out() {
    use otsvault::catalog::{FileEntry, FileId, read_journal, write_journal};
    let stage = Stage::with(On::Oss, &[IOT]).await;
    stage.fault(
        Rule::new(Action::error(403, "AccessDenied", "No."))
            .on(Service::Oss, "PutObject")
            .key("/manifest.json"),
    );
    stage.back_up("t", &Stage::options()).await.unwrap_err();
    stage.sandbox.faults().clear();
    let vault = stage.vault().await;
    let store = &**vault.store();
    let runs = find_runs(store, &vault.table("sandbox", "t").unwrap()).await.unwrap();
    // A writer that had lost its lease has stored and journalled the same keys once more.
    let twin = &read_journal(store, runs[0].path()).await.unwrap()[1];
    // Of two with the same keys the one with the smaller id stays; the footer of a copy has the other's.
    let id = std::iter::repeat_with(FileId::random).find(|id| *id > twin.id).unwrap();
    let (from, to) = (runs[0].path().data_file(twin.id), runs[0].path().data_file(id));
    object_store::ObjectStoreExt::copy(store, &from, &to).await.unwrap();
    write_journal(store, runs[0].path(), &FileEntry { id, ..twin.clone() }).await.unwrap();
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    assert_eq!(done.manifest.run, runs[0].path().run);
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn a_run_whose_lease_was_taken_commits_nothing() {
    let stage = Stage::with(On::Disk, &["t=iot:rows=40000,seed=2"]).await;
    stage.fault(
        Rule::new(Action::Delay(std::time::Duration::from_millis(30))).on(Service::TableStore, "GetRange"),
    );
    let vault = stage.vault().await;
    let running = runtime();
    let progress = running.progress.clone();
    let run = backup_task(stage.client(), vault.clone(), Stage::options(), running);
    let thief = async {
        while progress.snapshot().pages < 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let leases = stage.directory.path().join("vault/sandbox/t/lease");
        let text = std::fs::read_to_string(leases.join("0000000001.json")).unwrap();
        let mut lease: serde_json::Value = serde_json::from_str(&text).unwrap();
        lease["token"] = "somebody else".into();
        std::fs::write(leases.join("0000000002.json"), lease.to_string()).unwrap();
    };
    let (outcome, ()) = tokio::join!(run, thief);
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Kind::Locked, 6), "{}", error.report());
    let runs = find_runs(&**vault.store(), &vault.table("sandbox", "t").unwrap()).await.unwrap();
    assert!(matches!(runs.as_slice(), [RunState::Unfinished(..)]));
}

/// Without split points there is one range, which the workers cut while they read it. In the skewed table one of 64
/// partitions has 95 % of the rows.
#[rstest]
#[case::skewed("t=iot:rows=1200000,seed=7,partitions=64,skew=95", false)]
#[case::skewed_with_points("t=iot:rows=1200000,seed=7,partitions=64,skew=95", true)]
#[tokio::test]
async fn every_worker_is_busy_to_the_end(#[case] table: &str, #[case] with_points: bool) {
    let stage = Stage::with(On::Disk, &[table]).await;
    if !with_points {
        stage.fault(
            Rule::new(Action::error(403, "OTSNoPermissionAccess", "on purpose"))
                .on(Service::TableStore, "ComputeSplitPointsBySize"),
        );
    }
    let options = otsvault::backup::BackupOptions {
        target_file_bytes: 128 << 20,
        memory_bytes: 128 << 20,
        ..Stage::options()
    };
    let done = stage.back_up("t", &options).await.unwrap();
    let used = done.workers;
    let share = used.pages_until_idle as f64 / used.pages as f64;
    println!(
        "{table}, split points: {with_points}: {used:?}, all busy until {:.1} %, {} files",
        share * 100.0,
        done.manifest.totals.files
    );
    assert!(share >= 0.9, "{share}: {used:?}");
    assert!(with_points || used.cuts + 1 >= used.workers as u64, "{used:?}");
    assert!(used.pages_all_busy as f64 >= 0.7 * used.pages as f64, "{used:?}");
    assert!(with_points || done.manifest.totals.files <= used.cuts + 1, "one file per range: {used:?}");
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn a_cut_range_is_resumed_where_it_was_cut() {
    let stage = Stage::with(On::Oss, &["t=iot:rows=400000,seed=9"]).await;
    stage.fault(
        Rule::new(Action::error(403, "OTSNoPermissionAccess", "on purpose"))
            .on(Service::TableStore, "ComputeSplitPointsBySize"),
    );
    // The sample takes 4 pages, the cuts some more.
    stage.fault(
        Rule::new(Action::error(400, "OTSParameterInvalid", "on purpose"))
            .on(Service::TableStore, "GetRange")
            .when(When::Calls { first: 50, last: 1_000_000 }),
    );
    stage.back_up("t", &Stage::options()).await.unwrap_err();
    stage.sandbox.faults().clear();
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    assert!(done.resumed_entries > 3, "several workers had files: {}", done.resumed_entries);
    stage.assert_equals_table("t", &done).await;
}
