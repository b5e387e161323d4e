//! A backup end to end, the program against the sandbox in another process: CPU, memory, and wall time under latency.
//!
//! The sandbox replays pages from memory (`--replay`), so that it costs little beside the client. Three tables, chosen by
//! `PARTS` (cpu,latency,memory):
//!
//! - `cpu`: tables `iot` of `IOT_ROWS` (1000000,10000000) and `mixed` of `MIXED_ROWS` (200000) rows, to a directory and to the
//!   sandbox's OSS (`TO`: disk,oss), `CONCURRENCY` (8), `MEMORY` (512MiB), after up to 10 backups that do not count, until one
//!   had 99 % of its pages replayed. Medians of `RUNS` (5) by CPU; the largest peak.
//! - `latency`: `LATENCY_ROWS` (10000000) of `iot` with `LATENCY` (20,50) ms per GetRange and `FIXED` (2,4,8) requests in
//!   flight, against the model requests x latency / in flight. Medians of `RUNS` (3) by wall time.
//! - `memory`: `WIDE_ROWS` (10000000) of `iot` at 50 ms with 32 requests in flight, as a line of 10 Gbit/s needs, with
//!   `MEMORY` and with 1 GiB.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

mod two_processes;

use two_processes::{Run, SandboxProcess, figure, is_bench, list, median, option};

/// Latency and requests in flight that fill a line of 10 Gbit/s with pages of `iot`: 32 x 1.62 MB / 50 ms = 1.04 GB/s.
const LINE_LATENCY_MS: u64 = 50;
const LINE_IN_FLIGHT: u64 = 32;

/// Pages that the sandbox may keep, in MiB.
const REPLAY_MIB: u64 = 5120;

/// Backups before those that count: until this share of the pages is replayed, and not more than so many.
const WARM: f64 = 0.99;
const WARM_UPS: usize = 10;

fn main() {
    for part in list::<String>("PARTS", "cpu,latency,memory") {
        match &*part {
            "cpu" => cpu(),
            "latency" => latency(),
            "memory" => memory(),
            other => panic!("PARTS: there is no part `{other}`"),
        }
    }
}

/// Default `full` if this measures, `small` if not.
fn sized<T>(full: T, small: T) -> T {
    if is_bench() { full } else { small }
}

/// Measured runs of each row: `full`, or what `RUNS` says.
fn runs(full: usize) -> usize {
    option("RUNS", sized(full, 1))
}

fn sandbox_with(tables: &[(&str, u64)]) -> SandboxProcess {
    let tables = tables.iter().flat_map(|(shape, rows)| {
        ["--table".to_owned(), format!("{shape}_{rows}={shape}:rows={rows},seed=7")]
    });
    let replay = ["--replay".to_owned(), option("REPLAY", REPLAY_MIB).to_string()];
    SandboxProcess::start(&tables.chain(replay).collect::<Vec<_>>())
}

/// A backup to a directory of its own, which is gone afterwards, or to the sandbox's OSS.
fn back_up(sandbox: &SandboxProcess, table: &str, to: &str, concurrency: u64, memory: &str) -> Run {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let vault = match to {
        "oss" => {
            let name = directory.path().file_name().expect("a name").to_string_lossy().replace('.', "");
            format!("oss://{}/bench-{name}", sandbox.at("bucket"))
        }
        _ => directory.path().display().to_string(),
    };
    let (table, concurrency) = (sandbox.table(table), concurrency.to_string());
    sandbox.run(&["backup", &table, &vault, "--memory", memory, "--concurrency", &concurrency])
}

fn cpu() {
    let iot: Vec<u64> = list("IOT_ROWS", sized("1000000,10000000", "5000"));
    let mixed: Vec<u64> = list("MIXED_ROWS", sized("200000", "2000"));
    let tables: Vec<(&str, u64)> =
        iot.iter().map(|rows| ("iot", *rows)).chain(mixed.iter().map(|rows| ("mixed", *rows))).collect();
    let (memory, concurrency) = (option("MEMORY", "512MiB".to_owned()), option("CONCURRENCY", 8));
    let sandbox = sandbox_with(&tables);
    println!("memory budget {memory}, concurrency {concurrency}");
    println!(
        "| table | to | response MB | client CPU s | ms/MB | sandbox CPU / client | replayed | wall s | MB/s | stored MB | peak RSS MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for to in list::<String>("TO", "disk,oss") {
        let mut peaks = Vec::new();
        for (shape, rows) in &tables {
            let table = format!("{shape}_{rows}");
            let back_up = || back_up(&sandbox, &table, &to, concurrency, &memory);
            // Ranges are cut where the workers happen to be, so each of the first backups asks for pages of its own.
            (0..WARM_UPS).find(|_| replayed_of(&sandbox, back_up).1 > WARM);
            let (taken, replayed): (Vec<Run>, _) =
                replayed_of(&sandbox, || (0..runs(5)).map(|_| back_up()).collect());
            let peak = taken.iter().map(Run::peak_mib).fold(0.0, f64::max);
            let share = median_of(taken.iter().map(Run::sandbox_share).collect());
            let run = median(taken, |run| run.cpu);
            let megabytes = run.number("/totals/read/response_bytes") as f64 / 1e6;
            let (cpu, wall) = (run.cpu.as_secs_f64(), run.wall.as_secs_f64());
            let stored = run.number("/totals/stored_bytes") as f64 / 1e6;
            println!(
                "| {table} | {to} | {megabytes:.1} | {cpu:.2} | {:.2} | {:.0} % | {:.0} % | {wall:.2} | {:.0} | {stored:.2} | {peak:.0} |",
                cpu * 1e3 / megabytes,
                share * 100.0,
                replayed * 100.0,
                megabytes / wall,
            );
            if *shape == "iot" {
                peaks.push(peak);
                if to == "disk" && iot.last() == Some(rows) {
                    let detail = format!("{rows} rows to disk, {memory}, {concurrency} in flight");
                    figure("client-cpu-iot-ms-per-mb", cpu * 1e3 / megabytes, &detail);
                    figure("sandbox-cpu-share", share, &detail);
                }
            }
        }
        if let [first, .., last] = peaks[..] {
            println!("peak RSS of the last `iot` table / the first, to {to}: {:.3}", last / first);
            if to == "disk" {
                let detail = format!("{iot:?} rows to disk, {memory}: {first:.0} and {last:.0} MiB");
                figure("peak-rss-growth-10x", last / first, &detail);
            }
        }
    }
}

