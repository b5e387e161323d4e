use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use otsvault::model::{Cell, PrimaryKey, PrimaryKeyValue, Row, Value};
use otsvault::plainbuffer::encode_row;
use otsvault::proto;
use otsvault::sandbox::{SandboxDescription, SandboxOptions};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::client::{Caller, Client, puts, row, table};

fn kept(directory: &Path) -> SandboxOptions {
    SandboxOptions { data_dir: Some(directory.to_owned()), ..Default::default() }
}

async fn names(client: &Client) -> Vec<String> {
    let list: proto::ListTableResponse = client.call("ListTable", &proto::ListTableRequest {}).await.unwrap();
    list.table_names
}

async fn describe(client: &Client, name: &str) -> proto::DescribeTableResponse {
    let request = proto::DescribeTableRequest { table_name: name.into() };
    client.call("DescribeTable", &request).await.unwrap()
}

#[tokio::test]
async fn tables_rows_and_versions_survive_a_restart_and_a_stream_comes_back_empty() {
    let directory = tempfile::tempdir().unwrap();
    let client = Client::new(kept(directory.path())).await;
    let mut request = table("t", 3);
    request.table_meta.defined_column = vec![proto::DefinedColumnSchema {
        name: "d".into(),
        r#type: proto::DefinedColumnType::DctInteger as i32,
    }];
    request.stream_spec = Some(proto::StreamSpecification {
        enable_stream: true,
        expiration_time: Some(24),
        ..Default::default()
    });
    client.create(&request).await.unwrap();
    let now = jiff::Timestamp::now().as_millisecond();
    for back in 0..3 {
        let bits = f64::from_bits(0x7ff8_0000_0000_0000 + back as u64);
        let bytes = [back as u8, 255];
        let cells = [
            Cell::put("a", Value::Double(bits), Some(now - back)),
            Cell::put("b", Value::Binary(&bytes), Some(now)),
        ];
        client.update("t", &row(1, &cells)).await.unwrap();
    }
    for id in 2..5 {
        client.put("t", &row(id, &[])).await.unwrap();
    }
    let gone = Row { delete_marker: true, ..row(3, &[]) };
    let delete = proto::DeleteRowRequest {
        table_name: "t".into(),
        primary_key: encode_row(&gone).into(),
        condition: crate::client::condition(proto::RowExistenceExpectation::Ignore),
        ..Default::default()
    };
    client.call::<proto::DeleteRowResponse>("DeleteRow", &delete).await.unwrap();
    // A table that was deleted takes its rows with it.
    client.create(&table("old", 1)).await.unwrap();
    client.put("old", &row(1, &[])).await.unwrap();
    let drop = proto::DeleteTableRequest { table_name: "old".into() };
    client.call::<proto::DeleteTableResponse>("DeleteTable", &drop).await.unwrap();
    client.create(&table("old", 1)).await.unwrap();
    let options = proto::UpdateTableRequest {
        table_name: "t".into(),
        table_options: Some(proto::TableOptions { max_versions: Some(5), ..Default::default() }),
        ..Default::default()
    };
    client.call::<proto::UpdateTableResponse>("UpdateTable", &options).await.unwrap();
    let (before, sum) = (describe(&client, "t").await, client.sandbox.row_sum("t").unwrap());
    assert_eq!(sum.0, 3);
    client.sandbox.stop().await;

    let client = Client::new(kept(directory.path())).await;
    assert_eq!(names(&client).await, ["old", "t"]);
    assert_eq!((client.sandbox.row_sum("t").unwrap(), client.sandbox.row_sum("old").unwrap().0), (sum, 0));
    let after = describe(&client, "t").await;
    let streams = [&before, &after].map(|about| about.stream_details.clone().unwrap());
    assert!(streams[1].enable_stream && streams[0].stream_id != streams[1].stream_id);
    let strip =
        |about: proto::DescribeTableResponse| proto::DescribeTableResponse { stream_details: None, ..about };
    assert_eq!(strip(before), strip(after));
    client.put("t", &row(9, &[])).await.unwrap();
}

