//! The requests of clients in a random run, and the checks that clients make on the answers.

use std::collections::BTreeMap;

use super::super::{Action, Simulation};
use super::faults::any_node;
use crate::event::{Event, EventKind, Outcome};
use crate::kv::{
    Answer, Applied, Command, Expected, KeyRange, LeaseId, MAX_VALUE_BYTES, Operation,
    OperationResult, SessionId, Transaction,
};
use crate::limits::Semantics;
use crate::random::Random;
use crate::types::{MILLISECOND, NodeId, RequestId, SECOND};

/// The requests of clients. Keys that begin with `k` serve the history check. Other keys only
/// change the state, which must be equal on all servers.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// How many of 1000 requests are more complex than a put, a delete or a read.
    rich: u16,
    /// How many of 1000 reads a leader may answer under its lease.
    by_lease: u16,
    /// How many of 1000 requests go to a random server instead of the leader.
    astray: u16,
    /// The sizes of values.
    sizes: Sizes,
    /// The number of values so far. It makes each value unique, so the history can tell writes
    /// apart.
    values: u64,
    sessions: BTreeMap<SessionId, Session>,
    leases: Vec<LeaseId>,
    /// The pending requests that open a session or a lease, or belong to a session.
    asked: BTreeMap<RequestId, Purpose>,
}

/// A client's session with one request at a time. The client retries the request until it is
/// answered, and sometimes after that.
#[derive(Clone, Debug)]
struct Session {
    sequence: u64,
    command: Command,
    answered: bool,
}

/// The sizes of the values of a run, in bytes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// The bound for the keys that the history check covers.
    usual: u64,
    /// The largest size, for a separate key.
    largest: u64,
    /// How many of 1000 requests concern the largest values.
    large: u16,
}

impl Sizes {
    /// Large values are rare: a run with them takes as long as many runs with small values.
    fn draw(random: &mut Random) -> Self {
        let (usual, largest) = match random.between(0, 1000) {
            0..700 => (0, 0),
            700..900 => (random.between(0, 300), 2_000),
            900..990 => (random.between(0, 4_000), 64 << 10),
            _ => (0, MAX_VALUE_BYTES as u64),
        };
        Self { usual, largest, large: if largest > 0 { 60 } else { 0 } }
    }
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Open,
    Grant,
    InSession(SessionId, u64),
}

impl Load {
    pub(super) fn draw(random: &mut Random) -> Self {
        let mut maybe = |permille| if random.chance(500) { permille } else { 0 };
        let (rich, by_lease, astray) = (maybe(300), maybe(500), maybe(400));
        let sizes = Sizes::draw(random);
        Self {
            rich,
            by_lease,
            astray: astray + 100,
            sizes,
            values: 0,
            sessions: BTreeMap::new(),
            leases: Vec::new(),
            asked: BTreeMap::new(),
        }
    }

    /// The largest value that clients write, in bytes.
    pub(super) fn largest(&self) -> usize {
        usize::try_from(self.sizes.largest.max(self.sizes.usual)).expect("a value fits in memory")
    }

    /// Sends client requests, most often to the leader.
    pub(super) fn ask(&mut self, simulation: &mut Simulation, random: &mut Random) {
        for _ in 0..random.between(0, 4) {
            let node = match simulation.leader() {
                Some(leader) if !random.chance(self.astray) => leader,
                _ => any_node(simulation, random),
            };
            if random.chance(self.sizes.large) {
                self.ask_large(node, simulation, random);
            } else if random.chance(self.rich) {
                self.ask_more(node, simulation, random);
            } else {
                let action = self.plain(node, random);
                let _ = simulation.act(action);
            }
        }
    }

    fn plain(&mut self, node: NodeId, random: &mut Random) -> Action {
        let key = format!("k{}", random.between(0, 4));
        let value = self.value();
        match random.between(0, 10) {
            0 => Action::Write { node, command: Command::delete(key) },
            1..5 => Action::Write { node, command: Command::put(key, value) },
            5 => Action::Write { node, command: self.compare_and_set(key, random) },
            _ => Action::Read { node, key: key.into(), lease: random.chance(self.by_lease) },
        }
    }

    fn value(&mut self) -> String {
        self.values += 1;
        self.nth_value(self.values)
    }

    /// The value with this number: the number itself, padded to the value's size.
    fn nth_value(&self, number: u64) -> String {
        let bytes = match self.sizes.usual {
            0 => 0,
            usual => usize::try_from(number * 7919 % usual).expect("a value fits in memory"),
        };
        format!("{number:-<bytes$}")
    }

    /// Requests something with the largest values or answers.
    fn ask_large(&mut self, node: NodeId, simulation: &mut Simulation, random: &mut Random) {
        let key = || bytes::Bytes::from_static(b"big");
        let command = match random.between(0, 4) {
            0 | 1 => {
                let bytes = random.between(1, self.sizes.largest + 1);
                let bytes = usize::try_from(bytes).expect("a value fits in memory");
                Command::put(key(), vec![b'v'; bytes])
            }
            2 => Command::compare_and_set(key(), Expected::Absent, "no"),
            _ => {
                let gets = random.between(1, 129);
                let then = (0..gets).map(|_| Operation::Get { key: key() }).collect();
                Command::Transaction(Transaction { then, ..Transaction::default() })
            }
        };
        let chosen = random.between(0, self.sessions.len() as u64 + 1);
        let chosen = usize::try_from(chosen).expect("sessions are few");
        let command = match self.sessions.iter_mut().nth(chosen) {
            Some((id, session)) if session.answered => {
                (session.sequence, session.answered) = (session.sequence + 1, false);
                session.command = command;
                session.command.in_session(*id, session.sequence)
            }
            Some(_) | None => command,
        };
        let _ = simulation.act(Action::Write { node, command });
    }

