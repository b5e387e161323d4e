//! Buckets and what is in them, and the operations on buckets as such.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use jiff::Timestamp;

use super::attributes::Attributes;
use super::call::{Call, Core, Outcome, xml_reply};
use super::error::OssError;
use super::multipart::Upload;
use super::storage::Content;
use super::time::xml_date;
use super::xml::Xml;
use crate::sandbox::http::Reply;

/// The account that owns everything.
pub const OWNER: &str = "1000000000000001";

/// All buckets. One lock: an operation sees and changes the whole at one moment, so what it commits appears at once.
#[derive(Default)]
pub struct Buckets(Mutex<BTreeMap<String, Bucket>>);

/// One bucket.
pub struct Bucket {
    created: Timestamp,
    acl: String,
    /// Objects by key; the order of strings is the order of their UTF-8 bytes, as listings need it.
    pub objects: BTreeMap<String, Arc<Object>>,
    /// Open uploads by key and upload id.
    pub uploads: BTreeMap<(String, String), Upload>,
}

/// One object; replaced as a whole, never changed.
#[derive(Clone)]
pub struct Object {
    /// The bytes.
    pub content: Content,
    /// Upper-case hex, without quotes.
    pub etag: String,
    /// `Normal` or `Multipart`.
    pub object_type: &'static str,
    /// Headers and storage class.
    pub attributes: Attributes,
    /// When it was written.
    pub modified: Timestamp,
    /// An archived object can be read until then.
    pub restored_until: Option<Timestamp>,
}

impl Buckets {
    /// Makes a bucket if it is not there.
    pub fn create(&self, name: &str, now: Timestamp) {
        let new = || Bucket {
            created: now,
            acl: "private".to_owned(),
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
        };
        self.lock().entry(name.to_owned()).or_insert_with(new);
    }

