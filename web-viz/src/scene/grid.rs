//! The logs side by side: one row per server, one column per index.

use std::collections::BTreeMap;

use raft_core::kv::Command;
use raft_core::log::{Entry, Payload};
use raft_core::types::{LogIndex, NodeId, Term};
use raft_core::view::NodeView;

use crate::domain::cluster::{ClusterModel, names};

/// The maximum number of columns. A browser lays out a few hundred thousand, but a server that was
/// down for long may be behind by more.
const MOST: u64 = 10_000;

/// The range of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) first: LogIndex,
    /// One past the end of the longest log: the index that is sent next.
    pub(crate) last: LogIndex,
}

impl Columns {
    pub(crate) fn of(cluster: &ClusterModel) -> Self {
        let nodes = || cluster.view.nodes.values();
        let first =
            |node: &NodeView| node.entries.front().map_or(node.last.index.next(), |e| e.index);
        let last = nodes().map(|node| node.last.index).max().unwrap_or_default().next();
        // If a log was compacted, the last compacted column is shown, hatched.
        let first = nodes().map(first).min().unwrap_or(LogIndex(1)).previous();
        Self { first: first.max(LogIndex(last.0.saturating_sub(MOST))).max(LogIndex(1)), last }
    }

    pub(crate) fn count(self) -> u64 {
        self.last.0 + 1 - self.first.0
    }
}

/// What a server has at an index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// The log does not reach this index.
    Empty {
        /// The leader will send this index next.
        next: bool,
    },
    /// A snapshot covers this index.
    Compacted,
    /// An entry that the page was not told about.
    Untold,
    Entry(EntryCell),
}

/// An entry as a cell shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EntryCell {
    pub(crate) term: Term,
    /// The entry's payload, on one line.
    pub(crate) words: String,
    /// The same on two lines: usually the key and, as `becomes`, its new value.
    pub(crate) about: String,
    pub(crate) becomes: Option<String>,
    pub(crate) state: EntryState,
    pub(crate) durable: bool,
    /// The leader knows that this server's log matches its own up to this index.
    pub(crate) matched: bool,
    /// The leader will send this index next.
    pub(crate) next: bool,
}

/// The state of an entry on one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryState {
    Proposed,
    Committed,
    Applied,
}

/// What `node` has at `index`.
pub(crate) fn cell(cluster: &ClusterModel, node: NodeId, index: LogIndex) -> Cell {
    let Some(server) = cluster.node(node) else { return Cell::Empty { next: false } };
    let progress = cluster
        .leader()
        .and_then(|leader| cluster.node(leader))
        .and_then(|leader| leader.progress.get(&node));
    let next = progress.is_some_and(|progress| progress.next_index == index);
    if index > server.last.index {
        return Cell::Empty { next };
    }
    if index <= server.base.index {
        return Cell::Compacted;
    }
    let Some(entry) = server.entry(index) else { return Cell::Untold };
    let (about, becomes) = on_two_lines(&entry.payload);
    Cell::Entry(EntryCell {
        term: entry.term,
        words: entry.payload.to_string(),
        about,
        becomes,
        state: state(server, index),
        durable: index <= server.durable_index,
        matched: progress.is_some_and(|progress| progress.match_index == index),
        next,
    })
}

fn on_two_lines(payload: &Payload) -> (String, Option<String>) {
    let command = match payload {
        Payload::Noop | Payload::Membership(_) => return (payload.to_string(), None),
        Payload::Command(bytes) => Command::decode(bytes),
    };
    // Cells are narrow; their title shows the whole text.
    let short = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(24).collect();
    match command {
        Ok(Command::Put { key, value, .. } | Command::CompareAndSet { key, value, .. }) => {
            (short(&key), Some(short(&value)))
        }
        Ok(Command::Delete { key }) => (short(&key), Some("deleted".to_owned())),
        Ok(
            Command::DeleteRange(_)
            | Command::Transaction(_)
            | Command::GrantLease { .. }
            | Command::KeepLeaseAlive(_)
            | Command::RevokeLease(_)
            | Command::OpenSession { .. }
            | Command::CloseSession(_)
            | Command::InSession { .. }
            | Command::Once { .. }
            | Command::AdvanceClock { .. }
            | Command::RaiseSemantics { .. },
        )
        | Err(_) => (payload.to_string(), None),
    }
}

