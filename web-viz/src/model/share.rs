//! Links to what is shown. The address follows each pause, action and jump, so copying it always
//! shares the exact run.

use std::collections::BTreeSet;
use std::rc::Rc;

use raft_core::types::Time;

use super::{Effect, Model, SimEffect};
use crate::address::Place;
use crate::domain::run::SourceKind;
use crate::link::Recall;
use crate::shared::Shared;

impl Model {
    pub(super) fn toggle_play(&mut self) -> Vec<Effect> {
        if self.at_live_edge() {
            return self.hold();
        }
        self.playback.playing = !self.playback.playing;
        if self.playback.playing { Vec::new() } else { self.tell_link() }
    }

    /// Opens or closes the share dialog. Opening it stops the clock, except for a live cluster.
    pub(super) fn share(&mut self, open: bool) -> Vec<Effect> {
        self.ui.share = open;
        if !open {
            return Vec::new();
        }
        if self.source != SourceKind::Live {
            self.playback.playing = false;
        }
        self.tell_link()
    }

    /// Requests the contents of a link to the shown moment.
    pub(super) fn tell_link(&self) -> Vec<Effect> {
        let simulated = self.source == SourceKind::Simulate;
        simulated.then_some(Effect::Sim(SimEffect::Link)).into_iter().collect()
    }

    /// Switches to a recording.
    pub(super) fn begin_replay(&mut self) -> Vec<Effect> {
        self.leave_course();
        self.source = SourceKind::Replay;
        self.clear(BTreeSet::new());
        self.conditions = Shared::default();
        self.playback.jump(Time(0));
        self.playback.playing = false;
        self.ui.share = false;
        vec![Effect::Disconnect]
    }

    pub(super) fn linked(&mut self, recall: Rc<Recall>) -> Vec<Effect> {
        self.link = Some(recall);
        // During a lesson the address keeps opening the lesson.
        if self.course.is_some() { Vec::new() } else { vec![Effect::Address(self.place())] }
    }

    /// The address of what is shown.
    pub(crate) fn place(&self) -> Place {
        match (self.source, &self.link) {
            (SourceKind::Simulate, Some(recall)) if recall.is_told() => {
                Place::Run(self.setup, Rc::clone(recall))
            }
            (SourceKind::Simulate | SourceKind::Replay, _) => Place::Simulate(self.setup),
            (SourceKind::Live, _) => Place::Live(self.live.address_typed()),
        }
    }
}
