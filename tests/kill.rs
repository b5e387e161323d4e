//! `kill -9` at any moment, then the same command: exactly the table, and no open upload.

mod stage;

use std::time::Duration;

use otsvault::catalog::{RunState, find_runs};
use otsvault::runtime::CpuPool;
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::verify::read_back;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rstest::rstest;
use stage::{On, Stage, finish};

const TABLE: &str = "t=mixed:rows=30000,seed=21";

fn backup_arguments(vault: &str) -> [&str; 9] {
    [
        "backup",
        "ots://sandbox/t",
        vault,
        "--target-file-size",
        "96KiB",
        "--concurrency",
        "3",
        "--quiet",
        "--json",
    ]
}

/// Kills at random moments until 10 kills have hit a running backup, then lets one finish. 10 on each store.
#[rstest]
#[tokio::test]
async fn a_killed_backup_resumes_to_exactly_the_table(#[values(On::Oss, On::Disk)] on: On) {
    let seed = std::env::var("KILL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::with(on, &[TABLE]).await;
    let url = stage.vault_url();
    let arguments = backup_arguments(&url);
    // How long it takes undisturbed says where kills can hit.
    let began = std::time::Instant::now();
    let undisturbed = finish(stage.program(&arguments).current_dir(stage.directory.path())).await;
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.stderr);
    let whole = began.elapsed();
    let expected: serde_json::Value = serde_json::from_str(&undisturbed.stdout).unwrap();

    let (mut kills, mut finished) = (0, 0);
    while kills < 10 {
        let mut child = stage.program(&arguments).spawn().unwrap();
        let moment = whole.mul_f64(random.random_range(0.0..0.9));
        tokio::select! {
            status = child.wait() => {
                assert!(status.unwrap().success(), "only kills end it early");
                finished += 1;
                assert!(finished < 50, "the kills come too late");
            }
            () = tokio::time::sleep(moment) => {
                child.kill().await.unwrap();
                kills += 1;
            }
        }
    }
    let last = stage.run(&arguments).await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    let summary: serde_json::Value = serde_json::from_str(&last.stdout).unwrap();
    for field in ["rows", "cells", "row_sum", "logical_bytes"] {
        assert_eq!(summary["totals"][field], expected["totals"][field], "{field}, KILL_SEED={seed}");
    }
    check_every_run(&stage).await;
    stage.assert_no_open_uploads().await;
}

/// Every committed run is the table, file for file; at most the last one may be unfinished, and it is not here.
async fn check_every_run(stage: &Stage) {
    let vault = stage.vault().await;
    let table = vault.table("sandbox", "t").unwrap();
    let cpu = CpuPool::new(2).unwrap();
    let runs = find_runs(&**vault.store(), &table).await.unwrap();
    assert!(!runs.is_empty());
    for run in runs {
        let RunState::Committed(path, manifest) = run else {
            panic!("the last command left a run unfinished")
        };
        let read = read_back(&vault, &path, &manifest, &cpu).await.unwrap();
        assert_eq!((read.rows, read.row_sum), stage.table_sum("t"));
    }
}

#[rstest]
#[case("INT", 130)]
#[case("TERM", 143)]
#[tokio::test]
async fn a_signal_stops_within_ten_seconds_resumable_and_clean(#[case] signal: &str, #[case] code: i32) {
    let stage = Stage::with(On::Oss, &["t=iot:rows=300000,seed=4"]).await;
    stage.fault(Rule::new(Action::Delay(Duration::from_millis(40))).on(Service::TableStore, "GetRange"));
    let url = stage.vault_url();
    let arguments = backup_arguments(&url);
    let child = stage.program(&arguments).spawn().unwrap();
    while stage.requests("GetRange") < 12 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().unwrap().to_string();
    let asked = std::time::Instant::now();
    assert!(
        std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success()
    );
    let output = tokio::time::timeout(Duration::from_secs(10), child.wait_with_output()).await;
    let output = output.expect("stops within 10 s").unwrap();
    println!("stopped after {:?}", asked.elapsed());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains("run the same command again"), "{stderr}");
    stage.assert_no_open_uploads().await;
    stage.sandbox.faults().clear();
    let done = stage.run(&arguments).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    check_every_run(&stage).await;
}

/// Where a signal finds the program waiting for something that does not come.
#[rstest]
#[case::part(Service::Oss, "UploadPart", "backup")]
#[case::description(Service::TableStore, "DescribeTable", "backup")]
#[case::sample(Service::TableStore, "GetRange", "backup")]
#[case::commit(Service::Oss, "ListMultipartUploads", "backup")]
#[case::list(Service::Oss, "ListObjectsV2", "list")]
#[tokio::test]
async fn a_signal_is_heard_while_a_service_hangs(
    #[case] service: Service,
    #[case] operation: &str,
    #[case] command: &str,
) {
    let stage = Stage::with(On::Oss, &["t=iot:rows=60000,seed=4"]).await;
    let url = stage.vault_url();
    stage.vault().await;
    stage.fault(Rule::new(Action::Delay(Duration::from_secs(120))).on(service, operation));
    let mut arguments = match command {
        "list" => vec!["list", &url],
        _ => vec!["backup", "ots://sandbox/t", &url, "--quiet", "--target-file-size", "400KiB"],
    };
    if command == "backup" {
        arguments.extend(["--part-size", "100KiB", "--row-group-size", "100KiB"]);
    }
    let child = stage.program(&arguments).spawn().unwrap();
    while stage.in_flight(service, operation) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = tokio::time::timeout(Duration::from_secs(10), child.wait_with_output()).await;
    let output = output.expect("stops within 10 s").unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", String::from_utf8_lossy(&output.stderr));
    stage.sandbox.faults().clear();
    stage.assert_no_open_uploads().await;
}

/// The last write of a commit is on its way when the signal comes: the run says what became of it.
#[rstest]
#[case::answered(Duration::from_millis(1500), 0)]
#[case::unanswered(Duration::from_secs(120), 143)]
#[tokio::test]
async fn a_signal_during_the_last_write_never_denies_a_commit(#[case] delay: Duration, #[case] code: i32) {
    let stage = Stage::with(On::Oss, &["t=iot:rows=2000,seed=4"]).await;
    let url = stage.vault_url();
    stage.vault().await;
    stage.fault(Rule::new(Action::Delay(delay)).on(Service::Oss, "PutObject").key("/manifest.json"));
    // Without --quiet: nothing about progress may get in the way either.
    let child = stage.program(&["backup", "ots://sandbox/t", &url]).spawn().unwrap();
    let last_write = || {
        let rules = stage.requests("GetRange") > 0;
        rules && stage.sandbox.faults().hits().first().is_some_and(|hits| *hits > 0)
    };
    while !last_write() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = tokio::time::timeout(Duration::from_secs(12), child.wait_with_output()).await;
    let output = output.expect("stops within 10 s").unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    match code {
        0 => check_every_run(&stage).await,
        _ => assert!(stderr.contains("`otsvault list` says what it is"), "{stderr}"),
    }
}
