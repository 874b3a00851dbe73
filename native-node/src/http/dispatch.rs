//! What happens to every request: where it comes from is checked, the few routes that carry the
//! load are taken without further ado, the others go through the router, and all are measured.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tower::{Service, ServiceExt};

use super::error::ApiError;
use super::faults::Crossing;
use super::places::Seat;
use super::screen::screen;
use super::{App, FORWARDED_HEADER};
use super::{access, backup, batch, faults, kv, leases, members, range, txn, watch};

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

    /// The methods of a path; none where the path decides later whether there is anything.
    pub(super) fn methods(self, path: &str) -> &'static [Method] {
        let below = path.strip_prefix(self.name()).and_then(|rest| rest.strip_prefix('/'));
        match self {
            Self::Get
            | Self::Range
            | Self::Status
            | Self::Livez
            | Self::Readyz
            | Self::Metrics
            | Self::Trace
            | Self::OpenApi
            | Self::Docs => &[Method::GET, Method::HEAD],
            Self::Watch | Self::Backup => &[Method::GET],
            Self::Set | Self::Txn | Self::Batch | Self::Leader | Self::Snapshot => &[Method::POST],
            Self::Kv => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
            Self::Leases => match below.map(|lease| lease.split_once('/')) {
                None | Some(Some((_, "keep-alive"))) => &[Method::POST],
                Some(None) => &[Method::GET, Method::HEAD, Method::DELETE],
                Some(Some(_)) => &[],
            },
            Self::Sessions | Self::Members if below.is_some() => &[Method::DELETE],
            Self::Sessions => &[Method::GET, Method::HEAD, Method::POST],
            Self::Members => &[Method::GET, Method::HEAD, Method::POST, Method::PUT],
            Self::Faults | Self::Other => &[],
        }
    }

    /// Whether there is more below it.
    const fn has_parts(self) -> bool {
        matches!(self, Self::Leases | Self::Sessions | Self::Members | Self::Docs)
    }
}

/// What is said of a change by an administrator, in the answer to it.
#[derive(Clone, Debug)]
pub(super) struct Deed(pub(super) String);

/// A service for one connection, made of the app and the router for all but the keys' routes.
pub(super) fn service(
    app: Arc<App>,
    router: Router,
    seat: Arc<Seat>,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send
{
    tower::service_fn(move |request| {
        let (app, router, seat) = (Arc::clone(&app), router.clone(), Arc::clone(&seat));
        async move { Ok(answer(&app, &seat, router, request).await) }
    })
}

async fn answer(
    app: &App,
    seat: &Arc<Seat>,
    router: Router,
    request: Request<Incoming>,
) -> Response {
    let start = Instant::now();
    seat.is_busy();
    let route = Route::of(request.uri().path());
    let method = request.method().clone();
    let has_body = !request.body().is_end_stream();
    let crossing = Crossing::of(app, request.headers());
    if let Some(crossing) = &crossing {
        crossing.receive().await;
    }
    let admitted = admit(app, seat, route, &request);
    let is_known = matches!(admitted, Ok((true, _)));
    let audited =
        if access::is_for_admins(route, &method) { Audited::of(app, &request) } else { None };
    let mut response = match admitted {
        Ok((_, _room)) => take(app, seat, router, route, &method, request).await,
        Err(error) => error.into_response(),
    };
    if let Some(crossing) = crossing {
        crossing.send().await;
    }
    if let Some(audited) = audited {
        audited.tell(seat, &response);
    }
    let upgrades = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let is_last = app.ending.is_cancelled()
        || seat.is_reserved()
        || has_body && is_refusal(response.status());
    if is_last && !upgrades {
        // The client sends its next request elsewhere, and none into a connection that is ending.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // Nothing that somebody stored is run as a script in another's browser.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    app.metrics.answered(route, &method, response.status(), start.elapsed());
    if upgrades {
        return response;
    }
    let rest = Busy { seat: Arc::clone(seat), is_known };
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    // As long as there is more of the answer to come.
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _still: &Busy = &rest;
            frame
        }))
    })
}

