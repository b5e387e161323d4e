//! Rows that were written: every column with its versions, newest first.

use std::collections::BTreeMap;

use crate::model::{Cell, Row, Value};

/// One owned value. A double keeps its bits.
#[derive(Debug, Clone)]
pub enum StoredValue {
    /// INTEGER.
    Integer(i64),
    /// DOUBLE.
    Double(f64),
    /// BOOLEAN.
    Boolean(bool),
    /// STRING.
    String(Box<str>),
    /// BINARY.
    Binary(Box<[u8]>),
}

impl StoredValue {
    /// The borrowed view.
    pub fn as_value(&self) -> Value<'_> {
        match self {
            StoredValue::Integer(value) => Value::Integer(*value),
            StoredValue::Double(value) => Value::Double(*value),
            StoredValue::Boolean(value) => Value::Boolean(*value),
            StoredValue::String(value) => Value::String(value),
            StoredValue::Binary(value) => Value::Binary(value),
        }
    }
}

impl From<Value<'_>> for StoredValue {
    fn from(value: Value<'_>) -> StoredValue {
        match value {
            Value::Integer(value) => StoredValue::Integer(value),
            Value::Double(value) => StoredValue::Double(value),
            Value::Boolean(value) => StoredValue::Boolean(value),
            Value::String(value) => StoredValue::String(value.into()),
            Value::Binary(value) => StoredValue::Binary(value.into()),
        }
    }
}

/// A row's attribute columns, by name ascending; versions newest first, at most one per timestamp.
#[derive(Debug, Clone, Default)]
pub struct StoredRow {
    columns: BTreeMap<Box<str>, Vec<(i64, StoredValue)>>,
    /// Newest timestamp ever written: what keeps a row without cells alive under a TTL.
    newest_write: i64,
}

impl StoredRow {
    /// A row that holds nothing but its key, written at `timestamp` (ms).
    pub fn new(timestamp: i64) -> StoredRow {
        StoredRow { columns: BTreeMap::new(), newest_write: timestamp }
    }

    /// The newest timestamp ever written (ms).
    pub fn newest_write(&self) -> i64 {
        self.newest_write
    }

    /// Adds one version, replaces the one with the same timestamp, and drops what is over `max_versions`.
    pub fn put(&mut self, name: &str, timestamp: i64, value: StoredValue, max_versions: usize) {
        self.newest_write = self.newest_write.max(timestamp);
        let versions = self.columns.entry(name.into()).or_default();
        match versions.binary_search_by(|(at, _)| timestamp.cmp(at)) {
            Ok(index) => versions[index].1 = value,
            Err(index) => versions.insert(index, (timestamp, value)),
        }
        versions.truncate(max_versions);
    }

    /// Deletes every version of a column.
    pub fn delete_column(&mut self, name: &str) {
        self.columns.remove(name);
    }

    /// Deletes the version at `timestamp`, if there is one.
    pub fn delete_version(&mut self, name: &str, timestamp: i64) {
        if let Some(versions) = self.columns.get_mut(name) {
            versions.retain(|(at, _)| *at != timestamp);
            if versions.is_empty() {
                self.columns.remove(name);
            }
        }
    }

    /// The newest version of a column that is not older than `horizon` (ms).
    pub fn newest(&self, name: &str, horizon: i64) -> Option<&StoredValue> {
        self.columns.get(name)?.first().filter(|(at, _)| *at >= horizon).map(|(_, value)| value)
    }

    /// The newest versions of some columns that are not older than `horizon` (ms), in the order of their names.
    pub fn newest_of<'a>(&'a self, names: impl Iterator<Item = &'a String>, horizon: i64) -> Vec<Cell<'a>> {
        let newest = |name: &'a String| {
            let (at, value) = self.columns.get(name.as_str())?.first()?;
            (*at >= horizon).then(|| Cell::put(name, value.as_value(), Some(*at)))
        };
        let mut cells: Vec<_> = names.filter_map(newest).collect();
        cells.sort_by_key(|cell| cell.name);
        cells.dedup_by_key(|cell| cell.name);
        cells
    }

    /// Whether the row is there at all when everything older than `horizon` (ms) has expired.
    pub fn is_visible(&self, horizon: i64) -> bool {
        self.newest_write >= horizon
            || self.columns.values().any(|versions| versions.first().is_some_and(|(at, _)| *at >= horizon))
    }

    /// Adds the cells to `row`: the newest `max_versions` of each column, without those older than `horizon` (ms).
    pub fn view<'a>(&'a self, row: &mut Row<'a>, max_versions: usize, horizon: i64) {
        for (name, versions) in &self.columns {
            let visible = versions.iter().take(max_versions).filter(|(at, _)| *at >= horizon);
            row.cells.extend(visible.map(|(at, value)| Cell::put(name, value.as_value(), Some(*at))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(row: &StoredRow, max_versions: usize, horizon: i64) -> Vec<(String, i64)> {
        let mut view = Row::default();
        row.view(&mut view, max_versions, horizon);
        view.cells.iter().map(|cell| (cell.name.to_owned(), cell.timestamp.unwrap())).collect()
    }

    #[test]
    fn versions_are_newest_first_and_surplus_ones_cannot_be_read() {
        let mut row = StoredRow::new(0);
        for timestamp in [5, 1, 9, 5, 7] {
            row.put("b", timestamp, StoredValue::Integer(timestamp), 3);
        }
        row.put("a", 1, StoredValue::Boolean(true), 3);
        let names =
            |list: &[(&str, i64)]| list.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect::<Vec<_>>();
        assert_eq!(shown(&row, 9, 0), names(&[("a", 1), ("b", 9), ("b", 7), ("b", 5)]));
        assert_eq!(shown(&row, 1, 0), names(&[("a", 1), ("b", 9)]));
        assert_eq!(shown(&row, 9, 6), names(&[("b", 9), ("b", 7)]));
        row.delete_version("b", 9);
        row.delete_column("a");
        assert_eq!(shown(&row, 9, 0), names(&[("b", 7), ("b", 5)]));
    }

    #[test]
    fn a_row_without_cells_is_a_row_until_it_expires() {
        let row = StoredRow::new(100);
        assert!(row.is_visible(100));
        assert!(!row.is_visible(101));
    }
}
