//! Chains that `backup` and `delta` made, restored, held against the sandbox's oracle and against a fold of all records at once.

use std::time::Duration;

use otsvault::backup::BackupOptions;
use otsvault::catalog::{Chain, Moment};
use otsvault::compact::{CompactOptions, compact};
use otsvault::model::RowHasher;
use otsvault::restore::{Job, RestoreOptions, RestoreProgress, Runtime, restore};
use otsvault::runtime::{CpuPool, Shutdown};
use otsvault::sandbox::faults::{Action, Rule, Service};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::exact::{append, changes, options, oracle};
use crate::second_opinion::{Folded, Hashes, chain_of, differing, fold, fold_until, hash_of};
use crate::seeds;
use crate::stage::Stage;
use crate::workload::{TABLE, stage_with_stream};

/// The rows of a restore to a moment.
async fn restored(stage: &Stage, target: &str, to: Moment) -> Hashes {
    let vault = stage.vault().await;
    let table = vault.table("sandbox", TABLE).unwrap();
    let job = Job { table, target: target.to_owned(), state: None };
    let options = RestoreOptions { to, memory_bytes: 64 << 20, ..RestoreOptions::default() };
    let runtime = Runtime {
        cpu: CpuPool::new(1).unwrap(),
        progress: std::sync::Arc::new(RestoreProgress::default()),
        shutdown: Shutdown::default(),
    };
    restore(&stage.client(), &vault, &job, &options, &runtime).await.unwrap();
    let (mut hashes, mut hasher) = (Hashes::new(), RowHasher::default());
    stage.sandbox.table_rows(target, |row| hash_of(&mut hashes, &mut hasher, row)).unwrap();
    hashes
}

/// Rows that differ, but for those that are in doubt.
fn other_rows(rows: Hashes, opinion: &Folded, expected: &Hashes) -> usize {
    let found = Folded { rows, ambiguous: opinion.ambiguous.clone(), records: 0 };
    differing(&found, expected).len()
}

#[tokio::test]
async fn a_chain_made_under_writes_is_restored_to_every_run_and_to_random_times() {
    let (mut restores, mut rows) = (0, 0);
    for seed in seeds(20) {
        let mut random = StdRng::seed_from_u64(seed);
        let (stage, client) = stage_with_stream(24).await;
        changes(&stage, &client, &mut random, 120).await;
        let slow = Action::Delay(Duration::from_millis(2));
        stage.fault(Rule::new(slow).on(Service::TableStore, "GetRange"));
        let options = BackupOptions { row_group_rows: 7, target_file_bytes: 1 << 16, ..options() };
        let writes = async {
            changes(&stage, &client, &mut random, 250).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = stage.back_up(TABLE, &options) => drop(done.unwrap()),
            () = writes => unreachable!("it waits for ever"),
        }
        for _ in 0..random.random_range(1..4) {
            let count = random.random_range(0..60);
            changes(&stage, &client, &mut random, count).await;
            append(&stage, &client).await.unwrap();
        }
        stage.sandbox.faults().clear();
        let vault = stage.vault().await;
        let chain: Chain = chain_of(&vault).await;
        let runs = std::iter::once(&chain.path.run).chain(chain.deltas.iter().map(|link| &link.path.run));
        for (deltas, run) in runs.enumerate() {
            let span = match deltas {
                0 => &chain.base.delta.as_ref().unwrap().stream,
                deltas => &chain.deltas[deltas - 1].manifest.delta.stream,
            };
            let moment = if deltas == chain.deltas.len() { Moment::End } else { Moment::Run(run.clone()) };
            let found = restored(&stage, &format!("run_{deltas}"), moment).await;
            let opinion = fold(&vault, &chain, deltas).await;
            rows += found.len();
            restores += 1;
            let wrong = other_rows(found, &opinion, &oracle(&stage, span));
            assert_eq!(wrong, 0, "after {deltas} deltas, DELTA_SEED={seed}");
        }
        for number in 0..chain.window().map_or(0, |_| 3) {
            let Some(window) = chain.window() else { break };
            let between = window.to.duration_since(window.from).as_micros() as i64;
            let time = window.from + jiff::SignedDuration::from_micros(random.random_range(0..=between));
            let found = restored(&stage, &format!("time_{number}"), Moment::Time(time)).await;
            let opinion = fold_until(&vault, &chain, chain.deltas.len(), time.as_microsecond()).await;
            rows += found.len();
            restores += 1;
            assert_eq!(other_rows(found, &opinion, &opinion.rows), 0, "at {time}, DELTA_SEED={seed}");
        }
        // Folded into a new base, which the next delta follows.
        let table = vault.table("sandbox", TABLE).unwrap();
        let compaction = CompactOptions { memory_bytes: 64 << 20, ..CompactOptions::default() };
        let cpu = CpuPool::new(1).unwrap();
        let done = compact(&vault, &table, &compaction, &cpu, &Shutdown::default()).await.unwrap();
        changes(&stage, &client, &mut random, 40).await;
        let appended = append(&stage, &client).await.unwrap();
        assert_eq!(appended.path.chain, done.path.run, "DELTA_SEED={seed}");
        let found = restored(&stage, "compacted", Moment::End).await;
        let chain = chain_of(&vault).await;
        let mut opinion = fold(&vault, &chain, chain.deltas.len()).await;
        opinion.ambiguous.extend(done.ambiguous.keys);
        let wrong = other_rows(found, &opinion, &oracle(&stage, chain.end().unwrap()));
        assert_eq!(wrong, 0, "compacted, DELTA_SEED={seed}");
    }
    println!("{restores} restores, {rows} rows compared");
    assert!(restores > 0 && rows > 0);
}
