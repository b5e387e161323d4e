//! Operations on one object: put, get, head, delete, copy, restore; and delete many.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode, header};
use jiff::SignedDuration;

use super::address::check_key;
use super::attributes::Attributes;
use super::bucket::{Bucket, Object};
use super::call::{Call, Core, Outcome, etag_of, quoted, xml_reply};
use super::conditions::{self, Verdict};
use super::error::OssError;
use super::query::{decode, encode};
use super::range::{self, Wanted};
use super::storage::MAX_BODY_BYTES;
use super::time::{http_date, xml_date};
use super::xml::{Element, Xml};
use crate::sandbox::http::{Body, Reply};

/// Keys in one DeleteMultipleObjects, and the size of its document; from the manual.
const MAX_DELETES: usize = 1000;
const MAX_DELETE_BYTES: usize = 2 << 20;

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
        let attributes = Attributes::of(&call.request.headers)?;
        let forbids_overwrite = call.forbids_overwrite();
        self.buckets.with(&call.bucket, |bucket| bucket.check_overwrite(&call.key, forbids_overwrite))?;
        let content = call.receive(&self.storage).await?;
        let mut reply = Reply::new(StatusCode::OK)
            .with("etag", quoted(&etag_of(&content)))
            .with("x-oss-hash-crc64ecma", content.crc64.to_string())
            .with("content-md5", STANDARD.encode(content.md5));
        attributes.show_encryption(&mut reply.headers);
        let object = Object {
            etag: etag_of(&content),
            content,
            object_type: "Normal",
            attributes,
            modified: call.now,
            restored_until: None,
        };
        self.buckets.with(&call.bucket, |bucket| bucket.commit(&call.key, object, forbids_overwrite))?;
        Ok(reply)
    }

    pub(super) fn get_object(&self, call: &Call<'_>) -> Outcome {
        let object = self.existing(call)?;
        if self.verdict(call, &object)? == Verdict::NotModified {
            return Ok(not_modified(&object));
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
        let mut reply = describe(&object, Reply::new(status));
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
        let object = self.existing(call)?;
        if self.verdict(call, &object)? == Verdict::NotModified {
            return Ok(not_modified(&object));
        }
        let mut reply = describe(&object, Reply::new(StatusCode::OK));
        if let Some(until) = object.restored_until {
            let value = format!("ongoing-request=\"false\", expiry-date=\"{}\"", http_date(until));
            reply = reply.with("x-oss-restore", value);
        }
        Ok(reply.with("content-length", object.content.length.to_string()))
    }

    pub(super) fn get_object_meta(&self, call: &Call<'_>) -> Outcome {
        let object = self.existing(call)?;
        let mut reply = Reply::new(StatusCode::OK)
            .with("etag", quoted(&object.etag))
            .with("last-modified", http_date(object.modified));
        if call.request.method == Method::HEAD {
            reply = reply.with("content-length", object.content.length.to_string());
        }
        Ok(reply)
    }

    pub(super) fn delete_object(&self, call: &Call<'_>) -> Outcome {
        self.buckets.with(&call.bucket, |bucket| Ok(bucket.objects.remove(&call.key)))?;
        Ok(Reply::new(StatusCode::NO_CONTENT))
    }

    pub(super) async fn delete_multiple_objects(&self, call: &mut Call<'_>) -> Outcome {
        if call.header("content-md5").is_none() {
            let message = "Missing Some Required Arguments.";
            return Err(OssError::new(400, "MissingArgument", message)
                .with("ArgumentName", "Content-MD5")
                .into());
        }
        let encodes = call.encodes_names()?;
        let document = call.read_document(MAX_DELETE_BYTES).await?;
        let root = Element::parse(&document).filter(|root| root.name == "Delete");
        let root = root.ok_or_else(OssError::malformed_xml)?;
        let keys: Option<Vec<&str>> = root.all("Object").map(|object| object.child_text("Key")).collect();
        let keys = keys.filter(|keys| (1..=MAX_DELETES).contains(&keys.len()));
        let keys = keys.ok_or_else(OssError::malformed_xml)?;
        for key in &keys {
            check_key(key)?;
        }
        let quiet = root.child_text("Quiet").is_some_and(|quiet| quiet.trim().eq_ignore_ascii_case("true"));
        self.buckets.with(&call.bucket, |bucket| {
            keys.iter().for_each(|key| drop(bucket.objects.remove(*key)));
            Ok(())
        })?;
        if quiet {
            return Ok(Reply::new(StatusCode::OK));
        }
        let mut xml = Xml::new("DeleteResult");
        if encodes {
            xml.text("EncodingType", "url");
        }
        for key in keys {
            let name = if encodes { encode(key) } else { key.to_owned() };
            xml.open("Deleted").text("Key", &name).close("Deleted");
        }
        Ok(xml_reply(xml))
    }

    pub(super) async fn copy_object(&self, call: &mut Call<'_>) -> Outcome {
        let source = self.copy_source(call)?;
        let wanted = Attributes::of(&call.request.headers)?;
        let attributes = match call.header("x-oss-metadata-directive").map(str::to_ascii_uppercase).as_deref()
        {
            None | Some("COPY") => source.attributes.with_class_of(wanted),
            Some("REPLACE") => wanted,
            Some(directive) => {
                let message = "Unknown metadata directive.";
                return Err(OssError::invalid_argument(message, "x-oss-metadata-directive", directive).into());
            }
        };
        if source.content.length > MAX_BODY_BYTES {
            let message = "The source is larger than 5 GB, copy it in parts.";
            let size = source.content.length.to_string();
            return Err(OssError::invalid_argument(message, "x-oss-copy-source", size).into());
        }
        let mut reply = copied("CopyObjectResult", &source.etag, call);
        reply = reply.with("x-oss-hash-crc64ecma", source.content.crc64.to_string());
        attributes.show_encryption(&mut reply.headers);
        let object = Object {
            content: source.content.clone(),
            etag: source.etag.clone(),
            object_type: "Normal",
            attributes,
            modified: call.now,
            restored_until: None,
        };
        let forbids_overwrite = call.forbids_overwrite();
        self.buckets.with(&call.bucket, |bucket| bucket.commit(&call.key, object, forbids_overwrite))?;
        Ok(reply)
    }

    /// The object that `x-oss-copy-source` names, its conditions checked.
    pub(super) fn copy_source(&self, call: &Call<'_>) -> Result<Arc<Object>, OssError> {
        let value = call.header("x-oss-copy-source").unwrap_or_default();
        let path = value.split('?').next().unwrap_or_default();
        let named = decode(path).and_then(|path| {
            let (bucket, key) = path.strip_prefix('/').unwrap_or(&path).split_once('/')?;
            Some((bucket.to_owned(), key.to_owned()))
        });
        let Some((bucket, key)) = named else {
            let message = "Copy source must be of the form /bucket/key.";
            return Err(OssError::invalid_argument(message, "x-oss-copy-source", value));
        };
        check_key(&key)?;
        let source = self.buckets.object(&bucket, &key)?;
        let conditions = &call.request.headers;
        let verdict = conditions::check(conditions, "x-oss-copy-source-", &source.etag, source.modified)?;
        if verdict == Verdict::NotModified {
            return Err(OssError::new(304, "NotModified", "Not Modified"));
        }
        source.check_readable(call)?;
        Ok(source)
    }

    pub(super) async fn restore_object(&self, call: &mut Call<'_>) -> Outcome {
        let document = call.read_document(MAX_DELETE_BYTES).await?;
        let days =
            Element::parse(&document).and_then(|root| root.child_text("Days")?.trim().parse::<i64>().ok());
        let stay = SignedDuration::from_hours(24 * days.unwrap_or(1).clamp(1, 365));
        let until = call.now.saturating_add(stay).unwrap_or(call.now);
        self.buckets
            .with(&call.bucket, |bucket| {
                let object =
                    bucket.objects.get_mut(&call.key).ok_or_else(|| OssError::no_such_key(&call.key))?;
                if !object.attributes.is_archived() {
                    let message = "The operation is not valid for the object's storage class.";
                    return Err(OssError::new(400, "OperationNotSupported", message));
                }
                let first = object.restored_until.is_none();
                *object = Arc::new(Object { restored_until: Some(until), ..(**object).clone() });
                Ok(Reply::new(if first { StatusCode::ACCEPTED } else { StatusCode::OK }))
            })
            .map_err(Into::into)
    }

    fn existing(&self, call: &Call<'_>) -> Result<Arc<Object>, OssError> {
        let object = self.buckets.object(&call.bucket, &call.key)?;
        match call.query.get("versionId") {
            None | Some("null") => Ok(object),
            Some(version) => {
                let error = OssError::new(404, "NoSuchVersion", "The specified version does not exist.");
                Err(error.with("Key", &call.key).with("VersionId", version))
            }
        }
    }

    fn verdict(&self, call: &Call<'_>, object: &Object) -> Result<Verdict, OssError> {
        conditions::check(&call.request.headers, "", &object.etag, object.modified)
    }
}

