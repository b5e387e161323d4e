//! OSS through other people's Rust: opendal's OSS service (V1 signatures), and opendal's and object_store's S3 on the
//! S3-compatible face. The argument names the case.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
};
use opendal::{ErrorKind, Operator, services};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Above S3's smallest part, of which opendal and object_store never send fewer bytes.
const LARGE: usize = (11 << 20) + 17;
const PART: usize = 5 << 20;

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

struct Place {
    endpoint: String,
    bucket: String,
    region: String,
    id: String,
    secret: String,
}

impl Place {
    fn new() -> Place {
        let text = std::env::var("SANDBOX").expect("SANDBOX describes the sandbox");
        let at: serde_json::Value = serde_json::from_str(&text).expect("in JSON");
        let field = |name: &str| at[name].as_str().unwrap_or_default().to_owned();
        Place {
            endpoint: field("oss_endpoint"),
            bucket: field("bucket"),
            region: field("region"),
            id: field("access_key_id"),
            secret: field("access_key_secret"),
        }
    }

    fn opendal_oss(&self) -> opendal::Result<Operator> {
        Operator::new(
            services::Oss::default()
                .endpoint(&self.endpoint)
                .bucket(&self.bucket)
                .addressing_style("path")
                .access_key_id(&self.id)
                .access_key_secret(&self.secret),
        )
    }

    fn opendal_s3(&self) -> opendal::Result<Operator> {
        Operator::new(
            services::S3::default()
                .endpoint(&self.endpoint)
                .bucket(&self.bucket)
                .region(&self.region)
                .access_key_id(&self.id)
                .secret_access_key(&self.secret)
                .disable_config_load(),
        )
    }

    fn object_store(&self) -> object_store::Result<impl ObjectStore> {
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.id)
            .with_secret_access_key(&self.secret)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()
    }
}

async fn opendal(store: Operator, prefix: &str) -> Outcome {
    let key = format!("{prefix}/späce & plus+%€");
    store.write(&key, "hello").await?;
    assert_eq!(store.read(&key).await?.to_vec(), b"hello");
    assert_eq!(store.read_with(&key).range(1..3).await?.to_vec(), b"el");
    let found = store.stat(&key).await?;
    assert_eq!((found.content_length(), found.is_file()), (5, true));
    assert_eq!(store.stat(&format!("{prefix}/nothing")).await.unwrap_err().kind(), ErrorKind::NotFound);

    let once = format!("{prefix}/once");
    store.write_with(&once, "first").if_not_exists(true).await?;
    let again = store.write_with(&once, "second").if_not_exists(true).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::ConditionNotMatch);
    let with_etag = store.stat(&once).await?;
    let etag = with_etag.etag().unwrap_or_default();
    assert_eq!(store.read_with(&once).if_match(etag).await?.to_vec(), b"first");
    let other = store.read_with(&once).if_match("\"other\"").await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::ConditionNotMatch);

    let large = format!("{prefix}/large");
    let mut writer = store.writer_with(&large).chunk(PART).concurrent(2).content_type("text/x").await?;
    for piece in body(LARGE).chunks(1 << 20) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    writer.close().await?;
    assert!(store.read(&large).await?.to_vec() == body(LARGE));
    assert_eq!(store.stat(&large).await?.content_type(), Some("text/x"));
    let mut aborted = store.writer_with(&format!("{prefix}/aborted")).chunk(PART).await?;
    aborted.write(body(LARGE)).await?;
    aborted.abort().await?;
    assert!(!store.exists(&format!("{prefix}/aborted")).await?);

    store.copy(&large, &format!("{prefix}/copy")).await?;
    assert_eq!(store.stat(&format!("{prefix}/copy")).await?.content_length(), LARGE as u64);
    for number in 0..120 {
        store.write(&format!("{prefix}/many/{number:03}"), "x").await?;
    }
    let listed = store.list_with(&format!("{prefix}/")).recursive(true).limit(50).await?;
    let files = listed.iter().filter(|entry| entry.metadata().is_file()).count();
    assert_eq!(files, 124, "{:?}", listed.iter().map(opendal::Entry::path).collect::<Vec<_>>());
    let level: Vec<String> =
        store.list(&format!("{prefix}/")).await?.iter().map(|entry| entry.path().to_owned()).collect();
    assert!(level.contains(&format!("{prefix}/many/")) && level.len() < 10, "{level:?}");
    store.delete_iter((0..120).map(|number| format!("{prefix}/many/{number:03}"))).await?;
    store.delete(&format!("{prefix}/copy")).await?;
    store.delete(&format!("{prefix}/copy")).await?;
    let left = store.list_with(&format!("{prefix}/")).recursive(true).await?;
    assert_eq!(left.iter().filter(|entry| entry.metadata().is_file()).count(), 3);
    let signed = store.presign_read(&once, Duration::from_secs(60)).await?;
    assert_eq!(fetch(&signed.uri().to_string())?, (200, "first".to_owned()));
    let changed = signed.uri().to_string().replace("/once", "/other");
    assert_eq!(fetch(&changed)?.0, 403);
    Ok(())
}

