//! A backup that is as it was written passes every level; whatever is changed, cut, swapped, removed or added is found.

mod stage;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use otsvault::catalog::Vault;
use otsvault::model::{
    Cell, KeyPart, PrimaryKey, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, Row, TableDefinition,
    TableOptions, Value,
};
use otsvault::objectstore;
use otsvault::runtime::CpuPool;
use otsvault::tablestore::{RowChange, TableStore};
use otsvault::verify::{
    Level, RowChange as Change, RunReport, Sample, Verifier, VerifyOptions, VerifyProgress, verify_live,
    verify_table,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rstest::rstest;
use stage::{On, Stage};

fn verifier() -> Verifier {
    Verifier { cpu: CpuPool::new(2).unwrap(), progress: Arc::new(VerifyProgress::default()) }
}

fn at(level: Level) -> VerifyOptions {
    VerifyOptions { level, sample: Sample::share(40.0, 3), ..VerifyOptions::default() }
}

/// Opens the vault as a reader does, and verifies the newest run of a table.
async fn verify(stage: &Stage, table: &str, options: &VerifyOptions) -> otsvault::Result<RunReport> {
    let root = objectstore::open(&stage.vault_url(), &stage.store_options())?;
    let vault = Vault::open(root).await?;
    let path = vault.table("sandbox", table)?;
    let report = verify_table(&vault, &path, None, options, &verifier()).await?;
    report.ok_or_else(|| otsvault::Error::new(otsvault::Kind::NotFound, "find a run"))
}

/// Whether anything was found, and what.
async fn findings(stage: &Stage, options: &VerifyOptions) -> Option<String> {
    match verify(stage, "t", options).await {
        Ok(report) if report.is_sound() => None,
        Ok(report) => Some(format!("{:?}", report.faults)),
        Err(error) => Some(error.report()),
    }
}

/// Every object of the vault, sorted.
async fn objects(vault: &Vault) -> Vec<(Path, Bytes)> {
    let store = vault.store();
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut objects = Vec::new();
    for object in listed {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        objects.push((object.location, bytes));
    }
    objects.sort_by(|a, b| a.0.cmp(&b.0));
    objects
}

async fn put(vault: &Vault, path: &Path, bytes: impl Into<PutPayload>) {
    vault.store().put(path, bytes.into()).await.unwrap();
}

/// A small backup in a vault.
async fn backed_up(on: On, rows: u64) -> Stage {
    let stage = Stage::with(on, &[&format!("t=mixed:rows={rows},seed=11")]).await;
    stage.back_up("t", &Stage::options()).await.unwrap();
    stage
}

#[rstest]
#[case::disk(On::Disk)]
#[case::oss(On::Oss)]
#[tokio::test]
async fn a_sound_backup_passes_every_level(#[case] on: On) {
    let stage = Stage::with(on, &["t=mixed:rows=30000,seed=11,partitions=8"]).await;
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    let totals = done.manifest.totals;
    assert!(totals.files > 3, "{} files", totals.files);
    for level in [Level::Quick, Level::Sample, Level::Full] {
        let report = verify(&stage, "t", &at(level)).await.unwrap();
        assert!(report.is_sound(), "{level:?}: {:?}", report.faults);
        assert_eq!(report.files_read + report.files_by_crc64 + report.files_by_footer, totals.files);
        match (level, on) {
            (Level::Quick, On::Oss) => assert_eq!(report.files_by_crc64, totals.files),
            (Level::Quick, On::Disk) => assert_eq!(report.files_by_footer, totals.files),
            // Which ones depends on the names of the files: by chance all of a few.
            (Level::Sample, _) => assert!(report.files_read >= 1),
            _ => assert_eq!((report.files_read, report.rows_read), (totals.files, totals.rows)),
        }
    }
    let mut read = 0;
    for number in 1..=3 {
        let sample = Sample::Part { number, of: 3 };
        read += verify(&stage, "t", &VerifyOptions { sample, ..at(Level::Sample) }).await.unwrap().files_read;
    }
    assert_eq!(read, totals.files, "the parts of a sample are the whole");
}

#[tokio::test]
async fn files_larger_than_the_memory_for_them_are_verified_in_pieces() {
    let stage = Stage::with(On::Oss, &["t=fat:rows=40000,seed=4"]).await;
    let options = otsvault::backup::BackupOptions {
        concurrency: 1,
        memory_bytes: 64 << 20,
        row_group_rows: 2_000,
        ..Default::default()
    };
    let done = stage.back_up("t", &options).await.unwrap();
    let largest = done.manifest.totals.stored_bytes / done.manifest.totals.files;
    let memory_bytes = 64 << 20;
    assert!(largest > memory_bytes / 4, "{largest} bytes per file");
    let options = VerifyOptions { memory_bytes, ..at(Level::Full) };
    let report = verify(&stage, "t", &options).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.faults);
    assert_eq!(report.rows_read, 40_000);
    // The last byte of the first row group: seen by the hash, before anything is decoded.
    let vault = stage.vault().await;
    let (path, bytes) =
        objects(&vault).await.into_iter().find(|(path, _)| path.as_ref().ends_with(".parquet")).unwrap();
    let mut damaged = bytes.to_vec();
    damaged[1_000_000] ^= 1;
    put(&vault, &path, damaged).await;
    let report = verify(&stage, "t", &options).await.unwrap();
    assert!(report.faults[0].reason.contains("SHA-256"), "{:?}", report.faults);
}

