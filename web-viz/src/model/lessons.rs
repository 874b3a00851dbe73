//! The lessons that are built in.

use std::sync::LazyLock;

use raft_core::rules::Mutation;
use raft_core::scenario::{Arm, LIBRARY, Scenario};

/// All of them, lessons first, read once.
static SCENARIOS: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    // Whether each can be read, a test tells.
    LIBRARY.iter().filter_map(|source| Scenario::parse(source.file, source.text).ok()).collect()
});

/// A lesson that is played, by its place among all, and with or without its rule.
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

/// What an address calls it: `8`, `12b`, `commit-what-was-verified`.
pub(crate) fn name(scenario: &Scenario) -> String {
    let stem = scenario.file.trim_end_matches(".md");
    let base = stem.rsplit('/').next().unwrap_or(stem);
    scenario.header.lesson.clone().unwrap_or_else(|| base.to_owned())
}

/// The lesson that an address calls so.
pub(crate) fn named(wanted: &str) -> Option<usize> {
    all().iter().position(|scenario| name(scenario) == wanted)
}

/// The first lesson that shows what a rule is good for.
pub(crate) fn showing(rule: Mutation) -> Option<usize> {
    all().iter().position(|scenario| scenario.header.breaks == Some(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the list of lessons: every file is in it, and an address finds each.
    #[test]
    fn all_lessons_are_there_and_are_found_by_name() {
        assert_eq!(all().len(), LIBRARY.len());
        for (number, scenario) in all().iter().enumerate() {
            assert_eq!(named(&name(scenario)), Some(number), "{}", scenario.file);
        }
        assert_eq!(all()[named("8").unwrap()].title, "Figure 8");
    }
}
