//! The oracle: the exact image of a table at given places of its Stream, from the history that is never trimmed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::next_state;
use super::request_row::ChangeKind;
use super::stored::StoredRow;
use super::stream::{History, Record};
use super::table::Table;
use crate::model::{PrimaryKey, Row};
use crate::{plainbuffer, proto};

/// How much of each shard of a Stream counts.
///
/// A shard that is not named counts whole if one that came from it is named, and not at all otherwise: a reader that
/// finishes parents first need not remember them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCut {
    /// The Stream, perhaps one that was disabled since.
    pub stream_id: String,
    /// Shard id to number of records from the shard's first, trimmed ones included.
    pub records: BTreeMap<String, u64>,
}

/// A place in one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPosition {
    /// The Stream.
    pub stream_id: String,
    /// The shard.
    pub shard_id: String,
    /// Records of the shard before it, trimmed ones included.
    pub records: u64,
}

/// A table as it was.
pub struct Image {
    rows: BTreeMap<PrimaryKey, StoredRow>,
}

impl Image {
    /// Replays `cut` on the rows that were there when the Stream was enabled.
    ///
    /// Costs a copy of those rows and one pass over the history.
    ///
    /// # Errors
    /// What no reader could have read: an unknown shard, more records than there are, a child before its parents' ends.
    pub fn at(table: &Table, cut: &StreamCut) -> Result<Image, String> {
        let mut histories = table.history.iter().chain(&table.former_histories);
        let history = histories.find(|history| history.stream_id == cut.stream_id);
        let history = history.ok_or_else(|| format!("stream `{}` is not known", cut.stream_id))?;
        let counted = counted(history, cut)?;
        let mut rows = history.base.clone();
        let mut seen = vec![0; counted.len()];
        for (shard, record) in history.in_commit_order() {
            if seen[shard] < counted[shard] {
                replay(&mut rows, record)?;
            }
            seen[shard] += 1;
        }
        Ok(Image { rows })
    }

    /// Shows every row in key order with the newest `max_versions` of each column, without what is older than `horizon`
    /// (ms).
    pub fn for_each_row(&self, table: &Table, horizon: i64, mut visit: impl FnMut(&Row<'_>)) {
        for (key, stored) in self.rows.iter().filter(|(_, row)| row.is_visible(horizon)) {
            visit(&table.view(key, stored, table.max_versions(), horizon));
        }
    }
}

/// The number of records that count, shard by shard.
fn counted(history: &History, cut: &StreamCut) -> Result<Vec<usize>, String> {
    let shards = history.shards();
    let mut counted: Vec<Option<usize>> = vec![None; shards.len()];
    for (id, records) in &cut.records {
        let (number, shard) = history.shard(id).ok_or_else(|| format!("shard `{id}` is not known"))?;
        let records = usize::try_from(*records).unwrap_or(usize::MAX);
        if records > shard.len() {
            return Err(format!("shard `{id}` has {} records, not {records}", shard.len()));
        }
        counted[number] = Some(records);
    }
    // Children come behind their parents.
    for number in (0..shards.len()).rev() {
        if counted[number].is_none() {
            continue;
        }
        for parent in &shards[number].parents {
            let all = shards[*parent].len();
            let of_parent = *counted[*parent].get_or_insert(all);
            if of_parent < all && counted[number] != Some(0) {
                let (child, parent) = (&shards[number].id, &shards[*parent].id);
                return Err(format!(
                    "shard `{child}` is read but its parent `{parent}` only to {of_parent} of {all} records"
                ));
            }
        }
    }
    Ok(counted.into_iter().map(Option::unwrap_or_default).collect())
}

fn replay(rows: &mut BTreeMap<PrimaryKey, StoredRow>, record: &Record) -> Result<(), String> {
    let mut row = Row::default();
    plainbuffer::decode_request_row(&record.body, &mut row).map_err(|error| error.to_string())?;
    let key = PrimaryKey::from_row(&row.key).ok_or("a record without a key")?;
    let kind = match record.action {
        proto::ActionType::PutRow => ChangeKind::Put,
        proto::ActionType::UpdateRow => ChangeKind::Update,
        proto::ActionType::DeleteRow => ChangeKind::Delete,
    };
    let after = next_state(rows.get(&key), kind, &row.cells, record.moment).map_err(|error| error.message)?;
    match after {
        Some(row) => rows.insert(key, row),
        None => rows.remove(&key),
    };
    Ok(())
}
