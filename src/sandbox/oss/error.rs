//! What the server answers when it refuses: status, code, message, and the XML around them.

use std::fmt::Write as _;

use http::StatusCode;

use super::xml::Xml;

/// How a request ends when it does not end well.
pub enum Failure {
    /// With an error answer.
    Refused(Box<OssError>),
    /// The client went away while its body was read; there is nobody to answer.
    Gone,
}

impl From<OssError> for Failure {
    fn from(error: OssError) -> Failure {
        Failure::Refused(Box::new(error))
    }
}

/// A refusal in the service's own words.
#[derive(Debug)]
pub struct OssError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The code, such as `NoSuchKey`.
    pub code: String,
    /// The message.
    pub message: String,
    /// Headers of the answer besides the usual ones.
    pub headers: Vec<(&'static str, String)>,
    ec: Option<&'static str>,
    details: Vec<(&'static str, String)>,
}

impl OssError {
    /// A refusal. A `status` that is no HTTP status becomes 500.
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> OssError {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (code, message) = (code.into(), message.into());
        OssError { status, code, message, headers: Vec::new(), ec: None, details: Vec::new() }
    }

    /// With one more element in the XML.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> OssError {
        self.details.push((name, value.into()));
        self
    }

    /// With one more header on the answer.
    pub fn header(mut self, name: &'static str, value: &str) -> OssError {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With the fine-grained error code, where it is published and differs from the usual one.
    pub fn ec(mut self, ec: &'static str) -> OssError {
        self.ec = Some(ec);
        self
    }

    /// 400 `InvalidArgument`, naming the argument.
    pub fn invalid_argument(message: impl Into<String>, name: &str, value: impl Into<String>) -> OssError {
        OssError::new(400, "InvalidArgument", message).with("ArgumentName", name).with("ArgumentValue", value)
    }

    /// 403 `AccessDenied`.
    pub fn access_denied(message: impl Into<String>) -> OssError {
        OssError::new(403, "AccessDenied", message)
    }

    /// 403 `SecurityTokenExpired`.
    pub fn token_expired() -> OssError {
        OssError::new(403, "SecurityTokenExpired", "The security token you provided has expired.")
    }

    /// 404 `NoSuchBucket`.
    pub fn no_such_bucket(bucket: &str) -> OssError {
        OssError::new(404, "NoSuchBucket", "The specified bucket does not exist.").with("BucketName", bucket)
    }

    /// 404 `NoSuchKey`.
    pub fn no_such_key(key: &str) -> OssError {
        OssError::new(404, "NoSuchKey", "The specified key does not exist.").with("Key", key)
    }

    /// 404 `NoSuchUpload`.
    pub fn no_such_upload(upload_id: &str) -> OssError {
        let message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been \
                       aborted or completed.";
        OssError::new(404, "NoSuchUpload", message).with("UploadId", upload_id)
    }

    /// 400 `MalformedXML`.
    pub fn malformed_xml() -> OssError {
        let message =
            "The XML you provided was not well-formed or did not validate against our published schema.";
        OssError::new(400, "MalformedXML", message)
    }

    /// 409 `FileAlreadyExists`.
    pub fn file_already_exists() -> OssError {
        let message = "The object you specified already exists and can not be overwritten.";
        OssError::new(409, "FileAlreadyExists", message).ec("0026-00000121")
    }

    /// 412 `PreconditionFailed`, naming the header whose condition does not hold.
    pub fn precondition_failed(condition: &str) -> OssError {
        let message = "At least one of the pre-conditions you specified did not hold.";
        OssError::new(412, "PreconditionFailed", message).with("Condition", condition)
    }

    /// 501 `NotImplemented`.
    pub fn not_implemented(what: &str) -> OssError {
        OssError::new(501, "NotImplemented", format!("The sandbox does not implement {what}."))
    }

    /// 405 `MethodNotAllowed`.
    pub fn method_not_allowed() -> OssError {
        let message = "The specified method is not allowed against this resource.";
        OssError::new(405, "MethodNotAllowed", message)
    }

    /// 500 `InternalError`, for a disk that fails; the cause goes to the log.
    pub fn internal(cause: &std::io::Error) -> OssError {
        tracing::error!(error = %cause, "the OSS sandbox cannot use its storage");
        OssError::new(500, "InternalError", "We encountered an internal error. Please try again.")
    }

    /// The fine-grained error code. The published ones are from the "EC error code" pages of the OSS manual.
    pub fn error_code(&self) -> &'static str {
        self.ec.unwrap_or(match self.code.as_str() {
            "NoSuchKey" => "0026-00000001",
            "NoSuchBucket" => "0015-00000101",
            "NoSuchUpload" => "0042-00000002",
            "AccessDenied" => "0003-00000001",
            "SignatureDoesNotMatch" => "0002-00000001",
            "InvalidAccessKeyId" => "0002-00000902",
            "RequestTimeTooSkewed" => "0002-00000504",
            _ => "0000-00000000",
        })
    }

    /// The body of the answer.
    pub fn to_xml(&self, request_id: &str, host: &str) -> String {
        let mut xml = Xml::new("Error");
        xml.text("Code", &self.code).text("Message", &self.message);
        xml.text("RequestId", request_id).text("HostId", host);
        for (name, value) in &self.details {
            xml.text(name, value);
        }
        xml.text("EC", self.error_code());
        xml.finish()
    }
}

/// Bytes as the service shows them in `StringToSignBytes`: hex pairs with spaces.
pub fn spaced_hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let space = if hex.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(hex, "{space}{byte:02X}");
        hex
    })
}
