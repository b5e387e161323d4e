//! What goes wrong outside ends in success after retries, or in a clear error with the right exit code. Either way no
//! half-visible backup is left behind.

mod stage;

use std::time::Duration;

use otsvault::Kind;
use otsvault::backup::BackupOptions;
use otsvault::catalog::{RunState, Vault, find_runs};
use otsvault::objectstore::{self, StoreOptions};
use otsvault::sandbox::faults::{Action, Rule, Service, When};
use otsvault::tablestore::{TableStore, TableStoreConfig};
use rstest::rstest;
use stage::{On, Stage, finish, runtime};

const TABLE: &str = "t=iot:rows=12000,seed=31";

fn backup_to(vault: &str) -> Vec<&str> {
    vec!["backup", "ots://sandbox/t", vault, "--quiet"]
}

async fn nothing_is_visible(stage: &Stage) {
    let vault = stage.vault().await;
    let table = vault.table("sandbox", "t").unwrap();
    let runs = find_runs(&**vault.store(), &table).await.unwrap();
    assert!(runs.iter().all(|run| matches!(run, RunState::Unfinished(..))), "half-visible");
    stage.assert_no_open_uploads().await;
}

#[tokio::test]
async fn a_missing_table_is_not_found() {
    let stage = Stage::with(On::Oss, &[]).await;
    let ended = stage.run(&backup_to(&stage.vault_url())).await;
    assert_eq!(ended.code, Some(7), "{}", ended.stderr);
    assert!(ended.stderr.contains("`t`") && ended.stderr.contains("request id"), "{}", ended.stderr);
    nothing_is_visible(&stage).await;
}

#[tokio::test]
async fn a_wrong_secret_is_a_permission_error_that_does_not_print_it() {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    let mut program = stage.program(&["backup", "ots://sandbox/t", "oss://vault/x", "-vv"]);
    let ended =
        finish(program.env("OTS_ACCESS_KEY_ID", "sandbox").env("OTS_ACCESS_KEY_SECRET", "CANARY-SECRET"))
            .await;
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    assert!(!ended.stderr.contains("CANARY-SECRET") && !ended.stdout.contains("CANARY-SECRET"));
    assert!(ended.stderr.contains("OTSAuthFailed"), "{}", ended.stderr);
}

