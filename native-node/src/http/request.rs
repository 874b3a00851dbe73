//! Reads the contents of requests, with bounds: body, key, parameters.

use api::json_bytes::JsonBytes;
use api::kv::Consistency;
use axum::extract::Query;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Uri;
use hyper::body::{Body as _, Incoming};
use percent_encoding::{percent_decode, percent_decode_str};
use raft_core::kv::Command;
use raft_core::limits::{MAX_COMMAND_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use serde::Deserialize;
use serde::de;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::error::ApiError;
use crate::addresses::is_reserved;
use crate::admission::Permit;
use crate::config::Span;
use crate::driver::handle::RequestError;

/// The largest body, in bytes: the longest key and value, each twice. This leaves room for JSON
/// escapes and hexadecimal digits.
pub const MAX_BODY_BYTES: usize = 2 * (MAX_VALUE_BYTES + MAX_KEY_BYTES) + 1024;

/// A command is no longer than its body, except for a key in the path and the session or name
/// around it.
const _: () = assert!(MAX_BODY_BYTES + 1024 <= MAX_COMMAND_BYTES);
const _: () = assert!(MAX_VALUE_BYTES + 3 * MAX_KEY_BYTES + 1024 <= MAX_COMMAND_BYTES);

/// The longest reason in an error about JSON, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Query parameters of reads.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadOptions {
    /// Which writes a read sees.
    pub consistency: Consistency,
    /// With `consistency=stale`: the maximum age of the state, for instance `5s` or `200ms`. If
    /// this server last confirmed its state longer ago, it first confirms it with the leader.
    #[param(value_type = Option<String>, pattern = "^[0-9]+(us|ms|s|m|h)$")]
    pub max_staleness: Option<Span>,
    /// Waits until the answering server has applied this revision, at most for the request timeout.
    /// A client then sees here what it wrote or read at another server.
    pub min_revision: Option<u64>,
    /// Redirects to the leader instead of forwarding the request.
    pub redirect: bool,
}

impl ReadOptions {
    /// Rejects options that contradict each other.
    pub fn check(&self) -> Result<(), ApiError> {
        if self.max_staleness.is_some() && self.consistency != Consistency::Stale {
            let why = "max_staleness needs consistency=stale: other reads are never old";
            return Err(ApiError::BadQuery(why.to_owned()));
        }
        Ok(())
    }
}

/// Query parameters of writes.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WriteOptions {
    /// The lease that removes the key when it ends.
    pub lease: Option<u64>,
    /// Redirects to the leader instead of forwarding the request.
    pub redirect: bool,
}

/// The query parameter of all routes that the leader serves.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RedirectOption {
    /// Redirects to the leader instead of forwarding the request.
    pub redirect: bool,
}

impl WriteOptions {
    /// Rejects a lease, for writes that take none.
    pub fn without_lease(self) -> Result<(), ApiError> {
        match self.lease {
            None => Ok(()),
            Some(_) => Err(ApiError::BadQuery("only PUT /kv/{key} takes a lease".to_owned())),
        }
    }
}

/// The query parameters as bytes, since they may contain keys.
pub fn parameters(uri: &Uri) -> impl Iterator<Item = (&str, Bytes)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, percent_decode(value.replace('+', " ").as_bytes()).collect())
    })
}

/// Rejects parameters that [`parameters`] cannot read without guessing.
pub fn check_parameters(uri: &Uri) -> Result<(), ApiError> {
    if uri.query().is_some_and(|query| has_bad_escape(query.as_bytes())) {
        let why = "a `%` is not followed by two hexadecimal digits";
        return Err(ApiError::BadQuery(why.to_owned()));
    }
    let mut names: Vec<&str> = parameters(uri).map(|(name, _)| name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ApiError::BadQuery(format!("`{}` appears twice", pair[0]))),
        None => Ok(()),
    }
}

fn has_bad_escape(text: &[u8]) -> bool {
    text.iter().enumerate().any(|(at, byte)| {
        let digit = |offset| text.get(at + offset).is_some_and(u8::is_ascii_hexdigit);
        *byte == b'%' && !(digit(1) && digit(2))
    })
}

