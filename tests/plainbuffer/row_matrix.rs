//! The row matrix.

use otsvault::model::{Cell, KeyPart, PrimaryKeyValue, RowHasher, RowSum};
use otsvault::plainbuffer::{
    BlockFormat, BlockReader, DecodeError, Fault, MatrixReader, RowReader, checksum, encode_row,
    write_bare_key_value, write_bare_value,
};
use proptest::prelude::*;

use super::{LARGEST, OwnedValue, Row, bytes, fixture, key_value, list, text, value};

/// The columns of a matrix and its rows, in which `None` is a null.
#[derive(Debug, Clone, Default)]
struct Matrix {
    keys: Vec<String>,
    attributes: Vec<String>,
    partial: bool,
    rows: Vec<(Vec<KeyPart>, Vec<Option<OwnedValue>>)>,
}

impl Matrix {
    fn encode(&self) -> Vec<u8> {
        let mut out = b"SRM0".to_vec();
        let names: Vec<u8> = self
            .keys
            .iter()
            .chain(&self.attributes)
            .flat_map(|name| [&(name.len() as u16).to_le_bytes(), name.as_bytes()].concat())
            .collect();
        let option_offset = 20 + names.len();
        for number in [option_offset + 7, option_offset, self.keys.len(), self.attributes.len()] {
            out.extend((number as u32).to_le_bytes());
        }
        out.extend(names);
        out.extend([0x0A, u8::from(!self.partial), 0x03]);
        out.extend((self.rows.len() as u32).to_le_bytes());
        for (key, values) in &self.rows {
            out.push(0x02);
            key.iter().for_each(|part| write_bare_key_value(&mut out, part.as_value()));
            for value in values {
                match value {
                    Some(value) => write_bare_value(&mut out, value.borrow()),
                    None => out.push(0x06),
                }
            }
        }
        sealed(out)
    }

    fn rows(&self) -> Vec<Row<'_>> {
        self.rows
            .iter()
            .map(|(key, values)| Row {
                key: self.keys.iter().zip(key).map(|(name, part)| (name.as_str(), part.as_value())).collect(),
                cells: self
                    .attributes
                    .iter()
                    .zip(values)
                    .filter_map(|(name, value)| Some(Cell::put(name, value.as_ref()?.borrow(), None)))
                    .collect(),
                ..Row::default()
            })
            .collect()
    }
}

/// Adds the checksum.
fn sealed(mut matrix: Vec<u8>) -> Vec<u8> {
    matrix.push(0x01);
    matrix.push(checksum(&matrix));
    matrix
}

/// Damages `matrix` and makes its checksum right again.
fn resealed(matrix: &[u8], damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = matrix[..matrix.len() - 2].to_vec();
    damage(&mut body);
    sealed(body)
}

fn decode(matrix: &[u8]) -> Result<Vec<Row<'_>>, DecodeError> {
    let mut reader = BlockReader::new(BlockFormat::RowMatrix, matrix)?;
    let (mut rows, mut row) = (Vec::new(), Row::default());
    while reader.next_row(&mut row)? {
        rows.push(row.clone());
    }
    Ok(rows)
}

fn error(matrix: &[u8]) -> (usize, Fault) {
    let error = decode(matrix).unwrap_err();
    assert!(error.to_string().contains(&format!("byte {}", error.offset)), "{error}");
    (error.offset, error.fault)
}

/// Names from byte 20, options at 30, rows at 37 and 59, the checksum at 69.
fn sample() -> Matrix {
    let text = |text: &str| KeyPart::String(text.to_owned());
    Matrix {
        keys: vec!["k".into()],
        attributes: vec!["n".into(), "é".into()],
        partial: false,
        rows: vec![
            (vec![text("a")], vec![Some(OwnedValue::Integer(1)), Some(OwnedValue::Binary(vec![9]))]),
            (vec![text("b")], vec![None, Some(OwnedValue::Boolean(true))]),
        ],
    }
}

