use otsvault::model::{Cell, Row, Value};
use otsvault::proto;
use otsvault::sandbox::SandboxOptions;

use crate::client::{Client, condition, row, table, whole};

const WRONG: &str = "400 OTSParameterInvalid";

fn index(name: &str, key: &[&str], columns: &[&str]) -> proto::IndexMeta {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    proto::IndexMeta {
        name: name.to_owned(),
        primary_key: names(key),
        defined_column: names(columns),
        ..Default::default()
    }
}

fn main_table(max_versions: i32) -> proto::CreateTableRequest {
    let mut request = table("main", max_versions);
    let defined = |number| proto::DefinedColumnSchema {
        name: format!("d{number}"),
        r#type: proto::DefinedColumnType::DctString as i32,
    };
    request.table_meta.defined_column = (0..8).map(defined).collect();
    request
}

async fn create(client: &Client, index_meta: proto::IndexMeta) -> Result<(), String> {
    let request =
        proto::CreateIndexRequest { main_table_name: "main".into(), index_meta, include_base_data: None };
    client.call::<proto::CreateIndexResponse>("CreateIndex", &request).await.map(drop)
}

async fn describe(client: &Client, name: &str) -> Result<proto::DescribeTableResponse, String> {
    let request = proto::DescribeTableRequest { table_name: name.into() };
    client.call("DescribeTable", &request).await
}

async fn tables(client: &Client) -> Vec<String> {
    let list: proto::ListTableResponse = client.call("ListTable", &proto::ListTableRequest {}).await.unwrap();
    list.table_names
}

#[tokio::test]
async fn an_index_is_a_table_by_name_and_cannot_be_written() {
    let client = Client::new(SandboxOptions::default()).await;
    let mut request = main_table(1);
    request.index_metas = vec![index("i0", &["d0"], &["d1"])];
    client.create(&request).await.unwrap();
    create(&client, index("i1", &["d1", "id"], &[])).await.unwrap();
    assert_eq!(tables(&client).await, ["i0", "i1", "main"]);
    let about = describe(&client, "main").await.unwrap();
    let names: Vec<_> = about.index_metas.iter().map(|index| index.name.as_str()).collect();
    assert_eq!(names, ["i0", "i1"]);
    let about = describe(&client, "i0").await.unwrap();
    let key: Vec<_> = about.table_meta.primary_key.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(key, ["d0", "id"]);

    let refused = client.put("i0", &row(1, &[])).await.unwrap_err();
    assert_eq!(refused, format!("{WRONG} Can't write index table directly."));
    let refused = client.range(&whole("i0", &["d0", "id"])).await.unwrap_err();
    assert!(refused.starts_with(&format!("{WRONG} Unsupported operation")), "{refused}");

    let taken = create(&client, index("main", &["d0"], &[])).await.unwrap_err();
    assert_eq!(taken, "409 OTSObjectAlreadyExist Requested table already exists.");
    assert_eq!(describe(&client, "main").await.unwrap().index_metas.len(), 2);
    let drop =
        |name: &str| proto::DropIndexRequest { main_table_name: "main".into(), index_name: name.into() };
    client.call::<proto::DropIndexResponse>("DropIndex", &drop("i0")).await.unwrap();
    let gone = client.call::<proto::DropIndexResponse>("DropIndex", &drop("i0")).await.unwrap_err();
    assert!(gone.starts_with("404 OTSObjectNotExist"), "{gone}");
    let delete = proto::DeleteTableRequest { table_name: "main".into() };
    client.call::<proto::DeleteTableResponse>("DeleteTable", &delete).await.unwrap();
    assert!(tables(&client).await.is_empty());
}

