//! Reading and writing keys.
//!
//! **Invariant:** The quota on the state is checked where the leader accepts a request, never in
//! `apply`. It may differ between servers and change at any time, and the replicas stay equal.

use api::headers::{CONSISTENCY_HEADER, CUT_OFF_HEADER, REVISION_HEADER, STALENESS_HEADER};
use api::kv::{Consistency, Found, Written};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use raft_core::kv::{
    Answer, Applied, Command, KvStore, LeaseId, Operation, OperationResult, Versioned,
};
use raft_core::types::LogPosition;
use serde::Serialize;
use tokio::time::Instant;

use super::answer::{Document, MAX_SHOWN_BYTES, Outgoing};
use super::error::ApiError;
use super::freshness::{self, Seen, Unseen};
use super::headers::{self, Condition, ConditionHeaders, IdempotencyHeader, SessionHeaders};
use super::request::{self, ReadOptions, RedirectOption, SetRequest, WriteOptions};
use super::{App, signed};
use crate::driver::handle::RequestError;

impl Document {
    /// Adds a key with its value, in the form in which serde writes [`Found`].
    pub(super) fn found(&mut self, found: &Found) {
        let Found { key, value, create_revision, mod_revision, version, lease } = found;
        self.raw("{\"key\":");
        self.bytes(key);
        self.raw(",\"value\":");
        self.bytes(value);
        for (name, number) in [
            (",\"create_revision\":", Some(create_revision)),
            (",\"mod_revision\":", Some(mod_revision)),
            (",\"version\":", Some(version)),
            (",\"lease\":", lease.as_ref().map(|LeaseId(id)| id)),
        ] {
            if let Some(number) = number {
                self.raw(name);
                self.plain(number);
            }
        }
        self.raw("}");
    }
}

/// Reads a key.
///
/// The key in the path is percent-encoded; slashes may stay as they are.
#[utoipa::path(
    get, path = "/get/{key}", tag = "keys",
    params(("key" = String, Path, description = "1 to 4096 bytes, percent-encoded"), ReadOptions),
    responses((status = 200, description = "The key exists", body = Found)),
)]
pub(super) async fn get_json(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    read(app, request, "/get/", |key, found| {
        let mut document = Document::default();
        document.found(&Found::new(key, found));
        document.into()
    })
    .await
}

/// Reads a key's value as raw bytes.
///
/// The ETag is the key's `mod_revision`, for writes with `If-Match`.
#[utoipa::path(
    get, path = "/kv/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "1 to 4096 bytes, percent-encoded"), ReadOptions,
        ("if-none-match" = Option<String>, Header, description = "The ETags that the client knows"),
    ),
    responses(
        (
            status = 200, description = "The value", body = Vec<u8>,
            content_type = "application/octet-stream",
            headers(("etag" = String, description = "The key's `mod_revision` in quotes")),
        ),
        (status = 304, description = "The value has one of the ETags in `If-None-Match`"),
    ),
)]
pub(super) async fn get_raw(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let known: Vec<_> = request.headers().get_all(IF_NONE_MATCH).iter().cloned().collect();
    read(app, request, "/kv/", |_, found| {
        if known.iter().any(|known| headers::names_revision(known, found.mod_revision)) {
            let etag = [(ETAG, tag(found.mod_revision))];
            return Outgoing::from((StatusCode::NOT_MODIFIED, etag).into_response());
        }
        let mut answer = Outgoing::shared(found.value.clone());
        let headers = answer.head().headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(ETAG, tag(found.mod_revision));
        answer
    })
    .await
}

/// A revision as an ETag.
pub(super) fn tag(revision: u64) -> HeaderValue {
    let tag = HeaderValue::from_str(&format!("\"{revision}\""));
    tag.expect("digits in quotes fit into a header")
}

/// Sets a key.
#[utoipa::path(
    post, path = "/set", tag = "keys", request_body = SetRequest,
    params(RedirectOption, SessionHeaders, IdempotencyHeader),
    responses((status = 200, description = "Committed by a majority and applied", body = Written)),
)]
pub(super) async fn set(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let parse = |_: &Parts, options: WriteOptions, body: &Bytes| {
        options.without_lease()?;
        request::set_request(body)
    };
    write(app, request, parse, written).await
}