#[tokio::test]
async fn an_index_and_a_committed_transaction_survive_and_an_open_one_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let client = Client::new(kept(directory.path())).await;
    let mut request = table("t", 1);
    request.enable_local_txn = Some(true);
    request.index_metas =
        vec![proto::IndexMeta { name: "i".into(), primary_key: vec!["id".into()], ..Default::default() }];
    client.create(&request).await.unwrap();
    let start = async |id: i64| {
        let key = encode_row(&row(id, &[])).into();
        let request = proto::StartLocalTransactionRequest { table_name: "t".into(), key };
        let answer: proto::StartLocalTransactionResponse =
            client.call("StartLocalTransaction", &request).await.unwrap();
        let mut batch = puts("t", [encode_row(&row(id, &[]))]);
        batch.transaction_id = Some(answer.transaction_id.clone());
        assert_eq!(client.batch(&batch).await.unwrap(), [Ok(())]);
        answer.transaction_id
    };
    let (committed, _open) = (start(1).await, start(2).await);
    let commit = proto::CommitTransactionRequest { transaction_id: committed };
    client.call::<proto::CommitTransactionResponse>("CommitTransaction", &commit).await.unwrap();
    client.sandbox.stop().await;

    let client = Client::new(kept(directory.path())).await;
    assert_eq!(names(&client).await, ["i", "t"]);
    assert_eq!(client.sandbox.row_sum("t").unwrap().0, 1);
    client.put("t", &row(2, &[])).await.unwrap();
    assert!(client.put("i", &row(2, &[])).await.unwrap_err().contains("Can't write index table directly."));
}

#[tokio::test]
async fn a_directory_in_use_and_a_name_that_is_taken_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let client = Client::new(kept(directory.path())).await;
    let second = otsvault::sandbox::Sandbox::start(kept(directory.path())).await.err().unwrap();
    assert!(second.to_string().contains("table-store.redb"), "{second}");
    client.create(&table("t", 1)).await.unwrap();
    client.sandbox.stop().await;
    let mut options = kept(directory.path());
    options.tables = vec!["t=iot:rows=1,seed=1".parse().unwrap()];
    let taken = otsvault::sandbox::Sandbox::start(options).await.err().unwrap();
    assert_eq!(taken.kind(), otsvault::Kind::Usage);
}

async fn spawn(directory: &Path) -> (Child, Caller) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_otsvault"))
        .args(["sandbox", "--data-dir"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let description: SandboxDescription = serde_json::from_str(&line).unwrap();
    (child, Caller::new(description))
}

#[tokio::test]
async fn a_killed_sandbox_has_every_acknowledged_row() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, caller) = spawn(directory.path()).await;
    caller.create(&table("t", 1)).await.unwrap();
    child.kill().await.unwrap();
    let mut acknowledged = 0i64;
    for round in 0..3 {
        let (mut child, caller) = spawn(directory.path()).await;
        let write = async {
            loop {
                let ids = acknowledged..acknowledged + 20;
                let rows = ids.map(|id| encode_row(&row(id, &[Cell::put("a", Value::Integer(id), None)])));
                match caller.batch(&puts("t", rows)).await {
                    Ok(results) if results.iter().all(Result::is_ok) => acknowledged += 20,
                    _ => break,
                }
            }
        };
        let kill = async {
            tokio::time::sleep(Duration::from_millis(300 + 150 * round)).await;
            child.kill().await.unwrap();
        };
        tokio::join!(write, kill);
    }
    assert!(acknowledged > 0, "no write was acknowledged before the kills");
    let client = Client::new(kept(directory.path())).await;
    let mut found = Vec::new();
    client
        .sandbox
        .table_rows("t", |row| match row.key[0].1 {
            PrimaryKeyValue::Integer(id) => found.push(id),
            _ => panic!("{:?}", PrimaryKey::from_row(&row.key)),
        })
        .unwrap();
    let missing: Vec<i64> = (0..acknowledged).filter(|id| found.binary_search(id).is_err()).collect();
    assert!(missing.is_empty(), "{} of {acknowledged} acknowledged rows are gone", missing.len());
    println!("{acknowledged} rows acknowledged, {} found", found.len());
}
