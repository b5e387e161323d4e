use otsvault::model::PrimaryKeyValue;
use otsvault::sandbox::SandboxOptions;
use otsvault::{plainbuffer, proto};

use crate::client::{Client, key_column, table};

const WRONG: &str = "400 OTSParameterInvalid";

#[tokio::test]
async fn a_described_table_says_everything_that_was_asked_for() {
    let client = Client::new(SandboxOptions::default()).await;
    let mut request = table("t", 7);
    request.table_meta.primary_key.push(proto::PrimaryKeySchema {
        option: Some(proto::PrimaryKeyOption::AutoIncrement as i32),
        ..key_column("auto", proto::PrimaryKeyType::Integer)
    });
    request.table_meta.defined_column = vec![proto::DefinedColumnSchema {
        name: "defined".into(),
        r#type: proto::DefinedColumnType::DctBlob as i32,
    }];
    request.stream_spec = Some(proto::StreamSpecification {
        enable_stream: true,
        expiration_time: Some(168),
        ..Default::default()
    });
    client.create(&request).await.unwrap();

    let asked = proto::DescribeTableRequest { table_name: "t".into() };
    let about: proto::DescribeTableResponse = client.call("DescribeTable", &asked).await.unwrap();
    assert_eq!(about.table_meta.primary_key, request.table_meta.primary_key);
    assert_eq!(about.table_meta.defined_column, request.table_meta.defined_column);
    assert_eq!(about.table_status, Some(proto::TableStatus::Active as i32));
    let options = about.table_options;
    assert_eq!((options.time_to_live, options.max_versions), (Some(-1), Some(7)));
    assert_eq!((options.deviation_cell_version_in_sec, options.allow_update), (Some(86_400), Some(true)));
    let unit = about.reserved_throughput_details.capacity_unit;
    assert_eq!((unit.read, unit.write), (Some(0), Some(0)));
    let stream = about.stream_details.unwrap();
    assert_eq!((stream.enable_stream, stream.expiration_time), (true, Some(168)));
    assert!(stream.stream_id.is_some() && stream.last_enable_time > Some(1_700_000_000_000_000));
    assert!(about.creation_time > Some(1_700_000_000_000_000));

    let mut update = proto::UpdateTableRequest { table_name: "t".into(), ..Default::default() };
    update.table_options = Some(proto::TableOptions {
        time_to_live: Some(86_400),
        deviation_cell_version_in_sec: Some(i64::MAX / 1_000_000),
        ..Default::default()
    });
    update.stream_spec = Some(proto::StreamSpecification::default());
    let updated: proto::UpdateTableResponse = client.call("UpdateTable", &update).await.unwrap();
    assert_eq!(
        (updated.table_options.time_to_live, updated.table_options.max_versions),
        (Some(86_400), Some(7))
    );
    assert!(!updated.stream_details.unwrap().enable_stream);

    let name = proto::DeleteTableRequest { table_name: "t".into() };
    client.call::<proto::DeleteTableResponse>("DeleteTable", &name).await.unwrap();
    let gone = client.call::<proto::DescribeTableResponse>("DescribeTable", &asked).await;
    assert_eq!(gone.unwrap_err(), "404 OTSObjectNotExist Requested table does not exist.");
}

