//! OSS's XML: a small element tree, and what is read from and written to it.
//!
//! Namespaces and unknown elements are ignored, document types are refused, sizes and depth are capped by the caller
//! ([`super::client`] caps bodies) and by [`DEEPEST`]. Text that is not what it should be is an error, never a guess.

use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

/// Answers nest four levels deep at most.
const DEEPEST: usize = 16;

/// Why a body is not the XML it should be.
#[derive(Debug, thiserror::Error)]
#[error("the XML body {0}")]
pub(crate) struct XmlError(String);

type Parsed<T> = Result<T, XmlError>;

fn bad<T>(what: impl Into<String>) -> Parsed<T> {
    Err(XmlError(what.into()))
}

#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn parse(body: &[u8]) -> Parsed<Element> {
        let text = std::str::from_utf8(body).map_err(|_| XmlError("is not UTF-8".to_owned()))?;
        let mut reader = Reader::from_str(text);
        // The bottom of the stack collects the root.
        let mut open = vec![Element::default()];
        loop {
            let event = reader.read_event().map_err(|error| XmlError(format!("is malformed: {error}")))?;
            let Some(top) = open.last_mut() else { return bad("is malformed") };
            match event {
                Event::Start(start) => {
                    if open.len() > DEEPEST {
                        return bad("is nested too deeply");
                    }
                    let name = start.local_name().as_ref().to_owned();
                    open.push(Element { name, ..Element::default() });
                }
                Event::Empty(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    top.children.push(Element { name, ..Element::default() });
                }
                Event::End(_) => {
                    let (Some(done), Some(parent)) = (open.pop(), open.last_mut()) else {
                        return bad("is malformed");
                    };
                    parent.children.push(done);
                }
                Event::Text(text) => top.text.push_str(&text.xml10_content()),
                Event::CData(text) => top.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(character)) => top.text.push(character),
                    Ok(None) => match quick_xml::escape::resolve_predefined_entity(&reference) {
                        Some(text) => top.text.push_str(text),
                        None => return bad("has an unknown entity"),
                    },
                    Err(_) => return bad("has a bad character reference"),
                },
                Event::DocType(_) => return bad("has a document type"),
                Event::Eof => break,
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            }
        }
        match (open.pop(), open.is_empty()) {
            (Some(mut bottom), true) if bottom.children.len() == 1 => Ok(bottom.children.remove(0)),
            _ => bad("is cut short or empty"),
        }
    }

    fn parse_as(body: &[u8], name: &str) -> Parsed<Element> {
        let root = Element::parse(body)?;
        if root.name != name {
            return bad(format!("is `{}`, not `{name}`", root.name));
        }
        Ok(root)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn text_of(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.as_str())
    }

    fn required(&self, name: &str) -> Parsed<&str> {
        self.text_of(name).ok_or_else(|| XmlError(format!("has a `{}` without `{name}`", self.name)))
    }

    /// Names in this answer are percent-encoded.
    fn is_url_encoded(&self) -> bool {
        self.text_of("EncodingType").is_some_and(|kind| kind.trim() == "url")
    }

    fn truncated(&self) -> bool {
        self.text_of("IsTruncated").is_some_and(|text| text.trim() == "true")
    }
}

/// A name as the service means it. Some SDKs decode `+` as a space and some do not; the service has to send `%2B`
/// and `%20` to suit both, so a `+` can only be a space.
fn decoded(name: &str, url_encoded: bool) -> Parsed<String> {
    if !url_encoded {
        return Ok(name.to_owned());
    }
    let spaced = name.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(name) => Ok(name.into_owned()),
        Err(_) => bad("has a name that is not UTF-8"),
    }
}

fn time(text: &str) -> Parsed<jiff::Timestamp> {
    text.trim().parse().map_err(|_| XmlError("has a time that is none".to_owned()))
}

/// OSS's error body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
}

/// The error in a body, whatever the status was; `None` if the body is something else.
pub(crate) fn service_error(body: &[u8]) -> Option<ServiceError> {
    // Do not build a tree of a long listing to learn that it is no error.
    let start = body.get(..body.len().min(256))?;
    if !start.windows(6).any(|window| window == b"<Error") {
        return None;
    }
    let root = Element::parse_as(body, "Error").ok()?;
    let text = |name| root.text_of(name).map(str::trim).unwrap_or_default().to_owned();
    let request_id = Some(text("RequestId")).filter(|id| !id.is_empty());
    Some(ServiceError { code: text("Code"), message: text("Message"), request_id })
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) e_tag: Option<String>,
    pub(crate) last_modified: jiff::Timestamp,
}

