//! What clients ask of the state machine, and what it answers.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::range::KeyRange;
use super::store::Pair;
use super::transaction::{Operation, OperationResult, Transaction};
use super::{LeaseId, SessionId};
use crate::codec;
use crate::limits::Semantics;
#[cfg(doc)]
use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::types::Micros;

/// A change of the state. It travels through the log in encoded form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Sets a key.
    Put {
        /// The key, at most [`MAX_KEY_BYTES`] long.
        #[serde(with = "codec::text_or_bytes")]
        key: Bytes,
        /// Its new value, at most [`MAX_VALUE_BYTES`] long.
        #[serde(with = "codec::text_or_bytes")]
        value: Bytes,
        /// The lease with which the key ends, if any.
        lease: Option<LeaseId>,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The key.
        #[serde(with = "codec::text_or_bytes")]
        key: Bytes,
    },
    /// Removes all keys of a range.
    DeleteRange(KeyRange),
    /// Sets a key if it is as expected.
    CompareAndSet {
        /// The key.
        #[serde(with = "codec::text_or_bytes")]
        key: Bytes,
        /// What it must be.
        expected: Expected,
        /// Its new value.
        #[serde(with = "codec::text_or_bytes")]
        value: Bytes,
    },
    /// Several reads and changes as one.
    Transaction(Transaction),
    /// A new lease: keys that are tied to it go when it is not kept alive.
    GrantLease {
        /// How long it lasts after each time that it is kept alive, in µs.
        ttl: Micros,
    },
    /// The lease begins anew.
    KeepLeaseAlive(LeaseId),
    /// The lease ends now, and its keys with it.
    RevokeLease(LeaseId),
    /// A new session, in which a request takes effect once however often it is sent (§8;
    /// dissertation §6.3).
    OpenSession {
        /// How long it lasts after each request, in µs.
        ttl: Micros,
    },
    /// The session ends.
    CloseSession(SessionId),
    /// A request of a session.
    InSession {
        /// The session.
        session: SessionId,
        /// Grows with each request of the session; the same when one is sent again.
        sequence: u64,
        /// What it asks: another command, encoded, but none in a session itself.
        #[serde(with = "super::readable::inner")]
        command: Bytes,
    },
    /// The leader tells the time, by which leases and sessions end. It is the time that the cluster
    /// has had leaders, in µs: wall clocks have no part in it.
    AdvanceClock {
        /// The time now; an earlier one than is known changes nothing.
        to: Micros,
    },
    /// A request that has a name of its own: it takes effect once as long as its answer is
    /// remembered.
    Once {
        /// Stands for its name.
        name: u64,
        /// Stands for all that it asks, so that another request of the same name is not taken for
        /// this one.
        fingerprint: u64,
        /// How long the answer is remembered, in µs.
        ttl: Micros,
        /// What it asks: another command, encoded, of those that may stand in a session.
        #[serde(with = "super::readable::inner")]
        command: Bytes,
    },
    /// From here on commands are applied by the rules of a later release. The leader writes it once
    /// all members run a release that knows them.
    RaiseSemantics {
        /// Those rules; earlier ones than hold change nothing.
        to: Semantics,
    },
}

/// What a key must be for a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Not there.
    Absent,
    /// There, with any value.
    Present,
    /// There with this value.
    Value(#[serde(with = "codec::text_or_bytes")] Bytes),
    /// There, and last changed at this revision.
    Revision(u64),
}

/// What applying a command did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Applied {
    /// The revision of the whole store after it; grows by one with each command that changes keys.
    pub revision: u64,
    /// What it did in particular.
    pub answer: Answer,
}

/// See [`Applied::answer`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A key was set or removed.
    Done {
        /// Whether it was there before.
        existed: bool,
    },
    /// The keys of a range were removed.
    Removed {
        /// How many.
        keys: u64,
    },
    /// A compare-and-set.
    Compared {
        /// Whether the key was as expected, and so was set.
        succeeded: bool,
        /// What it was before.
        found: Option<Box<Pair>>,
    },
    /// A transaction.
    Transaction {
        /// Whether all comparisons held.
        succeeded: bool,
        /// The results of the operations that were carried out, in order.
        results: Vec<OperationResult>,
    },
    /// A lease was granted or kept alive.
    Lease {
        /// Which.
        id: LeaseId,
        /// How long it lasts from now on unless it is kept alive, in µs.
        ttl: Micros,
    },
    /// A lease ended.
    LeaseRevoked {
        /// How many keys went with it.
        keys: u64,
    },
    /// A session was opened.
    Session(SessionId),
    /// A session ended.
    SessionClosed,
    /// The time was taken in.
    Clock {
        /// How many keys went with leases that ended.
        keys: u64,
    },
    /// The command changed nothing.
    Refused(Refusal),
    /// The rules by which commands are applied.
    Semantics {
        /// Those that hold now.
        now: Semantics,
    },
}

