//! The row inside a Stream record, held to what the record says it is.

use super::error::DecodeError;
use super::reader::RowReader;
use crate::model::{CellOp, PrimaryKeyValue, RecordType, Row, StreamRecord};

/// Why bytes are not the Stream record that they are said to be. Cells are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are no PlainBuffer row.
    #[error(transparent)]
    Row(#[from] DecodeError),
    /// There is no row.
    #[error("the record is empty")]
    Empty,
    /// There is more than the one row of a record.
    #[error("the record goes on at byte {0}, after its row")]
    Trailing(usize),
    /// The row has no place in its shard, so nothing could be said about its order.
    #[error("the record has no sequence info")]
    NoSequenceInfo,
    /// The key has an infinity or a placeholder, which no stored row has.
    #[error("the record's primary key is not one of a stored row")]
    NotAStoredKey,
    /// A put cell has no timestamp, so it could not be stored again as it was.
    #[error("put cell {0} of the record has no timestamp")]
    NoTimestamp(usize),
    /// A put record deletes something.
    #[error("cell {0} of a put record is a delete")]
    DeleteInPut(usize),
    /// An increment, which the service resolves before it records it.
    #[error("cell {0} of the record is an increment")]
    Increment(usize),
    /// A delete record has cells.
    #[error("a delete record has cells")]
    CellsInDelete,
    /// Another record than a delete has the delete marker.
    #[error("a record that is no delete has the delete marker")]
    DeleteMarker,
}

/// Reads the `record` of a GetStreamRecord answer, which said that it is a `record_type`.
///
/// # Errors
/// See [`RecordError`]; nothing of a record is skipped or guessed.
pub fn decode_record(record_type: RecordType, bytes: &[u8]) -> Result<StreamRecord<'_>, RecordError> {
    let row = decode_one_row(bytes)?;
    let sequence = row.sequence.ok_or(RecordError::NoSequenceInfo)?;
    if record_type != RecordType::Delete && row.delete_marker {
        return Err(RecordError::DeleteMarker);
    }
    if record_type == RecordType::Delete && !row.cells.is_empty() {
        return Err(RecordError::CellsInDelete);
    }
    for (index, cell) in row.cells.iter().enumerate() {
        match cell.op {
            None if cell.timestamp.is_none() => return Err(RecordError::NoTimestamp(index)),
            None => {}
            Some(CellOp::Increment) => return Err(RecordError::Increment(index)),
            Some(CellOp::DeleteAllVersions | CellOp::DeleteOneVersion) if record_type == RecordType::Put => {
                return Err(RecordError::DeleteInPut(index));
            }
            Some(CellOp::DeleteAllVersions | CellOp::DeleteOneVersion) => {}
        }
    }
    Ok(StreamRecord { record_type, sequence, row })
}

/// Reads the `origin_record` of a GetStreamRecord answer: the key, and what the columns named in the Stream's
/// definition held before the change.
pub fn decode_origin_record(bytes: &[u8]) -> Result<Row<'_>, RecordError> {
    decode_one_row(bytes)
}

fn decode_one_row(bytes: &[u8]) -> Result<Row<'_>, RecordError> {
    let mut reader = RowReader::new(bytes)?;
    let mut row = Row::default();
    if !reader.next_row(&mut row)? {
        return Err(RecordError::Empty);
    }
    if reader.offset() != bytes.len() {
        return Err(RecordError::Trailing(reader.offset()));
    }
    let is_stored = |value: &PrimaryKeyValue<'_>| {
        !matches!(value, PrimaryKeyValue::InfMin | PrimaryKeyValue::InfMax | PrimaryKeyValue::AutoIncrement)
    };
    match row.key.iter().all(|(_, value)| is_stored(value)) {
        true => Ok(row),
        false => Err(RecordError::NotAStoredKey),
    }
}
