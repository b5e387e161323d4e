//! `otsvault expire` and `otsvault cleanup` from the outside, against OSS.

use std::time::Duration;

use base64::Engine;
use hmac::{Hmac, Mac};
use otsvault::catalog::{RunState, find_runs};
use otsvault::runtime::CpuPool;
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::verify::read_back;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::stage::{Ended, On, Stage};

const TABLE: &str = "t=iot:rows=3000,seed=5";

/// Replaces what differs from run to run.
fn settled(text: &str, stage: &Stage) -> String {
    let text = text.replace(&stage.sandbox.description().oss_endpoint, "<oss>");
    let rules = [
        (r"\d{8}t\d{6}z-[0-9a-f]{8}", "<run>"),
        (r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?Z", "<time>"),
        (r"\d{4}-\d{2}-\d{2}", "<day>"),
        (r"request id [0-9a-fA-F-]+", "request id <id>"),
        (r"[0-9.]+ [KM]iB", "<size>"),
        (r"[0-9a-f]{16}\.parquet", "<file>.parquet"),
    ];
    rules.iter().fold(text, |text, (pattern, name)| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, *name).into_owned()
    })
}

/// A vault with so many backups of `t`.
async fn backups(count: usize) -> (Stage, String) {
    backups_of(TABLE, count).await
}

async fn backups_of(table: &str, count: usize) -> (Stage, String) {
    let stage = Stage::with(On::Oss, &[table]).await;
    let vault = stage.vault_url();
    for _ in 0..count {
        let ended =
            stage.run(&["backup", "ots://sandbox/t", &vault, "--quiet", "--target-file-size", "64KiB"]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    (stage, vault)
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ended.stdout, ended.stderr))
}

/// Every run that is listed can be read to the last byte. Says how many there are.
async fn assert_what_is_listed_can_be_read(stage: &Stage) -> usize {
    let vault = stage.vault().await;
    let runs = find_runs(&**vault.store(), &vault.table("sandbox", "t").unwrap()).await.unwrap();
    for run in &runs {
        let RunState::Committed(path, manifest) = run else { panic!("nothing is unfinished here") };
        let read = read_back(&vault, path, manifest, &CpuPool::new(1).unwrap()).await.unwrap();
        assert_eq!((read.rows, read.row_sum), stage.table_sum("t"));
    }
    runs.len()
}

fn objects(stage: &Stage) -> usize {
    let objects = stage.sandbox.oss().objects(&stage.sandbox.description().bucket, "tests/");
    objects.iter().filter(|object| !object.key.contains("/lease/")).count()
}

