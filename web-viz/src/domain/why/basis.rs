//! The rule behind an event: its text, its section in the paper, and the function in the core that
//! decides it.

use raft_core::event::{CommitReason, EventKind, RoleReason, TermReason, Timer};
use raft_core::message::MessageName;
use raft_core::rules::VoteRefusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    pub(crate) says: &'static str,
    /// The section of the paper, or of the dissertation.
    pub(crate) section: &'static str,
    /// The deciding function in `core/src/rules.rs`, and its line.
    pub(crate) decided: Option<(&'static str, u32)>,
}

/// Read only at build time; the page does not contain it.
const RULES: &[u8] = include_bytes!("../../../../core/src/rules.rs");

/// The line on which a function begins.
///
/// # Panics
/// If there is no such function, which fails the build.
const fn line_of(function: &[u8]) -> u32 {
    const BEFORE: &[u8] = b"fn ";
    let (mut at, mut line) = (0, 1);
    while at + BEFORE.len() + function.len() < RULES.len() {
        if RULES[at] == b'\n' {
            line += 1;
        }
        if starts(at, BEFORE)
            && starts(at + BEFORE.len(), function)
            && matches!(RULES[at + BEFORE.len() + function.len()], b'(' | b'<')
        {
            return line;
        }
        at += 1;
    }
    panic!("no such rule")
}

const fn starts(at: usize, with: &[u8]) -> bool {
    let mut place = 0;
    while place < with.len() {
        if at + place >= RULES.len() || RULES[at + place] != with[place] {
            return false;
        }
        place += 1;
    }
    true
}

const fn known(says: &'static str, section: &'static str) -> Basis {
    Basis { says, section, decided: None }
}

/// A rule of the core by the name of its function.
macro_rules! rule {
    ($says:literal, $section:literal, $function:literal) => {
        Basis {
            says: $says,
            section: $section,
            decided: Some(($function, const { line_of($function.as_bytes()) })),
        }
    };
}

/// The rule behind an event; `None` if the protocol has no rule for it.
pub(crate) fn basis(kind: &EventKind) -> Option<Basis> {
    let basis = match kind {
        EventKind::RoleChanged { why, .. } => role(*why),
        EventKind::TermChanged { why, .. } => term(*why),
        EventKind::VoteGranted { .. } => rule!(
            "A server votes for a term's first candidate whose log is at least as up to date.",
            "§5.2, §5.4.1",
            "grant_vote"
        ),
        EventKind::VoteRefused { why, .. } => refusal(*why),
        EventKind::VoteCounted { .. } => {
            rule!("More than half of the voters must agree.", "§5.2", "has_majority")
        }
        EventKind::TimerArmed { timer, .. } | EventKind::TimerFired { timer } => due(*timer),
        EventKind::MessageSent(message) => message_sent(message.body.name()),
        EventKind::EntriesAppended { .. } => rule!(
            "A follower appends entries only if it holds the entry before them.",
            "§5.3",
            "accept_entries"
        ),
        EventKind::LogTruncated { .. } => rule!(
            "A follower removes an entry whose term differs from the leader's, and all after it.",
            "§5.3",
            "truncate_without_conflict"
        ),
        EventKind::CommitAdvanced { why, .. } => commit(why)?,
        EventKind::Applied { .. } => known("Servers apply committed entries in order.", "§5.3"),
        EventKind::WriteStarted { .. } | EventKind::WritePersisted { .. } => rule!(
            "Term, vote and entries are on disk before a server answers.",
            "figure 2",
            "acknowledges_durable_only"
        ),
        EventKind::LogCompacted { .. } | EventKind::SnapshotSaved { .. } => rule!(
            "A snapshot replaces the entries that it covers.",
            "§7",
            "keep_log_after_snapshot"
        ),
        EventKind::SnapshotInstalled { .. } | EventKind::SnapshotIgnored { .. } => rule!(
            "A follower installs a snapshot only if it is newer than its state.",
            "§7",
            "accept_snapshot"
        ),
        EventKind::ConfigurationAppended { .. } => rule!(
            "One membership change at a time, by a leader that has committed in its term.",
            "§6",
            "may_change_membership"
        ),
        EventKind::ConfigurationCommitted { .. } | EventKind::ConfigurationRolledBack { .. } => {
            known("A server uses the latest configuration in its log, committed or not.", "§6")
        }
        EventKind::ReadsConfirmed { .. } => rule!(
            "A leader answers reads after a majority has confirmed that it still leads.",
            "§8",
            "confirms_reads"
        ),
        EventKind::LeaseRead { .. } => rule!(
            "While no other server can have been elected, the leader need not ask.",
            "dissertation §6.4.1",
            "lease_span"
        ),
        EventKind::TransferStarted { .. } | EventKind::TransferAborted { .. } => known(
            "A leader may tell a server that holds its log to start an election at once.",
            "dissertation §3.10",
        ),
        EventKind::ClientAnswer { .. } => {
            known("A client gets an answer when its write is committed and applied.", "§5.3")
        }
        EventKind::LeaderKnown { .. } => known("Each term has at most one leader.", "§5.2"),
        EventKind::ProgressChanged { .. } => {
            known("A leader knows the next entry to send to each follower.", "§5.3")
        }
        EventKind::PeerLostLog { .. } => {
            known("A server that lost acknowledged entries no longer counts.", "figure 2")
        }
        EventKind::StateDiffers { .. } => {
            known("Servers that applied the same entries have the same state.", "§5.4.3")
        }
        EventKind::Started(_)
        | EventKind::Attached(_)
        | EventKind::Crashed
        | EventKind::Frozen
        | EventKind::Thawed
        | EventKind::MessageInTransit { .. }
        | EventKind::MessageReceived { .. }
        | EventKind::MessageDropped { .. }
        | EventKind::WriteFailed { .. }
        | EventKind::ClientRequest { .. }
        | EventKind::PeerDismissed { .. }
        | EventKind::LinkChanged { .. }
        | EventKind::Fault(_)
        | EventKind::Summarised { .. } => return None,
    };
    Some(basis)
}

