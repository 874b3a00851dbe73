//! `GET /cluster/status`: one server's view of itself, the log, and every other server.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use raft_core::event::{ProgressMode, ProgressState, RoleName};
use raft_core::limits::Semantics;
use raft_core::replica::Status;
use raft_core::types::{LogIndex, NodeId, Term};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;
use super::faults::Crossing;
use super::{App, HttpRequest, openapi, request, signed};
use crate::config::Member;

/// How long the leader may take to tell of its followers; without it the rest is told.
const LEADER_PATIENCE: Duration = Duration::from_millis(500);

/// The whole answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster_id: String,
    /// The server that answers.
    pub node: NodeInfo,
    /// Whether it belongs to the cluster, as far as it knows.
    #[serde(default = "belongs")]
    pub member: bool,
    /// Its role.
    #[schema(schema_with = openapi::role)]
    pub role: RoleName,
    /// Its term.
    #[schema(value_type = u64)]
    pub term: Term,
    /// Its vote in that term.
    #[schema(value_type = Option<u64>)]
    pub voted_for: Option<NodeId>,
    /// The leader of that term, as far as it knows.
    pub leader: Option<Place>,
    /// Entries up to here are committed.
    #[schema(value_type = u64)]
    pub commit_index: LogIndex,
    /// Entries up to here are in the state.
    #[schema(value_type = u64)]
    pub applied_index: LogIndex,
    /// The last entry of the log, durable or not.
    #[schema(value_type = u64)]
    pub last_index: LogIndex,
    /// Its term.
    #[schema(value_type = u64)]
    pub last_term: Term,
    /// Entries up to here are on this server's disk.
    #[schema(value_type = u64)]
    pub durable_index: LogIndex,
    /// The newest snapshot on disk holds the state up to here; 0 without one.
    #[schema(value_type = u64)]
    pub snapshot_index: LogIndex,
    /// The log.
    pub log: LogInfo,
    /// The snapshots.
    pub snapshots: SnapshotInfo,
    /// The state.
    pub state: StateInfo,
    /// Client requests under way here.
    pub requests: u64,
    /// Writes that wait for their commit.
    pub pending: u64,
    /// Those who watch the events.
    pub watchers: u64,
    /// Whether the server has stopped for good and does nothing any more: its disk failed, or its
    /// state differs from that of a majority.
    pub halted: bool,
    /// What the leader knows of the server that answers; nothing of the leader itself.
    pub own_progress: Option<Progress>,
    /// Whose view of the followers' progress this is.
    #[schema(value_type = Option<u64>)]
    pub progress_from: Option<NodeId>,
    /// The other servers.
    pub peers: Vec<PeerStatus>,
}

/// A server of an earlier release does not say; most servers that are asked are members.
const fn belongs() -> bool {
    true
}

/// A server of the first release does not say.
const fn first_rules() -> u16 {
    Semantics::FIRST.0
}

/// Who answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeInfo {
    /// Its number and addresses.
    #[serde(flatten)]
    pub place: Place,
    /// The program's version.
    pub version: String,
    /// How long it has been running.
    pub uptime_seconds: f64,
}

/// A server and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: NodeId,
    /// Where clients reach it.
    pub client: String,
    /// Where the other servers reach it.
    pub peer: String,
}

/// The log in figures.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogInfo {
    /// The first index that the log still holds.
    #[schema(value_type = u64)]
    pub first_index: LogIndex,
    /// Entries that it holds.
    pub entries: u64,
    /// About their size in memory.
    pub bytes: u64,
    /// Its files' size.
    pub disk_bytes: u64,
    /// How many files.
    pub segments: u64,
}

