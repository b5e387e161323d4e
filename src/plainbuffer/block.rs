//! The rows of a page, in whichever of the two formats the service sent them.

use super::error::DecodeError;
use super::matrix_reader::MatrixReader;
use super::reader::RowReader;
use crate::model::Row;

/// How the rows of a page are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlockFormat {
    /// Every cell with its name and timestamp, every version.
    #[default]
    PlainBuffer,
    /// Names once per page; one version per column, without a timestamp.
    RowMatrix,
}

/// Reads the rows of one page; see [`RowReader`] and [`MatrixReader`].
#[derive(Debug, Clone)]
pub enum BlockReader<'a> {
    /// PlainBuffer.
    PlainBuffer(RowReader<'a>),
    /// Row matrix.
    RowMatrix(MatrixReader<'a>),
}

impl<'a> BlockReader<'a> {
    /// Starts at the header of `block`. An empty slice has no rows in either format.
    pub fn new(format: BlockFormat, block: &'a [u8]) -> Result<BlockReader<'a>, DecodeError> {
        Ok(match format {
            BlockFormat::PlainBuffer => BlockReader::PlainBuffer(RowReader::new(block)?),
            BlockFormat::RowMatrix => BlockReader::RowMatrix(MatrixReader::new(block)?),
        })
    }

    /// Reads the next row into `row`, whose memory is used again. `false` at the end; `row` is then empty.
    ///
    /// # Errors
    /// The reader stays at the faulty row; `row` then holds nothing to rely on.
    #[inline]
    pub fn next_row(&mut self, row: &mut Row<'a>) -> Result<bool, DecodeError> {
        match self {
            BlockReader::PlainBuffer(reader) => reader.next_row(row),
            BlockReader::RowMatrix(reader) => reader.next_row(row),
        }
    }
}
