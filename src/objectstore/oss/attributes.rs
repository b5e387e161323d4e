//! Object attributes of the trait as OSS headers, and back.

use std::borrow::Cow;

use http::HeaderMap;
use object_store::{Attribute, Attributes, TagSet};

use super::client::text_of;
use crate::objectstore::{ServerSideEncryption, StorageClass};

const METADATA_PREFIX: &str = "x-oss-meta-";
const STORAGE_CLASS: &str = "x-oss-storage-class";

/// Attributes that are plain HTTP headers.
const PLAIN: [(Attribute, &str); 5] = [
    (Attribute::ContentType, "content-type"),
    (Attribute::ContentDisposition, "content-disposition"),
    (Attribute::ContentEncoding, "content-encoding"),
    (Attribute::ContentLanguage, "content-language"),
    (Attribute::CacheControl, "cache-control"),
];

/// The headers that every new object gets.
#[derive(Debug, Clone)]
pub(crate) struct ObjectHeaders {
    storage_class: Option<StorageClass>,
    encryption: Vec<(String, String)>,
}

impl ObjectHeaders {
    pub(crate) fn new(
        storage_class: Option<StorageClass>,
        encryption: Option<ServerSideEncryption>,
    ) -> ObjectHeaders {
        const ENCRYPTION: &str = "x-oss-server-side-encryption";
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let encryption = match encryption {
            None => Vec::new(),
            Some(ServerSideEncryption::Aes256) => vec![header(ENCRYPTION, "AES256")],
            Some(ServerSideEncryption::Sm4) => vec![header(ENCRYPTION, "SM4")],
            Some(ServerSideEncryption::Kms { key_id }) => {
                let mut headers = vec![header(ENCRYPTION, "KMS")];
                headers.extend(key_id.map(|id| (format!("{ENCRYPTION}-key-id"), id)));
                headers
            }
        };
        ObjectHeaders { storage_class, encryption }
    }

    /// The same in class Standard.
    pub(crate) fn readable(&self) -> ObjectHeaders {
        ObjectHeaders { storage_class: Some(StorageClass::Standard), ..self.clone() }
    }

    /// Headers of PutObject and InitiateMultipartUpload: the object's own attributes before the defaults.
    pub(crate) fn for_object(
        &self,
        attributes: &Attributes,
        tags: &TagSet,
    ) -> object_store::Result<Vec<(String, String)>> {
        let mut headers = self.for_copy();
        for (attribute, value) in attributes {
            let name = match attribute {
                Attribute::StorageClass => {
                    headers.retain(|(name, _)| name != STORAGE_CLASS);
                    STORAGE_CLASS.to_owned()
                }
                Attribute::Metadata(name) => format!("{METADATA_PREFIX}{}", name.to_ascii_lowercase()),
                other => match PLAIN.iter().find(|(attribute, _)| attribute == other) {
                    Some((_, name)) => (*name).to_owned(),
                    None => {
                        let source = format!("OSS has no header for {other:?}").into();
                        return Err(object_store::Error::NotSupported { source });
                    }
                },
            };
            headers.push((name, value.as_ref().to_owned()));
        }
        if !tags.encoded().is_empty() {
            headers.push(("x-oss-tagging".to_owned(), tags.encoded().to_owned()));
        }
        Ok(headers)
    }

    /// Headers of CopyObject: the attributes come with the source.
    pub(crate) fn for_copy(&self) -> Vec<(String, String)> {
        let class = self.storage_class.map(|class| (STORAGE_CLASS.to_owned(), class.as_str().to_owned()));
        self.encryption.iter().cloned().chain(class).collect()
    }
}

/// The attributes in the headers of GET and HEAD.
pub(crate) fn attributes_of(headers: &HeaderMap) -> Attributes {
    let mut attributes = Attributes::new();
    for (attribute, name) in PLAIN {
        if let Some(value) = text_of(headers, name) {
            attributes.insert(attribute, value.into());
        }
    }
    if let Some(class) = text_of(headers, STORAGE_CLASS) {
        attributes.insert(Attribute::StorageClass, class.into());
    }
    for (name, value) in headers {
        if let (Some(name), Ok(value)) = (name.as_str().strip_prefix(METADATA_PREFIX), value.to_str()) {
            attributes.insert(Attribute::Metadata(Cow::Owned(name.to_owned())), value.to_owned().into());
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objects_own_storage_class_goes_before_the_default() {
        let defaults = ObjectHeaders::new(Some(StorageClass::Archive), Some(ServerSideEncryption::Aes256));
        let attributes = Attributes::from_iter([
            (Attribute::StorageClass, "Standard"),
            (Attribute::ContentType, "application/json"),
            (Attribute::Metadata("Run".into()), "7"),
        ]);
        let mut headers = defaults.for_object(&attributes, &TagSet::default()).unwrap();
        headers.sort();
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            headers,
            [
                ("content-type", "application/json"),
                ("x-oss-meta-run", "7"),
                ("x-oss-server-side-encryption", "AES256"),
                ("x-oss-storage-class", "Standard")
            ]
        );
    }
}
