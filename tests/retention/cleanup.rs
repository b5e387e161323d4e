//! `cleanup` on real stores.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use object_store::path::Path;
use otsvault::Kind;
use otsvault::catalog::{FileId, Lease, RunState, find_runs, read_file_list};
use otsvault::retention::{Cleanup, cleanup};
use otsvault::runtime::{Shutdown, Signal};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::seeds;
use crate::troubled_store::{Trouble, TroubledStore};
use crate::world::{World, days};

async fn clean(world: &World, commit: bool) -> otsvault::Result<Cleanup> {
    cleanup(&world.vault, &world.table, &BTreeSet::new(), commit, &Shutdown::default()).await
}

/// A vault with runs in every state; what of it must stay whatever happens, and what must go.
struct Made {
    world: World,
    stays: BTreeSet<String>,
}

async fn random_world(seed: u64) -> Made {
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::new().await;
    let mut stays = BTreeSet::from(["otsvault.json".to_owned()]);
    let under = |world: &World, prefix: &Path| -> BTreeSet<String> {
        let prefix = format!("{prefix}/");
        world.everything().into_keys().filter(|name| name.starts_with(&prefix)).collect()
    };
    let mut last = None;
    for _ in 0..random.random_range(1..5) {
        let (run, started_days) = match random.random_range(0..5) {
            // Committed, with what killed and zombie writers leave.
            0 | 1 => {
                let ago = days(&mut random, 2..60);
                let (run, _) = world.committed(ago, random.random_range(1..4)).await;
                stays.extend(under(&world, run.prefix()));
                for _ in 0..random.random_range(0..3) {
                    world.put(&run.data_file(FileId::random())).await;
                    let list = format!("files-{:016x}.jsonl.zst", random.random::<u64>());
                    world.put(&run.prefix().clone().join(list)).await;
                }
                (run, ago)
            }
            // Unfinished, too old or not.
            2 | 3 => {
                let ago = days(&mut random, 2..14);
                let (run, started) = world.started(ago).await;
                world.write_files(&run, &started, random.random_range(1..4)).await;
                if ago < SignedDuration::from_hours(24 * 7) {
                    stays.extend(under(&world, run.prefix()));
                }
                (run, ago)
            }
            // Half removed: the tombstone is there, and some of the objects.
            _ => {
                let ago = days(&mut random, 2..60);
                let (run, _) = world.committed(ago, 2).await;
                world.hide(&run).await;
                (run, ago)
            }
        };
        world.age(run.prefix(), started_days);
        if random.random_bool(0.4) {
            world.stage_upload(&run.data_file(FileId::random()), started_days);
        }
        last = Some(run);
    }
    stays.extend(world.strangers(last.as_ref()).await);
    Made { world, stays }
}

/// Names that the two have differently.
fn gone(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    before.keys().filter(|name| !after.contains_key(*name)).cloned().collect()
}

fn planned(done: &Cleanup) -> BTreeSet<String> {
    let of_runs = done.plan.runs.iter().flat_map(|run| run.objects.iter().cloned());
    of_runs.chain(done.plan.objects.iter().map(|orphan| orphan.object.clone())).collect()
}

async fn assert_committed_runs_are_whole(world: &World) {
    for run in find_runs(&*world.store, &world.table).await.unwrap() {
        let RunState::Committed(path, manifest) = run else { continue };
        let entries = read_file_list(&*world.store, &path, &manifest).await.unwrap();
        let there = world.everything();
        for entry in entries {
            assert!(there.contains_key(path.data_file(entry.id).as_ref()), "{} is gone", entry.id);
        }
    }
}

