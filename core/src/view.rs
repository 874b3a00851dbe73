//! The cluster as a display shows it, computed from events only.
//!
//! All displays read this view, so a simulated cluster, a live one and a recording look the same.
//! Cloning a view is cheap, because logs and states share structure.

mod node;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use node::{DiskHealth, Liveness, NodeView, TimerView, VotesView};

use crate::event::{DropReason, Event, EventKind, Fault, Outcome, RequestKind};
use crate::message::Message;
use crate::types::{EventId, NodeId, RequestId, Term, Time};

/// The number of newest requests that a view keeps.
const REQUESTS: usize = 200;

/// The number of newest messages that a view keeps, whether they have ended or not. A live network
/// does not report every message that it lost.
const MESSAGES: usize = 2_000;

/// Everything known about a cluster from its events.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// The time of the latest event.
    pub time: Time,
    /// The number of observed events.
    pub events: u64,
    /// The servers that appeared in events.
    pub nodes: BTreeMap<NodeId, NodeView>,
    /// Messages in transit, and the newest of those that ended.
    pub messages: BTreeMap<EventId, Flight>,
    /// Directed links that drop all messages.
    pub cut_links: BTreeSet<(NodeId, NodeId)>,
    /// The newest requests, oldest first.
    pub requests: Vec<RequestView>,
    /// The kept messages in the order of their sending.
    sent: VecDeque<EventId>,
}

/// A message between its sending and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The message.
    pub message: Message,
    /// When it was sent, by the sender's clock.
    pub sent_at: Time,
    /// When it will arrive; only a simulated network reports this.
    pub due: Option<Time>,
    /// Whether it is held back until it is released.
    pub held: bool,
    /// How it ended, if it has.
    pub end: Option<FlightEnd>,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlightEnd {
    /// It arrived.
    Received {
        /// When it arrived, by the receiver's clock.
        at: Time,
    },
    /// It did not arrive.
    Dropped {
        /// When it was dropped.
        at: Time,
        /// Why it was dropped.
        why: DropReason,
    },
}

/// A client's request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    /// The server that received the request.
    pub node: NodeId,
    /// The number of the request on that server.
    pub request: RequestId,
    /// The requested operation.
    pub operation: RequestKind,
    /// When the client sent the request.
    pub asked_at: Time,
    /// The answer and its time.
    pub answer: Option<(Time, Outcome)>,
}

impl ClusterView {
    /// Updates the view with one event.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a view of a node lists all kinds")]
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
            // The rest concerns a single server: `NodeView` lists all kinds.
            _ => {}
        }
        if event.id.node != NodeId::ENVIRONMENT {
            self.nodes.entry(event.id.node).or_default().observe(event);
        }
    }

    /// The running leader of the highest term, if there is one.
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

    /// A copy is a separate message, identified by the event that copied it.
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

    /// The message that arrived, the original or a copy: of those in transit, the message with the
    /// earliest due time.
    fn arrived(&self, message: EventId) -> EventId {
        let original = |flight: &Flight| flight.message.id() == message;
        // Events of the environment identify copies; without copies this range is empty.
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

    fn asked(&mut self, event: &Event, request: RequestId, operation: &RequestKind) {
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
