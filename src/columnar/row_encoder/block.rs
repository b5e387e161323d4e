//! Up to 64 rows at once: their sizes, then their bytes.

use std::ops::Range;

use super::column::{BatchColumns, Column, Data, Layout, Values};
use super::overflow_cells::OverflowCells;
use super::{EncodedRows, RowEnd};
use crate::columnar::overflow_reader::OverflowReader;
use crate::error::{Error, Kind, Result};
use crate::plainbuffer::{CellTime, DATA_TAG, add_cell, row_end};

/// Rows of a block: one word of a null bitmap.
const ROWS: usize = 64;

/// The rows in hand: bits and indexes count from row `64 * word` of the batch.
#[derive(Debug)]
pub struct Block {
    word: usize,
    /// Which of the 64 rows are to be written.
    rows: u64,
    sizes: [RowSize; ROWS],
    times: [CellTime; ROWS],
    overflow: OverflowCells,
    cursors: Cursors,
}

/// Where the next cell of each row goes, and the row's checksum so far.
#[derive(Debug)]
struct Cursors {
    ends: [usize; ROWS],
    crcs: [u8; ROWS],
}

#[derive(Debug, Clone, Copy, Default)]
struct RowSize {
    bytes: usize,
    data: usize,
    cells: usize,
}

impl Default for Block {
    fn default() -> Block {
        Block {
            word: 0,
            rows: 0,
            sizes: [RowSize::default(); ROWS],
            times: [CellTime::default(); ROWS],
            overflow: OverflowCells::default(),
            cursors: Cursors { ends: [0; ROWS], crcs: [0; ROWS] },
        }
    }
}

impl RowSize {
    #[inline(always)]
    fn add(&mut self, other: RowSize) {
        self.bytes += other.bytes;
        self.data += other.data;
        self.cells += other.cells;
    }
}

impl Block {
    /// Rows to be written.
    pub fn len(&self) -> usize {
        self.rows.count_ones() as usize
    }

    /// Takes the first of `rows` of the batch, up to the next multiple of 64, and works out how large they will be.
    ///
    /// # Errors
    /// Everything that can be wrong with them.
    pub fn measure(
        &mut self,
        layout: &Layout,
        columns: &BatchColumns,
        overflow: &OverflowReader<'_>,
        rows: Range<usize>,
    ) -> Result<()> {
        self.word = rows.start / ROWS;
        let first = self.word * ROWS;
        self.rows = low_bits(rows.end - first) & !low_bits(rows.start - first);
        // What dense columns of fixed size add is the same for all rows.
        let mut every = RowSize { bytes: row_end(0).len(), data: 0, cells: 0 };
        self.sizes = [RowSize::default(); ROWS];
        for (column, values) in layout.keys.iter().zip(&columns.keys) {
            let present = values.present.word(self.word);
            if self.rows & !present != 0 {
                return Err(bad_cell(column, "it is null"));
            }
            self.measure_column(column, values, present, false, &mut every);
        }
        // Keys are no cells, and have no tag of their own before them.
        every.cells = 0;
        self.measure_attributes(layout, columns, &mut every)?;
        self.measure_overflow(layout, columns, overflow)?;
        each(self.rows, |row| {
            let size = &mut self.sizes[row];
            size.add(every);
            size.bytes += usize::from(size.cells > 0);
        });
        Ok(())
    }

    fn measure_attributes(
        &mut self,
        layout: &Layout,
        columns: &BatchColumns,
        every: &mut RowSize,
    ) -> Result<()> {
        let timed = !layout.selection.flatten;
        let row_timestamps = columns.row_timestamps.present.word(self.word);
        if timed {
            let values = &columns.row_timestamps.values[self.word * ROWS..];
            each(self.rows & row_timestamps, |row| self.times[row] = CellTime::new(values[row]));
        }
        let mut other_type = 0;
        for (column, values) in layout.attributes.iter().zip(&columns.attributes) {
            let present = self.rows & values.present.word(self.word);
            if present == 0 {
                other_type &= if column.same_name { u64::MAX } else { 0 };
                continue;
            }
            let own = values.own_timestamps.as_ref().map_or(0, |own| own.present.word(self.word));
            if present & !(row_timestamps | own) != 0 {
                return Err(bad_cell(column, "it has a value and no timestamp"));
            }
            if column.same_name && present & other_type != 0 {
                return Err(bad_cell(column, "it has newest values of two types"));
            }
            other_type = present | if column.same_name { other_type } else { 0 };
            self.measure_column(column, values, present, timed, every);
        }
        Ok(())
    }