#[rstest]
#[case::disk(On::Disk)]
#[case::oss(On::Oss)]
#[tokio::test]
async fn quick_finds_every_object_that_is_gone_or_cut(#[case] on: On) {
    let stage = backed_up(on, 900).await;
    let vault = stage.vault().await;
    let quick = at(Level::Quick);
    assert_eq!(findings(&stage, &quick).await, None);
    for (path, bytes) in objects(&vault).await {
        // Nobody needs a lease any more once the run has ended.
        if path.as_ref().contains("/lease/") {
            continue;
        }
        vault.store().delete(&path).await.unwrap();
        assert!(findings(&stage, &quick).await.is_some(), "{path} deleted");
        for length in [0, bytes.len() / 2, bytes.len() - 1] {
            put(&vault, &path, bytes.slice(..length)).await;
            assert!(findings(&stage, &quick).await.is_some(), "{path} cut to {length} bytes");
        }
        put(&vault, &path, bytes).await;
    }
    assert_eq!(findings(&stage, &quick).await, None);
}

#[rstest]
#[case::disk(On::Disk)]
#[case::oss(On::Oss)]
#[tokio::test]
async fn quick_finds_files_that_were_swapped_or_added(#[case] on: On) {
    let stage = Stage::with(on, &["t=mixed:rows=30000,seed=11,partitions=8"]).await;
    stage.back_up("t", &Stage::options()).await.unwrap();
    let vault = stage.vault().await;
    let quick = at(Level::Quick);
    let files: Vec<_> =
        objects(&vault).await.into_iter().filter(|(path, _)| path.as_ref().ends_with(".parquet")).collect();
    for pair in files.windows(2) {
        let [(a, of_a), (b, of_b)] = pair else { unreachable!() };
        put(&vault, a, of_b.clone()).await;
        put(&vault, b, of_a.clone()).await;
        let found = findings(&stage, &quick).await.expect("a swap");
        assert!(found.contains(a.as_ref()) && found.contains(b.as_ref()), "{found}");
        put(&vault, a, of_a.clone()).await;
        put(&vault, b, of_b.clone()).await;
    }
    let (a, of_a) = &files[0];
    let stray = Path::from(a.as_ref().replace(".parquet", "0.parquet"));
    put(&vault, &stray, of_a.clone()).await;
    let found = findings(&stage, &quick).await.expect("a file too much");
    assert!(found.contains(stray.as_ref()), "{found}");
}

