//! `expire` on real stores: by policy and by name, killed at every change, and what the program says.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use otsvault::Kind;
use otsvault::catalog::{Lease, RunId, RunState, find_runs, read_file_list};
use otsvault::retention::{Expired, Expiry, KeepPolicy, expire};
use otsvault::runtime::Shutdown;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::seeds;
use crate::troubled_store::{Trouble, TroubledStore};
use crate::world::{World, days};

fn keep_last(last: u32) -> Expiry {
    Expiry::Policy { keep: KeepPolicy { last: Some(last), ..KeepPolicy::default() }, pinned: BTreeSet::new() }
}

async fn run(world: &World, expiry: &Expiry, commit: bool) -> otsvault::Result<Expired> {
    expire(&world.vault, &world.table, expiry, commit, &Shutdown::default()).await
}

async fn visible(world: &World) -> Vec<RunId> {
    let runs = find_runs(&*world.store, &world.table).await.unwrap();
    runs.iter().map(|run| run.path().run.clone()).collect()
}

/// Every run that anybody sees is whole.
async fn assert_what_is_seen_is_whole(world: &World) {
    for run in find_runs(&*world.store, &world.table).await.unwrap() {
        let RunState::Committed(path, manifest) = run else { panic!("it was committed and is not hidden") };
        let there = world.everything();
        for entry in read_file_list(&*world.store, &path, &manifest).await.unwrap() {
            assert!(there.contains_key(path.data_file(entry.id).as_ref()), "{} is gone", entry.id);
        }
    }
}

