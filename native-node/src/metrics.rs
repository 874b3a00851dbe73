//! The metrics, in the Prometheus text format.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::route::Route;
use crate::transport::RefusedLabels;

/// Buckets from 50 µs on, each bound twice the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 2.0, 18))
}

/// Buckets from 1 to 4096, each bound twice the one before.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 13))
}

/// The labels of an HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabels {
    /// The route's pattern, never the path itself: each key would create a series.
    pub route: &'static str,
    /// The method.
    pub method: &'static str,
    /// The status code.
    pub status: u16,
}

/// The label of an HTTP route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// The route's pattern.
    pub route: &'static str,
}

/// The metrics of the driver.
#[derive(Clone, Debug)]
pub struct DriverMetrics {
    /// Changes of the known leader.
    pub leader_changes: Counter,
    /// Commands taken from clients.
    pub proposals: Counter,
    /// Linearizable reads taken from clients.
    pub reads: Counter,
    /// The number of proposals in a batch.
    pub batch: Histogram,
    /// The time from a proposal's arrival at the driver to its answer.
    pub commit_duration: Histogram,
    /// The duration of one fsync of the log.
    pub fsync_duration: Histogram,
    /// Bytes written to the log.
    pub log_bytes_written: Counter,
    /// The time from the start of a snapshot until it is durable.
    pub snapshot_duration: Histogram,
    /// The newest snapshot that was saved since the server started.
    pub snapshot: SnapshotMetrics,
    /// Snapshots that could not be saved.
    pub snapshot_failures: Counter,
    /// Messages received from peers.
    pub messages: Counter,
    /// Messages from peers that were refused because no correct server sends them.
    pub refused: Counter,
    /// State digests of members that differed from this server's after the same entry.
    pub differences: Counter,
    /// AppendEntries messages that were not fully accepted because the disk could not follow.
    pub deferred: Counter,
}

/// Client connections.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// Open connections.
    pub open: Gauge,
    /// Connections that were closed before a request, by reason.
    pub refused: Family<RefusedLabels, Counter>,
}

impl Connections {
    /// Counts a connection that was closed before a request.
    pub fn refused(&self, reason: &'static str) {
        let _: u64 = self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }
}

/// The newest snapshot that was saved since the server started; all values are zero before it.
#[derive(Clone, Debug, Default)]
pub struct SnapshotMetrics {
    /// When it became durable, in seconds since 1970.
    saved_at: Gauge<f64, AtomicU64>,
    /// How long it took, in seconds.
    took: Gauge<f64, AtomicU64>,
    /// Its size, in bytes.
    bytes: Gauge,
}

impl SnapshotMetrics {
    /// Records a saved snapshot.
    pub fn saved(&self, bytes: u64, took: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.saved_at.set(now.as_secs_f64());
        self.took.set(took.as_secs_f64());
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, metric: &Gauge<f64, AtomicU64>| {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        };
        gauge(
            "raft_snapshot_last_timestamp",
            "Time of the newest snapshot, since 1970",
            &self.saved_at,
        );
        gauge("raft_snapshot_last_duration", "Duration of saving the newest snapshot", &self.took);
        let (name, help) = ("raft_snapshot_last_size", "Size of the newest snapshot");
        registry.register_with_unit(name, help, Unit::Bytes, self.bytes.clone());
    }
}

/// The metrics of the HTTP side.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    /// Requests by route, method and status.
    pub requests: Family<HttpLabels, Counter>,
    /// The time to answer, by route.
    pub duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// The metrics from above that change with nearly every request, without a look-up.
    usual: Arc<[Usual]>,
    /// Requests forwarded to the leader.
    pub forwarded: Counter,
    /// Client connections.
    pub connections: Connections,
}

/// The metrics that a route's requests usually change.
#[derive(Debug)]
struct Usual {
    duration: Histogram,
    /// Answers with status 200, in the order of [`METHODS`].
    good: [Counter; METHODS.len()],
}

/// Methods with a label of their own.
const METHODS: [(Method, &str); 5] = [
    (Method::GET, "GET"),
    (Method::HEAD, "HEAD"),
    (Method::POST, "POST"),
    (Method::PUT, "PUT"),
    (Method::DELETE, "DELETE"),
];

