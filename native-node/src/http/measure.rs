//! Counts requests and measures how long they take.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::Method;

use super::{App, HttpRequest};
use crate::metrics::{HttpLabels, RouteLabels};

/// See the module.
pub(super) async fn measure(
    State(app): State<Arc<App>>,
    request: HttpRequest,
    next: Next,
) -> Response {
    let start = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("other", route_name);
    let method = method_name(request.method());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    app.metrics.requests.get_or_create(&HttpLabels { route, method, status }).inc();
    let span = start.elapsed().as_secs_f64();
    app.metrics.duration.get_or_create(&RouteLabels { route }).observe(span);
    response
}

/// Fixed names: a key in a label would make a series of its own.
fn route_name(path: &MatchedPath) -> &'static str {
    match path.as_str() {
        "/get/{*key}" | "/get/" => "/get/{key}",
        "/kv/{*key}" | "/kv/" => "/kv/{key}",
        "/set" => "/set",
        "/cluster/status" => "/cluster/status",
        "/livez" => "/livez",
        "/readyz" => "/readyz",
        "/metrics" => "/metrics",
        "/trace" => "/trace",
        _ => "other",
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
