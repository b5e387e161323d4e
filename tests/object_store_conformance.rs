//! What every store behind [`UploadStore`] does alike. A new store is done when this suite passes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload,
};
use otsvault::objectstore::{self, ObjectWriter, PartSizePolicy, StoreOptions, UploadStore, checksum::Crc64};

/// Names that a store must not change: spaces, `+`, `%`, UTF-8, and what XML and URLs give a meaning.
const ODD_NAMES: [&str; 6] = ["a b", "a+b", "a%20b", "a&<b>'\"", "é/漢字.parquet", "_ts=1;x,y@z~$!()*"];

async fn conformance(store: Arc<dyn UploadStore>) {
    objects_come_back_as_they_were_put(&store).await;
    ranges_are_clamped_to_the_object_and_refused_beyond_it(&store).await;
    a_create_never_replaces(&store).await;
    conditions_are_kept(&store).await;
    listings_show_what_is_below_a_path(&store).await;
    deletes_remove_what_they_are_told(&store).await;
    copies_have_the_content(&store).await;
    multipart_uploads_appear_whole_or_not_at_all(&store).await;
    writers_store_what_is_written(&store).await;
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn data(length: usize) -> Bytes {
    (0..length).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>().into()
}

async fn read(store: &Arc<dyn UploadStore>, text: &str) -> Bytes {
    store.get(&path(text)).await.unwrap().bytes().await.unwrap()
}

async fn names(store: &Arc<dyn UploadStore>, prefix: &str) -> BTreeSet<String> {
    let listed: Vec<_> = store.list(Some(&path(prefix))).try_collect().await.unwrap();
    listed.into_iter().map(|meta| meta.location.to_string()).collect()
}

async fn objects_come_back_as_they_were_put(store: &Arc<dyn UploadStore>) {
    for name in ODD_NAMES {
        let at = path(&format!("plain/{name}"));
        let attributes = Attributes::from_iter([(Attribute::ContentType, "application/json")]);
        store.put_opts(&at, PutPayload::from("one"), attributes.into()).await.unwrap();
        let result = store.get(&at).await.unwrap();
        assert_eq!((result.meta.size, result.meta.location.clone()), (3, at.clone()));
        assert_eq!(result.bytes().await.unwrap(), "one");
        // Lists of buffers are one object.
        let pieces =
            PutPayload::from_iter([Bytes::from_static(b"tw"), Bytes::new(), Bytes::from_static(b"o!")]);
        store.put(&at, pieces).await.unwrap();
        assert_eq!(store.head(&at).await.unwrap().size, 4);
        assert_eq!(store.get(&at).await.unwrap().bytes().await.unwrap(), "two!");
    }
    store.put(&path("plain/empty"), PutPayload::new()).await.unwrap();
    assert_eq!(read(store, "plain/empty").await, "");
    let large = data(3_000_000);
    store.put(&path("plain/large"), large.clone().into()).await.unwrap();
    assert!(read(store, "plain/large").await == large);
    for missing in ["plain/missing", "plain"] {
        assert!(matches!(store.get(&path(missing)).await, Err(Error::NotFound { .. })), "{missing}");
        assert!(matches!(store.head(&path(missing)).await, Err(Error::NotFound { .. })), "{missing}");
    }
}

async fn ranges_are_clamped_to_the_object_and_refused_beyond_it(store: &Arc<dyn UploadStore>) {
    let all = data(1000);
    let at = path("ranges/a");
    store.put(&at, all.clone().into()).await.unwrap();
    let cases = [
        (GetRange::Bounded(0..10), 0..10),
        (GetRange::Bounded(990..5000), 990..1000),
        (GetRange::Offset(999), 999..1000),
        (GetRange::Suffix(7), 993..1000),
        (GetRange::Suffix(5000), 0..1000),
    ];
    for (asked, got) in cases {
        let options = GetOptions { range: Some(asked), ..Default::default() };
        let result = store.get_opts(&at, options).await.unwrap();
        assert_eq!((result.range.clone(), result.meta.size), (got.start as u64..got.end as u64, 1000));
        assert_eq!(result.bytes().await.unwrap(), all.slice(got));
    }
    for asked in [GetRange::Bounded(1000..1001), GetRange::Offset(1000), GetRange::Bounded(5..5)] {
        let options = GetOptions { range: Some(asked.clone()), ..Default::default() };
        assert!(store.get_opts(&at, options).await.is_err(), "{asked:?}");
    }
    let ranges = store.get_ranges(&at, &[500..510, 0..1, 505..600]).await.unwrap();
    assert_eq!(ranges, [all.slice(500..510), all.slice(0..1), all.slice(505..600)]);
}

async fn a_create_never_replaces(store: &Arc<dyn UploadStore>) {
    let at = path("create/manifest.json");
    let create = || PutOptions::from(PutMode::Create);
    store.put_opts(&at, "first".into(), create()).await.unwrap();
    let again = store.put_opts(&at, "second".into(), create()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(read(store, "create/manifest.json").await, "first");
    // Of many that race, one wins.
    let racers = (0..8).map(|n| {
        let store = store.clone();
        async move {
            let content = PutPayload::from(format!("racer {n}"));
            store.put_opts(&path("create/race"), content, PutOptions::from(PutMode::Create)).await.is_ok()
        }
    });
    let won = futures::future::join_all(racers).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}

async fn conditions_are_kept(store: &Arc<dyn UploadStore>) {
    let at = path("conditions/a");
    store.put(&at, "x".into()).await.unwrap();
    let e_tag = store.head(&at).await.unwrap().e_tag.unwrap();
    let with = |if_match: Option<&str>, if_none_match: Option<&str>| GetOptions {
        if_match: if_match.map(str::to_owned),
        if_none_match: if_none_match.map(str::to_owned),
        ..Default::default()
    };
    store.get_opts(&at, with(Some(&e_tag), None)).await.unwrap();
    let other = store.get_opts(&at, with(Some("\"other\""), None)).await;
    assert!(matches!(other, Err(Error::Precondition { .. })), "{other:?}");
    let same = store.get_opts(&at, with(None, Some(&e_tag))).await;
    assert!(matches!(same, Err(Error::NotModified { .. })), "{same:?}");
}

async fn listings_show_what_is_below_a_path(store: &Arc<dyn UploadStore>) {
    let all: BTreeSet<String> = ["list/a", "list/b/c", "list/b/d/e", "list/b+", "list/é", "list/z z"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    for name in &all {
        store.put(&path(name), name.clone().into()).await.unwrap();
    }
    // Beside the prefix, not below it.
    store.put(&path("listing"), "x".into()).await.unwrap();
    assert_eq!(names(store, "list").await, all);
    assert_eq!(names(store, "list/b").await, ["list/b/c", "list/b/d/e"].map(str::to_owned).into());
    assert_eq!(names(store, "list/a").await, BTreeSet::new());
    assert_eq!(names(store, "nothing/here").await, BTreeSet::new());

    let offset = path("list/b/c");
    let after: Vec<_> = store.list_with_offset(Some(&path("list")), &offset).try_collect().await.unwrap();
    let after: BTreeSet<String> = after.into_iter().map(|meta| meta.location.to_string()).collect();
    let expected: BTreeSet<String> = all.iter().filter(|name| name.as_str() > "list/b/c").cloned().collect();
    assert_eq!(after, expected);

    let level = store.list_with_delimiter(Some(&path("list"))).await.unwrap();
    let objects: BTreeSet<&str> = level.objects.iter().map(|meta| meta.location.as_ref()).collect();
    assert_eq!(objects, ["list/a", "list/b+", "list/z z", "list/é"].into());
    assert_eq!(level.common_prefixes, [path("list/b")]);
    let sizes: u64 = level.objects.iter().map(|meta| meta.size).sum();
    assert_eq!(sizes, objects.iter().map(|name| name.len() as u64).sum::<u64>());
}

async fn deletes_remove_what_they_are_told(store: &Arc<dyn UploadStore>) {
    // More than one request of OSS holds.
    let many: Vec<Path> = (0..1203).map(|n| path(&format!("delete/{n:04} +&é"))).collect();
    stream::iter(&many)
        .for_each_concurrent(32, |at| async { store.put(at, "x".into()).await.map(drop).unwrap() })
        .await;
    assert_eq!(names(store, "delete").await.len(), many.len());
    let keep = path("delete/kept");
    store.put(&keep, "x".into()).await.unwrap();
    let gone: Vec<Path> =
        store.delete_stream(stream::iter(many.clone()).map(Ok).boxed()).try_collect().await.unwrap();
    assert_eq!(gone, many);
    assert_eq!(names(store, "delete").await, BTreeSet::from([keep.to_string()]));
    store.delete(&keep).await.unwrap();
    assert!(matches!(store.head(&keep).await, Err(Error::NotFound { .. })));
    // Stores differ in whether deleting nothing is an error, but it is never another one.
    assert!(matches!(store.delete(&keep).await, Ok(()) | Err(Error::NotFound { .. })));
}

async fn copies_have_the_content(store: &Arc<dyn UploadStore>) {
    let (from, to) = (path("copy/a b+é"), path("copy/to"));
    store.put(&from, "content".into()).await.unwrap();
    store.copy(&from, &to).await.unwrap();
    assert_eq!(read(store, "copy/to").await, "content");
    let again = store.copy_if_not_exists(&from, &to).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    let missing = store.copy_opts(&path("copy/missing"), &to, CopyOptions::new()).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

async fn multipart_uploads_appear_whole_or_not_at_all(store: &Arc<dyn UploadStore>) {
    let at = path("parts/a b.parquet");
    let all = data(250 << 10);
    let mut upload = store.put_multipart(&at).await.unwrap();
    let first = upload.put_part(all.slice(..100 << 10).into());
    let second = upload.put_part(all.slice(100 << 10..200 << 10).into());
    let third = upload.put_part(all.slice(200 << 10..).into());
    // Finished in another order than begun.
    third.await.unwrap();
    futures::future::try_join(second, first).await.unwrap();
    assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })));
    upload.complete().await.unwrap();
    assert!(read(store, "parts/a b.parquet").await == all);

    let at = path("parts/aborted");
    let mut upload = store.put_multipart(&at).await.unwrap();
    upload.put_part(all.clone().into()).await.unwrap();
    upload.abort().await.unwrap();
    assert!(matches!(store.head(&at).await, Err(Error::NotFound { .. })));
    assert_eq!(names(store, "parts").await, BTreeSet::from(["parts/a b.parquet".to_owned()]));
    match store.list_uploads(Some(&path("parts"))).await {
        Ok(open) => assert!(open.is_empty()),
        // What cannot say which uploads are open says that.
        Err(error) => assert!(matches!(error, Error::NotSupported { .. }), "{error:?}"),
    }

    let mut upload = store.put_multipart(&path("parts/none")).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(read(store, "parts/none").await, "");
}

