//! The facts about a server.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use raft_core::event::{ProgressMode, ProgressState};
use raft_core::membership::Membership;
use raft_core::types::{MILLISECOND, NodeId};
use raft_core::view::{DiskHealth, Liveness, NodeView, VotesView};

use super::{Fact, NONE, list, or_none};
use crate::domain::cluster::{ClusterModel, Presence};

/// All known facts about a server. Absent facts keep their rows, so nothing moves when they appear.
pub(super) fn facts(cluster: &ClusterModel, id: NodeId) -> Vec<Fact> {
    let Some(node) = cluster.node(id) else {
        return vec![Fact::new("role", "unknown so far")];
    };
    // Without `..`, so a new field of the view must be added here.
    let NodeView {
        liveness,
        role,
        role_reason,
        term,
        voted_for,
        leader,
        membership,
        // `Model::flowing` shows the remaining time.
        timer: _,
        votes,
        base,
        last,
        entries,
        submitted_index,
        durable_index,
        writes_in_flight,
        disk,
        commit_index,
        commit_proof,
        last_applied,
        digest,
        store,
        progress,
        time,
        summarised,
    } = node;
    let role = match (cluster.presence(id), liveness) {
        (Presence::Up, Liveness::Up) => role.to_string(),
        (Presence::Unreachable, _) => format!("{role}, unreachable"),
        (_, Liveness::Frozen) => format!("{role}, frozen"),
        (_, Liveness::Up | Liveness::Down) => format!("down, was {role}"),
    };
    let proof: Vec<String> =
        commit_proof.iter().map(|(node, index)| format!("{node}:{index}")).collect();
    let mut facts = vec![
        Fact::new("role", role),
        Fact::new("because", or_none(*role_reason)),
        Fact::new("current_term", term.to_string()),
        Fact::new("voted_for", or_none(*voted_for)),
        Fact::new("leader", or_none(*leader)),
        Fact::new("writes in flight", writes_in_flight.to_string()),
        Fact::new("commit_index", commit_index.to_string()),
        Fact::new("last_applied", last_applied.to_string()),
        Fact::new("last_log_index", last.index.to_string()),
        Fact::new("last_log_term", last.term.to_string()),
        Fact::new("durable index", durable_index.to_string()),
        Fact::new("submitted index", submitted_index.to_string()),
        Fact::new("disk", health(*disk)),
        Fact::new("entries in log", entries.len().to_string()),
        Fact::new("revision", store.revision().to_string()),
        Fact::new("snapshot up to", base.index.to_string()),
        Fact::new("snapshot term", base.term.to_string()),
        Fact::new("state digest", format!("{:08x}", digest >> 32)),
        Fact::new("events left out", summarised.to_string()),
        Fact::new("votes", tally(votes.as_ref(), membership)),
        Fact::new("majority by", if proof.is_empty() { NONE.to_owned() } else { proof.join(" ") }),
        Fact::new("members", members(membership)),
    ];
    for (peer, state) in progress {
        let ProgressState { match_index, next_index, mode, in_flight, last_contact } = state;
        let contact = last_contact.map(|then| format!("{} ms", time.since(then) / MILLISECOND));
        facts.extend([
            Fact::at(*peer, "next_index", next_index.to_string()),
            Fact::at(*peer, "match_index", match_index.to_string()),
            Fact::at(*peer, "mode", mode_name(*mode)),
            Fact::at(*peer, "in flight", in_flight.to_string()),
            Fact::at(*peer, "contact", or_none(contact)),
        ]);
    }
    facts
}

/// For example `S1 S2 S3, joint with S4, learners S5`.
fn members(membership: &Membership) -> String {
    let Membership { voters, outgoing, learners, target } = membership;
    let mut words = list(voters.iter().copied());
    let others = [("joint with", outgoing), ("learners", learners), ("to become", target)];
    for (what, nodes) in others.into_iter().filter(|(_, nodes)| !nodes.is_empty()) {
        let _ = write!(words, ", {what} {}", list(nodes.iter().copied()));
    }
    words
}

const fn health(disk: DiskHealth) -> &'static str {
    match disk {
        DiskHealth::Well => "works",
        DiskHealth::Stalled => "stalled",
        DiskHealth::Full => "full",
    }
}

const fn mode_name(mode: ProgressMode) -> &'static str {
    match mode {
        ProgressMode::Probe => "probe",
        ProgressMode::Replicate => "replicate",
        ProgressMode::Snapshot => "snapshot",
        ProgressMode::Lost => "lost",
    }
}

/// For example `1 of 2 needed: S2, no from S1, 1 open`.
fn tally(votes: Option<&VotesView>, membership: &Membership) -> String {
    let Some(VotesView { answers, needed, pre }) = votes else { return NONE.to_owned() };
    let of =
        |wanted: bool| answers.iter().filter(move |(_, yes)| **yes == wanted).map(|(id, _)| *id);
    let what = if *pre { "pre-votes: " } else { "" };
    let against: Vec<NodeId> = of(false).collect();
    let silent = membership.voters.iter().filter(|id| !answers.contains_key(id)).count();
    let mut words = format!("{what}{} of {needed} needed: {}", of(true).count(), list(of(true)));
    if !against.is_empty() {
        let _ = write!(words, ", no from {}", list(against));
    }
    if silent > 0 {
        let _ = write!(words, ", {silent} open");
    }
    words
}

/// The facts of several servers, for a comparison.
pub(super) fn several(cluster: &ClusterModel, servers: &[NodeId]) -> Vec<Fact> {
    let servers: BTreeSet<NodeId> = servers.iter().copied().collect();
    let row = |id: &NodeId| {
        let node = cluster.node(*id)?;
        Some([
            Fact::at(*id, "role", node.role.to_string()),
            Fact::at(*id, "term", node.term.to_string()),
            Fact::at(*id, "log", node.last.index.to_string()),
            Fact::at(*id, "commit", node.commit_index.to_string()),
            Fact::at(*id, "leader", or_none(node.leader)),
        ])
    };
    servers.iter().filter_map(row).flatten().collect()
}
