//! The same request under every signature: what is right goes through, and each thing that is changed about it is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use reqwest::Method;

use super::schemes::{ALL, Scheme};
use super::signed_call::{Call, call};
use super::{BUCKET, sandbox, sandbox_with};

const HOUR: i64 = 3600;

fn put() -> Call {
    call(Method::PUT, "dir/a b+é").body("hello")
}

fn md5(text: &str) -> String {
    STANDARD.encode(Md5::digest(text))
}

#[tokio::test]
async fn every_signature_puts_and_gets() {
    let server = sandbox().await;
    for scheme in ALL {
        let run = format!("{}meta-run", scheme.prefix());
        let call_with_all = put().header("content-type", "text/x").header("content-md5", md5("hello"));
        scheme.send(call_with_all.header(&run, "7"), &server, 0, |call| call).await.ok();
        let got = scheme.send(call(Method::GET, "dir/a b+é"), &server, 0, |call| call).await.ok();
        assert_eq!(
            (got.text(), got.header("content-type"), got.header(&run)),
            ("hello", "text/x", "7"),
            "{scheme:?}"
        );
        server.oss.objects(BUCKET, "dir/").iter().for_each(|object| assert_eq!(object.length, 5));
    }
}

/// What is changed, the code it is refused with, and the change.
type Case = (&'static str, &'static str, fn(Scheme, Call) -> Call);

#[tokio::test]
async fn whatever_is_changed_about_a_signed_request_is_refused() {
    let server = sandbox().await;
    let after_signing: [Case; 6] = [
        ("signature", "SignatureDoesNotMatch", |scheme, call| scheme.forge(call)),
        ("method", "SignatureDoesNotMatch", |_, call| Call {
            method: Method::DELETE,
            body: Vec::new(),
            ..call
        }),
        ("key", "SignatureDoesNotMatch", |_, call| Call { key: "dir/other".into(), ..call }),
        ("bucket", "SignatureDoesNotMatch", |_, call| Call { bucket: "otherbucket", ..call }),
        ("metadata", "SignatureDoesNotMatch", |scheme, call| {
            call.header(&format!("{}meta-run", scheme.prefix()), "8")
        }),
        ("digest", "SignatureDoesNotMatch", |_, call| call.header("content-md5", md5("other"))),
    ];
    let before_signing: [Case; 6] = [
        ("secret", "SignatureDoesNotMatch", |_, call| Call { secret: "wrong", ..call }),
        ("access key id", "InvalidAccessKeyId", |_, call| Call { access_key_id: "nobody", ..call }),
        ("body", "InvalidDigest", |_, call| call.header("content-md5", md5("other")).body("hello")),
        ("half a digest", "InvalidDigest", |_, call| call.header("content-md5", "AAAA")),
        ("too much metadata", "InvalidArgument", |scheme, call| {
            call.header(&format!("{}meta-run", scheme.prefix()), "x".repeat(8 << 10))
        }),
        ("storage class", "Invalid", |scheme, call| {
            call.header(&format!("{}storage-class", scheme.prefix()), "Hot")
        }),
    ];
    let mut refused = 0;
    for scheme in ALL {
        let base = || {
            let run = format!("{}meta-run", scheme.prefix());
            put().header("content-md5", md5("hello")).header(&run, "7")
        };
        for (what, code, change) in after_signing {
            let answer = scheme.send(base(), &server, 0, |call| change(scheme, call)).await;
            assert!(answer.status == 403 && answer.code().1 == code, "{scheme:?} {what}: {answer:?}");
            refused += 1;
        }
        for (what, code, change) in before_signing {
            let answer = scheme.send(change(scheme, base()), &server, 0, |call| call).await;
            assert!(
                answer.status >= 400 && answer.code().1.starts_with(code),
                "{scheme:?} {what}: {answer:?}"
            );
            refused += 1;
        }
        for (offset, code) in [(-2 * HOUR, "past"), (2 * HOUR, "future")] {
            let answer = scheme.send(base(), &server, offset, |call| call).await;
            // A V1 URL does not say when it was signed: one from the future is one that is valid longer.
            let accepted = scheme == Scheme::V1Url && offset > 0;
            assert_eq!(answer.status, if accepted { 200 } else { 403 }, "{scheme:?} {code}: {answer:?}");
            let expected =
                if scheme.is_url() && offset < 0 { "AccessDenied" } else { "RequestTimeTooSkewed" };
            assert!(accepted || answer.code().1 == expected, "{scheme:?} {code}: {answer:?}");
            refused += 1;
        }
        server.oss.objects(BUCKET, "").iter().for_each(|object| assert_eq!(object.length, 5));
    }
    assert_eq!(refused, 84);
}

