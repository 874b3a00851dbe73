//! The response to `GET /cluster/status`: how one server sees itself, the log and the other
//! servers.

use raft_core::event::{ProgressMode, RoleName};
use raft_core::limits::Semantics;
use raft_core::types::{LogIndex, NodeId, Term};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// The status of a server and its view of the cluster.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster_id: String,
    /// The server that sent the response.
    pub node: NodeInfo,
    /// Whether the server is a member of the cluster, as far as it knows.
    #[serde(default = "belongs")]
    pub member: bool,
    /// The server's role.
    #[schema(schema_with = schema::role)]
    pub role: RoleName,
    /// The server's term.
    #[schema(value_type = u64)]
    pub term: Term,
    /// The server that this server voted for in this term.
    #[schema(value_type = Option<u64>)]
    pub voted_for: Option<NodeId>,
    /// The leader of this term, if the server knows it.
    pub leader: Option<Place>,
    /// The highest committed index.
    #[schema(value_type = u64)]
    pub commit_index: LogIndex,
    /// The highest applied index.
    #[schema(value_type = u64)]
    pub applied_index: LogIndex,
    /// The index of the last log entry, durable or not.
    #[schema(value_type = u64)]
    pub last_index: LogIndex,
    /// The term of the last log entry.
    #[schema(value_type = u64)]
    pub last_term: Term,
    /// The highest index that is durable on this server's disk.
    #[schema(value_type = u64)]
    pub durable_index: LogIndex,
    /// The last index that the newest snapshot on disk contains; 0 without a snapshot.
    #[schema(value_type = u64)]
    pub snapshot_index: LogIndex,
    /// Sizes of the log.
    pub log: LogInfo,
    /// Snapshots on disk and the last attempt to save a snapshot.
    pub snapshots: SnapshotInfo,
    /// Contents and sizes of the state machine.
    pub state: StateInfo,
    /// Client requests in progress on this server.
    pub requests: u64,
    /// Writes that are not committed yet.
    pub pending: u64,
    /// Clients that watch the event trace.
    pub watchers: u64,
    /// Whether the server has stopped permanently because its disk failed or its state differs from
    /// a majority's.
    pub halted: bool,
    /// The leader's progress for this server; null for the leader itself.
    pub own_progress: Option<Progress>,
    /// The server that reports the followers' progress.
    #[schema(value_type = Option<u64>)]
    pub progress_from: Option<NodeId>,
    /// The other servers.
    pub peers: Vec<PeerStatus>,
}

/// Servers of earlier releases do not send this field. Most servers that are asked are members.
const fn belongs() -> bool {
    true
}

/// Servers of the first release do not send this field.
const fn first_rules() -> u16 {
    Semantics::FIRST.0
}

/// The server that sent the response.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeInfo {
    /// The server's id and addresses.
    #[serde(flatten)]
    pub place: Place,
    /// The program's version.
    pub version: String,
    /// The time since the server started, in s.
    pub uptime_seconds: f64,
}

/// A server and its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// The server's id.
    #[schema(value_type = u64)]
    pub id: NodeId,
    /// The address for clients.
    pub client: String,
    /// The address for other servers.
    pub peer: String,
}

/// Sizes of the log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogInfo {
    /// The first index that the log still contains.
    #[schema(value_type = u64)]
    pub first_index: LogIndex,
    /// The number of entries in the log.
    pub entries: u64,
    /// The approximate size of the entries in memory, in bytes.
    pub bytes: u64,
    /// The size of the log files, in bytes.
    pub disk_bytes: u64,
    /// The number of log files.
    pub segments: u64,
}

