//! Checks which web pages may use the API.
//!
//! A server on loopback is open to every program of the machine's user. If it does not check where
//! requests come from, it is open to every page in the user's browser too. CORS alone prevents a
//! foreign page from reading answers, but not from sending writes. It does not cover WebSockets.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};

use super::error::ApiError;

/// The origins that a server accepts.
#[derive(Clone, Debug)]
pub struct Origins {
    allowed: Arc<[String]>,
    /// On loopback, `Host` must name loopback. Otherwise a page could let its own domain name point
    /// here, and become a page of this server (DNS rebinding).
    loopback_only: bool,
}

impl Origins {
    /// Accepts the server's own pages and these origins.
    pub fn new(allowed: &[String], loopback_only: bool) -> Self {
        Self { allowed: allowed.into(), loopback_only }
    }

    /// Whether no foreign origin is allowed.
    pub fn is_empty(&self) -> bool {
        self.allowed.is_empty()
    }

    /// The allowed origins, for the CORS layer.
    pub fn header_values(&self) -> Vec<HeaderValue> {
        self.allowed.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect()
    }

    /// Rejects a request that a foreign page sent.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = text(headers, &HOST);
        if self.loopback_only && !host.is_none_or(is_loopback) {
            let what = "this server listens on loopback only, but Host has another name";
            return Err(ApiError::Origin(what.to_owned()));
        }
        let Some(origin) = text(headers, &ORIGIN) else { return Ok(()) };
        let own = origin.split_once("://").is_some_and(|(_, name)| Some(name) == host);
        if own || self.allowed.iter().any(|allowed| allowed == origin) {
            Ok(())
        } else {
            Err(ApiError::Origin(format!("pages of {origin} may not use this server")))
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    // A header that is not text matches no allowed value.
    headers.get(name).map(|value| value.to_str().unwrap_or("not text"))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((ipv6, _)) => ipv6,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a header"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().expect("a header"));
        }
        headers
    }

    /// Guards a developer's machine against the pages that the user visits.
    #[test]
    fn foreign_pages_are_refused() {
        let origins = Origins::new(&["http://127.0.0.1:7000".to_owned()], true);
        let allowed = |host, origin| origins.check(&headers(host, origin)).is_ok();
        assert!(allowed("127.0.0.1:7001", None), "no browser");
        assert!(allowed("localhost:7001", Some("http://localhost:7001")), "own page");
        assert!(allowed("[::1]:7001", None));
        assert!(allowed("127.0.0.1:7001", Some("http://127.0.0.1:7000")), "configured");
        assert!(!allowed("127.0.0.1:7001", Some("http://127.0.0.1:8000")));
        assert!(!allowed("127.0.0.1:7001", Some("https://evil.example")));
        assert!(!allowed("127.0.0.1:7001", Some("null")), "a sandboxed frame or a file");
        assert!(!allowed("evil.example:7001", Some("http://evil.example:7001")), "rebinding");
        assert!(!allowed("evil.example:7001", None), "rebinding, plain GET");
        let public = Origins::new(&[], false);
        assert!(public.check(&headers("raft.example", Some("http://raft.example"))).is_ok());
        assert!(public.check(&headers("raft.example", Some("http://evil.example"))).is_err());
    }
}
