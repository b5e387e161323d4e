//! The corpora of the fuzz targets, replayed: seeds with names, and inputs that reached something new.

#[path = "fuzz/src/lib.rs"]
#[allow(missing_docs, reason = "documented for the fuzz project")]
mod targets;

use std::path::Path;

/// Runs a target over every file of its corpus.
fn replay(target: &str, run: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut inputs: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    for input in &inputs {
        // Shown only when the target panics.
        println!("{}", input.display());
        run(&std::fs::read(input).unwrap());
    }
    assert!(inputs.len() >= 8, "{} inputs in {}", inputs.len(), directory.display());
}

#[test]
fn plainbuffer() {
    replay("plainbuffer", targets::plainbuffer);
}

#[test]
fn row_matrix() {
    replay("row_matrix", targets::row_matrix);
}

#[test]
fn responses() {
    replay("responses", targets::responses);
}

#[test]
fn oss_xml() {
    replay("oss_xml", targets::oss_xml);
}

#[test]
fn manifest() {
    replay("manifest", targets::manifest);
}
