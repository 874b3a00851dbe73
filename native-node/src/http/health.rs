//! For machines that watch the server: liveness, readiness, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::{App, HttpRequest, collect, request, signed};

/// How long the driver may take to show that it runs.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the process does its work; if not, it should be restarted.
#[utoipa::path(
    get, path = "/livez", tag = "health",
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
        (status = 503, description = "What does not hold, a line each", body = String,
            content_type = "text/plain"),
    ),
)]
pub(super) async fn livez(State(app): State<Arc<App>>) -> Response {
    report(&app, &[("driver", app.handle.is_alive(PATIENCE).await)], true)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Options {
    /// With any value or none: also what holds is listed.
    #[param(allow_reserved, value_type = Option<bool>)]
    verbose: Option<String>,
}

/// Whether requests should be sent here.
#[utoipa::path(
    get, path = "/readyz", tag = "health", params(Options),
    responses(
        (status = 200, description = "They should", body = String, content_type = "text/plain"),
        (status = 503, description = "What does not hold, a line each", body = String,
            content_type = "text/plain"),
    ),
)]
pub(super) async fn readyz(
    State(app): State<Arc<App>>,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    let options: Options = request::query(request.uri())?;
    let alive = app.handle.is_alive(PATIENCE).await;
    let checks = {
        let status = app.handle.status();
        [
            ("driver", alive),
            ("disk", !status.halted && app.handle.writes_flow()),
            ("leader", status.leader.is_some()),
            ("applied", status.last_applied.index >= status.commit_index),
            ("not-ending", !app.ending.is_cancelled()),
        ]
    };
    Ok(report(&app, &checks, options.verbose.is_some()))
}

/// In the manner of etcd and Kubernetes: a line a check.
fn report(app: &App, checks: &[(&str, bool)], verbose: bool) -> Response {
    let good = checks.iter().all(|(_, passed)| *passed);
    let told = checks.iter().filter(|(_, passed)| verbose || !passed);
    let line = |(name, passed): &(&str, bool)| {
        let (mark, word) = if *passed { ('+', "ok") } else { ('-', "failed") };
        format!("[{mark}]{name} {word}\n")
    };
    let mut text: String = told.map(line).collect();
    text += if good { "ok\n" } else { "not ok\n" };
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    signed(app, (status, text))
}

/// Figures in the OpenMetrics text form that Prometheus reads.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, description = "All of them", body = String,
        content_type = "application/openmetrics-text")),
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (([(CONTENT_TYPE, content_type)]), collect::encode(&app)).into_response()
}
