//! What a replica says of itself.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Difference, Replica};
use crate::event::{
    MessageRefusal, NodeState, ProgressState, RoleName, STATE_ENTRIES, STATE_PAIRS,
};
use crate::kv::Pair;
use crate::limits::Semantics;
use crate::membership::Membership;
use crate::types::{LogIndex, LogPosition, Micros, NodeId, Term};

/// A server's state in figures, cheap enough to be taken after every batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Who it is.
    pub id: NodeId,
    /// Its role.
    pub role: RoleName,
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// The leader of that term, as far as it knows.
    pub leader: Option<NodeId>,
    /// The members of the cluster.
    pub membership: Membership,
    /// The position before its first log entry.
    pub base: LogPosition,
    /// Its last log entry.
    pub last: LogPosition,
    /// The last durable log index.
    pub durable_index: LogIndex,
    /// Its commit index.
    pub commit_index: LogIndex,
    /// The last entry that its state holds.
    pub last_applied: LogPosition,
    /// The digest of that state.
    pub digest: u64,
    /// The rules by which it was made.
    pub semantics: Semantics,
    /// The state's revision.
    pub revision: u64,
    /// How many keys the state has.
    pub keys: u64,
    /// The lengths of all keys and values, in bytes.
    pub state_bytes: u64,
    /// About how much memory the whole state takes, in bytes.
    pub state_memory: u64,
    /// Log entries in memory.
    pub log_entries: u64,
    /// About how many bytes they take.
    pub log_bytes: u64,
    /// The last index that a durable snapshot covers; 0 for none.
    pub snapshot_index: LogIndex,
    /// Attempts to save a snapshot that have failed since the last that succeeded.
    pub snapshot_failures: u32,
    /// In how many µs the next attempt follows; `None` when the last one did not fail.
    pub snapshot_retry_in: Option<Micros>,
    /// States that are kept for followers which are receiving them.
    pub transfers: u64,
    /// Requests that wait for their commit.
    pub pending: u64,
    /// A leader's view of its followers; empty elsewhere.
    pub peers: BTreeMap<NodeId, ProgressState>,
    /// Whether it has stopped for good: its disk failed, it does not know a committed command, or a
    /// majority has another state.
    pub halted: bool,
    /// Messages of peers that were refused since the start: no correct server sends them.
    pub refused_messages: u64,
    /// Who sent the latest of them, and what was wrong with it.
    pub latest_refused: Option<(NodeId, MessageRefusal)>,
    /// The members whose state differed from this server's after the same entry when they were
    /// compared last.
    pub differing: Vec<NodeId>,
    /// Digests of members that differed from this server's since the start.
    pub differences: u64,
    /// The latest of them.
    pub latest_difference: Option<Difference>,
}

impl Replica {
    /// The server in figures.
    pub fn status(&self) -> Status {
        let node = &self.node;
        let (snapshot_failures, snapshot_retry_in) = self.compaction.trouble(node.now());
        Status {
            id: node.id,
            role: node.role().name(),
            term: node.current_term(),
            voted_for: node.hard_state.voted_for,
            leader: node.leader(),
            membership: node.membership().clone(),
            base: node.log.base(),
            last: node.log.last(),
            durable_index: node.durable_index(),
            commit_index: node.commit_index,
            last_applied: self.last_applied,
            digest: self.store.digest(),
            semantics: self.store.semantics(),
            revision: self.store.revision(),
            keys: self.store.len() as u64,
            state_bytes: self.store.bytes(),
            state_memory: self.store.memory(),
            log_entries: node.log.len() as u64,
            log_bytes: node.log.bytes() as u64,
            snapshot_index: self.snapshot_index(),
            snapshot_failures,
            snapshot_retry_in,
            transfers: self.transfers.len() as u64,
            pending: self.pending.len() as u64,
            peers: self.peers().collect(),
            halted: node.halted,
            refused_messages: node.refused.count,
            latest_refused: node.refused.latest,
            differing: self.comparison.differing(node.membership()).collect(),
            differences: self.comparison.count,
            latest_difference: self.comparison.latest,
        }
    }

    /// The server as a screen wants it.
    pub fn state(&self) -> NodeState {
        let node = &self.node;
        let first = node.log.last().index.0.saturating_sub(STATE_ENTRIES as u64);
        let first = LogIndex(first).max(node.log.base().index).next();
        let pairs = self.store.iter().take(STATE_PAIRS);
        NodeState {
            role: node.role().name(),
            term: node.current_term(),
            voted_for: node.hard_state.voted_for,
            leader: node.leader(),
            membership: node.membership().clone(),
            base: node.log.base(),
            last: node.log.last(),
            entries: node.log.from(first).cloned().collect(),
            durable_index: node.durable_index(),
            commit_index: node.commit_index,
            last_applied: self.last_applied.index,
            digest: self.store.digest(),
            revision: self.store.revision(),
            pairs: pairs
                .map(|(key, value)| Pair { key: key.clone(), value: value.clone() })
                .collect(),
            timekeeping: self.store.timekeeping(STATE_PAIRS),
            timer: Some((node.timer.timer, node.timer.due, node.timer.span)),
            progress: self.peers().collect(),
        }
    }

    fn peers(&self) -> impl Iterator<Item = (NodeId, ProgressState)> + '_ {
        self.node.progress().into_iter().flatten().map(|(peer, progress)| (*peer, progress.state()))
    }
}
