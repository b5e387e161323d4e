//! Writes the rows of reject files again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::plan::{Found, Prepared};
use super::rejects::{LARGEST_FILE, row_numbers};
use super::units::Retry;
use super::writing::Attempt;
use super::{Job, RestoreOptions, RestorePhase, Restored, Runtime, stopped, sum, target};
use crate::catalog::{FinishedRestore, Vault};
use crate::model::TableDefinition;
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};

/// Writes the rows again that [`restore`](super::restore) with the same `job` and `options` left out, from the backup.
/// A reject file of which every row is written is deleted; rows that are refused again stay in theirs.
///
/// The restore must have come to its end. While rows are written the table has the options of the load; at the end it
/// has its own again.
///
/// # Errors
/// [`Kind::NotFound`] without such a restore; [`Kind::Corrupt`] for a reject file that is none; otherwise as the restore.
pub async fn retry_rejects(
    client: &TableStore,
    vault: &Vault,
    job: &Job,
    options: &RestoreOptions,
    runtime: &Runtime,
) -> Result<Restored> {
    options.check()?;
    runtime.progress.enter(RestorePhase::Preparing);
    let outcome = tokio::select! {
        biased;
        _ = runtime.shutdown.wait() => Err(stopped(&job.target)),
        outcome = run(client, vault, job, options, runtime) => outcome,
    };
    runtime.progress.enter(RestorePhase::Ended);
    outcome
}

async fn run(
    client: &TableStore,
    vault: &Vault,
    job: &Job,
    options: &RestoreOptions,
    runtime: &Runtime,
) -> Result<Restored> {
    let prepared = Prepared::look(client, vault, job, options).await?;
    let Found::Finished { started, finished } = &prepared.found else {
        return Err(Error::new(Kind::NotFound, "find a restore")
            .on(format!("of this backup into table `{}` that came to its end", job.target))
            .hint(
                "`otsvault restore` with the same arguments makes one, or goes on with an interrupted one",
            ));
    };
    if prepared.selection.reassigned.is_some() {
        return Err(Error::new(Kind::Unsupported, "write refused rows again")
            .on(format!("into table `{}`", job.target))
            .because("with keys of the service's own, a row whose answer was lost would be there twice"));
    }
    let log = prepared.log(job, vault, started).await?;
    let done = log.all_done().await?;
    let mut only = BTreeMap::new();
    for unit in done.iter().filter(|unit| unit.rows.rejected > 0) {
        let path = log.rejects(unit.unit);
        let Some(bytes) = log.read_file(&path, LARGEST_FILE).await? else {
            return Err(Error::new(Kind::Corrupt, "write refused rows again")
                .on(format!("of row group {}", unit.unit))
                .because(format!("`{path}` is not there")));
        };
        let rows = row_numbers(&bytes)
            .map_err(|error| Error::new(error.kind(), "use").on(format!("`{path}`")).source(error))?;
        only.insert(unit.unit, Retry { rows: Arc::new(rows), before: unit.rows });
    }
    let there = client.describe_table(&job.target).await?.definition;
    // An attempt that was killed may have left the options of the load.
    let options_after = match target::is_open_for_load(&there, &started.at_end) {
        true => started.at_end.options.clone(),
        false => there.options.clone(),
    };
    let after =
        TableDefinition { options: options_after, stream: None, indexes: Vec::new(), ..there.clone() };
    if only.is_empty() {
        target::finish(client, &after).await?;
        return Ok(Restored { resumed: finished.rows, ..prepared.outcome(started, &log, finished.rows) });
    }
    let rows: u64 = only.values().map(|retry| retry.rows.len() as u64).sum();
    runtime.progress.planned(rows, only.len() as u64, Default::default(), 0);
    if !prepared.selection.flatten {
        target::open_for_load(client, &there).await?;
    }
    runtime.progress.enter(RestorePhase::Writing);
    let attempt = Attempt {
        client,
        log: &log,
        options,
        runtime,
        done: HashMap::new(),
        resumed: false,
        only: Some(Arc::new(only)),
        rows_total: rows,
    };
    let written = prepared.write(&attempt).await;
    runtime.progress.enter(RestorePhase::Finishing);
    // Whatever became of the rows.
    target::finish(client, &after).await?;
    written?;
    let total = sum(&log.all_done().await?);
    log.finish(&FinishedRestore { finished_at: Timestamp::now(), rows: total }).await?;
    Ok(Restored { resumed: finished.rows, ..prepared.outcome(started, &log, total) })
}
