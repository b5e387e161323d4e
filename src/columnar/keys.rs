//! The primary keys of a record batch, compared where they lie.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;

use super::plan::{ColumnPlan, Role};
use crate::error::{Error, Kind, Result};
use crate::model::{KeyPart, PrimaryKey, PrimaryKeyType};

/// The primary key columns of a record batch, of rows or of Stream records. Clones share the arrays.
#[derive(Debug, Clone)]
pub struct KeyColumns {
    columns: Vec<KeyColumn>,
    rows: usize,
}

#[derive(Debug, Clone)]
enum KeyColumn {
    Integer(Int64Array),
    String(StringArray),
    Binary(BinaryArray),
}

impl KeyColumns {
    /// The keys of a batch whose first columns are the key columns of `plan`.
    ///
    /// # Errors
    /// `Corrupt` if they are of other types or have nulls.
    pub fn new(batch: &RecordBatch, plan: &ColumnPlan) -> Result<KeyColumns> {
        let mut columns = Vec::with_capacity(plan.key_count());
        for (index, planned) in plan.columns().iter().enumerate() {
            let Role::Key { column_type, .. } = &planned.role else { break };
            let array = batch.columns().get(index).filter(|array| array.null_count() == 0);
            let column = array.and_then(|array| match column_type {
                PrimaryKeyType::Integer => {
                    array.as_primitive_opt::<Int64Type>().cloned().map(KeyColumn::Integer)
                }
                PrimaryKeyType::String => array.as_string_opt().cloned().map(KeyColumn::String),
                PrimaryKeyType::Binary => array.as_binary_opt().cloned().map(KeyColumn::Binary),
            });
            columns.push(column.ok_or_else(|| corrupt("a key column is of another type or has nulls"))?);
        }
        Ok(KeyColumns { columns, rows: batch.num_rows() })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The order of the key at `row` and one of a batch with the same key columns.
    #[inline]
    pub fn compare(&self, row: usize, other: &KeyColumns, other_row: usize) -> Ordering {
        for (column, other) in self.columns.iter().zip(&other.columns) {
            let order = match (column, other) {
                (KeyColumn::Integer(a), KeyColumn::Integer(b)) => a.value(row).cmp(&b.value(other_row)),
                (KeyColumn::String(a), KeyColumn::String(b)) => {
                    a.value(row).as_bytes().cmp(b.value(other_row).as_bytes())
                }
                (KeyColumn::Binary(a), KeyColumn::Binary(b)) => a.value(row).cmp(b.value(other_row)),
                // Never of one table.
                _ => Ordering::Equal,
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    /// The order of the key at `row` and a bound.
    pub fn compare_to(&self, row: usize, bound: &PrimaryKey) -> Ordering {
        for (column, part) in self.columns.iter().zip(bound.parts()) {
            let order = match (column, part) {
                (_, KeyPart::InfMin) => Ordering::Greater,
                (_, KeyPart::InfMax) => Ordering::Less,
                (KeyColumn::Integer(a), KeyPart::Integer(b)) => a.value(row).cmp(b),
                (KeyColumn::String(a), KeyPart::String(b)) => a.value(row).as_bytes().cmp(b.as_bytes()),
                (KeyColumn::Binary(a), KeyPart::Binary(b)) => a.value(row).cmp(b.as_slice()),
                // Never of one table.
                _ => Ordering::Equal,
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    /// The key at `row`, which there must be.
    pub fn key(&self, row: usize) -> PrimaryKey {
        let part = |column: &KeyColumn| match column {
            KeyColumn::Integer(array) => KeyPart::Integer(array.value(row)),
            KeyColumn::String(array) => KeyPart::String(array.value(row).to_owned()),
            KeyColumn::Binary(array) => KeyPart::Binary(array.value(row).to_owned()),
        };
        PrimaryKey(self.columns.iter().map(part).collect())
    }

    /// The first of `rows`, which ascend, whose key is not below `bound`; their end where all are.
    pub fn first_from(&self, rows: Range<usize>, bound: &PrimaryKey) -> usize {
        partition_point(rows, |row| self.compare_to(row, bound) == Ordering::Less)
    }

    /// As [`KeyColumns::first_from`], for a key that is probably near the first of `rows`: twice as far with every look.
    pub fn first_near(&self, rows: Range<usize>, other: &KeyColumns, other_row: usize) -> usize {
        let is_below = |row: usize| self.compare(row, other, other_row) == Ordering::Less;
        let (mut low, mut step) = (rows.start, 1);
        while low + step < rows.end && is_below(low + step) {
            low += step;
            step *= 2;
        }
        partition_point(low..rows.end.min(low + step + 1), is_below)
    }

    /// The first row, if any, whose key is not above the one before it.
    pub fn first_not_ascending(&self) -> Option<usize> {
        (1..self.rows).find(|row| self.compare(row - 1, self, *row) != Ordering::Less)
    }
}

/// The first of `rows` for which `is_before` is false, when all for which it is true come first.
fn partition_point(rows: Range<usize>, is_before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (rows.start, rows.end);
    while low < high {
        let middle = low + (high - low) / 2;
        match is_before(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

#[cold]
fn corrupt(reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "read the keys of a record batch").because(reason)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::columnar::{BatchBuilder, Sample};
    use crate::model::{PrimaryKeyColumn, PrimaryKeyValue, Row};

    #[test]
    fn keys_in_a_batch_are_found_as_they_would_be_in_a_sorted_list() {
        let column = |name: &str, column_type| PrimaryKeyColumn {
            name: name.to_owned(),
            column_type,
            auto_increment: false,
        };
        let columns = [column("s", PrimaryKeyType::String), column("i", PrimaryKeyType::Integer)];
        let plan = Arc::new(Sample::default().plan(&columns, &[]).unwrap());
        let mut builder = BatchBuilder::new(plan.clone());
        let mut keys = Vec::new();
        for (text, number) in [("", 5), ("a", -3), ("a", 4), ("a\0", 0), ("b", i64::MIN), ("é", 1)] {
            let key = vec![("s", PrimaryKeyValue::String(text)), ("i", PrimaryKeyValue::Integer(number))];
            keys.push(PrimaryKey::from_row(&key).unwrap());
            builder.append(&Row { key, ..Row::default() }).unwrap();
        }
        let found = KeyColumns::new(&builder.finish().unwrap().record_batch, &plan).unwrap();
        assert_eq!(found.first_not_ascending(), None);
        let mut bounds = keys.clone();
        bounds.extend(keys.iter().map(|key| PrimaryKey(vec![key.parts()[0].clone(), KeyPart::InfMax])));
        bounds.extend([PrimaryKey::inf_min(2), PrimaryKey::inf_max(2)]);
        for start in 0..keys.len() {
            for bound in &bounds {
                let expected = start + keys[start..].iter().filter(|key| *key < bound).count();
                assert_eq!(found.first_from(start..keys.len(), bound), expected, "{start} {bound}");
            }
            for (row, key) in keys.iter().enumerate() {
                let expected = start + keys[start..].iter().filter(|other| *other < key).count();
                assert_eq!(found.first_near(start..keys.len(), &found, row), expected);
                assert_eq!(found.key(row), *key);
            }
        }
    }
}
