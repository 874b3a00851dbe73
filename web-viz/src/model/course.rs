//! An open lesson: its pages, the page that is shown, and what the cluster does on it. The parts
//! Predict, Run, Explain and Break come directly from the lesson's file.

use raft_core::scenario::{Arm, Block, Phase, Scenario, Step};

use crate::domain::lessons::{self, Play};
use crate::domain::run::{ScriptReport, Stretch};

#[derive(Clone, Debug)]
pub(crate) struct Course {
    /// Its index among all lessons.
    pub(crate) number: usize,
    pub(crate) scenario: &'static Scenario,
    pub(crate) pages: Vec<Page>,
    /// The index of the current page.
    pub(crate) at: usize,
    /// The answer that the learner chose.
    pub(crate) choice: Option<usize>,
    pub(crate) script: ScriptReport,
    /// The learner changed the cluster, so the script stopped and must start over.
    pub(crate) astray: bool,
    /// The arm that was played, and how far.
    reached: Option<(Arm, Stretch)>,
}

/// One page of a lesson.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// A sentence, and the sentences of its paragraph that were already shown.
    Text { phase: Phase, title: String, said: Vec<String>, text: Sentence },
    /// The prediction question.
    Question { text: Vec<Paragraph> },
    /// A step of the script plays.
    Play { arm: Arm, step: usize },
    /// The learner's answer and the correct one.
    Answers,
    /// What happened in the cluster without the rule.
    Verdict,
}

/// A sentence as HTML, and the list below it that it introduces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) words: String,
    pub(crate) below: Option<String>,
}

/// The sentences of one paragraph.
pub(crate) type Paragraph = Vec<Sentence>;

impl Course {
    /// Opens a lesson at its first page.
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

    /// The page on which the current paragraph begins. Each sentence of a paragraph has its own
    /// page.
    pub(crate) fn paragraph(&self) -> usize {
        match self.page() {
            Page::Text { said, .. } => self.at - said.len(),
            Page::Question { .. } | Page::Play { .. } | Page::Answers | Page::Verdict => self.at,
        }
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

    /// The arm of a page, and how far its script has run there.
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

    /// Turns to a page. Returns whether the run starts over, what to play, and how far.
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
                let read = paragraphs(step);
                pages.extend(read.iter().flat_map(|paragraph| told(step.phase, &title, paragraph)));
                if step.title == "The answers" && scenario.question.is_some() {
                    pages.push(Page::Answers);
                }
            }
            Phase::Predict => pages.push(Page::Question { text: paragraphs(step) }),
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

/// One page per sentence of a paragraph.
fn told(phase: Phase, title: &str, paragraph: &Paragraph) -> Vec<Page> {
    let page = |(place, text): (usize, &Sentence)| Page::Text {
        phase,
        title: title.to_owned(),
        said: paragraph[..place].iter().map(|sentence| sentence.words.clone()).collect(),
        text: text.clone(),
    };
    paragraph.iter().enumerate().map(page).collect()
}

/// The text of a step. A block that is not a paragraph, such as a list, belongs to the sentence
/// before it if that ends with a colon.
pub(crate) fn paragraphs(step: &Step) -> Vec<Paragraph> {
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    for block in &step.blocks {
        let Block::Prose(text) = block else { continue };
        if !is_list(text) {
            let sentence = |words: &str| Sentence { words: words.to_owned(), below: None };
            paragraphs.push(text.lines().map(sentence).collect());
            continue;
        }
        let last = paragraphs.last_mut().and_then(|paragraph| paragraph.last_mut());
        let below = Some(text.clone());
        if let Some(last) = last.filter(|last| last.words.ends_with(':')) {
            last.below = below;
        } else {
            paragraphs.push(vec![Sentence { words: String::new(), below }]);
        }
    }
    paragraphs
}

/// Whether this block is not a paragraph.
fn is_list(text: &str) -> bool {
    ["<ul", "<ol", "<blockquote", "<table", "<pre"].iter().any(|tag| text.starts_with(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that each page shows one sentence, and that no sentence is cut inside its markup or
    /// an abbreviation.
    #[test]
    fn a_page_tells_one_whole_sentence() {
        let mut sentences = 0;
        for number in 0..lessons::all().len() {
            let course = Course::new(number).unwrap();
            for page in &course.pages {
                let Page::Text { text: Sentence { words, below }, .. } = page else { continue };
                sentences += 1;
                for tag in ["code", "em", "strong", "a"] {
                    let count = |mark: &str| words.matches(mark).count();
                    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
                    assert_eq!(count(&open), count(&close), "{words}");
                }
                let end = words.trim_end_matches(['"', '”', ')', '’']);
                let whole = end.ends_with(['.', '?', '!', ':']) || words.ends_with('>');
                assert!(whole || below.is_some(), "{}: {words}", course.scenario.file);
                let stops = words.matches(". ").count();
                assert!(stops <= 1, "{}: {words}", course.scenario.file);
            }
        }
        assert!(sentences > 250, "{sentences}");
    }

    /// Guards that each lesson has all four parts in order, and that every command of both arms is
    /// on a page.
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
