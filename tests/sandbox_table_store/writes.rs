use otsvault::model::{Cell, CellOp, PrimaryKeyValue, Row, Value};
use otsvault::plainbuffer::encode_row;
use otsvault::proto;
use otsvault::sandbox::SandboxOptions;
use otsvault::sandbox::faults::{Action, Rule, Service};

use crate::client::{Client, condition, key_column, puts, row, table};

const WRONG: &str = "400 OTSParameterInvalid";

async fn client_with_table(max_versions: i32) -> Client {
    let client = Client::new(SandboxOptions::default()).await;
    client.create(&table("t", max_versions)).await.unwrap();
    client
}

fn number(name: &str, value: i64) -> Cell<'_> {
    Cell::put(name, Value::Integer(value), None)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[tokio::test]
async fn rows_over_a_limit_are_refused_alone_and_in_a_batch() {
    let client = client_with_table(1).await;
    let names: Vec<String> = (0..1_025).map(|at| format!("attr_{at}")).collect();
    let wide: Vec<_> = names.iter().map(|name| number(name, 1)).collect();
    let long = "a".repeat(2_097_153);
    let refused = [
        (
            row(0, &wide),
            "The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025.",
        ),
        (
            row(0, &[Cell::put("attr", Value::String(&long), None)]),
            "The length of attribute column: 'attr' exceeds the MaxLength:2097152 with CurrentLength:2097153.",
        ),
        (row(0, &[number("a-b", 1)]), "Invalid column name: 'a-b'."),
        (
            row(0, &[Cell::put("a", Value::Boolean(true), Some(i64::MAX / 1_000))]),
            "Timestamp must be in range [0, INT64_MAX/1000).",
        ),
        (
            Row { key: vec![("id", PrimaryKeyValue::InfMin)], ..Row::default() },
            "VT_INF_MIN is an invalid type for the primary key.",
        ),
        (
            Row { key: vec![("id", PrimaryKeyValue::Binary(&[7; 1_025]))], ..Row::default() },
            "The length of primary key column: 'id' exceeds the MaxLength:1024 with CurrentLength:1025.",
        ),
        (
            Row { key: vec![("id", PrimaryKeyValue::Integer(0)); 5], ..Row::default() },
            "The number of primary key columns must be in range: [1, 4].",
        ),
    ];
    for (row, text) in refused {
        let expected = Err(format!("{WRONG} {text}"));
        assert_eq!(client.put("t", &row).await.map(drop), expected);
        assert_eq!(client.batch(&puts("t", [encode_row(&row)])).await.map(drop), expected);
    }
    client.put("t", &row(0, &wide[..1_024])).await.unwrap();
}

#[tokio::test]
async fn keys_that_do_not_fit_the_table_fail_their_own_row_of_a_batch() {
    let client = client_with_table(1).await;
    let key = |name, value| Row { key: vec![(name, value)], ..Row::default() };
    let two = Row { key: vec![("id", PrimaryKeyValue::Integer(0)); 2], ..Row::default() };
    let wrong = [
        (key("other", PrimaryKeyValue::Integer(0)), "Validate PK name fail. Input: other, Meta: id."),
        (two, "Validate PK size fail. Input: 2, Meta: 1."),
        (
            key("id", PrimaryKeyValue::String("x")),
            "Validate PK type fail. Input: VT_STRING, Meta: VT_INTEGER.",
        ),
    ];
    for (row, text) in &wrong {
        assert_eq!(client.put("t", row).await.unwrap_err(), format!("400 OTSInvalidPK {text}"));
    }
    let rows = wrong.iter().map(|(row, _)| encode_row(row)).chain([encode_row(&row(9, &[]))]);
    let results = client.batch(&puts("t", rows)).await.unwrap();
    for (result, (_, text)) in results.iter().zip(&wrong) {
        assert_eq!(*result, Err(format!("OTSInvalidPK {text}")));
    }
    assert_eq!(results.last(), Some(&Ok(())));
}

#[tokio::test]
async fn a_batch_holds_200_rows_and_4_mib_by_the_data_size_rule() {
    let client = client_with_table(1).await;
    let batch = |count| puts("t", (0..count).map(|id| encode_row(&row(id, &[number("a", id)]))));
    assert!(client.batch(&batch(200)).await.unwrap().iter().all(Result::is_ok));
    let more = client.batch(&batch(201)).await.unwrap_err();
    assert_eq!(more, format!("{WRONG} Rows count exceeds the upper limit: 200."));

    // Each row: 2 + 8 for the key, 1 + 2,097,141 for the cell, 8 for the second one's timestamp.
    let text = "a".repeat(2_097_141);
    let fits = [
        row(0, &[Cell::put("a", Value::String(&text), None)]),
        row(1, &[Cell::put("a", Value::String(&text), None)]),
    ];
    assert!(client.batch(&puts("t", fits.iter().map(encode_row))).await.is_ok());
    let mut over = fits;
    over[1].cells[0].timestamp = Some(now());
    let refused = client.batch(&puts("t", over.iter().map(encode_row))).await.unwrap_err();
    assert_eq!(
        refused,
        format!(
            "{WRONG} The total data size of BatchWriteRow request exceeds the limit, limit size: 4194304, data size: \
             4194312."
        )
    );
}

