//! Starts the comparison of two branches.

use raft_core::sim::BranchId;

use super::{Effect, Model, Notice, SimEffect};

impl Model {
    /// Compares two branches. Without a choice, compares the current branch with its parent, or
    /// with the next branch if it has no parent.
    pub(super) fn compare(&mut self, branches: Option<(BranchId, BranchId)>) -> Vec<Effect> {
        let Some((left, right)) = branches.or_else(|| self.neighbours()) else {
            let words =
                "There is only one branch. To begin another, act in the past or undo an action.";
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
