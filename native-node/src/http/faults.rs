//! `/faults`: what goes wrong on command, where the server allows it; and what that does to the
//! requests that servers pass on to each other.

use std::sync::Arc;

use axum::response::Response;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request};
use raft_core::types::NodeId;

use super::error::ApiError;
use super::kv::json;
use super::{App, FORWARDED_HEADER, request, signed};
use crate::faults::{Faults, Injector};

/// `GET` shows, `PUT` replaces and `DELETE` ends all faults; each answers with those that hold then.
pub(super) async fn faults(app: &App, request: Request<Incoming>) -> Result<Response, ApiError> {
    let injector = app.links.faults.as_ref().ok_or(ApiError::RouteNotFound)?;
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::GET | Method::HEAD => {}
        Method::PUT => {
            let (body, _permit) = request::body(app, body).await?;
            let wanted: Faults = request::json_body(&body)?;
            wanted.validate().map_err(|error| ApiError::BadJson(error.to_string()))?;
            injector.set(wanted);
        }
        Method::DELETE => injector.set(Faults::default()),
        _ => {
            return Err(ApiError::MethodNotAllowed(&[
                Method::GET,
                Method::HEAD,
                Method::PUT,
                Method::DELETE,
            ]));
        }
    }
    Ok(signed(app, json(&*injector.faults())))
}

/// A request that another server passed on, over a link that may be cut.
pub(super) struct Crossing {
    injector: Arc<Injector>,
    peer: NodeId,
}

impl Crossing {
    /// The link over which a request came, where faults are allowed.
    pub(super) fn of(app: &App, headers: &HeaderMap) -> Option<Self> {
        let injector = Arc::clone(app.links.faults.as_ref()?);
        let peer = headers.get(FORWARDED_HEADER)?.to_str().ok()?.parse().ok()?;
        Some(Self { injector, peer: NodeId(peer) })
    }

    /// The link to a server to which something is passed on.
    pub(super) fn to(app: &App, peer: NodeId) -> Option<Self> {
        Some(Self { injector: Arc::clone(app.links.faults.as_ref()?), peer })
    }

    /// Whether it is cut neither way.
    pub(super) fn is_open(&self) -> bool {
        !self.injector.is_cut_to(self.peer) && !self.injector.is_cut_from(self.peer)
    }

    /// Never ends when the link to the other server is cut: who waits for it has a deadline.
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
