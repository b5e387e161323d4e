//! The shortcut for ordinary rows against the general way: the same rows, the same batches, the same errors.

use std::sync::Arc;

use otsvault::columnar::{Batch, BatchBuilder, ColumnPlan, Sample};
use otsvault::model::{
    Cell, CellOp, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, Row, Value, ValueType,
};
use otsvault::plainbuffer::{
    CellSink, DecodeError, ExpectedCells, Payload, RowReader, write_header, write_row,
};
use proptest::prelude::*;

const NAMES: [&str; 12] = [
    "a",
    "b",
    "c",
    "code",
    "count",
    "humidity",
    "message_text",
    "q",
    "temperature_in_the_shade",
    "u",
    "v",
    "x_a_name_that_is_much_longer_than_thirty_two_bytes_",
];

#[derive(Debug, Clone)]
enum OwnValue {
    Integer(i64),
    Double(u64),
    Boolean(bool),
    String(String),
    Binary(Vec<u8>),
}

impl OwnValue {
    fn borrow(&self) -> Value<'_> {
        match self {
            OwnValue::Integer(value) => Value::Integer(*value),
            OwnValue::Double(bits) => Value::Double(f64::from_bits(*bits)),
            OwnValue::Boolean(value) => Value::Boolean(*value),
            OwnValue::String(value) => Value::String(value),
            OwnValue::Binary(value) => Value::Binary(value),
        }
    }
}

/// Name, value, timestamp; cells in wire order.
type OwnRow = (i64, Vec<(usize, OwnValue, Option<i64>)>, bool);

fn row_of((key, cells, odd): &OwnRow) -> Row<'_> {
    let mut row = Row {
        key: vec![("id", PrimaryKeyValue::Integer(*key))],
        cells: cells.iter().map(|(name, value, ts)| Cell::put(NAMES[*name], value.borrow(), *ts)).collect(),
        ..Row::default()
    };
    if *odd && let Some(cell) = row.cells.last_mut() {
        *cell = Cell { value: None, op: Some(CellOp::DeleteOneVersion), timestamp: Some(1), ..*cell };
    }
    row
}

/// A value of the type that most cells of this name have.
fn usual_value(name: usize) -> BoxedStrategy<OwnValue> {
    match name % 5 {
        0 => any::<i64>().prop_map(OwnValue::Integer).boxed(),
        1 => any::<u64>().prop_map(OwnValue::Double).boxed(),
        2 => any::<bool>().prop_map(OwnValue::Boolean).boxed(),
        3 => ".{0,24}".prop_map(OwnValue::String).boxed(),
        _ => prop::collection::vec(any::<u8>(), 0..200).prop_map(OwnValue::Binary).boxed(),
    }
}

/// Mostly ordinary rows: some columns missing, now and then another type, timestamp, version or a delete.
fn any_row() -> impl Strategy<Value = OwnRow> {
    let timestamp =
        prop_oneof![60 => Just(Some(1_700_000_000_000)), 1 => any::<i64>().prop_map(Some), 1 => Just(None)];
    let cell = move |name: usize| {
        let value = prop_oneof![40 => usual_value(name), 1 => usual_value(name + 1)];
        let cell = (Just(name), value, timestamp.clone()).boxed();
        prop_oneof![
            8 => prop::collection::vec(cell.clone(), 1),
            4 => Just(Vec::new()),
            1 => prop::collection::vec(cell, 2),
        ]
    };
    let cells = (0..NAMES.len()).map(cell).collect::<Vec<_>>().prop_map(|cells| cells.concat());
    (any::<i64>(), cells, prop::bool::weighted(0.02))
}

fn page_of(rows: &[OwnRow]) -> Vec<u8> {
    let mut page = Vec::new();
    write_header(&mut page);
    rows.iter().for_each(|row| write_row(&mut page, &row_of(row)));
    page
}

fn plan_of(rows: &[OwnRow]) -> ColumnPlan {
    let mut sample = Sample::default();
    rows.iter().for_each(|row| sample.observe(&row_of(row)));
    let id =
        PrimaryKeyColumn { name: "id".into(), column_type: PrimaryKeyType::Integer, auto_increment: false };
    sample.plan(&[id], &[]).unwrap()
}