    /// Does something with a bucket, alone.
    ///
    /// # Errors
    /// 404 `NoSuchBucket`, and whatever `act` returns.
    pub fn with<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut Bucket) -> Result<T, OssError>,
    ) -> Result<T, OssError> {
        let mut buckets = self.lock();
        act(buckets.get_mut(name).ok_or_else(|| OssError::no_such_bucket(name))?)
    }

    /// The object under a key.
    ///
    /// # Errors
    /// 404 `NoSuchBucket`, `NoSuchKey`.
    pub fn object(&self, bucket: &str, key: &str) -> Result<Arc<Object>, OssError> {
        self.with(bucket, |bucket| bucket.objects.get(key).cloned().ok_or_else(|| OssError::no_such_key(key)))
    }

    /// A bucket's ACL, if there is such a bucket.
    pub fn acl(&self, name: &str) -> Option<String> {
        self.lock().get(name).map(|bucket| bucket.acl.clone())
    }

    /// The names of all buckets.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    pub(super) fn list_buckets(&self, call: &Call<'_>) -> Outcome {
        let limit = call.query.number("max-keys", 100, 1..=1000)?;
        let prefix = call.query.get("prefix").unwrap_or_default();
        let marker = call.query.get("marker").unwrap_or_default();
        let buckets = self.buckets.lock();
        let mut wanted = buckets
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && name.as_str() > marker)
            .take(limit + 1)
            .collect::<Vec<_>>();
        let truncated = wanted.len() > limit;
        wanted.truncate(limit);
        let mut xml = Xml::new("ListAllMyBucketsResult");
        xml.text("Prefix", prefix).text("Marker", marker).text("MaxKeys", &limit.to_string());
        xml.text("IsTruncated", if truncated { "true" } else { "false" });
        if let (true, Some((name, _))) = (truncated, wanted.last()) {
            xml.text("NextMarker", name);
        }
        owner(&mut xml).open("Buckets");
        for (name, bucket) in wanted {
            xml.open("Bucket");
            self.describe(&mut xml, name, bucket).close("Bucket");
        }
        xml.close("Buckets");
        Ok(xml_reply(xml))
    }

    fn describe<'x>(&self, xml: &'x mut Xml, name: &str, bucket: &Bucket) -> &'x mut Xml {
        let region = &self.region;
        xml.text("Name", name)
            .text("CreationDate", &xml_date(bucket.created))
            .text("Location", &format!("oss-{region}"))
            .text("Region", region)
            .text("ExtranetEndpoint", &format!("oss-{region}.aliyuncs.com"))
            .text("IntranetEndpoint", &format!("oss-{region}-internal.aliyuncs.com"))
            .text("StorageClass", "Standard")
    }

    pub(super) fn put_bucket(&self, call: &Call<'_>) -> Outcome {
        let acl = acl_of(call)?;
        self.buckets.create(&call.bucket, call.now);
        if let Some(acl) = acl {
            self.set_acl(call, acl)?;
        }
        Ok(Reply::new(StatusCode::OK).with("location", format!("/{}", call.bucket)))
    }

    pub(super) fn put_bucket_acl(&self, call: &Call<'_>) -> Outcome {
        if let Some(acl) = acl_of(call)? {
            self.set_acl(call, acl)?;
        }
        Ok(Reply::new(StatusCode::OK))
    }

    fn set_acl(&self, call: &Call<'_>, acl: String) -> Result<(), OssError> {
        self.buckets.with(&call.bucket, |bucket| {
            bucket.acl = acl;
            Ok(())
        })
    }

    pub(super) fn head_bucket(&self, call: &Call<'_>) -> Outcome {
        self.buckets.with(&call.bucket, |_| Ok(()))?;
        Ok(Reply::new(StatusCode::OK).with("x-oss-bucket-region", format!("oss-{}", self.region)))
    }

    pub(super) fn get_bucket_info(&self, call: &Call<'_>) -> Outcome {
        let mut xml = Xml::new("BucketInfo");
        self.buckets.with(&call.bucket, |bucket| {
            xml.open("Bucket");
            self.describe(&mut xml, &call.bucket, bucket);
            xml.text("AccessMonitor", "Disabled")
                .text("CrossRegionReplication", "Disabled")
                .text("Comment", "");
            xml.text("DataRedundancyType", "LRS").text("TransferAcceleration", "Disabled");
            owner(&mut xml).open("AccessControlList").text("Grant", &bucket.acl).close("AccessControlList");
            xml.close("Bucket");
            Ok(())
        })?;
        Ok(xml_reply(xml))
    }

    pub(super) fn get_bucket_location(&self, call: &Call<'_>) -> Outcome {
        self.buckets.with(&call.bucket, |_| Ok(()))?;
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LocationConstraint>oss-{}</LocationConstraint>",
            self.region
        );
        Ok(Reply::new(StatusCode::OK).with("content-type", "application/xml").with_body(text))
    }

    pub(super) fn get_bucket_acl(&self, call: &Call<'_>) -> Outcome {
        let acl = self.buckets.with(&call.bucket, |bucket| Ok(bucket.acl.clone()))?;
        Ok(acl_reply(&acl))
    }

    pub(super) fn get_object_acl(&self, call: &Call<'_>) -> Outcome {
        self.buckets.object(&call.bucket, &call.key)?;
        Ok(acl_reply("default"))
    }

    pub(super) fn get_bucket_versioning(&self, call: &Call<'_>) -> Outcome {
        self.buckets.with(&call.bucket, |_| Ok(()))?;
        Ok(xml_reply(Xml::new("VersioningConfiguration")))
    }

    pub(super) fn get_bucket_stat(&self, call: &Call<'_>) -> Outcome {
        let mut xml = Xml::new("BucketStat");
        self.buckets.with(&call.bucket, |bucket| {
            let bytes: u64 = bucket.objects.values().map(|object| object.content.length).sum();
            xml.text("Storage", &bytes.to_string());
            xml.text("ObjectCount", &bucket.objects.len().to_string());
            xml.text("MultipartUploadCount", &bucket.uploads.len().to_string());
            Ok(())
        })?;
        Ok(xml_reply(xml))
    }

    pub(super) fn delete_bucket(&self, call: &Call<'_>) -> Outcome {
        let mut buckets = self.buckets.lock();
        let bucket = buckets.get(&call.bucket).ok_or_else(|| OssError::no_such_bucket(&call.bucket))?;
        if !bucket.objects.is_empty() || !bucket.uploads.is_empty() {
            let message = "The bucket has objects or open uploads. Please delete them first.";
            return Err(OssError::new(409, "BucketNotEmpty", message)
                .with("BucketName", &call.bucket)
                .into());
        }
        buckets.remove(&call.bucket);
        Ok(Reply::new(StatusCode::NO_CONTENT))
    }
}

fn acl_of(call: &Call<'_>) -> Result<Option<String>, OssError> {
    match call.header("x-oss-acl") {
        None => Ok(None),
        Some(acl @ ("private" | "public-read" | "public-read-write")) => Ok(Some(acl.to_owned())),
        Some(acl) => {
            Err(OssError::invalid_argument("no such bucket access control exists", "x-oss-acl", acl))
        }
    }
}

fn acl_reply(acl: &str) -> Reply {
    let mut xml = Xml::new("AccessControlPolicy");
    owner(&mut xml).open("AccessControlList").text("Grant", acl).close("AccessControlList");
    xml_reply(xml)
}

/// The `Owner` element.
pub fn owner(xml: &mut Xml) -> &mut Xml {
    xml.open("Owner").text("ID", OWNER).text("DisplayName", OWNER).close("Owner")
}
