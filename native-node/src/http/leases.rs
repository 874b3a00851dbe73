//! Leases, which remove keys when they end, and sessions, in which a write takes effect once.

use api::json_bytes::JsonBytes;
use api::kv::Consistency;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request};
use raft_core::kv::{Answer, Applied, Command, LeaseId, Session, SessionId};
use raft_core::types::{LogPosition, MILLISECOND, Micros};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::answer::Outgoing;
use super::error::ApiError;
use super::headers::{IdempotencyHeader, SessionHeaders};
use super::kv::{json, look, other_request, write};
use super::request::{self, ReadOptions, RedirectOption, WriteOptions};

/// The maximum number of a lease's keys that are listed.
const MAX_KEYS: usize = 1000;

/// The maximum length of these keys together, in bytes.
const MAX_KEYS_BYTES: usize = 64 << 10;

/// The maximum number of sessions in one list.
const MAX_LISTED: usize = 1000;

/// The body of `POST /leases`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TimeToLive {
    /// How long the lease lasts unless it is kept alive, in ms: at most a year.
    #[schema(minimum = 1, maximum = 31_536_000_000_u64)]
    ttl_ms: u64,
}

/// The body of `POST /sessions`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionTimeToLive {
    /// How long the session lasts after each write, in ms: at most a day.
    #[schema(minimum = 1, maximum = 86_400_000_u64)]
    ttl_ms: u64,
}

/// The query parameters of `GET /sessions`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListOptions {
    /// Only sessions with higher ids than this [default: 0].
    after: Option<u64>,
    /// The maximum number of sessions, up to 1000 [default: 100].
    #[param(maximum = 1000)]
    limit: Option<usize>,
    /// Which writes the read sees.
    #[param(inline)]
    consistency: Consistency,
    /// Redirects to the leader instead of forwarding the request.
    redirect: bool,
}

/// A list of sessions.
#[derive(Serialize, ToSchema)]
struct SessionList {
    /// The number of all sessions.
    total: usize,
    /// The listed sessions, in the order of their ids.
    sessions: Vec<ListedSession>,
    /// Whether there are more sessions, with higher ids.
    more: bool,
}

/// A session.
#[derive(Serialize, ToSchema)]
struct ListedSession {
    /// The session's id.
    #[schema(value_type = u64)]
    session: SessionId,
    /// How long it lasts after each write, in ms.
    ttl_ms: u64,
    /// The remaining time if it is not used, in ms. Only time with a leader counts.
    remaining_ms: u64,
    /// The sequence number of its latest write; 0 before the first.
    sequence: u64,
}

/// A lease that was granted or renewed.
#[derive(Serialize, ToSchema)]
struct Granted {
    /// The lease's id.
    #[schema(value_type = u64)]
    lease: LeaseId,
    /// How long the lease lasts from now on, in ms.
    ttl_ms: u64,
}

/// A revoked lease.
#[derive(Serialize, ToSchema)]
struct Ended {
    /// How many keys were removed with it.
    keys: u64,
}

/// A lease.
#[derive(Serialize, ToSchema)]
struct Shown {
    /// The lease's id.
    #[schema(value_type = u64)]
    lease: LeaseId,
    /// How long it lasts after each keep-alive, in ms.
    ttl_ms: u64,
    /// The remaining time, in ms. Only time with a leader counts.
    remaining_ms: u64,
    /// The keys of the lease: the first 1000, and at most 64 KiB of them.
    keys: Vec<JsonBytes>,
}

/// An opened session.
#[derive(Serialize, ToSchema)]
struct Opened {
    /// The session's id, for `x-raft-session`.
    #[schema(value_type = u64)]
    session: SessionId,
}

/// A closed session.
#[derive(Serialize, ToSchema)]
struct Closed {}