fn state(server: &NodeView, index: LogIndex) -> EntryState {
    if index <= server.last_applied {
        EntryState::Applied
    } else if index <= server.commit_index {
        EntryState::Committed
    } else {
        EntryState::Proposed
    }
}

/// The voters that count for an index: their disks hold the same entry at that index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quorum {
    pub(crate) holders: Vec<NodeId>,
    pub(crate) voters: usize,
    /// The size of a majority.
    pub(crate) needed: usize,
}

impl Quorum {
    pub(crate) fn is_reached(&self) -> bool {
        self.holders.len() >= self.needed
    }
}

/// The voters that count at an index. If entries differ in term, only those of the newest term
/// count.
pub(crate) fn quorum(cluster: &ClusterModel, index: LogIndex) -> Quorum {
    let nodes = || cluster.view.nodes.iter();
    let newest = nodes().filter_map(|(_, node)| node.entry(index)).map(|entry| entry.term).max();
    let voters = cluster.voters();
    let holds = |(id, node): &(&NodeId, &NodeView)| {
        let covered = index > LogIndex(0) && index <= node.base.index;
        let same = node.entry(index).is_some_and(|entry| Some(entry.term) == newest);
        voters.contains(id) && (covered || (same && index <= node.durable_index))
    };
    let holders = nodes().filter(holds).map(|(id, _)| *id).collect();
    Quorum { holders, voters: voters.len(), needed: cluster.majority() }
}

/// Which servers hold which entry at an index, in words: the answer to "is it safe?".
pub(crate) fn column_words(cluster: &ClusterModel, index: LogIndex) -> String {
    let mut holders: BTreeMap<Term, (Vec<NodeId>, Vec<NodeId>, Entry)> = BTreeMap::new();
    let mut compacted = Vec::new();
    for (id, node) in &cluster.view.nodes {
        if index > LogIndex(0) && index <= node.base.index {
            compacted.push(*id);
        } else if let Some(entry) = node.entry(index) {
            let held = holders
                .entry(entry.term)
                .or_insert_with(|| (Vec::new(), Vec::new(), entry.clone()));
            held.0.push(*id);
            if index <= node.durable_index {
                held.1.push(*id);
            }
        }
    }
    let mut parts = vec![format!("Index {index}")];
    for (term, (holding, durable, entry)) in holders.into_iter().rev() {
        let committed = index <= cluster.committed();
        let majority = durable.len() >= cluster.majority();
        let verdict = if committed {
            "committed"
        } else if majority {
            "on a majority of disks; the leader will commit it"
        } else {
            "not committed"
        };
        parts.push(format!(
            "“{}” of term {term}: held by {}, on the disk of {} of {} — {verdict}",
            entry.payload,
            names(holding),
            durable.len(),
            cluster.voters().len()
        ));
    }
    if !compacted.is_empty() {
        parts.push(format!("in the snapshot of {}", names(compacted)));
    }
    if parts.len() == 1 {
        parts.push("no server holds it yet".to_owned());
    }
    parts.join(". ")
}

#[cfg(test)]
mod tests {
    use raft_core::event::{CommitReason, EventKind};
    use raft_core::types::{LogPosition, WriteId};

    use super::*;
    use crate::domain::testing::Script;

    fn append(script: Script, node: u64, index: u64, words: &str) -> Script {
        let payload = Payload::Command(Command::put("x", words.to_owned()).encode());
        let entry = Entry { index: LogIndex(index), term: Term(1), payload };
        let last = entry.position();
        script.event(node, EventKind::EntriesAppended { last, entries: vec![entry].into() })
    }

    fn durable(script: Script, node: u64, index: u64) -> Script {
        let durable_index = LogIndex(index);
        script.event(node, EventKind::WritePersisted { write: WriteId(1), durable_index })
    }

    fn entry_cell(cluster: &ClusterModel, node: u64, index: u64) -> EntryCell {
        let Cell::Entry(cell) = cell(cluster, NodeId(node), LogIndex(index)) else {
            panic!("S{node} has no entry at {index}")
        };
        cell
    }

