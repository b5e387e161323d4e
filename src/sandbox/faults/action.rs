//! What a fault does.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Service;

/// What happens to a call that a rule hits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing is applied; the service answers with this error.
    Error {
        /// The HTTP status.
        status: u16,
        /// The service's error code.
        code: String,
        /// The service's error message.
        #[serde(default)]
        message: String,
    },
    /// The call is applied; the service answers with this error all the same, as after a timeout inside.
    ErrorAfter {
        /// The HTTP status.
        status: u16,
        /// The service's error code.
        code: String,
        /// The service's error message.
        #[serde(default)]
        message: String,
    },
    /// Nothing is applied; the connection is closed without an answer.
    DropBefore,
    /// The call is applied; then the connection is closed without an answer.
    DropAfter,
    /// The call waits this long, then goes on as usual. Milliseconds in JSON.
    Delay(#[serde(with = "milliseconds")] Duration),
    /// The call waits for a random time, both ends possible.
    Jitter {
        /// Shortest wait in milliseconds.
        least_ms: u64,
        /// Longest wait in milliseconds.
        most_ms: u64,
    },
    /// The answer leaves this long after the call arrived, or later if the work on it takes longer: the work is part of
    /// this time, where [`Action::Delay`] adds to it. Milliseconds in JSON.
    Latency(#[serde(with = "milliseconds")] Duration),
    /// Request and answer bodies of all calls that this rule hits pass at this many bytes per second together.
    Bandwidth(u64),
    /// At most this many calls at the same time, for each table or bucket apart. Those above are refused as busy
    /// (`OTSServerBusy`, OSS `ServiceUnavailable`), or wait.
    Limit {
        /// Calls from their first byte to the last byte of their answer.
        in_flight: u32,
        /// Wait in place of a refusal.
        #[serde(default)]
        queue: bool,
    },
    /// The call is applied; half of the answer's body is sent under the full `Content-Length`, then the connection closes.
    TruncateBody,
    /// The call is applied; one byte of the answer's body is wrong.
    CorruptBody {
        /// Which byte, from 0; nothing happens when the body is shorter.
        offset: u64,
        /// What is XORed into it.
        xor: u8,
    },
    /// Half of the request's body arrives, then the connection closes; nothing is applied. A call without a body is
    /// dropped.
    TruncateRequest,
    /// One byte of the request's body arrives wrong.
    CorruptRequest {
        /// Which byte, from 0; nothing happens when the body is shorter.
        offset: u64,
        /// What is XORed into it.
        xor: u8,
    },
    /// The call is applied; the checksum header of the answer is wrong.
    WrongChecksum,
    /// The security token of the call has expired, for this service and from now on. A call without a token is refused in
    /// the same words, but the next one is not.
    ExpireToken,
    /// The server's clock is this many seconds ahead of the real one, for this call.
    ClockSkew(i64),
    /// Something that only one service knows, by name.
    Custom(Cow<'static, str>),
}

impl Action {
    /// An error answer.
    pub fn error(status: u16, code: impl Into<String>, message: impl Into<String>) -> Action {
        Action::Error { status, code: code.into(), message: message.into() }
    }

    /// What a service answers when it is over its capacity.
    pub fn busy(service: Service) -> Action {
        match service {
            Service::TableStore => Action::error(503, "OTSServerBusy", "Server is busy."),
            Service::Oss => Action::error(503, "ServiceUnavailable", "Please reduce your request rate."),
        }
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        u64::try_from(value.as_millis()).unwrap_or(u64::MAX).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