/// `/leases` and its subpaths.
pub(super) async fn leases(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let rest = path.strip_prefix("/leases").unwrap_or_default();
    let (id, action) = match rest.strip_prefix('/') {
        None => (None, ""),
        Some(rest) => {
            rest.split_once('/').map_or((Some(rest), ""), |(id, action)| (Some(id), action))
        }
    };
    let id = id.map(number).transpose()?.map(LeaseId);
    match (request.method().clone(), id, action) {
        (Method::POST, None, _) => grant(app, request).await,
        (Method::GET | Method::HEAD, Some(id), "") => show(app, request, id).await,
        (Method::POST, Some(id), "keep-alive") => keep_alive(app, request, id).await,
        (Method::DELETE, Some(id), "") => revoke(app, request, id).await,
        _ => Err(ApiError::RouteNotFound),
    }
}

/// `/sessions` and its subpaths.
pub(super) async fn sessions(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let id = path.strip_prefix("/sessions/").map(number).transpose()?.map(SessionId);
    match (request.method(), id) {
        (&Method::POST, None) => open(app, request).await,
        (&Method::GET | &Method::HEAD, None) => list(app, request).await,
        (&Method::DELETE, Some(id)) => close(app, request, id).await,
        _ => Err(ApiError::RouteNotFound),
    }
}

fn number(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::RouteNotFound)
}

/// A command that only the path determines.
fn plain(
    command: Command,
) -> impl FnOnce(&Parts, WriteOptions, &Bytes) -> Result<Command, ApiError> {
    move |_, options, _| options.without_lease().map(|()| command)
}

/// Grants a lease.
///
/// Keys of a lease are removed when it ends. Its time runs only while the cluster has a leader, so
/// a failover never shortens it.
#[utoipa::path(
    post, path = "/leases", operation_id = "grant_lease", tag = "leases", request_body = TimeToLive,
    params(RedirectOption, SessionHeaders, IdempotencyHeader),
    responses((status = 200, description = "The lease begins", body = Granted)),
)]
async fn grant(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let parse = |_: &Parts, options: WriteOptions, body: &Bytes| {
        options.without_lease()?;
        Ok(Command::GrantLease { ttl: time_to_live(body)? })
    };
    write(app, request, parse, granted).await
}

/// Renews a lease.
#[utoipa::path(
    post, path = "/leases/{lease}/keep-alive", operation_id = "keep_lease_alive", tag = "leases",
    params(
        ("lease" = u64, Path, description = "The lease's id"),
        RedirectOption, SessionHeaders, IdempotencyHeader,
    ),
    responses((status = 200, description = "The lease begins again", body = Granted)),
)]
async fn keep_alive(
    app: &App,
    request: Request<Incoming>,
    lease: LeaseId,
) -> Result<Response, ApiError> {
    write(app, request, plain(Command::KeepLeaseAlive(lease)), granted).await
}

/// Ends a lease and removes its keys.
#[utoipa::path(
    delete, path = "/leases/{lease}", operation_id = "revoke_lease", tag = "leases",
    params(
        ("lease" = u64, Path, description = "The lease's id"),
        RedirectOption, SessionHeaders, IdempotencyHeader,
    ),
    responses((status = 200, description = "The lease has ended", body = Ended)),
)]
async fn revoke(
    app: &App,
    request: Request<Incoming>,
    lease: LeaseId,
) -> Result<Response, ApiError> {
    write(app, request, plain(Command::RevokeLease(lease)), ended).await
}

/// Opens a session, in which a write takes effect once, even if it is sent again.
///
/// The session remembers the answer to its latest write, and ends when it is idle for its time to
/// live. There are at most 10,000 sessions. A further session replaces the session that was idle
/// longest, if that was a minute or more. If an answer has more than 4 KiB of values, a retry
/// learns only whether the comparisons held.
#[utoipa::path(
    post, path = "/sessions", operation_id = "open_session", tag = "sessions",
    request_body = SessionTimeToLive,
    params(RedirectOption),
    responses((status = 200, description = "The session begins", body = Opened)),
)]
async fn open(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let parse = |_: &Parts, options: WriteOptions, body: &Bytes| {
        options.without_lease()?;
        let SessionTimeToLive { ttl_ms } = request::json_body(body)?;
        Ok(Command::OpenSession { ttl: ttl_ms.saturating_mul(MILLISECOND) })
    };
    write(app, request, parse, opened).await
}

