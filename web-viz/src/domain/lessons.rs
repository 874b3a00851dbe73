//! The built-in lessons: the files of `core/scenarios`, parsed at build time (`build.rs`).

use std::sync::LazyLock;

use raft_core::codec;
use raft_core::rules::Mutation;
use raft_core::scenario::{Arm, Placed, Scenario};

/// The parts of each file. Prose is HTML, one sentence per line.
const PREPARED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lessons.bin"));

/// All scenarios, lessons first, decoded once.
static SCENARIOS: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    // A test checks that every file can be read.
    let files: Vec<(String, Vec<Placed>)> = codec::decode(PREPARED).unwrap_or_default();
    files.into_iter().filter_map(|(file, parts)| Scenario::of_parts(&file, parts).ok()).collect()
});

/// A lesson to play, by its index among all, with or without its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Play {
    pub(crate) number: usize,
    pub(crate) arm: Arm,
}

impl Play {
    pub(crate) fn lesson(self) -> Option<&'static Scenario> {
        all().get(self.number)
    }
}

pub(crate) fn all() -> &'static [Scenario] {
    &SCENARIOS
}

/// The lesson's name in an address: `8`, `12b`, `commit-what-was-verified`.
pub(crate) fn name(scenario: &Scenario) -> String {
    let stem = scenario.file.trim_end_matches(".md");
    let base = stem.rsplit('/').next().unwrap_or(stem);
    scenario.header.lesson.clone().unwrap_or_else(|| base.to_owned())
}

/// The lesson with this name in an address.
pub(crate) fn named(wanted: &str) -> Option<usize> {
    all().iter().position(|scenario| name(scenario) == wanted)
}

/// The first lesson that breaks this rule.
pub(crate) fn showing(rule: Mutation) -> Option<usize> {
    all().iter().position(|scenario| scenario.header.breaks == Some(rule))
}

#[cfg(test)]
mod tests {
    use raft_core::scenario::LIBRARY;

    use super::*;

    /// Guards that the page plays exactly the scenario files: same titles, parts and commands.
    #[test]
    fn a_prepared_lesson_is_the_one_of_its_file() {
        for (prepared, source) in all().iter().zip(LIBRARY) {
            let read = Scenario::parse(source.file, source.text).unwrap();
            assert_eq!((&prepared.file, &prepared.header), (&read.file, &read.header));
            for arm in [Arm::Kept, Arm::Broken] {
                assert!(prepared.lines(arm).eq(read.lines(arm)), "{}", source.file);
            }
            let titles = |scenario: &Scenario| {
                scenario.steps.iter().map(|step| step.title.clone()).collect::<Vec<_>>()
            };
            assert_eq!(titles(prepared), titles(&read));
            let right = |scenario: &Scenario| {
                let question = scenario.question.clone()?;
                question.choices.iter().position(|choice| choice.right)
            };
            assert_eq!(right(prepared), right(&read), "{}", source.file);
        }
    }

    /// Guards that every file is in the list, and that an address finds it.
    #[test]
    fn all_lessons_are_there_and_are_found_by_name() {
        assert_eq!(all().len(), LIBRARY.len());
        for (number, scenario) in all().iter().enumerate() {
            assert_eq!(named(&name(scenario)), Some(number), "{}", scenario.file);
        }
        assert_eq!(all()[named("8").unwrap()].title, "Figure 8");
    }
}