#[tokio::test]
async fn the_story_of_an_expiry() {
    let (stage, vault) = backups(3).await;
    let nothing = stage.run(&["expire", &vault]).await;
    assert_eq!(nothing.code, Some(2));
    insta::assert_snapshot!("expire_without_a_rule", settled(&nothing.stderr, &stage));
    let before = objects(&stage);
    let dry = stage.run(&["expire", &vault, "--keep-last", "1"]).await;
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    insta::assert_snapshot!("expire_dry_run", settled(&dry.stdout, &stage));
    assert_eq!(objects(&stage), before);
    let planned = json(&stage.run(&["expire", &vault, "t", "--keep-daily", "7", "--json"]).await);
    assert_eq!(planned["committed"], false);
    let runs = planned["tables"][0]["runs"].as_array().unwrap();
    let keep: Vec<bool> = runs.iter().map(|run| run["keep"].as_bool().unwrap()).collect();
    assert_eq!(keep, [false, false, true], "all are of one day: {planned}");
    let oldest = runs[0]["run"].as_str().unwrap();
    let done = stage.run(&["expire", &vault, "--keep-last", "1", "--keep", oldest, "--commit"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    insta::assert_snapshot!("expire_commit", settled(&done.stdout, &stage));
    assert_eq!(assert_what_is_listed_can_be_read(&stage).await, 2);
    let missing = stage.run(&["expire", &vault, "--run", "20200101t000000z-00000000"]).await;
    assert_eq!(missing.code, Some(7), "{}", missing.stderr);
    let newest = runs[2]["run"].as_str().unwrap();
    let last = stage.run(&["expire", &vault, "--run", newest, "--run", oldest, "--commit"]).await;
    assert_eq!(last.code, Some(1));
    insta::assert_snapshot!("expire_the_last", settled(&last.stderr, &stage));
    let both = stage.run(&["expire", &vault, "--run", newest, "--keep-last", "1"]).await;
    assert_eq!(both.code, Some(2), "{}", both.stderr);
}

#[tokio::test]
async fn a_failure_at_any_delete_is_named_and_the_same_command_finishes() {
    for nth in 1..=4 {
        let (stage, vault) = backups(2).await;
        let refusal = Action::Error { status: 403, code: "AccessDenied".to_owned(), message: String::new() };
        for operation in ["DeleteObject", "DeleteMultipleObjects"] {
            stage.fault(Rule::new(refusal.clone()).on(Service::Oss, operation).nth(nth));
        }
        let arguments = ["expire", vault.as_str(), "--keep-last", "1", "--commit"];
        let failed = stage.run(&arguments).await;
        let hits: u64 = stage.sandbox.faults().hits().iter().sum();
        assert_eq!(failed.code, Some(if hits > 0 { 8 } else { 0 }), "delete {nth}: {}", failed.stderr);
        assert!(hits == 0 || failed.stderr.contains("finishes what was begun"), "{}", failed.stderr);
        assert_eq!(assert_what_is_listed_can_be_read(&stage).await, 1, "delete {nth}");
        stage.sandbox.faults().clear();
        let done = stage.run(&arguments).await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let left = objects(&stage);
        let whole = 1
            + json(&stage.run(&["show", &vault, "--json"]).await)[0]["files"].as_array().unwrap().len() * 2
            + 3;
        assert_eq!(left, whole, "the marker and one run: delete {nth}");
    }
}

#[tokio::test]
async fn an_expiry_that_is_killed_leaves_nothing_that_looks_like_a_backup() {
    let seed = std::env::var("KILL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (stage, vault) = backups(2).await;
    let arguments = ["expire", vault.as_str(), "--keep-last", "1", "--commit"];
    stage.fault(Rule::new(Action::Delay(Duration::from_millis(30))).on(Service::Oss, "*"));
    for _ in 0..8 {
        let mut child = stage.program(&arguments).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..600))).await;
        child.kill().await.unwrap();
        let whole = assert_what_is_listed_can_be_read(&stage).await;
        assert!((1..=2).contains(&whole), "KILL_SEED={seed}");
        if whole == 1 && random.random_bool(0.3) {
            stage.sandbox.faults().clear();
            let backup = stage
                .run(&["backup", "ots://sandbox/t", &vault, "--quiet", "--target-file-size", "64KiB"])
                .await;
            assert_eq!(backup.code, Some(0), "{}", backup.stderr);
            stage.fault(Rule::new(Action::Delay(Duration::from_millis(30))).on(Service::Oss, "*"));
        }
    }
    stage.sandbox.faults().clear();
    let done = stage.run(&arguments).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(assert_what_is_listed_can_be_read(&stage).await, 1, "KILL_SEED={seed}");
    let bucket = &stage.sandbox.description().bucket;
    assert!(
        stage
            .sandbox
            .oss()
            .objects(bucket, "tests/")
            .iter()
            .all(|object| !object.key.contains("/tombstone/"))
    );
}