/// Lists sessions, in the order of their ids.
#[utoipa::path(
    get, path = "/sessions", operation_id = "list_sessions", tag = "sessions",
    params(ListOptions),
    responses((status = 200, description = "A part of the sessions", body = SessionList)),
)]
async fn list(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let options: ListOptions = request::query(&parts.uri)?;
    let limit = options.limit.unwrap_or(100);
    if limit > MAX_LISTED {
        return Err(ApiError::TooMany { what: "sessions in one list", limit: MAX_LISTED });
    }
    let first = SessionId(options.after.unwrap_or_default()).next();
    let (consistency, redirect) = (options.consistency, options.redirect);
    let options = ReadOptions { consistency, redirect, ..ReadOptions::default() };
    look(app, &parts, options, |store| {
        let clock = store.clock();
        let mut after = store.sessions_from(first);
        let listed = |(session, it): (SessionId, &Session)| ListedSession {
            session,
            ttl_ms: it.ttl / MILLISECOND,
            remaining_ms: it.remaining(clock) / MILLISECOND,
            sequence: it.sequence,
        };
        let sessions = after.by_ref().take(limit).map(listed).collect();
        let more = after.next().is_some();
        json(&SessionList { total: store.session_count(), sessions, more }).into()
    })
    .await
}

/// Ends a session.
#[utoipa::path(
    delete, path = "/sessions/{session}", operation_id = "close_session", tag = "sessions",
    params(("session" = u64, Path, description = "The session's id"), RedirectOption),
    responses((status = 200, description = "The session has ended", body = Closed)),
)]
async fn close(
    app: &App,
    request: Request<Incoming>,
    session: SessionId,
) -> Result<Response, ApiError> {
    write(app, request, plain(Command::CloseSession(session)), closed).await
}

fn time_to_live(body: &[u8]) -> Result<Micros, ApiError> {
    let TimeToLive { ttl_ms } = request::json_body(body)?;
    Ok(ttl_ms.saturating_mul(MILLISECOND))
}

fn granted(_: LogPosition, applied: &Applied, _: usize) -> Result<Outgoing, ApiError> {
    let Answer::Lease { id, ttl } = applied.answer else { return Err(other_request()) };
    Ok(json(&Granted { lease: id, ttl_ms: ttl / MILLISECOND }).into())
}

fn ended(_: LogPosition, applied: &Applied, _: usize) -> Result<Outgoing, ApiError> {
    let Answer::LeaseRevoked { keys } = applied.answer else { return Err(other_request()) };
    Ok(json(&Ended { keys }).into())
}

fn opened(_: LogPosition, applied: &Applied, _: usize) -> Result<Outgoing, ApiError> {
    let Answer::Session(session) = applied.answer else { return Err(other_request()) };
    Ok(json(&Opened { session }).into())
}

fn closed(_: LogPosition, applied: &Applied, _: usize) -> Result<Outgoing, ApiError> {
    let Answer::SessionClosed = applied.answer else { return Err(other_request()) };
    Ok(json(&Closed {}).into())
}

/// Shows a lease and its keys.
#[utoipa::path(
    get, path = "/leases/{lease}", operation_id = "show_lease", tag = "leases",
    params(("lease" = u64, Path, description = "The lease's id"), ReadOptions),
    responses((status = 200, description = "The lease exists", body = Shown)),
)]
async fn show(app: &App, request: Request<Incoming>, id: LeaseId) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let options: ReadOptions = request::query(&parts.uri)?;
    look(app, &parts, options, |store| {
        let Some(lease) = store.lease(id) else {
            let error = ApiError::StoreRefused(raft_core::kv::Refusal::NoSuchLease);
            return error.into_response().into();
        };
        let mut bytes = 0;
        let fits = |key: &&Bytes| {
            bytes += key.len();
            bytes <= MAX_KEYS_BYTES
        };
        let shown = Shown {
            lease: id,
            ttl_ms: lease.ttl / MILLISECOND,
            remaining_ms: lease.remaining(store.clock()) / MILLISECOND,
            keys: store
                .lease_keys(id)
                .take(MAX_KEYS)
                .take_while(fits)
                .cloned()
                .map(JsonBytes)
                .collect(),
        };
        json(&shown).into()
    })
    .await
}