/// Status and body of a GET, over a plain socket: nothing may add headers.
fn fetch(url: &str) -> Result<(u16, String), Box<dyn std::error::Error>> {
    use std::io::{Read, Write};
    let (host, path) = url.trim_start_matches("http://").split_once('/').ok_or("a URL has a path")?;
    let mut stream = std::net::TcpStream::connect(host)?;
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status =
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("an answer has a status")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

async fn object_store_s3(store: impl ObjectStore, prefix: &str) -> Outcome {
    let path = |name: &str| Path::parse(format!("{prefix}/{name}")).expect("a path");
    let key = path("späce & plus+%€");
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "text/x"),
        (Attribute::Metadata("origin".into()), "EWR"),
        (Attribute::StorageClass, "STANDARD_IA"),
    ]);
    store
        .put_opts(&key, "hello".into(), PutOptions { attributes: attributes.clone(), ..Default::default() })
        .await?;
    let got = store.get(&key).await?;
    assert_eq!(got.attributes.get(&Attribute::Metadata("origin".into())).map(AsRef::as_ref), Some("EWR"));
    assert_eq!(got.bytes().await?, "hello");
    assert_eq!(store.get_range(&key, 1..3).await?, "el");
    assert_eq!(store.get_ranges(&key, &[0..1, 4..5]).await?, ["h", "o"]);
    let suffix = GetOptions { range: Some(GetRange::Suffix(2)), ..Default::default() };
    assert_eq!(store.get_opts(&key, suffix).await?.bytes().await?, "lo");
    assert_eq!(store.head(&key).await?.size, 5);
    assert!(matches!(store.head(&path("nothing")).await, Err(object_store::Error::NotFound { .. })));

    let create = || PutOptions { mode: PutMode::Create, ..Default::default() };
    let first = store.put_opts(&path("once"), "first".into(), create()).await?;
    let again = store.put_opts(&path("once"), "second".into(), create()).await;
    assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "{again:?}");
    let same = GetOptions { if_none_match: first.e_tag.clone(), ..Default::default() };
    let unchanged = store.get_opts(&path("once"), same).await;
    assert!(matches!(unchanged, Err(object_store::Error::NotModified { .. })));

    let mut upload = store.put_multipart(&path("large")).await?;
    let all = Bytes::from(body(LARGE));
    let parts: Vec<_> = (0..LARGE)
        .step_by(PART)
        .map(|start| upload.put_part(all.slice(start..LARGE.min(start + PART)).into()))
        .collect();
    futures::future::try_join_all(parts).await?;
    upload.complete().await?;
    assert!(store.get(&path("large")).await?.bytes().await? == all);
    let mut aborted = store.put_multipart(&path("aborted")).await?;
    aborted.put_part(all.slice(..PART).into()).await?;
    aborted.abort().await?;

    store.copy(&path("large"), &path("copy")).await?;
    assert_eq!(store.head(&path("copy")).await?.size, LARGE as u64);
    let exists = store.copy_if_not_exists(&path("large"), &path("copy")).await;
    assert!(exists.is_err(), "S3's copy has no condition");
    for number in 0..120 {
        store.put(&path(&format!("many/{number:03}")), "x".into()).await?;
    }
    let root = Path::from(prefix);
    let listed: Vec<_> = store.list(Some(&root)).try_collect().await?;
    assert_eq!(listed.len(), 124);
    let level = store.list_with_delimiter(Some(&root)).await?;
    assert_eq!((level.objects.len(), level.common_prefixes), (4, vec![path("many")]));
    let after: Vec<_> = store.list_with_offset(Some(&root), &path("many/117")).try_collect().await?;
    assert_eq!(after.iter().filter(|meta| meta.location.as_ref().contains("/many/")).count(), 2);
    let doomed = (0..120).map(|number| Ok(path(&format!("many/{number:03}"))));
    let gone: Vec<Path> = store
        .delete_stream(futures::StreamExt::boxed(futures::stream::iter(doomed.collect::<Vec<_>>())))
        .try_collect()
        .await?;
    assert_eq!(gone.len(), 120);
    Ok(())
}

