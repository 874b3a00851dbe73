//! Clients as the simulation knows them: what was asked, what was answered, and when.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::event::Outcome;
use crate::history::{Effect, Operation};
use crate::kv::{Command, KvStore};
use crate::types::{NodeId, RequestId, Time};

/// What a read returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The request.
    pub request: RequestId,
    /// The server that answered.
    pub node: NodeId,
    /// When.
    pub at: Time,
    /// The key.
    pub key: Bytes,
    /// Its value; `None` when there is no such key.
    pub value: Option<Bytes>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Clients {
    requests: BTreeMap<RequestId, Request>,
    readings: Vec<Reading>,
    next: RequestId,
}

#[derive(Clone, Debug)]
struct Request {
    key: Bytes,
    asked_at: Time,
    operation: Asked,
    end: End,
}

#[derive(Clone, Debug)]
enum Asked {
    Write(Option<Bytes>),
    Read(NodeId),
}

#[derive(Clone, Debug)]
enum End {
    /// No answer yet, or one that leaves it open.
    Open,
    /// It certainly had no effect.
    Refused,
    Done {
        at: Time,
        read: Option<Bytes>,
    },
}

impl Clients {
    pub(super) fn write(&mut self, now: Time, command: &Command) -> RequestId {
        let (key, value) = match command {
            Command::Put { key, value } => (key, Some(value.clone())),
            Command::Delete { key } => (key, None),
        };
        self.ask(now, key.clone(), Asked::Write(value))
    }

    pub(super) fn read(&mut self, now: Time, node: NodeId, key: Bytes) -> RequestId {
        self.ask(now, key, Asked::Read(node))
    }

    fn ask(&mut self, asked_at: Time, key: Bytes, operation: Asked) -> RequestId {
        self.next = self.next.next();
        self.requests.insert(self.next, Request { key, asked_at, operation, end: End::Open });
        self.next
    }

    pub(super) fn answered(
        &mut self,
        at: Time,
        id: RequestId,
        outcome: &Outcome,
        store: Option<&KvStore>,
    ) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.end = match outcome {
            Outcome::Applied { .. } => End::Done { at, read: None },
            Outcome::ReadReady { .. } => {
                let value = store.and_then(|store| store.get(&request.key));
                let read = value.map(|versioned| versioned.value.clone());
                if let Asked::Read(node) = request.operation {
                    let (key, value) = (request.key.clone(), read.clone());
                    self.readings.push(Reading { request: id, node, at, key, value });
                }
                End::Done { at, read }
            }
            Outcome::NotLeader { .. } | Outcome::Halted | Outcome::Malformed => End::Refused,
            Outcome::Unknown => End::Open,
        };
    }

    pub(super) fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// What was asked and not refused, for the check.
    pub(super) fn history(&self) -> Vec<Operation> {
        let effective = self.requests.values().filter(|it| !matches!(it.end, End::Refused));
        effective
            .filter_map(|request| {
                let (returned, read) = match &request.end {
                    End::Done { at, read } => (Some(at.0), read.clone()),
                    End::Open | End::Refused => (None, None),
                };
                let effect = match &request.operation {
                    Asked::Write(value) => Effect::Write(value.clone()),
                    Asked::Read(_) if returned.is_some() => Effect::Read(read),
                    // A read that never returned says nothing.
                    Asked::Read(_) => return None,
                };
                let key = request.key.clone();
                Some(Operation { key, called: request.asked_at.0, returned, effect })
            })
            .collect()
    }
}