/// Sets a key to the bytes of the body.
///
/// With `If-Match` or `If-None-Match` the write happens only if the condition holds.
#[utoipa::path(
    put, path = "/kv/{key}", tag = "keys",
    request_body(content = Vec<u8>, content_type = "application/octet-stream",
        description = "The value, at most 1 MiB"),
    params(
        ("key" = String, Path, description = "1 to 4096 bytes, percent-encoded"),
        WriteOptions, ConditionHeaders, SessionHeaders,
        IdempotencyHeader,
    ),
    responses((status = 200, description = "Committed by a majority and applied", body = Written)),
)]
pub(super) async fn put_raw(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let parse = |parts: &Parts, options: WriteOptions, value: &Bytes| {
        let key = request::key(&parts.uri, "/kv/")?;
        request::check_value(value)?;
        let value = value.clone();
        let lease = options.lease.map(LeaseId);
        Ok(match Condition::of(&parts.headers)? {
            None => Command::Put { key, value, lease },
            Some(condition) => condition.guard(key.clone(), Operation::Put { key, value, lease }),
        })
    };
    write(app, request, parse, written).await
}

/// Removes a key, if it exists.
///
/// With `If-Match` the removal happens only if the condition holds.
#[utoipa::path(
    delete, path = "/kv/{key}", tag = "keys",
    params(
        ("key" = String, Path, description = "1 to 4096 bytes, percent-encoded"),
        RedirectOption, ConditionHeaders, SessionHeaders,
        IdempotencyHeader,
    ),
    responses((status = 200, description = "Committed by a majority and applied", body = Written)),
)]
pub(super) async fn delete(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let parse = |parts: &Parts, options: WriteOptions, _: &Bytes| {
        options.without_lease()?;
        let key = request::key(&parts.uri, "/kv/")?;
        Ok(match Condition::of(&parts.headers)? {
            None => Command::delete(key),
            Some(condition) => condition.guard(key.clone(), Operation::Delete { key }),
        })
    };
    write(app, request, parse, written).await
}

/// Reads a key with the requested consistency, and shows the result.
async fn read(
    app: &App,
    request: Request<Incoming>,
    prefix: &str,
    show: impl Fn(&Bytes, &Versioned) -> Outgoing,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let options: ReadOptions = request::query(&parts.uri)?;
    let key = request::key(&parts.uri, prefix)?;
    look(app, &parts, options, |store| match store.get(&key) {
        Some(found) => show(&key, found),
        None => Outgoing::from(ApiError::KeyNotFound.into_response()),
    })
    .await
}

/// Shows a part of the state. If this server cannot confirm the read, it forwards the request to
/// the leader.
pub(super) async fn look(
    app: &App,
    parts: &Parts,
    options: ReadOptions,
    show: impl Fn(&KvStore) -> Outgoing,
) -> Result<Response, ApiError> {
    options.check()?;
    let see = || async move {
        match freshness::see(app, options).await {
            Err(Unseen::Handle(RequestError::NotLeader { leader })) => {
                Err(app.ask_leader(leader, parts, Bytes::new(), options.redirect).await)
            }
            seen => seen.map_err(|unseen| Err(unseen.told(app))),
        }
    };
    let (answer, seen) = match shown(app, see, |seen: &Seen| show(&seen.store)).await {
        Ok(shown) => shown,
        Err(elsewhere) => return elsewhere,
    };
    let Seen { store, consistency, age } = seen;
    let mut response = signed(app, answer);
    let headers = response.headers_mut();
    headers.insert(REVISION_HEADER, HeaderValue::from(store.revision()));
    headers.insert(CONSISTENCY_HEADER, HeaderValue::from_static(consistency.name()));
    if let (Consistency::Stale, Some(why)) = (consistency, app.cut_off()) {
        headers.insert(CUT_OFF_HEADER, HeaderValue::from_static(why));
    }
    if let Some(age) = age {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        headers.insert(STALENESS_HEADER, HeaderValue::from(millis.saturating_add(1)));
    }
    Ok(response)
}

/// The answer that shows the state. While there is no room for the answer, nothing is held, and the
/// state is then read again.
pub(super) async fn shown<S, F: Future<Output = Result<S, Result<Response, ApiError>>>>(
    app: &App,
    see: impl Fn() -> F,
    show: impl Fn(&S) -> Outgoing,
) -> Result<(Response, S), Result<Response, ApiError>> {
    let deadline = Instant::now() + app.forwarder.timeout();
    let mut hold = None;
    loop {
        let seen = see().await?;
        let answer = show(&seen);
        let bytes = answer.held();
        if app.reads.answers.fits(bytes, &mut hold) {
            return Ok((answer.with(hold), seen));
        }
        drop((answer, seen));
        let left = deadline.saturating_duration_since(Instant::now());
        hold = Some(app.reads.answers.wait(bytes, left).await.ok_or(Err(ApiError::Overloaded))?);
    }
}

