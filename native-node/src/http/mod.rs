//! The client API: routes, bounded requests, forwarding to the leader, and routes for monitoring.

pub mod access;
mod answer;
pub mod backup;
mod batch;
mod collect;
mod dispatch;
pub mod error;
mod faults;
pub mod forward;
mod freshness;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub mod headers;
mod health;
mod held;
mod kv;
mod leases;
mod listen;
pub mod members;
mod openapi;
mod operations;
mod origin;
mod paced;
mod pages;
mod places;
mod process;
mod range;
mod refusals;
pub mod request;
mod screen;
pub mod status;
mod trace;
mod txn;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::address::Address;
use api::members::Members;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request};
use prometheus_client::registry::Registry;
use raft_core::types::NodeId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tower_http::cors::CorsLayer;

use crate::addresses::Addresses;
use crate::clock::Clock;
use crate::config::Limits;
use crate::descriptors::Shares;
use crate::driver::handle::Handle;
use crate::metrics::HttpMetrics;
use crate::supervise::Pulse;
use crate::transport::Links;
pub use access::Access;
use answer::Answers;
use error::ApiError;
use forward::Forwarder;
use freshness::Confirmed;
use held::Held;
pub use listen::Listener;
pub(crate) use listen::serve as serve_service;
pub use origin::Origins;

/// The maximum number of reads that wait for a revision at the same time.
const MAX_WAITING_READS: usize = 1024;

/// What reads share: the confirmed freshness, held states, and limits.
#[derive(Debug)]
pub struct Reads {
    /// How fresh this server's state is known to be.
    confirmed: Confirmed,
    /// States that are held for later pages of range reads.
    held: Held,
    /// Limits the reads that wait for a revision.
    waiting: Semaphore,
    /// Limits the memory of pending answers.
    answers: Answers,
    /// Limits the subscribers of the trace.
    trace_watchers: Arc<Semaphore>,
}

impl Reads {
    /// Pending answers hold at most this many bytes together.
    pub fn new(max_answer_bytes: usize) -> Self {
        let (confirmed, held) = Default::default();
        Self {
            confirmed,
            held,
            waiting: Semaphore::new(MAX_WAITING_READS),
            answers: Answers::new(max_answer_bytes),
            trace_watchers: Arc::new(Semaphore::new(trace::MAX_WATCHERS)),
        }
    }
}

/// The state that all routes share.
pub struct App {
    /// This server's id.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster_id: String,
    /// The founding members.
    pub founders: Members,
    /// The addresses of all servers.
    pub addresses: Addresses,
    /// Whether a leader may answer reads by its lease.
    pub lease_reads: bool,
    /// The timeout of a membership change.
    pub change_timeout: Duration,
    /// Where this server listens for clients.
    pub client: Address,
    /// The handle to the driver.
    pub handle: Handle,
    /// The connections to the other servers.
    pub links: Links,
    /// The core's clock.
    pub clock: Clock,
    /// Shows whether the driver's loop makes progress.
    pub pulse: Pulse,
    /// When the process started.
    pub started: Instant,
    /// The timeout for receiving a request body.
    pub client_read_timeout: Duration,
    /// A peer that has been silent for longer is not healthy.
    pub silence: Duration,
    /// Forwards requests to the leader.
    pub forwarder: Forwarder,
    /// The state that reads share.
    pub reads: Reads,
    /// Cancelled when shutdown begins. The server still answers for a moment, but closes
    /// connections.
    pub ending: CancellationToken,
    /// Cancelled when the server takes no more requests.
    pub draining: CancellationToken,
    /// The access rules.
    pub access: Access,
    /// The web page origins that may use the API.
    pub origins: Origins,
    /// The metrics of the API.
    pub metrics: HttpMetrics,
    /// All metrics.
    pub registry: Registry,
    /// The directory of the web page's files.
    pub web_dir: Option<PathBuf>,
}

impl App {
    /// Why this server receives no new entries, as far as it knows.
    fn cut_off(&self) -> Option<&'static str> {
        if !self.handle.is_member() {
            return Some("not-a-member");
        }
        self.handle.status().leader.is_none().then_some("no-leader")
    }
}

/// Serves all routes on a bound address, until `stop` is cancelled.
pub async fn serve(
    listener: Listener,
    app: Arc<App>,
    limits: Limits,
    shares: Shares,
    stop: CancellationToken,
) {
    let connections = app.metrics.connections.clone();
    let (origins, router) = (app.origins.clone(), router(&app));
    let service = |seat| dispatch::service(Arc::clone(&app), router.clone(), seat);
    if origins.is_empty() {
        listen::serve(listener, service, limits, shares, connections, stop).await;
    } else {
        let cors = cors(&origins);
        let service = |seat| cors.layer(service(seat));
        listen::serve(listener, service, limits, shares, connections, stop).await;
    }
}

/// The routes with little load; [`dispatch`] serves the others.
fn router(app: &Arc<App>) -> Router {
    let router = Router::new()
        .route("/cluster/status", only(get(status::get)))
        .route("/livez", only(get(health::livez)))
        .route("/readyz", only(get(health::readyz)))
        .route("/metrics", only(get(health::metrics)))
        .route("/trace", only(get(trace::get)))
        .route("/openapi.json", only(get(openapi::document)))
        .route("/docs", only(get(openapi::page)))
        .route("/docs/{*file}", only(get(openapi::page)))
        .route("/docs/", only(get(openapi::page)))
        .with_state(Arc::clone(app));
    let Some(directory) = &app.web_dir else {
        return router.fallback(async || ApiError::RouteNotFound);
    };
    pages::add(router, directory)
}

/// A route for reading. Other methods get the usual kind of error.
fn only<S: Clone + Send + Sync + 'static>(route: MethodRouter<S>) -> MethodRouter<S> {
    route.fallback(async || ApiError::MethodNotAllowed(&[Method::GET, Method::HEAD]))
}

/// Adds the metrics that are read from the server at each scrape.
pub fn register(registry: &mut Registry, handle: &Handle, links: &Links) {
    registry.register(
        "raft_peer_refused",
        "Connections between servers that were refused",
        links.refused.clone(),
    );
    registry.register(
        "raft_peer_stale_messages",
        "Messages from servers that arrived too late and were dropped",
        links.stale.clone(),
    );
    let (handle, links) = (handle.clone(), links.clone());
    registry.register_collector(Box::new(collect::NodeCollector { handle, links }));
}

fn cors(origins: &Origins) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins.header_values())
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            api::headers::IDEMPOTENCY_KEY,
            api::headers::SESSION_HEADER,
            api::headers::SEQUENCE_HEADER,
        ])
        .expose_headers([
            api::headers::NODE_HEADER,
            api::headers::REVISION_HEADER,
            api::headers::CONSISTENCY_HEADER,
            api::headers::STALENESS_HEADER,
            api::headers::CUT_OFF_HEADER,
            api::headers::FORWARDED_HEADER,
            header::ETAG,
        ])
        .max_age(Duration::from_mins(10))
}

/// Adds the header that names the answering server.
fn signed(app: &App, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(api::headers::NODE_HEADER, HeaderValue::from(app.id.0));
    response
}

/// A request as the router's handlers receive it.
type HttpRequest = Request<Body>;
