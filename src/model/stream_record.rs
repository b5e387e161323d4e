//! Stream records: what one commit did to one row.

use super::{Row, SequenceInfo};

/// What a Stream record did to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordType {
    /// Replaced the row: all it had is gone, then come the cells of the record.
    Put,
    /// Changed the columns that the record names and no other.
    Update,
    /// Deleted the row.
    Delete,
}

/// Where a record stands in a chain of deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordPlace {
    /// Rank of its shard in the lineage: larger than the ranks of the shards it came from.
    pub rank: u64,
    /// Records of the shard that were read before it.
    pub ordinal: u64,
    /// The commit clock after it, in microseconds: never falls along the lineage.
    pub clock_us: i64,
}

/// One Stream record.
///
/// The cells of a put are puts with a timestamp. An update has such puts too, and deletes of one version or of all.
/// A delete has no cells. An increment shows up as a put of its result.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRecord<'a> {
    /// What happened.
    pub record_type: RecordType,
    /// Where the record stands in its shard: records of one shard ascend by it.
    pub sequence: SequenceInfo,
    /// The key and the cells of the change, not the row as it is now.
    pub row: Row<'a>,
}
