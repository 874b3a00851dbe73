//! Replicas over links of a given bandwidth, with the lanes and the bounded queue of the server's
//! transport. Tests use them if the number of bytes in flight matters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft_core::config::{Config, PEER_QUEUE_BYTES};
use raft_core::durable::{Bootstrap, Recovered};
use raft_core::event::{Outcome, RoleName};
use raft_core::kv::Command;
use raft_core::log::Entry;
use raft_core::membership::{Membership, MembershipChange};
use raft_core::message::{Body, Message};
use raft_core::replica::{Input, Output, Proposal, Replica, Start, Status};
use raft_core::types::{MILLISECOND, Micros, NodeId, RequestId, SECOND, Time};

pub(crate) struct Wire {
    config: Config,
    replicas: BTreeMap<NodeId, Replica>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    /// The speed of every link for bulk messages, in bytes per second.
    pub(crate) speed: u64,
    /// The delay of a message, in µs.
    pub(crate) delay: Micros,
    /// Whether a server learns that a connection broke.
    pub(crate) notices: bool,
    pub(crate) now: Time,
    coming: BTreeMap<(Time, u64), (NodeId, Input)>,
    next: u64,
    /// Unreachable servers.
    cut: BTreeSet<NodeId>,
    pub(crate) answers: BTreeMap<RequestId, Outcome>,
}

/// The link from one server to another.
#[derive(Default)]
pub(crate) struct Link {
    /// Pending entries and chunks, oldest first.
    queue: VecDeque<Message>,
    queued: usize,
    /// When the current transmission ends.
    busy_until: Option<Time>,
    /// Bytes of entries and chunks that it has carried.
    pub(crate) carried: u64,
    /// Messages dropped from the full queue.
    pub(crate) dropped: u64,
}

/// The size of a message on a link, in bytes.
fn size(message: &Message) -> usize {
    64 + match &message.body {
        Body::AppendEntries { entries, .. } => entries.iter().map(Entry::size).sum(),
        Body::InstallSnapshot { chunk, .. } => chunk.data.len(),
        _ => 0,
    }
}

impl Wire {
    /// The first `voters` servers form a cluster with a leader; the others have not joined.
    pub(crate) fn led(servers: u64, voters: u64, config: Config) -> Self {
        config.validate().expect("workable");
        let mut wire = Self {
            replicas: BTreeMap::new(),
            links: BTreeMap::new(),
            speed: 1 << 40,
            delay: 5 * MILLISECOND,
            notices: true,
            now: Time(0),
            coming: BTreeMap::new(),
            next: 0,
            cut: BTreeSet::new(),
            answers: BTreeMap::new(),
            config,
        };
        for id in (1..=servers).map(NodeId) {
            let founders = if id.0 <= voters { voters } else { 0 };
            let membership = Membership::of((1..=founders).map(NodeId));
            let start = Start {
                id,
                config: wire.config.clone(),
                bootstrap: Bootstrap { membership },
                recovered: Recovered::default(),
                snapshot: None,
                semantics: raft_core::limits::Semantics::LATEST,
                seed: id.0,
                first_seq: 1,
            };
            wire.replicas.insert(id, Replica::new(start, Time(0), false));
            wire.carry_out(id);
        }
        wire.until("a leader", 10 * SECOND, |wire| {
            wire.leader().is_some_and(|leader| {
                let status = wire.status(leader);
                status.commit_index == status.last.index && status.last.index.0 > 0
            })
        });
        wire
    }

    pub(crate) fn status(&self, node: NodeId) -> Status {
        self.replicas[&node].status()
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let leaders = self.replicas.keys().map(|node| self.status(*node));
        let leads = |status: &Status| status.role == RoleName::Leader;
        leaders.filter(leads).max_by_key(|status| status.term).map(|status| status.id)
    }

    pub(crate) fn followers(&self) -> Vec<NodeId> {
        let leader = self.leader();
        self.replicas.keys().copied().filter(|node| Some(*node) != leader).collect()
    }

