//! Keys of generated rows: rows come in groups that share their first key column, groups in partitions.
//!
//! Everything is arithmetic on the row's number, so that any row is found from its key by bisection and the other way
//! round at once.

use std::io::Write as _;

use super::{GeneratedTable, KeyStyle, Shape, hash, iot, mixed};
use crate::model::{KeyPart, PrimaryKey, PrimaryKeyType};

/// 48 bytes that say nothing.
const SHARED_PREFIX: &[u8; 48] = b"cn-hangzhou/production/tenant-000042/orders/row-";

/// How the rows of one table are spread over its first key column.
pub(super) struct Keys {
    style: Option<KeyStyle>,
    shape: Shape,
    seed: u64,
    rows: u64,
    /// Rows that share the first key column.
    pub rows_per_group: u64,
    /// The first group of each partition, and the number of groups at the end.
    partitions: Vec<u64>,
}

impl Keys {
    pub fn new(table: &GeneratedTable) -> Keys {
        let parts = u64::from(table.partitions);
        let share = |of: u64, percent: u64| (u128::from(of) * u128::from(percent) / 100) as u64;
        let skew = table.skew.map(u64::from);
        let smallest = match skew {
            None => table.rows / parts,
            Some(hot) => (share(table.rows, 100 - hot) / (parts - 1).max(1)).min(share(table.rows, hot)),
        };
        let usual = match table.shape {
            Shape::Iot => iot::ROWS_PER_DEVICE,
            Shape::Mixed => mixed::ROWS_PER_GROUP,
            Shape::Wide | Shape::Fat | Shape::Sparse | Shape::Cjk => 1,
        };
        // A partition holds whole groups.
        let rows_per_group = if parts == 1 { usual } else { usual.min(smallest).max(1) };
        let groups = table.rows.div_ceil(rows_per_group);
        let hot_partition = parts / 2;
        let first_of = |partition: u64| match skew {
            None => part_of(groups, partition, parts),
            Some(hot) => {
                let in_hot = share(groups, hot);
                let is_behind = partition > hot_partition;
                let cold_before =
                    part_of(groups - in_hot, partition - u64::from(is_behind), (parts - 1).max(1));
                cold_before + if is_behind { in_hot } else { 0 }
            }
        };
        let partitions = (0..parts).map(first_of).chain([groups]).collect();
        Keys {
            style: table.key,
            shape: table.shape,
            seed: table.seed,
            rows: table.rows,
            rows_per_group,
            partitions,
        }
    }

    /// Whether there are fewer groups than the partitions need; a table without rows may have one.
    pub fn has_an_empty_partition(&self) -> bool {
        self.partitions.len() > 2 && self.partitions.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Type of the first key column.
    pub fn first_type(&self) -> PrimaryKeyType {
        match self.style {
            Some(KeyStyle::Binary) => PrimaryKeyType::Binary,
            _ => PrimaryKeyType::String,
        }
    }

    /// The group of a row, and the row's number in it.
    #[inline]
    pub fn group(&self, index: u64) -> (u64, u64) {
        (index / self.rows_per_group, index % self.rows_per_group)
    }

    /// The boundaries between the partitions, one part each.
    pub fn boundaries(&self) -> Vec<PrimaryKey> {
        let inner = self.partitions.get(1..self.partitions.len() - 1).unwrap_or_default();
        inner.iter().map(|group| PrimaryKey(vec![self.first(*group)])).collect()
    }

    /// The first key column of a group.
    pub fn first(&self, group: u64) -> KeyPart {
        let mut bytes = Vec::new();
        self.write_first(group, &mut bytes);
        match self.first_type() {
            PrimaryKeyType::Binary => KeyPart::Binary(bytes),
            _ => KeyPart::String(String::from_utf8(bytes).unwrap_or_default()),
        }
    }

    /// Replaces `out` by the bytes of a group's first key column. They ascend with the group.
    pub fn write_first(&self, group: u64, out: &mut Vec<u8>) {
        out.clear();
        match (self.style, self.shape) {
            (None, Shape::Mixed) => {
                out.extend_from_slice(mixed::region(self.rows / self.rows_per_group, group).as_bytes());
            }
            (None | Some(KeyStyle::Sequential), Shape::Iot) => numbered(out, b"device-000000000", 9, group),
            (None | Some(KeyStyle::Sequential), _) => numbered(out, b"row-000000000000", 12, group),
            (Some(KeyStyle::SharedPrefix), _) => {
                out.extend_from_slice(SHARED_PREFIX);
                numbered(out, b"000000000000", 12, group);
            }
            (Some(KeyStyle::Hashed), _) => {
                let _ = write!(out, "{:016x}", self.spread(group));
            }
            (Some(KeyStyle::Binary), _) => {
                out.extend_from_slice(&self.spread(group).to_be_bytes());
                out.extend_from_slice(&hash(self.seed, group).to_be_bytes());
            }
        }
    }

    /// A number that looks random and ascends with the group: each partition has its equal share of all numbers, each
    /// group a random place in its equal share of those.
    fn spread(&self, group: u64) -> u64 {
        let partition = self.partitions.partition_point(|first| *first <= group).saturating_sub(1);
        let (first, end) = match self.partitions.get(partition..partition + 2) {
            Some(&[first, end]) => (first, end),
            _ => (0, 1),
        };
        let share = u64::MAX / (self.partitions.len() as u64 - 1);
        let step = share / (end - first).max(1);
        partition as u64 * share + (group - first) * step + hash(self.seed ^ 0x5EED, group) % step.max(1)
    }
}

/// `of * numerator / denominator`.
fn part_of(of: u64, numerator: u64, denominator: u64) -> u64 {
    (u128::from(of) * u128::from(numerator) / u128::from(denominator)) as u64
}

/// Appends `zeros` with its last `digits` bytes counting.
fn numbered(out: &mut Vec<u8>, zeros: &[u8], digits: usize, mut number: u64) {
    out.extend_from_slice(zeros);
    for digit in out.iter_mut().rev().take(digits) {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