/// One page of ListObjectsV2.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ListPage {
    pub(crate) objects: Vec<ListedObject>,
    pub(crate) common_prefixes: Vec<String>,
    /// The token of the next page; `None` on the last one.
    pub(crate) next: Option<String>,
}

pub(crate) fn list_page(body: &[u8]) -> Parsed<ListPage> {
    let root = Element::parse_as(body, "ListBucketResult")?;
    let encoded = root.is_url_encoded();
    let mut page = ListPage::default();
    for listed in root.all("Contents") {
        let size = listed.required("Size")?.trim();
        page.objects.push(ListedObject {
            key: decoded(listed.required("Key")?, encoded)?,
            size: size.parse().map_err(|_| XmlError("has a size that is no number".to_owned()))?,
            e_tag: listed.text_of("ETag").map(str::to_owned),
            last_modified: time(listed.required("LastModified")?)?,
        });
    }
    for prefix in root.all("CommonPrefixes") {
        page.common_prefixes.push(decoded(prefix.required("Prefix")?, encoded)?);
    }
    if root.truncated() {
        let token = root.text_of("NextContinuationToken").filter(|token| !token.is_empty());
        page.next = Some(token.ok_or_else(|| XmlError("is truncated without a token".into()))?.to_owned());
    }
    Ok(page)
}

/// The upload id of InitiateMultipartUpload.
pub(crate) fn upload_id(body: &[u8]) -> Parsed<String> {
    let root = Element::parse_as(body, "InitiateMultipartUploadResult")?;
    match root.required("UploadId")? {
        "" => bad("has an empty `UploadId`"),
        id => Ok(id.to_owned()),
    }
}

/// The ETag of CompleteMultipartUpload.
pub(crate) fn completed(body: &[u8]) -> Parsed<Option<String>> {
    let root = Element::parse_as(body, "CompleteMultipartUploadResult")?;
    Ok(root.text_of("ETag").map(str::to_owned))
}

/// Checks that CopyObject's answer is its result.
pub(crate) fn copied(body: &[u8]) -> Parsed<()> {
    Element::parse_as(body, "CopyObjectResult").map(drop)
}

/// The keys that DeleteMultipleObjects says are gone.
pub(crate) fn deleted(body: &[u8]) -> Parsed<Vec<String>> {
    let root = Element::parse_as(body, "DeleteResult")?;
    let encoded = root.is_url_encoded();
    root.all("Deleted").map(|deleted| decoded(deleted.required("Key")?, encoded)).collect()
}

/// One page of ListMultipartUploads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct UploadsPage {
    /// Key, upload id, time.
    pub(crate) uploads: Vec<(String, String, jiff::Timestamp)>,
    /// Key marker and upload id marker of the next page; `None` on the last one.
    pub(crate) next: Option<(String, String)>,
}

pub(crate) fn uploads_page(body: &[u8]) -> Parsed<UploadsPage> {
    let root = Element::parse_as(body, "ListMultipartUploadsResult")?;
    let encoded = root.is_url_encoded();
    let mut page = UploadsPage::default();
    for upload in root.all("Upload") {
        let key = decoded(upload.required("Key")?, encoded)?;
        let id = upload.required("UploadId")?.to_owned();
        page.uploads.push((key, id, time(upload.required("Initiated")?)?));
    }
    if root.truncated() {
        let key = decoded(root.required("NextKeyMarker")?, encoded)?;
        page.next = Some((key, root.text_of("NextUploadIdMarker").unwrap_or_default().to_owned()));
    }
    Ok(page)
}

/// The days of GetBucketWorm's policy; `None` when it lapsed before it was locked.
pub(crate) fn retention_days(body: &[u8]) -> Parsed<Option<u32>> {
    let root = Element::parse_as(body, "WormConfiguration")?;
    let days = root.required("RetentionPeriodInDays")?.trim();
    let days = days.parse().map_err(|_| XmlError("has a retention period that is no number".to_owned()))?;
    Ok((root.required("State")?.trim() != "Expired").then_some(days))
}

/// The body of CompleteMultipartUpload: part numbers and ETags, ascending.
pub(crate) fn complete_body<'a>(parts: impl IntoIterator<Item = (u32, &'a str)>) -> String {
    let parts: String = parts
        .into_iter()
        .map(|(number, e_tag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", escape(e_tag))
        })
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

/// The body of DeleteMultipleObjects, not quiet: every key is answered.
pub(crate) fn delete_body<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    let keys: String =
        keys.into_iter().map(|key| format!("<Object><Key>{}</Key></Object>", escape(key))).collect();
    format!("<Delete><Quiet>false</Quiet>{keys}</Delete>")
}

