//! The local OSS against a signer of its own: what it accepts, what it refuses, and what it does on demand.
//!
//! The official SDKs were the judges of the server; this file keeps what they found in place.

#![cfg(feature = "sandbox")]

mod bucket_rules;
mod schemes;
mod signatures;
mod signed_call;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use otsvault::credentials::Credentials;
use otsvault::sandbox::counters::Counters;
use otsvault::sandbox::faults::{Action, Faults, Rule, Service, When};
use otsvault::sandbox::oss::{OssServer, OssServerOptions};
use reqwest::Method;
use signed_call::{Answer, Call, call, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BUCKET: &str = "examplebucket";

struct Sandbox {
    oss: OssServer,
    client: reqwest::Client,
    faults: Faults,
    counters: Counters,
}

async fn sandbox_with(change: impl FnOnce(&mut OssServerOptions)) -> Sandbox {
    let mut options = OssServerOptions {
        access_keys: vec![
            Credentials::new("testak", "testsk", None),
            Credentials::new("stsak", "stssk", Some("tok/en+1=".to_owned())),
        ],
        buckets: vec![BUCKET.to_owned()],
        ..OssServerOptions::default()
    };
    change(&mut options);
    let (faults, counters) = (options.faults.clone(), options.counters.clone());
    let oss = OssServer::start(options).await.unwrap();
    Sandbox { oss, client: reqwest::Client::new(), faults, counters }
}

async fn sandbox() -> Sandbox {
    sandbox_with(|_| {}).await
}

async fn put(server: &Sandbox, key: &str, body: impl Into<Vec<u8>>) -> Answer {
    call(Method::PUT, key).body(body).send(server).await
}

async fn initiate(server: &Sandbox, key: &str) -> String {
    let answer = call(Method::POST, key).query("uploads", "").send(server).await.ok();
    answer.one("UploadId").to_owned()
}

fn part(key: &str, upload_id: &str, number: u32, body: impl Into<Vec<u8>>) -> Call {
    call(Method::PUT, key).query("partNumber", number).query("uploadId", upload_id).body(body)
}

fn complete(key: &str, upload_id: &str, parts: &[(u32, &str)]) -> Call {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"))
        .collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    call(Method::POST, key).query("uploadId", upload_id).body(document)
}

#[test]
fn the_signer_of_this_test_agrees_with_oss2() {
    let put = Call { date: Some("20260102T030405Z".to_owned()), ..call(Method::PUT, "dir/a b+é.parquet") };
    let put = put
        .query("partNumber", 1)
        .query("uploadId", "ABC")
        .header("content-type", "application/octet-stream");
    let signed = put.signed();
    let expected = "f51aec3c893f8f96ab53d546bfb0908b837781a575de6e52d9299fae64a2c4cd";
    assert!(signed.headers["authorization"].ends_with(expected), "{}", signed.headers["authorization"]);
}

#[tokio::test]
async fn an_object_comes_back_with_its_bytes_checksums_and_headers() {
    let server = sandbox().await;
    let key = "dir/a b+é.parquet";
    let stored = call(Method::PUT, key)
        .header("content-type", "application/x-parquet")
        .header("x-oss-meta-run", "7")
        .header("x-oss-storage-class", "IA")
        .header("x-oss-server-side-encryption", "AES256")
        .header("content-md5", STANDARD.encode(Md5::digest("hello")))
        .body("hello")
        .send(&server)
        .await
        .ok();
    assert_eq!(stored.header("etag"), "\"5D41402ABC4B2A76B9719D911017C592\"");
    assert_eq!(stored.header("x-oss-hash-crc64ecma"), "11177612005948864433");
    assert_eq!(stored.header("x-oss-server-side-encryption"), "AES256");
    assert_eq!(stored.header("x-oss-request-id").len(), 24);
    for method in [Method::GET, Method::HEAD] {
        let found = call(method.clone(), key).send(&server).await.ok();
        let body = if method == Method::GET { "hello" } else { "" };
        assert_eq!((found.text(), found.header("content-length")), (body, "5"));
        assert_eq!(found.header("content-type"), "application/x-parquet");
        assert_eq!(found.header("x-oss-meta-run"), "7");
        assert_eq!(found.header("x-oss-storage-class"), "IA");
        assert_eq!(found.header("x-oss-server-side-encryption"), "AES256");
        assert_eq!(found.header("x-oss-hash-crc64ecma"), "11177612005948864433");
        assert_eq!(found.header("x-oss-object-type"), "Normal");
    }
    assert_eq!(server.oss.object_bytes(BUCKET, key).unwrap(), b"hello");
    assert_eq!(call(Method::DELETE, key).send(&server).await.status, 204);
    assert_eq!(call(Method::DELETE, key).send(&server).await.status, 204);
    assert!(server.oss.objects(BUCKET, "").is_empty());
}

#[tokio::test]
async fn ranges_follow_the_header_that_asks_for_the_standard() {
    let server = sandbox().await;
    put(&server, "k", "0123456789").await.ok();
    let get = |range: &str| call(Method::GET, "k").header("range", range);
    let inside = get("bytes=2-4").send(&server).await;
    assert_eq!((inside.status, inside.text(), inside.header("content-range")), (206, "234", "bytes 2-4/10"));
    let overlong = get("bytes=8-20").send(&server).await;
    assert_eq!((overlong.status, overlong.text()), (200, "0123456789"));
    let standard = |range: &str| get(range).header("x-oss-range-behavior", "standard");
    let clamped = standard("bytes=8-20").send(&server).await;
    assert_eq!((clamped.status, clamped.text()), (206, "89"));
    assert_eq!(standard("bytes=10-").send(&server).await.code(), (416, "InvalidRange"));
}

#[tokio::test]
async fn a_failed_head_carries_its_error_in_a_header() {
    let server = sandbox().await;
    let missing = call(Method::HEAD, "nothing").send(&server).await;
    assert_eq!(missing.status, 404);
    let document = String::from_utf8(STANDARD.decode(missing.header("x-oss-err")).unwrap()).unwrap();
    assert!(document.contains("<Code>NoSuchKey</Code>") && document.contains("<EC>"), "{document}");
    assert!(!document.contains("xmlns"));
    let nowhere = Call { bucket: "nobucket", ..call(Method::GET, "k") };
    assert_eq!(nowhere.send(&server).await.code(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn requests_that_do_not_prove_who_sent_them_are_refused() {
    let server = sandbox().await;
    let get = call(Method::GET, "k");
    let wrong = Call { secret: "wrong", ..get.clone() }.send(&server).await;
    assert_eq!(wrong.code(), (403, "SignatureDoesNotMatch"));
    assert!(
        wrong.one("CanonicalRequest").starts_with("GET\n/examplebucket/k\n")
            || wrong.text().contains("&#10;")
    );
    assert!(wrong.one("StringToSign").starts_with("OSS4-HMAC-SHA256"));
    let unknown = Call { access_key_id: "nobody", ..get.clone() };
    assert_eq!(unknown.send(&server).await.code(), (403, "InvalidAccessKeyId"));
    let elsewhere = Call { region: "cn-beijing", ..get.clone() };
    assert_eq!(elsewhere.send(&server).await.code(), (400, "InvalidArgument"));
    let unsigned = get.clone().send_as_is(&server).await.unwrap();
    assert_eq!(Answer::of(unsigned).await.code(), (403, "AccessDenied"));
    let long_ago = Call { date: Some("20260102T030405Z".to_owned()), ..get.clone() };
    assert_eq!(long_ago.send(&server).await.code(), (403, "RequestTimeTooSkewed"));
    server.oss.set_clock_offset(3600);
    let skewed = get.clone().send(&server).await;
    assert_eq!(skewed.code(), (403, "RequestTimeTooSkewed"));
    server.oss.set_clock_offset(0);
    let v1 = get.header("date", "Fri, 02 Jan 2026 03:04:05 GMT").header("authorization", "OSS testak:abc=");
    assert_eq!(Answer::of(v1.send_as_is(&server).await.unwrap()).await.code(), (403, "RequestTimeTooSkewed"));
    let altered = call(Method::PUT, "k").header("x-oss-meta-a", "1").signed().header("x-oss-meta-a", "2");
    let altered = Answer::of(altered.send_as_is(&server).await.unwrap()).await;
    assert_eq!(altered.code(), (403, "SignatureDoesNotMatch"));
}

#[tokio::test]
async fn temporary_keys_need_their_token_until_it_expires() {
    let server = sandbox().await;
    let put = Call { access_key_id: "stsak", secret: "stssk", ..call(Method::PUT, "k").body("x") };
    assert_eq!(put.clone().send(&server).await.code(), (403, "InvalidAccessKeyId"));
    let with = |token: &str| put.clone().header("x-oss-security-token", token);
    assert_eq!(with("other").send(&server).await.code(), (403, "InvalidSecurityToken"));
    with("tok/en+1=").send(&server).await.ok();
    server.oss.expire_token("tok/en+1=");
    assert_eq!(with("tok/en+1=").send(&server).await.code(), (403, "SecurityTokenExpired"));
    let fresh = Credentials::new("stsak", "stssk", Some("fresh".to_owned()));
    server.oss.replace_access_keys(vec![fresh]);
    with("fresh").send(&server).await.ok();
    assert_eq!(with("tok/en+1=").send(&server).await.code(), (403, "InvalidSecurityToken"));
}

#[tokio::test]
async fn a_signed_url_works_until_it_expires_and_only_as_signed() {
    let server = sandbox().await;
    put(&server, "dir/k", "hello").await.ok();
    let get = call(Method::GET, "dir/k");
    let fetched = Answer::of(get.clone().presigned(60).send_as_is(&server).await.unwrap()).await;
    assert_eq!((fetched.status, fetched.text()), (200, "hello"));
    let altered = get.clone().presigned(60).query("x-oss-expires", 61);
    let altered = Answer::of(altered.send_as_is(&server).await.unwrap()).await;
    assert_eq!(altered.code(), (403, "SignatureDoesNotMatch"));
    let url = get.presigned(60);
    server.oss.set_clock_offset(120);
    let late = Answer::of(url.send_as_is(&server).await.unwrap()).await;
    assert_eq!((late.code(), late.one("Message")), ((403, "AccessDenied"), "Request has expired."));
}

#[tokio::test]
async fn an_upload_appears_as_a_whole_when_it_is_completed() {
    let server = sandbox().await;
    let key = "base/run/data/0001.parquet";
    let start = call(Method::POST, key).query("uploads", "").header("x-oss-meta-run", "7");
    let upload_id = start.send(&server).await.ok().one("UploadId").to_owned();
    let (first, second) = (vec![1u8; 102_400], b"tail".to_vec());
    // The second one is sent twice; the later bytes count.
    part(key, &upload_id, 7, "draft").send(&server).await.ok();
    let two = part(key, &upload_id, 7, second.clone()).send(&server).await.ok();
    let one = part(key, &upload_id, 2, first.clone()).send(&server).await.ok();
    let listed = call(Method::GET, key).query("uploadId", &upload_id).send(&server).await.ok();
    assert_eq!((listed.all("PartNumber"), listed.all("Size")), (vec!["2", "7"], vec!["102400", "4"]));
    assert_eq!(call(Method::HEAD, key).send(&server).await.status, 404);
    assert_eq!(server.oss.open_uploads()[0].part_count, 2);

    let parts = [(2, one.header("etag")), (7, &two.header("etag").replace('"', "&quot;"))];
    let done = complete(key, &upload_id, &parts).send(&server).await.ok();
    assert!(done.one("ETag").ends_with("-2&quot;"), "{}", done.text());
    let whole = [first, second].concat();
    let crc64 = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, &whole).to_string();
    assert_eq!(done.header("x-oss-hash-crc64ecma"), crc64);
    let got = call(Method::GET, key).send(&server).await.ok();
    assert!(got.body == whole && got.header("x-oss-hash-crc64ecma") == crc64);
    assert_eq!((got.header("x-oss-meta-run"), got.header("x-oss-object-type")), ("7", "Multipart"));
    let across = call(Method::GET, key).header("range", "bytes=102398-102401").send(&server).await;
    assert_eq!(across.body, [1, 1, b't', b'a']);
    assert!(server.oss.open_uploads().is_empty());
    assert_eq!(complete(key, &upload_id, &parts).send(&server).await.code(), (404, "NoSuchUpload"));
}

#[tokio::test]
async fn complete_refuses_parts_that_are_wrong_unordered_or_too_small() {
    let server = sandbox().await;
    let upload_id = initiate(&server, "k").await;
    let one = part("k", &upload_id, 1, vec![0; 102_399]).send(&server).await.ok();
    let two = part("k", &upload_id, 2, "x").send(&server).await.ok();
    let (one, two) = (one.header("etag"), two.header("etag"));
    let cases: [(&[(u32, &str)], &str); 6] = [
        (&[(1, one), (2, two)], "EntityTooSmall"),
        (&[(2, two), (1, one)], "InvalidPartOrder"),
        (&[(1, one), (1, one)], "InvalidPartOrder"),
        (&[(1, two)], "InvalidPart"),
        (&[(3, one)], "InvalidPart"),
        (&[], "MalformedXML"),
    ];
    for (parts, code) in cases {
        assert_eq!(complete("k", &upload_id, parts).send(&server).await.code(), (400, code), "{parts:?}");
    }
    assert_eq!(part("k", &upload_id, 0, "x").send(&server).await.code(), (400, "InvalidArgument"));
    assert_eq!(part("k", &upload_id, 10_001, "x").send(&server).await.code(), (400, "InvalidArgument"));
    assert_eq!(part("other", &upload_id, 1, "x").send(&server).await.code(), (404, "NoSuchUpload"));
    let abort = call(Method::DELETE, "k").query("uploadId", &upload_id);
    assert_eq!(abort.clone().send(&server).await.status, 204);
    assert_eq!(abort.send(&server).await.code(), (404, "NoSuchUpload"));
}

#[tokio::test]
async fn forbidden_overwrites_are_refused_at_put_initiate_and_complete() {
    let server = sandbox().await;
    let upload_id = initiate(&server, "k").await;
    let etag = part("k", &upload_id, 1, "late").send(&server).await.ok();
    put(&server, "k", "first").await.ok();
    let forbidden = |call: Call| call.header("x-oss-forbid-overwrite", "true");
    let refused = (409, "FileAlreadyExists");
    assert_eq!(forbidden(call(Method::PUT, "k").body("x")).send(&server).await.code(), refused);
    assert_eq!(forbidden(call(Method::POST, "k").query("uploads", "")).send(&server).await.code(), refused);
    let end = complete("k", &upload_id, &[(1, etag.header("etag"))]);
    assert_eq!(forbidden(end.clone()).send(&server).await.code(), refused);
    assert_eq!(server.oss.object_bytes(BUCKET, "k").unwrap(), b"first");
    end.send(&server).await.ok();
    assert_eq!(server.oss.object_bytes(BUCKET, "k").unwrap(), b"late");
}

#[tokio::test]
async fn all_parts_can_be_completed_without_naming_them_and_copied_from_objects() {
    let server = sandbox().await;
    put(&server, "source", vec![7u8; 200_000]).await.ok();
    let upload_id = initiate(&server, "k").await;
    let copied = call(Method::PUT, "k")
        .query("partNumber", 1)
        .query("uploadId", &upload_id)
        .header("x-oss-copy-source", "/examplebucket/source")
        .header("x-oss-copy-source-range", "bytes=0-102399");
    copied.clone().send(&server).await.ok();
    let outside = copied.header("x-oss-copy-source-range", "bytes=0-200000");
    assert_eq!(outside.send(&server).await.code(), (400, "InvalidArgument"));
    part("k", &upload_id, 2, "end").send(&server).await.ok();
    let all = call(Method::POST, "k").query("uploadId", &upload_id).header("x-oss-complete-all", "yes");
    assert_eq!(all.clone().body("<x/>").send(&server).await.code(), (400, "InvalidArgument"));
    all.send(&server).await.ok();
    assert_eq!(server.oss.objects(BUCKET, "k")[0].length, 102_403);
}

#[tokio::test]
async fn listings_are_in_byte_order_and_continue_where_they_stopped() {
    let server = sandbox().await;
    let keys = ["a/1 &", "a/2", "b", "b/é", "b/z", "c"];
    for key in keys {
        put(&server, key, "x").await.ok();
    }
    let list = || Call { key: String::new(), ..call(Method::GET, "") }.query("encoding-type", "url");
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let page = list().query("list-type", 2).query("max-keys", 4).query("continuation-token", &token);
        let page = page.send(&server).await.ok();
        found.extend(page.all("Key").into_iter().map(str::to_owned));
        token = page.one("NextContinuationToken").to_owned();
        if page.one("IsTruncated") == "false" {
            break;
        }
    }
    let mut expected: Vec<String> = keys.iter().map(|key| encode(key)).collect();
    expected[3..5].reverse();
    assert_eq!(found, expected);
    let folders = list().query("list-type", 2).query("delimiter", "/").send(&server).await.ok();
    assert_eq!(folders.all("Prefix"), ["", "a%2F", "b%2F"]);
    assert_eq!((folders.all("Key"), folders.one("KeyCount")), (vec!["b", "c"], "4"));
    let v1 = list().query("marker", "b/z").send(&server).await.ok();
    assert_eq!(v1.all("Key"), [encode("b/é"), "c".to_owned()]);
    assert_eq!(list().query("max-keys", 1001).send(&server).await.code(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn many_objects_are_deleted_at_once_when_the_digest_is_right() {
    let server = sandbox().await;
    put(&server, "one", "x").await.ok();
    put(&server, "two", "x").await.ok();
    let document =
        "<Delete><Object><Key>one</Key></Object><Object><Key>never &amp; was</Key></Object></Delete>";
    let delete = call(Method::POST, "").query("delete", "").body(document);
    assert_eq!(delete.clone().send(&server).await.code(), (400, "MissingArgument"));
    let wrong = delete.clone().header("content-md5", STANDARD.encode(Md5::digest("")));
    assert_eq!(wrong.send(&server).await.code(), (400, "InvalidDigest"));
    let right = delete.header("content-md5", STANDARD.encode(Md5::digest(document)));
    assert_eq!(right.send(&server).await.ok().all("Key"), ["one", "never &amp; was"]);
    let left: Vec<_> = server.oss.objects(BUCKET, "").into_iter().map(|object| object.key).collect();
    assert_eq!(left, ["two"]);
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_metadata_and_honours_conditions() {
    let server = sandbox().await;
    let stored =
        call(Method::PUT, "a é").header("x-oss-meta-run", "7").body("hello").send(&server).await.ok();
    let copy = || call(Method::PUT, "b").header("x-oss-copy-source", "/examplebucket/a%20%C3%A9");
    let copied = copy().send(&server).await.ok();
    assert_eq!(copied.header("x-oss-hash-crc64ecma"), "11177612005948864433");
    assert_eq!(call(Method::HEAD, "b").send(&server).await.header("x-oss-meta-run"), "7");
    copy().header("x-oss-metadata-directive", "REPLACE").send(&server).await.ok();
    assert_eq!(call(Method::HEAD, "b").send(&server).await.header("x-oss-meta-run"), "");
    let other = copy().header("x-oss-copy-source-if-match", "X").send(&server).await;
    assert_eq!(other.code(), (412, "PreconditionFailed"));
    let get = call(Method::GET, "b").header("if-none-match", stored.header("etag"));
    assert_eq!(get.send(&server).await.status, 304);
}

#[tokio::test]
async fn buckets_can_be_named_by_the_host_and_path_style_refused() {
    let server = sandbox_with(|options| options.refuse_path_style = true).await;
    let hosted = call(Method::PUT, "k").body("x").signed().header("host", "examplebucket.localhost");
    Answer::of(hosted.send_as_is(&server).await.unwrap()).await.ok();
    let ali_oss =
        call(Method::GET, "k").signed().header("host", "examplebucket.oss-cn-hangzhou.aliyuncs.com");
    assert_eq!(Answer::of(ali_oss.send_as_is(&server).await.unwrap()).await.ok().text(), "x");
    assert_eq!(call(Method::GET, "k").send(&server).await.code(), (403, "SecondLevelDomainForbidden"));
}

#[tokio::test]
async fn new_buckets_take_no_v1_signatures() {
    let server = sandbox_with(|options| options.require_v4 = true).await;
    let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let v1 = call(Method::GET, "k").header("date", date).header("authorization", "OSS testak:abc=");
    assert_eq!(Answer::of(v1.send_as_is(&server).await.unwrap()).await.code(), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_put_without_a_length_is_refused_and_half_a_body_leaves_nothing_behind() {
    let server = sandbox().await;
    let address = server.oss.endpoint().replace("http://", "");
    let raw = |call: Call, extra: &str| {
        let call = call.signed();
        let headers: String =
            call.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("PUT /{BUCKET}/{} HTTP/1.1\r\nhost: {address}\r\n{headers}{extra}\r\n", call.path())
    };
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    stream.write_all(raw(call(Method::PUT, "k"), "connection: close\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 411") && answer.contains("MissingContentLength"), "{answer}");

    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let half = raw(call(Method::PUT, "k"), "content-length: 10\r\n") + "12345";
    stream.write_all(half.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(server.oss.objects(BUCKET, "").is_empty());
}

#[tokio::test]
async fn a_complete_whose_answer_is_lost_has_happened() {
    let server = sandbox().await;
    let upload_id = initiate(&server, "k").await;
    let etag = part("k", &upload_id, 1, "x").send(&server).await.ok();
    let end = complete("k", &upload_id, &[(1, etag.header("etag"))]);
    server.faults.add(Rule::new(Action::DropAfter).on(Service::Oss, "CompleteMultipartUpload").nth(2));
    server.faults.add(Rule::new(Action::DropBefore).on(Service::Oss, "CompleteMultipartUpload").nth(1));
    assert!(end.clone().try_send(&server).await.is_err());
    assert_eq!(server.oss.open_uploads().len(), 1);
    assert!(end.clone().try_send(&server).await.is_err());
    assert_eq!(server.oss.objects(BUCKET, "k")[0].length, 1);
    assert_eq!(end.send(&server).await.code(), (404, "NoSuchUpload"));
    assert_eq!(server.faults.hits(), [1, 1]);
}

#[tokio::test]
async fn answers_can_be_slow_short_wrong_or_errors() {
    let server = sandbox().await;
    put(&server, "k", vec![0u8; 300_000]).await.ok();
    let on_get =
        |action: Action, nth| Rule::new(action).on(Service::Oss, "GetObject").key("examplebucket/k").nth(nth);
    let get = || call(Method::GET, "k");
    server.faults.add(on_get(Action::error(503, "ServiceUnavailable", "slow down"), 1));
    server.faults.add(on_get(Action::TruncateBody, 2));
    server.faults.add(on_get(Action::CorruptBody { offset: 200_000, xor: 4 }, 3));
    server.faults.add(on_get(Action::WrongChecksum, 4));
    server.faults.add(on_get(Action::Delay(Duration::from_millis(20)), 5));
    assert_eq!(get().send(&server).await.code(), (503, "ServiceUnavailable"));
    let cut = get().try_send(&server).await.unwrap();
    assert_eq!(cut.content_length(), Some(300_000));
    assert!(cut.bytes().await.is_err());
    let damaged = get().send(&server).await.ok();
    let wrong: Vec<_> = damaged.body.iter().enumerate().filter(|(_, byte)| **byte != 0).collect();
    assert_eq!(wrong, [(200_000, &4)]);
    let right = damaged.header("x-oss-hash-crc64ecma");
    assert_ne!(get().send(&server).await.header("x-oss-hash-crc64ecma"), right);
    let started = std::time::Instant::now();
    assert_eq!(get().send(&server).await.header("x-oss-hash-crc64ecma"), right);
    assert!(started.elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn everything_is_counted() {
    let server = sandbox().await;
    server.faults.add(
        Rule::new(Action::DropBefore).on(Service::Oss, "PutObject").when(When::Calls { first: 2, last: 9 }),
    );
    put(&server, "k", "hello").await.ok();
    assert!(call(Method::PUT, "k").try_send(&server).await.is_err());
    call(Method::GET, "k").send(&server).await.ok();
    let upload_id = initiate(&server, "u").await;
    let figures = server.counters.snapshot();
    let puts = figures.operation(Service::Oss, "PutObject");
    // A client may try a dropped request again by itself.
    assert!(puts.requests >= 2 && puts.errors == puts.requests - 1 && puts.bytes_in == 5, "{puts:?}");
    assert_eq!(figures.operation(Service::Oss, "GetObject").bytes_out, 5);
    assert_eq!(figures.gauge(Service::Oss, "open_uploads"), 1);
    call(Method::DELETE, "u").query("uploadId", upload_id).send(&server).await.ok();
    assert_eq!(server.counters.snapshot().gauge(Service::Oss, "open_uploads"), 0);
}

#[tokio::test]
async fn a_servers_files_are_gone_when_it_has_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = sandbox_with(|options| options.data_dir = Some(data.clone())).await;
    put(&server, "k", "hello").await.ok();
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    put(&server, "k", "again").await.ok();
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    let Sandbox { oss, client, .. } = server;
    drop(client);
    oss.stop().await;
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
}
