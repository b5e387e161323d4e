//! A restore end to end, the program against the sandbox in another process: wall time under latency, CPU, memory.
//!
//! The vault is made once, of a generated table, in a directory. Parts, chosen by `PARTS` (latency,memory,chain):
//!
//! - `latency`: `ROWS` (200000) of `SHAPE` (iot) with `LATENCY` (20) ms per BatchWriteRow and `FIXED` (2,4,8,16) requests in
//!   flight, against the model rows x latency / (200 x in flight). Wall time is the restore's own, from opening the vault to the
//!   target's last option, and that of the process. Medians of `RUNS` (3); a last line leaves the number to the client.
//! - `memory`: peak resident set of a restore of `MEMORY_ROWS` (1000000,4000000) of `SHAPE`, default settings but `MEMORY` (512MiB).
//! - `chain`: the same of `restore --to` and of `compact`, for a base of `CHAIN_ROWS` (1000000) and records of a tenth of its
//!   rows, which lie together in the key space. The sandbox keeps the tables in memory, 1.5 KB per row of `iot`, and
//!   as much again where a Stream is.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

mod two_processes;

use tempfile::TempDir;
use two_processes::{Run, SandboxProcess, figure, is_bench, list, median, option};

/// Rows of a BatchWriteRow, at most (service limit).
const BATCH_ROWS: f64 = 200.0;

fn main() {
    let shape = option("SHAPE", "iot".to_owned());
    for part in list::<String>("PARTS", "latency,memory,chain") {
        match &*part {
            "latency" => latency(&shape),
            "memory" => memory(&shape),
            "chain" => chain(&shape),
            other => panic!("PARTS: there is no part `{other}`"),
        }
    }
}

/// Default `full` if this measures, `small` if not.
fn sized<T>(full: T, small: T) -> T {
    if is_bench() { full } else { small }
}

fn sandbox_of(shape: &str, rows: u64) -> SandboxProcess {
    SandboxProcess::start(&["--table".to_owned(), format!("t={shape}:rows={rows},seed=7")])
}

/// A vault with a backup of a generated table.
fn vault_of(shape: &str, rows: u64) -> TempDir {
    let sandbox = sandbox_of(shape, rows);
    let vault = tempfile::tempdir().expect("a directory");
    sandbox.run(&["backup", &sandbox.table("t"), path(&vault)]);
    vault
}

fn path(directory: &TempDir) -> &str {
    directory.path().to_str().expect("a path that is text")
}

/// Restores into a fresh sandbox, whose memory is gone afterwards. Progress is kept apart, so that no run knows of another.
fn restore(sandbox: &SandboxProcess, vault: &str, table: &str, more: &[&str]) -> Run {
    let state = tempfile::tempdir().expect("a directory");
    let target = sandbox.table("restored");
    let arguments = ["restore", vault, table, &target, "--state", path(&state)];
    sandbox.run(&[&arguments, more].concat())
}

/// `rows | wall s | client CPU s | peak` of a table.
fn row(name: impl std::fmt::Display, run: &Run) -> String {
    let (wall, cpu) = (run.wall.as_secs_f64(), run.cpu.as_secs_f64());
    format!("| {name} | {wall:.2} | {cpu:.2} | {:.0} |", run.peak_mib())
}

