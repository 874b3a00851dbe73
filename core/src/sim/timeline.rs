//! A run that can go back in time. An action in the past starts a new branch, and both futures
//! stay.
//!
//! A timeline keeps only the journal of each branch and some checkpoints. To reach a moment, it
//! runs again from the nearest earlier checkpoint, with exactly the same events.

mod target;
mod walk;

use std::collections::BTreeMap;

use super::{Action, ActionError, JournalEntry, Moment, SimConfig, Simulation};
use crate::event::Event;
use crate::types::{RequestId, Time};
use crate::view::ClusterView;
use target::Target;
use walk::Walk;

/// The number of events between two new checkpoints.
const DISTANCE: u64 = 4_000;

/// The number of checkpoints per branch. Beyond it, checkpoints far in the past are thinned out.
const CHECKPOINTS: usize = 32;

/// The number of a branch of a timeline, in the order of creation.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct BranchId(pub u64);

/// A summary of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// The branch's number.
    pub id: BranchId,
    /// The parent branch and the moment of parting; `None` for the first branch.
    pub parted: Option<(BranchId, Moment)>,
    /// How far the branch has been run.
    pub end: Moment,
    /// The number of actions in the branch.
    pub actions: usize,
    /// The number of actions that the parent branch does not share.
    pub own_actions: usize,
}

/// The first event in which two branches differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The event in the left branch; `None` if that branch ends earlier.
    pub left: Option<Event>,
    /// The event in the right branch; `None` if that branch ends earlier.
    pub right: Option<Event>,
}

/// A run with its branches and its present moment.
#[derive(Clone, Debug)]
pub struct Timeline {
    config: SimConfig,
    branches: Vec<Branch>,
    current: BranchId,
    present: Point,
    /// The events since they were last taken.
    events: Vec<Event>,
    /// The events that led to the present at the last jump.
    lead_up: Vec<Event>,
}

#[derive(Clone, Debug)]
struct Branch {
    parted: Option<(BranchId, Moment)>,
    /// All actions of the branch, including those that its parent shares.
    journal: Vec<JournalEntry>,
    /// How many of the actions the parent shares.
    shared: usize,
    end: Moment,
    /// By the number of events before each checkpoint.
    checkpoints: BTreeMap<u64, Point>,
}

/// A state of the run: the cluster, and the view of it for a screen.
#[derive(Clone, Debug)]
struct Point {
    simulation: Simulation,
    view: ClusterView,
}

impl Timeline {
    /// A run at its start.
    pub fn new(config: SimConfig) -> Self {
        Self::of(config, Vec::new())
    }

    /// A run that replays the journal, up to and including its last action.
    pub fn of(config: SimConfig, journal: Vec<JournalEntry>) -> Self {
        let mut present = Point::new(config.clone());
        let events = present.take_in();
        let checkpoints = BTreeMap::from([(present.view.events, present.clone())]);
        let end = journal.last().map_or(present.moment(), |entry| entry.at);
        let first = Branch { parted: None, journal, shared: 0, end, checkpoints };
        let mut timeline = Self {
            config,
            branches: vec![first],
            current: BranchId(0),
            present,
            events,
            lead_up: Vec::new(),
        };
        timeline.run_to(Target::Moment(end));
        timeline.branch_mut().end = timeline.moment();
        timeline
    }

    // State

    /// The cluster at the present moment.
    pub const fn simulation(&self) -> &Simulation {
        &self.present.simulation
    }

    /// The view for a screen at the present moment.
    pub const fn view(&self) -> &ClusterView {
        &self.present.view
    }

    /// The present moment.
    pub const fn moment(&self) -> Moment {
        self.present.simulation.moment()
    }

    /// The configuration of the run.
    pub const fn config(&self) -> &SimConfig {
        &self.config
    }

    /// The current branch.
    pub const fn current(&self) -> BranchId {
        self.current
    }

    /// All branches, in the order of creation.
    pub fn branches(&self) -> impl Iterator<Item = BranchInfo> {
        self.branches.iter().zip(0..).map(|(branch, id)| BranchInfo {
            id: BranchId(id),
            parted: branch.parted,
            end: branch.end,
            actions: branch.journal.len(),
            own_actions: branch.journal.len().saturating_sub(branch.shared),
        })
    }

    /// Whether the present is the end of the current branch.
    pub fn at_end(&self) -> bool {
        let branch = self.branch();
        self.moment() >= branch.end
            && self.present.simulation.journal().len() == branch.journal.len()
    }

