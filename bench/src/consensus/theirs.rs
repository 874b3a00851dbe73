//! raft-rs, driven as in its examples.

use std::collections::VecDeque;
use std::hint::black_box;

use raft::prelude::{Entry, EntryType, Message, MessageType};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole};
use raft_core::kv::{Applied, Command, KvStore};

use super::{Cluster, Tally};

/// How a batch is proposed to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A separate proposal for each entry.
    Each,
    /// The same, but unsent append messages are merged.
    BatchAppend,
    /// A single proposal that holds all entries.
    OneMessage,
}

/// Three servers in a single thread.
pub(super) struct RaftRs {
    servers: [Server; 3],
    inboxes: [VecDeque<Message>; 3],
    way: Way,
}

struct Server {
    node: RawNode<MemStorage>,
    application: Application,
}

/// Receives committed entries.
struct Application {
    handed_out: Tally,
    /// The state machine; `None` for consensus alone.
    store: Option<KvStore>,
    /// Requests with uncommitted entries, in log order.
    pending: VecDeque<u64>,
    requests: u64,
    answers: Vec<(u64, Applied)>,
}

impl RaftRs {
    /// Creates a cluster whose server 1 leads and has committed the first entry of its term.
    pub(super) fn elected(way: Way, applies: bool) -> Self {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let servers = [1, 2, 3].map(|id| {
            let config = Config {
                id,
                election_tick: 10,
                heartbeat_tick: 3,
                max_size_per_msg: 1 << 20,
                max_inflight_msgs: 256,
                check_quorum: true,
                pre_vote: true,
                batch_append: way == Way::BatchAppend,
                ..Config::default()
            };
            let storage = MemStorage::new_with_conf_state((vec![1, 2, 3], vec![]));
            let node = RawNode::new(&config, storage, &logger).expect("a valid configuration");
            let application = Application {
                handed_out: Tally::default(),
                store: applies.then(KvStore::default),
                pending: VecDeque::new(),
                requests: 0,
                answers: Vec::new(),
            };
            Server { node, application }
        });
        let mut cluster = Self { servers, inboxes: Default::default(), way };
        cluster.servers[0].node.campaign().expect("a follower may campaign");
        cluster.settle();
        let role = cluster.servers[0].node.raft.state;
        assert_eq!(role, StateRole::Leader, "server 1 was asked to campaign");
        cluster
    }

    /// Lets the servers take turns until no server has work left.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for turn in 0..self.servers.len() {
                moved |= self.turn(turn);
            }
            if !moved {
                return;
            }
        }
    }

    fn turn(&mut self, turn: usize) -> bool {
        let server = &mut self.servers[turn];
        while let Some(message) = self.inboxes[turn].pop_front() {
            server.node.step(message).expect("a correct cluster sends valid messages");
        }
        if !server.node.has_ready() {
            return false;
        }
        let mut ready = server.node.ready();
        send(&mut self.inboxes, ready.take_messages());
        server.application.take(ready.take_committed_entries());
        let store = server.node.raft.raft_log.store.clone();
        if !ready.entries().is_empty() {
            store.wl().append(ready.entries()).expect("entries follow each other");
        }
        if let Some(hard_state) = ready.hs() {
            store.wl().set_hardstate(hard_state.clone());
        }
        send(&mut self.inboxes, ready.take_persisted_messages());
        let mut light = server.node.advance(ready);
        if let Some(commit) = light.commit_index() {
            store.wl().mut_hard_state().commit = commit;
        }
        send(&mut self.inboxes, light.take_messages());
        server.application.take(light.take_committed_entries());
        server.node.advance_apply();
        true
    }

    /// Proposes all entries in a single message of the kind that `propose` creates for each entry.
    fn propose_at_once(&mut self, batch: Vec<Vec<u8>>) {
        let entries = batch.into_iter().map(|data| Entry { data, ..Entry::default() }).collect();
        let mut message = Message { from: 1, entries, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        self.servers[0].node.step(message).expect("server 1 leads");
    }
}

fn send(inboxes: &mut [VecDeque<Message>; 3], messages: Vec<Message>) {
    for message in messages {
        let place = usize::try_from(message.to - 1).expect("three servers");
        inboxes[place].push_back(message);
    }
}

impl Application {
    fn take(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            // The first entry of a term is empty.
            if entry.data.is_empty() || entry.get_entry_type() != EntryType::EntryNormal {
                continue;
            }
            self.handed_out.add(black_box(&entry.data));
            let Some(store) = &mut self.store else { continue };
            let command = Command::decode(&entry.data).expect("an encoded command can be decoded");
            let applied = store.apply(command);
            if let Some(request) = self.pending.pop_front() {
                self.answers.push((request, applied));
            }
        }
    }
}

impl Cluster for RaftRs {
    fn replicate(&mut self, batch: Vec<Vec<u8>>) {
        let leader = &mut self.servers[0];
        if leader.application.store.is_some() {
            for _ in &batch {
                leader.application.requests += 1;
                leader.application.pending.push_back(leader.application.requests);
            }
        }
        match self.way {
            Way::OneMessage => self.propose_at_once(batch),
            Way::Each | Way::BatchAppend => {
                for data in batch {
                    leader.node.propose(Vec::new(), data).expect("server 1 leads");
                }
            }
        }
        self.settle();
        black_box(self.servers[0].application.answers.drain(..).count());
    }

    fn handed_out(&self) -> [Tally; 3] {
        self.servers.each_ref().map(|server| {
            let application = &server.application;
            assert!(application.pending.is_empty(), "every client has its answer");
            if let Some(store) = &application.store {
                assert_eq!(application.handed_out.commands, store.revision(), "a change a command");
            }
            application.handed_out
        })
    }
}