/// Parses a parameter that is not a key.
pub fn parameter<T: de::DeserializeOwned>(name: &str, value: &[u8]) -> Result<T, ApiError> {
    let bad = |error: &dyn std::fmt::Display| ApiError::BadQuery(format!("{name}: {error}"));
    let text = std::str::from_utf8(value).map_err(|error| bad(&error))?;
    // A bare word is a number, a boolean, or the name of a variant.
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_value(text.into()))
        .map_err(|error| bad(&error))
}

/// Parses a JSON body.
pub fn json_body<T: de::DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let mut why = error.to_string();
        // The reason may quote a name as long as the body.
        why.truncate(why.floor_char_boundary(MAX_REASON_BYTES));
        ApiError::BadJson(why)
    })
}

/// Parses the query parameters.
pub fn query<T: de::DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    match Query::try_from_uri(uri) {
        Ok(Query(options)) => Ok(options),
        Err(rejection) => Err(ApiError::BadQuery(rejection.body_text())),
    }
}

/// The key after `prefix` in a path: any bytes, percent-encoded; slashes may stay as they are.
pub fn key(uri: &Uri, prefix: &str) -> Result<Bytes, ApiError> {
    let escaped = uri.path().strip_prefix(prefix).unwrap_or_default();
    if has_bad_escape(escaped.as_bytes()) {
        return Err(ApiError::BadKey("a `%` is not followed by two hexadecimal digits"));
    }
    let key: Bytes = percent_decode_str(escaped).collect();
    check_key(&key)?;
    Ok(key)
}

/// Checks a key against the store's bounds.
pub fn check_key(key: &[u8]) -> Result<(), ApiError> {
    if key.is_empty() {
        return Err(ApiError::BadKey("the key is empty"));
    }
    if is_reserved(key) {
        return Err(ApiError::BadKey("keys that begin with the bytes FF FF belong to the cluster"));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(ApiError::TooLarge { what: "key", limit: MAX_KEY_BYTES });
    }
    Ok(())
}

/// Checks a value against the store's bounds.
pub fn check_value(value: &[u8]) -> Result<(), ApiError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(ApiError::TooLarge { what: "value", limit: MAX_VALUE_BYTES });
    }
    Ok(())
}

/// The command that sets a key, checked against the store's bounds.
pub fn put(key: Bytes, value: Bytes) -> Result<Command, ApiError> {
    check_key(&key)?;
    check_value(&value)?;
    Ok(Command::put(key, value))
}

/// Rejects all query parameters.
pub fn no_parameters(uri: &Uri) -> Result<(), ApiError> {
    match parameters(uri).next() {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::BadQuery(format!("unknown parameter `{name}`"))),
    }
}

/// Receives a body of bounded size within a timeout. The received bytes count as pending.
pub async fn body(app: &App, body: Incoming) -> Result<(Bytes, Permit), ApiError> {
    let length = body.size_hint().upper().unwrap_or_default();
    if length > MAX_BODY_BYTES as u64 {
        return Err(TOO_LARGE);
    }
    let mut permit = app.handle.admit(0).map_err(|_| ApiError::Overloaded)?;
    let reading = timeout(app.client_read_timeout, whole(body, &mut permit));
    let bytes = reading.await.map_err(|_| ApiError::SlowBody)??;
    Ok((bytes, permit))
}

const TOO_LARGE: ApiError = ApiError::TooLarge { what: "body", limit: MAX_BODY_BYTES };

