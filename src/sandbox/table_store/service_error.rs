//! What the service answers when it refuses: HTTP status, code, message.
//!
//! The texts are the service's own, from the "Error codes" page of the Table Store developer reference and from what
//! the Java SDK's functional tests assert against the real service. A text that neither has is marked "own wording"
//! where it is made.

use prost::Message;

use crate::proto;

/// The result of an operation.
pub type Answer<T> = Result<T, ServiceError>;

/// One refusal. In a batch it belongs to one row and its status is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// Error code, such as `OTSParameterInvalid`.
    pub code: String,
    /// Text for people.
    pub message: String,
}

impl ServiceError {
    /// Any code; for faults.
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> ServiceError {
        ServiceError { status, code: code.into(), message: message.into() }
    }

    /// 400 `OTSParameterInvalid`.
    pub fn parameter(message: impl Into<String>) -> ServiceError {
        ServiceError::new(400, "OTSParameterInvalid", message)
    }

    /// 400 `OTSInvalidPK`: the key does not fit the table's.
    pub fn invalid_key(message: impl Into<String>) -> ServiceError {
        ServiceError::new(400, "OTSInvalidPK", message)
    }

    /// 403 `OTSAuthFailed`.
    pub fn auth(message: impl Into<String>) -> ServiceError {
        ServiceError::new(403, "OTSAuthFailed", message)
    }

    /// 403 `OTSConditionCheckFail`.
    pub fn condition() -> ServiceError {
        ServiceError::new(403, "OTSConditionCheckFail", "Condition check failed.")
    }

    /// 404 `OTSObjectNotExist`.
    pub fn no_table() -> ServiceError {
        ServiceError::new(404, "OTSObjectNotExist", "Requested table does not exist.")
    }

    /// 413 `OTSRequestBodyTooLarge`.
    pub fn too_large() -> ServiceError {
        ServiceError::new(413, "OTSRequestBodyTooLarge", "The size of POST data is too large.")
    }

    /// 409 `OTSRowOperationConflict`.
    pub fn conflict() -> ServiceError {
        ServiceError::new(409, "OTSRowOperationConflict", "Data is being modified by the other request.")
    }

    /// 400 for something this sandbox does not do.
    pub fn unsupported(what: impl std::fmt::Display) -> ServiceError {
        ServiceError::parameter(format!("Unsupported operation: {what}."))
    }

    /// The `Error` message of a response or of one row of a batch.
    pub fn to_proto(&self) -> proto::Error {
        proto::Error {
            code: self.code.clone(),
            message: Some(self.message.clone()),
            access_denied_detail: None,
        }
    }

    /// The response body.
    pub fn body(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }
}
