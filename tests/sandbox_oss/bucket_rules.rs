//! What a bucket's settings make of writes, deletes and reads: versions, retention, archives; and objects that grow.

use std::time::Duration;

use reqwest::Method;

use super::signed_call::{Answer, Call, call};
use super::{BUCKET, Sandbox, complete, initiate, part, put, sandbox, sandbox_with};

async fn set_versioning(server: &Sandbox, status: &str) {
    let document = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    call(Method::PUT, "").query("versioning", "").body(document).send(server).await.ok();
}

fn get(key: &str) -> Call {
    call(Method::GET, key)
}

#[tokio::test]
async fn a_versioned_bucket_keeps_every_version_and_hides_deleted_keys() {
    let server = sandbox().await;
    put(&server, "k", "zero").await.ok();
    set_versioning(&server, "Enabled").await;
    let one = put(&server, "k", "one").await.ok().header("x-oss-version-id").to_owned();
    // The bucket ignores that overwriting is forbidden.
    let forbidden = call(Method::PUT, "k").header("x-oss-forbid-overwrite", "true").body("two");
    let two = forbidden.send(&server).await.ok().header("x-oss-version-id").to_owned();
    assert!(!one.is_empty() && one != two);
    let newest = get("k").send(&server).await.ok();
    assert_eq!((newest.text(), newest.header("x-oss-version-id")), ("two", two.as_str()));
    for (id, text) in [("null", "zero"), (one.as_str(), "one"), (two.as_str(), "two")] {
        assert_eq!(get("k").query("versionId", id).send(&server).await.ok().text(), text);
    }
    assert_eq!(get("k").query("versionId", "x").send(&server).await.code(), (404, "NoSuchVersion"));

    let deleted = call(Method::DELETE, "k").send(&server).await;
    assert_eq!((deleted.status, deleted.header("x-oss-delete-marker")), (204, "true"));
    let marker = deleted.header("x-oss-version-id").to_owned();
    let gone = get("k").send(&server).await;
    assert_eq!((gone.code(), gone.header("x-oss-delete-marker")), ((404, "NoSuchKey"), "true"));
    assert_eq!(get("k").query("versionId", &marker).send(&server).await.code(), (405, "MethodNotAllowed"));
    assert!(server.oss.objects(BUCKET, "").is_empty());
    let versions = get("").query("versions", "").send(&server).await.ok();
    assert_eq!(versions.all("VersionId"), [&marker, &two, &one, "null"]);
    assert_eq!(versions.all("IsLatest"), ["true", "false", "false", "false"]);

    // Without the marker the newest version shows again.
    call(Method::DELETE, "k").query("versionId", &marker).send(&server).await.ok();
    call(Method::DELETE, "k").query("versionId", &two).send(&server).await.ok();
    assert_eq!(get("k").send(&server).await.ok().text(), "one");
    assert_eq!(call(Method::DELETE, "").send(&server).await.code(), (409, "BucketNotEmpty"));
}

#[tokio::test]
async fn a_suspended_bucket_replaces_only_its_null_version() {
    let server = sandbox().await;
    set_versioning(&server, "Enabled").await;
    let kept = put(&server, "k", "kept").await.ok().header("x-oss-version-id").to_owned();
    set_versioning(&server, "Suspended").await;
    for text in ["first", "second"] {
        let stored = call(Method::PUT, "k").header("x-oss-forbid-overwrite", "true").body(text);
        assert_eq!(stored.send(&server).await.ok().header("x-oss-version-id"), "null");
    }
    let versions = || get("").query("versions", "");
    assert_eq!(versions().send(&server).await.ok().all("VersionId"), ["null", kept.as_str()]);
    call(Method::DELETE, "k").send(&server).await.ok();
    let left = versions().send(&server).await.ok();
    assert_eq!((left.all("VersionId"), left.text().contains("<DeleteMarker>")), (vec!["null", &kept], true));
    let status = get("").query("versioning", "").send(&server).await.ok();
    assert_eq!(status.one("Status"), "Suspended");
}

#[tokio::test]
async fn versions_are_listed_in_pages_that_may_end_inside_a_key() {
    let server = sandbox().await;
    set_versioning(&server, "Enabled").await;
    let mut expected = Vec::new();
    for key in ["a", "b", "c"] {
        let mut ids = Vec::new();
        for text in ["1", "2", "3"] {
            ids.push(put(&server, key, text).await.ok().header("x-oss-version-id").to_owned());
        }
        expected.extend(ids.into_iter().rev());
    }
    let (mut found, mut key, mut id) = (Vec::new(), String::new(), String::new());
    loop {
        let page = get("").query("versions", "").query("max-keys", 2);
        let page = page.query("key-marker", &key).query("version-id-marker", &id).send(&server).await.ok();
        found.extend(page.all("VersionId").into_iter().map(str::to_owned));
        (key, id) = (page.one("NextKeyMarker").to_owned(), page.one("NextVersionIdMarker").to_owned());
        if page.one("IsTruncated") == "false" {
            break;
        }
    }
    assert_eq!(found, expected);
    let behind = get("").query("versions", "").query("key-marker", "a").send(&server).await.ok();
    assert_eq!(behind.all("VersionId"), expected[3..]);
}

