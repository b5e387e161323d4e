//! The errors of a gap: what was lost, and what to do.

use crate::catalog::StreamIdentity;
use crate::{Error, Kind};

/// Records of a shard are or may be lost.
pub(super) fn gap(shard_id: &str, reason: impl Into<String>) -> Error {
    Error::new(Kind::Gap, "read every record")
        .on(format!("of shard `{shard_id}`"))
        .because(reason)
        .hint("make a new base: `otsvault backup`; restores to moments before the gap stay exact")
}

/// The table has another Stream than the one that was read.
pub(super) fn another_stream(table: &str, known: &StreamIdentity, now: &StreamIdentity) -> Error {
    let reason = match known.table_created_at == now.table_created_at {
        true => "the Stream was disabled and enabled again",
        false => "the table was deleted and created again",
    };
    Error::new(Kind::Gap, "read every record")
        .on(format!("of table `{table}`"))
        .because(reason)
        .hint("make a new base: `otsvault backup`; restores to moments before the gap stay exact")
}

/// There is no Stream to go on with.
pub(super) fn stream_is_gone(table: &str, error: Error) -> Error {
    Error::new(Kind::Gap, "read every record")
        .on(format!("of table `{table}`"))
        .because("its Stream is gone")
        .source(error)
        .hint("enable the Stream and make a new base: `otsvault backup`")
}
