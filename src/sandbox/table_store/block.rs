//! The rows of a page in the form that the request asked for: PlainBuffer or row matrix.

use bytes::Bytes;

use super::service_error::{Answer, ServiceError};
use crate::model::Row;
use crate::{plainbuffer, proto};

/// The rows of one page, as they come.
pub enum Block<'a> {
    /// Nothing for no rows, else a header and the rows.
    PlainBuffer(Vec<u8>),
    /// Columns by position.
    RowMatrix {
        /// The block.
        writer: plainbuffer::MatrixWriter,
        /// Positions of the key columns that are in it.
        key: Vec<usize>,
        /// The attribute columns, in the order they were asked for.
        attributes: Vec<&'a str>,
    },
}

impl<'a> Block<'a> {
    /// An empty block of the kind `hint` (a `DataBlockType`) for a table with the key columns `key_names`.
    ///
    /// A row matrix has the key columns that are among `columns_to_get`, or all of them with `entire_primary_keys`.
    ///
    /// # Errors
    /// `OTSParameterInvalid` for an unknown kind, and for a row matrix of unnamed columns.
    pub fn new(
        hint: i32,
        key_names: &[&str],
        columns_to_get: &'a [String],
        entire_primary_keys: bool,
    ) -> Answer<Block<'a>> {
        match proto::DataBlockType::try_from(hint) {
            Ok(proto::DataBlockType::DbtPlainBuffer) => Ok(Block::PlainBuffer(Vec::new())),
            Ok(proto::DataBlockType::DbtSimpleRowMatrix) if columns_to_get.is_empty() => {
                Err(ServiceError::parameter("DBT_SIMPLE_ROW_MATRIX need at least one column to get."))
            }
            Ok(proto::DataBlockType::DbtSimpleRowMatrix) => {
                let is_asked = |name: &str| columns_to_get.iter().any(|column| column == name);
                let key: Vec<usize> = (0..key_names.len())
                    .filter(|position| entire_primary_keys || is_asked(key_names[*position]))
                    .collect();
                let mut attributes: Vec<&str> = Vec::new();
                for column in columns_to_get.iter().map(String::as_str) {
                    if !key_names.contains(&column) && !attributes.contains(&column) {
                        attributes.push(column);
                    }
                }
                let names: Vec<_> = key.iter().map(|position| key_names[*position]).collect();
                let is_entire = key.len() == key_names.len();
                let writer = plainbuffer::MatrixWriter::new(&names, &attributes, is_entire);
                Ok(Block::RowMatrix { writer, key, attributes })
            }
            Err(error) => Err(ServiceError::parameter(format!("{error}."))),
        }
    }

    /// Adds a row. A row matrix takes the newest version of each column.
    pub fn push(&mut self, row: &Row<'_>) {
        match self {
            Block::PlainBuffer(rows) => {
                if rows.is_empty() {
                    plainbuffer::write_header(rows);
                }
                plainbuffer::write_row(rows, row);
            }
            Block::RowMatrix { writer, key, attributes } => {
                let newest = |name: &&str| {
                    row.cells.iter().find(|cell| cell.name == *name).and_then(|cell| cell.value)
                };
                let key = key.iter().filter_map(|position| row.key.get(*position)).map(|(_, value)| *value);
                writer.write_row(key, attributes.iter().map(newest));
            }
        }
    }

    /// The bytes and what they are.
    pub fn finish(self) -> (Bytes, proto::DataBlockType) {
        match self {
            Block::PlainBuffer(rows) => (rows.into(), proto::DataBlockType::DbtPlainBuffer),
            Block::RowMatrix { writer, .. } => {
                (writer.finish().into(), proto::DataBlockType::DbtSimpleRowMatrix)
            }
        }
    }
}
