//! The protocol versions that this release speaks with other servers.
//!
//! A dialer starts with the newest version. A server of the first release refuses it, and the
//! dialer then retries with [`Version::V3`].

use raft_core::codec;
use raft_core::kv::Command;
use raft_core::limits::Semantics;
use raft_core::log::{Entry, Payload};
use raft_core::message::{Body, Lane};

/// Increases when the handshake or the meaning of frames changes, and when a release knows newer
/// rules of the state machine. [`codec::FORMAT_VERSION`] increases when the encoding changes.
pub const PROTOCOL_VERSION: u16 = 4;

/// A protocol version that this release speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The version of the first release. It has no control lane, and servers skip commands that
    /// they do not know.
    V3,
    /// The version of this release.
    #[default]
    V4,
}

impl Version {
    /// The version with which a dialer starts.
    pub const NEWEST: Self = Self::V4;

    /// Protocol and format, as encoded at the beginning of a connection.
    pub const fn numbers(self) -> (u16, u16) {
        match self {
            Self::V3 => (3, 2),
            Self::V4 => (PROTOCOL_VERSION, codec::FORMAT_VERSION),
        }
    }

    /// The version with these numbers; `None` if this release does not speak it.
    pub fn of(numbers: (u16, u16)) -> Option<Self> {
        [Self::V3, Self::V4].into_iter().find(|version| version.numbers() == numbers)
    }

    /// The numbers as text.
    pub fn words((protocol, format): (u16, u16)) -> String {
        format!("{protocol}.{format}")
    }

    /// The versions that this release speaks, as text.
    pub fn range() -> String {
        format!("{} to {}", Self::words(Self::V3.numbers()), Self::words(Self::NEWEST.numbers()))
    }

    /// The newest state machine rules of a release whose newest version is this one.
    pub const fn semantics(self) -> Semantics {
        match self {
            Self::V3 => Semantics::FIRST,
            Self::V4 => Semantics::BOUNDED,
        }
    }

    /// Whether the version has this lane. Without a control lane, its messages use the log lane.
    pub const fn has(self, lane: Lane) -> bool {
        match (self, lane) {
            (Self::V3, Lane::Control) => false,
            (Self::V3, Lane::Log | Lane::Snapshot) | (Self::V4, _) => true,
        }
    }

    /// Whether a server with this version knows everything in the message. Other messages must not
    /// reach it: it could not read them, or it would skip a part and reach a different state.
    pub fn knows(self, body: &Body) -> bool {
        match self {
            Self::V4 => true,
            Self::V3 => match body {
                Body::AppendEntries { entries, .. } => entries.iter().all(is_of_first_release),
                Body::PreVote { .. }
                | Body::PreVoteReply { .. }
                | Body::RequestVote { .. }
                | Body::RequestVoteReply { .. }
                | Body::AppendEntriesReply { .. }
                | Body::InstallSnapshot { .. }
                | Body::InstallSnapshotReply { .. }
                | Body::TimeoutNow
                | Body::ReadIndex { .. }
                | Body::ReadIndexReply { .. } => true,
                Body::StateDigest { .. } => false,
            },
        }
    }
}

/// Newer rules need a newer protocol: by its version servers tell which rules a peer knows.
const _: () = assert!(Version::NEWEST.semantics().0 == Semantics::LATEST.0);

/// Whether a server of the first release knows everything in the entry.
pub fn is_of_first_release(entry: &Entry) -> bool {
    match &entry.payload {
        Payload::Noop | Payload::Membership(_) => true,
        Payload::Command(command) => Command::is_of_first_release(command),
    }
}

#[cfg(test)]
mod tests {
    use raft_core::types::{LogIndex, LogPosition, Term};

    use super::*;

    /// Guards servers of the first release: entries that raise the rules never reach them, alone or
    /// among other entries. All other messages do.
    #[test]
    fn the_first_release_is_sent_what_it_knows() {
        let entry = |command: Command| Entry {
            index: LogIndex(1),
            term: Term(1),
            payload: Payload::Command(command.encode()),
        };
        let append = |entries: Vec<Entry>| Body::AppendEntries {
            prev_log: LogPosition::ZERO,
            entries: entries.into(),
            leader_commit: LogIndex(0),
            round: 1,
        };
        let put = entry(Command::put("x", "1"));
        let raise = entry(Command::RaiseSemantics { to: Semantics::LATEST });
        for (body, known) in [
            (append(vec![]), true),
            (append(vec![put.clone()]), true),
            (append(vec![put, raise]), false),
            (Body::TimeoutNow, true),
        ] {
            assert_eq!(Version::V3.knows(&body), known, "{body:?}");
            assert!(Version::V4.knows(&body));
        }
    }
}
