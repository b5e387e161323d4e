//! Record batches to the rows that write requests carry. The hot path of a restore.
//!
//! Rows are made in blocks of 64, column by column: first how large each row will be, then its cells, each column
//! writing to all rows of the block before the next one does. So a type is looked at once per block instead of once per
//! cell, a column costs one word of its null bitmap where it has nothing, and cells of `_overflow` come in between.

mod block;
mod column;
mod overflow_cells;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;

use self::block::Block;
use self::column::{BatchColumns, Layout};
use super::plan::{ColumnPlan, Role};
use super::reader::RowsReader;
use crate::error::{Error, Kind, Result};
use crate::model::PrimaryKeyType;

/// What of the rows is written. The default is everything, as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSelection {
    /// These attributes alone; `None`: all. The primary key is always written.
    pub attributes: Option<BTreeSet<String>>,
    /// The newest version of each attribute alone, without its timestamp: the service assigns a new one.
    pub flatten: bool,
    /// The primary key column in whose place the auto-increment placeholder is written.
    pub auto_increment: Option<String>,
}

impl RowSelection {
    fn has(&self, attribute: &str) -> bool {
        self.attributes.as_ref().is_none_or(|attributes| attributes.contains(attribute))
    }
}

/// Makes the rows of batches of one plan into PlainBuffer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    plan: Arc<ColumnPlan>,
    layout: Arc<Layout>,
}

/// The rows of one record batch that have not been encoded yet. Owns what it needs of the batch.
#[derive(Debug)]
pub struct BatchRows {
    layout: Arc<Layout>,
    batch: RecordBatch,
    columns: BatchColumns,
    row: usize,
    /// Kept for its memory.
    block: Box<Block>,
}

/// Rows as requests carry them (each a buffer of its own, header included), one behind the other.
#[derive(Debug, Default)]
pub struct EncodedRows {
    /// As long as it ever was; the rows are in front. Memory that is kept need not be cleared.
    bytes: Vec<u8>,
    ends: Vec<RowEnd>,
}

#[derive(Debug, Clone, Copy)]
struct RowEnd {
    end: usize,
    data_size: usize,
    cells: usize,
}

/// One row of [`EncodedRows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutRow<'a> {
    /// A PlainBuffer of this row alone.
    pub bytes: &'a [u8],
    /// Bytes by the service's data-size rule: names and values, and 8 for each timestamp written.
    pub data_size: usize,
    /// Attribute cells.
    pub cells: usize,
}

impl EncodedRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The row at `index`, if there are so many.
    pub fn get(&self, index: usize) -> Option<PutRow<'_>> {
        let RowEnd { end, data_size, cells } = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].end);
        Some(PutRow { bytes: &self.bytes[start..end], data_size, cells })
    }

    /// The rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PutRow<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&RowEnd { end, data_size, cells }| {
            let bytes = &self.bytes[start..end];
            start = end;
            PutRow { bytes, data_size, cells }
        })
    }

    /// Bytes of all rows.
    pub fn bytes(&self) -> usize {
        self.ends.last().map_or(0, |last| last.end)
    }

    /// The bytes at `place`, whatever they were before.
    fn room(&mut self, place: Range<usize>) -> &mut [u8] {
        if self.bytes.len() < place.end {
            self.bytes.resize(place.end.max(2 * self.bytes.len()), 0);
        }
        &mut self.bytes[place]
    }
}

impl RowEncoder {
    /// An encoder for batches of `plan`.
    ///
    /// # Errors
    /// `Usage` if the auto-increment column is no INTEGER primary key column behind the first of the plan.
    pub fn new(plan: Arc<ColumnPlan>, selection: RowSelection) -> Result<RowEncoder> {
        if let Some(generated) = &selection.auto_increment {
            // The first primary key column is never generated (service rule).
            let could_be = plan.columns().iter().skip(1).any(|column| match &column.role {
                Role::Key { column, column_type } => {
                    column == generated && *column_type == PrimaryKeyType::Integer
                }
                _ => false,
            });
            if !could_be {
                return Err(Error::new(Kind::Usage, "let the service assign key values")
                    .on(format!("of column `{generated}`"))
                    .because("it is not an INTEGER primary key column behind the first one"));
            }
        }
        let layout = Arc::new(Layout::new(&plan, selection));
        Ok(RowEncoder { plan, layout })
    }

    /// The rows of `batch`, none of them encoded yet.
    ///
    /// # Errors
    /// `Corrupt` if the columns of the batch are not those of the plan.
    pub fn batch(&self, batch: &RecordBatch) -> Result<BatchRows> {
        RowsReader::new(batch, &self.plan)?;
        Ok(BatchRows {
            layout: Arc::clone(&self.layout),
            columns: BatchColumns::new(&self.layout, batch)?,
            batch: batch.clone(),
            row: 0,
            block: Box::default(),
        })
    }
}

impl BatchRows {
    /// Rows not encoded yet.
    pub fn remaining(&self) -> usize {
        self.batch.num_rows() - self.row
    }

    /// Encodes the next rows into `into`, whose memory is reused: up to the first that brings them to `max_bytes`.
    /// `false` at the end of the batch. CPU work: see `otsvault bench`.
    ///
    /// # Errors
    /// `Corrupt` if a value has no timestamp, or a cell makes no sense in a stored row.
    pub fn encode(&mut self, max_bytes: usize, into: &mut EncodedRows) -> Result<bool> {
        into.ends.clear();
        let overflow = self.layout.overflow_of(&self.batch)?;
        while self.remaining() > 0 && into.bytes() < max_bytes {
            let rows = self.row..self.batch.num_rows();
            self.block.measure(&self.layout, &self.columns, &overflow, rows)?;
            self.block.cut(max_bytes - into.bytes());
            self.block.write(&self.layout, &self.columns, into);
            self.row += self.block.len();
        }
        Ok(!into.is_empty())
    }
}