/// Snapshots on disk and the last attempt to save a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotInfo {
    /// The number of snapshots on disk.
    pub count: u64,
    /// The size of the snapshot files, in bytes.
    pub disk_bytes: u64,
    /// The progress of the snapshot that is being saved, from 0 to 1.
    pub saving: Option<f64>,
    /// The number of failed attempts to save a snapshot since the last success.
    #[serde(default)]
    pub failures: u32,
    /// The time until the next attempt, in s, if the last attempt failed.
    pub retry_in_seconds: Option<f64>,
    /// The error of the last failed attempt; null after a success.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// Contents and sizes of the state machine.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StateInfo {
    /// A digest of the state. Two servers that applied the same entries have the same digest.
    pub digest: String,
    /// The members whose state differed after the same entry at the last comparison. Normally the
    /// list is empty.
    #[serde(default)]
    #[schema(value_type = Vec<u64>)]
    pub differs_from: Vec<NodeId>,
    /// The store's revision: the number of changes so far.
    pub revision: u64,
    /// The number of the clients' keys.
    pub keys: u64,
    /// The total size of all keys and values, in bytes.
    pub bytes: u64,
    /// The version of the rules for applying commands: 1 in the first release, 2 in this release.
    /// The leader raises it when all members support the newer rules.
    #[serde(default = "first_rules")]
    pub rules: u16,
    /// The approximate memory for the whole state, in bytes: keys, values, leases, sessions and
    /// stored responses.
    #[serde(default)]
    pub memory_bytes: u64,
    /// If `memory_bytes` reaches this limit, this server, as leader, rejects writes that make the
    /// state larger. 0 means no limit.
    #[serde(default)]
    pub quota_bytes: u64,
}

/// Another server and the connection to it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerStatus {
    /// The server's id and addresses.
    #[serde(flatten)]
    pub place: Place,
    /// Whether the server is a voter.
    pub voter: bool,
    /// Whether the server is healthy, as far as this server can tell.
    pub healthy: bool,
    /// Why the server is not healthy.
    pub why: Option<String>,
    /// Whether this server has a connection to the other server.
    pub connected: bool,
    /// The version of the protocol on the connection; the older version if the connections differ.
    /// Null without a connection.
    #[serde(default)]
    pub protocol: Option<u16>,
    /// The last measured round-trip time, in ms.
    pub round_trip_ms: Option<f64>,
    /// Messages in the queue to the other server.
    pub queued: u64,
    /// Messages to the other server that were dropped since the start.
    pub dropped: u64,
    /// The leader's progress for the other server; null for the leader itself.
    pub progress: Option<Progress>,
}

/// What the leader knows about a follower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// The highest index known to be replicated durably on the follower.
    #[schema(value_type = u64)]
    pub match_index: LogIndex,
    /// The next index to send.
    #[schema(value_type = u64)]
    pub next_index: LogIndex,
    /// How many entries the follower is behind the leader.
    pub lag: u64,
    /// How the leader sends entries.
    #[schema(schema_with = schema::progress_mode)]
    pub state: ProgressMode,
    /// Messages that the follower has not answered yet.
    pub in_flight: u64,
    /// The time since the follower last answered, in ms.
    pub last_contact_ms: Option<f64>,
}

/// The parts of the status that name the servers. A client that needs only these ignores fields
/// that another release adds.
#[derive(Clone, Debug, Deserialize)]
pub struct StatusSummary {
    /// The server that sent the response.
    pub node: ServerSummary,
    /// The other servers.
    pub peers: Vec<PeerSummary>,
}

/// A server and its address for clients.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerSummary {
    /// The server's id.
    pub id: NodeId,
    /// The address for clients.
    pub client: String,
}

/// Another server and the connection to it.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerSummary {
    /// The server's id.
    pub id: NodeId,
    /// The address for clients.
    pub client: String,
    /// Whether the server that sent the response has a connection to it.
    pub connected: bool,
}

impl ClusterStatus {
    /// Adds the leader's view of the followers. Ignores the status of a server that is not leader.
    pub fn adopt_progress(&mut self, leader: Option<Self>) {
        let Some(leader) = leader.filter(|it| it.role == RoleName::Leader) else { return };
        self.progress_from = Some(leader.node.place.id);
        let own = leader.peers.iter().find(|it| it.place.id == self.node.place.id);
        self.own_progress = own.and_then(|it| it.progress.clone());
        for peer in &mut self.peers {
            let known = leader.peers.iter().find(|it| it.place.id == peer.place.id);
            if let Some(known) = known {
                peer.progress.clone_from(&known.progress);
                if peer.healthy && !known.healthy {
                    peer.healthy = false;
                    peer.why.clone_from(&known.why);
                }
            }
        }
    }
}
