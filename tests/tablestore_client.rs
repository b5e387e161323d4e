//! The Table Store client against messages of the official SDKs, and against servers that misbehave.

#[path = "tablestore_client/scripted_server.rs"]
mod scripted_server;

#[path = "tablestore_client/bulk_export.rs"]
mod bulk_export;
#[path = "tablestore_client/limits.rs"]
mod limits;
#[path = "tablestore_client/retries.rs"]
mod retries;
#[path = "tablestore_client/row_batches.rs"]
mod row_batches;
#[path = "tablestore_client/row_changes.rs"]
mod row_changes;
#[path = "tablestore_client/streams.rs"]
mod streams;
#[path = "tablestore_client/write_batches.rs"]
mod write_batches;
#[path = "tablestore_client/wrong_answers.rs"]
mod wrong_answers;

use std::time::{Duration, Instant};

use otsvault::Kind;
use otsvault::credentials::Credentials;
use otsvault::model::{
    Cell, CellOp, DefinedColumn, KeyPart, KeyRange, PrimaryKey, PrimaryKeyColumn, PrimaryKeyType,
    PrimaryKeyValue, ReservedThroughput, Row, Stream, TableDefinition, TableOptions, Value, ValueType,
};
use otsvault::network::Network;
use otsvault::plainbuffer::{RowReader, encode_key};
use otsvault::proto;
use otsvault::tablestore::{
    BatchFiller, BatchTarget, Direction, Existence, Priority, RangeRequest, RowChange, RowRequest, Signature,
    StreamSetting, TableStore, TableStoreConfig, TableUpdate, TimeRange,
};
use scripted_server::{Reply, ScriptedServer};
use serde_json::Value as Json;

fn config(endpoint: &str) -> TableStoreConfig {
    let mut config = TableStoreConfig::new(endpoint, "myinstance", Credentials::new("id", "hush", None));
    config.retry_budget = Duration::from_secs(60);
    config
}

fn client(server: &ScriptedServer) -> TableStore {
    TableStore::new(config(&server.url())).unwrap()
}

/// Plain connections, and the general client, which is what goes through a proxy: the server is its own.
const WAYS: [Way; 2] = [Way::Plain, Way::Proxy];

#[derive(Debug, Clone, Copy)]
enum Way {
    Plain,
    Proxy,
}

impl Way {
    fn config(self, server: &ScriptedServer) -> TableStoreConfig {
        let config = config(&server.url());
        match self {
            Way::Plain => config,
            Way::Proxy => {
                let network = Network::default().with_proxy(&server.url()).unwrap();
                TableStoreConfig { network, ..config }
            }
        }
    }

    fn client(self, server: &ScriptedServer) -> TableStore {
        TableStore::new(self.config(server)).unwrap()
    }
}

fn impatient_client(server: &ScriptedServer) -> TableStore {
    TableStore::new(TableStoreConfig { retry_budget: Duration::from_millis(150), ..config(&server.url()) })
        .unwrap()
}

fn vector(kind: &str, id: &str) -> Vec<u8> {
    let file: Json = serde_json::from_str(include_str!("fixtures/vectors/messages.json")).unwrap();
    let case = file[kind].as_array().unwrap().iter().find(|case| case["id"] == id);
    hex::decode(case.unwrap_or_else(|| panic!("no {kind} {id}"))["hex"].as_str().unwrap()).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn key_column(name: &str, column_type: PrimaryKeyType) -> PrimaryKeyColumn {
    PrimaryKeyColumn { name: name.into(), column_type, auto_increment: false }
}

fn plain_table(name: &str, key: PrimaryKeyType) -> TableDefinition {
    TableDefinition {
        name: name.into(),
        primary_key: vec![key_column("k", key)],
        defined_columns: vec![],
        options: TableOptions {
            time_to_live: Some(-1),
            max_versions: Some(1),
            deviation_seconds: Some(86_400),
            ..TableOptions::default()
        },
        reserved: ReservedThroughput::default(),
        stream: None,
        indexes: vec![],
        creation_time: None,
    }
}

fn table_of_all_types() -> TableDefinition {
    let mut table = plain_table("t1", PrimaryKeyType::String);
    table.primary_key[0].name = "uid".into();
    table
        .primary_key
        .push(PrimaryKeyColumn { auto_increment: true, ..key_column("seq", PrimaryKeyType::Integer) });
    let columns = [
        ("name", ValueType::String),
        ("age", ValueType::Integer),
        ("w", ValueType::Double),
        ("ok", ValueType::Boolean),
        ("raw", ValueType::Binary),
    ];
    table.defined_columns =
        columns.map(|(name, column_type)| DefinedColumn { name: name.into(), column_type }).into();
    table.options.max_versions = Some(3);
    table.options.allow_update = Some(true);
    table
}

/// The row of the vectors.
fn row<'a>(cells: Vec<Cell<'a>>) -> Row<'a> {
    Row {
        key: vec![
            ("uid", PrimaryKeyValue::String("u-0001")),
            ("ts", PrimaryKeyValue::Integer(1_700_000_000_123)),
            ("bin", PrimaryKeyValue::Binary(&[0, 1, 0xfe, 0xff])),
        ],
        cells,
        ..Row::default()
    }
}