    /// The events since the last call, or since the last jump if that was later.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The events just before the moment of the last jump, since the checkpoint from which it was
    /// reached. With them a screen can show what led to that moment.
    pub fn take_lead_up(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.lead_up)
    }

    /// All actions of the current branch, including those after the present moment.
    pub fn journal(&self) -> &[JournalEntry] {
        &self.branch().journal
    }

    // Running

    /// Processes the next happening of this branch, or a new happening beyond its end. Returns
    /// false if there is none.
    pub fn step(&mut self) -> bool {
        let happened = self.moment().happened;
        self.run_to(Target::Happened(happened + 1));
        self.moment().happened > happened
    }

    /// Runs up to and including `time`, which becomes the present.
    pub fn run_until(&mut self, time: Time) {
        self.run_to(Target::Time(time));
    }

    /// Runs up to and including a moment.
    pub fn run_to_moment(&mut self, moment: Moment) {
        self.run_to(Target::Moment(moment));
    }

    /// Takes an action now. An action in the past starts a new branch, and the old future stays.
    pub fn act(&mut self, action: Action) -> Result<Option<RequestId>, ActionError> {
        let in_the_past = !self.at_end();
        let request = self.present.simulation.act(action)?;
        self.events.extend(self.present.take_in());
        let (journal, end) = (self.present.simulation.journal().to_vec(), self.moment());
        if in_the_past {
            let shared = journal.len() - 1;
            self.begin_branch(journal, shared);
        } else {
            let branch = self.branch_mut();
            (branch.journal, branch.end) = (journal, end);
        }
        Ok(request)
    }

    /// Starts a new branch here, without the later actions of the current branch. Does nothing at
    /// the end of a branch.
    pub fn part(&mut self) {
        if !self.at_end() {
            let journal = self.present.simulation.journal().to_vec();
            let shared = journal.len();
            self.begin_branch(journal, shared);
        }
    }

    // Jumping

    /// Jumps to a moment of this branch, or to the end if the moment lies beyond it.
    pub fn seek(&mut self, moment: Moment) {
        let moment = moment.min(self.branch().end);
        self.jump(|point| point.moment() <= moment, Target::Moment(moment));
    }

    /// Jumps to just before the action with this number in the branch's journal, or to the end if
    /// there is no such action.
    pub fn seek_before(&mut self, number: usize) {
        let Some(at) = self.branch().journal.get(number).map(|entry| entry.at) else {
            self.seek(self.branch().end);
            return;
        };
        let before =
            |point: &Point| point.moment() <= at && point.simulation.journal().len() <= number;
        self.jump(before, Target::BeforeAction(number, at));
    }

    /// Jumps to the last moment at this time in this branch, or to the end if the time lies beyond
    /// it.
    pub fn seek_time(&mut self, time: Time) {
        let end = self.branch().end;
        if time >= end.time {
            self.seek(end);
            return;
        }
        self.jump(|point| point.moment().time <= time, Target::Time(time));
    }

    /// Jumps to the end of another branch. Returns false if there is no such branch.
    pub fn switch(&mut self, branch: BranchId) -> bool {
        let Some(end) = self.get(branch).map(|branch| branch.end) else { return false };
        self.current = branch;
        self.seek(end);
        true
    }

    /// Finds the first event in which two branches differ. Returns `None` if they do not differ or
    /// if a branch does not exist.
    pub fn compare(&self, left: BranchId, right: BranchId) -> Option<Difference> {
        let start = self.common_past(left, right)?;
        let mut sides = [left, right].map(|id| Walk::new(self, id, start));
        loop {
            let [left, right] = sides.each_mut().map(|side| side.next(self));
            if left != right {
                return Some(Difference { left, right });
            }
            left?;
        }
    }

    // Helpers

    fn jump(&mut self, from: impl Fn(&Point) -> bool, to: Target) {
        self.present = self.nearest(self.current, from);
        self.events.clear();
        self.run_to(to);
        self.lead_up = std::mem::take(&mut self.events);
    }

    /// Moves the present to a new branch with this `journal`. The old branch shares the first
    /// `shared` actions.
    fn begin_branch(&mut self, journal: Vec<JournalEntry>, shared: usize) {
        let end = self.moment();
        let parted = Some((self.current, end));
        self.branches.push(Branch { parted, journal, shared, end, checkpoints: BTreeMap::new() });
        self.current = BranchId(self.branches.len() as u64 - 1);
    }

    fn branch(&self) -> &Branch {
        self.get(self.current).expect("the current branch exists")
    }

    fn branch_mut(&mut self) -> &mut Branch {
        let current = usize::try_from(self.current.0).expect("branches are few");
        self.branches.get_mut(current).expect("the current branch exists")
    }

    fn get(&self, id: BranchId) -> Option<&Branch> {
        self.branches.get(usize::try_from(id.0).ok()?)
    }

    /// The latest checkpoint of a branch or its ancestors for which `fits` returns true.
    fn nearest(&self, id: BranchId, fits: impl Fn(&Point) -> bool) -> Point {
        let mut limit = None;
        let mut branch = self.get(id).expect("the caller names an existing branch");
        // At the moment of parting, the parent branch may have done what this branch has not.
        let journal = &branch.journal;
        loop {
            let shared = |point: &&Point| {
                limit.is_none_or(|limit| point.moment() <= limit)
                    && journal.starts_with(point.simulation.journal())
            };
            let found = branch.checkpoints.values().rev().filter(shared).find(|it| fits(it));
            if let Some(found) = found {
                return found.clone();
            }
            let Some((parent, at)) = branch.parted else {
                return branch.checkpoints.values().next().expect("the start is kept").clone();
            };
            limit = Some(limit.map_or(at, |limit: Moment| limit.min(at)));
            branch = self.get(parent).expect("branches are never removed");
        }
    }

    /// Runs to a target, and repeats the branch's actions at their times.
    fn run_to(&mut self, target: Target) {
        loop {
            self.do_what_was_done(target);
            if !target.is_ahead(&self.present.simulation) || !self.present.simulation.step() {
                break;
            }
            self.events.extend(self.present.take_in());
            self.note_progress();
        }
        self.present.rest_until(target.time());
        self.note_progress();
    }

    /// Repeats the branch's actions between the last happening and the next, up to the target.
    fn do_what_was_done(&mut self, target: Target) {
        loop {
            let done = self.present.simulation.journal().len();
            let moment = self.moment();
            let Some(entry) = self.branch().journal.get(done).filter(|_| !target.precedes(done))
            else {
                return;
            };
            let due = entry.at <= moment || target.allows(entry.at);
            if entry.at.happened > moment.happened || !due {
                return;
            }
            let (at, action) = (entry.at, entry.action.clone());
            self.present.rest_until(at.time);
            if self.present.simulation.act(action).is_err() {
                // Only a journal that was tampered with holds an impossible action. It is removed.
                self.branch_mut().journal.remove(done);
            }
            self.events.extend(self.present.take_in());
        }
    }

    /// Notes how far the branch has been run, and takes a checkpoint from time to time.
    fn note_progress(&mut self) {
        let (events, moment) = (self.present.view.events, self.moment());
        let last = self.nearest_before(events);
        let present = (events >= last + DISTANCE).then(|| self.present.clone());
        let branch = self.branch_mut();
        branch.end = branch.end.max(moment);
        if let Some(present) = present {
            branch.checkpoints.insert(events, present);
            thin_out(&mut branch.checkpoints);
        }
    }

    /// The number of events before the latest checkpoint at or before `events`.
    fn nearest_before(&self, events: u64) -> u64 {
        let own = self.branch().checkpoints.range(..=events).next_back().map(|(at, _)| *at);
        own.unwrap_or(0)
    }

    /// The last moment that two branches share; `None` if a branch does not exist.
    fn common_past(&self, left: BranchId, right: BranchId) -> Option<Moment> {
        let ways = [self.way_back(left)?, self.way_back(right)?];
        let [left, right] = &ways;
        let shared = left.iter().filter_map(|(branch, until)| {
            let other = right.iter().find(|(it, _)| it == branch)?.1;
            Some((*until).min(other))
        });
        shared.max()
    }

    /// A branch and its ancestors, each with the last moment that belongs to the way.
    fn way_back(&self, id: BranchId) -> Option<Vec<(BranchId, Moment)>> {
        let mut branch = self.get(id)?;
        let mut way = vec![(id, branch.end)];
        while let Some((parent, at)) = branch.parted {
            way.push((parent, at));
            branch = self.get(parent)?;
        }
        Some(way)
    }
}

