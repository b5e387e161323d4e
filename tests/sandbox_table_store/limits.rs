//! The limits of rows, batches, reads and tables, each with the text that the service refuses it with. The edge itself
//! passes in the tests of the operations.

use otsvault::model::{Cell, CellOp, PrimaryKeyValue, Row, Value};
use otsvault::plainbuffer::encode_row;
use otsvault::proto;
use otsvault::sandbox::SandboxOptions;
use prost::Message;

use crate::client::{Client, condition, key_column, puts, row, table, whole};

use proto::RowExistenceExpectation::{ExpectExist, Ignore};

/// Operation, body, `code text`.
type Case = (&'static str, Vec<u8>, String);

fn wrong(operation: &'static str, request: &impl Message, text: &str) -> Case {
    (operation, request.encode_to_vec(), format!("OTSParameterInvalid {text}"))
}

fn put_of(table: &str, row: &Row<'_>) -> proto::PutRowRequest {
    proto::PutRowRequest {
        table_name: table.into(),
        row: encode_row(row).into(),
        condition: condition(Ignore),
        ..Default::default()
    }
}

fn update_of(row: &Row<'_>) -> proto::UpdateRowRequest {
    proto::UpdateRowRequest {
        table_name: "t".into(),
        row_change: encode_row(row).into(),
        condition: condition(Ignore),
        ..Default::default()
    }
}

fn delete_of(row: &Row<'_>) -> proto::DeleteRowRequest {
    proto::DeleteRowRequest {
        table_name: "t".into(),
        primary_key: encode_row(row).into(),
        condition: condition(Ignore),
        ..Default::default()
    }
}

fn put(row: &Row<'_>, text: &str) -> Case {
    wrong("PutRow", &put_of("t", row), text)
}

fn change_of_rows() -> Vec<Case> {
    let one = Cell::put("a", Value::Integer(1), None);
    let names: Vec<String> = (0..1_025).map(|at| format!("c{at}")).collect();
    let wide: Vec<_> = names.iter().map(|name| Cell { name, ..one }).collect();
    let long = "x".repeat(2_097_153);
    let text = Cell::put("a", Value::String(&long), None);
    let bytes = Cell::put("a", Value::Binary(long.as_bytes()), None);
    let half = "x".repeat(2_097_152);
    let two = [Cell::put("a", Value::String(&half), None), Cell::put("b", Value::String(&half), None)];
    let key = |value| Row { key: vec![("id", value)], ..Row::default() };
    let long_key = "k".repeat(1_025);
    let too_long =
        "The length of attribute column: 'a' exceeds the MaxLength:2097152 with CurrentLength:2097153.";
    let key_too_long =
        "The length of primary key column: 'id' exceeds the MaxLength:1024 with CurrentLength:1025.";
    let columns = "The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025.";
    let size = |operation: &str| {
        format!(
            "The total data size of {operation} request exceeds the limit, limit size: 4194304, data size: 4194316."
        )
    };
    let marked = |row: Row<'static>| Row { delete_marker: true, ..row };
    let operation = |op| Cell { op: Some(op), ..one };
    vec![
        put(&row(0, &wide), columns),
        wrong("UpdateRow", &update_of(&row(0, &wide)), columns),
        put(&row(0, &[text]), too_long),
        put(&row(0, &[bytes]), too_long),
        wrong("UpdateRow", &update_of(&row(0, &[text])), too_long),
        put(&row(0, &two), &size("PutRow")),
        wrong("UpdateRow", &update_of(&row(0, &two)), &size("UpdateRow")),
        put(&key(PrimaryKeyValue::String(&long_key)), key_too_long),
        put(&key(PrimaryKeyValue::Binary(long_key.as_bytes())), key_too_long),
        put(&key(PrimaryKeyValue::InfMin), "VT_INF_MIN is an invalid type for the primary key."),
        put(&key(PrimaryKeyValue::InfMax), "VT_INF_MAX is an invalid type for the primary key."),
        put(
            &Row { key: vec![("id", PrimaryKeyValue::Integer(0)); 5], ..Row::default() },
            "The number of primary key columns must be in range: [1, 4].",
        ),
        put(&row(0, &[Cell { name: "0a", ..one }]), "Invalid column name: '0a'."),
        put(
            &row(0, &[Cell { name: "id", ..one }]),
            "Duplicated attribute column name with primary key column: 'id'.",
        ),
        put(
            &row(0, &[Cell { timestamp: Some(i64::MAX / 1_000), ..one }]),
            "Timestamp must be in range [0, INT64_MAX/1000).",
        ),
        put(
            &row(0, &[Cell { timestamp: Some(-1), ..one }]),
            "Timestamp must be in range [0, INT64_MAX/1000).",
        ),
        put(&row(0, &[operation(CellOp::Increment)]), "OpType cannot be given for column name:a in PutRow."),
        put(
            &marked(row(0, &[])),
            "Invalid request of put/update row: unexpected RowDeleteMarker in request.",
        ),
        wrong("UpdateRow", &update_of(&row(0, &[])), "Attribute column is missing."),
        wrong(
            "DeleteRow",
            &delete_of(&row(0, &[])),
            "Invalid request of delete row: missing RowDeleteMarker in request.",
        ),
        wrong(
            "DeleteRow",
            &delete_of(&marked(row(0, &[Cell::put("a", Value::Integer(1), None)]))),
            "Invalid delete row request: unexpected cells in request.",
        ),
        wrong("PutRow", &put_of("0", &row(0, &[])), "Invalid table name: '0'."),
    ]
}

fn conditions_and_auto_increment() -> Vec<Case> {
    let odd = |row_existence| proto::Condition { row_existence, column_condition: None };
    let mut unknown = put_of("t", &row(0, &[]));
    unknown.condition = odd(7);
    let mut returned = put_of("t", &row(0, &[]));
    returned.return_content = Some(proto::ReturnContent { return_type: Some(9), ..Default::default() });
    let automatic = Row {
        key: vec![("id", PrimaryKeyValue::Integer(1)), ("auto", PrimaryKeyValue::AutoIncrement)],
        ..Row::default()
    };
    let mut expected = put_of("auto", &automatic);
    expected.condition = condition(ExpectExist);
    let deleted = proto::DeleteRowRequest {
        table_name: "auto".into(),
        ..delete_of(&Row { delete_marker: true, ..automatic.clone() })
    };
    let read = proto::GetRowRequest {
        table_name: "auto".into(),
        primary_key: encode_row(&automatic).into(),
        max_versions: Some(1),
        ..Default::default()
    };
    vec![
        wrong("PutRow", &unknown, "Invalid row-existence expectation: 7."),
        wrong("PutRow", &returned, "Invalid return type: 9."),
        wrong("PutRow", &expected, "Invalid expect:EXPECT_EXIST when modify row with pk auto increment"),
        wrong("DeleteRow", &deleted, "Invalid row to delete which with pk auto increment."),
        wrong("GetRow", &read, "PKAutoIncr can't be used for read operations."),
        wrong(
            "PutRow",
            &put_of("t", &Row { key: vec![("id", PrimaryKeyValue::AutoIncrement)], ..Row::default() }),
            "VT_AUTO_INCREMENT is an invalid type for the primary key.",
        ),
    ]
}

fn batches() -> Vec<Case> {
    let rows = |count| puts("t", (0..count).map(|id| encode_row(&row(id, &[]))));
    let get = |count: usize| proto::BatchGetRowRequest {
        tables: vec![proto::TableInBatchGetRowRequest {
            table_name: "t".into(),
            primary_key: vec![encode_row(&row(1, &[])).into(); count],
            max_versions: Some(1),
            ..Default::default()
        }],
    };
    let mut without_version = get(1);
    without_version.tables[0].max_versions = None;
    let mut of_no_type = rows(1);
    of_no_type.tables[0].rows[0].r#type = 9;
    vec![
        wrong("BatchWriteRow", &rows(201), "Rows count exceeds the upper limit: 200."),
        wrong("BatchWriteRow", &rows(0), "No operation is specified for table: 't'."),
        wrong(
            "BatchWriteRow",
            &proto::BatchWriteRowRequest::default(),
            "No row is specified in BatchWriteRow.",
        ),
        wrong("BatchWriteRow", &of_no_type, "The type of row in batch write operation is invalid."),
        wrong("BatchGetRow", &get(101), "Rows count exceeds the upper limit: 100."),
        wrong("BatchGetRow", &get(0), "No row specified in the request of BatchGetRow."),
        wrong("BatchGetRow", &without_version, "No version condition is specified while querying row."),
    ]
}

fn reads() -> Vec<Case> {
    let range = |change: &dyn Fn(&mut proto::GetRangeRequest)| {
        let mut request = whole("t", &["id"]);
        change(&mut request);
        request
    };
    let time = |specific: Option<i64>, start: Option<i64>, end: Option<i64>| proto::TimeRange {
        specific_time: specific,
        start_time: start,
        end_time: end,
    };
    let times = |range_of_times: proto::TimeRange, max_versions: Option<i32>| {
        range(&|request| {
            request.time_range = Some(range_of_times);
            request.max_versions = max_versions;
        })
    };
    let in_time = "Timestamp must be in range [0, INT64_MAX/1000).";
    let cases = [
        (range(&|request| request.max_versions = None), "No version condition is specified."),
        (
            range(&|request| request.max_versions = Some(0)),
            "Invalid max versions: 0. Reason: Max versions must be positive.",
        ),
        (range(&|request| request.limit = Some(0)), "The limit must be greater than 0."),
        (
            range(&|request| request.columns_to_get = (0..1_025).map(|at| format!("c{at}")).collect()),
            "The number of columns from the request exceeds the limit, limit count: 1024, column count: 1025.",
        ),
        (range(&|request| request.columns_to_get = vec!["a-b".into()]), "Invalid column name: 'a-b'."),
        (
            range(&|request| {
                let (start, end) =
                    (&mut request.inclusive_start_primary_key, &mut request.exclusive_end_primary_key);
                std::mem::swap(start, end);
            }),
            "Begin key must less than end key in FORWARD",
        ),
        (
            range(&|request| request.direction = proto::Direction::Backward as i32),
            "Begin key must more than end key in BACKWARD",
        ),
        (
            range(&|request| {
                let cells = row(1, &[Cell::put("a", Value::Integer(1), None)]);
                request.inclusive_start_primary_key = encode_row(&cells).into();
            }),
            "Attribute column cannot be given while reading data.",
        ),
        (
            range(&|request| {
                let marked = Row { delete_marker: true, ..row(1, &[]) };
                request.inclusive_start_primary_key = encode_row(&marked).into();
            }),
            "Delete marker cannot be given.",
        ),
        (
            range(&|request| request.data_block_type_hint = Some(1)),
            "DBT_SIMPLE_ROW_MATRIX need at least one column to get.",
        ),
        (times(time(Some(-1), None, None), None), "Specific timestamp cannot be less than 0."),
        (times(time(Some(i64::MAX), None, None), None), in_time),
        (
            times(time(Some(1), None, None), Some(1)),
            "Specific tiemstamp and max versions cannot be given at the same time.",
        ),
        (
            times(time(Some(1), Some(0), Some(1)), None),
            "Specific tiemstamp and time range cannot be given at the same time.",
        ),
        (times(time(None, Some(1), None), None), "Start and end time must be given at the same time."),
        (times(time(None, Some(-1), Some(1)), None), in_time),
    ];
    cases.iter().map(|(request, text)| wrong("GetRange", request, text)).collect()
}

fn tables() -> Vec<Case> {
    let create = |change: &dyn Fn(&mut proto::CreateTableRequest), text: &str| {
        let mut request = table("new", 1);
        change(&mut request);
        wrong("CreateTable", &request, text)
    };
    let options = |options: proto::TableOptions| proto::UpdateTableRequest {
        table_name: "t".into(),
        table_options: Some(options),
        ..Default::default()
    };
    let default = proto::TableOptions::default();
    let automatic = |name: &str, column_type| proto::PrimaryKeySchema {
        option: Some(proto::PrimaryKeyOption::AutoIncrement as i32),
        ..key_column(name, column_type)
    };
    let integer = proto::PrimaryKeyType::Integer;
    let split = |split_size, unit, limit| proto::ComputeSplitPointsBySizeRequest {
        table_name: "t".into(),
        split_size,
        split_size_unit_in_byte: unit,
        split_point_limit: limit,
    };
    vec![
        create(
            &|request| request.table_meta.primary_key.clear(),
            "The number of primary key columns must be in range: [1, 4].",
        ),
        create(
            &|request| request.table_meta.primary_key = vec![key_column("a", integer); 2],
            "Duplicated primary key name: 'a'.",
        ),
        create(
            &|request| request.table_meta.primary_key = vec![automatic("a", integer)],
            "First primary key can't be auto increment, table: new.",
        ),
        create(
            &|request| {
                request.table_meta.primary_key.push(automatic("a", proto::PrimaryKeyType::String));
            },
            "AUTO_INCREMENT primary key must be integer.",
        ),
        create(
            &|request| {
                let keys = [automatic("a", integer), automatic("b", integer)];
                request.table_meta.primary_key.extend(keys);
            },
            "AUTO_INCREMENT primary key count must <= 1.",
        ),
        create(
            &|request| request.table_options = None,
            "The maxVersions and timeToLive must be set while creating table.",
        ),
        wrong("UpdateTable", &options(default), "No parameter is specified in table options."),
        wrong(
            "UpdateTable",
            &options(proto::TableOptions { time_to_live: Some(0), ..default }),
            "TimeToLive cannot be 0 or less than -1.",
        ),
        wrong(
            "UpdateTable",
            &options(proto::TableOptions { max_versions: Some(0), ..default }),
            "The maximum versions cannot be less than or equal to 0.",
        ),
        wrong(
            "UpdateTable",
            &options(proto::TableOptions {
                deviation_cell_version_in_sec: Some(i64::MAX / 1_000_000 + 1),
                ..default
            }),
            "The maximum deviation must be in range [0, INT64_MAX/1000000].",
        ),
        wrong("ComputeSplitPointsBySize", &split(0, None, None), "The split_size should be greater than 0."),
        wrong(
            "ComputeSplitPointsBySize",
            &split(1, Some(1_048_575), None),
            "The split_size_unit_in_byte should be greater equal than: 1048576",
        ),
        wrong(
            "ComputeSplitPointsBySize",
            &split(1, None, Some(0)),
            "The value of SplitPointLimit must be greater than 0.",
        ),
        ("PutRow", vec![0xff], "OTSParameterInvalid Parse PBMessage from RawString failed.".to_owned()),
        ("Nothing", Vec::new(), "OTSParameterInvalid Unsupported operation: Nothing.".to_owned()),
    ]
}

#[tokio::test]
async fn every_limit_is_refused_with_the_services_text() {
    let client = Client::new(SandboxOptions::default()).await;
    client.create(&table("t", 1)).await.unwrap();
    let mut automatic = table("auto", 1);
    automatic.table_meta.primary_key.push(proto::PrimaryKeySchema {
        option: Some(proto::PrimaryKeyOption::AutoIncrement as i32),
        ..key_column("auto", proto::PrimaryKeyType::Integer)
    });
    client.create(&automatic).await.unwrap();
    let secret = client.sandbox.description().access_key_secret.clone();
    let groups = [change_of_rows(), conditions_and_auto_increment(), batches(), reads(), tables()];
    let cases: Vec<Case> = groups.into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    for (operation, body, expected) in cases {
        let (status, _, answer) = client.send(operation, body, &secret).await.unwrap();
        let error = proto::Error::decode(answer.as_slice()).unwrap();
        assert_eq!(format!("{} {}", error.code, error.message()), expected, "{operation}");
        assert_eq!(status, 400, "{operation}");
    }
    assert_eq!(client.sandbox.row_sum("t").unwrap().0, 0);
}