/// The answer to a write that was applied. If there is no room for keys and values, `show` must
/// omit them.
pub(super) async fn told(
    app: &App,
    show: impl Fn(usize) -> Result<Outgoing, ApiError>,
) -> Result<Response, ApiError> {
    let answer = show(MAX_SHOWN_BYTES)?;
    let (bytes, mut hold) = (answer.held(), None);
    if app.reads.answers.fits(bytes, &mut hold) {
        return Ok(answer.with(hold));
    }
    match app.reads.answers.wait_with(bytes, app.forwarder.timeout()).await {
        Some(hold) => Ok(answer.with(Some(hold))),
        None => Ok(show(0)?.with(None)),
    }
}

/// Replicates the command that `parse` finds in the request, here or at the leader, and shows its
/// result.
pub(super) async fn write(
    app: &App,
    request: Request<Incoming>,
    parse: impl FnOnce(&Parts, WriteOptions, &Bytes) -> Result<Command, ApiError>,
    show: impl Fn(LogPosition, &Applied, usize) -> Result<Outgoing, ApiError>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let options: WriteOptions = request::query(&parts.uri)?;
    let (body, permit) = request::body(app, body).await?;
    // Parsed before forwarding: the server that received the request reports errors in it.
    let command = parse(&parts, options, &body)?;
    let grows = command.grows();
    let command = headers::once(&parts.headers, command)?.encode();
    if !app.handle.leads() {
        let leader = app.handle.status().leader;
        let answer = app.ask_leader(leader, &parts, body, options.redirect).await;
        drop(permit);
        return answer;
    }
    if grows && app.handle.is_full() {
        return Err(ApiError::QuotaExceeded { quota: app.handle.quota().bytes() });
    }
    let (position, applied) = match app.handle.propose(command, permit).await {
        Ok(written) => written,
        Err(RequestError::NotLeader { leader }) => {
            return app.ask_leader(leader, &parts, body, options.redirect).await;
        }
        Err(error) => return Err(request::write_error(error)),
    };
    if let Answer::Refused(refusal) = applied.answer {
        return Err(ApiError::StoreRefused(refusal));
    }
    let revision = HeaderValue::from(applied.revision);
    let answer = told(app, |most| show(position, &applied, most)).await?;
    let mut response = signed(app, answer);
    response.headers_mut().insert(REVISION_HEADER, revision);
    Ok(response)
}

/// The answer to a write of one key, which may be conditional.
fn written(position: LogPosition, applied: &Applied, most: usize) -> Result<Outgoing, ApiError> {
    let results = match &applied.answer {
        Answer::Transaction { succeeded: true, results } => &results[..],
        Answer::Transaction { succeeded: false, results } => {
            let found = match &results[..] {
                [OperationResult::Found(None)] => Some(None),
                [OperationResult::Found(Some(pair))] if pair.value.value.len() <= most => {
                    Some(Some(Box::new(Found::new(&pair.key, &pair.value))))
                }
                // A retry whose answer was too long to be remembered, or no room for the key.
                _ => None,
            };
            return Ok(ApiError::ConditionFailed(found).into_answer());
        }
        Answer::Done { existed } => &[OperationResult::Done { existed: *existed }],
        Answer::Removed { .. }
        | Answer::Compared { .. }
        | Answer::Lease { .. }
        | Answer::LeaseRevoked { .. }
        | Answer::Session(_)
        | Answer::SessionClosed
        | Answer::Clock { .. }
        | Answer::Semantics { .. }
        | Answer::Refused(_) => return Err(other_request()),
    };
    let [OperationResult::Done { existed }] = *results else { return Err(other_request()) };
    Ok(json(&Written::new(position, applied.revision, existed)).into())
}

/// In a session, the remembered answer may belong to another request with the same number.
pub(super) const fn other_request() -> ApiError {
    ApiError::BadSession(
        "the number in x-raft-sequence was already used for another kind of request",
    )
}

/// A JSON response.
pub(super) fn json<T: Serialize>(value: &T) -> Response {
    let body = serde_json::to_vec(value).expect("answers have a JSON form");
    let mut response = Response::new(Body::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
