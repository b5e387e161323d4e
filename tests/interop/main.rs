//! Somebody else judges: the official SDKs write and read through the sandbox, and query engines, other Parquet and hash
//! libraries read what the program backed up. Each case is a script in the directory of its language.
//!
//! A case runs against a sandbox of its own. What a language needs is installed under `target/interop` on first use; a
//! language that is not on this machine is reported as ignored, by case and once more at the end, unless `CI=true`, where
//! it fails.

mod language;
mod provision;
mod python;
mod sandbox_process;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use language::Language::{self, Python};
use sandbox_process::SandboxProcess;

fn main() -> ExitCode {
    let cases = vec![
        case("the_table_store_sdk_reads_back_every_row_it_wrote", Python, "rows.py", &[]),
        case("the_table_store_sdk_pages_through_ranges", Python, "pages.py", &[]),
        case("the_table_store_sdk_writes_and_reads_batches", Python, "batches.py", &[]),
        case("the_table_store_sdk_shows_the_services_refusals", Python, "limits.py", &[]),
        case("oss2_puts_gets_lists_copies_and_deletes_objects", Python, "objects.py", &[]),
        case("oss2_uploads_in_parts_and_resumes", Python, "uploads.py", &[]),
        case("real_tables_are_the_same_in_csv_duckdb_pyarrow_and_polars", Python, "real_tables.py", &[]),
        case(
            "a_backup_can_be_read_with_the_format_page_alone",
            Python,
            "format.py",
            &["mixed=mixed:rows=5000,seed=3", "larger=mixed:rows=12000,seed=4", "nothing=iot:rows=0,seed=1"],
        ),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), cases);
    for (language, reason) in language::missing() {
        eprintln!("SKIPPED: no case in {language} ran: {reason}");
    }
    conclusion.exit_code()
}

/// A case that runs a script against a sandbox of its own that holds `tables`; it fails with all that the script said.
fn case(name: &str, language: Language, script: &'static str, tables: &'static [&'static str]) -> Trial {
    Trial::ignorable_test(name, move || match language.interpreter() {
        Ok(interpreter) => {
            let sandbox = SandboxProcess::start(tables);
            interpreter.run(script, sandbox.description())?;
            sandbox.stop();
            Ok(Completion::Completed)
        }
        Err(reason) if std::env::var("CI").as_deref() == Ok("true") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
    .with_kind(language.to_string())
}