impl Bucket {
    /// Refuses when the object exists and must not be replaced.
    ///
    /// # Errors
    /// 409 `FileAlreadyExists`.
    pub fn check_overwrite(&self, key: &str, forbidden: bool) -> Result<(), OssError> {
        let refused = forbidden && self.objects.contains_key(key);
        if refused { Err(OssError::file_already_exists()) } else { Ok(()) }
    }

    /// Makes an object visible, as a whole.
    ///
    /// # Errors
    /// 409 `FileAlreadyExists`.
    pub fn commit(&mut self, key: &str, object: Object, forbids_overwrite: bool) -> Result<(), OssError> {
        self.check_overwrite(key, forbids_overwrite)?;
        self.objects.insert(key.to_owned(), Arc::new(object));
        Ok(())
    }
}

impl Object {
    /// # Errors
    /// 403 `InvalidObjectState` for an archived object that is not restored.
    fn check_readable(&self, call: &Call<'_>) -> Result<(), OssError> {
        let restored = self.restored_until.is_some_and(|until| until > call.now);
        if self.attributes.is_archived() && !restored {
            let message = "The operation is not valid for the object's state";
            return Err(OssError::new(403, "InvalidObjectState", message).with("ObjectName", &call.key));
        }
        Ok(())
    }
}

/// A document with the ETag and date of a copy.
pub(super) fn copied(root: &'static str, etag: &str, call: &Call<'_>) -> Reply {
    let mut xml = Xml::new(root);
    xml.text("ETag", &quoted(etag)).text("LastModified", &xml_date(call.now));
    xml_reply(xml).with("etag", quoted(etag))
}

fn describe(object: &Object, reply: Reply) -> Reply {
    let mut reply = reply
        .with(header::ACCEPT_RANGES.as_str(), "bytes")
        .with("etag", quoted(&object.etag))
        .with("last-modified", http_date(object.modified))
        .with("x-oss-object-type", object.object_type)
        .with("x-oss-hash-crc64ecma", object.content.crc64.to_string());
    // A copy of a multipart object is a normal one whose ETag is no digest of its bytes.
    if !object.etag.contains('-') {
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