/// Protects the bucket for a day and returns the policy's id.
async fn retain(server: &Sandbox) -> String {
    let document = "<InitiateWormConfiguration><RetentionPeriodInDays>1</RetentionPeriodInDays></InitiateWormConfiguration>";
    let begun = call(Method::POST, "").query("worm", "").body(document).send(server).await.ok();
    begun.header("x-oss-worm-id").to_owned()
}

#[tokio::test]
async fn a_retention_policy_refuses_to_overwrite_and_delete() {
    let server = sandbox().await;
    put(&server, "k", "first").await.ok();
    let upload_id = initiate(&server, "k").await;
    let etag = part("k", &upload_id, 1, "late").send(&server).await.ok().header("etag").to_owned();
    let id = retain(&server).await;
    let refused = (409, "FileImmutable");
    assert_eq!(put(&server, "k", "x").await.code(), refused);
    assert_eq!(call(Method::DELETE, "k").send(&server).await.code(), refused);
    assert_eq!(complete("k", &upload_id, &[(1, &etag)]).send(&server).await.code(), refused);
    let copy = call(Method::PUT, "k").header("x-oss-copy-source", format!("/{BUCKET}/k"));
    assert_eq!(copy.send(&server).await.code(), refused);
    put(&server, "new", "x").await.ok();
    assert_eq!(server.oss.object_bytes(BUCKET, "k").unwrap(), b"first");

    let lock = |id: &str| call(Method::POST, "").query("wormId", id);
    assert_eq!(lock("other").send(&server).await.code(), (404, "NoSuchWORMConfiguration"));
    lock(&id).send(&server).await.ok();
    let state = get("").query("worm", "").send(&server).await.ok();
    assert_eq!((state.one("State"), state.one("RetentionPeriodInDays")), ("Locked", "1"));
    let abort = call(Method::DELETE, "").query("worm", "").send(&server).await;
    assert_eq!(abort.code(), (409, "WORMConfigurationLocked"));
    server.oss.set_clock_offset(24 * 3600 + 60);
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(24 * 3600 + 60);
    let later = Some(date.strftime("%Y%m%dT%H%M%SZ").to_string());
    let after = Call { date: later, ..call(Method::DELETE, "k") };
    assert_eq!(after.send(&server).await.status, 204);
}

#[tokio::test]
async fn a_retention_policy_that_is_not_locked_can_be_aborted() {
    let server = sandbox().await;
    put(&server, "k", "first").await.ok();
    retain(&server).await;
    assert_eq!(put(&server, "k", "x").await.code(), (409, "FileImmutable"));
    call(Method::DELETE, "").query("worm", "").send(&server).await.ok();
    put(&server, "k", "second").await.ok();
    assert_eq!(get("").query("worm", "").send(&server).await.code(), (404, "NoSuchWORMConfiguration"));
}

fn restore(key: &str, days: u32) -> Call {
    let document = format!("<RestoreRequest><Days>{days}</Days></RestoreRequest>");
    call(Method::POST, key).query("restore", "").body(document)
}

async fn put_as(server: &Sandbox, class: &str) -> Answer {
    call(Method::PUT, class).header("x-oss-storage-class", class).body("cold").send(server).await.ok()
}

#[tokio::test]
async fn a_restore_takes_its_time_and_says_where_it_stands() {
    let server = sandbox_with(|options| options.restore_delay = Duration::from_secs(600)).await;
    put_as(&server, "Archive").await;
    let head =
        async || call(Method::HEAD, "Archive").send(&server).await.ok().header("x-oss-restore").to_owned();
    assert_eq!(head().await, "");
    assert_eq!(get("Archive").send(&server).await.code(), (403, "InvalidObjectState"));
    assert_eq!(restore("Archive", 2).send(&server).await.status, 202);
    assert_eq!(head().await, "ongoing-request=\"true\"");
    assert_eq!(restore("Archive", 2).send(&server).await.code(), (409, "RestoreAlreadyInProgress"));
    assert_eq!(get("Archive").send(&server).await.code(), (403, "InvalidObjectState"));
    // Ten minutes later, within the skew that signatures are allowed.
    server.oss.set_clock_offset(601);
    assert!(head().await.starts_with("ongoing-request=\"false\", expiry-date=\""), "{}", head().await);
    assert_eq!(get("Archive").send(&server).await.ok().text(), "cold");
    let copy = call(Method::PUT, "warm").header("x-oss-copy-source", format!("/{BUCKET}/Archive"));
    copy.header("x-oss-storage-class", "Standard").send(&server).await.ok();
    assert_eq!(restore("Archive", 7).send(&server).await.status, 200);
}