#[tokio::test]
async fn no_credentials_at_all_say_which_variables_to_set() {
    let stage = Stage::with(On::Disk, &[TABLE]).await;
    let mut program = stage.program(&backup_to("vault"));
    let ended = finish(
        program.env_remove("ALIBABA_CLOUD_ACCESS_KEY_ID").env_remove("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
    )
    .await;
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    assert!(ended.stderr.contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{}", ended.stderr);
}

#[tokio::test]
async fn an_endpoint_that_is_something_else_is_named() {
    let stage = Stage::with(On::Disk, &[TABLE]).await;
    let oss = stage.sandbox.description().oss_endpoint.clone();
    let mut program = stage.program(&["backup", "ots://sandbox/t", &stage.vault_url(), "--quiet"]);
    let ended = finish(program.env("OTS_ENDPOINT", &oss)).await;
    assert!(matches!(ended.code, Some(1 | 2 | 8)), "{:?} {}", ended.code, ended.stderr);
    assert!(ended.stderr.contains("endpoint"), "{}", ended.stderr);
}

#[tokio::test]
async fn an_unreachable_host_fails_after_its_budget() {
    let stage = Stage::with(On::Disk, &[]).await;
    let config = TableStoreConfig {
        // Port 1 of loopback: nobody listens.
        endpoint: "http://127.0.0.1:1".to_owned(),
        retry_budget: Duration::from_millis(300),
        ..stage.client_config()
    };
    let client = TableStore::new(config).unwrap();
    let vault = stage.vault().await;
    let error =
        otsvault::backup::backup(&client, "t", &vault, &Stage::options(), &runtime()).await.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (Kind::Unavailable, 1), "{}", error.report());
    assert!(error.report().contains("127.0.0.1"), "{}", error.report());
}

#[rstest]
#[case::scheme("ftp://host/dir", 2, "oss://")]
#[case::source_like("ots://sandbox/t", 2, "oss://")]
#[tokio::test]
async fn an_unknown_vault_scheme_is_a_usage_error(
    #[case] vault: &str,
    #[case] code: i32,
    #[case] said: &str,
) {
    let stage = Stage::with(On::Disk, &[TABLE]).await;
    let ended = stage.run(&backup_to(vault)).await;
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[tokio::test]
async fn a_vault_that_cannot_be_written_is_named() {
    let stage = Stage::with(On::Disk, &[TABLE]).await;
    // A file where a directory is wanted: refused for every user, root included.
    let file = stage.directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let vault = file.join("vault").display().to_string();
    let ended = stage.run(&backup_to(&vault)).await;
    assert!(matches!(ended.code, Some(1 | 8)), "{:?} {}", ended.code, ended.stderr);
    assert!(ended.stderr.contains(&vault), "{}", ended.stderr);
}

#[tokio::test]
async fn a_missing_bucket_is_not_found_and_not_an_empty_vault() {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    for arguments in [backup_to("oss://no-such-bucket/x"), vec!["list", "oss://no-such-bucket/x"]] {
        let ended = stage.run(&arguments).await;
        assert_eq!(ended.code, Some(7), "{}", ended.stderr);
        assert!(ended.stderr.contains("no-such-bucket"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_vault_of_a_newer_format_is_refused_untouched() {
    let stage = Stage::with(On::Disk, &[TABLE]).await;
    let folder = stage.directory.path().join("vault");
    std::fs::create_dir(&folder).unwrap();
    let marker = r#"{"format_version": 2, "format": "otsvault", "shape": ["unknown"]}"#;
    std::fs::write(folder.join("otsvault.json"), marker).unwrap();
    let vault = stage.vault_url();
    for arguments in [backup_to(&vault), vec!["list", &vault], vec!["show", &vault]] {
        let ended = stage.run(&arguments).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("newer otsvault"), "{}", ended.stderr);
    }
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing was written");
}

#[tokio::test]
async fn a_directory_that_is_no_vault_is_not_found() {
    let stage = Stage::with(On::Disk, &[]).await;
    let ended = stage.run(&["list", &stage.vault_url()]).await;
    assert_eq!(ended.code, Some(7), "{}", ended.stderr);
}

/// Faults that go away: the backup must succeed and be the table.
#[rstest]
#[case::throttling(
    Service::TableStore,
    "GetRange",
    Action::error(503, "OTSServerBusy", "Server is busy."),
    When::Every(2)
)]
#[case::capacity(
    Service::TableStore,
    "GetRange",
    Action::error(403, "OTSNotEnoughCapacityUnit", "Not enough capacity unit."),
    When::Calls { first: 2, last: 4 }
)]
#[case::moving_partition(
    Service::TableStore,
    "GetRange",
    Action::error(503, "OTSPartitionUnavailable", "Partition is not available."),
    When::Calls { first: 1, last: 3 }
)]
#[case::dropped_before(Service::TableStore, "GetRange", Action::DropBefore, When::Every(3))]
#[case::cut_page(Service::TableStore, "GetRange", Action::TruncateBody, When::Calls { first: 3, last: 3 })]
#[case::split_points_busy(
    Service::TableStore,
    "ComputeSplitPointsBySize",
    Action::error(500, "OTSInternalServerError", "Internal."),
    When::Calls { first: 1, last: 2 }
)]
#[case::part_cut(Service::Oss, "UploadPart", Action::DropBefore, When::Every(2))]
#[case::part_stored_and_cut(Service::Oss, "UploadPart", Action::DropAfter, When::Every(2))]
#[case::wrong_checksum_of_a_part(Service::Oss, "UploadPart", Action::WrongChecksum, When::Calls { first: 1, last: 1 })]
#[case::lost_complete(Service::Oss, "CompleteMultipartUpload", Action::DropAfter, When::Every(1))]
#[case::lost_put(Service::Oss, "PutObject", Action::DropAfter, When::Every(2))]
#[case::slow_down(
    Service::Oss,
    "PutObject",
    Action::error(503, "ServiceUnavailable", "Please reduce your request rate."),
    When::Every(2)
)]
#[case::damaged_sampled_page(Service::TableStore, "GetRange", Action::Custom("bad-row-checksum".into()), When::Calls { first: 3, last: 3 })]
#[case::damaged_page(Service::TableStore, "GetRange", Action::Custom("bad-row-checksum".into()), When::Calls { first: 75, last: 75 })]
#[case::repeated_next_key(Service::TableStore, "GetRange", Action::Custom("repeat-next-key".into()), When::Calls { first: 9, last: 9 })]
#[case::list_fails(
    Service::Oss,
    "ListObjectsV2",
    Action::error(500, "InternalError", "Internal."),
    When::Every(2)
)]
#[tokio::test]
async fn a_passing_fault_is_survived(
    #[case] service: Service,
    #[case] operation: &str,
    #[case] action: Action,
    #[case] when: When,
) {
    // Enough rows that a data file has several parts of 2.6 MiB, the size for this memory.
    let stage = Stage::with(On::Oss, &["t=iot:rows=400000,seed=31"]).await;
    stage.fault(Rule::new(action).on(service, operation).when(when));
    let options =
        BackupOptions { memory_bytes: 64 << 20, concurrency: 2, zstd_level: 1, ..BackupOptions::default() };
    let done = stage.back_up("t", &options).await.unwrap();
    assert!(stage.sandbox.faults().hits().iter().all(|hits| *hits > 0), "the fault was never met");
    stage.sandbox.faults().clear();
    stage.assert_equals_table("t", &done).await;
}

