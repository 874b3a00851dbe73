//! The state that must survive a crash, and the batches that write it to disk.

use serde::{Deserialize, Serialize};

use crate::log::{Entries, Entry, Payload};
use crate::membership::Membership;
use crate::types::{LogIndex, LogPosition, NodeId, Term, WriteId};

/// Term and vote (figure 2), and the stranger mark. They must be durable before a message that
/// depends on them is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HardState {
    /// The latest term that this server has seen.
    pub current_term: Term,
    /// The candidate that this server voted for in that term.
    pub voted_for: Option<NodeId>,
    /// Set on a stranger: a server that started without any of the cluster's log, and may have
    /// forgotten votes and acknowledgements. It neither votes nor campaigns until it holds an entry
    /// of the current term's leader, at this index or later, and is a learner there. The index is
    /// valid for the current term, and 0 until that term's leader was heard.
    pub stranger_until: Option<LogIndex>,
}

/// One batch for the disk. Batches are applied in the order of their ids. The driver reports a
/// batch with `Input::Persisted` once it and all before it are durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Write {
    /// The number of the batch.
    pub id: WriteId,
    /// Term and vote from this batch on. They become durable with the entries of that term, never
    /// after them.
    pub hard_state: HardState,
    /// First: remove the entry at this index and all after it.
    pub truncate_from: Option<LogIndex>,
    /// Then: remove the entries up to here, which a durable snapshot covers. If the log does not
    /// hold exactly this position, remove all entries. The next entry follows this position.
    pub compact_to: Option<LogPosition>,
    /// Then: append these entries.
    pub entries: Entries,
    /// A lower bound of the commit index, for a faster restart. It never exceeds what this batch
    /// and those before it make durable.
    pub commit_index: LogIndex,
}

/// What a server finds on its disk. The default is a server that has never run.
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
    /// Whether a log without a snapshot names the members, or belongs to a server that still has to
    /// learn them. A founding server knows the members only from its first snapshot, of the empty
    /// state. Without that snapshot it must not start.
    pub fn tells_members(&self) -> bool {
        *self == Self::default()
            || self.hard_state.stranger_until.is_some()
            || self.entries.iter().any(|entry| matches!(entry.payload, Payload::Membership(_)))
    }
}

/// How a new cluster starts. It must be the same on every founding server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The first members. Empty on a server that joins an existing cluster.
    pub membership: Membership,
}