impl HttpMetrics {
    /// Records an answered request.
    pub fn answered(&self, route: Route, method: &Method, status: StatusCode, after: Duration) {
        let usual = &self.usual[route as usize];
        usual.duration.observe(after.as_secs_f64());
        let method = METHODS.iter().position(|(known, _)| known == method);
        if let (Some(method), StatusCode::OK) = (method, status) {
            usual.good[method].inc();
            return;
        }
        let method = method.map_or("other", |at| METHODS[at].1);
        let labels = HttpLabels { route: route.name(), method, status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
    }
}

/// The metrics and their registry.
#[derive(Debug)]
pub struct Metrics {
    /// All metrics, for encoding.
    pub registry: Registry,
    /// The driver's metrics.
    pub driver: DriverMetrics,
    /// The HTTP side's metrics.
    pub http: HttpMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let driver = register_driver(&mut registry);
        let http = register_http(&mut registry);
        let version: Family<Vec<(String, String)>, Gauge<u64, AtomicU64>> = Family::default();
        let label = ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        version.get_or_create(&vec![label]).set(1);
        registry.register("glassraft_build_info", "The program's version", version);
        Self { registry, driver, http }
    }
}

fn register_driver(registry: &mut Registry) -> DriverMetrics {
    let metrics = DriverMetrics {
        leader_changes: Counter::default(),
        proposals: Counter::default(),
        reads: Counter::default(),
        batch: sizes(),
        commit_duration: seconds(),
        fsync_duration: seconds(),
        log_bytes_written: Counter::default(),
        snapshot_duration: seconds(),
        snapshot: SnapshotMetrics::default(),
        snapshot_failures: Counter::default(),
        messages: Counter::default(),
        refused: Counter::default(),
        differences: Counter::default(),
        deferred: Counter::default(),
    };
    let it = metrics.clone();
    registry.register("raft_leader_changes", "Changes of the known leader", it.leader_changes);
    registry.register("raft_proposals", "Commands accepted from clients", it.proposals);
    registry.register("raft_reads", "Linearizable reads accepted from clients", it.reads);
    registry.register("raft_proposal_batch_size", "Commands per batch", it.batch);
    let duration = &mut |name: &str, help: &str, metric: Histogram| {
        registry.register_with_unit(name, help, Unit::Seconds, metric);
    };
    duration(
        "raft_commit_duration",
        "Time from the arrival of a command until it is applied",
        it.commit_duration,
    );
    duration("raft_wal_fsync_duration", "Duration of a sync of the log", it.fsync_duration);
    duration("raft_snapshot_save_duration", "Duration of saving a snapshot", it.snapshot_duration);
    registry.register_with_unit(
        "raft_wal_written",
        "Bytes written to the log",
        Unit::Bytes,
        it.log_bytes_written,
    );
    it.snapshot.register(registry);
    registry.register(
        "raft_snapshot_failures",
        "Snapshots that could not be saved",
        it.snapshot_failures,
    );
    registry.register("raft_peer_messages_received", "Messages received from peers", it.messages);
    registry.register(
        "raft_peer_messages_refused",
        "Messages from peers that no correct server sends",
        it.refused,
    );
    registry.register(
        "raft_state_differences",
        "State digests of members that differed from this server's after the same entry",
        it.differences,
    );
    registry.register(
        "raft_append_deferred",
        "AppendEntries that were not fully accepted because the disk could not follow",
        it.deferred,
    );
    metrics
}

fn register_http(registry: &mut Registry) -> HttpMetrics {
    let requests = Family::<HttpLabels, Counter>::default();
    let duration =
        Family::<RouteLabels, Histogram, fn() -> Histogram>::new_with_constructor(seconds);
    let usual = |route: Route| Usual {
        duration: duration.get_or_create_owned(&RouteLabels { route: route.name() }),
        good: METHODS.map(|(_, method)| {
            let labels = HttpLabels { route: route.name(), method, status: 200 };
            requests.get_or_create_owned(&labels)
        }),
    };
    let metrics = HttpMetrics {
        usual: Route::ALL.map(usual).into(),
        requests,
        duration,
        forwarded: Counter::default(),
        connections: Connections::default(),
    };
    let it = metrics.clone();
    registry.register("http_requests", "Requests by route, method and status", it.requests);
    registry.register_with_unit(
        "http_request_duration",
        "Time to answer a request",
        Unit::Seconds,
        it.duration,
    );
    registry.register("http_forwarded_requests", "Requests forwarded to the leader", it.forwarded);
    registry.register("http_connections", "Open client connections", it.connections.open);
    registry.register(
        "http_connections_refused",
        "Client connections that were closed before a request, by reason",
        it.connections.refused,
    );
    metrics
}
