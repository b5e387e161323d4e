//! Every operation refuses every request that is not right, with the status, code and text of the service: a table of
//! operations and mutations, printed by `cargo test --test sandbox_table_store refusals -- --nocapture`.

use otsvault::model::{Cell, KeyPart, PrimaryKey, PrimaryKeyValue, Row, Value};
use otsvault::sandbox::SandboxOptions;
use otsvault::sandbox::table_store::OPERATIONS;
use otsvault::{plainbuffer, proto};
use prost::Message;

use super::client::{Client, condition, hmac_sha1, md5_base64, puts, row, table, whole};

const AUTH: &str = "403 OTSAuthFailed ";
const PARAMETER: &str = "400 OTSParameterInvalid ";
const LARGE: usize = 5 << 20;

/// A signed request, before it is spoiled.
#[derive(Clone)]
struct Request {
    method: reqwest::Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Request {
    fn new(client: &Client, operation: &str, body: Vec<u8>) -> Request {
        let about = client.sandbox.description();
        let headers = vec![
            ("x-ots-accesskeyid", about.access_key_id.clone()),
            ("x-ots-apiversion", "2015-12-31".to_owned()),
            ("x-ots-contentmd5", md5_base64(&body)),
            ("x-ots-date", date(0)),
            ("x-ots-instancename", about.instance.clone()),
        ];
        Request { method: reqwest::Method::POST, path: format!("/{operation}"), headers, body }
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
    }

    fn remove(&mut self, name: &'static str) {
        self.headers.retain(|(known, _)| *known != name);
    }

    /// Signs as the service wants it, whatever the other headers say.
    fn sign(&mut self, secret: &str) {
        self.headers.sort();
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let signature = hmac_sha1(secret, &format!("{}\nPOST\n\n{lines}", self.path));
        self.set("x-ots-signature", signature);
    }
}

/// The clock, some minutes off.
fn date(minutes: i64) -> String {
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
    now.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

/// One way to spoil a request: its name, what it does before and after the request is signed, and the answer.
struct Mutation {
    name: &'static str,
    before: fn(&mut Request),
    after: fn(&mut Request),
    /// The beginning of the answer.
    refusal: String,
}

fn mutations() -> Vec<Mutation> {
    fn nothing(_: &mut Request) {}
    let unsigned =
        |name, before: fn(&mut Request), refusal: String| Mutation { name, before, after: nothing, refusal };
    let signed =
        |name, after: fn(&mut Request), refusal: String| Mutation { name, before: nothing, after, refusal };
    let mismatch = format!("{AUTH}Signature mismatch.");
    let digest = format!("{AUTH}Mismatch between MD5 value of request body and x-ots-contentmd5 in header.");
    let clock = format!("{AUTH}Mismatch between system time and x-ots-date: ");
    let missing = |header: &str| format!("{PARAMETER}Missing header: {header}.");
    vec![
        signed("signature, one byte", |request| spoil(request, "x-ots-signature"), mismatch.clone()),
        signed("signature, cut", |request| cut(request, "x-ots-signature"), mismatch.clone()),
        signed("secret", |request| request.sign("another secret"), mismatch.clone()),
        signed("operation", sign_for_another_operation, mismatch.clone()),
        signed("header added", |request| request.set("x-ots-request-tag", "late"), mismatch.clone()),
        signed("body", |request| request.body.push(0), digest.clone()),
        signed("body and MD5", replace_body, mismatch.clone()),
        unsigned(
            "MD5",
            |request| request.set("x-ots-contentmd5", md5_base64(b"another body")),
            digest.clone(),
        ),
        unsigned("MD5, no base64", |request| request.set("x-ots-contentmd5", "?"), digest),
        unsigned("date, 16 min late", |request| request.set("x-ots-date", date(-16)), clock.clone()),
        unsigned("date, 16 min early", |request| request.set("x-ots-date", date(16)), clock),
        signed("date, after signing", |request| request.set("x-ots-date", date(1)), mismatch),
        unsigned(
            "date, no date",
            |request| request.set("x-ots-date", "yesterday"),
            format!("{PARAMETER}Invalid date format: yesterday."),
        ),
        unsigned(
            "instance",
            |request| request.set("x-ots-instancename", "elsewhere"),
            format!("{AUTH}The instance is not found."),
        ),
        unsigned(
            "key id",
            |request| request.set("x-ots-accesskeyid", "nobody"),
            format!("{AUTH}The AccessKeyID does not exist."),
        ),
        unsigned(
            "API version",
            |request| request.set("x-ots-apiversion", "2014-08-08"),
            format!("{PARAMETER}Invalid API version: 2014-08-08."),
        ),
        unsigned("no key id", |request| request.remove("x-ots-accesskeyid"), missing("x-ots-accesskeyid")),
        unsigned("no API version", |request| request.remove("x-ots-apiversion"), missing("x-ots-apiversion")),
        unsigned("no MD5", |request| request.remove("x-ots-contentmd5"), missing("x-ots-contentmd5")),
        unsigned("no date", |request| request.remove("x-ots-date"), missing("x-ots-date")),
        unsigned(
            "no instance",
            |request| request.remove("x-ots-instancename"),
            missing("x-ots-instancename"),
        ),
        signed("no signature", |request| request.remove("x-ots-signature"), missing("x-ots-signature")),
        signed(
            "method",
            |request| request.method = reqwest::Method::PUT,
            "405 OTSMethodNotAllowed Only POST method for requests is supported.".to_owned(),
        ),
        unsigned(
            "body, no message",
            |request| {
                request.body = vec![0x0a];
                request.set("x-ots-contentmd5", md5_base64(&[0x0a]));
            },
            format!("{PARAMETER}Parse PBMessage from RawString failed."),
        ),
        unsigned(
            "body, over 5 MB",
            |request| {
                request.body = vec![0; LARGE + 1];
                request.set("x-ots-contentmd5", md5_base64(&request.body));
            },
            "413 OTSRequestBodyTooLarge ".to_owned(),
        ),
    ]
}

fn value<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// Changes the first character.
fn spoil(request: &mut Request, name: &'static str) {
    let found = value(request, name);
    let first = if found.starts_with('A') { "B" } else { "A" };
    let spoilt = format!("{first}{}", &found[1..]);
    request.set(name, spoilt);
}

fn cut(request: &mut Request, name: &'static str) {
    let shorter = value(request, name)[..8].to_owned();
    request.set(name, shorter);
}

/// Keeps the signature of a request that is right, but for another operation.
fn sign_for_another_operation(request: &mut Request) {
    request.path.push('s');
}

fn replace_body(request: &mut Request) {
    request.body.push(0);
    let digest = md5_base64(&request.body);
    request.set("x-ots-contentmd5", digest);
}

fn key_bytes(value: PrimaryKeyValue<'_>) -> Vec<u8> {
    plainbuffer::encode_row(&Row { key: vec![("id", value)], ..Row::default() })
}

fn bound(part: KeyPart) -> bytes::Bytes {
    plainbuffer::encode_key(&["id"], &PrimaryKey(vec![part])).into()
}

/// A limit, a request over it, and the refusal.
type OverLimit = (&'static str, Vec<u8>, String);

/// A request of an operation that the service takes, and one that is over a limit of that operation with its refusal.
fn requests(operation: &str, stage: &Stage) -> (Vec<u8>, Option<OverLimit>) {
    let small = || row(1, &[Cell::put("v", Value::Integer(1), None)]);
    let names: Vec<_> = (0..1_025).map(|number| format!("c{number:04}")).collect();
    let many_cells: Vec<_> = names.iter().map(|name| Cell::put(name, Value::Integer(1), None)).collect();
    let ignore = condition(proto::RowExistenceExpectation::Ignore);
    let one = key_bytes(PrimaryKeyValue::Integer(1));
    let cells = "The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025.";
    let columns =
        "The number of columns from the request exceeds the limit, limit count: 1024, column count: 1025.";
    let rows = |limit: usize| format!("{PARAMETER}Rows count exceeds the upper limit: {limit}.");
    let over = |limit, body, text: &str| Some((limit, body, format!("{PARAMETER}{text}")));
    let named = |name: &str| proto::DescribeTableRequest { table_name: name.to_owned() }.encode_to_vec();
    let long_name = format!("{PARAMETER}Invalid table name: 'xxx");
    match operation {
        "CreateTable" => {
            let mut five = table("new", 1);
            five.table_meta.primary_key = vec![five.table_meta.primary_key[0].clone(); 5];
            let text = "The number of primary key columns must be in range: [1, 4].";
            (table("new", 1).encode_to_vec(), over("5 key columns", five.encode_to_vec(), text))
        }
        "DescribeTable" | "DeleteTable" => {
            (named("spare"), Some(("name of 256", named(&"x".repeat(256)), long_name)))
        }
        "UpdateTable" => {
            let request = |time_to_live| proto::UpdateTableRequest {
                table_name: "t".to_owned(),
                table_options: Some(proto::TableOptions {
                    time_to_live: Some(time_to_live),
                    ..Default::default()
                }),
                ..Default::default()
            };
            (request(86_400).encode_to_vec(), over("life of 86,399 s", request(86_399).encode_to_vec(), ""))
        }
        "ListTable" => (Vec::new(), None),
        "ComputeSplitPointsBySize" => {
            let request = |unit| proto::ComputeSplitPointsBySizeRequest {
                table_name: "t".to_owned(),
                split_size: 1,
                split_size_unit_in_byte: Some(unit),
                split_point_limit: None,
            };
            let text = "The split_size_unit_in_byte should be greater equal than: 1048576";
            (
                request(1 << 20).encode_to_vec(),
                over("unit under 1 MiB", request((1 << 20) - 1).encode_to_vec(), text),
            )
        }
        "GetRow" => {
            let request = |columns: &[String]| proto::GetRowRequest {
                table_name: "t".to_owned(),
                primary_key: one.clone().into(),
                columns_to_get: columns.to_vec(),
                max_versions: Some(1),
                ..Default::default()
            };
            (request(&[]).encode_to_vec(), over("1,025 columns", request(&names).encode_to_vec(), columns))
        }
        "GetRange" => {
            let wide = proto::GetRangeRequest { columns_to_get: names, ..whole("t", &["id"]) };
            (whole("t", &["id"]).encode_to_vec(), over("1,025 columns", wide.encode_to_vec(), columns))
        }
        "BulkExport" => {
            let request = |columns: &[String]| proto::BulkExportRequest {
                table_name: "t".to_owned(),
                columns_to_get: columns.to_vec(),
                inclusive_start_primary_key: bound(KeyPart::InfMin),
                exclusive_end_primary_key: bound(KeyPart::InfMax),
                ..Default::default()
            };
            (
                request(&names[..1]).encode_to_vec(),
                over("1,025 columns", request(&names).encode_to_vec(), columns),
            )
        }
        "BatchGetRow" => {
            let request = |count: i64| {
                let keys = (0..count).map(|id| key_bytes(PrimaryKeyValue::Integer(id)).into());
                let table = proto::TableInBatchGetRowRequest {
                    table_name: "t".to_owned(),
                    primary_key: keys.collect(),
                    max_versions: Some(1),
                    ..Default::default()
                };
                proto::BatchGetRowRequest { tables: vec![table] }.encode_to_vec()
            };
            (request(100), Some(("101 rows", request(101), rows(100))))
        }
        "PutRow" => {
            let request = |cells: &[Cell<'_>]| proto::PutRowRequest {
                table_name: "t".to_owned(),
                row: plainbuffer::encode_row(&row(1, cells)).into(),
                condition: ignore.clone(),
                ..Default::default()
            };
            (
                request(&small().cells).encode_to_vec(),
                over("1,025 cells", request(&many_cells).encode_to_vec(), cells),
            )
        }
        "UpdateRow" => {
            let request = |cells: &[Cell<'_>]| proto::UpdateRowRequest {
                table_name: "t".to_owned(),
                row_change: plainbuffer::encode_row(&row(1, cells)).into(),
                condition: ignore.clone(),
                ..Default::default()
            };
            (
                request(&small().cells).encode_to_vec(),
                over("1,025 cells", request(&many_cells).encode_to_vec(), cells),
            )
        }
        "DeleteRow" => {
            let request = |table: &str, key: PrimaryKeyValue<'_>| proto::DeleteRowRequest {
                table_name: table.to_owned(),
                primary_key: plainbuffer::encode_row(&Row {
                    key: vec![("id", key)],
                    delete_marker: true,
                    ..Row::default()
                })
                .into(),
                condition: ignore.clone(),
                ..Default::default()
            };
            let long = request("texts", PrimaryKeyValue::String(&"k".repeat(1_025))).encode_to_vec();
            let text =
                "The length of primary key column: 'id' exceeds the MaxLength:1024 with CurrentLength:1025.";
            (request("t", PrimaryKeyValue::Integer(9)).encode_to_vec(), over("key of 1,025", long, text))
        }
        "BatchWriteRow" => {
            let request = |count| {
                puts("t", (0..count).map(|id| plainbuffer::encode_row(&row(id, &[])))).encode_to_vec()
            };
            (request(1), Some(("201 rows", request(201), rows(200))))
        }
        "BulkImport" => {
            let request = |count: i64| {
                let change = |id| proto::RowInBulkImportRequest {
                    r#type: proto::OperationType::Put as i32,
                    row_change: plainbuffer::encode_row(&row(id, &[])).into(),
                };
                let rows = (0..count).map(change).collect();
                proto::BulkImportRequest { table_name: "t".to_owned(), rows }.encode_to_vec()
            };
            (request(1), Some(("201 rows", request(201), rows(200))))
        }
        "StartLocalTransaction" => {
            let request = |id| proto::StartLocalTransactionRequest {
                table_name: "locked".to_owned(),
                key: key_bytes(PrimaryKeyValue::Integer(id)).into(),
            };
            let taken = "409 OTSRowOperationConflict Data is being modified by the other request.".to_owned();
            (request(3).encode_to_vec(), Some(("second of a key", request(1).encode_to_vec(), taken)))
        }
        "CommitTransaction" | "AbortTransaction" => {
            // The two messages are one on the wire.
            let request =
                |id: &str| proto::CommitTransactionRequest { transaction_id: id.to_owned() }.encode_to_vec();
            let number = usize::from(operation == "AbortTransaction");
            let unknown = "404 OTSSessionNotExist Session not exist or may be timeout.".to_owned();
            (request(&stage.transactions[number]), Some(("unknown id", request("unknown"), unknown)))
        }
        "CreateIndex" => {
            let request = |name: &str, columns: usize| proto::CreateIndexRequest {
                main_table_name: "indexed".to_owned(),
                index_meta: index(name, vec!["d0".to_owned(); columns]),
                include_base_data: None,
            };
            let text = "The number of primary key columns must be in range: [1, 4] in index.";
            (
                request("later", 1).encode_to_vec(),
                over("5 key columns", request("later", 5).encode_to_vec(), text),
            )
        }
        "DropIndex" => {
            let request = |name: &str| proto::DropIndexRequest {
                main_table_name: "indexed".to_owned(),
                index_name: name.to_owned(),
            };
            let gone = "404 OTSObjectNotExist".to_owned();
            (request("index").encode_to_vec(), Some(("unknown index", request("none").encode_to_vec(), gone)))
        }
        "AddDefinedColumn" => {
            let request = |count: usize| {
                let columns = (100..100 + count).map(defined).collect();
                proto::AddDefinedColumnRequest { table_name: "indexed".to_owned(), columns }.encode_to_vec()
            };
            let text = "The number of defined columns must be in range: [0, 32].";
            (request(1), over("33 columns", request(31), text))
        }
        "DeleteDefinedColumn" => {
            let request = |table: &str| proto::DeleteDefinedColumnRequest {
                table_name: table.to_owned(),
                columns: vec!["d1".to_owned()],
            };
            let long = request(&"x".repeat(256)).encode_to_vec();
            (request("indexed").encode_to_vec(), Some(("name of 256", long, long_name)))
        }
        "ListStream" => {
            let request =
                |name: &str| proto::ListStreamRequest { table_name: Some(name.to_owned()) }.encode_to_vec();
            (request("t"), Some(("name of 256", request(&"x".repeat(256)), long_name)))
        }
        "DescribeStream" => {
            let request =
                |stream_id: String| proto::DescribeStreamRequest { stream_id, ..Default::default() };
            (request(stage.stream.clone()).encode_to_vec(), None)
        }
        "GetShardIterator" => {
            let request = proto::GetShardIteratorRequest {
                stream_id: stage.stream.clone(),
                shard_id: stage.shard.clone(),
                ..Default::default()
            };
            (request.encode_to_vec(), None)
        }
        "GetStreamRecord" => {
            let request = |limit| proto::GetStreamRecordRequest {
                shard_iterator: stage.iterator.clone(),
                limit: Some(limit),
                table_name: None,
            };
            (request(1).encode_to_vec(), over("limit of 0", request(0).encode_to_vec(), ""))
        }
        other => panic!("{other} is served and has no row in the table of refusals: add one"),
    }
}

fn defined(number: usize) -> proto::DefinedColumnSchema {
    proto::DefinedColumnSchema {
        name: format!("d{number}"),
        r#type: proto::DefinedColumnType::DctString as i32,
    }
}

fn index(name: &str, primary_key: Vec<String>) -> proto::IndexMeta {
    proto::IndexMeta { name: name.to_owned(), primary_key, ..Default::default() }
}

/// What the requests are about: a Stream with a place in it, and two open transactions.
struct Stage {
    stream: String,
    shard: String,
    iterator: String,
    transactions: Vec<String>,
}

impl Stage {
    /// Creates the tables `t` (with a Stream and a row), `texts`, `spare`, `locked` and `indexed`.
    async fn set(client: &Client) -> Stage {
        let mut streamed = table("t", 1);
        streamed.stream_spec = Some(proto::StreamSpecification {
            enable_stream: true,
            expiration_time: Some(24),
            ..Default::default()
        });
        let mut texts = table("texts", 1);
        texts.table_meta.primary_key[0].r#type = proto::PrimaryKeyType::String as i32;
        let mut locked = table("locked", 1);
        locked.enable_local_txn = Some(true);
        let mut indexed = table("indexed", 1);
        indexed.table_meta.defined_column = (0..2).map(defined).collect();
        indexed.index_metas = vec![index("index", vec!["d0".to_owned()])];
        for request in [&streamed, &texts, &table("spare", 1), &locked, &indexed] {
            client.create(request).await.unwrap();
        }
        client.put("t", &row(9, &[])).await.unwrap();

        let request = proto::ListStreamRequest { table_name: Some("t".to_owned()) };
        let found: proto::ListStreamResponse = client.call("ListStream", &request).await.unwrap();
        let stream = found.streams[0].stream_id.clone();
        let request = proto::DescribeStreamRequest { stream_id: stream.clone(), ..Default::default() };
        let found: proto::DescribeStreamResponse = client.call("DescribeStream", &request).await.unwrap();
        let shard = found.shards[0].shard_id.clone();
        let request = proto::GetShardIteratorRequest {
            stream_id: stream.clone(),
            shard_id: shard.clone(),
            ..Default::default()
        };
        let found: proto::GetShardIteratorResponse = client.call("GetShardIterator", &request).await.unwrap();
        let mut transactions = Vec::new();
        for id in [1, 2] {
            let key = key_bytes(PrimaryKeyValue::Integer(id)).into();
            let request = proto::StartLocalTransactionRequest { table_name: "locked".to_owned(), key };
            let begun: proto::StartLocalTransactionResponse =
                client.call("StartLocalTransaction", &request).await.unwrap();
            transactions.push(begun.transaction_id);
        }
        Stage { stream, shard, iterator: found.shard_iterator, transactions }
    }
}

async fn table_names(client: &Client) -> Vec<String> {
    let found: proto::ListTableResponse =
        client.call("ListTable", &proto::ListTableRequest {}).await.unwrap();
    found.table_names
}

/// Sends a request and gives the answer as `status code text`, or `200`.
async fn answer(http: &reqwest::Client, endpoint: &str, request: Request) -> String {
    let mut sent = http.request(request.method, format!("{endpoint}{}", request.path));
    for (name, value) in request.headers {
        sent = sent.header(name, value);
    }
    let response = sent.body(request.body).send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    if status == 200 {
        return "200".to_owned();
    }
    let error = proto::Error::decode(body).unwrap();
    format!("{status} {} {}", error.code, error.message())
}

#[tokio::test]
async fn every_operation_refuses_every_spoilt_request() {
    let client = Client::new(SandboxOptions::default()).await;
    let stage = Stage::set(&client).await;
    let about = client.sandbox.description().clone();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let image = (client.sandbox.row_sum("t").unwrap(), table_names(&client).await);

    let mutations = mutations();
    let mut cells = 0;
    println!(
        "{:26}{}",
        "operation",
        mutations.iter().map(|mutation| format!("| {} ", mutation.name)).collect::<String>()
    );
    for operation in OPERATIONS {
        let (genuine, over) = requests(operation, &stage);
        let mut line = format!("{operation:26}");
        for mutation in &mutations {
            let mut request = Request::new(&client, operation, genuine.clone());
            (mutation.before)(&mut request);
            request.sign(&about.access_key_secret);
            (mutation.after)(&mut request);
            let found = answer(&http, &about.ots_endpoint, request).await;
            assert!(found.starts_with(&mutation.refusal), "{operation}, {}: {found}", mutation.name);
            line.push_str(&format!("| {:width$} ", &found[..3], width = mutation.name.len()));
            cells += 1;
        }
        if let Some((limit, body, refusal)) = over {
            let mut request = Request::new(&client, operation, body);
            request.sign(&about.access_key_secret);
            let found = answer(&http, &about.ots_endpoint, request).await;
            assert!(found.starts_with(&refusal), "{operation}, {limit}: {found}");
            line.push_str(&format!("| {} {limit}", &found[..3]));
            cells += 1;
        }
        println!("{line}");
    }
    println!("{cells} refusals");

    // None of them did anything.
    assert_eq!((client.sandbox.row_sum("t").unwrap(), table_names(&client).await), image);

    // And the same requests are taken when nobody spoils them.
    for operation in OPERATIONS {
        let mut request = Request::new(&client, operation, requests(operation, &stage).0);
        request.sign(&about.access_key_secret);
        assert_eq!(answer(&http, &about.ots_endpoint, request).await, "200", "{operation}");
        if operation == "DeleteTable" {
            client.create(&table("spare", 1)).await.unwrap();
        }
    }
}
