//! Interruptions, second runs, and tables that are not what they were.

use std::time::Duration;

use otsvault::Kind;
use otsvault::model::{Stream, TableDefinition};
use otsvault::restore::{RestoreOptions, State, restore};
use otsvault::runtime::Signal;
use otsvault::sandbox::faults::{Action, Rule, Service};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rstest::rstest;

use crate::play::{Play, runtime};
use crate::stage::{On, finish};

#[rstest]
#[tokio::test]
async fn a_second_run_changes_nothing(#[values(On::Oss, On::Disk)] on: On) {
    let play = Play::of(on, "t=mixed:rows=3000,seed=4").await;
    play.restore("t", "copy", &Play::options()).await.unwrap();
    let (before, definition) = (play.writes(), play.definition("copy").await);
    let again = play.restore("t", "copy", &Play::options()).await.unwrap();
    assert!(again.finished_before && !again.rows.all() > 0);
    assert_eq!((play.writes(), play.definition("copy").await), (before, definition));
    play.assert_same("t", "copy");
    // Unless that is wanted; then the table has rows, which has to be said.
    let anew = RestoreOptions { again: true, ..Play::options() };
    let error = play.restore("t", "copy", &anew).await.unwrap_err();
    assert_eq!((error.kind(), play.writes()), (Kind::Usage, before));
}

#[tokio::test]
async fn what_was_restored_once_can_be_written_anew() {
    use otsvault::restore::OnConflict;
    let play = Play::of(On::Disk, "t=iot:rows=1500,seed=4").await;
    let overwrite = RestoreOptions { on_conflict: Some(OnConflict::Overwrite), ..Play::options() };
    play.restore("t", "copy", &overwrite).await.unwrap();
    let done = play.rows_written();
    assert!(play.restore("t", "copy", &overwrite).await.unwrap().finished_before);
    assert_eq!(play.rows_written(), done);
    let anew = RestoreOptions { again: true, ..overwrite };
    let restored = play.restore("t", "copy", &anew).await.unwrap();
    assert_eq!((restored.finished_before, play.rows_written()), (false, 2 * done));
    play.assert_same("t", "copy");
}

#[tokio::test]
async fn a_table_that_was_made_anew_is_not_half_restored() {
    let play = Play::of(On::Disk, "t=iot:rows=2000,seed=4").await;
    play.restore("t", "copy", &Play::options()).await.unwrap();
    play.stage.client().delete_table("copy").await.unwrap();
    let restored = play.restore("t", "copy", &Play::options()).await.unwrap();
    assert_eq!((restored.created, restored.rows.written, restored.resumed.all()), (true, 2000, 0));
    play.assert_same("t", "copy");
}

#[tokio::test]
async fn a_stop_is_heard_and_the_rest_is_written_later() {
    let play = Play::of(On::Disk, "t=iot:rows=12000,seed=4").await;
    play.stage
        .fault(Rule::new(Action::Delay(Duration::from_millis(30))).on(Service::TableStore, "BatchWriteRow"));
    let (vault, job, running) = (play.stage.vault().await, play.job("t", "copy").await, runtime());
    let client = play.stage.client();
    let options = Play::options();
    let stop = async {
        while play.stage.requests("BatchWriteRow") < 12 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        running.shutdown.request(Signal::Terminate);
    };
    let (outcome, ()) = tokio::join!(restore(&client, &vault, &job, &options, &running), stop);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), Kind::Stopped, "{}", error.report());
    play.stage.sandbox.faults().clear();
    let rest = play.restore("t", "copy", &options).await.unwrap();
    assert!(rest.rows.there + rest.resumed.all() > 0, "{rest:?}");
    play.assert_same("t", "copy");
}

#[tokio::test]
async fn progress_can_be_kept_beside_the_vault() {
    let play = Play::of(On::Disk, "t=iot:rows=2000,seed=4").await;
    let directory = tempfile::tempdir().unwrap();
    let options = otsvault::objectstore::StoreOptions { create_directory: true, ..Default::default() };
    let root =
        otsvault::objectstore::open(&directory.path().join("state").display().to_string(), &options).unwrap();
    let mut job = play.job("t", "copy").await;
    job.state = Some(State { store: root.store, prefix: root.prefix });
    let (client, vault) = (play.stage.client(), play.stage.vault().await);
    restore(&client, &vault, &job, &Play::options(), &runtime()).await.unwrap();
    assert!(!play.stage.directory.path().join("vault/sandbox/t/restore").exists());
    assert!(directory.path().join("state/restore").exists());
    let again = restore(&client, &vault, &job, &Play::options(), &runtime()).await.unwrap();
    assert!(again.finished_before);
}

/// Kills after a random number of requests until 20 kills have hit a running restore, then lets one finish.
#[tokio::test]
async fn twenty_kills_later_the_table_is_the_same_and_hardly_a_row_was_written_twice() {
    let seed = std::env::var("KILL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    const ROWS: u64 = 40_000;
    let play = Play::of(On::Oss, &format!("t=iot:rows={ROWS},seed=21")).await;
    play.stage
        .fault(Rule::new(Action::Delay(Duration::from_millis(15))).on(Service::TableStore, "BatchWriteRow"));
    // A Stream on the target sees every write, those whose answers nobody heard included.
    let stream =
        Stream { stream_id: String::new(), expiration_hours: 24, last_enable_time_us: 0, columns: vec![] };
    let target = TableDefinition { name: "copy".into(), stream: Some(stream), ..play.definition("t").await };
    play.make(&target, &[]).await;
    let url = play.stage.vault_url();
    let arguments = ["restore", &url, "t", "ots://sandbox/copy", "--concurrency", "4", "--quiet", "--json"];
    let mut kills = 0;
    while kills < 20 {
        let before = play.stage.requests("BatchWriteRow");
        let mut child = play.stage.program(&arguments).spawn().unwrap();
        // 200 requests in all; 20 times up to 6 leave some for the last.
        let moment = random.random_range(1..=6);
        tokio::select! {
            status = child.wait() => panic!("it ended by itself: {status:?}"),
            () = async {
                while play.stage.requests("BatchWriteRow") < before + moment {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            } => {
                child.kill().await.unwrap();
                kills += 1;
            }
        }
    }
    play.stage.sandbox.faults().clear();
    let last = finish(&mut play.stage.program(&arguments)).await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    play.assert_same("t", "copy");
    let cut = play.stage.sandbox.table_store().stream_cut("copy").unwrap();
    let written: u64 = cut.records.values().sum();
    println!("{written} rows written for a table of {ROWS}");
    assert!(written >= ROWS, "the Stream has all of them");
    assert!(written <= ROWS + ROWS / 20, "{written} rows written for a table of {ROWS}, KILL_SEED={seed}");
    let before = play.writes();
    assert_eq!(finish(&mut play.stage.program(&arguments)).await.code, Some(0));
    assert_eq!(play.writes(), before);
}