    /// Guards that the matrix stays small enough for browsers: if a server is far behind, only the
    /// newest columns are shown.
    #[test]
    fn a_log_that_is_far_behind_does_not_stretch_the_matrix() {
        let script = append(Script::new(3).leader(1, 1), 2, 1, "1");
        assert_eq!(Columns::of(&script.cluster()).count(), 2);
        let columns = Columns::of(&append(script, 1, 5_000_000, "2").cluster());
        assert_eq!((columns.last, columns.count()), (LogIndex(5_000_001), MOST + 1));
    }

    /// Guards the marks that distinguish proposed, committed and applied entries.
    #[test]
    fn a_cell_goes_from_proposed_to_committed_to_applied() {
        let script = append(Script::new(3).leader(1, 1), 1, 1, "1");
        let proposed = entry_cell(&script.cluster(), 1, 1);
        assert_eq!((proposed.state, proposed.durable), (EntryState::Proposed, false));
        assert_eq!(proposed.words, "x = 1");
        assert_eq!((&*proposed.about, proposed.becomes.as_deref()), ("x", Some("1")));
        let script = durable(script, 1, 1);
        assert!(entry_cell(&script.cluster(), 1, 1).durable);
        let why = CommitReason::LeaderCommit;
        let (from, to) = (LogIndex(0), LogIndex(1));
        let script = script.event(1, EventKind::CommitAdvanced { from, to, why });
        assert_eq!(entry_cell(&script.cluster(), 1, 1).state, EntryState::Committed);
        let applied =
            EventKind::Applied { position: LogPosition::new(1, 1), digest: 0, revision: 0 };
        assert_eq!(
            entry_cell(&script.event(1, applied).cluster(), 1, 1).state,
            EntryState::Applied
        );
    }

    /// Guards the ends of the grid: compacted entries are hatched, not empty, and the next index
    /// has a column.
    #[test]
    fn the_grid_reaches_from_the_snapshot_to_the_next_index() {
        let mut script = Script::new(3).leader(1, 1);
        for index in 1..=6 {
            script = append(script, 1, index, "1");
        }
        let all = Columns::of(&script.cluster());
        assert_eq!((all.first, all.last), (LogIndex(1), LogIndex(7)));
        let cluster = (2..=3)
            .fold(script, |script, node| {
                (1..=6).fold(script, |script, index| append(script, node, index, "1"))
            })
            .event(1, EventKind::LogCompacted { to: LogPosition::new(1, 4) })
            .event(2, EventKind::LogCompacted { to: LogPosition::new(1, 4) })
            .event(3, EventKind::LogCompacted { to: LogPosition::new(1, 3) })
            .cluster();
        assert_eq!(cell(&cluster, NodeId(1), LogIndex(4)), Cell::Compacted);
        assert_eq!(cell(&cluster, NodeId(1), LogIndex(7)), Cell::Empty { next: false });
        assert_eq!(Columns::of(&cluster).first, LogIndex(3));
    }

    /// Guards that only entries on disk and of the newest term count in a chosen column.
    #[test]
    fn only_disks_that_hold_the_same_entry_count() {
        let script = append(append(Script::new(3).leader(1, 1), 1, 1, "1"), 2, 1, "1");
        let script = durable(script, 1, 1);
        let before = quorum(&script.cluster(), LogIndex(1));
        assert_eq!((before.holders.clone(), before.needed), (vec![NodeId(1)], 2));
        assert!(!before.is_reached());
        let script = durable(script, 2, 1);
        assert!(quorum(&script.cluster(), LogIndex(1)).is_reached());
        let (index, term) = (LogIndex(1), Term(2));
        let newer = Entry { index, term, payload: Payload::Noop };
        let last = newer.position();
        let script =
            script.event(3, EventKind::EntriesAppended { last, entries: vec![newer].into() });
        assert!(quorum(&script.cluster(), LogIndex(1)).holders.is_empty());
    }

    /// Guards the sentence that answers whether an entry is safe.
    #[test]
    fn a_column_tells_who_holds_it() {
        let script = append(append(Script::new(3).leader(1, 1), 1, 1, "1"), 2, 1, "1");
        let cluster = durable(script, 1, 1).cluster();
        assert_eq!(
            column_words(&cluster, LogIndex(1)),
            "Index 1. “x = 1” of term 1: held by S1 and S2, on the disk of 1 of 3 — not committed"
        );
        assert_eq!(column_words(&cluster, LogIndex(2)), "Index 2. no server holds it yet");
    }
}
