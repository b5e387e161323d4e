//! The lanes: each takes row groups, has them decoded and encoded, and keeps requests on their way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::task::JoinSet;

use super::lanes::{Lanes, Unit};
use super::mapping;
use super::options::ErrorLimit;
use super::present::rows_present;
use super::rejects;
use super::source::{BATCH_BYTES, HeldFile, RowSource};
use super::unit_rows::{Step, UnitRows};
use super::writer::{Outcome, Writer};
use crate::catalog::{DoneUnit, RestoreLog, RowCounts, UnitId};
use crate::model::{KeyRange, PrimaryKey};
use crate::runtime::{ByteBudget, BytePermit};
use crate::{Error, Kind, Result};

/// Bytes of rows that are encoded in one go: enough bodies of small rows for their MD5s to be computed side by side.
const STEP_BYTES: usize = 4 << 20;

/// Bytes of the first step of a lane, doubled from step to step: the first requests leave before the lanes have encoded
/// 4 MiB each.
const FIRST_STEP_BYTES: usize = STEP_BYTES / 8;

/// What one step may take: the rows, the bodies they become, and a body that was not full before.
pub(super) const STEP_RESERVE: u64 = 3 * STEP_BYTES as u64;

/// What a lane holds besides files and requests: a record batch and what was encoded of it.
pub(super) const LANE_BYTES: u64 = BATCH_BYTES + 2 * STEP_BYTES as u64;

/// Row groups of a lane whose last answers are awaited while it is at the next one.
const UNITS_BEHIND: usize = 2;

/// Everything that the lanes of one restore share.
pub(super) struct Work {
    pub source: RowSource,
    pub lanes: Lanes,
    pub writer: Writer,
    pub log: RestoreLog,
    /// The keys that are wanted.
    pub range: KeyRange,
    /// Rows of earlier attempts may be in the target.
    pub resumed: bool,
    /// The rows that are wanted, where not all are; the row groups of all others were done before.
    pub only: Option<Arc<BTreeMap<UnitId, Retry>>>,
    /// Requests on their way and waiting.
    pub memory: ByteBudget,
    pub max_errors: ErrorLimit,
    pub rows_total: u64,
    pub rejected: AtomicU64,
}

/// What of a row group is written again.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    /// Places in the row group.
    pub rows: Arc<BTreeSet<u64>>,
    /// What became of its rows before.
    pub before: RowCounts,
}

/// Runs all lanes until nothing is left. Returns what became of the rows of this attempt.
///
/// # Errors
/// The first lane's error; the others are stopped where they are, which loses nothing: what they wrote and did not
/// log is recognised by the next attempt.
pub(super) async fn write_all(work: Arc<Work>) -> Result<RowCounts> {
    let mut lanes = JoinSet::new();
    for lane in 0..work.lanes.count() {
        lanes.spawn(run_lane(work.clone(), lane));
    }
    let mut rows = RowCounts::default();
    while let Some(joined) = lanes.join_next().await {
        rows += joined.map_err(|error| Error::new(Kind::Internal, "wait for a lane").source(error))??;
    }
    Ok(rows)
}

async fn run_lane(work: Arc<Work>, lane: usize) -> Result<RowCounts> {
    let mut rows = RowCounts::default();
    let mut ending: JoinSet<Result<RowCounts>> = JoinSet::new();
    let mut open: Option<(usize, HeldFile)> = None;
    let mut step_bytes = FIRST_STEP_BYTES;
    while let Some(unit) = work.lanes.next(lane) {
        let file = match open.take() {
            Some((entry, file)) if entry == unit.entry => file,
            _ => work.source.file(&unit).await?,
        };
        open = Some((unit.entry, file.clone()));
        let sent = send_unit(&work, unit, &file, &mut step_bytes).await?;
        let work = work.clone();
        ending.spawn(async move { end_unit(&work, unit.id, sent).await });
        while ending.len() > UNITS_BEHIND {
            rows += ended(ending.join_next().await)?;
        }
    }
    while !ending.is_empty() {
        rows += ended(ending.join_next().await)?;
    }
    Ok(rows)
}

type Joined = Option<std::result::Result<Result<RowCounts>, tokio::task::JoinError>>;

fn ended(joined: Joined) -> Result<RowCounts> {
    match joined {
        None => Ok(RowCounts::default()),
        Some(joined) => {
            joined.map_err(|error| Error::new(Kind::Internal, "end a row group").source(error))?
        }
    }
}

/// A row group whose requests are all on their way or answered.
struct SentUnit {
    /// Aborted when dropped.
    requests: JoinSet<Result<Outcome>>,
    outcome: Outcome,
    /// The keys where the service assigns new ones, by place in the row group.
    old_keys: HashMap<u64, PrimaryKey>,
    /// Keys of rows that the service leaves open; not all where they are many.
    ambiguous: Vec<PrimaryKey>,
    _file: HeldFile,
    _bytes: Option<BytePermit>,
}

