//! Moves through the pages of a lesson.

use raft_core::types::{NodeId, Time};

use super::course::{Course, Page};
use super::{Effect, LessonAction, Model, Sheet, SimEffect};
use crate::address::Place;
use crate::domain::run::ScriptReport;
use crate::domain::run::SimSetup;
use crate::domain::run::SourceKind;
use crate::shared::Shared;

impl Model {
    pub(super) fn lesson(&mut self, action: LessonAction) -> Vec<Effect> {
        if let LessonAction::Open(number) = action {
            let Some(course) = Course::new(number) else { return Vec::new() };
            self.course = Some(Shared::new(course));
            self.ui.list = None;
            self.ui.sheet = Sheet::Lesson;
            return self.turn_to(0);
        }
        let Some(course) = &mut self.course else { return Vec::new() };
        let at = course.at;
        match action {
            LessonAction::Page(page) => self.turn_to(page),
            LessonAction::Next if course.has_next() => self.turn_to(at + 1),
            LessonAction::Back if at > 0 => self.turn_to(at - 1),
            LessonAction::Again => {
                // Marked as astray, the page starts over.
                course.change().astray = true;
                self.turn_to(at)
            }
            LessonAction::Choose(choice) => {
                course.change().choice = Some(choice);
                Vec::new()
            }
            LessonAction::Alone => {
                self.leave_course();
                self.playback.playing = true;
                vec![Effect::Sim(SimEffect::Unscript)]
            }
            LessonAction::Leave => {
                let setup = SimSetup { servers: SimSetup::default().servers, ..self.setup.free() };
                self.open(Place::Simulate(setup))
            }
            LessonAction::Open(_)
            | LessonAction::Next
            | LessonAction::Back
            | LessonAction::Stay => Vec::new(),
        }
    }

    pub(super) fn leave_course(&mut self) {
        self.course = None;
        if self.ui.sheet == Sheet::Lesson {
            self.ui.sheet = Sheet::Act;
        }
    }

    /// Shows a page of the lesson, with the cluster at that point.
    fn turn_to(&mut self, at: usize) -> Vec<Effect> {
        let travelled = self.in_the_past();
        let Some(course) = &mut self.course else { return Vec::new() };
        let course = course.change();
        let (anew, play, stretch) = course.turn_to(at, travelled);
        let playing = matches!(course.page(), Page::Play { .. });
        let servers = course.scenario.header.config.servers;
        let mut effects = vec![Effect::Sim(SimEffect::Script(stretch))];
        if anew {
            let setup = SimSetup { servers, broken: None, lesson: Some(play), ..self.setup };
            self.source = SourceKind::Simulate;
            self.setup = setup;
            self.clear((1..=servers).map(NodeId).collect());
            self.playback.jump(Time(0));
            let address = Effect::Address(Place::Simulate(setup));
            effects =
                vec![Effect::Disconnect, Effect::Sim(SimEffect::Study(setup, stretch)), address];
        }
        self.playback.playing = playing;
        effects
    }

    /// Updates the state of the lesson's script; `None` means that it was stopped.
    pub(super) fn scripted(&mut self, report: Option<ScriptReport>) {
        let Some(course) = &mut self.course else { return };
        match report {
            Some(report) if report != course.script => course.change().script = report,
            Some(_) => {}
            None if course.astray => {}
            None => course.change().astray = true,
        }
        let plays = matches!(course.page(), Page::Play { .. });
        if !course.astray && (course.script.held || !plays) && self.history.run.at_end {
            self.playback.playing = false;
        }
    }
}
