//! Somebody else judges: the official Python SDKs write and read through the sandbox, and query engines, other Parquet
//! and hash libraries read what the program backed up. The scripts in `tests/interop/` hold the cases.
//!
//! Needs Python 3.11 or later; 3.12 on Linux also runs the Table Store SDK's C++ encoder. `PYTHON` chooses another
//! one. Without Python, or without the packages, the tests are skipped, unless `CI=true`.

#![cfg(all(unix, feature = "sandbox"))]

#[path = "interop/python.rs"]
mod python;
#[path = "interop/sandbox_process.rs"]
mod sandbox_process;

use python::Python;
use sandbox_process::SandboxProcess;

/// Runs a script against a sandbox of its own that holds `tables`; fails with all that the script said.
fn judge(script: &str, tables: &[&str]) {
    let Some(python) = Python::ready(script) else { return };
    let sandbox = SandboxProcess::start(tables);
    python.run(script, sandbox.description());
    sandbox.stop();
}

#[test]
fn the_table_store_sdk_reads_back_every_row_it_wrote() {
    judge("rows.py", &[]);
}

#[test]
fn the_table_store_sdk_pages_through_ranges() {
    judge("pages.py", &[]);
}

#[test]
fn the_table_store_sdk_writes_and_reads_batches() {
    judge("batches.py", &[]);
}

#[test]
fn the_table_store_sdk_shows_the_services_refusals() {
    judge("limits.py", &[]);
}

#[test]
fn oss2_puts_gets_lists_copies_and_deletes_objects() {
    judge("objects.py", &[]);
}

#[test]
fn oss2_uploads_in_parts_and_resumes() {
    judge("uploads.py", &[]);
}

#[test]
fn real_tables_are_the_same_in_csv_duckdb_pyarrow_and_polars() {
    judge("real_tables.py", &[]);
}

#[test]
fn a_backup_can_be_read_with_the_format_page_alone() {
    judge(
        "format.py",
        &["mixed=mixed:rows=5000,seed=3", "larger=mixed:rows=12000,seed=4", "nothing=iot:rows=0,seed=1"],
    );
}
