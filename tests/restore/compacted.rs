//! Compaction: a chain folded into a new base is the chain.

use futures::TryStreamExt;
use object_store::ObjectStore;
use otsvault::catalog::{Chain, LeaseKeeper, Moment};
use otsvault::compact::{CompactOptions, Compaction, compact};
use otsvault::restore::RestoreOptions;
use otsvault::runtime::{CpuPool, Shutdown, Signal};
use otsvault::verify::read_back;
use otsvault::{Kind, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::chain::{ChainWriter, Record, Table, table_of};
use crate::chains::{chain, records, seeds, to};
use crate::play::{Play, own_table};
use crate::stage::On;

fn options(to: Moment) -> CompactOptions {
    CompactOptions { to, memory_bytes: 64 << 20, target_file_bytes: 64 << 10, ..CompactOptions::default() }
}

async fn compacted(play: &Play, options: &CompactOptions) -> Result<Compaction> {
    let vault = play.stage.vault().await;
    let table = vault.table("sandbox", "own").unwrap();
    compact(&vault, &table, options, &CpuPool::new(2).unwrap(), &Shutdown::default()).await
}

#[tokio::test]
async fn a_compacted_base_is_restored_as_the_chain_was_and_deltas_go_on_from_it() {
    for seed in seeds(3) {
        println!("CHAIN_SEED={seed}");
        let on = if seed % 2 == 0 { On::Oss } else { On::Disk };
        let mut random = StdRng::seed_from_u64(seed);
        let (play, mut writer) = chain(on, &mut random).await;
        // Of the two, the chain to its end becomes the newest.
        for (target, run) in [("half", 1), ("all", 2)] {
            let (run, records, _) = writer.runs[run].clone();
            let records = records as usize;
            let done = compacted(&play, &options(Moment::Run(run))).await.unwrap();
            assert_eq!(done.records, records as u64);
            let expected = &writer.states[records];
            assert_eq!(done.manifest.totals.rows, expected.len() as u64, "CHAIN_SEED={seed}");
            let vault = play.stage.vault().await;
            let read =
                read_back(&vault, &done.path, &done.manifest, &CpuPool::new(1).unwrap()).await.unwrap();
            assert_eq!((read.rows, read.row_sum), (done.manifest.totals.rows, done.manifest.totals.row_sum));
            let base = to(Moment::Run(done.path.run.clone()));
            play.restore("own", target, &base).await.unwrap();
            assert!(table_of(&play, target) == *expected, "{target}, CHAIN_SEED={seed}");
            assert_eq!(play.stage.table_sum(target).1, done.manifest.totals.row_sum);
            if target == "all" {
                writer.base = done.path;
            }
        }
        // The next delta follows the new base, and its moments can be named.
        writer.follow(&records(&mut random, 300)).await;
        let vault = play.stage.vault().await;
        let table = vault.table("sandbox", "own").unwrap();
        let chain = Chain::read(&**vault.store(), &table, &writer.base).await.unwrap();
        let window = chain.window().unwrap();
        let compacted_at = writer.runs[2].1;
        assert!(window.from >= writer.clock(compacted_at) && window.to > writer.clock(compacted_at + 299));
        let end = play.restore("own", "end", &Play::options()).await.unwrap();
        assert_eq!(end.records, 300);
        assert!(table_of(&play, "end") == *writer.states.last().unwrap(), "CHAIN_SEED={seed}");
        let time = writer.clock(compacted_at + 100);
        play.restore("own", "time", &to(Moment::Time(time))).await.unwrap();
        assert!(table_of(&play, "time") == writer.states[compacted_at as usize + 100], "CHAIN_SEED={seed}");
        // The old chain is what it was.
        let (first, up_to, _) = &writer.runs[0];
        play.restore("own", "first", &to(Moment::Run(first.clone()))).await.unwrap();
        assert!(table_of(&play, "first") == writer.states[*up_to as usize]);
    }
}

#[tokio::test]
async fn records_that_do_not_fit_into_memory_are_compacted_part_by_part() {
    let play = Play::empty(On::Disk).await;
    play.make(&own_table("own", 1), &[]).await;
    play.back_up("own").await;
    let mut writer = ChainWriter::begin(&play, "own", Table::new(), &[]).await;
    let text: &'static str = "x".repeat(30 << 10).leak();
    let put = |id: i64| Record {
        id: (id * 7_919) % 1_000,
        record_type: otsvault::model::RecordType::Put,
        cells: vec![otsvault::model::Cell::put("a", otsvault::model::Value::String(text), Some(id + 1))],
    };
    writer.follow(&(0..1_000).map(put).collect::<Vec<_>>()).await;
    let done = compacted(&play, &options(Moment::End)).await.unwrap();
    assert_eq!((done.manifest.totals.rows, done.records), (1_000, 1_000));
    play.restore("own", "copy", &RestoreOptions { run: Some(done.path.run), ..Play::options() })
        .await
        .unwrap();
    assert!(table_of(&play, "copy") == *writer.states.last().unwrap());
}

#[tokio::test]
async fn what_cannot_be_compacted_is_refused_and_leaves_nothing() {
    let mut random = StdRng::seed_from_u64(5);
    let (play, writer) = chain(On::Disk, &mut random).await;
    let vault = play.stage.vault().await;
    let table = vault.table("sandbox", "own").unwrap();
    let objects = async || {
        let listed: Vec<_> = vault.store().list(None).try_collect().await.unwrap();
        listed.iter().filter(|object| !object.location.as_ref().contains("lease")).count()
    };
    let before = objects().await;
    let time = Moment::Time(writer.clock(writer.states.len() as u64 - 1));
    let error = compacted(&play, &options(time)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage, "{}", error.report());
    let follower = LeaseKeeper::acquire_for_deltas(&vault, &table).await.unwrap();
    let error = compacted(&play, &options(Moment::End)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Locked, "{}", error.report());
    assert!(error.report().contains("--follow"), "{}", error.report());
    follower.release().await;
    let shutdown = Shutdown::default();
    shutdown.request(Signal::Terminate);
    let stopped = compact(&vault, &table, &options(Moment::End), &CpuPool::new(1).unwrap(), &shutdown).await;
    assert_eq!(stopped.unwrap_err().kind(), Kind::Stopped);
    assert_eq!(objects().await, before);
    // All leases were given up.
    compacted(&play, &options(Moment::End)).await.unwrap();

    play.make(&own_table("fuzzy", 1), &[]).await;
    play.back_up("fuzzy").await;
    let fuzzy = vault.table("sandbox", "fuzzy").unwrap();
    let none =
        compact(&vault, &fuzzy, &options(Moment::End), &CpuPool::new(1).unwrap(), &Shutdown::default()).await;
    assert_eq!(none.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn the_command_compacts_and_says_what_was_folded() {
    let mut random = StdRng::seed_from_u64(3);
    let (play, writer) = chain(On::Disk, &mut random).await;
    let (stage, url) = (&play.stage, play.stage.vault_url());
    let done = stage.run(&["compact", &url, "own", "--json"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let summary: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let table = &summary["tables"][0];
    assert_eq!(table["rows"], writer.states.last().unwrap().len());
    assert_eq!(table["records"], writer.states.len() - 1);
    assert_eq!(table["folded_run"], writer.runs[2].0.to_string());
    let text = stage.run(&["compact", &url, "own", "--to", writer.runs[1].0.as_str()]).await;
    assert_eq!(text.code, Some(0), "{}", text.stderr);
    assert!(text.stdout.contains("Stream records up to run"), "{}", text.stdout);
    let time = stage.run(&["compact", &url, "own", "--to", "2026-11-26T18:00:00Z"]).await;
    assert_eq!(time.code, Some(2), "{}", time.stderr);
}
