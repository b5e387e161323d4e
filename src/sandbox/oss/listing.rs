//! Listings of objects and uploads: byte order, common prefixes, markers and tokens.

use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::bucket::{Bucket, Object, owner};
use super::call::{Call, Core, Outcome, quoted, xml_reply};
use super::error::OssError;
use super::query::encode;
use super::time::xml_date;
use super::xml::Xml;

/// One line of a page.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<'a, T> {
    /// A name and what it stands for.
    Item(&'a str, T),
    /// All names up to the delimiter.
    CommonPrefix(&'a str),
}

impl<T> Entry<'_, T> {
    /// The name, or the common prefix.
    pub fn name(&self) -> &str {
        match self {
            Entry::Item(name, _) | Entry::CommonPrefix(name) => name,
        }
    }
}

/// What a listing asks for.
pub struct Wanted<'a> {
    /// Names start with this.
    pub prefix: &'a str,
    /// Names are cut behind its first occurrence after the prefix.
    pub delimiter: Option<&'a str>,
    /// Names up to this one were listed before. A common prefix equal to it is not listed again.
    pub after: &'a str,
    /// Entries at most.
    pub limit: usize,
}

/// Up to `limit` entries, and whether there are more. `items` is sorted by name and starts at `prefix` or later.
pub fn page<'a, T>(
    items: impl Iterator<Item = (&'a str, T)>,
    wanted: &Wanted<'_>,
) -> (Vec<Entry<'a, T>>, bool) {
    let mut entries: Vec<Entry<'a, T>> = Vec::new();
    for (name, item) in items {
        let Some(rest) = name.strip_prefix(wanted.prefix) else { break };
        let cut = wanted.delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
        let common = cut.and_then(|cut| name.get(..wanted.prefix.len() + cut));
        let entry = match common {
            None => Entry::Item(name, item),
            Some(common) => {
                let listed = matches!(entries.last(), Some(Entry::CommonPrefix(last)) if *last == common);
                if listed || common == wanted.after {
                    continue;
                }
                Entry::CommonPrefix(common)
            }
        };
        if entries.len() == wanted.limit {
            return (entries, true);
        }
        entries.push(entry);
    }
    (entries, false)
}

/// Writes names as the client asked for them.
pub struct Names(bool);

impl Names {
    /// As the request wants them.
    ///
    /// # Errors
    /// 400 `InvalidArgument` for an unknown encoding.
    pub fn of(call: &Call<'_>) -> Result<Names, OssError> {
        call.encodes_names().map(Names)
    }

    /// Writes how they are encoded, if they are.
    pub fn say(&self, xml: &mut Xml) {
        if self.0 {
            xml.text("EncodingType", "url");
        }
    }

    /// Writes an element that holds a name.
    pub fn text(&self, xml: &mut Xml, element: &str, name: &str) {
        if self.0 {
            xml.text(element, &encode(name));
        } else {
            xml.text(element, name);
        }
    }

    /// Writes the common prefixes among the entries.
    pub fn common_prefixes<T>(&self, xml: &mut Xml, entries: &[Entry<'_, T>]) {
        for entry in entries {
            if let Entry::CommonPrefix(prefix) = entry {
                xml.open("CommonPrefixes");
                self.text(xml, "Prefix", prefix);
                xml.close("CommonPrefixes");
            }
        }
    }
}

impl Core {
    pub(super) fn list_objects(&self, call: &Call<'_>) -> Outcome {
        let marker = call.query.get("marker").unwrap_or_default();
        let mut xml = Xml::new("ListBucketResult");
        let names = self.open_listing(call, &mut xml)?;
        names.text(&mut xml, "Marker", marker);
        self.list(call, &mut xml, &names, marker, true, |xml, last| names.text(xml, "NextMarker", last))?;
        Ok(xml_reply(xml))
    }

    pub(super) fn list_objects_v2(&self, call: &Call<'_>) -> Outcome {
        let token = call.query.get("continuation-token");
        let start_after = call.query.get("start-after");
        let after = match token {
            None => start_after.unwrap_or_default().to_owned(),
            Some(token) => {
                let decoded =
                    URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let message = "The continuation token provided is incorrect.";
                decoded.ok_or_else(|| OssError::invalid_argument(message, "continuation-token", token))?
            }
        };
        let shows_owner = call.query.get("fetch-owner") == Some("true");
        let mut xml = Xml::new("ListBucketResult");
        let names = self.open_listing(call, &mut xml)?;
        if let Some(start_after) = start_after {
            names.text(&mut xml, "StartAfter", start_after);
        }
        if let Some(token) = token {
            xml.text("ContinuationToken", token);
        }
        let count = self.list(call, &mut xml, &names, &after, shows_owner, |xml, last| {
            xml.text("NextContinuationToken", &URL_SAFE_NO_PAD.encode(last));
        })?;
        xml.text("KeyCount", &count.to_string());
        Ok(xml_reply(xml))
    }

    fn open_listing(&self, call: &Call<'_>, xml: &mut Xml) -> Result<Names, OssError> {
        let names = Names::of(call)?;
        xml.text("Name", &call.bucket);
        names.text(xml, "Prefix", call.query.get("prefix").unwrap_or_default());
        names.text(xml, "Delimiter", call.query.get("delimiter").unwrap_or_default());
        xml.text("MaxKeys", &call.query.number("max-keys", 100, 1..=1000)?.to_string());
        names.say(xml);
        Ok(names)
    }

