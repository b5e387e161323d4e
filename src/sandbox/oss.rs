//! The local OSS: strict where the service is strict, and stricter where clients tend to be careless.
//!
//! Real SDKs (oss2, alibabacloud-oss-v2, ali-oss; boto3, object_store and opendal for the S3-compatible face) work
//! against it unmodified, in path style or with a bucket in `Host`. It checks V4, V1 and S3 signatures in headers and URLs
//! with its own verifier, clocks, tokens, digests, names, part rules, preconditions and retention. Bytes live on disk,
//! everything else in memory; both end with the server.
//!
//! Not here: symlinks, object ACLs, lifecycle and other bucket settings; answered with 501 `NotImplemented`.

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use self::authentication::Keys;
use self::bucket::Buckets;
use self::call::Core;
use self::front::Front;
use self::storage::Storage;
use super::counters::Counters;
use super::faults::Faults;
use super::http::Server;
use crate::credentials::Credentials;
use crate::{Error, Kind, Result};

mod address;
mod append;
mod attributes;
mod authentication;
mod bucket;
mod call;
mod conditions;
mod copy;
mod delete;
mod digests;
mod error;
mod front;
mod listing;
mod multipart;
mod object;
mod operation;
mod query;
mod range;
mod restore;
mod s3;
mod signature_s3;
mod signature_v1;
mod signature_v4;
mod storage;
mod tagging;
mod time;
mod versioning;
mod versions;
mod worm;
mod xml;

/// How an [`OssServer`] behaves. The default is the service's own behaviour, except that path style and V1 are allowed.
#[derive(Debug, Clone)]
pub struct OssServerOptions {
    /// The port on 127.0.0.1; 0, the default, takes a free one.
    pub port: u16,
    /// The region that V4 signatures must name. Default `cn-hangzhou`.
    pub region: String,
    /// The keys that may sign. A key with a token is refused without it. Default: none, so nobody gets in.
    pub access_keys: Vec<Credentials>,
    /// Buckets that exist from the start.
    pub buckets: Vec<String>,
    /// Where bytes are kept while the server runs. Default: a new directory below the system's temporary one.
    pub data_dir: Option<PathBuf>,
    /// Refuse V1 signatures, as buckets made since 2025-09-01 do.
    pub require_v4: bool,
    /// Refuse buckets in the path with `SecondLevelDomainForbidden`, as the service does by default.
    pub refuse_path_style: bool,
    /// Host names below which a bucket is a subdomain. Default `localhost`; `*.aliyuncs.com` always works.
    pub virtual_host_bases: Vec<String>,
    /// The smallest part but the last, checked at Complete, in bytes. Default 102,400, the service's limit.
    pub min_part_bytes: u64,
    /// How long a RestoreObject takes before the object can be read. Default zero; at the service a minute to many hours.
    pub restore_delay: Duration,
    /// The faults to inject.
    pub faults: Faults,
    /// The counters to count in.
    pub counters: Counters,
}

impl Default for OssServerOptions {
    fn default() -> OssServerOptions {
        OssServerOptions {
            port: 0,
            region: "cn-hangzhou".to_owned(),
            access_keys: Vec::new(),
            buckets: Vec::new(),
            data_dir: None,
            require_v4: false,
            refuse_path_style: false,
            virtual_host_bases: vec!["localhost".to_owned()],
            min_part_bytes: 100 << 10,
            restore_delay: Duration::ZERO,
            faults: Faults::new(),
            counters: Counters::new(),
        }
    }
}

/// A running OSS. Dropping it closes its connections and deletes its temporary files.
pub struct OssServer {
    server: Server,
    core: Arc<Core>,
}

/// An object, for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The key.
    pub key: String,
    /// The length in bytes.
    pub length: u64,
    /// The ETag without quotes.
    pub etag: String,
    /// CRC-64/XZ of the bytes.
    pub crc64: u64,
    /// The storage class.
    pub storage_class: String,
}

/// An upload that is neither completed nor aborted, for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload id.
    pub upload_id: String,
    /// How many parts it has.
    pub part_count: usize,
}

