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
        let limits = limits.resolve();
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
            // No client waits longer for a read.
            raft: RaftConfig {
                read_timeout: Span(limits.request_timeout).into(),
                ..raft.resolve()
            },
            storage: storage.resolve(),
            limits,
        };
        config.validate()?;
        Ok(config)
    }

    /// Converts the settings to a layer with every field set: a complete configuration file.
    pub fn to_layer(&self) -> Layer {
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
            raft: (&self.raft).into(),
            storage: (&self.storage).into(),
            limits: (&self.limits).into(),
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

#[cfg(test)]
mod tests;
