//! The program against the sandbox, each in a process and on a core of its own: CPU, wall time and memory of a backup.
//!
//! `otsvault sandbox` runs on core 1, `otsvault backup` on core 0 (where `taskset` is there), to a directory and to the
//! sandbox's OSS. CPU is the client process's user and system time, memory its own peak resident set. Options through
//! the environment: `IOT_ROWS` (1000000,10000000), `MIXED_ROWS` (200000), both lists; `RUNS` (3) per line, of which
//! the median CPU and the largest peak count; `MEMORY` (512MiB); `CONCURRENCY` (8).

#![allow(clippy::print_stdout, reason = "a bench prints its table")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn main() {
    // Without `--bench` somebody only wants to know that it runs.
    let (iot, mixed, runs) = match std::env::args().any(|argument| argument == "--bench") {
        true => ("1000000,10000000", "200000", "3"),
        false => ("5000", "2000", "1"),
    };
    let runs: usize = option("RUNS", runs).parse().expect("RUNS is a number");
    let tables: Vec<(String, String)> =
        [("iot", option("IOT_ROWS", iot)), ("mixed", option("MIXED_ROWS", mixed))]
            .into_iter()
            .flat_map(|(shape, rows)| {
                let rows: Vec<_> =
                    rows.split(',').filter(|rows| !rows.is_empty()).map(str::to_owned).collect();
                rows.into_iter().map(move |rows| {
                    let name = format!("{shape}_{rows}");
                    (name.clone(), format!("{name}={shape}:rows={rows},seed=7"))
                })
            })
            .collect();
    let sandbox = SandboxProcess::start(tables.iter().map(|(_, table)| table.as_str()));
    println!("memory budget {}, concurrency {}", option("MEMORY", "512MiB"), option("CONCURRENCY", "8"));
    println!(
        "| table | to | response MB | client CPU s | ms/MB | wall s | rows/s | MB/s | sandbox CPU s | stored MB | peak RSS MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for to in ["disk", "oss"] {
        let mut peaks = Vec::new();
        for (table, _) in &tables {
            let mut taken: Vec<Run> = (0..runs).map(|_| sandbox.back_up(table, to)).collect();
            taken.sort_by_key(|run| run.cpu);
            let peak = taken.iter().map(|run| run.peak_bytes).max().unwrap_or_default();
            let run = &taken[taken.len() / 2];
            let megabytes = run.response_bytes as f64 / 1e6;
            println!(
                "| {table} | {to} | {megabytes:.1} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} |",
                run.cpu.as_secs_f64(),
                run.cpu.as_secs_f64() * 1e3 / megabytes,
                run.wall.as_secs_f64(),
                run.rows as f64 / run.wall.as_secs_f64(),
                megabytes / run.wall.as_secs_f64(),
                run.sandbox_cpu.as_secs_f64(),
                run.stored_bytes as f64 / 1e6,
                peak as f64 / f64::from(1 << 20),
            );
            if table.starts_with("iot") {
                peaks.push(peak as f64);
            }
        }
        if let [first, .., last] = peaks[..] {
            println!("peak RSS of the last `iot` table / the first, to {to}: {:.3}", last / first);
        }
    }
}

/// One backup.
struct Run {
    rows: u64,
    response_bytes: u64,
    stored_bytes: u64,
    peak_bytes: u64,
    /// User and system time of the client process.
    cpu: Duration,
    wall: Duration,
    sandbox_cpu: Duration,
}

/// A running sandbox; killed when dropped.
struct SandboxProcess {
    child: Child,
    description: Value,
    /// Open until the end, so that the sandbox never writes to a closed pipe.
    _stdout: BufReader<ChildStdout>,
}

impl SandboxProcess {
    fn start<'a>(tables: impl Iterator<Item = &'a str>) -> SandboxProcess {
        let mut command = program_on_core(1);
        command.arg("sandbox").args(tables.flat_map(|table| ["--table", table])).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the sandbox says how to reach it");
        let description = serde_json::from_str(&line).expect("the description is JSON");
        SandboxProcess { child, description, _stdout: stdout }
    }

    #[expect(clippy::zombie_processes, reason = "`wait_for_cpu` waits, and learns the CPU time")]
    fn back_up(&self, table: &str, to: &str) -> Run {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |field: &str| self.description[field].as_str().expect("the description is complete");
        let vault = match to {
            "oss" => format!("oss://{}/bench-{}", at("bucket"), unique(directory.path())),
            _ => directory.path().display().to_string(),
        };
        let mut command = program_on_core(0);
        command
            .args(["backup", &format!("ots://{}/{table}", at("instance")), &vault, "--json", "--quiet"])
            .args(["--memory", &option("MEMORY", "512MiB"), "--concurrency", &option("CONCURRENCY", "8")])
            .env("OTS_ENDPOINT", at("ots_endpoint"))
            .env("OSS_ENDPOINT", at("oss_endpoint"))
            .env("OSS_REGION", at("region"))
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", at("access_key_id"))
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", at("access_key_secret"))
            .stdout(Stdio::piped());
        let sandbox_before = process_cpu(self.child.id());
        let began = Instant::now();
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = String::new();
        let pipe = child.stdout.as_mut().expect("stdout is a pipe");
        pipe.read_to_string(&mut stdout).expect("the summary is text");
        let cpu = wait_for_cpu(&child);
        let wall = began.elapsed();
        let sandbox_cpu = process_cpu(self.child.id()) - sandbox_before;
        let summary: Value = serde_json::from_str(&stdout).expect("the summary is JSON");
        let number = |pointer: &str| summary.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        Run {
            rows: number("/totals/rows"),
            response_bytes: number("/totals/read/response_bytes"),
            stored_bytes: number("/totals/stored_bytes"),
            peak_bytes: number("/peak_resident_bytes"),
            cpu,
            wall,
            sandbox_cpu,
        }
    }
}

impl Drop for SandboxProcess {
    fn drop(&mut self) {
        // Nothing to do when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unique(directory: &Path) -> String {
    directory.file_name().map(|name| name.to_string_lossy().replace('.', "")).unwrap_or_default()
}

/// The program, on one core if the machine has two and `taskset`.
fn program_on_core(core: usize) -> Command {
    let program = env!("CARGO_BIN_EXE_otsvault");
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let has_taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok();
    let mut command = match cores > 1 && has_taskset {
        true => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &core.to_string(), program]);
            command
        }
        false => Command::new(program),
    };
    command.stdin(Stdio::null());
    command
}

/// Waits for the end of `child`, which must be a success, and returns its user and system time.
fn wait_for_cpu(child: &Child) -> Duration {
    let id = libc::pid_t::try_from(child.id()).expect("a process id");
    let mut status = 0;
    // SAFETY: a rusage is plain numbers; zero is one of its values.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call to write to; nobody else waits for this child.
    let waited = unsafe { libc::wait4(id, &mut status, 0, &mut usage) };
    assert_eq!(waited, id, "the child is waited for once");
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the backup succeeds");
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// User and system time of a running process, to a clock tick; zero where the system has no `/proc`.
fn process_cpu(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // SAFETY: takes and returns a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1);
    Duration::from_millis(ticks * 1000 / per_second as u64)
}

fn option(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