/// What `work` returns, and the share of its GetRange requests that were replayed.
fn replayed_of<T>(sandbox: &SandboxProcess, work: impl FnOnce() -> T) -> (T, f64) {
    let before = asked(sandbox);
    let done = work();
    let after = asked(sandbox);
    (done, (after.1 - before.1) as f64 / (after.0 - before.0) as f64)
}

/// GetRange requests so far, and those that were replayed.
fn asked(sandbox: &SandboxProcess) -> (u64, u64) {
    (sandbox.counted("GetRange", "requests"), sandbox.counted("GetRange", "replayed"))
}

fn latency() {
    let rows: u64 = option("LATENCY_ROWS", sized(10_000_000, 20_000));
    let latencies: Vec<u64> = list("LATENCY", sized("20,50", "20"));
    let table = format!("iot_{rows}");
    println!("backup of {rows} `iot` rows to disk; latency is from the arrival of a GetRange to its answer");
    println!(
        "| in flight | latency ms | requests | model s | wall s | model / wall | client CPU s | CPU / wall | sandbox CPU / client | replayed |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut ratios = vec![Vec::new(); latencies.len()];
    for in_flight in list::<u64>("FIXED", sized("2,4,8", "4")) {
        // Other splits, so other pages: what another sandbox keeps would only take room.
        let sandbox = sandbox_with(&[("iot", rows)]);
        back_up(&sandbox, &table, "disk", in_flight, "512MiB");
        for (latency, ratios) in latencies.iter().zip(&mut ratios) {
            sandbox.set_faults(&[format!("GetRange latency={latency}")]);
            let taken = (0..runs(3)).map(|_| {
                let before = asked(&sandbox);
                let run = back_up(&sandbox, &table, "disk", in_flight, "512MiB");
                let after = asked(&sandbox);
                (run, after.0 - before.0, after.1 - before.1)
            });
            let (run, requests, replayed) = median(taken.collect(), |(run, ..)| run.wall);
            let model = requests as f64 * *latency as f64 / 1e3 / in_flight as f64;
            let (cpu, wall) = (run.cpu.as_secs_f64(), run.wall.as_secs_f64());
            let ratio = model / wall;
            println!(
                "| {in_flight} | {latency} | {requests} | {model:.2} | {wall:.2} | {ratio:.3} | {cpu:.2} | {:.2} | {:.0} % | {:.0} % |",
                cpu / wall,
                run.sandbox_share() * 100.0,
                replayed as f64 / requests as f64 * 100.0,
            );
            ratios.push((in_flight, ratio));
        }
    }
    for (latency, ratios) in latencies.iter().zip(ratios) {
        let lowest = ratios.iter().map(|(_, ratio)| *ratio).fold(f64::INFINITY, f64::min);
        let all: Vec<_> =
            ratios.iter().map(|(in_flight, ratio)| format!("{in_flight} in flight {ratio:.3}")).collect();
        let detail = format!("lowest of {}; {rows} rows", all.join(", "));
        figure(&format!("backup-wall-{latency}ms"), lowest, &detail);
    }
}

fn memory() {
    let rows: u64 = option("WIDE_ROWS", sized(10_000_000, 20_000));
    let table = format!("iot_{rows}");
    let sandbox = sandbox_with(&[("iot", rows)]);
    sandbox.set_faults(&[format!("GetRange latency={LINE_LATENCY_MS}")]);
    println!("{rows} `iot` rows, {LINE_IN_FLIGHT} requests in flight at {LINE_LATENCY_MS} ms");
    println!("| memory budget | wall s | MB/s | client CPU s | peak RSS MiB |");
    println!("|---|---|---|---|---|");
    let (mut highest, mut all) = (0f64, Vec::new());
    back_up(&sandbox, &table, "disk", LINE_IN_FLIGHT, "1GiB");
    for memory in [option("MEMORY", "512MiB".to_owned()), "1GiB".to_owned()] {
        let taken: Vec<Run> =
            (0..runs(3)).map(|_| back_up(&sandbox, &table, "disk", LINE_IN_FLIGHT, &memory)).collect();
        let peak = taken.iter().map(Run::peak_mib).fold(0.0, f64::max);
        let run = median(taken, |run| run.wall);
        let megabytes = run.number("/totals/read/response_bytes") as f64 / 1e6;
        let wall = run.wall.as_secs_f64();
        println!(
            "| {memory} | {wall:.2} | {:.0} | {:.2} | {peak:.0} |",
            megabytes / wall,
            run.cpu.as_secs_f64()
        );
        highest = highest.max(peak);
        all.push(format!("{memory} {peak:.0} MiB"));
    }
    let detail =
        format!("{}; {LINE_IN_FLIGHT} in flight at {LINE_LATENCY_MS} ms, {rows} rows", all.join(", "));
    figure("peak-rss-10gbit-mib", highest, &detail);
}

fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
