//! One table: its definition and its rows, stored or generated.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::generated::GeneratedTable;
use super::partitions::Partitions;
use super::schema::{key_type_name, key_value_type_name};
use super::service_error::{Answer, ServiceError};
use super::stored::StoredRow;
use super::stream::{History, StreamSettings};
use super::transaction::Locks;
use crate::model::{KeyPart, KeyRange, PrimaryKey, PrimaryKeyColumn, PrimaryKeyValue, Row, TableDefinition};

/// A table and everything in it.
pub struct Table {
    /// As DescribeTable tells it.
    pub definition: TableDefinition,
    /// When reserved throughput was last changed, in seconds.
    pub reserved_changed_at_s: i64,
    /// Ranges of the first key column.
    pub partitions: Partitions,
    /// Not served before this moment (ms).
    pub ready_at: i64,
    /// The last value given to the auto-increment column.
    pub last_increment: i64,
    /// What happened since the Stream was enabled; `None` while it is disabled.
    pub history: Option<History>,
    /// Histories of Streams that were disabled since: clients have lost them, the oracle has not.
    pub former_histories: Vec<History>,
    /// How the Stream behaves where the service's behaviour is not known.
    pub stream_settings: StreamSettings,
    /// Whether local transactions were enabled when it was created.
    pub local_transactions: bool,
    /// What local transactions hold.
    pub locks: Locks,
    /// The table whose secondary index this is.
    pub index_of: Option<String>,
    /// Whether it was deleted while somebody was about to use it.
    pub deleted: bool,
    /// Keys of rows that changed and were not stored yet.
    pub changed: Vec<PrimaryKey>,
    /// The rows.
    pub content: Content,
}

/// Where the rows come from.
pub enum Content {
    /// Written by clients.
    Stored(BTreeMap<PrimaryKey, StoredRow>),
    /// Computed, read-only.
    Generated(GeneratedTable),
}

impl Table {
    /// A generated table.
    pub fn generated(table: GeneratedTable) -> Table {
        let boundaries = table.boundaries();
        Table::new(table.definition(), boundaries, Content::Generated(table))
    }

    /// A table that is ready and has no Stream.
    pub fn new(definition: TableDefinition, boundaries: Vec<PrimaryKey>, content: Content) -> Table {
        Table {
            definition,
            reserved_changed_at_s: 0,
            partitions: Partitions::new(boundaries),
            ready_at: i64::MIN,
            last_increment: 0,
            history: None,
            former_histories: Vec::new(),
            stream_settings: StreamSettings::default(),
            local_transactions: false,
            locks: Locks::default(),
            index_of: None,
            deleted: false,
            changed: Vec::new(),
            content,
        }
    }

    /// A table without rows, ready at once.
    pub fn empty(definition: TableDefinition, boundaries: Vec<PrimaryKey>) -> Table {
        Table::new(definition, boundaries, Content::Stored(BTreeMap::new()))
    }

    /// The rows of one partition key as a table of their own, without Stream and partitions.
    pub fn partition_copy(&self, partition_key: &KeyPart) -> Table {
        let mut copy = Table::empty(self.definition.clone(), Vec::new());
        if let Content::Stored(rows) = &self.content {
            let first = PrimaryKey(vec![partition_key.clone()]);
            let same = rows.range(first..).take_while(|(key, _)| key.parts().first() == Some(partition_key));
            copy.content = Content::Stored(same.map(|(key, row)| (key.clone(), row.clone())).collect());
        }
        copy
    }

    /// Begins or ends the history that belongs to the Stream of the definition.
    pub fn switch_history(&mut self) {
        self.former_histories.extend(self.history.take());
        let (Some(stream), Content::Stored(rows)) = (&self.definition.stream, &self.content) else { return };
        let partitions = self.partitions.boundaries().len() + 1;
        self.history = Some(History::new(stream.stream_id.clone(), rows.clone(), partitions));
    }

