//! DeleteObject and DeleteMultipleObjects.

use http::StatusCode;
use jiff::Timestamp;

use super::address::check_key;
use super::bucket::Bucket;
use super::call::{Call, Core, Outcome, xml_reply};
use super::error::OssError;
use super::object::show_version;
use super::query::encode;
use super::versions::{Deleted, Versioning};
use super::xml::{Element, Xml};
use crate::sandbox::http::Reply;

/// Keys in one DeleteMultipleObjects, and the size of its document; from the manual.
const MAX_DELETES: usize = 1000;
const MAX_DELETE_BYTES: usize = 2 << 20;

impl Core {
    pub(super) fn delete_object(&self, call: &Call<'_>) -> Outcome {
        let version_id = call.query.get("versionId");
        let deleted =
            self.buckets.with(&call.bucket, |bucket| bucket.delete(&call.key, version_id, call.now))?;
        let mut reply = Reply::new(StatusCode::NO_CONTENT);
        if deleted.marker {
            reply = reply.with("x-oss-delete-marker", "true");
        }
        show_version(&mut reply, deleted.version_id);
        Ok(reply)
    }

    pub(super) async fn delete_multiple_objects(&self, call: &mut Call<'_>) -> Outcome {
        let checked = |name: &str| name == "content-md5" || name.starts_with("x-amz-checksum-");
        if !call.request.headers.keys().any(|name| checked(name.as_str())) {
            let message = "Missing Some Required Arguments.";
            return Err(OssError::new(400, "MissingArgument", message)
                .with("ArgumentName", "Content-MD5")
                .into());
        }
        let encodes = call.encodes_names()?;
        let document = call.read_document(MAX_DELETE_BYTES).await?;
        let root = Element::parse(&document).filter(|root| root.name == "Delete");
        let root = root.ok_or_else(OssError::malformed_xml)?;
        let named = |object: &Element| {
            let version_id = object.child_text("VersionId").filter(|id| !id.is_empty());
            Some((object.child_text("Key")?.to_owned(), version_id.map(str::to_owned)))
        };
        let keys: Option<Vec<_>> = root.all("Object").map(named).collect();
        let keys = keys.filter(|keys| (1..=MAX_DELETES).contains(&keys.len()));
        let keys = keys.ok_or_else(OssError::malformed_xml)?;
        for (key, _) in &keys {
            check_key(key)?;
        }
        let quiet = root.child_text("Quiet").is_some_and(|quiet| quiet.trim().eq_ignore_ascii_case("true"));
        let mut xml = Xml::new("DeleteResult");
        if encodes {
            xml.text("EncodingType", "url");
        }
        self.buckets.with(&call.bucket, |bucket| {
            for (key, version_id) in &keys {
                let outcome = bucket.delete(key, version_id.as_deref(), call.now);
                let name = if encodes { encode(key) } else { key.clone() };
                describe(&mut xml, &name, version_id.as_deref(), outcome, quiet);
            }
            Ok(())
        })?;
        Ok(xml_reply(xml))
    }
}

impl Bucket {
    /// Deletes a key, or one version of it for good. What is not there is a success.
    ///
    /// # Errors
    /// 409 `FileImmutable` for what a retention policy protects.
    fn delete(&mut self, key: &str, version_id: Option<&str>, now: Timestamp) -> Result<Deleted, OssError> {
        let doomed = match version_id {
            Some(id) => self.objects.version(key, id).ok(),
            // A marker hides the object and destroys nothing.
            None if self.versioning == Versioning::Enabled => None,
            None => self.objects.current(key).ok(),
        };
        self.check_mutable(doomed.and_then(|version| version.object.as_deref()), now)?;
        Ok(match version_id {
            Some(id) => self.objects.delete_version(key, id),
            None => self.objects.delete(key, self.versioning, now),
        })
    }
}

/// One line of the answer; a quiet one names only failures.
fn describe(
    xml: &mut Xml,
    name: &str,
    version_id: Option<&str>,
    outcome: Result<Deleted, OssError>,
    quiet: bool,
) {
    match outcome {
        Ok(_) if quiet => {}
        Ok(deleted) => {
            xml.open("Deleted").text("Key", name);
            if let Some(id) = version_id {
                xml.text("VersionId", id);
            }
            if deleted.marker {
                xml.text("DeleteMarker", "true");
                xml.text("DeleteMarkerVersionId", deleted.version_id.as_deref().unwrap_or_default());
            }
            xml.close("Deleted");
        }
        Err(error) => {
            xml.open("Error").text("Key", name);
            xml.text("Code", &error.code).text("Message", &error.message).close("Error");
        }
    }
}
