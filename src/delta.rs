//! The delta flow: what a table's Stream says since the last run of its chain, into the vault.
//!
//! Promises:
//! - A delta begins at the places where the run before it ended, which are in that run's manifest and nowhere else: records and places are
//!   committed together, so every record of the Stream is in exactly one run of the chain, whatever is killed when.
//! - Nothing is committed past a gap. An idle Stream is none: its places are written down again before they age.
//! - The source is only read.
//! - Memory stays inside [`DeltaOptions::memory_bytes`].

mod appender;
mod follow;
mod options;

pub use appender::Appended;
pub use follow::{FollowEvent, FollowStatus, follow};
pub use options::DeltaOptions;

use crate::catalog::Vault;
use crate::runtime::{CpuPool, Shutdown};
use crate::tablestore::TableStore;
use crate::{Error, Kind, Result};
use appender::Appender;

/// What a delta runs on.
#[derive(Clone)]
pub struct Runtime {
    /// Where decoding and encoding happen.
    pub cpu: CpuPool,
    /// The user's wish to stop.
    pub shutdown: Shutdown,
}

/// Appends one delta: everything that is committed to the table by now. Appends an empty one when nothing is new, so that the chain
/// says up to when it is known.
///
/// # Errors
/// [`Kind::NotFound`] without an exact base to follow, [`Kind::Locked`] while another process writes deltas of the table,
/// [`Kind::Gap`] when records are gone that no run holds; [`Kind::Stopped`] after a shutdown request. Nothing is committed then.
pub async fn delta(
    client: &TableStore,
    table: &str,
    vault: &Vault,
    options: &DeltaOptions,
    runtime: &Runtime,
) -> Result<Appended> {
    options.check()?;
    let work = async {
        let mut appender = Appender::open(client, table, vault, options, &runtime.cpu).await?;
        let appended = match appender.drain().await {
            Ok(()) => appender.commit().await,
            Err(error) => Err(error),
        };
        appender.close().await;
        appended
    };
    tokio::select! {
        biased;
        _ = runtime.shutdown.wait() => Err(stopped(table)),
        appended = work => appended,
    }
}

/// The error of a delta that somebody asked to stop.
fn stopped(table: &str) -> Error {
    Error::new(Kind::Stopped, "append a delta")
        .on(format!("of table `{table}`"))
        .because("it was asked to stop")
        .hint("run the same command again: nothing is lost while the Stream keeps its records")
}
