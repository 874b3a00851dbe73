//! A lesson on the screen: its pages, which of them is shown, and what the cluster has to do with
//! it. Predict, Run, Explain and Break come straight from the lesson's file.

use raft_core::scenario::{Arm, Block, Phase, Scenario, Step};

use super::lessons::{self, Play};
use crate::source::script::{ScriptReport, Stretch};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    /// Its place among all lessons.
    pub(crate) number: usize,
    pub(crate) scenario: &'static Scenario,
    pub(crate) pages: Vec<Page>,
    /// The page that is shown.
    pub(crate) at: usize,
    /// What the learner expects.
    pub(crate) choice: Option<usize>,
    pub(crate) script: ScriptReport,
    /// The learner did something else to the cluster: the script stopped, and begins anew.
    pub(crate) astray: bool,
    /// How far the cluster was let play, and in which arm.
    reached: Option<(Arm, Stretch)>,
}

/// One page of a lesson.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// Something to read: Markdown.
    Text { phase: Phase, title: String, text: String },
    /// What will happen?
    Question { text: String },
    /// It happens.
    Play { arm: Arm, step: usize },
    /// What the learner expected, and what is right.
    Answers,
    /// What became of the cluster without the rule.
    Verdict,
}

impl Course {
    /// A lesson at its first page.
    pub(crate) fn new(number: usize) -> Option<Self> {
        let scenario = lessons::all().get(number)?;
        Some(Self {
            number,
            scenario,
            pages: pages(scenario),
            at: 0,
            choice: None,
            script: ScriptReport::default(),
            astray: false,
            reached: None,
        })
    }

    pub(crate) fn page(&self) -> &Page {
        &self.pages[self.at.min(self.pages.len() - 1)]
    }

    /// The part of the lesson that a page belongs to.
    pub(crate) fn phase_of(page: &Page) -> Phase {
        match page {
            Page::Text { phase, .. } => *phase,
            Page::Question { .. } => Phase::Predict,
            Page::Play { arm: Arm::Kept, .. } => Phase::Run,
            Page::Answers => Phase::Explain,
            Page::Play { arm: Arm::Broken, .. } | Page::Verdict => Phase::Break,
        }
    }

    /// The first page of a part.
    pub(crate) fn first_of(&self, phase: Phase) -> Option<usize> {
        self.pages.iter().position(|page| Self::phase_of(page) == phase)
    }

    pub(crate) fn has_next(&self) -> bool {
        self.at + 1 < self.pages.len()
    }

    /// The arm and how far the cluster has come in it when a page is shown.
    fn stage_of(&self, at: usize) -> (Arm, Stretch) {
        let everything = Stretch { ahead: usize::MAX, to: None };
        let last = self.pages[..=at].iter().rev().find_map(|page| match page {
            Page::Play { arm, step } => Some((*arm, *step)),
            Page::Text { .. } | Page::Question { .. } | Page::Answers | Page::Verdict => None,
        });
        match (&self.pages[at], last) {
            (Page::Play { .. }, Some((arm, step))) => {
                (arm, Stretch { ahead: step, to: Some(step) })
            }
            (_, Some((arm, _))) => (arm, everything),
            (_, None) => (Arm::Kept, Stretch { ahead: 0, to: None }),
        }
    }

    /// Turns to a page. Gives what is to be played, and whether from the beginning.
    pub(crate) fn turn_to(&mut self, at: usize, travelled: bool) -> (bool, Play, Stretch) {
        self.at = at.min(self.pages.len() - 1);
        let (arm, stretch) = self.stage_of(self.at);
        let goes_on = !self.astray
            && !travelled
            && self.reached.is_some_and(|(was, before)| {
                was == arm && stretch.ahead > before.to.unwrap_or(before.ahead)
                    || (was, before) == (arm, stretch) && stretch.to.is_none()
            });
        self.astray = false;
        self.reached = Some((arm, stretch));
        (!goes_on, Play { number: self.number, arm }, stretch)
    }
}

fn pages(scenario: &Scenario) -> Vec<Page> {
    let mut pages = Vec::new();
    for (number, step) in scenario.steps.iter().enumerate() {
        let title = step.title.clone();
        match step.phase {
            Phase::Introduction | Phase::Explain | Phase::Break => {
                let texts = paragraphs(step).into_iter().map(|text| Page::Text {
                    phase: step.phase,
                    title: title.clone(),
                    text,
                });
                pages.extend(texts);
                if step.title == "The answers" && scenario.question.is_some() {
                    pages.push(Page::Answers);
                }
            }
            Phase::Predict => pages.push(Page::Question { text: paragraphs(step).join("\n\n") }),
            Phase::Run if step.blocks.is_empty() => {}
            Phase::Run => pages.push(Page::Play { arm: Arm::Kept, step: number }),
        }
    }
    if scenario.header.breaks.is_some() {
        let steps = scenario.steps.iter().enumerate();
        let lines = |step: &Step| step.lines().any(|line| line.only != Some(Arm::Kept));
        let played = steps.filter(|(_, step)| step.phase == Phase::Run && lines(step));
        pages.extend(played.map(|(step, _)| Page::Play { arm: Arm::Broken, step }));
        pages.push(Page::Verdict);
    }
    pages
}

/// The text of a step, cut where a reader may take breath: what a colon announces stays with it.
pub(crate) fn paragraphs(step: &Step) -> Vec<String> {
    let mut paragraphs: Vec<String> = Vec::new();
    for block in &step.blocks {
        let Block::Prose(text) = block else { continue };
        match paragraphs.last_mut().filter(|last| last.ends_with(':')) {
            Some(last) => *last = format!("{last}\n\n{text}"),
            None => paragraphs.push(text.clone()),
        }
    }
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the lessons in the page: each has all four parts in their order, and every command of
    /// both arms is on some page.
    #[test]
    fn every_part_of_every_lesson_has_its_pages() {
        for number in 0..lessons::all().len() {
            let course = Course::new(number).unwrap();
            let phases: Vec<Phase> = course.pages.iter().map(Course::phase_of).collect();
            assert!(phases.is_sorted(), "{}: {phases:?}", course.scenario.file);
            if course.scenario.header.lesson.is_some() {
                for phase in [Phase::Predict, Phase::Run, Phase::Explain, Phase::Break] {
                    assert!(course.first_of(phase).is_some(), "{phase}");
                }
            }
            for arm in [Arm::Kept, Arm::Broken] {
                if arm == Arm::Broken && course.scenario.header.breaks.is_none() {
                    continue;
                }
                for (step, line) in course.scenario.lines(arm) {
                    let page = Page::Play { arm, step };
                    assert!(
                        course.pages.contains(&page),
                        "{}: {}",
                        course.scenario.file,
                        line.text
                    );
                }
            }
        }
    }
}
