//! Keys and rows as requests carry them: decoded and checked for everything that needs no table.

use super::service_error::{Answer, ServiceError};
use super::{schema, table};
use crate::model::{PrimaryKey, PrimaryKeyValue, Row};
use crate::plainbuffer::{self, DecodeError, Fault};

/// Bytes of a STRING or BINARY key value (asserted by the Java SDK's tests, as all limits here).
const MAX_KEY_VALUE: usize = 1_024;

/// Bytes of a STRING or BINARY attribute value.
const MAX_VALUE: usize = 2_097_152;

/// Attribute cells of one row change.
const MAX_CELLS: usize = 1_024;

/// Bytes of one row change, and of a whole BatchWriteRow, by the data-size rule.
pub const MAX_WRITE_SIZE: usize = 4_194_304;

/// Timestamps are below this, in milliseconds.
const MAX_TIMESTAMP: i64 = i64::MAX / 1_000;

/// Where a key stands in a request, which decides what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// A bound of a range: infinities are allowed.
    Bound,
    /// The row of a read: a whole key.
    Read,
    /// The row of a write: a whole key, maybe with the auto-increment placeholder.
    Write,
}

/// Decodes the row of a request and checks its key.
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn decode_row<'a>(bytes: &'a [u8], row: &mut Row<'a>, place: KeyPlace) -> Answer<()> {
    plainbuffer::decode_request_row(bytes, row).map_err(malformed)?;
    for (name, value) in &row.key {
        schema::check_column_name(name)?;
        check_key_value(name, *value, place)?;
    }
    if place != KeyPlace::Write && !row.cells.is_empty() {
        return Err(ServiceError::parameter("Attribute column cannot be given while reading data."));
    }
    if place != KeyPlace::Write && row.delete_marker {
        return Err(ServiceError::parameter("Delete marker cannot be given."));
    }
    Ok(())
}

fn malformed(why: impl Into<Malformed>) -> ServiceError {
    match why.into() {
        Malformed::Buffer(DecodeError { fault: Fault::TooManyKeyColumns, .. }) => schema::key_count(),
        // Own wording of both.
        Malformed::Buffer(error) => ServiceError::parameter(format!("Invalid row: {error}.")),
        Malformed::Text(text) => ServiceError::parameter(format!("Invalid row: {text}.")),
    }
}

enum Malformed {
    Buffer(DecodeError),
    Text(&'static str),
}

impl From<DecodeError> for Malformed {
    fn from(error: DecodeError) -> Malformed {
        Malformed::Buffer(error)
    }
}

impl From<&'static str> for Malformed {
    fn from(text: &'static str) -> Malformed {
        Malformed::Text(text)
    }
}

fn check_key_value(name: &str, value: PrimaryKeyValue<'_>, place: KeyPlace) -> Answer<()> {
    if value == PrimaryKeyValue::AutoIncrement && place != KeyPlace::Write {
        return Err(ServiceError::parameter("PKAutoIncr can't be used for read operations."));
    }
    let wrong_type = match value {
        PrimaryKeyValue::InfMin if place != KeyPlace::Bound => Some("VT_INF_MIN"),
        PrimaryKeyValue::InfMax if place != KeyPlace::Bound => Some("VT_INF_MAX"),
        _ => None,
    };
    if let Some(wrong) = wrong_type {
        return Err(ServiceError::parameter(format!("{wrong} is an invalid type for the primary key.")));
    }
    let length = match value {
        PrimaryKeyValue::String(text) => text.len(),
        PrimaryKeyValue::Binary(bytes) => bytes.len(),
        _ => 0,
    };
    if length > MAX_KEY_VALUE {
        return Err(ServiceError::parameter(format!(
            "The length of primary key column: '{name}' exceeds the MaxLength:{MAX_KEY_VALUE} with \
             CurrentLength:{length}."
        )));
    }
    Ok(())
}

/// A decoded key as an owned one; `None` only for the placeholder.
pub fn owned_key(row: &Row<'_>) -> Answer<PrimaryKey> {
    PrimaryKey::from_row(&row.key).ok_or_else(|| malformed("an auto-increment placeholder"))
}

/// What a row change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// PutRow.
    Put,
    /// UpdateRow.
    Update,
    /// DeleteRow.
    Delete,
}

/// Decodes a row change and checks everything that needs no table.
///
/// # Errors
/// `OTSParameterInvalid`.
pub fn decode_change<'a>(bytes: &'a [u8], row: &mut Row<'a>, kind: ChangeKind) -> Answer<()> {
    decode_row(bytes, row, KeyPlace::Write)?;
    let refuse = |text: &str| Err(ServiceError::parameter(text));
    match kind {
        ChangeKind::Delete if !row.delete_marker => {
            return refuse("Invalid request of delete row: missing RowDeleteMarker in request.");
        }
        ChangeKind::Delete if !row.cells.is_empty() => {
            return refuse("Invalid delete row request: unexpected cells in request.");
        }
        ChangeKind::Put | ChangeKind::Update if row.delete_marker => {
            return refuse("Invalid request of put/update row: unexpected RowDeleteMarker in request.");
        }
        _ if row.sequence.is_some() => return Err(malformed("a row with a sequence info")),
        _ => {}
    }
    if row.cells.len() > MAX_CELLS {
        return Err(ServiceError::parameter(format!(
            "The number of attribute columns exceeds the limit, limit count: {MAX_CELLS}, column count: {}.",
            row.cells.len()
        )));
    }
    for cell in &row.cells {
        schema::check_column_name(cell.name)?;
        if row.key.iter().any(|(name, _)| *name == cell.name) {
            let name = cell.name;
            return Err(ServiceError::parameter(format!(
                "Duplicated attribute column name with primary key column: '{name}'."
            )));
        }
        if kind == ChangeKind::Put && cell.op.is_some() {
            return Err(ServiceError::parameter(format!(
                "OpType cannot be given for column name:{} in PutRow.",
                cell.name
            )));
        }
        let length = match cell.value {
            Some(crate::model::Value::String(text)) => text.len(),
            Some(crate::model::Value::Binary(bytes)) => bytes.len(),
            _ => 0,
        };
        if length > MAX_VALUE {
            return Err(ServiceError::parameter(format!(
                "The length of attribute column: '{}' exceeds the MaxLength:{MAX_VALUE} with CurrentLength:{length}.",
                cell.name
            )));
        }
        if cell.timestamp.is_some_and(|at| !(0..MAX_TIMESTAMP).contains(&at)) {
            return Err(ServiceError::parameter("Timestamp must be in range [0, INT64_MAX/1000)."));
        }
    }
    Ok(())
}

/// Refuses a request whose rows are too big together. `operation` is named in the message.
pub fn check_size(operation: &str, sizes: impl Iterator<Item = usize>) -> Answer<()> {
    let size: usize = sizes.sum();
    if size <= MAX_WRITE_SIZE {
        return Ok(());
    }
    Err(ServiceError::parameter(format!(
        "The total data size of {operation} request exceeds the limit, limit size: {MAX_WRITE_SIZE}, data size: \
         {size}."
    )))
}

/// Bytes that a row change counts for.
pub fn size_of(row: &Row<'_>) -> usize {
    table::change_size(row)
}
