use std::time::Duration;

use otsvault::model::{Cell, KeyPart, PrimaryKey, PrimaryKeyValue, Row, Value};
use otsvault::plainbuffer::{self, encode_row};
use otsvault::proto;
use otsvault::sandbox::SandboxOptions;

use crate::client::{Client, condition, key_column, table};

const GONE: &str = "404 OTSSessionNotExist Session not exist or may be timeout.";
const BUSY: &str = "409 OTSRowOperationConflict Data is being modified by the other request.";

fn cell(city: &str, number: i64, value: i64) -> Row<'_> {
    let cells = vec![Cell::put("col", Value::Integer(value), None)];
    let key = vec![("pk1", PrimaryKeyValue::String(city)), ("pk2", PrimaryKeyValue::Integer(number))];
    Row { key, cells, ..Row::default() }
}

fn partition(city: &str) -> Row<'_> {
    Row { key: vec![("pk1", PrimaryKeyValue::String(city))], ..Row::default() }
}

/// The table of the Java SDK's tests.
async fn cities(enabled: Option<bool>) -> Client {
    let client = Client::new(SandboxOptions::default()).await;
    let mut request = table("t", 1);
    request.table_meta.primary_key = vec![
        key_column("pk1", proto::PrimaryKeyType::String),
        key_column("pk2", proto::PrimaryKeyType::Integer),
    ];
    request.enable_local_txn = enabled;
    client.create(&request).await.unwrap();
    client
}

async fn start(client: &Client, key: &Row<'_>) -> Result<String, String> {
    let key = encode_row(key).into();
    let request = proto::StartLocalTransactionRequest { table_name: "t".into(), key };
    let answer: proto::StartLocalTransactionResponse = client.call("StartLocalTransaction", &request).await?;
    Ok(answer.transaction_id)
}

async fn commit(client: &Client, id: &str) -> Result<(), String> {
    let request = proto::CommitTransactionRequest { transaction_id: id.into() };
    client.call::<proto::CommitTransactionResponse>("CommitTransaction", &request).await.map(drop)
}

async fn abort(client: &Client, id: &str) -> Result<(), String> {
    let request = proto::AbortTransactionRequest { transaction_id: id.into() };
    client.call::<proto::AbortTransactionResponse>("AbortTransaction", &request).await.map(drop)
}

async fn put(client: &Client, id: &str, row: &Row<'_>) -> Result<(), String> {
    let request = proto::PutRowRequest {
        table_name: "t".into(),
        row: encode_row(row).into(),
        condition: condition(proto::RowExistenceExpectation::Ignore),
        transaction_id: Some(id.into()),
        ..Default::default()
    };
    client.call::<proto::PutRowResponse>("PutRow", &request).await.map(drop)
}

