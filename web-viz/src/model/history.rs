//! Where in a run the page is, and what it remembers of its branches: enough to show any moment of
//! them as it was shown when it happened.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use raft_core::event::{Event, EventKind};
use raft_core::invariant::Violation;
use raft_core::sim::{BranchId, BranchInfo, Moment};
use raft_core::types::{NodeId, Time};
use raft_core::view::Liveness;

use super::desk::Ask;
use super::failover::Reign;
use super::feed::{Feed, Weight};
use super::known::Known;
use super::lanes::Lanes;
use super::story::Story;
use super::tape::{MarkKind, Tape};
use super::{Effect, Model, Notice, SimEffect};
use crate::shared::Shared;
use crate::source::sim::{Happened, Landed};
use crate::source::{SourceKind, replay};

/// Somewhere else in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    /// The last moment at this time in the current branch.
    Time(Time),
    /// Before the last thing that left a trace.
    Back,
    /// As far as the current branch has been run.
    End,
    /// Before the last deed, in a new branch without it.
    Undo,
    /// This time in another branch.
    Branch(BranchId, Time),
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) current: BranchId,
    /// Whether nothing of the current branch lies ahead.
    pub(crate) at_end: bool,
    /// How much was done to the cluster so far.
    pub(crate) deeds: usize,
    pub(crate) branches: Vec<BranchInfo>,
}

impl Default for Run {
    fn default() -> Self {
        Self { current: BranchId(0), at_end: true, deeds: 0, branches: Vec::new() }
    }
}

impl Run {
    /// The branches worth showing: one that was left again before anything happened in it is not.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &BranchInfo> {
        self.branches.iter().filter(|branch| {
            let bare =
                branch.own_deeds == 0 && branch.parted.is_some_and(|(_, at)| at == branch.end);
            !bare || branch.id == self.current
        })
    }

    /// How far the longest branch has been run.
    pub(crate) fn end(&self) -> Time {
        self.branches.iter().map(|branch| branch.end.time).max().unwrap_or(Time(0))
    }

    /// The shown branch after the current one; after the last the first.
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

/// What the page said after so many events of a branch.
#[derive(Clone, Debug)]
struct Turn {
    number: u64,
    story: Story,
    reign: Reign,
    asks: Rc<VecDeque<Ask>>,
}

/// Turns that are remembered of a branch; beyond it older ones are forgotten.
const TURNS: usize = 20_000;

/// One branch, as far as it has been run.
#[derive(Clone, Debug, Default)]
struct Past {
    /// How many events it has.
    events: u64,
    tape: Shared<Tape>,
    lanes: Shared<Lanes>,
    turns: VecDeque<Turn>,
    /// The list of its events, as it was when the branch was left.
    feed: Shared<Feed>,
    violations: usize,
}

impl Past {
    /// The part of it that another branch shares, which parted after `number` events.
    fn until(&self, number: u64, violations: usize) -> Self {
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
    fn turn(&self, number: u64) -> Option<&Turn> {
        let after = self.turns.partition_point(|turn| turn.number <= number);
        self.turns.get(after.checked_sub(1)?)
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) run: Run,
    /// Where what is kept of the run begins.
    pub(crate) begin: Time,
    pasts: BTreeMap<BranchId, Past>,
}

impl History {
    fn past(&mut self) -> &mut Past {
        self.pasts.entry(self.run.current).or_default()
    }

    /// What the scrubber shows of a branch.
    pub(crate) fn tape(&self, branch: BranchId) -> Shared<Tape> {
        self.pasts.get(&branch).map(|past| past.tape.clone()).unwrap_or_default()
    }

    /// What the servers of the current branch were.
    pub(crate) fn lanes(&self) -> Shared<Lanes> {
        self.pasts.get(&self.run.current).map(|past| past.lanes.clone()).unwrap_or_default()
    }

    /// Takes in an event that is new.
    pub(super) fn record(&mut self, event: &Event, known: &Known, now: Time) {
        self.past().lanes.change().observe(event, known, now);
    }

    /// Looks at a server of which something else than an event told.
    pub(super) fn look(&mut self, node: NodeId, known: &Known, now: Time) {
        self.past().lanes.change().look(node, known, now);
    }

    /// Takes note of how far a live cluster has come.
    pub(super) fn reach(&mut self, end: Moment) {
        if self.run.branches.is_empty() {
            self.begin = end.time;
        }
        self.run.branches = vec![replay::whole(end)];
    }

