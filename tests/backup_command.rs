//! `otsvault backup` from the outside: many tables, events, projections, dry runs.

mod stage;

use std::time::Duration;

use otsvault::catalog::{Manifest, RunPath, RunState, find_runs};
use otsvault::model::{Index, PrimaryKeyColumn, PrimaryKeyType, TableDefinition, TableOptions};
use otsvault::runtime::CpuPool;
use otsvault::sandbox::faults::{Action, Rule, Service, When};
use otsvault::verify::read_back;
use serde_json::Value;
use stage::{Ended, On, Stage};

const SMALL: [&str; 3] = ["a_1=iot:rows=3000,seed=1", "a_2=mixed:rows=500,seed=2", "b_1=iot:rows=10,seed=3"];

/// Events on stdout, in order.
fn events(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn names(tables: &Value) -> Vec<&str> {
    tables.as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap()).collect()
}

/// The newest committed run of a table.
async fn newest(stage: &Stage, table: &str) -> (RunPath, Manifest) {
    let vault = stage.vault().await;
    let runs = find_runs(&**vault.store(), &vault.table("sandbox", table).unwrap()).await.unwrap();
    let committed = runs.into_iter().rev().find_map(|run| match run {
        RunState::Committed(path, manifest) => Some((path, *manifest)),
        RunState::Unfinished(..) => None,
    });
    committed.unwrap_or_else(|| panic!("`{table}` is not committed"))
}

async fn assert_copied(stage: &Stage, table: &str) {
    let (path, manifest) = newest(stage, table).await;
    let read = read_back(&stage.vault().await, &path, &manifest, &CpuPool::new(1).unwrap()).await.unwrap();
    assert_eq!((read.rows, read.row_sum), stage.table_sum(table), "{table}");
}

