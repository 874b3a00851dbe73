//! The settings as one source gives them: all optional, so that sources can be laid over another.
//!
//! The same struct is the command line and environment (through clap) and the TOML file (through
//! serde), so a setting has one name and one description.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::members::Members;
use super::span::Span;

/// Declares a layer: every field optional, on the command line, in the environment and in TOML.
macro_rules! layer {
    (
        $(#[$struct_doc:meta])*
        $name:ident ($heading:literal) {
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
            /// What this layer says, and where it says nothing what `below` says.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $( $field: self.$field.or(below.$field), )* }
            }
        }
    };
}

layer! {
    /// Who this server is and where it listens.
    ServerLayer ("Server") {
        /// This server's number; it must stand among the members.
        #[arg(value_name = "N")]
        "GLASSRAFT_ID" id: u64,
        /// The cluster's name. Servers of another cluster are refused.
        #[arg(value_name = "NAME")]
        "GLASSRAFT_CLUSTER_ID" cluster_id: String,
        /// The directory that holds this server's log and snapshots; made when missing.
        #[arg(value_name = "DIR")]
        "GLASSRAFT_DATA" data: PathBuf,
        /// The servers that are known from the start, this one included, as ID=PEER/CLIENT,
        /// separated by commas: its number, where the other servers reach it, and where clients
        /// reach it. With --new-cluster they are the first members; who joins later is learned.
        #[arg(value_name = "LIST")]
        "GLASSRAFT_MEMBERS" members: Members,
        /// Where this server listens for clients [default: its client address among the members].
        #[arg(value_name = "HOST:PORT")]
        "GLASSRAFT_CLIENT" client: Address,
        /// Where this server listens for the others [default: its peer address among the members].
        #[arg(value_name = "HOST:PORT")]
        "GLASSRAFT_PEER" peer: Address,
        /// The directory of the built visualizer page, served at `/`.
        #[arg(value_name = "DIR")]
        "GLASSRAFT_WEB_DIR" web_dir: PathBuf,
        /// Threads that serve network and consensus; 1 keeps all on one [default: 1].
        #[arg(value_name = "N")]
        "GLASSRAFT_WORKER_THREADS" worker_threads: usize,
        /// End when standard input ends: a server started by another program then never outlives it.
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_EXIT_WITH_PARENT" exit_with_parent: bool,
        /// Which log lines to print, for instance `info` or `native_node=debug` [default: info].
        #[arg(value_name = "FILTER")]
        "GLASSRAFT_LOG" log: String,
        /// How log lines look [default: text].
        #[arg(value_name = "FORMAT")]
        "GLASSRAFT_LOG_FORMAT" log_format: LogFormat,
    }
}

layer! {
    /// Who may come in.
    SecurityLayer ("Security") {
        /// A file that holds the secret which the cluster's servers share. Each proves to the other
        /// that it knows it; it is never sent.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_CLUSTER_SECRET_FILE" cluster_secret_file: PathBuf,
        /// A file with the hashes of the tokens that clients must show, a line each as `native-node
        /// token new` prints it. Read anew on SIGHUP and when it changes [default: everybody may
        /// read and write everything, so the server listens on loopback only].
        #[arg(value_name = "FILE")]
        "GLASSRAFT_TOKENS_FILE" tokens_file: PathBuf,
        /// Show /metrics without a token, for a Prometheus that has none.
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_OPEN_METRICS" open_metrics: bool,
        /// The certificate that clients are shown, in PEM, with those that lead to its authority.
        /// Goes with --tls-key and --tls-ca. Certificates and keys are read anew on SIGHUP and when
        /// they change.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_TLS_CERT" tls_cert: PathBuf,
        /// Its key, in PEM.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_TLS_KEY" tls_key: PathBuf,
        /// The authorities of the other servers' --tls-cert, in PEM: requests are passed on to the
        /// leader.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_TLS_CA" tls_ca: PathBuf,
        /// The certificate that other servers are shown, in PEM; it names server N of cluster C as
        /// the DNS name node-N.C. Goes with --peer-tls-key and --peer-tls-ca; then servers without
        /// such a certificate are refused.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_PEER_TLS_CERT" peer_tls_cert: PathBuf,
        /// Its key, in PEM.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_PEER_TLS_KEY" peer_tls_key: PathBuf,
        /// The authorities of the other servers' --peer-tls-cert, in PEM.
        #[arg(value_name = "FILE")]
        "GLASSRAFT_PEER_TLS_CA" peer_tls_ca: PathBuf,
        /// Web origins whose pages may use the API, for instance http://127.0.0.1:7000, separated
        /// by commas [default: none but the server's own].
        #[arg(value_delimiter = ',', value_name = "ORIGIN")]
        "GLASSRAFT_CORS_ORIGINS" cors_origins: Vec<String>,
        /// Listen on other addresses than loopback although nothing proves who a client or server
        /// is, or although tokens would travel unencrypted. Only for networks where everybody may
        /// do what they like, or behind something that encrypts.
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_INSECURE_BIND" insecure_bind: bool,
        /// Let clients break this server with PUT /faults: cut links, stall or fill the disk. Only
        /// for demonstrations and tests, and only on loopback.
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_ALLOW_FAULTS" allow_faults: bool,
    }
}

