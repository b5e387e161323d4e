//! Chains: the rows of a base and the Stream records since then, as of any moment.

use std::time::Duration;

use jiff::SignedDuration;
use object_store::{ObjectStore, ObjectStoreExt};
use otsvault::Kind;
use otsvault::backup::BackupOptions;
use otsvault::catalog::{Chain, Moment};
use otsvault::fold::TimeToLive;
use otsvault::model::{KeyPart, PrimaryKey, RecordType, Row, Value};
use otsvault::restore::{OnConflict, RestoreOptions, restore};
use otsvault::runtime::Signal;
use otsvault::sandbox::faults::{Action, Rule, Service, When};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::chain::{ChainWriter, Record, Table, any_record, any_value, table_of};
use crate::play::{Play, own_table, row, runtime};
use crate::stage::{On, Stage};

const IDS: i64 = 400;

pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("CHAIN_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..count).map(|_| rand::random()).collect(),
    }
}

pub fn records(random: &mut StdRng, count: usize) -> Vec<Record> {
    (0..count).map(|_| any_record(random, IDS)).collect()
}

/// A table `own` with about half of the ids, scanned into small files.
async fn scanned(on: On, random: &mut StdRng) -> Play {
    let play = Play::empty(on).await;
    let mut rows = Vec::new();
    for id in (0..IDS).filter(|_| random.random_bool(0.5)).collect::<Vec<_>>() {
        let mut cells = Vec::new();
        for name in ["a", "b", "c"] {
            for version in (0..random.random_range(0..=2)).rev() {
                cells.push((name, any_value(random), 10 * (version + 1)));
            }
        }
        rows.push((id, cells));
    }
    let rows: Vec<Row<'_>> = rows.iter().map(|(id, cells)| row(*id, cells)).collect();
    play.make(&own_table("own", 2), &rows).await;
    // Several row groups, each of which is a unit with an interval of its own.
    let small = BackupOptions { row_group_rows: 25, ..Stage::options() };
    play.stage.back_up("own", &small).await.unwrap();
    play
}

/// The same with records before the end of the scan and two deltas.
pub async fn chain(on: On, random: &mut StdRng) -> (Play, ChainWriter) {
    let play = scanned(on, random).await;
    let table = table_of(&play, "own");
    let first = records(random, 150);
    let mut chain = ChainWriter::begin(&play, "own", table, &first).await;
    for _ in 0..2 {
        let count = random.random_range(1..1_500);
        chain.follow(&records(random, count)).await;
    }
    (play, chain)
}

pub fn to(moment: Moment) -> RestoreOptions {
    RestoreOptions { to: moment, ..Play::options() }
}

fn between(table: &Table, from: i64, to: i64) -> Table {
    table.range(from..to).map(|(id, cells)| (*id, cells.clone())).collect()
}