/// Runs every reader over `body`, for the fuzz target, and says how many take it.
#[doc(hidden)]
pub fn read_every_xml(body: &[u8]) -> usize {
    let taken = [
        service_error(body).is_some(),
        list_page(body).is_ok(),
        upload_id(body).is_ok(),
        completed(body).is_ok(),
        copied(body).is_ok(),
        deleted(body).is_ok(),
        uploads_page(body).is_ok(),
        retention_days(body).is_ok(),
    ];
    taken.into_iter().filter(|taken| *taken).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_past_namespaces_unknown_elements_and_interleaving() {
        let body = br#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://doc.oss-cn-hangzhou.aliyuncs.com">
  <Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
  <Contents><Key>dir/a%20b%2B%C3%A9</Key><Size>7</Size><ETag>&quot;AB&quot;</ETag>
    <LastModified>2026-01-02T03:04:05.000Z</LastModified><Owner><ID>1</ID></Owner></Contents>
  <CommonPrefixes><Prefix>dir/sub%2F</Prefix></CommonPrefixes>
  <x:Contents xmlns:x="y"><Key>z</Key><Size>0</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></x:Contents>
  <Surprise/><NextContinuationToken>a%b</NextContinuationToken>
</ListBucketResult>"#;
        let page = list_page(body).unwrap();
        let keys: Vec<&str> = page.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["dir/a b+é", "z"]);
        assert_eq!(page.objects[0].e_tag.as_deref(), Some("\"AB\""));
        assert_eq!(page.objects[0].last_modified.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(page.common_prefixes, ["dir/sub/"]);
        assert_eq!(page.next.as_deref(), Some("a%b"));
    }

    #[test]
    fn a_retention_policy_counts_until_it_expires() {
        let body = |state: &str, days: &str| {
            format!(
                "<WormConfiguration><WormId>1</WormId><State>{state}</State>\
                 <RetentionPeriodInDays>{days}</RetentionPeriodInDays></WormConfiguration>"
            )
        };
        let days = |state, days| retention_days(body(state, days).as_bytes());
        assert_eq!(days("Locked", "30").unwrap(), Some(30));
        assert_eq!(days("InProgress", "1").unwrap(), Some(1));
        assert_eq!(days("Expired", "30").unwrap(), None);
        assert!(days("Locked", "many").is_err() && retention_days(b"<WormConfiguration/>").is_err());
    }

    #[test]
    fn an_error_body_is_found_in_any_answer_and_nothing_else_is_taken_for_one() {
        let body = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>a &lt; b &#38; c</Message>\
            <RequestId>65F0</RequestId><EC>0026-00000001</EC></Error>";
        let error = service_error(body).unwrap();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("NoSuchKey", "a < b & c"));
        assert_eq!(error.request_id.as_deref(), Some("65F0"));
        for body in [&b""[..], b"<html>502</html>", b"<ErrorX/>", b"<Error><Code>cut", b"\xff<Error/>"] {
            assert_eq!(service_error(body), None);
        }
    }

    #[test]
    fn damaged_bodies_are_errors() {
        let listing = b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>";
        assert!(list_page(listing).unwrap_err().to_string().contains("`Size`"));
        let endless = b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
        assert!(list_page(endless).is_err());
        let deep = format!("{}{}", "<a>".repeat(40), "</a>".repeat(40));
        assert!(upload_id(deep.as_bytes()).unwrap_err().to_string().contains("deeply"));
        let entity = b"<!DOCTYPE a [<!ENTITY e 'x'>]><InitiateMultipartUploadResult><UploadId>&e;</UploadId></InitiateMultipartUploadResult>";
        assert!(upload_id(entity).is_err());
        for body in [&b""[..], b"<a></b>", b"<a>", b"<a/><b/>", b"\xff"] {
            assert!(completed(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn bodies_we_send_escape_what_xml_cannot_hold() {
        assert_eq!(
            delete_body(["a&b<c>\"d"]),
            "<Delete><Quiet>false</Quiet><Object><Key>a&amp;b&lt;c&gt;&quot;d</Key></Object></Delete>"
        );
        let complete = complete_body([(1, "\"A\""), (2, "B")]);
        assert!(
            complete.starts_with("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;A")
        );
    }
}
