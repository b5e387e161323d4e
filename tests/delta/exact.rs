//! Exact bases and the deltas that follow them, held against the sandbox's oracle.

use std::time::Duration;

use otsvault::backup::{Backup, BackupOptions, WantedConsistency};
use otsvault::catalog::{Consistency, StreamSpan};
use otsvault::delta::{Appended, DeltaOptions, Runtime, delta};
use otsvault::model::RowHasher;
use otsvault::runtime::{CpuPool, Shutdown};
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::tablestore::TableStore;
use otsvault::{Kind, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::second_opinion::{Hashes, chain_of, cut, differing, fold, hash_of};
use crate::seeds;
use crate::stage::Stage;
use crate::workload::{TABLE, change_something, move_partitions, stage_with_stream};

fn runtime() -> Runtime {
    Runtime { cpu: CpuPool::new(1).unwrap(), shutdown: Shutdown::default() }
}

pub fn options() -> BackupOptions {
    Stage::options()
}

pub async fn append(stage: &Stage, client: &TableStore) -> Result<Appended> {
    delta(client, TABLE, &stage.vault().await, &DeltaOptions::default(), &runtime()).await
}

pub async fn changes(stage: &Stage, client: &TableStore, random: &mut StdRng, count: u32) {
    for _ in 0..count {
        match random.random_range(0..12) {
            0 => move_partitions(stage, random),
            1 => {
                let partitions = stage.sandbox.table_store().partitions(TABLE).unwrap().len();
                let (partition, by) = (random.random_range(0..partitions), random.random_range(-600_000..0));
                stage.sandbox.table_store().shift_stream_clock(TABLE, partition, by).unwrap();
            }
            _ => change_something(client, random).await,
        }
    }
}

/// The table at the end of a span, by the oracle.
pub fn oracle(stage: &Stage, span: &StreamSpan) -> Hashes {
    let (mut hashes, mut hasher) = (Hashes::new(), RowHasher::default());
    let visit = |row: &otsvault::model::Row<'_>| hash_of(&mut hashes, &mut hasher, row);
    stage.sandbox.table_store().image(TABLE, &cut(stage, span), None, visit).unwrap();
    hashes
}

/// Backs the table up while somebody writes to it.
async fn back_up_under_writes(
    stage: &Stage,
    client: &TableStore,
    random: &mut StdRng,
    options: &BackupOptions,
) -> Backup {
    let backup = stage.back_up(TABLE, options);
    let writes = async {
        // A Stream that splits faster than it is listed is never read to an end.
        for moves in 0.. {
            if moves % 100 == 50 {
                move_partitions(stage, random);
            }
            change_something(client, random).await;
        }
    };
    tokio::select! {
        done = backup => done.unwrap(),
        () = writes => unreachable!(),
    }
}

#[tokio::test]
async fn a_base_that_is_made_under_writes_is_the_table_at_its_fence_and_deltas_go_on_from_there() {
    let (mut rows, mut in_doubt, mut records) = (0, 0, 0);
    for seed in seeds(20) {
        let mut random = StdRng::seed_from_u64(seed);
        let (stage, client) = stage_with_stream(24).await;
        changes(&stage, &client, &mut random, 120).await;
        // Slow pages, so that much happens during the scan.
        let slow = Action::Delay(Duration::from_millis(3));
        stage.fault(Rule::new(slow).on(Service::TableStore, "GetRange"));
        let options = BackupOptions { row_group_rows: 7, target_file_bytes: 1 << 16, ..options() };
        let done = back_up_under_writes(&stage, &client, &mut random, &options).await;
        assert_eq!(done.manifest.consistency, Consistency::Exact);
        let deltas = random.random_range(1..4);
        for _ in 0..deltas {
            let count = random.random_range(0..40);
            changes(&stage, &client, &mut random, count).await;
            append(&stage, &client).await.unwrap();
        }
        let vault = stage.vault().await;
        let chain = chain_of(&vault).await;
        assert_eq!(chain.deltas.len(), deltas, "DELTA_SEED={seed}");
        for count in 0..=deltas {
            let span = match count {
                0 => &chain.base.delta.as_ref().unwrap().stream,
                count => &chain.deltas[count - 1].manifest.delta.stream,
            };
            let folded = fold(&vault, &chain, count).await;
            let differing = differing(&folded, &oracle(&stage, span));
            assert!(differing.is_empty(), "after {count} deltas, DELTA_SEED={seed}: {differing:?}");
            rows += folded.rows.len();
            in_doubt += folded.ambiguous.len();
            records += folded.records;
        }
    }
    println!("{rows} rows compared, of which {in_doubt} are in doubt; {records} records folded");
    assert!(in_doubt * 4 < rows, "too much is in doubt");
}

#[tokio::test]
async fn without_a_stream_or_on_request_a_base_is_fuzzy_and_no_delta_follows_it() {
    let (stage, client) = stage_with_stream(24).await;
    let fuzzy = BackupOptions { consistency: WantedConsistency::Fuzzy, ..options() };
    let done = stage.back_up(TABLE, &fuzzy).await.unwrap();
    assert_eq!((done.manifest.consistency, done.manifest.delta), (Consistency::Fuzzy, None));
    let error = append(&stage, &client).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let part = BackupOptions { columns: Some(vec!["a".into()]), ..options() };
    assert_eq!(stage.back_up(TABLE, &part).await.unwrap().manifest.consistency, Consistency::Fuzzy);
    let exact = BackupOptions { consistency: WantedConsistency::Exact, ..part };
    assert_eq!(stage.back_up(TABLE, &exact).await.unwrap_err().kind(), Kind::Usage);
}

#[tokio::test]
async fn a_stream_is_enabled_before_the_scan_where_that_is_asked_for() {
    let stage = Stage::with(crate::stage::On::Disk, &[]).await;
    let client = stage.client();
    let mut definition = crate::workload::definition(24);
    definition.stream = None;
    client.create_table(&definition, &[]).await.unwrap();
    let exact = BackupOptions { consistency: WantedConsistency::Exact, ..options() };
    let refused = stage.back_up(TABLE, &exact).await.unwrap_err();
    assert!(refused.report().contains("--enable-stream"), "{}", refused.report());
    let enabling = BackupOptions { enable_stream: Some(72), ..exact };
    let done = stage.back_up(TABLE, &enabling).await.unwrap();
    let stream = done.manifest.table.stream.clone().unwrap();
    assert_eq!((done.manifest.consistency, stream.expiration_hours), (Consistency::Exact, 72));
    let empty = append(&stage, &client).await.unwrap();
    assert_eq!((empty.path.sequence, empty.manifest.delta.totals.records), (1, 0));
}
