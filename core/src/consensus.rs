//! Consensus without the key-value state machine, to measure its cost and to compare it with other
//! implementations that have no state machine.

use bytes::Bytes;

use crate::config::Config;
use crate::durable::HardState;
use crate::log::{Entry, Log};
use crate::membership::Membership;
use crate::message::Message;
use crate::node::{Node, NodeOutput, NodeStart, Recorder};
use crate::replica::Output;
use crate::rules::Rules;
use crate::types::{LogIndex, LogPosition, NodeId, Time, WriteId};

/// One server that orders commands but does not apply them. It never compacts its log, because it
/// has no state to snapshot.
#[derive(Clone, Debug)]
pub struct Consensus {
    node: Node,
    /// The last committed entry that [`Self::take_committed`] returned.
    handed_out: LogIndex,
}

impl Consensus {
    /// Creates a server that has never run, at time 0.
    pub fn new(id: NodeId, membership: Membership, config: Config, seed: u64) -> Self {
        let start = NodeStart {
            id,
            config,
            rules: Rules::default(),
            seed,
            hard_state: HardState::default(),
            membership,
            log: Log::new(LogPosition::ZERO),
            commit_index: LogIndex(0),
            recorder: Recorder::new(id, 1, false, Time(0)),
        };
        Self { node: Node::new(start, Time(0)), handed_out: LogIndex(0) }
    }

    /// When [`Self::tick`] is due.
    pub fn deadline(&self) -> Option<Time> {
        self.node.deadline()
    }

    /// Whether this server is the leader.
    pub const fn is_leader(&self) -> bool {
        self.node.is_leader()
    }

    /// Handles the timer if it has expired.
    pub fn tick(&mut self, now: Time) {
        self.step(now, Node::tick);
    }

    /// Handles a message that arrived.
    pub fn receive(&mut self, now: Time, message: Message) {
        self.step(now, |node| node.receive(message, 0));
    }

    /// Appends commands as one batch. Returns whether it did: only a leader does.
    pub fn propose(&mut self, now: Time, commands: Vec<Bytes>) -> bool {
        let mut first = None;
        self.step(now, |node| first = node.propose(commands));
        first.is_some()
    }

    /// Records that a batch and all before it are durable.
    pub fn persisted(&mut self, now: Time, write: WriteId) {
        self.step(now, |node| node.persisted(write));
    }

    fn step(&mut self, now: Time, input: impl FnOnce(&mut Node)) {
        self.node.begin(now);
        input(&mut self.node);
        self.node.finish();
    }

    /// Takes the pending outputs, in order.
    pub fn outputs(&mut self) -> impl Iterator<Item = Output> + '_ {
        self.node.outputs.drain(..).map(|output| match output {
            NodeOutput::Persist(write) => Output::Persist(write),
            NodeOutput::Send(message) => Output::Send(message),
            NodeOutput::Respond(request, outcome) => Output::Respond(request, outcome),
        })
    }

    /// Returns the entries that were committed since the last call, in order.
    pub fn take_committed(&mut self) -> impl Iterator<Item = &Entry> {
        let (from, to) = (self.handed_out, self.node.commit_index);
        self.handed_out = to;
        let count = usize::try_from(to.0 - from.0).expect("the entries are in memory");
        self.node.log.from(from.next()).take(count)
    }
}
