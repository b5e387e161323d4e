use otsvault::model::{Cell, PrimaryKey, PrimaryKeyValue, Row, Value};
use otsvault::plainbuffer::{self, MatrixWriter, encode_row};
use otsvault::proto;
use otsvault::sandbox::SandboxOptions;

use crate::client::{Client, key_column, row, table};

const WRONG: &str = "400 OTSParameterInvalid";

const KEY: [&str; 3] = ["PK1", "PK2", "PK3"];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The table of the Java SDK's tests: 200 rows with the keys 100 to 299 in three types, and two columns of the same.
async fn exported() -> Client {
    let client = Client::new(SandboxOptions::default()).await;
    let mut request = table("t", 1);
    request.table_meta.primary_key = vec![
        key_column("PK1", proto::PrimaryKeyType::String),
        key_column("PK2", proto::PrimaryKeyType::Integer),
        key_column("PK3", proto::PrimaryKeyType::Binary),
    ];
    client.create(&request).await.unwrap();
    let texts: Vec<(i64, String)> = (100..300).map(|id| (id, id.to_string())).collect();
    let rows: Vec<_> = texts.iter().map(|(id, text)| encode_row(&with_cells(*id, text))).collect();
    import(&client, "t", proto::OperationType::Put, rows).await.unwrap();
    client
}

fn with_cells(id: i64, text: &str) -> Row<'_> {
    let cells = vec![Cell::put("DC1", Value::String(text), None), Cell::put("DC2", Value::Integer(id), None)];
    Row { cells, ..key(id, text) }
}

fn key(id: i64, text: &str) -> Row<'_> {
    let parts = [
        PrimaryKeyValue::String(text),
        PrimaryKeyValue::Integer(id),
        PrimaryKeyValue::Binary(text.as_bytes()),
    ];
    Row { key: KEY.into_iter().zip(parts).collect(), ..Row::default() }
}

fn export(columns: &[&str], from: i64, to: i64) -> proto::BulkExportRequest {
    let bound = |id: i64| encode_row(&key(id, &id.to_string())).into();
    proto::BulkExportRequest {
        table_name: "t".into(),
        columns_to_get: names(columns),
        inclusive_start_primary_key: bound(from),
        exclusive_end_primary_key: bound(to),
        ..Default::default()
    }
}

async fn run(
    client: &Client,
    request: &proto::BulkExportRequest,
) -> Result<proto::BulkExportResponse, String> {
    client.call("BulkExport", request).await
}

