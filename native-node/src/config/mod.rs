//! The settings of a server. Flags have precedence over the environment, a TOML file and the
//! defaults. All settings are checked before anything starts.

mod error;
mod layer;
mod security;
mod span;

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::address::Address;
use api::members::Members;
use raft_core::config::Config as RaftConfig;
use raft_core::limits::MAX_CHUNK_BYTES;
use raft_core::types::NodeId;

pub use error::ConfigError;
pub use layer::{
    Layer, LimitsLayer, LogFormat, RaftLayer, SecurityLayer, ServerLayer, StorageLayer,
};
pub use security::{Security, TlsFiles};
pub use span::{Span, SpanError};

/// All settings of `serve`, complete and checked.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// This server's id.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster_id: String,
    /// The data directory.
    pub data: PathBuf,
    /// The servers that are known at the start, including this server.
    pub members: Members,
    /// Whether this start creates a new cluster of `members`.
    pub new_cluster: bool,
    /// The address on which the server listens for clients.
    pub client: Address,
    /// The address on which the server listens for other servers.
    pub peer: Address,
    /// The directory of the web page.
    pub web_dir: Option<PathBuf>,
    /// The number of runtime threads.
    pub worker_threads: usize,
    /// Whether the server stops when standard input ends.
    pub exit_with_parent: bool,
    /// The filter for log lines.
    pub log: String,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// Authentication, encryption and access.
    pub security: Security,
    /// Raft's timeouts, batches and compaction.
    pub raft: RaftConfig,
    /// How the server stores its data on disk.
    pub storage: storage::Options,
    /// Limits on clients, and timeouts.
    pub limits: Limits,
}

/// Limits on clients, and timeouts.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a request may wait for its commit or its read.
    pub request_timeout: Duration,
    /// The maximum number of client requests in progress.
    pub max_requests: usize,
    /// The maximum size of client requests in progress, in bytes.
    pub max_request_bytes: usize,
    /// The maximum size of the state, in bytes; 0 means no limit.
    pub quota_bytes: u64,
    /// The maximum size of keys and values in responses in progress, in bytes.
    pub max_answer_bytes: usize,
    /// The maximum number of client connections.
    pub max_connections: usize,
    /// The maximum number of watchers of keys.
    pub max_watchers: usize,
    /// The maximum size of events that wait for watchers of keys, in bytes.
    pub max_watch_bytes: usize,
    /// How long a client may take to send a header or a body.
    pub client_read_timeout: Duration,
    /// How long a client may read nothing of a response.
    pub client_write_timeout: Duration,
    /// How long the server accepts requests after it is told to stop.
    pub shutdown_delay: Duration,
    /// How long requests in progress may take to finish on shutdown.
    pub shutdown_grace: Duration,
    /// How often the log is compacted even if it is small.
    pub compact_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(5),
            max_requests: 8192,
            max_request_bytes: 64 << 20,
            quota_bytes: 2 << 30,
            max_answer_bytes: 64 << 20,
            max_connections: 4096,
            max_watchers: 2048,
            max_watch_bytes: 64 << 20,
            client_read_timeout: Duration::from_secs(15),
            client_write_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::from_millis(250),
            shutdown_grace: Duration::from_secs(5),
            compact_interval: Duration::from_mins(1),
        }
    }
}

/// Reads settings from a TOML file.
pub fn read_file(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    toml::from_str(&text)
        .map_err(|error| ConfigError::Malformed { path: path.to_owned(), error: Box::new(error) })
}

impl ServeConfig {
    /// Adds defaults to a layer and checks all settings.
    pub fn resolve(layer: Layer) -> Result<Self, ConfigError> {
        let Layer { server, security, raft, storage, limits } = layer;
        let missing =
            |what, flag, variable, key| ConfigError::Missing { what, flag, variable, key };
        let id = server
            .id
            .map(NodeId)
            .ok_or_else(|| missing("this server's id", "id", "GLASSRAFT_ID", "server.id"))?;
        let members = server.members.ok_or_else(|| {
            missing("the list of members", "members", "GLASSRAFT_MEMBERS", "server.members.1")
        })?;
        let own = members
            .get(id)
            .cloned()
            .ok_or_else(|| ConfigError::NotAMember { id, members: members.clone() })?;
        let config = Self {
            id,
            cluster_id: server.cluster_id.ok_or_else(|| {
                missing(
                    "the cluster's name",
                    "cluster-id",
                    "GLASSRAFT_CLUSTER_ID",
                    "server.cluster_id",
                )
            })?,
            data: server.data.ok_or_else(|| {
                missing("the data directory", "data", "GLASSRAFT_DATA", "server.data")
            })?,
            client: server.client.unwrap_or(own.client),
            peer: server.peer.unwrap_or(own.peer),
            members,
            new_cluster: false,
            web_dir: server.web_dir,
            worker_threads: server.worker_threads.unwrap_or(1),
            exit_with_parent: server.exit_with_parent.unwrap_or(false),
            log: server.log.unwrap_or_else(|| "info".to_owned()),
            log_format: server.log_format.unwrap_or_default(),
            security: Security::resolve(security)?,
            raft: resolve_raft(&raft, &limits),
            storage: resolve_storage(&storage),
            limits: resolve_limits(&limits),
        };
        config.validate()?;
        Ok(config)
    }

