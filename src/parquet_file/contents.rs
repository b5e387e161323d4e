//! What the rows of a file add up to, read back from its bytes.

use super::FileReader;
use crate::columnar::{ColumnPlan, RowsReader};
use crate::model::{KeyRange, PrimaryKey, Row, RowHasher, RowSum};
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

/// Decodes every row of a file and adds it up. Costs a whole decode; no more memory than a batch.
///
/// # Errors
/// [`Kind::Corrupt`] for anything that does not decode, for keys that do not ascend, and for a key outside `range`.
pub fn read_contents(file: &FileReader, plan: &ColumnPlan, range: &KeyRange) -> Result<Contents> {
    let wrong = |reason: &str| Error::new(Kind::Corrupt, "read a data file").because(reason.to_owned());
    let mut contents = Contents::default();
    let mut hasher = RowHasher::default();
    let mut last_key: Option<PrimaryKey> = None;
    for batch in file.batches()? {
        let batch = batch?;
        let mut reader = RowsReader::new(&batch, plan)?;
        let mut row = Row::default();
        while reader.read(&mut row)? {
            let key = PrimaryKey::from_row(&row.key).ok_or_else(|| wrong("a row has no key"))?;
            if !range.contains(&key) {
                return Err(wrong("it has a key outside its interval"));
            }
            if last_key.is_some_and(|last| last >= key) {
                return Err(wrong("its keys do not ascend"));
            }
            last_key = Some(key);
            contents.rows += 1;
            contents.cells += row.cells.len() as u64;
            contents.row_sum += hasher.row(&row);
        }
    }
    Ok(contents)
}
