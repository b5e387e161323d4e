//! The ways one exchange can fail, what the retry table says about each, and the error a person reads.

use crate::error::retry::{self, Pace, Retry};
use crate::proto;
use crate::{Error, Kind};

/// One exchange without a usable answer.
pub(super) enum Failure {
    /// No answer, or only a part of one.
    Transport { sent: bool, timed_out: bool, source: BoxError },
    /// The service says no.
    Service(ServiceError),
    /// Something answered that is not Table Store.
    NotTableStore { status: u16, content_type: Option<String> },
    /// The body is not the one that was sent: its MD5 differs, or it has neither length nor MD5.
    Damaged { request_id: Option<String>, md5: bool },
    /// The body is the one that was sent, and makes no sense.
    Invalid { source: BoxError, request_id: Option<String> },
    /// The body is larger than the client accepts.
    TooLarge { limit: usize, request_id: Option<String> },
    /// A header value that HTTP does not allow.
    HeaderValue,
    /// There was no key to sign the request with.
    NoKey(Error),
}

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A protobuf `Error` and where it came from.
pub(super) struct ServiceError {
    pub(super) status: u16,
    pub(super) request_id: Option<String>,
    pub(super) error: Box<proto::Error>,
}

/// Damaged answers, and answers that make no sense, are asked for again a few times only: what stays broken is broken
/// at the source. An empty page that leads nowhere belongs here too: the service may have run out of time.
const MAX_DAMAGED_ANSWERS: u32 = 5;

/// A request that was damaged on its way has the wrong MD5 or signature, and Table Store has one code for that, for a
/// wrong key and for a clock that is off. So a refused key is tried again, this often: nothing was applied, and a key that is wrong
/// is known to be some 50 ms later.
const MAX_REFUSED_KEYS: u32 = 3;

impl Failure {
    /// Whether the exchange may have been damaged on its way, there or back.
    pub(super) fn may_be_damage(&self) -> bool {
        matches!(self, Failure::Damaged { .. } | Failure::Invalid { .. }) || self.refuses_the_key()
    }

    /// What the retry table says; `damaged` exchanges [may have been](Failure::may_be_damage), this one included.
    pub(super) fn retry(&self, damaged: u32) -> Retry {
        match self {
            Failure::Transport { sent, .. } => retry::transport(*sent),
            Failure::Service(_) if self.refuses_the_key() && damaged < MAX_REFUSED_KEYS => {
                Retry::Always(Pace::Fault)
            }
            Failure::Service(service) => service.retry(),
            Failure::NoKey(error) => retry::no_key(error.kind()),
            Failure::NotTableStore { status, .. } => retry::table_store(*status, "", ""),
            Failure::Damaged { .. } | Failure::Invalid { .. } if damaged < MAX_DAMAGED_ANSWERS => {
                retry::transport(true)
            }
            Failure::Damaged { .. }
            | Failure::Invalid { .. }
            | Failure::TooLarge { .. }
            | Failure::HeaderValue => Retry::Never,
        }
    }

    /// Whether another access key may help.
    pub(super) fn refuses_the_key(&self) -> bool {
        matches!(self, Failure::Service(service) if retry::refuses_the_key(&service.error.code))
    }

    /// One word for the log.
    pub(super) fn reason(&self) -> &str {
        match self {
            Failure::Transport { sent: false, .. } => "cannot connect",
            Failure::Transport { sent: true, .. } => "connection lost",
            Failure::Service(service) => &service.error.code,
            Failure::NotTableStore { .. } => "not an answer of table store",
            Failure::Damaged { .. } => "damaged answer",
            Failure::Invalid { .. } => "invalid answer",
            Failure::TooLarge { .. } => "answer too large",
            Failure::HeaderValue => "header value",
            Failure::NoKey(_) => "no access key",
        }
    }

    /// The request id, if the service answered with one.
    pub(super) fn request_id(&self) -> Option<&str> {
        match self {
            Failure::Service(ServiceError { request_id, .. })
            | Failure::Damaged { request_id, .. }
            | Failure::Invalid { request_id, .. }
            | Failure::TooLarge { request_id, .. } => request_id.as_deref(),
            _ => None,
        }
    }

    /// The error for the caller. `error` has the operation and the table already.
    pub(super) fn into_error(self, error: Error, endpoint: &str) -> Error {
        let id = self.request_id().map(str::to_owned);
        let error = error.request_id(id);
        match self {
            Failure::Transport { sent, timed_out, source } => {
                let why = match (sent, timed_out) {
                    (false, _) => format!("no connection to `{endpoint}`"),
                    (true, true) => format!("`{endpoint}` stopped answering"),
                    (true, false) => format!("the connection to `{endpoint}` was lost"),
                };
                let error = error.with_kind(Kind::Unavailable).because(why).source(source);
                match sent {
                    false => error.hint("check the endpoint and the network of this machine"),
                    true => error,
                }
            }
            Failure::Service(service) => service.fill(error),
            Failure::NotTableStore { status, content_type } => {
                let what = content_type.map(|name| format!(" ({name})")).unwrap_or_default();
                let error = error
                    .because(format!("`{endpoint}` answered status {status}{what}, not as Table Store does"));
                match status {
                    500.. => error.with_kind(Kind::Unavailable),
                    _ => error.with_kind(Kind::Usage).hint(
                        "an endpoint looks like `https://<instance>.<region>.ots.aliyuncs.com`; check it and any proxy",
                    ),
                }
            }
            Failure::Damaged { md5: true, .. } => {
                error.with_kind(Kind::Corrupt).because("the answer does not match its MD5")
            }
            Failure::Damaged { md5: false, .. } => {
                error.with_kind(Kind::Corrupt).because("the answer has no MD5 to check it by")
            }
            Failure::Invalid { source, .. } => {
                error.with_kind(Kind::Corrupt).because("the answer makes no sense").source(source)
            }
            Failure::TooLarge { limit, .. } => error
                .with_kind(Kind::Corrupt)
                .because(format!("the answer is larger than the {limit} bytes that this client accepts")),
            Failure::NoKey(source) => error.with_kind(source.kind()).source(source),
            Failure::HeaderValue => {
                error.with_kind(Kind::Internal).because("a header value is not allowed in HTTP")
            }
        }
    }
}

