//! The position in a run, and the memory of its branches.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use raft_core::event::Event;
use raft_core::sim::{BranchId, BranchInfo, Moment};
use raft_core::types::{NodeId, Time};

use super::cluster::ClusterModel;
use super::failover::LeaderHistory;
use super::feed::Feed;
use super::form::Ask;
use super::lanes::Lanes;
use super::story::Story;
use super::tape::Tape;
use crate::shared::Shared;

/// A destination in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    /// The last moment at this time in the current branch.
    Time(Time),
    /// Before the last step that produced an event.
    Back,
    /// The end of the current branch, as far as it was run.
    End,
    /// Before the last action, in a new branch without it.
    Undo,
    /// This time in another branch.
    Branch(BranchId, Time),
}

/// The branches of a run and the position in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) current: BranchId,
    /// Whether the position is the end of the current branch.
    pub(crate) at_end: bool,
    /// How many actions were taken up to here.
    pub(crate) actions: usize,
    pub(crate) branches: Vec<BranchInfo>,
}

impl Default for Run {
    fn default() -> Self {
        Self { current: BranchId(0), at_end: true, actions: 0, branches: Vec::new() }
    }
}

impl Run {
    /// The branches worth showing. A branch that was left before anything happened in it is hidden.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &BranchInfo> {
        self.branches.iter().filter(|branch| {
            let bare =
                branch.own_actions == 0 && branch.parted.is_some_and(|(_, at)| at == branch.end);
            !bare || branch.id == self.current
        })
    }

    /// The end of the longest branch.
    pub(crate) fn end(&self) -> Time {
        self.branches.iter().map(|branch| branch.end.time).max().unwrap_or(Time(0))
    }

    /// The shown branch after the current branch, or the first branch after the last.
    pub(crate) fn next_branch(&self) -> Option<BranchId> {
        let after = self.shown().map(|branch| branch.id).find(|id| *id > self.current);
        after
            .or_else(|| self.shown().map(|branch| branch.id).next())
            .filter(|id| *id != self.current)
    }
}

/// `A`, `B`, … `Z`, `A1`, …
pub(crate) fn branch_name(branch: BranchId) -> String {
    let letter = char::from(b'A' + u8::try_from(branch.0 % 26).unwrap_or(0));
    match branch.0 / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// What the page said after `number` events of a branch.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    pub(crate) story: Story,
    pub(crate) leaders: LeaderHistory,
    pub(crate) asks: Rc<VecDeque<Ask>>,
}

/// How many turns are kept per branch. Older ones are dropped.
pub(crate) const TURNS: usize = 20_000;

/// The memory of one branch, as far as it was run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// How many events the branch has.
    pub(crate) events: u64,
    pub(crate) tape: Shared<Tape>,
    pub(crate) lanes: Shared<Lanes>,
    pub(crate) turns: VecDeque<Turn>,
    /// Its event list, as of the moment when the branch was left.
    pub(crate) feed: Shared<Feed>,
    pub(crate) violations: usize,
}

impl Past {
    /// The part that is shared with a branch that parted after `number` events.
    pub(crate) fn until(&self, number: u64, violations: usize) -> Self {
        let turns = self.turns.iter().take_while(|turn| turn.number <= number);
        Self {
            events: number,
            tape: Shared::new(self.tape.until(number)),
            lanes: Shared::new(self.lanes.until(number)),
            turns: turns.cloned().collect(),
            feed: self.feed.clone(),
            violations,
        }
    }

    /// What the page said after `number` events.
    pub(crate) fn turn(&self, number: u64) -> Option<&Turn> {
        let after = self.turns.partition_point(|turn| turn.number <= number);
        self.turns.get(after.checked_sub(1)?)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) run: Run,
    /// The time of the oldest moment that is kept.
    pub(crate) begin: Time,
    pub(crate) pasts: BTreeMap<BranchId, Past>,
}

impl History {
    pub(crate) fn past(&mut self) -> &mut Past {
        self.pasts.entry(self.run.current).or_default()
    }

    /// A branch's tape, which the scrubber shows.
    pub(crate) fn tape(&self, branch: BranchId) -> Shared<Tape> {
        self.pasts.get(&branch).map(|past| past.tape.clone()).unwrap_or_default()
    }

    /// The lanes of the servers in the current branch.
    pub(crate) fn lanes(&self) -> Shared<Lanes> {
        self.pasts.get(&self.run.current).map(|past| past.lanes.clone()).unwrap_or_default()
    }

    /// Records a new event.
    pub(crate) fn record(&mut self, event: &Event, cluster: &ClusterModel, now: Time) {
        self.past().lanes.change().observe(event, cluster, now);
    }

    /// Records a change of a server that no event reported.
    pub(crate) fn look(&mut self, node: NodeId, cluster: &ClusterModel, now: Time) {
        self.past().lanes.change().look(node, cluster, now);
    }

    /// Records how far a live cluster has come.
    pub(crate) fn reach(&mut self, end: Moment) {
        if self.run.branches.is_empty() {
            self.begin = end.time;
        }
        self.run.branches = vec![whole(end)];
    }

    /// Drops what happened before this moment.
    pub(crate) fn forget(&mut self, before: Moment) {
        self.begin = before.time;
        self.past().tape.change().forget(before.happened);
    }

    pub(crate) fn is_frontier(&self, number: u64) -> bool {
        self.pasts.get(&self.run.current).is_none_or(|past| past.events <= number)
    }
}

/// The only branch of a recording.
pub(crate) const fn whole(end: Moment) -> BranchInfo {
    BranchInfo { id: BranchId(0), parted: None, end, actions: 0, own_actions: 0 }
}
