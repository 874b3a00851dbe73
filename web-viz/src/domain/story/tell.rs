//! The captions of all kinds of events, in two sentences each.

use raft_core::event::{CommitReason, Event, EventKind, RoleName, RoleReason, Timer};
use raft_core::log::{Entry, Payload};
use raft_core::message::MessageName;
use raft_core::rules::VoteRefusal;
use raft_core::types::{LogIndex, LogPosition, NodeId, Term};

use super::{Caption, Rank, Tone, calm, turn};
use crate::domain::cluster::{ClusterModel, names};

/// The caption of an event, if it has one.
pub(super) fn tell(event: &Event, cluster: &ClusterModel, led: Option<NodeId>) -> Option<Caption> {
    let node = event.id.node;
    match &event.kind {
        EventKind::TimerFired { timer: Timer::Election } => Some(election_due(node, cluster)),
        EventKind::RoleChanged { role, term, why } => {
            role_changed(node, *role, *term, *why, cluster)
        }
        EventKind::VoteGranted { candidate, term, pre: false } if *candidate != node => Some(calm(
            Rank::Step,
            format!("{node} votes for {candidate} in term {term}."),
            "A server votes once in a term, and writes its vote to disk before it answers. \
                 That is why a term has at most one leader.",
        )),
        EventKind::VoteRefused { candidate, term, why, .. } => {
            Some(vote_refused(node, *candidate, *term, *why))
        }
        EventKind::Crashed => Some(crashed(node, cluster, led)),
        EventKind::Frozen => Some(frozen(node, led)),
        EventKind::Thawed => Some(calm(
            Rank::Turn,
            format!("{node} resumes after its freeze."),
            "It does not know how long it was frozen. The first message of a higher term tells it \
             who leads now.",
        )),
        EventKind::Started(state) if state.last.index > LogIndex(0) || state.term > Term(0) => {
            Some(restarted(node, cluster))
        }
        EventKind::EntriesAppended { entries, .. } => appended(node, entries, cluster),
        EventKind::CommitAdvanced { to, why: CommitReason::Majority(proof), .. } => {
            committed(node, *to, proof, cluster)
        }
        EventKind::LogTruncated { from, .. } => Some(turn(
            Tone::Bad,
            format!("{node} removes its entries from index {from} on."),
            "They were never committed, and the leader's log differs there. A follower always \
             adopts the leader's log.",
        )),
        EventKind::LinkChanged { from, to, up } => Some(links(*from, *to, *up, cluster)),
        EventKind::SnapshotInstalled { meta, .. } => Some(turn(
            Tone::Calm,
            format!("{node} installs the leader's snapshot at index {}.", meta.last.index),
            "It was so far behind that the leader no longer had the entries. A snapshot replaces \
             them.",
        )),
        EventKind::ConfigurationAppended { .. }
        | EventKind::ConfigurationCommitted { .. }
        | EventKind::TransferStarted { .. }
        | EventKind::TransferAborted { .. }
        | EventKind::PeerLostLog { .. } => members(event, cluster),
        EventKind::Fault(it) => super::faults::fault(it),
        EventKind::WriteFailed { .. } => Some(turn(
            Tone::Bad,
            format!("{node} stops: its disk failed to write."),
            "A disk that failed once cannot be trusted, so the server acknowledges nothing.",
        )),
        EventKind::StateDiffers { peer, index, stops, .. } => {
            Some(state_differs(node, *peer, *index, *stops))
        }
        EventKind::MessageReceived { name: MessageName::AppendEntriesReply, .. } => {
            steady(node, cluster)
        }
        EventKind::TimerFired { timer: Timer::Heartbeat }
        | EventKind::Started(_)
        | EventKind::VoteGranted { .. }
        | EventKind::CommitAdvanced { .. }
        | EventKind::MessageReceived { .. }
        | EventKind::Attached(_)
        | EventKind::LeaderKnown { .. }
        | EventKind::TermChanged { .. }
        | EventKind::VoteCounted { .. }
        | EventKind::TimerArmed { .. }
        | EventKind::MessageSent(_)
        | EventKind::MessageInTransit { .. }
        | EventKind::MessageDropped { .. }
        | EventKind::LogCompacted { .. }
        | EventKind::WriteStarted { .. }
        | EventKind::WritePersisted { .. }
        | EventKind::Applied { .. }
        | EventKind::SnapshotSaved { .. }
        | EventKind::SnapshotIgnored { .. }
        | EventKind::ProgressChanged { .. }
        | EventKind::ClientRequest { .. }
        | EventKind::ClientAnswer { .. }
        | EventKind::ReadsConfirmed { .. }
        | EventKind::ConfigurationRolledBack { .. }
        | EventKind::PeerDismissed { .. }
        | EventKind::LeaseRead { .. }
        | EventKind::Summarised { .. } => None,
    }
}

