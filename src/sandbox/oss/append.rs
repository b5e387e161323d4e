//! AppendObject: objects that grow at their end.

use http::StatusCode;

use super::bucket::Object;
use super::call::{Call, Core, Outcome, etag_of, quoted};
use super::error::OssError;
use super::storage::{Content, MAX_BODY_BYTES, too_large};
use super::versions::Versioning;
use crate::sandbox::http::Reply;

impl Core {
    pub(super) async fn append_object(&self, call: &mut Call<'_>) -> Outcome {
        call.check_framing()?;
        let position = call.query.get("position").and_then(|position| position.parse::<u64>().ok());
        let position = position
            .ok_or_else(|| OssError::invalid_argument("The position must be a number.", "position", ""))?;
        let attributes = self.attributes(call)?;
        let piece = call.receive(&self.storage).await?;
        let (next, etag, crc64) = self.buckets.with(&call.bucket, |bucket| {
            if bucket.versioning != Versioning::Off {
                let message = "A versioned bucket takes no appendable objects.";
                return Err(OssError::new(409, "OperationNotSupported", message));
            }
            let old = bucket.objects.current(&call.key).ok().and_then(|version| version.object.clone());
            if old.as_ref().is_some_and(|object| object.object_type != "Appendable") {
                return Err(OssError::new(409, "ObjectNotAppendable", "The object is not appendable"));
            }
            bucket.check_mutable(old.as_deref(), call.now)?;
            let length = old.as_ref().map_or(0, |object| object.content.length);
            if position != length {
                let message = "Position is not equal to file length";
                return Err(OssError::new(409, "PositionNotEqualToLength", message)
                    .header("x-oss-next-append-position", &length.to_string()));
            }
            if length + piece.length > MAX_BODY_BYTES {
                return Err(too_large());
            }
            let pieces = old.iter().map(|object| &object.content).chain([&piece]);
            let content = Content::concatenate(pieces);
            let object = Object {
                etag: etag_of(&content),
                object_type: "Appendable",
                attributes: old.map_or(attributes, |object| object.attributes.clone()),
                ..Object::normal(content, call.now)
            };
            let (next, etag, crc64) = (object.content.length, object.etag.clone(), object.content.crc64);
            bucket.objects.put(&call.key, object.into(), bucket.versioning);
            Ok((next, etag, crc64))
        })?;
        Ok(Reply::new(StatusCode::OK)
            .with("etag", quoted(&etag))
            .with("x-oss-hash-crc64ecma", crc64.to_string())
            .with("x-oss-next-append-position", next.to_string()))
    }
}