#[tokio::test]
async fn a_pattern_copies_every_table_that_matches_and_is_not_excluded() {
    let stage = Stage::with(On::Oss, &SMALL).await;
    let vault = stage.vault_url();
    let ended =
        stage.run(&["backup", "ots://sandbox/*", &vault, "--exclude", "b_?", "--quiet", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let [finished] = &events(&ended)[..] else { panic!("one line with --quiet: {}", ended.stdout) };
    assert_eq!(names(&finished["tables"]), ["a_1", "a_2"]);
    assert_eq!(finished["totals"]["rows"], 3500);
    for table in ["a_1", "a_2"] {
        assert_copied(&stage, table).await;
    }
    let none = stage.run(&["backup", "ots://sandbox/c_*", &vault]).await;
    assert_eq!(none.code, Some(7), "{}", none.stderr);
    assert!(none.stderr.contains("none of its 3 tables does"), "{}", none.stderr);
}

#[tokio::test]
async fn a_table_that_fails_leaves_the_others_alone_and_resumes_by_itself() {
    let stage = Stage::with(On::Disk, &["a_1=iot:rows=40000,seed=1", SMALL[1], SMALL[2]]).await;
    // The sample takes four pages, and some more succeed.
    stage.fault(
        Rule::new(Action::error(400, "OTSParameterInvalid", "on purpose"))
            .on(Service::TableStore, "GetRange")
            .key("a_1")
            .when(When::Calls { first: 8, last: 1_000_000 }),
    );
    let vault = stage.vault_url();
    let arguments =
        ["backup", "ots://sandbox/*", &vault, "--concurrency", "1", "--target-file-size", "64KiB"];
    let ended = stage.run(&arguments).await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("of table `a_1`"), "{}", ended.stderr);
    assert!(ended.stdout.contains("backed up 2 of 3 tables"), "{}", ended.stdout);
    assert!(ended.stdout.contains("failed: `a_1`: cannot read a page"), "{}", ended.stdout);
    assert_copied(&stage, "a_2").await;
    assert_copied(&stage, "b_1").await;

    stage.sandbox.faults().clear();
    let again = stage.run(&[&arguments[..], &["--json", "--quiet"]].concat()).await;
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let finished = &events(&again)[0];
    assert!(finished["tables"][0]["resumed_rows"].as_u64().unwrap() > 0, "{finished}");
    assert_eq!(finished["tables"][1]["resumed_rows"], 0, "a new base");
    assert_copied(&stage, "a_1").await;
}

fn table(name: &str, indexes: Vec<Index>) -> TableDefinition {
    TableDefinition {
        name: name.into(),
        primary_key: vec![PrimaryKeyColumn {
            name: "id".into(),
            column_type: PrimaryKeyType::Integer,
            auto_increment: false,
        }],
        defined_columns: vec![],
        options: TableOptions { time_to_live: Some(-1), max_versions: Some(1), ..TableOptions::default() },
        reserved: Default::default(),
        stream: None,
        indexes,
        creation_time: None,
    }
}

#[tokio::test]
async fn an_index_is_left_out_where_its_table_is_copied_and_read_when_named() {
    let stage = Stage::with(On::Disk, &[]).await;
    let client = stage.client();
    let index = Index {
        name: "orders_by_id".into(),
        primary_key: vec!["id".into()],
        defined_columns: vec![],
        local: false,
        synchronous: false,
    };
    client.create_table(&table("orders", vec![index]), &[]).await.unwrap();
    let vault = stage.vault_url();
    let ended = stage.run(&["backup", "ots://sandbox/orders*", &vault, "--quiet"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("left out: `orders_by_id` is an index of `orders`"), "{}", ended.stdout);
    let named = stage.run(&["backup", "ots://sandbox/orders_by_id", &vault, "--quiet"]).await;
    // The sandbox keeps no rows of an index and says so; what matters is that it was asked for them.
    assert!(named.stderr.contains("of table `orders_by_id`"), "{}", named.stderr);
}

/// Hides what differs from run to run.
fn masked(value: &mut Value) {
    const VOLATILE: [&str; 18] = [
        "time",
        "tool",
        "vault",
        "run",
        "seconds",
        "elapsed_ms",
        "share_read",
        "rows_per_second",
        "bytes_per_second",
        "seconds_left",
        "slowest",
        "peak_resident_bytes",
        "requests",
        "workers",
        "request_id",
        "phase",
        "planning_capacity_units",
        "stored_bytes",
    ];
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match VOLATILE.contains(&name.as_str()) {
                    true => *field = "<volatile>".into(),
                    false => masked(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(masked),
        Value::String(text) if text.contains("request id") => {
            let pattern = regex::Regex::new("request id [0-9a-fA-F-]+").unwrap();
            *text = pattern.replace_all(text, "request id <id>").into_owned();
        }
        _ => {}
    }
}

/// An event has the fields that the schema requires and no others.
fn assert_fits_schema(event: &Value) {
    let schema: Value = serde_json::from_str(include_str!("../schemas/events-v1.schema.json")).unwrap();
    let of = &schema["$defs"][event["event"].as_str().unwrap()];
    let fields = event.as_object().unwrap();
    for required in of["required"].as_array().unwrap() {
        assert!(fields.contains_key(required.as_str().unwrap()), "{required} is missing in {event}");
    }
    for field in fields.keys().filter(|field| *field != "time") {
        assert!(of["properties"].get(field).is_some(), "{field} is not in the schema");
    }
}

#[tokio::test]
async fn every_type_of_event_is_as_it_is_documented() {
    let stage = Stage::with(On::Disk, &["a_1=iot:rows=60000,seed=1", "b_1=iot:rows=10,seed=3"]).await;
    stage.fault(
        Rule::new(Action::Delay(std::time::Duration::from_millis(40)))
            .on(Service::TableStore, "GetRange")
            .key("a_1"),
    );
    stage.fault(
        Rule::new(Action::error(403, "OTSNoPermissionAccess", "on purpose"))
            .on(Service::TableStore, "GetRange")
            .key("b_1"),
    );
    let vault = stage.vault_url();
    let ended = stage
        .run(&[
            "backup",
            "ots://sandbox/?_1",
            &vault,
            "--json",
            "--progress-every",
            "0.1",
            "--concurrency",
            "1",
        ])
        .await;
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let events = events(&ended);
    events.iter().for_each(assert_fits_schema);
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started"), Some(&"finished")));
    let scanning = events.iter().filter(|event| event["phase"] == "scanning").count();
    assert!(scanning > 0, "{kinds:?}");
    let mut shown: Vec<Value> = Vec::new();
    for kind in ["started", "progress", "table_done", "table_failed", "finished"] {
        let of_kind = |event: &&&Value| {
            event["event"] == kind
                && (kind != "progress" || event["phase"] == "ended" && event["table"] == "a_1")
        };
        let found: Vec<_> = events.iter().collect::<Vec<_>>();
        let found: Vec<_> = found.iter().filter(of_kind).collect();
        assert_eq!(found.len(), 1, "{kind}");
        let mut event = (**found[0]).clone();
        masked(&mut event);
        shown.push(event);
    }
    let wrong = stage.run(&["backup", "ots://sandbox/a_1", &vault, "--json", "--memory", "1MiB"]).await;
    let mut error: Value = serde_json::from_str(&wrong.stdout).unwrap();
    assert_fits_schema(&error);
    masked(&mut error);
    shown.push(error);
    insta::assert_snapshot!("events", serde_json::to_string_pretty(&shown).unwrap());
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_is_about_right() {
    let stage = Stage::with(On::Disk, &["a_1=iot:rows=100000,seed=1", SMALL[1], SMALL[2]]).await;
    let vault = stage.vault_url();
    let arguments = ["backup", "ots://sandbox/*", &vault];
    let dry = stage.run(&[&arguments[..], &["--dry-run", "--json"]].concat()).await;
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(!stage.directory.path().join("vault").exists(), "nothing is written");
    assert_eq!(stage.requests("PutRow"), 0);
    let estimates: Value = serde_json::from_str(&dry.stdout).unwrap();
    let done = stage.run(&[&arguments[..], &["--quiet", "--json"]].concat()).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let finished = &events(&done)[0];
    for (estimate, table) in estimates.as_array().unwrap().iter().zip(finished["tables"].as_array().unwrap())
    {
        assert_eq!(estimate["table"], table["table"]);
        let totals = &table["totals"];
        for (field, actual) in [
            ("rows", &totals["rows"]),
            ("data_bytes", &totals["logical_bytes"]),
            ("response_bytes", &totals["read"]["response_bytes"]),
            ("capacity_units", &totals["read"]["capacity_units"]),
            ("requests", &totals["read"]["pages"]),
        ] {
            let (estimated, actual) = (estimate[field].as_f64().unwrap(), actual.as_f64().unwrap());
            println!("{} {field}: estimated {estimated}, actual {actual}", table["table"]);
            let slack = if field == "requests" { 8.0 } else { 4.0 };
            let close = (estimated - actual).abs() <= 0.35 * actual.max(1.0) + slack;
            assert!(close, "{} {field}: estimated {estimated}, actual {actual}", table["table"]);
        }
    }
    let text = stage.run(&[&arguments[..], &["--dry-run"]].concat()).await;
    insta::assert_snapshot!("dry_run", text.stdout);
}

#[tokio::test]
async fn a_projection_is_labelled_and_never_mixes_with_the_whole_table() {
    let stage = Stage::with(On::Disk, &["t=iot:rows=30000,seed=9"]).await;
    let vault = stage.vault_url();
    let whole = ["backup", "ots://sandbox/t", &vault, "--quiet", "--concurrency", "1"];
    let first = stage.run(&whole).await;
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let (_, full) = newest(&stage, "t").await;
    let attributes: Vec<String> = full
        .columns
        .columns()
        .iter()
        .filter_map(|column| match &column.role {
            otsvault::columnar::Role::Attribute { attribute, .. } => Some(attribute.clone()),
            _ => None,
        })
        .collect();
    let columns = format!("{},nowhere,{}", attributes[1], attributes[0]);
    // A projection that stops half-way is not what a whole backup goes on with.
    let projection = [&whole[..], &["--columns", &columns, "--target-file-size", "64KiB"]].concat();
    stage.fault(
        Rule::new(Action::error(400, "OTSParameterInvalid", "on purpose"))
            .on(Service::TableStore, "GetRange")
            .when(When::Calls { first: 8, last: 9 }),
    );
    let stopped = stage.run(&projection).await;
    assert_ne!(stopped.code, Some(0));
    stage.sandbox.faults().clear();
    let again = stage.run(&[&whole[..], &["--json"]].concat()).await;
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(events(&again)[0]["tables"][0]["resumed_rows"], 0, "it is not resumed");
    assert_copied(&stage, "t").await;

    let done = stage.run(&[&projection[..], &["--json"]].concat()).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let summary = &events(&done)[0]["tables"][0];
    assert!(summary["resumed_rows"].as_u64().unwrap() > 0, "the projection is resumed: {summary}");
    // The whole backup was started later, so the projection has to be asked for by its run.
    let run = summary["run"].as_str().unwrap();
    let vault_there = stage.vault().await;
    let runs = find_runs(&**vault_there.store(), &vault_there.table("sandbox", "t").unwrap()).await.unwrap();
    let manifest = runs.into_iter().find_map(|state| match state {
        RunState::Committed(path, manifest) if path.run.as_str() == run => Some(*manifest),
        _ => None,
    });
    let manifest = manifest.unwrap();
    let mut wanted = vec![attributes[0].clone(), attributes[1].clone(), "nowhere".to_owned()];
    wanted.sort();
    assert_eq!(manifest.projection.as_ref(), Some(&wanted));
    assert_eq!(manifest.totals.rows, full.totals.rows, "rows without these columns are kept");
    let kept = manifest.columns.columns().iter().filter_map(|column| match &column.role {
        otsvault::columnar::Role::Attribute { attribute, .. } => Some(attribute),
        _ => None,
    });
    assert!(kept.into_iter().all(|name| wanted.contains(name)));
    assert!(manifest.totals.cells < full.totals.cells);
    let list = stage.run(&["list", &vault]).await;
    assert!(list.stdout.contains("base, fuzzy, projection"), "{}", list.stdout);
    let show = stage.run(&["show", &vault, "t", "--run", run]).await;
    assert!(show.stdout.contains("(base, fuzzy, projection)"), "{}", show.stdout);
    assert!(show.stdout.contains("the table's other columns are not in it"), "{}", show.stdout);
}

#[tokio::test]
async fn data_files_have_the_storage_class_that_was_asked_for() {
    let stage = Stage::with(On::Oss, &["t=iot:rows=3000,seed=9"]).await;
    let vault = stage.vault_url();
    let ended = stage.run(&["backup", "ots://sandbox/t", &vault, "--storage-class", "IA", "--quiet"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (path, manifest) = newest(&stage, "t").await;
    assert_eq!(manifest.storage_class.as_deref(), Some("IA"));
    let vault = stage.vault().await;
    let entries = otsvault::catalog::read_file_list(&**vault.store(), &path, &manifest).await.unwrap();
    let class = |path: object_store::path::Path| {
        let store = vault.store().clone();
        async move {
            let options = object_store::GetOptions { head: true, ..Default::default() };
            let found = object_store::ObjectStore::get_opts(&*store, &path, options).await.unwrap();
            found.attributes.get(&object_store::Attribute::StorageClass).map(|class| class.to_string())
        }
    };
    for entry in entries.iter().filter(|entry| entry.file.is_some()) {
        assert_eq!(class(path.data_file(entry.id)).await.as_deref(), Some("IA"));
    }
    assert_ne!(class(path.manifest()).await.as_deref(), Some("IA"), "listing must stay possible");
}

#[tokio::test]
async fn a_table_of_one_version_is_the_same_by_bulk_export() {
    for api in ["bulk-export", "auto"] {
        let stage = Stage::with(On::Disk, &["t=wide:rows=60000,seed=9,partitions=4"]).await;
        let vault = stage.vault_url();
        let by_export = ["backup", "ots://sandbox/t", &vault, "--read-api", api];
        let ended = stage.run(&by_export).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_copied(&stage, "t").await;
        let before = stage.requests("GetRange");
        assert!(stage.requests("BulkExport") > 15, "{} exports", stage.requests("BulkExport"));
        // Another base by GetRange has the same columns and the same rows.
        let (_, first) = newest(&stage, "t").await;
        assert_eq!(stage.run(&["backup", "ots://sandbox/t", &vault]).await.code, Some(0));
        let (_, second) = newest(&stage, "t").await;
        assert_eq!((first.totals.rows, first.totals.cells), (second.totals.rows, second.totals.cells));
        assert_eq!(first.totals.row_sum, second.totals.row_sum);
        assert!(stage.requests("GetRange") > before + 15);
    }
}

#[tokio::test]
async fn a_projection_is_the_same_by_bulk_export() {
    let stage = Stage::with(On::Disk, &["t=sparse:rows=9000,seed=4"]).await;
    let vault = stage.vault_url();
    let mut sums = Vec::new();
    for (api, columns) in
        [("get-range", "c017"), ("bulk-export", "c017"), ("get-range", "none"), ("bulk-export", "none")]
    {
        let arguments = ["backup", "ots://sandbox/t", &vault, "--columns", columns, "--read-api", api];
        let ended = stage.run(&arguments).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let (_, manifest) = newest(&stage, "t").await;
        assert_eq!(manifest.totals.rows, 9_000);
        sums.push((manifest.totals.cells, manifest.totals.row_sum));
    }
    assert_eq!((sums[0], sums[2]), (sums[1], sums[3]));
    assert!(sums[2].0 == 0, "{sums:?}");
}

#[tokio::test]
async fn where_bulk_export_would_lose_something_it_is_refused_and_auto_reads_by_get_range() {
    // Up to five versions of a column.
    let stage = Stage::with(On::Disk, &["t=mixed:rows=2000,seed=9"]).await;
    let vault = stage.vault_url();
    let command =
        |api: &'static str| ["backup", "ots://sandbox/t", &vault, "--read-api", api].map(str::to_owned);
    let run = async |api| stage.run(&command(api).each_ref().map(String::as_str)).await;
    let refused = run("bulk-export").await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    for said in
        ["cannot read by BulkExport", "`t`", "one version of each column", "hint: `--read-api get-range`"]
    {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    let ended = run("auto").await;
    assert_eq!((ended.code, stage.requests("BulkExport")), (Some(0), 0), "{}", ended.stderr);
    assert_copied(&stage, "t").await;
    let wrong = run("matrix").await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
}

#[tokio::test]
async fn an_instance_without_bulk_export_is_read_by_get_range_unless_bulk_export_was_asked_for() {
    let stage = Stage::with(On::Disk, &["t=iot:rows=2000,seed=9"]).await;
    let unsupported = Action::error(400, "OTSParameterInvalid", "Unsupported operation: 'BulkExport'.");
    stage.fault(Rule::new(unsupported).on(Service::TableStore, "BulkExport"));
    let vault = stage.vault_url();
    let refused = stage.run(&["backup", "ots://sandbox/t", &vault, "--read-api", "bulk-export"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("Unsupported operation"), "{}", refused.stderr);
    let ended = stage.run(&["backup", "ots://sandbox/t", &vault, "--read-api", "auto"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_copied(&stage, "t").await;
}

#[tokio::test]
async fn uploads_of_all_tables_together_take_no_more_than_the_workers_share() {
    let tables: Vec<_> = (1..5).map(|seed| format!("t_{seed}=fat:rows=4000,seed={seed}")).collect();
    let tables: Vec<_> = tables.iter().map(String::as_str).collect();
    let stage = Stage::with(On::Oss, &tables).await;
    stage.fault(Rule::new(Action::Delay(Duration::from_millis(100))).on(Service::Oss, "UploadPart"));
    let vault = stage.vault_url();
    let few = ["--memory", "64MiB", "--concurrency", "2", "--tables-at-once", "4"];
    let small = ["--row-group-size", "1MiB", "--part-size", "1MiB"];
    let arguments = [&["backup", "ots://sandbox/*", &vault], &few[..], &small[..]].concat();
    let ended = stage.run(&arguments).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let parts = stage.sandbox.counters().snapshot().operation(Service::Oss, "UploadPart");
    assert!(parts.requests >= 8, "{parts:?}");
    // Whatever the tables, a part is in flight for one of two workers.
    assert!(parts.in_flight_peak <= 2, "{parts:?}");
    for table in 1..5 {
        assert_copied(&stage, &format!("t_{table}")).await;
    }
}