/// Snapshots in figures.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotInfo {
    /// How many are kept.
    pub count: u64,
    /// Their files' size.
    pub disk_bytes: u64,
    /// How much of the one that is being written is done, from 0 to 1.
    pub saving: Option<f64>,
    /// Attempts to save one that have failed since the last that succeeded.
    #[serde(default)]
    pub failures: u32,
    /// When the next attempt follows, if the last one failed.
    pub retry_in_seconds: Option<f64>,
    /// Why the latest attempt to save one failed, as long as none was saved since.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// The state in figures.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StateInfo {
    /// Equal on two servers that applied the same entries.
    pub digest: String,
    /// The members that had another state after the same entry when they were compared last. With none
    /// all is well.
    #[serde(default)]
    #[schema(value_type = Vec<u64>)]
    pub differs_from: Vec<NodeId>,
    /// Changes so far.
    pub revision: u64,
    /// The clients' keys.
    pub keys: u64,
    /// Lengths of all keys and values.
    pub bytes: u64,
    /// By which rules commands are applied: 1 those of the first release, 2 those of this one. The
    /// leader raises them once all members run a release that knows them.
    #[serde(default = "first_rules")]
    pub rules: u16,
    /// About how much memory the whole state takes: keys and values, leases, sessions and remembered
    /// answers.
    #[serde(default)]
    pub memory_bytes: u64,
    /// The `memory_bytes` from which on this server, as leader, refuses what makes the state larger; 0
    /// for none.
    #[serde(default)]
    pub quota_bytes: u64,
}

/// Another server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerStatus {
    /// Which.
    #[serde(flatten)]
    pub place: Place,
    /// Whether its vote counts.
    pub voter: bool,
    /// Whether it is as it should be, as far as the answering server can tell.
    pub healthy: bool,
    /// Why it is not.
    pub why: Option<String>,
    /// Whether the answering server can send to it.
    pub connected: bool,
    /// The protocol that is spoken with it, the older one if its connections differ; nothing without a
    /// connection.
    #[serde(default)]
    pub protocol: Option<u16>,
    /// The last measured round trip to it.
    pub round_trip_ms: Option<f64>,
    /// Messages that wait to be sent to it.
    pub queued: u64,
    /// Messages that could not be sent to it since the start.
    pub dropped: u64,
    /// What the leader knows of it; nothing of the leader itself.
    pub progress: Option<Progress>,
}

/// What a leader knows of a follower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// It holds the leader's log durably up to here.
    #[schema(value_type = u64)]
    pub match_index: LogIndex,
    /// The next index that it gets.
    #[schema(value_type = u64)]
    pub next_index: LogIndex,
    /// How many entries it is behind.
    pub lag: u64,
    /// How it gets them.
    #[schema(schema_with = openapi::progress_mode)]
    pub state: ProgressMode,
    /// Messages that it has not answered yet.
    pub in_flight: u64,
    /// How long ago it last answered.
    pub last_contact_ms: Option<f64>,
}

/// Parameters of the route.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Options {
    /// Where the followers' progress comes from.
    #[param(inline)]
    progress: ProgressSource,
}

/// Where the followers' progress comes from.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ProgressSource {
    /// From the leader, wherever it is.
    #[default]
    Leader,
    /// Only what this server knows itself.
    Local,
}

