//! For machines that watch the server: liveness, readiness, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;

use super::error::ApiError;
use super::{App, HttpRequest, collect, request, signed};

/// How long the driver may take to show that it runs.
const PATIENCE: Duration = Duration::from_secs(1);

/// `GET /livez`: whether the process does its work; if not, it should be restarted.
pub(super) async fn livez(State(app): State<Arc<App>>) -> Response {
    report(&app, &[("driver", app.handle.is_alive(PATIENCE).await)], true)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    verbose: Option<String>,
}

/// `GET /readyz`: whether requests should be sent here.
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
            ("disk", !status.halted),
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

/// `GET /metrics`, in the OpenMetrics text form that Prometheus reads.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (([(CONTENT_TYPE, content_type)]), collect::encode(&app)).into_response()
}