async fn writers_store_what_is_written(store: &Arc<dyn UploadStore>) {
    for length in [0, 5, 100 << 10, 777_777] {
        let all = data(length);
        let at = path(&format!("writer/{length}"));
        let part_size = PartSizePolicy::starting_at(100 << 10);
        let attributes = Attributes::from_iter([(Attribute::ContentType, "application/octet-stream")]);
        let mut writer = ObjectWriter::new(store.clone(), at.clone(), attributes, part_size, 3);
        for piece in all.chunks(33_333) {
            writer.write(all.slice_ref(piece), ()).await.unwrap();
        }
        let uploaded = writer.finish().await.unwrap();
        assert_eq!((uploaded.bytes, uploaded.crc64), (length as u64, Crc64::of(&all).value()));
        assert!(read(store, at.as_ref()).await == all, "{length}");
    }
}

#[tokio::test]
async fn memory_conforms() {
    conformance(Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn a_local_directory_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let url = directory.path().join("new/vault");
    let vault = objectstore::open(url.to_str().unwrap(), &StoreOptions::default()).unwrap();
    assert!(vault.url.starts_with("file:///"));
    conformance(vault.store).await;
}

#[tokio::test]
async fn a_killed_local_upload_is_found_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let vault = objectstore::open(directory.path().to_str().unwrap(), &StoreOptions::default()).unwrap();
    let mut upload = vault.store.put_multipart(&path("a/b")).await.unwrap();
    upload.put_part("half".into()).await.unwrap();
    // As a kill does: nothing is cleaned up.
    std::mem::forget(upload);
    let open = vault.store.list_uploads(None).await.unwrap();
    assert_eq!(open.iter().map(|upload| upload.path.as_ref()).collect::<Vec<_>>(), ["a/b"]);
    assert_eq!(names(&vault.store, "a").await, BTreeSet::new());
    vault.store.abort_upload(&open[0]).await.unwrap();
    assert!(vault.store.list_uploads(None).await.unwrap().is_empty());
}