    /// Adds what one column adds to the rows in `present`.
    #[inline]
    fn measure_column(
        &mut self,
        column: &Column,
        values: &Values,
        present: u64,
        timed: bool,
        every: &mut RowSize,
    ) {
        let template = &column.template;
        let (bytes, value) = match &values.data {
            _ if column.is_generated => (template.placeholder_size(), 8),
            Data::Words(_) => (template.word_size(timed), 8),
            Data::Booleans(_) => (template.boolean_size(timed), 1),
            Data::Bytes { offsets, .. } => {
                let offsets = &offsets[self.word * ROWS..];
                each(present & self.rows, |row| {
                    let length = (offsets[row + 1] - offsets[row]) as usize;
                    self.sizes[row].bytes += length;
                    self.sizes[row].data += length;
                });
                (template.bytes_size(timed), 0)
            }
        };
        let size = RowSize { bytes, data: column.name.len() + value + if timed { 8 } else { 0 }, cells: 1 };
        if self.rows & !present == 0 {
            every.add(size);
        } else {
            each(present & self.rows, |row| self.sizes[row].add(size));
        }
    }

    fn measure_overflow(
        &mut self,
        layout: &Layout,
        columns: &BatchColumns,
        overflow: &OverflowReader<'_>,
    ) -> Result<()> {
        self.overflow.clear();
        let mut rows = self.rows & columns.overflow.word(self.word);
        while rows != 0 {
            let index = self.word * ROWS + rows.trailing_zeros() as usize;
            self.overflow.add_row(layout, columns, overflow, index)?;
            rows &= rows - 1;
        }
        self.overflow.sort();
        for cell in self.overflow.cells() {
            self.sizes[cell.row].add(RowSize { bytes: cell.size(), data: cell.data_size, cells: 1 });
        }
        Ok(())
    }

    /// Leaves out the rows behind the first one that brings them all to `max_bytes`.
    pub fn cut(&mut self, max_bytes: usize) {
        let (mut sum, mut rest) = (0, self.rows);
        while rest != 0 && sum < max_bytes {
            sum += self.sizes[rest.trailing_zeros() as usize].bytes;
            rest &= rest - 1;
        }
        self.rows &= !rest;
    }

    /// Appends the rows to `into`.
    pub fn write(&mut self, layout: &Layout, columns: &BatchColumns, into: &mut EncodedRows) {
        let start = into.bytes();
        let mut end = start;
        self.cursors.crcs = [0; ROWS];
        each(self.rows, |row| {
            let RowSize { bytes, data, cells } = self.sizes[row];
            self.cursors.ends[row] = end - start;
            end += bytes;
            into.ends.push(RowEnd { end, data_size: data, cells });
        });
        let out = into.room(start..end);
        for (column, values) in layout.keys.iter().zip(&columns.keys) {
            self.cursors.column(column, values, self.word, self.rows, |_| None, out);
        }
        each(self.rows, |row| {
            if self.sizes[row].cells > 0 {
                self.cursors.bytes(out, row, &[DATA_TAG]);
            }
        });
        let mut overflow = self.overflow.cells().iter().peekable();
        let mut write_overflow = |cursors: &mut Cursors, before: usize, out: &mut [u8]| {
            while let Some(cell) = overflow.next_if(|cell| cell.before <= before) {
                // The row may have been cut off.
                if self.rows >> cell.row & 1 == 1 {
                    let bytes = self.overflow.bytes_of(cell);
                    cursors.cell(out, cell.row, bytes.len(), |into| {
                        into.copy_from_slice(bytes);
                        cell.crc
                    });
                }
            }
        };
        for (index, (column, values)) in layout.attributes.iter().zip(&columns.attributes).enumerate() {
            write_overflow(&mut self.cursors, index, out);
            let present = self.rows & values.present.word(self.word);
            if present == 0 {
                continue;
            }
            let cursors = &mut self.cursors;
            if layout.selection.flatten {
                cursors.column(column, values, self.word, present, |_| None, out);
                continue;
            }
            let mut of_row = present;
            if let Some(own) = &values.own_timestamps {
                of_row &= !own.present.word(self.word);
                let times = &own.values[self.word * ROWS..];
                let time = |row: usize| Some(CellTime::new(times[row]));
                cursors.column(column, values, self.word, present & !of_row, time, out);
            }
            cursors.column(column, values, self.word, of_row, |row| Some(self.times[row]), out);
        }
        write_overflow(&mut self.cursors, usize::MAX, out);
        each(self.rows, |row| {
            let end = row_end(self.cursors.crcs[row]);
            self.cursors.bytes(out, row, &end);
        });
    }
}

