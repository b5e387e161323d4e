//! The in-process scheduler: workers that take splits until none is left, then cut what others are reading.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::cutting::{Stolen, cut};
use super::page_reader::HeldPage;
use super::queue::{Next, SplitQueue, WorkerUse};
use super::range_task::{RangeTask, RunContext};
use super::resume::abort_open_uploads;
use super::shares::Place;
use super::stopped;
use crate::model::KeyRange;
use crate::runtime::Signal;
use crate::{Error, Kind, Result};

/// A worker should have about this much of the table; a small table gets fewer workers and so fewer files.
const BYTES_PER_WORKER: u64 = 8 << 20;

/// Time that workers have to close their files after a stop was asked for; after an error they have longer.
const CLOSE_TIME: Duration = Duration::from_secs(5);
const CLOSE_TIME_AFTER_ERROR: Duration = Duration::from_secs(60);

/// Time for aborting what is still open after a stop.
const ABORT_TIME: Duration = Duration::from_secs(2);

/// Scans every split. Returns when all their files are journalled. `estimated_bytes` is the service's size of the table; 0 when
/// it has not said.
///
/// # Errors
/// The first worker's error. The others then close their files, and what is not closed in time is given up. After
/// any error no upload of the run stays open, as far as the store answers within 2 s.
pub(super) async fn scan_all(
    context: RunContext,
    splits: Vec<KeyRange>,
    estimated_bytes: u64,
) -> Result<WorkerUse> {
    let workers = context.memory.concurrency;
    let useful = useful_workers(estimated_bytes, workers);
    let progress = context.progress.clone();
    let queue = Arc::new(SplitQueue::new(splits, workers, useful, estimated_bytes, progress));
    let context = Arc::new(context);
    let mut workers = JoinSet::new();
    for worker in 0..queue.workers() {
        let (context, queue) = (context.clone(), queue.clone());
        workers.spawn(async move { work(&context, &queue, worker).await });
    }
    let mut first_error = None;
    let closing = closing_time(&context);
    tokio::pin!(closing);
    let mut closed = false;
    loop {
        let joined = tokio::select! {
            signal = context.shutdown.wait(), if context.stop.requested().is_none() => {
                context.stop.request(signal);
                continue;
            }
            signal = context.lease.lost().wait(), if context.stop.requested().is_none() => {
                context.stop.request(signal);
                continue;
            }
            () = &mut closing, if !closed => {
                // Nobody waits for their results any more: they end here, wherever they are.
                closed = true;
                first_error.get_or_insert_with(|| stopped(context.scan.table()));
                workers.shutdown().await;
                continue;
            }
            joined = workers.join_next() => joined,
        };
        let Some(joined) = joined else { break };
        let finished = joined
            .unwrap_or_else(|error| Err(Error::new(Kind::Internal, "wait for a scan worker").source(error)));
        if let Err(error) = finished {
            // The others close what they have; what comes after the first error is its echo.
            context.stop.request(Signal::Terminate);
            if first_error.as_ref().is_none_or(|first: &Error| first.kind() == Kind::Stopped) {
                first_error = Some(error);
            }
        }
    }
    let Some(error) = first_error else { return Ok(queue.used()) };
    clean_up(&context).await;
    let progress = context.progress.snapshot();
    let (done, split_count) = (progress.splits_done, progress.splits_total);
    let error = match error.kind() {
        Kind::Stopped => error,
        _ => error.hint("run the same command again to go on where it stopped"),
    };
    Err(error.hint(format!("{done} of {split_count} key ranges are complete")))
}

/// How many of at most `workers` a table of that size should have; all where the size is not known.
pub(super) fn useful_workers(estimated_bytes: u64, workers: usize) -> usize {
    match estimated_bytes {
        0 => workers,
        bytes => usize::try_from(bytes / BYTES_PER_WORKER).unwrap_or(usize::MAX).clamp(1, workers),
    }
}

