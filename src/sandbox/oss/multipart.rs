//! Multipart uploads, strictly: what Complete names must be there, in order, unchanged and large enough.

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::attributes::{Attributes, refuse_encryption};
use super::bucket::{Bucket, Object};
use super::call::{Call, Core, Outcome, etag_of, quoted, xml_reply};
use super::copy::copied;
use super::error::OssError;
use super::object::show_version;
use super::query::{encode, encode_key};
use super::range::{self, Wanted};
use super::storage::{Content, MAX_BODY_BYTES};
use super::time::xml_date;
use super::xml::{Element, Xml};
use crate::sandbox::faults::Service;
use crate::sandbox::http::Reply;

/// Part numbers go from 1 to this.
const MAX_PARTS: u32 = 10_000;

/// The document of a Complete with 10,000 parts has about 1 MB.
const MAX_COMPLETE_BYTES: usize = 4 << 20;

/// The gauge of uploads that are neither completed nor aborted.
pub const OPEN_UPLOADS: &str = "open_uploads";

/// An open upload.
pub struct Upload {
    /// When it was initiated.
    pub initiated: Timestamp,
    /// What the object will carry.
    pub attributes: Attributes,
    /// The parts by number.
    pub parts: BTreeMap<u32, Part>,
}

/// One part.
pub struct Part {
    content: Content,
    etag: String,
    modified: Timestamp,
}

impl Core {
    pub(super) fn initiate_multipart_upload(&self, call: &Call<'_>) -> Outcome {
        let encodes = call.encodes_names()?;
        let attributes = self.attributes(call)?;
        let mut headers = HeaderMap::new();
        attributes.show_encryption(&mut headers);
        let upload_id = format!("{:032X}", rand::random::<u128>());
        let forbids_overwrite = call.forbids_overwrite();
        self.buckets.with(&call.bucket, |bucket| {
            bucket.check_overwrite(call, forbids_overwrite)?;
            let upload = Upload { initiated: call.now, attributes, parts: BTreeMap::new() };
            bucket.uploads.insert((call.key.clone(), upload_id.clone()), upload);
            Ok(())
        })?;
        self.counters.move_gauge(Service::Oss, OPEN_UPLOADS, 1);
        let mut xml = Xml::new("InitiateMultipartUploadResult");
        if encodes {
            xml.text("EncodingType", "url");
        }
        xml.text("Bucket", &call.bucket).text("Key", &shown(&call.key, encodes)).text("UploadId", &upload_id);
        let mut reply = xml_reply(xml);
        reply.headers.extend(headers);
        Ok(reply)
    }

    pub(super) async fn upload_part(&self, call: &mut Call<'_>) -> Outcome {
        call.check_framing()?;
        refuse_encryption(&call.request.headers)?;
        let number = part_number(call)?;
        self.with_upload(call, |_| Ok(()))?;
        let content = call.receive(&self.storage).await?;
        let reply = Reply::new(StatusCode::OK)
            .with("etag", quoted(&etag_of(&content)))
            .with("x-oss-hash-crc64ecma", content.crc64.to_string());
        self.keep_part(call, number, content)?;
        Ok(reply)
    }

    pub(super) async fn upload_part_copy(&self, call: &mut Call<'_>) -> Outcome {
        refuse_encryption(&call.request.headers)?;
        let number = part_number(call)?;
        self.with_upload(call, |_| Ok(()))?;
        let source = self.copy_source(call)?;
        let size = source.content.length;
        let (start, length) = match call.header("x-oss-copy-source-range") {
            None => (0, size),
            // A range that does not lie within the source is an error here, in contrast to a GET.
            Some(value) => match range::wanted(value, size, false)? {
                Wanted::Slice { start, length } => (start, length),
                Wanted::Whole => {
                    let message = "The copy source range is not valid for the source object.";
                    return Err(OssError::invalid_argument(message, "x-oss-copy-source-range", value).into());
                }
            },
        };
        if length > MAX_BODY_BYTES {
            return Err(super::storage::too_large().into());
        }
        let content = self.storage.copy(&source.content, start, length).await?;
        let reply = copied("CopyPartResult", &etag_of(&content), call);
        let reply = reply.with("x-oss-hash-crc64ecma", content.crc64.to_string());
        self.keep_part(call, number, content)?;
        Ok(reply)
    }

