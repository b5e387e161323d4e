//! A request that failed for good: what is known about it, and the errors it turns into.

use super::operation::Operation;
use super::xml::{ServiceError, XmlError};
use crate::error::retry::{self, Retry};
use crate::{Error, Kind};

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What the store's errors are called in `object_store`.
pub(crate) const STORE: &str = "OSS";

/// Why an attempt, and in the end the request, failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) operation: Operation,
    /// `None` when there was no answer.
    pub(crate) status: Option<u16>,
    /// Empty when the service named none.
    pub(crate) code: String,
    pub(crate) retry: Retry,
    /// An attempt (this one or an earlier one) may have been applied although it failed.
    pub(crate) ambiguous: bool,
    kind: Kind,
    reason: String,
    request_id: Option<String>,
    source: Option<Source>,
}

impl Failure {
    /// The service answered an error.
    pub(crate) fn answered(operation: Operation, status: u16, error: ServiceError) -> Failure {
        let ServiceError { code, message, request_id } = error;
        let retry = retry::oss(status, &code);
        Failure {
            operation,
            status: Some(status),
            ambiguous: matches!(retry, Retry::IfIdempotent(_)),
            retry,
            kind: kind_of(status, &code),
            reason: message,
            request_id,
            code,
            source: None,
        }
    }

    /// No answer, or a part of one. `sent` is false when there was no connection.
    pub(crate) fn transport(
        operation: Operation,
        sent: bool,
        reason: &str,
        source: Option<reqwest::Error>,
    ) -> Failure {
        Failure {
            operation,
            status: None,
            code: String::new(),
            retry: retry::transport(sent),
            ambiguous: sent,
            kind: Kind::Unavailable,
            reason: reason.to_owned(),
            request_id: None,
            // The URL says nothing that the error does not say already.
            source: source.map(|error| error.without_url().into()),
        }
    }

    /// There was no access key to sign the request with.
    pub(crate) fn no_key(operation: Operation, error: Error) -> Failure {
        let mut failure = Failure::fatal(operation, error.kind(), "");
        failure.retry = retry::no_key(error.kind());
        failure.source = Some(error.into());
        failure
    }

    /// A failure that repeating does not change.
    pub(crate) fn fatal(operation: Operation, kind: Kind, reason: impl Into<String>) -> Failure {
        Failure {
            operation,
            status: None,
            code: String::new(),
            retry: Retry::Never,
            ambiguous: false,
            kind,
            reason: reason.into(),
            request_id: None,
            source: None,
        }
    }

    /// A success whose body makes no sense.
    pub(crate) fn malformed(operation: Operation, request_id: Option<String>, error: XmlError) -> Failure {
        let mut failure = Failure::fatal(operation, Kind::Corrupt, "the answer makes no sense");
        failure.request_id = request_id;
        failure.source = Some(Box::new(error));
        failure
    }

    pub(crate) fn with_request_id(mut self, request_id: Option<String>) -> Failure {
        self.request_id = self.request_id.or(request_id);
        self
    }

    /// Why, in the service's words or ours.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// Our error, with hints.
    pub(crate) fn into_error(self, bucket: &str, key: Option<&str>) -> Error {
        let on = match key {
            Some(key) => format!("`{key}` in bucket `{bucket}`"),
            None => format!("in bucket `{bucket}`"),
        };
        let hint = hint_for(&self, bucket);
        let mut error = Error::new(self.kind, self.operation.doing()).on(on).request_id(self.request_id);
        if !self.reason.is_empty() {
            error = error.because(self.reason);
        }
        if !self.code.is_empty() {
            error = error.code(self.code);
        } else if let Some(status) = self.status {
            error = error.code(format!("HTTP status {status}"));
        }
        if let Some(source) = self.source {
            error = error.source(source);
        }
        if let Some(hint) = hint {
            error = error.hint(hint);
        }
        error
    }