/// Why a command that is committed changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The lease does not exist, or has ended.
    NoSuchLease,
    /// The session does not exist, or has ended: whether an earlier try took effect cannot be told.
    NoSuchSession,
    /// The session has gone on to a later request, whose answer is the only one it remembers.
    SupersededRequest,
    /// A session's request is not itself one of a session, nor one about sessions.
    NotInSession,
    /// A time to live is at least a millisecond and at most a year, that of a session at most a day.
    TimeToLive,
    /// There are as many leases or sessions as the store keeps at most.
    TooMany,
    /// The command inside is not one that this version knows. A replica never gives this answer: it
    /// stops.
    Malformed,
    /// Another request had the same name.
    NameReused,
    /// The transaction reads more than an answer may hold.
    ResultTooLarge,
}

/// A committed command that this release does not know. It must not be skipped: the replicas that
/// know it would go on with another state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownCommand(pub String);

impl From<codec::DecodeError> for UnknownCommand {
    fn from(error: codec::DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl Applied {
    /// Whether the key was there before, for a put or delete.
    pub const fn existed(&self) -> bool {
        matches!(self.answer, Answer::Done { existed: true })
    }
}

impl Command {
    /// Sets `key` to `value`.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: None }
    }

    /// Removes `key`.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete { key: key.into() }
    }

    /// Sets `key` to `value` if it is as expected.
    pub fn compare_and_set(
        key: impl Into<Bytes>,
        expected: Expected,
        value: impl Into<Bytes>,
    ) -> Self {
        Self::CompareAndSet { key: key.into(), expected, value: value.into() }
    }

    /// The command as request `sequence` of a session.
    #[must_use]
    pub fn in_session(&self, session: SessionId, sequence: u64) -> Self {
        Self::InSession { session, sequence, command: self.encode() }
    }

    /// The command as a request with a name of its own.
    #[must_use]
    pub fn once(&self, name: u64, fingerprint: u64, ttl: Micros) -> Self {
        Self::Once { name, fingerprint, ttl, command: self.encode() }
    }

    /// The session and number of an encoded request in a session; `None` for all others. Looks at the
    /// command only if it is one.
    pub fn request_of_session(bytes: &[u8]) -> Option<(SessionId, u64)> {
        // The variant comes first in the encoding.
        const IN_SESSION: u8 = 10;
        if bytes.first() != Some(&IN_SESSION) {
            return None;
        }
        match Self::decode(bytes) {
            Ok(Self::InSession { session, sequence, .. }) => Some((session, sequence)),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether servers of the first release know this encoded command. They skip those that they do not
    /// know without a word, so that their state would be another one.
    pub fn is_of_first_release(bytes: &[u8]) -> bool {
        // The variant comes first in the encoding; later releases add theirs at the end.
        const VARIANTS: u8 = 13;
        bytes.first().is_some_and(|variant| *variant < VARIANTS)
    }

    /// Whether it may make the state larger, so that it is refused where a quota is used up. What
    /// removes something always goes through.
    pub fn grows(&self) -> bool {
        match self {
            Self::Put { .. } | Self::CompareAndSet { .. } | Self::GrantLease { .. } => true,
            Self::Transaction(transaction) => transaction.operations().any(Operation::grows),
            // What is inside decides; answers that are remembered have a bound of their own.
            Self::InSession { command, .. } | Self::Once { command, .. } => {
                match Self::decode(command) {
                    Ok(Self::InSession { .. } | Self::Once { .. }) | Err(_) => true,
                    Ok(command) => command.grows(),
                }
            }
            // Sessions are bounded by their number, and clients remove things in one.
            Self::Delete { .. }
            | Self::DeleteRange(_)
            | Self::OpenSession { .. }
            | Self::KeepLeaseAlive(_)
            | Self::RevokeLease(_)
            | Self::CloseSession(_)
            | Self::AdvanceClock { .. }
            | Self::RaiseSemantics { .. } => false,
        }
    }

    /// The form in which it stands in the log.
    pub fn encode(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// Reads the form in which it stands in the log.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode(bytes)
    }
}

/// The command as a person would write it: `x = 1`, `delete x`.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, lease: None } => write!(f, "{} = {}", Brief(key), Brief(value)),
            Self::Put { key, value, lease: Some(lease) } => {
                write!(f, "{} = {} while lease {lease} lasts", Brief(key), Brief(value))
            }
            Self::Delete { key } => write!(f, "delete {}", Brief(key)),
            Self::DeleteRange(range) => write!(f, "delete {range}"),
            Self::CompareAndSet { key, expected, value } => {
                write!(f, "{} = {} if it is {expected}", Brief(key), Brief(value))
            }
            Self::Transaction(transaction) => write!(f, "{transaction}"),
            Self::GrantLease { ttl } => write!(f, "a lease of {} ms", ttl / 1000),
            Self::KeepLeaseAlive(lease) => write!(f, "keep lease {lease} alive"),
            Self::RevokeLease(lease) => write!(f, "end lease {lease}"),
            Self::OpenSession { ttl } => write!(f, "a session of {} ms", ttl / 1000),
            Self::CloseSession(session) => write!(f, "end session {session}"),
            Self::InSession { session, sequence, command } => {
                write!(f, "request {sequence} of session {session}: ")?;
                match Self::decode(command) {
                    Ok(Self::InSession { .. } | Self::Once { .. }) | Err(_) => {
                        f.write_str("no command")
                    }
                    Ok(command) => write!(f, "{command}"),
                }
            }
            Self::Once { command, .. } => {
                f.write_str("once: ")?;
                match Self::decode(command) {
                    Ok(Self::InSession { .. } | Self::Once { .. }) | Err(_) => {
                        f.write_str("no command")
                    }
                    Ok(command) => write!(f, "{command}"),
                }
            }
            Self::AdvanceClock { to } => write!(f, "the time is {} ms", to / 1000),
            Self::RaiseSemantics { to } => write!(f, "apply by rules {}", to.0),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("not there"),
            Self::Present => f.write_str("there"),
            Self::Value(value) => write!(f, "{}", Brief(value)),
            Self::Revision(revision) => write!(f, "of revision {revision}"),
        }
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Answer::Done { .. }
            | Answer::Compared { succeeded: true, .. }
            | Answer::Transaction { succeeded: true, .. } => {
                write!(f, "revision {}", self.revision)
            }
            Answer::Removed { keys } => {
                write!(f, "{keys} keys removed, revision {}", self.revision)
            }
            Answer::Compared { succeeded: false, .. }
            | Answer::Transaction { succeeded: false, .. } => {
                write!(f, "the comparison failed, revision {}", self.revision)
            }
            Answer::Lease { id, ttl } => write!(f, "lease {id} lasts {} ms", ttl / 1000),
            Answer::LeaseRevoked { keys } => write!(f, "the lease ended with {keys} keys"),
            Answer::Session(id) => write!(f, "session {id}"),
            Answer::SessionClosed => f.write_str("the session ended"),
            Answer::Semantics { now } => write!(f, "rules {} hold", now.0),
            Answer::Clock { keys } => write!(f, "the time was taken in, {keys} keys ended"),
            Answer::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchLease => "there is no such lease, or it has ended",
            Self::NoSuchSession => "there is no such session, or it has ended",
            Self::SupersededRequest => "the session has gone on to a later request",
            Self::NotInSession => "this cannot be asked in a session",
            Self::TimeToLive => {
                "a time to live is at least 1 ms and at most a year, of a session at most a day"
            }
            Self::TooMany => "there are as many of them as the store keeps",
            Self::Malformed => "this is no command that this version knows",
            Self::NameReused => "another request had the same name",
            Self::ResultTooLarge => "the transaction reads more than an answer may hold",
        })
    }
}

