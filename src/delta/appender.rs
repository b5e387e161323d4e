//! Appends deltas to one chain, one after the other.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{DeltaOptions, FollowStatus};
use crate::catalog::{
    Chain, ChainGap, DeltaManifest, FORMAT_VERSION, LeaseKeeper, Link, RunId, RunKind, RunPath, RunState,
    ShardPlace, ShardProgress, Source, TOOL, TablePath, Vault, find_runs, hidden_runs, prepare_delta,
};
use crate::parquet_file::WriterSettings;
use crate::runtime::CpuPool;
use crate::stream::{Fence, RecordFileSettings, RecordFiles, StreamReader, system_clock};
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};

/// An idle Stream's places are written down again when this share of its retention has passed since the last time.
const IDLE_SHARE: i64 = 10;

/// A delta that is committed.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Where it is.
    pub path: RunPath,
    /// What was committed.
    pub manifest: DeltaManifest,
    /// Share of the Stream's retention that has passed since the last complete look at it: at 1 records are lost.
    pub retention_used: f64,
}

/// The end of a chain, with the Stream open at it.
pub(super) struct Appender<'a> {
    client: &'a TableStore,
    vault: &'a Vault,
    options: &'a DeltaOptions,
    cpu: CpuPool,
    table: TablePath,
    chain: Chain,
    lease: LeaseKeeper,
    reader: StreamReader,
    /// Where the next delta begins.
    from: Vec<ShardProgress>,
    next: NextRun,
}

/// The delta that grows.
struct NextRun {
    path: RunPath,
    started_at: Timestamp,
    files: RecordFiles,
}

impl<'a> Appender<'a> {
    /// Opens the newest exact base's chain, and the Stream where it ends.
    ///
    /// # Errors
    /// Those of [`delta`](super::delta).
    pub(super) async fn open(
        client: &'a TableStore,
        table: &str,
        vault: &'a Vault,
        options: &'a DeltaOptions,
        cpu: &CpuPool,
    ) -> Result<Appender<'a>> {
        let path = vault.table(client.instance(), table)?;
        let definition = client.describe_table(table).await?.definition;
        let lease = LeaseKeeper::acquire_for_deltas(vault, &path).await?;
        let opened = async {
            let chain = newest_chain(vault, &path).await?;
            if let Some(gap) = &chain.gap {
                return Err(gap.refusal(table));
            }
            let end = chain.end().ok_or_else(|| no_base(&path))?;
            match StreamReader::resume(client, &definition, end, cpu.clone(), system_clock()).await {
                Ok(reader) => Ok((chain, reader.with_pages_in_flight(options.pages_in_flight()))),
                Err(error) => Err(mark(vault, &chain, options, error).await),
            }
        };
        let (chain, reader) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                lease.release().await;
                return Err(error);
            }
        };
        let from = chain.end().map(|end| end.to.clone()).unwrap_or_default();
        let next = NextRun::begin(&chain, &path, vault, options, cpu)?;
        lease.working_on(&next.path.run);
        Ok(Appender {
            client,
            vault,
            options,
            cpu: cpu.clone(),
            table: path,
            chain,
            lease,
            reader,
            from,
            next,
        })
    }

    /// Reads everything that is committed to the table by now.
    pub(super) async fn drain(&mut self) -> Result<()> {
        let now = Fence::now(Duration::ZERO);
        let drained = self.reader.drain(now, &mut self.next.files).await;
        self.or_mark(drained).await.map(drop)
    }

    /// Asks every shard once. Says whether there was anything.
    pub(super) async fn pass(&mut self) -> Result<bool> {
        let passed = self.reader.pass(&mut self.next.files).await;
        self.or_mark(passed).await
    }

    /// Writes down a gap, where that is asked for.
    async fn or_mark<T>(&self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(error) => Err(mark(self.vault, &self.chain, self.options, error).await),
            outcome => outcome,
        }
    }

    /// Whether there are records that no run holds.
    pub(super) fn has_records(&self) -> bool {
        !self.next.files.is_empty()
    }

    /// Whether enough records wait for a delta of its own.
    pub(super) fn is_full(&self) -> bool {
        self.next.files.is_full()
    }

    /// Whether the places that are committed have to be written down again: they age even if nothing happens.
    pub(super) fn is_aging(&self) -> bool {
        let hours = self.chain.end().map_or(0, |end| end.expiration_hours);
        is_aging(&self.from, hours, Timestamp::now())
    }

    /// Where things stand.
    pub(super) fn status(&self) -> FollowStatus {
        let known_to = self.chain.end().and_then(|end| end.reached());
        FollowStatus {
            lag: known_to
                .map(|known| Duration::try_from(Timestamp::now().duration_since(known)).unwrap_or_default()),
            retention_used: self.reader.retention_used(),
            waiting_records: self.next.files.records(),
        }
    }

    /// Commits what was read, and begins the next delta.
    ///
    /// # Errors
    /// [`Kind::Gap`] when table or Stream are other ones by now, [`Kind::NotFound`] when the chain was removed meanwhile. Nothing is
    /// committed then, and this appender is no use any more.
    pub(super) async fn commit(&mut self) -> Result<Appended> {
        let identity = self.reader.check_identity().await;
        let definition = self.or_mark(identity).await?;
        let store = &**self.vault.store();
        let (path, started_at) = (self.next.path.clone(), self.next.started_at);
        let entries = self.next.files.finish().await?;
        let span = self.reader.span_from(std::mem::take(&mut self.from));
        self.lease.ensure().await?;
        let delta = prepare_delta(store, &path, span, &self.chain.base.columns, entries).await?;
        if hidden_runs(store, &self.table).await?.contains(&self.chain.path.run) {
            return Err(Error::new(Kind::NotFound, "append a delta")
                .on(format!("of table `{}`", self.table.table))
                .because("its base was removed meanwhile")
                .hint("run the same command again: it follows the newest exact base"));
        }
        let manifest = DeltaManifest {
            format_version: FORMAT_VERSION,
            tool: TOOL.to_owned(),
            kind: RunKind::Delta,
            chain: path.chain.clone(),
            run: path.run.clone(),
            sequence: path.sequence,
            parent: self.chain.parent_of_next(),
            source: Source {
                instance: self.client.instance().to_owned(),
                endpoint: self.client.endpoint().to_owned(),
            },
            table: definition,
            started_at,
            finished_at: Timestamp::now(),
            delta,
        };
        // Two that both believe to hold the lease would append two deltas of the same number, which no reader takes.
        self.lease.confirm().await?;
        let sha256 = manifest.publish(store, &path).await?;
        let link = Link { path: path.clone(), manifest: Box::new(manifest.clone()), sha256 };
        self.chain.append(link)?;
        self.from = manifest.delta.stream.to.clone();
        self.next = NextRun::begin(&self.chain, &self.table, self.vault, self.options, &self.cpu)?;
        self.lease.working_on(&self.next.path.run);
        tracing::info!(run = %path.run, records = manifest.delta.totals.records, "delta committed");
        Ok(Appended { path, manifest, retention_used: self.reader.retention_used() })
    }

    /// Gives the lease up.
    pub(super) async fn close(&self) {
        self.lease.release().await;
    }
}

