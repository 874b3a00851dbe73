//! The cluster as a screen may show it: a fold of events and of nothing else.
//!
//! Whatever is drawn comes from here, so a simulated cluster, a live one and a recording look the
//! same. Cloning a view is cheap: logs and states share structure.

mod node;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use node::{DiskHealth, Liveness, NodeView, TimerView, VotesView};

use crate::event::{DropReason, Event, EventKind, Fault, Operation, Outcome};
use crate::message::Message;
use crate::types::{EventId, NodeId, RequestId, Term, Time};

/// The newest requests that a view remembers.
const REQUESTS: usize = 200;

/// The newest messages that a view remembers, whether they have ended or not: a live network does
/// not tell of every message that it lost.
const MESSAGES: usize = 2_000;

/// Everything known of a cluster from its events.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// The time of the latest event.
    pub time: Time,
    /// How many events were folded.
    pub events: u64,
    /// The servers that were heard of.
    pub nodes: BTreeMap<NodeId, NodeView>,
    /// Messages on their way, and the newest of those that ended.
    pub messages: BTreeMap<EventId, Flight>,
    /// Directed links that let nothing pass.
    pub cut_links: BTreeSet<(NodeId, NodeId)>,
    /// The newest requests, oldest first.
    pub requests: Vec<RequestView>,
    /// The remembered messages in the order of their sending.
    sent: VecDeque<EventId>,
}

/// A message between its sending and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// What was sent.
    pub message: Message,
    /// When, by the sender's clock.
    pub sent_at: Time,
    /// When it will arrive, as far as the network tells (only a simulated one does).
    pub due: Option<Time>,
    /// Whether it stays in the air until it is released.
    pub held: bool,
    /// How it ended, once it did.
    pub end: Option<FlightEnd>,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlightEnd {
    /// It arrived.
    Received {
        /// When, by the receiver's clock.
        at: Time,
    },
    /// It did not arrive.
    Dropped {
        /// When.
        at: Time,
        /// Why.
        why: DropReason,
    },
}

/// A client's request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    /// The server that was asked.
    pub node: NodeId,
    /// Its number there.
    pub request: RequestId,
    /// What was asked.
    pub operation: Operation,
    /// When.
    pub asked_at: Time,
    /// The answer and when it came.
    pub answer: Option<(Time, Outcome)>,
}

impl ClusterView {
    /// Takes in one event.
    pub fn observe(&mut self, event: &Event) {
        self.time = self.time.max(event.time);
        self.events += 1;
        match &event.kind {
            EventKind::MessageSent(message) => self.sent(event, message),
            EventKind::MessageInTransit { message, due } => {
                if let Some(flight) = self.messages.get_mut(message) {
                    (flight.due, flight.held) = (Some(*due), false);
                }
            }
            EventKind::MessageReceived { message, .. } => {
                let arrived = self.arrived(*message);
                self.ended(arrived, FlightEnd::Received { at: event.time });
            }
            EventKind::MessageDropped { message, why } => {
                self.ended(*message, FlightEnd::Dropped { at: event.time, why: *why });
            }
            EventKind::Fault(Fault::MessageHeld { message }) => {
                if let Some(flight) = self.messages.get_mut(message) {
                    (flight.due, flight.held) = (None, true);
                }
            }
            EventKind::Fault(Fault::MessageCopied { message, due }) => {
                self.copied(event, *message, *due);
            }
            EventKind::Fault(Fault::DiskStalled { node }) => self.disk(*node, DiskHealth::Stalled),
            EventKind::Fault(Fault::DiskFull { node }) => self.disk(*node, DiskHealth::Full),
            EventKind::Fault(Fault::DiskMended { node }) => self.disk(*node, DiskHealth::Well),
            EventKind::LinkChanged { from, to, up } => {
                if *up {
                    self.cut_links.remove(&(*from, *to));
                } else {
                    self.cut_links.insert((*from, *to));
                }
            }
            EventKind::ClientRequest { request, operation } => {
                self.asked(event, *request, operation);
            }
            EventKind::ClientAnswer { request, outcome } => {
                self.answered(event, *request, outcome);
            }
            EventKind::Fault(_)
            | EventKind::Started(_)
            | EventKind::Attached(_)
            | EventKind::Crashed
            | EventKind::Frozen
            | EventKind::Thawed
            | EventKind::RoleChanged { .. }
            | EventKind::LeaderKnown { .. }
            | EventKind::TermChanged { .. }
            | EventKind::VoteGranted { .. }
            | EventKind::VoteRefused { .. }
            | EventKind::VoteCounted { .. }
            | EventKind::TimerArmed { .. }
            | EventKind::TimerFired { .. }
            | EventKind::EntriesAppended { .. }
            | EventKind::LogTruncated { .. }
            | EventKind::LogCompacted { .. }
            | EventKind::WriteStarted { .. }
            | EventKind::WritePersisted { .. }
            | EventKind::WriteFailed { .. }
            | EventKind::CommitAdvanced { .. }
            | EventKind::Applied { .. }
            | EventKind::SnapshotSaved { .. }
            | EventKind::SnapshotInstalled { .. }
            | EventKind::SnapshotIgnored { .. }
            | EventKind::ProgressChanged { .. }
            | EventKind::ReadsConfirmed { .. }
            | EventKind::ConfigurationAppended { .. }
            | EventKind::ConfigurationCommitted { .. }
            | EventKind::ConfigurationRolledBack { .. }
            | EventKind::PeerDismissed { .. }
            | EventKind::PeerLostLog { .. }
            | EventKind::TransferStarted { .. }
            | EventKind::TransferAborted { .. }
            | EventKind::LeaseRead { .. }
            | EventKind::StateDiffers { .. }
            | EventKind::Summarised { .. } => {}
        }
        if event.id.node != NodeId::ENVIRONMENT {
            self.nodes.entry(event.id.node).or_default().observe(event);
        }
    }

