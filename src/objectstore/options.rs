//! What a store needs besides its URL.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::credentials::CredentialsProvider;
use crate::error::retry::DEFAULT_BUDGET;
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
    /// Where the bucket goes in the URL.
    pub addressing: Addressing,
    /// The class of new objects; an object's own [`object_store::Attribute::StorageClass`] goes before it. Default:
    /// the bucket's.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_classes_are_read_by_their_oss_names_in_any_case() {
        assert_eq!("ia".parse::<StorageClass>().unwrap(), StorageClass::InfrequentAccess);
        assert_eq!("ColdArchive".parse::<StorageClass>().unwrap(), StorageClass::ColdArchive);
        assert_eq!("GLACIER".parse::<StorageClass>().unwrap_err().kind(), Kind::Usage);
    }
}