/// Shows the cluster as this server sees it.
///
/// The leader is asked for the followers' progress; where it does not answer, the rest is told.
#[utoipa::path(
    get, path = "/cluster/status", operation_id = "status", tag = "cluster", params(Options),
    responses((status = 200, description = "Also without a leader", body = ClusterStatus)),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    request: HttpRequest,
) -> Result<Response, ApiError> {
    let options: Options = request::query(request.uri())?;
    let mut status = local(&app);
    if options.progress == ProgressSource::Leader
        && status.role != RoleName::Leader
        && let Some(leader) = &status.leader
        && Crossing::to(&app, leader.id).is_none_or(|crossing| crossing.is_open())
    {
        let path = "/cluster/status?progress=local";
        let (server, patience) = (leader.client.clone(), LEADER_PATIENCE);
        let theirs =
            app.forwarder.get_json(&server, path, request.headers(), app.id, patience).await;
        status.adopt_progress(theirs);
    }
    let body = serde_json::to_vec_pretty(&status).expect("the status has a JSON form");
    let mut response = signed(&app, body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

impl ClusterStatus {
    /// Takes over what the leader knows, if it is indeed the leader.
    fn adopt_progress(&mut self, leader: Option<Self>) {
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

/// What this server knows by itself.
fn local(app: &App) -> ClusterStatus {
    let status = app.handle.status();
    let usage = app.handle.usage().unwrap_or_default();
    let leads = status.role == RoleName::Leader;
    ClusterStatus {
        cluster_id: app.cluster_id.clone(),
        node: NodeInfo {
            place: place(app, app.id),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: app.started.elapsed().as_secs_f64(),
        },
        member: app.handle.is_member(),
        role: status.role,
        term: status.term,
        voted_for: status.voted_for,
        leader: status.leader.map(|id| place(app, id)),
        commit_index: status.commit_index,
        applied_index: status.last_applied.index,
        last_index: status.last.index,
        last_term: status.last.term,
        durable_index: status.durable_index,
        snapshot_index: status.snapshot_index,
        log: LogInfo {
            first_index: status.base.index.next(),
            entries: status.log_entries,
            bytes: status.log_bytes,
            disk_bytes: usage.log_bytes,
            segments: usage.log_segments,
        },
        snapshots: SnapshotInfo {
            count: usage.snapshots,
            disk_bytes: usage.snapshot_bytes,
            saving: usage.snapshot_progress,
            failures: status.snapshot_failures,
            retry_in_seconds: status
                .snapshot_retry_in
                .map(|micros| Duration::from_micros(micros).as_secs_f64()),
            last_error: usage.snapshot_error.map(|error| error.to_string()),
        },
        state: StateInfo {
            digest: format!("{:016x}", status.digest),
            differs_from: status.differing.clone(),
            revision: status.revision,
            keys: status.keys.saturating_sub(app.addresses.own_keys()),
            bytes: status.state_bytes,
            rules: status.semantics.0,
            memory_bytes: status.state_memory,
            quota_bytes: app.handle.quota().bytes(),
        },
        requests: app.handle.requests() as u64,
        pending: status.pending,
        watchers: app.handle.watchers() as u64,
        halted: status.halted,
        own_progress: None,
        progress_from: leads.then_some(app.id),
        peers: peers(app, &status),
    }
}

fn peers(app: &App, status: &Status) -> Vec<PeerStatus> {
    let peer = |id| {
        let link = app.links.get(id).unwrap_or_default();
        let progress = status.peers.get(&id).map(|state| progress(app, status, state));
        let why = if !link.connected {
            let error = link.last_error.as_deref().unwrap_or("not connected yet");
            Some(format!("no connection to it: {error}"))
        } else if let Some(progress) = &progress {
            silence(app, progress)
        } else {
            None
        };
        PeerStatus {
            place: place(app, id),
            voter: status.membership.is_voter(id),
            healthy: why.is_none(),
            why,
            connected: link.connected,
            protocol: app.links.spoken.by(id).map(|version| version.numbers().0),
            round_trip_ms: link.round_trip.map(millis),
            queued: link.queued,
            dropped: link.dropped,
            progress,
        }
    };
    status.membership.peers_of(app.id).map(peer).collect()
}

/// Why a follower's progress is not as it should be.
fn silence(app: &App, progress: &Progress) -> Option<String> {
    match progress.last_contact_ms {
        None => Some("it has not answered this leader yet".to_owned()),
        Some(ms) if ms > millis(app.silence) => Some(format!("it has not answered for {ms:.0} ms")),
        Some(_) => None,
    }
}

fn progress(app: &App, status: &Status, state: &ProgressState) -> Progress {
    Progress {
        match_index: state.match_index,
        next_index: state.next_index,
        lag: status.last.index.0.saturating_sub(state.match_index.0),
        state: state.mode,
        in_flight: state.in_flight,
        last_contact_ms: state.last_contact.map(|time| millis(app.clock.since(time))),
    }
}

fn place(app: &App, id: NodeId) -> Place {
    let found = app.addresses.get(id);
    let address = |pick: fn(&Member) -> String| found.as_ref().map(pick).unwrap_or_default();
    Place {
        id,
        client: address(|member| member.client.to_string()),
        peer: address(|member| member.peer.to_string()),
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
