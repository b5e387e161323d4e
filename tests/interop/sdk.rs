//! A Table Store SDK of any language, behind a small program that does what it is told, one line of JSON at a time.
//!
//! A line of the driver names a call in `do` and its arguments; the answer is `{"ok": result}`, or
//! `{"error": [code, text]}` when the service refused. So one list of calls judges all SDKs, and several SDKs can take
//! turns on one table. A call that an SDK does not have answers with the code `unsupported`.
//!
//! - value: `{"integer": "-1"}`, `{"double": "7ff8000000000000"}` (bits, hex), `{"boolean": true}`, `{"string": "x"}`,
//!   `{"binary": "00ff"}` (hex); in keys also `"min"`, `"max"` and `"auto"`
//! - key: `[[name, value], ...]`
//! - cell: `[name, value, timestamp]`, written without a timestamp as `[name, value]`
//! - row: `{"key": key, "cells": [cell, ...]}`, `null` when there is none
//! - change of an update: `["put", name, value, timestamp]`, `["delete_version", name, timestamp]`,
//!   `["delete_column", name]`, `["increment", name, "5"]`
//! - filter: `{"column", "is" (one of == != > >= < <=), "value", "pass_if_missing", "latest_only"}`, `{"and": [...]}`,
//!   `{"or": [...]}`, `{"not": filter}`, `{"page": [offset, limit]}`

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::language::Language;

/// An answer that takes longer is a hang, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running SDK.
pub struct Sdk {
    pub language: Language,
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    /// All of stderr, once it has ended.
    complaints: Option<JoinHandle<String>>,
}

/// What the service said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub text: String,
}

impl Sdk {
    /// Starts an SDK against a sandbox. `flavour` is one of the ways it can talk (`v4`, `compressed`, ...), or empty.
    pub fn start(language: Language, flavour: &str, sandbox: &str) -> Result<Sdk, String> {
        let mut command = language.interpreter()?.command(language.table_store_script(), sandbox)?;
        let mut child = command
            .env("FLAVOUR", flavour)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{language} does not start: {error}"))?;
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut stderr = child.stderr.take().expect("stderr is a pipe");
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            // A broken pipe ends the text, which is for people.
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Sdk { language, child, stdin, answers, complaints: Some(complaints) })
    }

    /// Whether the SDK has something that not all of them have.
    pub fn has(&self, what: &str) -> bool {
        self.language.has(what)
    }

    /// Makes a call. Panics, with the call, when the SDK ends, hangs or talks nonsense.
    pub fn call(&mut self, what: &str, arguments: Value) -> Result<Value, Refusal> {
        let mut call = arguments;
        call["do"] = json!(what);
        if writeln!(self.stdin, "{call}").is_err() {
            self.fail("has ended", &call);
        }
        let Ok(line) = self.answers.recv_timeout(PATIENCE) else { self.fail("did not answer", &call) };
        let Ok(answer) = serde_json::from_str::<Value>(&line) else {
            self.fail(&format!("babbled: {line}"), &call)
        };
        match answer.get("error") {
            None => Ok(answer["ok"].clone()),
            Some(error) => {
                let text = |index: usize| error[index].as_str().unwrap_or_default().to_owned();
                Err(Refusal { code: text(0), text: text(1) })
            }
        }
    }

    /// Ends the SDK and the case, with what the SDK complained about.
    fn fail(&mut self, problem: &str, call: &Value) -> ! {
        let _ = self.child.kill();
        let complaints =
            self.complaints.take().and_then(|complaints| complaints.join().ok()).unwrap_or_default();
        panic!("{} {problem} at {}\n{complaints}", self.language, shortened(&call.to_string()));
    }

    /// A call that must succeed.
    pub fn ok(&mut self, what: &str, arguments: Value) -> Value {
        let call = shortened(&arguments.to_string());
        self.call(what, arguments)
            .unwrap_or_else(|refusal| panic!("{}: {what} {call}: {refusal:?}", self.language))
    }

    /// A call that must give exactly `expected`.
    pub fn gives(&mut self, what: &str, arguments: Value, expected: Value) {
        let call = shortened(&arguments.to_string());
        let found = self.ok(what, arguments);
        let (left, right) = (shortened(&found.to_string()), shortened(&expected.to_string()));
        assert!(found == expected, "{}: {what} {call}\n   found {left}\nexpected {right}", self.language);
    }

    /// A call that the service must refuse with `code` and, unless it is empty, exactly `text`.
    pub fn refused(&mut self, what: &str, arguments: Value, code: &str, text: &str) {
        let call = shortened(&arguments.to_string());
        let Err(refusal) = self.call(what, arguments) else {
            panic!("{}: {what} {call} was not refused with {code}", self.language);
        };
        let is_expected = refusal.code == code && (text.is_empty() || refusal.text == text);
        assert!(is_expected, "{}: {what} {call}: {refusal:?} instead of {code} {text}", self.language);
    }
}

impl Drop for Sdk {
    fn drop(&mut self) {
        // Nothing to do when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(2_000) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
