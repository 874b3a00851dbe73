//! Events in words: the only text form, for screens, logs and tests.

use std::fmt;

use super::{
    CommitReason, DropReason, Event, EventKind, MessageRefusal, Outcome, ProgressMode, RequestKind,
    RequestRefusal, RoleName, RoleReason, SnapshotRefusal, TermReason, Timer,
};
use crate::kv::Command;
use crate::log::{Entry, Payload};
use crate::message::{AppendResult, Body, Message, MessageName, SnapshotProgress};
use crate::types::NodeId;

/// Writes who did what on one line: `S1 votes for S2 in term 3`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.id.node, &self.kind) {
            (NodeId::ENVIRONMENT, kind) => write!(f, "{kind}"),
            (receiver, EventKind::MessageDropped { message, why }) => {
                write!(f, "{receiver} drops message {message}: {why}")
            }
            (node, kind) => write!(f, "{node} {kind}"),
        }
    }
}

impl fmt::Display for EventKind {
    #[expect(clippy::too_many_lines, reason = "a list with one line a kind")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(state) => write!(
                f,
                "starts as {} in term {} with its log up to index {}, committed up to {}",
                state.role, state.term, state.last, state.commit_index
            ),
            Self::Attached(state) => {
                write!(
                    f,
                    "is {} in term {}, log up to index {}",
                    state.role, state.term, state.last
                )
            }
            Self::Crashed => f.write_str("crashes and loses all unfinished writes"),
            Self::Frozen => f.write_str("freezes"),
            Self::Thawed => f.write_str("resumes after a freeze"),
            Self::RoleChanged { role, term, why } => {
                write!(f, "becomes {role} in term {term}: {why}")
            }
            Self::LeaderKnown { leader, term } => {
                write!(f, "follows {leader}, the leader of term {term}")
            }
            Self::TermChanged { from, to, why } => {
                write!(f, "moves from term {from} to {to}: {why}")
            }
            Self::VoteGranted { candidate, term, pre: false } => {
                write!(f, "votes for {candidate} in term {term}")
            }
            Self::VoteGranted { candidate, term, pre: true } => {
                write!(f, "would vote for {candidate} in term {term}")
            }
            Self::VoteRefused { candidate, term, pre: false, why } => {
                write!(f, "refuses {candidate} its vote in term {term}: {why}")
            }
            Self::VoteRefused { candidate, term, pre: true, why } => {
                write!(f, "would refuse {candidate} its vote in term {term}: {why}")
            }
            Self::VoteCounted { voter, granted, pre, votes, needed } => write!(
                f,
                "counts {} ({}) from {voter}: {votes} of {needed} needed",
                if *pre { "a pre-vote" } else { "a vote" },
                if *granted { "yes" } else { "no" },
            ),
            Self::TimerArmed { timer, due } => write!(f, "sets its {timer} timer to {due}"),
            Self::TimerFired { timer } => write!(f, "sees its {timer} timer expire"),
            Self::MessageSent(message) => write!(f, "sends {message}"),
            Self::MessageInTransit { message, due } => {
                write!(f, "Message {message} will arrive at {due}")
            }
            Self::MessageReceived { message, name } => {
                write!(f, "receives {name} from {}", message.node)
            }
            Self::MessageDropped { message, why } => write!(f, "Message {message} is lost: {why}"),
            Self::EntriesAppended { last, entries } => {
                write!(f, "appends ")?;
                entry_list(f, entries)?;
                write!(f, "; its log now ends at index {last}")
            }
            Self::LogTruncated { from, last } => {
                write!(
                    f,
                    "removes its entries from index {from} on; its log now ends at index {last}"
                )
            }
            Self::LogCompacted { to } => {
                write!(f, "removes its log up to index {to} from memory")
            }
            Self::WriteStarted { write, last_index } => {
                write!(f, "hands batch {write} to its disk, with the log up to index {last_index}")
            }
            Self::WritePersisted { write, durable_index } => {
                write!(f, "has batch {write} on disk, with the log up to index {durable_index}")
            }
            Self::WriteFailed { write } => {
                write!(f, "cannot write batch {write} and stops: its disk can no longer be trusted")
            }
            Self::ConfigurationAppended { position, membership } => {
                write!(f, "uses the members {membership} from index {position} on")
            }
            Self::ConfigurationCommitted { index, membership } => {
                write!(f, "learns that the members {membership} of index {index} are committed")
            }
            Self::ConfigurationRolledBack { membership } => {
                write!(f, "returns to the members {membership}, because it truncated its log")
            }
            Self::CommitAdvanced { from, to, why } => {
                write!(f, "moves its commit index from {from} to {to}: {why}")
            }
            Self::Applied { position, digest, .. } => {
                write!(f, "applies index {position}; its state now has digest {digest:016x}")
            }
            Self::SnapshotSaved { meta } => {
                write!(f, "has a snapshot of the state at index {} on disk", meta.last)
            }
            Self::SnapshotInstalled { meta, digest } => write!(
                f,
                "replaces its state with the leader's at index {}, digest {digest:016x}",
                meta.last
            ),
            Self::SnapshotIgnored { last, why } => {
                write!(f, "ignores the snapshot at index {last}: {why}")
            }
            Self::ProgressChanged { peer, progress } => write!(
                f,
                "knows that {peer} holds index {}, and sends from index {} on ({}, {} in flight)",
                progress.match_index, progress.next_index, progress.mode, progress.in_flight
            ),
            Self::PeerDismissed { peer } => {
                write!(f, "sends nothing more to {peer}, which has left the cluster")
            }
            Self::PeerLostLog { peer } => {
                write!(f, "finds that {peer} lost acknowledged entries, and no longer counts it")
            }
            Self::TransferStarted { to } => write!(f, "starts to transfer leadership to {to}"),
            Self::TransferAborted { to } => {
                write!(f, "stays leader, because {to} did not take over in time")
            }
            Self::ClientRequest { request, operation } => {
                write!(f, "receives a client's request ({request}): {operation}")
            }
            Self::ClientAnswer { request, outcome } => {
                write!(f, "answers the client ({request}): {outcome}")
            }
            Self::ReadsConfirmed { round, reads } => {
                write!(
                    f,
                    "is confirmed as leader by a majority in round {round}; reads answered: {reads}"
                )
            }
            Self::LeaseRead { request } => {
                write!(f, "answers {request} by its lease, because no other server can lead now")
            }
            Self::LinkChanged { from, to, up: true } => {
                write!(f, "The link {from} -> {to} is restored")
            }
            Self::LinkChanged { from, to, up: false } => {
                write!(f, "The link {from} -> {to} is cut")
            }
            Self::Fault(fault) => write!(f, "{fault}"),
            Self::Summarised { events } => write!(f, "was too busy to report {events} events"),
            Self::StateDiffers { peer, index, own, theirs, stops } => write!(
                f,
                "finds that its state after index {index} has digest {own:016x}, and that of \
                 {peer} has {theirs:016x}{}",
                if *stops { "; a majority has the latter, so it stops" } else { "" }
            ),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}, {}", self.body.name(), self.to, self.body)
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreVote { next_term, last_log } => {
                write!(f, "for term {next_term}; its log ends at index {last_log}")
            }
            Self::PreVoteReply { next_term, granted } => {
                write!(f, "{} for term {next_term}", yes_or_no(*granted))
            }
            Self::RequestVote { last_log, transfer } => {
                let asked = if *transfer { ", and the leader asked it to campaign" } else { "" };
                write!(f, "its log ends at index {last_log}{asked}")
            }
            Self::RequestVoteReply { granted } => f.write_str(yes_or_no(*granted)),
            Self::AppendEntries { prev_log, entries, leader_commit, .. } => {
                entry_list(f, entries)?;
                write!(f, " after index {prev_log}, committed up to {leader_commit}")
            }
            Self::AppendEntriesReply { result: AppendResult::Accepted { match_index }, .. } => {
                write!(f, "agrees up to index {match_index}")
            }
            Self::AppendEntriesReply {
                result: AppendResult::Rejected { prev_log, hint }, ..
            } => {
                write!(f, "does not hold index {prev_log}, but perhaps {hint}")
            }
            Self::InstallSnapshot { chunk, .. } => write!(
                f,
                "{} bytes of the state at index {}{}",
                chunk.data.len(),
                chunk.meta.last,
                if chunk.next.is_none() { ", the last chunk" } else { "" }
            ),
            Self::InstallSnapshotReply { last, result, .. } => match result {
                SnapshotProgress::Wants(_) => write!(f, "wants more of the state at index {last}"),
                SnapshotProgress::Installed { match_index } => {
                    write!(f, "holds the state up to index {match_index}")
                }
            },
            Self::TimeoutNow => f.write_str("campaign at once"),
            Self::ReadIndex { .. } => f.write_str("asks which index to apply before its reads"),
            Self::ReadIndexReply { read_index: Some(index), .. } => {
                write!(f, "index {index}")
            }
            Self::ReadIndexReply { read_index: None, .. } => f.write_str("it does not know"),
            Self::StateDigest { index, digest, reply: false } => {
                write!(f, "its state after index {index} has digest {digest:016x}")
            }
            Self::StateDigest { index, digest, reply: true } => {
                write!(f, "different: its state after index {index} has digest {digest:016x}")
            }
        }
    }
}

