//! Bare values: type byte and payload alone, as filter operands and the bounds of partitions have them. The same
//! bytes stand inside a cell, behind their length.

use super::error::{DecodeError, Fault};
use super::wire::*;
use crate::model::{PrimaryKeyValue, Value};

/// Appends an attribute value.
pub fn write_bare_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Integer(value) => write_fixed(out, INTEGER, &value.to_le_bytes()),
        Value::Double(value) => write_fixed(out, DOUBLE, &value.to_bits().to_le_bytes()),
        Value::Boolean(value) => write_fixed(out, BOOLEAN, &[u8::from(value)]),
        Value::String(value) => write_variable(out, STRING, value.as_bytes()),
        Value::Binary(value) => write_variable(out, BLOB, value),
    }
}

/// Appends a primary key value.
pub fn write_bare_key_value(out: &mut Vec<u8>, value: PrimaryKeyValue<'_>) {
    match value {
        PrimaryKeyValue::Integer(value) => write_fixed(out, INTEGER, &value.to_le_bytes()),
        PrimaryKeyValue::String(value) => write_variable(out, STRING, value.as_bytes()),
        PrimaryKeyValue::Binary(value) => write_variable(out, BLOB, value),
        PrimaryKeyValue::AutoIncrement => write_fixed(out, AUTO_INCREMENT, &[]),
        PrimaryKeyValue::InfMin => write_fixed(out, INF_MIN, &[]),
        PrimaryKeyValue::InfMax => write_fixed(out, INF_MAX, &[]),
    }
}

/// Reads an attribute value that fills `bytes`.
pub fn decode_bare_value(bytes: &[u8]) -> Result<Value<'_>, DecodeError> {
    let (code, payload) = split_code(bytes)?;
    Ok(match code {
        INTEGER => Value::Integer(i64::from_le_bytes(fixed(payload)?)),
        DOUBLE => Value::Double(f64::from_bits(u64::from_le_bytes(fixed(payload)?))),
        BOOLEAN => match fixed::<1>(payload)? {
            [byte @ 0..=1] => Value::Boolean(byte == 1),
            [byte] => return fail(1, Fault::Boolean(byte)),
        },
        STRING => Value::String(text(payload)?),
        BLOB => Value::Binary(variable(payload)?),
        _ => return fail(0, Fault::TypeCode(code)),
    })
}

/// Reads a primary key value that fills `bytes`.
pub fn decode_bare_key_value(bytes: &[u8]) -> Result<PrimaryKeyValue<'_>, DecodeError> {
    let (code, payload) = split_code(bytes)?;
    Ok(match code {
        INTEGER => PrimaryKeyValue::Integer(i64::from_le_bytes(fixed(payload)?)),
        STRING => PrimaryKeyValue::String(text(payload)?),
        BLOB => PrimaryKeyValue::Binary(variable(payload)?),
        INF_MIN => fixed::<0>(payload).map(|_| PrimaryKeyValue::InfMin)?,
        INF_MAX => fixed::<0>(payload).map(|_| PrimaryKeyValue::InfMax)?,
        AUTO_INCREMENT => fixed::<0>(payload).map(|_| PrimaryKeyValue::AutoIncrement)?,
        _ => return fail(0, Fault::TypeCode(code)),
    })
}

fn write_fixed(out: &mut Vec<u8>, code: u8, payload: &[u8]) {
    out.push(code);
    out.extend_from_slice(payload);
}

fn write_variable(out: &mut Vec<u8>, code: u8, bytes: &[u8]) {
    debug_assert!(u32::try_from(bytes.len()).is_ok_and(|n| n < u32::MAX - 5), "a value is at most 2 MiB");
    out.push(code);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn fail<T>(offset: usize, fault: Fault) -> Result<T, DecodeError> {
    Err(DecodeError { offset, fault })
}

fn split_code(bytes: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    match bytes.split_first() {
        Some((code, payload)) => Ok((*code, payload)),
        None => fail(0, Fault::Truncated),
    }
}

fn fixed<const SIZE: usize>(payload: &[u8]) -> Result<[u8; SIZE], DecodeError> {
    match payload.split_first_chunk::<SIZE>() {
        Some((found, [])) => Ok(*found),
        Some(_) => fail(1 + SIZE, Fault::Trailing),
        None => fail(1 + payload.len(), Fault::Truncated),
    }
}

fn variable(payload: &[u8]) -> Result<&[u8], DecodeError> {
    let Some((length, bytes)) = payload.split_first_chunk::<4>() else {
        return fail(1 + payload.len(), Fault::Truncated);
    };
    let length = u32::from_le_bytes(*length) as usize;
    match bytes.len().cmp(&length) {
        std::cmp::Ordering::Equal => Ok(bytes),
        std::cmp::Ordering::Less => fail(1 + payload.len(), Fault::Truncated),
        std::cmp::Ordering::Greater => fail(5 + length, Fault::Trailing),
    }
}

fn text(payload: &[u8]) -> Result<&str, DecodeError> {
    let bytes = variable(payload)?;
    std::str::from_utf8(bytes).or_else(|error| fail(5 + error.valid_up_to(), Fault::Utf8))
}