#[test]
fn every_matrix_that_an_sdk_reads_gives_the_same_rows() {
    let file = fixture("simple_row_matrix");
    let mut cases = 0;
    for case in list(&file, "cases") {
        let (id, raw, matrix) = (text(case, "id"), bytes(case, "hex"), &case["matrix"]);
        let names = |field| list(matrix, field).iter().map(|name| name.as_str().unwrap());
        let key_columns = names("pk_fields").count();
        let rows: Vec<_> = list(matrix, "rows")
            .iter()
            .map(|values| {
                let (key, cells) = values.as_array().unwrap().split_at(key_columns);
                let present = names("attr_fields").zip(cells).filter(|(_, json)| json["type"] != "null");
                Row {
                    key: names("pk_fields").zip(key.iter().map(key_value)).collect(),
                    cells: present.map(|(name, json)| Cell::put(name, value(json).unwrap(), None)).collect(),
                    ..Row::default()
                }
            })
            .collect();
        assert_eq!(decode(&raw).unwrap(), rows, "{id}");
        let reader = MatrixReader::new(&raw).unwrap();
        assert_eq!(Some(reader.has_entire_key()), matrix["entire_primary_keys"].as_bool(), "{id}");
        assert_eq!(reader.remaining(), rows.len(), "{id}");
        cases += 1;
    }
    assert_eq!(cases, 4);
}

#[test]
fn both_formats_give_rows_with_the_same_row_sum() {
    let matrix = sample();
    let sum = |rows: &[Row<'_>]| {
        let mut hasher = RowHasher::default();
        rows.iter().map(|row| hasher.row(row)).sum::<RowSum>()
    };
    let encoded = matrix.encode();
    let plain: Vec<_> = matrix.rows().iter().map(encode_row).collect();
    let from_plain: Vec<_> = plain
        .iter()
        .map(|buffer| {
            let mut row = Row::default();
            assert!(RowReader::new(buffer).unwrap().next_row(&mut row).unwrap());
            row
        })
        .collect();
    assert_eq!(sum(&decode(&encoded).unwrap()), sum(&from_plain));
}

#[test]
fn no_bytes_are_no_rows_but_another_format_is_an_error() {
    assert_eq!(decode(&[]), Ok(vec![]));
    assert_eq!(decode(&Matrix::default().encode()), Ok(vec![]));
    assert_eq!(
        error(&encode_row(&Row { key: vec![("k", PrimaryKeyValue::Integer(1))], ..Row::default() })).0,
        0
    );
    assert_eq!(error(b"SRM"), (3, Fault::Truncated));
    assert_eq!(error(b"SRM0"), (2, Fault::Tag { expected: "the checksum at the end", found: b'M' }));
    assert_eq!(
        error(b"SRM0\x01\x3a").1,
        Fault::MatrixChecksum { stored: 0x3a, computed: checksum(b"SRM0\x01") }
    );
    assert_eq!(error(&sealed(b"SRM0".to_vec())), (4, Fault::Truncated));
}

