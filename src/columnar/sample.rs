//! Some rows of a table, and the column plan that fits them.

use std::collections::{BTreeMap, HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_64;

use super::builder::most_frequent;
use super::naming::{self, Names};
use super::plan::{ColumnPlan, Encoding, PlannedColumn, Role};
use super::slots::type_index;
use crate::error::Result;
use crate::model::{DefinedColumn, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, Row, Value, ValueType};

/// At most so many typed attribute columns; an all-null column still costs about 400 bytes per row group and shows
/// in every tool.
pub const MAX_PROMOTED_COLUMNS: usize = 1_000;

/// Names beyond this many are not counted: their cells go to `_overflow`.
const MAX_NAMES: usize = 50_000;

/// Distinct values are counted up to this many, then taken for unique.
const MAX_DISTINCT: usize = 1_024;

/// A type beside the dominant one gets its own column from one row in so many.
const MINOR_TYPE_SHARE: u64 = 100;

/// A name gets a timestamp column when one cell in so many differs from the row's timestamp.
const OWN_TIMESTAMP_SHARE: u64 = 10;

/// What the rows seen so far look like. A sample should be at least 20,000 rows where there are that many: with
/// fewer, encodings are chosen badly.
#[derive(Debug, Default)]
pub struct Sample {
    rows: u64,
    keys: Vec<ValueStats>,
    attributes: HashMap<String, AttributeStats>,
}

/// One attribute name. Only its newest version counts, except where noted.
#[derive(Debug, Default)]
struct AttributeStats {
    types: [ValueStats; 5],
    /// Types that an earlier plan had a column for.
    planned: [bool; 5],
    planned_timestamp: bool,
    cells: u64,
    own_timestamps: u64,
    /// Versions behind the newest one.
    older_versions: u64,
}

/// Values of one type.
#[derive(Debug, Default)]
struct ValueStats {
    count: u64,
    bytes: u64,
    /// Hashes, at most [`MAX_DISTINCT`].
    distinct: HashSet<u64>,
}

impl ValueStats {
    fn add(&mut self, bytes: &[u8]) {
        self.count += 1;
        self.bytes += bytes.len() as u64;
        if self.distinct.len() < MAX_DISTINCT {
            self.distinct.insert(xxh3_64(bytes));
        }
    }

    fn add_value(&mut self, value: Value<'_>) {
        match value {
            Value::Integer(value) => self.add(&value.to_le_bytes()),
            Value::Double(value) => self.add(&value.to_bits().to_le_bytes()),
            Value::Boolean(value) => self.add(&[u8::from(value)]),
            Value::String(value) => self.add(value.as_bytes()),
            Value::Binary(value) => self.add(value),
        }
    }

    /// Each value comes about 4 times or more, so that a dictionary pays.
    fn repeats(&self) -> bool {
        self.distinct.len() < MAX_DISTINCT && self.distinct.len() as u64 * 4 <= self.count
    }

    /// A first guess; `parquet_file` replaces it by a trial on real batches.
    fn encoding(&self, value_type: ValueType) -> Encoding {
        let long = self.count > 0 && self.bytes / self.count >= 128;
        match value_type {
            ValueType::Boolean => Encoding::Rle,
            ValueType::Integer => Encoding::DeltaBinaryPacked,
            _ if self.repeats() => Encoding::Dictionary,
            ValueType::Double => Encoding::Plain,
            ValueType::String | ValueType::Binary if long => Encoding::Plain,
            ValueType::String | ValueType::Binary => Encoding::DeltaLengthByteArray,
        }
    }
}

impl Sample {
    /// Takes one row into account; its order among the rows does not matter.
    pub fn observe(&mut self, row: &Row<'_>) {
        self.rows += 1;
        if self.keys.len() < row.key.len() {
            self.keys.resize_with(row.key.len(), ValueStats::default);
        }
        for (stats, (_, value)) in self.keys.iter_mut().zip(&row.key) {
            match value {
                PrimaryKeyValue::Integer(value) => stats.add(&value.to_le_bytes()),
                PrimaryKeyValue::String(value) => stats.add(value.as_bytes()),
                PrimaryKeyValue::Binary(value) => stats.add(value),
                PrimaryKeyValue::AutoIncrement | PrimaryKeyValue::InfMin | PrimaryKeyValue::InfMax => {}
            }
        }
        let newest = row.cells.chunk_by(|a, b| a.name == b.name).filter_map(|versions| versions.first());
        let shared = most_frequent(newest.filter_map(|cell| cell.timestamp));
        for versions in row.cells.chunk_by(|a, b| a.name == b.name) {
            let Some(newest) = versions.first() else { continue };
            let Some(stats) = self.attribute(newest.name) else { continue };
            stats.older_versions += versions.len() as u64 - 1;
            if let Some(value) = newest.value {
                stats.cells += 1;
                stats.own_timestamps += u64::from(newest.timestamp != shared);
                stats.types[type_index(value.value_type())].add_value(value);
            }
        }
    }

    /// Keeps the columns of an earlier base's plan, so that tools that read both find them.
    pub fn keep(&mut self, plan: &ColumnPlan) {
        for column in plan.columns() {
            match &column.role {
                Role::Attribute { attribute, value_type } => {
                    if let Some(stats) = self.attribute(attribute) {
                        stats.planned[type_index(*value_type)] = true;
                    }
                }
                Role::AttributeTimestamp { attribute } => {
                    if let Some(stats) = self.attribute(attribute) {
                        stats.planned_timestamp = true;
                    }
                }
                Role::Key { .. } | Role::RowTimestamp | Role::Overflow => {}
            }
        }
    }

    /// Rows observed so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Versions observed behind the newest one of their column: a table with many is mostly overflow.
    pub fn older_versions(&self) -> u64 {
        self.attributes.values().map(|stats| stats.older_versions).sum()
    }

    fn attribute(&mut self, name: &str) -> Option<&mut AttributeStats> {
        if !self.attributes.contains_key(name) {
            if self.attributes.len() >= MAX_NAMES {
                return None;
            }
            self.attributes.insert(name.to_owned(), AttributeStats::default());
        }
        self.attributes.get_mut(name)
    }

    /// The columns for a base of a table with this primary key and these predefined columns.
    ///
    /// Promoted are predefined columns with their type, columns of an earlier plan, every other name with its most
    /// frequent type, and further types seen in at least 1 % of the rows; at most [`MAX_PROMOTED_COLUMNS`], in that
    /// order and by frequency. Two samples of the same rows give the same plan.
    ///
    /// # Errors
    /// `Corrupt` if the primary key does not have 1 to 4 columns.
    pub fn plan(&self, primary_key: &[PrimaryKeyColumn], defined: &[DefinedColumn]) -> Result<ColumnPlan> {
        let no_stats = ValueStats::default();
        let mut names = Names::default();
        let mut columns = Vec::new();
        for (index, key) in primary_key.iter().enumerate() {
            let value_type = match key.column_type {
                PrimaryKeyType::Integer => ValueType::Integer,
                PrimaryKeyType::String => ValueType::String,
                PrimaryKeyType::Binary => ValueType::Binary,
            };
            let stats = self.keys.get(index).unwrap_or(&no_stats);
            let encoding = match stats.encoding(value_type) {
                // Keys are sorted, so neighbours share prefixes.
                Encoding::DeltaLengthByteArray | Encoding::Plain => Encoding::DeltaByteArray,
                other => other,
            };
            let role = Role::Key { column: key.name.clone(), column_type: key.column_type };
            columns.push((names.claim(&key.name), role, encoding));
        }

        // Parquet names are given in the order of promotion, so that the frequent one of two clashing names keeps
        // its own; columns stand in the order of attribute names.
        let mut attributes: BTreeMap<&str, (String, Vec<ValueType>)> = BTreeMap::new();
        for (name, value_type) in self.promoted(defined) {
            let (_, types) = attributes.entry(name).or_insert_with(|| (names.claim(name), Vec::new()));
            types.push(value_type);
        }
        for (name, (base, types)) in attributes {
            let stats = self.attributes.get(name);
            let dominant = types.first().copied();
            let mut in_order = types;
            in_order.sort_by_key(|value_type| value_type.code());
            for value_type in in_order {
                let parquet_name = if Some(value_type) == dominant {
                    base.clone()
                } else {
                    naming::typed(&base, value_type)
                };
                let values = stats.map_or(&no_stats, |stats| &stats.types[type_index(value_type)]);
                let role = Role::Attribute { attribute: name.to_owned(), value_type };
                columns.push((parquet_name, role, values.encoding(value_type)));
            }
            let own_timestamps = stats.is_some_and(|stats| {
                stats.planned_timestamp
                    || (stats.own_timestamps > 0 && stats.own_timestamps * OWN_TIMESTAMP_SHARE >= stats.cells)
            });
            if own_timestamps {
                let role = Role::AttributeTimestamp { attribute: name.to_owned() };
                columns.push((naming::timestamp(&base), role, Encoding::DeltaBinaryPacked));
            }
        }
        columns.push(("_ts".to_owned(), Role::RowTimestamp, Encoding::DeltaBinaryPacked));
        columns.push(("_overflow".to_owned(), Role::Overflow, Encoding::Plain));
        ColumnPlan::new(
            (1..)
                .zip(columns)
                .map(|(field_id, (name, role, encoding))| PlannedColumn { field_id, name, role, encoding })
                .collect(),
        )
    }

    /// (name, type) of every typed column, the most important first; the first type of a name is its dominant one.
    fn promoted<'a>(&'a self, defined: &'a [DefinedColumn]) -> Vec<(&'a str, ValueType)> {
        let mut candidates = Vec::new();
        for (name, stats) in &self.attributes {
            for value_type in ValueType::ALL {
                let index = type_index(value_type);
                let (count, planned) = (stats.types[index].count, stats.planned[index]);
                let most = stats.types.iter().map(|other| other.count).max().unwrap_or(0);
                let is_dominant = count > 0 && count == most;
                if planned || is_dominant || (count > 0 && count * MINOR_TYPE_SHARE >= self.rows) {
                    // A type that ties with an earlier one is promoted too; it is not rare.
                    candidates.push((!planned, std::cmp::Reverse(count), name.as_str(), value_type));
                }
            }
        }
        candidates.sort_unstable();
        let mut promoted: Vec<(&str, ValueType)> =
            defined.iter().map(|column| (column.name.as_str(), column.column_type)).collect();
        let mut seen: HashSet<(&str, ValueType)> = promoted.iter().copied().collect();
        for (_, _, name, value_type) in candidates {
            if promoted.len() >= MAX_PROMOTED_COLUMNS {
                break;
            }
            if seen.insert((name, value_type)) {
                promoted.push((name, value_type));
            }
        }
        promoted
    }
}