/// Whether the request may be served: if it shows a token that is known, and its room if it needs
/// some.
fn admit(
    app: &App,
    seat: &Seat,
    route: Route,
    request: &Request<Incoming>,
) -> Result<(bool, Option<OwnedSemaphorePermit>), ApiError> {
    let (method, headers) = (request.method(), request.headers());
    let mut room = None;
    if seat.is_reserved() && !matches!(route, Route::Livez | Route::Readyz | Route::Metrics) {
        room = headers.contains_key(FORWARDED_HEADER).then(|| seat.for_server()).flatten();
        if room.is_none() {
            seat.turned_away();
            return Err(ApiError::TooManyConnections);
        }
    }
    screen(route, request)?;
    app.origins.check(headers)?;
    Ok((app.access.check(route, method, headers)?, room))
}

/// Statuses with which a body may be left unread.
fn is_refusal(status: StatusCode) -> bool {
    use StatusCode as S;
    matches!(
        status,
        S::UNAUTHORIZED
            | S::FORBIDDEN
            | S::NOT_FOUND
            | S::METHOD_NOT_ALLOWED
            | S::REQUEST_TIMEOUT
            | S::PAYLOAD_TOO_LARGE
            | S::UNSUPPORTED_MEDIA_TYPE
            | S::EXPECTATION_FAILED
            | S::NOT_IMPLEMENTED
    )
}

/// Lets the connection count as idle once the answer is made.
struct Busy {
    seat: Arc<Seat>,
    is_known: bool,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.seat.is_idle(self.is_known);
    }
}

/// A request that only an administrator may make, as the log tells of it.
struct Audited {
    token: Option<String>,
    forwarded_by: Option<String>,
    what: String,
}

impl Audited {
    /// Nothing for a stranger: whoever shows no token that is known changes nothing.
    fn of(app: &App, request: &Request<Incoming>) -> Option<Self> {
        let token = app.access.name(request.headers());
        if token.is_none() && app.access.asks_for_tokens() {
            return None;
        }
        let forwarded_by = request.headers().get(FORWARDED_HEADER);
        Some(Self {
            token,
            forwarded_by: forwarded_by
                .map(|by| String::from_utf8_lossy(by.as_bytes()).into_owned()),
            what: format!("{} {}", request.method(), request.uri()),
        })
    }

    fn tell(self, seat: &Seat, response: &Response) {
        let deed = response.extensions().get::<Deed>().map(|Deed(deed)| &**deed);
        tracing::info!(
            target: "audit",
            token = self.token.as_deref().unwrap_or("none"),
            from = %seat.from(),
            forwarded_by = self.forwarded_by,
            status = response.status().as_u16(),
            deed,
            "audit: {}", self.what
        );
    }
}

async fn take(
    app: &App,
    seat: &Arc<Seat>,
    router: Router,
    route: Route,
    method: &Method,
    request: Request<Incoming>,
) -> Response {
    let methods = route.methods(request.uri().path());
    if !methods.is_empty() && !methods.contains(method) {
        return ApiError::MethodNotAllowed(methods).into_response();
    }
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
        (Route::Snapshot, &Method::POST) => members::snapshot(app, request).await,
        (Route::Backup, &Method::GET) => backup::get(app, request).await,
        (Route::Faults, _) => faults::faults(app, request).await,
        _ => {
            let mut request = request;
            if route == Route::Trace {
                // It keeps its place when it is no HTTP any more.
                request.extensions_mut().insert(Arc::clone(seat));
            }
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            Ok(response)
        }
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::Route;

    /// Guards clients that try a method: what a path knows depends on what stands below its route.
    #[test]
    fn each_path_has_its_methods() {
        for (path, expected) in [
            ("/set", "POST"),
            ("/kv/a/b", "GET HEAD PUT DELETE"),
            ("/leases", "POST"),
            ("/leases/7", "GET HEAD DELETE"),
            ("/leases/7/keep-alive", "POST"),
            ("/leases/7/other", ""),
            ("/sessions", "GET HEAD POST"),
            ("/sessions/7", "DELETE"),
            ("/cluster/members", "GET HEAD POST PUT"),
            ("/cluster/members/4", "DELETE"),
            ("/metrics", "GET HEAD"),
            ("/nothing", ""),
        ] {
            let methods = Route::of(path).methods(path).iter().map(Method::as_str);
            assert_eq!(methods.collect::<Vec<_>>().join(" "), expected, "{path}");
        }
    }

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
