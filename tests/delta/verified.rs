//! Damage to a chain is found: to its documents, its files, and the links between them.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use otsvault::catalog::Vault;
use otsvault::runtime::CpuPool;
use otsvault::verify::{Level, RunReport, Verifier, VerifyOptions, VerifyProgress, verify_table};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::exact::{append, changes, options};
use crate::stage::Stage;
use crate::workload::{TABLE, stage_with_stream};

/// An exact base, a delta with records, an idle one, and one with records at the end.
async fn chain(seed: u64) -> Stage {
    let mut random = StdRng::seed_from_u64(seed);
    let (stage, client) = stage_with_stream(24).await;
    changes(&stage, &client, &mut random, 40).await;
    stage.back_up(TABLE, &options()).await.unwrap();
    for count in [20, 0, 20] {
        changes(&stage, &client, &mut random, count).await;
        append(&stage, &client).await.unwrap();
    }
    stage
}

async fn verify(vault: &Vault, level: Level) -> otsvault::Result<RunReport> {
    let verifier = Verifier { cpu: CpuPool::new(1).unwrap(), progress: Arc::new(VerifyProgress::default()) };
    let options = VerifyOptions { level, ..VerifyOptions::default() };
    let table = vault.table("sandbox", TABLE).unwrap();
    Ok(verify_table(vault, &table, None, &options, &verifier).await?.expect("a run"))
}

/// What is wrong, or `None`.
async fn findings(vault: &Vault, level: Level) -> Option<String> {
    match verify(vault, level).await {
        Ok(report) if report.is_sound() => None,
        Ok(report) => Some(format!("{:?}", report.faults)),
        Err(error) => Some(error.report()),
    }
}

/// Every object but the leases, sorted.
async fn objects(vault: &Vault) -> Vec<(Path, Bytes)> {
    let listed: Vec<_> = vault.store().list(None).try_collect().await.unwrap();
    let mut objects = Vec::new();
    for object in listed {
        if !object.location.as_ref().contains("lease/") {
            let bytes = vault.store().get(&object.location).await.unwrap().bytes().await.unwrap();
            objects.push((object.location, bytes));
        }
    }
    objects.sort_by(|a, b| a.0.cmp(&b.0));
    objects
}

#[tokio::test]
async fn a_sound_chain_passes_and_says_what_it_holds() {
    let stage = chain(1).await;
    let vault = stage.vault().await;
    for level in [Level::Quick, Level::Sample, Level::Full] {
        let report = verify(&vault, level).await.unwrap();
        assert!(report.is_sound(), "{level:?}: {:?}", report.faults);
        assert_eq!(report.deltas, 3);
        assert!(report.records >= 30, "{}", report.records);
        if level == Level::Full {
            assert_eq!(report.files_read, report.files);
        }
    }
    let shown = stage.run(&["verify", &stage.vault_url(), "--level=full"]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("chain       3 deltas after the base"), "{}", shown.stdout);
}

#[tokio::test]
async fn quick_finds_every_object_of_a_chain_that_is_gone_cut_or_swapped() {
    let stage = chain(2).await;
    let vault = stage.vault().await;
    let all = objects(&vault).await;
    let mut looked_at = 0;
    for (path, bytes) in all
        .iter()
        .filter(|(path, _)| path.as_ref().contains("/delta/") || path.as_ref().contains("/records/"))
    {
        looked_at += 1;
        vault.store().delete(path).await.unwrap();
        assert!(findings(&vault, Level::Quick).await.is_some(), "{path} deleted");
        for length in [0, bytes.len() / 2, bytes.len() - 1] {
            vault.store().put(path, bytes.slice(..length).into()).await.unwrap();
            assert!(findings(&vault, Level::Quick).await.is_some(), "{path} cut to {length} bytes");
        }
        let others = all.iter().filter(|(other, _)| other != path);
        for (other, of_other) in others
            .filter(|(other, _)| other.filename() == path.filename() || other.extension() == path.extension())
        {
            vault.store().put(path, of_other.clone().into()).await.unwrap();
            assert!(findings(&vault, Level::Quick).await.is_some(), "{other} in the place of {path}");
        }
        vault.store().put(path, bytes.clone().into()).await.unwrap();
    }
    assert!(looked_at >= 9, "{looked_at} objects");
    assert_eq!(findings(&vault, Level::Quick).await, None);
}

#[tokio::test]
async fn full_finds_single_bit_flips_anywhere_in_a_chain() {
    let stage = chain(3).await;
    let vault = stage.vault().await;
    let objects = objects(&vault).await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for flip in 0..300 {
        let (path, bytes) = &objects[random.random_range(0..objects.len())];
        let bit = random.random_range(0..bytes.len() * 8);
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        vault.store().put(path, damaged.into()).await.unwrap();
        assert!(
            findings(&vault, Level::Full).await.is_some(),
            "seed {seed}, flip {flip}: bit {bit} of {path}"
        );
        vault.store().put(path, bytes.clone().into()).await.unwrap();
    }
    assert_eq!(findings(&vault, Level::Full).await, None);
}
