//! Compares two branches of a run: where they diverge, and the final state of each.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::event::Event;
use raft_core::sim::BranchId;
use raft_core::types::{LogIndex, NodeId, Term, Time};
use raft_core::view::ClusterView;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    /// The time at which both branches are compared: the earlier of their ends.
    pub(crate) at: Time,
    pub(crate) sides: [Side; 2],
}

/// One of the two branches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Side {
    pub(crate) branch: BranchId,
    /// The first event that the other branch does not have. `None` if this branch ends before that.
    pub(crate) first: Option<Event>,
    pub(crate) leader: Option<NodeId>,
    pub(crate) term: Term,
    pub(crate) committed: LogIndex,
    /// The names of the violated properties.
    pub(crate) violated: Vec<String>,
    pub(crate) digest: u64,
    /// The store of the server that has applied the most entries.
    store: BTreeMap<String, String>,
}

/// The maximum number of keys that are compared.
const KEYS: usize = 6;

impl Side {
    pub(crate) fn of(
        branch: BranchId,
        first: Option<Event>,
        view: &ClusterView,
        violated: Vec<String>,
        digest: u64,
    ) -> Self {
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let newest = view.nodes.values().max_by_key(|node| node.last_applied);
        let pairs = newest.into_iter().flat_map(|node| node.store.iter());
        Self {
            branch,
            first,
            leader: view.leader(),
            term: view.term(),
            committed: view.nodes.values().map(|node| node.commit_index).max().unwrap_or_default(),
            violated,
            digest,
            store: pairs.map(|(key, value)| (words(key), words(&value.value))).collect(),
        }
    }
}

impl Comparison {
    /// Keys whose values differ, with both values.
    pub(crate) fn keys(&self) -> Vec<(&str, [Option<&str>; 2])> {
        let [left, right] = self.sides.each_ref().map(|side| &side.store);
        let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        let values = keys.into_iter().map(|key| {
            (key.as_str(), [left, right].map(|store| store.get(key).map(String::as_str)))
        });
        values.filter(|(_, [left, right])| left != right).take(KEYS).collect()
    }
}