impl NextRun {
    fn begin(
        chain: &Chain,
        table: &TablePath,
        vault: &Vault,
        options: &DeltaOptions,
        cpu: &CpuPool,
    ) -> Result<NextRun> {
        let started_at = Timestamp::now();
        let path = table.delta(&chain.path.chain, chain.deltas.len() as u64 + 1, &RunId::new(started_at));
        let rows = WriterSettings {
            profile: options.encoding_profile,
            zstd_level: options.zstd_level,
            ..WriterSettings::default()
        };
        let storage_class = chain.base.storage_class.as_deref().map(str::parse).transpose()?;
        let settings = RecordFileSettings {
            store: vault.store().clone(),
            run: path.clone(),
            columns: Arc::new(chain.base.columns.clone()),
            writer: RecordFileSettings::writer(&rows),
            storage_class,
            file_bytes: options.file_bytes(),
            part_bytes: 8 << 20,
        };
        Ok(NextRun { path, started_at, files: RecordFiles::new(settings, cpu.clone()) })
    }
}

/// Whether the oldest of these places has passed [`IDLE_SHARE`] of the retention.
fn is_aging(places: &[ShardProgress], retention_hours: i32, now: Timestamp) -> bool {
    let open = places.iter().filter(|shard| shard.place != ShardPlace::Closed);
    let oldest = open.map(|shard| shard.caught_up_at).min();
    let most = i64::from(retention_hours) * 3600 / IDLE_SHARE;
    oldest.is_some_and(|oldest| now.duration_since(oldest).as_secs() > most)
}

/// Writes a gap down behind the last run of the chain, where that is asked for. Gives the error back, whatever becomes of that.
async fn mark(vault: &Vault, chain: &Chain, options: &DeltaOptions, error: Error) -> Error {
    if error.kind() != Kind::Gap || !options.mark_gaps {
        return error;
    }
    let last = chain.last();
    match ChainGap::after(&last.run, &error).write(&**vault.store(), last).await {
        Ok(()) => error.hint(format!("the chain is closed: a mark of the gap is at `{}`", last.gap())),
        Err(failed) => {
            tracing::warn!(error = %failed, "the gap could not be marked");
            error
        }
    }
}

/// The chain of the newest base that deltas can follow.
///
/// # Errors
/// [`Kind::NotFound`] without one; [`Kind::Corrupt`] where the chain does not hold together.
async fn newest_chain(vault: &Vault, table: &TablePath) -> Result<Chain> {
    let store = &**vault.store();
    let newest = find_runs(store, table).await?.into_iter().rev().find_map(|run| match run {
        RunState::Committed(path, manifest) if manifest.delta.is_some() => Some(path),
        _ => None,
    });
    Chain::read(store, table, &newest.ok_or_else(|| no_base(table))?).await
}

fn no_base(table: &TablePath) -> Error {
    Error::new(Kind::NotFound, "find an exact base")
        .on(format!("of table `{}`", table.table))
        .because("a delta follows one, and the vault has none")
        .hint("make one: `otsvault backup`, of a table with a Stream (`--enable-stream HOURS` enables it)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_age_after_a_tenth_of_the_retention_unless_their_shards_are_read_to_the_end() {
        let shard = |minutes: i64, place| ShardProgress {
            shard_id: "s".to_owned(),
            parents: Vec::new(),
            rank: 0,
            ordinal: 0,
            clock_us: 0,
            last: None,
            caught_up_at: Timestamp::from_second(minutes * 60).unwrap(),
            place,
        };
        let now = Timestamp::from_second(1_000 * 60).unwrap();
        let open = |minutes| shard(minutes, ShardPlace::Iterator("i".to_owned()));
        assert!(!is_aging(&[open(1_000), open(860)], 24, now), "140 of 144 minutes");
        assert!(is_aging(&[open(1_000), open(850)], 24, now), "150 of 144 minutes");
        assert!(!is_aging(&[open(1_000), shard(0, ShardPlace::Closed)], 24, now));
    }
}