impl Cursors {
    /// Writes the values of one column into the `rows` that have one.
    #[inline]
    fn column(
        &mut self,
        column: &Column,
        values: &Values,
        word: usize,
        rows: u64,
        time: impl Fn(usize) -> Option<CellTime>,
        out: &mut [u8],
    ) {
        let template = &column.template;
        let timed = rows != 0 && time(rows.trailing_zeros() as usize).is_some();
        match &values.data {
            _ if column.is_generated => {
                let size = template.placeholder_size();
                each(rows, |row| self.cell(out, row, size, |cell| template.write_placeholder(cell)));
            }
            Data::Words(words) => {
                let (words, size) = (&words[word * ROWS..], template.word_size(timed));
                each(rows, |row| {
                    let value = words[row] as u64;
                    self.cell(out, row, size, |cell| template.write_word(cell, value, time(row)));
                });
            }
            Data::Booleans(bits) => {
                let size = template.boolean_size(timed);
                each(rows, |row| {
                    let value = bits.value(word * ROWS + row);
                    self.cell(out, row, size, |cell| template.write_boolean(cell, value, time(row)));
                });
            }
            Data::Bytes { offsets, bytes } => {
                let (offsets, size) = (&offsets[word * ROWS..], template.bytes_size(timed));
                each(rows, |row| {
                    let value = &bytes[offsets[row] as usize..offsets[row + 1] as usize];
                    let size = size + value.len();
                    self.cell(out, row, size, |cell| template.write_bytes(cell, value, time(row)));
                });
            }
        }
    }

    /// Gives `write` the next `size` bytes of a row; it returns the checksum of the cell it writes.
    #[inline(always)]
    fn cell(&mut self, out: &mut [u8], row: usize, size: usize, write: impl FnOnce(&mut [u8]) -> u8) {
        let start = self.ends[row];
        let end = start + size;
        let crc = write(&mut out[start..end]);
        self.ends[row] = end;
        self.crcs[row] = add_cell(self.crcs[row], crc);
    }

    /// Bytes of a row that are no cell.
    #[inline(always)]
    fn bytes(&mut self, out: &mut [u8], row: usize, bytes: &[u8]) {
        let start = self.ends[row];
        self.ends[row] = start + bytes.len();
        out[start..start + bytes.len()].copy_from_slice(bytes);
    }
}

/// Bits of the first `count` rows, of 64.
fn low_bits(count: usize) -> u64 {
    if count < ROWS { (1 << count) - 1 } else { u64::MAX }
}

/// Visits the rows in `rows`; a full block without a look at the bits.
#[inline(always)]
fn each(rows: u64, mut visit: impl FnMut(usize)) {
    if rows == u64::MAX {
        (0..ROWS).for_each(visit);
    } else {
        let mut rest = rows;
        while rest != 0 {
            visit(rest.trailing_zeros() as usize);
            rest &= rest - 1;
        }
    }
}

#[cold]
fn bad_cell(column: &Column, reason: &'static str) -> Error {
    Error::new(Kind::Corrupt, "read a cell").on(format!("of column `{}`", column.name)).because(reason)
}