/// The batch of a page, and how many of its rows took the shortcut.
fn batch_by_shortcut(page: &[u8], plan: &ColumnPlan) -> (Batch, usize) {
    let mut builder = BatchBuilder::new(Arc::new(plan.clone()));
    let expected = builder.expected();
    let mut reader = RowReader::new(page).unwrap();
    let (mut row, mut taken) = (Row::default(), 0);
    while reader.next_row_expecting(&expected, &mut row, builder.placed_cells()).unwrap() {
        let had_cells = !row.cells.is_empty();
        let is_expected = builder.append_read(&row).unwrap();
        assert!(!(is_expected && had_cells));
        taken += usize::from(is_expected);
    }
    (builder.finish().unwrap(), taken)
}

fn batch_by_the_general_way(page: &[u8], plan: &ColumnPlan) -> Batch {
    let mut builder = BatchBuilder::new(Arc::new(plan.clone()));
    let mut reader = RowReader::new(page).unwrap();
    let mut row = Row::default();
    while reader.next_row(&mut row).unwrap() {
        builder.append(&row).unwrap();
    }
    builder.finish().unwrap()
}

/// Index, value and timestamp of each expected cell.
#[derive(Default)]
struct Cells<'a>(Vec<(usize, Payload<'a>, i64)>);

impl<'a> CellSink<'a> for Cells<'a> {
    fn clear(&mut self) {
        self.0.clear();
    }

    fn put(&mut self, index: usize, payload: Payload<'a>, timestamp: i64) {
        assert!(self.0.last().is_none_or(|(last, ..)| *last < index), "indices ascend");
        self.0.push((index, payload, timestamp));
    }

    fn end(&mut self, cells: usize, _: usize, timestamp: i64) {
        assert_eq!(self.0.len(), cells);
        assert!(self.0.iter().all(|(.., of_cell)| *of_cell == timestamp), "one timestamp");
    }
}

