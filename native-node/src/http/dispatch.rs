//! What happens to every request: where it comes from is checked, the few routes that carry the
//! load are taken without further ado, the others go through the router, and all are measured.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode};
use tower::{Service, ServiceExt};

use super::App;
use super::error::ApiError;
use super::faults::Crossing;
use super::{backup, batch, faults, kv, leases, members, range, txn, watch};

/// Bodies are what their type says, and nothing that a browser guesses.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The routes, as patterns; the path itself would make a metric of its own for each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/get/{key}`
    Get,
    /// `/set`
    Set,
    /// `/kv/{key}`
    Kv,
    /// `/kv`
    Range,
    /// `/txn`
    Txn,
    /// `/batch`
    Batch,
    /// `/watch`
    Watch,
    /// `/leases` and what is below
    Leases,
    /// `/sessions` and what is below
    Sessions,
    /// `/cluster/members` and what is below
    Members,
    /// `/cluster/leader`
    Leader,
    /// `/cluster/snapshot`
    Snapshot,
    /// `/cluster/backup`
    Backup,
    /// `/cluster/status`
    Status,
    /// `/livez`
    Livez,
    /// `/readyz`
    Readyz,
    /// `/metrics`
    Metrics,
    /// `/trace`
    Trace,
    /// `/faults`
    Faults,
    /// `/openapi.json`
    OpenApi,
    /// `/docs` and its files
    Docs,
    /// The page's files and what does not exist.
    Other,
}

impl Route {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 22] = [
        Self::Get,
        Self::Set,
        Self::Kv,
        Self::Range,
        Self::Txn,
        Self::Batch,
        Self::Watch,
        Self::Leases,
        Self::Sessions,
        Self::Members,
        Self::Leader,
        Self::Snapshot,
        Self::Backup,
        Self::Status,
        Self::Livez,
        Self::Readyz,
        Self::Metrics,
        Self::Trace,
        Self::Faults,
        Self::OpenApi,
        Self::Docs,
        Self::Other,
    ];

    /// Its pattern, as a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "/get/{key}",
            Self::Set => "/set",
            Self::Kv => "/kv/{key}",
            Self::Range => "/kv",
            Self::Txn => "/txn",
            Self::Batch => "/batch",
            Self::Watch => "/watch",
            Self::Leases => "/leases",
            Self::Sessions => "/sessions",
            Self::Members => "/cluster/members",
            Self::Leader => "/cluster/leader",
            Self::Snapshot => "/cluster/snapshot",
            Self::Backup => "/cluster/backup",
            Self::Status => "/cluster/status",
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::Trace => "/trace",
            Self::Faults => "/faults",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
            Self::Other => "other",
        }
    }

    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/kv/") {
            return Self::Kv;
        }
        if path.starts_with("/get/") {
            return Self::Get;
        }
        let known = |route: &Self| route.name() == path;
        let above = |route: &Self| {
            let below = path.strip_prefix(route.name());
            route.has_parts() && below.is_some_and(|rest| rest.starts_with('/'))
        };
        let mut routes = Self::ALL.into_iter();
        routes.find(|route| known(route) || above(route)).unwrap_or(Self::Other)
    }

    /// Whether there is more below it.
    const fn has_parts(self) -> bool {
        matches!(self, Self::Leases | Self::Sessions | Self::Members | Self::Docs)
    }
}

