//! `otsvault verify --level drill`: restores a backup into a scratch table, compares the two and deletes the table.
//!
//! - The table has a new name of the prefix and 64 random bits; a table that is there is never touched.
//! - It is deleted whatever happens, Ctrl-C included; where that fails it is named. A second Ctrl-C ends the process at
//!   once, and the name is on stderr since the beginning.
//! - Nothing is written to the vault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::memory::InMemory;
use object_store::path::Path;
use serde::Serialize;

use super::progress::Audience;
use super::summary::Failure;
use super::verify_progress::watch;
use super::{Output, restore_progress, size};
use crate::catalog::{Chain, Moment, RowCounts, RunId, TablePath, Vault};
use crate::restore::{self, ErrorLimit, Job, Refusal, RestoreOptions, State, refusals};
use crate::runtime::Shutdown;
use crate::tablestore::TableStore;
use crate::verify::{
    Comparison, RunReport, Verifier, VerifyOptions, compare_with_table, find_run, verify_table,
};
use crate::{Error, Kind, Result};

/// Between plain progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// A request to make the table may still be on its way when it is to be deleted.
const DELETE_TRIES: u32 = 5;
const DELETE_PAUSE: Duration = Duration::from_millis(600);

/// Longest name of a table (service limit, "Limits", developer guide).
const LONGEST_NAME: usize = 255;

/// Random hex digits behind the prefix.
const DIGITS: usize = 16;

/// What a drill runs on.
pub(super) struct Drill<'a> {
    pub client: &'a TableStore,
    pub vault: &'a Vault,
    /// Names of scratch tables begin so.
    pub prefix: &'a str,
    pub options: &'a VerifyOptions,
    pub verifier: &'a Verifier,
    pub shutdown: &'a Shutdown,
    pub output: Output,
}

/// What became of the scratch table of one run.
#[derive(Debug, Serialize)]
pub(super) struct Drilled {
    scratch_table: String,
    rows: RowCounts,
    seconds: f64,
    /// Why rows were refused, by code.
    refusals: Vec<Refusal>,
    /// The table is there still, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_behind: Option<Failure>,
}

/// Whether scratch tables can have names that begin with `prefix`.
///
/// # Errors
/// [`Kind::Usage`].
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    let is_name = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !prefix.starts_with(|first: char| first.is_ascii_digit());
    match is_name && prefix.len() + DIGITS <= LONGEST_NAME {
        true => Ok(()),
        false => Err(Error::new(Kind::Usage, format!("name scratch tables `{prefix}…`")).because(
            "names of tables are letters, digits and `_`, begin with no digit and have 255 bytes at most",
        )),
    }
}