/// Captions for membership changes and leadership transfers.
fn members(event: &Event, cluster: &ClusterModel) -> Option<Caption> {
    let node = event.id.node;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller handles all other kinds")]
    match &event.kind {
        EventKind::ConfigurationAppended { membership, .. } if cluster.leads(node) => Some(calm(
            Rank::Turn,
            format!("{node} proposes new members: {membership}."),
            "A membership change is a log entry. A server uses the newest configuration in its \
             log, even before it is committed.",
        )),
        EventKind::ConfigurationCommitted { membership, .. } if cluster.leads(node) => Some(turn(
            Tone::Good,
            format!("The members are now {membership}."),
            "A majority holds the configuration on disk. From now on its voters decide.",
        )),
        EventKind::TransferStarted { to } => Some(turn(
            Tone::Calm,
            format!("{node} transfers leadership to {to}."),
            "It accepts no more writes and brings the other's log up to date. Then it tells the \
             other to start an election at once, without a timeout.",
        )),
        EventKind::TransferAborted { to } => Some(turn(
            Tone::Bad,
            format!("{node} stays leader: {to} did not take over."),
            "After an election timeout without a successor it accepts writes again.",
        )),
        EventKind::PeerLostLog { peer } => Some(turn(
            Tone::Bad,
            format!("{peer} lost acknowledged entries."),
            "Its disk was wiped or set back. It does not count until it is removed and joins again \
             as a new server.",
        )),
        _ => None,
    }
}

fn election_due(node: NodeId, cluster: &ClusterModel) -> Caption {
    let headline = format!("{node} has heard from no leader for too long.");
    if cluster.reaches_majority(node) {
        return calm(
            Rank::Turn,
            headline,
            "Its timer expired first. It asks the others whether they would vote for it, before it \
             starts a new term.",
        );
    }
    let circle = cluster.circle(node);
    let alive = circle.iter().filter(|other| cluster.presence(**other).runs()).count();
    calm(
        Rank::Turn,
        headline,
        format!(
            "It asks for votes, but needs {} of {} to win. With {alive} in reach it cannot win, \
             and no write commits.",
            cluster.majority(),
            cluster.voters().len()
        ),
    )
}

fn role_changed(
    node: NodeId,
    role: RoleName,
    term: Term,
    why: RoleReason,
    cluster: &ClusterModel,
) -> Option<Caption> {
    match role {
        RoleName::Leader => Some(turn(
            Tone::Good,
            format!("{node} leads term {term}."),
            format!(
                "{} of {} servers voted for it: a majority. Two majorities always share a server, \
                 so no second leader can win this term.",
                cluster.majority(),
                cluster.voters().len()
            ),
        )),
        RoleName::Candidate => Some(calm(
            Rank::Turn,
            format!("{node} starts an election in term {term}."),
            "It starts a new term, votes for itself and asks for the others' votes.",
        )),
        // The caption of the expired timer already said this.
        RoleName::PreCandidate => None,
        RoleName::Follower => stepped_down(node, term, why),
    }
}

fn state_differs(node: NodeId, peer: NodeId, index: LogIndex, stops: bool) -> Caption {
    let because = if stops {
        "A majority has another state than this server, so its answers may be wrong. It stops, and \
         the others continue."
    } else {
        "Servers that applied the same entries must have the same state. No majority is known to \
         differ, so this server continues."
    };
    turn(
        Tone::Bad,
        format!("{node} and {peer} have different states after index {index}."),
        because,
    )
}

