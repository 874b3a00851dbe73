//! Connects the model with the simulation: everything of the page that needs no browser.

use std::collections::VecDeque;
use std::rc::Rc;

use raft_core::sim;
use raft_core::types::Time;

use crate::domain::form::{Ask, AskState, Request};
use crate::domain::history::Jump;
use crate::domain::run::SimSetup;
use crate::link::Recall;
use crate::model::{Action, Effect, Model, SimEffect};
use crate::source::replay::{self, Replay};
use crate::source::sim::Sim;
use crate::source::trace;

#[derive(Default)]
pub(crate) struct Session {
    pub(crate) model: Model,
    sim: Option<Sim>,
    replay: Option<Replay>,
}

impl Session {
    /// Applies an action and everything that follows from it. Returns the effects that need a
    /// browser.
    pub(crate) fn dispatch(&mut self, action: Action) -> Vec<Effect> {
        let mut outside = Vec::new();
        let mut actions = VecDeque::from([action]);
        while let Some(action) = actions.pop_front() {
            for effect in self.model.update(action) {
                match effect {
                    Effect::Sim(effect) => actions.extend(self.simulate(effect)),
                    Effect::Connect(..)
                    | Effect::Disconnect
                    | Effect::AskLive(..)
                    | Effect::Supervise(..)
                    | Effect::Address(_)
                    | Effect::Copy(_)
                    | Effect::Save(_)
                    | Effect::Give(_)
                    | Effect::Focus(_)
                    | Effect::SaveTheme(_) => outside.push(effect),
                }
            }
        }
        outside
    }

    /// Carries out an effect on the simulation or recording, if there is one.
    fn simulate(&mut self, effect: SimEffect) -> Vec<Action> {
        match effect {
            SimEffect::Load(text) => return self.load(&text),
            SimEffect::Begin(setup) => {
                self.replay = None;
                let sim = self.sim.insert(Sim::new(setup));
                return vec![Action::Happened(sim.happened())];
            }
            SimEffect::Study(setup, stretch) => {
                self.replay = None;
                let sim = self.sim.insert(Sim::new(setup));
                return vec![Action::Happened(sim.play(stretch))];
            }
            SimEffect::Rerun(setup) => {
                self.replay = None;
                let sim = Sim::again(setup, self.sim.as_ref());
                return vec![Action::Happened(self.sim.insert(sim).happened())];
            }
            SimEffect::Recall(setup, recall) => return self.recall(setup, &recall),
            SimEffect::Watch => {
                self.sim = None;
                self.replay = Some(Replay::live());
            }
            SimEffect::Advance(_)
            | SimEffect::Step
            | SimEffect::Jump(_)
            | SimEffect::Record(..)
            | SimEffect::Script(_)
            | SimEffect::Unscript
            | SimEffect::Trace
            | SimEffect::Link
            | SimEffect::Compare(..)
            | SimEffect::Act(_)
            | SimEffect::Ask(_) => {}
        }
        if let Some(replay) = &mut self.replay {
            return play(replay, effect);
        }
        let Some(sim) = &mut self.sim else { return Vec::new() };
        match effect {
            SimEffect::Advance(time) => vec![Action::Happened(sim.advance(time))],
            SimEffect::Step => vec![Action::Happened(sim.step())],
            SimEffect::Jump(jump) => {
                let landed = sim.jump(jump).map(|landed| Action::Landed(Box::new(landed)));
                landed.into_iter().collect()
            }
            SimEffect::Script(stretch) => vec![Action::Happened(sim.play(stretch))],
            SimEffect::Unscript => {
                sim.drop_script();
                Vec::new()
            }
            SimEffect::Trace => {
                let (events, digest) = (sim.trace(), sim.link().digest);
                let run = self.model.place().fragment();
                vec![Action::Traced(trace::write(&events, digest, run))]
            }
            SimEffect::Compare(left, right) => {
                let comparison = sim.compare([left, right]).map(Box::new);
                comparison.map(Action::Compared).into_iter().collect()
            }
            SimEffect::Link => vec![Action::Linked(Rc::new(sim.link()))],
            SimEffect::Act(action) => vec![act(sim, action)],
            SimEffect::Ask(ask) => put(sim, &ask),
            SimEffect::Begin(_)
            | SimEffect::Study(..)
            | SimEffect::Rerun(_)
            | SimEffect::Recall(..)
            | SimEffect::Load(_)
            | SimEffect::Record(..)
            | SimEffect::Watch => Vec::new(),
        }
    }

