//! The compact flow: a chain folded into a new base, without a read of the table.
//!
//! Promises:
//! - The new base holds every row of the chain at its end, or at the end of one of its runs: same cells, versions and timestamps, expired
//!   ones included. A restore of it is a restore of the chain to that moment.
//! - It is exact, and its delta 0 is empty: it ends where the folded run ends in the Stream, so that the next delta goes on from there.
//! - The old chain stays as it is, until `expire` removes it.
//! - The new base exists when its manifest does. Whatever an interruption leaves of it belongs to no run; `cleanup` removes it.
//! - Memory stays inside [`CompactOptions::memory_bytes`], but for all the records of one key.

mod file_writer;
mod options;

use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

pub use options::CompactOptions;

use crate::catalog::{
    Chain, Compacted, Cut, FORMAT_VERSION, FileEntry, LeaseKeeper, Manifest, Moment, RunId, RunPath,
    RunState, StartedRun, StreamSpan, TOOL, TablePath, Vault, find_runs, prepare_commit, prepare_delta,
    publish, read_file_list,
};
use crate::fold::{Ambiguous, BaseRows, ChainRecords, FoldSettings, Stretch, TimeToLive};
use crate::model::KeyRange;
use crate::runtime::{ByteBudget, CpuPool, Shutdown};
use crate::stored::Reading;
use crate::{Error, Kind, Result};
use file_writer::{FileSettings, FileWriter};
use options::Shares;

/// Decoded bytes of a record batch, about.
const BATCH_BYTES: u64 = 4 << 20;

/// A chain that was folded.
#[derive(Debug)]
pub struct Compaction {
    /// Where the new base is.
    pub path: RunPath,
    /// What was committed.
    pub manifest: Manifest,
    /// Stream records that were folded.
    pub records: u64,
    /// Rows that may lack older versions.
    pub ambiguous: Ambiguous,
}

/// Folds a table's chain into a new base, which begins a new chain.
///
/// While it runs nobody else may write bases or deltas of the table.
///
/// # Errors
/// [`Kind::NotFound`] without an exact base, or without the run that was named; [`Kind::Usage`] for a moment that no delta could follow, and
/// for a chain without records; [`Kind::Locked`] while another process works on the table; [`Kind::Corrupt`] for files that are not what
/// their lists say; [`Kind::Stopped`] after a shutdown request. Nothing is committed then.
pub async fn compact(
    vault: &Vault,
    table: &TablePath,
    options: &CompactOptions,
    cpu: &CpuPool,
    shutdown: &Shutdown,
) -> Result<Compaction> {
    options.check()?;
    let stopped = || {
        Error::new(Kind::Stopped, "finish the compaction")
            .on(format!("of table `{}`", table.table))
            .because("it was asked to stop")
            .hint("nothing was committed; the same command begins anew, and `otsvault cleanup` removes what was written")
    };
    let lease = LeaseKeeper::acquire(vault, table).await?;
    let of_deltas = match LeaseKeeper::acquire_for_deltas(vault, table).await {
        Ok(of_deltas) => of_deltas,
        Err(error) => {
            lease.release().await;
            return Err(error.hint("stop `otsvault delta --follow` for the time of a compaction"));
        }
    };
    let job = Job { vault, table, options, cpu };
    let outcome = async {
        let (path, manifest, records, ambiguous) = tokio::select! {
            biased;
            _ = shutdown.wait() => return Err(stopped()),
            written = job.write(&lease) => written?,
        };
        lease.ensure().await?;
        of_deltas.ensure().await?;
        // Not dropped by a stop: that would leave open whether the base exists.
        publish(&**vault.store(), &path, &manifest).await?;
        Ok(Compaction { path, manifest, records, ambiguous })
    };
    let outcome = outcome.await;
    of_deltas.release().await;
    lease.release().await;
    outcome
}

struct Job<'a> {
    vault: &'a Vault,
    table: &'a TablePath,
    options: &'a CompactOptions,
    cpu: &'a CpuPool,
}

/// What the workers of a stretch share.
struct Work {
    base: BaseRows,
    stretch: Stretch,
    settings: FoldSettings,
    files: FileSettings,
}

