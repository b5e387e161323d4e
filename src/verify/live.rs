//! A run against the table that it is of, as the table is now.

use super::compare::compare;
use super::report::{Level, RunReport};
use super::side::{RunSide, Side, TableSide};
use super::{Verifier, VerifyOptions, verify_table};
use crate::catalog::{Consistency, Fault, Manifest, Moment, RunId, TablePath, Vault, run_paths};
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};

/// Verifies a run as [`verify_table`] does on level quick, then compares it with `table` of `client` and names the rows
/// that differ.
///
/// # Errors
/// What a service says when it cannot be read. A table that is gone, or has another primary key, is a fault of the report.
pub async fn verify_live(
    vault: &Vault,
    of: &TablePath,
    run: Option<&RunId>,
    (client, table): (&TableStore, &str),
    options: &VerifyOptions,
    verifier: &Verifier,
) -> Result<Option<RunReport>> {
    let quick = VerifyOptions { level: Level::Live, ..options.clone() };
    let Some(report) = verify_table(vault, of, run, &quick, verifier).await? else { return Ok(None) };
    let end = Moment::End;
    compare_with_table(vault, of, report, (client, table), &end, options, verifier).await.map(Some)
}

/// Compares the run of a `report` with `table` of `client`, and adds to the report which rows differ; a run that is damaged
/// is compared with nothing. The rows are those of `moment`, which is one of the run's chain.
///
/// # Errors
/// Those of [`verify_live`]; [`Kind::NotFound`] for a run that was removed meanwhile, and for a moment that the chain does not have.
pub async fn compare_with_table(
    vault: &Vault,
    of: &TablePath,
    mut report: RunReport,
    (client, table): (&TableStore, &str),
    moment: &Moment,
    options: &VerifyOptions,
    verifier: &Verifier,
) -> Result<RunReport> {
    if !report.is_sound() {
        report.notes.push("not compared with the table: the backup itself is damaged".to_owned());
        return Ok(report);
    }
    let store = &**vault.store();
    let path = run_paths(store, of).await?.into_iter().find(|path| path.run.as_str() == report.run);
    let path = path.ok_or_else(|| gone(&report))?;
    let manifest = Manifest::read(store, &path).await?.ok_or_else(|| gone(&report))?;
    let half = options.memory_bytes / 2;
    let object = path.manifest();
    let projection = manifest.projection.clone();
    let opened = TableSide::open(client, table, projection, &verifier.cpu, half).await;
    let side = match opened {
        Ok(side) => side,
        Err(error) if error.kind() == Kind::NotFound => {
            report.faults.push(Fault::new(&object, format!("table `{table}` is not there any more")));
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    if report.level == Level::Live {
        report.notes.extend(notes(&manifest, &side));
    }
    let run = RunSide::open(vault, of, (path, manifest), moment, &verifier.cpu, half).await?;
    if let Some(until) = run.folded_until() {
        report.notes.push(format!("compared row by row, with the Stream records up to run {until}"));
    }
    let (left, right) = (Side::Run(Box::new(run)), Side::Table(Box::new(side)));
    match compare(&left, &right, options, &verifier.progress).await {
        Ok(comparison) => report.comparison = Some(comparison),
        Err(error) if error.kind() == Kind::Usage => {
            report.faults.push(Fault::new(&object, error.one_line()))
        }
        Err(error) => return Err(error),
    }
    Ok(report)
}

/// The run was there a moment ago.
fn gone(report: &RunReport) -> Error {
    Error::new(Kind::NotFound, "compare a backup with its table")
        .on(format!("run `{}`", report.run))
        .because("it was removed meanwhile")
}

/// What may make a sound backup differ from a table.
fn notes(manifest: &Manifest, side: &TableSide) -> Vec<String> {
    let mut notes = Vec::new();
    let table = side.definition();
    if manifest.consistency == Consistency::Fuzzy {
        notes.push(format!(
            "the backup is fuzzy: rows written since {} differ, and prove nothing against it",
            manifest.started_at.strftime("%Y-%m-%d %H:%M:%SZ")
        ));
    }
    if table.creation_time != manifest.table.creation_time {
        notes.push("the table was created again since the backup".to_owned());
    }
    if table.options.time_to_live.is_some_and(|seconds| seconds > 0) {
        notes.push("the table has a time to live: cells that have expired since are gone from it".to_owned());
    }
    if table.options.max_versions != manifest.table.options.max_versions {
        notes.push("the table keeps another number of versions than when it was backed up".to_owned());
    }
    notes
}