/// Answers that are wrong for good: a named error, nothing visible.
#[rstest]
#[case::broken_checksum(Action::Custom("bad-row-checksum".into()), Kind::Corrupt, 5, "checksum")]
#[case::repeated_next_key(Action::Custom("repeat-next-key".into()), Kind::Corrupt, 5, "next key")]
#[case::refused(Action::error(400, "OTSParameterInvalid", "No."), Kind::Refused, 1, "OTSParameterInvalid")]
#[case::forbidden(
    Action::error(403, "OTSNoPermissionAccess", "No."),
    Kind::Permission,
    8,
    "OTSNoPermissionAccess"
)]
#[tokio::test]
async fn a_lasting_fault_of_a_page_is_a_named_error(
    #[case] action: Action,
    #[case] kind: Kind,
    #[case] code: u8,
    #[case] said: &str,
) {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    stage.fault(
        Rule::new(action).on(Service::TableStore, "GetRange").when(When::Calls { first: 5, last: u64::MAX }),
    );
    let error = stage.back_up("t", &Stage::options()).await.unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (kind, code), "{}", error.report());
    assert!(error.report().contains(said), "{}", error.report());
    nothing_is_visible(&stage).await;
}

#[tokio::test]
async fn lasting_throttling_ends_with_its_own_kind() {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    stage.fault(
        Rule::new(Action::error(503, "OTSServerBusy", "Server is busy.")).on(Service::TableStore, "GetRange"),
    );
    let config = TableStoreConfig { retry_budget: Duration::from_millis(400), ..stage.client_config() };
    let client = TableStore::new(config).unwrap();
    let vault = stage.vault().await;
    let error =
        otsvault::backup::backup(&client, "t", &vault, &Stage::options(), &runtime()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Throttled, "{}", error.report());
    nothing_is_visible(&stage).await;
}