fn put_cells() -> Vec<Cell<'static>> {
    vec![Cell::put("s", Value::String("text"), None), Cell::put("i", Value::Integer(1), None)]
}

fn update_cells() -> Vec<Cell<'static>> {
    vec![
        Cell::put("a", Value::Integer(1), None),
        Cell { name: "b", value: None, op: Some(CellOp::DeleteAllVersions), timestamp: None },
    ]
}

fn range() -> RangeRequest {
    RangeRequest {
        max_versions: Some(1),
        ..RangeRequest::everything("t1", names(&["uid", "ts", "bin"]), KeyRange::all(3))
    }
}

/// Keys of one STRING column `k`.
fn range_of_k(start: KeyPart, end: KeyPart) -> RangeRequest {
    let range = KeyRange { start: PrimaryKey(vec![start]), end: PrimaryKey(vec![end]) };
    RangeRequest::everything("t1", names(&["k"]), range)
}

fn text(value: &str) -> KeyPart {
    KeyPart::String(value.into())
}

#[tokio::test]
async fn requests_are_the_sdks_byte_for_byte() {
    let server = ScriptedServer::start([Reply::Error(400, "OTSParameterInvalid", "seen")]);
    let client = client(&server);
    let mut sent = 0;
    macro_rules! check {
        ($id:literal, $call:expr) => {
            let error = $call.await.err().expect($id);
            assert_eq!((error.kind(), error.service_code()), (Kind::Refused, Some("OTSParameterInvalid")));
            let body = server.seen().last().unwrap().body.clone();
            assert_eq!(hex::encode(body), hex::encode(vector("requests", $id)), $id);
            sent += 1;
        };
    }

    check!("create_table", client.create_table(&table_of_all_types(), &[]));
    let splits = ["40000000", "80000000", "c0000000"].map(text);
    check!(
        "create_table_pre_split",
        client.create_table(&plain_table("t2", PrimaryKeyType::String), &splits)
    );
    let mut with_stream = plain_table("t3", PrimaryKeyType::Integer);
    with_stream.stream = Some(Stream {
        stream_id: "ignored".into(),
        expiration_hours: 168,
        last_enable_time_us: 1,
        columns: vec![],
    });
    check!("create_table_with_stream", client.create_table(&with_stream, &[]));
    check!("list_table", client.list_tables());
    check!("describe_table", client.describe_table("t1"));
    check!("delete_table", client.delete_table("t1"));
    let options = TableOptions {
        time_to_live: Some(86_400),
        max_versions: Some(1),
        deviation_seconds: Some(864_000),
        ..TableOptions::default()
    };
    let update = TableUpdate {
        reserved: Some(ReservedThroughput { read: 5, write: 6 }),
        options: Some(options),
        stream: None,
    };
    check!("update_table_throughput_and_options", client.update_table("t1", update));
    let stream = Some(StreamSetting::On { expiration_hours: 24, columns: vec![] });
    let update = TableUpdate { stream, ..TableUpdate::default() };
    check!("update_table_enable_stream", client.update_table("t1", update));

    check!("put_row", client.put_row("t1", &row(put_cells())));
    let change = RowChange::put(&row(put_cells())).if_row(Existence::NotExists).return_key();
    check!("put_row_expect_not_exist_return_pk", client.write_row("t1", &change));
    check!("update_row", client.update_row("t1", &row(update_cells())));
    check!("delete_row", client.delete_row("t1", &row(put_cells())));
    let get = RowRequest {
        table: "t1".into(),
        key_names: names(&["uid", "ts", "bin"]),
        key: PrimaryKey::from_row(&row(vec![]).key).unwrap(),
        columns: names(&["s", "i"]),
        max_versions: Some(1),
        time_range: None,
    };
    check!("get_row", client.get_row(&get));

    check!("get_range_full_forward", client.get_range(&range()));
    let backward = RangeRequest {
        direction: Direction::Backward,
        start: PrimaryKey::inf_max(3),
        end: PrimaryKey::inf_min(3),
        max_versions: Some(2),
        limit: Some(10),
        ..range()
    };
    check!("get_range_backward_limit", client.get_range(&backward));
    let columns = RangeRequest {
        columns: names(&["s", "uid"]),
        time_range: Some(TimeRange::Between { start: 0, end: 1_700_000_000_000 }),
        max_versions: Some(i32::MAX),
        ..range()
    };
    check!("get_range_columns_and_time_range", client.get_range(&columns));
    let time_range = Some(TimeRange::At(1_700_000_000_000));
    let at = RangeRequest { time_range, max_versions: None, ..range() };
    check!("get_range_specific_time", client.get_range(&at));

    let of_t1 = [
        RowChange::put(&row(put_cells())),
        RowChange::update(&row(update_cells())),
        RowChange::delete(&row(vec![])),
    ];
    let other = Row {
        key: vec![("k", PrimaryKeyValue::String("x"))],
        cells: vec![Cell::put("v", Value::Double(1.5), None)],
        ..Row::default()
    };
    let of_t2 = [RowChange::put(&other).if_row(Existence::NotExists)];
    check!("batch_write_row", client.batch_write_row(&[("t1", &of_t1), ("t2", &of_t2)]));
    check!(
        "compute_split_points_by_size",
        client.compute_split_points_by_size("t1", 1, Some(104_857_600), None)
    );
    assert_eq!(sent, 19);
    assert_eq!(server.connections(), 1, "kept alive from request to request");
    assert_eq!(client.counters().requests, sent);
    assert_eq!(client.counters().retries, 0);
}

