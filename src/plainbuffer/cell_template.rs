//! Cells of one column, written over and over into memory of the right size: the name and its checksum are made once.

use super::crc8;
use super::wire::*;
use crate::model::{PrimaryKeyType, ValueType};

/// Stands between the primary key and the attribute cells of a row that has any.
pub const DATA_TAG: u8 = ROW_DATA;

/// The end of a row without a delete marker, whose cells have brought its checksum to `row_crc`.
#[inline]
pub fn row_end(row_crc: u8) -> [u8; 2] {
    [ROW_CHECKSUM, crc8::update_byte(row_crc, 0)]
}

/// The checksum of a row, one cell further. It starts at 0.
#[inline(always)]
pub fn add_cell(row_crc: u8, cell_crc: u8) -> u8 {
    crc8::update_byte(row_crc, cell_crc)
}

/// The timestamp of cells, with what it adds to their checksums.
#[derive(Debug, Clone, Copy, Default)]
pub struct CellTime {
    bytes: [u8; 8],
    crc: u8,
}

impl CellTime {
    /// Milliseconds since 1970 UTC.
    #[inline]
    pub fn new(timestamp: i64) -> CellTime {
        let bytes = timestamp.to_le_bytes();
        CellTime { bytes, crc: crc8::update_8(0, &bytes) }
    }
}

/// What all cells of one column and type have in common. Each `write_…` fills `cell`, which must have the size that the
/// `…_size` of the same name gives, and returns the cell's checksum. The bytes are those of
/// [`write_row`](super::write_row).
#[derive(Debug, Clone)]
pub struct CellTemplate {
    /// `03 04 length name 05`, and before it, in the first cell of a row, the start of the row.
    head: Box<[u8]>,
    /// The start of `head` once more: a copy of 16 or 32 bytes takes no call.
    start: [u8; 32],
    code: u8,
    /// Of the name and the type code.
    crc: u8,
}

/// Length of the value, type code; for strings and binaries, their length.
const CODE: usize = 5;
const LENGTH: usize = 4;
const TIME: usize = 9;
const CHECKSUM: usize = 2;

impl CellTemplate {
    /// Cells of an attribute column.
    pub fn of_attribute(name: &str, value_type: ValueType) -> CellTemplate {
        CellTemplate::new(&[], name, value_type.code())
    }

    /// Cells of a primary key column. The first one of a row has the header of a buffer and the start of the row with it.
    pub fn of_key(name: &str, column_type: PrimaryKeyType, is_first: bool) -> CellTemplate {
        let code = match column_type {
            PrimaryKeyType::Integer => INTEGER,
            PrimaryKeyType::String => STRING,
            PrimaryKeyType::Binary => BLOB,
        };
        let [a, b, c, d] = HEADER.to_le_bytes();
        let before = [a, b, c, d, ROW_PK];
        CellTemplate::new(if is_first { &before } else { &[] }, name, code)
    }

    /// Cells of a primary key column that hold the auto-increment placeholder.
    pub fn of_generated_key(name: &str) -> CellTemplate {
        CellTemplate::new(&[], name, AUTO_INCREMENT)
    }