    /// What was before this moment is kept no longer.
    pub(super) fn forget(&mut self, before: Moment) {
        self.begin = before.time;
        self.past().tape.change().forget(before.happened);
    }

    fn is_frontier(&self, number: u64) -> bool {
        self.pasts.get(&self.run.current).is_none_or(|past| past.events <= number)
    }
}

impl Model {
    /// Whether the person looks at what happened before.
    pub(crate) const fn in_the_past(&self) -> bool {
        !self.history.run.at_end
    }

    /// To the nearest turn of the story before the present.
    pub(crate) fn turn_before(&self) -> Option<Jump> {
        self.history.tape(self.history.run.current).before(self.playback.now).map(Jump::Time)
    }

    /// To the nearest turn of the story after the present.
    pub(crate) fn turn_after(&self) -> Option<Jump> {
        self.history.tape(self.history.run.current).after(self.playback.now).map(Jump::Time)
    }

    /// To the same time in the next branch.
    pub(crate) fn next_branch(&self) -> Option<Jump> {
        let next = self.history.run.next_branch();
        next.map(|branch| Jump::Branch(branch, self.playback.now))
    }

    pub(super) fn jump(&mut self, jump: Jump) -> Vec<Effect> {
        if self.source == SourceKind::Live {
            return self.travel(jump);
        }
        if jump == Jump::Undo && self.history.run.deeds == 0 {
            let words = "Nothing was done to the cluster yet that could be undone.".to_owned();
            self.notice = Some(Notice { words });
            return Vec::new();
        }
        self.playback.playing = false;
        vec![Effect::Sim(SimEffect::Jump(jump))]
    }

    /// The simulation ran, through what is new or through what is known.
    pub(super) fn happened(&mut self, happened: Happened) -> Vec<Effect> {
        if self.source == SourceKind::Live {
            self.relive(happened);
            return Vec::new();
        }
        let from = self.playback.now;
        let deeds = self.history.run.deeds;
        if self.enter(&happened.run) {
            let [new, old] = [happened.run.current, self.parent()].map(branch_name);
            let words = format!("You acted in the past: branch {new} begins here, {old} stays.");
            self.notice = Some(Notice { words });
        }
        self.playback.now = happened.now;
        self.digest = happened.digest;
        self.conditions = happened.conditions;
        self.clients = happened.clients;
        self.scripted(happened.script);
        let number = self.known.view.events + happened.events.len() as u64;
        let held = self.violations.is_empty();
        self.note_violations(happened.violations, number);
        let relives = !self.history.is_frontier(self.known.view.events);
        let events = happened.events.into_iter();
        let effects = events.filter_map(|event| self.take_in(event, from)).collect();
        if relives {
            self.recite();
        }
        self.note_breach(held);
        if !relives {
            self.remember(self.known.view.events, false);
        }
        let mut effects: Vec<Effect> = effects;
        if deeds != self.history.run.deeds || !self.playback.playing {
            effects.extend(self.tell_link());
        }
        effects
    }

    /// The simulation was put somewhere else.
    pub(super) fn landed(&mut self, landed: Landed) -> Vec<Effect> {
        if self.source == SourceKind::Live {
            self.revisit(landed);
            return Vec::new();
        }
        let Landed { view, happened } = landed;
        if self.history.is_frontier(self.known.view.events) {
            self.history.past().feed = self.feed.clone();
        }
        let number = view.events;
        let first = number.saturating_sub(happened.events.len() as u64);
        let mut known = Known { view, ..Known::default() };
        if self.source == SourceKind::Simulate {
            known.roster = (1..=self.setup.servers).map(NodeId).collect();
        }
        known.widen_roster();
        known.drop_retired();
        self.known = Shared::new(known);
        let elsewhere = self.history.run.current != happened.run.current;
        self.violations = happened.violations;
        if elsewhere || !self.violations.is_empty() {
            self.breach =
                self.breach.take().filter(|_| !elsewhere).or(self.violations.first().cloned());
        }
        self.clients = happened.clients;
        self.scripted(happened.script);
        let parted = self.enter(&happened.run);
        self.playback.jump(happened.now);
        self.digest = happened.digest;
        self.conditions = happened.conditions;
        self.notice = None;
        let feed = self.history.past().feed.clone();
        if parted || !self.history.is_frontier(number) {
            self.feed = Shared::new(feed.until(first));
            for event in happened.events {
                self.enlist(event);
            }
        } else {
            self.feed = feed;
        }
        self.recite();
        self.ui.selection.retain(&self.known.roster);
        self.tell_link()
    }