fn stepped_down(node: NodeId, term: Term, why: RoleReason) -> Option<Caption> {
    let because = match why {
        RoleReason::HigherTerm => {
            "It saw a higher term, so its own is over. A leader or candidate steps down at once."
        }
        RoleReason::QuorumLost => {
            "It has heard from no majority for an election timeout. Others may have elected a new \
             leader that it cannot see, so it stops answering clients."
        }
        RoleReason::DiskStalled => {
            "Its own disk does not keep up, and a leader that cannot write should not lead."
        }
        RoleReason::VotesLost => "A majority refused it. It waits again for a random time.",
        RoleReason::Removed => {
            "It is no longer a member, and a majority of the others knows it. One of them becomes \
             the next leader."
        }
        RoleReason::DiskFailed => "Its disk failed to write, so it acknowledges nothing any more.",
        RoleReason::UnknownCommand => {
            "It does not know a committed command. It stops, because its state would differ from \
             that of the others."
        }
        RoleReason::StateDiffers => "A majority has another state, so it stops.",
        RoleReason::LeaderHeard
        | RoleReason::ElectionTimeout
        | RoleReason::TransferAsked
        | RoleReason::PreVotesWon
        | RoleReason::VotesWon => return None,
    };
    Some(turn(Tone::Calm, format!("{node} is a follower again in term {term}."), because))
}

fn vote_refused(node: NodeId, candidate: NodeId, term: Term, why: VoteRefusal) -> Caption {
    let because = match why {
        VoteRefusal::StaleTerm => {
            "The candidate's term is over; a newer term has begun.".to_owned()
        }
        VoteRefusal::AlreadyVoted(other) => {
            format!("It voted for {other} in this term, and a server votes once in a term.")
        }
        VoteRefusal::LogBehind { own, candidate: theirs } => format!(
            "The candidate's log ends at {}, its own at {}. A leader must have all committed \
             entries, so servers refuse candidates that are behind.",
            place(theirs),
            place(own)
        ),
        VoteRefusal::LeaderAlive(leader) => {
            format!(
                "It has just heard from {leader}. While a leader is active, no election is needed."
            )
        }
        VoteRefusal::Stranger => {
            "It started without the cluster's log. It does not vote until the others make it a \
             member."
                .to_owned()
        }
        VoteRefusal::JustStarted => {
            "It has just started, and may have promised a leader to refuse others for a moment."
                .to_owned()
        }
    };
    calm(Rank::Step, format!("{node} refuses {candidate} its vote for term {term}."), because)
}

fn place(position: LogPosition) -> String {
    format!("index {} of term {}", position.index, position.term)
}

pub(super) fn crashed(node: NodeId, cluster: &ClusterModel, led: Option<NodeId>) -> Caption {
    let (running, all, needed) = (cluster.running(), cluster.voters().len(), cluster.majority());
    if running < needed {
        return turn(
            Tone::Bad,
            format!("{node} crashed. {running} of {all} is no majority."),
            "No server can win an election and no write can commit until enough servers are back. \
             No committed entry is lost.",
        );
    }
    if led == Some(node) {
        return turn(
            Tone::Bad,
            format!("{node}, the leader, crashed."),
            "Heartbeats stop. The first server whose timer expires starts an election. Committed \
             entries stay: they are on a majority of disks.",
        );
    }
    turn(
        Tone::Bad,
        format!("{node} crashed."),
        format!(
            "{running} of {all} still run, which is a majority. The cluster continues, and {node} \
             catches up when it is back."
        ),
    )
}

pub(super) fn frozen(node: NodeId, led: Option<NodeId>) -> Caption {
    let why = if led == Some(node) {
        "To the others a frozen leader looks like a crashed leader, so they elect another. When it \
         resumes, its term is over."
    } else {
        "It neither answers nor counts time until it resumes. The others do not wait for it."
    };
    turn(Tone::Bad, format!("{node} is frozen."), why)
}

