//! Rows to record batches and back: nothing is lost, whatever the plan.

#[path = "columnar/row_encoder.rs"]
mod row_encoder;

use std::sync::Arc;

use otsvault::columnar::{Batch, BatchBuilder, ColumnPlan, Role, RowsReader, Sample, arrow_schema};
use otsvault::model::{
    Cell, CellOp, DefinedColumn, PrimaryKeyColumn, PrimaryKeyType, PrimaryKeyValue, Row, RowHasher, RowSum,
    Value, ValueType,
};
use proptest::prelude::*;

fn key_columns() -> Vec<PrimaryKeyColumn> {
    [("k", PrimaryKeyType::String), ("n", PrimaryKeyType::Integer), ("x", PrimaryKeyType::Binary)]
        .map(|(name, column_type)| PrimaryKeyColumn { name: name.into(), column_type, auto_increment: false })
        .to_vec()
}

/// A row of its own: what proptest makes and shrinks.
#[derive(Debug, Clone)]
struct OwnRow {
    key: (String, i64, Vec<u8>),
    cells: Vec<OwnCell>,
}

/// Name, value, timestamp, operation.
type OwnCell = (String, Option<OwnValue>, Option<i64>, Option<CellOp>);

#[derive(Debug, Clone)]
enum OwnValue {
    Integer(i64),
    Double(u64),
    Boolean(bool),
    String(String),
    Binary(Vec<u8>),
}

impl OwnRow {
    fn row(&self) -> Row<'_> {
        let (k, n, x) = &self.key;
        Row {
            key: vec![
                ("k", PrimaryKeyValue::String(k)),
                ("n", PrimaryKeyValue::Integer(*n)),
                ("x", PrimaryKeyValue::Binary(x)),
            ],
            cells: self
                .cells
                .iter()
                .map(|(name, value, timestamp, op)| Cell {
                    name,
                    value: value.as_ref().map(|value| match value {
                        OwnValue::Integer(value) => Value::Integer(*value),
                        OwnValue::Double(bits) => Value::Double(f64::from_bits(*bits)),
                        OwnValue::Boolean(value) => Value::Boolean(*value),
                        OwnValue::String(value) => Value::String(value),
                        OwnValue::Binary(value) => Value::Binary(value),
                    }),
                    op: *op,
                    timestamp: *timestamp,
                })
                .collect(),
            ..Row::default()
        }
    }
}

fn value() -> impl Strategy<Value = OwnValue> {
    prop_oneof![
        3 => any::<i64>().prop_map(OwnValue::Integer),
        2 => prop_oneof![
            any::<u64>(),
            Just((-0.0f64).to_bits()),
            Just(0x7ff8_0000_dead_beef),
            Just(0xfff0_0000_0000_0001),
        ]
        .prop_map(OwnValue::Double),
        1 => any::<bool>().prop_map(OwnValue::Boolean),
        2 => "\\PC{0,12}".prop_map(OwnValue::String),
        1 => prop::collection::vec(any::<u8>(), 0..8).prop_map(OwnValue::Binary),
    ]
}

fn cells() -> impl Strategy<Value = Vec<OwnCell>> {
    let name = prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c", "temp", "Temp", "TEMP", "_ts", "_overflow", "_op", "K", "a$int", "a$ts"])
            .prop_map(str::to_owned),
        1 => "[a-z]{1,3}",
    ];
    let timestamp = prop_oneof![
        6 => Just(Some(1_700_000_000_000)),
        2 => (1_699_999_999_990i64..1_700_000_000_010).prop_map(Some),
        1 => any::<i64>().prop_map(Some),
        1 => Just(None),
    ];
    let cell = prop_oneof![
        12 => (value(), timestamp.clone()).prop_map(|(value, timestamp)| (Some(value), timestamp, None)),
        1 => timestamp.clone().prop_map(|timestamp| (None, timestamp, Some(CellOp::DeleteAllVersions))),
        1 => timestamp.prop_map(|timestamp| (None, timestamp, Some(CellOp::DeleteOneVersion))),
    ];
    prop::collection::btree_map(name, prop::collection::vec(cell, 1..4), 0..8).prop_map(|columns| {
        columns
            .into_iter()
            .flat_map(|(name, versions)| {
                versions.into_iter().map(move |(value, timestamp, op)| (name.clone(), value, timestamp, op))
            })
            .collect()
    })
}

