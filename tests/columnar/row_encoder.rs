//! Record batches to PlainBuffer: the bytes are those of the row reader and the row writer.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use otsvault::Kind;
use otsvault::columnar::{ColumnPlan, EncodedRows, Role, RowEncoder, RowSelection, RowsReader};
use otsvault::model::{Cell, PrimaryKeyValue, Row, Value, ValueType};
use otsvault::plainbuffer::encode_row;
use proptest::prelude::*;

use super::{OwnRow, OwnValue, batch_of, own, plan_of, rows};

/// Bytes, data size and cells of a row.
type Put = (Vec<u8>, usize, usize);

fn put(row: &Row<'_>) -> Put {
    let of_key = |value: &PrimaryKeyValue<'_>| match value {
        PrimaryKeyValue::String(text) => text.len(),
        PrimaryKeyValue::Binary(bytes) => bytes.len(),
        _ => 8,
    };
    let keys = row.key.iter().map(|(name, value)| name.len() + of_key(value)).sum::<usize>();
    let of_cell = |cell: &Cell<'_>| {
        cell.name.len() + cell.value.map_or(0, Value::data_size) + cell.timestamp.map_or(0, |_| 8)
    };
    (encode_row(row), keys + row.cells.iter().map(of_cell).sum::<usize>(), row.cells.len())
}

/// The same selection, row by row.
fn selected<'a>(mut row: Row<'a>, selection: &RowSelection) -> Row<'a> {
    for (name, value) in &mut row.key {
        if selection.auto_increment.as_deref() == Some(*name) {
            *value = PrimaryKeyValue::AutoIncrement;
        }
    }
    row.cells.retain(|cell| selection.attributes.as_ref().is_none_or(|all| all.contains(cell.name)));
    if selection.flatten {
        row.cells.dedup_by_key(|cell| cell.name);
        row.cells.iter_mut().for_each(|cell| cell.timestamp = None);
    }
    row
}

fn encoded(plan: &ColumnPlan, selection: &RowSelection, written: &[OwnRow], max_bytes: usize) -> Vec<Put> {
    let encoder = RowEncoder::new(Arc::new(plan.clone()), selection.clone()).unwrap();
    let batch = batch_of(written, plan).record_batch;
    let mut rows = encoder.batch(&batch).unwrap();
    let (mut into, mut all) = (EncodedRows::default(), Vec::new());
    while rows.encode(max_bytes, &mut into).unwrap() {
        assert_eq!(into.iter().len(), into.len());
        for (index, row) in into.iter().enumerate() {
            assert_eq!(into.get(index), Some(row));
            assert!(
                index == 0 || into.iter().take(index).map(|row| row.bytes.len()).sum::<usize>() < max_bytes
            );
            all.push((row.bytes.to_vec(), row.data_size, row.cells));
        }
        assert_eq!(rows.remaining(), written.len() - all.len());
    }
    assert!(into.is_empty());
    all
}