#[tokio::test]
async fn what_may_be_restored_depends_on_the_class() {
    let server = sandbox().await;
    for (class, days, status) in [
        ("Archive", 7, 202),
        ("Archive", 8, 400),
        ("ColdArchive", 365, 202),
        ("DeepColdArchive", 366, 400),
        ("IA", 1, 400),
        ("Standard", 1, 400),
    ] {
        put_as(&server, class).await;
        let answer = restore(class, days).send(&server).await;
        assert_eq!(answer.status, status, "{class} {days}: {answer:?}");
    }
    assert_eq!(restore("missing", 1).send(&server).await.code(), (404, "NoSuchKey"));
}

#[tokio::test]
async fn objects_take_the_buckets_class_unless_they_name_their_own() {
    let server = sandbox().await;
    let document =
        "<CreateBucketConfiguration><StorageClass>Archive</StorageClass></CreateBucketConfiguration>";
    let bucket = |method: Method, key: &str| Call { bucket: "coldbucket", ..call(method, key) };
    bucket(Method::PUT, "").body(document).send(&server).await.ok();
    bucket(Method::PUT, "a").body("x").send(&server).await.ok();
    bucket(Method::PUT, "b").header("x-oss-storage-class", "Standard").body("x").send(&server).await.ok();
    let classes: Vec<_> =
        server.oss.objects("coldbucket", "").into_iter().map(|found| found.storage_class).collect();
    assert_eq!(classes, ["Archive", "Standard"]);
}

#[tokio::test]
async fn an_object_grows_at_its_end_only() {
    let server = sandbox().await;
    let append = |position: u64, text: &str| {
        call(Method::POST, "log").query("append", "").query("position", position).body(text)
    };
    let first = append(0, "12345").send(&server).await.ok();
    assert_eq!(first.header("x-oss-next-append-position"), "5");
    let second = append(5, "6789").send(&server).await.ok();
    assert_eq!(second.header("x-oss-hash-crc64ecma"), "11051210869376104954");
    let behind = append(5, "x").send(&server).await;
    assert_eq!(behind.code(), (409, "PositionNotEqualToLength"));
    assert_eq!(behind.header("x-oss-next-append-position"), "9");
    let got = get("log").send(&server).await.ok();
    assert_eq!((got.text(), got.header("x-oss-object-type")), ("123456789", "Appendable"));
    put(&server, "log", "x").await.ok();
    assert_eq!(append(1, "x").send(&server).await.code(), (409, "ObjectNotAppendable"));
}

#[tokio::test]
async fn tags_come_with_the_object_or_later() {
    let server = sandbox().await;
    call(Method::PUT, "k").header("x-oss-tagging", "a=1&b%20c=%C3%A9").body("x").send(&server).await.ok();
    assert_eq!(call(Method::HEAD, "k").send(&server).await.header("x-oss-tagging-count"), "2");
    let tags = || get("k").query("tagging", "");
    assert_eq!(tags().send(&server).await.ok().all("Value"), ["1", "é"]);
    let set = |key: &str| {
        let document =
            format!("<Tagging><TagSet><Tag><Key>{key}</Key><Value>v</Value></Tag></TagSet></Tagging>");
        call(Method::PUT, "k").query("tagging", "").body(document)
    };
    set("new").send(&server).await.ok();
    assert_eq!(tags().send(&server).await.ok().all("Key"), ["new"]);
    assert_eq!(set(&"x".repeat(129)).send(&server).await.code(), (400, "InvalidTag"));
    assert_eq!(call(Method::DELETE, "k").query("tagging", "").send(&server).await.status, 204);
    assert!(tags().send(&server).await.ok().all("Key").is_empty());
    let many = (0..11).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
    let refused = call(Method::PUT, "k").header("x-oss-tagging", many).body("x").send(&server).await;
    assert_eq!(refused.code(), (400, "InvalidTag"));
}

#[tokio::test]
async fn encryption_is_chosen_at_initiate_and_refused_on_a_part() {
    let server = sandbox().await;
    let sse = |call: Call| call.header("x-oss-server-side-encryption", "SM4");
    let begun = sse(call(Method::POST, "k").query("uploads", "")).send(&server).await.ok();
    assert_eq!(begun.header("x-oss-server-side-encryption"), "SM4");
    let upload_id = begun.one("UploadId").to_owned();
    let refused = sse(part("k", &upload_id, 1, "x")).send(&server).await;
    assert_eq!(refused.code(), (400, "InvalidArgument"));
    let etag = part("k", &upload_id, 1, "x").send(&server).await.ok().header("etag").to_owned();
    complete("k", &upload_id, &[(1, &etag)]).send(&server).await.ok();
    assert_eq!(call(Method::HEAD, "k").send(&server).await.header("x-oss-server-side-encryption"), "SM4");
    let unknown = call(Method::PUT, "k").header("x-oss-server-side-encryption", "ROT13").body("x");
    assert_eq!(unknown.send(&server).await.code(), (400, "InvalidEncryptionAlgorithmError"));
}
