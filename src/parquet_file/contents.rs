//! What the rows of a file add up to, read back from its bytes.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::FileReader;
use crate::columnar::{ColumnPlan, RowsReader};
use crate::model::{KeyRange, PrimaryKey, PrimaryKeyValue, Row, RowHasher, RowSum};
use crate::{Error, Kind, Result};

/// Figures of the rows that a file really holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows.
    pub rows: u64,
    /// Cell versions.
    pub cells: u64,
    /// Sum over the rows.
    pub row_sum: RowSum,
}

/// Bytes of a STRING or BINARY attribute value at most (service limit: 2 MB).
const MAX_VALUE_BYTES: usize = 2 << 20;

/// Bytes of a STRING or BINARY primary key value, and of a column's name, at most (service limits).
const MAX_KEY_VALUE_BYTES: usize = 1_024;
const MAX_NAME_BYTES: usize = 255;

/// Adds up the rows of a file batch by batch, and checks their keys.
#[derive(Debug)]
pub struct ContentsCheck {
    plan: Arc<ColumnPlan>,
    range: KeyRange,
    contents: Contents,
    hasher: RowHasher,
    last_key: Option<PrimaryKey>,
    logical_bytes: u64,
    most_bytes: u64,
}

impl ContentsCheck {
    /// For a file of `plan` whose keys must ascend inside `range`, with at most `most_bytes` by the service's
    /// data-size rule: where few stored bytes stand for many, nobody goes on to decode what was not announced.
    pub fn new(plan: Arc<ColumnPlan>, range: KeyRange, most_bytes: u64) -> ContentsCheck {
        let (contents, hasher) = Default::default();
        ContentsCheck { plan, range, contents, hasher, last_key: None, logical_bytes: 0, most_bytes }
    }

    /// The next batch of the file.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for rows that make no sense, keys that do not ascend, and a key outside the range.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let mut reader = RowsReader::new(batch, &plan)?;
        // Two rows take turns, so that each can be compared with the one before it without a copy.
        let (mut row, mut previous) = (Row::default(), Row::default());
        let mut is_first = true;
        while reader.read(&mut row)? {
            if is_first {
                is_first = false;
                let key = key_of(&row)?;
                if self.last_key.as_ref().is_some_and(|last| *last >= key) {
                    return Err(wrong("its keys do not ascend"));
                }
                if !self.range.contains(&key) {
                    return Err(wrong("it has a key outside its interval"));
                }
            } else if !is_after(&row, &previous) {
                return Err(wrong("its keys do not ascend"));
            }
            self.logical_bytes = self.logical_bytes.saturating_add(data_size(&row)?);
            if self.logical_bytes > self.most_bytes {
                return Err(wrong("it has more data than its entry says"));
            }
            self.contents.rows += 1;
            self.contents.cells += row.cells.len() as u64;
            self.contents.row_sum += self.hasher.row(&row);
            std::mem::swap(&mut row, &mut previous);
        }
        if !is_first {
            let last_key = key_of(&previous)?;
            if !self.range.contains(&last_key) {
                return Err(wrong("it has a key outside its interval"));
            }
            self.last_key = Some(last_key);
        }
        Ok(())
    }

    /// What the rows add up to.
    pub fn contents(&self) -> Contents {
        self.contents
    }

    /// Their bytes by the service's data-size rule.
    pub fn logical_bytes(&self) -> u64 {
        self.logical_bytes
    }
}

/// Bytes of a row by the service's data-size rule; an error for one that no table can hold.
fn data_size(row: &Row<'_>) -> Result<u64> {
    let mut size = 0;
    for (name, value) in &row.key {
        let value_size = match value {
            PrimaryKeyValue::String(text) => text.len(),
            PrimaryKeyValue::Binary(bytes) => bytes.len(),
            _ => 8,
        };
        if value_size > MAX_KEY_VALUE_BYTES {
            return Err(wrong("a key value is longer than the service allows"));
        }
        size += name.len() + value_size;
    }
    for cell in &row.cells {
        let value_size = cell.value.map_or(0, |value| value.data_size());
        if value_size > MAX_VALUE_BYTES || cell.name.len() > MAX_NAME_BYTES || cell.name.is_empty() {
            return Err(wrong("a cell is longer than the service allows"));
        }
        size += cell.name.len() + value_size + if cell.timestamp.is_some() { 8 } else { 0 };
    }
    Ok(size as u64)
}

fn is_after(row: &Row<'_>, previous: &Row<'_>) -> bool {
    let values = row.key.iter().map(|(_, value)| value);
    values.gt(previous.key.iter().map(|(_, value)| value))
}

fn key_of(row: &Row<'_>) -> Result<PrimaryKey> {
    PrimaryKey::from_row(&row.key).ok_or_else(|| wrong("a row has no key"))
}

#[cold]
fn wrong(reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "read a data file").because(reason)
}

/// Decodes every row of a file and adds it up. Costs a whole decode; no more memory than a batch.
///
/// # Errors
/// [`Kind::Corrupt`] for anything that does not decode, for keys that do not ascend, and for a key outside `range`.
pub fn read_contents(file: &FileReader, plan: &ColumnPlan, range: &KeyRange) -> Result<Contents> {
    let mut check = ContentsCheck::new(Arc::new(plan.clone()), range.clone(), u64::MAX);
    for batch in file.batches()? {
        check.batch(&batch?)?;
    }
    Ok(check.contents())
}
