//! Node.js with the packages of `package-lock.json`. Needs Node.js 18 (Debian 12's) or later, and npm.

use std::process::Command;

use crate::provision::{Interpreter, at_least, installed, run, sources};

const PACKAGES: &str = include_str!("node/package.json");
const LOCK: &str = include_str!("node/package-lock.json");

/// Installs the packages unless they are there.
pub fn provision() -> Result<Interpreter, String> {
    let version = at_least("Node.js", run(Command::new("node").arg("--version"))?, (18, 0))?;
    let packages = installed("node", &format!("{version}\n{PACKAGES}\n{LOCK}"), |packages| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(sources("node").join(file), packages.join(file))
                .map_err(|error| format!("{file}: {error}"))?;
        }
        run(Command::new("npm")
            .args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(packages))?;
        Ok(())
    })?;
    Ok(Interpreter {
        program: "node".into(),
        // The SDK's own warnings about old calls of Node.js.
        arguments: vec!["--no-deprecation".into()],
        scripts: sources("node"),
        environment: vec![("NODE_PATH", packages.join("node_modules").into())],
    })
}
