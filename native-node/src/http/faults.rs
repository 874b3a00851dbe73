//! `/faults`: injects faults, if the server allows it, also into requests that servers forward to
//! each other.

use std::sync::Arc;

use api::faults::Faults;
use api::headers::FORWARDED_HEADER;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request};
use raft_core::types::NodeId;

use super::error::ApiError;
use super::kv::json;
use super::{App, request, signed};
use crate::faults::Injector;

/// `/faults`, if the server allows it. Every method answers with the current faults.
pub(super) async fn faults(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let injector = app.links.faults.as_ref().ok_or(ApiError::RouteNotFound)?;
    let (parts, body) = request.into_parts();
    request::no_parameters(&parts.uri)?;
    match parts.method {
        Method::GET | Method::HEAD => return Ok(show_faults(app, injector)),
        Method::PUT => {
            let (body, _permit) = request::body(app, body).await?;
            set_faults(injector, &body)?;
        }
        Method::DELETE => end_faults(injector),
        _ => {
            return Err(ApiError::MethodNotAllowed(&[
                Method::GET,
                Method::HEAD,
                Method::PUT,
                Method::DELETE,
            ]));
        }
    }
    Ok(show_faults(app, injector))
}

/// Shows the injected faults. The route exists only with `--allow-faults`.
#[utoipa::path(
    get, path = "/faults", tag = "faults",
    responses((status = 200, description = "The injected faults", body = Faults)),
)]
fn show_faults(app: &App, injector: &Injector) -> Response {
    signed(app, json(&*injector.faults()))
}

/// Replaces all injected faults.
#[utoipa::path(
    put, path = "/faults", tag = "faults", request_body = Faults,
    responses((status = 200, description = "The injected faults", body = Faults)),
)]
fn set_faults(injector: &Injector, body: &[u8]) -> Result<(), ApiError> {
    let wanted: Faults = request::json_body(body)?;
    wanted.validate().map_err(|error| ApiError::BadJson(error.to_string()))?;
    injector.set(wanted);
    Ok(())
}

/// Removes all injected faults.
#[utoipa::path(
    delete, path = "/faults", tag = "faults",
    responses((status = 200, description = "No faults", body = Faults)),
)]
fn end_faults(injector: &Injector) {
    injector.set(Faults::default());
}

/// The link over which a request is forwarded, which may be cut.
pub(super) struct Crossing {
    injector: Arc<Injector>,
    peer: NodeId,
}

impl Crossing {
    /// The link over which a request arrived, if faults are allowed.
    pub(super) fn of(app: &App, headers: &HeaderMap) -> Option<Self> {
        let injector = Arc::clone(app.links.faults.as_ref()?);
        let peer = headers.get(FORWARDED_HEADER)?.to_str().ok()?.parse().ok()?;
        Some(Self { injector, peer: NodeId(peer) })
    }

    /// The link to a server that a request is forwarded to.
    pub(super) fn to(app: &App, peer: NodeId) -> Option<Self> {
        Some(Self { injector: Arc::clone(app.links.faults.as_ref()?), peer })
    }

    /// Whether the link is open in both directions.
    pub(super) fn is_open(&self) -> bool {
        !self.injector.is_cut_to(self.peer) && !self.injector.is_cut_from(self.peer)
    }

    /// Never returns if the link to the other server is cut: the caller has a deadline.
    pub(super) async fn send(&self) {
        if self.injector.is_cut_to(self.peer) {
            std::future::pending::<()>().await;
        }
    }

    /// The same for the link from the other server.
    pub(super) async fn receive(&self) {
        if self.injector.is_cut_from(self.peer) {
            std::future::pending::<()>().await;
        }
    }
}