#[tokio::test]
async fn a_chain_is_restored_to_its_end_to_every_run_and_to_any_time() {
    for seed in seeds(4) {
        println!("CHAIN_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (play, chain) = chain(if seed % 2 == 0 { On::Oss } else { On::Disk }, &mut random).await;
        let mut moments = vec![(Moment::End, chain.states.len() - 1)];
        moments
            .extend(chain.runs.iter().map(|(run, records, _)| (Moment::Run(run.clone()), *records as usize)));
        for _ in 0..3 {
            let records = random.random_range(150..chain.states.len());
            let time =
                chain.clock(records as u64) + SignedDuration::from_millis(random.random_range(0..1_000));
            moments.push((Moment::Time(time), records));
        }
        for (number, (moment, records)) in moments.iter().enumerate() {
            let target = format!("copy_{number}");
            let restored = play.restore("own", &target, &to(moment.clone())).await.unwrap();
            assert!(
                table_of(&play, &target) == chain.states[*records],
                "{moment} is another, CHAIN_SEED={seed}"
            );
            assert_eq!(restored.rows.written, chain.states[*records].len() as u64);
            assert_eq!(restored.records, *records as u64, "{moment}");
            let again = play.restore("own", &target, &to(moment.clone())).await.unwrap();
            assert!(again.finished_before, "{moment}");
        }
        // As of another moment it is another restore, and the table has rows.
        let before = play.writes();
        let (run, ..) = &chain.runs[0];
        let error = play.restore("own", "copy_0", &to(Moment::Run(run.clone()))).await.unwrap_err();
        assert_eq!((error.kind(), play.writes()), (Kind::Usage, before));
    }
}

#[tokio::test]
async fn a_part_of_the_keys_some_columns_and_the_newest_versions_alone() {
    let seed = seeds(1)[0];
    println!("CHAIN_SEED={seed}");
    let (play, chain) = chain(On::Disk, &mut StdRng::seed_from_u64(seed)).await;
    let end = chain.states.last().unwrap();
    let key = |id: i64| Some(PrimaryKey(vec![KeyPart::Integer(id)]));
    let part = RestoreOptions { from_key: key(57), to_key: key(311), ..Play::options() };
    play.restore("own", "part", &part).await.unwrap();
    assert!(table_of(&play, "part") == between(end, 57, 311), "CHAIN_SEED={seed}");
    // The rest of it, into the same table.
    let rest = RestoreOptions { on_conflict: Some(OnConflict::Newer), ..Play::options() };
    play.restore("own", "part", &rest).await.unwrap();
    assert!(table_of(&play, "part") == *end, "CHAIN_SEED={seed}");

    let newest =
        RestoreOptions { flatten: true, columns: Some(vec!["a".into(), "new".into()]), ..Play::options() };
    play.restore("own", "flat", &newest).await.unwrap();
    let found = table_of(&play, "flat");
    assert_eq!(found.len(), end.len());
    for (id, cells) in end {
        for name in ["a", "b", "new"] {
            let newest =
                cells.get(name).and_then(|versions| versions.values().next_back()).filter(|_| name != "b");
            let flat = found[id].get(name).and_then(|versions| versions.values().next());
            assert_eq!(flat, newest, "{id} {name}, CHAIN_SEED={seed}");
        }
    }
}

#[tokio::test]
async fn an_interrupted_restore_of_a_chain_goes_on_and_refused_rows_are_written_again() {
    let seed = seeds(1)[0];
    println!("CHAIN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (play, mut chain) = chain(On::Oss, &mut random).await;
    let end = &chain.states.last().unwrap().clone();
    let run = chain.runs.last().unwrap().0.clone();
    play.stage
        .fault(Rule::new(Action::Delay(Duration::from_millis(40))).on(Service::TableStore, "BatchWriteRow"));
    let (vault, job, running) = (play.stage.vault().await, play.job("own", "copy").await, runtime());
    let (client, options) = (play.stage.client(), RestoreOptions { lanes: 1, ..Play::options() });
    let stop = async {
        while play.stage.requests("BatchWriteRow") < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        running.shutdown.request(Signal::Terminate);
    };
    let (outcome, ()) = tokio::join!(restore(&client, &vault, &job, &options, &running), stop);
    assert_eq!(outcome.unwrap_err().kind(), Kind::Stopped);
    play.stage.sandbox.faults().clear();
    play.stage.fault(
        Rule::new(Action::error(403, "OTSInvalidPK", "No."))
            .on(Service::TableStore, "BatchWriteRow/row")
            .when(When::Every(7)),
    );
    // Meanwhile the chain grew: what was begun goes on as it began.
    chain.follow(&records(&mut random, 50)).await;
    let rest = play.restore("own", "copy", &options).await.unwrap();
    assert!(rest.rows.rejected > 0 && rest.rows.all() == end.len() as u64, "{:?}", rest.rows);
    play.stage.sandbox.faults().clear();
    assert_eq!(rest.run, run);
    let began = RestoreOptions { to: Moment::Run(run), ..options };
    let retried = play.retry("own", "copy", &began).await.unwrap();
    assert_eq!((retried.rows.rejected, retried.rows.all()), (0, end.len() as u64), "CHAIN_SEED={seed}");
    assert!(table_of(&play, "copy") == *end, "CHAIN_SEED={seed}");
}

#[tokio::test]
async fn rows_that_came_after_the_scan_of_an_empty_table_are_restored_part_by_part() {
    let play = Play::empty(On::Disk).await;
    play.make(&own_table("own", 1), &[]).await;
    play.back_up("own").await;
    let mut chain = ChainWriter::begin(&play, "own", Table::new(), &[]).await;
    // About 30 MiB of records, of which 8 MiB are held at a time.
    let text: &'static str = "x".repeat(30 << 10).leak();
    let put = |id: i64| Record {
        id: (id * 7_919) % 1_000,
        record_type: RecordType::Put,
        cells: vec![otsvault::model::Cell::put("a", Value::String(text), Some(id + 1))],
    };
    chain.follow(&(0..600).map(put).collect::<Vec<_>>()).await;
    chain.follow(&(600..1_000).map(put).collect::<Vec<_>>()).await;
    let restored = play.restore("own", "copy", &Play::options()).await.unwrap();
    assert_eq!((restored.rows.written, restored.records), (1_000, 1_000));
    assert!(table_of(&play, "copy") == *chain.states.last().unwrap());
}

#[tokio::test]
async fn expired_cells_stay_out_unless_they_are_wanted() {
    let mut random = StdRng::seed_from_u64(11);
    let play = scanned(On::Disk, &mut random).await;
    let scanned = table_of(&play, "own");
    let mut chain = ChainWriter::begin(&play, "own", scanned, &[]).await;
    chain.follow(&records(&mut random, 100)).await;
    // Everything is of 1970; from here on only the last 25 ms of it would be there.
    let now = chain.clock(110).as_second() + 1;
    chain.change_definition(|table| table.options.time_to_live = Some(i32::try_from(now).unwrap()));
    chain.follow(&records(&mut random, 10)).await;
    let end = chain.states.last().unwrap();
    let raw = RestoreOptions { time_to_live: TimeToLive::Raw, ..Play::options() };
    let restored = play.restore("own", "raw", &raw).await.unwrap();
    assert_eq!(restored.rows.written, end.len() as u64);
    // The moment is a second behind the last record, to the millisecond of when the backup began.
    let horizon = (chain.clock(110) + SignedDuration::from_secs(1)).as_millisecond() - now * 1_000;
    let expired = |cells: &crate::chain::Cells| {
        cells.values().all(|versions| versions.keys().all(|at| *at < horizon)) && !cells.is_empty()
    };
    let left = end.values().filter(|cells| !expired(cells)).count();
    let applied = play.restore("own", "applied", &Play::options()).await.unwrap();
    assert_eq!(applied.rows.written, left as u64, "of {} rows, at {horizon} ms", end.len());
}

#[tokio::test]
async fn a_moment_that_cannot_be_restored_and_a_damaged_delta_are_refused_before_a_row_is_written() {
    let seed = seeds(1)[0];
    println!("CHAIN_SEED={seed}");
    let (play, chain) = chain(On::Disk, &mut StdRng::seed_from_u64(seed)).await;
    let writes = play.writes();
    let last = chain.states.len() as u64 - 1;
    for time in [chain.clock(149), chain.clock(last) + SignedDuration::from_secs(2)] {
        let error = play.restore("own", "copy", &to(Moment::Time(time))).await.unwrap_err();
        assert_eq!((error.kind(), play.writes()), (Kind::NotFound, writes));
        let reason = error.report();
        assert!(reason.contains("what can be restored"), "{reason}");
    }
    let vault = play.stage.vault().await;
    let table = vault.table("sandbox", "own").unwrap();
    let read = Chain::read(&**vault.store(), &table, &chain.base).await.unwrap();
    let folder = read.deltas[0].path.records();
    let objects: Vec<_> =
        futures::TryStreamExt::try_collect(vault.store().list(Some(&folder))).await.unwrap();
    let object: &object_store::ObjectMeta = &objects[0];
    let mut bytes = vault.store().get(&object.location).await.unwrap().bytes().await.unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    vault.store().put(&object.location, bytes.into()).await.unwrap();
    let error = play.restore("own", "copy", &Play::options()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{}", error.report());
    assert!(error.report().contains(object.location.as_ref()), "{}", error.report());
    assert_eq!(play.stage.requests("BatchWriteRow"), 0);
    // What does not need it is restored.
    let base = to(Moment::Run(chain.base.run.clone()));
    play.restore("own", "base", &base).await.unwrap();
    assert!(table_of(&play, "base") == chain.states[150]);
}

#[tokio::test]
async fn the_command_says_the_moment_and_what_was_folded() {
    let mut random = StdRng::seed_from_u64(3);
    let play = scanned(On::Disk, &mut random).await;
    let table = table_of(&play, "own");
    let mut chain = ChainWriter::begin(&play, "own", table, &records(&mut random, 20)).await;
    chain.follow(&records(&mut random, 30)).await;
    let (stage, url) = (&play.stage, play.stage.vault_url());
    let settled = |text: &str| {
        let text = crate::command::settled(text, stage);
        regex::Regex::new(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
            .unwrap()
            .replace_all(&text, "<time>")
            .into_owned()
    };
    let time = (chain.clock(40) + SignedDuration::from_secs(5)).to_string();
    let arguments = ["restore", &url, "own", "ots://sandbox/copy", "--to", &time];
    let plan = stage.run(&[&arguments[..], &["--dry-run"]].concat()).await;
    assert_eq!(plan.code, Some(0), "{}", plan.stderr);
    // How wide a column is depends on sizes.
    let plan = regex::Regex::new(" {2,}").unwrap().replace_all(&plan.stdout, "  ").into_owned();
    insta::assert_snapshot!("chain_dry_run", settled(&plan));
    let done = stage.run(&[&arguments[..], &["--quiet"]].concat()).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    insta::assert_snapshot!("chain", settled(&done.stdout));
    assert!(table_of(&play, "copy") == chain.states[40]);
    let wrong = stage.run(&["restore", &url, "own", "ots://sandbox/copy", "--to", "yesterday"]).await;
    assert_eq!(wrong.code, Some(2));
    let both = [
        "restore",
        &url,
        "own",
        "ots://sandbox/x",
        "--run",
        chain.base.run.as_str(),
        "--to",
        chain.runs[1].0.as_str(),
    ];
    assert_eq!(stage.run(&both).await.code, Some(2));
}
