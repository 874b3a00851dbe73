//! The interface for clients: routes, bounded requests, forwarding to the leader, and what people
//! and machines need to see how the server is.

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
mod json_bytes;
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

use axum::Router;
use axum::body::Body;
use axum::http::HeaderName;
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
use crate::config::{Address, Limits, Members};
use crate::descriptors::Shares;
use crate::handle::Handle;
use crate::metrics::HttpMetrics;
use crate::supervise::Pulse;
use crate::transport::Links;
pub use access::Access;
use answer::Answers;
pub use dispatch::Route;
use error::ApiError;
use forward::Forwarder;
use freshness::Confirmed;
use held::Held;
pub use listen::Listener;
pub(crate) use listen::serve as serve_service;
pub use origin::Origins;
pub use places::MAX_RESERVED;

/// The server that answered.
pub const NODE_HEADER: HeaderName = HeaderName::from_static("x-raft-node");

/// The store's revision that the answer shows or made.
pub const REVISION_HEADER: HeaderName = HeaderName::from_static("x-raft-revision");

/// What a read may have missed: nothing (`linearizable`, `lease`) or much (`stale`).
pub const CONSISTENCY_HEADER: HeaderName = HeaderName::from_static("x-raft-consistency");

/// With `max_staleness`: how old the state is at most that a stale read saw, in ms.
pub const STALENESS_HEADER: HeaderName = HeaderName::from_static("x-raft-staleness-ms");

/// With a stale read, why this server hears nothing new, if that is so: `not-a-member` or `no-leader`.
pub const CUT_OFF_HEADER: HeaderName = HeaderName::from_static("x-raft-cut-off");

/// The server that passed the request on; such a request is not passed on again.
pub const FORWARDED_HEADER: HeaderName = HeaderName::from_static("x-raft-forwarded-by");

/// Reads that wait for a revision at once, at most.
const MAX_WAITING_READS: usize = 1024;

/// What reads leave behind for later ones, and the room that they share.
#[derive(Debug)]
pub struct Reads {
    /// How fresh this server's state is known to be.
    confirmed: Confirmed,
    /// States of which more pages may be read.
    held: Held,
    /// Room for those that wait for a revision.
    waiting: Semaphore,
    /// What answers under way hold.
    answers: Answers,
    /// Room for those who watch the trace.
    trace_watchers: Arc<Semaphore>,
}

impl Reads {
    /// With answers that hold so many bytes together at most.
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

/// What all routes share.
pub struct App {
    /// This server.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster_id: String,
    /// The servers of the command line.
    pub founders: Members,
    /// All servers and where they are.
    pub addresses: Addresses,
    /// Whether a leader may read by its lease.
    pub lease_reads: bool,
    /// How long a change of the members may take.
    pub change_timeout: Duration,
    /// Where this server listens for clients.
    pub client: Address,
    /// The driver.
    pub handle: Handle,
    /// The connections to the other servers.
    pub links: Links,
    /// The core's time.
    pub clock: Clock,
    /// Whether the driver's loop turns.
    pub pulse: Pulse,
    /// When the process began.
    pub started: Instant,
    /// How long a client may take to send a body.
    pub client_read_timeout: Duration,
    /// A peer that was silent for longer is not healthy.
    pub silence: Duration,
    /// Where requests for the leader go.
    pub forwarder: Forwarder,
    /// What reads share.
    pub reads: Reads,
    /// Set once the server is told to end: it goes on for a moment, but lets connections go.
    pub ending: CancellationToken,
    /// Set when it takes no more requests.
    pub draining: CancellationToken,
    /// Who may do what.
    pub access: Access,
    /// Who may use the API from a web page.
    pub origins: Origins,
    /// What is counted here.
    pub metrics: HttpMetrics,
    /// Everything that is counted.
    pub registry: Registry,
    /// The page's files.
    pub web_dir: Option<PathBuf>,
}

impl App {
    /// Why this server's state does not move, as far as it knows.
    fn cut_off(&self) -> Option<&'static str> {
        if !self.handle.is_member() {
            return Some("not-a-member");
        }
        self.handle.status().leader.is_none().then_some("no-leader")
    }
}

/// Everything that is served, on an address that was taken before.
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

/// The routes that do not carry the load; see [`dispatch`] for those that do.
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

/// A route for reading whose other methods get the usual kind of error.
fn only<S: Clone + Send + Sync + 'static>(route: MethodRouter<S>) -> MethodRouter<S> {
    route.fallback(async || ApiError::MethodNotAllowed(&[Method::GET, Method::HEAD]))
}

/// Adds the metrics that are read off the server when somebody asks.
pub fn register(registry: &mut Registry, handle: &Handle, links: &Links) {
    registry.register(
        "raft_peer_refused",
        "Connections between servers that were refused",
        links.refused.clone(),
    );
    registry.register(
        "raft_peer_stale_messages",
        "Messages from servers that came too late to say anything",
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
            headers::IDEMPOTENCY_KEY,
            headers::SESSION_HEADER,
            headers::SEQUENCE_HEADER,
        ])
        .expose_headers([
            NODE_HEADER,
            REVISION_HEADER,
            CONSISTENCY_HEADER,
            STALENESS_HEADER,
            CUT_OFF_HEADER,
            FORWARDED_HEADER,
            header::ETAG,
        ])
        .max_age(Duration::from_mins(10))
}

/// Adds who answered.
fn signed(app: &App, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(NODE_HEADER, HeaderValue::from(app.id.0));
    response
}

/// A request as handlers take it.
type HttpRequest = Request<Body>;