#[tokio::test]
async fn tables_that_cannot_exist_are_refused() {
    let client = Client::new(SandboxOptions::default()).await;
    let refused = async |change: &dyn Fn(&mut proto::CreateTableRequest)| {
        let mut request = table("t", 1);
        change(&mut request);
        client.create(&request).await.expect_err("this table cannot exist")
    };
    for name in ["", "1a", "a-b", "ä", &"a".repeat(256)] {
        let text = format!("{WRONG} Invalid table name: '{name}'.");
        assert_eq!(refused(&|request| request.table_meta.table_name = name.to_owned()).await, text);
    }
    for name in ["", "1a", "a b", &"a".repeat(256)] {
        let text = format!("{WRONG} Invalid column name: '{name}'.");
        assert_eq!(refused(&|request| request.table_meta.primary_key[0].name = name.to_owned()).await, text);
    }
    let integer = |name: &str| key_column(name, proto::PrimaryKeyType::Integer);
    for columns in [vec![], ["a", "b", "c", "d", "e"].map(integer).to_vec()] {
        let text = format!("{WRONG} The number of primary key columns must be in range: [1, 4].");
        assert_eq!(refused(&|request| request.table_meta.primary_key = columns.clone()).await, text);
    }
    let automatic = refused(&|request| request.table_meta.primary_key[0].option = Some(1)).await;
    assert!(automatic.starts_with(WRONG), "{automatic}");
    let defined = |number| proto::DefinedColumnSchema { name: format!("d{number}"), r#type: 1 };
    assert_eq!(
        refused(&|request| request.table_meta.defined_column = (0..33).map(defined).collect()).await,
        format!("{WRONG} The number of defined columns must be in range: [0, 32].")
    );
    assert_eq!(
        refused(&|request| request.table_options = None).await,
        format!("{WRONG} The maxVersions and timeToLive must be set while creating table.")
    );
    for (time_to_live, max_versions) in [(Some(86_399), Some(1)), (Some(-1), Some(0)), (Some(-2), Some(1))] {
        let options = proto::TableOptions { time_to_live, max_versions, ..Default::default() };
        let text = refused(&|request| request.table_options = Some(options)).await;
        assert!(text.starts_with(WRONG), "{text}");
    }
}

#[tokio::test]
async fn partitions_must_tile_the_first_key_column() {
    let client = Client::new(SandboxOptions::default()).await;
    let bare = |value: PrimaryKeyValue<'_>| {
        let mut bytes = Vec::new();
        plainbuffer::write_bare_key_value(&mut bytes, value);
        bytes
    };
    let create = async |bounds: &[PrimaryKeyValue<'_>], skip: usize| {
        let ranges = bounds.windows(2).skip(skip);
        let range = |pair: &[PrimaryKeyValue<'_>]| proto::PartitionRange {
            begin: bare(pair[0]).into(),
            end: bare(pair[1]).into(),
        };
        client
            .create(&proto::CreateTableRequest { partitions: ranges.map(range).collect(), ..table("p", 1) })
            .await
    };
    use PrimaryKeyValue::{InfMax, InfMin, Integer, String};
    let many: Vec<_> = std::iter::once(InfMin).chain((0..10).map(Integer)).chain([InfMax]).collect();
    let refused = [
        (many.as_slice(), "The count of partitions cannot be greater than 10"),
        (
            &[InfMin, Integer(i64::MIN), InfMax],
            "The value of partition range can not be INT64_MIN or INT64_MAX.",
        ),
        (&[InfMin, String("a"), InfMax], "The value type of partition does not match with primary key."),
        (&[InfMin, String(""), InfMax], "The value of partition range can not be empty string."),
    ];
    for (bounds, text) in refused {
        assert_eq!(create(bounds, 0).await.unwrap_err(), format!("{WRONG} {text}"));
    }
    assert!(create(&[InfMin, Integer(1), InfMax], 1).await.unwrap_err().contains("contiguous"));
    create(&[InfMin, Integer(-5), Integer(5), InfMax], 0).await.unwrap();
    let asked = proto::DescribeTableRequest { table_name: "p".into() };
    let about: proto::DescribeTableResponse = client.call("DescribeTable", &asked).await.unwrap();
    let boundary = |bytes: &bytes::Bytes| plainbuffer::decode_key(bytes).unwrap().to_string();
    assert_eq!(about.shard_splits.iter().map(boundary).collect::<Vec<_>>(), ["(-5)", "(5)"]);
}

#[tokio::test]
async fn an_instance_holds_64_tables_and_each_name_once() {
    let client = Client::new(SandboxOptions::default()).await;
    for number in 0..64 {
        client.create(&table(&format!("t{number:02}"), 1)).await.unwrap();
    }
    let again = client.create(&table("t00", 1)).await.unwrap_err();
    assert_eq!(again, "409 OTSObjectAlreadyExist Requested table already exists.");
    let more = client.create(&table("t64", 1)).await.unwrap_err();
    assert_eq!(more, "403 OTSQuotaExhausted Number of tables exceeds the quota:64.");
    let list: proto::ListTableResponse = client.call("ListTable", &proto::ListTableRequest {}).await.unwrap();
    assert_eq!(list.table_names.len(), 64);
}

#[tokio::test]
async fn callers_with_a_wrong_key_and_unknown_operations_are_refused() {
    let client = Client::new(SandboxOptions::default()).await;
    let (status, _, body) = client.send("ListTable", Vec::new(), "wrong").await.unwrap();
    let error: proto::Error = prost::Message::decode(body.as_slice()).unwrap();
    assert_eq!((status, error.code.as_str(), error.message()), (403, "OTSAuthFailed", "Signature mismatch."));
    let unknown = client.call::<proto::ListTableResponse>("Search", &proto::ListTableRequest {}).await;
    assert_eq!(unknown.unwrap_err(), format!("{WRONG} Unsupported operation: Search."));
    let secret = client.sandbox.description().access_key_secret.clone();
    let (status, _, _) = client.send("PutRow", vec![0; (5 << 20) + 1], &secret).await.unwrap();
    assert_eq!(status, 413);
}

#[tokio::test]
async fn a_new_table_is_not_ready_at_once_when_asked_so() {
    let wait = std::time::Duration::from_secs(3_600);
    let client = Client::new(SandboxOptions { table_ready_after: wait, ..Default::default() }).await;
    client.create(&table("t", 1)).await.unwrap();
    let row = crate::client::row(1, &[]);
    let early = client.put("t", &row).await.unwrap_err();
    assert_eq!(early, "404 OTSTableNotReady The table is not ready.");
    client.sandbox.advance_clock(wait);
    client.put("t", &row).await.unwrap();
}