#[tokio::test]
async fn a_dry_run_lists_exactly_what_a_commit_removes_and_what_is_needed_stays() {
    for seed in seeds(150) {
        let Made { world, stays } = random_world(seed).await;
        let before = world.everything();
        let dry = clean(&world, false).await.unwrap();
        assert_eq!(world.everything(), before, "a dry run changes nothing, RETENTION_SEED={seed}");
        let done = clean(&world, true).await.unwrap();
        assert_eq!(done, dry, "RETENTION_SEED={seed}");
        let after = world.everything();
        let mut expected = planned(&dry);
        // Uploads are staging files here; tombstones go with their runs.
        expected.extend(
            before.keys().filter(|name| name.contains('#') || name.contains("/tombstone/2")).cloned(),
        );
        assert_eq!(gone(&before, &after), expected, "RETENTION_SEED={seed}");
        for name in &stays {
            assert_eq!(after.get(name), before.get(name), "`{name}`, RETENTION_SEED={seed}");
        }
        let added: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
        assert!(added.iter().all(|name| name.contains("/lease/")), "{added:?}, RETENTION_SEED={seed}");
        assert_committed_runs_are_whole(&world).await;
        let again = clean(&world, true).await.unwrap();
        assert!(again.plan.is_empty(), "nothing is left, RETENTION_SEED={seed}: {:#?}", again.plan);
    }
}

#[tokio::test]
async fn a_listing_that_fails_is_an_error_and_one_that_lies_costs_nothing_that_is_needed() {
    let (mut failed, mut lied) = (0, 0);
    for seed in seeds(30) {
        let Made { world, stays } = random_world(seed).await;
        let counting = TroubledStore::new(world.store.clone(), Trouble::Nothing);
        let vault = world.behind(counting.clone()).await;
        cleanup(&vault, &world.table, &BTreeSet::new(), false, &Shutdown::default()).await.unwrap();
        let lists = counting.lists();
        let before = world.everything();
        for nth in 0..lists {
            for after in [0, 1, 3] {
                let store = TroubledStore::new(world.store.clone(), Trouble::ListFails { nth, after });
                let vault = world.behind(store).await;
                let outcome =
                    cleanup(&vault, &world.table, &BTreeSet::new(), true, &Shutdown::default()).await;
                assert!(outcome.is_err(), "list {nth} after {after}, RETENTION_SEED={seed}");
                assert_eq!(gone(&before, &world.everything()), BTreeSet::new(), "RETENTION_SEED={seed}");
                failed += 1;
            }
        }
        // These do change the vault: a lie may hide what has to go, never what has to stay.
        for nth in 0..2 * lists {
            let store =
                TroubledStore::new(world.store.clone(), Trouble::ListLies { nth, after: nth as usize % 3 });
            let vault = world.behind(store).await;
            let _ = cleanup(&vault, &world.table, &BTreeSet::new(), true, &Shutdown::default()).await;
            let after = world.everything();
            for name in &stays {
                assert_eq!(after.get(name), before.get(name), "`{name}`, list {nth}, RETENTION_SEED={seed}");
            }
            lied += 1;
        }
        clean(&world, true).await.unwrap();
        assert_committed_runs_are_whole(&world).await;
    }
    println!("{failed} listings failed, {lied} lied");
    if std::env::var("RETENTION_SEED").is_err() {
        assert!(failed >= 500 && lied >= 300, "{failed} and {lied}");
    }
}

#[tokio::test]
async fn a_cleanup_that_is_killed_at_any_change_is_finished_by_the_next_one() {
    for seed in seeds(12) {
        for nth in 0.. {
            let Made { world, stays } = random_world(seed).await;
            let before = world.everything();
            let expected = planned(&clean(&world, false).await.unwrap()).len();
            let store = TroubledStore::new(world.store.clone(), Trouble::ChangesStop { nth });
            let vault = world.behind(store.clone()).await;
            let killed = cleanup(&vault, &world.table, &BTreeSet::new(), true, &Shutdown::default()).await;
            // Neither may what is left be taken for a run that can be continued or read.
            assert_committed_runs_are_whole(&world).await;
            for run in find_runs(&*world.store, &world.table).await.unwrap() {
                if let RunState::Unfinished(path, _) = run {
                    let whole = before.keys().filter(|name| name.starts_with(&format!("{}/", path.prefix())));
                    let now = world.everything();
                    assert!(whole.into_iter().all(|name| name.contains('#') || now.contains_key(name)));
                }
            }
            release_lease(&world).await;
            clean(&world, true).await.unwrap();
            let after = world.everything();
            let of_runs = gone(&before, &after)
                .into_iter()
                .filter(|name| !name.contains('#') && !name.contains("/tombstone/2"));
            assert_eq!(of_runs.count(), expected, "change {nth}, RETENTION_SEED={seed}");
            assert!(
                !after.keys().any(|name| name.contains("/tombstone/2")),
                "change {nth}, RETENTION_SEED={seed}"
            );
            assert!(stays.iter().all(|name| after.get(name) == before.get(name)), "RETENTION_SEED={seed}");
            if killed.is_ok() && store.changes() <= nth {
                break;
            }
        }
    }
}

