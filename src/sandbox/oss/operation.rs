//! Which operation a request is.

use http::{HeaderMap, Method};

use super::address::Address;
use super::query::Query;

macro_rules! operations {
    ($($name:ident)*) => {
        /// The operations, named as in the manual. Counters and faults use these names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are the manual's")]
        pub enum Operation { $($name),* }

        /// All names.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        impl Operation {
            /// The name, for counters and faults.
            pub fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name)),* }
            }
        }
    };
}

operations! {
    ListBuckets
    PutBucket GetBucketInfo GetBucketLocation GetBucketAcl PutBucketAcl GetBucketStat GetBucketVersioning
    PutBucketVersioning HeadBucket DeleteBucket ListObjects ListObjectsV2 ListObjectVersions ListMultipartUploads
    DeleteMultipleObjects InitiateBucketWorm AbortBucketWorm CompleteBucketWorm ExtendBucketWorm GetBucketWorm
    PutObject GetObject HeadObject GetObjectMeta DeleteObject CopyObject RestoreObject GetObjectAcl
    AppendObject GetObjectTagging PutObjectTagging DeleteObjectTagging
    InitiateMultipartUpload UploadPart UploadPartCopy CompleteMultipartUpload AbortMultipartUpload ListParts
    NotImplemented MethodNotAllowed
}

/// Sub-resources of buckets and objects that exist at the service and not here.
const NOT_HERE: &[&str] = &[
    "asyncFetch",
    "callback",
    "cname",
    "comp",
    "cors",
    "encryption",
    "inventory",
    "lifecycle",
    "live",
    "logging",
    "metaQuery",
    "policy",
    "policyStatus",
    "qos",
    "qosInfo",
    "referer",
    "replication",
    "requestPayment",
    "resourceGroup",
    "sequential",
    "style",
    "symlink",
    "transferAcceleration",
    "vod",
    "website",
    "x-oss-async-process",
    "x-oss-process",
];

impl Operation {
    /// Tells the operation from method, address, sub-resources and headers.
    pub fn of(method: &Method, address: &Address, query: &Query, headers: &HeaderMap) -> Operation {
        use Operation::*;
        if NOT_HERE.iter().any(|name| query.has(name)) {
            return NotImplemented;
        }
        let copies = headers.contains_key("x-oss-copy-source") || headers.contains_key("x-amz-copy-source");
        let has = |name| query.has(name);
        match (method.as_str(), address.bucket.is_empty(), address.key.is_empty()) {
            ("GET", true, _) => ListBuckets,
            (_, true, _) => MethodNotAllowed,
            ("GET", _, true) if has("bucketInfo") => GetBucketInfo,
            ("GET", _, true) if has("location") => GetBucketLocation,
            ("GET", _, true) if has("acl") => GetBucketAcl,
            ("GET", _, true) if has("stat") => GetBucketStat,
            ("GET", _, true) if has("versioning") => GetBucketVersioning,
            ("GET", _, true) if has("versions") => ListObjectVersions,
            ("GET", _, true) if has("worm") => GetBucketWorm,
            ("GET", _, true) if has("tagging") => NotImplemented,
            ("GET", _, true) if has("uploads") => ListMultipartUploads,
            ("GET", _, true) if query.get("list-type") == Some("2") => ListObjectsV2,
            ("GET", _, true) => ListObjects,
            ("HEAD", _, true) => HeadBucket,
            ("PUT", _, true) if has("acl") => PutBucketAcl,
            ("PUT", _, true) if has("versioning") => PutBucketVersioning,
            ("PUT" | "DELETE", _, true) if has("tagging") => NotImplemented,
            ("DELETE", _, true) if has("worm") => AbortBucketWorm,
            ("PUT", _, true) => PutBucket,
            ("DELETE", _, true) => DeleteBucket,
            ("POST", _, true) if has("delete") => DeleteMultipleObjects,
            ("POST", _, true) if has("worm") => InitiateBucketWorm,
            ("POST", _, true) if has("wormExtend") => ExtendBucketWorm,
            ("POST", _, true) if has("wormId") => CompleteBucketWorm,
            ("POST", _, true) => NotImplemented,
            ("GET" | "HEAD", _, _) if has("objectMeta") => GetObjectMeta,
            ("GET", _, _) if has("uploadId") => ListParts,
            ("GET", _, _) if has("acl") => GetObjectAcl,
            ("GET", _, _) if has("tagging") => GetObjectTagging,
            ("GET", _, _) => GetObject,
            ("HEAD", _, _) => HeadObject,
            ("PUT", _, _) if has("acl") => NotImplemented,
            ("PUT", _, _) if has("tagging") => PutObjectTagging,
            ("PUT", _, _) if has("uploadId") && copies => UploadPartCopy,
            ("PUT", _, _) if has("uploadId") => UploadPart,
            ("PUT", _, _) if copies => CopyObject,
            ("PUT", _, _) => PutObject,
            ("POST", _, _) if has("append") => AppendObject,
            ("POST", _, _) if has("uploads") => InitiateMultipartUpload,
            ("POST", _, _) if has("uploadId") => CompleteMultipartUpload,
            ("POST", _, _) if has("restore") => RestoreObject,
            ("DELETE", _, _) if has("uploadId") => AbortMultipartUpload,
            ("DELETE", _, _) if has("tagging") => DeleteObjectTagging,
            ("DELETE", _, _) => DeleteObject,
            _ => MethodNotAllowed,
        }
    }
}
