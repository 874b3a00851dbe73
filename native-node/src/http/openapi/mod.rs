//! The description of the API (OpenAPI 3.1), generated from the handlers and types, and a page that
//! shows it.
//!
//! Handlers describe their input and their success. [`errors`] adds what can go wrong, with the
//! statuses and codes of [`super::error::ApiError`]. [`common`] adds what all answers share, such
//! as headers. A test compares the document with the served routes.
//!
//! **Invariant:** The description is never written by hand. Tests compare it with the routes, and
//! schemathesis compares the answers of a cluster with it.

mod common;
mod errors;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use super::error::ApiError;
use super::{App, HttpRequest, signed};
use super::{backup, batch, faults, health, kv, leases, members, range, status, trace, txn, watch};
use common::Common;
use errors::Errors;
pub(super) use errors::codes;

/// The whole document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Glassraft", description = "A distributed key-value store on Raft."),
    servers((url = "/", description = "Any server of the cluster")),
    tags(
        (name = "keys", description = "Reading, writing and watching keys"),
        (name = "leases", description = "Leases, which remove keys when they end"),
        (name = "sessions", description = "Sessions, in which a write takes effect once"),
        (name = "cluster", description = "The servers of the cluster"),
        (name = "faults", description = "Injected faults, for tests"),
        (name = "health", description = "Monitoring of the server"),
    ),
    paths(
        kv::get_json, kv::set, kv::get_raw, kv::put_raw, kv::delete, range::get, txn::transact,
        batch::batch,
        watch::get,
        leases::grant, leases::show, leases::keep_alive, leases::revoke,
        leases::open, leases::list, leases::close,
        members::list, members::join, members::set_voters, members::leave, members::transfer,
        members::snapshot, backup::get, status::get, trace::get,
        faults::show_faults, faults::set_faults, faults::end_faults,
        health::livez, health::readyz, health::metrics,
        document, page,
    ),
    components(schemas(api::kv::Consistency)),
    modifiers(&Common, &Errors),
)]
struct Api;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    Api::openapi().to_pretty_json().expect("the description has a JSON form").into()
});

/// The page's settings: one document, and no external validator.
static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    Arc::new(Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true))
});

/// Returns this description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub(super) async fn document(State(app): State<Arc<App>>) -> Response {
    let json = HeaderValue::from_static("application/json");
    signed(&app, ([(CONTENT_TYPE, json)], DOCUMENT.clone()))
}

/// Shows this description as a page, which loads nothing from other sites.
#[utoipa::path(
    get, path = "/docs", tag = "health", operation_id = "docs",
    responses((status = 308, description = "The page is at `/docs/`")),
)]
pub(super) async fn page(
    State(app): State<Arc<App>>,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    let Some(path) = request.uri().path().strip_prefix("/docs/") else {
        let location = [(LOCATION, HeaderValue::from_static("/docs/"))];
        return Ok(signed(&app, (StatusCode::PERMANENT_REDIRECT, location)));
    };
    // It fails only for settings without a JSON form.
    let file = utoipa_swagger_ui::serve(path, Arc::clone(&CONFIG)).ok().flatten();
    let file = file.ok_or(ApiError::RouteNotFound)?;
    let mut response = signed(&app, file.bytes.into_owned().into_response());
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(&file.content_type) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