/// The whole vault is one string of bits; each flip changes one of them.
#[rstest]
#[case::disk(On::Disk)]
#[case::oss(On::Oss)]
#[tokio::test]
async fn full_finds_a_thousand_single_bit_flips(#[case] on: On) {
    let stage = backed_up(on, 150).await;
    let vault = stage.vault().await;
    let objects = objects(&vault).await;
    let total: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
    let seed: u64 = rand::random();
    println!("seed {seed}, {total} bytes in {} objects", objects.len());
    let mut random = StdRng::seed_from_u64(seed);
    let full = at(Level::Full);
    assert_eq!(findings(&stage, &full).await, None);
    for flip in 0..1_000 {
        // Every object has its turn, however small it is.
        let (path, bytes) = match flip % 2 {
            0 => &objects[random.random_range(0..objects.len())],
            _ => {
                let mut at = random.random_range(0..total);
                objects
                    .iter()
                    .find(|(_, bytes)| {
                        at < bytes.len() || {
                            at -= bytes.len();
                            false
                        }
                    })
                    .unwrap()
            }
        };
        let bit = random.random_range(0..bytes.len() * 8);
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        put(&vault, path, damaged).await;
        assert!(findings(&stage, &full).await.is_some(), "seed {seed}, flip {flip}: bit {bit} of {path}");
        put(&vault, path, bytes.clone()).await;
    }
    assert_eq!(findings(&stage, &full).await, None);
}

#[tokio::test]
async fn a_failing_store_is_an_error_and_never_a_success() {
    use otsvault::sandbox::faults::{Action, Rule, Service};
    let stage = backed_up(On::Oss, 300).await;
    for operation in ["ListObjectsV2", "HeadObject", "GetObject"] {
        stage.fault(Rule::new(Action::error(403, "AccessDenied", "No.")).on(Service::Oss, operation));
        let error = verify(&stage, "t", &at(Level::Full)).await.err();
        let quick = verify(&stage, "t", &at(Level::Quick)).await.err();
        let error = error.or(quick).unwrap_or_else(|| panic!("{operation} failed and nobody said so"));
        assert_eq!(error.exit_code(), 8, "{}", error.report());
        stage.sandbox.faults().clear();
    }
}

/// A table whose rows clients have written.
async fn written(stage: &Stage, rows: i64) -> TableStore {
    let client = stage.client();
    let key = PrimaryKeyColumn {
        name: "id".to_owned(),
        column_type: PrimaryKeyType::Integer,
        auto_increment: false,
    };
    let definition = TableDefinition {
        name: "t".to_owned(),
        primary_key: vec![key],
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
    let ids: Vec<_> = (0..rows).collect();
    for ids in ids.chunks(200) {
        let changes: Vec<_> = ids.iter().map(|id| RowChange::put(&row(*id, *id)).idempotent()).collect();
        assert!(client.write_rows("t", &changes).await.unwrap().failures.is_empty());
    }
    client
}

fn row(id: i64, value: i64) -> Row<'static> {
    Row {
        key: vec![("id", PrimaryKeyValue::Integer(id))],
        cells: vec![
            Cell::put("name", Value::String("a name"), Some(1_000)),
            // Compresses to nothing less, so that there are several files.
            Cell::put("noise", Value::Integer(id.wrapping_mul(0x1e37_79b9_7f4a_7c15)), Some(1_000)),
            Cell::put("value", Value::Integer(value), Some(1_000)),
        ],
        ..Row::default()
    }
}

fn key(id: i64) -> PrimaryKey {
    PrimaryKey(vec![KeyPart::Integer(id)])
}