fn latency(shape: &str) {
    let (rows, latency): (u64, u64) = (option("ROWS", sized(200_000, 2_000)), option("LATENCY", 20));
    let vault = vault_of(shape, rows);
    let rule = format!("BatchWriteRow latency={latency}");
    println!("{shape}, {rows} rows; {latency} ms from the arrival of a BatchWriteRow to its answer");
    println!(
        "| in flight | requests | model s | restore s | model / restore | process s | client CPU s | CPU / wall | sandbox CPU / client |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let (mut lowest, mut all) = (f64::INFINITY, Vec::new());
    let fixed = list::<String>("FIXED", sized("2,4,8,16,auto", "4"));
    for in_flight in fixed {
        let one = |_| {
            let sandbox = SandboxProcess::start(&[]);
            sandbox.set_faults(std::slice::from_ref(&rule));
            let run = restore(&sandbox, path(&vault), "t", &["--concurrency", &in_flight]);
            let requests = sandbox.counted("BatchWriteRow", "requests");
            assert_eq!(run.number("/rows/written"), rows, "every row is written");
            (run, requests)
        };
        let runs: usize = option("RUNS", sized(3, 1));
        let (run, requests) = median((0..runs).map(one).collect(), |(run, _)| run.wall);
        let own = run.summary["tables"][0]["seconds"].as_f64().expect("the table's time");
        let (cpu, wall) = (run.cpu.as_secs_f64(), run.wall.as_secs_f64());
        let (model, ratio) = match in_flight.parse::<u64>() {
            Ok(number) => {
                let model = rows as f64 * latency as f64 / 1e3 / (BATCH_ROWS * number as f64);
                lowest = lowest.min(model / own);
                all.push(format!("{number} in flight {:.3}", model / own));
                (format!("{model:.2}"), format!("{:.3}", model / own))
            }
            Err(_) => Default::default(),
        };
        println!(
            "| {in_flight} | {requests} | {model} | {own:.2} | {ratio} | {wall:.2} | {cpu:.2} | {:.2} | {:.0} % |",
            cpu / wall,
            run.sandbox_share() * 100.0,
        );
    }
    if lowest.is_finite() {
        let detail = format!("lowest of {}; {rows} rows", all.join(", "));
        figure(&format!("restore-wall-{latency}ms"), lowest, &detail);
    }
}

fn memory(shape: &str) {
    let memory = option("MEMORY", "512MiB".to_owned());
    println!("peak of a restore, {memory}");
    println!("| rows | wall s | client CPU s | peak RSS MiB |");
    println!("|---|---|---|---|");
    for rows in list::<u64>("MEMORY_ROWS", sized("1000000,4000000", "5000")) {
        let vault = vault_of(shape, rows);
        let sandbox = SandboxProcess::start(&[]);
        let run = restore(&sandbox, path(&vault), "t", &["--memory", &memory]);
        println!("{}", row(rows, &run));
    }
}

fn chain(shape: &str) {
    let rows: u64 = option("CHAIN_ROWS", sized(1_000_000, 4_000));
    let memory = option("MEMORY", "512MiB".to_owned());
    let source = vault_of(shape, rows);
    // The first keys of the same table.
    let tenth = vault_of(shape, rows / 10);
    let sandbox = SandboxProcess::start(&[]);
    restore(&sandbox, path(&source), "t", &[]);
    let vault = tempfile::tempdir().expect("a directory");
    let restored = sandbox.table("restored");
    let settle = ["--stream-settle", "0s"];
    sandbox.run(&[&["backup", &restored, path(&vault), "--enable-stream", "24"][..], &settle].concat());
    let overwritten = restore(&sandbox, path(&tenth), "t", &["--into-existing", "overwrite"]);
    assert_eq!(overwritten.number("/rows/written"), rows / 10, "every row of them is a record");
    sandbox.run(&[&["delta", &restored, path(&vault)][..], &settle].concat());
    println!("base of {rows} rows, {} records, {memory}", rows / 10);
    println!("| command | wall s | client CPU s | peak RSS MiB |");
    println!("|---|---|---|---|");
    // Its memory is wanted for the next one.
    drop(sandbox);
    let fresh = SandboxProcess::start(&[]);
    let restored = restore(&fresh, path(&vault), "restored", &["--memory", &memory]);
    assert_eq!(restored.number("/tables/0/records"), rows / 10, "they are folded in");
    println!("{}", row("restore", &restored));
    let compacted = fresh.run(&["compact", path(&vault), "restored", "--memory", &memory]);
    println!("{}", row("compact", &compacted));
}
