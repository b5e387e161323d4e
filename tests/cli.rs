//! What a person reads: help, summaries, reports. Snapshots; a change of words is a change that somebody looks at.

mod stage;

use stage::{On, Stage, finish};

/// Replaces what differs from run to run.
fn settled(text: &str, stage: &Stage) -> String {
    let at = stage.sandbox.description();
    let text = text
        .replace(&at.ots_endpoint, "<ots>")
        .replace(&at.oss_endpoint, "<oss>")
        .replace(&stage.directory.path().display().to_string(), "<dir>");
    let rules = [
        (r"\d{8}t\d{6}z-[0-9a-f]{8}", "<run>"),
        (r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?Z", "<time>"),
        (r"request id [0-9a-fA-F-]+", "request id <id>"),
        (r"time        .*", "time        <time and rate>"),
        (r"peak memory .*", "peak memory <size>"),
        (r"[0-9a-f]{16}\.parquet", "<file>.parquet"),
    ];
    rules.iter().fold(text, |text, (pattern, name)| {
        regex::Regex::new(pattern).unwrap().replace_all(&text, *name).into_owned()
    })
}

#[tokio::test]
async fn the_help_of_every_command() {
    let stage = Stage::with(On::Disk, &[]).await;
    for command in
        ["", "backup", "restore", "retry-rejects", "list", "show", "expire", "cleanup", "sandbox", "demo"]
    {
        let mut arguments: Vec<&str> = if command.is_empty() { vec![] } else { vec![command] };
        arguments.push("--help");
        // Endpoints in the environment would show as defaults.
        let mut program = stage.program(&arguments);
        let ended = finish(program.env_clear()).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let name = if command.is_empty() { "help".to_owned() } else { format!("help_{command}") };
        insta::assert_snapshot!(name, ended.stdout);
    }
}

#[tokio::test]
async fn the_story_of_a_backup_that_is_listed_and_shown() {
    let stage = Stage::with(On::Oss, &["t=iot:rows=2000,seed=5"]).await;
    let vault = stage.vault_url();
    let empty = stage.run(&["list", &vault]).await;
    assert_eq!(empty.code, Some(7));
    insta::assert_snapshot!("list_without_a_vault", settled(&empty.stderr, &stage));
    let done = stage.run(&["backup", "ots://sandbox/t", &vault, "--quiet"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    insta::assert_snapshot!("backup", settled(&done.stdout, &stage));
    let list = stage.run(&["list", &vault]).await;
    insta::assert_snapshot!("list", settled(&list.stdout, &stage));
    let show = stage.run(&["show", &vault, "t", "--files"]).await;
    insta::assert_snapshot!("show", settled(&show.stdout, &stage));
    for arguments in [vec!["list", &vault, "--json"], vec!["show", &vault, "--json"]] {
        let ended = stage.run(&arguments).await;
        let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(document[0]["totals"]["rows"], 2000, "{document}");
    }
}

#[tokio::test]
async fn errors_say_what_failed_on_what_why_and_what_to_do() {
    let stage = Stage::with(On::Oss, &["t=iot:rows=2000,seed=5"]).await;
    let vault = stage.vault_url();
    let cases: [(&str, Vec<&str>); 6] = [
        ("error_missing_table", vec!["backup", "ots://sandbox/missing", &vault, "-q"]),
        ("error_source", vec!["backup", "sandbox/t", &vault]),
        ("error_scheme", vec!["backup", "ots://sandbox/t", "gs://bucket/x"]),
        ("error_bucket", vec!["list", "oss://nowhere/x"]),
        ("error_option", vec!["backup", "ots://sandbox/t", &vault, "--memory", "1MiB"]),
        ("error_key", vec!["backup", "ots://sandbox/t", &vault, "--from-key", "[1]", "-q"]),
    ];
    for (name, arguments) in cases {
        let ended = stage.run(&arguments).await;
        let text = format!("exit code {:?}\n{}", ended.code, ended.stderr);
        insta::assert_snapshot!(name, settled(&text, &stage));
    }
}