    /// The server that leads in the highest term, when there is one that runs.
    pub fn leader(&self) -> Option<NodeId> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.is_leader())
            .max_by_key(|(_, node)| node.term)
            .map(|(id, _)| *id)
    }

    /// The highest term that any server knows.
    pub fn term(&self) -> Term {
        self.nodes.values().map(|node| node.term).max().unwrap_or_default()
    }

    fn disk(&mut self, node: NodeId, health: DiskHealth) {
        self.nodes.entry(node).or_default().disk = health;
    }

    fn sent(&mut self, event: &Event, message: &Message) {
        let flight = Flight {
            message: message.clone(),
            sent_at: event.time,
            due: None,
            held: false,
            end: None,
        };
        self.fly(event.id, flight);
    }

    /// A copy is a message of its own, named by the event that copied it.
    fn copied(&mut self, event: &Event, message: EventId, due: Option<Time>) {
        if let Some(original) = self.messages.get(&message) {
            let flight = Flight { due, held: due.is_none(), end: None, ..original.clone() };
            self.fly(event.id, flight);
        }
    }

    fn fly(&mut self, id: EventId, flight: Flight) {
        self.messages.insert(id, flight);
        self.sent.push_back(id);
        if self.sent.len() > MESSAGES
            && let Some(oldest) = self.sent.pop_front()
        {
            self.messages.remove(&oldest);
        }
    }

    /// Which it was that arrived, the message or a copy: of those under way the one that is due
    /// first.
    fn arrived(&self, message: EventId) -> EventId {
        let original = |flight: &Flight| flight.message.id() == message;
        // Copies are named by the environment; without any there is nothing to look through.
        let copies = self.messages.range(..EventId { node: NodeId(1), seq: 0 });
        let candidates = copies.chain(self.messages.get_key_value(&message));
        candidates
            .filter(|(_, flight)| original(flight) && flight.end.is_none() && !flight.held)
            .min_by_key(|(id, flight)| (flight.due, **id != message))
            .map_or(message, |(id, _)| *id)
    }

    fn ended(&mut self, message: EventId, end: FlightEnd) {
        if let Some(flight) = self.messages.get_mut(&message) {
            flight.end = Some(end);
        }
    }

    fn asked(&mut self, event: &Event, request: RequestId, operation: &Operation) {
        if self.requests.len() >= REQUESTS {
            self.requests.remove(0);
        }
        self.requests.push(RequestView {
            node: event.id.node,
            request,
            operation: operation.clone(),
            asked_at: event.time,
            answer: None,
        });
    }

    fn answered(&mut self, event: &Event, request: RequestId, outcome: &Outcome) {
        let asked = self
            .requests
            .iter_mut()
            .rev()
            .find(|asked| asked.node == event.id.node && asked.request == request);
        if let Some(asked) = asked {
            asked.answer = Some((event.time, outcome.clone()));
        }
    }
}
