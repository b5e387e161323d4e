use otsvault::model::{Cell, Row, Value};
use otsvault::sandbox::SandboxOptions;
use otsvault::sandbox::table_store::PartitionLimits;
use otsvault::{Kind, plainbuffer, proto};

use crate::client::{Client, puts, row, table};
use crate::shards::{at, client_with_stream, shards};

async fn boundaries(client: &Client) -> Vec<String> {
    let request = proto::DescribeTableRequest { table_name: "t".into() };
    let about: proto::DescribeTableResponse = client.call("DescribeTable", &request).await.unwrap();
    about.shard_splits.iter().map(|bytes| plainbuffer::decode_key(bytes).unwrap().to_string()).collect()
}

fn rows_of(client: &Client) -> Vec<u64> {
    let partitions = client.sandbox.table_store().partitions("t").unwrap();
    partitions.into_iter().map(|partition| partition.rows).collect()
}

async fn put_all(client: &Client, ids: std::ops::Range<i64>, cells: &[Cell<'_>]) {
    for ids in ids.collect::<Vec<_>>().chunks(50) {
        let rows = ids.iter().map(|id| plainbuffer::encode_row(&row(*id, cells)));
        let outcome = client.batch(&puts("t", rows)).await.unwrap();
        assert!(outcome.iter().all(Result::is_ok), "{outcome:?}");
    }
}

#[tokio::test]
async fn partitions_split_and_merge_on_demand_and_every_row_stays() {
    let client = Client::new(SandboxOptions::default()).await;
    let range = |begin: Row<'_>, end: Row<'_>| {
        let bare = |row: Row<'_>| {
            let mut bytes = Vec::new();
            plainbuffer::write_bare_key_value(&mut bytes, row.key[0].1);
            bytes.into()
        };
        proto::PartitionRange { begin: bare(begin), end: bare(end) }
    };
    let end = |value| Row { key: vec![("id", value)], ..Row::default() };
    let partitions = vec![
        range(end(otsvault::model::PrimaryKeyValue::InfMin), row(100, &[])),
        range(row(100, &[]), end(otsvault::model::PrimaryKeyValue::InfMax)),
    ];
    client.create(&proto::CreateTableRequest { partitions, ..table("t", 1) }).await.unwrap();
    put_all(&client, 0..300, &[]).await;
    let control = client.sandbox.table_store();
    assert_eq!((boundaries(&client).await, rows_of(&client)), (vec!["(100)".to_owned()], vec![100, 200]));
    control.split_partition("t", &at(250)).unwrap();
    control.split_partition("t", &at(-5)).unwrap();
    assert_eq!(boundaries(&client).await, ["(-5)", "(100)", "(250)"]);
    assert_eq!(rows_of(&client), [0, 100, 150, 50]);
    control.merge_partitions("t", 1, 2).unwrap();
    assert_eq!((boundaries(&client).await.len(), rows_of(&client)), (2, vec![0, 250, 50]));
    for (a, b) in [(0, 2), (1, 1), (2, 3)] {
        assert_eq!(control.merge_partitions("t", a, b).unwrap_err().kind(), Kind::Usage);
    }
    assert_eq!(control.split_partition("t", &at(250)).unwrap_err().kind(), Kind::Usage);
    assert_eq!(control.split_partition("u", &at(1)).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(client.sandbox.row_sum("t").unwrap().0, 300);
    let starts: Vec<_> =
        control.partitions("t").unwrap().into_iter().map(|partition| partition.start).collect();
    assert_eq!(starts, [None, Some(at(-5)), Some(at(250))]);
}

#[tokio::test]
async fn generated_tables_split_and_merge_too() {
    let tables = vec!["t=sparse:rows=1000,seed=1,partitions=4".parse().unwrap()];
    let client = Client::new(SandboxOptions { tables, ..Default::default() }).await;
    let control = client.sandbox.table_store();
    assert_eq!(rows_of(&client), [250, 250, 250, 250]);
    control.merge_partitions("t", 0, 1).unwrap();
    let starts: Vec<_> =
        control.partitions("t").unwrap().into_iter().filter_map(|found| found.start).collect();
    control.split_partition("t", &starts[1]).unwrap_err();
    assert_eq!(rows_of(&client), [500, 250, 250]);
    assert_eq!(boundaries(&client).await.len(), 2);
}

#[tokio::test]
async fn load_splits_partitions_and_emptiness_merges_them() {
    let text = "x".repeat(1_000);
    let heavy = [Cell::put("a", Value::String(&text), None)];
    for (limits, cells) in [
        (PartitionLimits { split_rows: Some(100), ..Default::default() }, [].as_slice()),
        (PartitionLimits { split_bytes: Some(100_000), ..Default::default() }, &heavy),
        (PartitionLimits { split_writes: Some(100), ..Default::default() }, &[]),
    ] {
        let (client, stream_id) = client_with_stream(&[]).await;
        client.sandbox.table_store().limit_partitions("t", limits).unwrap();
        put_all(&client, 0..1_000, cells).await;
        let rows = rows_of(&client);
        println!("{limits:?}: {rows:?}");
        assert!(rows.len() >= 5 && rows.iter().sum::<u64>() == 1_000, "{rows:?}");
        if limits.split_writes.is_none() {
            assert!(rows.iter().all(|rows| *rows <= 101), "{rows:?}");
        }
        let open = rows.len();
        let listed = shards(&client, &stream_id, 7).await.unwrap();
        let is_parent = |shard: &&proto::StreamShard| {
            listed.iter().any(|child| child.parent_id.as_ref() == Some(&shard.shard_id))
        };
        assert_eq!(listed.iter().filter(|shard| !is_parent(shard)).count(), open);

        let merging = PartitionLimits { merge_rows: Some(2_000), ..Default::default() };
        client.sandbox.table_store().limit_partitions("t", merging).unwrap();
        client.put("t", &row(-1, &[])).await.unwrap();
        assert_eq!(rows_of(&client), [1_001]);
    }
}

#[tokio::test]
async fn rows_of_one_partition_key_are_never_divided() {
    let client = Client::new(SandboxOptions::default()).await;
    let mut request = table("t", 1);
    request.table_meta.primary_key.push(crate::client::key_column("sub", proto::PrimaryKeyType::Integer));
    client.create(&request).await.unwrap();
    let limits = PartitionLimits { split_rows: Some(10), ..Default::default() };
    client.sandbox.table_store().limit_partitions("t", limits).unwrap();
    let put = async |id, sub| {
        let mut row = row(id, &[]);
        row.key.push(("sub", otsvault::model::PrimaryKeyValue::Integer(sub)));
        client.put("t", &row).await.unwrap();
    };
    for sub in 0..60 {
        put(5, sub).await;
    }
    assert_eq!(rows_of(&client), [60]);
    for sub in 0..40 {
        put(6, sub).await;
    }
    assert_eq!((rows_of(&client), boundaries(&client).await), (vec![60, 40], vec!["(6, -inf)".to_owned()]));
}
