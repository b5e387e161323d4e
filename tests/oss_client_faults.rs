//! What the OSS client does when answers are lost, damaged, cut, refused or late: against a server that plays a script.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Attributes, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use otsvault::credentials::{Credentials, CredentialsProvider, Issued, Source};
use otsvault::objectstore::checksum::Crc64;
use otsvault::objectstore::{self, ObjectWriter, PartSizePolicy, StoreOptions, UploadStore, error_of};
use otsvault::{Error, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    target: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn operation(&self) -> &'static str {
        let has = |name: &str| self.target.contains(name);
        match self.method.as_str() {
            "POST" if has("uploads") => "initiate",
            "POST" if has("uploadId") => "complete",
            "PUT" if has("partNumber") => "part",
            "PUT" => "put",
            "HEAD" => "head",
            "DELETE" if has("uploadId") => "abort",
            "GET" => "get",
            _ => "other",
        }
    }
}

/// What the script answers.
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Closes the connection after so many bytes of the body; `Some(None)` before the first byte of the answer.
    cut: Option<Option<usize>>,
}

fn reply(status: u16) -> Reply {
    Reply { status, headers: Vec::new(), body: Vec::new(), cut: None }
}

fn lost() -> Reply {
    Reply { cut: Some(None), ..reply(200) }
}

fn refusal(status: u16, code: &str) -> Reply {
    reply(status)
        .with("x-oss-request-id", "65F0C1")
        .body(format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>"))
}

impl Reply {
    fn with(mut self, name: &'static str, value: impl ToString) -> Reply {
        self.headers.push((name, value.to_string()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    fn cut_after(mut self, bytes: usize) -> Reply {
        self.cut = Some(Some(bytes));
        self
    }

    /// The headers of a stored object.
    fn object(self, content: &[u8]) -> Reply {
        self.with("x-oss-hash-crc64ecma", Crc64::of(content).value())
            .with("ETag", "\"E1\"")
            .with("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
    }
}

struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn playing(script: impl FnMut(&Seen) -> Reply + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(Mutex::new(script)), seen.clone());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (script, log) = (script.clone(), log.clone());
                tokio::spawn(async move {
                    let _ = serve(connection, &script, &log).await;
                });
            }
        });
        Server { address, seen }
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            endpoint: Some(self.address.clone()),
            region: Some("cn-hangzhou".into()),
            retry_budget: Duration::from_secs(20),
            ..Default::default()
        }
        .with_credentials(Credentials::new("testak", "testsk", None))
    }

    fn store(&self) -> Arc<dyn UploadStore> {
        objectstore::open("oss://examplebucket", &self.options()).unwrap().store
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn operations(&self) -> Vec<&'static str> {
        self.seen().iter().map(Seen::operation).collect()
    }
}

/// One request per connection.
async fn serve(
    mut connection: TcpStream,
    script: &Mutex<impl FnMut(&Seen) -> Reply>,
    log: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let mut read = Vec::new();
    let head = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if connection.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&read[..head]).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = read.split_off(head + 4);
    while body.len() < length {
        if connection.read_buf(&mut body).await? == 0 {
            return Ok(());
        }
    }
    let seen = Seen { method, target, headers, body };
    log.lock().unwrap().push(seen.clone());
    let reply = (script.lock().unwrap())(&seen);
    let mut head = format!("HTTP/1.1 {} Scripted\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !reply.headers.iter().any(|(name, _)| *name == "Content-Length") {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    let body = if seen.method == "HEAD" { &[][..] } else { &reply.body };
    match reply.cut {
        Some(None) => return Ok(()),
        Some(Some(bytes)) => {
            connection.write_all(head.as_bytes()).await?;
            connection.write_all(&body[..bytes]).await?;
        }
        None => {
            connection.write_all(head.as_bytes()).await?;
            connection.write_all(body).await?;
        }
    }
    connection.shutdown().await
}

fn at() -> Path {
    Path::from("dir/a")
}

fn data(length: usize) -> Bytes {
    (0..length).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>().into()
}

fn failed<T>(result: object_store::Result<T>) -> Error {
    error_of(result.err().expect("a failure"))
}

/// A well-behaved service for one multipart upload, except for what `odd` answers.
fn upload_script(
    mut odd: impl FnMut(&Seen, usize) -> Option<Reply> + Send + 'static,
) -> impl FnMut(&Seen) -> Reply + Send + 'static {
    let mut counts: HashMap<&'static str, usize> = HashMap::new();
    let mut stored: Vec<(String, Vec<u8>)> = Vec::new();
    move |seen| {
        let count = counts.entry(seen.operation()).or_insert(0);
        *count += 1;
        if let Some(reply) = odd(seen, *count) {
            return reply;
        }
        match seen.operation() {
            "initiate" => reply(200).body(
                "<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>",
            ),
            "part" => {
                stored.push((seen.target.clone(), seen.body.clone()));
                reply(200).object(&seen.body)
            }
            "complete" => {
                stored.sort();
                let whole: Vec<u8> = stored.iter().flat_map(|(_, body)| body.clone()).collect();
                reply(200)
                    .object(&whole)
                    .body("<CompleteMultipartUploadResult><ETag>\"W\"</ETag></CompleteMultipartUploadResult>")
            }
            "abort" => refusal(404, "NoSuchUpload"),
            _ => reply(500),
        }
    }
}