/// Every object is `cross/{writer}/{name}/{SHA-256 of its bytes}`: reads what others wrote, writes for them.
async fn cross(place: &Place) -> Outcome {
    let sum = |bytes: &[u8]| -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let bodies = [("plain", b"plain".to_vec()), ("späce & plus+%€", b"odd".to_vec()), ("large", body(LARGE))];
    let key = |writer: &str, name: &str, bytes: &[u8]| format!("cross/{writer}/{name}/{}", sum(bytes));
    for (writer, store) in [("opendal-oss", place.opendal_oss()?), ("opendal-s3", place.opendal_s3()?)] {
        let listed = store.list_with("cross/").recursive(true).limit(7).await?;
        let there = listed.iter().filter(|entry| entry.metadata().is_file());
        let mut read = 0;
        for entry in there {
            let bytes = store.read(entry.path()).await?.to_vec();
            assert!(entry.path().ends_with(&sum(&bytes)), "{writer} {}", entry.path());
            read += 1;
        }
        println!("{writer} read {read}");
    }
    let store = place.object_store()?;
    let there: Vec<_> = store.list(Some(&Path::from("cross"))).try_collect().await?;
    for meta in &there {
        let bytes = store.get(&meta.location).await?.bytes().await?;
        assert!(meta.location.as_ref().ends_with(&sum(&bytes)), "object_store {}", meta.location);
    }
    println!("object_store read {}", there.len());
    for (writer, store) in [("opendal-oss", place.opendal_oss()?), ("opendal-s3", place.opendal_s3()?)] {
        for (name, bytes) in &bodies {
            store.write_with(&key(writer, name, bytes), bytes.clone()).chunk(PART).await?;
        }
    }
    for (name, bytes) in &bodies {
        let at = Path::parse(key("object_store", name, bytes))?;
        let mut upload = store.put_multipart(&at).await?;
        for piece in bytes.chunks(PART) {
            upload.put_part(Bytes::copy_from_slice(piece).into()).await?;
        }
        upload.complete().await?;
    }
    Ok(())
}

async fn wrong_keys_are_refused(place: Place) -> Outcome {
    let wrong = Place { secret: "wrong".to_owned(), ..place };
    let refused = [wrong.opendal_oss()?, wrong.opendal_s3()?];
    for store in refused {
        assert_eq!(store.stat("k").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(store.write("k", "x").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    let refused = wrong.object_store()?.put(&Path::from("k"), "x".into()).await;
    let known = matches!(
        refused,
        Err(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. })
    );
    assert!(known, "{refused:?}");
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    rustls::crypto::ring::default_provider().install_default().expect("the first one");
    opendal_http_transport_reqwest::install_default();
    let place = Place::new();
    match std::env::args().nth(1).as_deref() {
        Some("cross") => return cross(&place).await,
        Some("opendal_oss") => opendal(place.opendal_oss()?, "opendal").await?,
        Some("opendal_s3") => opendal(place.opendal_s3()?, "opendal").await?,
        Some("object_store") => object_store_s3(place.object_store()?, "object_store").await?,
        other => return Err(format!("no such case: {other:?}").into()),
    }
    wrong_keys_are_refused(place).await
}
