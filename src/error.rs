//! The one error type of the crate: what failed, on what, why, the request id, and what to do.
//!
//! A [`Kind`] says what the caller can do about it, never which library failed. The retry table is in [`retry`];
//! it is the only place that decides whether a failed request is sent again.

use std::borrow::Cow;
use std::fmt;

pub mod retry;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself makes no sense: wrong option, URL, name. Change the command.
    Usage,
    /// The table, bucket, vault or object is not there.
    NotFound,
    /// It is there already: a create that must not overwrite, a table that exists.
    AlreadyExists,
    /// No credentials, wrong ones, or not enough rights. Change the key or its policy.
    Permission,
    /// The service asked to slow down and kept asking until the retry budget was used up.
    Throttled,
    /// The service could not be reached, answered 5xx or cut the connection until the retry budget was used up.
    Unavailable,
    /// Bytes that are not what they claim to be: bad checksum, bad length, bad syntax.
    Corrupt,
    /// A newer format, an operation or a table kind that this version does not handle.
    Unsupported,
    /// The service refused the request for a reason that repeating will not change.
    Refused,
    /// Another run holds the lease.
    Locked,
    /// Rows, files or tables were left out; everything else is done.
    LeftOut,
    /// Stream records are gone: a delta would not be exact.
    Gap,
    /// A verification found a difference.
    Verification,
    /// Stopped on request; the same command goes on from here.
    Stopped,
    /// Local input or output: disk, file, pipe.
    Io,
    /// A bug in otsvault.
    Internal,
}

impl Kind {
    /// The process exit code: 1 failed, 2 usage, 3 rows or files left out, 4 gap, 5 verification failed, 6 locked,
    /// 7 not found, 8 credentials or permission, 9 stopped but resumable.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::LeftOut => 3,
            Kind::Gap => 4,
            Kind::Verification | Kind::Corrupt => 5,
            Kind::Locked => 6,
            Kind::NotFound => 7,
            Kind::Permission => 8,
            Kind::Stopped => 9,
            Kind::AlreadyExists
            | Kind::Throttled
            | Kind::Unavailable
            | Kind::Unsupported
            | Kind::Refused
            | Kind::Io
            | Kind::Internal => 1,
        }
    }
}

/// What failed, on what, why, and what to do about it.
///
/// Displays as one line without the source; [`Error::report`] gives the lines that a person reads.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    doing: Cow<'static, str>,
    on: Option<String>,
    reason: Option<String>,
    code: Option<String>,
    request_id: Option<String>,
    hints: Vec<String>,
    source: Option<Source>,
}

impl Error {
    /// `doing` completes the sentence "cannot …": `read a page`, `upload part 17`.
    pub fn new(kind: Kind, doing: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Inner {
            kind,
            doing: doing.into(),
            on: None,
            reason: None,
            code: None,
            request_id: None,
            hints: Vec::new(),
            source: None,
        }))
    }

    /// The object it happened on, as it reads after the verb: ``of table `orders` ``, ``from bucket `backups` ``.
    pub fn on(mut self, on: impl Into<String>) -> Error {
        self.0.on = Some(on.into());
        self
    }

    /// Why, in our own words. For a lower error use [`Error::source`] instead of pasting its text here.
    pub fn because(mut self, reason: impl Into<String>) -> Error {
        self.0.reason = Some(reason.into());
        self
    }

    /// The error underneath; the report walks its chain.
    pub fn source(mut self, source: impl Into<Source>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// The service's own error code, such as `OTSServerBusy` or `NoSuchKey`.
    pub fn code(mut self, code: impl Into<String>) -> Error {
        self.0.code = Some(code.into());
        self
    }

    /// The request id, which support asks for first.
    pub fn request_id(mut self, id: Option<impl Into<String>>) -> Error {
        self.0.request_id = id.map(Into::into).filter(|id| !id.is_empty());
        self
    }

    /// One thing to do about it. Literals in backticks, no full stop.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hints.push(hint.into());
        self
    }

    /// The same error under another kind.
    pub fn with_kind(mut self, kind: Kind) -> Error {
        self.0.kind = kind;
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The service's own error code, if a service answered.
    pub fn service_code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The request id, if a service answered.
    pub fn service_request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The hints, in the order they were added.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The process exit code for this error.
    pub fn exit_code(&self) -> u8 {
        self.0.kind.exit_code()
    }

    /// The error and its causes on one line, for a list of many; without hints.
    pub fn one_line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let line = error.to_string();
            if !text.contains(&line) {
                text.push_str("; because ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        text
    }

    /// The error as a person reads it: `error: cannot …`, one `because:` line per cause, one `hint:` line per hint of this
    /// error and of those underneath. Ends without a newline.
    pub fn report(&self) -> String {
        let mut text = format!("error: {self}");
        let mut cause = std::error::Error::source(self);
        let mut said = self.to_string();
        while let Some(error) = cause {
            let line = error.to_string();
            // Many libraries repeat the text of their source; say it once.
            if !said.contains(&line) {
                text.push_str("\n  because: ");
                text.push_str(&line);
                said = line;
            }
            cause = error.source();
        }
        let mut hints: Vec<&str> = Vec::new();
        let mut error: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(current) = error {
            if let Some(ours) = current.downcast_ref::<Error>() {
                hints.extend(
                    ours.0
                        .hints
                        .iter()
                        .map(String::as_str)
                        .filter(|hint| !hints.contains(hint))
                        .collect::<Vec<_>>(),
                );
            }
            error = current.source();
        }
        for hint in hints {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        write!(f, "cannot {}", inner.doing)?;
        if let Some(on) = &inner.on {
            write!(f, " {on}")?;
        }
        match (&inner.reason, &inner.code) {
            (Some(reason), Some(code)) => write!(f, ": {code}: {reason}")?,
            (Some(text), None) | (None, Some(text)) => write!(f, ": {text}")?,
            (None, None) => {}
        }
        if let Some(id) = &inner.request_id {
            write!(f, " (request id {id})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.report())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Says which object a lower result was about, without losing its kind.
pub trait Context<T> {
    /// Turns any error into ours: `kind` and `doing` are used unless it is already an [`Error`] of ours.
    fn doing(self, kind: Kind, doing: impl Into<Cow<'static, str>>) -> Result<T>;
}

impl<T, E: Into<Source>> Context<T> for std::result::Result<T, E> {
    fn doing(self, kind: Kind, doing: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|error| Error::new(kind, doing).source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_failed_why_and_what_to_do() {
        let lower = Error::new(Kind::Permission, "put an object")
            .on("into bucket `backups`")
            .code("AccessDenied")
            .because("no rights")
            .request_id(Some("65F0"));
        let error = Error::new(Kind::Permission, "upload part 17")
            .on("of orders/base/0003.parquet")
            .source(lower)
            .hint("grant `oss:PutObject` on this bucket");
        assert_eq!(
            error.report(),
            "error: cannot upload part 17 of orders/base/0003.parquet\n  because: cannot put an object into bucket \
             `backups`: AccessDenied: no rights (request id 65F0)\nhint: grant `oss:PutObject` on this bucket"
        );
        assert_eq!(error.exit_code(), 8);
    }
}