#[test]
fn every_truncation_and_every_flipped_bit_is_found() {
    let matrix = sample().encode();
    for end in 1..matrix.len() {
        assert!(decode(&matrix[..end]).is_err(), "cut at {end}");
    }
    for at in 0..matrix.len() {
        for bit in 0..8 {
            let mut flipped = matrix.clone();
            flipped[at] ^= 1 << bit;
            assert!(decode(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn what_a_right_checksum_hides_is_found_at_its_byte() {
    let matrix = sample().encode();
    assert_eq!(decode(&matrix).unwrap(), sample().rows());
    let broken = |damage: &dyn Fn(&mut Vec<u8>)| error(&resealed(&matrix, damage));
    // Layout: names from 20, options at 30, rows from 37.
    assert_eq!(&matrix[30..37], [0x0A, 1, 0x03, 2, 0, 0, 0]);
    let set = |at: usize, byte: u8| broken(&|body| body[at] = byte);
    assert_eq!(set(4, 36), (37, Fault::Offset), "data offset");
    assert_eq!(set(8, 31), (30, Fault::Offset), "option offset");
    assert_eq!(set(12, 5), (12, Fault::TooManyKeyColumns));
    assert_eq!(set(17, 5), (16, Fault::TooManyColumns));
    assert_eq!(set(28, 0xff), (28, Fault::Utf8), "a name");
    assert_eq!(set(31, 2), (30, Fault::Boolean(2)));
    assert_eq!(set(30, 9), (30, Fault::Tag { expected: "an option", found: 9 }));
    assert_eq!(set(32, 0x0A), (32, Fault::Tag { expected: "an option", found: 0x0A }), "given twice");
    assert_eq!(set(33, 3), (matrix.len() - 2, Fault::Truncated), "one row more");
    assert_eq!(set(33, 1).1, Fault::Trailing, "one row less");
    assert_eq!(set(37, 1), (37, Fault::Tag { expected: "the start of a row", found: 1 }));
    assert_eq!(set(38, 6), (38, Fault::TypeCode(6)), "a key is never null");
    assert_eq!(set(38, 1), (38, Fault::TypeCode(1)), "nor a double");
    assert_eq!(set(44, 9), (44, Fault::TypeCode(9)), "infinities are bounds");
    assert_eq!(set(matrix.len() - 3, 2), (matrix.len() - 3, Fault::Boolean(2)));
    assert_eq!(broken(&|body| body.push(0)), (matrix.len() - 2, Fault::Trailing));

    let twice = Matrix { attributes: vec!["n".into(), "n".into()], ..sample() };
    assert_eq!(error(&twice.encode()), (26, Fault::RepeatedColumn));
}

#[test]
fn the_options_may_come_in_either_order() {
    let swapped =
        resealed(&sample().encode(), |body| body[30..37].copy_from_slice(&[3, 2, 0, 0, 0, 0x0A, 1]));
    assert_eq!(decode(&swapped).unwrap(), sample().rows());
}

#[test]
fn counts_and_lengths_beyond_the_input_are_errors_and_allocate_nothing() {
    let matrix = sample().encode();
    LARGEST.set(0);
    for at in 4..matrix.len() - 6 {
        for huge in [u32::MAX, i32::MAX as u32, u32::MAX - 4, 1 << 24] {
            let broken = resealed(&matrix, |body| body[at..at + 4].copy_from_slice(&huge.to_le_bytes()));
            let _ = decode(&broken);
        }
    }
    assert!(LARGEST.get() < 4096, "{} bytes at once for {} bytes of input", LARGEST.get(), matrix.len());
}

fn any_matrix() -> impl Strategy<Value = Matrix> {
    let any_value = prop_oneof![
        any::<i64>().prop_map(OwnedValue::Integer),
        any::<u64>().prop_map(OwnedValue::Double),
        any::<bool>().prop_map(OwnedValue::Boolean),
        ".{0,40}".prop_map(OwnedValue::String),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(OwnedValue::Binary),
    ];
    let part = prop_oneof![
        any::<i64>().prop_map(KeyPart::Integer),
        ".{0,20}".prop_map(KeyPart::String),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(KeyPart::Binary),
    ];
    let names = |most| prop::collection::hash_set("[a-zA-Z_é]{0,20}", 0..=most);
    (names(4), names(8), any::<bool>()).prop_flat_map(move |(keys, attributes, partial)| {
        let row = (
            prop::collection::vec(part.clone(), keys.len()),
            prop::collection::vec(prop::option::of(any_value.clone()), attributes.len()),
        );
        let (keys, attributes) = (keys.into_iter().collect(), attributes.into_iter().collect());
        (Just((keys, attributes)), prop::collection::vec(row, 0..6))
            .prop_map(move |((keys, attributes), rows)| Matrix { keys, attributes, partial, rows })
    })
}

proptest! {
    #[test]
    fn matrices_survive_the_round_trip(matrix in any_matrix()) {
        let encoded = matrix.encode();
        prop_assert_eq!(decode(&encoded).unwrap(), matrix.rows());
        prop_assert_eq!(MatrixReader::new(&encoded).unwrap().has_entire_key(), !matrix.partial);
    }

    #[test]
    fn a_damaged_matrix_is_an_error_or_rows_but_never_a_panic(
        matrix in any_matrix(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index,
    ) {
        let encoded = matrix.encode();
        let damaged = resealed(&encoded, |body| {
            let at = at.index(body.len());
            body[at] = byte;
        });
        let _ = decode(&damaged);
        let _ = decode(&resealed(&encoded, |body| body.truncate(cut.index(body.len()))));
    }

    #[test]
    fn noise_behind_a_right_checksum_is_never_a_panic(noise in prop::collection::vec(prop_oneof![0_u8..=10, any::<u8>()], 0..200)) {
        let _ = decode(&noise);
        let _ = decode(&sealed([b"SRM0", noise.as_slice()].concat()));
        let _ = decode(&sealed([b"SRM0\x1d\0\0\0\x16\0\0\0\x01\0\0\0\0\0\0\0\0\0\x0a\x01\x03", noise.as_slice()].concat()));
    }
}