/// Rows as a table has them: puts alone.
fn stored_rows(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<OwnRow>> {
    rows(count).prop_map(|mut rows| {
        for row in &mut rows {
            row.cells.retain(|(_, value, _, _)| value.is_some());
        }
        rows
    })
}

fn selections() -> impl Strategy<Value = RowSelection> {
    let names =
        prop::collection::btree_set(prop::sample::select(vec!["a", "b", "c", "temp", "_ts", "x1"]), 0..5);
    let names = names.prop_map(|names| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>());
    (prop::option::of(names), any::<bool>(), prop::option::weighted(0.3, Just("n".to_owned()))).prop_map(
        |(attributes, flatten, auto_increment)| RowSelection { attributes, flatten, auto_increment },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_encoded_row_has_the_bytes_of_the_row_writer_whatever_is_selected(
        sampled in stored_rows(0..12),
        written in stored_rows(0..12),
        selection in selections(),
        own_plan: bool,
        max_bytes in prop_oneof![Just(usize::MAX), 1..800_usize],
    ) {
        let plan = plan_of(if own_plan { &written } else { &sampled }, &[]);
        let expected: Vec<Put> =
            written.iter().map(|row| put(&selected(row.row(), &selection))).collect();
        prop_assert_eq!(encoded(&plan, &selection, &written, max_bytes), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rows are encoded in blocks of 64.
    #[test]
    fn so_has_each_of_many_rows(
        written in stored_rows(60..260),
        selection in selections(),
        max_bytes in prop_oneof![Just(usize::MAX), 1..9_000_usize],
    ) {
        let plan = plan_of(&written[..50], &[]);
        let expected: Vec<Put> =
            written.iter().map(|row| put(&selected(row.row(), &selection))).collect();
        prop_assert_eq!(encoded(&plan, &selection, &written, max_bytes), expected);
    }
}

#[test]
fn a_slice_of_a_batch_gives_the_rows_of_the_slice() {
    let written: Vec<OwnRow> = (0..300)
        .map(|n| {
            let mut row = own(n, &[("always", OwnValue::Integer(n), 7)]);
            if n % 3 == 0 {
                row.cells.push((
                    "text".into(),
                    Some(OwnValue::String("x".repeat(n as usize))),
                    Some(7),
                    None,
                ));
            }
            if n % 50 == 1 {
                row.cells.push(("zz".into(), Some(OwnValue::Boolean(true)), Some(n), None));
            }
            row
        })
        .collect();
    let plan = Arc::new(plan_of(&written, &[]));
    let batch = batch_of(&written, &plan).record_batch;
    let encoder = RowEncoder::new(plan, RowSelection::default()).unwrap();
    for (start, length) in [(0, 300), (1, 64), (63, 2), (130, 170), (299, 1), (300, 0)] {
        let mut rows = encoder.batch(&batch.slice(start, length)).unwrap();
        let mut into = EncodedRows::default();
        assert_eq!(rows.encode(usize::MAX, &mut into).unwrap(), length > 0);
        let found: Vec<Vec<u8>> = into.iter().map(|row| row.bytes.to_vec()).collect();
        let expected: Vec<_> =
            written[start..start + length].iter().map(|row| encode_row(&row.row())).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn cells_that_no_stored_row_has_are_refused_by_name() {
    let mut deleted = own(1, &[("b", OwnValue::Integer(1), 7)]);
    deleted.cells.push(("c".into(), None, Some(7), Some(otsvault::model::CellOp::DeleteOneVersion)));
    let plan = plan_of(std::slice::from_ref(&deleted), &[]);
    let batch = batch_of(&[deleted], &plan).record_batch;
    let encoder = RowEncoder::new(Arc::new(plan), RowSelection::default()).unwrap();
    let mut rows = encoder.batch(&batch).unwrap();
    let error = rows.encode(usize::MAX, &mut EncodedRows::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("`c`"), "{error}");
}

#[test]
fn the_service_can_only_assign_values_of_an_integer_key_column_behind_the_first() {
    let plan = Arc::new(plan_of(&[own(1, &[("a", OwnValue::Integer(1), 7)])], &[]));
    for (column, fits) in [("n", true), ("k", false), ("a", false), ("nobody", false)] {
        let selection = RowSelection { auto_increment: Some(column.into()), ..RowSelection::default() };
        assert_eq!(RowEncoder::new(Arc::clone(&plan), selection).is_ok(), fits, "{column}");
    }
}

#[test]
fn one_attribute_with_newest_values_of_two_types_is_refused_by_name() {
    let rows = [own(1, &[("v", OwnValue::Integer(1), 7)]), own(2, &[("v", OwnValue::Boolean(true), 7)])];
    let plan = plan_of(&rows, &[]);
    let batch = batch_of(&rows, &plan).record_batch;
    // The boolean of row 2 in row 1 as well: what a damaged or forged file can hold.
    let columns = (0..batch.num_columns()).map(|column| match plan.columns()[column].role {
        Role::Attribute { value_type: ValueType::Boolean, .. } => {
            Arc::new(BooleanArray::from(vec![true, true])) as ArrayRef
        }
        _ => batch.column(column).clone(),
    });
    let forged = RecordBatch::try_new(batch.schema(), columns.collect()).unwrap();
    let encoder = RowEncoder::new(Arc::new(plan), RowSelection::default()).unwrap();
    let error = encoder.batch(&forged).unwrap().encode(usize::MAX, &mut EncodedRows::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("`v`"), "{error}");
}

#[test]
fn a_value_without_a_timestamp_is_refused_by_name() {
    let rows = [own(1, &[("v", OwnValue::Integer(1), 7)])];
    let plan = plan_of(&rows, &[]);
    let batch = batch_of(&rows, &plan).record_batch;
    let columns = (0..batch.num_columns()).map(|column| match plan.columns()[column].role {
        Role::RowTimestamp => Arc::new(Int64Array::from(vec![None])) as ArrayRef,
        _ => batch.column(column).clone(),
    });
    let forged = RecordBatch::try_new(batch.schema(), columns.collect()).unwrap();
    for flatten in [false, true] {
        let selection = RowSelection { flatten, ..RowSelection::default() };
        let encoder = RowEncoder::new(Arc::new(plan.clone()), selection).unwrap();
        let mut rows = encoder.batch(&forged).unwrap();
        let error = rows.encode(usize::MAX, &mut EncodedRows::default()).unwrap_err();
        assert!(error.to_string().contains("`v`"), "{error}");
    }
}

#[test]
fn a_batch_of_another_plan_is_refused() {
    let one = plan_of(&[own(1, &[("a", OwnValue::Integer(1), 7)])], &[]);
    let other = plan_of(&[own(1, &[("b", OwnValue::Integer(1), 7)])], &[]);
    let batch = batch_of(&[own(1, &[])], &one).record_batch;
    assert!(RowsReader::new(&batch, &other).is_err());
    let encoder = RowEncoder::new(Arc::new(other), RowSelection::default()).unwrap();
    assert_eq!(encoder.batch(&batch).unwrap_err().kind(), Kind::Corrupt);
}
