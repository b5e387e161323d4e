//! Buckets and what is in them, and the operations on buckets as such.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use jiff::Timestamp;

use super::attributes::{Attributes, is_storage_class};
use super::call::{Call, Core, Outcome, etag_of, xml_reply};
use super::error::OssError;
use super::multipart::Upload;
use super::restore::Restore;
use super::storage::Content;
use super::time::xml_date;
use super::versions::{Objects, Version, Versioning};
use super::worm::Worm;
use super::xml::{Element, Xml};
use crate::sandbox::http::Reply;

/// The account that owns everything.
pub const OWNER: &str = "1000000000000001";

/// The document of a PutBucket has some 100 bytes.
const MAX_DOCUMENT_BYTES: usize = 64 << 10;

/// All buckets. One lock: an operation sees and changes the whole at one moment, so what it commits appears at once.
#[derive(Default)]
pub struct Buckets(Mutex<BTreeMap<String, Bucket>>);

/// One bucket.
pub struct Bucket {
    created: Timestamp,
    acl: String,
    /// The class of objects that name none.
    pub storage_class: String,
    /// Whether old versions are kept.
    pub versioning: Versioning,
    /// The retention policy.
    pub worm: Option<Worm>,
    /// The objects.
    pub objects: Objects,
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
    /// `Normal`, `Multipart` or `Appendable`.
    pub object_type: &'static str,
    /// Headers and storage class.
    pub attributes: Attributes,
    /// When it was written.
    pub modified: Timestamp,
    /// The last restore that was asked for, if it is archived.
    pub restore: Option<Restore>,
}

impl Object {
    /// An object of bytes that came in one request, written now, in class Standard.
    pub fn normal(content: Content, now: Timestamp) -> Object {
        Object {
            etag: etag_of(&content),
            content,
            object_type: "Normal",
            attributes: Attributes::default(),
            modified: now,
            restore: None,
        }
    }
}

impl Bucket {
    /// The version that a request names, or the newest one.
    ///
    /// # Errors
    /// 404 `NoSuchKey`, `NoSuchVersion`; 405 for a delete marker.
    pub fn version(&self, call: &Call<'_>) -> Result<&Version, OssError> {
        match call.query.get("versionId") {
            None => self.objects.current(&call.key),
            Some(id) => self.objects.version(&call.key, id),
        }
    }
}

impl Buckets {
    /// Makes a bucket if it is not there.
    pub fn create(&self, name: &str, now: Timestamp) {
        let new = || Bucket {
            created: now,
            acl: "private".to_owned(),
            storage_class: "Standard".to_owned(),
            versioning: Versioning::Off,
            worm: None,
            objects: Objects::default(),
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
            .text("StorageClass", &bucket.storage_class)
    }

    pub(super) async fn put_bucket(&self, call: &mut Call<'_>) -> Outcome {
        let document = call.read_document(MAX_DOCUMENT_BYTES).await?;
        let acl = acl_of(call)?;
        let class = match document.is_empty() {
            true => None,
            false => {
                let root = Element::parse(&document).filter(|root| root.name == "CreateBucketConfiguration");
                let root = root.ok_or_else(OssError::malformed_xml)?;
                root.child_text("StorageClass").map(|class| class.trim().to_owned())
            }
        };
        if let Some(class) = class.as_ref().filter(|class| !is_storage_class(class)) {
            let message = "The storage class you specified is not valid.";
            return Err(OssError::invalid_argument(message, "StorageClass", class).into());
        }
        self.buckets.create(&call.bucket, call.now);
        if let Some(class) = class {
            self.buckets.with(&call.bucket, |bucket| {
                bucket.storage_class = class;
                Ok(())
            })?;
        }
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
        self.object(call)?;
        Ok(acl_reply("default"))
    }

    pub(super) fn get_bucket_stat(&self, call: &Call<'_>) -> Outcome {
        let mut xml = Xml::new("BucketStat");
        self.buckets.with(&call.bucket, |bucket| {
            let lengths = bucket.objects.from(Bound::Unbounded).map(|(_, object)| object.content.length);
            let (count, bytes) =
                lengths.fold((0u64, 0), |(count, bytes), length| (count + 1, bytes + length));
            xml.text("Storage", &bytes.to_string());
            xml.text("ObjectCount", &count.to_string());
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