/// Removes the least useful checkpoint if there are too many. Its gap is small in relation to how
/// far back it lies.
fn thin_out(checkpoints: &mut BTreeMap<u64, Point>) {
    if checkpoints.len() <= CHECKPOINTS {
        return;
    }
    let at: Vec<u64> = checkpoints.keys().copied().collect();
    let end = at.last().copied().unwrap_or(0);
    let loss = |window: &[u64]| {
        let [before, this, after] = window else { return u64::MAX };
        // The first checkpoint is the start and the last is the newest. Neither is ever removed.
        (after - before) * 1000 / (end - this + DISTANCE)
    };
    let least = at.windows(3).min_by_key(|window| loss(window)).map(|window| window[1]);
    if let Some(least) = least {
        checkpoints.remove(&least);
    }
}

impl Point {
    fn new(config: SimConfig) -> Self {
        Self { simulation: Simulation::new(config), view: ClusterView::default() }
    }

    const fn moment(&self) -> Moment {
        self.simulation.moment()
    }

    /// Adds the new events to the view, and returns them.
    fn take_in(&mut self) -> Vec<Event> {
        let events = self.simulation.take_events();
        for event in &events {
            self.view.observe(event);
        }
        events
    }

    /// Advances the time without processing anything.
    fn rest_until(&mut self, time: Time) {
        self.simulation.now = self.simulation.now.max(time);
    }
}
