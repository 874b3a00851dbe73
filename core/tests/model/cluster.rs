//! The model: every order in which events can happen in a small cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use raft_core::event::RoleName;
use raft_core::kv::Command;
use raft_core::log::Entry;
use raft_core::message::{Body, Message};
use raft_core::replica::{Input, Proposal};
use raft_core::rules::Mutation;
use raft_core::types::{LogIndex, LogPosition, NodeId, RequestId, Term};
use stateright::{Model, Property};

use crate::server::{Effects, Seen, Server};

/// The bounds of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) servers: u64,
    /// No server campaigns for a later term.
    pub(crate) terms: u64,
    /// How often an election timer may expire.
    pub(crate) timeouts: u64,
    /// The number of client commands.
    pub(crate) proposals: u64,
    /// Crashes, each followed by a restart.
    pub(crate) crashes: u64,
    /// How often a disk stalls, until it resumes or the server crashes. Otherwise it finishes at
    /// once.
    pub(crate) stalls: u64,
    /// Messages that the network loses. (All messages of a link may also stay in transit forever.)
    pub(crate) losses: u64,
    /// Messages that overtake earlier messages on the same link. Those may be late by any time.
    pub(crate) overtakings: u64,
    /// Messages that the network delivers twice.
    pub(crate) duplicates: u64,
    /// Whether PreVote messages (dissertation §9.6) are sent like other messages. Otherwise every
    /// PreVote is granted at once: more elections than are possible, in fewer states.
    pub(crate) pre_votes: bool,
}

/// The model of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) bounds: Bounds,
    pub(crate) mutation: Option<Mutation>,
}

/// A state of the whole cluster. States share the parts that rarely change.
#[derive(Clone)]
pub(crate) struct State {
    servers: Vec<Arc<Server>>,
    /// The messages in transit, by link; on each link in the order in which they were sent.
    network: Vec<Arc<Packet>>,
    timeouts: u64,
    proposals: u64,
    crashes: u64,
    stalls: u64,
    losses: u64,
    overtakings: u64,
    duplicates: u64,
    /// The server whose disk is stalled.
    stalled: Option<NodeId>,
    past: Arc<Past>,
}

/// A message in transit.
#[derive(Debug)]
pub(crate) struct Packet {
    message: Message,
    hash: u64,
}

impl Packet {
    const fn link(&self) -> (NodeId, NodeId) {
        (self.message.from, self.message.to)
    }
}

impl PartialEq for Packet {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

/// Facts that must stay true.
#[derive(Clone, Debug, Default, Hash)]
struct Past {
    leaders: BTreeMap<Term, Vec<NodeId>>,
    /// By index: the entry that a server first considered committed, and that server's term.
    committed: BTreeMap<LogIndex, (Entry, Term)>,
    /// The requests that were acknowledged to clients, and their positions.
    acknowledged: Vec<(RequestId, LogPosition)>,
    /// Two servers considered different entries at one index committed.
    forked: bool,
}

/// An event of the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// A server's election timer expires.
    TimeOut(NodeId),
    /// A disk stalls.
    Stall(NodeId),
    /// The stalled disk resumes and finishes all its writes.
    GoOn(NodeId),
    /// A message arrives.
    Deliver(Arc<Packet>),
    /// A message arrives before earlier messages of the same link.
    Overtake(Arc<Packet>),
    /// A message arrives, and a copy of it stays in transit.
    Duplicate(Arc<Packet>),
    /// A message is lost, and the next message of the link arrives. (A lost message without a next
    /// message is the same as a message that stays in transit.)
    Skip(Arc<Packet>),
    /// A client proposes a command to the server.
    Propose(NodeId),
    /// The server loses power and restarts.
    Crash(NodeId),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeOut(id) => write!(f, "the election timer of {id} runs out"),
            Self::Stall(id) => write!(f, "the disk of {id} stalls"),
            Self::GoOn(id) => write!(f, "the disk of {id} goes on"),
            Self::Deliver(packet) => write!(f, "{packet} arrives"),
            Self::Overtake(packet) => write!(f, "{packet} arrives before earlier ones"),
            Self::Duplicate(packet) => write!(f, "{packet} arrives and will come again"),
            Self::Skip(packet) => write!(f, "one is lost, and after it {packet} arrives"),
            Self::Propose(id) => write!(f, "a client asks {id} for a change"),
            Self::Crash(id) => write!(f, "{id} crashes and restarts"),
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { from, to, term, body, .. } = &self.message;
        write!(f, "{from} -> {to}, term {term}: {body:?}")
    }
}

impl Cluster {
    fn place(id: NodeId) -> usize {
        usize::try_from(id.0 - 1).expect("few servers")
    }

    fn ids(&self) -> impl Iterator<Item = NodeId> {
        (1..=self.bounds.servers).map(NodeId)
    }

    fn may_time_out(&self, state: &State, id: NodeId) -> bool {
        let seen = &state.server(id).seen;
        let campaigns = match seen.role {
            RoleName::Follower | RoleName::Candidate => true,
            // A pre-candidate would ask the same again. A leader has no election timer.
            RoleName::PreCandidate | RoleName::Leader => false,
        };
        // Servers are alike, so the first election can always be that of server 1.
        let first = state.past.leaders.is_empty() && state.is_untouched();
        campaigns && seen.term < Term(self.bounds.terms) && (!first || id == NodeId(1))
    }