async fn upload_of_two_parts(store: &Arc<dyn UploadStore>, all: &Bytes) -> object_store::Result<()> {
    let mut upload = store.put_multipart(&at()).await?;
    let half = all.len() / 2;
    let first = upload.put_part(all.slice(..half).into());
    let second = upload.put_part(all.slice(half..).into());
    futures::future::try_join(first, second).await?;
    upload.complete().await.map(drop)
}

#[tokio::test]
async fn a_complete_whose_answer_was_lost_is_found_to_have_succeeded() {
    let all = data(1000);
    let whole = all.clone();
    let server = Server::playing(upload_script(move |seen, count| match (seen.operation(), count) {
        ("complete", 1) => Some(lost()),
        ("complete", _) => Some(refusal(404, "NoSuchUpload")),
        // OSS may still be at it when the first look comes.
        ("head", 1) => Some(reply(404)),
        ("head", _) => Some(reply(200).object(&whole).with("Content-Length", whole.len())),
        _ => None,
    }))
    .await;
    upload_of_two_parts(&server.store(), &all).await.unwrap();
    assert_eq!(server.operations()[3..], ["complete", "head", "complete", "head"]);
}

#[tokio::test]
async fn a_lost_complete_with_other_content_in_its_place_fails() {
    let all = data(1000);
    let server = Server::playing(upload_script(|seen, count| match (seen.operation(), count) {
        ("complete", 1) => Some(lost()),
        ("complete", _) => Some(refusal(404, "NoSuchUpload")),
        ("head", _) => Some(reply(200).object(b"another").with("Content-Length", 1000)),
        _ => None,
    }))
    .await;
    let error = failed(upload_of_two_parts(&server.store(), &all).await);
    assert_eq!((error.kind(), error.service_code()), (Kind::NotFound, Some("NoSuchUpload")));
    assert_eq!(error.service_request_id(), Some("65F0C1"));
}

#[tokio::test]
async fn an_error_inside_a_200_answer_of_complete_is_an_error_and_is_retried() {
    let server = Server::playing(upload_script(|seen, count| match (seen.operation(), count) {
        ("complete", 1) => Some(Reply { status: 200, ..refusal(200, "InternalError") }),
        ("head", _) => Some(reply(404)),
        _ => None,
    }))
    .await;
    upload_of_two_parts(&server.store(), &data(1000)).await.unwrap();
    assert_eq!(server.operations()[3..], ["complete", "head", "complete"]);

    let server = Server::playing(upload_script(|seen, _| match seen.operation() {
        "complete" => Some(Reply { status: 200, ..refusal(200, "InvalidPart") }),
        _ => None,
    }))
    .await;
    let error = failed(upload_of_two_parts(&server.store(), &data(1000)).await);
    assert_eq!((error.kind(), error.service_code()), (Kind::Refused, Some("InvalidPart")));
}

#[tokio::test]
async fn a_complete_with_another_checksum_is_corrupt() {
    let server = Server::playing(upload_script(|seen, _| match seen.operation() {
        "complete" => Some(
            reply(200)
                .object(b"another")
                .body("<CompleteMultipartUploadResult><ETag>W</ETag></CompleteMultipartUploadResult>"),
        ),
        _ => None,
    }))
    .await;
    assert_eq!(failed(upload_of_two_parts(&server.store(), &data(1000)).await).kind(), Kind::Corrupt);
}

#[tokio::test]
async fn a_part_that_arrived_damaged_is_sent_again_and_given_up_after_three_times() {
    let server = Server::playing(upload_script(|seen, count| match (seen.operation(), count) {
        ("part", 1) => Some(reply(200).object(b"damaged")),
        _ => None,
    }))
    .await;
    upload_of_two_parts(&server.store(), &data(1000)).await.unwrap();
    assert_eq!(server.operations().iter().filter(|name| **name == "part").count(), 3);

    let server = Server::playing(|_| reply(200).object(b"damaged")).await;
    let error = failed(server.store().put(&at(), "x".into()).await);
    assert_eq!((error.kind(), server.seen().len()), (Kind::Corrupt, 3));
}