async fn import(
    client: &Client,
    table: &str,
    kind: proto::OperationType,
    rows: Vec<Vec<u8>>,
) -> Result<Vec<Result<i64, String>>, String> {
    let row = |row: Vec<u8>| proto::RowInBulkImportRequest { r#type: kind as i32, row_change: row.into() };
    let rows = rows.into_iter().map(row).collect();
    let request = proto::BulkImportRequest { table_name: table.into(), rows };
    let answer: proto::BulkImportResponse = client.call("BulkImport", &request).await?;
    assert_eq!(answer.table_name, table);
    let result = |row: proto::RowInBulkImportResponse| match (row.is_ok, row.error, row.consumed) {
        (true, None, Some(consumed)) => {
            assert_eq!((consumed.capacity_unit.read, consumed.capacity_unit.write), (Some(0), Some(0)));
            Ok(consumed.capacity_data_size.unwrap().write_size())
        }
        (false, Some(error), None) => Err(format!("{} {}", error.code, error.message())),
        other => panic!("{other:?}"),
    };
    Ok(answer.rows.into_iter().map(result).collect())
}

#[tokio::test]
async fn an_exported_matrix_has_the_columns_asked_for_and_counts_their_bytes() {
    let client = exported().await;
    let page = run(&client, &export(&["DC2", "PK3", "none", "PK1", "DC2"], 150, 200)).await.unwrap();
    assert_eq!(page.data_block_type(), proto::DataBlockType::DbtSimpleRowMatrix);
    assert_eq!(page.next_start_primary_key, None);
    let mut expected = MatrixWriter::new(&["PK1", "PK3"], &["DC2", "none"], false);
    for id in 150..200i64 {
        let text = id.to_string();
        let key = [PrimaryKeyValue::String(&text), PrimaryKeyValue::Binary(text.as_bytes())];
        expected.write_row(key, [Some(Value::Integer(id)), None]);
    }
    assert_eq!(page.rows, expected.finish());

    for columns in [&["PK1", "PK3", "DC1", "DC2"][..], &["DC1", "DC2"]] {
        let consumed = run(&client, &export(columns, 150, 200)).await.unwrap().consumed;
        assert_eq!((consumed.capacity_unit.read, consumed.capacity_unit.write), (Some(0), Some(0)));
        let size = consumed.capacity_data_size.unwrap();
        assert_eq!((size.read_size(), size.write_size()), (2_000, 0));
    }
    let mut whole = MatrixWriter::new(&KEY, &[], true);
    whole.write_row(key(100, "100").key.into_iter().map(|(_, value)| value), []);
    assert_eq!(run(&client, &export(&KEY, 100, 101)).await.unwrap().rows, whole.finish());
}

#[tokio::test]
async fn an_export_as_plain_buffer_gives_whole_keys_and_needs_no_columns() {
    let client = exported().await;
    let plain = |columns: &[&str]| proto::BulkExportRequest {
        data_block_type_hint: Some(proto::DataBlockType::DbtPlainBuffer as i32),
        ..export(columns, 150, 152)
    };
    for (columns, cells) in [(&["DC2"][..], 1), (&[], 2)] {
        let page = run(&client, &plain(columns)).await.unwrap();
        assert_eq!(page.data_block_type(), proto::DataBlockType::DbtPlainBuffer);
        let mut rows = plainbuffer::RowReader::new(&page.rows).unwrap();
        let (mut row, mut keys) = (Row::default(), Vec::new());
        while rows.next_row(&mut row).unwrap() {
            assert!(row.cells.len() == cells && row.cells.iter().all(|cell| cell.timestamp.is_some()));
            keys.push(PrimaryKey::from_row(&row.key).unwrap().to_string());
        }
        assert_eq!(keys, [r#"("150", 150, 0x313530)"#, r#"("151", 151, 0x313531)"#]);
    }
}

#[tokio::test]
async fn exports_that_make_no_sense_are_refused() {
    let client = exported().await;
    let need = "DBT_SIMPLE_ROW_MATRIX need at least one column to get.";
    let begin = "Begin key must less than end key in FORWARD";
    let refused = [
        (export(&[], 150, 200), format!("{WRONG} {need}")),
        (export(&["DC1"], 200, 200), format!("{WRONG} {begin}")),
        (export(&["DC1"], 200, 150), format!("{WRONG} {begin}")),
        (
            proto::BulkExportRequest {
                columns_to_get: (0..1_025).map(|at| format!("c{at}")).collect(),
                ..export(&[], 150, 200)
            },
            format!(
                "{WRONG} The number of columns from the request exceeds the limit, limit count: 1024, column \
                 count: 1025."
            ),
        ),
        (
            proto::BulkExportRequest {
                exclusive_end_primary_key: encode_row(&Row {
                    key: key(1, "1").key[..2].to_vec(),
                    ..Row::default()
                })
                .into(),
                ..export(&["DC1"], 150, 200)
            },
            "400 OTSInvalidPK Validate PK size fail. Input: 2, Meta: 3.".to_owned(),
        ),
        (
            proto::BulkExportRequest { table_name: "other".into(), ..export(&["DC1"], 150, 200) },
            "404 OTSObjectNotExist Requested table does not exist.".to_owned(),
        ),
    ];
    for (request, text) in refused {
        assert_eq!(run(&client, &request).await.unwrap_err(), text);
    }
}

#[tokio::test]
async fn an_export_of_many_rows_comes_in_pages_and_get_range_speaks_the_same_blocks() {
    let tables = vec!["t=iot:rows=7000,seed=3".parse().unwrap()];
    let client = Client::new(SandboxOptions { tables, ..Default::default() }).await;
    let keys = ["device", "time"];
    let bound = |key: PrimaryKey| plainbuffer::encode_key(&keys, &key).into();
    let mut request = proto::BulkExportRequest {
        table_name: "t".into(),
        columns_to_get: names(&["device", "time"]),
        inclusive_start_primary_key: bound(PrimaryKey::inf_min(2)),
        exclusive_end_primary_key: bound(PrimaryKey::inf_max(2)),
        ..Default::default()
    };
    let row_count = |block: &[u8]| u32::from_le_bytes(block[37..41].try_into().unwrap());
    let first = run(&client, &request).await.unwrap();
    // 20 bytes of head, names of 2 + 6 and 2 + 4 bytes, three of the options.
    assert_eq!(row_count(&first.rows), 5_000);
    let range = proto::GetRangeRequest {
        table_name: "t".into(),
        columns_to_get: request.columns_to_get.clone(),
        max_versions: Some(1),
        inclusive_start_primary_key: request.inclusive_start_primary_key.clone(),
        exclusive_end_primary_key: request.exclusive_end_primary_key.clone(),
        data_block_type_hint: Some(proto::DataBlockType::DbtSimpleRowMatrix as i32),
        ..Default::default()
    };
    let same = client.range(&range).await.unwrap();
    assert_eq!((&same.rows, same.data_block_type), (&first.rows, Some(1)));
    assert_eq!(same.next_start_primary_key, first.next_start_primary_key);
    let mut partial = range.clone();
    partial.columns_to_get = names(&["device"]);
    let whole_keys = client.range(&partial).await.unwrap();
    partial.return_entire_primary_keys = Some(false);
    let asked_keys = client.range(&partial).await.unwrap();
    assert_eq!((whole_keys.rows[12], asked_keys.rows[12]), (2, 1));
    request.inclusive_start_primary_key = first.next_start_primary_key.unwrap();
    let second = run(&client, &request).await.unwrap();
    assert_eq!((row_count(&second.rows), second.next_start_primary_key), (2_000, None));
}

#[tokio::test]
async fn an_import_writes_updates_and_deletes_and_fails_row_by_row() {
    let client = Client::new(SandboxOptions::default()).await;
    client.create(&table("t", 1)).await.unwrap();
    let number = |id| encode_row(&row(id, &[Cell::put("a", Value::Integer(id), None)]));
    use proto::OperationType::{Delete, Put, Update};
    // 2 + 8 for the key, 1 + 8 for the cell.
    assert_eq!(import(&client, "t", Put, vec![number(1), number(2)]).await.unwrap(), [Ok(19), Ok(19)]);
    assert_eq!(import(&client, "t", Update, vec![number(3)]).await.unwrap(), [Ok(19)]);
    let gone = encode_row(&Row { delete_marker: true, ..row(1, &[]) });
    assert_eq!(import(&client, "t", Delete, vec![gone]).await.unwrap(), [Ok(10)]);
    assert_eq!(client.sandbox.row_sum("t").unwrap().0, 2);

    let wrong = Row { key: vec![("id", PrimaryKeyValue::String("x"))], ..Row::default() };
    let results = import(&client, "t", Put, vec![encode_row(&wrong), number(4)]).await.unwrap();
    let text = "OTSInvalidPK Validate PK type fail. Input: VT_STRING, Meta: VT_INTEGER.";
    assert_eq!(results, [Err(text.to_owned()), Ok(19)]);
    let results = import(&client, "other", Put, vec![number(1)]).await.unwrap();
    assert_eq!(results, [Err("OTSObjectNotExist Requested table does not exist.".to_owned())]);
    for (rows, text) in [
        (vec![], "No operation is specified for table: 't'."),
        (vec![number(1); 201], "Rows count exceeds the upper limit: 200."),
    ] {
        assert_eq!(import(&client, "t", Put, rows).await.unwrap_err(), format!("{WRONG} {text}"));
    }
    assert!(import(&client, "t", Put, vec![number(1); 200]).await.unwrap().iter().all(Result::is_ok));
}