/// The lease of a killed process is free at once; this process is alive, so the test does it by hand.
async fn release_lease(world: &World) {
    for name in world.everything().keys().filter(|name| name.contains("/lease/00")) {
        std::fs::remove_file(world.directory.path().join(name)).unwrap();
    }
}

#[tokio::test]
async fn a_live_lease_protects_and_so_does_what_was_written_lately() {
    let world = World::new().await;
    let (old, started) = world.started(SignedDuration::from_hours(24 * 30)).await;
    world.write_files(&old, &started, 2).await;
    let lately = clean(&world, true).await.unwrap();
    assert!(lately.plan.is_empty() && lately.plan.left[0].why.contains("written to"), "{lately:?}");
    world.age(old.prefix(), SignedDuration::from_hours(24 * 30));
    let lease = Lease::acquire(&*world.store, &world.table, jiff::Timestamp::now()).await.unwrap();
    let dry = clean(&world, false).await.unwrap();
    assert!(dry.plan.is_empty() && dry.plan.locked.unwrap().contains("holds its lease"));
    assert_eq!(clean(&world, true).await.unwrap_err().kind(), Kind::Locked);
    lease.release(&*world.store, &world.table).await.unwrap();
    assert_eq!(clean(&world, true).await.unwrap().plan.runs.len(), 1);
}

#[tokio::test]
async fn a_run_is_given_up_by_name_and_a_committed_one_is_not() {
    let world = World::new().await;
    let (young, started) = world.started(SignedDuration::from_hours(3)).await;
    world.write_files(&young, &started, 2).await;
    world.age(young.prefix(), SignedDuration::from_hours(2));
    let (committed, _) = world.committed(SignedDuration::from_hours(24 * 30), 1).await;
    let named = |run| BTreeSet::from([run]);
    let refused =
        cleanup(&world.vault, &world.table, &named(committed.run.clone()), true, &Shutdown::default()).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Usage);
    assert!(clean(&world, true).await.unwrap().plan.is_empty(), "a backup may go on with it");
    let done =
        cleanup(&world.vault, &world.table, &named(young.run.clone()), true, &Shutdown::default()).await;
    assert_eq!(done.unwrap().plan.runs.len(), 1);
    assert!(!world.directory.path().join(young.prefix().as_ref()).exists(), "its directories are gone too");
}

#[tokio::test]
async fn a_table_with_a_manifest_that_nobody_understands_is_not_touched() {
    let world = World::new().await;
    let (dead, started) = world.started(SignedDuration::from_hours(24 * 30)).await;
    world.write_files(&dead, &started, 1).await;
    let (odd, _) = world.committed(SignedDuration::from_hours(24 * 40), 1).await;
    std::fs::write(world.directory.path().join(odd.manifest().as_ref()), b"{\"format_version\": 2}").unwrap();
    world.age(&world.table.prefix(), SignedDuration::from_hours(24 * 30));
    let before = world.everything();
    assert_eq!(clean(&world, true).await.unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(world.everything(), before);
}

#[tokio::test]
async fn a_wish_to_stop_is_heard() {
    let world = World::new().await;
    let (dead, started) = world.started(SignedDuration::from_hours(24 * 30)).await;
    world.write_files(&dead, &started, 1).await;
    world.age(dead.prefix(), SignedDuration::from_hours(24 * 30));
    let shutdown = Shutdown::default();
    shutdown.request(Signal::Terminate);
    let outcome = cleanup(&world.vault, &world.table, &BTreeSet::new(), true, &shutdown).await;
    assert_eq!(outcome.unwrap_err().kind(), Kind::Stopped);
}