    pub(crate) fn link(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    /// Proposes `count` writes of `bytes` bytes each in one batch; returns their request ids.
    pub(crate) fn write(&mut self, node: NodeId, count: u64, bytes: usize) -> Vec<RequestId> {
        let first = self.next + 1;
        let proposals: Vec<Proposal> = (first..first + count)
            .map(|number| {
                let command = Command::put(format!("key {}", number % 1000), vec![b'v'; bytes]);
                Proposal { request: RequestId(number), command: command.encode() }
            })
            .collect();
        self.next += count;
        let requests = proposals.iter().map(|proposal| proposal.request).collect();
        self.step(node, Input::Propose(proposals));
        requests
    }

    pub(crate) fn change(&mut self, node: NodeId, change: MembershipChange) -> RequestId {
        self.next += 1;
        let request = RequestId(self.next);
        self.step(node, Input::ChangeMembership { request, change });
        request
    }

    pub(crate) fn compact(&mut self, node: NodeId) {
        self.step(node, Input::Compact);
        self.pass(10 * MILLISECOND);
    }

    /// Drops new messages from and to this server, and breaks the connections to it.
    pub(crate) fn cut(&mut self, node: NodeId) {
        self.cut.insert(node);
        self.break_connections(node);
    }

    pub(crate) fn mend(&mut self, node: NodeId) {
        self.cut.remove(&node);
    }

    /// Loses the messages that are queued for this server or in flight to it.
    pub(crate) fn break_connections(&mut self, node: NodeId) {
        self.coming.retain(|_, (to, input)| *to != node || !matches!(input, Input::Receive(_)));
        let senders: Vec<NodeId> =
            self.links.keys().filter(|(_, to)| *to == node).map(|(from, _)| *from).collect();
        for from in senders {
            let link = self.link(from, node);
            (link.queued, link.busy_until) = (0, None);
            link.queue.clear();
            if self.notices {
                self.step(from, Input::SendFailed(node));
            }
        }
    }

    pub(crate) fn pass(&mut self, span: Micros) {
        let end = self.now.after(span);
        while self.happen(end) {}
        self.now = end;
    }

    /// Runs until `done` holds; panics after `span`. Returns how long it took.
    pub(crate) fn until(
        &mut self,
        what: &str,
        span: Micros,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Micros {
        let (begun, end) = (self.now, self.now.after(span));
        while !done(self) {
            assert!(self.happen(end), "{what} did not come within {span} µs");
        }
        self.now.since(begun)
    }

    /// Processes the next event if it is due by `end`.
    fn happen(&mut self, end: Time) -> bool {
        let timers = self.replicas.iter().filter_map(|(id, it)| Some((it.deadline()?, *id)));
        let timer = timers.min();
        let sender = self.links.iter().filter_map(|(link, it)| Some((it.busy_until?, *link))).min();
        let coming = self.coming.keys().next().copied();
        let next = [timer.map(|it| it.0), sender.map(|it| it.0), coming.map(|it| it.0)];
        let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        if let Some((_, (from, to))) = sender.filter(|it| it.0 == next) {
            self.sent(from, to);
        } else if let Some(key) = coming.filter(|it| it.0 == next) {
            let (node, input) = self.coming.remove(&key).expect("just seen");
            self.step(node, input);
        } else if let Some((_, node)) = timer {
            self.step(node, Input::Tick);
        }
        true
    }

    fn step(&mut self, node: NodeId, input: Input) {
        self.replicas.get_mut(&node).expect("it runs").step(self.now, input);
        self.carry_out(node);
    }

    fn carry_out(&mut self, node: NodeId) {
        let outputs: Vec<Output> =
            self.replicas.get_mut(&node).expect("it runs").outputs().collect();
        for output in outputs {
            match output {
                Output::Persist(write) => {
                    self.later(MILLISECOND, node, Input::Persisted(write.id));
                }
                Output::SaveSnapshot(snapshot) => {
                    self.later(MILLISECOND, node, Input::SnapshotSaved(snapshot.meta));
                }
                Output::Respond(request, outcome) => {
                    self.answers.insert(request, outcome);
                }
                Output::Send(message) => self.send(message),
            }
        }
    }

    fn later(&mut self, span: Micros, node: NodeId, input: Input) {
        self.next += 1;
        self.coming.insert((self.now.after(span), self.next), (node, input));
    }

    fn send(&mut self, message: Message) {
        let (from, to) = (message.from, message.to);
        if self.cut.contains(&from) || self.cut.contains(&to) || !self.replicas.contains_key(&to) {
            return;
        }
        if message.body.is_urgent() {
            self.later(self.delay, to, Input::Receive(message));
            return;
        }
        let link = self.link(from, to);
        link.queued += size(&message);
        link.queue.push_back(message);
        while link.queued > PEER_QUEUE_BYTES && link.queue.len() > 1 {
            let oldest = link.queue.pop_front().expect("more than one");
            link.queued -= size(&oldest);
            link.dropped += 1;
        }
        self.begin_sending(from, to);
    }

    fn begin_sending(&mut self, from: NodeId, to: NodeId) {
        let (now, speed) = (self.now, self.speed);
        let link = self.link(from, to);
        if let (None, Some(first)) = (link.busy_until, link.queue.front()) {
            link.busy_until = Some(now.after(size(first) as u64 * SECOND / speed));
        }
    }

    fn sent(&mut self, from: NodeId, to: NodeId) {
        let delay = self.delay;
        let link = self.link(from, to);
        link.busy_until = None;
        if let Some(message) = link.queue.pop_front() {
            link.queued -= size(&message);
            link.carried += size(&message) as u64;
            self.later(delay, to, Input::Receive(message));
        }
        self.begin_sending(from, to);
    }
}