    /// The trait's error, with ours inside. A missing bucket is not a missing object: callers take `NotFound` for
    /// "nothing there yet".
    pub(crate) fn into_store(self, bucket: &str, key: Option<&str>) -> object_store::Error {
        let (status, bucket_is_missing) = (self.status, self.code == "NoSuchBucket");
        let unknown_key = matches!(self.code.as_str(), "InvalidAccessKeyId" | "InvalidSecurityToken");
        let unauthenticated =
            unknown_key || matches!(self.code.as_str(), "SignatureDoesNotMatch" | "SecurityTokenExpired");
        let error = self.into_error(bucket, key);
        let path = key.unwrap_or_default().to_owned();
        let kind = error.kind();
        let source: Source = Box::new(error);
        match kind {
            Kind::NotFound if !bucket_is_missing => object_store::Error::NotFound { path, source },
            Kind::AlreadyExists => object_store::Error::AlreadyExists { path, source },
            Kind::Permission if unauthenticated => object_store::Error::Unauthenticated { path, source },
            Kind::Permission => object_store::Error::PermissionDenied { path, source },
            Kind::Unsupported => object_store::Error::NotSupported { source },
            _ if status == Some(304) => object_store::Error::NotModified { path, source },
            _ if status == Some(412) => object_store::Error::Precondition { path, source },
            _ => object_store::Error::Generic { store: STORE, source },
        }
    }
}

fn kind_of(status: u16, code: &str) -> Kind {
    match code {
        "FileAlreadyExists" => return Kind::AlreadyExists,
        "InvalidDigest" => return Kind::Corrupt,
        "InvalidObjectState" | "SecondLevelDomainForbidden" | "RequestTimeTooSkewed" => return Kind::Refused,
        _ => {}
    }
    match status {
        401 | 403 => Kind::Permission,
        404 => Kind::NotFound,
        429 | 503 => Kind::Throttled,
        500.. => Kind::Unavailable,
        _ => Kind::Refused,
    }
}

fn hint_for(failure: &Failure, bucket: &str) -> Option<String> {
    let text = match failure.code.as_str() {
        "NoSuchBucket" => {
            format!("check that bucket `{bucket}` exists and that the endpoint is its region's")
        }
        // A HEAD says no more than 403.
        "" | "AccessDenied" if failure.status == Some(403) => {
            format!("the access key may lack `{}` on bucket `{bucket}`", failure.operation.action())
        }
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" => {
            "check the access key id and secret, and that the region is the bucket's".to_owned()
        }
        "SecurityTokenExpired" | "InvalidSecurityToken" => {
            "the temporary credentials are no longer valid: get new ones".to_owned()
        }
        "RequestTimeTooSkewed" => "set the clock of this machine".to_owned(),
        "InvalidObjectState" => {
            "the object is archived: restore it (`oss:RestoreObject`) and wait before reading it".to_owned()
        }
        "SecondLevelDomainForbidden" => {
            "the service refuses the bucket in the path: use virtual-host addressing".to_owned()
        }
        "FileImmutable" => "a retention policy (WORM) of the bucket protects this object".to_owned(),
        "" if failure.status.is_none() && matches!(failure.retry, Retry::Always(_)) => {
            "check the endpoint (`--oss-endpoint`, `OSS_ENDPOINT`) and the network".to_owned()
        }
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, code: &str) -> Failure {
        let error =
            ServiceError { code: code.into(), message: "why".into(), request_id: Some("65F0".into()) };
        Failure::answered(Operation::PutObject, status, error)
    }

    #[test]
    fn a_denied_put_names_the_missing_right_and_the_request() {
        let report = answered(403, "AccessDenied").into_error("backups", Some("a/b")).report();
        assert_eq!(
            report,
            "error: cannot put an object `a/b` in bucket `backups`: AccessDenied: why (request id 65F0)\n\
             hint: the access key may lack `oss:PutObject` on bucket `backups`"
        );
    }

    #[test]
    fn a_missing_bucket_is_not_taken_for_a_missing_object() {
        let object = answered(404, "NoSuchKey").into_store("b", Some("k"));
        assert!(matches!(object, object_store::Error::NotFound { .. }));
        let bucket = answered(404, "NoSuchBucket").into_store("b", Some("k"));
        assert!(matches!(bucket, object_store::Error::Generic { .. }));
        assert_eq!(crate::objectstore::error_of(bucket).kind(), Kind::NotFound);
    }

    #[test]
    fn only_failures_that_may_have_been_applied_are_ambiguous() {
        assert!(answered(500, "InternalError").ambiguous);
        assert!(!answered(503, "ServiceUnavailable").ambiguous);
        assert!(!answered(403, "AccessDenied").ambiguous);
        assert!(Failure::transport(Operation::PutObject, true, "cut", None).ambiguous);
        assert!(!Failure::transport(Operation::PutObject, false, "refused", None).ambiguous);
    }
}
