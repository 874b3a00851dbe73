//! Applies each action to the model.

use std::collections::BTreeSet;

use raft_core::invariant::Violation;
use raft_core::rules::Mutation;
use raft_core::types::{EventId, Micros, NodeId};

use super::reading::Cause;
use super::{Action, Effect, FormAction, LessonAction, Model, Notice, SimEffect, UiAction};
use crate::address::{Place, parse_seed};
use crate::domain::cluster::Presence;
use crate::domain::form::{AskState, ClientForm, Op, Request};
use crate::domain::run::SimSetup;
use crate::domain::run::SourceKind;
use crate::domain::selection::Selection;
use crate::domain::story::Tone;
use crate::domain::why::Why;
use crate::shared::Shared;

impl Model {
    /// Applies an action, and returns its effects outside the model.
    pub(crate) fn update(&mut self, action: Action) -> Vec<Effect> {
        let cause = Cause::of(&action);
        let effects = self.change(action);
        self.read_on(cause);
        self.inspect_again();
        effects
    }

    fn change(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Frame { elapsed, wall } => return self.frame(elapsed, wall),
            Action::Open(place) => return self.open(place),
            Action::Source(kind) => return self.open(self.place_of(kind)),
            Action::Simulate(setup) => return self.open(Place::Simulate(setup)),
            Action::Again if self.course.is_some() => return self.lesson(LessonAction::Again),
            Action::Again => return self.open(Place::Simulate(self.setup)),
            Action::Break(rule) => return self.break_rule(rule),
            Action::SeedTyped(text) => return self.seed_typed(&text),
            Action::ClusterTyped(address) => self.live.retype(address),
            Action::Search(words) => self.ui.filter.words = words.trim().to_lowercase(),
            Action::TokenTyped(token) => token.trim().clone_into(&mut self.live.token),
            Action::ClusterConnect => return self.open(Place::Live(self.live.address_typed())),
            Action::TogglePlay => return self.toggle_play(),
            Action::Step => return self.step(),
            Action::Jump(jump) => return self.jump(jump),
            Action::Speed(speed) => match self.permits_pacing() {
                Ok(()) => self.playback.speed = speed,
                Err(why) => self.notice(why),
            },
            Action::Cluster(action) => match self.permits(action) {
                Ok(()) => {
                    self.note_present();
                    return self.perform(action);
                }
                Err(why) => self.notice(why),
            },
            Action::Submit => return self.submit().into_iter().collect(),
            Action::Burst => return self.burst(),
            Action::Asked(number, request) => self.form.change().taken(number, request),
            Action::Answered(number, state) => self.form.change().settle(number, state),
            Action::Happened(happened) => return self.happened(happened),
            Action::Landed(landed) => return self.landed(*landed),
            Action::Linked(recall) => return self.linked(recall),
            Action::Forgotten(moment) => self.history.forget(moment),
            Action::Load(text) => return vec![Effect::Sim(SimEffect::Load(text))],
            Action::Replaying => return self.begin_replay(),
            Action::Compare(branches) => return self.compare(branches),
            Action::Compared(comparison) => self.comparison = Some(*comparison),
            Action::Uncompare => self.comparison = None,
            Action::SaveTrace if self.at_live_edge() => {
                // Stops at the moment that is saved.
                let mut effects = self.hold();
                effects.push(Effect::Sim(SimEffect::Trace));
                return effects;
            }
            Action::SaveTrace => return vec![Effect::Sim(SimEffect::Trace)],
            Action::Traced(text) => return vec![Effect::Give(text)],
            Action::Save(save) => return vec![Effect::Save(save)],
            Action::Copy(text) => return vec![Effect::Copy(text)],
            Action::Ui(UiAction::Share(open)) => return self.share(open),
            Action::Live(report) => return self.report(report),
            Action::Notice(words) => self.notice(words),
            Action::Dismiss => self.notice = None,
            Action::Theme(theme) => {
                self.ui.theme = theme;
                return vec![Effect::SaveTheme(theme)];
            }
            Action::Lesson(action) => return self.lesson(action),
            Action::Gesture(action) => return self.gesture(action),
            Action::Ui(UiAction::Reach(message)) => {
                self.ui.selection = Selection::Message(message);
                return vec![Effect::Focus(message)];
            }
            Action::Ui(UiAction::Inspect(event)) => self.inspect(event),
            Action::Ui(action) => self.ui.update(action),
            Action::ClientForm(action) => self.form.change().update(action),
        }
        Vec::new()
    }

    fn notice(&mut self, words: String) {
        self.notice = Some(Notice { words });
    }

    fn frame(&mut self, elapsed: f64, wall: Micros) -> Vec<Effect> {
        if self.playback.playing {
            self.wall += elapsed;
        }
        match self.source {
            SourceKind::Live => self.watch(elapsed, wall),
            SourceKind::Simulate | SourceKind::Replay if self.playback.playing => {
                vec![Effect::Sim(SimEffect::Advance(self.playback.target(elapsed)))]
            }
            SourceKind::Simulate | SourceKind::Replay => Vec::new(),
        }
    }

    fn step(&mut self) -> Vec<Effect> {
        if self.at_live_edge() {
            return self.hold();
        }
        self.playback.playing = false;
        vec![Effect::Sim(SimEffect::Step)]
    }

    /// Warns that an action applies to the present while the past of a live cluster is shown.
    fn note_present(&mut self) {
        if self.source == SourceKind::Live && self.in_the_past() {
            self.notice(
                "This applies to the cluster as it is now, but you see its past. End shows the \
                 present."
                    .to_owned(),
            );
        }
    }

    fn place_of(&self, kind: SourceKind) -> Place {
        match kind {
            SourceKind::Simulate | SourceKind::Replay => Place::Simulate(self.setup.free()),
            SourceKind::Live => Place::Live(self.live.address_typed()),
        }
    }

    pub(super) fn open(&mut self, place: Place) -> Vec<Effect> {
        let address = Effect::Address(place.clone());
        match place {
            Place::Simulate(SimSetup { lesson: Some(play), .. }) => {
                self.lesson(LessonAction::Open(play.number))
            }
            Place::Simulate(setup) => {
                self.leave_course();
                self.source = SourceKind::Simulate;
                self.setup = setup;
                self.clear((1..=setup.servers).map(NodeId).collect());
                self.playback.jump(raft_core::types::Time(0));
                self.playback.playing = true;
                vec![Effect::Disconnect, Effect::Sim(SimEffect::Begin(setup)), address]
            }
            Place::Run(setup, recall) => {
                let setup = SimSetup { servers: setup.config().servers, ..setup };
                self.leave_course();
                self.source = SourceKind::Simulate;
                self.setup = setup;
                self.clear((1..=setup.servers).map(NodeId).collect());
                self.playback.jump(raft_core::types::Time(0));
                self.playback.playing = false;
                vec![Effect::Disconnect, Effect::Sim(SimEffect::Recall(setup, recall)), address]
            }
            Place::Live(cluster) => {
                self.leave_course();
                self.source = SourceKind::Live;
                self.conditions = Shared::default();
                self.clear(BTreeSet::new());
                self.look(cluster);
                self.playback.playing = true;
                vec![Effect::Sim(SimEffect::Watch), self.connect(), address]
            }
        }
    }

    fn seed_typed(&mut self, text: &str) -> Vec<Effect> {
        if let Ok(seed) = parse_seed(text) {
            return self.open(Place::Simulate(SimSetup { seed, ..self.setup.free() }));
        }
        self.notice(format!("“{}” is not a seed: enter a whole number.", text.trim()));
        Vec::new()
    }

    /// Restarts the run with this rule broken, or with all rules kept. Outside a lesson the actions
    /// of the run are repeated.
    fn break_rule(&mut self, broken: Option<Mutation>) -> Vec<Effect> {
        if self.source == SourceKind::Live {
            self.notice(
                "Real servers keep all rules. Switch to Simulate to break a rule.".to_owned(),
            );
            return Vec::new();
        }
        let scripted = self.course.is_some();
        let setup = SimSetup { broken, ..self.setup.free() };
        let playing = self.playback.playing;
        let mut effects = self.open(Place::Simulate(setup));
        self.playback.playing = playing;
        for effect in &mut effects {
            if !scripted && matches!(effect, Effect::Sim(SimEffect::Begin(_))) {
                *effect = Effect::Sim(SimEffect::Rerun(setup));
            }
        }
        effects
    }

    fn submit(&mut self) -> Option<Effect> {
        if self.source == SourceKind::Replay {
            self.notice(crate::domain::actions::RECORDED.to_owned());
            return None;
        }
        let leader = self.present().leader();
        self.note_present();
        let ask = self.form.change().submit(leader)?;
        match self.source {
            SourceKind::Simulate => Some(Effect::Sim(SimEffect::Ask(ask))),
            SourceKind::Replay => None,
            SourceKind::Live => {
                if let Some(address) = self.live.client_address(ask.node) {
                    Some(Effect::AskLive(ask, address))
                } else {
                    let words = format!("the address of {} is unknown", ask.node);
                    self.form.change().settle(ask.number, AskState::Failed(words));
                    None
                }
            }
        }
    }

    /// Sends a write and, at the same time, a read to every running voter. Such concurrent
    /// operations make the verdict on the history meaningful.
    fn burst(&mut self) -> Vec<Effect> {
        if self.source == SourceKind::Live {
            self.notice(
                "This works only on a simulated cluster. Switch to Simulate to try it.".to_owned(),
            );
            return Vec::new();
        }
        let key = self.form.key.trim().to_owned();
        let running = |node: &NodeId| self.cluster.presence(*node) == Presence::Up;
        let readers: Vec<NodeId> = self.cluster.voters().into_iter().filter(running).collect();
        let op = std::mem::replace(&mut self.form.change().op, Op::Put);
        let write = self.submit();
        self.form.change().op = op;
        if write.is_none() {
            return Vec::new();
        }
        let read = |node| self.form.change().inquire(Request::Read(key.clone()), node);
        let reads: Vec<_> = readers.into_iter().map(read).collect();
        let reads = reads.into_iter().map(|ask| Effect::Sim(SimEffect::Ask(ask)));
        write.into_iter().chain(reads).collect()
    }

    /// Selects an event with its chain of causes.
    fn inspect(&mut self, event: Option<EventId>) {
        let why = event.and_then(|event| Why::of(&self.feed, event));
        self.ui.selection = why.map_or(Selection::Nothing, Selection::Event);
    }

    /// Stops the clock at the first violation, and shows which property is violated.
    pub(super) fn note_breach(&mut self, held: bool) {
        let Some(first) = self.violations.first().filter(|_| held) else { return };
        // A lesson plays on to the end of its step.
        self.playback.playing &= self.course.is_some();
        let headline = format!("{} is violated.", first.property);
        let why = first.explanation.clone();
        self.breach = Some(Violation { time: first.time.min(self.playback.now), ..first.clone() });
        self.story.say(Tone::Bad, &headline, why, self.playback.now);
    }
}

impl ClientForm {
    fn update(&mut self, action: FormAction) {
        self.complaint = None;
        match action {
            FormAction::Op(op) => self.op = op,
            FormAction::Key(key) => self.key = key,
            FormAction::Value(value) => self.value = value,
            FormAction::Target(target) => self.target = target,
        }
    }
}
