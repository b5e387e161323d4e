//! Rows of one table into a buffer, for whoever writes millions of them: names and their checksums are made once.

use super::bare::{write_bare_key_value, write_bare_value};
use super::crc8;
use super::wire::*;
use crate::model::{PrimaryKeyValue, Value};

/// `03 04 length name 05` and the checksum of the name.
#[derive(Debug, Clone)]
struct NameTemplate {
    head: Box<[u8]>,
    crc: u8,
}

impl NameTemplate {
    fn new(name: &str) -> NameTemplate {
        let mut head = vec![CELL, CELL_NAME];
        head.extend_from_slice(&(name.len() as u32).to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        head.push(CELL_VALUE);
        NameTemplate { head: head.into(), crc: crc8::update(0, name.as_bytes()) }
    }
}

/// The column names of a table, with what their bytes add to a checksum worked out once. Its bytes are those of
/// [`write_row`](super::write_row).
#[derive(Debug, Clone)]
pub struct RowTemplate {
    key: Vec<NameTemplate>,
    columns: Vec<NameTemplate>,
}

impl RowTemplate {
    /// `key` in key order; `columns` in the order of their names.
    pub fn new<N: AsRef<str>>(key: &[N], columns: &[N]) -> RowTemplate {
        let templates = |names: &[N]| names.iter().map(|name| NameTemplate::new(name.as_ref())).collect();
        RowTemplate { key: templates(key), columns: templates(columns) }
    }

    /// Appends a row of puts that share one timestamp (ms). `cells` are column numbers, ascending, each with its
    /// value; numbers that are not in the template are left out, as are key values beyond its key columns.
    pub fn write_row<'v>(
        &self,
        out: &mut Vec<u8>,
        key: &[PrimaryKeyValue<'_>],
        cells: impl Iterator<Item = (usize, Value<'v>)>,
        timestamp: i64,
    ) {
        let mut row_crc = 0;
        out.push(ROW_PK);
        for (name, value) in self.key.iter().zip(key) {
            out.extend_from_slice(&name.head);
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            write_bare_key_value(out, *value);
            let crc = close_value(out, start, name.crc);
            out.extend_from_slice(&[CELL_CHECKSUM, crc]);
            row_crc = crc8::update_byte(row_crc, crc);
        }
        let time = timestamp.to_le_bytes();
        let mut cells =
            cells.filter_map(|(column, value)| Some((self.columns.get(column)?, value))).peekable();
        if cells.peek().is_some() {
            out.push(ROW_DATA);
        }
        for (name, value) in cells {
            out.extend_from_slice(&name.head);
            let crc = match value {
                Value::Integer(value) => write_word(out, name.crc, INTEGER, &value.to_le_bytes()),
                Value::Double(value) => write_word(out, name.crc, DOUBLE, &value.to_bits().to_le_bytes()),
                value => {
                    let start = out.len();
                    out.extend_from_slice(&[0; 4]);
                    write_bare_value(out, value);
                    close_value(out, start, name.crc)
                }
            };
            let crc = crc8::update_8(crc, &time);
            let mut tail = [CELL_TIMESTAMP, 0, 0, 0, 0, 0, 0, 0, 0, CELL_CHECKSUM, crc];
            tail[1..9].copy_from_slice(&time);
            out.extend_from_slice(&tail);
            row_crc = crc8::update_byte(row_crc, crc);
        }
        row_crc = crc8::update_byte(row_crc, 0);
        out.extend_from_slice(&[ROW_CHECKSUM, row_crc]);
    }
}

/// Length, type code and eight bytes.
#[inline(always)]
fn write_word(out: &mut Vec<u8>, crc: u8, code: u8, word: &[u8; 8]) -> u8 {
    let mut bytes = [9, 0, 0, 0, code, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[5..].copy_from_slice(word);
    out.extend_from_slice(&bytes);
    crc8::update_9(crc, code, word)
}

/// Sets the length at `start`, which covers everything behind it, and returns the checksum so far.
fn close_value(out: &mut [u8], start: usize, crc: u8) -> u8 {
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    crc8::update(crc, &out[start + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, Row};
    use crate::plainbuffer::write_row;

    #[test]
    fn a_template_writes_what_the_row_writer_writes() {
        let columns = ["a", "bb", "ccc", "d", "e"];
        let values = [
            Value::Integer(-5),
            Value::Double(f64::from_bits(0x7ff8_0000_dead_beef)),
            Value::Boolean(true),
            Value::String("text that is long enough for the vector path, all of it"),
            Value::Binary(&[0, 255]),
        ];
        let key = [("p", PrimaryKeyValue::String("x")), ("q", PrimaryKeyValue::Integer(i64::MIN))];
        let template = RowTemplate::new(&["p", "q"], &columns);
        for present in 0..32_usize {
            let chosen = || (0..5).filter(move |column| present >> column & 1 == 1);
            let cells = chosen().map(|column| Cell::put(columns[column], values[column], Some(77)));
            let row = Row { key: key.to_vec(), cells: cells.collect(), ..Row::default() };
            let (mut expected, mut written) = (Vec::new(), Vec::new());
            write_row(&mut expected, &row);
            let key = key.map(|(_, value)| value);
            template.write_row(&mut written, &key, chosen().map(|column| (column, values[column])), 77);
            assert_eq!(written, expected, "{present:05b}");
        }
    }
}