const fn yes_or_no(granted: bool) -> &'static str {
    if granted { "yes" } else { "no" }
}

fn entry_list(f: &mut fmt::Formatter<'_>, entries: &[Entry]) -> fmt::Result {
    match entries {
        [] => f.write_str("nothing"),
        [only] => write!(f, "{only}"),
        [first, .., last] => {
            write!(f, "{} entries, index {} to {}", entries.len(), first.index, last.index)
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} \"{}\"", self.position(), self.payload)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noop => f.write_str("no-op"),
            Self::Command(bytes) => match Command::decode(bytes) {
                Ok(command) => write!(f, "{command}"),
                Err(_) => write!(f, "{} bytes that are not a command", bytes.len()),
            },
            Self::Membership(membership) => write!(f, "members {membership}"),
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(command) => write!(f, "{}", Payload::Command(command.clone())),
            Self::Read => f.write_str("read"),
            Self::ChangeMembership(change) => write!(f, "{change}"),
            Self::TransferLeadership(Some(to)) => write!(f, "let {to} lead"),
            Self::TransferLeadership(None) => f.write_str("let any other server lead"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied { position, applied } => {
                write!(f, "done at index {position}, {applied}")
            }
            Self::ReadReady { read_index } => {
                write!(f, "read now: everything up to index {read_index} is applied")
            }
            Self::Malformed => f.write_str("this release does not know this command"),
            Self::NotLeader { leader: Some(leader) } => write!(f, "ask {leader}, the leader"),
            Self::NotLeader { leader: None } => f.write_str("no leader is known here"),
            Self::Unknown => f.write_str("its outcome is unknown"),
            Self::Halted => f.write_str("the server has stopped and accepts no requests"),
            Self::MembershipChanged { membership, .. } => {
                write!(f, "the members are now {membership}")
            }
            Self::Transferred { to } => write!(f, "{to} has taken over"),
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}

impl fmt::Display for RequestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Membership(refusal) => write!(f, "{refusal}"),
            Self::NotAVoter => f.write_str("the server that should lead is not a voter"),
            Self::AlreadyLeads => f.write_str("the server that should lead already leads"),
            Self::TransferInProgress => f.write_str("another leadership transfer is in progress"),
            Self::TransferTimedOut => {
                f.write_str("the server that should lead did not take over in time")
            }
        }
    }
}

