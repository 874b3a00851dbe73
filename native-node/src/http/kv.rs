//! Reading and writing keys.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use raft_core::codec::text_or_bytes;
use raft_core::kv::{Applied, Command, Versioned};
use raft_core::types::LogPosition;
use serde::Serialize;

use super::error::ApiError;
use super::request::{self, Consistency, Options};
use super::{App, CONSISTENCY_HEADER, REVISION_HEADER, signed};
use crate::handle::RequestError;

/// The answer to `GET /get/{key}`.
#[derive(Serialize)]
struct Found<'a> {
    #[serde(with = "text_or_bytes")]
    key: &'a Bytes,
    #[serde(with = "text_or_bytes")]
    value: &'a Bytes,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
}

/// The answer to a write.
#[derive(Serialize)]
struct Written {
    /// The store's revision after it.
    revision: u64,
    /// Whether the key was there before.
    existed: bool,
    /// Where it stands in the log.
    index: u64,
    term: u64,
}

/// `GET /get/{key}`.
pub(super) async fn get_json(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    read(app, request, "/get/", |key, found| {
        let Versioned { value, create_revision, mod_revision, version, lease: _ } = found;
        let (create_revision, mod_revision, version) = (*create_revision, *mod_revision, *version);
        json(&Found { key, value, create_revision, mod_revision, version })
    })
    .await
}

/// `GET /kv/{key}`: the bare value.
pub(super) async fn get_raw(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    read(app, request, "/kv/", |_, found| {
        let mut response = Response::new(Body::from(found.value.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        // What one user stored is not run as a script in another's browser.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let tag = HeaderValue::from_str(&format!("\"{}\"", found.mod_revision));
        headers.insert(ETAG, tag.expect("digits in quotes fit into a header"));
        response
    })
    .await
}

/// `POST /set`.
pub(super) async fn set(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    write(app, request, |_, body| request::set_request(&body)).await
}

/// `PUT /kv/{key}`.
pub(super) async fn put_raw(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    write(app, request, |parts, body| request::put(request::key(&parts.uri, "/kv/")?, body)).await
}

/// `DELETE /kv/{key}`.
pub(super) async fn delete(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    write(app, request, |parts, _| Ok(Command::delete(request::key(&parts.uri, "/kv/")?))).await
}

/// Reads a key here or at the leader, as the consistency wants it, and shows what was found.
async fn read(
    app: &App,
    request: Request<Incoming>,
    prefix: &str,
    show: impl FnOnce(&Bytes, &Versioned) -> Response,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let options: Options = request::query(&parts.uri)?;
    let key = request::key(&parts.uri, prefix)?;
    let permit = app.handle.admit(0).map_err(request::read_error)?;
    let store = match options.consistency {
        Consistency::Stale => app.handle.read_local(permit).await,
        Consistency::Linearizable if app.handle.leads() => app.handle.read(permit).await,
        Consistency::Linearizable => {
            Err(RequestError::NotLeader { leader: app.handle.status().leader })
        }
    };
    let store = match store {
        Ok(store) => store,
        Err(RequestError::NotLeader { leader }) => {
            return app.ask_leader(leader, &parts, Bytes::new(), options.redirect).await;
        }
        Err(error) => return Err(request::read_error(error)),
    };
    let response = match store.get(&key) {
        Some(found) => show(&key, found),
        None => ApiError::KeyNotFound.into_response(),
    };
    let mut response = signed(app, response);
    let headers = response.headers_mut();
    headers.insert(REVISION_HEADER, HeaderValue::from(store.revision()));
    let consistency = HeaderValue::from_static(options.consistency.name());
    headers.insert(CONSISTENCY_HEADER, consistency);
    Ok(response)
}

/// Replicates the command that `parse` finds in the request, here or at the leader.
async fn write(
    app: &App,
    request: Request<Incoming>,
    parse: impl FnOnce(&Parts, Bytes) -> Result<Command, ApiError>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let options: Options = request::query(&parts.uri)?;
    let (body, permit) = request::body(app, body).await?;
    // Checked before it travels: what is wrong is said by the server that was asked.
    let command = parse(&parts, body.clone())?.encode();
    if !app.handle.leads() {
        let leader = app.handle.status().leader;
        let answer = app.ask_leader(leader, &parts, body, options.redirect).await;
        drop(permit);
        return answer;
    }
    match app.handle.propose(command, permit).await {
        Ok((position, applied)) => Ok(signed(app, written(position, &applied))),
        Err(RequestError::NotLeader { leader }) => {
            app.ask_leader(leader, &parts, body, options.redirect).await
        }
        Err(error) => Err(request::write_error(error)),
    }
}

fn written(position: LogPosition, applied: &Applied) -> Response {
    let (revision, existed) = (applied.revision, applied.existed());
    let (index, term) = (position.index.0, position.term.0);
    let mut response = json(&Written { revision, existed, index, term });
    response.headers_mut().insert(REVISION_HEADER, HeaderValue::from(revision));
    response
}

fn json<T: Serialize>(value: &T) -> Response {
    let body = serde_json::to_vec(value).expect("answers have a JSON form");
    let mut response = Response::new(Body::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
