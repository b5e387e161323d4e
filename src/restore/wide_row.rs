//! Rows that are too large for one request, as a put and updates.
//!
//! Not atomic: until the last part is there the row lacks cells. Every part can be repeated, since its cells have
//! their timestamps.

use super::unit_rows::{LARGEST_ROW, MOST_CELLS};
use crate::model::{Cell, PrimaryKeyValue, Row};
use crate::tablestore::RowChange;

/// Bytes of a STRING or BINARY value, at most (service limit; asserted by the Java SDK's tests).
const LARGEST_VALUE: usize = 2_097_152;

/// The changes that make `row`, each within the limits: `put` replaces the row with the first of its cells, the rest are
/// updates; without `put` all are.
///
/// # Errors
/// Why no changes can make it: a value that the service takes in no request.
pub(super) fn parts(row: &Row<'_>, put: bool) -> Result<Vec<RowChange>, String> {
    let key_size: usize = row.key.iter().map(|(name, value)| name.len() + key_value_size(value)).sum();
    if let Some(cell) =
        row.cells.iter().find(|cell| cell.value.is_some_and(|value| value.data_size() > LARGEST_VALUE))
    {
        return Err(format!("column `{}` has a value of more than {LARGEST_VALUE} bytes", cell.name));
    }
    let mut changes = Vec::new();
    let mut part: Vec<Cell<'_>> = Vec::new();
    let mut size = key_size;
    let mut close = |cells: Vec<Cell<'_>>| {
        let row = Row { key: row.key.clone(), cells, ..Row::default() };
        let change = if changes.is_empty() && put { RowChange::put(&row) } else { RowChange::update(&row) };
        changes.push(change.idempotent());
    };
    for cell in &row.cells {
        let cell_size = cell.name.len() + cell.value.map_or(0, |value| value.data_size()) + 8;
        if !part.is_empty() && (part.len() == MOST_CELLS || size + cell_size > LARGEST_ROW) {
            close(std::mem::take(&mut part));
            size = key_size;
        }
        size += cell_size;
        part.push(*cell);
    }
    close(part);
    Ok(changes)
}

fn key_value_size(value: &PrimaryKeyValue<'_>) -> usize {
    match value {
        PrimaryKeyValue::String(text) => text.len(),
        PrimaryKeyValue::Binary(bytes) => bytes.len(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    fn wide<'a>(cells: Vec<Cell<'a>>) -> Row<'a> {
        Row { key: vec![("id", PrimaryKeyValue::Integer(1))], cells, ..Row::default() }
    }

    #[test]
    fn three_thousand_columns_are_a_put_and_two_updates() {
        let names: Vec<String> = (0..3_000).map(|at| format!("c{at:04}")).collect();
        let row = wide(names.iter().map(|name| Cell::put(name, Value::Integer(1), Some(7))).collect());
        assert_eq!(parts(&row, true).unwrap().len(), 3);
        assert_eq!(parts(&row, false).unwrap().len(), 3);
    }

    #[test]
    fn six_mb_are_a_put_and_more_and_a_value_of_three_is_refused() {
        let large = vec![7; 2_000_000];
        let names = ["a", "b", "c"];
        let row = wide(names.iter().map(|name| Cell::put(name, Value::Binary(&large), Some(7))).collect());
        assert_eq!(parts(&row, true).unwrap().len(), 2);
        let larger = vec![7; 3_000_000];
        let row = wide(vec![Cell::put("a", Value::Binary(&larger), Some(7))]);
        assert!(parts(&row, true).unwrap_err().contains("`a`"));
    }
}
