//! Routes for monitoring: liveness, readiness, metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::error::ApiError;
use super::{App, HttpRequest, collect, request, signed};
use crate::driver::handle::RequestError;

/// How long the driver may take to respond, and a majority to confirm a read.
const PATIENCE: Duration = Duration::from_secs(1);

/// Checks whether the process works; if not, it should be restarted.
#[utoipa::path(
    get, path = "/livez", tag = "health",
    responses(
        (status = 200, description = "The process works", body = String,
            content_type = "text/plain"),
        (status = 503, description = "The failed checks, one per line", body = String,
            content_type = "text/plain"),
    ),
)]
pub(super) async fn livez(State(app): State<Arc<App>>) -> Response {
    // Do not ask the driver: a driver that is busy for a moment needs no restart.
    let checks = [("driver", app.pulse.is_steady()), ("disk", !app.handle.status().halted)];
    report(&app, &checks, true)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Options {
    /// Also lists the checks that pass. The value is ignored.
    #[param(allow_reserved, value_type = Option<bool>)]
    verbose: Option<String>,
}

/// Checks whether requests should be sent here.
#[utoipa::path(
    get, path = "/readyz", tag = "health", params(Options),
    responses(
        (status = 200, description = "The server is ready", body = String,
            content_type = "text/plain"),
        (status = 503, description = "The failed checks, one per line", body = String,
            content_type = "text/plain"),
    ),
)]
pub(super) async fn readyz(
    State(app): State<Arc<App>>,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    let options: Options = request::query(request.uri())?;
    let alive = app.handle.is_alive(PATIENCE).await;
    let (member, led, mut checks) = {
        let status = app.handle.status();
        let (member, led) = (app.handle.is_member(), status.leader.is_some());
        let checks = vec![
            ("driver", alive),
            ("disk", !status.halted && app.handle.writes_flow()),
            // A server that was removed, or is not added yet, receives no new entries.
            ("member", member),
            ("leader", led),
            ("applied", status.last_applied.index >= status.commit_index),
            ("not-ending", !app.ending.is_cancelled()),
        ];
        (member, led, checks)
    };
    if member && led {
        checks.push(("read", is_up_to_date(&app).await));
    }
    Ok(report(&app, &checks, options.verbose.is_some()))
}

/// Whether a majority confirms a read here. This fails on a server that is partitioned, or that
/// lacks many committed entries. An overloaded server counts as up to date.
async fn is_up_to_date(app: &App) -> bool {
    let Ok(permit) = app.handle.admit(0) else { return true };
    match timeout(PATIENCE, app.handle.read(false, permit)).await {
        Ok(Ok(_)) => true,
        // The leader has not committed in its term yet, or the leader is changing.
        Ok(Err(error)) => matches!(error, RequestError::Overloaded),
        Err(_) => false,
    }
}

/// One line per check, like etcd and Kubernetes.
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

/// Returns the metrics in the OpenMetrics text format, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, description = "All metrics", body = String,
        content_type = "application/openmetrics-text")),
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (([(CONTENT_TYPE, content_type)]), collect::encode(&app)).into_response()
}
