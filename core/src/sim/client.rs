//! The clients of the simulation: their requests, the answers, and the times of both.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::event::Outcome;
use crate::history::{Effect, Operation};
use crate::kv::{Answer, Command, Expected, KvStore, Refusal};
use crate::types::{NodeId, RequestId, SessionId, Time};

/// What a read returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The request.
    pub request: RequestId,
    /// The server that answered.
    pub node: NodeId,
    /// When it answered.
    pub at: Time,
    /// The key.
    pub key: Bytes,
    /// Its value; `None` when there is no such key.
    pub value: Option<Bytes>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    requests: BTreeMap<RequestId, Request>,
    /// The first request of each sequence number in a session. Repetitions of it are not operations
    /// of their own.
    in_sessions: BTreeMap<(SessionId, u64), RequestId>,
    readings: Vec<Reading>,
    next: RequestId,
}

#[derive(Clone, Debug)]
struct Request {
    asked_at: Time,
    asked: Asked,
    /// The request that this one repeats.
    repeats: Option<RequestId>,
    /// Whether another request repeats this one.
    repeated: bool,
    end: End,
}

#[derive(Clone, Debug)]
enum Asked {
    Write {
        key: Bytes,
        value: Option<Bytes>,
    },
    Swap {
        key: Bytes,
        expected: Expected,
        value: Bytes,
    },
    Read {
        key: Bytes,
        node: NodeId,
    },
    /// A request that concerns no single key. It is not judged.
    Other,
}

#[derive(Clone, Debug)]
enum End {
    /// There is no answer yet, or the answer leaves the effect open.
    Open,
    /// The request certainly had no effect.
    Refused,
    Done {
        at: Time,
        found: Option<Bytes>,
        /// For a compare-and-set: whether it set the key.
        succeeded: bool,
    },
}

impl Clients {
    pub(super) fn write(&mut self, now: Time, command: &Command) -> RequestId {
        let request = self.ask(now, Asked::of(command));
        if let Command::InSession { session, sequence, .. } = command {
            let first = *self.in_sessions.entry((*session, *sequence)).or_insert(request);
            if let Some(own) = self.requests.get_mut(&request).filter(|_| first != request) {
                own.repeats = Some(first);
                if let Some(first) = self.requests.get_mut(&first) {
                    first.is_repeated();
                }
            }
        }
        request
    }

    pub(super) fn read(&mut self, now: Time, node: NodeId, key: Bytes) -> RequestId {
        self.ask(now, Asked::Read { key, node })
    }

    /// Registers a request that is not about single keys.
    pub(super) fn other(&mut self, now: Time) -> RequestId {
        self.ask(now, Asked::Other)
    }

    fn ask(&mut self, asked_at: Time, asked: Asked) -> RequestId {
        self.next = self.next.next();
        self.requests.insert(
            self.next,
            Request { asked_at, asked, repeats: None, repeated: false, end: End::Open },
        );
        self.next
    }

    pub(super) fn answered(
        &mut self,
        at: Time,
        id: RequestId,
        outcome: &Outcome,
        store: Option<&KvStore>,
    ) {
        let Some(request) = self.requests.get(&id) else { return };
        let end = match (outcome, &request.asked) {
            (Outcome::Applied { applied, .. }, _) => End::of_answer(at, &applied.answer),
            (Outcome::ReadReady { .. }, Asked::Read { key, node }) => {
                let found = store.and_then(|store| store.get(key)).map(|it| it.value.clone());
                let (key, value, node) = (key.clone(), found.clone(), *node);
                self.readings.push(Reading { request: id, node, at, key, value });
                End::Done { at, found, succeeded: true }
            }
            (Outcome::NotLeader { .. } | Outcome::Halted | Outcome::Malformed, _) => End::Refused,
            (
                Outcome::Unknown
                | Outcome::ReadReady { .. }
                | Outcome::MembershipChanged { .. }
                | Outcome::Transferred { .. }
                | Outcome::Refused(_),
                _,
            ) => End::Open,
        };
        let repeats = request.repeats;
        if let Some(first) = repeats.and_then(|first| self.requests.get_mut(&first))
            && matches!(end, End::Done { .. })
            && !matches!(first.end, End::Done { .. })
        {
            first.end = end.clone();
        }
        if let Some(request) = self.requests.get_mut(&id) {
            // A completed request stays completed. A refusal tells nothing about the repetitions.
            let silent = request.repeated && matches!(end, End::Refused);
            if !silent && !matches!(request.end, End::Done { .. }) {
                request.end = end;
            }
        }
    }

