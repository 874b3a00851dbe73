//! `GET /cluster/status`: one server's view of itself, the log, and every other server.

use std::sync::Arc;
use std::time::Duration;

use api::members::Member;
use api::status::{
    ClusterStatus, LogInfo, NodeInfo, PeerStatus, Place, Progress, SnapshotInfo, StateInfo,
};
use axum::extract::State;
use axum::response::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use raft_core::event::{ProgressState, RoleName};
use raft_core::replica::Status;
use raft_core::types::NodeId;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;
use super::faults::Crossing;
use super::{App, HttpRequest, request, signed};

/// How long the leader may take to send the progress of its followers; after that it is left out.
const LEADER_PATIENCE: Duration = Duration::from_millis(500);

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
    /// From the leader.
    #[default]
    Leader,
    /// From this server only.
    Local,
}

/// Shows the cluster as this server sees it.
///
/// The server asks the leader for the followers' progress. If the leader does not answer, the
/// progress is left out.
#[utoipa::path(
    get, path = "/cluster/status", operation_id = "status", tag = "cluster", params(Options),
    responses(
        (status = 200, description = "The status, also without a leader", body = ClusterStatus),
    ),
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

/// What this server itself knows.
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

/// Why a follower counts as unhealthy, if it does.
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