/// Bytes shown as text, cut after a few characters.
pub(super) struct Brief<'a>(pub(super) &'a [u8]);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 24;
        let text = String::from_utf8_lossy(self.0);
        let mut characters = text.chars();
        for character in characters.by_ref().take(SHOWN) {
            write!(f, "{}", if character.is_control() { '\u{fffd}' } else { character })?;
        }
        if characters.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Semantics, SessionId};

    /// Guards the event list: control characters and huge values cannot break a line of text.
    #[test]
    fn a_command_in_words_stays_on_one_short_line() {
        let words = Command::put("k\n", "v".repeat(1000)).to_string();
        assert!(!words.contains('\n'));
        assert!(words.chars().count() < 60, "{words}");
        assert_eq!(Command::put("x", "1").to_string(), "x = 1");
        assert_eq!(Command::delete("x").to_string(), "delete x");
    }

    /// Guards the shortcut: it knows exactly the requests of sessions.
    #[test]
    fn requests_of_sessions_are_recognised() {
        let request = Command::put("x", "1").in_session(SessionId(7), 300);
        let found = Command::request_of_session(&request.encode());
        assert_eq!(found, Some((SessionId(7), 300)));
        for other in [Command::put("x", "1"), Command::OpenSession { ttl: 10 }] {
            assert_eq!(Command::request_of_session(&other.encode()), None);
        }
    }

    /// Guards servers of the first release: `Once` was its last command, and what raises the rules is
    /// not for them.
    #[test]
    fn commands_of_the_first_release_are_recognised() {
        let put = Command::put("x", "1");
        for known in [put.clone(), put.in_session(SessionId(7), 300), put.once(1, 2, 3)] {
            assert!(Command::is_of_first_release(&known.encode()), "{known}");
        }
        let raise = Command::RaiseSemantics { to: Semantics::LATEST }.encode();
        assert!(!Command::is_of_first_release(&raise));
        assert!(!Command::is_of_first_release(b""));
    }

    /// Guards against commands that are nested without end: they are shown one level deep.
    #[test]
    fn nested_sessions_are_shown_one_level_deep() {
        let mut command = Command::put("x", "1");
        for sequence in 0..100 {
            command = command.in_session(SessionId(1), sequence);
        }
        assert!(command.to_string().ends_with("no command"));
        let json = serde_json::to_string(&command).expect("commands have a JSON form");
        assert!(json.matches("in_session").count() == 1, "{json}");
        let back: Command = serde_json::from_str(&json).expect("and back");
        assert_eq!(back, command);
    }
}
