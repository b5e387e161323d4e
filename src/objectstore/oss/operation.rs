//! The OSS operations this client uses, with what depends on the operation and on nothing else.

use std::borrow::Cow;
use std::time::Duration;

/// One operation. All of them are harmless to repeat: a put or a part replaces itself, deletes and aborts of what is
/// gone succeed or say so, a second Initiate leaves an empty upload that `list_uploads` finds, and the two that are not
/// (a put that must not overwrite, Complete) have their second answer resolved by a look at the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    PutObject,
    GetObject,
    HeadObject,
    DeleteObject,
    DeleteObjects,
    ListObjects,
    CopyObject,
    InitiateUpload,
    /// With the part number, from 1.
    UploadPart(u32),
    CompleteUpload,
    AbortUpload,
    ListUploads,
    GetRetention,
}

impl Operation {
    pub(crate) fn method(self) -> http::Method {
        use http::Method;
        match self {
            Operation::GetObject
            | Operation::ListObjects
            | Operation::ListUploads
            | Operation::GetRetention => Method::GET,
            Operation::HeadObject => Method::HEAD,
            Operation::PutObject | Operation::CopyObject | Operation::UploadPart(_) => Method::PUT,
            Operation::DeleteObject | Operation::AbortUpload => Method::DELETE,
            Operation::DeleteObjects | Operation::InitiateUpload | Operation::CompleteUpload => Method::POST,
        }
    }

    /// Completes "cannot …".
    pub(crate) fn doing(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Operation::PutObject => "put an object",
            Operation::GetObject => "get an object",
            Operation::HeadObject => "look at an object",
            Operation::DeleteObject => "delete an object",
            Operation::DeleteObjects => "delete objects",
            Operation::ListObjects => "list objects",
            Operation::CopyObject => "copy to an object",
            Operation::InitiateUpload => "begin an upload",
            Operation::UploadPart(number) => return Cow::Owned(format!("upload part {number}")),
            Operation::CompleteUpload => "complete an upload",
            Operation::AbortUpload => "abort an upload",
            Operation::ListUploads => "list open uploads",
            Operation::GetRetention => "read the retention policy",
        })
    }

    /// The RAM action that allows it (OSS, "RAM policy actions").
    pub(crate) fn action(self) -> &'static str {
        match self {
            Operation::PutObject
            | Operation::CopyObject
            | Operation::InitiateUpload
            | Operation::UploadPart(_)
            | Operation::CompleteUpload => "oss:PutObject",
            Operation::GetObject | Operation::HeadObject => "oss:GetObject",
            Operation::DeleteObject | Operation::DeleteObjects => "oss:DeleteObject",
            Operation::ListObjects => "oss:ListObjects",
            Operation::AbortUpload => "oss:AbortMultipartUpload",
            Operation::ListUploads => "oss:ListMultipartUploads",
            Operation::GetRetention => "oss:GetBucketWorm",
        }
    }

    /// How long neither side may make progress before the attempt counts as lost. The service itself works through
    /// the whole object for Complete and Copy.
    pub(crate) fn patience(self) -> Duration {
        match self {
            Operation::CompleteUpload | Operation::CopyObject => Duration::from_secs(120),
            _ => Duration::from_secs(30),
        }
    }
}