    fn new(before: &[u8], name: &str, code: u8) -> CellTemplate {
        let mut head = before.to_vec();
        head.extend_from_slice(&[CELL, CELL_NAME]);
        head.extend_from_slice(&(name.len() as u32).to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        head.push(CELL_VALUE);
        let mut start = [0; 32];
        let length = head.len().min(32);
        start[..length].copy_from_slice(&head[..length]);
        let crc = crc8::update_byte(crc8::update(0, name.as_bytes()), code);
        CellTemplate { head: head.into(), start, code, crc }
    }

    /// INTEGER or DOUBLE.
    pub fn word_size(&self, timed: bool) -> usize {
        self.head.len() + CODE + 8 + if timed { TIME } else { 0 } + CHECKSUM
    }

    /// BOOLEAN.
    pub fn boolean_size(&self, timed: bool) -> usize {
        self.head.len() + CODE + 1 + if timed { TIME } else { 0 } + CHECKSUM
    }

    /// STRING or BINARY, without the bytes of the value.
    pub fn bytes_size(&self, timed: bool) -> usize {
        self.head.len() + CODE + LENGTH + if timed { TIME } else { 0 } + CHECKSUM
    }

    /// The auto-increment placeholder.
    pub fn placeholder_size(&self) -> usize {
        self.head.len() + CODE + CHECKSUM
    }

    /// An INTEGER, or the bits of a DOUBLE.
    #[inline(always)]
    pub fn write_word(&self, cell: &mut [u8], word: u64, time: Option<CellTime>) -> u8 {
        self.write_head(cell);
        let word = word.to_le_bytes();
        let crc = crc8::update_8(self.crc, &word);
        let mut value = [9, 0, 0, 0, self.code, 0, 0, 0, 0, 0, 0, 0, 0];
        value[CODE..].copy_from_slice(&word);
        self.write_fixed(cell, value, crc, time)
    }

    /// A BOOLEAN.
    #[inline(always)]
    pub fn write_boolean(&self, cell: &mut [u8], value: bool, time: Option<CellTime>) -> u8 {
        self.write_head(cell);
        let crc = crc8::update_byte(self.crc, u8::from(value));
        self.write_fixed(cell, [2, 0, 0, 0, self.code, u8::from(value)], crc, time)
    }

    /// A STRING or BINARY; the size is [`CellTemplate::bytes_size`] and that of `value`.
    #[inline(always)]
    pub fn write_bytes(&self, cell: &mut [u8], value: &[u8], time: Option<CellTime>) -> u8 {
        self.write_head(cell);
        let rest = &mut cell[self.head.len()..];
        let length = (value.len() as u32).to_le_bytes();
        let outer = (value.len() as u32 + 5).to_le_bytes();
        let mut before = [outer[0], outer[1], outer[2], outer[3], self.code, 0, 0, 0, 0];
        before[CODE..].copy_from_slice(&length);
        rest[..CODE + LENGTH].copy_from_slice(&before);
        rest[CODE + LENGTH..][..value.len()].copy_from_slice(value);
        let crc = crc8::update(crc8::update_4(self.crc, &length), value);
        self.write_fixed(rest, [], crc, time)
    }

    /// The auto-increment placeholder.
    pub fn write_placeholder(&self, cell: &mut [u8]) -> u8 {
        self.write_head(cell);
        self.write_fixed(cell, [1, 0, 0, 0, self.code], self.crc, None)
    }

    #[inline(always)]
    fn write_head(&self, cell: &mut [u8]) {
        let length = self.head.len();
        // Too much is copied, over bytes of the same cell that are written later.
        if length <= 16
            && let Some(cell) = cell.first_chunk_mut::<16>()
            && let Some(start) = self.start.first_chunk::<16>()
        {
            *cell = *start;
        } else if length <= 32
            && let Some(cell) = cell.first_chunk_mut::<32>()
        {
            *cell = self.start;
        } else {
            cell[..length].copy_from_slice(&self.head);
        }
    }

    /// The last bytes of `cell`: `value`, the timestamp, the checksum.
    #[inline(always)]
    fn write_fixed<const SIZE: usize>(
        &self,
        cell: &mut [u8],
        value: [u8; SIZE],
        crc: u8,
        time: Option<CellTime>,
    ) -> u8 {
        let Some(time) = time else {
            let start = cell.len() - CHECKSUM - SIZE;
            let end = &mut cell[start..];
            end[..SIZE].copy_from_slice(&value);
            end[SIZE..].copy_from_slice(&[CELL_CHECKSUM, crc]);
            return crc;
        };
        let crc = crc8::append_8(crc, time.crc);
        let start = cell.len() - CHECKSUM - TIME - SIZE;
        let end = &mut cell[start..];
        end[..SIZE].copy_from_slice(&value);
        let mut tail = [CELL_TIMESTAMP, 0, 0, 0, 0, 0, 0, 0, 0, CELL_CHECKSUM, crc];
        tail[1..TIME].copy_from_slice(&time.bytes);
        end[SIZE..].copy_from_slice(&tail);
        crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, PrimaryKeyValue, Row, Value};
    use crate::plainbuffer::encode_row;

    fn filled(size: usize, write: impl FnOnce(&mut [u8]) -> u8) -> (Vec<u8>, u8) {
        let mut cell = vec![0xEE; size];
        let crc = write(&mut cell);
        (cell, crc)
    }

    #[test]
    fn cells_put_together_are_the_rows_of_the_row_writer() {
        let long = "x".repeat(300);
        let values = [
            Value::Integer(i64::MIN + 5),
            Value::Double(f64::from_bits(0x7ff8_0000_dead_beef)),
            Value::Boolean(true),
            Value::String(""),
            Value::String(&long),
            Value::Binary(&[0, 255, 7]),
        ];
        for name_length in [1, 8, 9, 10, 24, 25, 26, 100] {
            let name = "n".repeat(name_length);
            for (value, timestamp) in values.iter().flat_map(|value| [(*value, None), (*value, Some(-77))]) {
                let key = vec![
                    (name.as_str(), PrimaryKeyValue::String("é")),
                    ("seq", PrimaryKeyValue::AutoIncrement),
                    ("i", PrimaryKeyValue::Integer(-1)),
                ];
                let cells = vec![Cell::put(&name, value, timestamp)];
                let expected = encode_row(&Row { key, cells, ..Row::default() });

                let (timed, time) = (timestamp.is_some(), timestamp.map(CellTime::new));
                let first = CellTemplate::of_key(&name, PrimaryKeyType::String, true);
                let generated = CellTemplate::of_generated_key("seq");
                let last = CellTemplate::of_key("i", PrimaryKeyType::Integer, false);
                let attribute = CellTemplate::of_attribute(&name, value.value_type());
                let mut parts = vec![
                    filled(first.bytes_size(false) + 2, |cell| first.write_bytes(cell, "é".as_bytes(), None)),
                    filled(generated.placeholder_size(), |cell| generated.write_placeholder(cell)),
                    filled(last.word_size(false), |cell| last.write_word(cell, u64::MAX, None)),
                ];
                let word = |word: u64| {
                    filled(attribute.word_size(timed), |cell| attribute.write_word(cell, word, time))
                };
                let bytes = |bytes: &[u8]| {
                    let size = attribute.bytes_size(timed) + bytes.len();
                    filled(size, |cell| attribute.write_bytes(cell, bytes, time))
                };
                parts.push(match value {
                    Value::Integer(value) => word(value as u64),
                    Value::Double(value) => word(value.to_bits()),
                    Value::Boolean(value) => filled(attribute.boolean_size(timed), |cell| {
                        attribute.write_boolean(cell, value, time)
                    }),
                    Value::String(text) => bytes(text.as_bytes()),
                    Value::Binary(value) => bytes(value),
                });
                let row_crc = parts.iter().fold(0, |sum, (_, crc)| add_cell(sum, *crc));
                let mut written: Vec<u8> = parts[..3].iter().flat_map(|(bytes, _)| bytes.clone()).collect();
                written.push(DATA_TAG);
                written.extend(&parts[3].0);
                written.extend(row_end(row_crc));
                assert_eq!(written, expected, "{name_length} {value:?} {timestamp:?}");
            }
        }
    }
}
