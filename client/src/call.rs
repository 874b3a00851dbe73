//! A request before it is sent, and whether the client may retry it.

use api::headers::IDEMPOTENCY_KEY;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// A request that any server may answer.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    /// Path and parameters, percent-encoded.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the request changes nothing, although its method suggests otherwise.
    only_reads: bool,
}

/// What happens if a request is sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: the request is idempotent.
    Repeatable,
    /// Nothing: servers recognize the request by its key (`Idempotency-Key`).
    Named,
    /// Nothing, if the request is sent in a session.
    InSession,
    /// The request may take effect twice.
    Once,
}

impl Call {
    /// A request without a body. `path` may contain a query.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            only_reads: false,
        }
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Marks a request that changes nothing, although its method suggests otherwise.
    #[must_use]
    pub(super) const fn only_reads(mut self) -> Self {
        self.only_reads = true;
        self
    }

    /// Whether the request changes nothing.
    pub(super) fn reads(&self) -> bool {
        self.only_reads || matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Whether the request changes keys, so the server that carried it out is the leader.
    pub(super) fn changes(&self) -> bool {
        matches!(self.kind(), Kind::InSession | Kind::Named)
    }

    pub(super) fn kind(&self) -> Kind {
        let path = self.path.split('?').next().unwrap_or_default();
        let below = |route: &str| {
            let rest = path.strip_prefix(route);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // An unused session expires, and a second snapshot finds nothing to do.
        if self.reads() || path == "/sessions" || path == "/cluster/snapshot" {
            Kind::Repeatable
        } else if self.headers.contains_key(IDEMPOTENCY_KEY) {
            Kind::Named
        } else if ["/kv", "/set", "/txn", "/leases"].into_iter().any(below) {
            Kind::InSession
        } else {
            Kind::Once
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a change is not sent twice because it is taken for an idempotent request.
    #[test]
    fn what_may_be_sent_twice_is_known() {
        let kind = |method: Method, path: &str| Call::new(method, path).kind();
        assert_eq!(kind(Method::GET, "/kv/a?consistency=stale"), Kind::Repeatable);
        assert_eq!(kind(Method::POST, "/sessions"), Kind::Repeatable);
        assert_eq!(kind(Method::PUT, "/kv/a?lease=1"), Kind::InSession);
        assert_eq!(kind(Method::POST, "/leases/7/keep-alive"), Kind::InSession);
        assert_eq!(kind(Method::POST, "/set"), Kind::InSession);
        assert_eq!(kind(Method::POST, "/settings"), Kind::Once);
        assert_eq!(kind(Method::DELETE, "/sessions/7"), Kind::Once);
        assert_eq!(kind(Method::POST, "/cluster/members"), Kind::Once);
        let batch = Call::new(Method::POST, "/batch");
        assert_eq!(batch.kind(), Kind::Once);
        assert_eq!(batch.clone().only_reads().kind(), Kind::Repeatable);
        let named = batch.header(IDEMPOTENCY_KEY, HeaderValue::from_static("n"));
        assert_eq!(named.kind(), Kind::Named);
    }
}
