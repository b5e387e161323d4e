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

/// Time for aborting what is still open after a stop.
const ABORT_TIME: Duration = Duration::from_secs(3);

/// Scans every split. Returns when all their files are journalled.
///
/// # Errors
/// The first worker's error; the others then close their files or give them up. After any error no upload of the
/// run stays open, as far as the store answers within 3 s.
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
    loop {
        let joined = tokio::select! {
            signal = context.shutdown.wait(), if context.stop.requested().is_none() => {
                context.stop.request(signal);
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
    match tokio::time::timeout(ABORT_TIME, abort_open_uploads(&*context.store, &context.run)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "uploads may be open"),
        Err(_) => tracing::warn!("uploads may be open: the store did not answer in time"),
    }
    let done = context.progress.snapshot().splits_done;
    let error = match error.kind() {
        Kind::Stopped => error,
        _ => error.hint("run the same command again to go on where it stopped"),
    };
    Err(error.hint(format!("{done} of {split_count} key ranges are complete")))
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
            if let Err(error) = task.stop().await {
                tracing::warn!(%error, "the open file is lost; its keys will be read again");
            }
            return Err(reason);
        }
        context.progress.split_done();
    }
    task.close().await
}
