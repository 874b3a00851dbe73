//! Headers that change the meaning of a request are obeyed or rejected, never ignored.

use api::headers::{IDEMPOTENCY_KEY, SEQUENCE_HEADER, SESSION_HEADER};
use hyper::body::Body;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_RANGE, EXPECT, HOST, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, ORIGIN, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Version};

use super::error::ApiError;
use crate::route::Route;

/// The last event that a returning watcher received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The condition of WebDAV (RFC 4918 §10.4).
const DAV_IF: HeaderName = HeaderName::from_static("if");

/// Rejects a request whose headers ask for something that the server does not do.
pub(super) fn screen<B: Body>(route: Route, request: &Request<B>) -> Result<(), ApiError> {
    let (method, headers) = (request.method(), request.headers());
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if (reads || *method == Method::DELETE) && !request.body().is_end_stream() {
        let methods = route.methods(request.uri().path());
        // If the path does not have this method, the answer says that instead.
        if methods.is_empty() || methods.contains(method) {
            return Err(ApiError::UnexpectedBody);
        }
    }
    // The file server of the web page handles these conditions itself.
    let is_file = matches!(route, Route::Other | Route::Docs | Route::OpenApi) && reads;
    let is_of_the_cluster = matches!(
        route,
        Route::Members | Route::Leader | Route::Snapshot | Route::Backup | Route::Faults
    );
    let (mut hosts, mut origins, mut ids) = (0, 0, 0);
    for (name, value) in headers {
        if *name == HOST {
            hosts += 1;
            let elsewhere = |name: &str| !value.as_bytes().eq_ignore_ascii_case(name.as_bytes());
            if request.uri().authority().is_some_and(|authority| elsewhere(authority.as_str())) {
                return Err(ApiError::BadHeader(
                    "Host and the request line name different servers",
                ));
            }
        } else if *name == ORIGIN {
            origins += 1;
        } else if *name == LAST_EVENT_ID {
            ids += 1;
        } else if *name == TRANSFER_ENCODING {
            if !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(ApiError::UnknownTransferCoding);
            }
        } else if *name == CONTENT_ENCODING {
            let mut codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            if !codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
            {
                return Err(ApiError::EncodedBody);
            }
        } else if *name == EXPECT {
            if !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"100-continue") {
                return Err(ApiError::UnknownExpectation);
            }
        } else if *name == CONTENT_RANGE {
            if !reads {
                return Err(ApiError::BadHeader(
                    "Content-Range: a part of a value cannot be written",
                ));
            }
        } else if *name == IF_MATCH {
            if !is_file && (reads || route != Route::Kv) {
                return Err(ApiError::BadCondition("If-Match is only for PUT and DELETE of a key"));
            }
        } else if *name == IF_NONE_MATCH {
            if !reads && route != Route::Kv {
                return Err(ApiError::BadCondition("If-None-Match is only for PUT of a key"));
            }
        } else if *name == IDEMPOTENCY_KEY || *name == SESSION_HEADER || *name == SEQUENCE_HEADER {
            if !reads && is_of_the_cluster {
                return Err(ApiError::BadHeader(
                    "Idempotency-Key and sessions are only for writes of keys and leases",
                ));
            }
        } else if (*name == IF_MODIFIED_SINCE
            || *name == IF_UNMODIFIED_SINCE
            || *name == IF_RANGE
            || *name == DAV_IF)
            && !reads
        {
            return Err(ApiError::BadCondition("only If-Match and If-None-Match are supported"));
        }
    }
    match hosts {
        0 if request.version() > Version::HTTP_10 => {
            return Err(ApiError::BadHeader("Host is missing"));
        }
        0 | 1 => {}
        _ => return Err(ApiError::BadHeader("Host appears more than once")),
    }
    if origins > 1 {
        return Err(ApiError::BadHeader("Origin appears more than once"));
    }
    if ids > 1 {
        return Err(ApiError::BadHeader("Last-Event-ID appears more than once"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};
    use hyper::body::Bytes;

    use super::*;

    fn code(method: &str, path: &str, headers: &[(&str, &str)]) -> &'static str {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let route = Route::of(request.uri().path());
        screen(route, &request).map_or_else(|error| error.code(), |()| "")
    }

    /// Guards that no header changes what is written, and that proxies and this server read a
    /// request in the same way.
    #[test]
    fn headers_that_change_the_meaning_are_refused() {
        let host = ("host", "h");
        for (method, path, header, expected) in [
            ("PUT", "/kv/a", ("content-range", "bytes 3-5/6"), "bad_header"),
            ("POST", "/set", ("content-range", "bytes 0-5/6"), "bad_header"),
            ("PUT", "/kv/a", ("content-encoding", "gzip"), "encoded_body"),
            ("POST", "/txn", ("content-encoding", "identity, br"), "encoded_body"),
            ("PUT", "/faults", ("content-encoding", "x-odd"), "encoded_body"),
            ("PUT", "/kv/a", ("content-encoding", "Identity"), ""),
            ("PUT", "/kv/a", ("transfer-encoding", "gzip, chunked"), "unknown_transfer_coding"),
            ("PUT", "/kv/a", ("transfer-encoding", "Chunked"), ""),
            ("PUT", "/kv/a", ("expect", "200-ok"), "unknown_expectation"),
            ("PUT", "/kv/a", ("expect", "100-Continue"), ""),
            ("PUT", "/kv/a", ("if-unmodified-since", "x"), "bad_condition"),
            ("DELETE", "/kv/a", ("if-modified-since", "x"), "bad_condition"),
            ("PUT", "/kv/a", ("if-range", "\"1\""), "bad_condition"),
            ("PUT", "/kv/a", ("if", "(<x>)"), "bad_condition"),
            ("POST", "/set", ("if-match", "\"1\""), "bad_condition"),
            ("POST", "/txn", ("if-none-match", "*"), "bad_condition"),
            ("DELETE", "/cluster/members/3", ("if-match", "*"), "bad_condition"),
            ("GET", "/kv/a", ("if-match", "\"1\""), "bad_condition"),
            ("GET", "/get/a", ("if-match", "*"), "bad_condition"),
            ("GET", "/kv/a", ("if-none-match", "\"1\""), ""),
            ("PUT", "/kv/a", ("if-match", "\"1\""), ""),
            ("GET", "/index.html", ("if-match", "\"1\""), ""),
            // The server may ignore a requested range.
            ("GET", "/kv/a", ("range", "bytes=0-1"), ""),
            ("GET", "/kv/a", ("if-range", "\"1\""), ""),
            ("POST", "/set", ("content-type", "application/x-www-form-urlencoded"), ""),
            ("POST", "/set", ("x-http-method-override", "DELETE"), ""),
            ("POST", "/cluster/leader", ("idempotency-key", "k"), "bad_header"),
            ("PUT", "/cluster/members", ("x-raft-session", "1"), "bad_header"),
            ("PUT", "/faults", ("x-raft-sequence", "1"), "bad_header"),
            ("PUT", "/kv/a", ("idempotency-key", "k"), ""),
            ("GET", "/kv/a", host, "bad_header"),
        ] {
            assert_eq!(code(method, path, &[host, header]), expected, "{method} {path} {header:?}");
        }
        assert_eq!(code("GET", "/kv/a", &[]), "bad_header", "no Host");
        for twice in ["origin", "last-event-id"] {
            let headers = [host, (twice, "1"), (twice, "1")];
            assert_eq!(code("GET", "/watch", &headers), "bad_header", "{twice}");
        }
        assert_eq!(code("GET", "http://h/kv/a", &[host]), "");
        assert_eq!(code("GET", "http://evil.example/kv/a", &[host]), "bad_header");
        let mut old = Request::new(Empty::<Bytes>::new());
        *old.version_mut() = Version::HTTP_10;
        assert!(screen(Route::Other, &old).is_ok(), "HTTP/1.0 knows no Host");
    }

    /// Guards that methods without a body do not wait for a body.
    #[test]
    fn bodies_are_where_they_can_be() {
        for (method, refused) in
            [("GET", true), ("HEAD", true), ("DELETE", true), ("PUT", false), ("POST", false)]
        {
            let request = Request::builder().method(method).uri("/kv/a").header("host", "h");
            let request = request.body(Full::new(Bytes::from_static(b"x"))).expect("a request");
            assert_eq!(screen(Route::Kv, &request).is_err(), refused, "{method}");
        }
        let request = Request::delete("/sessions").header("host", "h");
        let request = request.body(Full::new(Bytes::from_static(b"x"))).expect("a request");
        assert!(screen(Route::Sessions, &request).is_ok(), "that method is refused as such");
    }
}
