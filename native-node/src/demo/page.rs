//! The demo's web page, and the routes with which it controls the processes.
//!
//! The routes accept requests on loopback only, from pages of the same origin only, and only with a
//! token that no other page can read.

use std::path::Path;
use std::sync::Arc;

use api::demo::Overview;
use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tower_http::services::ServeDir;

use super::faults::Disturbance;
use super::problem;
use super::process::{Deed, DeedError};
use super::supervisor::Supervisor;
use crate::http::Origins;
use crate::http::error::ApiError;

/// The header with the page's token.
const TOKEN: HeaderName = HeaderName::from_static("x-demo-token");

struct Desk {
    supervisor: Arc<Supervisor>,
    origins: Origins,
    token: String,
}

/// Whether the directory contains a built page.
pub(super) fn is_built(web_dir: &Path) -> bool {
    web_dir.join("index.html").is_file()
}

/// Serves the page and the routes under `/demo`.
pub(super) fn router(supervisor: Arc<Supervisor>, web_dir: &Path) -> Router {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system gives random bytes");
    let token = random.map(|byte| format!("{byte:02x}")).concat();
    let desk = Desk { supervisor, origins: Origins::new(&[], true), token };
    let desk = Arc::new(desk);
    let router = Router::new()
        .route("/demo/nodes", get(nodes))
        .route("/demo/nodes/{id}/{deed}", post(act))
        .route("/demo/links/{from}/{to}/{deed}", post(act_on_link))
        .route("/demo/split/{apart}", post(split))
        .route("/demo/heal", post(heal))
        .with_state(Arc::clone(&desk));
    let router = if is_built(web_dir) {
        router.fallback_service(ServeDir::new(web_dir).precompressed_gzip())
    } else {
        router.route("/", get(async || Html(NOT_BUILT))).fallback(async || ApiError::RouteNotFound)
    };
    router.layer(middleware::from_fn_with_state(desk, check_origin))
}

/// The page if the directory contains no built page.
const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Page not built</title>\
    <p>The page is not built. Run <code>cargo xtask web</code> and start the demo again. Or give \
    the directory of a built page with <code>--web-dir</code>.";

async fn check_origin(
    State(desk): State<Arc<Desk>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    match desk.origins.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn nodes(State(desk): State<Arc<Desk>>) -> Response {
    overview(&desk)
}

async fn act(
    State(desk): State<Arc<Desk>>,
    UrlPath((id, deed)): UrlPath<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Ok(id) = id.parse() else { return ApiError::RouteNotFound.into_response() };
    let disturbance = Disturbance::of_node(&deed, id);
    desk.perform(&headers, |supervisor| match (Deed::named(&deed), disturbance) {
        (Some(deed), _) => Some(supervisor.act(id, deed)),
        (None, Some(disturbance)) => Some(supervisor.disturb(disturbance)),
        (None, None) => None,
    })
}

async fn act_on_link(
    State(desk): State<Arc<Desk>>,
    UrlPath((from, to, deed)): UrlPath<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let disturbance = match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) => Disturbance::of_link(&deed, from, to),
        _ => None,
    };
    desk.perform(&headers, |supervisor| disturbance.map(|it| supervisor.disturb(it)))
}

async fn split(
    State(desk): State<Arc<Desk>>,
    UrlPath(apart): UrlPath<String>,
    headers: HeaderMap,
) -> Response {
    desk.perform(&headers, |supervisor| Disturbance::split(&apart).map(|it| supervisor.disturb(it)))
}

async fn heal(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    desk.perform(&headers, |supervisor| Some(supervisor.disturb(Disturbance::HealAll)))
}

impl Desk {
    /// Performs an action if the request has the token; `None` means that the route does not exist.
    fn perform(
        &self,
        headers: &HeaderMap,
        deed: impl FnOnce(&Arc<Supervisor>) -> Option<Result<(), DeedError>>,
    ) -> Response {
        if headers.get(TOKEN).is_none_or(|token| token.as_bytes() != self.token.as_bytes()) {
            return problem::wrong_token();
        }
        match deed(&self.supervisor) {
            Some(Ok(())) => overview(self),
            Some(Err(error)) => problem::refused(&error),
            None => ApiError::RouteNotFound.into_response(),
        }
    }
}

fn overview(desk: &Desk) -> Response {
    let nodes = desk.supervisor.view();
    let failover = desk.supervisor.last_failover();
    let body = serde_json::to_vec(&Overview { token: desk.token.clone(), nodes, failover })
        .expect("the overview has a JSON form");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}