    pub(super) async fn complete_multipart_upload(&self, call: &mut Call<'_>) -> Outcome {
        let encodes = call.encodes_names()?;
        let document = call.read_document(MAX_COMPLETE_BYTES).await?;
        let all = call.header("x-oss-complete-all").is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        let listed = if all {
            if !document.is_empty() {
                let message = "The body must be empty when x-oss-complete-all is set.";
                return Err(OssError::invalid_argument(message, "x-oss-complete-all", "yes").into());
            }
            None
        } else {
            Some(listed_parts(&document).ok_or_else(OssError::malformed_xml)?)
        };
        let upload_id = upload_id(call);
        let forbids_overwrite = call.forbids_overwrite();
        let (etag, crc64, attributes, version_id) = self.buckets.with(&call.bucket, |bucket| {
            let slot = (call.key.clone(), upload_id.to_owned());
            let upload = bucket.uploads.get(&slot).ok_or_else(|| OssError::no_such_upload(upload_id))?;
            let parts = upload.chosen(listed.as_deref(), upload_id, self.min_part_bytes)?;
            let content = Content::concatenate(parts.iter().map(|part| &part.content));
            let etag = format!("{}-{}", hex::encode_upper(content.md5), parts.len());
            let (crc64, attributes) = (content.crc64, upload.attributes.clone());
            let object = Object {
                etag: etag.clone(),
                object_type: "Multipart",
                attributes: attributes.clone(),
                ..Object::normal(content, call.now)
            };
            let version_id = bucket.commit(call, object, forbids_overwrite)?;
            bucket.uploads.remove(&slot);
            Ok((etag, crc64, attributes, version_id))
        })?;
        self.counters.move_gauge(Service::Oss, OPEN_UPLOADS, -1);
        let mut xml = Xml::new("CompleteMultipartUploadResult");
        if encodes {
            xml.text("EncodingType", "url");
        }
        xml.text("Location", &format!("http://{}/{}/{}", call.host, call.bucket, encode_key(&call.key)));
        xml.text("Bucket", &call.bucket).text("Key", &shown(&call.key, encodes)).text("ETag", &quoted(&etag));
        let mut reply =
            xml_reply(xml).with("etag", quoted(&etag)).with("x-oss-hash-crc64ecma", crc64.to_string());
        show_version(&mut reply, version_id);
        attributes.show_encryption(&mut reply.headers);
        Ok(reply)
    }

    pub(super) fn abort_multipart_upload(&self, call: &Call<'_>) -> Outcome {
        let upload_id = upload_id(call);
        self.buckets.with(&call.bucket, |bucket| {
            let removed = bucket.uploads.remove(&(call.key.clone(), upload_id.to_owned()));
            removed.ok_or_else(|| OssError::no_such_upload(upload_id))
        })?;
        self.counters.move_gauge(Service::Oss, OPEN_UPLOADS, -1);
        Ok(Reply::new(StatusCode::NO_CONTENT))
    }

    pub(super) fn list_parts(&self, call: &Call<'_>) -> Outcome {
        let encodes = call.encodes_names()?;
        let limit = call.query.number("max-parts", 1000, 1..=1000)?;
        let marker = call.query.number("part-number-marker", 0, 0..=usize::MAX)?;
        let mut xml = Xml::new("ListPartsResult");
        if encodes {
            xml.text("EncodingType", "url");
        }
        xml.text("Bucket", &call.bucket).text("Key", &shown(&call.key, encodes));
        xml.text("UploadId", upload_id(call));
        self.with_upload(call, |upload| {
            xml.text("StorageClass", call.face.class(&upload.attributes.storage_class));
            xml.text("PartNumberMarker", &marker.to_string()).text("MaxParts", &limit.to_string());
            let after = |(number, _): &(&u32, &Part)| **number as usize > marker;
            let page: Vec<_> = upload.parts.iter().filter(after).take(limit).collect();
            let last = page.last().map_or(0, |(number, _)| **number as usize);
            let truncated = upload.parts.keys().any(|number| last > 0 && *number as usize > last);
            xml.text("NextPartNumberMarker", &last.to_string());
            xml.text("IsTruncated", if truncated { "true" } else { "false" });
            for (number, part) in page {
                xml.open("Part")
                    .text("PartNumber", &number.to_string())
                    .text("LastModified", &xml_date(part.modified))
                    .text("ETag", &quoted(&part.etag))
                    .text("HashCrc64ecma", &part.content.crc64.to_string())
                    .text("Size", &part.content.length.to_string())
                    .close("Part");
            }
            Ok(())
        })?;
        Ok(xml_reply(xml))
    }