    /// Reads a trace, and shows it from its beginning.
    fn load(&mut self, text: &str) -> Vec<Action> {
        let (events, header) = match trace::read(text) {
            Ok(read) => read,
            Err(error) => return vec![Action::Notice(error.to_string())],
        };
        let words = format!("A recording of {} events. Play it, or move in time.", events.len());
        // The digest of the saved events, before their times are shifted.
        let digest = format!("{:016x}", replay::digest(&events));
        let replay = self.replay.insert(Replay::new(events));
        self.sim = None;
        // Play all of it once, to fill the tape.
        let all = replay.advance(Time(u64::MAX));
        let start = replay.jump(Jump::Time(Time(0)));
        let notice = match header {
            Some(header) if header.digest != digest => format!(
                "These are not the saved events: their digest is {digest} and was {}. The file was \
                 changed, or comes from another version of the page.",
                header.digest
            ),
            _ => words,
        };
        let landed = start.map(|landed| Action::Landed(Box::new(landed)));
        let actions = [Action::Replaying, Action::Happened(all)].into_iter().chain(landed);
        actions.chain([Action::Notice(notice)]).collect()
    }

    /// Starts the run of a link, and goes to its playhead.
    fn recall(&mut self, setup: SimSetup, recall: &Recall) -> Vec<Action> {
        self.replay = None;
        let sim = self.sim.insert(Sim::recall(setup, recall));
        let happened = Action::Happened(sim.happened());
        let landed = sim.rewind(recall).map(|landed| Action::Landed(Box::new(landed)));
        let mut actions: Vec<_> = std::iter::once(happened).chain(landed).collect();
        let digest = sim.link().digest;
        if digest != recall.digest {
            actions.push(Action::Notice(format!(
                "This is not the shared run: its digest is {digest:016x} and was {:016x}. The link \
                 was changed, or comes from another version of the page.",
                recall.digest
            )));
        }
        actions
    }
}

/// Carries out an effect on a recording, if a recording supports it.
fn play(replay: &mut Replay, effect: SimEffect) -> Vec<Action> {
    match effect {
        SimEffect::Record(events, end) => {
            replay.append(events, end).map(Action::Forgotten).into_iter().collect()
        }
        SimEffect::Advance(_) | SimEffect::Step if let Some(landed) = replay.regain() => {
            let words =
                "The page no longer has what came next. This is the oldest moment that it keeps.";
            vec![Action::Landed(Box::new(landed)), Action::Notice(words.to_owned())]
        }
        SimEffect::Advance(time) => vec![Action::Happened(replay.advance(time))],
        SimEffect::Step => vec![Action::Happened(replay.step())],
        SimEffect::Jump(jump) => {
            let landed = replay.jump(jump).map(|landed| Action::Landed(Box::new(landed)));
            landed.into_iter().collect()
        }
        SimEffect::Trace => {
            let events = replay.trace();
            vec![Action::Traced(trace::write(&events, replay::digest(&events), String::new()))]
        }
        SimEffect::Begin(_)
        | SimEffect::Study(..)
        | SimEffect::Script(_)
        | SimEffect::Unscript
        | SimEffect::Rerun(_)
        | SimEffect::Recall(..)
        | SimEffect::Load(_)
        | SimEffect::Link
        | SimEffect::Compare(..)
        | SimEffect::Act(_)
        | SimEffect::Ask(_)
        | SimEffect::Watch => Vec::new(),
    }
}

fn act(sim: &mut Sim, action: sim::Action) -> Action {
    match sim.act(action) {
        Ok((_, happened)) => Action::Happened(happened),
        Err(error) => Action::Notice(sentence(&error.to_string())),
    }
}

/// Sends a client's request to a simulated server.
fn put(sim: &mut Sim, ask: &Ask) -> Vec<Action> {
    let node = ask.node;
    let action = match &ask.request {
        Request::Write(command) => sim::Action::Write { node, command: command.clone() },
        Request::Read(key) => sim::Action::Read { node, key: key.clone().into(), lease: false },
        Request::Change(change) => sim::Action::ChangeMembership { node, change: change.clone() },
        Request::Transfer(to) => sim::Action::Transfer { node, to: Some(*to) },
    };
    match sim.act(action) {
        Ok((request, happened)) => {
            let asked = request.map(|request| Action::Asked(ask.number, request));
            asked.into_iter().chain([Action::Happened(happened)]).collect()
        }
        Err(error) => vec![Action::Answered(ask.number, AskState::Failed(error.to_string()))],
    }
}

/// Formats an error as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
pub(crate) mod tests;