#[cfg(feature = "sandbox")]
mod oss {
    use std::time::Duration;

    use otsvault::credentials::Credentials;
    use otsvault::objectstore::{Addressing, ServerSideEncryption, SignatureVersion, StorageClass};
    use otsvault::sandbox::faults::{Action, Rule, Service, When};
    use otsvault::sandbox::oss::{OssServer, OssServerOptions};

    use super::*;

    fn key() -> Credentials {
        Credentials::new("testak", "testsk", Some("tok/en+1=".to_owned()))
    }

    async fn start(options: OssServerOptions) -> OssServer {
        let (access_keys, buckets) = (vec![key()], vec!["backups".to_owned()]);
        OssServer::start(OssServerOptions { access_keys, buckets, require_v4: true, ..options })
            .await
            .unwrap()
    }

    fn open(server: &OssServer, options: StoreOptions) -> Arc<dyn UploadStore> {
        let options = StoreOptions {
            endpoint: Some(server.endpoint()),
            region: Some("cn-hangzhou".into()),
            retry_budget: Duration::from_secs(60),
            ..options
        };
        objectstore::open("oss://backups/", &options.with_credentials(key())).unwrap().store
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_oss_client_conforms() {
        let server = start(OssServerOptions::default()).await;
        conformance(open(&server, StoreOptions::default())).await;
        assert!(server.open_uploads().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_oss_client_conforms_when_it_signs_with_v1() {
        let (access_keys, buckets) = (vec![key()], vec!["backups".to_owned()]);
        let options = OssServerOptions { access_keys, buckets, ..Default::default() };
        let server = OssServer::start(options).await.unwrap();
        let signature = SignatureVersion::V1;
        conformance(open(&server, StoreOptions { signature, ..Default::default() })).await;
        let strict = start(OssServerOptions::default()).await;
        let refused = open(&strict, StoreOptions { signature, ..Default::default() }).get(&path("a")).await;
        assert_eq!(objectstore::error_of(refused.unwrap_err()).exit_code(), 8);
    }

    #[cfg(feature = "s3")]
    #[tokio::test(flavor = "multi_thread")]
    async fn the_s3_client_conforms_on_the_s3_face() {
        let server = start(OssServerOptions::default()).await;
        let s3 = |options: StoreOptions| {
            let region = Some("cn-hangzhou".into());
            let options = StoreOptions { endpoint: Some(server.endpoint()), region, ..options };
            objectstore::open("s3://backups/", &options.with_credentials(key())).unwrap().store
        };
        conformance(s3(StoreOptions::default())).await;
        assert!(server.open_uploads().is_empty());

        let cold = s3(StoreOptions {
            storage_class: Some(StorageClass::Archive),
            encryption: Some(ServerSideEncryption::Aes256),
            ..Default::default()
        });
        cold.put(&path("classes/data"), "x".into()).await.unwrap();
        let mut options = PutOptions::from(PutMode::Create);
        options.extensions.insert(objectstore::AlwaysReadable);
        cold.put_opts(&path("classes/document"), "x".into(), options).await.unwrap();
        let classes: Vec<_> =
            server.objects("backups", "classes/").into_iter().map(|object| object.storage_class).collect();
        assert_eq!(classes, ["Archive", "Standard"]);
        let error = objectstore::error_of(cold.list_uploads(None).await.unwrap_err());
        assert_eq!(error.kind(), otsvault::Kind::Unsupported);
        assert!(error.report().contains("lifecycle"), "{}", error.report());
    }

    #[cfg(feature = "s3")]
    #[tokio::test]
    async fn two_tls_libraries_in_one_program_do_not_meet() {
        // A server that speaks no TLS: both clients must end in an error, and no provider may be missing.
        let server = start(OssServerOptions::default()).await;
        let endpoint = Some(server.endpoint().replace("http://", "https://"));
        for url in ["oss://backups", "s3://backups"] {
            let (region, retry_budget) = (Some("cn-hangzhou".into()), Duration::ZERO);
            let options =
                StoreOptions { endpoint: endpoint.clone(), region, retry_budget, ..Default::default() };
            let store = objectstore::open(url, &options.with_credentials(key())).unwrap().store;
            assert!(store.get(&path("a")).await.is_err(), "{url}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_must_be_readable_at_any_time_is_never_archived() {
        let server = start(OssServerOptions::default()).await;
        let archive = StoreOptions { storage_class: Some(StorageClass::Archive), ..Default::default() };
        let store = open(&server, archive);
        store.put(&path("data"), "x".into()).await.unwrap();
        let mut options = PutOptions::from(PutMode::Create);
        options.extensions.insert(objectstore::AlwaysReadable);
        store.put_opts(&path("document"), "x".into(), options).await.unwrap();
        let classes: Vec<_> =
            server.objects("backups", "").into_iter().map(|object| object.storage_class).collect();
        assert_eq!(classes, ["Archive", "Standard"]);
        let error = objectstore::error_of(store.get(&path("data")).await.unwrap_err());
        assert_eq!(error.service_code(), Some("InvalidObjectState"));
        assert_eq!(read(&store, "document").await, "x");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_bucket_can_be_in_the_host_name_as_the_service_wants_it() {
        let options = OssServerOptions { refuse_path_style: true, ..Default::default() };
        let server = start(options).await;
        let port = server.endpoint().rsplit(':').next().unwrap().to_owned();
        let with = |addressing: Addressing| StoreOptions {
            endpoint: Some(format!("http://localhost:{port}")),
            region: Some("cn-hangzhou".into()),
            addressing,
            ..Default::default()
        };
        let options = with(Addressing::VirtualHost).with_credentials(key());
        let vault = objectstore::open("oss://backups/a/b", &options).unwrap();
        vault.store.put(&path("a/b/c d"), "x".into()).await.unwrap();
        assert_eq!(read(&vault.store, "a/b/c d").await, "x");
        assert_eq!(names(&vault.store, vault.prefix.as_ref()).await, BTreeSet::from(["a/b/c d".to_owned()]));

        let options = with(Addressing::Path).with_credentials(key());
        let store = objectstore::open("oss://backups", &options).unwrap().store;
        let error = objectstore::error_of(store.put(&path("a"), "x".into()).await.unwrap_err());
        assert_eq!(error.service_code(), Some("SecondLevelDomainForbidden"));
        assert!(error.report().contains("virtual-host"), "{}", error.report());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_oss_client_conforms_while_everything_fails_now_and_then() {
        let options = OssServerOptions::default();
        let mut seed = 0;
        let mut now_and_then = |action: Action, operation: Option<&str>| {
            seed += 1;
            let rule = match operation {
                Some(operation) => Rule::new(action).on(Service::Oss, operation),
                None => Rule::new(action),
            };
            options.faults.add(rule.when(When::Rate { probability: 0.04, seed }));
        };
        now_and_then(Action::error(503, "ServiceUnavailable", "busy"), None);
        // Those after which the outcome can be told: a second Initiate would leave an upload open, a second
        // create-only copy cannot know who made the first.
        for operation in ["PutObject", "GetObject", "UploadPart", "CompleteMultipartUpload", "ListObjectsV2"]
        {
            now_and_then(Action::error(500, "InternalError", "oops"), Some(operation));
            now_and_then(Action::DropBefore, Some(operation));
            now_and_then(Action::DropAfter, Some(operation));
            now_and_then(Action::TruncateBody, Some(operation));
        }
        let server = start(options).await;
        conformance(open(&server, StoreOptions::default())).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn new_objects_get_the_class_and_encryption_that_were_asked_for() {
        let server = start(OssServerOptions::default()).await;
        let store = open(
            &server,
            StoreOptions {
                storage_class: Some(StorageClass::InfrequentAccess),
                encryption: Some(ServerSideEncryption::Aes256),
                ..Default::default()
            },
        );
        store.put(&path("default"), "x".into()).await.unwrap();
        let own = Attributes::from_iter([
            (Attribute::StorageClass, "Standard"),
            (Attribute::ContentType, "application/json"),
            (Attribute::Metadata("run".into()), "7"),
        ]);
        store.put_opts(&path("own"), "x".into(), own.clone().into()).await.unwrap();
        assert_eq!(store.get(&path("own")).await.unwrap().attributes, own);
        let mut writer = ObjectWriter::new(
            store.clone(),
            path("parts"),
            Attributes::new(),
            PartSizePolicy::starting_at(100 << 10),
            2,
        );
        writer.write(data(150 << 10), ()).await.unwrap();
        writer.finish().await.unwrap();
        let classes: Vec<(String, String)> = server
            .objects("backups", "")
            .into_iter()
            .map(|object| (object.key, object.storage_class))
            .collect();
        let expected = [("default", "IA"), ("own", "Standard"), ("parts", "IA")];
        assert_eq!(classes, expected.map(|(key, class)| (key.to_owned(), class.to_owned())));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn uploads_that_a_killed_run_left_open_are_listed_in_pages_and_aborted() {
        let server = start(OssServerOptions::default()).await;
        let store = open(&server, StoreOptions::default());
        let names: Vec<Path> = (0..1100).map(|n| path(&format!("killed/{n:04} +é"))).collect();
        stream::iter(&names)
            .for_each_concurrent(16, |name| async {
                // Dropped: OSS keeps it.
                drop(store.put_multipart(name).await.unwrap());
            })
            .await;
        let other = store.put_multipart(&path("other")).await.unwrap();
        let open = store.list_uploads(Some(&path("killed"))).await.unwrap();
        let listed: BTreeSet<&str> = open.iter().map(|upload| upload.path.as_ref()).collect();
        assert_eq!(listed, names.iter().map(AsRef::as_ref).collect());
        stream::iter(&open)
            .for_each_concurrent(16, |upload| async { store.abort_upload(upload).await.unwrap() })
            .await;
        assert_eq!(server.open_uploads().len(), 1);
        assert_eq!(store.list_uploads(None).await.unwrap().len(), 1);
        let all: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert!(all.is_empty());
        drop(other);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_read_through_a_damaging_network_is_never_taken_for_good() {
        let options = OssServerOptions::default();
        options.faults.add(
            Rule::new(Action::CorruptBody { offset: 500_000, xor: 1 }).on(Service::Oss, "GetObject").nth(1),
        );
        let server = start(options).await;
        let store = open(&server, StoreOptions::default());
        store.put(&path("a"), data(1_000_000).into()).await.unwrap();
        let result = store.get(&path("a")).await.unwrap().bytes().await;
        assert_eq!(objectstore::error_of(result.unwrap_err()).kind(), otsvault::Kind::Corrupt);
        assert!(read(&store, "a").await == data(1_000_000));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_clock_that_is_an_hour_off_is_corrected() {
        let server = start(OssServerOptions::default()).await;
        server.set_clock_offset(3600);
        let store = open(&server, StoreOptions::default());
        store.put(&path("a"), "x".into()).await.unwrap();
        assert_eq!(read(&store, "a").await, "x");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_missing_bucket_and_a_wrong_key_say_what_to_do() {
        let server = start(OssServerOptions::default()).await;
        let options = StoreOptions {
            endpoint: Some(server.endpoint()),
            region: Some("cn-hangzhou".into()),
            ..Default::default()
        };
        let nowhere = options.clone().with_credentials(key());
        let store = objectstore::open("oss://nowhere", &nowhere).unwrap().store;
        let error = objectstore::error_of(store.get(&path("a")).await.unwrap_err());
        assert_eq!((error.exit_code(), error.service_code()), (7, Some("NoSuchBucket")));
        let listing: Result<Vec<_>, _> = store.list(None).try_collect().await;
        assert_eq!(objectstore::error_of(listing.unwrap_err()).service_code(), Some("NoSuchBucket"));

        let wrong = options.with_credentials(Credentials::new("testak", "wrong", None));
        let store = objectstore::open("oss://backups", &wrong).unwrap().store;
        let error = store.put(&path("a"), "x".into()).await.unwrap_err();
        let error = objectstore::error_of(error);
        assert_eq!(error.exit_code(), 8, "{error:?}");
        assert!(error.service_request_id().is_some() && !error.hints().is_empty(), "{error:?}");
    }
}