fn restarted(node: NodeId, cluster: &ClusterModel) -> Caption {
    let headline = format!("{node} is back.");
    match cluster.leader() {
        Some(leader) => turn(
            Tone::Good,
            headline,
            format!(
                "It reads its term, vote and log from disk and starts as a follower. {leader} \
                 finds the last entry that they share and sends the rest."
            ),
        ),
        None => turn(
            Tone::Good,
            headline,
            "It reads its term, vote and log from disk and starts as a follower.",
        ),
    }
}

/// The prefix of the keys that the demo writes to measure recoveries.
const PROBE: &str = "demo/";

/// Whether a client requested it.
fn asked_for(payload: &Payload) -> bool {
    matches!(payload, Payload::Command(_)) && !payload.to_string().starts_with(PROBE)
}

fn appended(node: NodeId, entries: &[Entry], cluster: &ClusterModel) -> Option<Caption> {
    let last = entries.last()?;
    let command = asked_for(&last.payload);
    if cluster.leads(node) {
        return command.then(|| {
            calm(
                Rank::Turn,
                format!("{node} appends “{}” at index {}.", last.payload, last.index),
                "Its cell is dashed: it is not committed until a majority has it on disk. The \
                 leader sends it to all and writes it to its own disk meanwhile.",
            )
        });
    }
    command.then(|| {
        calm(
            Rank::Step,
            format!("{node} appends index {}.", last.index),
            "It writes the entry to its disk, and only then acknowledges it.",
        )
    })
}

fn committed(
    node: NodeId,
    to: LogIndex,
    proof: &[(NodeId, LogIndex)],
    cluster: &ClusterModel,
) -> Option<Caption> {
    let entry = cluster.node(node)?.entry(to)?;
    let holders = names(proof.iter().filter(|(_, index)| *index >= to).map(|(voter, _)| *voter));
    match &entry.payload {
        payload @ Payload::Command(_) => asked_for(payload).then(|| turn(
            Tone::Good,
            format!("Index {to}, “{}”, is committed.", entry.payload),
            format!(
                "{holders} have it on disk: a majority. Whichever server fails now, every later \
                 leader has it."
            ),
        )),
        // A membership change has its own event.
        Payload::Membership(_) => None,
        Payload::Noop => Some(calm(
            Rank::Step,
            format!("{node} commits the first entry of its term."),
            format!(
                "It is empty, and {holders} hold it. It also commits everything before it, so the \
                 leader now knows the commit index."
            ),
        )),
    }
}

fn links(from: NodeId, to: NodeId, up: bool, cluster: &ClusterModel) -> Caption {
    if cluster.view.cut_links.is_empty() {
        return turn(
            Tone::Good,
            "All links are up again.".to_owned(),
            "Servers that fell behind learn the newest term from the first message, and the leader \
             repairs their logs.",
        );
    }
    if let Some(lonely) = cluster.roster.iter().find(|node| cluster.isolated(**node)) {
        let rest = cluster.voters().len() - 1;
        let why = if rest >= cluster.majority() {
            "The others are a majority and continue without it. Alone it can neither win an \
             election nor commit a write."
        } else {
            "No side has a majority, so nothing can commit until the link is back."
        };
        return turn(Tone::Bad, format!("{lonely} is cut off from all others."), why);
    }
    let word = if up { "mended" } else { "cut" };
    turn(
        if up { Tone::Good } else { Tone::Bad },
        format!("The link from {from} to {to} is {word}."),
        "A server counts only servers that it hears and that hear it.",
    )
}

/// With nothing else to report, the caption explains what keeps the cluster stable.
fn steady(node: NodeId, cluster: &ClusterModel) -> Option<Caption> {
    let leader = cluster.leader().filter(|leader| *leader == node)?;
    let all = cluster.voters().len();
    if cluster.running() < all {
        let down = cluster.roster.iter().copied().filter(|id| !cluster.presence(*id).runs());
        return Some(calm(
            Rank::Idle,
            format!("{leader} leads with {} of {all} servers.", cluster.running()),
            format!(
                "Writes commit while a majority of {} runs. {} will catch up later.",
                cluster.majority(),
                names(down)
            ),
        ));
    }
    Some(calm(
        Rank::Idle,
        format!("{leader} leads, the others follow."),
        "Each heartbeat resets the followers' timers. While heartbeats arrive, no follower starts \
         an election.",
    ))
}
