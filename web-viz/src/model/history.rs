//! Moves in a run: to other moments, to other branches, and on with new events.

use std::collections::VecDeque;
use std::rc::Rc;

use raft_core::event::{Event, EventKind};
use raft_core::invariant::Violation;
use raft_core::sim::BranchId;
use raft_core::types::{NodeId, Time};
use raft_core::view::Liveness;

use super::{Effect, Model, Notice, SimEffect};
use crate::domain::cluster::ClusterModel;
use crate::domain::failover::LeaderHistory;
use crate::domain::feed::Weight;
use crate::domain::history::{Jump, Run, TURNS, Turn, branch_name};
use crate::domain::run::{Happened, Landed, SourceKind};
use crate::domain::story::Story;
use crate::domain::tape::MarkKind;
use crate::shared::Shared;

impl Model {
    /// Whether an earlier moment than the latest is shown.
    pub(crate) const fn in_the_past(&self) -> bool {
        !self.history.run.at_end
    }

    /// A jump to the nearest mark on the tape before the shown moment.
    pub(crate) fn turn_before(&self) -> Option<Jump> {
        self.history.tape(self.history.run.current).before(self.playback.now).map(Jump::Time)
    }

    /// A jump to the nearest mark on the tape after the shown moment.
    pub(crate) fn turn_after(&self) -> Option<Jump> {
        self.history.tape(self.history.run.current).after(self.playback.now).map(Jump::Time)
    }

    /// A jump to the same time in the next branch.
    pub(crate) fn next_branch(&self) -> Option<Jump> {
        let next = self.history.run.next_branch();
        next.map(|branch| Jump::Branch(branch, self.playback.now))
    }

    pub(super) fn jump(&mut self, jump: Jump) -> Vec<Effect> {
        if self.source == SourceKind::Live {
            return self.travel(jump);
        }
        if jump == Jump::Undo && self.history.run.actions == 0 {
            let words = "There is no action to undo.".to_owned();
            self.notice = Some(Notice { words });
            return Vec::new();
        }
        self.playback.playing = false;
        vec![Effect::Sim(SimEffect::Jump(jump))]
    }

    /// Handles a run of the simulation, through new events or events that were shown before.
    pub(super) fn happened(&mut self, happened: Happened) -> Vec<Effect> {
        if self.source == SourceKind::Live {
            self.relive(happened);
            return Vec::new();
        }
        let from = self.playback.now;
        let actions = self.history.run.actions;
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
        let number = self.cluster.view.events + happened.events.len() as u64;
        let held = self.violations.is_empty();
        self.note_violations(happened.violations, number);
        let relives = !self.history.is_frontier(self.cluster.view.events);
        let events = happened.events.into_iter();
        let effects = events.filter_map(|event| self.take_in(event, from)).collect();
        if relives {
            self.recite();
        }
        self.note_breach(held);
        if !relives {
            self.remember(self.cluster.view.events, false);
        }
        let mut effects: Vec<Effect> = effects;
        if actions != self.history.run.actions || !self.playback.playing {
            effects.extend(self.tell_link());
        }
        effects
    }

    /// Handles a jump of the simulation.
    pub(super) fn landed(&mut self, landed: Landed) -> Vec<Effect> {
        if self.source == SourceKind::Live {
            self.revisit(landed);
            return Vec::new();
        }
        let Landed { view, happened } = landed;
        if self.history.is_frontier(self.cluster.view.events) {
            self.history.past().feed = self.feed.clone();
        }
        let number = view.events;
        let first = number.saturating_sub(happened.events.len() as u64);
        let mut cluster = ClusterModel { view, ..ClusterModel::default() };
        if self.source == SourceKind::Simulate {
            cluster.roster = (1..=self.setup.servers).map(NodeId).collect();
        }
        cluster.widen_roster();
        cluster.drop_retired();
        self.cluster = Shared::new(cluster);
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
        self.ui.selection.retain(&self.cluster.roster);
        self.tell_link()
    }

    /// Enters the run's current branch. Returns whether the branch is new.
    fn enter(&mut self, run: &Run) -> bool {
        let new = !self.history.pasts.contains_key(&run.current);
        self.history.run = run.clone();
        if new {
            let (number, violations) = (self.cluster.view.events, self.violations.len());
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

    /// Applies an event, which can be new or already shown before.
    pub(super) fn take_in(&mut self, event: Event, from: Time) -> Option<Effect> {
        if !self.history.is_frontier(self.cluster.view.events) {
            let cluster = self.cluster.change();
            cluster.view.observe(&event);
            cluster.widen_roster();
            cluster.drop_retired();
            self.enlist(event);
            return None;
        }
        let at = event.time.clamp(from, self.playback.now.max(from));
        let mark = self.turn(&event).map(|kind| (kind, event.id.node));
        let told = Weight::of(&event.kind) > Weight::Routine;
        let effect = self.observe(event);
        let number = self.cluster.view.events;
        if told {
            let led = self.leaders.vacancy().is_none();
            let leader = self.cluster.leader().filter(|_| led);
            let tape = self.history.past().tape.change();
            tape.leaders(self.cluster.view.term(), leader, at, number);
            if let Some((kind, node)) = mark {
                tape.mark(kind, node, at, number);
            }
        }
        self.remember(number, told);
        effect
    }

    /// The kind of mark that a new event puts on the tape.
    fn turn(&self, event: &Event) -> Option<MarkKind> {
        // A live server that returns reports `Attached`; the page does not see how it started.
        let back = matches!(event.kind, EventKind::Attached(_))
            && self.cluster.node(event.id.node).is_some_and(|node| node.liveness == Liveness::Down);
        let kind = MarkKind::of(event).or(back.then_some(MarkKind::Return))?;
        let live = self.source == SourceKind::Live;
        let tape = self.history.tape(self.history.run.current);
        (!(live && kind == MarkKind::Write && tape.is_crowded(kind, event.time))).then_some(kind)
    }

    /// Remembers what the page says now, if that is new.
    fn remember(&mut self, number: u64, told: bool) {
        let (story, leaders, asks) = (&self.story, &self.leaders, &self.form.asks);
        let past = self.history.pasts.entry(self.history.run.current).or_default();
        past.events = number;
        let last = past.turns.back();
        let same = last.is_some_and(|turn| {
            turn.story.number == story.number
                && turn.leaders == *leaders
                && (!told || *turn.asks == *asks)
        });
        if same {
            return;
        }
        let kept = last.map(|turn| &turn.asks).filter(|kept| ***kept == *asks).cloned();
        let asks = kept.unwrap_or_else(|| Rc::new(asks.clone()));
        past.turns.push_back(Turn { number, story: story.clone(), leaders: leaders.clone(), asks });
        if past.turns.len() > TURNS {
            past.turns.pop_front();
        }
    }

    /// Restores what the page said at the shown moment.
    pub(super) fn recite(&mut self) {
        let number = self.cluster.view.events;
        let turn = self.history.past().turn(number).cloned();
        let (story, leaders, asks) = match turn {
            Some(turn) => (turn.story, turn.leaders, (*turn.asks).clone()),
            None => (Story::default(), LeaderHistory::default(), VecDeque::new()),
        };
        (self.story, self.leaders) = (story, leaders);
        if self.source == SourceKind::Live {
            // Requests go to the cluster as it is now.
            return;
        }
        if self.form.asks != asks {
            self.form.change().asks = asks;
        }
    }

    /// Marks the place on the tape where a Raft property was first seen violated.
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