#[tokio::test]
async fn a_request_carries_its_headers_and_no_secret() {
    let server = ScriptedServer::start([Reply::Ok(vector("responses", "list_table"))]);
    let credentials = Credentials::new("id", "hush", Some("token-1".into())).into();
    let signature = Signature::V4 { region: "cn-hangzhou".into() };
    let config = TableStoreConfig { credentials, signature, ..config(&server.url()) };
    TableStore::new(config).unwrap().list_tables().await.unwrap();
    let seen = server.seen().remove(0);
    assert_eq!(seen.path, "/ListTable");
    let value = |name: &str| &seen.headers.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!(value("x-ots-instancename"), "myinstance");
    assert_eq!(value("x-ots-contentmd5"), "1B2M2Y8AsgTpgAmY7PhCfg==");
    assert_eq!(value("x-ots-ststoken"), "token-1");
    assert_eq!(value("x-ots-signregion"), "cn-hangzhou");
    assert_eq!(value("x-ots-signaturev4").len(), 44);
    assert!(!format!("{seen:?}").contains("hush"));
}

#[tokio::test]
async fn answers_read_as_the_sdk_reads_them() {
    let ids = ["get_range_two_rows_more", "get_range_empty_end", "get_range_empty_page_more"];
    let server = ScriptedServer::start(
        ids.iter()
            .chain(&["get_row_missing", "get_row_found", "put_row_ok", "put_row_ok_returned_pk"])
            .chain(&["list_table", "describe_table", "describe_table_with_table_status_4"])
            .chain(&["compute_split_points_by_size", "batch_write_row_partial_failure"])
            .map(|id| Reply::Ok(vector("responses", id))),
    );
    let client = client(&server);

    let whole = range_of_k(KeyPart::InfMin, KeyPart::InfMax);
    let two_rows = client.get_range(&whole).await.unwrap();
    assert_eq!(two_rows.next_start, Some(PrimaryKey(vec![text("c")])));
    assert_eq!((two_rows.read_capacity_units, two_rows.request_id.as_deref()), (1, Some("id-7")));
    let mut reader = RowReader::new(&two_rows.rows).unwrap();
    let mut row = Row::default();
    assert!(reader.next_row(&mut row).unwrap());
    assert_eq!(row.key, [("k", PrimaryKeyValue::String("a"))]);
    assert_eq!(row.cells, [Cell::put("c", Value::String("v"), Some(1_700_000_000_000))]);
    assert!(reader.next_row(&mut row).unwrap() && row.cells.is_empty());
    assert!(!reader.next_row(&mut row).unwrap());
    let end = client.get_range(&whole).await.unwrap();
    assert_eq!((end.rows.len(), end.next_start), (0, None));
    let empty = client.get_range(&whole).await.unwrap();
    assert_eq!((empty.rows.len(), empty.next_start), (0, Some(PrimaryKey(vec![text("c")]))));

    let get = RowRequest {
        table: "t1".into(),
        key_names: names(&["k"]),
        key: PrimaryKey(vec![text("a")]),
        columns: vec![],
        max_versions: Some(1),
        time_range: None,
    };
    assert_eq!(client.get_row(&get).await.unwrap(), None);
    let found = client.get_row(&get).await.unwrap().unwrap();
    assert_eq!(found.decode().unwrap().cells.len(), 1);
    let put = client.put_row("t1", &row).await.unwrap();
    assert_eq!((put.write_capacity_units, put.returned), (1, None));
    let returned = client.put_row("t1", &row).await.unwrap().returned.unwrap();
    let returned = returned.decode().unwrap();
    assert_eq!(returned.key[1], ("seq", PrimaryKeyValue::Integer(1_700_000_000_000_001)));

    assert_eq!(client.list_tables().await.unwrap(), ["a", "b"]);
    for _ in 0..2 {
        let description = client.describe_table("t1").await.unwrap();
        let mut expected = table_of_all_types();
        expected.stream = Some(Stream {
            stream_id: "t1_1700000000000000".into(),
            expiration_hours: 168,
            last_enable_time_us: 1_700_000_000_000_000,
            columns: vec![],
        });
        assert_eq!(description.definition, expected);
        assert_eq!(description.partition_splits, [PrimaryKey(vec![text("m"), KeyPart::InfMin])]);
    }
    let split = client.compute_split_points_by_size("t1", 1, None, None).await.unwrap();
    let point = |value| PrimaryKey(vec![text(value), KeyPart::InfMin]);
    assert_eq!(split.points, [point("27908\0"), point("41420\0")]);
    assert_eq!(split.locations.len(), 3, "one per range");
    assert_eq!(split.locations.iter().filter(|location| !location.is_empty()).count(), 2);

    let changes = vec![RowChange::put(&row); 3];
    let results = client.batch_write_row(&[("t1", &changes)]).await.unwrap();
    let [[Ok(first), Err(busy), Err(condition)]] = results.tables.each_ref_of_three() else {
        panic!("{results:?}")
    };
    assert_eq!(first.write_capacity_units, 1);
    assert_eq!(busy.kind(), Kind::Throttled);
    assert_eq!(condition.service_code(), Some("OTSConditionCheckFail"));
    assert_eq!(client.counters().throttles, 1);
    assert_eq!(results.all().unwrap_err().service_code(), Some("OTSServerBusy"));
}

