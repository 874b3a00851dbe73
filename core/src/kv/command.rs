//! The commands of the state machine and their answers.

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

/// A command of the state machine. The log holds it in encoded form.
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
        /// The lease to which the key is attached, if any.
        lease: Option<LeaseId>,
    },
    /// Removes a key, if it exists.
    Delete {
        /// The key.
        #[serde(with = "codec::text_or_bytes")]
        key: Bytes,
    },
    /// Removes all keys of a range.
    DeleteRange(KeyRange),
    /// Sets a key if its state is as expected.
    CompareAndSet {
        /// The key.
        #[serde(with = "codec::text_or_bytes")]
        key: Bytes,
        /// The expected state of the key.
        expected: Expected,
        /// Its new value.
        #[serde(with = "codec::text_or_bytes")]
        value: Bytes,
    },
    /// Executes several reads and changes atomically.
    Transaction(Transaction),
    /// Grants a lease. The store removes the attached keys if the lease is not kept alive.
    GrantLease {
        /// The time to live in µs; it restarts each time the lease is kept alive.
        ttl: Micros,
    },
    /// Restarts the time to live of a lease.
    KeepLeaseAlive(LeaseId),
    /// Ends a lease now and removes its keys.
    RevokeLease(LeaseId),
    /// Opens a session, in which each request takes effect once, however often it is sent (§8;
    /// dissertation §6.3).
    OpenSession {
        /// The time to live in µs; it restarts with each request.
        ttl: Micros,
    },
    /// Ends a session.
    CloseSession(SessionId),
    /// Executes a request of a session.
    InSession {
        /// The session.
        session: SessionId,
        /// The number of the request. It grows with each request; a retry has the same number.
        sequence: u64,
        /// The inner command, encoded. It cannot be a session request itself.
        #[serde(with = "super::readable::inner")]
        command: Bytes,
    },
    /// Advances the replicated clock, by which leases and sessions expire. The clock is the time
    /// during which the cluster had leaders, in µs; wall clocks do not affect it.
    AdvanceClock {
        /// The new time; an earlier time than the current one changes nothing.
        to: Micros,
    },
    /// Executes a request that has its own name. It takes effect once, as long as its answer is
    /// remembered.
    Once {
        /// The number that stands for the name.
        name: u64,
        /// The number that stands for the whole request. It distinguishes another request with the
        /// same name.
        fingerprint: u64,
        /// How long the answer is remembered, in µs.
        ttl: Micros,
        /// The inner command, encoded. The same commands are allowed as in a session.
        #[serde(with = "super::readable::inner")]
        command: Bytes,
    },
    /// Activates the rules of a later release for the commands that follow. The leader proposes it
    /// after all members run a release that knows these rules.
    RaiseSemantics {
        /// The new rules; rules that are not later than the current ones change nothing.
        to: Semantics,
    },
}

/// The expected state of a key in a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// The key does not exist.
    Absent,
    /// The key exists, with any value.
    Present,
    /// The key exists with this value.
    Value(#[serde(with = "codec::text_or_bytes")] Bytes),
    /// The key exists and last changed at this revision.
    Revision(u64),
}

/// The result of applying a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Applied {
    /// The store's revision after the command. Each command that changes keys increments it by one.
    pub revision: u64,
    /// The part of the result that depends on the command.
    pub answer: Answer,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A key was set or removed.
    Done {
        /// Whether the key existed before.
        existed: bool,
    },
    /// The keys of a range were removed.
    Removed {
        /// The number of removed keys.
        keys: u64,
    },
    /// A compare-and-set was executed.
    Compared {
        /// Whether the key was as expected and was therefore set.
        succeeded: bool,
        /// The pair before the command, if the key existed.
        found: Option<Box<Pair>>,
    },
    /// A transaction was executed.
    Transaction {
        /// Whether all comparisons held.
        succeeded: bool,
        /// The results of the executed operations, in order.
        results: Vec<OperationResult>,
    },
    /// A lease was granted or kept alive.
    Lease {
        /// The lease.
        id: LeaseId,
        /// The time to live from now on, in µs.
        ttl: Micros,
    },
    /// A lease ended.
    LeaseRevoked {
        /// The number of keys that were removed with it.
        keys: u64,
    },
    /// A session was opened.
    Session(SessionId),
    /// A session ended.
    SessionClosed,
    /// The clock was advanced.
    Clock {
        /// The number of keys that were removed with expired leases.
        keys: u64,
    },
    /// The command changed nothing.
    Refused(Refusal),
    /// The requested rules, or later ones, are in effect.
    Semantics {
        /// The rules that are in effect now.
        now: Semantics,
    },
}