impl Drill<'_> {
    /// Verifies one table's run as level quick does, restores it, compares. `None` where there is no run.
    ///
    /// # Errors
    /// What keeps it from restoring and comparing; the table is deleted all the same.
    pub(super) async fn run(
        &self,
        table: &TablePath,
        run: Option<&RunId>,
        moment: Option<Moment>,
    ) -> Result<Option<(RunReport, Option<Drilled>)>> {
        let looked = self.until_stopped(verify_table(self.vault, table, run, self.options, self.verifier));
        let Some(mut report) = looked.await? else { return Ok(None) };
        if !report.is_sound() {
            report.notes.push("not restored: the backup itself is damaged".to_owned());
            return Ok(Some((report, None)));
        }
        let scratch = format!("{}{:0DIGITS$x}", self.prefix, rand::random::<u64>());
        match self.client.describe_table(&scratch).await {
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
            Ok(_) => {
                return Err(Error::new(Kind::AlreadyExists, "make a scratch table")
                    .on(format!("`{scratch}`"))
                    .because("there is a table of that name"));
            }
        }
        if !self.output.quiet {
            eprintln!("{}/{}: restoring into scratch table `{scratch}`", table.instance, table.table);
        }
        let outcome = self.until_stopped(self.restore_and_compare(table, moment, report, &scratch)).await;
        let may_come = outcome
            .as_ref()
            .err()
            .is_some_and(|error| matches!(error.kind(), Kind::Stopped | Kind::Unavailable));
        let deleted = self.delete(&scratch, may_come).await;
        match (outcome, deleted) {
            (Ok(outcome), Ok(())) => Ok(Some(outcome)),
            (Ok((report, mut drilled)), Err(error)) => {
                drilled.iter_mut().for_each(|drilled| drilled.left_behind = Some(Failure::new(&error, None)));
                Ok(Some((report, drilled)))
            }
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(of_delete)) => Err(error.hint(format!(
                "delete the scratch table `{scratch}` by hand, if it is there: {}",
                of_delete.one_line()
            ))),
        }
    }

    async fn restore_and_compare(
        &self,
        table: &TablePath,
        moment: Option<Moment>,
        mut report: RunReport,
        scratch: &str,
    ) -> Result<(RunReport, Option<Drilled>)> {
        let moment = match moment {
            Some(moment) => moment,
            None => self.end(table, &report).await?,
        };
        let options = RestoreOptions {
            to: moment.clone(),
            scratch: true,
            memory_bytes: self.options.memory_bytes,
            max_errors: ErrorLimit::Rows(10_000),
            ..RestoreOptions::default()
        };
        // The log is for going on, and this restore is begun once.
        let state = State { store: Arc::new(InMemory::new()), prefix: Path::default() };
        let job = Job { table: table.clone(), target: scratch.to_owned(), state: Some(state.clone()) };
        let runtime = restore::Runtime {
            cpu: self.verifier.cpu.clone(),
            progress: Arc::default(),
            // Who drops this future stops it.
            shutdown: Shutdown::default(),
        };
        let silent = self.output.quiet || self.output.json;
        let audience = if silent { Audience::Nobody } else { Audience::People };
        let shown = vec![(scratch.to_owned(), runtime.progress.clone())];
        let display = restore_progress::start(shown, audience, PROGRESS_INTERVAL);
        let began = Instant::now();
        let restored = restore::restore(self.client, self.vault, &job, &options, &runtime).await;
        display.finish();
        let refusals = refusals(&state).await?;
        let restored = restored.map_err(|error| match error.kind() {
            Kind::LeftOut => Error::new(Kind::LeftOut, "restore every row")
                .on(format!("of `{}/{}`", table.instance, table.table))
                .because(refusals.iter().map(refusal_text).collect::<Vec<_>>().join("; ")),
            _ => error,
        })?;
        report.notes.extend(restored.notes);
        let drilled = Drilled {
            scratch_table: scratch.to_owned(),
            rows: restored.rows,
            seconds: began.elapsed().as_secs_f64(),
            refusals,
            left_behind: None,
        };
        // Refused rows are differences: each is named, and others beside them.
        let rejected = usize::try_from(restored.rows.rejected).unwrap_or(usize::MAX);
        let max_differences = self.options.max_differences.saturating_add(rejected);
        let options = VerifyOptions { max_differences, ..self.options.clone() };
        let against = (self.client, scratch);
        let display = watch(self.verifier.progress.clone(), silent);
        let compared =
            compare_with_table(self.vault, table, report, against, &moment, &options, self.verifier).await;
        display.finish();
        Ok((compared?, Some(drilled)))
    }

    /// The last run of the chain: a name that stays the same when somebody adds to the chain.
    async fn end(&self, table: &TablePath, report: &RunReport) -> Result<Moment> {
        let base = report.run.parse().map_err(|reason: String| {
            Error::new(Kind::Internal, format!("restore run `{}`", report.run)).because(reason)
        })?;
        let (path, _) = find_run(self.vault, table, Some(&base), 0).await?;
        let chain = Chain::read(&**self.vault.store(), table, &path).await?;
        Ok(Moment::Run(chain.deltas.last().map_or(base, |link| link.path.run.clone())))
    }

    /// Deletes the table. `may_come`: a request to make it may have been dropped on its way.
    async fn delete(&self, scratch: &str, may_come: bool) -> Result<()> {
        for again in (0..DELETE_TRIES).rev() {
            match self.client.delete_table(scratch).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == Kind::NotFound && !may_come => return Ok(()),
                Err(error) if error.kind() == Kind::NotFound && again == 0 => return Ok(()),
                Err(error) if error.kind() == Kind::Permission || again == 0 => return Err(error),
                Err(_) => tokio::time::sleep(DELETE_PAUSE).await,
            }
        }
        Ok(())
    }

    async fn until_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        super::until_stopped(work, self.shutdown).await
    }
}

impl Drilled {
    /// What the outcome is worth: 5 for a difference; 3 where rows were refused and nothing else differs; else that of the
    /// failure to delete the table.
    pub(super) fn exit_code(&self, report: &RunReport) -> u8 {
        let refused = self.rows.rejected;
        // The table was empty, so that a refused row is a difference, unless the service wrote it all the same.
        let is_refused = |found: &Comparison| {
            (found.added, found.has_more, found.unexplained_ranges) == (0, false, 0)
                && found.removed + found.changed <= refused
        };
        let as_refused = report.faults.is_empty() && report.comparison.as_ref().is_none_or(is_refused);
        match (report.is_sound(), as_refused) {
            (true, _) if refused == 0 => self.left_behind.as_ref().map_or(0, |failure| failure.exit_code),
            (_, true) => Kind::LeftOut.exit_code(),
            (_, false) => Kind::Verification.exit_code(),
        }
    }

    /// The lines of a report.
    pub(super) fn text(&self) -> String {
        let gone = if self.left_behind.is_none() { ", which is deleted again" } else { "" };
        let mut text = format!(
            "\n  restored    {} rows in {:.1} s into scratch table `{}`{gone}",
            size::grouped(self.rows.written + self.rows.there),
            self.seconds,
            self.scratch_table,
        );
        for refusal in &self.refusals {
            text.push_str(&format!("\n  refused     {}", refusal_text(refusal)));
        }
        if let Some(failure) = &self.left_behind {
            let why = failure.error.lines().next().unwrap_or_default();
            text.push_str(&format!(
                "\n  left behind `{}`, which costs storage until it is deleted: {}",
                self.scratch_table,
                why.strip_prefix("error: ").unwrap_or(why)
            ));
        }
        text
    }
}

fn refusal_text(refusal: &Refusal) -> String {
    // The message says the code.
    format!("{}: {}", size::counted(refusal.rows, "row"), refusal.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_beginning_of_a_name() {
        let longest = "a".repeat(LONGEST_NAME - DIGITS);
        for prefix in ["drill_", "_", "A9", &longest] {
            assert!(check_prefix(prefix).is_ok(), "{prefix}");
        }
        for prefix in ["9a", "a-b", "é", "a*", &format!("{longest}a")] {
            assert_eq!(check_prefix(prefix).unwrap_err().kind(), Kind::Usage, "{prefix}");
        }
    }
}