/// A slice pattern over nested vectors.
trait EachRefOfThree<T> {
    fn each_ref_of_three(&self) -> [[&T; 3]; 1];
}

impl<T> EachRefOfThree<T> for Vec<Vec<T>> {
    fn each_ref_of_three(&self) -> [[&T; 3]; 1] {
        let [rows] = self.as_slice() else { panic!("{} tables", self.len()) };
        let [a, b, c] = rows.as_slice() else { panic!("{} rows", rows.len()) };
        [[a, b, c]]
    }
}

#[tokio::test]
async fn a_priority_is_sent_and_signed() {
    let sandbox = otsvault::sandbox::Sandbox::start(Default::default()).await.unwrap();
    let at = sandbox.description();
    let credentials = Credentials::new(&*at.access_key_id, &*at.access_key_secret, None);
    for signature in [Signature::V2, Signature::V4 { region: at.region.clone() }] {
        let plain = TableStoreConfig::new(&*at.ots_endpoint, &*at.instance, credentials.clone());
        let config = TableStoreConfig { priority: Some(Priority::Low), signature, ..plain };
        assert_eq!(TableStore::new(config).unwrap().list_tables().await.unwrap(), Vec::<String>::new());
    }
    let server = ScriptedServer::start([Reply::Ok(vector("responses", "list_table"))]);
    let config = TableStoreConfig { priority: Some(Priority::High), ..config(&server.url()) };
    TableStore::new(config).unwrap().list_tables().await.unwrap();
    let header = ("x-ots-request-priority".to_owned(), "2".to_owned());
    assert!(server.seen()[0].headers.contains(&header));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_serves_many_tasks() {
    let server = ScriptedServer::start([Reply::Ok(vector("responses", "get_range_empty_end"))]);
    let client = client(&server);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get_range(&range()).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap().next_start, None);
    }
    assert_eq!(client.counters().requests, 16);
}

/// Compiles only if every future can move between threads.
#[expect(dead_code, reason = "the type check is the test")]
fn every_call_can_be_spawned(client: &TableStore, row: &Row<'_>, get: &RowRequest) {
    fn spawnable(_: impl Send) {}
    spawnable(client.list_tables());
    spawnable(client.describe_table("t"));
    spawnable(client.create_table(&table_of_all_types(), &[]));
    spawnable(client.update_table("t", TableUpdate::default()));
    spawnable(client.delete_table("t"));
    spawnable(client.compute_split_points_by_size("t", 1, None, None));
    spawnable(client.get_row(get));
    spawnable(client.put_row("t", row));
    spawnable(client.batch_write_row(&[]));
    spawnable(client.write_rows("t", &[]));
    spawnable(async {
        client.write_batch(BatchFiller::new(BatchTarget::put("t")).finish().first()?).await.ok()
    });
    spawnable(client.list_streams(None));
    spawnable(client.describe_stream("s"));
    spawnable(client.get_shard_iterator("s", "shard", otsvault::tablestore::ShardStart::Oldest));
    spawnable(client.get_stream_record("t", "i", None));
}