    fn time_out(&self, state: &State, id: NodeId) -> (Server, Effects) {
        let (server, mut effects) = state.server(id).step(Input::Tick);
        if self.bounds.pre_votes {
            return (server, effects);
        }
        let Some(question) = effects.messages.pop() else { return (server, effects) };
        let Body::PreVote { next_term, .. } = question.body else {
            unreachable!("an election begins with a question")
        };
        let body = Body::PreVoteReply { next_term, granted: true };
        let (from, to) = (question.to, question.from);
        server.step(Input::Receive(Message { from, to, body, ..question }))
    }

    /// Removes messages that can never have an effect again: losing them leads to the same states.
    /// All but the largest runs verify this. Also lets all disks finish, except for the stalled
    /// disk.
    fn tidy(&self, state: &mut State) {
        let State { servers, network, .. } = &mut *state;
        network.retain(|packet| {
            let receiver = &servers[Self::place(packet.message.to)];
            let deaf = receiver.is_deaf_to(&packet.message);
            if deaf && self.bounds.proposals < 2 {
                let (after, effects) = receiver.step(Input::Receive(packet.message.clone()));
                assert_eq!(after.seen.fingerprint, receiver.seen.fingerprint, "{packet:?}");
                assert_eq!(effects.messages, [], "{packet:?}");
            }
            !deaf
        });
        for id in self.ids() {
            while state.stalled != Some(id) && state.server(id).can_sync() {
                let synced = state.server(id).sync();
                state.follow(id, synced);
            }
        }
    }

    fn start_over(&self, state: &State, id: NodeId) -> (Server, Effects) {
        state.server(id).crash(id, self.bounds.servers, self.mutation)
    }

    fn propose(state: &State, id: NodeId) -> (Server, Effects) {
        let request = RequestId(state.proposals);
        let command = Command::put("x", state.proposals.to_string()).encode();
        state.server(id).step(Input::Propose(vec![Proposal { request, command }]))
    }
}

impl State {
    fn server(&self, id: NodeId) -> &Arc<Server> {
        &self.servers[Cluster::place(id)]
    }

    fn seen(&self) -> impl Iterator<Item = (NodeId, &Seen)> {
        (1..).map(NodeId).zip(self.servers.iter().map(|server| &server.seen))
    }

    fn is_untouched(&self) -> bool {
        self.network.is_empty() && self.seen().all(|(_, seen)| seen.term == Term(0))
    }

    /// Takes the first of equal messages off its link.
    fn take(&mut self, packet: &Packet) {
        let place = self.network.iter().position(|it| **it == *packet);
        self.network.remove(place.expect("it is on its way"));
    }

    fn put(&mut self, message: Message) {
        let hash = hash_of(&message);
        let link = (message.from, message.to);
        let place = self.network.partition_point(|it| it.link() <= link);
        self.network.insert(place, Arc::new(Packet { message, hash }));
    }

    fn receive(&mut self, packet: &Packet) {
        let to = packet.message.to;
        let server = Arc::clone(self.server(to));
        self.follow(to, server.step(Input::Receive(packet.message.clone())));
    }

    /// Applies the result of a server's step.
    fn follow(&mut self, id: NodeId, (server, effects): (Server, Effects)) {
        for message in effects.messages {
            self.put(message);
        }
        let place = Cluster::place(id);
        let before = &self.servers[place].seen;
        let elected = server.seen.role == RoleName::Leader && before.role != RoleName::Leader;
        let committed = server.seen.commit_index > before.commit_index;
        if elected || committed || !effects.acknowledged.is_empty() {
            let past = Arc::make_mut(&mut self.past);
            if elected {
                let leaders = past.leaders.entry(server.seen.term).or_default();
                if !leaders.contains(&id) {
                    leaders.push(id);
                    leaders.sort_unstable();
                }
            }
            past.commit(&server.seen);
            past.acknowledged.extend(effects.acknowledged);
            past.acknowledged.sort_unstable();
        }
        self.servers[place] = Arc::new(server);
    }
}

