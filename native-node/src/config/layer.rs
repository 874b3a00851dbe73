//! The settings of one source. All are optional, because a source can override another source.
//!
//! Clap reads the same struct from the command line and the environment, and serde reads it from
//! TOML. So a setting has one name and one description.

use std::path::PathBuf;

use api::address::Address;
use api::members::Members;
use clap::Args;
use raft_core::config::Config as RaftConfig;
use serde::{Deserialize, Serialize};

use super::Limits;
use super::span::Span;

/// Declares a layer. Each field is optional, on the command line, in the environment and in TOML. A
/// layer `=> T` also converts from and to `T`, whose fields have the same names.
macro_rules! layer {
    (
        $(#[$struct_doc:meta])*
        $name:ident ($heading:literal) $(=> $settings:ty)? {
            $( $(#[$doc:meta])* $env:literal $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$struct_doc])*
        #[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[command(next_help_heading = $heading)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(
                $(#[$doc])*
                #[arg(long, env = $env)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }

        impl $name {
            /// Merges two layers. The settings of this layer have precedence over `below`.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $( $field: self.$field.or(below.$field), )* }
            }
        }

        layer!(@convert $name $($settings)? { $($field)* });
    };
    (@convert $name:ident { $($field:ident)* }) => {};
    (@convert $name:ident $settings:ty { $($field:ident)* }) => {
        impl $name {
            /// The settings, with defaults for those that this layer does not have.
            pub(super) fn resolve(self) -> $settings {
                let mut settings = <$settings>::default();
                $( if let Some(value) = self.$field { settings.$field = value.into(); } )*
                settings
            }
        }

        impl From<&$settings> for $name {
            fn from(settings: &$settings) -> Self {
                Self { $( $field: Some(settings.$field.into()), )* }
            }
        }
    };
}

layer! {
    /// The identity and the addresses of this server.
    ServerLayer ("Server") {
        /// The id of this server, a number; it must appear in --members.
        #[arg(value_name = "N")]
        "GLASSRAFT_ID" id: u64,
        /// The cluster's name. The server rejects servers of other clusters.
        #[arg(value_name = "NAME")]
        "GLASSRAFT_CLUSTER_ID" cluster_id: String,
        /// The directory for this server's log and snapshots; created if missing.
        #[arg(value_name = "DIR")]
        "GLASSRAFT_DATA" data: PathBuf,
        /// The servers that are known at the start, including this server, as ID=PEER/CLIENT,
        /// separated by commas. ID is the server's number, PEER its address for other servers,
        /// CLIENT its address for clients. With --new-cluster they are the initial members. The
        /// server learns later members from the cluster.
        #[arg(value_name = "LIST")]
        "GLASSRAFT_MEMBERS" members: Members,
        /// The address on which the server listens for clients [default: its client address in
        /// --members].
        #[arg(value_name = "HOST:PORT")]
        "GLASSRAFT_CLIENT" client: Address,
        /// The address on which it listens for other servers [default: its peer address in
        /// --members].
        #[arg(value_name = "HOST:PORT")]
        "GLASSRAFT_PEER" peer: Address,
        /// The directory of the built visualizer page, served at `/`.
        #[arg(value_name = "DIR")]
        "GLASSRAFT_WEB_DIR" web_dir: PathBuf,
        /// The number of threads for network and consensus [default: 1].
        #[arg(value_name = "N")]
        "GLASSRAFT_WORKER_THREADS" worker_threads: usize,
        /// Stop when standard input ends: the server then ends with the program that started it.
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_EXIT_WITH_PARENT" exit_with_parent: bool,
        /// Which log lines to print, for instance `info` or `native_node=debug` [default: info].
        #[arg(value_name = "FILTER")]
        "GLASSRAFT_LOG" log: String,
        /// The format of log lines [default: text].
        #[arg(value_name = "FORMAT")]
        "GLASSRAFT_LOG_FORMAT" log_format: LogFormat,
    }
}

layer! {
    /// Authentication, encryption and access.
    SecurityLayer ("Security") {
        /// A file with the secret that the cluster's servers share. Servers authenticate each other
        /// with it; it is never sent.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_CLUSTER_SECRET_FILE" cluster_secret_file: PathBuf,
        /// A file with the hashes of the API tokens, one line each, as `glassraft token new`
        /// prints it. The server reloads it on SIGHUP and when it changes. Without it, the server
        /// requires no token, and listens for clients on loopback only [default: none].
        #[arg(value_name = "FILE")]
        "GLASSRAFT_TOKENS_FILE" tokens_file: PathBuf,
        /// Serve /metrics without a token, for a Prometheus that has no token [default: false].
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_OPEN_METRICS" open_metrics: bool,
        /// The certificate for clients, in PEM, with its chain up to the certificate authority.
        /// It needs --tls-key and --tls-ca. The server reloads certificates and keys on SIGHUP and
        /// when they change.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_TLS_CERT" tls_cert: PathBuf,
        /// The key of --tls-cert, in PEM.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_TLS_KEY" tls_key: PathBuf,
        /// The certificate authorities of the other servers' --tls-cert, in PEM. The server needs
        /// them to forward requests to the leader.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_TLS_CA" tls_ca: PathBuf,
        /// The certificate for other servers, in PEM. It names server N of cluster C with the DNS
        /// name node-N.C. It needs --peer-tls-key and --peer-tls-ca. The server then rejects
        /// servers without such a certificate.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_PEER_TLS_CERT" peer_tls_cert: PathBuf,
        /// The key of --peer-tls-cert, in PEM.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_PEER_TLS_KEY" peer_tls_key: PathBuf,
        /// The certificate authorities of the other servers' --peer-tls-cert, in PEM.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_PEER_TLS_CA" peer_tls_ca: PathBuf,
        /// Web origins whose pages may use the API, for instance http://127.0.0.1:7000. Separate
        /// several origins with commas [default: only the server's own].
        #[arg(value_delimiter = ',', value_name = "ORIGIN")]
        "GLASSRAFT_CORS_ORIGINS" cors_origins: Vec<String>,
        /// Listen for clients on addresses other than loopback without tokens or without TLS. Use
        /// it only in networks where everybody may have full access, or behind a layer that
        /// encrypts. Servers authenticate each other in any case [default: false].
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_INSECURE_BIND" insecure_bind: bool,
        /// Let clients inject faults with PUT /faults: cut links, stall or fill the disk. Use it
        /// only for demonstrations and tests. It works only on loopback [default: false].
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_ALLOW_FAULTS" allow_faults: bool,
    }
}

layer! {
    /// Raft's timeouts, batches and compaction.
    RaftLayer ("Raft") => RaftConfig {
        /// The minimum election timeout: the time without a leader after which a follower campaigns
        /// (§5.2) [default: 150ms].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_ELECTION_TIMEOUT_MIN" election_timeout_min: Span,
        /// The maximum election timeout; each wait is random between the two [default: 300ms].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_ELECTION_TIMEOUT_MAX" election_timeout_max: Span,
        /// How often a leader sends heartbeats [default: 50ms].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_HEARTBEAT_INTERVAL" heartbeat_interval: Span,
        /// The maximum size of the entries in one message, in bytes [default: 1048576]. A single
        /// larger entry is sent alone.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_MAX_BATCH_BYTES" max_batch_bytes: usize,
        /// The maximum number of unanswered messages with entries per follower [default: 32].
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_IN_FLIGHT" max_in_flight: usize,
        /// The size of one chunk of a snapshot that is sent to a follower, in bytes [default:
        /// 524288].
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_MAX_CHUNK_BYTES" max_chunk_bytes: usize,
        /// Take a snapshot after this many new entries [default: 50000].
        #[arg(value_name = "N")]
        "GLASSRAFT_COMPACT_AFTER_ENTRIES" compact_after_entries: u64,
        /// Take a snapshot after this many bytes of new entries [default: 67108864].
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_COMPACT_AFTER_BYTES" compact_after_bytes: u64,
        /// Remove a joining server that makes no progress for this time [default: 60s]. Raise it if
        /// saving a received snapshot takes longer.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_PROMOTION_TIMEOUT" promotion_timeout: Span,
        /// Let leaders answer reads with consistency=lease without contacting a quorum. It needs
        /// clocks that run about equally fast [default: false]. It must be the same on all servers:
        /// stop all servers before you change it.
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_LEASE_READS" lease_reads: bool,
        /// For leases: the maximum difference between the clock rates of two servers, in
        /// thousandths [default: 100].
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_CLOCK_DRIFT_PERMILLE" max_clock_drift_permille: u64,
        /// How many entries stay in the log after compaction. A slow follower then needs no
        /// snapshot [default: 5000].
        #[arg(value_name = "N")]
        "GLASSRAFT_KEEP_ENTRIES" keep_entries: u64,
        /// The maximum size of applied entries in memory, in bytes [default: 67108864]. A follower
        /// that lacks older entries gets a snapshot. Raise it if followers that are far behind
        /// never catch up.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_KEEP_BYTES" keep_bytes: usize,
    }
}

layer! {
    /// How the server stores its data on disk.
    StorageLayer ("Storage") => storage::Options {
        /// The size of a log file, in bytes, allocated when the file is created [default:
        /// 16777216]. A directory has at least three files: the current one and two in reserve.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_SEGMENT_BYTES" segment_bytes: u64,
        /// The disk space to keep free, in bytes, besides room for another snapshot. With less free
        /// space the server rejects writes with 507, except deletions [default: 67108864].
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_KEEP_FREE_BYTES" keep_free_bytes: u64,
        /// How many snapshots to keep, 2 to 16 [default: 2]. The log reaches back to the second
        /// newest, in case the newest is damaged. Further snapshots only preserve older states.
        #[arg(value_name = "N")]
        "GLASSRAFT_SNAPSHOTS_KEPT" snapshots_kept: usize,
    }
}

layer! {
    /// Limits on clients, and timeouts.
    LimitsLayer ("Limits") => Limits {
        /// How long a request may wait for its commit or its read [default: 5s].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_REQUEST_TIMEOUT" request_timeout: Span,
        /// The maximum number of client requests in progress; the server rejects more with 429
        /// [default: 8192].
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_REQUESTS" max_requests: usize,
        /// The maximum size of client requests in progress and of pending writes, in bytes
        /// [default: 67108864]. The server rejects more with 429.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_MAX_REQUEST_BYTES" max_request_bytes: usize,
        /// The quota of the state, in bytes; 0 means no limit [default: 2147483648]. When the state
        /// reaches it, the leader rejects writes that enlarge the state, with 507
        /// `quota_exceeded`. It still accepts deletions. The size counts keys, values, leases,
        /// sessions and stored responses in memory. Each takes about 200 bytes besides its
        /// contents. Use the same quota on all servers.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_QUOTA_BYTES" quota_bytes: u64,
        /// The maximum size of keys and values in responses in progress, in bytes [default:
        /// 67108864]. Further requests wait up to the request timeout; then the server rejects them
        /// with 429.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_MAX_ANSWER_BYTES" max_answer_bytes: usize,
        /// The maximum number of client connections [default: 4096]. If it is reached, a new
        /// connection replaces the connection that has been idle longest without a token. If there
        /// is none, the server answers the new connection with 503, except for /livez, /readyz and
        /// /metrics. The maximum is lower if the limit on open files requires it.
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_CONNECTIONS" max_connections: usize,
        /// The maximum number of watchers of keys [default: 2048]; the server rejects more with
        /// 429. Each watcher takes a connection, so --max-connections must be larger.
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_WATCHERS" max_watchers: usize,
        /// The maximum size of events that wait for watchers of keys, in bytes [default: 67108864].
        /// Above it the slowest watchers get their events later, from the kept history, or are
        /// disconnected.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_MAX_WATCH_BYTES" max_watch_bytes: usize,
        /// The timeout for a request header, a request body, a TLS handshake, and an idle
        /// connection [default: 15s].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_CLIENT_READ_TIMEOUT" client_read_timeout: Span,
        /// Disconnect a client that reads nothing, or almost nothing, of a response for this time
        /// [default: 30s].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_CLIENT_WRITE_TIMEOUT" client_write_timeout: Span,
        /// How long the server still accepts requests after it is told to stop, while /readyz
        /// already fails. Use the time that a load balancer needs to notice [default: 250ms].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_SHUTDOWN_DELAY" shutdown_delay: Span,
        /// How long requests in progress may take after that; the server then aborts them [default:
        /// 5s].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_SHUTDOWN_GRACE" shutdown_grace: Span,
        /// How often the log is compacted even if it is small [default: 1m].
        #[arg(value_name = "TIME")]
        "GLASSRAFT_COMPACT_INTERVAL" compact_interval: Span,
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Plain text, for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// All settings of one source.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// The identity and the addresses of this server.
    #[command(flatten)]
    pub server: ServerLayer,
    /// Authentication, encryption and access.
    #[command(flatten)]
    pub security: SecurityLayer,
    /// Raft's timeouts, batches and compaction.
    #[command(flatten)]
    pub raft: RaftLayer,
    /// How the server stores its data on disk.
    #[command(flatten)]
    pub storage: StorageLayer,
    /// Limits on clients, and timeouts.
    #[command(flatten)]
    pub limits: LimitsLayer,
}

impl Layer {
    /// Merges two layers. The settings of this layer have precedence over `below`.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            server: self.server.over(below.server),
            security: self.security.over(below.security),
            raft: self.raft.over(below.raft),
            storage: self.storage.over(below.storage),
            limits: self.limits.over(below.limits),
        }
    }
}