async fn send_unit(
    work: &Arc<Work>,
    unit: Unit,
    file: &HeldFile,
    step_bytes: &mut usize,
) -> Result<SentUnit> {
    let batches = work.source.batches(file, &unit).await?;
    let cpu = &work.writer.cpu;
    let range = (!work.source.is_inside(&unit, &work.range)).then(|| work.range.clone());
    let only = work.only.as_ref().and_then(|only| only.get(&unit.id)).map(|retry| retry.rows.clone());
    let mut rows = UnitRows::new(
        batches.rows,
        work.source.plan().clone(),
        work.writer.selection.clone(),
        work.writer.requests(),
        range,
        only,
    )?;
    let mut sent = SentUnit {
        requests: JoinSet::new(),
        outcome: Outcome::default(),
        old_keys: HashMap::new(),
        ambiguous: Vec::new(),
        _file: file.clone(),
        _bytes: batches.permit,
    };
    loop {
        let loaded;
        (rows, loaded) = cpu
            .run(move || {
                let loaded = rows.load();
                (rows, loaded)
            })
            .await?;
        let Some(span) = loaded? else {
            let Some(wanted) = rows.wants() else { break };
            rows.feed(&*work.source.records(&wanted).await?);
            continue;
        };
        if work.resumed {
            let Writer { client, table, key_names, selection, cpu, progress, .. } = &work.writer;
            let present = rows_present(client, table, key_names, &span, selection, cpu).await?;
            if !present.is_empty() {
                let dropped;
                (rows, dropped) = cpu
                    .run(move || {
                        let dropped = rows.drop_present(&present);
                        (rows, dropped)
                    })
                    .await?;
                let dropped = dropped?;
                sent.outcome.rows.there += dropped;
                progress.there(dropped);
            }
        }
        loop {
            let permit = work.memory.acquire(STEP_RESERVE).await;
            let bytes = *step_bytes;
            *step_bytes = (2 * bytes).min(STEP_BYTES);
            let step;
            (rows, step) = cpu
                .run(move || {
                    let step = rows.encode(bytes);
                    (rows, step)
                })
                .await?;
            let step = step?;
            let ended = step.batch_ended;
            send(work, &mut sent.requests, step, permit);
            // Answers are taken as they come, so that they do not pile up.
            while let Some(answered) = sent.requests.try_join_next() {
                sent.outcome.add(answer(answered)?);
            }
            if ended {
                break;
            }
        }
        if work.writer.selection.reassigned.is_some() {
            sent.old_keys.extend(rows.keys()?);
        }
    }
    let (records, ambiguous) = rows.folded();
    work.writer.progress.folded(records);
    (sent.outcome.rows.ambiguous, sent.ambiguous) = (ambiguous.rows, ambiguous.keys);
    let permit = work.memory.acquire(STEP_RESERVE).await;
    let step = cpu.run(move || rows.finish()).await?;
    send(work, &mut sent.requests, step, permit);
    Ok(sent)
}

fn send(work: &Arc<Work>, requests: &mut JoinSet<Result<Outcome>>, step: Step, mut permit: BytePermit) {
    permit.shrink_to(step.bytes());
    let permit = Arc::new(permit);
    for batch in step.batches {
        let (work, permit) = (work.clone(), permit.clone());
        requests.spawn(async move { work.writer.write(batch, permit).await });
    }
    for row in step.wide {
        let (work, permit) = (work.clone(), permit.clone());
        requests.spawn(async move { work.writer.write_wide(row, permit).await });
    }
}

fn answer(joined: std::result::Result<Result<Outcome>, tokio::task::JoinError>) -> Result<Outcome> {
    joined.map_err(|error| Error::new(Kind::Internal, "wait for a request").source(error))?
}

/// Waits for the last answers, writes down what was refused, and logs the row group.
async fn end_unit(work: &Work, unit: UnitId, mut sent: SentUnit) -> Result<RowCounts> {
    while let Some(answered) = sent.requests.join_next().await {
        sent.outcome.add(answer(answered)?);
    }
    let Outcome { rows, mut rejects, assigned } = sent.outcome;
    if !assigned.is_empty() {
        let bytes = mapping::encode(work.source.plan(), &sent.old_keys, &assigned)?;
        work.log.write_file(&work.log.mapping(unit), bytes).await?;
    }
    let path = work.log.rejects(unit);
    let retry = work.only.as_ref().and_then(|only| only.get(&unit));
    if !rejects.is_empty() {
        rejects.sort_by_key(|reject| reject.number);
        let plan = work.source.plan().clone();
        let bytes = work.writer.cpu.run(move || rejects::encode(&plan, unit, &rejects)).await??;
        work.log.write_file(&path, bytes).await?;
    }
    if !sent.ambiguous.is_empty() {
        let keys = serde_json::to_vec(&sent.ambiguous)
            .map_err(|error| Error::new(Kind::Internal, "write down ambiguous rows").source(error))?;
        work.log.write_file(&work.log.ambiguous(unit), keys.into()).await?;
    }
    let mut total = rows;
    if let Some(Retry { before, .. }) = retry {
        total += RowCounts { rejected: 0, ambiguous: 0, ..*before };
    }
    work.log.done(&DoneUnit { unit, rows: total }).await?;
    if (work.resumed || retry.is_some()) && rows.rejected == 0 {
        // One from before, of an attempt that ended between it and the log. After the log says so: a reject file too many
        // does no harm.
        work.log.remove_file(&path).await?;
    }
    work.writer.progress.unit();
    let rejected = work.rejected.fetch_add(rows.rejected, Relaxed) + rows.rejected;
    if rows.rejected > 0 && work.max_errors.is_exceeded(rejected, work.rows_total) {
        return Err(Error::new(Kind::LeftOut, "go on with the restore")
            .on(format!("into table `{}`", work.writer.table))
            .because(format!("{rejected} rows were refused, more than `--max-errors {}`", work.max_errors))
            .hint(format!("the refused rows are in `{}`", work.log.prefix().clone().join("rejects"))));
    }
    Ok(rows)
}
