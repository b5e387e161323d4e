//! Reading a table's Stream so that every record is read once, in order, and a gap is never passed over.
//!
//! Promises:
//! - Parents are read to their ends before their children begin. A record's place is (rank of its shard, ordinal in its shard): arrival order,
//!   never a timestamp.
//! - A record between two sets of places is read exactly once, whatever is split, merged or asked again meanwhile.
//! - Records that are gone are an error of [`crate::Kind::Gap`], and so is everything that could hide that some are: another Stream, another
//!   table, a shard that vanished, a shard without its parents, too long an absence. An idle shard is none of these.

mod fence;
mod gap;
mod lineage;
mod reader;
mod record_files;
mod retention;
mod scan;

pub use fence::Fence;
pub use lineage::Lineage;
pub use reader::{RecordSink, ShardRecords, StreamReader, StreamStart, system_clock};
pub use record_files::{RecordFileSettings, RecordFiles};