/// Ends when the workers have had their time to close.
async fn closing_time(context: &RunContext) {
    context.stop.wait().await;
    tokio::select! {
        () = tokio::time::sleep(CLOSE_TIME_AFTER_ERROR) => {}
        () = async {
            context.shutdown.wait().await;
            tokio::time::sleep(CLOSE_TIME).await;
        } => {}
    }
}

async fn clean_up(context: &RunContext) {
    if context.lease.lost().requested().is_some() {
        // Whoever has the lease now may have uploads of its own under the same prefix.
        return;
    }
    match tokio::time::timeout(ABORT_TIME, abort_open_uploads(&*context.store, &context.run)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "uploads may be open"),
        Err(_) => tracing::warn!("uploads may be open: the store did not answer in time"),
    }
}

async fn work(context: &RunContext, queue: &SplitQueue, worker: usize) -> Result<()> {
    let mut task = RangeTask::new(context, queue, worker);
    let mut place: Option<Place> = None;
    loop {
        let found = match queue.next(worker) {
            Next::Range(range) => Some((range, None)),
            next => close_and_find(context, queue, worker, (&mut task, &mut place), next).await?,
        };
        let Some((range, first)) = found else { return Ok(()) };
        if place.is_none() {
            place = Some(until_stopped(context, context.shares.place(&context.memory)).await?);
        }
        let ended = match task.read(&range, first).await {
            Ok(true) => continue,
            Ok(false) => stopped(context.scan.table()),
            Err(error) => error,
        };
        // What the open file holds up to here is complete, whatever ended the scan.
        if let Err(error) = task.close().await {
            tracing::warn!(%error, "the open file is lost; its keys will be read again");
        }
        return Err(ended);
    }
}

/// Closes the file of `task`, since whatever comes next does not go on where it ends; and looks meanwhile for what that is,
/// beginning with `next`. A worker that waits with its file closed gives its place up, for others can use the memory. `None`
/// when everything is read.
async fn close_and_find(
    context: &RunContext,
    queue: &SplitQueue,
    worker: usize,
    (task, place): (&mut RangeTask<'_>, &mut Option<Place>),
    mut next: Next,
) -> Result<Option<(KeyRange, Option<HeldPage>)>> {
    let close = task.close();
    tokio::pin!(close);
    let mut is_closed = false;
    loop {
        // Before anybody is asked, so that no change is missed.
        let changed = queue.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if matches!(next, Next::Wait) {
            next = queue.next(worker);
        }
        match std::mem::replace(&mut next, Next::Wait) {
            found @ (Next::Done | Next::Range(_)) => {
                if !is_closed {
                    close.await?;
                }
                return Ok(match found {
                    Next::Range(range) => Some((range, None)),
                    _ => None,
                });
            }
            Next::Cut(candidate) => {
                let cutting = async {
                    if place.is_none() {
                        *place = Some(context.shares.place(&context.memory).await);
                    }
                    cut(context, queue, worker, candidate).await
                };
                let cutting = until_stopped(context, cutting);
                let stolen = match is_closed {
                    true => cutting.await,
                    false => {
                        let (closed, stolen) = tokio::join!(&mut close, cutting);
                        closed?;
                        stolen
                    }
                };
                is_closed = true;
                if let Some(Stolen { range, first }) = stolen?? {
                    return Ok(Some((range, Some(first))));
                }
            }
            Next::Wait => {
                if is_closed {
                    *place = None;
                }
                tokio::select! {
                    closed = &mut close, if !is_closed => {
                        closed?;
                        is_closed = true;
                    }
                    changed = until_stopped(context, changed) => if let Err(stopped) = changed {
                        if !is_closed {
                            close.await?;
                        }
                        return Err(stopped);
                    }
                }
            }
        }
    }
}

/// Does something that leaves nothing behind when it is dropped.
async fn until_stopped<T>(context: &RunContext, work: impl Future<Output = T>) -> Result<T> {
    tokio::select! {
        biased;
        _ = context.stop.wait() => Err(stopped(context.scan.table())),
        outcome = work => Ok(outcome),
    }
}
