//! `otsvault sandbox` as a child process.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A running sandbox. Killed when dropped; [`SandboxProcess::stop`] is the clean end.
pub struct SandboxProcess {
    child: Child,
    description: String,
    /// Open until the end, so that the sandbox never writes to a closed pipe.
    _stdout: BufReader<ChildStdout>,
}

impl SandboxProcess {
    /// Starts a sandbox with generated tables and waits for the line that says it is ready.
    pub fn start(tables: &[&str]) -> SandboxProcess {
        let arguments: Vec<&str> = tables.iter().flat_map(|table| ["--table", table]).collect();
        SandboxProcess::start_with(&arguments)
    }

    /// Starts a sandbox with these arguments and waits for the line that says it is ready.
    pub fn start_with(arguments: &[&str]) -> SandboxProcess {
        let mut command = Command::new(env!("CARGO_BIN_EXE_otsvault"));
        command.arg("sandbox").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut description = String::new();
        let read = stdout.read_line(&mut description);
        let sandbox = SandboxProcess { child, description, _stdout: stdout };
        assert!(read.is_ok_and(|bytes| bytes > 0), "the sandbox ended before it was ready");
        sandbox
    }

    /// The line of JSON that says how to reach it.
    pub fn description(&self) -> &str {
        self.description.trim_end()
    }

    /// Asks the admin endpoint of a sandbox that was started with `--admin`: a GET without a body, otherwise a POST.
    pub fn admin(&self, path: &str, body: Option<Value>) -> Value {
        let described: Value = serde_json::from_str(self.description()).expect("the description is JSON");
        let endpoint = described["admin_endpoint"].as_str().expect("the sandbox has an admin endpoint");
        let (url, http) = (format!("{endpoint}{path}"), reqwest::Client::new());
        let request = match &body {
            None => http.get(url),
            Some(body) => http.post(url).body(body.to_string()),
        };
        let work = async {
            let answer = request.send().await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.text().await?))
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
        let (status, answer) = runtime.block_on(work).expect("the admin endpoint answers");
        assert!(status.is_success(), "{path} {body:?}: {status} {answer}");
        serde_json::from_str(&answer).expect("the admin endpoint speaks JSON")
    }

    /// Asks it to stop, as a supervisor does, and checks that it ends well.
    pub fn stop(mut self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("`kill` runs");
        assert!(sent.success(), "SIGTERM could not be sent");
        let status = self.child.wait().expect("the sandbox is a child");
        assert_eq!(status.code(), Some(0), "the sandbox ends cleanly on SIGTERM");
    }
}

impl Drop for SandboxProcess {
    fn drop(&mut self) {
        // Nothing to do when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