/// The second key values that a transaction sees in a city.
async fn numbers(client: &Client, id: &str, city: &str) -> Result<Vec<i64>, String> {
    let bound = |part| PrimaryKey(vec![KeyPart::String(city.to_owned()), part]);
    let encode = |key| plainbuffer::encode_key(&["pk1", "pk2"], &key).into();
    let request = proto::GetRangeRequest {
        table_name: "t".into(),
        max_versions: Some(1),
        inclusive_start_primary_key: encode(bound(KeyPart::InfMin)),
        exclusive_end_primary_key: encode(bound(KeyPart::InfMax)),
        transaction_id: Some(id.into()),
        ..Default::default()
    };
    let page = client.range(&request).await?;
    let mut found = Vec::new();
    if !page.rows.is_empty() {
        let mut rows = plainbuffer::RowReader::new(&page.rows).unwrap();
        let mut row = Row::default();
        while rows.next_row(&mut row).unwrap() {
            let PrimaryKeyValue::Integer(number) = row.key[1].1 else { panic!("{row:?}") };
            found.push(number);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_transaction_sees_its_own_writes_and_others_see_them_after_commit() {
    let client = cities(Some(true)).await;
    client.put("t", &cell("chengdu", 1, 10)).await.unwrap();
    let id = start(&client, &partition("chengdu")).await.unwrap();
    put(&client, &id, &cell("chengdu", 2, 20)).await.unwrap();
    assert_eq!(numbers(&client, &id, "chengdu").await.unwrap(), [1, 2]);
    assert_eq!(numbers(&client, "", "chengdu").await.unwrap(), [1]);
    assert_eq!(client.put("t", &cell("chengdu", 3, 30)).await.unwrap_err(), BUSY);
    client.put("t", &cell("beijing", 3, 30)).await.unwrap();
    assert_eq!(start(&client, &partition("chengdu")).await.unwrap_err(), BUSY);

    commit(&client, &id).await.unwrap();
    assert_eq!(numbers(&client, "", "chengdu").await.unwrap(), [1, 2]);
    client.put("t", &cell("chengdu", 3, 30)).await.unwrap();
    assert_eq!(commit(&client, &id).await.unwrap_err(), GONE);
    assert_eq!(put(&client, &id, &cell("chengdu", 4, 40)).await.unwrap_err(), GONE);
}

#[tokio::test]
async fn an_aborted_or_expired_transaction_leaves_nothing_and_no_lock() {
    let client = cities(Some(true)).await;
    let id = start(&client, &partition("chengdu")).await.unwrap();
    put(&client, &id, &cell("chengdu", 1, 10)).await.unwrap();
    abort(&client, &id).await.unwrap();
    assert_eq!(abort(&client, &id).await.unwrap_err(), GONE);

    let id = start(&client, &partition("chengdu")).await.unwrap();
    put(&client, &id, &cell("chengdu", 2, 10)).await.unwrap();
    client.sandbox.advance_clock(Duration::from_secs(61));
    client.put("t", &cell("chengdu", 3, 30)).await.unwrap();
    assert_eq!(commit(&client, &id).await.unwrap_err(), GONE);
    assert_eq!(numbers(&client, "", "chengdu").await.unwrap(), [3]);
}

#[tokio::test]
async fn a_batch_belongs_to_the_partition_key_and_table_of_its_transaction() {
    let client = cities(Some(true)).await;
    let id = start(&client, &partition("chengdu")).await.unwrap();
    let rows = [cell("chengdu", 1, 10), cell("beijing", 2, 20), cell("chengdu", 3, 30)];
    let mut batch = crate::client::puts("t", rows.iter().map(encode_row));
    batch.transaction_id = Some(id.clone());
    let outside = "OTSDataOutOfRange Data out of scope of transaction. Transaction PartKey:chengdu. Data PartKey:beijing";
    assert_eq!(client.batch(&batch).await.unwrap(), [Ok(()), Err(outside.to_owned()), Ok(())]);
    assert_eq!(numbers(&client, &id, "beijing").await.unwrap_err(), format!("400 {outside}"));
    commit(&client, &id).await.unwrap();
    assert_eq!(numbers(&client, "", "chengdu").await.unwrap(), [1, 3]);
}

#[tokio::test]
async fn a_transaction_takes_4_mib_in_all() {
    let client = cities(Some(true)).await;
    let id = start(&client, &partition("c")).await.unwrap();
    let text = "x".repeat(2_000_000);
    let big =
        |number| Row { cells: vec![Cell::put("a", Value::String(&text), None)], ..cell("c", number, 0) };
    put(&client, &id, &big(1)).await.unwrap();
    put(&client, &id, &big(2)).await.unwrap();
    let refused = put(&client, &id, &big(3)).await.unwrap_err();
    assert!(refused.contains("exceeds the limit, limit size: 4194304"), "{refused}");
    commit(&client, &id).await.unwrap();
    assert_eq!(client.sandbox.row_sum("t").unwrap().0, 2);
}

#[tokio::test]
async fn transactions_that_make_no_sense_are_refused_with_the_services_texts() {
    let wrong = "400 OTSParameterInvalid";
    let client = cities(Some(true)).await;
    let two = Row { cells: vec![], ..cell("chengdu", 1, 0) };
    assert_eq!(
        start(&client, &two).await.unwrap_err(),
        format!("{wrong} StartLocalTransaction support only one primary key.")
    );
    let other = Row { key: vec![("other", PrimaryKeyValue::String("x"))], ..Row::default() };
    assert_eq!(
        start(&client, &other).await.unwrap_err(),
        "400 OTSInvalidPK Validate PK name fail. Input: other, Meta: pk1."
    );
    assert_eq!(commit(&client, "").await.unwrap_err(), format!("{wrong} TransactionID is invalid."));
    assert_eq!(abort(&client, "").await.unwrap_err(), format!("{wrong} TransactionID is invalid."));
    assert_eq!(commit(&client, "none").await.unwrap_err(), GONE);
    for disabled in [None, Some(false)] {
        let text = "Try to call method using explicit transaction on explicit-transaction-disabled table.";
        let refused = start(&cities(disabled).await, &partition("chengdu")).await;
        assert_eq!(refused.unwrap_err(), format!("{wrong} {text}"));
    }
}