async fn whole(mut body: Incoming, permit: &mut Permit) -> Result<Bytes, ApiError> {
    // Most bodies are one part, which needs no copy.
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        // Trailers after a chunked body are ignored.
        let Ok(part) = frame.map_err(|_| ApiError::BrokenBody)?.into_data() else { continue };
        let before = first.len().max(all.len());
        if before + part.len() > MAX_BODY_BYTES {
            return Err(TOO_LARGE);
        }
        if !permit.grow(part.len()) {
            return Err(ApiError::Overloaded);
        }
        if before == 0 {
            first = part;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&part);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// The body of `POST /set`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"key": "greeting", "value": "hello"}))]
pub(super) struct SetRequest {
    /// At least one byte and at most 4 KiB.
    key: JsonBytes,
    /// At most 1 MiB.
    value: JsonBytes,
}

/// Parses the body of `POST /set`.
pub fn set_request(body: &[u8]) -> Result<Command, ApiError> {
    let request: SetRequest = json_body(body)?;
    put(request.key.0, request.value.0)
}

/// The error for a client whose write failed.
pub fn write_error(error: RequestError) -> ApiError {
    match error {
        RequestError::NotLeader { .. } => ApiError::NotLeader(None),
        RequestError::NotAMember { .. } => ApiError::NotAMember(None),
        RequestError::Overloaded => ApiError::Overloaded,
        RequestError::DiskFull => ApiError::DiskFull,
        RequestError::Halted => ApiError::Stopping,
        RequestError::Unknown => ApiError::OutcomeUnknown,
        RequestError::Malformed => ApiError::UnknownCommand,
        RequestError::Refused(refusal) => ApiError::LeaderRefused(refusal),
    }
}

/// The error for a client whose read failed.
pub fn read_error(error: RequestError) -> ApiError {
    match error {
        RequestError::Unknown => ApiError::ReadTimeout,
        RequestError::NotLeader { .. }
        | RequestError::NotAMember { .. }
        | RequestError::Overloaded
        | RequestError::DiskFull
        | RequestError::Halted
        | RequestError::Refused(_)
        | RequestError::Malformed => write_error(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that keys are bytes: escapes, slashes, and invalid keys.
    #[test]
    fn keys_in_paths_are_bytes() {
        let read = |path: &str| key(&path.parse().expect("a URI"), "/get/");
        assert_eq!(read("/get/a/b%2Fc%20%ff?x=1").expect("a key"), &b"a/b/c \xff"[..]);
        assert!(matches!(read("/get/"), Err(ApiError::BadKey(_))));
        assert!(matches!(read("/get/%4"), Err(ApiError::BadKey(_))));
        assert!(matches!(read("/get/%zz"), Err(ApiError::BadKey(_))));
        let long = format!("/get/{}", "k".repeat(MAX_KEY_BYTES + 1));
        assert!(matches!(read(&long), Err(ApiError::TooLarge { .. })));
    }

    /// Guards `POST /set`: an invalid body is rejected with the reason.
    #[test]
    fn bodies_are_read_or_refused_with_the_reason() {
        let read = |text: &str| set_request(text.as_bytes());
        let put = |key: &'static [u8], value: &'static [u8]| Command::put(key, value);
        assert_eq!(read(r#"{"key":"a","value":"1"}"#).expect("a put"), put(b"a", b"1"));
        assert_eq!(
            read(r#"{"value":"\u00e9","key":{"hex":"00fF"}}"#).expect("a put"),
            put(b"\x00\xff", "é".as_bytes())
        );
        for (bad, reason) in [
            ("", "EOF"),
            ("{", "EOF"),
            (r#"{"key":"a"}"#, "missing field `value`"),
            (r#"{"key":"a","value":5}"#, "expected a string or"),
            (r#"{"key":"a","value":null}"#, "expected a string or"),
            (r#"{"key":"a","value":"1","ttl":3}"#, "unknown field `ttl`"),
            (r#"{"key":"a","value":{"hex":"0"}}"#, "even number"),
            (r#"{"key":"a","value":{"base64":"0"}}"#, "unknown field `base64`"),
            (r#"{"key":"a","value":"1"} x"#, "trailing characters"),
        ] {
            match read(bad) {
                Err(ApiError::BadJson(why)) => assert!(why.contains(reason), "{bad}: {why}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
        assert!(matches!(read(r#"{"key":"","value":"1"}"#), Err(ApiError::BadKey(_))));
        let large = format!(r#"{{"key":"a","value":"{}"}}"#, "v".repeat(MAX_VALUE_BYTES + 1));
        assert!(matches!(read(&large), Err(ApiError::TooLarge { what: "value", .. })));
    }
}
