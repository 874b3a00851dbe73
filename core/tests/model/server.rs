//! One server of the model: the real replica, and a disk that keeps synced data.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use raft_core::config::Config;
use raft_core::durable::{Bootstrap, HardState, Recovered, Write};
use raft_core::event::{Outcome, ProgressMode, RoleName};
use raft_core::log::{Entry, Log};
use raft_core::membership::Membership;
use raft_core::message::{AppendResult, Body, Message};
use raft_core::replica::{Input, Output, Replica, Start};
use raft_core::rules::{Mutation, Rules};
use raft_core::types::{LogIndex, LogPosition, NodeId, RequestId, Term, Time, WriteId};

/// The clock stands still.
const NOW: Time = Time(0);

/// With timeouts of zero every timer is always due, so a tick may come at any time. No leader
/// counts as recently heard, so candidates are not rejected before their term is looked at.
fn config() -> Config {
    Config {
        election_timeout_min: 0,
        election_timeout_max: 1,
        heartbeat_interval: 0,
        compact_after_entries: u64::MAX,
        compact_after_bytes: u64::MAX,
        ..Config::default()
    }
}

/// What survives a crash.
#[derive(Clone, Debug, Default, Hash)]
struct Durable {
    hard_state: HardState,
    entries: Vec<Entry>,
    commit_index: LogIndex,
}

#[derive(Clone, Debug)]
pub(crate) struct Server {
    replica: Replica,
    durable: Durable,
    waiting: Vec<Write>,
    /// The state that the properties check, and a hash of everything, computed once after each
    /// step.
    pub(crate) seen: Seen,
}

/// The state that the properties check.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) term: Term,
    pub(crate) role: RoleName,
    /// The whole log, oldest entry first.
    pub(crate) log: Vec<Entry>,
    pub(crate) commit_index: LogIndex,
    /// The match index of each follower, once the leader knows how far the logs agree.
    replicating: BTreeMap<NodeId, LogIndex>,
    pub(crate) fingerprint: u64,
}

/// The messages and answers of a step.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) messages: Vec<Message>,
    /// Requests that were answered as committed and applied, and their positions.
    pub(crate) acknowledged: Vec<(RequestId, LogPosition)>,
}

impl Server {
    /// A server of a cluster of `servers`, before its first run.
    pub(crate) fn new(id: NodeId, servers: u64, mutation: Option<Mutation>) -> Self {
        Self::start(id, servers, mutation, Durable::default()).0
    }

    fn start(
        id: NodeId,
        servers: u64,
        mutation: Option<Mutation>,
        durable: Durable,
    ) -> (Self, Effects) {
        let start = Start {
            id,
            config: config(),
            bootstrap: Bootstrap { membership: Membership::of((1..=servers).map(NodeId)) },
            recovered: Recovered {
                hard_state: durable.hard_state,
                base: LogPosition::ZERO,
                entries: durable.entries.clone(),
                commit_index: durable.commit_index,
            },
            snapshot: None,
            semantics: raft_core::limits::Semantics::LATEST,
            seed: id.0,
            first_seq: 1,
        };
        let replica = Replica::with_rules(start, Rules::breaking(mutation), NOW, false);
        let seen = Seen::of(&replica, 0);
        let mut server = Self { replica, durable, waiting: Vec::new(), seen };
        let effects = server.carry_out();
        (server, effects)
    }

    /// The server loses power and restarts. Unsynced data is lost.
    pub(crate) fn crash(
        &self,
        id: NodeId,
        servers: u64,
        mutation: Option<Mutation>,
    ) -> (Self, Effects) {
        Self::start(id, servers, mutation, self.durable.clone())
    }

    pub(crate) fn step(&self, input: Input) -> (Self, Effects) {
        let mut server = self.clone();
        server.replica.step(NOW, input);
        let effects = server.carry_out();
        (server, effects)
    }

    /// Whether the disk has pending writes.
    pub(crate) fn can_sync(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The disk makes all pending writes durable.
    pub(crate) fn sync(&self) -> (Self, Effects) {
        let mut server = self.clone();
        let mut last = WriteId(0);
        for write in server.waiting.drain(..) {
            last = write.id;
            server.durable.apply(write);
        }
        server.replica.step(NOW, Input::Persisted(last));
        let effects = server.carry_out();
        (server, effects)
    }

    /// Whether a message can never have an effect here again, even after a crash. Its question is
    /// old or settled, or it repeats what is known.
    pub(crate) fn is_deaf_to(&self, message: &Message) -> bool {
        let term = self.durable.hard_state.current_term.min(self.seen.term);
        match message.body {
            Body::PreVoteReply { next_term, .. } => message.term < term || next_term <= term,
            Body::RequestVoteReply { .. } => {
                let settled =
                    self.seen.term == message.term && self.seen.role != RoleName::Candidate;
                message.term < term || settled
            }
            Body::AppendEntriesReply { result: AppendResult::Accepted { match_index }, .. } => {
                let known = self.seen.replicating.get(&message.from);
                let news = known.is_none_or(|known| match_index > *known);
                message.term < term || (self.seen.term == message.term && !news)
            }
            Body::AppendEntriesReply { .. } | Body::InstallSnapshotReply { .. } => {
                message.term < term
            }
            Body::PreVote { .. }
            | Body::RequestVote { .. }
            | Body::AppendEntries { .. }
            | Body::InstallSnapshot { .. }
            | Body::TimeoutNow
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::StateDigest { .. } => false,
        }
    }

    fn carry_out(&mut self) -> Effects {
        let mut effects = Effects::default();
        for output in self.replica.outputs() {
            match output {
                // The content identifies a message, not the time of sending.
                Output::Send(message) => effects.messages.push(Message { seq: 0, ..message }),
                Output::Persist(write) => self.waiting.push(write),
                Output::Respond(request, Outcome::Applied { position, .. }) => {
                    effects.acknowledged.push((request, position));
                }
                Output::Respond(..) => {}
                Output::SaveSnapshot(_) => unreachable!("nothing is compacted"),
            }
        }
        let mut hasher = DefaultHasher::new();
        self.replica.hash_behaviour(&mut hasher);
        self.durable.hash(&mut hasher);
        for write in &self.waiting {
            // The position in the queue already determines the batch's number.
            Write { id: WriteId(0), ..write.clone() }.hash(&mut hasher);
        }
        self.seen = Seen::of(&self.replica, hasher.finish());
        effects
    }

    /// The entries that survive a crash.
    pub(crate) fn durable_entries(&self) -> &[Entry] {
        &self.durable.entries
    }
}

impl Seen {
    fn of(replica: &Replica, fingerprint: u64) -> Self {
        let status = replica.status();
        let log = replica.log();
        Self {
            term: status.term,
            role: status.role,
            log: log.iter().cloned().collect(),
            commit_index: status.commit_index,
            replicating: status
                .peers
                .into_iter()
                .filter(|(_, progress)| progress.mode == ProgressMode::Replicate)
                .map(|(peer, progress)| (peer, progress.match_index))
                .collect(),
            fingerprint,
        }
    }
}

impl Durable {
    fn apply(&mut self, write: Write) {
        self.hard_state = write.hard_state;
        self.commit_index = write.commit_index;
        let mut log = Log::default();
        for entry in self
            .entries
            .drain(..)
            .filter(|it| write.truncate_from.is_none_or(|from| it.index < from))
        {
            log.append(entry);
        }
        log.extend(write.entries);
        self.entries = log.iter().cloned().collect();
    }
}