fn term(why: TermReason) -> Basis {
    match why {
        TermReason::Campaign => known("A candidate starts a new term.", "§5.2"),
        TermReason::SeenInMessage => {
            known("A server that sees a higher term follows in it.", "§5.1")
        }
    }
}

fn due(timer: Timer) -> Basis {
    match timer {
        Timer::Election => rule!(
            "A server that hears from no leader for a random election timeout starts an election.",
            "§5.2",
            "election_timeout"
        ),
        Timer::Heartbeat => known("A leader sends heartbeats to prevent elections.", "§5.2"),
    }
}

fn role(why: RoleReason) -> Basis {
    match why {
        RoleReason::ElectionTimeout => rule!(
            "A server that hears from no leader for a random election timeout starts an election.",
            "§5.2",
            "election_timeout"
        ),
        RoleReason::PreVotesWon => rule!(
            "It first asks whether it could win, to avoid useless elections.",
            "dissertation §9.6",
            "asks_before_campaign"
        ),
        RoleReason::VotesWon => {
            rule!("More than half of the voters elect a leader.", "§5.2", "has_majority")
        }
        RoleReason::VotesLost => {
            rule!("So many refused that it cannot win.", "§5.2", "is_blocked")
        }
        RoleReason::HigherTerm => known("A server that sees a higher term follows in it.", "§5.1"),
        RoleReason::LeaderHeard => {
            known("A candidate that hears the leader of its term follows it.", "§5.2")
        }
        RoleReason::QuorumLost => rule!(
            "A leader steps down if no majority answers for an election timeout.",
            "dissertation §6.2",
            "lost_quorum"
        ),
        RoleReason::DiskStalled => {
            rule!("A leader whose own disk is stalled steps down.", "figure 2", "disk_stalled")
        }
        RoleReason::DiskFailed => {
            known("A server without a disk acknowledges nothing.", "figure 2")
        }
        RoleReason::UnknownCommand => {
            known("A server that cannot apply a committed entry stops.", "§5.3")
        }
        RoleReason::StateDiffers => {
            known("Servers that applied the same entries have the same state.", "§5.4.3")
        }
        RoleReason::TransferAsked => {
            known("The leader told it to start an election at once.", "dissertation §3.10")
        }
        RoleReason::Removed => known(
            "A removed leader steps down once its removal is committed.",
            "dissertation §4.2.2",
        ),
    }
}

