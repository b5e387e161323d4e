//! The Go judge, built from `tests/interop/go` with the modules of its `go.sum`. Needs Go 1.19 (Debian 12's) or later.

use std::process::Command;

use crate::provision::{Interpreter, at_least, copied, installed, run, sources};

/// Builds the judge unless it is there for this Go and these sources.
pub fn provision() -> Result<Interpreter, String> {
    let version = run(Command::new("go").arg("version"))?;
    let version = at_least("Go", version, (1, 19))?;
    let (files, wanted) = copied(&sources("go"))?;
    let directory = installed("go", &format!("{version}\n{wanted}"), |directory| {
        for (name, content) in &files {
            std::fs::write(directory.join(name), content).map_err(|error| format!("{name}: {error}"))?;
        }
        // Never another toolchain than the one that is here.
        let build = ["build", "-mod=readonly", "-buildvcs=false", "-o", "judge", "."];
        run(Command::new("go").args(build).env("GOTOOLCHAIN", "local").current_dir(directory))?;
        Ok(())
    })?;
    Ok(Interpreter {
        program: directory.join("judge"),
        arguments: Vec::new(),
        scripts: Default::default(),
        environment: Vec::new(),
    })
}
