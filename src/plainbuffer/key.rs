//! Primary keys and prefixes of them as buffers: the bounds of a range, the next key of a page, split points.

use super::error::{DecodeError, Fault};
use super::reader::decode_request_row;
use super::writer::encode_row;
use crate::model::{PrimaryKey, Row};

/// Writes `key` with the column names of the table. Columns beyond the shorter of the two are left out: a prefix of
/// a key is written as a prefix.
pub fn encode_key<N: AsRef<str>>(names: &[N], key: &PrimaryKey) -> Vec<u8> {
    let key = names.iter().zip(key.parts()).map(|(name, part)| (name.as_ref(), part.as_value())).collect();
    encode_row(&Row { key, ..Row::default() })
}

/// Reads a key or a prefix of one. Infinities are allowed, the auto-increment placeholder is not. Zero bytes after
/// it are ignored, as in [`decode_request_row`].
pub fn decode_key(buffer: &[u8]) -> Result<PrimaryKey, DecodeError> {
    decode_named_key(buffer).map(|(_, key)| key)
}

/// As [`decode_key`], with the column names.
pub fn decode_named_key(buffer: &[u8]) -> Result<(Vec<&str>, PrimaryKey), DecodeError> {
    let mut row = Row::default();
    decode_request_row(buffer, &mut row)?;
    let key = PrimaryKey::from_row(&row.key);
    match key {
        Some(key) if row.cells.is_empty() && !row.delete_marker && row.sequence.is_none() => {
            Ok((row.key.into_iter().map(|(name, _)| name).collect(), key))
        }
        _ => Err(DecodeError { offset: 0, fault: Fault::NotAKey }),
    }
}