    /// Writes one page and returns its number of entries; `next` writes where the next one starts, if there is one.
    fn list(
        &self,
        call: &Call<'_>,
        xml: &mut Xml,
        names: &Names,
        after: &str,
        shows_owner: bool,
        next: impl FnOnce(&mut Xml, &str),
    ) -> Result<usize, OssError> {
        let prefix = call.query.get("prefix").unwrap_or_default();
        let limit = call.query.number("max-keys", 100, 1..=1000)?;
        let wanted = Wanted { prefix, delimiter: call.query.get("delimiter"), after, limit };
        self.buckets.with(&call.bucket, |bucket| {
            let from = if after >= prefix && !after.is_empty() {
                Bound::Excluded(after)
            } else {
                Bound::Included(prefix)
            };
            let (entries, truncated) = page(bucket.objects.from(from), &wanted);
            xml.text("IsTruncated", if truncated { "true" } else { "false" });
            if let (true, Some(last)) = (truncated, entries.last()) {
                next(xml, last.name());
            }
            for entry in &entries {
                if let Entry::Item(key, object) = entry {
                    xml.open("Contents");
                    names.text(xml, "Key", key);
                    describe(xml, call, object);
                    if shows_owner {
                        owner(xml);
                    }
                    xml.close("Contents");
                }
            }
            names.common_prefixes(xml, &entries);
            Ok(entries.len())
        })
    }

    pub(super) fn list_multipart_uploads(&self, call: &Call<'_>) -> Outcome {
        let names = Names::of(call)?;
        let limit = call.query.number("max-uploads", 1000, 1..=1000)?;
        let text = |name: &str| call.query.get(name).unwrap_or_default();
        let (prefix, key_marker, upload_id_marker) =
            (text("prefix"), text("key-marker"), text("upload-id-marker"));
        let wanted = Wanted { prefix, delimiter: call.query.get("delimiter"), after: key_marker, limit };
        let mut xml = Xml::new("ListMultipartUploadsResult");
        xml.text("Bucket", &call.bucket);
        names.text(&mut xml, "KeyMarker", key_marker);
        xml.text("UploadIdMarker", upload_id_marker);
        names.text(&mut xml, "Prefix", prefix);
        names.text(&mut xml, "Delimiter", text("delimiter"));
        xml.text("MaxUploads", &limit.to_string());
        names.say(&mut xml);
        self.buckets.with(&call.bucket, |bucket: &mut Bucket| {
            let uploads = bucket.uploads.iter().filter(|((key, upload_id), _)| {
                // Without an upload id the marker names all uploads of its key.
                let same_key_later = key == key_marker && !upload_id_marker.is_empty();
                let later =
                    key.as_str() > key_marker || (same_key_later && upload_id.as_str() > upload_id_marker);
                later && key.as_str() >= prefix
            });
            let items = uploads.map(|((key, upload_id), upload)| (key.as_str(), (upload_id, upload)));
            let (entries, truncated) = page(items, &wanted);
            xml.text("IsTruncated", if truncated { "true" } else { "false" });
            let last = entries.last().filter(|_| truncated);
            names.text(&mut xml, "NextKeyMarker", last.map(Entry::name).unwrap_or_default());
            let last_id = match last {
                Some(Entry::Item(_, (upload_id, _))) => upload_id.as_str(),
                _ => "",
            };
            xml.text("NextUploadIdMarker", last_id);
            for entry in &entries {
                if let Entry::Item(key, (upload_id, upload)) = entry {
                    xml.open("Upload");
                    names.text(&mut xml, "Key", key);
                    xml.text("UploadId", upload_id)
                        .text("StorageClass", call.face.class(&upload.attributes.storage_class))
                        .text("Initiated", &xml_date(upload.initiated))
                        .close("Upload");
                }
            }
            names.common_prefixes(&mut xml, &entries);
            Ok(())
        })?;
        Ok(xml_reply(xml))
    }
}

fn describe(xml: &mut Xml, call: &Call<'_>, object: &Object) {
    xml.text("LastModified", &xml_date(object.modified))
        .text("ETag", &quoted(&object.etag))
        .text("Type", object.object_type)
        .text("Size", &object.content.length.to_string())
        .text("StorageClass", call.face.class(&object.attributes.storage_class));
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 7] = ["a", "b/1", "b/2", "b/c/1", "b0", "c/1", "d"];

    fn names(prefix: &str, delimiter: Option<&str>, after: &str, limit: usize) -> (Vec<String>, bool) {
        let items = KEYS.iter().filter(|key| **key >= prefix && (after.is_empty() || **key > after));
        let wanted = Wanted { prefix, delimiter, after, limit };
        let (entries, truncated) = page(items.map(|key| (*key, ())), &wanted);
        (entries.iter().map(|entry| entry.name().to_owned()).collect(), truncated)
    }

    #[test]
    fn a_common_prefix_counts_once_and_is_not_repeated_on_the_next_page() {
        assert_eq!(names("", Some("/"), "", 9).0, ["a", "b/", "b0", "c/", "d"]);
        assert_eq!(names("b/", Some("/"), "", 9).0, ["b/1", "b/2", "b/c/"]);
        let mut after = String::new();
        let mut all = Vec::new();
        loop {
            let (entries, truncated) = names("", Some("/"), &after, 1);
            after = entries.last().cloned().unwrap_or_default();
            all.extend(entries);
            if !truncated {
                break;
            }
        }
        assert_eq!(all, ["a", "b/", "b0", "c/", "d"]);
    }

    #[test]
    fn a_full_page_is_truncated_only_when_something_follows() {
        assert_eq!(names("", None, "", 7), (KEYS.map(str::to_owned).to_vec(), false));
        assert!(names("", None, "", 6).1);
        assert!(!names("", Some("/"), "c", 2).1);
        assert_eq!(names("b", None, "b/2", 9).0, ["b/c/1", "b0"]);
    }
}
