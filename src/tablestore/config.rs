//! What a client needs to know.

use std::time::Duration;

use crate::credentials::Credentials;
use crate::error::retry::DEFAULT_BUDGET;

/// Where the service is, who asks, and how patient to be.
#[derive(Debug, Clone)]
pub struct TableStoreConfig {
    /// `https://{instance}.{region}.ots.aliyuncs.com`, or any `http` or `https` URL of a host without a path.
    pub endpoint: String,
    /// Instance name; travels in a header.
    pub instance: String,
    /// Access key, with the security token if it is a temporary one.
    pub credentials: Credentials,
    /// How requests are signed. Default: V2, which needs no region.
    pub signature: Signature,
    /// How long one request may be repeated before it is given up. Default: 5 minutes.
    pub retry_budget: Duration,
    /// Idle connections kept open, at most. Default: 64.
    pub idle_connections: usize,
    /// Whether the MD5 of every response body is computed and compared. Default: no, it costs more CPU than decoding
    /// the rows, whose own checksums are verified in any case. A body that came without a length is always checked.
    pub verify_response_md5: bool,
    /// Largest response body accepted, in bytes. Default: 64 MiB; a page is 4 MB of data (service limit), which
    /// PlainBuffer can blow up tenfold when names and values are short.
    pub max_response_bytes: usize,
}

impl TableStoreConfig {
    /// The defaults.
    pub fn new(
        endpoint: impl Into<String>,
        instance: impl Into<String>,
        credentials: Credentials,
    ) -> TableStoreConfig {
        TableStoreConfig {
            endpoint: endpoint.into(),
            instance: instance.into(),
            credentials,
            signature: Signature::V2,
            retry_budget: DEFAULT_BUDGET,
            idle_connections: 64,
            verify_response_md5: false,
            max_response_bytes: 64 << 20,
        }
    }
}

/// The two ways to sign a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// HMAC-SHA1 with the secret.
    V2,
    /// HMAC-SHA256 with a key derived from the secret for one day and one region.
    V4 {
        /// Such as `cn-hangzhou`.
        region: String,
    },
}
