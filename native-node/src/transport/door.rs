//! Decides who may open a WebSocket at the peer address: servers, not web pages.
//!
//! A browser lets every page open a WebSocket to any address that it can reach, including loopback,
//! and adds `Origin`. No server sends that header, so a handshake with it is refused.
//! [`crate::http::Origins`] protects the client address.

use std::net::IpAddr;

use api::address::Address;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL,
};
use tokio_tungstenite::tungstenite::http::{HeaderMap, StatusCode};

use super::handshake::Refusal;

/// The path that servers request.
pub const PATH: &str = "/raft";

/// The prefix of the headers in which a browser describes the purpose of a request.
const FETCH_HEADERS: &str = "sec-fetch-";

/// The checks of one server's peer address.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// The address that this server gives to its peers.
    address: Address,
    /// Whether it listens on loopback. `Host` must then be a loopback name or the server's address.
    /// Otherwise a public name that resolves to this machine would be accepted (DNS rebinding).
    loopback_only: bool,
}

impl Door {
    pub(super) const fn new(address: Address, loopback_only: bool) -> Self {
        Self { address, loopback_only }
    }

    /// Checks the HTTP request that opens a WebSocket.
    pub(super) fn check(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        let from_browser = |name: &str| name.starts_with(FETCH_HEADERS);
        if headers.contains_key(ORIGIN) || headers.keys().any(|name| from_browser(name.as_str())) {
            return Err(Refusal::Origin);
        }
        let refused = |what: &str| Err(Refusal::Request(what.to_owned()));
        if *request.uri() != *PATH {
            return refused("the request has another path");
        }
        if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
            return refused("the request has a subprotocol");
        }
        match only_host(headers) {
            None => refused("the request must have one Host"),
            Some(host) if self.loopback_only && !self.answers_to(host) => {
                refused("this server listens on loopback, but Host has another name")
            }
            Some(_) => Ok(()),
        }
    }

    fn answers_to(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((ipv6, _)) => ipv6,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            || host.eq_ignore_ascii_case(&self.address.to_string())
    }
}

/// The value of `Host` if the header occurs exactly once.
fn only_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// The response to a refused request, if the WebSocket layer can still send it.
pub(super) fn answer(refusal: &Refusal) -> ErrorResponse {
    let body = format!("{refusal}\n");
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(()).map(|()| Some(body));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(());
        *request.uri_mut() = uri.parse().expect("a path");
        for (name, value) in headers {
            let name: tokio_tungstenite::tungstenite::http::HeaderName =
                name.parse().expect("a name");
            request.headers_mut().append(name, value.parse().expect("a value"));
        }
        request
    }

    /// Guards the peer address against web pages and against clients of another service.
    #[test]
    fn only_servers_are_let_in() {
        let door = Door::new("node-1.raft.example:8001".parse().expect("an address"), true);
        let code = |uri: &str, headers: &[(&str, &str)]| {
            door.check(&request(uri, headers)).map_err(|refusal| refusal.code())
        };
        for host in ["127.0.0.1:8001", "localhost:8001", "[::1]:8001", "node-1.raft.example:8001"] {
            assert_eq!(code("/raft", &[("host", host)]), Ok(()), "{host}");
        }
        let own = ("host", "127.0.0.1:8001");
        for (headers, reason) in [
            (&[own, ("origin", "http://127.0.0.1:8001")][..], "origin"),
            (&[own, ("origin", "null")], "origin"),
            (&[own, ("origin", "")], "origin"),
            (&[own, ("sec-fetch-mode", "websocket")], "origin"),
            (&[own, ("sec-websocket-protocol", "glassraft.trace")], "request"),
            (&[("host", "evil.example:8001")], "request"),
            (&[("host", "node-1.raft.example")], "request"),
            (&[("host", "127.0.0.1.evil.example")], "request"),
            (&[own, ("host", "evil.example")], "request"),
            (&[own, own], "request"),
            (&[], "request"),
        ] {
            assert_eq!(code("/raft", headers), Err(reason), "{headers:?}");
        }
        for path in ["/", "/raft/", "/raft?x", "//raft", "/RAFT", "http://127.0.0.1:8001/raft"] {
            assert_eq!(code(path, &[own]), Err("request"), "{path}");
        }
    }

    /// Guards servers that are reached by name: only a listener on loopback checks the name.
    #[test]
    fn a_server_on_a_network_is_reached_by_any_name() {
        let door = Door::new("10.0.0.1:8001".parse().expect("an address"), false);
        assert_eq!(door.check(&request("/raft", &[("host", "raft-1.internal:8001")])), Ok(()));
        let page = request("/raft", &[("host", "raft-1"), ("origin", "http://raft-1")]);
        assert_eq!(door.check(&page), Err(Refusal::Origin));
    }
}
