//! Operations on one object: put, get, head; and how an object is committed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, StatusCode, header};

use super::bucket::{Bucket, Object};
use super::call::{Call, Core, Outcome, etag_of, quoted};
use super::conditions::{self, Verdict};
use super::error::OssError;
use super::range::{self, Wanted};
use super::time::http_date;
use super::versions::{Version, Versioning};
use crate::sandbox::http::{Body, Reply};

/// The query parameters of a GET that replace headers of its answer.
const OVERRIDES: [&str; 6] = [
    "content-type",
    "content-language",
    "expires",
    "cache-control",
    "content-disposition",
    "content-encoding",
];

impl Core {
    pub(super) async fn put_object(&self, call: &mut Call<'_>) -> Outcome {
        call.check_framing()?;
        let attributes = self.attributes(call)?;
        let forbids_overwrite = call.forbids_overwrite();
        self.buckets.with(&call.bucket, |bucket| bucket.check_overwrite(call, forbids_overwrite))?;
        let content = call.receive(&self.storage).await?;
        let mut reply = Reply::new(StatusCode::OK)
            .with("etag", quoted(&etag_of(&content)))
            .with("x-oss-hash-crc64ecma", content.crc64.to_string())
            .with("content-md5", STANDARD.encode(content.md5));
        attributes.show_encryption(&mut reply.headers);
        let object = Object { attributes, ..Object::normal(content, call.now) };
        let version_id =
            self.buckets.with(&call.bucket, |bucket| bucket.commit(call, object, forbids_overwrite))?;
        show_version(&mut reply, version_id);
        Ok(reply)
    }

    pub(super) fn get_object(&self, call: &Call<'_>) -> Outcome {
        let found = self.existing(call)?;
        let object = &*found.object;
        if verdict(call, object)? == Verdict::NotModified {
            return Ok(not_modified(object));
        }
        object.check_readable(call)?;
        let size = object.content.length;
        let wanted = match call.header("range") {
            Some(value) => {
                let standard = call.header("x-oss-range-behavior") == Some("standard");
                range::wanted(value, size, standard)?
            }
            None => Wanted::Whole,
        };
        let (status, start, length) = match wanted {
            Wanted::Whole => (StatusCode::OK, 0, size),
            Wanted::Slice { start, length } => (StatusCode::PARTIAL_CONTENT, start, length),
        };
        let mut reply = found.describe(call, Reply::new(status));
        if status == StatusCode::PARTIAL_CONTENT {
            reply = reply.with("content-range", format!("bytes {start}-{}/{size}", start + length - 1));
        }
        for name in OVERRIDES {
            if let Some(value) = call.query.get(&format!("response-{name}")) {
                reply = reply.with(name, value);
            }
        }
        Ok(reply.with_body(Body::stream(length, object.content.read(start, length))))
    }

    pub(super) fn head_object(&self, call: &Call<'_>) -> Outcome {
        let found = self.existing(call)?;
        let object = &*found.object;
        if verdict(call, object)? == Verdict::NotModified {
            return Ok(not_modified(object));
        }
        let reply = found.describe(call, Reply::new(StatusCode::OK));
        Ok(reply.with("content-length", object.content.length.to_string()))
    }

    pub(super) fn get_object_meta(&self, call: &Call<'_>) -> Outcome {
        let object = self.object(call)?;
        let mut reply = Reply::new(StatusCode::OK)
            .with("etag", quoted(&object.etag))
            .with("last-modified", http_date(object.modified));
        if call.request.method == Method::HEAD {
            reply = reply.with("content-length", object.content.length.to_string());
        }
        Ok(reply)
    }

    /// The object that a request is about.
    ///
    /// # Errors
    /// 404 `NoSuchBucket`, `NoSuchKey`, `NoSuchVersion`; 405 for a delete marker.
    pub(super) fn object(&self, call: &Call<'_>) -> Result<Arc<Object>, OssError> {
        self.existing(call).map(|found| found.object)
    }

    fn existing(&self, call: &Call<'_>) -> Result<Existing, OssError> {
        self.buckets.with(&call.bucket, |bucket| {
            let version = bucket.version(call)?;
            let object = version.object.clone().ok_or_else(|| OssError::no_such_key(&call.key))?;
            let id = (bucket.versioning != Versioning::Off).then(|| version.id.clone());
            Ok(Existing { object, id })
        })
    }
}

/// An object and the id of its version, where there are ids.
struct Existing {
    object: Arc<Object>,
    id: Option<String>,
}

impl Existing {
    fn describe(&self, call: &Call<'_>, reply: Reply) -> Reply {
        let mut reply = describe(&self.object, reply);
        if let Some(restore) = self.object.restore.and_then(|restore| restore.describe(call.now)) {
            reply = reply.with("x-oss-restore", restore);
        }
        show_version(&mut reply, self.id.clone());
        reply
    }
}

fn verdict(call: &Call<'_>, object: &Object) -> Result<Verdict, OssError> {
    conditions::check(&call.request.headers, "", &object.etag, object.modified)
}

/// Adds the id of the version that was read or written, if the bucket has ids.
pub(super) fn show_version(reply: &mut Reply, id: Option<String>) {
    if let Some(id) = id.and_then(|id| HeaderValue::try_from(id).ok()) {
        reply.headers.insert("x-oss-version-id", id);
    }
}

impl Bucket {
    /// Refuses when the object exists and must not be replaced: the request forbids it (which a bucket that ever had
    /// versions ignores), or a retention policy does.
    ///
    /// # Errors
    /// 409 `FileAlreadyExists`, `FileImmutable`; 412 for an S3 client.
    pub fn check_overwrite(&self, call: &Call<'_>, forbidden: bool) -> Result<(), OssError> {
        if self.versioning != Versioning::Off {
            return Ok(());
        }
        let Ok(Version { object, .. }) = self.objects.current(&call.key) else { return Ok(()) };
        if forbidden {
            return Err(call.already_exists());
        }
        self.check_mutable(object.as_deref(), call.now)
    }

    /// Makes an object visible, as a whole. Returns the id of its version, if the bucket has ids.
    ///
    /// # Errors
    /// As [`Bucket::check_overwrite`].
    pub fn commit(
        &mut self,
        call: &Call<'_>,
        object: Object,
        forbids_overwrite: bool,
    ) -> Result<Option<String>, OssError> {
        self.check_overwrite(call, forbids_overwrite)?;
        Ok(self.objects.put(&call.key, object.into(), self.versioning))
    }
}

fn describe(object: &Object, reply: Reply) -> Reply {
    let mut reply = reply
        .with(header::ACCEPT_RANGES.as_str(), "bytes")
        .with("etag", quoted(&object.etag))
        .with("last-modified", http_date(object.modified))
        .with("x-oss-object-type", object.object_type)
        .with("x-oss-hash-crc64ecma", object.content.crc64.to_string());
    // A copy of a multipart object is a normal one whose ETag is no digest of its bytes.
    if object.object_type == "Normal" && !object.etag.contains('-') {
        reply = reply.with("content-md5", STANDARD.encode(object.content.md5));
    }
    object.attributes.show(&mut reply.headers);
    reply
}

fn not_modified(object: &Object) -> Reply {
    Reply::new(StatusCode::NOT_MODIFIED)
        .with("etag", quoted(&object.etag))
        .with("last-modified", http_date(object.modified))
}
