//! A request to OSS, before it is addressed and signed.

use object_store::PutPayload;

use super::operation::Operation;

/// A request, before it is signed.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    /// `None` for the bucket.
    pub(crate) key: Option<String>,
    pub(crate) query: Vec<(&'static str, String)>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: PutPayload,
    /// After a lost answer the caller looks whether it was applied, instead of sending it again.
    pub(crate) look_first: bool,
}

impl Request {
    pub(crate) fn object(operation: Operation, key: &str) -> Request {
        Request { key: Some(key.to_owned()), ..Request::bucket(operation) }
    }

    pub(crate) fn bucket(operation: Operation) -> Request {
        let (query, headers, body) = (Vec::new(), Vec::new(), PutPayload::new());
        Request { operation, key: None, query, headers, body, look_first: false }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.query.push((name, value.into()));
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn headers(mut self, headers: Vec<(String, String)>) -> Request {
        self.headers.extend(headers);
        self
    }

    /// See [`Request::look_first`].
    pub(crate) fn look_first(mut self) -> Request {
        self.look_first = true;
        self
    }

    pub(crate) fn body(mut self, body: impl Into<PutPayload>) -> Request {
        self.body = body.into();
        self
    }
}
