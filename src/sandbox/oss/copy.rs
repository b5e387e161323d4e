//! CopyObject, and the source of every copy.

use std::sync::Arc;

use super::address::check_key;
use super::bucket::Object;
use super::call::{Call, Core, Outcome, quoted, xml_reply};
use super::conditions::{self, Verdict};
use super::error::OssError;
use super::object::show_version;
use super::query::decode;
use super::storage::MAX_BODY_BYTES;
use super::time::xml_date;
use super::xml::Xml;
use crate::sandbox::http::Reply;

impl Core {
    pub(super) async fn copy_object(&self, call: &mut Call<'_>) -> Outcome {
        let source = self.copy_source(call)?;
        let wanted = self.attributes(call)?;
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
        let etag = source.etag.clone();
        let object = Object { etag, attributes, ..Object::normal(source.content.clone(), call.now) };
        let forbids_overwrite = call.forbids_overwrite();
        let version_id =
            self.buckets.with(&call.bucket, |bucket| bucket.commit(call, object, forbids_overwrite))?;
        show_version(&mut reply, version_id);
        Ok(reply)
    }

    /// The object that `x-oss-copy-source` names, its conditions checked.
    pub(super) fn copy_source(&self, call: &Call<'_>) -> Result<Arc<Object>, OssError> {
        let value = call.header("x-oss-copy-source").unwrap_or_default();
        let (path, version_id) =
            value.split_once("?versionId=").map_or((value, None), |(path, id)| (path, Some(id)));
        let named = decode(path).and_then(|path| {
            let (bucket, key) = path.strip_prefix('/').unwrap_or(&path).split_once('/')?;
            Some((bucket.to_owned(), key.to_owned()))
        });
        let Some((bucket, key)) = named else {
            let message = "Copy source must be of the form /bucket/key.";
            return Err(OssError::invalid_argument(message, "x-oss-copy-source", value));
        };
        check_key(&key)?;
        let source = self.buckets.with(&bucket, |bucket| {
            let version = match version_id {
                None => bucket.objects.current(&key)?,
                Some(id) => bucket.objects.version(&key, id)?,
            };
            version.object.clone().ok_or_else(|| OssError::no_such_key(&key))
        })?;
        let conditions = &call.request.headers;
        let verdict = conditions::check(conditions, "x-oss-copy-source-", &source.etag, source.modified)?;
        if verdict == Verdict::NotModified {
            return Err(OssError::new(304, "NotModified", "Not Modified"));
        }
        source.check_readable(call)?;
        Ok(source)
    }
}

/// A document with the ETag and date of a copy.
pub(super) fn copied(root: &'static str, etag: &str, call: &Call<'_>) -> Reply {
    let mut xml = Xml::new(root);
    xml.text("ETag", &quoted(etag)).text("LastModified", &xml_date(call.now));
    xml_reply(xml).with("etag", quoted(etag))
}
