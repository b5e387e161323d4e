//! The Java judge: classes of `tests/interop/java` over the jars that its `pom.xml` names. Needs a JDK 17 (Debian 12's)
//! or later, and Maven.

use std::process::Command;

use crate::provision::{Interpreter, at_least, copied, installed, run, sources};

/// Fetches one plugin and the jars. The default life cycle would fetch a dozen plugins more to compile a few classes.
const COPY_JARS: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Compiles the judge unless it is there for this JDK and these sources.
pub fn provision() -> Result<Interpreter, String> {
    let version = at_least("JDK", run(Command::new("javac").arg("-version"))?, (17, 0))?;
    let (files, wanted) = copied(&sources("java"))?;
    let directory = installed("java", &format!("{version}\n{wanted}"), |directory| {
        for old in ["jars", "classes"] {
            let _ = std::fs::remove_dir_all(directory.join(old));
        }
        let mut compile = Command::new("javac");
        compile.args(["-d", "classes", "-cp", "jars/*"]).current_dir(directory);
        for (name, content) in &files {
            std::fs::write(directory.join(name), content).map_err(|error| format!("{name}: {error}"))?;
            if name.ends_with(".java") {
                compile.arg(name);
            }
        }
        run(Command::new("mvn")
            .args(["-q", "-B", COPY_JARS, "-DoutputDirectory=jars"])
            .current_dir(directory))?;
        run(&mut compile)?;
        Ok(())
    })?;
    let class_path = std::env::join_paths([directory.join("classes"), directory.join("jars/*")])
        .map_err(|error| format!("class path: {error}"))?;
    Ok(Interpreter {
        program: "java".into(),
        // Quick to start: the judge lives for seconds.
        arguments: vec![
            "-XX:TieredStopAtLevel=1".into(),
            "-XX:+UseSerialGC".into(),
            "-cp".into(),
            class_path,
        ],
        scripts: Default::default(),
        environment: Vec::new(),
    })
}