#[tokio::test]
async fn a_burst_of_503_is_waited_out_and_a_refusal_is_not_repeated() {
    let mut left = 4;
    let server = Server::playing(move |seen| {
        left -= 1;
        if left > 0 { refusal(503, "ServiceUnavailable") } else { reply(200).object(&seen.body) }
    })
    .await;
    server.store().put(&at(), "x".into()).await.unwrap();
    assert_eq!(server.seen().len(), 4);

    let server = Server::playing(|_| refusal(403, "AccessDenied")).await;
    let error = failed(server.store().put(&at(), "x".into()).await);
    assert_eq!((error.kind(), server.seen().len()), (Kind::Permission, 1));
    assert!(error.report().contains("oss:PutObject"), "{}", error.report());
}

#[tokio::test]
async fn a_budget_that_is_used_up_ends_in_the_services_own_error() {
    let server = Server::playing(|_| refusal(503, "ServiceUnavailable")).await;
    let options = StoreOptions { retry_budget: Duration::from_millis(300), ..server.options() };
    let store = objectstore::open("oss://examplebucket", &options).unwrap().store;
    let error = failed(store.put(&at(), "x".into()).await);
    assert_eq!((error.kind(), error.service_code()), (Kind::Throttled, Some("ServiceUnavailable")));
    assert!(server.seen().len() > 1);

    let nobody = StoreOptions { endpoint: Some("http://127.0.0.1:1".into()), ..options };
    let store = objectstore::open("oss://examplebucket", &nobody).unwrap().store;
    let error = failed(store.put(&at(), "x".into()).await);
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.report().contains("OSS_ENDPOINT"), "{}", error.report());
}

#[tokio::test]
async fn a_read_that_is_cut_goes_on_where_it_stopped_and_is_verified() {
    let all = data(100_000);
    let content = all.clone();
    let server = Server::playing(move |seen| {
        let range = seen.header("range").strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        match range {
            None => reply(200).object(&content).body(content.to_vec()).cut_after(30_000),
            Some((first, last)) => {
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                let reply = reply(206)
                    .object(&content)
                    .with("Content-Range", format!("bytes {first}-{last}/{}", content.len()))
                    .body(content[first..=last].to_vec());
                if first < 60_000 { reply.cut_after(40_000) } else { reply }
            }
        }
    })
    .await;
    let read = server.store().get(&at()).await.unwrap().bytes().await.unwrap();
    assert!(read == all);
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for resumed in &seen[1..] {
        assert_eq!(resumed.header("if-match"), "\"E1\"");
        assert_eq!(resumed.header("x-oss-range-behavior"), "standard");
    }
}

#[tokio::test]
async fn a_whole_object_with_a_wrong_checksum_is_corrupt() {
    let server = Server::playing(|_| reply(200).object(b"promised").body("received")).await;
    let result = server.store().get(&at()).await.unwrap().bytes().await;
    assert_eq!(failed(result).kind(), Kind::Corrupt);
}

#[tokio::test]
async fn an_object_that_changes_while_it_is_read_is_an_error() {
    let server = Server::playing(|seen| match seen.header("range") {
        "" => reply(200).object(b"12345678").body("12345678").cut_after(4),
        _ => refusal(412, "PreconditionFailed"),
    })
    .await;
    let result = server.store().get(&at()).await.unwrap().bytes().await;
    assert!(matches!(result, Err(object_store::Error::Precondition { .. })), "{result:?}");
}

#[tokio::test]
async fn a_range_answered_with_the_whole_object_or_another_range_is_an_error() {
    let server = Server::playing(|seen| match seen.header("range") {
        "bytes=2-3" => reply(200).object(b"12345678").body("12345678"),
        _ => reply(206).object(b"12345678").with("Content-Range", "bytes 0-1/8").body("12"),
    })
    .await;
    for range in [2..4, 4..6] {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..Default::default() };
        assert_eq!(failed(server.store().get_opts(&at(), options).await).kind(), Kind::Corrupt);
    }
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_once_from_the_answer() {
    let skewed = || refusal(403, "RequestTimeTooSkewed").with("Date", "Fri, 02 Jan 2026 03:04:05 GMT");
    let server = Server::playing(move |seen| {
        if seen.header("x-oss-date").starts_with("20260102T0304") {
            reply(200).object(&seen.body)
        } else {
            skewed()
        }
    })
    .await;
    let store = server.store();
    store.put(&at(), "x".into()).await.unwrap();
    store.put(&at(), "x".into()).await.unwrap();
    assert_eq!(server.seen().len(), 3);

    let server = Server::playing(move |_| skewed()).await;
    let error = failed(server.store().put(&at(), "x".into()).await);
    assert_eq!((error.service_code(), server.seen().len()), (Some("RequestTimeTooSkewed"), 2));
    assert!(error.report().contains("clock"), "{}", error.report());
}

/// Its first token has expired although it says nothing of the kind.
struct StaleThenFresh(AtomicUsize);

