//! Chains held against a table by `verify` and `diff`: compared are the rows with their records, not the base as it was scanned.

use std::sync::Arc;
use std::time::Duration;

use otsvault::model::{Cell, PrimaryKeyValue, Row, Value};
use otsvault::runtime::CpuPool;
use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::tablestore::TableStore;
use otsvault::verify::{Level, RunReport, Verifier, VerifyOptions, VerifyProgress, verify_live};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::exact::{append, options};
use crate::seeds;
use crate::stage::{Ended, Stage};
use crate::workload::{TABLE, stage_with_stream};

fn row(id: i64, value: i64) -> Row<'static> {
    let cells = vec![Cell::put("a", Value::Integer(value), None), Cell::put("b", Value::String("x"), None)];
    Row { key: vec![("id", PrimaryKeyValue::Integer(id))], cells, ..Row::default() }
}

/// Whole rows alone: nothing that the service leaves open.
async fn write_something(client: &TableStore, random: &mut StdRng) {
    let id = random.random_range(0..200);
    match random.random_range(0..4) {
        0 => drop(client.delete_row(TABLE, &row(id, 0)).await.unwrap()),
        _ => drop(client.put_row(TABLE, &row(id, random.random())).await.unwrap()),
    }
}

/// An exact base that was made under writes, and three deltas, one of them idle.
async fn chain(seed: u64) -> (Stage, TableStore) {
    let mut random = StdRng::seed_from_u64(seed);
    let (stage, client) = stage_with_stream(24).await;
    for _ in 0..300 {
        write_something(&client, &mut random).await;
    }
    let slow = Rule::new(Action::Delay(Duration::from_millis(20)));
    stage.fault(slow.on(Service::TableStore, "GetRange"));
    let backup_options = options();
    let backup = stage.back_up(TABLE, &backup_options);
    let writes = async {
        loop {
            write_something(&client, &mut random).await;
        }
    };
    let done = tokio::select! {
        done = backup => done.unwrap(),
        () = writes => unreachable!(),
    };
    stage.sandbox.faults().clear();
    let records = done.manifest.delta.as_ref().map_or(0, |delta| delta.totals.records);
    assert!(records > 0, "nothing was written during the scan");
    // What was on its way when the backup ended, and more.
    for count in [25, 0, 25] {
        for _ in 0..count {
            write_something(&client, &mut random).await;
        }
        append(&stage, &client).await.unwrap();
    }
    (stage, client)
}

async fn live(stage: &Stage, client: &TableStore) -> RunReport {
    let verifier = Verifier { cpu: CpuPool::new(1).unwrap(), progress: Arc::new(VerifyProgress::default()) };
    let options = VerifyOptions { level: Level::Live, ..VerifyOptions::default() };
    let vault = stage.vault().await;
    let table = vault.table("sandbox", TABLE).unwrap();
    verify_live(&vault, &table, None, (client, TABLE), &options, &verifier).await.unwrap().unwrap()
}

async fn drill(stage: &Stage, more: &[&str]) -> Ended {
    let url = stage.vault_url();
    let arguments = ["verify", &url, "--level", "drill", "--scratch", "ots://sandbox/drill_", "--quiet"];
    stage.run(&[&arguments, more].concat()).await
}

#[tokio::test]
async fn a_chain_is_the_table_until_the_table_changes() {
    for seed in seeds(6) {
        let (stage, client) = chain(seed).await;
        let report = live(&stage, &client).await;
        let rows = stage.table_sum(TABLE).0;
        let compared = report.comparison.as_ref().unwrap();
        assert!(report.is_sound(), "seed {seed}: {compared:?} {:?}", report.faults);
        assert_eq!((compared.left_rows, compared.right_rows), (rows, rows), "seed {seed}");
        assert!(report.notes.iter().any(|note| note.contains("Stream records")), "{:?}", report.notes);
        let (backup, table) = (format!("{}#{TABLE}", stage.vault_url()), format!("ots://sandbox/{TABLE}"));
        let same = stage.run(&["diff", &backup, &table]).await;
        assert_eq!(same.code, Some(0), "seed {seed}: {}{}", same.stdout, same.stderr);

        client.put_row(TABLE, &row(77, 1)).await.unwrap();
        let report = live(&stage, &client).await;
        let named: Vec<_> = report.comparison.unwrap().rows.iter().map(|row| row.key.to_string()).collect();
        assert_eq!(named, ["(77)"], "seed {seed}");
    }
}

#[tokio::test]
async fn a_drill_gives_a_chain_back_at_its_end_and_at_its_base() {
    for seed in seeds(4) {
        let (stage, client) = chain(seed).await;
        let run = live(&stage, &client).await.run;
        for more in [&[][..], &["--run", &run]] {
            let ended = drill(&stage, more).await;
            assert_eq!(ended.code, Some(0), "seed {seed}, {more:?}: {}{}", ended.stdout, ended.stderr);
        }
        let tables = client.list_tables().await.unwrap();
        assert_eq!(tables, [TABLE], "seed {seed}");
    }
}

#[tokio::test]
async fn two_moments_of_a_chain_differ_in_the_rows_that_changed_between_them() {
    let (stage, client) = chain(9).await;
    let vault = stage.vault_url();
    let json = |ended: &Ended| -> serde_json::Value {
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr))
    };
    let before = json(&stage.run(&["delta", "ots://sandbox/t", &vault, "--json"]).await);
    client.put_row(TABLE, &row(7_001, 1)).await.unwrap();
    let after = json(&stage.run(&["delta", "ots://sandbox/t", &vault, "--json"]).await);
    let side = |moment: &serde_json::Value| format!("{vault}#{TABLE}@{}", moment.as_str().unwrap());
    let same = stage.run(&["diff", &side(&before["known_to"]), &side(&before["run"])]).await;
    assert_eq!(same.code, Some(0), "{}{}", same.stdout, same.stderr);
    let differ = stage.run(&["diff", &side(&before["run"]), &side(&after["run"]), "--json"]).await;
    let differ = (differ.code, json(&differ));
    assert_eq!(
        (differ.0, &differ.1["added"], &differ.1["rows"][0]["key"][0]["integer"]),
        (Some(5), &1.into(), &7_001.into())
    );

    let at = before["run"].as_str().unwrap();
    let live = ["verify", &vault, "--level=live", "--against=ots://sandbox/t", "--json"];
    assert_eq!(stage.run(&live).await.code, Some(0));
    let earlier = stage.run(&[&live[..], &["--at", at]].concat()).await;
    assert_eq!(earlier.code, Some(5), "{}{}", earlier.stdout, earlier.stderr);
    let drilled = drill(&stage, &["--at", before["known_to"].as_str().unwrap()]).await;
    assert_eq!(drilled.code, Some(0), "{}{}", drilled.stdout, drilled.stderr);
    let never = stage.run(&[&live[..], &["--at", "2001-01-01T00:00:00Z"]].concat()).await;
    assert_eq!(never.code, Some(7), "{}{}", never.stdout, never.stderr);
}
