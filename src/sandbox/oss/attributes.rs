//! What an object carries besides its bytes: standard headers, user metadata, storage class, encryption.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::OssError;
use super::tagging::Tags;

/// User metadata per object, in bytes of names and values together; from the manual's "Manage object metadata".
const MAX_METADATA_BYTES: usize = 8 << 10;

const STANDARD: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
];

const ENCRYPTION: [&str; 3] = [
    "x-oss-server-side-encryption",
    "x-oss-server-side-data-encryption",
    "x-oss-server-side-encryption-key-id",
];

/// The headers that are kept with an object and sent back with it.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    kept: Vec<(HeaderName, HeaderValue)>,
    encryption: Vec<(HeaderName, HeaderValue)>,
    /// Its tags.
    pub tags: Tags,
    /// `Standard`, `IA`, `Archive`, `ColdArchive` or `DeepColdArchive`.
    pub storage_class: String,
}

impl Attributes {
    /// Reads them from a PutObject, CopyObject, AppendObject or InitiateMultipartUpload; `default_class` is the bucket's.
    ///
    /// # Errors
    /// 400 for values that the service does not know, and for more than 8 KiB of user metadata.
    pub fn of(headers: &HeaderMap, default_class: &str) -> Result<Attributes, OssError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if text("content-encoding").is_some_and(|value| value.contains("aws-chunked")) {
            let message = "The aws-chunked encoding is not supported.";
            return Err(OssError::invalid_argument(message, "Content-Encoding", "aws-chunked"));
        }
        let storage_class = text("x-oss-storage-class").unwrap_or(default_class);
        if !is_storage_class(storage_class) {
            let message = "The storage class you specified is not valid.";
            return Err(OssError::invalid_argument(message, "x-oss-storage-class", storage_class));
        }
        if let Some(algorithm) = text("x-oss-server-side-encryption")
            && !matches!(algorithm, "AES256" | "KMS" | "SM4")
        {
            let message = "The encryption algorithm you specified is not valid.";
            return Err(OssError::new(400, "InvalidEncryptionAlgorithmError", message));
        }
        let mut kept = Vec::new();
        let mut encryption = Vec::new();
        let mut metadata_bytes = 0;
        for (name, value) in headers {
            if name.as_str().starts_with("x-oss-meta-") {
                metadata_bytes += name.as_str().len() - "x-oss-meta-".len() + value.len();
                kept.push((name.clone(), value.clone()));
            } else if STANDARD.contains(name) {
                kept.push((name.clone(), value.clone()));
            } else if ENCRYPTION.contains(&name.as_str()) {
                encryption.push((name.clone(), value.clone()));
            }
        }
        if metadata_bytes > MAX_METADATA_BYTES {
            let message = "The size of the user metadata exceeds the limit of 8 KB.";
            return Err(OssError::invalid_argument(message, "x-oss-meta-", metadata_bytes.to_string()));
        }
        if !headers.contains_key(header::CONTENT_TYPE) {
            kept.push((header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")));
        }
        let tags = Tags::from_header(text("x-oss-tagging").unwrap_or_default())?;
        Ok(Attributes { kept, encryption, tags, storage_class: storage_class.to_owned() })
    }

    /// The same headers and tags under the class and encryption of `other`.
    pub fn with_class_of(&self, other: Attributes) -> Attributes {
        Attributes { kept: self.kept.clone(), tags: self.tags.clone(), ..other }
    }

    /// Adds everything, as GetObject and HeadObject show it.
    pub fn show(&self, headers: &mut HeaderMap) {
        headers.extend(self.kept.iter().cloned());
        if let Ok(class) = HeaderValue::from_str(&self.storage_class) {
            headers.insert("x-oss-storage-class", class);
        }
        if self.tags.count() > 0 {
            headers.insert("x-oss-tagging-count", HeaderValue::from(self.tags.count()));
        }
        self.show_encryption(headers);
    }

    /// Adds the encryption headers, as every answer to a write shows them.
    pub fn show_encryption(&self, headers: &mut HeaderMap) {
        headers.extend(self.encryption.iter().cloned());
    }

    /// Reading needs a RestoreObject first.
    pub fn is_archived(&self) -> bool {
        self.storage_class.contains("Archive")
    }
}

/// Whether OSS knows such a storage class.
pub fn is_storage_class(name: &str) -> bool {
    matches!(name, "Standard" | "IA" | "Archive" | "ColdArchive" | "DeepColdArchive")
}

/// Refuses encryption headers where the service does: on parts.
///
/// # Errors
/// 400 `InvalidArgument`.
pub fn refuse_encryption(headers: &HeaderMap) -> Result<(), OssError> {
    match ENCRYPTION.iter().find(|name| headers.contains_key(**name)) {
        Some(name) => {
            Err(OssError::invalid_argument("Encryption is chosen when the upload is initiated.", name, ""))
        }
        None => Ok(()),
    }
}