    /// Converts the settings to a layer with every field set: a complete configuration file.
    pub fn to_layer(&self) -> Layer {
        let limits = &self.limits;
        Layer {
            server: ServerLayer {
                id: Some(self.id.0),
                cluster_id: Some(self.cluster_id.clone()),
                data: Some(self.data.clone()),
                members: Some(self.members.clone()),
                client: Some(self.client.clone()),
                peer: Some(self.peer.clone()),
                web_dir: self.web_dir.clone(),
                worker_threads: Some(self.worker_threads),
                exit_with_parent: Some(self.exit_with_parent),
                log: Some(self.log.clone()),
                log_format: Some(self.log_format),
            },
            security: self.security.to_layer(),
            raft: RaftLayer {
                election_timeout_min: Some(Span::micros(self.raft.election_timeout_min)),
                election_timeout_max: Some(Span::micros(self.raft.election_timeout_max)),
                heartbeat_interval: Some(Span::micros(self.raft.heartbeat_interval)),
                max_batch_bytes: Some(self.raft.max_batch_bytes),
                max_in_flight: Some(self.raft.max_in_flight),
                max_chunk_bytes: Some(self.raft.max_chunk_bytes),
                compact_after_entries: Some(self.raft.compact_after_entries),
                compact_after_bytes: Some(self.raft.compact_after_bytes),
                keep_entries: Some(self.raft.keep_entries),
                keep_bytes: Some(self.raft.keep_bytes),
                promotion_timeout: Some(Span::micros(self.raft.promotion_timeout)),
                lease_reads: Some(self.raft.lease_reads),
                max_clock_drift_permille: Some(self.raft.max_clock_drift_permille),
            },
            storage: StorageLayer {
                segment_bytes: Some(self.storage.segment_bytes),
                keep_free_bytes: Some(self.storage.keep_free_bytes),
                snapshots_kept: Some(self.storage.snapshots_kept),
            },
            limits: LimitsLayer {
                request_timeout: Some(Span(limits.request_timeout)),
                max_requests: Some(limits.max_requests),
                max_request_bytes: Some(limits.max_request_bytes),
                quota_bytes: Some(limits.quota_bytes),
                max_answer_bytes: Some(limits.max_answer_bytes),
                max_connections: Some(limits.max_connections),
                max_watchers: Some(limits.max_watchers),
                max_watch_bytes: Some(limits.max_watch_bytes),
                client_read_timeout: Some(Span(limits.client_read_timeout)),
                client_write_timeout: Some(Span(limits.client_write_timeout)),
                shutdown_delay: Some(Span(limits.shutdown_delay)),
                shutdown_grace: Some(Span(limits.shutdown_grace)),
                compact_interval: Some(Span(limits.compact_interval)),
            },
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        check_cluster_id(&self.cluster_id)?;
        self.members.can_be_reached()?;
        for (name, value) in [
            ("--max-requests", self.limits.max_requests),
            ("--max-request-bytes", self.limits.max_request_bytes),
            ("--max-answer-bytes", self.limits.max_answer_bytes),
            ("--max-connections", self.limits.max_connections),
            ("--max-watchers", self.limits.max_watchers),
            ("--max-watch-bytes", self.limits.max_watch_bytes),
            ("--worker-threads", self.worker_threads),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero(name));
            }
        }
        for (name, value) in [
            ("--request-timeout", self.limits.request_timeout),
            ("--client-read-timeout", self.limits.client_read_timeout),
            ("--client-write-timeout", self.limits.client_write_timeout),
            ("--compact-interval", self.limits.compact_interval),
        ] {
            if value.is_zero() {
                return Err(ConfigError::Zero(name));
            }
        }
        self.raft.validate()?;
        for (name, value, range) in [
            ("--segment-bytes", self.storage.segment_bytes, 64 << 10..=1 << 30),
            ("--snapshots-kept", self.storage.snapshots_kept as u64, 2..=16),
        ] {
            if !range.contains(&value) {
                return Err(ConfigError::OutOfRange(name, *range.start(), *range.end()));
            }
        }
        for (name, bytes) in [
            ("--max-batch-bytes", self.raft.max_batch_bytes),
            ("--max-chunk-bytes", self.raft.max_chunk_bytes),
        ] {
            if bytes > MAX_CHUNK_BYTES {
                return Err(ConfigError::TooLarge(name, MAX_CHUNK_BYTES));
            }
        }
        self.security.validate(&self.client, &self.peer)
    }
}