    /// Takes note of the branch in which the run is. Whether it is a new one.
    fn enter(&mut self, run: &Run) -> bool {
        let new = !self.history.pasts.contains_key(&run.current);
        self.history.run = run.clone();
        if new {
            let (number, violations) = (self.known.view.events, self.violations.len());
            let parent = self.history.pasts.get(&self.parent());
            let past = parent.map(|past| past.until(number, violations)).unwrap_or_default();
            self.history.pasts.insert(run.current, past);
        }
        new && run.current != BranchId(0)
    }

    /// The branch from which the current one parted.
    fn parent(&self) -> BranchId {
        let run = &self.history.run;
        let info = run.branches.iter().find(|branch| branch.id == run.current);
        info.and_then(|branch| branch.parted).map_or(BranchId(0), |(parent, _)| parent)
    }

    /// Takes in an event: a new one, or one that the page has shown before.
    pub(super) fn take_in(&mut self, event: Event, from: Time) -> Option<Effect> {
        if !self.history.is_frontier(self.known.view.events) {
            let known = self.known.change();
            known.view.observe(&event);
            known.widen_roster();
            known.drop_retired();
            self.enlist(event);
            return None;
        }
        let at = event.time.clamp(from, self.playback.now.max(from));
        let mark = self.turn(&event).map(|kind| (kind, event.id.node));
        let told = Weight::of(&event.kind) > Weight::Routine;
        let effect = self.observe(event);
        let number = self.known.view.events;
        if told {
            let led = self.reign.vacancy().is_none();
            let leader = self.known.leader().filter(|_| led);
            let tape = self.history.past().tape.change();
            tape.reign(self.known.view.term(), leader, at, number);
            if let Some((kind, node)) = mark {
                tape.mark(kind, node, at, number);
            }
        }
        self.remember(number, told);
        effect
    }

    /// What a new event means for the story that the tape tells.
    fn turn(&self, event: &Event) -> Option<MarkKind> {
        // Who watches a real server sees it again, and not how it started.
        let back = matches!(event.kind, EventKind::Attached(_))
            && self.known.node(event.id.node).is_some_and(|node| node.liveness == Liveness::Down);
        let kind = MarkKind::of(event).or(back.then_some(MarkKind::Return))?;
        let live = self.source == SourceKind::Live;
        let tape = self.history.tape(self.history.run.current);
        (!(live && kind == MarkKind::Write && tape.is_crowded(kind, event.time))).then_some(kind)
    }

    /// Remembers what the page says now, where that is something new.
    fn remember(&mut self, number: u64, told: bool) {
        let (story, reign, asks) = (&self.story, &self.reign, &self.desk.asks);
        let past = self.history.pasts.entry(self.history.run.current).or_default();
        past.events = number;
        let last = past.turns.back();
        let same = last.is_some_and(|turn| {
            turn.story.number == story.number
                && turn.reign == *reign
                && (!told || *turn.asks == *asks)
        });
        if same {
            return;
        }
        let kept = last.map(|turn| &turn.asks).filter(|kept| ***kept == *asks).cloned();
        let asks = kept.unwrap_or_else(|| Rc::new(asks.clone()));
        past.turns.push_back(Turn { number, story: story.clone(), reign: reign.clone(), asks });
        if past.turns.len() > TURNS {
            past.turns.pop_front();
        }
    }

    /// Says again what the page said at the moment that is shown.
    pub(super) fn recite(&mut self) {
        let number = self.known.view.events;
        let turn = self.history.past().turn(number).cloned();
        let (story, reign, asks) = match turn {
            Some(turn) => (turn.story, turn.reign, (*turn.asks).clone()),
            None => (Story::default(), Reign::default(), VecDeque::new()),
        };
        (self.story, self.reign) = (story, reign);
        if self.source == SourceKind::Live {
            // What the person asks is asked of the cluster as it is now.
            return;
        }
        if self.desk.asks != asks {
            self.desk.change().asks = asks;
        }
    }

    /// Marks where a promise of Raft was first seen broken.
    fn note_violations(&mut self, violations: Vec<Violation>, number: u64) {
        let (now, count) = (self.playback.now, violations.len());
        self.violations = violations;
        let past = self.history.past();
        if count > past.violations {
            past.violations = count;
            past.tape.change().mark(MarkKind::Violation, NodeId::ENVIRONMENT, now, number);
        }
    }
}
