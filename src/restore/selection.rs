//! What of a row is written, and a hash over exactly that.

use std::collections::BTreeSet;

use crate::columnar::RowSelection;
use crate::model::{Row, RowHasher, Value};

/// What of the rows is written, and how rows of the target are recognised as written already.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    /// These attribute columns alone.
    pub columns: Option<BTreeSet<String>>,
    /// The newest version of each, without timestamp.
    pub flatten: bool,
    /// The key column whose value the service assigns.
    pub reassigned: Option<String>,
}

impl Selection {
    /// The same for the encoder of rows.
    pub(super) fn for_encoder(&self) -> RowSelection {
        RowSelection {
            attributes: self.columns.clone(),
            flatten: self.flatten,
            auto_increment: self.reassigned.clone(),
        }
    }

    /// A hash over what is written of a row: two rows with the same hash need not be written over each other.
    pub(super) fn hash(&self, hasher: &mut RowHasher, row: &Row<'_>) -> u128 {
        for (name, value) in &row.key {
            if self.reassigned.as_deref() != Some(name) {
                hasher.key(*value);
            }
        }
        let mut last_name = None;
        for cell in &row.cells {
            let is_older = self.flatten && last_name.replace(cell.name) == Some(cell.name);
            let is_wanted = self.columns.as_ref().is_none_or(|columns| columns.contains(cell.name));
            if let (Some(value), false, true) = (cell.value, is_older, is_wanted) {
                let timestamp = if self.flatten { 0 } else { cell.timestamp.unwrap_or(0) };
                hasher.cell(seed(cell.name, value), timestamp, value);
            }
        }
        hasher.end_row().0
    }
}

fn seed(name: &str, value: Value<'_>) -> u64 {
    RowHasher::column_seed(name, value.value_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, PrimaryKeyValue};

    fn row<'a>(id: i64, cells: &[(&'a str, i64, i64)]) -> Row<'a> {
        Row {
            key: vec![("p", PrimaryKeyValue::String("x")), ("id", PrimaryKeyValue::Integer(id))],
            cells: cells
                .iter()
                .map(|(name, ts, value)| Cell::put(name, Value::Integer(*value), Some(*ts)))
                .collect(),
            ..Row::default()
        }
    }

    #[test]
    fn only_what_is_written_counts() {
        let mut hasher = RowHasher::default();
        let mut hash = |selection: &Selection, row: &Row<'_>| selection.hash(&mut hasher, row);
        let full = row(1, &[("a", 9, 5), ("a", 8, 4), ("b", 9, 6)]);
        let all = Selection::default();
        assert_eq!(hash(&all, &full), hash(&all, &full.clone()));
        assert_ne!(hash(&all, &full), hash(&all, &row(1, &[("a", 9, 5), ("b", 9, 6)])));
        assert_ne!(hash(&all, &full), hash(&all, &row(2, &[("a", 9, 5), ("a", 8, 4), ("b", 9, 6)])));
        let flat = Selection { flatten: true, ..Selection::default() };
        assert_eq!(hash(&flat, &full), hash(&flat, &row(1, &[("a", 77, 5), ("b", 78, 6)])));
        let some = Selection { columns: Some(["b".to_owned()].into()), ..Selection::default() };
        assert_eq!(hash(&some, &full), hash(&all, &row(1, &[("b", 9, 6)])));
        let new_keys = Selection { reassigned: Some("id".to_owned()), ..Selection::default() };
        assert_eq!(
            hash(&new_keys, &full),
            hash(
                &new_keys,
                &row(
                    7,
                    &full
                        .cells
                        .iter()
                        .map(|cell| (
                            cell.name,
                            cell.timestamp.unwrap(),
                            match cell.value {
                                Some(Value::Integer(value)) => value,
                                _ => 0,
                            }
                        ))
                        .collect::<Vec<_>>()
                )
            )
        );
    }
}
