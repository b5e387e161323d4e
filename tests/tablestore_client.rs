//! The Table Store client against messages of the official SDKs, and against servers that misbehave.

#[path = "tablestore_client/scripted_server.rs"]
mod scripted_server;

#[path = "tablestore_client/bulk_export.rs"]
mod bulk_export;
#[path = "tablestore_client/limits.rs"]
mod limits;
#[path = "tablestore_client/row_batches.rs"]
mod row_batches;
#[path = "tablestore_client/streams.rs"]
mod streams;
#[path = "tablestore_client/write_batches.rs"]
mod write_batches;

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

fn page(next: Option<KeyPart>) -> proto::GetRangeResponse {
    proto::GetRangeResponse {
        next_start_primary_key: next.map(|part| encode_key(&["k"], &PrimaryKey(vec![part])).into()),
        ..Default::default()
    }
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
async fn a_read_goes_on_after_lost_connections_busy_servers_and_damaged_answers() {
    let good = vector("responses", "list_table");
    let mut short = b"HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\ncontent-length: 100\r\n\r\n".to_vec();
    short.extend(&good);
    let faults = [
        Reply::Drop,
        Reply::Error(403, "OTSNotEnoughCapacityUnit", "Remaining capacity unit is not enough."),
        Reply::Error(404, "OTSTableNotReady", "The table is not ready."),
        Reply::Error(503, "OTSPartitionUnavailable", "The partition is not available."),
        Reply::Error(503, "OTSTimeout", "Operation timeout."),
        Reply::Raw(b"HTTP/1.1 200 X\r\ncontent-le".to_vec()),
        Reply::Raw(short),
        Reply::Raw(b"garbage\r\n\r\n".to_vec()),
        Reply::page(502),
        Reply::WrongMd5(b"\xff\xff garbage".to_vec()),
    ];
    for (fault, way) in faults.iter().flat_map(|fault| WAYS.map(|way| (fault, way))) {
        let server = ScriptedServer::start([fault.clone(), Reply::Ok(good.clone())]);
        let tables = way.client(&server).list_tables().await;
        assert_eq!(tables.unwrap(), ["a", "b"], "{way:?} {fault:?}");
        assert_eq!(server.seen().len(), 2, "{way:?} {fault:?}");
    }
    let busy = Reply::Error(503, "OTSServerBusy", "Server is busy.");
    let server = ScriptedServer::start([busy.clone(), Reply::Drop, busy, Reply::Ok(good)]);
    let client = client(&server);
    assert!(client.list_tables().await.is_ok());
    let counters = client.counters();
    assert_eq!((counters.requests, counters.retries, counters.throttles, counters.answers), (4, 3, 2, 3));
    assert!(counters.response_bytes > 0);
}

#[tokio::test]
async fn a_write_is_repeated_after_a_timeout_only_if_it_is_idempotent() {
    let ok = Reply::Ok(vector("responses", "put_row_ok"));
    let timeout = Reply::Error(503, "OTSTimeout", "Operation timeout.");
    for (failure, way) in [&Reply::Drop, &timeout].into_iter().flat_map(|reply| WAYS.map(|way| (reply, way)))
    {
        let server = ScriptedServer::start([failure.clone(), ok.clone()]);
        let error = way.client(&server).put_row("t1", &row(put_cells())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert_eq!(server.seen().len(), 1);

        let server = ScriptedServer::start([failure.clone(), ok.clone()]);
        let change = RowChange::put(&row(put_cells())).idempotent();
        assert!(way.client(&server).write_row("t1", &change).await.is_ok());
        assert_eq!(server.seen().len(), 2);
    }
    // Busy means "not applied": any write is repeated.
    let server = ScriptedServer::start([Reply::Error(503, "OTSServerBusy", ""), ok]);
    assert!(client(&server).put_row("t1", &row(put_cells())).await.is_ok());
}

#[tokio::test]
async fn a_budget_that_is_used_up_says_throttled_and_names_everything() {
    let server = ScriptedServer::start([Reply::Error(503, "OTSServerBusy", "Server is busy.")]);
    let began = Instant::now();
    let error = impatient_client(&server).get_range(&range()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(error.kind(), Kind::Throttled);
    let report = error.report();
    let first = "error: cannot read a page of table `t1`: OTSServerBusy: Server is busy. (request id id-7)";
    assert!(report.starts_with(first), "{report}");
    assert!(report.contains("hint: gave up after "), "{report}");
}

#[tokio::test]
async fn refusals_are_not_repeated_and_have_their_kind() {
    let cases = [
        (403, "OTSNoPermissionAccess", Kind::Permission),
        (404, "OTSObjectNotExist", Kind::NotFound),
        (409, "OTSObjectAlreadyExist", Kind::AlreadyExists),
        (400, "OTSParameterInvalid", Kind::Refused),
        (404, "OTSTrimmedDataAccess", Kind::Gap),
    ];
    for (status, code, kind) in cases {
        let server = ScriptedServer::start([Reply::Error(status, code, "no")]);
        let error = client(&server).describe_table("orders").await.unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (kind, 1), "{code}");
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("cannot describe table `orders`: {code}: no")), "{shown}");
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_damaged_on_its_way_is_sent_again_but_a_wrong_key_soon_given_up() {
    let mismatch = || Reply::Error(403, "OTSAuthFailed", "Signature mismatch.");
    let ok = Reply::message(&proto::PutRowResponse::default());
    let server = ScriptedServer::start([mismatch(), mismatch(), ok]);
    assert!(client(&server).put_row("t1", &row(put_cells())).await.is_ok(), "it was not applied");

    let server = ScriptedServer::start([mismatch()]);
    let began = Instant::now();
    let error = client(&server).describe_table("orders").await.unwrap_err();
    assert_eq!((error.kind(), server.seen().len()), (Kind::Permission, 3));
    assert!(began.elapsed() < Duration::from_secs(5));
    let shown = error.to_string();
    assert!(
        shown.starts_with("cannot describe table `orders`: OTSAuthFailed: Signature mismatch."),
        "{shown}"
    );
}

#[tokio::test]
async fn a_wrong_endpoint_is_named_at_once() {
    let empty_ok = b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n".to_vec();
    let redirect = b"HTTP/1.1 301 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec();
    let replies = [Reply::page(404), Reply::page(200), Reply::Raw(empty_ok), Reply::Raw(redirect)];
    for (reply, way) in replies.iter().flat_map(|reply| WAYS.map(|way| (reply, way))) {
        let server = ScriptedServer::start([reply.clone()]);
        let error = way.client(&server).list_tables().await.unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (Kind::Usage, 1), "{error}");
        assert!(error.report().contains(&server.url()), "{}", error.report());
    }
    for endpoint in ["", "host", "ftp://h", "http://h/path", "http://u:pw@h", "http://h?x"] {
        let error = TableStore::new(config(endpoint)).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{endpoint}");
        assert!(!error.report().contains("pw"), "{}", error.report());
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_unavailable_after_the_budget() {
    // Bound, so that no other test gets the port, and never listening, so that it is refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    let config = TableStoreConfig { retry_budget: Duration::from_millis(100), ..config(&endpoint) };
    let client = TableStore::new(config).unwrap();
    // Never sent, so even a write is repeated.
    let error = client.put_row("t1", &row(put_cells())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.report().contains(&format!("no connection to `{endpoint}`")), "{}", error.report());
    assert!(client.counters().retries > 0);
}

#[tokio::test]
async fn an_answer_without_its_required_fields_is_never_an_empty_page() {
    let whole = range_of_k(KeyPart::InfMin, KeyPart::InfMax);
    let consumed_alone = vector("responses", "put_row_ok");
    for body in [vec![], consumed_alone, b"\xff\xff".to_vec()] {
        let server = ScriptedServer::start([Reply::Ok(body.clone())]);
        let error = client(&server).get_range(&whole).await.unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (Kind::Corrupt, 5), "{body:?}: {error}");
        assert_eq!(error.service_request_id(), Some("id-7"));
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_needs_an_md5() {
    let body = vector("responses", "get_range_two_rows_more");
    let mut head = b"HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\n\r\n".to_vec();
    // Cut before the next key: without this check the scan would end here.
    head.extend(&body[..body.len() - 29]);
    for way in WAYS {
        let server = ScriptedServer::start([Reply::Raw(head.clone())]);
        let whole = range_of_k(KeyPart::InfMin, KeyPart::InfMax);
        let error = way.client(&server).get_range(&whole).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("no MD5"), "{way:?}: {error}");
    }
}

#[tokio::test]
async fn a_wrong_md5_is_noticed_and_given_up_after_a_few_attempts() {
    let server = ScriptedServer::start([Reply::WrongMd5(vector("responses", "list_table"))]);
    let error = client(&server).list_tables().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn the_md5_of_a_page_that_says_where_the_next_one_starts_is_checked_only_when_asked() {
    let server = ScriptedServer::start([Reply::WrongMd5(vector("responses", "get_range_two_rows_more"))]);
    let whole = range_of_k(KeyPart::InfMin, KeyPart::InfMax);
    assert!(client(&server).get_range(&whole).await.is_ok());
    let strict = TableStoreConfig { verify_response_md5: true, ..config(&server.url()) };
    let error = TableStore::new(strict).unwrap().get_range(&whole).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[tokio::test]
async fn an_answer_without_an_md5_is_refused_when_asked_to_be_strict() {
    let body = vector("responses", "list_table");
    let head = format!("HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\ncontent-length: {}\r\n\r\n", body.len());
    let server = ScriptedServer::start([Reply::Raw([head.as_bytes(), &body].concat())]);
    assert!(client(&server).list_tables().await.is_ok());
    let strict = TableStoreConfig { verify_response_md5: true, ..config(&server.url()) };
    let error = TableStore::new(strict).unwrap().list_tables().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("no MD5"), "{error}");
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

#[tokio::test]
async fn an_answer_beyond_the_cap_is_refused_before_it_is_read() {
    let big = b"HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\ncontent-length: 99999999999999\r\n\r\nx".to_vec();
    let mut chunked = b"HTTP/1.1 200 X\r\nx-ots-requestid: 1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..10 {
        chunked.extend(b"400\r\n");
        chunked.extend([0; 0x400]);
        chunked.extend(b"\r\n");
    }
    for (reply, way) in [&big, &chunked].into_iter().flat_map(|reply| WAYS.map(|way| (reply, way))) {
        let server = ScriptedServer::start([Reply::Raw(reply.clone())]);
        let config = TableStoreConfig { max_response_bytes: 4096, ..way.config(&server) };
        let error = TableStore::new(config).unwrap().list_tables().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.service_request_id()),
            (Kind::Corrupt, Some("1")),
            "{way:?}: {error}"
        );
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_next_key_that_does_not_lead_on_stops_the_scan() {
    let forward = range_of_k(text("c"), text("m"));
    let backward = RangeRequest { direction: Direction::Backward, ..range_of_k(text("m"), text("c")) };
    let cases = [
        (&forward, text("c"), "repeats its next key"),
        (&forward, text("b"), "outside the range"),
        (&forward, text("m"), "outside the range"),
        (&forward, KeyPart::InfMax, "outside the range"),
        (&backward, text("m"), "repeats its next key"),
        (&backward, text("c"), "outside the range"),
        (&backward, text("n"), "outside the range"),
    ];
    for (request, next, expected) in cases {
        let server = ScriptedServer::start([Reply::message(&page(Some(next.clone())))]);
        let error = client(&server).get_range(request).await.unwrap_err();
        assert_eq!((error.kind(), server.seen().len()), (Kind::Corrupt, 5), "{next:?}");
        assert!(error.report().contains(expected), "{next:?}: {}", error.report());
    }
    for request in [&forward, &backward] {
        let server = ScriptedServer::start([Reply::message(&page(Some(text("d"))))]);
        let page = client(&server).get_range(request).await.unwrap();
        assert_eq!(page.next_start, Some(PrimaryKey(vec![text("d")])));
    }
    let mut other_column = page(None);
    other_column.next_start_primary_key = Some(encode_key(&["x"], &PrimaryKey(vec![text("d")])).into());
    let server = ScriptedServer::start([Reply::message(&other_column)]);
    assert_eq!(client(&server).get_range(&forward).await.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn split_points_that_contradict_themselves_are_refused() {
    use proto::compute_split_points_by_size_response::SplitLocation;
    let answer = |points: &[&str], repeats: &[i64]| proto::ComputeSplitPointsBySizeResponse {
        schema: vec![proto::PrimaryKeySchema {
            name: "k".into(),
            r#type: proto::PrimaryKeyType::String.into(),
            option: None,
        }],
        split_points: points
            .iter()
            .map(|point| encode_key(&["k"], &PrimaryKey(vec![text(point)])).into())
            .collect(),
        locations: repeats
            .iter()
            .map(|repeat| SplitLocation { location: "x".into(), repeat: *repeat })
            .collect(),
        ..Default::default()
    };
    let cases = [
        (answer(&["b", "a"], &[]), "not ascending"),
        (answer(&["a", "a"], &[]), "not ascending"),
        (answer(&["a"], &[i64::MAX]), "more locations"),
        (answer(&["a"], &[-1]), "more locations"),
        (answer(&["a"], &[1]), "fewer locations"),
    ];
    for (message, expected) in cases {
        let server = ScriptedServer::start([Reply::message(&message)]);
        let error = client(&server).compute_split_points_by_size("t", 1, None, None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.report().contains(expected), "{}", error.report());
    }
    let server = ScriptedServer::start([Reply::message(&answer(&["a", "b"], &[1, 2]))]);
    let good = client(&server).compute_split_points_by_size("t", 1, None, None).await.unwrap();
    assert_eq!(good.locations, ["x", "x", "x"]);
}

fn row_ok() -> proto::RowInBatchWriteRowResponse {
    let mut consumed = proto::ConsumedCapacity::default();
    consumed.capacity_unit.write = Some(1);
    proto::RowInBatchWriteRowResponse { is_ok: true, consumed: Some(consumed), ..Default::default() }
}

fn row_failed(code: &str) -> proto::RowInBatchWriteRowResponse {
    let error = proto::Error { code: code.into(), ..Default::default() };
    proto::RowInBatchWriteRowResponse { is_ok: false, error: Some(error), ..Default::default() }
}

fn batch(rows: Vec<proto::RowInBatchWriteRowResponse>) -> Reply {
    let table = proto::TableInBatchWriteRowResponse { table_name: "t1".into(), rows };
    Reply::message(&proto::BatchWriteRowResponse { tables: vec![table] })
}

fn changes(count: i64) -> Vec<RowChange> {
    let change = |id| {
        let key = vec![("k", PrimaryKeyValue::Integer(id))];
        RowChange::put(&Row { key, ..Row::default() }).idempotent()
    };
    (0..count).map(change).collect()
}

#[tokio::test]
async fn a_batch_sends_again_only_the_rows_that_failed_and_may_be_repeated() {
    let server = ScriptedServer::start([
        batch(vec![
            row_ok(),
            row_failed("OTSServerBusy"),
            row_failed("OTSParameterInvalid"),
            row_failed("OTSTimeout"),
        ]),
        batch(vec![row_failed("OTSServerBusy"), row_ok()]),
        batch(vec![row_ok()]),
    ]);
    let client = client(&server);
    let changes = changes(4);
    let written = client.write_rows("t1", &changes).await.unwrap();
    assert_eq!((written.write_capacity_units, written.row_retries), (3, 3));
    let [(2, refused)] = written.failures.as_slice() else { panic!("{written:?}") };
    assert_eq!(refused.kind(), Kind::Refused);
    let sent: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| <proto::BatchWriteRowRequest as prost::Message>::decode(seen.body.as_slice()).unwrap())
        .map(|request| request.tables[0].rows.iter().map(|row| row.row_change.clone()).collect::<Vec<_>>())
        .collect();
    assert_eq!(sent[1], [sent[0][1].clone(), sent[0][3].clone()]);
    assert_eq!(sent[2], [sent[0][1].clone()]);
}

#[tokio::test]
async fn a_row_that_may_have_been_written_is_not_sent_again_unless_idempotent() {
    let server = ScriptedServer::start([batch(vec![row_failed("OTSTimeout")]), batch(vec![row_ok()])]);
    let change = RowChange::put(&Row { key: vec![("k", PrimaryKeyValue::Integer(1))], ..Row::default() });
    let written = client(&server).write_rows("t1", &[change]).await.unwrap();
    assert_eq!(written.failures.len(), 1);
    assert_eq!(written.failures[0].1.kind(), Kind::Unavailable);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn rows_still_busy_when_the_budget_ends_are_reported_one_by_one() {
    let server =
        ScriptedServer::start([batch(vec![row_failed("OTSServerBusy"), row_failed("OTSServerBusy")])]);
    let written = impatient_client(&server).write_rows("t1", &changes(2)).await.unwrap();
    let kinds: Vec<_> = written.failures.iter().map(|(index, error)| (*index, error.kind())).collect();
    assert_eq!(kinds, [(0, Kind::Throttled), (1, Kind::Throttled)]);
}

#[tokio::test]
async fn a_batch_answer_of_another_shape_is_refused() {
    let contradiction = proto::RowInBatchWriteRowResponse { is_ok: false, ..Default::default() };
    for reply in [batch(vec![row_ok()]), batch(vec![row_ok(); 3]), batch(vec![row_ok(), contradiction])] {
        let server = ScriptedServer::start([reply]);
        let error = client(&server).write_rows("t1", &changes(2)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
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
