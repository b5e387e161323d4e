//! Python in an environment of its own, with the packages of `requirements.txt` at their versions.
//!
//! Needs Python 3.11 or later; 3.12 on Linux also runs the Table Store SDK's C++ encoder. `PYTHON` chooses another one.

use std::process::Command;

use crate::provision::{Interpreter, installed, run, sources};

const REQUIREMENTS: &str = include_str!("python/requirements.txt");

/// Makes the environment unless it is there for this Python and these packages.
pub fn provision() -> Result<Interpreter, String> {
    let (base, version) = base_interpreter()?;
    let venv = installed("venv", &format!("{version}\n{REQUIREMENTS}"), |venv| {
        run(Command::new(base).args(["-m", "venv", "--clear"]).arg(venv))?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--no-deps",
            "-r",
        ];
        run(Command::new(venv.join("bin/python")).args(pip).arg(sources("python").join("requirements.txt")))?;
        Ok(())
    })?;
    Ok(Interpreter {
        program: venv.join("bin/python"),
        arguments: ["-B", "-X", "utf8"].map(Into::into).into(),
        scripts: sources("python"),
        environment: Vec::new(),
    })
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
