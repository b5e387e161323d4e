//! Operations on versioning: its state, and the listing of versions.

use http::StatusCode;

use super::bucket::owner;
use super::call::{Call, Core, Outcome, quoted, xml_reply};
use super::error::OssError;
use super::listing::{Entry, Names, Wanted, page};
use super::time::xml_date;
use super::versions::Versioning;
use super::xml::{Element, Xml};
use crate::sandbox::http::Reply;

const MAX_DOCUMENT_BYTES: usize = 64 << 10;

impl Core {
    pub(super) fn get_bucket_versioning(&self, call: &Call<'_>) -> Outcome {
        let versioning = self.buckets.with(&call.bucket, |bucket| Ok(bucket.versioning))?;
        let mut xml = Xml::new("VersioningConfiguration");
        match versioning {
            Versioning::Off => {}
            Versioning::Enabled => drop(xml.text("Status", "Enabled")),
            Versioning::Suspended => drop(xml.text("Status", "Suspended")),
        }
        Ok(xml_reply(xml))
    }

    pub(super) async fn put_bucket_versioning(&self, call: &mut Call<'_>) -> Outcome {
        let document = call.read_document(MAX_DOCUMENT_BYTES).await?;
        let root = Element::parse(&document).filter(|root| root.name == "VersioningConfiguration");
        let wanted = match root.as_ref().and_then(|root| root.child_text("Status")).map(str::trim) {
            Some("Enabled") => Versioning::Enabled,
            Some("Suspended") => Versioning::Suspended,
            _ => return Err(OssError::malformed_xml().into()),
        };
        self.buckets.with(&call.bucket, |bucket| {
            bucket.versioning = wanted;
            Ok(())
        })?;
        Ok(Reply::new(StatusCode::OK))
    }

    pub(super) fn list_object_versions(&self, call: &Call<'_>) -> Outcome {
        let names = Names::of(call)?;
        let limit = call.query.number("max-keys", 100, 1..=1000)?;
        let text = |name: &str| call.query.get(name).unwrap_or_default();
        let (prefix, key_marker, id_marker) = (text("prefix"), text("key-marker"), text("version-id-marker"));
        if key_marker.is_empty() && !id_marker.is_empty() {
            let message = "A version-id marker cannot be specified without a key marker.";
            return Err(OssError::invalid_argument(message, "version-id-marker", id_marker).into());
        }
        let wanted = Wanted { prefix, delimiter: call.query.get("delimiter"), after: key_marker, limit };
        let mut xml = Xml::new("ListVersionsResult");
        xml.text("Name", &call.bucket);
        names.text(&mut xml, "Prefix", prefix);
        names.text(&mut xml, "KeyMarker", key_marker);
        xml.text("VersionIdMarker", id_marker).text("MaxKeys", &limit.to_string());
        names.text(&mut xml, "Delimiter", text("delimiter"));
        names.say(&mut xml);
        self.buckets.with(&call.bucket, |bucket| {
            // A marker with a version id goes on inside its key, behind that version.
            let mut behind = id_marker.is_empty();
            let versions =
                bucket.objects.versions_from(prefix.max(key_marker)).filter(|(key, (version, _))| {
                    if *key != key_marker {
                        return true;
                    }
                    let listed_before = !behind || id_marker.is_empty();
                    behind |= version.id == id_marker;
                    !listed_before
                });
            let (entries, truncated) = page(versions, &wanted);
            xml.text("IsTruncated", if truncated { "true" } else { "false" });
            if let (true, Some(last)) = (truncated, entries.last()) {
                names.text(&mut xml, "NextKeyMarker", last.name());
                let id = match last {
                    Entry::Item(_, (version, _)) => version.id.as_str(),
                    Entry::CommonPrefix(_) => "",
                };
                xml.text("NextVersionIdMarker", id);
            }
            for entry in &entries {
                let Entry::Item(key, (version, is_latest)) = entry else { continue };
                let element = if version.object.is_some() { "Version" } else { "DeleteMarker" };
                xml.open(element);
                names.text(&mut xml, "Key", key);
                xml.text("VersionId", &version.id)
                    .text("IsLatest", if *is_latest { "true" } else { "false" })
                    .text("LastModified", &xml_date(version.modified));
                if let Some(object) = &version.object {
                    xml.text("ETag", &quoted(&object.etag))
                        .text("Type", object.object_type)
                        .text("Size", &object.content.length.to_string())
                        .text("StorageClass", call.face.class(&object.attributes.storage_class));
                }
                owner(&mut xml).close(element);
            }
            names.common_prefixes(&mut xml, &entries);
            Ok(())
        })?;
        Ok(xml_reply(xml))
    }
}