/// Every row up to the first error, and that.
fn rows_by_shortcut<'a>(
    page: &'a [u8],
    names: &[(&'a str, ValueType)],
) -> (Vec<Row<'a>>, Option<DecodeError>) {
    let expected = ExpectedCells::new([("id", PrimaryKeyType::Integer)], names.iter().copied());
    let mut rows = Vec::new();
    let mut reader = match RowReader::new(page) {
        Ok(reader) => reader,
        Err(error) => return (rows, Some(error)),
    };
    let (mut row, mut placed) = (Row::default(), Cells::default());
    loop {
        match reader.next_row_expecting(&expected, &mut row, &mut placed) {
            Ok(true) => {}
            Ok(false) => return (rows, None),
            Err(error) => return (rows, Some(error)),
        }
        let cells = placed.0.iter().map(|(index, payload, timestamp)| {
            let value = match *payload {
                Payload::Integer(value) => Value::Integer(value),
                Payload::Double(bits) => Value::Double(f64::from_bits(bits)),
                Payload::Boolean(value) => Value::Boolean(value),
                Payload::String(text, _) => Value::String(text),
                Payload::Binary(bytes, _) => Value::Binary(bytes),
            };
            let (name, value_type) = names[*index];
            assert_eq!(value.value_type(), value_type);
            Cell::put(name, value, Some(*timestamp))
        });
        let cells: Vec<_> = cells.collect();
        rows.push(row.clone());
        rows.last_mut().unwrap().cells.extend(cells);
    }
}

fn rows_by_the_general_way(page: &[u8]) -> (Vec<Row<'_>>, Option<DecodeError>) {
    let mut rows = Vec::new();
    let mut reader = match RowReader::new(page) {
        Ok(reader) => reader,
        Err(error) => return (rows, Some(error)),
    };
    let mut row = Row::default();
    loop {
        match reader.next_row(&mut row) {
            Ok(true) => rows.push(row.clone()),
            Ok(false) => return (rows, None),
            Err(error) => return (rows, Some(error)),
        }
    }
}

fn usual_types() -> Vec<(&'static str, ValueType)> {
    let mut cells: Vec<_> = NAMES
        .iter()
        .zip(ValueType::ALL.iter().cycle())
        .map(|(name, value_type)| (*name, *value_type))
        .collect();
    // One name with two types.
    cells.insert(1, ("a", ValueType::Double));
    cells
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_page_gives_the_same_batch_with_and_without_the_shortcut(
        sampled in prop::collection::vec(any_row(), 0..20),
        rows in prop::collection::vec(any_row(), 1..40),
    ) {
        for plan in [plan_of(&rows), plan_of(&sampled)] {
            let page = page_of(&rows);
            let (short, _) = batch_by_shortcut(&page, &plan);
            let general = batch_by_the_general_way(&page, &plan);
            prop_assert_eq!(short.totals, general.totals);
            prop_assert_eq!(short.record_batch, general.record_batch);
        }
    }

    #[test]
    fn damage_and_cuts_are_found_at_the_same_byte_with_and_without_the_shortcut(
        rows in prop::collection::vec(any_row(), 1..6),
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let names = usual_types();
        let whole = page_of(&rows);
        let mut damaged = whole.clone();
        damaged[at.index(whole.len())] = byte;
        for page in [&whole, &damaged, &whole[..cut.index(whole.len())].to_vec()] {
            prop_assert_eq!(rows_by_shortcut(page, &names), rows_by_the_general_way(page));
        }
    }

    /// Damage that the checksum of the cell does not show: it is recomputed, and so is the row's.
    #[test]
    fn what_the_checksums_hide_is_judged_the_same_way(
        row in any_row(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let names = usual_types();
        let mut page = page_of(&[row]);
        let at = at.index(page.len());
        page[at] = byte;
        for _ in 0..=u8::MAX {
            let (rows, error) = rows_by_shortcut(&page, &names);
            prop_assert_eq!((&rows, &error), (&rows_by_the_general_way(&page).0, &rows_by_the_general_way(&page).1));
            use otsvault::plainbuffer::Fault;
            match error {
                Some(DecodeError {
                    offset,
                    fault: Fault::CellChecksum { computed, .. } | Fault::RowChecksum { computed, .. },
                }) => page[offset + 1] = computed,
                _ => break,
            }
        }
    }
}

#[test]
fn ordinary_rows_take_the_shortcut_and_all_others_do_not() {
    let ordinary = |key, names: &[usize]| -> OwnRow {
        let value = |name: usize| match name % 5 {
            0 => OwnValue::Integer(name as i64),
            1 => OwnValue::Double(0.5_f64.to_bits()),
            2 => OwnValue::Boolean(true),
            3 => OwnValue::String("grün".repeat(name)),
            _ => OwnValue::Binary(vec![0xff; name * 30]),
        };
        (key, names.iter().map(|name| (*name, value(*name), Some(9))).collect(), false)
    };
    let all: Vec<usize> = (0..NAMES.len()).collect();
    // The last one has more columns missing in a row than are tried one by one.
    let mut rows = vec![ordinary(1, &all), ordinary(2, &[3, 4]), ordinary(3, &[0, 11])];
    let plan = plan_of(&rows);
    assert_eq!(batch_by_shortcut(&page_of(&rows), &plan).1, 3);

    rows.push(ordinary(4, &[]));
    for change in 0..4 {
        let mut row = ordinary(5 + change, &all);
        match change {
            0 => row.1[3].2 = Some(10),
            1 => row.1[3].2 = None,
            2 => row.1[0].1 = OwnValue::String("another type".into()),
            _ => row.2 = true,
        }
        rows.push(row);
    }
    let mut two_versions = ordinary(9, &all);
    two_versions.1.insert(1, (0, OwnValue::Integer(1), Some(9)));
    rows.push(two_versions);
    let (batch, taken) = batch_by_shortcut(&page_of(&rows), &plan);
    assert_eq!((batch.totals.rows, taken), (9, 3));
}

/// What rows are in bytes, and their hashes, depend on the types of their keys.
#[test]
fn keys_of_every_type_and_length_count_the_same_by_the_shortcut() {
    let column =
        |name: &str, column_type| PrimaryKeyColumn { name: name.into(), column_type, auto_increment: false };
    let key = [
        column("text", PrimaryKeyType::String),
        column("number", PrimaryKeyType::Integer),
        column("some_bytes", PrimaryKeyType::Binary),
    ];
    let text = "abcdefgh".repeat(12);
    let rows: Vec<_> = (0..text.len())
        .map(|length| Row {
            key: vec![
                ("text", PrimaryKeyValue::String(&text[..length])),
                ("number", PrimaryKeyValue::Integer(7)),
                ("some_bytes", PrimaryKeyValue::Binary(&text.as_bytes()[length..])),
            ],
            cells: vec![
                Cell::put("a", Value::Integer(1), Some(9)),
                Cell::put("b", Value::String("b"), Some(9)),
            ],
            ..Row::default()
        })
        .collect();
    let (mut sample, mut page) = (Sample::default(), Vec::new());
    write_header(&mut page);
    for row in &rows {
        sample.observe(row);
        write_row(&mut page, row);
    }
    let plan = sample.plan(&key, &[]).unwrap();
    let (short, taken) = batch_by_shortcut(&page, &plan);
    let general = batch_by_the_general_way(&page, &plan);
    assert_eq!(taken, rows.len());
    assert_eq!(short.totals, general.totals);
    assert_eq!(short.record_batch, general.record_batch);
}
