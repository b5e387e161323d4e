//! The cells of `_overflow` in a block of rows, already encoded, in the order in which they come in between the columns.

use std::ops::Range;

use super::column::{BatchColumns, Layout};
use crate::columnar::overflow_reader::OverflowReader;
use crate::error::{Error, Kind, Result};
use crate::model::{Cell, Value};
use crate::plainbuffer::write_cell;

/// Cells of a block, by the attribute column that comes after them.
#[derive(Debug, Default)]
pub struct OverflowCells {
    cells: Vec<OverflowCell>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct OverflowCell {
    /// It stands before this attribute column of the layout, behind all others of its row.
    pub before: usize,
    /// Row in the block.
    pub row: usize,
    /// By the service's rule.
    pub data_size: usize,
    pub crc: u8,
    bytes: Range<usize>,
}

impl OverflowCells {
    pub fn clear(&mut self) {
        self.cells.clear();
        self.bytes.clear();
    }

    /// Every cell, in the order in which they are written.
    pub fn cells(&self) -> &[OverflowCell] {
        &self.cells
    }

    pub fn bytes_of(&self, cell: &OverflowCell) -> &[u8] {
        &self.bytes[cell.bytes.clone()]
    }

    /// Takes the cells of one row of the batch. Rows come in order.
    pub fn add_row(
        &mut self,
        layout: &Layout,
        columns: &BatchColumns,
        overflow: &OverflowReader<'_>,
        index: usize,
    ) -> Result<()> {
        let mut cells = Vec::new();
        for name in overflow.names_of(index) {
            if layout.selection.has(overflow.name(name)) {
                overflow.cells(name, &mut cells)?;
            }
        }
        // Another writer may have sorted the names of the map in its own way.
        if !cells.is_sorted_by_key(|cell| cell.name) {
            cells.sort_by_key(|cell| cell.name);
        }
        for same_name in cells.chunk_by(|a, b| a.name == b.name) {
            let name = same_name[0].name;
            let before = layout.attributes.partition_point(|column| column.name.as_str() <= name);
            if !layout.selection.flatten {
                same_name.iter().try_for_each(|cell| self.add(before, index, cell))?;
                continue;
            }
            let typed = layout.attributes[..before].iter().zip(&columns.attributes).rev();
            let has_newer = typed
                .take_while(|(column, _)| column.name == name)
                .any(|(_, values)| values.present.has(index));
            if !has_newer {
                self.add(before, index, &Cell { timestamp: None, ..same_name[0] })?;
            }
        }
        Ok(())
    }

    fn add(&mut self, before: usize, index: usize, cell: &Cell<'_>) -> Result<()> {
        if cell.op.is_some() {
            return Err(operation(cell.name));
        }
        let start = self.bytes.len();
        let crc = write_cell(&mut self.bytes, cell);
        self.cells.push(OverflowCell {
            before,
            row: index % 64,
            data_size: cell.name.len()
                + cell.value.map_or(0, Value::data_size)
                + cell.timestamp.map_or(0, |_| 8),
            crc,
            bytes: start..self.bytes.len(),
        });
        Ok(())
    }

    /// Brings the cells into the order in which they are written.
    pub fn sort(&mut self) {
        // Stable: cells of one row keep their order.
        self.cells.sort_by_key(|cell| cell.before);
    }
}

impl OverflowCell {
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

#[cold]
fn operation(name: &str) -> Error {
    Error::new(Kind::Corrupt, "write a cell")
        .on(format!("of attribute `{name}`"))
        .because("a stored row has no deletes and increments")
}