layer! {
    /// The protocol's timings and batches.
    RaftLayer ("Raft") {
        /// The shortest time without a leader before an election (§5.2).
        #[arg(value_name = "TIME")]
        "GLASSRAFT_ELECTION_TIMEOUT_MIN" election_timeout_min: Span,
        /// The longest such time; each wait is drawn anew between the two.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_ELECTION_TIMEOUT_MAX" election_timeout_max: Span,
        /// How often a leader that has nothing to say shows that it is there.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_HEARTBEAT_INTERVAL" heartbeat_interval: Span,
        /// The bytes of entries that one message carries at most (one entry always fits).
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_MAX_BATCH_BYTES" max_batch_bytes: usize,
        /// Messages with entries that a follower has not answered yet, at most.
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_IN_FLIGHT" max_in_flight: usize,
        /// The bytes of one chunk of a snapshot on its way to a follower.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_MAX_CHUNK_BYTES" max_chunk_bytes: usize,
        /// Take a snapshot after so many new entries.
        #[arg(value_name = "N")]
        "GLASSRAFT_COMPACT_AFTER_ENTRIES" compact_after_entries: u64,
        /// Take a snapshot after so many bytes of new entries.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_COMPACT_AFTER_BYTES" compact_after_bytes: u64,
        /// A server that joins votes once it lacks at most so many entries.
        #[arg(value_name = "N")]
        "GLASSRAFT_PROMOTION_LAG" promotion_lag: u64,
        /// A server that joins and has not caught up for so long is removed again.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_PROMOTION_TIMEOUT" promotion_timeout: Span,
        /// Let leaders answer reads with consistency=lease at once, trusting that clocks run about
        /// equally fast [default: false]. The same on all servers: end all before you change it.
        #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
        "GLASSRAFT_LEASE_READS" lease_reads: bool,
        /// For leases: by how many thousandths the rates of two servers' clocks may differ.
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_CLOCK_DRIFT_PERMILLE" max_clock_drift_permille: u64,
        /// Entries that compaction keeps, so that a slow follower need not take a snapshot.
        #[arg(value_name = "N")]
        "GLASSRAFT_KEEP_ENTRIES" keep_entries: u64,
        /// Bytes of applied entries in memory, at most. A follower that lacks older entries gets a
        /// snapshot. Raise it where followers that are far behind never catch up.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_KEEP_BYTES" keep_bytes: usize,
    }
}

layer! {
    /// How the data lies on the disk.
    StorageLayer ("Storage") {
        /// The bytes of a file of the log, taken when it is made [default: 16777216]. A directory
        /// holds at least three: one that is written and two in reserve.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_SEGMENT_BYTES" segment_bytes: u64,
        /// Bytes that stay free on the disk, beside the room for another snapshot: with less than
        /// that writes are refused with 507, but for those that remove something [default: 67108864].
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_KEEP_FREE_BYTES" keep_free_bytes: u64,
        /// Snapshots that are kept, 2 to 16 [default: 2]. The log reaches back to the one before
        /// the newest, in case that is damaged; more are copies of older states.
        #[arg(value_name = "N")]
        "GLASSRAFT_SNAPSHOTS_KEPT" snapshots_kept: usize,
    }
}

layer! {
    /// Bounds on what clients and time may do.
    LimitsLayer ("Limits") {
        /// How long a request may wait for its commit or its read.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_REQUEST_TIMEOUT" request_timeout: Span,
        /// Client requests under way at once; more are turned away with 429.
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_REQUESTS" max_requests: usize,
        /// Bytes of client requests under way at once, and of writes whose outcome is open; more are
        /// turned away with 429.
        #[arg(value_name = "BYTES")]
        "GLASSRAFT_MAX_REQUEST_BYTES" max_request_bytes: usize,
        /// Client connections at once; more are told to go elsewhere with 503. Fewer where the limit
        /// on open files leaves no room for so many.
        #[arg(value_name = "N")]
        "GLASSRAFT_MAX_CONNECTIONS" max_connections: usize,
        /// How long a client may take for a request's header, its body, or a TLS handshake, and how
        /// long its connection may be idle.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_CLIENT_READ_TIMEOUT" client_read_timeout: Span,
        /// A client that takes nothing of an answer for so long is cut.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_CLIENT_WRITE_TIMEOUT" client_write_timeout: Span,
        /// How long requests under way may take when the server is told to end.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_SHUTDOWN_GRACE" shutdown_grace: Span,
        /// How often the log is compacted even when it is small.
        #[arg(value_name = "TIME")]
        "GLASSRAFT_COMPACT_INTERVAL" compact_interval: Span,
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// All settings of one source.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// Who this server is.
    #[command(flatten)]
    pub server: ServerLayer,
    /// Who may come in.
    #[command(flatten)]
    pub security: SecurityLayer,
    /// The protocol.
    #[command(flatten)]
    pub raft: RaftLayer,
    /// Files.
    #[command(flatten)]
    pub storage: StorageLayer,
    /// Bounds.
    #[command(flatten)]
    pub limits: LimitsLayer,
}

impl Layer {
    /// What this layer says, and where it says nothing what `below` says.
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