/// Some backups of one table, oldest first.
async fn backups(seed: u64) -> (World, Vec<RunId>) {
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new().await;
    let mut runs = Vec::new();
    for number in 0..random.random_range(2..6) {
        let ago = days(&mut random, 60 - 10 * number..69 - 10 * number);
        let (path, _) = world.committed(ago, random.random_range(1..4)).await;
        runs.push(path.run);
    }
    world.strangers(None).await;
    (world, runs)
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_a_commit_removes_what_it_said() {
    let (world, runs) = backups(1).await;
    let before = world.everything();
    let dry = run(&world, &keep_last(1), false).await.unwrap();
    assert_eq!(world.everything(), before);
    let done = run(&world, &keep_last(1), true).await.unwrap();
    assert_eq!(done, dry);
    let (kept, gone) = (runs.last().unwrap(), &runs[..runs.len() - 1]);
    assert_eq!(visible(&world).await, std::slice::from_ref(kept));
    let after = world.everything();
    for name in before.keys() {
        let of_gone = gone.iter().any(|run| name.contains(run.as_str()));
        assert_eq!(after.contains_key(name), !of_gone, "{name}");
    }
    let objects: u64 = dry.going().filter_map(|run| run.goes).map(|(objects, _)| objects).sum();
    assert_eq!(objects as usize, before.keys().filter(|name| !after.contains_key(*name)).count());
    assert!(!after.keys().any(|name| name.contains("tombstone/2")), "tombstones go last");
    assert_what_is_seen_is_whole(&world).await;
    assert!(run(&world, &keep_last(1), true).await.unwrap().going().next().is_none());
}

#[tokio::test]
async fn killed_at_any_change_nothing_half_gone_is_seen_and_the_next_one_finishes() {
    let mut kills = 0;
    for seed in seeds(10) {
        for nth in 0.. {
            let (world, runs) = backups(seed).await;
            let before = world.everything();
            let store = TroubledStore::new(world.store.clone(), Trouble::ChangesStop { nth });
            let vault = world.behind(store.clone()).await;
            let killed = expire(&vault, &world.table, &keep_last(1), true, &Shutdown::default()).await;
            assert_what_is_seen_is_whole(&world).await;
            let seen = visible(&world).await;
            assert!(seen.contains(runs.last().unwrap()), "change {nth}, RETENTION_SEED={seed}");
            // The killed process has no lease any more; this test is alive, so it takes it away by hand.
            for name in world.everything().keys().filter(|name| name.contains("/lease/00")) {
                std::fs::remove_file(world.directory.path().join(name)).unwrap();
            }
            // What was hidden goes even if the next policy would have kept it.
            let generous = keep_last(100);
            run(&world, &generous, true).await.unwrap();
            assert_eq!(visible(&world).await, seen, "change {nth}, RETENTION_SEED={seed}");
            assert_what_is_seen_is_whole(&world).await;
            run(&world, &keep_last(1), true).await.unwrap();
            let after = world.everything();
            let left = before
                .keys()
                .filter(|name| runs[..runs.len() - 1].iter().any(|run| name.contains(run.as_str())));
            assert!(
                left.into_iter().all(|name| !after.contains_key(name)),
                "change {nth}, RETENTION_SEED={seed}"
            );
            assert!(
                !after.keys().any(|name| name.contains("/tombstone/2")),
                "change {nth}, RETENTION_SEED={seed}"
            );
            if killed.is_ok() && store.changes() <= nth {
                break;
            }
            kills += 1;
        }
    }
    println!("{kills} kills");
    assert!(kills >= 200 || std::env::var("RETENTION_SEED").is_ok(), "{kills} kills are too few");
}

#[tokio::test]
async fn a_listing_that_fails_expires_nothing() {
    let (world, _) = backups(3).await;
    let counting = TroubledStore::new(world.store.clone(), Trouble::Nothing);
    let vault = world.behind(counting.clone()).await;
    expire(&vault, &world.table, &keep_last(1), false, &Shutdown::default()).await.unwrap();
    let before = world.everything();
    for nth in 0..counting.lists() {
        for after in [0, 1, 5] {
            let store = TroubledStore::new(world.store.clone(), Trouble::ListFails { nth, after });
            let vault = world.behind(store).await;
            let outcome = expire(&vault, &world.table, &keep_last(1), true, &Shutdown::default()).await;
            assert!(outcome.is_err(), "list {nth} after {after}");
            assert_eq!(world.everything(), before);
        }
    }
}

#[tokio::test]
async fn a_policy_that_promises_nothing_is_refused_and_so_is_the_last_backup_by_name() {
    let (world, runs) = backups(4).await;
    let nothing = Expiry::Policy { keep: KeepPolicy::default(), pinned: BTreeSet::new() };
    assert_eq!(run(&world, &nothing, true).await.unwrap_err().kind(), Kind::Usage);
    let all = |the_last_too| Expiry::Named { runs: runs.iter().cloned().collect(), the_last_too };
    assert_eq!(run(&world, &all(false), true).await.unwrap_err().kind(), Kind::Refused);
    let first = Expiry::Named { runs: BTreeSet::from([runs[0].clone()]), the_last_too: false };
    run(&world, &first, true).await.unwrap();
    assert_eq!(visible(&world).await, runs[1..]);
    let rest = Expiry::Named { runs: runs[1..].iter().cloned().collect(), the_last_too: true };
    run(&world, &rest, true).await.unwrap();
    assert!(visible(&world).await.is_empty());
}

#[tokio::test]
async fn projections_are_counted_apart_and_push_no_table_out() {
    let world = World::new().await;
    let (whole, _) = world.committed(SignedDuration::from_hours(24 * 9), 1).await;
    let projections = [5, 3].map(|ago| SignedDuration::from_hours(24 * ago));
    let mut of_columns = Vec::new();
    for ago in projections {
        let (path, manifest) = world.committed(ago, 1).await;
        let mut document = serde_json::to_value(&manifest).unwrap();
        document["projection"] = serde_json::json!(["note"]);
        let file = world.directory.path().join(path.manifest().as_ref());
        std::fs::write(file, serde_json::to_vec(&document).unwrap()).unwrap();
        of_columns.push(path.run);
    }
    run(&world, &keep_last(1), true).await.unwrap();
    assert_eq!(visible(&world).await, [whole.run, of_columns[1].clone()]);
}

#[tokio::test]
async fn while_a_backup_runs_nothing_is_removed() {
    let (world, _) = backups(5).await;
    let _lease = Lease::acquire(&*world.store, &world.table, jiff::Timestamp::now()).await.unwrap();
    let before = world.everything();
    assert_eq!(run(&world, &keep_last(1), true).await.unwrap_err().kind(), Kind::Locked);
    assert_eq!(world.everything(), before);
    run(&world, &keep_last(1), false).await.unwrap();
}

#[tokio::test]
async fn a_stop_leaves_nothing_that_the_next_one_does_not_finish() {
    let (world, runs) = backups(6).await;
    let shutdown = Shutdown::default();
    let stopping = shutdown.clone();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        stopping.request(otsvault::runtime::Signal::Interrupt);
    };
    let policy = keep_last(1);
    let (outcome, ()) = tokio::join!(expire(&world.vault, &world.table, &policy, true, &shutdown), stop);
    if let Err(error) = outcome {
        assert_eq!(error.kind(), Kind::Stopped);
    }
    assert_what_is_seen_is_whole(&world).await;
    run(&world, &policy, true).await.unwrap();
    assert_eq!(visible(&world).await, runs[runs.len() - 1..]);
}
