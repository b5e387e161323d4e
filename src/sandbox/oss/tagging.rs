//! Object tags: from the `x-oss-tagging` header, and the operations on them.

use http::StatusCode;

use super::bucket::Object;
use super::call::{Call, Core, Outcome, xml_reply};
use super::error::{Failure, OssError};
use super::query::decode;
use super::xml::{Element, Xml};
use crate::sandbox::http::Reply;

/// Tags per object, and characters of a key and a value; OSS, "Object tagging".
const MOST_TAGS: usize = 10;
const LONGEST: (usize, usize) = (128, 256);

const MAX_DOCUMENT_BYTES: usize = 64 << 10;

/// The tags of an object, in the order they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Reads the header, `key=value&key2=value2`, percent-encoded.
    ///
    /// # Errors
    /// 400 `InvalidArgument` when it is malformed, `InvalidTag` for tags that OSS does not take.
    pub fn from_header(value: &str) -> Result<Tags, OssError> {
        let text = |raw: &str| decode(&raw.replace('+', " "));
        let pairs = value.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            text(key).zip(text(value))
        });
        let pairs: Option<Vec<_>> = pairs.collect();
        let malformed =
            || OssError::invalid_argument("The tagging header is malformed.", "x-oss-tagging", value);
        Tags::checked(pairs.ok_or_else(malformed)?)
    }

    fn from_document(document: &[u8]) -> Result<Tags, OssError> {
        let root = Element::parse(document).filter(|root| root.name == "Tagging");
        let set = root.as_ref().and_then(|root| root.children.iter().find(|child| child.name == "TagSet"));
        let set = set.ok_or_else(OssError::malformed_xml)?;
        let tag =
            |tag: &Element| Some((tag.child_text("Key")?.to_owned(), tag.child_text("Value")?.to_owned()));
        let tags: Option<Vec<_>> = set.all("Tag").map(tag).collect();
        Tags::checked(tags.ok_or_else(OssError::malformed_xml)?)
    }

    fn checked(tags: Vec<(String, String)>) -> Result<Tags, OssError> {
        let refused = |message: &str| Err(OssError::new(400, "InvalidTag", message));
        if tags.len() > MOST_TAGS {
            return refused("Object tags cannot be greater than 10.");
        }
        let fits = |text: &str, longest| text.chars().count() <= longest;
        if tags.iter().any(|(key, value)| key.is_empty() || !fits(key, LONGEST.0) || !fits(value, LONGEST.1))
        {
            return refused("A tag key has 1 to 128 characters, a value up to 256.");
        }
        let mut keys: Vec<&str> = tags.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return refused("A tag key occurs twice.");
        }
        Ok(Tags(tags))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Core {
    pub(super) fn get_object_tagging(&self, call: &Call<'_>) -> Outcome {
        let object = self.object(call)?;
        let mut xml = Xml::new("Tagging");
        xml.open("TagSet");
        for (key, value) in &object.attributes.tags.0 {
            xml.open("Tag").text("Key", key).text("Value", value).close("Tag");
        }
        xml.close("TagSet");
        Ok(xml_reply(xml))
    }

    pub(super) async fn put_object_tagging(&self, call: &mut Call<'_>) -> Outcome {
        let document = call.read_document(MAX_DOCUMENT_BYTES).await?;
        self.set_tags(call, Tags::from_document(&document)?)?;
        Ok(Reply::new(StatusCode::OK))
    }

    pub(super) fn delete_object_tagging(&self, call: &Call<'_>) -> Outcome {
        self.set_tags(call, Tags::default())?;
        Ok(Reply::new(StatusCode::NO_CONTENT))
    }

    fn set_tags(&self, call: &Call<'_>, tags: Tags) -> Result<(), Failure> {
        self.buckets.with(&call.bucket, |bucket| {
            let version = bucket.version(call)?;
            let Some(object) = &version.object else { return Err(OssError::no_such_key(&call.key)) };
            let mut tagged: Object = (**object).clone();
            tagged.attributes.tags = tags;
            let id = version.id.clone();
            bucket.objects.replace(&call.key, &id, tagged);
            Ok(())
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_decoded_and_limited() {
        let tags = Tags::from_header("a=1&b%20c=%C3%A9&d").unwrap();
        let pairs: Vec<_> = tags.0.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "1"), ("b c", "é"), ("d", "")]);
        let eleven = (0..11).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
        for wrong in ["a=1&a=2", "=1", "a=%FF", &"k".repeat(129), &eleven] {
            assert!(Tags::from_header(wrong).is_err(), "{wrong}");
        }
    }
}
