//! What a test does to tables from inside: partitions, Stream clocks, retention, and the oracle.

use std::sync::Arc;

use super::instance::Instance;
use super::oracle::{Image, ShardPosition, StreamCut};
use super::partitions::{PartitionDescription, PartitionLimits, Refusal};
use super::service_error::{Answer, ServiceError};
use super::stream::{History, ShardIterator, StreamSettings};
use super::table::Table;
use crate::model::{PrimaryKey, Row, RowHasher, RowSum};
use crate::{Error, Kind, Result};

/// The tables of a running Table Store, from inside; clones are handles of the same ones.
///
/// All calls fail with [`Kind::NotFound`] for a table that is not there, and with [`Kind::Usage`] for what can not be done
/// to it.
#[derive(Clone)]
pub struct Control {
    pub(super) instance: Arc<Instance>,
}

impl Control {
    /// The partitions of a table, in key order.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn partitions(&self, table: &str) -> Result<Vec<PartitionDescription>> {
        self.with_table(table, |table| Ok(table.describe_partitions()))
    }

    /// Splits the partition that holds `at`, at the value of its first key column; later parts do not matter, since a
    /// partition never divides the rows of one partition key. The shard of a Stream closes and has two children.
    ///
    /// # Errors
    /// [`Kind::Usage`] if there is a boundary at `at` already, or no value in it.
    pub fn split_partition(&self, table: &str, at: &PrimaryKey) -> Result<()> {
        let now = self.instance.now();
        self.with_table(table, |table| table.split_partition(at, now).map_err(refused))
    }

    /// Merges two neighbouring partitions, numbered from 0 in key order. Their shards close and have one child.
    ///
    /// # Errors
    /// [`Kind::Usage`] if they are not neighbours.
    pub fn merge_partitions(&self, table: &str, a: usize, b: usize) -> Result<()> {
        let now = self.instance.now();
        self.with_table(table, |table| table.merge_partitions(a, b, now).map_err(refused))
    }

    /// Lets partitions split and merge by themselves, at the next write and from then on.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn limit_partitions(&self, table: &str, limits: PartitionLimits) -> Result<()> {
        self.with_table(table, |table| {
            table.partitions.limits = limits;
            Ok(())
        })
    }

    /// How the Stream of a table behaves from now on, now and after it is enabled anew.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn set_stream_settings(&self, table: &str, settings: StreamSettings) -> Result<()> {
        self.with_table(table, |table| {
            table.stream_settings = settings;
            Ok(())
        })
    }

    /// Moves the clock that gives commit times in a partition's shard, and in those that come from it. By nothing or
    /// backwards it also begins a new epoch.
    ///
    /// # Errors
    /// [`Kind::Usage`] without a Stream or such a partition.
    pub fn shift_stream_clock(&self, table: &str, partition: usize, by_ms: i64) -> Result<()> {
        self.with_history(table, |history| {
            history.open_shard_id(partition).ok_or(format!("there is no partition {partition}"))?;
            history.shift_clock(partition, by_ms.saturating_mul(1_000));
            Ok(())
        })
    }

    /// While held, every commit of a shard has the commit time of the one before; only row indexes tell them apart.
    ///
    /// # Errors
    /// [`Kind::Usage`] without a Stream.
    pub fn hold_stream_clock(&self, table: &str, is_held: bool) -> Result<()> {
        self.with_history(table, |history| {
            history.is_held = is_held;
            Ok(())
        })
    }

    /// Takes the first `records` records of a shard, counted from its very first, away from clients; reading them is
    /// `OTSTrimmedDataAccess`. A closed shard that is trimmed to its end is no longer listed.
    ///
    /// # Errors
    /// [`Kind::Usage`] without a Stream or such a shard.
    pub fn trim_stream(&self, table: &str, shard_id: &str, records: u64) -> Result<()> {
        self.with_history(table, |history| {
            let shard = history.shard(shard_id).ok_or(format!("there is no shard `{shard_id}`"))?.0;
            history.trim(shard, usize::try_from(records).unwrap_or(usize::MAX));
            Ok(())
        })
    }

    /// Where a shard iterator stands.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what is not an iterator of the table's Stream, enabled or not.
    pub fn stream_position(&self, table: &str, shard_iterator: &str) -> Result<ShardPosition> {
        self.with_table(table, |table| {
            let place = ShardIterator::decode(shard_iterator).ok_or("this is not a shard iterator")?;
            let mut histories = table.history.iter().chain(&table.former_histories);
            let history = histories.find(|history| history.stream_id == place.stream_id);
            let shard = history.and_then(|history| history.shards().get(place.shard));
            let shard = shard.ok_or("the iterator belongs to another table")?;
            Ok(ShardPosition {
                stream_id: place.stream_id,
                shard_id: shard.id.clone(),
                records: place.position as u64,
            })
        })
    }

    /// All that was committed so far.
    ///
    /// # Errors
    /// [`Kind::Usage`] without a Stream.
    pub fn stream_cut(&self, table: &str) -> Result<StreamCut> {
        self.with_history(table, |history| {
            let shards = history.shards().iter();
            let records = shards.map(|shard| (shard.id.clone(), shard.len() as u64)).collect();
            Ok(StreamCut { stream_id: history.stream_id.clone(), records })
        })
    }

    /// Shows every row of a table as it was at `cut`, in key order: all versions that the table's options let one read,
    /// without the cells that had expired at `at_ms`; `None` shows expired ones too.
    ///
    /// Whatever was trimmed, expired, split, merged or disabled since does not matter. The options are those of now.
    ///
    /// # Errors
    /// [`Kind::Usage`] for a cut that no reader could have arrived at.
    pub fn image(
        &self,
        table: &str,
        cut: &StreamCut,
        at_ms: Option<i64>,
        mut visit: impl FnMut(&Row<'_>),
    ) -> Result<()> {
        self.with_table(table, |table| {
            let horizon = at_ms.map_or(i64::MIN, |at| table.horizon(at));
            Image::at(table, cut)?.for_each_row(table, horizon, &mut visit);
            Ok(())
        })
    }

    /// Rows and row-sum of [`Control::image`]: what a restore to `cut` must hold.
    ///
    /// # Errors
    /// As [`Control::image`].
    pub fn image_sum(&self, table: &str, cut: &StreamCut, at_ms: Option<i64>) -> Result<(u64, RowSum)> {
        let (mut hasher, mut rows, mut sum) = (RowHasher::default(), 0, RowSum::default());
        self.image(table, cut, at_ms, |row| {
            sum += hasher.row(row);
            rows += 1;
        })?;
        Ok((rows, sum))
    }

    fn with_history<T>(
        &self,
        table: &str,
        work: impl FnOnce(&mut History) -> std::result::Result<T, String>,
    ) -> Result<T> {
        self.with_table(table, |table| work(table.history.as_mut().ok_or("the table has no Stream")?))
    }

    fn with_table<T>(
        &self,
        table: &str,
        work: impl FnOnce(&mut Table) -> std::result::Result<T, String>,
    ) -> Result<T> {
        let failed =
            |kind, reason| Error::new(kind, "change").on(format!("sandbox table `{table}`")).because(reason);
        let done: Answer<_> = self.instance.change(table, |table| Ok(work(table)));
        done.map_err(|error: ServiceError| failed(Kind::NotFound, error.message))?
            .map_err(|reason| failed(Kind::Usage, reason))
    }
}

fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::NoNewBoundary => "there is a boundary already, or the key begins with no value".to_owned(),
        Refusal::NotNeighbours => "these are not two neighbouring partitions".to_owned(),
    }
}