/// What a worker wrote.
#[derive(Default)]
struct Written {
    entries: Vec<FileEntry>,
    records: u64,
    ambiguous: Ambiguous,
}

impl Job<'_> {
    /// Everything but the manifest in the vault.
    async fn write(&self, lease: &LeaseKeeper) -> Result<(RunPath, Manifest, u64, Ambiguous)> {
        let store = &**self.vault.store();
        let (cut, end) = self.cut().await?;
        let started_at = Timestamp::now();
        let run = RunId::new(started_at);
        let path = self.table.base(&run);
        lease.working_on(&run);
        let written = self.fold(&cut, &path).await?;
        let started = StartedRun {
            format_version: FORMAT_VERSION,
            tool: TOOL.to_owned(),
            chain: run.clone(),
            run,
            source: cut.base.source.clone(),
            table: cut.table.clone(),
            key_range: cut.base.key_range.clone(),
            projection: None,
            storage_class: cut.base.storage_class.clone(),
            started_at,
            columns: cut.base.columns.clone(),
            stream: None,
        };
        let span = StreamSpan { from: end.to.clone(), ..end };
        let delta = prepare_delta(store, &path, span, &started.columns, Vec::new()).await?;
        let prepared =
            prepare_commit(store, &path, &started, &written.entries, Some(delta), Timestamp::now());
        let compacted = Some(Compacted { chain: cut.path.chain.clone(), run: cut.run.clone() });
        let manifest = Manifest { compacted, ..prepared.await? };
        Ok((path, manifest, written.records, written.ambiguous))
    }

    /// What is folded, and the part of the Stream at whose end it ends.
    async fn cut(&self) -> Result<(Cut, StreamSpan)> {
        let store = &**self.vault.store();
        let usage = |reason: &str| {
            Error::new(Kind::Usage, "compact")
                .on(format!("table `{}`", self.table.table))
                .because(reason.to_owned())
        };
        if matches!(self.options.to, Moment::Time(_)) {
            return Err(usage("no delta could follow a base of a time between two runs")
                .hint("name a run: `otsvault list` shows them"));
        }
        let runs = find_runs(store, self.table).await?;
        let exact = runs.into_iter().rev().filter_map(|run| match run {
            RunState::Committed(path, manifest) => manifest.delta.is_some().then_some(path),
            RunState::Unfinished(..) => None,
        });
        for base in exact {
            let chain = Chain::read(store, self.table, &base).await?;
            let wanted = match &self.options.to {
                Moment::Run(run) => {
                    chain.path.run == *run || chain.deltas.iter().any(|link| link.path.run == *run)
                }
                Moment::End | Moment::Time(_) => true,
            };
            if !wanted {
                continue;
            }
            let cut = chain.cut(&self.options.to)?;
            if !cut.has_records() && cut.deltas.len() <= 1 {
                return Err(usage("nothing follows its base, which has no Stream records either"));
            }
            let last = cut.deltas.last().map(|(_, delta)| delta.stream.clone());
            return match last {
                Some(end) => Ok((cut, end)),
                None => Err(Error::new(Kind::Internal, "compact").because("an exact base has no delta")),
            };
        }
        Err(Error::new(Kind::NotFound, "find an exact base to compact")
            .on(format!("of table `{}` in {}", self.table.table, self.vault.url()))
            .hint("`otsvault list` shows what is there; `otsvault backup --consistency exact` makes one"))
    }

    async fn fold(&self, cut: &Cut, path: &RunPath) -> Result<Written> {
        let entries: Arc<[FileEntry]> =
            read_file_list(&**self.vault.store(), &cut.path, &cut.base).await?.into();
        let shares = Shares::of(self.options);
        let reading = |largest_whole: u64, whole: u64, blocks: u64| Reading {
            store: self.vault.store().clone(),
            largest_whole,
            whole: ByteBudget::new(whole),
            blocks: ByteBudget::new(blocks),
            cpu: self.cpu.clone(),
            batch_bytes: BATCH_BYTES,
        };
        let half = shares.record_files / 2;
        let records = Arc::new(ChainRecords::open(cut, reading(half / 4, half, half), shares.records).await?);
        let half = shares.base_files / 2;
        let base = BaseRows::new(
            &cut.path,
            &cut.base,
            entries.clone(),
            reading(half / shares.workers as u64, half, half),
        );
        let mut all = Written::default();
        for stretch in records.stretches(&entries) {
            let Some(range) = range_of(&entries, &stretch) else { continue };
            let work = Arc::new(Work {
                base: base.clone(),
                stretch: records.stretch(range).await?,
                settings: FoldSettings::of(cut, TimeToLive::Raw),
                files: shares.files(self.options, self.vault.store(), path, cut, self.cpu)?,
            });
            let workers = if work.stretch.is_whole() { shares.workers } else { 1 };
            let mut running = JoinSet::new();
            for share in divided(&entries, stretch, workers) {
                running.spawn(fold_entries(work.clone(), share));
            }
            while let Some(joined) = running.join_next().await {
                let written = joined
                    .map_err(|error| Error::new(Kind::Internal, "wait for a worker").source(error))??;
                all.entries.extend(written.entries);
                all.records += written.records;
                all.ambiguous.merge(written.ambiguous);
            }
        }
        Ok(all)
    }
}

