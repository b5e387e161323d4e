//! Tombstones: a run that has one is hidden, whatever else of it is there.
//!
//! What removes a run writes its tombstone first and deletes it last. So a removal that is killed halfway leaves nothing
//! that looks like a backup, and the next one sees by name what it has to finish.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::{FORMAT_VERSION, RunId, RunPath, TOOL, TableObject, TablePath, document};
use crate::{Kind, Result};

/// For people; only its name counts.
#[derive(Debug, Serialize, Deserialize)]
struct Tombstone {
    format_version: u32,
    tool: String,
    chain: RunId,
    run: RunId,
    hidden_at: Timestamp,
}

/// Hides a run: from here on no list, no reader and no resumed run sees it. Hiding twice is no error.
pub async fn hide_run(
    store: &dyn ObjectStore,
    table: &TablePath,
    run: &RunPath,
    now: Timestamp,
) -> Result<()> {
    let tombstone = Tombstone {
        format_version: FORMAT_VERSION,
        tool: TOOL.to_owned(),
        chain: run.chain.clone(),
        run: run.run.clone(),
        hidden_at: now,
    };
    match document::create(store, &table.tombstone(&run.run), document::to_bytes(&tombstone)?).await {
        Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
        created => created,
    }
}

/// The hidden runs of a table. Costs a list.
pub async fn hidden_runs(store: &dyn ObjectStore, table: &TablePath) -> Result<BTreeSet<RunId>> {
    let prefix = table.tombstones();
    let listed: Vec<_> = store
        .list(Some(&prefix))
        .try_collect()
        .await
        .map_err(|error| document::failed("list", &prefix, error))?;
    let runs = listed.iter().filter_map(|object| match table.parse(&object.location) {
        Some(TableObject::Tombstone(run)) => Some(run),
        _ => None,
    });
    Ok(runs.collect())
}
