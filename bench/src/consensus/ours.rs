//! This core's consensus without the state machine.

use std::collections::VecDeque;
use std::hint::black_box;

use bytes::Bytes;
use raft_core::config::Config;
use raft_core::consensus::Consensus;
use raft_core::log::{Log, Payload};
use raft_core::membership::Membership;
use raft_core::message::Message;
use raft_core::replica::Output;
use raft_core::types::{NodeId, Time};

use super::{Cluster, Tally};

/// Three servers in a single thread.
pub(super) struct Ours {
    servers: [Server; 3],
    inboxes: [VecDeque<Message>; 3],
    now: Time,
}

struct Server {
    consensus: Consensus,
    /// In-memory log in place of a disk.
    disk: Log,
    handed_out: Tally,
}

/// Array index of a server.
pub(super) fn place(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("three servers")
}

/// The same limits as for raft-rs.
pub(super) fn config() -> Config {
    Config {
        max_batch_bytes: 1 << 20,
        max_in_flight: 256,
        compact_after_entries: u64::MAX,
        compact_after_bytes: u64::MAX,
        ..Config::default()
    }
}

impl Ours {
    /// Creates a cluster whose server 1 leads and has committed the first entry of its term.
    pub(super) fn elected() -> Self {
        let membership = Membership::of((1..=3).map(NodeId));
        let servers = [1, 2, 3].map(|id| {
            let consensus = Consensus::new(NodeId(id), membership.clone(), config(), id);
            Server { consensus, disk: Log::default(), handed_out: Tally::default() }
        });
        let mut cluster = Self { servers, inboxes: Default::default(), now: Time(0) };
        let [first, ..] = &mut cluster.servers;
        cluster.now = first.consensus.deadline().expect("a timer runs");
        first.consensus.tick(cluster.now);
        cluster.settle();
        assert!(cluster.servers[0].consensus.is_leader(), "server 1 was asked to campaign");
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
        let (now, server) = (self.now, &mut self.servers[turn]);
        let mut moved = false;
        while let Some(message) = self.inboxes[turn].pop_front() {
            server.consensus.receive(now, message);
            moved = true;
        }
        loop {
            let mut written = None;
            for output in server.consensus.outputs() {
                moved = true;
                match output {
                    Output::Send(message) => self.inboxes[place(message.to)].push_back(message),
                    Output::Persist(write) => {
                        if let Some(from) = write.truncate_from {
                            server.disk.truncate(from);
                        }
                        server.disk.extend(write.entries);
                        written = Some(write.id);
                    }
                    Output::Respond(..) | Output::SaveSnapshot(_) => {
                        unreachable!("the load causes no such output")
                    }
                }
            }
            let Some(write) = written else { break };
            server.consensus.persisted(now, write);
        }
        for entry in server.consensus.take_committed() {
            if let Payload::Command(command) = &entry.payload {
                server.handed_out.add(black_box(command));
            }
        }
        moved
    }
}

impl Cluster for Ours {
    fn replicate(&mut self, batch: Vec<Vec<u8>>) {
        let commands = batch.into_iter().map(Bytes::from).collect();
        let accepted = self.servers[0].consensus.propose(self.now, commands);
        assert!(accepted, "server 1 leads");
        self.settle();
    }

    fn handed_out(&self) -> [Tally; 3] {
        self.servers.each_ref().map(|server| server.handed_out)
    }
}
