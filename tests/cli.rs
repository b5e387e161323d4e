//! What a person reads: help, summaries, reports. Snapshots; a change of words is a change that somebody looks at.

mod stage;

use serde_json::{Value, json};
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
    for command in [
        "",
        "backup",
        "delta",
        "restore",
        "retry-rejects",
        "list",
        "show",
        "views",
        "verify",
        "diff",
        "expire",
        "cleanup",
        "compact",
        "sandbox",
        "demo",
        "bench",
    ] {
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
async fn the_story_of_a_backup_that_is_verified_and_compared() {
    let stage = Stage::with(On::Oss, &["t=iot:rows=2000,seed=5", "u=iot:rows=2000,seed=6"]).await;
    let vault = stage.vault_url();
    for table in ["t", "u"] {
        let done = stage.run(&["backup", &format!("ots://sandbox/{table}"), &vault, "--quiet"]).await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    let read = |text: &str| {
        // How well a file compresses is not the story.
        let text = settled(text, &stage);
        regex::Regex::new(r"\d+\.\d KiB").unwrap().replace_all(&text, "<size>").into_owned()
    };
    let quick = stage.run(&["verify", &vault]).await;
    insta::assert_snapshot!("verify", read(&quick.stdout));
    let full = stage.run(&["verify", &vault, "t", "--level", "full"]).await;
    insta::assert_snapshot!("verify_full", read(&full.stdout));
    let sample = stage.run(&["verify", &vault, "t", "--level", "sample", "--seed", "7"]).await;
    insta::assert_snapshot!("verify_sample", read(&sample.stdout));
    let live =
        ["verify", &vault, "t", "--level", "live", "--against", "ots://sandbox/u", "--max-differences", "3"];
    let live = stage.run(&live).await;
    assert_eq!((quick.code, full.code, sample.code, live.code), (Some(0), Some(0), Some(0), Some(5)));
    insta::assert_snapshot!("verify_live", read(&live.stdout));
    let (t, u) = (format!("{vault}#t"), format!("{vault}#sandbox/u@newest"));
    let same = stage.run(&["diff", &t, "ots://sandbox/t"]).await;
    insta::assert_snapshot!("diff_same", read(&same.stdout));
    let other = stage.run(&["diff", &t, &u, "--max-differences", "3"]).await;
    insta::assert_snapshot!("diff", read(&other.stdout));
    assert_eq!((same.code, other.code), (Some(0), Some(5)));
    for arguments in [vec!["verify", &vault, "--json"], vec!["diff", &t, &u, "--json"]] {
        let ended = stage.run(&arguments).await;
        let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(document["exit_code"], ended.code.unwrap(), "{document}");
    }
    // A data file is gone.
    let store = stage.vault().await;
    let listed = stage.sandbox.oss().objects(&stage.sandbox.description().bucket, "tests/sandbox/t/");
    let file = listed.iter().find(|object| object.key.ends_with(".parquet")).unwrap();
    let path = object_store::path::Path::from(file.key.as_str());
    object_store::ObjectStoreExt::delete(&**store.store(), &path).await.unwrap();
    let broken = stage.run(&["verify", &vault, "t"]).await;
    assert_eq!(broken.code, Some(5));
    insta::assert_snapshot!("verify_broken", read(&broken.stdout));
    for (name, arguments) in [
        ("error_verify_table", vec!["verify", &vault, "nobody"]),
        ("error_verify_live", vec!["verify", &vault, "--level", "live"]),
        ("error_diff_side", vec!["diff", &vault, &t]),
        ("error_diff_run", vec!["diff", &format!("{t}@previous"), &t]),
    ] {
        let ended = stage.run(&arguments).await;
        insta::assert_snapshot!(
            name,
            format!("{}\nexit code {}", settled(&ended.stderr, &stage), ended.code.unwrap())
        );
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

#[tokio::test]
async fn the_demo_proves_its_tables_and_restores_one_to_two_moments() {
    let stage = Stage::with(On::Disk, &[]).await;
    let ended = stage.run(&["demo", "--rows", "3000", "--mixed-rows", "500", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let demo: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let (chapters, story) = (&demo["tables"], &demo["stream"]);
    let told: Vec<_> =
        chapters.as_array().unwrap().iter().map(|told| (&told["totals"]["rows"], &told["proven"])).collect();
    assert!(chapters[0]["tampered"]["column"].is_string(), "{chapters}");
    assert_eq!(told, [(&3000.into(), &true.into()), (&500.into(), &true.into())]);
    assert_eq!((&story["before"]["rows"], &story["after"]["rows"]), (&3000.into(), &2700.into()), "{story}");
}

#[tokio::test]
async fn bench_measures_a_small_set_and_gives_its_pages_to_others() {
    let stage = Stage::with(On::Disk, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().to_str().unwrap();
    let ended = stage.run(&["bench", "--sets", "versions", "--scale", "0.01", "--dump", pages]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let contents: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("versions.json")).unwrap()).unwrap();
    assert_eq!((&contents["rows"], &contents["pages"]), (&json!(500), &json!(1)));
    assert_eq!(contents["primary_key"], json!([["device", "STRING"], ["time", "INTEGER"]]));
    let written = std::fs::metadata(folder.path().join("versions.pages")).unwrap().len();
    assert_eq!(Some(written), contents["bytes"].as_u64().map(|bytes| bytes + 4));

    let ended = stage.run(&["bench", "--sets", "iot", "--scale", "0.01", "--rounds", "1", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told["sets"].as_array().map(Vec::len), Some(1));
    let times = told["sets"][0]["cpu_ms"].as_object().unwrap();
    assert!(times.len() >= 16 && times.values().all(|time| time.as_f64() > Some(0.0)), "{times:?}");
    let measured = told["targets"].as_array().unwrap().iter().filter(|target| !target["measured"].is_null());
    assert!(measured.count() >= 5, "those of iot that need no other program");

    let ended = stage.run(&["bench", "--sets", "small"]).await;
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("iot, wide, fat, sparse, mixed, versions, cjk"), "{}", ended.stderr);
}
