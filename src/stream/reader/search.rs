//! A place in a shard that aged is looked for again, unless records may be gone by now.

use jiff::Timestamp;

use super::super::gap::gap;
use super::{CLOCK_MARGIN, StreamReader, age, micros};
use crate::catalog::{ShardPlace, ShardProgress};
use crate::tablestore::ShardStart;
use crate::{Error, Result};

/// How often a place is looked for again without a page in between.
const MOST_SEARCHES: u32 = 3;

/// Looking for a place again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Search {
    /// How often it was begun.
    begun: u32,
    /// The last record that was read came by.
    pub(super) seen_last: bool,
}

impl StreamReader {
    /// The service says that the place in a shard is trimmed. If the last complete look at it is younger than the retention then no record
    /// can be: the place itself aged, as those of idle shards do. Looks for it by time.
    pub(super) async fn search_again(&mut self, shard_id: &str, refusal: Error) -> Result<()> {
        let Some(shard) = self.lineage.shard(shard_id).cloned() else { return Ok(()) };
        let search = self.searching.entry(shard_id.to_owned()).or_default();
        (search.begun, search.seen_last) = (search.begun + 1, false);
        if search.begun > MOST_SEARCHES {
            return Err(gap(shard_id, "its place is refused however often it is looked for").source(refusal));
        }
        self.check_deadline(&shard).map_err(|gap| gap.source(refusal))?;
        let at = shard.caught_up_at.as_microsecond().saturating_sub(micros(CLOCK_MARGIN));
        // Without a record that was read all of its records are wanted, and none of them need be as young as the last look.
        let start = shard.last.map_or(ShardStart::Oldest, |last| ShardStart::At(last.timestamp_us.min(at)));
        tracing::info!(shard = shard_id, "the place in an idle shard aged; it is looked for by time");
        let iterator = self.iterator(shard_id, start).await?;
        self.lineage.begin(shard_id, iterator);
        Ok(())
    }

    /// A record that is young enough to be kept must come by when the place behind it is looked for.
    pub(super) fn check_found(&self, shard: &ShardProgress, seen_last: bool) -> Result<()> {
        let Some(last) = shard.last.filter(|_| !seen_last) else { return Ok(()) };
        let written = Timestamp::from_microsecond(last.timestamp_us).unwrap_or(Timestamp::MIN);
        if age((self.clock)(), written) + CLOCK_MARGIN >= self.expiration {
            return Ok(());
        }
        Err(gap(&shard.shard_id, "records were removed from it before the Stream's retention had passed"))
    }

    /// # Errors
    /// [`Kind::Gap`] when records of the shard may have expired since the last complete look at it.
    pub(super) fn check_deadline(&self, shard: &ShardProgress) -> Result<()> {
        let margin = CLOCK_MARGIN.min(self.expiration / 10);
        let passed = age((self.clock)(), shard.caught_up_at);
        if shard.place == ShardPlace::Closed || passed + margin < self.expiration {
            return Ok(());
        }
        Err(gap(
            &shard.shard_id,
            format!(
                "it was last read to its end at {:.0}, and the Stream keeps records for {} hours",
                shard.caught_up_at,
                self.expiration.as_secs() / 3600
            ),
        ))
    }
}
