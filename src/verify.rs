//! Proving that a backup is what its manifest says, and that it is the table.
//!
//! | level | reads | finds |
//! |---|---|---|
//! | quick | documents, one list, one HEAD or a few KiB per file | what is gone, cut, swapped or too much; documents that were changed |
//! | sample | some data files whole | what full finds, in these files |
//! | full | every byte | any changed bit; rows, keys, counts, row-sums and statistics that are not as the documents say |
//! | live | the table, and what differs from it | each key that differs, with its columns |
//! | drill | a table that the run was restored into, as live does | what a restore does not give back |
//!
//! Promises:
//! - Every difference is named; none ends the search for others. What could not be looked at is an error, never a success.
//! - A vault is untrusted: hashes are compared before anything is decoded, sizes and counts before memory is taken.
//! - Memory stays inside [`VerifyOptions::memory_bytes`] whatever the size of the files.

mod chain;
mod compare;
mod data_file;
mod folded;
mod live;
mod objects;
mod progress;
mod record_file;
mod report;
mod row_blocks;
mod row_difference;
mod sample;
mod side;

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

pub use compare::compare;
pub use live::{compare_with_table, verify_live};
pub use progress::{VerifyCount, VerifyProgress};
pub use report::{Comparison, Level, RowChange, RowDifference, RunReport};
pub use sample::Sample;
pub use side::{RunSide, Side, TableSide};

use crate::catalog::{
    Audit, AuditDepth, Fault, FileEntry, Manifest, RunId, RunPath, RunState, TablePath, Vault, audit_run,
    hidden_runs, read_file_list, run_paths,
};
use crate::parquet_file::Contents;
use crate::runtime::CpuPool;
use crate::{Error, Kind, Result};
use data_file::Reading;

/// How to verify. Build from `Default` and change fields.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// How much is read; [`Level::Live`] needs a table and is [`verify_live`]'s, [`Level::Drill`] needs one that was
    /// restored and is [`compare_with_table`]'s.
    pub level: Level,
    /// Which data files [`Level::Sample`] reads.
    pub sample: Sample,
    /// Bytes that data files, decoded batches and response bodies may take together. Default 512 MiB, at least 64 MiB.
    pub memory_bytes: u64,
    /// Rows that a comparison names at most. Default 100.
    pub max_differences: usize,
}

impl Default for VerifyOptions {
    fn default() -> VerifyOptions {
        VerifyOptions {
            level: Level::Quick,
            sample: Sample::share(5.0, 0),
            memory_bytes: 512 << 20,
            max_differences: 100,
        }
    }
}

/// Below this nothing but the smallest files could be decoded.
const SMALLEST_MEMORY: u64 = 64 << 20;

impl VerifyOptions {
    /// # Errors
    /// [`Kind::Usage`] naming the option that is out of range.
    pub fn check(&self) -> Result<()> {
        if self.memory_bytes < SMALLEST_MEMORY {
            return Err(Error::new(Kind::Usage, "use `--memory`").because("it must be 64MiB at least"));
        }
        Ok(())
    }
}

/// What verification runs on.
#[derive(Clone)]
pub struct Verifier {
    /// Where hashing and decoding happen.
    pub cpu: CpuPool,
    /// How far it is.
    pub progress: Arc<VerifyProgress>,
}

/// Verifies one table of a vault: `run`, or its newest committed run. Damaged manifests of newer runs are faults of the report. `None` when the table has no
/// committed run and no trace of one.
///
/// # Errors
/// What the store says when it cannot be read; [`Kind::NotFound`] for a `run` that is not there.
pub async fn verify_table(
    vault: &Vault,
    table: &TablePath,
    run: Option<&RunId>,
    options: &VerifyOptions,
    verifier: &Verifier,
) -> Result<Option<RunReport>> {
    options.check()?;
    let depth = if options.level == Level::Full { AuditDepth::Everything } else { AuditDepth::Listed };
    let Some(audited) = audit_newest(vault, table, run, depth).await? else { return Ok(None) };
    let mut report = RunReport::new(table, options.level, &audited);
    if options.level == Level::Full {
        report.faults.extend(vault.audit().await?);
    }
    if let Audited {
        path,
        audit: Audit { manifest: Some(manifest), entries: Some(entries), present, .. },
        ..
    } = &audited
    {
        let sound: Vec<_> = entries.iter().filter(|entry| present.contains(&entry.id)).cloned().collect();
        let read: HashSet<_> = match options.level {
            Level::Quick | Level::Live | Level::Drill => HashSet::new(),
            Level::Sample => {
                let files = sound.iter().filter(|entry| entry.file.is_some()).map(|entry| entry.id);
                options.sample.choose(&files.collect::<Vec<_>>())
            }
            Level::Full => sound.iter().map(|entry| entry.id).collect(),
        };
        let (read, others): (Vec<_>, Vec<_>) = sound.into_iter().partition(|entry| read.contains(&entry.id));
        verifier.progress.plan((read.len() + others.len()) as u64);
        let reading = Reading::new(vault, manifest, &verifier.cpu, options.memory_bytes);
        objects::check_objects(&reading, path, &others, &verifier.progress, &mut report).await?;
        read_files(&reading, path, read, &verifier.progress, &mut report).await?;
        chain::verify_chain(&reading, (table, path, manifest), options, &verifier.progress, &mut report)
            .await?;
    }
    // Whoever removes a run hides it first.
    if !report.is_sound() && hidden_runs(&**vault.store(), table).await?.contains(&audited.path.run) {
        return Err(Error::new(Kind::NotFound, "verify a run")
            .on(format!("`{}`", audited.path.prefix()))
            .because("it was removed meanwhile"));
    }
    report.sort();
    Ok(Some(report))
}

