//! Appends delta after delta until somebody asks to stop.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::appender::{Appended, Appender};
use super::{DeltaOptions, Runtime};
use crate::catalog::Vault;
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};

/// Between two looks at a Stream that has nothing new: this share of [`DeltaOptions::every`], within bounds.
const LOOKS: u32 = 8;
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Waiting after a failure that may pass: twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Following ends within this time after a stop was asked for. What was read and is not committed by then is read again by the next run.
const STOP_TIME: Duration = Duration::from_secs(8);

/// What [`follow`] tells while it works.
#[derive(Debug)]
pub enum FollowEvent<'a> {
    /// Every shard was asked, and this is where things stand.
    Looked(FollowStatus),
    /// A delta is committed.
    Committed(&'a Appended),
}

/// Where following stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FollowStatus {
    /// Time since the moment up to which everything is committed to the vault; `None` where no such moment is known.
    pub lag: Option<Duration>,
    /// Share of the Stream's retention that has passed since all of it was read: at 1 records are lost.
    pub retention_used: f64,
    /// Records that are read and not committed.
    pub waiting_records: u64,
}

/// Follows the Stream of a table: appends a delta every [`DeltaOptions::every`] if there are records, earlier when there are many, and now and then
/// without records before the places age. `tell` hears of each, and of every look at the Stream. Waits out services that are throttling or away, and
/// goes on from the last commit then.
///
/// Ends well when a stop is asked for.
///
/// # Errors
/// Those of [`delta`](super::delta), but for throttling and services that cannot be reached.
pub async fn follow(
    client: &TableStore,
    table: &str,
    vault: &Vault,
    options: &DeltaOptions,
    runtime: &Runtime,
    mut tell: impl FnMut(FollowEvent<'_>) -> Result<()>,
) -> Result<()> {
    options.check()?;
    let mut wait = FIRST_WAIT;
    loop {
        let before = Instant::now();
        let error = match follow_once(client, table, vault, options, runtime, &mut tell).await {
            Ok(()) => return Ok(()),
            Err(error) if may_pass(&error) => error,
            Err(error) => return Err(error),
        };
        if before.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        tracing::warn!(%error, seconds = wait.as_secs(), "following is interrupted; it goes on from the last commit");
        tokio::select! {
            _ = runtime.shutdown.wait() => return Ok(()),
            () = sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
        }
    }
}

fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), Kind::Throttled | Kind::Unavailable)
}

async fn follow_once(
    client: &TableStore,
    table: &str,
    vault: &Vault,
    options: &DeltaOptions,
    runtime: &Runtime,
    tell: &mut impl FnMut(FollowEvent<'_>) -> Result<()>,
) -> Result<()> {
    let shutdown = &runtime.shutdown;
    let opened = Appender::open(client, table, vault, options, &runtime.cpu);
    let mut appender = tokio::select! {
        biased;
        _ = shutdown.wait() => return Ok(()),
        opened = opened => opened?,
    };
    let out_of_time = async {
        shutdown.wait().await;
        sleep(STOP_TIME).await;
    };
    // A service that throttles can hold a request for minutes.
    let outcome = tokio::select! {
        outcome = append_until_stopped(&mut appender, options, runtime, tell) => outcome,
        () = out_of_time => {
            tracing::warn!("following did not end in time; the next run reads again what is not committed");
            Ok(())
        }
    };
    appender.close().await;
    outcome
}

async fn append_until_stopped(
    appender: &mut Appender<'_>,
    options: &DeltaOptions,
    runtime: &Runtime,
    tell: &mut impl FnMut(FollowEvent<'_>) -> Result<()>,
) -> Result<()> {
    let shutdown = &runtime.shutdown;
    let pause = (options.every / LOOKS).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    let mut due = Instant::now() + options.every;
    while shutdown.requested().is_none() {
        let anything = appender.pass().await?;
        tell(FollowEvent::Looked(appender.status()))?;
        let is_due = Instant::now() >= due && (appender.has_records() || appender.is_aging());
        if is_due || appender.is_full() {
            tell(FollowEvent::Committed(&appender.commit().await?))?;
            due = Instant::now() + options.every;
        } else if !anything {
            tokio::select! {
                _ = shutdown.wait() => {}
                () = sleep(pause) => {}
            }
        }
    }
    match appender.has_records() {
        true => tell(FollowEvent::Committed(&appender.commit().await?)),
        false => Ok(()),
    }
}
