//! What a server must find again after a crash, and the batches that make it so.

use serde::{Deserialize, Serialize};

use crate::log::{Entries, Entry, Payload};
use crate::membership::Membership;
use crate::types::{LogIndex, LogPosition, NodeId, Term, WriteId};

/// The two fields of figure 2 that must be durable before a server speaks of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term that this server has seen.
    pub current_term: Term,
    /// The candidate that got its vote in that term.
    pub voted_for: Option<NodeId>,
    /// Set on a server that began without anything of the cluster's log: it may have voted and
    /// acknowledged in an earlier life and forgotten it. It neither votes nor campaigns until a
    /// configuration after this index turns it from a learner into a voter.
    pub stranger_until: Option<LogIndex>,
}

/// One batch for the disk. Batches are applied in the order of their ids; the driver reports each
/// with `Input::Persisted` once it and all before it are durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Write {
    /// Its number.
    pub id: WriteId,
    /// Term and vote from this batch on; they go to disk with the entries of that term, never
    /// after them.
    pub hard_state: HardState,
    /// First: forget the entry at this index and all after it.
    pub truncate_from: Option<LogIndex>,
    /// Then: forget the entries up to here, which a durable snapshot covers. Where the log does
    /// not hold this very position, nothing of it remains and the next entry follows it.
    pub compact_to: Option<LogPosition>,
    /// Then: append these.
    pub entries: Entries,
    /// A lower bound of the commit index, for a faster restart; never beyond what this batch and
    /// those before it make durable.
    pub commit_index: LogIndex,
}

/// What a server finds on its disk. The default is a server that never ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Term and vote.
    pub hard_state: HardState,
    /// The position before the first entry.
    pub base: LogPosition,
    /// The entries after `base`.
    pub entries: Vec<Entry>,
    /// The last commit index that was written.
    pub commit_index: LogIndex,
}

impl Recovered {
    /// Whether a log without a snapshot tells who the members are, or belongs to a server that has yet
    /// to learn it. A server that founded its cluster has it from its first snapshot, of the empty
    /// state, and from nothing else: without that it must not start.
    pub fn tells_members(&self) -> bool {
        *self == Self::default()
            || self.hard_state.stranger_until.is_some()
            || self.entries.iter().any(|entry| matches!(entry.payload, Payload::Membership(_)))
    }
}

/// How a new cluster starts, the same on every server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The first members. Empty on a server that is to join a cluster that exists.
    pub membership: Membership,
}
