//! Rows into a row matrix, whose layout [`MatrixReader`](super::MatrixReader) documents.

use super::bare::{write_bare_key_value, write_bare_value};
use super::checksum;
use super::wire::*;
use crate::model::{PrimaryKeyValue, Value};

/// Builds one block, row by row.
#[derive(Debug)]
pub struct MatrixWriter {
    block: Vec<u8>,
    row_count_at: usize,
    rows: u32,
}

impl MatrixWriter {
    /// A block without rows. `entire_primary_keys` says whether `primary_key` names every key column of the table.
    pub fn new(primary_key: &[&str], attributes: &[&str], entire_primary_keys: bool) -> MatrixWriter {
        let mut block = vec![0; 20];
        for name in primary_key.iter().chain(attributes) {
            debug_assert!(name.len() <= 255, "the service's longest name");
            block.extend_from_slice(&(name.len() as u16).to_le_bytes());
            block.extend_from_slice(name.as_bytes());
        }
        let option_offset = block.len() as u32;
        block.extend_from_slice(&[MATRIX_ENTIRE_KEYS, u8::from(entire_primary_keys), MATRIX_ROW_COUNT]);
        let row_count_at = block.len();
        block.extend_from_slice(&[0; 4]);
        let data_offset = block.len() as u32;
        block[..4].copy_from_slice(&MATRIX_HEADER.to_le_bytes());
        let head = [data_offset, option_offset, primary_key.len() as u32, attributes.len() as u32];
        for (number, at) in head.into_iter().zip((4..).step_by(4)) {
            block[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        MatrixWriter { block, row_count_at, rows: 0 }
    }

    /// Appends a row: as many key values and cells, in the same order, as there are names.
    pub fn write_row<'a>(
        &mut self,
        key: impl IntoIterator<Item = PrimaryKeyValue<'a>>,
        cells: impl IntoIterator<Item = Option<Value<'a>>>,
    ) {
        self.block.push(MATRIX_ROW);
        for value in key {
            write_bare_key_value(&mut self.block, value);
        }
        for cell in cells {
            match cell {
                Some(value) => write_bare_value(&mut self.block, value),
                None => self.block.push(NULL),
            }
        }
        self.rows += 1;
    }

    /// The whole block.
    pub fn finish(mut self) -> Vec<u8> {
        self.block[self.row_count_at..self.row_count_at + 4].copy_from_slice(&self.rows.to_le_bytes());
        self.block.push(MATRIX_CHECKSUM);
        self.block.push(checksum(&self.block));
        self.block
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    #[test]
    fn blocks_are_those_that_the_official_parser_accepts() {
        let vectors = include_str!("../../tests/fixtures/vectors/simple_row_matrix.json");
        let vectors: Json = serde_json::from_str(vectors).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let matrix = &case["matrix"];
            let names = |field: &str| -> Vec<&str> {
                matrix[field].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
            };
            let (key, attributes) = (names("pk_fields"), names("attr_fields"));
            let entire = matrix["entire_primary_keys"].as_bool().unwrap();
            let mut writer = MatrixWriter::new(&key, &attributes, entire);
            for row in matrix["rows"].as_array().unwrap() {
                let row: Vec<_> = row.as_array().unwrap().iter().map(value).collect();
                let (key, cells) = row.split_at(key.len());
                writer.write_row(key.iter().map(|value| as_key(value.unwrap())), cells.iter().copied());
            }
            assert_eq!(hex::encode(writer.finish()), case["hex"].as_str().unwrap(), "{}", case["id"]);
        }
    }

    /// The vectors' strings are borrowed, their binaries are hex and are leaked.
    fn value(json: &Json) -> Option<Value<'_>> {
        let text = || json["value"].as_str().unwrap();
        Some(match json["type"].as_str().unwrap() {
            "integer" => Value::Integer(text().parse().unwrap()),
            "string" => Value::String(text()),
            "binary" => Value::Binary(hex::decode(text()).unwrap().leak()),
            "boolean" => Value::Boolean(json["value"].as_bool().unwrap()),
            "double" => {
                let bits = hex::decode(json["value"]["bits_le_hex"].as_str().unwrap()).unwrap();
                Value::Double(f64::from_le_bytes(bits.try_into().unwrap()))
            }
            "null" => return None,
            other => panic!("{other}"),
        })
    }

    fn as_key(value: Value<'_>) -> PrimaryKeyValue<'_> {
        match value {
            Value::Integer(value) => PrimaryKeyValue::Integer(value),
            Value::String(value) => PrimaryKeyValue::String(value),
            Value::Binary(value) => PrimaryKeyValue::Binary(value),
            Value::Double(_) | Value::Boolean(_) => panic!("not a key value"),
        }
    }
}