impl OssServer {
    /// Starts serving. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Kind::Io`] when the port is taken or the directory cannot be made, [`Kind::Usage`] for a bucket name that cannot
    /// exist.
    pub async fn start(options: OssServerOptions) -> Result<OssServer> {
        let buckets = Buckets::default();
        for bucket in &options.buckets {
            if !address::is_bucket_name(bucket) {
                return Err(Error::new(Kind::Usage, "make a bucket")
                    .on(format!("named `{bucket}`"))
                    .because("a bucket name has 3 to 63 of a-z, 0-9 and -, with no hyphen at the ends"));
            }
            buckets.create(bucket, Timestamp::now());
        }
        let core = Arc::new(Core {
            region: options.region,
            virtual_host_bases: options.virtual_host_bases,
            require_v4: options.require_v4,
            refuse_path_style: options.refuse_path_style,
            min_part_bytes: options.min_part_bytes,
            clock_offset_seconds: AtomicI64::new(0),
            restore_delay_ms: AtomicU64::new(milliseconds(options.restore_delay)),
            keys: Keys::new(options.access_keys),
            buckets,
            storage: Storage::open(options.data_dir)?,
            faults: options.faults,
            counters: options.counters,
        });
        let server = Server::start(options.port, Arc::new(Front(Arc::clone(&core)))).await?;
        Ok(OssServer { server, core })
    }

    /// The endpoint for clients, `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Lets requests in flight finish for up to 5 seconds, then closes everything.
    pub async fn stop(self) {
        self.server.stop().await;
    }

    /// Knows only these keys from now on, as after a rotation or a refresh of temporary ones.
    pub fn replace_access_keys(&self, keys: Vec<Credentials>) {
        self.core.keys.replace(keys);
    }

    /// Answers `SecurityTokenExpired` to this token from now on.
    pub fn expire_token(&self, token: &str) {
        self.core.keys.expire(token);
    }

    /// Sets the server's clock this far ahead of the real one; a client further than 15 minutes away is refused.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.core.clock_offset_seconds.store(seconds, Ordering::Relaxed);
    }

    /// Lets restores that are asked for from now on take this long.
    pub fn set_restore_delay(&self, delay: Duration) {
        self.core.restore_delay_ms.store(milliseconds(delay), Ordering::Relaxed);
    }

    /// What [`OssServer::set_clock_offset`] does, for whoever outlives the borrow.
    pub fn skew(&self) -> impl Fn(i64) + Send + Sync + 'static {
        let core = Arc::clone(&self.core);
        move |seconds| core.clock_offset_seconds.store(seconds, Ordering::Relaxed)
    }

    /// The uploads that are still open, by bucket and key.
    pub fn open_uploads(&self) -> Vec<OpenUpload> {
        let mut open = Vec::new();
        for name in self.core.buckets.names() {
            // A bucket deleted meanwhile has no open uploads.
            let _ = self.core.buckets.with(&name, |bucket| {
                open.extend(bucket.uploads.iter().map(|((key, upload_id), upload)| OpenUpload {
                    bucket: name.clone(),
                    key: key.clone(),
                    upload_id: upload_id.clone(),
                    part_count: upload.parts.len(),
                }));
                Ok(())
            });
        }
        open
    }

    /// The objects whose key starts with `prefix`, in byte order; none when there is no such bucket.
    pub fn objects(&self, bucket: &str, prefix: &str) -> Vec<StoredObject> {
        let listed = self.core.buckets.with(bucket, |bucket| {
            let from = bucket.objects.from(Bound::Included(prefix));
            let wanted = from.take_while(|(key, _)| key.starts_with(prefix));
            Ok(wanted
                .map(|(key, object)| StoredObject {
                    key: key.to_owned(),
                    length: object.content.length,
                    etag: object.etag.clone(),
                    crc64: object.content.crc64,
                    storage_class: object.attributes.storage_class.clone(),
                })
                .collect())
        });
        listed.unwrap_or_default()
    }

    /// The bytes of an object, read on this thread; `None` when it is not there or the disk fails.
    pub fn object_bytes(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let found = self.core.buckets.with(bucket, |bucket| Ok(bucket.objects.current(key)?.object.clone()));
        found.ok()??.content.read_all().ok()
    }
}

/// The operations by name.
pub(super) fn operation_names() -> &'static [&'static str] {
    operation::NAMES
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
