//! What is installed for the judges, once, under `target/interop`.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What runs the scripts of one language, with everything they import.
#[derive(Debug)]
pub struct Interpreter {
    pub program: PathBuf,
    /// Before the script.
    pub arguments: Vec<OsString>,
    /// The directory of the scripts; empty where the program knows them by name.
    pub scripts: PathBuf,
    pub environment: Vec<(&'static str, OsString)>,
}

impl Interpreter {
    /// Runs a script to its end against a sandbox; all that it said when it fails.
    pub fn run(&self, script: &str, sandbox: &str) -> Result<String, String> {
        run(&mut self.command(script, sandbox)?)
    }

    /// A script, ready to start against a sandbox.
    ///
    /// The script finds in its environment: SANDBOX, the line that the sandbox described itself with; OTSVAULT, the
    /// program under test; and WORK_DIRECTORY, where it may write.
    pub fn command(&self, script: &str, sandbox: &str) -> Result<Command, String> {
        let work = root().join("work");
        std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(self.scripts.join(script)).envs(self.environment.iter().cloned());
        command
            .env("SANDBOX", sandbox)
            .env("OTSVAULT", env!("CARGO_BIN_EXE_otsvault"))
            .env("WORK_DIRECTORY", work);
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
        Ok(command)
    }
}

/// Where everything is installed: `target/interop`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop")
}

/// The sources of the judges: `tests/interop/{language}`.
pub fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(language)
}

/// The directory `target/interop/{name}`, filled by `install` when it does not hold `wanted` yet: a text with every
/// version and source that the content depends on. Two test runs at once install it once.
pub fn installed(
    name: &str,
    wanted: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let directory = root().join(name);
    let [lock, stamp] = ["lock", "stamp"].map(|kind| root().join(format!("{name}.{kind}")));
    let said = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
    std::fs::create_dir_all(&directory).map_err(|error| said(&directory, error))?;
    let _locked = File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| said(&lock, error))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(directory);
    }
    let _ = std::fs::remove_file(&stamp);
    install(&directory)?;
    std::fs::write(&stamp, wanted).map_err(|error| said(&stamp, error))?;
    Ok(directory)
}

/// The files of a directory with their content, and one text that changes when any of them does.
pub fn copied(directory: &Path) -> Result<(Vec<(String, String)>, String), String> {
    let said = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(said)? {
        let entry = entry.map_err(said)?;
        let content = std::fs::read_to_string(entry.path()).map_err(said)?;
        files.push((entry.file_name().to_string_lossy().into_owned(), content));
    }
    files.sort();
    let wanted = files.iter().map(|(name, content)| format!("{name}\n{content}\n")).collect();
    Ok((files, wanted))
}

/// Runs a command to its end; its output, or what went wrong with all that it said.
pub fn run(command: &mut Command) -> Result<String, String> {
    let program = Path::new(command.get_program()).display().to_string();
    let done = command.output().map_err(|error| format!("`{program}` does not start: {error}"))?;
    if done.status.success() {
        return Ok(text(&done));
    }
    Err(format!("{command:?} ended with {}\n{}", done.status, text(&done)))
}

fn text(done: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

/// What a program says of its version, when that is `minimum` or later.
pub fn at_least(program: &str, said: String, minimum: (u32, u32)) -> Result<String, String> {
    let mut numbers =
        said.split(|character: char| !character.is_ascii_digit()).filter_map(|part| part.parse().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= minimum {
        return Ok(said.trim().to_owned());
    }
    Err(format!("{program} {}.{} or later is needed, this is {}", minimum.0, minimum.1, said.trim()))
}