    /// The generated table behind this one, if there is one.
    pub fn generated_rows(&self) -> Option<&GeneratedTable> {
        match &self.content {
            Content::Generated(generated) => Some(generated),
            Content::Stored(_) => None,
        }
    }

    /// Versions per column that can be read.
    pub fn max_versions(&self) -> usize {
        self.definition.options.max_versions.and_then(|versions| usize::try_from(versions).ok()).unwrap_or(1)
    }

    /// Cells older than this (ms) have expired.
    pub fn horizon(&self, now: i64) -> i64 {
        match self.definition.options.time_to_live {
            Some(seconds) if seconds >= 0 => now.saturating_sub(i64::from(seconds) * 1_000),
            _ => i64::MIN,
        }
    }

    /// Whether the service counts 8 bytes for the timestamp of every version. Those of generated cells were all given.
    pub fn counts_timestamps(&self) -> bool {
        matches!(self.content, Content::Generated(_))
            || self.max_versions() > 1
            || self.definition.options.time_to_live.is_some_and(|seconds| seconds != -1)
    }

    /// Shows the rows in `range` that can be seen at `now` (ms), each with every readable version, in key order or
    /// against it, until `visit` breaks.
    pub fn scan<F>(&self, range: &KeyRange, now: i64, visit: F)
    where
        F: FnMut(&mut Row<'_>) -> ControlFlow<()>,
    {
        self.scan_bounds(Bound::Included(&range.start), Bound::Excluded(&range.end), false, now, visit);
    }

    /// As [`Table::scan`], downwards from `start`, which is included, to `end`, which is not.
    pub fn scan_backward<F>(&self, start: &PrimaryKey, end: &PrimaryKey, now: i64, visit: F)
    where
        F: FnMut(&mut Row<'_>) -> ControlFlow<()>,
    {
        self.scan_bounds(Bound::Excluded(end), Bound::Included(start), true, now, visit);
    }

    /// Shows the row at `key`, if there is one.
    pub fn point<F>(&self, key: &PrimaryKey, now: i64, mut visit: F)
    where
        F: FnMut(&mut Row<'_>),
    {
        self.scan_bounds(Bound::Included(key), Bound::Included(key), false, now, |row| {
            visit(row);
            ControlFlow::Break(())
        });
    }

    fn scan_bounds<F>(
        &self,
        low: Bound<&PrimaryKey>,
        high: Bound<&PrimaryKey>,
        backward: bool,
        now: i64,
        mut visit: F,
    ) where
        F: FnMut(&mut Row<'_>) -> ControlFlow<()>,
    {
        match &self.content {
            Content::Generated(table) => {
                let low = match low {
                    Bound::Included(key) => table.rows_below(key),
                    Bound::Excluded(key) => table.rows_up_to(key),
                    Bound::Unbounded => 0,
                };
                let high = match high {
                    Bound::Included(key) => table.rows_up_to(key),
                    Bound::Excluded(key) => table.rows_below(key),
                    Bound::Unbounded => table.rows,
                };
                table.scan(low..high, backward, visit);
            }
            Content::Stored(rows) => {
                let horizon = self.horizon(now);
                let mut show = |(key, stored): (&PrimaryKey, &StoredRow)| match stored.is_visible(horizon) {
                    true => visit(&mut self.view(key, stored, self.max_versions(), horizon)),
                    false => ControlFlow::Continue(()),
                };
                let mut range = rows.range::<PrimaryKey, _>((low, high));
                let _ = match backward {
                    false => range.try_for_each(&mut show),
                    true => range.rev().try_for_each(&mut show),
                };
            }
        }
    }

    /// A stored row as clients see it: the newest `max_versions` of each column, without those older than `horizon` (ms).
    pub fn view<'a>(
        &'a self,
        key: &'a PrimaryKey,
        stored: &'a StoredRow,
        max_versions: usize,
        horizon: i64,
    ) -> Row<'a> {
        let mut row = Row::default();
        let key = self.definition.primary_key.iter().zip(key.parts());
        row.key.extend(key.map(|(column, part)| (column.name.as_str(), part.as_value())));
        stored.view(&mut row, max_versions, horizon);
        row
    }

    /// Checks a key against the table's: count, names, types. Infinities and the placeholder pass.
    ///
    /// # Errors
    /// `OTSInvalidPK`.
    pub fn check_key(&self, key: &[(&str, PrimaryKeyValue<'_>)]) -> Answer<()> {
        let columns = &self.definition.primary_key;
        if key.len() != columns.len() {
            return Err(ServiceError::invalid_key(format!(
                "Validate PK size fail. Input: {}, Meta: {}.",
                key.len(),
                columns.len()
            )));
        }
        key.iter().zip(columns).try_for_each(|((name, value), column)| check_key_column(name, *value, column))
    }

    /// As [`Table::check_key`] for the partition key alone.
    ///
    /// # Errors
    /// `OTSInvalidPK`.
    pub fn check_partition_key(&self, name: &str, value: PrimaryKeyValue<'_>) -> Answer<()> {
        self.definition.primary_key.first().map_or(Ok(()), |column| check_key_column(name, value, column))
    }

    /// The names of the key columns, in key order.
    pub fn key_names(&self) -> Vec<&str> {
        self.definition.primary_key.iter().map(|column| column.name.as_str()).collect()
    }
}

fn check_key_column(name: &str, value: PrimaryKeyValue<'_>, column: &PrimaryKeyColumn) -> Answer<()> {
    if name != column.name {
        return Err(ServiceError::invalid_key(format!(
            "Validate PK name fail. Input: {name}, Meta: {}.",
            column.name
        )));
    }
    let (input, meta) = (key_value_type_name(value), key_type_name(column.column_type));
    if let Some(input) = input.filter(|input| *input != meta) {
        return Err(ServiceError::invalid_key(format!(
            "Validate PK type fail. Input: {input}, Meta: {meta}."
        )));
    }
    Ok(())
}

/// Bytes of a row by the service's data-size rule: names and values, and 8 per version if timestamps count.
pub fn data_size(row: &Row<'_>, counts_timestamps: bool) -> usize {
    key_size(&row.key) + cells_size(row, |_| counts_timestamps)
}

/// As [`data_size`] for a row change, where a timestamp counts if it was given.
pub fn change_size(row: &Row<'_>) -> usize {
    key_size(&row.key) + cells_size(row, |timestamp| timestamp.is_some())
}

fn key_size(key: &[(&str, PrimaryKeyValue<'_>)]) -> usize {
    key.iter().map(|(name, value)| name.len() + key_value_size(*value)).sum()
}

fn cells_size(row: &Row<'_>, timestamp_counts: impl Fn(Option<i64>) -> bool) -> usize {
    let size = |cell: &crate::model::Cell<'_>| {
        let value = cell.value.map_or(0, |value| value.data_size());
        cell.name.len() + value + if timestamp_counts(cell.timestamp) { 8 } else { 0 }
    };
    row.cells.iter().map(size).sum()
}

fn key_value_size(value: PrimaryKeyValue<'_>) -> usize {
    match value {
        PrimaryKeyValue::Integer(_) | PrimaryKeyValue::AutoIncrement => 8,
        PrimaryKeyValue::String(text) => text.len(),
        PrimaryKeyValue::Binary(bytes) => bytes.len(),
        PrimaryKeyValue::InfMin | PrimaryKeyValue::InfMax => 0,
    }
}

/// Capacity units of `bytes`: steps of 4 KB, at least one.
pub fn capacity_units(bytes: usize) -> i32 {
    i32::try_from(bytes.div_ceil(4_096).max(1)).unwrap_or(i32::MAX)
}