/// Why a committed command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The lease does not exist, or has ended.
    NoSuchLease,
    /// The session does not exist, or has ended. It is unknown whether an earlier attempt took
    /// effect.
    NoSuchSession,
    /// The session has executed a later request, and it remembers only the later answer.
    SupersededRequest,
    /// The inner command is not allowed in a session or named request, for example a session
    /// request.
    NotInSession,
    /// A time to live must be at least a millisecond and at most a year; that of a session, at most
    /// a day.
    TimeToLive,
    /// The store already has the maximum of leases, sessions or remembered answers.
    TooMany,
    /// This release does not know the inner command. A replica never gives this answer, because it
    /// stops.
    Malformed,
    /// Another request had the same name.
    NameReused,
    /// The transaction reads more than an answer may contain.
    ResultTooLarge,
}

/// A committed command that this release does not know. A replica must not skip it: replicas that
/// know it would have a different state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownCommand(pub String);

impl From<codec::DecodeError> for UnknownCommand {
    fn from(error: codec::DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl Applied {
    /// Whether the key existed before, for a put or delete.
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

    /// Sets `key` to `value` if its state is as expected.
    pub fn compare_and_set(
        key: impl Into<Bytes>,
        expected: Expected,
        value: impl Into<Bytes>,
    ) -> Self {
        Self::CompareAndSet { key: key.into(), expected, value: value.into() }
    }

    /// Wraps the command as request `sequence` of a session.
    #[must_use]
    pub fn in_session(&self, session: SessionId, sequence: u64) -> Self {
        Self::InSession { session, sequence, command: self.encode() }
    }

    /// Wraps the command as a request with its own name.
    #[must_use]
    pub fn once(&self, name: u64, fingerprint: u64, ttl: Micros) -> Self {
        Self::Once { name, fingerprint, ttl, command: self.encode() }
    }

    /// The session and number of an encoded session request; `None` for other commands. It decodes
    /// session requests only.
    pub fn request_of_session(bytes: &[u8]) -> Option<(SessionId, u64)> {
        // The encoding starts with the variant.
        const IN_SESSION: u8 = 10;
        if bytes.first() != Some(&IN_SESSION) {
            return None;
        }
        match Self::decode(bytes) {
            Ok(Self::InSession { session, sequence, .. }) => Some((session, sequence)),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether servers of the first release know this encoded command. They silently skip unknown
    /// commands, and their state would then differ.
    ///
    /// A command inside an envelope is not looked at: all commands that clients may send so far are of
    /// the first release.
    pub fn is_of_first_release(bytes: &[u8]) -> bool {
        // The encoding starts with the variant; later releases append theirs.
        const VARIANTS: u8 = 13;
        bytes.first().is_some_and(|variant| *variant < VARIANTS)
    }

    /// Whether the command may enlarge the state. Such commands are rejected when the quota is used
    /// up; commands that remove something are always accepted.
    pub fn grows(&self) -> bool {
        match self {
            Self::Put { .. } | Self::CompareAndSet { .. } | Self::GrantLease { .. } => true,
            Self::Transaction(transaction) => transaction.operations().any(Operation::grows),
            // The inner command decides; remembered answers have their own bound.
            Self::InSession { command, .. } | Self::Once { command, .. } => {
                match Self::decode(command) {
                    Ok(Self::InSession { .. } | Self::Once { .. }) | Err(_) => true,
                    Ok(command) => command.grows(),
                }
            }
            // The number of sessions is bounded, and clients use sessions to remove keys.
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

    /// Encodes the command for the log.
    pub fn encode(&self) -> Bytes {
        codec::encode(self).into()
    }

    /// Decodes a command from the log.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode(bytes)
    }
}

/// A readable form of the command: `x = 1`, `delete x`.
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
            Self::GrantLease { ttl } => write!(f, "grant a lease of {} ms", ttl / 1000),
            Self::KeepLeaseAlive(lease) => write!(f, "keep lease {lease} alive"),
            Self::RevokeLease(lease) => write!(f, "end lease {lease}"),
            Self::OpenSession { ttl } => write!(f, "open a session of {} ms", ttl / 1000),
            Self::CloseSession(session) => write!(f, "end session {session}"),
            Self::InSession { session, sequence, command } => {
                write!(f, "request {sequence} of session {session}: ")?;
                match Self::decode(command) {
                    Ok(Self::InSession { .. } | Self::Once { .. }) | Err(_) => {
                        f.write_str("not a command")
                    }
                    Ok(command) => write!(f, "{command}"),
                }
            }
            Self::Once { command, .. } => {
                f.write_str("once: ")?;
                match Self::decode(command) {
                    Ok(Self::InSession { .. } | Self::Once { .. }) | Err(_) => {
                        f.write_str("not a command")
                    }
                    Ok(command) => write!(f, "{command}"),
                }
            }
            Self::AdvanceClock { to } => write!(f, "set the clock to {} ms", to / 1000),
            Self::RaiseSemantics { to } => write!(f, "apply commands by rules {}", to.0),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Present => f.write_str("present"),
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
            Answer::LeaseRevoked { keys } => write!(f, "the lease ended and {keys} keys with it"),
            Answer::Session(id) => write!(f, "session {id}"),
            Answer::SessionClosed => f.write_str("the session ended"),
            Answer::Semantics { now } => write!(f, "rules {} apply", now.0),
            Answer::Clock { keys } => write!(f, "the clock is set, {keys} keys expired"),
            Answer::Refused(refusal) => write!(f, "refused: {refusal}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchLease => "there is no such lease, or it has ended",
            Self::NoSuchSession => "there is no such session, or it has ended",
            Self::SupersededRequest => "the session has already executed a later request",
            Self::NotInSession => "this request is not possible in a session",
            Self::TimeToLive => {
                "a time to live must be 1 ms to 1 year, for a session at most 1 day"
            }
            Self::TooMany => "the store already holds the maximum number of them",
            Self::Malformed => "this release does not know this command",
            Self::NameReused => "another request has already used this name",
            Self::ResultTooLarge => "the transaction reads more than an answer may hold",
        })
    }
}

/// Displays bytes as text, shortened to a few characters.
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

    /// Guards that control characters and huge values do not break a line of the event list.
    #[test]
    fn a_command_in_words_stays_on_one_short_line() {
        let words = Command::put("k\n", "v".repeat(1000)).to_string();
        assert!(!words.contains('\n'));
        assert!(words.chars().count() < 60, "{words}");
        assert_eq!(Command::put("x", "1").to_string(), "x = 1");
        assert_eq!(Command::delete("x").to_string(), "delete x");
    }

    /// Guards that the shortcut recognises exactly the requests of sessions.
    #[test]
    fn requests_of_sessions_are_recognised() {
        let request = Command::put("x", "1").in_session(SessionId(7), 300);
        let found = Command::request_of_session(&request.encode());
        assert_eq!(found, Some((SessionId(7), 300)));
        for other in [Command::put("x", "1"), Command::OpenSession { ttl: 10 }] {
            assert_eq!(Command::request_of_session(&other.encode()), None);
        }
    }

    /// Guards that exactly the commands of the first release are recognised. `Once` is the last of
    /// them; `RaiseSemantics` came later.
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

    /// Guards that nested commands are shown only one level deep.
    #[test]
    fn nested_sessions_are_shown_one_level_deep() {
        let mut command = Command::put("x", "1");
        for sequence in 0..100 {
            command = command.in_session(SessionId(1), sequence);
        }
        assert!(command.to_string().ends_with("not a command"));
        let json = serde_json::to_string(&command).expect("commands have a JSON form");
        assert!(json.matches("in_session").count() == 1, "{json}");
        let back: Command = serde_json::from_str(&json).expect("and back");
        assert_eq!(back, command);
    }
}
