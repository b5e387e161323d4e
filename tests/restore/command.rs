//! The program: many tables in one run, dry runs, exit codes, what people read.

use otsvault::sandbox::faults::{Action, Rule, Service, When};

use crate::play::Play;
use crate::stage::{On, Stage};

/// Replaces what differs from run to run.
pub fn settled(text: &str, stage: &Stage) -> String {
    let text = text.replace(&stage.directory.path().display().to_string(), "<dir>");
    let rules = [
        (r"\d{8}t\d{6}z-[0-9a-f]{8}", "<run>"),
        (r"restore/[0-9a-f]{16}/", "restore/<target>/"),
        (r"request id [0-9a-fA-F-]+", "request id <id>"),
        (r"sent        .*", "sent        <size and requests>"),
        (r"time        .*", "time        <time and rate>"),
        (r"peak memory .*", "peak memory <size>"),
        (r"in \d+\.\d s into", "in <seconds> into"),
        (r"drill_[0-9a-f]{16}", "drill_<random>"),
        (r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}Z", "<time>"),
        (r"( +\d+\.\d)\n", " <seconds>\n"),
        (r"\d+\.\d KiB", "<size>"),
    ];
    rules.iter().fold(text, |text, (pattern, name)| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, *name).into_owned()
    })
}

#[tokio::test]
async fn the_story_of_a_restore() {
    let play = Play::of(On::Disk, "t=iot:rows=2000,seed=5").await;
    let (stage, url) = (&play.stage, play.stage.vault_url());
    let plan = stage.run(&["restore", &url, "t", "ots://sandbox/copy", "--dry-run"]).await;
    assert_eq!((plan.code, play.writes()), (Some(0), 0), "{}", plan.stderr);
    insta::assert_snapshot!("dry_run", settled(&plan.stdout, stage));
    let done = stage.run(&["restore", &url, "t", "ots://sandbox/copy", "--quiet"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    insta::assert_snapshot!("restore", settled(&done.stdout, stage));
    play.assert_same("t", "copy");
    let again = stage.run(&["restore", &url, "sandbox/t", "ots://sandbox/copy", "--quiet"]).await;
    insta::assert_snapshot!("restore_again", settled(&again.stdout, stage));
    let refused = stage.run(&["restore", &url, "t", "ots://sandbox/t"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    insta::assert_snapshot!("refused", settled(&refused.stderr, stage));
    let missing = stage.run(&["restore", &url, "none", "ots://sandbox/copy"]).await;
    assert_eq!(missing.code, Some(7));
    insta::assert_snapshot!("missing", settled(&missing.stderr, stage));
}

#[tokio::test]
async fn refused_rows_are_said_and_written_again() {
    let play = Play::of(On::Disk, "t=iot:rows=2000,seed=5").await;
    let (stage, url) = (&play.stage, play.stage.vault_url());
    stage.fault(
        Rule::new(Action::error(403, "OTSInvalidPK", "No."))
            .on(Service::TableStore, "BatchWriteRow/row")
            .when(When::Every(100)),
    );
    let some = stage.run(&["restore", &url, "t", "ots://sandbox/copy", "--quiet"]).await;
    assert_eq!(some.code, Some(3), "{}", some.stderr);
    insta::assert_snapshot!("rejects", settled(&format!("{}{}", some.stderr, some.stdout), stage));
    stage.sandbox.faults().clear();
    let retried = stage.run(&["retry-rejects", &url, "t", "ots://sandbox/copy", "--quiet", "--json"]).await;
    assert_eq!(retried.code, Some(0), "{}", retried.stderr);
    let summary: serde_json::Value = serde_json::from_str(&retried.stdout).unwrap();
    assert_eq!((&summary["rows"]["rejected"], &summary["rows"]["written"]), (&0.into(), &2000.into()));
    play.assert_same("t", "copy");
    let no_more = stage.run(&["retry-rejects", &url, "t", "ots://sandbox/copy", "--quiet"]).await;
    assert_eq!(no_more.code, Some(0), "{}", no_more.stderr);
}

#[tokio::test]
async fn many_tables_are_restored_in_one_run_under_the_names_that_were_asked_for() {
    let tables = ["iot_1=iot:rows=800,seed=1", "iot_2=iot:rows=900,seed=2", "other=fat:rows=50,seed=3"];
    let stage = Stage::with(On::Oss, &tables).await;
    let url = stage.vault_url();
    let backed_up = stage.run(&["backup", "ots://sandbox/*", &url, "--quiet"]).await;
    assert_eq!(backed_up.code, Some(0), "{}", backed_up.stderr);
    let play = Play { stage };
    let wrong = play.stage.run(&["restore", &url, "iot_*", "ots://sandbox/one"]).await;
    assert_eq!((wrong.code, play.writes()), (Some(2), 0), "{}", wrong.stderr);
    let same = play.stage.run(&["restore", &url, "*", "ots://sandbox/x_*", "--map", "other=x_iot_1"]).await;
    assert_eq!((same.code, play.writes()), (Some(2), 0), "{}", same.stderr);
    let done = play
        .stage
        .run(&["restore", &url, "*", "ots://sandbox/new_*", "--map", "iot_2=second", "--json"])
        .await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let summary: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((summary["tables"].as_array().unwrap().len(), &summary["rows"]["written"]), (3, &1750.into()));
    for (source, copy) in [("iot_1", "new_iot_1"), ("iot_2", "second"), ("other", "new_other")] {
        play.assert_same(source, copy);
    }
    // One that cannot be restored leaves the others alone.
    let partly =
        play.stage.run(&["restore", &url, "*", "ots://sandbox/more_*", "--map", "iot_2=iot_1"]).await;
    assert_eq!(partly.code, Some(3), "{}", partly.stderr);
    play.assert_same("iot_1", "more_iot_1");
    play.assert_same("other", "more_other");
}

#[tokio::test]
async fn options_that_do_not_go_together_are_usage_errors() {
    let play = Play::of(On::Disk, "t=iot:rows=20,seed=5").await;
    let url = play.stage.vault_url();
    for (options, why) in [
        (&["--on-conflict", "skip"][..], "--into-existing"),
        (&["--into-existing", "overwrite", "--on-conflict", "skip"], "overwritten"),
        (&["--max-errors", "7x"], "number of rows"),
        (&["--auto-increment", "maybe"], "reassign"),
        (&["--memory", "1MiB"], "64MiB"),
        (&["--map", "a"], "two table names"),
        (&["--from-key", "7"], "JSON array"),
        (&["--flatten", "--into-existing", "merge"], "--flatten"),
    ] {
        let mut arguments = vec!["restore", &url, "t", "ots://sandbox/copy"];
        arguments.extend(options);
        let ended = play.stage.run(&arguments).await;
        assert_eq!((ended.code, play.writes()), (Some(2), 0), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(why), "{options:?}: {}", ended.stderr);
    }
}
