//! The in-process scheduler: workers that take splits until none is left.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::queue::SplitQueue;
use super::range_task::{RangeTask, RunContext};
use super::resume::abort_open_uploads;
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

/// Scans every split. Returns when all their files are journalled.
///
/// # Errors
/// The first worker's error. The others then close their files, and what is not closed in time is given up. After
/// any error no upload of the run stays open, as far as the store answers within 2 s.
pub(super) async fn scan_all(context: RunContext, splits: Vec<KeyRange>, estimated_bytes: u64) -> Result<()> {
    let split_count = splits.len();
    let useful = usize::try_from(estimated_bytes / BYTES_PER_WORKER).unwrap_or(usize::MAX).max(1);
    let queue = Arc::new(SplitQueue::new(splits, context.memory.concurrency.min(useful)));
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
    let Some(error) = first_error else { return Ok(()) };
    clean_up(&context).await;
    let done = context.progress.snapshot().splits_done;
    let error = match error.kind() {
        Kind::Stopped => error,
        _ => error.hint("run the same command again to go on where it stopped"),
    };
    Err(error.hint(format!("{done} of {split_count} key ranges are complete")))
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
    let mut task = RangeTask::new(context);
    while let Some(split) = queue.next(worker) {
        let ended = match task.read(&split).await {
            Ok(true) => None,
            Ok(false) => Some(stopped(context.scan.table())),
            Err(error) => Some(error),
        };
        if let Some(reason) = ended {
            // What the open file holds up to here is complete, whatever ended the scan.
            if let Err(error) = task.close().await {
                tracing::warn!(%error, "the open file is lost; its keys will be read again");
            }
            return Err(reason);
        }
        context.progress.split_done();
    }
    task.close().await
}