    fn with_upload<T>(
        &self,
        call: &Call<'_>,
        act: impl FnOnce(&mut Upload) -> Result<T, OssError>,
    ) -> Result<T, OssError> {
        let upload_id = upload_id(call);
        self.buckets.with(&call.bucket, |bucket: &mut Bucket| {
            let upload = bucket.uploads.get_mut(&(call.key.clone(), upload_id.to_owned()));
            act(upload.ok_or_else(|| OssError::no_such_upload(upload_id))?)
        })
    }

    /// Keeps a part under its number, in place of an earlier one. The upload may have ended meanwhile.
    fn keep_part(&self, call: &Call<'_>, number: u32, content: Content) -> Result<(), OssError> {
        let part = Part { etag: etag_of(&content), content, modified: call.now };
        self.with_upload(call, |upload| {
            upload.parts.insert(number, part);
            Ok(())
        })
    }
}

impl Upload {
    /// The parts that a Complete names, or all when it names none, after every check the service makes.
    fn chosen(
        &self,
        listed: Option<&[(u32, String)]>,
        upload_id: &str,
        min_part_bytes: u64,
    ) -> Result<Vec<&Part>, OssError> {
        let invalid = |number: u32, etag: &str| {
            let message = "One or more of the specified parts could not be found or the specified entity tag might not \
                           have matched the part's entity tag.";
            OssError::new(400, "InvalidPart", message)
                .with("UploadId", upload_id)
                .with("PartNumber", number.to_string())
                .with("PartEtag", etag)
        };
        let parts = match listed {
            None => self.parts.iter().map(|(number, part)| (*number, part)).collect(),
            Some(listed) => {
                if !listed.is_sorted_by(|(one, _), (next, _)| one < next) {
                    let message = "The list of parts was not in ascending order.";
                    return Err(OssError::new(400, "InvalidPartOrder", message).with("UploadId", upload_id));
                }
                let find = |(number, etag): &(u32, String)| match self.parts.get(number) {
                    Some(part) if part.etag.eq_ignore_ascii_case(etag) => Ok((*number, part)),
                    _ => Err(invalid(*number, etag)),
                };
                listed.iter().map(find).collect::<Result<Vec<_>, _>>()?
            }
        };
        let Some((_, all_but_last)) = parts.split_last() else { return Err(invalid(0, "")) };
        if let Some((number, part)) =
            all_but_last.iter().find(|(_, part)| part.content.length < min_part_bytes)
        {
            let message = "Your proposed upload smaller than the minimum allowed size.";
            return Err(OssError::new(400, "EntityTooSmall", message)
                .with("MinSizeAllowed", min_part_bytes.to_string())
                .with("ProposedSize", part.content.length.to_string())
                .with("PartNumber", number.to_string()));
        }
        Ok(parts.into_iter().map(|(_, part)| part).collect())
    }
}

fn listed_parts(document: &[u8]) -> Option<Vec<(u32, String)>> {
    let root = Element::parse(document).filter(|root| root.name == "CompleteMultipartUpload")?;
    let part = |part: &Element| {
        let number = part.child_text("PartNumber")?.trim().parse().ok()?;
        Some((number, part.child_text("ETag")?.trim().trim_matches('"').to_owned()))
    };
    let parts: Option<Vec<_>> = root.all("Part").map(part).collect();
    parts.filter(|parts| !parts.is_empty() && parts.len() <= MAX_PARTS as usize)
}

fn upload_id<'a>(call: &'a Call<'_>) -> &'a str {
    call.query.get("uploadId").unwrap_or_default()
}

fn part_number(call: &Call<'_>) -> Result<u32, OssError> {
    let text = call.query.get("partNumber").unwrap_or_default();
    text.parse().ok().filter(|number| (1..=MAX_PARTS).contains(number)).ok_or_else(|| {
        let message = format!("Part number must be an integer between 1 and {MAX_PARTS}, inclusive.");
        OssError::invalid_argument(message, "partNumber", text)
    })
}

fn shown(key: &str, encodes: bool) -> String {
    if encodes { encode(key) } else { key.to_owned() }
}
