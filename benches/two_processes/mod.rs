//! The program against the sandbox: two processes, each with a core of its own where the machine has two and `taskset`.
//!
//! The client is on core 0, the sandbox on core 1. CPU is a process's user and system time, memory its own peak resident
//! set. What is measured can also be written down for a program: one line of JSON per figure, appended to the file that
//! `JSON` names.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A running sandbox; killed when dropped.
pub struct SandboxProcess {
    child: Child,
    description: Value,
    /// Open until the end, so that the sandbox never writes to a closed pipe.
    _stdout: BufReader<ChildStdout>,
}

/// What one client process did.
pub struct Run {
    /// The last JSON value that it printed.
    pub summary: Value,
    /// Its user and system time.
    pub cpu: Duration,
    /// From its start to its end.
    pub wall: Duration,
    /// The sandbox's meanwhile.
    pub sandbox_cpu: Duration,
}

impl Run {
    /// A number of the summary; 0 where there is none.
    pub fn number(&self, pointer: &str) -> u64 {
        self.summary.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    /// Peak resident set in MiB: of the process, or as its one table tells it.
    pub fn peak_mib(&self) -> f64 {
        let bytes = self.number("/peak_resident_bytes").max(self.number("/tables/0/peak_resident_bytes"));
        bytes as f64 / f64::from(1 << 20)
    }

    /// The sandbox's CPU as a share of the client's.
    pub fn sandbox_share(&self) -> f64 {
        self.sandbox_cpu.as_secs_f64() / self.cpu.as_secs_f64()
    }
}

impl SandboxProcess {
    /// `otsvault sandbox` with an admin endpoint and these arguments.
    pub fn start(arguments: &[String]) -> SandboxProcess {
        let mut command = program_on_core(1);
        command.args(["sandbox", "--admin"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the sandbox says how to reach it");
        let description = serde_json::from_str(&line).expect("the description is JSON");
        SandboxProcess { child, description, _stdout: stdout }
    }

    /// A part of how to reach it.
    pub fn at(&self, field: &str) -> &str {
        self.description[field].as_str().expect("the description is complete")
    }

    /// `ots://` URL of a table.
    pub fn table(&self, name: &str) -> String {
        format!("ots://{}/{name}", self.at("instance"))
    }

    /// Runs a command of the program to its end, which must be a success.
    #[expect(clippy::zombie_processes, reason = "`wait_for_cpu` waits, and learns the CPU time")]
    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut command = program_on_core(0);
        command
            .args(arguments)
            .args(["--json", "--quiet"])
            .env("OTS_ENDPOINT", self.at("ots_endpoint"))
            .env("OSS_ENDPOINT", self.at("oss_endpoint"))
            .env("OSS_REGION", self.at("region"))
            .env("ALIBABA_CLOUD_ACCESS_KEY_ID", self.at("access_key_id"))
            .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", self.at("access_key_secret"))
            .stdout(Stdio::piped());
        let sandbox_before = process_cpu(self.child.id());
        let began = Instant::now();
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = String::new();
        let pipe = child.stdout.as_mut().expect("stdout is a pipe");
        pipe.read_to_string(&mut stdout).expect("the summary is text");
        let cpu = wait_for_cpu(&child, arguments);
        let wall = began.elapsed();
        let sandbox_cpu = process_cpu(self.child.id()) - sandbox_before;
        let printed = serde_json::Deserializer::from_str(&stdout).into_iter::<Value>();
        let summary = printed.last().expect("something is printed").expect("the summary is JSON");
        Run { summary, cpu, wall, sandbox_cpu }
    }

    /// What the sandbox counted of an operation of Table Store since the start.
    pub fn counted(&self, operation: &str, figure: &str) -> u64 {
        let figures: Value = serde_json::from_str(&self.admin("GET", "/figures", "")).expect("JSON");
        figures["table_store"]["operations"][operation][figure].as_u64().unwrap_or_default()
    }

    /// Puts these fault rules in place of those that are there.
    pub fn set_faults(&self, rules: &[String]) {
        self.admin("PUT", "/faults", &json!(rules).to_string());
    }

    fn admin(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.at("admin_endpoint").trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the admin endpoint listens");
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\n");
        stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }
}

impl Drop for SandboxProcess {
    fn drop(&mut self) {
        // Nothing to do when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
fn wait_for_cpu(child: &Child, arguments: &[&str]) -> Duration {
    let id = libc::pid_t::try_from(child.id()).expect("a process id");
    let mut status = 0;
    // SAFETY: a rusage is plain numbers; zero is one of its values.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call to write to; nobody else waits for this child.
    let waited = unsafe { libc::wait4(id, &mut status, 0, &mut usage) };
    assert_eq!(waited, id, "the child is waited for once");
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{arguments:?} succeeds");
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

/// Writes one figure down for programs, if `JSON` names a file.
pub fn figure(name: &str, value: f64, detail: &str) {
    let Ok(path) = std::env::var("JSON") else { return };
    let line = json!({"figure": name, "value": (value * 1e3).round() / 1e3, "detail": detail});
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.expect("a file for the figures"), "{line}").expect("room for a line");
}

/// The value in the middle; the upper one of two.
pub fn median<T>(mut taken: Vec<T>, by: impl Fn(&T) -> Duration) -> T {
    taken.sort_by_key(|one| by(one));
    let middle = taken.len() / 2;
    taken.swap_remove(middle)
}

/// An option from the environment.
pub fn option<T: FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A list, separated by commas, from the environment.
pub fn list<T: FromStr>(name: &str, default: &str) -> Vec<T> {
    let text = option(name, default.to_owned());
    text.split(',').filter_map(|item| item.trim().parse().ok()).collect()
}

/// Whether this is a run that measures; without `--bench` somebody only wants to know that it runs.
pub fn is_bench() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