#[tokio::test]
async fn a_put_replaces_the_row_and_an_update_merges_into_it() {
    let client = client_with_table(3).await;
    let at = now();
    let version = |value, back| Cell::put("v", Value::Integer(value), Some(at - back));
    client.put("t", &row(1, &[version(1, 30), version(2, 20), version(3, 10), version(4, 0)])).await.unwrap();
    let shown = |versions: &[(i64, i64)]| -> Vec<String> {
        versions.iter().map(|(value, back)| format!("v@{}=Integer({value})", at - back)).collect()
    };
    assert_eq!(client.get("t", &row(1, &[])).await.unwrap(), Some(shown(&[(4, 0), (3, 10), (2, 20)])));

    let delete = |op, timestamp| Cell { name: "v", value: None, op: Some(op), timestamp };
    let one = delete(CellOp::DeleteOneVersion, Some(at - 10));
    client.update("t", &row(1, &[one])).await.unwrap();
    assert_eq!(client.get("t", &row(1, &[])).await.unwrap(), Some(shown(&[(4, 0), (2, 20)])));
    let step = Cell { op: Some(CellOp::Increment), ..number("n", 5) };
    client.update("t", &row(1, &[delete(CellOp::DeleteAllVersions, None), step])).await.unwrap();
    let cells = client.get("t", &row(1, &[])).await.unwrap().unwrap();
    assert!(cells.len() == 1 && cells[0].starts_with("n@") && cells[0].ends_with("=Integer(5)"), "{cells:?}");
    client.put("t", &row(1, &[])).await.unwrap();
    assert_eq!(client.get("t", &row(1, &[])).await.unwrap(), Some(vec![]));

    let gone = Row { delete_marker: true, ..row(1, &[]) };
    let request = proto::DeleteRowRequest {
        table_name: "t".into(),
        primary_key: encode_row(&gone).into(),
        condition: condition(proto::RowExistenceExpectation::Ignore),
        ..Default::default()
    };
    client.call::<proto::DeleteRowResponse>("DeleteRow", &request).await.unwrap();
    assert_eq!(client.get("t", &row(1, &[])).await.unwrap(), None);
}

#[tokio::test]
async fn conditions_decide_and_a_refused_change_leaves_the_row_alone() {
    use proto::RowExistenceExpectation::{ExpectExist, ExpectNotExist};
    let client = client_with_table(1).await;
    let failed = "403 OTSConditionCheckFail Condition check failed.";
    let one = row(1, &[number("a", 1)]);
    assert_eq!(client.put_if("t", &one, condition(ExpectExist)).await.unwrap_err(), failed);
    let units = client.put_if("t", &one, condition(ExpectNotExist)).await.unwrap().consumed.capacity_unit;
    assert_eq!((units.read, units.write), (Some(1), Some(1)));
    assert_eq!(client.put_if("t", &one, condition(ExpectNotExist)).await.unwrap_err(), failed);
    // The increment of a STRING fails after the first cell was changed.
    let mixed = row(2, &[Cell::put("s", Value::String("x"), Some(now()))]);
    client.put("t", &mixed).await.unwrap();
    let before = client.get("t", &mixed).await.unwrap();
    let step = |name| Cell { op: Some(CellOp::Increment), ..number(name, 1) };
    assert!(client.update("t", &row(2, &[number("b", 1), step("s")])).await.is_err());
    assert_eq!(client.get("t", &mixed).await.unwrap(), before);
}

#[tokio::test]
async fn timestamps_must_be_near_the_clock_and_expired_cells_vanish() {
    let client = client_with_table(2).await;
    let day = 86_400_000;
    let at = |timestamp| row(1, &[Cell::put("a", Value::Boolean(true), Some(timestamp))]);
    for outside in [now() - day - 60_000, now() + day + 60_000] {
        let refused = client.put("t", &at(outside)).await.unwrap_err();
        assert!(refused.starts_with(WRONG) && refused.contains("Invalid timestamp. Cell:a."), "{refused}");
    }
    let change = |time_to_live, deviation| proto::UpdateTableRequest {
        table_name: "t".into(),
        table_options: Some(proto::TableOptions {
            time_to_live,
            deviation_cell_version_in_sec: deviation,
            ..Default::default()
        }),
        ..Default::default()
    };
    let update =
        async |request| client.call::<proto::UpdateTableResponse>("UpdateTable", &request).await.unwrap();
    // The restore recipe: write anything, then put the options back.
    update(change(None, Some(i64::MAX / 1_000_000))).await;
    client.put("t", &at(0)).await.unwrap();
    client.put("t", &row(2, &[number("a", 1)])).await.unwrap();
    update(change(Some(86_400), Some(86_400))).await;
    assert_eq!(client.get("t", &at(0)).await.unwrap(), None);
    assert!(client.get("t", &row(2, &[])).await.unwrap().is_some());
    client.sandbox.advance_clock(std::time::Duration::from_secs(86_401));
    assert_eq!(client.get("t", &row(2, &[])).await.unwrap(), None);
    assert_eq!(client.sandbox.row_sum("t").unwrap().0, 0);
}