/// Calls an operation of the bucket with a V1 signature of this test's own.
async fn bucket_call(stage: &Stage, method: reqwest::Method, query: &str, body: &'static str) {
    let at = stage.sandbox.description();
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let text = format!("{method}\n\n\n{date}\n/{}/?{query}", at.bucket);
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(at.access_key_secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    let answer = reqwest::Client::new()
        .request(method, format!("{}/{}/?{query}", at.oss_endpoint, at.bucket))
        .header("date", date)
        .header("authorization", format!("OSS {}:{signature}", at.access_key_id))
        .body(body)
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn what_the_bucket_protects_is_said_before_anything_is_deleted() {
    let (stage, vault) = backups(2).await;
    let policy = "<InitiateWormConfiguration><RetentionPeriodInDays>3</RetentionPeriodInDays></InitiateWormConfiguration>";
    bucket_call(&stage, reqwest::Method::POST, "worm", policy).await;
    let before = objects(&stage);
    let kept = stage.run(&["expire", &vault, "--keep-last", "1", "--commit"]).await;
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    insta::assert_snapshot!("expire_protected", settled(&kept.stdout, &stage));
    assert_eq!(objects(&stage), before);
    let runs = json(&stage.run(&["list", &vault, "--json"]).await);
    let oldest = runs[0]["run"].as_str().unwrap();
    let refused = stage.run(&["expire", &vault, "--run", oldest, "--commit"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("retention policy protects it until"), "{}", refused.stderr);
    assert_eq!(objects(&stage), before);
    bucket_call(&stage, reqwest::Method::DELETE, "worm", "").await;
    let done = stage.run(&["expire", &vault, "--run", oldest, "--commit"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(assert_what_is_listed_can_be_read(&stage).await, 1);
}

#[tokio::test]
async fn whoever_may_not_read_the_retention_policy_can_still_clean_up() {
    let (stage, vault) = backups(2).await;
    let refusal = Action::Error { status: 403, code: "AccessDenied".to_owned(), message: String::new() };
    stage.fault(Rule::new(refusal).on(Service::Oss, "GetBucketWorm"));
    let done = stage.run(&["expire", &vault, "--keep-last", "1", "--commit"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stderr.contains("retention policy"), "{}", done.stderr);
}

#[tokio::test]
async fn the_story_of_a_cleanup() {
    let (stage, vault) = backups_of("t=iot:rows=60000,seed=4", 1).await;
    // A backup that is killed in the middle of an upload, ten days ago by the store's clock.
    stage.sandbox.oss().set_clock_offset(-10 * 24 * 3600);
    stage
        .fault(Rule::new(Action::Delay(Duration::from_secs(60))).on(Service::Oss, "CompleteMultipartUpload"));
    let small = ["--target-file-size", "400KiB", "--part-size", "100KiB", "--row-group-size", "100KiB"];
    let mut arguments = vec!["backup", "ots://sandbox/t", &vault, "--quiet"];
    arguments.extend(small);
    let mut child = stage.program(&arguments).spawn().unwrap();
    while stage.in_flight(Service::Oss, "CompleteMultipartUpload") == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the table is too small for an upload in parts");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().await.unwrap();
    stage.sandbox.faults().clear();
    stage.sandbox.oss().set_clock_offset(0);
    assert!(!stage.sandbox.oss().open_uploads().is_empty());

    let runs = json(&stage.run(&["list", &vault, "--json"]).await);
    let unfinished = runs.as_array().unwrap().iter().find(|run| run["state"] == "unfinished").unwrap();
    let run = unfinished["run"].as_str().unwrap();
    let kept = stage.run(&["cleanup", &vault]).await;
    assert_eq!(kept.code, Some(0), "{}", kept.stderr);
    insta::assert_snapshot!("cleanup_keeps", settled(&kept.stdout, &stage));
    let before = objects(&stage);
    let dry = stage.run(&["cleanup", &vault, "t", "--run", run]).await;
    insta::assert_snapshot!("cleanup_dry_run", settled(&dry.stdout, &stage));
    assert_eq!(objects(&stage), before);
    let done = stage.run(&["cleanup", &vault, "t", "--run", run, "--commit", "--json"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let done = json(&done);
    let table = &done["tables"][0];
    assert_eq!((&done["committed"], table["runs"][0]["run"].as_str()), (&Value::Bool(true), Some(run)));
    let removed = table["runs"][0]["objects"].as_array().unwrap().len();
    assert_eq!(objects(&stage), before - removed);
    stage.assert_no_open_uploads().await;
    assert_eq!(assert_what_is_listed_can_be_read(&stage).await, 1);
    let again = stage.run(&["cleanup", &vault, "t", "--run", run]).await;
    assert_eq!(again.code, Some(7), "{}", again.stderr);
    // The dead run's lease, by the store's clock ten days old, and one that a cleanup took since.
    let leases = stage.run(&["cleanup", &vault, "--commit"]).await;
    assert!(leases.stdout.contains("an old lease; a later one counts"), "{}", leases.stdout);
    let nothing = stage.run(&["cleanup", &vault]).await;
    assert_eq!(nothing.stdout.trim(), "nothing to clean up");
    let committed = runs.as_array().unwrap().iter().find(|run| run["state"] == "committed").unwrap();
    let refused =
        stage.run(&["cleanup", &vault, "--run", committed["run"].as_str().unwrap(), "--commit"]).await;
    assert_eq!(refused.code, Some(2));
    insta::assert_snapshot!("cleanup_committed", settled(&refused.stderr, &stage));
}