#[tokio::test]
async fn a_region_that_is_not_the_servers_and_a_url_for_more_than_a_week_are_refused() {
    let server = sandbox().await;
    for scheme in [Scheme::V4, Scheme::V4Url, Scheme::S3, Scheme::S3Url] {
        let elsewhere = Call { region: "cn-beijing", ..put() };
        let answer = scheme.send(elsewhere, &server, 0, |call| call).await;
        assert_eq!(answer.code(), (400, "InvalidArgument"), "{scheme:?}");
    }
    for (scheme, name) in [(Scheme::V4Url, "x-oss-expires"), (Scheme::S3Url, "X-Amz-Expires")] {
        for seconds in [0, 604_801] {
            let answer = scheme.send(put(), &server, 0, |call| call.query(name, seconds)).await;
            assert_eq!(answer.status, 400, "{scheme:?} {seconds}");
        }
    }
}

#[tokio::test]
async fn the_body_of_an_s3_request_is_the_one_that_was_signed() {
    let server = sandbox().await;
    let answer = Scheme::S3.send(put(), &server, 0, |call| call.body("jello")).await;
    assert_eq!(answer.code(), (400, "XAmzContentSHA256Mismatch"));
    for (name, value) in [("crc32", "y/Q5Jg=="), ("crc32c", "4waSgw=="), ("crc64nvme", "rosUhgp5mIg=")] {
        // The checksums of "123456789".
        let header = format!("x-amz-checksum-{name}");
        let right = put().header(&header, value).body("123456789");
        Scheme::S3.send(right, &server, 0, |call| call).await.ok();
        let wrong = Scheme::S3.send(put().header(&header, value), &server, 0, |call| call).await;
        assert_eq!(wrong.code(), (400, "BadDigest"), "{name}");
    }
    let chunked = put().header("content-encoding", "aws-chunked");
    let answer = Scheme::S3.send(chunked, &server, 0, |call| call).await;
    assert_eq!(answer.code(), (400, "InvalidArgument"));
    let unsigned = Scheme::S3.send(put(), &server, 0, |call| call.header("x-amz-meta-a", "b")).await;
    assert_eq!((unsigned.code(), unsigned.one("HeadersNotSigned")), ((403, "AccessDenied"), "x-amz-meta-a"));
}

#[tokio::test]
async fn an_s3_client_reads_and_writes_in_its_own_words() {
    let server = sandbox_with(|options| options.require_v4 = true).await;
    let send = |call: Call| Scheme::S3.send(call, &server, 0, |call| call);
    let cold =
        put().header("x-amz-storage-class", "GLACIER").header("x-amz-server-side-encryption", "aws:kms");
    let stored = send(cold.header("if-none-match", "*")).await.ok();
    assert_eq!(stored.header("x-amz-server-side-encryption"), "aws:kms");
    assert_eq!(stored.header("x-amz-request-id").len(), 24);
    assert_eq!(send(put().header("if-none-match", "*")).await.code(), (412, "PreconditionFailed"));
    assert_eq!(send(put().header("if-match", "\"x\"")).await.code(), (501, "NotImplemented"));
    assert_eq!(send(call(Method::GET, "dir/a b+é")).await.code(), (403, "InvalidObjectState"));
    let head = send(call(Method::HEAD, "dir/a b+é")).await.ok();
    assert_eq!(head.header("x-amz-storage-class"), "GLACIER");
    let list = send(call(Method::GET, "").query("list-type", 2)).await.ok();
    assert_eq!(list.all("StorageClass"), ["GLACIER"]);
    assert_eq!(server.oss.objects(BUCKET, "")[0].storage_class, "Archive");
    send(call(Method::PUT, "k").body("0123456789")).await.ok();
    // As S3 does it, and not as OSS does without its header.
    assert_eq!(send(call(Method::GET, "k").header("range", "bytes=8-20")).await.text(), "89");
    assert_eq!(
        send(call(Method::GET, "k").header("range", "bytes=10-20")).await.code(),
        (416, "InvalidRange")
    );
    let copy = call(Method::PUT, "copy").header("x-amz-copy-source", format!("{BUCKET}/k"));
    send(copy.clone()).await.ok();
    assert_eq!(server.oss.object_bytes(BUCKET, "copy").unwrap(), b"0123456789");
    assert_eq!(send(copy.header("if-none-match", "*")).await.code(), (412, "PreconditionFailed"));
}
