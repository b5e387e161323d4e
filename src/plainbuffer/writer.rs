//! Rows into a buffer.

use super::bare::{write_bare_key_value, write_bare_value};
use super::crc8;
use super::wire::*;
use crate::model::{Cell, CellOp, Row, SequenceInfo};

/// Appends the header that stands once before the rows of a buffer.
pub fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&HEADER.to_le_bytes());
}

/// Appends `row`: key, cells with their operations, delete marker, sequence info, checksums.
///
/// The row is written as it is; whether it makes sense (a delete of one version has a timestamp, at most four key
/// columns) is the caller's concern and the reader's check. Names and values are far below 4 GiB by the service's
/// limits.
pub fn write_row(out: &mut Vec<u8>, row: &Row<'_>) {
    let mut row_crc = 0;
    out.push(ROW_PK);
    for (name, value) in &row.key {
        let crc = write_name(out, name);
        let crc = write_value(out, crc, |out| write_bare_key_value(out, *value));
        out.extend_from_slice(&[CELL_CHECKSUM, crc]);
        row_crc = crc8::update_byte(row_crc, crc);
    }
    if !row.cells.is_empty() {
        out.push(ROW_DATA);
        for cell in &row.cells {
            let crc = write_cell(out, cell);
            row_crc = crc8::update_byte(row_crc, crc);
        }
    }
    if row.delete_marker {
        out.push(DELETE_ROW_MARKER);
    }
    if let Some(sequence) = &row.sequence {
        write_sequence_info(out, sequence);
    }
    row_crc = crc8::update_byte(row_crc, u8::from(row.delete_marker));
    out.extend_from_slice(&[ROW_CHECKSUM, row_crc]);
}

/// A buffer with `row` alone, as requests carry it.
pub fn encode_row(row: &Row<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * (1 + row.key.len() + row.cells.len()));
    write_header(&mut out);
    write_row(&mut out, row);
    out
}

/// Appends an attribute cell and returns its checksum, of which the row's is made.
pub fn write_cell(out: &mut Vec<u8>, cell: &Cell<'_>) -> u8 {
    let mut crc = write_name(out, cell.name);
    if let Some(value) = cell.value {
        crc = write_value(out, crc, |out| write_bare_value(out, value));
    }
    let op = cell.op.map(|op| match op {
        CellOp::DeleteAllVersions => DELETE_ALL_VERSIONS,
        CellOp::DeleteOneVersion => DELETE_ONE_VERSION,
        CellOp::Increment => INCREMENT,
    });
    if let Some(op) = op {
        out.extend_from_slice(&[CELL_OP, op]);
    }
    if let Some(timestamp) = cell.timestamp {
        let bytes = timestamp.to_le_bytes();
        out.push(CELL_TIMESTAMP);
        out.extend_from_slice(&bytes);
        crc = crc8::update_8(crc, &bytes);
    }
    // The operation comes first on the wire and last in the checksum.
    if let Some(op) = op {
        crc = crc8::update_byte(crc, op);
    }
    out.extend_from_slice(&[CELL_CHECKSUM, crc]);
    crc
}

fn write_name(out: &mut Vec<u8>, name: &str) -> u8 {
    out.extend_from_slice(&[CELL, CELL_NAME]);
    out.extend_from_slice(&(name.len() as u32).to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    crc8::update(0, name.as_bytes())
}

fn write_value(out: &mut Vec<u8>, crc: u8, write_bare: impl FnOnce(&mut Vec<u8>)) -> u8 {
    out.extend_from_slice(&[CELL_VALUE, 0, 0, 0, 0]);
    let start = out.len();
    write_bare(out);
    let length = (out.len() - start) as u32;
    out[start - 4..start].copy_from_slice(&length.to_le_bytes());
    crc8::update(crc, &out[start..])
}

fn write_sequence_info(out: &mut Vec<u8>, sequence: &SequenceInfo) {
    out.push(EXTENSION);
    out.extend_from_slice(&(SEQUENCE_INFO_SIZE + 5).to_le_bytes());
    out.push(SEQUENCE_INFO);
    out.extend_from_slice(&SEQUENCE_INFO_SIZE.to_le_bytes());
    out.push(SEQUENCE_EPOCH);
    out.extend_from_slice(&sequence.epoch.to_le_bytes());
    out.push(SEQUENCE_TIMESTAMP);
    out.extend_from_slice(&sequence.timestamp_us.to_le_bytes());
    out.push(SEQUENCE_ROW_INDEX);
    out.extend_from_slice(&sequence.row_index.to_le_bytes());
}