/// The run that is verified.
struct Audited {
    path: RunPath,
    audit: Audit,
    /// Of newer runs, which are passed over.
    newer_faults: Vec<Fault>,
}

async fn audit_newest(
    vault: &Vault,
    table: &TablePath,
    run: Option<&RunId>,
    depth: AuditDepth,
) -> Result<Option<Audited>> {
    let store = &**vault.store();
    let mut newer_faults = Vec::new();
    let mut damaged = None;
    let mut newest: Option<Audited> = None;
    let paths = run_paths(store, table).await?;
    let hidden = hidden_runs(store, table).await?;
    let wanted = |path: &RunPath| !hidden.contains(&path.run) && run.is_none_or(|run| *run == path.run);
    for path in paths.into_iter().rev().filter(wanted) {
        // Ids of the same second are in no order.
        if newest.as_ref().is_some_and(|newest| second_of(&newest.path) != second_of(&path)) {
            break;
        }
        let audit = audit_run(store, table, &path, depth).await?;
        if audit.manifest.is_none() {
            if !audit.faults.is_empty() {
                newer_faults.extend(audit.faults.iter().cloned());
                damaged.get_or_insert(path);
            }
            continue;
        }
        let found = Audited { path, audit, newer_faults: Vec::new() };
        if newest.as_ref().is_none_or(|newest| newest.started_at() < found.started_at()) {
            newest = Some(found);
        }
    }
    match (newest, damaged, run) {
        (Some(newest), ..) => Ok(Some(Audited { newer_faults, ..newest })),
        // Its faults are all in `newer_faults`.
        (None, Some(path), _) => Ok(Some(Audited { path, audit: Audit::default(), newer_faults })),
        (None, None, Some(run)) => Err(Error::new(Kind::NotFound, format!("find run `{run}`"))
            .on(format!("of table `{}/{}`", table.instance, table.table))
            .because("there is no committed run of that id")
            .hint("`otsvault list` shows what is there")),
        (None, None, None) => Ok(None),
    }
}

impl Audited {
    fn started_at(&self) -> Option<jiff::Timestamp> {
        self.audit.manifest.as_ref().map(|manifest| manifest.started_at)
    }
}

/// The second in which a run started, as it stands in its id.
fn second_of(path: &RunPath) -> Option<&str> {
    path.run.as_str().split('-').next()
}

/// Reads data files whole.
async fn read_files(
    reading: &Reading,
    path: &RunPath,
    entries: Vec<FileEntry>,
    progress: &VerifyProgress,
    report: &mut RunReport,
) -> Result<()> {
    let mut checks = futures::stream::iter(entries)
        .map(|entry| async move {
            let found = reading.check_file(path, &entry).await;
            (entry, found)
        })
        .buffer_unordered(reading.files_at_once());
    while let Some((entry, found)) = checks.next().await {
        let bytes = entry.file.as_ref().map_or(0, |file| file.bytes);
        progress.file(bytes, entry.rows);
        match found {
            Ok(contents) => {
                report.files_read += 1;
                report.bytes_read += bytes;
                report.rows_read += contents.rows;
            }
            Err(error) => report.faults.push(Fault::of(&path.data_file(entry.id), error)?),
        }
    }
    Ok(())
}

/// Reads every byte of a committed run back: the file list against the manifest, each object's SHA-256, each row's
/// key against the file's interval, counts and row-sums against the entry. Returns what the rows add up to.
///
/// # Errors
/// [`Kind::Verification`] naming the first file that differs.
pub async fn read_back(
    vault: &Vault,
    path: &RunPath,
    manifest: &Manifest,
    cpu: &CpuPool,
) -> Result<Contents> {
    let entries = read_file_list(&**vault.store(), path, manifest).await?;
    let reading = &Reading::new(vault, manifest, cpu, VerifyOptions::default().memory_bytes);
    futures::stream::iter(entries.into_iter().filter(|entry| entry.file.is_some()))
        .map(|entry| async move {
            reading.check_file(path, &entry).await.map_err(|error| match error.kind() {
                Kind::Corrupt => error.with_kind(Kind::Verification),
                _ => error,
            })
        })
        .buffer_unordered(reading.files_at_once())
        .try_fold(Contents::default(), |mut total, found| async move {
            total.rows += found.rows;
            total.cells += found.cells;
            total.row_sum += found.row_sum;
            Ok(total)
        })
        .await
}

/// A committed run of a table: `run`, or the `back`-th before the newest.
///
/// # Errors
/// [`Kind::NotFound`] when there is none.
pub async fn find_run(
    vault: &Vault,
    table: &TablePath,
    run: Option<&RunId>,
    back: usize,
) -> Result<(RunPath, Manifest)> {
    let runs = crate::catalog::find_runs(&**vault.store(), table).await?;
    let committed = runs.into_iter().rev().filter_map(|run| match run {
        RunState::Committed(path, manifest) => Some((path, *manifest)),
        RunState::Unfinished(..) => None,
    });
    let mut wanted = committed.filter(|(path, _)| run.is_none_or(|run| *run == path.run));
    wanted.nth(if run.is_some() { 0 } else { back }).ok_or_else(|| {
        Error::new(Kind::NotFound, "find a committed backup")
            .on(format!("of table `{}/{}` in {}", table.instance, table.table, vault.url()))
            .hint("`otsvault list` shows what is there, unfinished runs included")
    })
}