    pub(super) fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// The operations that were not refused, for the linearizability check.
    pub(super) fn history(&self) -> Vec<Operation> {
        let own = self.requests.values().filter(|request| request.repeats.is_none());
        own.filter_map(Request::operation).collect()
    }
}

impl Asked {
    fn of(command: &Command) -> Self {
        match command {
            Command::Put { key, value, .. } => {
                Self::Write { key: key.clone(), value: Some(value.clone()) }
            }
            Command::Delete { key } => Self::Write { key: key.clone(), value: None },
            Command::CompareAndSet { key, expected, value } => {
                let (key, value) = (key.clone(), value.clone());
                Self::Swap { key, expected: expected.clone(), value }
            }
            Command::InSession { command, .. } => match Command::decode(command) {
                Ok(Command::InSession { .. } | Command::Once { .. }) | Err(_) => Self::Other,
                Ok(inner) => Self::of(&inner),
            },
            Command::DeleteRange(_)
            | Command::Transaction(_)
            | Command::GrantLease { .. }
            | Command::KeepLeaseAlive(_)
            | Command::RevokeLease(_)
            | Command::OpenSession { .. }
            | Command::CloseSession(_)
            | Command::Once { .. }
            | Command::AdvanceClock { .. }
            | Command::RaiseSemantics { .. } => Self::Other,
        }
    }
}

impl End {
    fn of_answer(at: Time, answer: &Answer) -> Self {
        match answer {
            Answer::Compared { succeeded, found } => {
                let found = found.as_ref().map(|pair| pair.value.value.clone());
                Self::Done { at, found, succeeded: *succeeded }
            }
            // This answers an earlier try whose results were too large to be remembered. It tells
            // nothing.
            Answer::Transaction { results, .. } if results.is_empty() => Self::Open,
            // An earlier try may have taken effect.
            Answer::Refused(Refusal::NoSuchSession | Refusal::SupersededRequest) => Self::Open,
            Answer::Refused(_) => Self::Refused,
            Answer::Done { .. }
            | Answer::Removed { .. }
            | Answer::Transaction { .. }
            | Answer::Lease { .. }
            | Answer::LeaseRevoked { .. }
            | Answer::Session(_)
            | Answer::SessionClosed
            | Answer::Clock { .. }
            | Answer::Semantics { .. } => Self::Done { at, found: None, succeeded: true },
        }
    }
}

impl Request {
    /// Marks the request as repeated. A refused request may then still take effect.
    fn is_repeated(&mut self) {
        self.repeated = true;
        if matches!(self.end, End::Refused) {
            self.end = End::Open;
        }
    }

    /// The operation that the request adds to the history; `None` if it tells nothing.
    fn operation(&self) -> Option<Operation> {
        let (returned, found, succeeded) = match &self.end {
            End::Refused => return None,
            End::Open => (None, None, true),
            End::Done { at, found, succeeded } => (Some(at.0), found.clone(), *succeeded),
        };
        let (key, effect) = match &self.asked {
            Asked::Other => return None,
            Asked::Write { key, value } => (key, Effect::Write(value.clone())),
            // A read without an answer tells nothing.
            Asked::Read { key, .. } => (key, returned.map(|_| Effect::Read(found))?),
            Asked::Swap { key, .. } if !succeeded => (key, Effect::Read(found)),
            Asked::Swap { key, expected, value } => {
                let to = Some(value.clone());
                let effect = match (returned, expected) {
                    (Some(_), _) => Effect::Swap { from: found, to },
                    (None, Expected::Value(from)) => Effect::Swap { from: Some(from.clone()), to },
                    (None, Expected::Absent) => Effect::Swap { from: None, to },
                    // The value that it found is unknown, but it may have set the key.
                    (None, Expected::Present | Expected::Revision(_)) => Effect::Write(to),
                };
                (key, effect)
            }
        };
        Some(Operation { key: key.clone(), called: self.asked_at.0, returned, effect })
    }
}