#[async_trait::async_trait]
impl Source for StaleThenFresh {
    async fn issue(&self) -> otsvault::Result<Issued> {
        let token = if self.0.fetch_add(1, Ordering::Relaxed) == 0 { "stale" } else { "fresh" };
        Ok(Credentials::new("testak", "testsk", Some(token.to_owned())).into())
    }
}

#[tokio::test]
async fn an_expired_token_is_replaced_if_there_is_another_one() {
    let script = |seen: &Seen| match seen.header("x-oss-security-token") {
        "fresh" => reply(200).object(&seen.body),
        _ => refusal(403, "SecurityTokenExpired"),
    };
    let server = Server::playing(script).await;
    let provider = CredentialsProvider::new(StaleThenFresh(AtomicUsize::new(0)));
    let options = server.options().with_credentials(provider);
    let store = objectstore::open("oss://examplebucket", &options).unwrap().store;
    store.put(&at(), "x".into()).await.unwrap();
    assert_eq!(server.seen().len(), 2);

    let server = Server::playing(script).await;
    let stale = server.options().with_credentials(Credentials::new("a", "hush", Some("stale".into())));
    let store = objectstore::open("oss://examplebucket", &stale).unwrap().store;
    let error = failed(store.put(&at(), "x".into()).await);
    assert_eq!((error.kind(), server.seen().len()), (Kind::Permission, 1));
    assert!(!error.report().contains("hush") && !error.report().contains("stale"));
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_succeeds_only_if_the_object_is_its_own() {
    for (found, is_own) in [("mine", true), ("other", false)] {
        let mut puts = 0;
        let server = Server::playing(move |seen| match seen.operation() {
            "put" => {
                puts += 1;
                if puts == 1 { lost() } else { refusal(409, "FileAlreadyExists") }
            }
            _ => reply(200).object(found.as_bytes()).with("Content-Length", found.len()),
        })
        .await;
        let create = PutOptions::from(PutMode::Create);
        let result = server.store().put_opts(&at(), "mine".into(), create).await;
        assert_eq!(server.operations(), ["put", "put", "head"]);
        assert_eq!(server.seen()[0].header("x-oss-forbid-overwrite"), "true");
        match result {
            Ok(_) => assert!(is_own),
            Err(error) => {
                assert!(!is_own && matches!(error, object_store::Error::AlreadyExists { .. }), "{error:?}");
                assert_eq!(error_of(error).kind(), Kind::AlreadyExists);
            }
        }
    }
    // Answered at once, there is nothing to find out.
    let server = Server::playing(|_| refusal(409, "FileAlreadyExists")).await;
    let create = PutOptions::from(PutMode::Create);
    let error = failed(server.store().put_opts(&at(), "mine".into(), create).await);
    assert_eq!((error.kind(), server.operations()), (Kind::AlreadyExists, vec!["put"]));
}

#[tokio::test]
async fn a_failed_head_tells_its_error_from_the_header() {
    let body = "<Error><Code>NoSuchBucket</Code><Message>m</Message><RequestId>65F0</RequestId></Error>";
    let server = Server::playing(move |_| reply(404).with("x-oss-err", BASE64.encode(body))).await;
    let error = server.store().head(&at()).await.unwrap_err();
    assert!(matches!(error, object_store::Error::Generic { .. }), "a bucket is not an object: {error:?}");
    let error = error_of(error);
    assert_eq!((error.kind(), error.service_code()), (Kind::NotFound, Some("NoSuchBucket")));
    assert!(error.report().contains("examplebucket"));
}

#[tokio::test]
async fn a_writer_that_fails_removes_its_upload() {
    let server = Server::playing(upload_script(|seen, count| match (seen.operation(), count) {
        ("part", _) => Some(refusal(403, "AccessDenied")),
        ("abort", 1) => Some(reply(204)),
        _ => None,
    }))
    .await;
    let part_size = PartSizePolicy::starting_at(100 << 10);
    let mut writer = ObjectWriter::new(server.store(), at(), Attributes::new(), part_size, 2);
    writer.write(data(150 << 10), ()).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Permission);
    // Repeated until the service no longer knows the upload.
    assert_eq!(server.operations().iter().filter(|name| **name == "abort").count(), 2);
}

#[tokio::test]
async fn large_bodies_of_many_buffers_arrive_with_their_length() {
    let server = Server::playing(|seen| reply(200).object(&seen.body)).await;
    let all = data(1_000_003);
    let payload: PutPayload = all.chunks(300_001).map(|piece| all.slice_ref(piece)).collect();
    server.store().put(&at(), payload).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].body == all);
    assert_eq!(seen[0].header("content-length"), "1000003");
    assert_eq!(seen[0].header("transfer-encoding"), "");
    assert_eq!(seen[0].target, "/examplebucket/dir/a");
}
