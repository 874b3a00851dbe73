//! Two branches of a run side by side: where they begin to differ, and what has become of each.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::event::Event;
use raft_core::sim::BranchId;
use raft_core::types::{LogIndex, NodeId, Term, Time};
use raft_core::view::ClusterView;

use super::{Effect, Model, Notice, SimEffect};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Comparison {
    /// The moment at which both are looked at: the earlier of their ends.
    pub(crate) at: Time,
    pub(crate) sides: [Side; 2],
}

/// One of the two.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Side {
    pub(crate) branch: BranchId,
    /// The first event that the other does not have; `None` when it ends before one.
    pub(crate) first: Option<Event>,
    pub(crate) leader: Option<NodeId>,
    pub(crate) term: Term,
    pub(crate) committed: LogIndex,
    /// The names of the promises that were broken.
    pub(crate) violated: Vec<String>,
    pub(crate) digest: u64,
    /// The store, as the server has it that has applied most.
    store: BTreeMap<String, String>,
}

/// Keys of the store that are compared at most.
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

impl Model {
    /// Puts two branches side by side; without a choice the current one beside the one that it parted
    /// from, or else the next.
    pub(super) fn compare(&mut self, branches: Option<(BranchId, BranchId)>) -> Vec<Effect> {
        let Some((left, right)) = branches.or_else(|| self.neighbours()) else {
            let words = "There is one branch only. Go back and do something else there, or undo \
                         something, and there are two.";
            self.notice = Some(Notice { words: words.to_owned() });
            return Vec::new();
        };
        self.playback.playing = false;
        vec![Effect::Sim(SimEffect::Compare(left, right))]
    }

    fn neighbours(&self) -> Option<(BranchId, BranchId)> {
        let run = &self.history.run;
        let parent = run.branches.iter().find(|branch| branch.id == run.current);
        let parent = parent.and_then(|branch| branch.parted).map(|(parent, _)| parent);
        let other = parent.or_else(|| run.next_branch());
        other.map(|other| (other, run.current))
    }
}
