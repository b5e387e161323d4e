//! From the errors of the `object_store` trait to ours.

use std::error::Error as StdError;
use std::io;

use object_store::path::Path;

use crate::{Error, Kind};

/// Our error for one of the trait's. If one of ours is inside (every OSS failure has one), that one comes out with its
/// kind, code, request id and hints; otherwise the variant, and the I/O error at the bottom, decide the kind.
pub fn error_of(error: object_store::Error) -> Error {
    use object_store::Error as E;
    let (kind, doing, path, source) = match error {
        E::Generic { source, .. } => (None, "use the object store", None, source),
        E::NotFound { path, source } => (Some(Kind::NotFound), "find", Some(path), source),
        E::AlreadyExists { path, source } => (Some(Kind::AlreadyExists), "create", Some(path), source),
        E::PermissionDenied { path, source } | E::Unauthenticated { path, source } => {
            (Some(Kind::Permission), "access", Some(path), source)
        }
        E::Precondition { path, source } | E::NotModified { path, source } => {
            (Some(Kind::Refused), "access", Some(path), source)
        }
        E::NotSupported { source } => (Some(Kind::Unsupported), "use the object store", None, source),
        E::InvalidPath { source } => (Some(Kind::Usage), "use an object name", None, source.into()),
        E::JoinError { source } => (Some(Kind::Internal), "use the object store", None, source.into()),
        other @ E::NotImplemented { .. } => {
            (Some(Kind::Unsupported), "use the object store", None, other.into())
        }
        other => (Some(Kind::Internal), "use the object store", None, other.into()),
    };
    let source = match source.downcast::<Error>() {
        Ok(ours) => return *ours,
        Err(source) => source,
    };
    let (io_kind, hint) = of_io(source.as_ref());
    let mut error = Error::new(kind.or(io_kind).unwrap_or(Kind::Io), doing);
    if let Some(path) = path {
        error = error.on(format!("`{path}`"));
    }
    if let Some(hint) = hint {
        error = error.hint(hint);
    }
    error.source(source)
}

/// The error of an operation on one object or prefix, with the lower one below it.
pub fn error_on(doing: &'static str, path: &Path, error: object_store::Error) -> Error {
    let lower = error_of(error);
    Error::new(lower.kind(), doing).on(format!("`{path}`")).source(lower)
}

/// Kind and hint for the I/O error at the bottom of a chain.
fn of_io(error: &(dyn StdError + 'static)) -> (Option<Kind>, Option<&'static str>) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return (Some(kind_of_io(error)), hint_for_io(error));
        }
        cause = error.source();
    }
    (None, None)
}

/// The kind of an error of the local disk.
pub(super) fn kind_of_io(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Permission,
        _ => Kind::Io,
    }
}

/// What to do about an error of the local disk.
pub(super) fn hint_for_io(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Some("check the owner and mode of the vault's directory"),
        io::ErrorKind::ReadOnlyFilesystem => Some("the file system is mounted read-only"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space; the same command then goes on")
        }
        io::ErrorKind::NotADirectory => Some("a file is where a directory should be"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_error_comes_back_whole() {
        let ours = Error::new(Kind::Throttled, "put an object").request_id(Some("65F0")).hint("wait");
        let theirs = object_store::Error::Generic { store: "OSS", source: Box::new(ours) };
        let back = error_of(theirs);
        assert_eq!((back.kind(), back.service_request_id()), (Kind::Throttled, Some("65F0")));
        assert_eq!(back.hints(), ["wait"]);
    }

    #[test]
    fn a_full_disk_and_a_missing_right_are_told_apart() {
        let generic = |kind: io::ErrorKind| {
            let source = Box::new(io::Error::from(kind));
            error_of(object_store::Error::Generic { store: "LocalFileSystem", source })
        };
        let full = generic(io::ErrorKind::StorageFull);
        assert_eq!((full.kind(), full.hints().len()), (Kind::Io, 1));
        assert_eq!(generic(io::ErrorKind::PermissionDenied).kind(), Kind::Permission);
    }
}
