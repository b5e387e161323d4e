//! Partitions of a table: ranges of the first primary key column, split and merged on demand or by load.

use std::collections::btree_map::Range;
use std::ops::Bound;

use super::generated::GeneratedTable;
use super::stored::StoredRow;
use super::table::{Content, Table, data_size};
use crate::model::PrimaryKey;

/// When a partition splits or two neighbours merge by themselves. Checked after every write; all off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionLimits {
    /// Splits a partition with more rows.
    pub split_rows: Option<u64>,
    /// Splits a partition with more bytes by the data-size rule: those in it when it came to be, and those written to
    /// it since.
    pub split_bytes: Option<u64>,
    /// Splits a partition that took more writes since it came to be.
    pub split_writes: Option<u64>,
    /// Merges two neighbours that together have fewer rows. More than half of `split_rows` makes tables flutter.
    pub merge_rows: Option<u64>,
}

/// One partition as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// The first key column's value at which it begins; `None` for the first partition.
    pub start: Option<PrimaryKey>,
    /// Rows in it, expired ones included.
    pub rows: u64,
    /// The Stream's open shard for it, while a Stream is enabled.
    pub shard_id: Option<String>,
}

/// What a partition holds and took.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    rows: u64,
    bytes: u64,
    writes: u64,
    /// It could not be split at that many writes; not worth another try before twice as many.
    rest_until: u64,
}

/// The boundaries between the partitions of a table, and their loads.
pub struct Partitions {
    boundaries: Vec<PrimaryKey>,
    loads: Vec<Load>,
    /// When they change by themselves.
    pub limits: PartitionLimits,
}

impl Partitions {
    /// Empty partitions between `boundaries`, which ascend and have one part each.
    pub fn new(boundaries: Vec<PrimaryKey>) -> Partitions {
        let loads = vec![Load::default(); boundaries.len() + 1];
        Partitions { boundaries, loads, limits: PartitionLimits::default() }
    }

    /// The boundaries, one part each.
    pub fn boundaries(&self) -> &[PrimaryKey] {
        &self.boundaries
    }

    /// The number of the partition that holds `key`, or the rows just behind it if it is a bound.
    pub fn of(&self, key: &PrimaryKey) -> usize {
        self.boundaries.partition_point(|boundary| boundary.parts() <= key.parts())
    }

    /// Counts a change: `rows` came or went, `bytes` were written.
    pub fn note_write(&mut self, key: &PrimaryKey, rows: i64, bytes: usize) {
        let partition = self.of(key);
        if let Some(load) = self.loads.get_mut(partition) {
            load.rows = load.rows.saturating_add_signed(rows);
            load.bytes += bytes as u64;
            load.writes += 1;
        }
    }
}

/// Why partitions are as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The key is a boundary already, or lies at an end of the key space.
    NoNewBoundary,
    /// There are not two such partitions side by side.
    NotNeighbours,
}

impl Table {
    /// Every partition, in key order.
    pub fn describe_partitions(&self) -> Vec<PartitionDescription> {
        let starts = std::iter::once(None).chain(self.partitions.boundaries.iter().cloned().map(Some));
        let describe = |(number, start)| PartitionDescription {
            start,
            rows: self.measured(number).rows,
            shard_id: self.history.as_ref().and_then(|history| history.open_shard_id(number)),
        };
        starts.enumerate().map(describe).collect()
    }

    /// Splits the partition that holds `at` there, at the beginning of its first key column; the Stream's shard closes
    /// and has two children.
    ///
    /// # Errors
    /// [`Refusal::NoNewBoundary`].
    pub fn split_partition(&mut self, at: &PrimaryKey, now: i64) -> Result<(), Refusal> {
        let Some(first) = at.parts().first().filter(|part| part.is_value()) else {
            return Err(Refusal::NoNewBoundary);
        };
        let boundary = PrimaryKey(vec![first.clone()]);
        let partitions = &mut self.partitions;
        let Err(number) = partitions.boundaries.binary_search(&boundary) else {
            return Err(Refusal::NoNewBoundary);
        };
        partitions.boundaries.insert(number, boundary);
        partitions.loads.insert(number, Load::default());
        for number in [number, number + 1] {
            self.partitions.loads[number] = self.measured(number);
        }
        if let Some(history) = &mut self.history {
            history.split(number, now);
        }
        Ok(())
    }

