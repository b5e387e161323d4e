//! What a client needs to know.

use std::time::Duration;

use super::ceilings::Ceilings;
use crate::credentials::CredentialsProvider;
use crate::error::retry::DEFAULT_BUDGET;
use crate::network::Network;
use crate::runtime::ConcurrencyLimit;

/// Where the service is, who asks, and how patient to be.
#[derive(Debug, Clone)]
pub struct TableStoreConfig {
    /// `https://{instance}.{region}.ots.aliyuncs.com`, or any `http` or `https` URL of a host without a path.
    pub endpoint: String,
    /// Instance name; travels in a header.
    pub instance: String,
    /// Asked for the access key before each attempt.
    pub credentials: CredentialsProvider,
    /// How requests are signed. Default: V2, which needs no region.
    pub signature: Signature,
    /// Proxy and certificate authorities.
    pub network: Network,
    /// How long one request may be repeated before it is given up. Default: 5 minutes.
    pub retry_budget: Duration,
    /// Idle connections kept open, at most. Default: 64.
    pub idle_connections: usize,
    /// Strict: every response must carry its MD5 and match it. Default: a page of rows that says where the next one
    /// starts is not checked, since that costs more CPU than decoding the rows, whose own checksums are verified in
    /// any case; every other answer is, if it carries an MD5. A body that came without a length always must.
    pub verify_response_md5: bool,
    /// Sent with every request if set. Whether the service heeds it for scans is not documented.
    pub priority: Option<Priority>,
    /// How many requests that move rows or records may be in flight, over all clones. Default: adaptive, 1 to 256.
    pub concurrency: ConcurrencyLimit,
    /// What may be used per second, over all clones. Default: no ceilings.
    pub ceilings: Ceilings,
    /// Largest response body accepted, in bytes. Default: 64 MiB; a page is 4 MB of data (service limit), which
    /// PlainBuffer can blow up tenfold when names and values are short.
    pub max_response_bytes: usize,
}

impl TableStoreConfig {
    /// The defaults.
    pub fn new(
        endpoint: impl Into<String>,
        instance: impl Into<String>,
        credentials: impl Into<CredentialsProvider>,
    ) -> TableStoreConfig {
        TableStoreConfig {
            endpoint: endpoint.into(),
            instance: instance.into(),
            credentials: credentials.into(),
            signature: Signature::V2,
            network: Network::default(),
            retry_budget: DEFAULT_BUDGET,
            idle_connections: 64,
            verify_response_md5: false,
            priority: None,
            concurrency: ConcurrencyLimit::Adaptive { floor: 1, ceiling: 256 },
            ceilings: Ceilings::default(),
            max_response_bytes: 64 << 20,
        }
    }
}

/// The `x-ots-request-priority` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// For bulk work that may wait.
    Low,
    /// As if not set.
    Normal,
    /// Before others.
    High,
}

impl Priority {
    pub(super) fn header_value(self) -> &'static str {
        match self {
            Priority::Low => "0",
            Priority::Normal => "1",
            Priority::High => "2",
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