#[tokio::test]
async fn an_index_over_a_limit_is_refused_at_creation_and_later() {
    let client = Client::new(SandboxOptions::default()).await;
    let keys = "The number of primary key columns must be in range: [1, 4] in index.";
    let many: Vec<String> = (0..33).map(|number| format!("d{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let wrong = [
        (index("i", &[], &["d7"]), keys),
        (index("i", &["d0", "d1", "d2", "d3", "d4"], &[]), keys),
        (index("i", &["d0"], &many), "The number of attribute columns must be in range: [0, 32] in index."),
        (index("i", &["none"], &[]), "Column does not exist:none."),
        (index("i", &["d0"], &["none"]), "Column does not exist:none."),
        (index("0", &["d0"], &[]), "Invalid table name: '0'."),
    ];
    for (index_meta, text) in &wrong {
        let mut request = main_table(1);
        request.index_metas = vec![index_meta.clone()];
        assert_eq!(client.create(&request).await.unwrap_err(), format!("{WRONG} {text}"));
    }
    let mut versions = main_table(2);
    versions.index_metas = vec![index("i", &["d0"], &[])];
    assert!(client.create(&versions).await.unwrap_err().contains("max versions 1"));
    client.create(&main_table(1)).await.unwrap();
    for (index_meta, text) in wrong {
        assert_eq!(create(&client, index_meta).await.unwrap_err(), format!("{WRONG} {text}"));
    }
    for number in 0..5 {
        create(&client, index(&format!("i{number}"), &[&format!("d{number}")], &["d7"])).await.unwrap();
    }
    let sixth = create(&client, index("i5", &["d5"], &["d7"])).await.unwrap_err();
    assert_eq!(sixth, format!("{WRONG} Number of index per table exceeds the quota:5."));
}

#[tokio::test]
async fn predefined_columns_come_and_go_unless_an_index_needs_them() {
    let client = Client::new(SandboxOptions::default()).await;
    client.create(&main_table(1)).await.unwrap();
    create(&client, index("i", &["d0"], &[])).await.unwrap();
    let delete = async |name: &str| {
        let request =
            proto::DeleteDefinedColumnRequest { table_name: "main".into(), columns: vec![name.to_owned()] };
        client.call::<proto::DeleteDefinedColumnResponse>("DeleteDefinedColumn", &request).await.map(drop)
    };
    assert_eq!(delete("d0").await.unwrap_err(), format!("{WRONG} Column does not exist:d0."));
    assert_eq!(delete("none").await.unwrap_err(), format!("{WRONG} Column does not exist:none."));
    let number = row(1, &[Cell::put("d1", Value::Integer(1), None)]);
    assert!(client.put("main", &number).await.unwrap_err().contains("Invalid column type for column d1"));
    delete("d1").await.unwrap();
    client.put("main", &number).await.unwrap();

    let add = async |names: Vec<String>| {
        let column =
            |name| proto::DefinedColumnSchema { name, r#type: proto::DefinedColumnType::DctInteger as i32 };
        let columns = names.into_iter().map(column).collect();
        let request = proto::AddDefinedColumnRequest { table_name: "main".into(), columns };
        client.call::<proto::AddDefinedColumnResponse>("AddDefinedColumn", &request).await.map(drop)
    };
    add(vec!["d1".into()]).await.unwrap();
    assert!(add(vec!["d1".into()]).await.unwrap_err().starts_with(WRONG));
    let many = add((0..25).map(|number| format!("more{number}")).collect()).await.unwrap_err();
    assert_eq!(many, format!("{WRONG} The number of defined columns must be in range: [0, 32]."));
    assert_eq!(describe(&client, "main").await.unwrap().table_meta.defined_column.len(), 8);
}

#[tokio::test]
async fn rows_that_stand_twice_in_a_batch_cannot_have_conditions() {
    let client = Client::new(SandboxOptions::default()).await;
    client.create(&table("t", 1)).await.unwrap();
    let number = |id, value| {
        otsvault::plainbuffer::encode_row(&row(id, &[Cell::put("a", Value::Integer(value), None)]))
    };
    let mut batch = crate::client::puts("t", [number(1, 1), number(2, 1), number(1, 2)]);
    assert!(client.batch(&batch).await.unwrap().iter().all(Result::is_ok));
    let last = client.get("t", &Row { cells: vec![], ..row(1, &[]) }).await.unwrap().unwrap();
    assert!(last[0].ends_with("=Integer(2)"), "{last:?}");
    batch.tables[0].rows[2].condition = condition(proto::RowExistenceExpectation::ExpectExist);
    let text = "OTSParameterInvalid Repeated rows do not support row exist expectation check in BatchModify.";
    assert_eq!(client.batch(&batch).await.unwrap(), [Ok(()), Ok(()), Err(text.to_owned())]);
    batch.tables.push(batch.tables[0].clone());
    assert_eq!(client.batch(&batch).await.unwrap_err(), format!("{WRONG} Duplicated table name: 't'."));
}