impl fmt::Display for CommitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Majority(indexes) => {
                f.write_str("a majority holds it (")?;
                for (position, (node, index)) in indexes.iter().enumerate() {
                    let comma = if position > 0 { ", " } else { "" };
                    write!(f, "{comma}{node}: {index}")?;
                }
                f.write_str(")")
            }
            Self::LeaderCommit => f.write_str("the leader has committed it"),
            Self::Recovered => f.write_str("it was known before the restart"),
            Self::Snapshot => f.write_str("a snapshot holds only committed entries"),
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkCut => f.write_str("the link is cut"),
            Self::Lost => f.write_str("the network lost it"),
            Self::ReceiverDown => f.write_str("the receiver is down"),
            Self::QueueFull => f.write_str("the queue to the receiver is full"),
            Self::Refused(why) => write!(f, "the receiver refuses it, because {why}"),
        }
    }
}

/// Implements `Display` for enums whose texts are fixed.
macro_rules! words {
    ($($name:ident { $($variant:ident => $words:literal,)* })*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $words,)* })
            }
        }
    )*};
}

words! {
    RoleName {
        Follower => "follower",
        PreCandidate => "pre-candidate",
        Candidate => "candidate",
        Leader => "leader",
    }
    RoleReason {
        ElectionTimeout => "it heard from no leader for an election timeout",
        TransferAsked => "the leader asked it to",
        PreVotesWon => "a majority would vote for it",
        VotesWon => "a majority voted for it",
        VotesLost => "a majority refused it",
        HigherTerm => "it saw a higher term",
        LeaderHeard => "another server leads this term",
        QuorumLost => "it heard from no majority for an election timeout",
        DiskStalled => "its own disk did not finish a write within an election timeout",
        DiskFailed => "its disk failed to write",
        Removed => "it is not a member any more",
        UnknownCommand => "it does not know a committed command",
        StateDiffers => "its state differs from that of a majority",
    }
    TermReason {
        Campaign => "it starts an election",
        SeenInMessage => "a message carried it",
    }
    Timer {
        Election => "election",
        Heartbeat => "heartbeat",
    }
    MessageRefusal {
        WrongAddress => "its sender or receiver is wrong",
        ImpossibleNumber => "its term or an index in it is too high",
        Malformed => "it is malformed",
        SecondLeader => "another server leads its term",
        NotTheLeader => "its sender is not the leader",
        ContradictsCommitted => "it contradicts what is committed",
        Unasked => "it answers a message that was never sent",
    }
    SnapshotRefusal {
        NotNewer => "its own state is at least as new",
        OutOfSequence => "the chunk does not continue the received chunks",
        Damaged => "the chunks do not form the announced state",
        Busy => "another snapshot is being saved",
    }
    ProgressMode {
        Probe => "probing",
        Replicate => "replicating",
        Snapshot => "sending a snapshot",
        Lost => "lost its log",
    }
    MessageName {
        PreVote => "PreVote",
        PreVoteReply => "PreVoteReply",
        RequestVote => "RequestVote",
        RequestVoteReply => "RequestVoteReply",
        AppendEntries => "AppendEntries",
        Heartbeat => "Heartbeat",
        AppendEntriesReply => "AppendEntriesReply",
        InstallSnapshot => "InstallSnapshot",
        InstallSnapshotReply => "InstallSnapshotReply",
        TimeoutNow => "TimeoutNow",
        ReadIndex => "ReadIndex",
        ReadIndexReply => "ReadIndexReply",
        StateDigest => "StateDigest",
    }
}
