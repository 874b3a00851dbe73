//! Handles every request: checks where it comes from, serves the routes with high load directly and
//! the others through the router, and measures all.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use api::headers::FORWARDED_HEADER;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tower::{Service, ServiceExt};

use super::App;
use super::error::ApiError;
use super::faults::Crossing;
use super::places::Seat;
use super::screen::screen;
use super::{backup, batch, faults, kv, leases, members, range, txn, watch};
use crate::auth::Scope;
use crate::route::Route;

/// Disables MIME sniffing.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The description of an administrator's change, which the answer carries for the audit log.
#[derive(Clone, Debug)]
pub(super) struct AuditedChange(pub(super) String);

/// The service of one connection; `router` serves the routes with little load.
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
        if route.needs(&method) == Some(Scope::Admin) { Audited::of(app, &request) } else { None };
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
        // The client then sends no further request into a closing connection.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    // Browsers must not run stored values as scripts.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    app.metrics.answered(route, &method, response.status(), start.elapsed());
    if upgrades {
        return response;
    }
    let rest = Busy { seat: Arc::clone(seat), is_known };
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    // The connection stays busy while the body is sent.
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _still: &Busy = &rest;
            frame
        }))
    })
}

/// Checks whether the request may be served. Returns whether its token is known, and its permit for
/// a reserved place, if it needs one.
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

/// Whether the request's body may be unread after an answer with this status.
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

/// Marks the connection as idle once the answer is made.
struct Busy {
    seat: Arc<Seat>,
    is_known: bool,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.seat.is_idle(self.is_known);
    }
}

/// A request that needs the scope `admin`, for the audit log.
struct Audited {
    token: Option<String>,
    forwarded_by: Option<String>,
    what: String,
}

impl Audited {
    /// `None` if tokens are required and the request has no known token: then it changes nothing.
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
        let change =
            response.extensions().get::<AuditedChange>().map(|AuditedChange(change)| &**change);
        tracing::info!(
            target: "audit",
            token = self.token.as_deref().unwrap_or("none"),
            from = %seat.from(),
            forwarded_by = self.forwarded_by,
            status = response.status().as_u16(),
            change,
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
                // The WebSocket keeps the place of its connection.
                request.extensions_mut().insert(Arc::clone(seat));
            }
            let Ok(response) = router.oneshot(request.map(Body::new)).await;
            Ok(response)
        }
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}