impl Past {
    fn commit(&mut self, seen: &Seen) {
        for entry in seen.log.iter().filter(|entry| entry.index <= seen.commit_index) {
            let known = self.committed.entry(entry.index).or_insert((entry.clone(), seen.term));
            self.forked |= known.0 != *entry;
        }
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for server in &self.servers {
            server.seen.fingerprint.hash(hasher);
        }
        self.network.len().hash(hasher);
        for packet in &self.network {
            packet.hash.hash(hasher);
        }
        (self.timeouts, self.proposals, self.crashes, self.stalls, self.stalled).hash(hasher);
        (self.losses, self.overtakings, self.duplicates).hash(hasher);
        self.past.hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        hash_of(self) == hash_of(other)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, seen) in self.seen() {
            writeln!(f, "{id}: {:?} of term {}, {:?}", seen.role, seen.term, seen.log)?;
        }
        self.network.iter().try_for_each(|packet| writeln!(f, "{:?}", packet.message))
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let server = |id| Arc::new(Server::new(id, self.bounds.servers, self.mutation));
        vec![State {
            servers: self.ids().map(server).collect(),
            network: Vec::new(),
            timeouts: 0,
            proposals: 0,
            crashes: 0,
            stalls: 0,
            losses: 0,
            overtakings: 0,
            duplicates: 0,
            stalled: None,
            past: Arc::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let bounds = &self.bounds;
        for id in self.ids() {
            let server = state.server(id);
            if state.stalled == Some(id) {
                actions.push(Action::GoOn(id));
            } else if state.stalled.is_none() && state.stalls < bounds.stalls {
                actions.push(Action::Stall(id));
            }
            if state.timeouts < bounds.timeouts && self.may_time_out(state, id) {
                actions.push(Action::TimeOut(id));
            }
            if server.seen.role == RoleName::Leader && state.proposals < bounds.proposals {
                actions.push(Action::Propose(id));
            }
            if state.crashes < bounds.crashes && !state.is_untouched() {
                actions.push(Action::Crash(id));
            }
        }
        let (mut last_link, mut behind) = (None, false);
        for packet in &state.network {
            let link = Some(packet.link());
            if link != last_link {
                actions.push(Action::Deliver(Arc::clone(packet)));
            } else if state.overtakings < bounds.overtakings {
                actions.push(Action::Overtake(Arc::clone(packet)));
            }
            if link == last_link && !behind && state.losses < bounds.losses {
                actions.push(Action::Skip(Arc::clone(packet)));
            }
            behind = link == last_link;
            last_link = link;
            if state.duplicates < bounds.duplicates {
                actions.push(Action::Duplicate(Arc::clone(packet)));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::TimeOut(id) => {
                state.timeouts += 1;
                state.follow(id, self.time_out(before, id));
            }
            Action::Stall(id) => {
                state.stalls += 1;
                state.stalled = Some(id);
            }
            Action::GoOn(_) => state.stalled = None,
            Action::Deliver(packet) => {
                state.take(&packet);
                state.receive(&packet);
            }
            Action::Overtake(packet) => {
                state.overtakings += 1;
                state.take(&packet);
                state.receive(&packet);
            }
            Action::Duplicate(packet) => {
                state.duplicates += 1;
                state.receive(&packet);
            }
            Action::Skip(packet) => {
                state.losses += 1;
                let first = state.network.iter().position(|it| it.link() == packet.link());
                state.network.remove(first.expect("two are on their way"));
                state.take(&packet);
                state.receive(&packet);
            }
            Action::Propose(id) => {
                state.proposals += 1;
                state.follow(id, Self::propose(before, id));
            }
            Action::Crash(id) => {
                state.crashes += 1;
                state.stalled.take_if(|stalled| *stalled == id);
                state.follow(id, self.start_over(before, id));
            }
        }
        self.tidy(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("Election Safety", |_, state: &State| {
                state.past.leaders.values().all(|leaders| leaders.len() == 1)
            }),
            Property::always("Log Matching", |_, state: &State| log_matching(state)),
            Property::always("Leader Completeness", |_, state: &State| leader_completeness(state)),
            Property::always("State Machine Safety", |_, state: &State| !state.past.forked),
            Property::always("Durability", |_, state: &State| durability(state)),
            // Without these, the properties above could hold trivially.
            Property::sometimes("the last term has a leader", |model, state: &State| {
                state.past.leaders.contains_key(&Term(model.bounds.terms))
            }),
            Property::sometimes("all commands are acknowledged", |model, state: &State| {
                state.past.acknowledged.len() as u64 == model.bounds.proposals
            }),
        ]
    }
}

/// Two logs that hold an entry of the same index and term are equal up to it (§5.3).
fn log_matching(state: &State) -> bool {
    state.servers.iter().enumerate().all(|(place, one)| {
        state.servers[place + 1..].iter().all(|other| {
            let pairs = one.seen.log.iter().zip(&other.seen.log);
            let last = pairs.clone().rposition(|(a, b)| a.term == b.term);
            let common = last.map_or(0, |last| last + 1);
            pairs.take(common).all(|(a, b)| a == b)
        })
    })
}

/// A leader holds every entry that was committed in an earlier term (§5.4).
fn leader_completeness(state: &State) -> bool {
    state.seen().filter(|(_, seen)| seen.role == RoleName::Leader).all(|(_, leader)| {
        state
            .past
            .committed
            .values()
            .filter(|(_, term)| *term < leader.term)
            .all(|(entry, _)| leader.log.iter().any(|held| held == entry))
    })
}

/// Every entry that was acknowledged to a client is on the disks of a majority.
fn durability(state: &State) -> bool {
    state.past.acknowledged.iter().all(|(_, position)| {
        let holds = |server: &&Arc<Server>| {
            server.durable_entries().iter().any(|entry| entry.position() == *position)
        };
        2 * state.servers.iter().filter(holds).count() > state.servers.len()
    })
}
