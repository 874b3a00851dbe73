//! Leases, with which keys end, and sessions, in which a write counts once.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request};
use raft_core::kv::{Answer, Applied, Command, Lease, LeaseId, SessionId};
use raft_core::types::{LogPosition, MILLISECOND, Micros};
use serde::{Deserialize, Serialize};

use super::App;
use super::error::ApiError;
use super::kv::{json, look, other_request, write};
use super::request::{self, ReadOptions, WriteOptions};

/// Keys of a lease that are listed at most.
const MAX_KEYS: usize = 1000;

/// The body of what makes a lease or session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeToLive {
    /// How long it lasts unless it is kept alive, in ms.
    ttl_ms: u64,
}

#[derive(Serialize)]
struct Granted {
    lease: LeaseId,
    ttl_ms: u64,
}

#[derive(Serialize)]
struct Ended {
    /// How many keys went with it.
    keys: u64,
}

#[derive(Serialize)]
struct Shown {
    lease: LeaseId,
    ttl_ms: u64,
    remaining_ms: u64,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key(#[serde(with = "raft_core::codec::text_or_bytes")] Bytes);

#[derive(Serialize)]
struct Opened {
    session: SessionId,
}

/// `/leases` and what is below.
pub(super) async fn leases(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let rest = path.strip_prefix("/leases").unwrap_or_default();
    let (id, deed) = match rest.strip_prefix('/') {
        None => (None, ""),
        Some(rest) => rest.split_once('/').map_or((Some(rest), ""), |(id, deed)| (Some(id), deed)),
    };
    let id = id.map(number).transpose()?.map(LeaseId);
    match (request.method().clone(), id, deed) {
        (Method::POST, None, _) => write(app, request, grant, granted).await,
        (Method::GET | Method::HEAD, Some(id), "") => show(app, request, id).await,
        (Method::POST, Some(id), "keep-alive") => {
            write(app, request, plain(Command::KeepLeaseAlive(id)), granted).await
        }
        (Method::DELETE, Some(id), "") => {
            write(app, request, plain(Command::RevokeLease(id)), ended).await
        }
        (_, None, _) | (_, Some(_), "keep-alive") => {
            Err(ApiError::MethodNotAllowed(&[Method::POST]))
        }
        (_, Some(_), "") => {
            Err(ApiError::MethodNotAllowed(&[Method::GET, Method::HEAD, Method::DELETE]))
        }
        (_, Some(_), _) => Err(ApiError::RouteNotFound),
    }
}

/// `/sessions` and what is below.
pub(super) async fn sessions(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let id = path.strip_prefix("/sessions/").map(number).transpose()?.map(SessionId);
    match (request.method(), id) {
        (&Method::POST, None) => write(app, request, open, opened).await,
        (&Method::DELETE, Some(id)) => {
            write(app, request, plain(Command::CloseSession(id)), closed).await
        }
        (_, None) => Err(ApiError::MethodNotAllowed(&[Method::POST])),
        (_, Some(_)) => Err(ApiError::MethodNotAllowed(&[Method::DELETE])),
    }
}

fn number(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::RouteNotFound)
}

/// A command that the path alone tells.
fn plain(
    command: Command,
) -> impl FnOnce(&Parts, WriteOptions, &Bytes) -> Result<Command, ApiError> {
    move |_, options, _| options.without_lease().map(|()| command)
}

fn grant(_: &Parts, options: WriteOptions, body: &Bytes) -> Result<Command, ApiError> {
    options.without_lease()?;
    Ok(Command::GrantLease { ttl: time_to_live(body)? })
}

fn open(_: &Parts, options: WriteOptions, body: &Bytes) -> Result<Command, ApiError> {
    options.without_lease()?;
    Ok(Command::OpenSession { ttl: time_to_live(body)? })
}

fn time_to_live(body: &[u8]) -> Result<Micros, ApiError> {
    let TimeToLive { ttl_ms } = request::json_body(body)?;
    Ok(ttl_ms.saturating_mul(MILLISECOND))
}

fn granted(_: LogPosition, applied: &Applied) -> Result<Response, ApiError> {
    let Answer::Lease { id, ttl } = applied.answer else { return Err(other_request()) };
    Ok(json(&Granted { lease: id, ttl_ms: ttl / MILLISECOND }))
}

fn ended(_: LogPosition, applied: &Applied) -> Result<Response, ApiError> {
    let Answer::LeaseRevoked { keys } = applied.answer else { return Err(other_request()) };
    Ok(json(&Ended { keys }))
}

fn opened(_: LogPosition, applied: &Applied) -> Result<Response, ApiError> {
    let Answer::Session(session) = applied.answer else { return Err(other_request()) };
    Ok(json(&Opened { session }))
}

fn closed(_: LogPosition, applied: &Applied) -> Result<Response, ApiError> {
    let Answer::SessionClosed = applied.answer else { return Err(other_request()) };
    Ok(json(&serde_json::json!({})))
}

/// `GET /leases/{id}`.
async fn show(app: &App, request: Request<Incoming>, id: LeaseId) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let ReadOptions { consistency, redirect } = request::query(&parts.uri)?;
    look(app, &parts, consistency, redirect, |store| {
        let Some(Lease { ttl, ends_at }) = store.lease(id) else {
            return ApiError::StoreRefused(raft_core::kv::Refusal::NoSuchLease).into_response();
        };
        json(&Shown {
            lease: id,
            ttl_ms: ttl / MILLISECOND,
            remaining_ms: ends_at.saturating_sub(store.clock()) / MILLISECOND,
            keys: store.lease_keys(id).take(MAX_KEYS).cloned().map(Key).collect(),
        })
    })
    .await
}