    /// A compare-and-set that sometimes succeeds. Values count up, so it can guess recent values.
    fn compare_and_set(&mut self, key: String, random: &mut Random) -> Command {
        let expected = match random.between(0, 4) {
            0 => Expected::Absent,
            1 => Expected::Present,
            _ => {
                let recent = self.values.saturating_sub(random.between(1, 12));
                Expected::Value(self.nth_value(recent).into())
            }
        };
        Command::compare_and_set(key, expected, self.value())
    }

    // Sessions, leases, transactions

    fn ask_more(&mut self, node: NodeId, simulation: &mut Simulation, random: &mut Random) {
        let ttl = random.between(100, 5000) * MILLISECOND;
        let (command, purpose) = match random.between(0, 11) {
            10 => (Command::RaiseSemantics { to: Semantics::LATEST }, None),
            0 => (Command::OpenSession { ttl: ttl.max(SECOND) }, Some(Purpose::Open)),
            1 => (Command::GrantLease { ttl }, Some(Purpose::Grant)),
            2 => (self.about_lease(random), None),
            3 => (Command::DeleteRange(KeyRange::prefix("l")), None),
            4..7 => (self.transaction(), None),
            _ => match self.next_in_session(random) {
                Some((command, purpose)) => (command, Some(purpose)),
                None => return,
            },
        };
        let request = simulation.act(Action::Write { node, command });
        if let (Ok(Some(request)), Some(purpose)) = (request, purpose) {
            self.asked.insert(request, purpose);
        }
    }

    fn about_lease(&mut self, random: &mut Random) -> Command {
        let chosen = random.between(0, self.leases.len() as u64);
        let lease = usize::try_from(chosen).ok().and_then(|chosen| self.leases.get(chosen));
        let Some(lease) = lease.copied() else { return Command::RevokeLease(LeaseId(7)) };
        match random.between(0, 4) {
            0 => Command::KeepLeaseAlive(lease),
            1 => Command::RevokeLease(lease),
            _ => {
                let key = format!("l{}", random.between(0, 5)).into();
                Command::Put { key, value: self.value().into(), lease: Some(lease) }
            }
        }
    }

    /// Reads two keys and then sets both to the same value. A client that sees them differ saw half
    /// of a transaction.
    fn transaction(&mut self) -> Command {
        let value = self.value();
        let keys = ["t0", "t1"];
        let gets = keys.map(|key| Operation::Get { key: key.into() });
        let puts = keys.map(|key| Operation::Put {
            key: key.into(),
            value: value.clone().into(),
            lease: None,
        });
        let then = gets.into_iter().chain(puts).collect();
        Command::Transaction(Transaction { then, ..Transaction::default() })
    }

    /// The next request of a random session, or its last request again.
    fn next_in_session(&mut self, random: &mut Random) -> Option<(Command, Purpose)> {
        let chosen = random.between(0, self.sessions.len() as u64);
        let id = *self.sessions.keys().nth(usize::try_from(chosen).ok()?)?;
        let key = format!("k{}", random.between(0, 4));
        let fresh = if random.chance(500) {
            Command::put(key, self.value())
        } else {
            self.compare_and_set(key, random)
        };
        let repeats = random.chance(300);
        let session = self.sessions.get_mut(&id)?;
        if session.answered && !repeats {
            session.sequence += 1;
            session.command = fresh;
            session.answered = false;
        }
        let purpose = Purpose::InSession(id, session.sequence);
        Some((session.command.in_session(id, session.sequence), purpose))
    }

    // Answers

    /// Handles the answers. Returns an error for an answer that no correct cluster gives.
    pub(super) fn observe(&mut self, events: &[Event]) -> Result<(), &'static str> {
        for event in events {
            if let EventKind::ClientAnswer { request, outcome: Outcome::Applied { applied, .. } } =
                &event.kind
            {
                self.answered(*request, applied)?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, request: RequestId, applied: &Applied) -> Result<(), &'static str> {
        if let Answer::Transaction { results, .. } = &applied.answer {
            let values = results.iter().filter_map(|result| match result {
                OperationResult::Found(pair) => Some(pair.as_ref().map(|it| &it.value.value)),
                OperationResult::Pairs(_)
                | OperationResult::Done { .. }
                | OperationResult::Removed { .. } => None,
            });
            let values: Vec<_> = values.collect();
            if results.len() == 4 && values.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err("a transaction saw only a part of another transaction");
            }
        }
        match (self.asked.remove(&request), &applied.answer) {
            (Some(Purpose::Open), Answer::Session(id)) => {
                let session = Session { sequence: 0, command: Command::delete(""), answered: true };
                self.sessions.insert(*id, session);
            }
            (Some(Purpose::Grant), Answer::Lease { id, .. }) => self.leases.push(*id),
            (Some(Purpose::InSession(id, _)), Answer::Refused(_)) => {
                self.sessions.remove(&id);
            }
            (Some(Purpose::InSession(id, sequence)), _) => {
                let session = self.sessions.get_mut(&id);
                if let Some(session) = session.filter(|session| session.sequence == sequence) {
                    session.answered = true;
                }
            }
            (Some(Purpose::Open | Purpose::Grant) | None, _) => {}
        }
        Ok(())
    }
}