fn rows(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<OwnRow>> {
    let key = ("[a-zé]{0,4}", any::<i64>(), prop::collection::vec(any::<u8>(), 0..4));
    prop::collection::vec((key, cells()).prop_map(|(key, cells)| OwnRow { key, cells }), count)
}

fn plan_of(rows: &[OwnRow], defined: &[DefinedColumn]) -> ColumnPlan {
    let mut sample = Sample::default();
    rows.iter().for_each(|row| sample.observe(&row.row()));
    sample.plan(&key_columns(), defined).unwrap()
}

fn batch_of(rows: &[OwnRow], plan: &ColumnPlan) -> Batch {
    let mut builder = BatchBuilder::new(Arc::new(plan.clone()));
    rows.iter().for_each(|row| builder.append(&row.row()).unwrap());
    builder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_come_back_as_they_were_under_a_plan_made_from_other_rows(
        sampled in rows(0..12),
        written in rows(0..12),
        other in rows(0..5),
    ) {
        let plan = plan_of(&sampled, &[]);
        let mut builder = BatchBuilder::new(Arc::new(plan.clone()));
        // The same builder makes several batches.
        for rows in [&written, &other] {
            rows.iter().for_each(|row| builder.append(&row.row()).unwrap());
            let bytes = builder.bytes();
            let Batch { record_batch, totals } = builder.finish().unwrap();
            prop_assert_eq!(record_batch.schema(), arrow_schema(&plan));
            prop_assert!(bytes >= rows.len() * 8);
            let back: Vec<Row<'_>> =
                RowsReader::new(&record_batch, &plan).unwrap().collect::<Result<_, _>>().unwrap();
            let expected: Vec<Row<'_>> = rows.iter().map(OwnRow::row).collect();
            let mut hasher = RowHasher::default();
            let row_sum: RowSum = expected.iter().map(|row| hasher.row(row)).sum();
            prop_assert_eq!(&back, &expected);
            prop_assert_eq!(totals.row_sum, row_sum);
            prop_assert_eq!(totals.rows, rows.len() as u64);
            prop_assert_eq!(totals.cells, rows.iter().map(|row| row.cells.len() as u64).sum::<u64>());
        }
    }

    #[test]
    fn a_plan_made_from_the_rows_themselves_keeps_them_too_and_survives_json(written in rows(1..40)) {
        let plan = plan_of(&written, &[]);
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(&serde_json::from_str::<ColumnPlan>(&json).unwrap(), &plan);
        let batch = batch_of(&written, &plan);
        let back: Vec<Row<'_>> =
            RowsReader::new(&batch.record_batch, &plan).unwrap().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(back, written.iter().map(OwnRow::row).collect::<Vec<_>>());
    }
}

fn own(n: i64, cells: &[(&str, OwnValue, i64)]) -> OwnRow {
    OwnRow {
        key: ("k".into(), n, vec![]),
        cells: cells
            .iter()
            .map(|(name, value, timestamp)| ((*name).to_owned(), Some(value.clone()), Some(*timestamp), None))
            .collect(),
    }
}

fn names(plan: &ColumnPlan) -> Vec<&str> {
    plan.columns().iter().map(|column| column.name.as_str()).collect()
}

#[test]
fn the_dominant_type_has_the_bare_name_and_frequent_other_types_have_a_suffix() {
    let rows: Vec<OwnRow> = (0..1_000)
        .map(|n| match n {
            0..20 => own(n, &[("v", OwnValue::String("n/a".into()), 7)]),
            20..29 => own(n, &[("v", OwnValue::Boolean(true), 7)]),
            _ => own(n, &[("v", OwnValue::Double(n as u64), 7)]),
        })
        .collect();
    let plan = plan_of(&rows, &[]);
    assert_eq!(names(&plan), ["k", "n", "x", "v", "v$string", "_ts", "_overflow"]);
    assert_eq!(plan.attribute("v", ValueType::Double).unwrap().name, "v");
    assert_eq!(plan.attribute("v", ValueType::Boolean), None, "9 in 1,000 is rare");
    let batch = batch_of(&rows, &plan).record_batch;
    assert_eq!(batch.column_by_name("_overflow").unwrap().null_count(), 991);
    assert_eq!(batch.column_by_name("v$string").unwrap().null_count(), 980);
}

#[test]
fn a_column_with_timestamps_of_its_own_gets_a_timestamp_column() {
    let rows: Vec<OwnRow> = (0..100)
        .map(|n| {
            let seen = if n % 5 == 0 { 1_000 + n } else { 7 };
            own(
                n,
                &[
                    ("a", OwnValue::Integer(n), 7),
                    ("b", OwnValue::Integer(n), 7),
                    ("seen", OwnValue::Integer(n), seen),
                ],
            )
        })
        .collect();
    let plan = plan_of(&rows, &[]);
    assert_eq!(names(&plan), ["k", "n", "x", "a", "b", "seen", "seen$ts", "_ts", "_overflow"]);
    let batch = batch_of(&rows, &plan).record_batch;
    assert_eq!(batch.column_by_name("_overflow").unwrap().null_count(), 100);
    assert_eq!(batch.column_by_name("seen$ts").unwrap().null_count(), 80);
}

#[test]
fn predefined_columns_are_promoted_even_when_no_row_has_them() {
    let defined = [DefinedColumn { name: "later".into(), column_type: ValueType::Binary }];
    let plan = plan_of(&[own(1, &[("later", OwnValue::Integer(1), 7)])], &defined);
    assert_eq!(names(&plan), ["k", "n", "x", "later$int", "later", "_ts", "_overflow"]);
}

#[test]
fn the_most_frequent_names_are_promoted_and_a_previous_plan_is_kept() {
    let wide: Vec<OwnRow> = (0..1_200)
        .map(|n| own(n, &[("all", OwnValue::Integer(n), 7), (&format!("z{n:04}"), OwnValue::Integer(n), 7)]))
        .collect();
    let plan = plan_of(&wide, &[]);
    assert_eq!(plan.columns().len(), 3 + 1_000 + 2);
    assert!(plan.attribute("all", ValueType::Integer).is_some());

    let mut sample = Sample::default();
    sample.keep(&plan);
    sample.observe(&own(1, &[("new", OwnValue::Boolean(true), 7)]).row());
    let next = sample.plan(&key_columns(), &[]).unwrap();
    assert!(next.attribute("z0500", ValueType::Integer).is_some());
    assert!(next.attribute("new", ValueType::Boolean).is_none(), "the plan was full already");
}

#[test]
fn field_ids_are_unique_in_the_whole_schema() {
    fn collect(field: &arrow::datatypes::Field, ids: &mut Vec<String>) {
        use arrow::datatypes::DataType;
        if let Some(id) = field.metadata().get(otsvault::columnar::FIELD_ID) {
            ids.push(id.clone());
        }
        match field.data_type() {
            DataType::Map(child, _) | DataType::List(child) => collect(child, ids),
            DataType::Struct(children) => children.iter().for_each(|child| collect(child, ids)),
            _ => {}
        }
    }
    let plan = plan_of(&[own(1, &[("a", OwnValue::Integer(1), 7)])], &[]);
    let mut ids = Vec::new();
    arrow_schema(&plan).fields().iter().for_each(|field| collect(field, &mut ids));
    let count = ids.len();
    assert_eq!(count, plan.columns().len() + ColumnPlan::OVERFLOW_CHILDREN as usize);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn cells_out_of_order_come_back_in_wire_order() {
    let mixed = own(
        1,
        &[
            ("c", OwnValue::Integer(1), 7),
            ("a", OwnValue::Integer(2), 7),
            ("c", OwnValue::Integer(3), 6),
            ("b", OwnValue::Integer(4), 7),
        ],
    );
    let plan = plan_of(std::slice::from_ref(&mixed), &[]);
    let batch = batch_of(&[mixed], &plan);
    let back = RowsReader::new(&batch.record_batch, &plan).unwrap().next().unwrap().unwrap();
    let order: Vec<_> = back.cells.iter().map(|cell| (cell.name, cell.value.unwrap())).collect();
    let expected = [("a", 2), ("b", 4), ("c", 1), ("c", 3)].map(|(name, n)| (name, Value::Integer(n)));
    assert_eq!(order, expected);
}

#[test]
fn a_row_that_does_not_fit_is_refused_by_column_name_and_changes_nothing() {
    let plan = Arc::new(plan_of(&[], &[]));
    let mut builder = BatchBuilder::new(Arc::clone(&plan));
    let good = own(1, &[]);
    let mut row = good.row();
    row.key[1].1 = PrimaryKeyValue::String("one");
    let error = builder.append(&row).unwrap_err();
    assert!(error.to_string().contains("`n`"), "{error}");
    row.key.truncate(1);
    assert!(builder.append(&row).is_err());
    let mut row = good.row();
    row.cells.push(Cell { name: "a", value: None, op: None, timestamp: Some(7) });
    let error = builder.append(&row).unwrap_err();
    assert!(error.to_string().contains("`a`"), "{error}");
    builder.append(&good.row()).unwrap();
    assert_eq!(builder.finish().unwrap().totals.rows, 1);
}

#[test]
fn a_damaged_plan_is_refused() {
    let plan = plan_of(&[own(1, &[("a", OwnValue::Integer(1), 7), ("b", OwnValue::Integer(1), 7)])], &[]);
    let columns = plan.columns().to_vec();
    let broken = |change: &dyn Fn(&mut Vec<_>)| {
        let mut columns = columns.clone();
        change(&mut columns);
        ColumnPlan::new(columns).is_err()
    };
    assert!(!broken(&|_| {}));
    assert!(broken(&|columns| columns.swap(3, 4)), "order");
    assert!(broken(&|columns| columns[3].name = "B".into()), "case");
    assert!(broken(&|columns| columns[3].field_id = 1), "field id twice");
    assert!(broken(&|columns| columns[3].field_id = -1), "negative field id");
    assert!(broken(&|columns| columns.last_mut().unwrap().field_id = i32::MAX), "field id overflow");
    assert!(broken(&|columns| columns.truncate(5)), "no overflow");
    assert!(broken(&|columns| drop(columns.drain(..3))), "no key");
    assert!(
        broken(&|columns| columns[4].role = Role::AttributeTimestamp { attribute: "q".into() }),
        "timestamps of nothing"
    );
}
