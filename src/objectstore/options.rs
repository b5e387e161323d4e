//! What a store needs besides its URL.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::credentials::CredentialsProvider;
use crate::error::retry::DEFAULT_BUDGET;
use crate::network::Network;
use crate::{Error, Kind, Result};

/// Options of [`super::open`]. The default is right for a bucket with everything in the environment.
#[derive(Clone)]
pub struct StoreOptions {
    /// `oss-cn-hangzhou.aliyuncs.com`, `http://127.0.0.1:9000`. Without a scheme: `https`, but `http` for a loopback
    /// host. Default: `OSS_ENDPOINT`, else the public endpoint of the region.
    pub endpoint: Option<String>,
    /// The region to sign for, such as `cn-hangzhou`. Default: parsed from the endpoint, else `OSS_REGION`.
    pub region: Option<String>,
    /// Asked for the access key before each attempt. Default: [`crate::credentials::CredentialChain`] for OSS.
    pub credentials: Option<CredentialsProvider>,
    /// The region's endpoint inside Alibaba Cloud's network, `oss-{region}-internal.aliyuncs.com`, whose traffic is free,
    /// instead of the public one. Default: false.
    pub internal: bool,
    /// How requests are signed. Default: V4.
    pub signature: SignatureVersion,
    /// Proxy and certificate authorities.
    pub network: Network,
    /// Where the bucket goes in the URL.
    pub addressing: Addressing,
    /// The class of new objects; an object's own [`object_store::Attribute::StorageClass`] goes before it, and objects
    /// that are [`AlwaysReadable`] are in class Standard. Default: the bucket's.
    pub storage_class: Option<StorageClass>,
    /// Encryption at rest, asked for with each new object. Default: the bucket's.
    pub encryption: Option<ServerSideEncryption>,
    /// How long one request may be repeated before it is given up. Default: 5 minutes.
    pub retry_budget: Duration,
    /// Create a local directory that does not exist. Default: true; false for what only reads.
    pub create_directory: bool,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            endpoint: None,
            region: None,
            credentials: None,
            internal: false,
            signature: SignatureVersion::V4,
            network: Network::default(),
            addressing: Addressing::Auto,
            storage_class: None,
            encryption: None,
            retry_budget: DEFAULT_BUDGET,
            create_directory: true,
        }
    }
}

impl StoreOptions {
    /// Signs with a fixed access key, or with those of a provider.
    pub fn with_credentials(mut self, credentials: impl Into<CredentialsProvider>) -> StoreOptions {
        self.credentials = Some(credentials.into());
        self
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("addressing", &self.addressing)
            .field("storage_class", &self.storage_class)
            .finish_non_exhaustive()
    }
}

/// Put into a put's extensions, it asks for a class that can be read at any time, whatever the bucket's class and
/// [`StoreOptions::storage_class`] are: an archive is of no use when its list of files has to be restored first.
#[derive(Debug, Clone, Copy)]
pub struct AlwaysReadable;

/// How requests to OSS are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureVersion {
    /// HMAC-SHA256 with a key derived from the secret for one day and one region.
    #[default]
    V4,
    /// HMAC-SHA1 with the secret. Buckets made since 2025-09-01 refuse it.
    V1,
}

/// Where the bucket goes in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// Path style when the host is an IP address or `localhost`, virtual host otherwise.
    #[default]
    Auto,
    /// `http://{endpoint}/{bucket}/{key}`; the service itself refuses it, local servers need it.
    Path,
    /// `https://{bucket}.{endpoint}/{key}`.
    VirtualHost,
    /// `https://{domain}/{key}`: the endpoint is a domain that is bound to the bucket.
    CustomDomain,
}

/// An OSS storage class, by the name that OSS uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StorageClass {
    /// Read often.
    Standard,
    /// Infrequent access; billed for at least 30 days.
    InfrequentAccess,
    /// Billed for at least 60 days; has to be restored before it can be read.
    Archive,
    /// Billed for at least 180 days; restored in hours.
    ColdArchive,
    /// Billed for at least 180 days; restored in hours to days.
    DeepColdArchive,
}