    /// Merges two neighbouring partitions, counted from 0 in key order; the Stream's two shards close and have one child.
    ///
    /// # Errors
    /// [`Refusal::NotNeighbours`].
    pub fn merge_partitions(&mut self, a: usize, b: usize, now: i64) -> Result<(), Refusal> {
        let left = a.min(b);
        if a.max(b) != left + 1 || left >= self.partitions.boundaries.len() {
            return Err(Refusal::NotNeighbours);
        }
        self.partitions.boundaries.remove(left);
        let right = self.partitions.loads.remove(left + 1);
        let load = &mut self.partitions.loads[left];
        *load = Load { rows: load.rows + right.rows, bytes: load.bytes + right.bytes, ..Load::default() };
        if let Some(history) = &mut self.history {
            history.merge(left, now);
        }
        Ok(())
    }

    fn bounds_of(&self, number: usize) -> (Bound<&PrimaryKey>, Bound<&PrimaryKey>) {
        let boundaries = &self.partitions.boundaries;
        let before = number.checked_sub(1).and_then(|number| boundaries.get(number));
        let behind = boundaries.get(number);
        (before.map_or(Bound::Unbounded, Bound::Included), behind.map_or(Bound::Unbounded, Bound::Excluded))
    }

    /// The rows of a partition; `None` for a generated table.
    fn rows_of(&self, number: usize) -> Option<Range<'_, PrimaryKey, StoredRow>> {
        match &self.content {
            Content::Stored(rows) => Some(rows.range::<PrimaryKey, _>(self.bounds_of(number))),
            Content::Generated(_) => None,
        }
    }

    /// The rows of a generated table that are in a partition.
    pub fn generated_range(&self, generated: &GeneratedTable, number: usize) -> std::ops::Range<u64> {
        let boundaries = &self.partitions.boundaries;
        let start = number.checked_sub(1).map_or(0, |before| generated.rows_before(boundaries.get(before)));
        start..generated.rows_before(boundaries.get(number))
    }

    /// Counts a partition's rows and their bytes. Bytes of a generated partition are not counted: it has no load.
    fn measured(&self, number: usize) -> Load {
        let mut load = Load::default();
        if let Some(generated) = self.generated_rows() {
            let rows = self.generated_range(generated, number);
            load.rows = rows.end - rows.start;
        }
        for (key, stored) in self.rows_of(number).into_iter().flatten() {
            let row = self.view(key, stored, usize::MAX, i64::MIN);
            load.rows += 1;
            load.bytes += data_size(&row, self.counts_timestamps()) as u64;
        }
        load
    }

    /// A key that leaves about half of a partition's rows on each side of its first column's value; `None` if all rows
    /// share that.
    fn middle_of(&self, number: usize) -> Option<PrimaryKey> {
        let half = self.rows_of(number)?.count() / 2;
        let first = self.rows_of(number)?.next().map(|(key, _)| key.parts().first())?;
        let mut from_half = self.rows_of(number)?.skip(half).map(|(key, _)| key);
        from_half.find(|key| key.parts().first() > first).cloned()
    }

    /// Does what the limits ask for: each pass over the partitions splits those over a limit once, then merges.
    pub fn rebalance(&mut self, now: i64) {
        let limits = self.partitions.limits;
        if limits == PartitionLimits::default() {
            return;
        }
        let is_over = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value > limit);
        let mut number = 0;
        while let Some(load) = self.partitions.loads.get(number).copied() {
            let is_busy = is_over(limits.split_rows, load.rows)
                || is_over(limits.split_bytes, load.bytes)
                || is_over(limits.split_writes, load.writes);
            if is_busy && load.writes >= load.rest_until {
                match self.middle_of(number) {
                    Some(middle) if self.split_partition(&middle, now).is_ok() => number += 1,
                    _ => self.partitions.loads[number].rest_until = load.writes * 2 + 1,
                }
            }
            number += 1;
        }
        let Some(merge_rows) = limits.merge_rows else { return };
        let mut left = 0;
        while let Some([one, two]) = self.partitions.loads.get(left..left + 2) {
            if one.rows + two.rows >= merge_rows || self.merge_partitions(left, left + 1, now).is_err() {
                left += 1;
            }
        }
    }
}