/// A service for connections, made of the app and the router for all but the keys' routes.
pub(super) fn service(
    app: Arc<App>,
    router: Router,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send
{
    tower::service_fn(move |request| {
        let (app, router) = (Arc::clone(&app), router.clone());
        async move { Ok(answer(&app, router, request).await) }
    })
}

async fn answer(app: &App, router: Router, request: Request<Incoming>) -> Response {
    let start = Instant::now();
    let route = Route::of(request.uri().path());
    let method = request.method().clone();
    let crossing = Crossing::of(app, request.headers());
    if let Some(crossing) = &crossing {
        crossing.receive().await;
    }
    let allowed = app.origins.check(request.headers());
    let allowed = allowed.and_then(|()| app.access.check(route, &method, request.headers()));
    let mut response = match allowed {
        Ok(()) => take(app, router, route, &method, request).await,
        Err(error) => error.into_response(),
    };
    if let Some(crossing) = crossing {
        crossing.send().await;
    }
    if app.ending.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // The client sends its next request elsewhere, and none into a connection that is ending.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // Nothing that somebody stored is run as a script in another's browser.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    app.metrics.answered(route, &method, response.status(), start.elapsed());
    response
}

async fn take(
    app: &App,
    router: Router,
    route: Route,
    method: &Method,
    request: Request<Incoming>,
) -> Response {
    let answer = match (route, method) {
        (Route::Get, &Method::GET | &Method::HEAD) => kv::get_json(app, request).await,
        (Route::Set, &Method::POST) => kv::set(app, request).await,
        (Route::Kv, &Method::GET | &Method::HEAD) => kv::get_raw(app, request).await,
        (Route::Kv, &Method::PUT) => kv::put_raw(app, request).await,
        (Route::Kv, &Method::DELETE) => kv::delete(app, request).await,
        (Route::Range, &Method::GET | &Method::HEAD) => range::get(app, request).await,
        (Route::Txn, &Method::POST) => txn::transact(app, request).await,
        (Route::Batch, &Method::POST) => batch::batch(app, request).await,
        (Route::Watch, &Method::GET) => watch::get(app, request).await,
        (Route::Leases, _) => leases::leases(app, request).await,
        (Route::Sessions, _) => leases::sessions(app, request).await,
        (Route::Members, _) => members::members(app, request).await,
        (Route::Leader, &Method::POST) => members::transfer(app, request).await,
        (Route::Snapshot, &Method::POST) => members::snapshot(app).await,
        (Route::Backup, &Method::GET) => backup::get(app, request).await,
        (Route::Faults, _) => faults::faults(app, request).await,
        (Route::Get | Route::Range, _) => {
            Err(ApiError::MethodNotAllowed(&[Method::GET, Method::HEAD]))
        }
        (Route::Watch | Route::Backup, _) => Err(ApiError::MethodNotAllowed(&[Method::GET])),
        (Route::Set | Route::Txn | Route::Batch | Route::Leader | Route::Snapshot, _) => {
            Err(ApiError::MethodNotAllowed(&[Method::POST]))
        }
        (Route::Kv, _) => Err(ApiError::MethodNotAllowed(&[
            Method::GET,
            Method::HEAD,
            Method::PUT,
            Method::DELETE,
        ])),
        (
            Route::Status
            | Route::Livez
            | Route::Readyz
            | Route::Metrics
            | Route::Trace
            | Route::OpenApi
            | Route::Docs
            | Route::Other,
            _,
        ) => {
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            Ok(response)
        }
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

#[cfg(test)]
mod tests {
    use super::Route;

    /// Guards the metrics' labels: they are few, whatever is asked for.
    #[test]
    fn paths_are_sorted_by_their_pattern() {
        assert_eq!(Route::of("/kv/a/b"), Route::Kv);
        assert_eq!(Route::of("/get/"), Route::Get);
        assert_eq!(Route::of("/get"), Route::Other);
        assert_eq!(Route::of("/set"), Route::Set);
        assert_eq!(Route::of("/set/x"), Route::Other);
        assert_eq!(Route::of("/cluster/status"), Route::Status);
        assert_eq!(Route::of("/kv"), Route::Range);
        assert_eq!(Route::of("/leases/7/keep-alive"), Route::Leases);
        assert_eq!(Route::of("/cluster/members/4"), Route::Members);
        assert_eq!(Route::of("/leasesx"), Route::Other);
        assert_eq!(Route::of("/txn/x"), Route::Other);
        for (number, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, number);
        }
    }
}