impl StorageClass {
    const ALL: [StorageClass; 5] = [
        StorageClass::Standard,
        StorageClass::InfrequentAccess,
        StorageClass::Archive,
        StorageClass::ColdArchive,
        StorageClass::DeepColdArchive,
    ];

    /// The value of `x-oss-storage-class`.
    pub fn as_str(self) -> &'static str {
        match self {
            StorageClass::Standard => "Standard",
            StorageClass::InfrequentAccess => "IA",
            StorageClass::Archive => "Archive",
            StorageClass::ColdArchive => "ColdArchive",
            StorageClass::DeepColdArchive => "DeepColdArchive",
        }
    }
}

impl FromStr for StorageClass {
    type Err = Error;
    fn from_str(text: &str) -> Result<StorageClass> {
        StorageClass::ALL.into_iter().find(|class| class.as_str().eq_ignore_ascii_case(text)).ok_or_else(
            || {
                Error::new(Kind::Usage, "read the storage class")
                    .because(format!("`{text}` is none"))
                    .hint("use `Standard`, `IA`, `Archive`, `ColdArchive` or `DeepColdArchive`")
            },
        )
    }
}

/// Encryption at rest, done by OSS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSideEncryption {
    /// Keys that OSS manages, AES-256.
    Aes256,
    /// Keys that OSS manages, SM4.
    Sm4,
    /// Keys in KMS.
    Kms {
        /// The key's id; `None` for the default key.
        key_id: Option<String>,
    },
}

impl FromStr for ServerSideEncryption {
    type Err = Error;
    fn from_str(text: &str) -> Result<ServerSideEncryption> {
        let (name, key_id) = text.split_once(':').map_or((text, None), |(name, id)| (name, Some(id)));
        match (name.to_ascii_uppercase().as_str(), key_id) {
            ("AES256", None) => Ok(ServerSideEncryption::Aes256),
            ("SM4", None) => Ok(ServerSideEncryption::Sm4),
            ("KMS", None) => Ok(ServerSideEncryption::Kms { key_id: None }),
            ("KMS", Some(id)) if !id.is_empty() => {
                Ok(ServerSideEncryption::Kms { key_id: Some(id.to_owned()) })
            }
            _ => Err(Error::new(Kind::Usage, "read the encryption")
                .because(format!("`{text}` is none"))
                .hint("use `AES256`, `SM4`, `KMS` or `KMS:key-id`")),
        }
    }
}

impl FromStr for SignatureVersion {
    type Err = Error;
    fn from_str(text: &str) -> Result<SignatureVersion> {
        match text.to_ascii_lowercase().as_str() {
            "v4" => Ok(SignatureVersion::V4),
            "v1" => Ok(SignatureVersion::V1),
            _ => Err(Error::new(Kind::Usage, "read the signature version")
                .because(format!("`{text}` is none"))
                .hint("use `v4` or `v1`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_classes_are_read_by_their_oss_names_in_any_case() {
        assert_eq!("ia".parse::<StorageClass>().unwrap(), StorageClass::InfrequentAccess);
        assert_eq!("ColdArchive".parse::<StorageClass>().unwrap(), StorageClass::ColdArchive);
        assert_eq!("GLACIER".parse::<StorageClass>().unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn encryption_is_an_algorithm_or_a_key_in_kms() {
        let kms = |id: Option<&str>| ServerSideEncryption::Kms { key_id: id.map(str::to_owned) };
        let cases =
            [("aes256", ServerSideEncryption::Aes256), ("KMS", kms(None)), ("kms:a:b", kms(Some("a:b")))];
        for (text, expected) in cases {
            assert_eq!(text.parse::<ServerSideEncryption>().unwrap(), expected, "{text}");
        }
        for text in ["", "KMS:", "AES256:id", "ROT13"] {
            assert_eq!(text.parse::<ServerSideEncryption>().unwrap_err().kind(), Kind::Usage, "{text}");
        }
    }
}
