//! A Python environment of its own under `target/interop`, with the packages of `requirements.txt` at their versions.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// An environment that has every package.
#[derive(Debug, Clone)]
pub struct Python {
    interpreter: PathBuf,
}

impl Python {
    /// The environment, made on first use and kept as long as `requirements.txt` and the Python stay the same.
    /// `None` when it cannot be made here, which is said on stderr; with `CI=true` that is a failure.
    pub fn ready(script: &str) -> Option<Python> {
        static ONCE: OnceLock<Result<Python, String>> = OnceLock::new();
        match ONCE.get_or_init(provision) {
            Ok(python) => Some(python.clone()),
            Err(reason) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "no Python environment: {reason}");
                // Not `eprintln!`: the test harness hides that when a test does not fail.
                let line = format!("\nSKIPPED: tests/interop/{script} did not run: {reason}\n");
                let _ = std::io::stderr().write_all(line.as_bytes());
                None
            }
        }
    }

    /// Runs a script of `tests/interop` against a sandbox.
    pub fn run(&self, script: &str, sandbox: &str) {
        let work = root().join("work");
        std::fs::create_dir_all(&work).expect("target/interop/work can be made");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
        let done = Command::new(&self.interpreter)
            .args(["-B", "-X", "utf8"])
            .arg(path)
            .env("SANDBOX", sandbox)
            .env("OTSVAULT", env!("CARGO_BIN_EXE_otsvault"))
            .env("WORK_DIRECTORY", work)
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .expect("Python starts");
        assert!(done.status.success(), "{script} ended with {}\n{}", done.status, text(&done));
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop")
}

fn provision() -> Result<Python, String> {
    let root = root();
    std::fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    // Two test runs at once must not build one environment.
    let lock = File::create(root.join("lock")).map_err(|error| format!("lock: {error}"))?;
    lock.lock().map_err(|error| format!("lock: {error}"))?;

    let (base, version) = base_interpreter()?;
    let venv = root.join("venv");
    let python = Python { interpreter: venv.join("bin/python") };
    let stamp = root.join("venv.stamp");
    let wanted = format!("{version}\n{REQUIREMENTS}");
    let is_current = std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted);
    if is_current && run(Command::new(&python.interpreter).arg("--version")).is_ok() {
        return Ok(python);
    }
    let _ = std::fs::remove_file(&stamp);
    run(Command::new(base).args(["-m", "venv", "--clear"]).arg(&venv))?;
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/requirements.txt");
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "-r"];
    run(Command::new(&python.interpreter).args(pip).arg(requirements))?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}

/// The first Python that runs, and what it says of its version.
fn base_interpreter() -> Result<(String, String), String> {
    let chosen = std::env::var("PYTHON").ok().filter(|name| !name.is_empty());
    let candidates = match chosen {
        Some(name) => vec![name],
        None => vec!["python3.12".to_owned(), "python3".to_owned()],
    };
    let mut reason = String::new();
    for name in candidates {
        match run(Command::new(&name).arg("--version")) {
            Ok(version) => return Ok((name, version.trim().to_owned())),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Runs a command to its end; its output, or what went wrong.
fn run(command: &mut Command) -> Result<String, String> {
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        return Ok(text(&done));
    }
    Err(format!("{command:?} ended with {}\n{}", done.status, text(&done)))
}

fn text(done: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}