/// Runs are in the order of the seconds in which they began.
async fn next_second() {
    let now = jiff::Timestamp::now().as_second();
    while jiff::Timestamp::now().as_second() == now {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn live(stage: &Stage, client: &TableStore) -> RunReport {
    let vault = stage.vault().await;
    let path = vault.table("sandbox", "t").unwrap();
    verify_live(&vault, &path, None, (client, "t"), &at(Level::Live), &verifier()).await.unwrap().unwrap()
}

#[tokio::test]
async fn live_names_the_one_cell_that_changed_and_nothing_else() {
    const ROWS: i64 = 100_000;
    let stage = Stage::with(On::Disk, &[]).await;
    let client = written(&stage, ROWS).await;
    let options = otsvault::backup::BackupOptions { target_file_bytes: 64 << 10, ..Default::default() };
    let done = stage.back_up("t", &options).await.unwrap();
    assert!(done.manifest.totals.files > 2, "{:?}", done.manifest.totals);
    let same = live(&stage, &client).await;
    assert!(same.is_sound(), "{:?}", same.comparison);
    let compared = same.comparison.unwrap();
    assert_eq!(
        (compared.left_rows, compared.right_rows, compared.differing_ranges),
        (ROWS as u64, ROWS as u64, 0)
    );

    for (what, id) in [("value", 77_123), ("timestamp", 5), ("column", ROWS - 1)] {
        let mut changed = row(id, id);
        match what {
            "value" => changed.cells[2].value = Some(Value::Integer(id + 1)),
            "timestamp" => changed.cells[2].timestamp = Some(1_001),
            _ => changed.cells.push(Cell::put("zz", Value::Boolean(true), Some(1_000))),
        }
        client.put_row("t", &changed).await.unwrap();
        let report = live(&stage, &client).await;
        let found = report.comparison.as_ref().unwrap();
        assert_eq!(
            (found.rows.len(), found.differing_ranges, found.has_more),
            (1, 1, false),
            "{what}: {found:?}"
        );
        assert_eq!(found.rows[0].key, key(id));
        let column = if what == "column" { "zz" } else { "value" };
        assert_eq!(found.rows[0].change, Change::Changed { columns: vec![column.to_owned()] });
        assert!(!report.is_sound());
        client.put_row("t", &row(id, id)).await.unwrap();
    }
    // One more, one less, and an older version that only the table has.
    client.put_row("t", &row(ROWS + 5, 1)).await.unwrap();
    client.delete_row("t", &row(3, 3)).await.unwrap();
    let older = Row { cells: vec![Cell::put("name", Value::String("old"), Some(999))], ..row(500, 500) };
    client.update_row("t", &older).await.unwrap();
    let found = live(&stage, &client).await.comparison.unwrap();
    let named: Vec<_> = found.rows.iter().map(|row| (row.key.clone(), row.change.clone())).collect();
    let changed = Change::Changed { columns: vec!["name".to_owned()] };
    assert_eq!(named, [(key(3), Change::Removed), (key(500), changed), (key(ROWS + 5), Change::Added)]);
    assert_eq!((found.added, found.removed, found.changed), (1, 1, 1));
}

#[tokio::test]
async fn live_names_no_more_rows_than_asked_for_and_says_so() {
    let stage = Stage::with(On::Disk, &[]).await;
    let client = written(&stage, 500).await;
    stage.back_up("t", &Stage::options()).await.unwrap();
    for id in 100..200 {
        client.put_row("t", &row(id, -1)).await.unwrap();
    }
    let vault = stage.vault().await;
    let path = vault.table("sandbox", "t").unwrap();
    let options = VerifyOptions { max_differences: 10, ..at(Level::Live) };
    let report =
        verify_live(&vault, &path, None, (&client, "t"), &options, &verifier()).await.unwrap().unwrap();
    let found = report.comparison.unwrap();
    assert_eq!((found.rows.len(), found.has_more), (10, true));
    assert_eq!(found.rows.last().unwrap().key, key(109));
}

#[rstest]
#[case("t=iot:rows=20000,seed=2,partitions=4")]
#[case("t=wide:rows=1500,seed=2")]
#[case("t=fat:rows=600,seed=2")]
#[case("t=sparse:rows=3000,seed=2")]
#[case("t=mixed:rows=6000,seed=2,key=binary")]
#[tokio::test]
async fn a_table_that_did_not_change_gives_no_false_alarm(#[case] table: &str) {
    let stage = Stage::with(On::Oss, &[table]).await;
    stage.back_up("t", &Stage::options()).await.unwrap();
    let report = live(&stage, &stage.client()).await;
    assert!(report.is_sound(), "{:?} {:?}", report.faults, report.comparison);
    // The same rows, compared one by one.
    let other = Stage::with(On::Oss, &[&table.replace("seed=2", "seed=3")]).await;
    let report = live(&stage, &other.client()).await;
    assert!(!report.is_sound(), "another table");
}

#[tokio::test]
async fn a_table_that_is_gone_or_another_one_is_a_fault() {
    let stage = Stage::with(On::Disk, &["t=iot:rows=100,seed=2"]).await;
    stage.back_up("t", &Stage::options()).await.unwrap();
    let vault = stage.vault().await;
    let path = vault.table("sandbox", "t").unwrap();
    let other = Stage::with(On::Disk, &["u=mixed:rows=100,seed=2,key=binary"]).await;
    for (table, says) in [("nobody", "not there any more"), ("u", "primary key")] {
        let against = (&other.client(), table);
        let report =
            verify_live(&vault, &path, None, against, &at(Level::Live), &verifier()).await.unwrap().unwrap();
        assert!(report.faults[0].reason.contains(says), "{:?}", report.faults);
    }
}

#[tokio::test]
async fn two_backups_of_a_table_differ_where_it_changed_between_them() {
    let stage = Stage::with(On::Oss, &[]).await;
    let client = written(&stage, 30_000).await;
    let options = otsvault::backup::BackupOptions { target_file_bytes: 64 << 10, ..Default::default() };
    stage.back_up("t", &options).await.unwrap();
    let url = format!("{}#t", stage.vault_url());
    let diff = async |a: &str, b: &str| {
        let ended = stage.run(&["diff", a, b, "--json", "--max-differences", "50"]).await;
        let document: serde_json::Value = serde_json::from_str(&ended.stdout).expect(&ended.stderr);
        (ended.code.unwrap(), document)
    };
    next_second().await;
    stage.back_up("t", &options).await.unwrap();
    let (code, same) = diff(&format!("{url}@previous"), &url).await;
    assert_eq!((code, same["equal"].as_bool(), same["differing_ranges"].as_u64()), (0, Some(true), Some(0)));
    client.put_row("t", &row(7, 8)).await.unwrap();
    client.put_row("t", &row(40_000, 1)).await.unwrap();
    client.delete_row("t", &row(29_999, 1)).await.unwrap();
    next_second().await;
    stage.back_up("t", &options).await.unwrap();
    let (code, changed) = diff(&format!("{url}@previous"), &url).await;
    assert_eq!(code, 5);
    let rows = changed["rows"].as_array().unwrap();
    let told: Vec<_> =
        rows.iter().map(|row| (row["key"][0]["integer"].as_i64(), row["change"].as_str())).collect();
    let expected =
        [(Some(7), Some("changed")), (Some(29_999), Some("removed")), (Some(40_000), Some("added"))];
    assert_eq!(told, expected, "{changed}");
    assert_eq!(rows[0]["columns"], serde_json::json!(["value"]));
    // The other way round, and against the table itself.
    let (code, back) = diff(&url, &format!("{url}@previous")).await;
    assert_eq!((code, back["added"].as_u64(), back["removed"].as_u64()), (5, Some(1), Some(1)));
    assert_eq!(diff(&url, "ots://sandbox/t").await.0, 0);
    assert_eq!(diff("ots://sandbox/t", &format!("{url}@previous")).await.0, 5);
}

#[tokio::test]
async fn parts_and_projections_are_compared_with_what_they_are_of() {
    let stage = Stage::with(On::Disk, &[]).await;
    let client = written(&stage, 2_000).await;
    let part = otsvault::backup::BackupOptions {
        from_key: Some(key(500)),
        to_key: Some(key(1_000)),
        ..Stage::options()
    };
    stage.back_up("t", &part).await.unwrap();
    client.put_row("t", &row(3, -1)).await.unwrap();
    let report = live(&stage, &client).await;
    assert!(report.is_sound(), "row 3 is not in it: {:?}", report.comparison);
    assert_eq!(report.comparison.unwrap().left_rows, 500);
    let projection =
        otsvault::backup::BackupOptions { columns: Some(vec!["name".to_owned()]), ..Stage::options() };
    next_second().await;
    stage.back_up("t", &projection).await.unwrap();
    client.put_row("t", &row(700, -1)).await.unwrap();
    let report = live(&stage, &client).await;
    assert!(report.is_sound(), "`value` is not in it: {:?}", report.comparison);
    let url = format!("{}#t", stage.vault_url());
    let ended = stage.run(&["diff", &url, &format!("{url}@previous")]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("different columns"), "{}", ended.stderr);
}
