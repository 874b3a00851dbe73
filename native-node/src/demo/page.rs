//! The demo's web page, and the routes with which it controls the processes.
//!
//! The routes accept requests on loopback only, from pages of the same origin only, and only with a
//! token that no other page can read.

use std::path::Path;
use std::sync::Arc;

use api::demo::{Action, Overview};
use axum::Router;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri};
use tower_http::services::ServeDir;

use super::problem;
use super::supervisor::Supervisor;
use crate::http::Origins;
use crate::http::error::ApiError;

/// The header with the page's token.
const TOKEN: HeaderName = HeaderName::from_static("x-demo-token");

struct Control {
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
    let control = Control { supervisor, origins: Origins::new(&[], true), token };
    let control = Arc::new(control);
    let router = Router::new()
        .route("/demo/nodes", get(nodes))
        .route("/demo/{*action}", post(act))
        .with_state(Arc::clone(&control));
    let router = if is_built(web_dir) {
        router.fallback_service(ServeDir::new(web_dir).precompressed_gzip())
    } else {
        router.route("/", get(async || Html(NOT_BUILT))).fallback(async || ApiError::RouteNotFound)
    };
    router.layer(middleware::from_fn_with_state(control, check_origin))
}

/// The page if the directory contains no built page.
const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Page not built</title>\
    <p>The page is not built. Run <code>cargo xtask web</code> and start the demo again. Or give \
    the directory of a built page with <code>--web-dir</code>.";

async fn check_origin(
    State(control): State<Arc<Control>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    match control.origins.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn nodes(State(control): State<Arc<Control>>) -> Response {
    overview(&control)
}

/// Performs the action of this path if the request has the token.
async fn act(State(control): State<Arc<Control>>, uri: Uri, headers: HeaderMap) -> Response {
    if headers.get(TOKEN).is_none_or(|token| token.as_bytes() != control.token.as_bytes()) {
        return problem::wrong_token();
    }
    let Some(action) = Action::of_path(uri.path()) else {
        return ApiError::RouteNotFound.into_response();
    };
    match control.supervisor.act(&action) {
        Ok(()) => overview(&control),
        Err(error) => problem::refused(&error),
    }
}

fn overview(control: &Control) -> Response {
    let nodes = control.supervisor.view();
    let failover = control.supervisor.last_failover();
    let body = serde_json::to_vec(&Overview { token: control.token.clone(), nodes, failover })
        .expect("the overview has a JSON form");
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, body).into_response()
}