fn refusal(why: VoteRefusal) -> Basis {
    match why {
        VoteRefusal::StaleTerm => {
            rule!("A candidate of an earlier term gets no vote.", "§5.1", "grant_vote")
        }
        VoteRefusal::AlreadyVoted(_) => {
            rule!("A server votes once in a term.", "§5.2", "grant_vote")
        }
        VoteRefusal::LogBehind { .. } => rule!(
            "A server votes for no log that is behind its own: a leader must have all committed \
             entries.",
            "§5.4.1",
            "grant_vote"
        ),
        VoteRefusal::LeaderAlive(_) => rule!(
            "A server that has just heard from a leader refuses candidates.",
            "dissertation §4.2.3",
            "refuse_unheard"
        ),
        VoteRefusal::Stranger => {
            known("A server without the cluster's log may have forgotten a vote.", "figure 2")
        }
        VoteRefusal::JustStarted => rule!(
            "Before its restart it may have promised a leader to refuse others.",
            "dissertation §6.4.1",
            "refuse_unheard"
        ),
    }
}

fn commit(why: &CommitReason) -> Option<Basis> {
    let basis = match why {
        CommitReason::Majority(_) => rule!(
            "An entry of the leader's own term is committed when a majority has it on disk.",
            "§5.3, §5.4.2",
            "may_commit"
        ),
        CommitReason::LeaderCommit => rule!(
            "A follower commits as far as the leader has committed and their logs are known to \
             match.",
            "§5.3",
            "follower_commit"
        ),
        CommitReason::Recovered => return None,
        CommitReason::Snapshot => known("A snapshot holds only committed entries.", "§7"),
    };
    Some(basis)
}

fn message_sent(name: MessageName) -> Basis {
    match name {
        MessageName::PreVote | MessageName::PreVoteReply => rule!(
            "It first asks whether it could win, to avoid useless elections.",
            "dissertation §9.6",
            "asks_before_campaign"
        ),
        MessageName::RequestVote => known("A candidate asks all others for their vote.", "§5.2"),
        MessageName::RequestVoteReply => {
            rule!("A server sends a vote once it is on disk.", "figure 2", "vote_is_durable")
        }
        MessageName::AppendEntries => {
            known("A leader sends followers the entries that they lack.", "§5.3")
        }
        MessageName::Heartbeat => known("A leader sends heartbeats to prevent elections.", "§5.2"),
        MessageName::AppendEntriesReply => rule!(
            "A follower acknowledges only what its disk holds.",
            "figure 2",
            "acknowledges_durable_only"
        ),
        MessageName::InstallSnapshot | MessageName::InstallSnapshotReply => {
            known("A follower that needs removed entries gets a snapshot instead.", "§7")
        }
        MessageName::TimeoutNow => known(
            "A leader may tell a server that holds its log to start an election at once.",
            "dissertation §3.10",
        ),
        MessageName::ReadIndex | MessageName::ReadIndexReply => known(
            "A follower asks the leader which index it must apply before it answers.",
            "dissertation §6.4",
        ),
        MessageName::StateDigest => {
            known("Servers that applied the same entries have the same state.", "§5.4.3")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the line is the line of the function.
    #[test]
    fn the_line_is_where_the_rule_stands() {
        let basis = basis(&EventKind::CommitAdvanced {
            from: 0.into(),
            to: 1.into(),
            why: CommitReason::Majority(Vec::new()),
        });
        let (function, line) = basis.and_then(|basis| basis.decided).unwrap();
        let text = std::str::from_utf8(RULES).unwrap();
        let there = text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
        assert!(there.contains(&format!("fn {function}(")), "{there}");
    }
}
