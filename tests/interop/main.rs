//! Somebody else judges: the official SDKs write and read through the sandbox, and query engines, other Parquet and hash
//! libraries read what the program backed up. Each case is a script in the directory of its language.
//!
//! A case runs against a sandbox of its own. What a language needs is installed under `target/interop` on first use; a
//! language that is not on this machine is reported as ignored, by case and once more at the end, unless `CI=true`, where
//! it fails.

mod exchange;
mod go;
mod java;
mod language;
mod node;
mod object_storage;
mod ours;
mod provision;
mod python;
mod sandbox_process;
mod sdk;
mod table_store;
mod value;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use language::Language::{self, Python};
use provision::Interpreter;
use sandbox_process::SandboxProcess;
use sdk::Sdk;
use table_store::{Scenario, StagedScenario};

fn main() -> ExitCode {
    let mut cases = vec![
        case("the_table_store_sdk_shows_the_services_refusals", Python, "limits.py", &[]),
        case("oss2_puts_gets_lists_copies_and_deletes_objects", Python, "objects.py", &[]),
        case("oss2_uploads_in_parts_and_resumes", Python, "uploads.py", &[]),
        case("real_tables_are_the_same_in_csv_duckdb_pyarrow_and_polars", Python, "real_tables.py", &[]),
        case("duckdb_and_datafusion_show_a_view_of_base_and_deltas_as_the_table", Python, "views.py", &[]),
        case("a_restore_to_each_moment_is_the_table_that_the_python_sdk_changed", Python, "moments.py", &[]),
        case("a_real_table_comes_back_from_a_vault_and_the_sdk_reads_it", Python, "restored.py", &[]),
        case(
            "a_backup_can_be_read_with_the_format_page_alone",
            Python,
            "format.py",
            &["mixed=mixed:rows=5000,seed=3", "larger=mixed:rows=12000,seed=4", "nothing=iot:rows=0,seed=1"],
        ),
    ];
    for (sentence, scenario) in table_store::SCENARIOS {
        cases.extend(language::ALL.map(|language| table_store_case(sentence, language, "", scenario)));
    }
    for (sentence, language, scenario) in table_store::FURTHER_SCENARIOS {
        cases.push(table_store_case(sentence, language, "", scenario));
    }
    for (sentence, language, flavour, scenario) in table_store::FLAVOURED_SCENARIOS {
        cases.push(table_store_case(sentence, language, flavour, scenario));
    }
    for (sentence, language, flavour, scenario) in table_store::STAGED_SCENARIOS {
        cases.push(staged_case(sentence, language, flavour, scenario));
    }
    cases.extend(object_storage::cases());
    cases.push(needing_all(
        "what_one_sdk_wrote_the_others_and_ours_read",
        exchange::everybody_reads_what_anybody_wrote,
    ));
    cases.push(needing_all("a_transaction_of_one_sdk_holds_off_the_others", transactions_exclude_each_other));
    let mut arguments = Arguments::from_args();
    // One after the other: some SDKs give up a call when they get no core for a moment.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    let conclusion = libtest_mimic::run(&arguments, cases);
    for (language, reason) in language::missing() {
        eprintln!("SKIPPED: no case in {language} ran: {reason}");
    }
    conclusion.exit_code()
}

/// A case that runs a script against a sandbox of its own that holds `tables`; it fails with all that the script said.
fn case(name: &str, language: Language, script: &'static str, tables: &'static [&'static str]) -> Trial {
    needing(language, name, move |interpreter| {
        let sandbox = SandboxProcess::start(tables);
        interpreter.run(script, sandbox.description())?;
        sandbox.stop();
        Ok(())
    })
}

/// A case in which the Table Store SDK of a language plays a scenario in one of the ways that it talks.
fn table_store_case(sentence: &str, language: Language, flavour: &'static str, scenario: Scenario) -> Trial {
    needing(language, &format!("the_table_store_sdk_{sentence}"), move |_| {
        let sandbox = SandboxProcess::start(&[]);
        scenario(&mut Sdk::start(language, flavour, sandbox.description())?);
        sandbox.stop();
        Ok(())
    })
}

/// The same with a sandbox that can be acted on meanwhile.
fn staged_case(sentence: &str, language: Language, flavour: &'static str, scenario: StagedScenario) -> Trial {
    needing(language, &format!("the_table_store_sdk_{sentence}"), move |_| {
        let sandbox = SandboxProcess::start_with(&["--admin"]);
        scenario(&mut Sdk::start(language, flavour, sandbox.description())?, &sandbox);
        sandbox.stop();
        Ok(())
    })
}

/// Every SDK in turn has a transaction, which holds off the others.
fn transactions_exclude_each_other() -> Result<(), String> {
    let sandbox = SandboxProcess::start_with(&["--admin"]);
    let start = |language| Sdk::start(language, "", sandbox.description());
    let mut sdks = language::ALL.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    table_store::transactions::one_at_a_time(&mut sdks, &sandbox);
    drop(sdks);
    sandbox.stop();
    Ok(())
}

/// A case that cannot run without a language.
fn needing(
    language: Language,
    name: &str,
    work: impl FnOnce(&Interpreter) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let run = move || judged(language.interpreter(), work);
    Trial::ignorable_test(name, run).with_kind(language.to_string())
}

/// Runs a case with what it needs; without it the case is ignored, or fails with `CI=true`.
fn judged<T>(
    needed: Result<T, &'static str>,
    work: impl FnOnce(T) -> Result<(), Failed>,
) -> Result<Completion, Failed> {
    match needed {
        Ok(needed) => work(needed).map(|()| Completion::Completed),
        Err(reason) if std::env::var("CI").as_deref() == Ok("true") => Err(Failed::from(reason)),
        Err(reason) => Ok(Completion::ignored_with(reason)),
    }
}

/// A case that cannot run without every language.
fn needing_all(name: &str, work: fn() -> Result<(), String>) -> Trial {
    let run = move || {
        let missing = language::ALL.into_iter().find_map(|language| language.interpreter().err());
        judged(missing.map_or(Ok(()), Err), |()| Ok(work()?))
    };
    Trial::ignorable_test(name, run).with_kind("all")
}
