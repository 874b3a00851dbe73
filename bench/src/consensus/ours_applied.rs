//! Whole replicas of this core, with the state machine.

use std::collections::VecDeque;

use bytes::Bytes;
use raft_core::durable::{Bootstrap, Recovered};
use raft_core::event::{Outcome, RoleName};
use raft_core::log::{Log, Payload};
use raft_core::membership::Membership;
use raft_core::message::Message;
use raft_core::replica::{Input, Output, Proposal, Replica, Start};
use raft_core::types::{NodeId, RequestId, Time};

use super::ours::{config, place};
use super::{Cluster, Tally};

/// Three servers in a single thread.
pub(super) struct Ours {
    servers: [Server; 3],
    inboxes: [VecDeque<Message>; 3],
    now: Time,
    requests: u64,
    answers: u64,
}

struct Server {
    replica: Replica,
    /// In-memory log in place of a disk.
    disk: Log,
}

impl Ours {
    /// Creates a cluster whose server 1 leads and has committed the first entry of its term.
    pub(super) fn elected() -> Self {
        let membership = Membership::of((1..=3).map(NodeId));
        let servers = [1, 2, 3].map(|id| {
            let start = Start {
                id: NodeId(id),
                config: config(),
                bootstrap: Bootstrap { membership: membership.clone() },
                recovered: Recovered::default(),
                snapshot: None,
                semantics: raft_core::limits::Semantics::LATEST,
                seed: id,
                first_seq: 1,
            };
            Server { replica: Replica::new(start, Time(0), false), disk: Log::default() }
        });
        let inboxes = Default::default();
        let mut cluster = Self { servers, inboxes, now: Time(0), requests: 0, answers: 0 };
        let [first, ..] = &mut cluster.servers;
        cluster.now = first.replica.deadline().expect("a timer runs");
        first.replica.step(cluster.now, Input::Tick);
        cluster.settle();
        let role = cluster.servers[0].replica.status().role;
        assert_eq!(role, RoleName::Leader, "server 1 was asked to campaign");
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
            server.replica.step(now, Input::Receive(message));
            moved = true;
        }
        loop {
            let mut written = None;
            for output in server.replica.outputs() {
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
                    Output::Respond(_, outcome) => {
                        self.answers += u64::from(matches!(outcome, Outcome::Applied { .. }));
                    }
                    Output::SaveSnapshot(_) => unreachable!("the load causes no such output"),
                }
            }
            let Some(write) = written else { return moved };
            server.replica.step(now, Input::Persisted(write));
        }
    }
}

impl Cluster for Ours {
    fn replicate(&mut self, batch: Vec<Vec<u8>>) {
        let proposals = batch.into_iter().map(|command| {
            self.requests += 1;
            Proposal { request: RequestId(self.requests), command: Bytes::from(command) }
        });
        let proposals = proposals.collect();
        self.servers[0].replica.step(self.now, Input::Propose(proposals));
        self.settle();
    }

    /// Counts what each server has applied in the log that it wrote, because the state machine does
    /// not keep commands.
    fn handed_out(&self) -> [Tally; 3] {
        assert_eq!(self.answers, self.requests, "every client has its answer");
        self.servers.each_ref().map(|server| {
            let applied = server.replica.last_applied().index;
            let mut tally = Tally::default();
            for entry in server.disk.iter().filter(|entry| entry.index <= applied) {
                if let Payload::Command(command) = &entry.payload {
                    tally.add(command);
                }
            }
            assert_eq!(tally.commands, server.replica.store().revision(), "a change a command");
            tally
        })
    }
}