/// Checks the name of a cluster.
pub(crate) fn check_cluster_id(name: &str) -> Result<(), ConfigError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if (1..=64).contains(&name.len()) && name.chars().all(fits) {
        Ok(())
    } else {
        Err(ConfigError::ClusterId(name.to_owned()))
    }
}

fn resolve_raft(layer: &RaftLayer, limits: &LimitsLayer) -> RaftConfig {
    let default = RaftConfig::default();
    // No client waits longer for a read.
    let read_timeout = resolve_limits(limits).request_timeout.as_micros();
    let micros = |span: Option<Span>, or: u64| span.map_or(or, Span::as_micros);
    RaftConfig {
        election_timeout_min: micros(layer.election_timeout_min, default.election_timeout_min),
        election_timeout_max: micros(layer.election_timeout_max, default.election_timeout_max),
        heartbeat_interval: micros(layer.heartbeat_interval, default.heartbeat_interval),
        max_batch_bytes: layer.max_batch_bytes.unwrap_or(default.max_batch_bytes),
        max_in_flight: layer.max_in_flight.unwrap_or(default.max_in_flight),
        max_in_flight_bytes: default.max_in_flight_bytes,
        max_chunk_bytes: layer.max_chunk_bytes.unwrap_or(default.max_chunk_bytes),
        compact_after_entries: layer.compact_after_entries.unwrap_or(default.compact_after_entries),
        compact_after_bytes: layer.compact_after_bytes.unwrap_or(default.compact_after_bytes),
        keep_entries: layer.keep_entries.unwrap_or(default.keep_entries),
        keep_bytes: layer.keep_bytes.unwrap_or(default.keep_bytes),
        promotion_timeout: micros(layer.promotion_timeout, default.promotion_timeout),
        lease_reads: layer.lease_reads.unwrap_or(default.lease_reads),
        max_clock_drift_permille: layer
            .max_clock_drift_permille
            .unwrap_or(default.max_clock_drift_permille),
        clock_interval: default.clock_interval,
        digest_every: default.digest_every,
        read_timeout: u64::try_from(read_timeout).unwrap_or(u64::MAX),
    }
}

fn resolve_storage(layer: &StorageLayer) -> storage::Options {
    let default = storage::Options::default();
    storage::Options {
        segment_bytes: layer.segment_bytes.unwrap_or(default.segment_bytes),
        keep_free_bytes: layer.keep_free_bytes.unwrap_or(default.keep_free_bytes),
        snapshots_kept: layer.snapshots_kept.unwrap_or(default.snapshots_kept),
        ..default
    }
}

fn resolve_limits(layer: &LimitsLayer) -> Limits {
    let default = Limits::default();
    let duration = |span: Option<Span>, or: Duration| span.map_or(or, |span| span.0);
    Limits {
        request_timeout: duration(layer.request_timeout, default.request_timeout),
        max_requests: layer.max_requests.unwrap_or(default.max_requests),
        max_request_bytes: layer.max_request_bytes.unwrap_or(default.max_request_bytes),
        quota_bytes: layer.quota_bytes.unwrap_or(default.quota_bytes),
        max_answer_bytes: layer.max_answer_bytes.unwrap_or(default.max_answer_bytes),
        max_connections: layer.max_connections.unwrap_or(default.max_connections),
        max_watchers: layer.max_watchers.unwrap_or(default.max_watchers),
        max_watch_bytes: layer.max_watch_bytes.unwrap_or(default.max_watch_bytes),
        client_read_timeout: duration(layer.client_read_timeout, default.client_read_timeout),
        client_write_timeout: duration(layer.client_write_timeout, default.client_write_timeout),
        shutdown_delay: duration(layer.shutdown_delay, default.shutdown_delay),
        shutdown_grace: duration(layer.shutdown_grace, default.shutdown_grace),
        compact_interval: duration(layer.compact_interval, default.compact_interval),
    }
}

#[cfg(test)]
mod tests;
