//! The scenarios of `core/scenarios`, compiled in because the page cannot read files.

/// A scenario's file, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path below `core/scenarios`.
    pub file: &'static str,
    /// Its content.
    pub text: &'static str,
}

macro_rules! sources {
    ($($file:literal),* $(,)?) => {
        &[$(Source { file: $file, text: include_str!(concat!("../../scenarios/", $file)) }),*]
    };
}

/// All scenarios: the lessons in order, then the shorter scenarios.
pub const LIBRARY: &[Source] = sources![
    "01-one-vote-a-term.md",
    "02-split-vote.md",
    "03-amnesia.md",
    "04-a-leader-without-followers.md",
    "05-mending-a-divergent-log.md",
    "06-the-late-message.md",
    "07-the-stale-candidate.md",
    "08-figure-8.md",
    "09-the-disruptive-returner.md",
    "10-the-deposed-reader.md",
    "10b-the-slow-clock.md",
    "11-the-late-snapshot.md",
    "12-changing-the-crew.md",
    "12b-from-three-to-five.md",
    "rules/a-leader-that-cannot-hear.md",
    "rules/a-request-sent-twice.md",
    "rules/a-server-that-lost-its-disk.md",
    "rules/commit-what-was-verified.md",
    "rules/durable-before-acknowledged.md",
    "rules/figure-8-the-other-ending.md",
    "rules/learners-do-not-count.md",
    "rules/no-lease-while-handing-over.md",
    "rules/no-read-before-the-first-commit.md",
];

/// The scenario with this number (`8`, `12b`) or name (`figure-8`, `08-figure-8.md`).
pub fn find(name: &str) -> Option<&'static Source> {
    let wanted = name.trim_end_matches(".md").trim_start_matches('0').to_lowercase();
    LIBRARY.iter().find(|source| {
        let stem = source.file.trim_end_matches(".md").trim_start_matches('0');
        let (number, rest) = stem.split_once('-').unwrap_or((stem, stem));
        let base = stem.rsplit('/').next().unwrap_or(stem);
        [stem, number, rest, base].contains(&wanted.as_str())
    })
}