#[tokio::test]
async fn the_service_alone_makes_auto_increment_values() {
    let client = Client::new(SandboxOptions::default()).await;
    let mut request = table("t", 1);
    request.table_meta.primary_key.push(proto::PrimaryKeySchema {
        option: Some(proto::PrimaryKeyOption::AutoIncrement as i32),
        ..key_column("auto", proto::PrimaryKeyType::Integer)
    });
    client.create(&request).await.unwrap();
    let row =
        |value| Row { key: vec![("id", PrimaryKeyValue::Integer(1)), ("auto", value)], ..Row::default() };
    let mut values = Vec::new();
    for _ in 0..3 {
        let put = client.put("t", &row(PrimaryKeyValue::AutoIncrement)).await.unwrap();
        let key = otsvault::plainbuffer::decode_key(&put.row.unwrap()).unwrap();
        values.push(match key.parts()[1] {
            otsvault::model::KeyPart::Integer(value) => value,
            _ => panic!("{key}"),
        });
    }
    assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}");
    use proto::RowExistenceExpectation::ExpectExist;
    let expected = client.put_if("t", &row(PrimaryKeyValue::AutoIncrement), condition(ExpectExist)).await;
    let text = "Invalid expect:EXPECT_EXIST when modify row with pk auto increment";
    assert_eq!(expected.unwrap_err(), format!("{WRONG} {text}"));
    let failed = "403 OTSConditionCheckFail Condition check failed.";
    assert_eq!(client.put("t", &row(PrimaryKeyValue::Integer(values[0]))).await.unwrap_err(), failed);
    let known = row(PrimaryKeyValue::Integer(values[0]));
    client.put_if("t", &known, condition(ExpectExist)).await.unwrap();
}

#[tokio::test]
async fn predefined_columns_keep_their_type() {
    let client = Client::new(SandboxOptions::default()).await;
    let mut request = table("t", 1);
    let column_type = proto::DefinedColumnType::DctInteger as i32;
    request.table_meta.defined_column =
        vec![proto::DefinedColumnSchema { name: "DC2".into(), r#type: column_type }];
    client.create(&request).await.unwrap();
    let refused = client.put("t", &row(1, &[Cell::put("DC2", Value::Binary(b"x"), None)])).await.unwrap_err();
    assert_eq!(
        refused,
        format!("{WRONG} Invalid column type for column DC2 expect VT_INTEGER actual VT_BLOB")
    );
}

#[tokio::test]
async fn an_atomic_batch_is_all_or_nothing_within_one_partition_key() {
    let client = client_with_table(1).await;
    let mut scattered = puts("t", [encode_row(&row(1, &[])), encode_row(&row(2, &[]))]);
    scattered.is_atomic = Some(true);
    let results = client.batch(&scattered).await.unwrap();
    assert!(results.iter().all(|row| row.as_ref().is_err_and(|text| text.starts_with("OTSDataOutOfRange"))));
    let mut same =
        puts("t", [encode_row(&row(1, &[number("a", 1)])), encode_row(&row(1, &[number("a", 2)]))]);
    same.is_atomic = Some(true);
    same.tables[0].rows[1].condition = condition(proto::RowExistenceExpectation::ExpectNotExist);
    let results = client.batch(&same).await.unwrap();
    assert!(
        results.iter().all(|row| row.as_ref().is_err_and(|text| text.starts_with("OTSConditionCheckFail")))
    );
    assert_eq!(client.get("t", &row(1, &[])).await.unwrap(), None);
}

#[tokio::test]
async fn writes_fail_on_demand_whole_or_by_row_and_a_timeout_may_have_written() {
    let client = client_with_table(1).await;
    let busy = Action::error(503, "OTSServerBusy", "Server is busy.");
    client.sandbox.faults().add(Rule::new(busy).on(Service::TableStore, "BatchWriteRow/row").nth(2));
    let rows = (0..3).map(|id| encode_row(&row(id, &[])));
    let results = client.batch(&puts("t", rows)).await.unwrap();
    assert_eq!(results, [Ok(()), Err("OTSServerBusy Server is busy.".to_owned()), Ok(())]);
    let timeout = Action::Custom("timeout-after".into());
    client.sandbox.faults().add(Rule::new(timeout).on(Service::TableStore, "PutRow").nth(1));
    let put = client.put("t", &row(7, &[])).await.unwrap_err();
    assert_eq!(put, "503 OTSTimeout Operation timeout.");
    assert!(client.get("t", &row(7, &[])).await.unwrap().is_some());
    client.sandbox.faults().add(Rule::new(Action::DropAfter).on(Service::TableStore, "PutRow").nth(1));
    assert!(client.put("t", &row(8, &[])).await.unwrap_err().starts_with("connection"));
    assert!(client.get("t", &row(8, &[])).await.unwrap().is_some());
    let figures = client.sandbox.counters().snapshot().operation(Service::TableStore, "PutRow");
    assert_eq!((figures.requests, figures.errors), (2, 2));
}