#[tokio::test]
async fn an_empty_page_with_a_next_key_is_not_the_end() {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    stage.fault(
        Rule::new(Action::Custom("empty-page".into()))
            .on(Service::TableStore, "GetRange")
            .when(When::Every(2)),
    );
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    stage.sandbox.faults().clear();
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_written_leaves_a_run_that_the_next_one_commits() {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    stage.fault(
        Rule::new(Action::error(403, "AccessDenied", "No."))
            .on(Service::Oss, "PutObject")
            .key("/manifest.json"),
    );
    let error = stage.back_up("t", &Stage::options()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Permission, "{}", error.report());
    nothing_is_visible(&stage).await;
    stage.sandbox.faults().clear();
    let before = stage.requests("GetRange");
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    assert_eq!(stage.requests("GetRange"), before, "no row is read again");
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_is_a_success() {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    stage.fault(Rule::new(Action::DropAfter).on(Service::Oss, "PutObject").key("/manifest.json").nth(1));
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn a_foreign_object_among_the_data_files_stops_the_commit() {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    stage.fault(
        Rule::new(Action::error(403, "AccessDenied", "No.")).on(Service::Oss, "PutObject").key("/files-"),
    );
    stage.back_up("t", &Stage::options()).await.unwrap_err();
    stage.sandbox.faults().clear();
    // Somebody puts a stranger beside the files; a plain glob would read it.
    let root = objectstore::open(&stage.vault_url(), &stage.store_options()).unwrap();
    let vault = Vault::open(root).await.unwrap();
    let runs = find_runs(&**vault.store(), &vault.table("sandbox", "t").unwrap()).await.unwrap();
    let stranger = runs[0].path().data().join("0000000000000000.parquet");
    use otsvault::objectstore::UploadStore;
    let store: &dyn UploadStore = &**vault.store();
    object_store::ObjectStoreExt::put(store, &stranger, "no parquet".into()).await.unwrap();
    let done = stage.back_up("t", &Stage::options()).await.unwrap();
    assert!(
        stage.sandbox.oss().object_bytes("vault", stranger.as_ref()).is_none(),
        "it proved nothing and is gone"
    );
    stage.assert_equals_table("t", &done).await;
}

#[tokio::test]
async fn an_oss_endpoint_without_a_region_asks_for_one() {
    let stage = Stage::with(On::Oss, &[]).await;
    let options = StoreOptions { region: None, ..stage.store_options() };
    let error = objectstore::open("oss://vault/x", &options).unwrap_err();
    assert_eq!((error.exit_code(), error.report().contains("region")), (2, true), "{}", error.report());
}

/// A flipped bit in the tag of the next key makes it an unknown field, or the rows: only the MD5 tells. The page must
/// not pass for the last one of its range.
#[rstest]
#[case::unknown_field(0x20)]
#[case::second_rows(0x08)]
#[tokio::test]
async fn a_page_whose_next_key_is_hidden_by_a_flipped_bit_does_not_end_the_scan(#[case] xor: u8) {
    let stage = Stage::with(On::Oss, &[TABLE]).await;
    let client = stage.client();
    let keys = ["device".to_owned(), "time".to_owned()];
    let request =
        otsvault::tablestore::RangeRequest::everything("t", keys.to_vec(), otsvault::model::KeyRange::all(2));
    let whole = client.get_range(&request).await.unwrap();
    // The next key is the last field: its tag, its length of one byte, its bytes.
    let next = otsvault::plainbuffer::encode_key(&keys, whole.next_start.as_ref().unwrap());
    let offset = whole.body_bytes - next.len() - 2;
    stage.fault(
        Rule::new(Action::CorruptBody { offset: offset as u64, xor })
            .on(Service::TableStore, "GetRange")
            .nth(1),
    );
    let again = client.get_range(&request).await.unwrap();
    assert_eq!(again, otsvault::tablestore::Page { request_id: again.request_id.clone(), ..whole });
    assert_eq!(stage.sandbox.faults().hits(), [1]);
    assert_eq!(client.counters().retries, 1);
}
