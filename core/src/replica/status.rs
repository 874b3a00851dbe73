//! The status of a replica, and its state for displays.

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

/// A server's state in figures, cheap enough to collect after every batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The ID of the server.
    pub id: NodeId,
    /// The role of the server.
    pub role: RoleName,
    /// The current term of the server.
    pub term: Term,
    /// The candidate that got the server's vote in that term.
    pub voted_for: Option<NodeId>,
    /// The leader of that term, if the server knows it.
    pub leader: Option<NodeId>,
    /// The members of the cluster.
    pub membership: Membership,
    /// The position before the first log entry.
    pub base: LogPosition,
    /// The position of the last log entry.
    pub last: LogPosition,
    /// The last durable log index.
    pub durable_index: LogIndex,
    /// The commit index.
    pub commit_index: LogIndex,
    /// The last entry that was applied to the state.
    pub last_applied: LogPosition,
    /// The digest of that state.
    pub digest: u64,
    /// The state machine rules of that state.
    pub semantics: Semantics,
    /// The revision of the state.
    pub revision: u64,
    /// The number of keys.
    pub keys: u64,
    /// The total length of all keys and values, in bytes.
    pub state_bytes: u64,
    /// The approximate memory of the whole state, in bytes.
    pub state_memory: u64,
    /// The number of log entries in memory.
    pub log_entries: u64,
    /// The approximate size of these entries, in bytes.
    pub log_bytes: u64,
    /// The last index that a durable snapshot covers; 0 for none.
    pub snapshot_index: LogIndex,
    /// Failed attempts to save a snapshot since the last success.
    pub snapshot_failures: u32,
    /// The time until the next attempt, in µs; `None` if the last attempt did not fail.
    pub snapshot_retry_in: Option<Micros>,
    /// The number of followers that are receiving a snapshot.
    pub transfers: u64,
    /// The number of requests that wait for their commit.
    pub pending: u64,
    /// A leader's view of its followers; empty on other servers.
    pub peers: BTreeMap<NodeId, ProgressState>,
    /// Whether the server has stopped permanently: its disk failed, it does not know a committed
    /// command, or a majority has another state.
    pub halted: bool,
    /// Messages of peers that were rejected since the start. A correct server sends none of them.
    pub refused_messages: u64,
    /// The sender of the latest rejected message, and the reason.
    pub latest_refused: Option<(NodeId, MessageRefusal)>,
    /// The members whose state differed from this server's at their last comparison.
    pub differing: Vec<NodeId>,
    /// The number of digests of members that differed from this server's since the start.
    pub differences: u64,
    /// The latest difference.
    pub latest_difference: Option<Difference>,
}

impl Replica {
    /// Collects the figures of the server.
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

    /// The state of the server for a display: the latest entries and the first pairs.
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