/// Folds neighbouring entries into files of the new base.
async fn fold_entries(work: Arc<Work>, entries: Range<usize>) -> Result<Written> {
    let mut written = Written::default();
    let mut open: Option<FileWriter> = None;
    for entry in entries.clone() {
        let Some(interval) = work.base.entries().get(entry).map(|entry| entry.range.clone()) else { break };
        let file = work.base.open(entry).await?;
        let pieces = work.base.entries().get(entry).map_or(0, BaseRows::pieces);
        for piece in 0..pieces {
            let keys = match piece + 1 == pieces && piece == 0 {
                true => interval.clone(),
                false => work.base.interval(file.as_ref(), entry, piece).await?,
            };
            let end = keys.end.clone();
            let mut writer = match open.take() {
                Some(writer) => writer,
                None => FileWriter::new(&work.files, keys.start.clone())?,
            };
            let (mut rows, permit) = work.base.folded(file.as_ref(), piece, keys, work.settings).await?;
            loop {
                rows = writer.append(&work.files, rows).await?;
                let Some(wanted) = rows.wants() else { break };
                let part = work.stretch.part_at(&wanted.start).await?;
                rows.feed(part.records.clone(), &part.range.end);
            }
            drop(permit);
            written.records += rows.records();
            written.ambiguous.merge(rows.ambiguous().clone());
            match writer.is_full(&work.files) {
                true => written.entries.push(writer.close(&work.files, end).await?),
                false => open = Some(writer),
            }
        }
    }
    let end = entries.end.checked_sub(1).and_then(|last| work.base.entries().get(last));
    if let Some((writer, last)) = open.zip(end) {
        written.entries.push(writer.close(&work.files, last.range.end.clone()).await?);
    }
    Ok(written)
}

/// The keys of neighbouring entries.
fn range_of(entries: &[FileEntry], stretch: &Range<usize>) -> Option<KeyRange> {
    let entries = entries.get(stretch.clone())?;
    let (first, last) = (entries.first()?, entries.last()?);
    Some(KeyRange { start: first.range.start.clone(), end: last.range.end.clone() })
}

/// Divides neighbouring entries into as many groups of about the same number of rows, or fewer.
fn divided(entries: &[FileEntry], stretch: Range<usize>, groups: usize) -> Vec<Range<usize>> {
    let weight = |entry: &FileEntry| u128::from(entry.rows) + 1;
    let all: u128 = entries.get(stretch.clone()).unwrap_or_default().iter().map(weight).sum();
    let (mut divided, mut start, mut before) = (Vec::new(), stretch.start, 0);
    for place in stretch.clone() {
        before += entries.get(place).map_or(0, weight);
        let is_full = before * groups as u128 >= all * (divided.len() as u128 + 1);
        if is_full || place + 1 == stretch.end {
            divided.push(start..place + 1);
            start = place + 1;
        }
    }
    divided
}