impl ServiceError {
    /// Reads an error body; `None` if it is not one.
    pub(super) fn decode(
        status: u16,
        request_id: Option<String>,
        body: &bytes::Bytes,
    ) -> Option<ServiceError> {
        let error = <proto::Error as prost::Message>::decode(body.clone()).ok()?;
        // prost leaves a missing required field empty.
        let is_code = !error.code.is_empty() && error.code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_code.then(|| ServiceError { status, request_id, error: Box::new(error) })
    }

    pub(super) fn retry(&self) -> Retry {
        retry::table_store(self.status, &self.error.code, self.error.message())
    }

    /// Adds kind, code, message and hints to `error`.
    pub(super) fn fill(self, error: Error) -> Error {
        let kind = self.kind();
        let proto::Error { code, message, access_denied_detail } = *self.error;
        let mut error = error.with_kind(kind);
        error = match code.as_str() {
            "OTSAuthFailed" => error
                .hint("check the access key, the instance name, and that the instance is running")
                .hint("a clock that is off by more than 15 minutes also fails here"),
            "OTSNoPermissionAccess" | "OTSPermissionDenied" => {
                error.hint("the RAM user or role of this key lacks the right for this operation")
            }
            "OTSObjectNotExist" => error.hint("check the table name and the instance"),
            "OTSTrimmedDataAccess" => error.hint("the Stream records are gone: take a new full backup"),
            "OTSTooFrequentReservedThroughputAdjustment" => error.hint("wait some minutes and repeat"),
            _ if kind == Kind::Throttled => {
                error.hint("repeat with less concurrency, or raise the throughput")
            }
            _ => error,
        };
        if let Some(detail) = access_denied_detail {
            error = error.hint(format!(
                "`{}` is denied to `{}` by {} ({})",
                detail.auth_action,
                detail.auth_principal_display_name,
                detail.policy_type,
                detail.no_permission_type
            ));
        }
        if let Some(message) = message.filter(|message| !message.is_empty()) {
            error = error.because(message);
        }
        error.code(code)
    }

    fn kind(&self) -> Kind {
        match self.error.code.as_str() {
            "OTSAuthFailed" | "OTSNoPermissionAccess" | "OTSPermissionDenied" => Kind::Permission,
            "OTSObjectNotExist" => Kind::NotFound,
            "OTSObjectAlreadyExist" => Kind::AlreadyExists,
            "OTSTrimmedDataAccess" => Kind::Gap,
            "OTSRequestTimeout" => Kind::Unavailable,
            _ => match self.retry() {
                Retry::Never => Kind::Refused,
                Retry::Always(Pace::Throttled) | Retry::IfIdempotent(Pace::Throttled) => Kind::Throttled,
                Retry::Always(Pace::Fault) | Retry::IfIdempotent(Pace::Fault) => Kind::Unavailable,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_body_of_the_service_becomes_an_error_with_code_kind_and_request_id() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/vectors/signing.json")).unwrap();
        let cases = file["errors"].as_array().unwrap();
        assert_eq!(cases.len(), 24);
        let mut kinds = Vec::new();
        for case in cases {
            let body = hex::decode(case["body_hex"].as_str().unwrap()).unwrap().into();
            let status = u16::try_from(case["http_status"].as_u64().unwrap()).unwrap();
            let service = ServiceError::decode(status, Some("id-1".into()), &body).unwrap();
            let code = case["code"].as_str().unwrap();
            let verdict = &case["python_default_retry"];
            if verdict.is_object() {
                let decisions = [("read_apis", true), ("write_apis", false)];
                for (apis, idempotent) in decisions {
                    let repeated = service.retry().pace(idempotent).is_some();
                    assert_eq!(Some(repeated), verdict[apis].as_bool(), "{code} for {apis}");
                }
            }
            let error = service.fill(Error::new(Kind::Internal, "read").request_id(Some("id-1")));
            assert_eq!(error.service_code(), Some(code));
            let shown = error.to_string();
            assert!(shown.contains(code) && shown.contains("id-1"), "{shown}");
            if let Some(message) = case["message"].as_str() {
                assert!(shown.contains(message), "{shown}");
            }
            kinds.push((code.to_owned(), error.kind()));
        }
        let kind = |code: &str| kinds.iter().find(|(known, _)| known == code).unwrap().1;
        assert_eq!(kind("OTSAuthFailed"), Kind::Permission);
        assert_eq!(kind("OTSObjectNotExist"), Kind::NotFound);
        assert_eq!(kind("OTSObjectAlreadyExist"), Kind::AlreadyExists);
        assert_eq!(kind("OTSParameterInvalid"), Kind::Refused);
        assert_eq!(kind("OTSServerBusy"), Kind::Throttled);
        assert_eq!(kind("OTSPartitionUnavailable"), Kind::Unavailable);
        assert_eq!(kind("OTSTrimmedDataAccess"), Kind::Gap);
    }

    #[test]
    fn a_web_page_is_not_an_error_of_the_service() {
        for page in ["", "<html>bad gateway</html>", "Not Found", "\n\n", "{\"error\":1}"] {
            assert!(ServiceError::decode(502, None, &page.into()).is_none(), "{page:?}");
        }
    }
}
