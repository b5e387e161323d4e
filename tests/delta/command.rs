//! `otsvault delta` from the outside: kills, stops, gaps, and what is said of them.

use std::process::Command;
use std::time::{Duration, Instant};

use otsvault::sandbox::faults::{Action, Rule, Service};
use otsvault::tablestore::{StreamSetting, TableStore, TableUpdate};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::exact::{changes, oracle};
use crate::second_opinion::{batches_of, chain_of, differing, fold};
use crate::stage::{Ended, Stage, finish};
use crate::workload::{TABLE, change_something, definition, stage_with_stream};

const SOURCE: &str = "ots://sandbox/t";

async fn base(stage: &Stage) -> Ended {
    let (vault, settle) = (stage.vault_url(), "--stream-settle=0s");
    let base =
        stage.run(&["backup", SOURCE, &vault, "--consistency=exact", settle, "--json", "--quiet"]).await;
    assert_eq!(base.code, Some(0), "{}", base.stderr);
    base
}

/// A table with an exact base and some changes since then.
async fn followed(random: &mut StdRng) -> (Stage, TableStore) {
    let (stage, client) = stage_with_stream(24).await;
    changes(&stage, &client, random, 60).await;
    base(&stage).await;
    changes(&stage, &client, random, 20).await;
    (stage, client)
}

/// How often a randomized test kills: `DELTA_KILLS`, or a few.
fn kills() -> u32 {
    std::env::var("DELTA_KILLS").map_or(8, |kills| kills.parse().unwrap())
}

/// The chain holds every record once, and is the table.
async fn assert_whole(stage: &Stage, seed: u64) {
    let vault = stage.vault().await;
    let chain = chain_of(&vault).await;
    let mut places = std::collections::BTreeSet::new();
    let mut count = 0;
    let zero = chain.base.delta.as_ref().unwrap();
    let links = chain.deltas.iter().map(|link| (&link.path, &link.manifest.delta));
    for (path, delta) in std::iter::once((&chain.path, &**zero)).chain(links) {
        for batch in batches_of(&vault, path, delta).await {
            for placed in otsvault::columnar::RecordsReader::new(&batch, &delta.columns).unwrap() {
                let place = placed.unwrap().place;
                count += 1;
                assert!(places.insert((place.rank, place.ordinal)), "a record twice, seed {seed}");
            }
        }
    }
    let end = chain.end().unwrap();
    let read: u64 = end.to.iter().map(|shard| shard.ordinal).sum();
    assert!(count >= read, "{count} records in files, {read} counted as read, seed {seed}");
    let folded = fold(&vault, &chain, chain.deltas.len()).await;
    let differing = differing(&folded, &oracle(stage, end));
    assert!(differing.is_empty(), "seed {seed}: {differing:?}");
}

#[tokio::test]
async fn killed_deltas_leave_every_record_in_the_chain_once() {
    let seed = std::env::var("KILL_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (stage, client) = followed(&mut random).await;
    let vault = stage.vault_url();
    let arguments = ["delta", SOURCE, &vault, "--quiet", "--follow", "--every=100ms"];
    let (began, mut committed) = (Instant::now(), 0);
    for kill in 0..kills() {
        let mut child = stage.program(&arguments).spawn().unwrap();
        let moment = tokio::time::sleep(Duration::from_millis(random.random_range(50..700)));
        tokio::pin!(moment);
        loop {
            tokio::select! {
                () = &mut moment => break,
                () = changes(&stage, &client, &mut random, 1) => {}
            }
        }
        child.kill().await.unwrap();
        committed = chain_of(&stage.vault().await).await.deltas.len();
        println!("kill {kill} after {:?}: {committed} deltas", began.elapsed());
    }
    let last = stage.run(&["delta", SOURCE, &vault, "--json"]).await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    let line: Value = serde_json::from_str(&last.stdout).unwrap();
    assert_eq!(line["sequence"], committed as u64 + 1, "KILL_SEED={seed}");
    assert_whole(&stage, seed).await;
}

#[tokio::test]
async fn following_commits_what_it_read_when_it_is_stopped_and_waits_out_a_service_that_is_away() {
    let mut random = StdRng::seed_from_u64(4);
    let (stage, client) = followed(&mut random).await;
    let vault = stage.vault_url();
    let arguments = ["delta", SOURCE, &vault, "--json", "--follow", "--every=24h"];
    let child = stage.program(&arguments).spawn().unwrap();
    while stage.requests("GetStreamRecord") < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Longer than a request is repeated.
    stage.fault(Rule::new(Action::busy(Service::TableStore)).on(Service::TableStore, "GetStreamRecord"));
    let before = stage.requests("GetStreamRecord");
    while stage.requests("GetStreamRecord") < before + 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.sandbox.faults().clear();
    changes(&stage, &client, &mut random, 5).await;
    let before = stage.requests("GetStreamRecord");
    while stage.requests("GetStreamRecord") < before + 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output =
        tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["event"], &line["sequence"]), (&"delta".into(), &1.into()));
    assert_whole(&stage, 4).await;
    // The lease is free: nobody has to wait for it.
    assert_eq!(stage.run(&["delta", SOURCE, &vault]).await.code, Some(0));
}

