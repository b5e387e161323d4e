//! Rows whose cells were all expected, from the page into the columns.

use std::sync::Arc;

use super::builder::BatchBuilder;
use super::plan::{ColumnPlan, Role};
use super::typed_column::TypedColumn;
use crate::error::{Error, Kind, Result};
use crate::model::{Row, RowHasher};
use crate::plainbuffer::{CellSink, ExpectedCells, Payload};

/// The typed columns. The cells of an expected row are put into them as they are read, and taken back if the row is not
/// as expected after all.
pub struct PlacedCells {
    expected: Arc<ExpectedCells>,
    /// In plan order, as the expected cells are.
    pub(super) columns: Vec<PlacedColumn>,
    /// The row that cells are put into.
    row: usize,
    /// There are cells of that row in columns.
    is_begun: bool,
    /// How many it has and how many bytes the row is, once it is known to be as expected.
    cell_count: usize,
    data_size: u64,
    /// Cells are hashed.
    sums: bool,
    sum: u128,
    timestamp: i64,
    /// The cells were expected by a builder of another plan.
    misplaced: bool,
}

/// A typed column and what all its cells have in common.
pub(super) struct PlacedColumn {
    pub(super) values: TypedColumn,
    /// For the row-sum.
    seed: u64,
}

impl PlacedCells {
    pub(super) fn new(plan: &ColumnPlan, sums: bool) -> PlacedCells {
        let attributes = || {
            plan.columns().iter().filter_map(|column| match &column.role {
                Role::Attribute { attribute, value_type } => Some((attribute.as_str(), *value_type)),
                _ => None,
            })
        };
        let key = plan.columns().iter().filter_map(|column| match &column.role {
            Role::Key { column, column_type } => Some((column.as_str(), *column_type)),
            _ => None,
        });
        let columns = attributes().map(|(name, value_type)| PlacedColumn {
            values: TypedColumn::of(value_type),
            seed: RowHasher::column_seed(name, value_type),
        });
        PlacedCells {
            expected: Arc::new(ExpectedCells::new(key, attributes())),
            columns: columns.collect(),
            row: 0,
            cell_count: 0,
            data_size: 0,
            sums,
            sum: 0,
            timestamp: 0,
            is_begun: false,
            misplaced: false,
        }
    }

    /// Goes on at `row`; what the cells put so far add up to does not matter any more.
    fn start_row(&mut self, row: usize) {
        self.row = row;
        (self.cell_count, self.data_size, self.sum) = (0, 0, 0);
        (self.is_begun, self.misplaced) = (false, false);
    }

    #[cold]
    fn take_back(&mut self) {
        for column in &mut self.columns {
            column.values.truncate(self.row);
        }
        self.start_row(self.row);
    }
}

impl<'a> CellSink<'a> for PlacedCells {
    #[inline(always)]
    fn clear(&mut self) {
        if self.is_begun {
            self.take_back();
        }
    }

    #[inline(always)]
    fn put(&mut self, index: usize, payload: Payload<'a>, timestamp: i64) {
        self.is_begun = true;
        let Some(column) = self.columns.get_mut(index) else {
            self.misplaced = true;
            return;
        };
        if self.sums {
            let seed = RowHasher::cell_seed(column.seed, timestamp);
            let hash = match payload {
                Payload::Integer(value) => RowHasher::cell_hash(seed, &value.to_le_bytes()),
                Payload::Double(bits) => RowHasher::cell_hash(seed, &bits.to_le_bytes()),
                Payload::Boolean(value) => RowHasher::cell_hash(seed, &[u8::from(value)]),
                Payload::String(text, _) => RowHasher::cell_hash(seed, text.as_bytes()),
                Payload::Binary(bytes, _) => RowHasher::cell_hash(seed, bytes),
            };
            self.sum = self.sum.wrapping_add(hash);
        }
        if !column.values.push_payload(self.row, payload) {
            self.misplaced = true;
        }
    }

    #[inline(always)]
    fn end(&mut self, cells: usize, data_size: usize, timestamp: i64) {
        (self.cell_count, self.data_size, self.timestamp) = (cells, data_size as u64, timestamp);
    }
}

impl BatchBuilder {
    /// The cells that have a place in a typed column, for [`RowReader::next_row_expecting`].
    ///
    /// [`RowReader::next_row_expecting`]: crate::plainbuffer::RowReader::next_row_expecting
    pub fn expected(&self) -> Arc<ExpectedCells> {
        self.placed.expected.clone()
    }

    /// Where the cells of the next row go, for [`RowReader::next_row_expecting`].
    ///
    /// [`RowReader::next_row_expecting`]: crate::plainbuffer::RowReader::next_row_expecting
    pub fn placed_cells(&mut self) -> &mut PlacedCells {
        &mut self.placed
    }

    /// Adds the row that was read last, with [expected](BatchBuilder::expected) cells, if it has them, in
    /// [`BatchBuilder::placed_cells`]. The same as [`BatchBuilder::append`] of all its cells, but
    /// quicker (`otsvault bench`). Whether it was such a row.
    ///
    /// # Errors
    /// Those of [`BatchBuilder::append`]; `Internal` as well for cells that another builder expected.
    pub fn append_read(&mut self, row: &Row<'_>) -> Result<bool> {
        if self.placed.cell_count == 0 {
            return self.append(row).map(|()| false);
        }
        self.append_placed(row).inspect_err(|_| self.placed.take_back())?;
        Ok(true)
    }

    #[inline(always)]
    fn append_placed(&mut self, row: &Row<'_>) -> Result<()> {
        if self.placed.misplaced {
            return Err(Error::new(Kind::Internal, "add a row to a record batch")
                .because("its cells were placed for another plan"));
        }
        self.check_key(&row.key)?;
        self.begin_row(&row.key, self.placed.data_size)?;
        let cell_count = self.placed.cell_count;
        self.row_timestamps.push(self.rows(), self.placed.timestamp);
        self.hasher.add_cells(self.placed.sum, cell_count as u32);
        self.end_row(cell_count);
        Ok(())
    }

    /// Cells that nobody took do not stay in the way; rows counted elsewhere are known.
    pub(super) fn start_placing(&mut self) {
        let row = self.rows();
        self.placed.start_row(row);
    }
}