#[tokio::test]
async fn a_follower_that_waits_for_a_throttling_service_ends_soon_after_it_is_told_to() {
    let mut random = StdRng::seed_from_u64(8);
    let (stage, _client) = followed(&mut random).await;
    stage.fault(Rule::new(Action::busy(Service::TableStore)).on(Service::TableStore, "GetStreamRecord"));
    let (vault, before) = (stage.vault_url(), stage.requests("GetStreamRecord"));
    let child = stage.program(&["delta", SOURCE, &vault, "--follow"]).spawn().unwrap();
    while stage.requests("GetStreamRecord") < before + 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    // A request is repeated for minutes.
    let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await;
    assert_eq!(output.expect("it ends").unwrap().status.code(), Some(0));
}

/// What is served at `/metrics` of an address, once somebody listens there.
async fn scrape(address: &str) -> std::io::Result<String> {
    let mut connection = tokio::net::TcpStream::connect(address).await?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    Ok(text)
}

/// What a follower serves once its first delta is committed.
async fn metrics_of_a_follower(stage: &Stage) -> String {
    let vault = stage.vault_url();
    // Whoever asks for any port may get the one that is free now before the follower listens on it: it ends then.
    for _ in 0..3 {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let arguments = ["delta", SOURCE, &vault, "--follow", "--every=100ms", "--metrics", &address];
        let mut child = stage.program(&arguments).spawn().unwrap();
        let scraped = async {
            loop {
                let text = scrape(&address).await.unwrap_or_default();
                if text.contains("otsvault_deltas_total{table=\"t\"} 1") {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            text = scraped => {
                child.kill().await.unwrap();
                return text;
            }
            _ = child.wait() => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("no metrics are served"),
        }
    }
    panic!("the follower ended three times");
}

#[tokio::test]
async fn a_follower_serves_its_lag_and_the_retention_that_is_used() {
    let mut random = StdRng::seed_from_u64(7);
    let (stage, _client) = followed(&mut random).await;
    let text = metrics_of_a_follower(&stage).await;
    for name in
        ["otsvault_delta_lag_seconds", "otsvault_delta_retention_used_ratio", "otsvault_delta_records_total"]
    {
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn a_gap_is_exit_code_4_commits_nothing_can_be_marked_and_full_makes_a_new_base() {
    let mut random = StdRng::seed_from_u64(5);
    let (stage, client) = followed(&mut random).await;
    let vault = stage.vault_url();
    let on = StreamSetting::On { expiration_hours: 24, columns: Vec::new() };
    for setting in [StreamSetting::Off, on] {
        let update = TableUpdate { stream: Some(setting), ..TableUpdate::default() };
        client.update_table(TABLE, update).await.unwrap();
    }
    let arguments = ["delta", SOURCE, &vault, "--stream-settle=0s"];
    let refused = stage.run(&arguments).await;
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(refused.stderr.contains("enabled again"), "{}", refused.stderr);
    assert!(chain_of(&stage.vault().await).await.deltas.is_empty());
    let marked = stage.run(&[&arguments[..], &["--on-gap=mark"]].concat()).await;
    assert_eq!(marked.code, Some(4), "{}", marked.stderr);
    let shown = stage.run(&["show", &vault]).await.stdout;
    assert!(shown.contains("gap           behind run") && shown.contains("enabled again"), "{shown}");
    assert!(stage.run(&["list", &vault]).await.stdout.contains("exact, then a gap"));
    let again = stage.run(&arguments).await;
    assert_eq!(again.code, Some(4), "{}", again.stderr);
    assert!(again.stderr.contains("a gap behind run"), "{}", again.stderr);
    assert_eq!(stage.run(&["verify", &vault, "--level=full"]).await.code, Some(0));
    let full = stage.run(&[&arguments[..], &["--on-gap=full"]].concat()).await;
    assert_eq!(full.code, Some(0), "{}", full.stderr);
    assert!(full.stdout.contains("new base"), "{}", full.stdout);
    changes(&stage, &client, &mut random, 9).await;
    assert_eq!(stage.run(&arguments).await.code, Some(0));
    assert_whole(&stage, 5).await;
}

#[tokio::test]
async fn fifty_gaps_of_every_kind_are_all_found() {
    let mut found = std::collections::BTreeMap::new();
    for seed in 0..50 {
        let mut random = StdRng::seed_from_u64(seed);
        let (stage, client) = followed(&mut random).await;
        let service = stage.sandbox.table_store();
        let kind = match random.random_range(0..4) {
            0 => {
                let on = StreamSetting::On { expiration_hours: 24, columns: Vec::new() };
                for setting in [StreamSetting::Off, on] {
                    let update = TableUpdate { stream: Some(setting), ..TableUpdate::default() };
                    client.update_table(TABLE, update).await.unwrap();
                }
                "Stream enabled again"
            }
            1 => {
                client.delete_table(TABLE).await.unwrap();
                client.create_table(&definition(24), &[]).await.unwrap();
                "table created again"
            }
            2 => {
                client.delete_table(TABLE).await.unwrap();
                "table gone"
            }
            _ => {
                // Unread records of every shard go.
                for (shard, records) in service.stream_cut(TABLE).unwrap().records {
                    service.trim_stream(TABLE, &shard, records).unwrap();
                }
                for _ in 0..20 {
                    change_something(&client, &mut random).await;
                }
                "records removed"
            }
        };
        let ended = finish(&mut stage.program(&["delta", SOURCE, &stage.vault_url()])).await;
        let expected = if kind == "table gone" { 7 } else { 4 };
        assert_eq!(ended.code, Some(expected), "seed {seed}, {kind}: {}{}", ended.stdout, ended.stderr);
        assert!(chain_of(&stage.vault().await).await.deltas.is_empty(), "seed {seed}, {kind}");
        *found.entry(kind).or_insert(0) += 1;
    }
    println!("{found:?}");
}

#[tokio::test]
async fn list_and_show_say_what_follows_a_base_and_to_when_it_can_be_restored() {
    let mut random = StdRng::seed_from_u64(6);
    let (stage, client) = followed(&mut random).await;
    let vault = stage.vault_url();
    for _ in 0..2 {
        assert_eq!(stage.run(&["delta", SOURCE, &vault]).await.code, Some(0));
        changes(&stage, &client, &mut random, 5).await;
    }
    let listed = stage.run(&["list", &vault]).await.stdout;
    assert!(listed.contains("base, exact + 2 deltas"), "{listed}");
    let shown = stage.run(&["show", &vault]).await.stdout;
    assert!(shown.contains("deltas        2 deltas, with"), "{shown}");
    assert!(shown.contains("restorable    20"), "{shown}");
    let json: Value = serde_json::from_str(&stage.run(&["show", &vault, "--json"]).await.stdout).unwrap();
    assert_eq!(json[0]["deltas"].as_array().unwrap().len(), 2);
    let (from, to) = (json[0]["window"]["from"].as_str(), json[0]["window"]["to"].as_str());
    assert!(from.unwrap() < to.unwrap(), "{json}");
}
