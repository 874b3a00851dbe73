//! The lessons: each runs as its file says, with its rule in place and with it broken.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::invariant::Property;
use raft_core::rules::Mutation;
use raft_core::scenario::{Arm, Guarantee, LIBRARY, Progress, Runner, Scenario, find};
use raft_core::sim::{SimConfig, Simulation, Timeline};
use raft_core::types::{MILLISECOND, Time};

use crate::lab::check;

/// What must fail first when a rule is broken. This repeats the scenario headers to detect a lesson
/// that begins to show something else.
const FAILS_FIRST: &[(Mutation, Guarantee)] = &[
    (Mutation::VoteTwice, Guarantee::Property(Property::ElectionSafety)),
    (Mutation::FixedTimeouts, Guarantee::Liveness),
    (Mutation::ForgetVote, Guarantee::Property(Property::ElectionSafety)),
    (Mutation::HalfIsMajority, Guarantee::Property(Property::LeaderCompleteness)),
    (Mutation::SkipPrevLogCheck, Guarantee::Property(Property::LogMatching)),
    (Mutation::AlwaysTruncate, Guarantee::Property(Property::LeaderCompleteness)),
    (Mutation::IgnoreStaleLog, Guarantee::Property(Property::LeaderCompleteness)),
    (Mutation::CommitOldTerms, Guarantee::Property(Property::LeaderCompleteness)),
    (Mutation::NoPreVote, Guarantee::LeaderStability),
    (Mutation::UnconfirmedReads, Guarantee::Linearizability),
    (Mutation::AcceptOldSnapshot, Guarantee::Property(Property::Monotonicity)),
    (Mutation::AcknowledgeEarly, Guarantee::Property(Property::Durability)),
    (Mutation::NoCheckQuorum, Guarantee::Liveness),
    (Mutation::CommitUnverified, Guarantee::Property(Property::StateMachineSafety)),
    (Mutation::EagerReconfiguration, Guarantee::Property(Property::LeaderCompleteness)),
    (Mutation::DirectSwitch, Guarantee::Property(Property::ElectionSafety)),
    (Mutation::CountLearners, Guarantee::Property(Property::LeaderCompleteness)),
    (Mutation::TrustClocks, Guarantee::Linearizability),
    (Mutation::KeepLeaseInTransfer, Guarantee::Linearizability),
    (Mutation::ReadBeforeCommit, Guarantee::Linearizability),
    (Mutation::TrustStrangers, Guarantee::Property(Property::LeaderCompleteness)),
    (Mutation::ExecuteRetries, Guarantee::Property(Property::ExactlyOnce)),
];

/// Properties that no single rule guards; `checkers.rs` plants events that violate them.
const PLANTED: &[Property] =
    &[Property::LeaderAppendOnly, Property::StateAgreement, Property::OneConfiguration];

fn all() -> Vec<Scenario> {
    let parse = |source: &raft_core::scenario::Source| {
        Scenario::parse(source.file, source.text).unwrap_or_else(|fault| panic!("{fault}"))
    };
    LIBRARY.iter().map(parse).collect()
}

fn play(scenario: &Scenario, lines: Arm, rules: Arm) -> Result<Simulation, String> {
    let mut simulation = Simulation::new(scenario.config(rules));
    let runner = Runner::new(scenario, lines);
    runner.finish(&mut simulation).map_err(|fault| fault.to_string())?;
    Ok(simulation)
}

/// Guards that every lesson runs as told with all rules in place, and nothing is violated.
#[check]
fn every_scenario_goes_as_told() {
    for scenario in all() {
        play(&scenario, Arm::Kept, Arm::Kept).unwrap_or_else(|fault| panic!("{fault}"));
    }
}

/// Guards that in every lesson with its rule broken, the promised guarantee fails first.
#[check]
fn every_broken_rule_breaks_what_the_lesson_says() {
    let expected: BTreeMap<Mutation, Guarantee> = FAILS_FIRST.iter().copied().collect();
    for scenario in all() {
        let Some(mutation) = scenario.header.breaks else { continue };
        assert_eq!(
            scenario.header.fails,
            expected.get(&mutation).copied(),
            "{}: {mutation:?}",
            scenario.file
        );
        play(&scenario, Arm::Broken, Arm::Broken).unwrap_or_else(|fault| panic!("{fault}"));
    }
}

/// Guards that what a lesson says about its rule does not hold without the rule.
#[check]
fn what_a_lesson_tells_is_not_so_without_its_rule() {
    for scenario in all().iter().filter(|it| it.header.breaks.is_some()) {
        let played = play(scenario, Arm::Kept, Arm::Broken);
        assert!(played.is_err(), "{}: the rule makes no difference", scenario.file);
        let played = play(scenario, Arm::Broken, Arm::Kept);
        assert!(played.is_err(), "{}: it fails with the rule in place", scenario.file);
    }
}

/// Guards that every rule that can be broken has a scenario that shows its purpose.
#[check]
fn every_mutation_has_a_scenario() {
    let shown: BTreeSet<Mutation> = all().iter().filter_map(|it| it.header.breaks).collect();
    let missing: Vec<Mutation> =
        Mutation::ALL.into_iter().filter(|mutation| !shown.contains(mutation)).collect();
    assert_eq!(missing, []);
}

/// Guards that there are twelve lessons and two variants, each with a question.
#[check]
fn the_fourteen_lessons_are_there() {
    let lessons: Vec<String> = all().into_iter().filter_map(|it| it.header.lesson).collect();
    let numbers = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "10b", "11", "12", "12b"];
    assert_eq!(lessons, numbers);
}

/// Guards that every check was seen to fail at least once.
#[check]
fn every_guarantee_is_seen_to_fail() {
    let fails: BTreeSet<Guarantee> = all().iter().filter_map(|it| it.header.fails).collect();
    let planted = PLANTED.iter().map(|property| Guarantee::Property(*property));
    let seen: BTreeSet<Guarantee> = fails.into_iter().chain(planted).collect();
    let missing: Vec<Guarantee> =
        Guarantee::all().into_iter().filter(|it| !seen.contains(it)).collect();
    assert_eq!(missing, []);
}

/// Guards that the rule that a scenario names is a function of `rules.rs`.
#[check]
fn every_scenario_names_a_rule_that_exists() {
    let rules = include_str!("../../src/rules.rs");
    for scenario in all().iter().filter(|it| it.header.breaks.is_some()) {
        let name = scenario.header.rule.strip_prefix("Rules::").unwrap_or_default();
        assert!(!name.is_empty(), "{}: `rule: Rules::…` is missing", scenario.file);
        assert!(rules.contains(&format!("fn {name}(")), "{}: no {name}", scenario.file);
        assert!(!scenario.header.section.is_empty(), "{}: no section", scenario.file);
    }
}

/// Guards that a scenario that is played in small pieces, as on the page, gives the same run.
#[check]
fn a_scenario_may_be_played_in_small_pieces() {
    for scenario in all() {
        let whole = play(&scenario, Arm::Kept, Arm::Kept).expect("goes as told");
        let mut pieces = Simulation::new(scenario.config(Arm::Kept));
        let mut runner = Runner::new(&scenario, Arm::Kept);
        loop {
            let until = pieces.now().after(3 * MILLISECOND);
            match runner.advance(&mut pieces, until) {
                Ok(Progress::Finished) => break,
                Ok(Progress::Done | Progress::Waits) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
        assert_eq!(pieces.digest(), whole.digest(), "{}", scenario.file);
    }
}

/// Guards that a lesson in a timeline gives the same run, and that the timeline can go back.
#[check]
fn a_scenario_may_be_played_in_a_timeline() {
    let source = find("8").expect("there is a lesson 8");
    let scenario = Scenario::parse(source.file, source.text).expect("it is well-formed");
    let alone = play(&scenario, Arm::Kept, Arm::Kept).expect("goes as told");
    let mut timeline = Timeline::new(scenario.config(Arm::Kept));
    let runner = Runner::new(&scenario, Arm::Kept);
    runner.finish(&mut timeline).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(timeline.simulation().digest(), alone.digest());
    let end = timeline.moment();
    timeline.seek_time(Time(0));
    assert!(timeline.moment() < end);
    timeline.seek(end);
    assert_eq!(timeline.simulation().digest(), alone.digest());
}

/// Guards that lessons are found by number, and all scenarios by name.
#[check]
fn scenarios_are_found_by_number_and_name() {
    for name in ["1", "01", "one-vote-a-term", "01-one-vote-a-term.md"] {
        assert_eq!(find(name).expect("known").file, "01-one-vote-a-term.md", "{name}");
    }
    assert_eq!(
        find("commit-what-was-verified").expect("known").file,
        "rules/commit-what-was-verified.md"
    );
    assert_eq!(find("no such lesson"), None);
}

fn fault_of(text: &str) -> String {
    match Scenario::parse("a.md", text) {
        Err(fault) => fault.to_string(),
        Ok(scenario) => match play(&scenario, Arm::Kept, Arm::Kept) {
            Err(fault) => fault,
            Ok(_) => panic!("went well: {text}"),
        },
    }
}

fn lines(lines: &str) -> String {
    format!("# A title\n## Run\n```raft\n{lines}\n```\n")
}

/// Guards that an error in a scenario names its place, what was expected, and a suggestion.
#[check]
fn faults_name_file_line_and_what_was_expected() {
    let cases = [
        (lines("elekt S1"), "a.md:4: unknown command `elekt`; did you mean `elect`?"),
        (lines("\nelect X1"), "a.md:5: expected a server such as `S1`, found `X1`"),
        (lines("elect S1 now"), "a.md:4: expected the end of the line, found `now`"),
        (lines("elect S9"), "a.md:4: there is no server S9"),
        (lines("expect S9 leads"), "a.md:4: there is no server S9"),
        (lines("expect S1 leeds"), "a.md:4: unknown verb `leeds`; did you mean `leads`?"),
        (lines("expect S1 leads"), "a.md:4: this does not hold at 0.000 ms:"),
        (lines("wait until S1 leads within 1 s"), "a.md:4: this did not happen in time; at"),
        (lines("wait 5"), "a.md:4: expected a unit"),
        (lines("wait 5 minutes"), "a.md:4: expected a time such as `200 ms`"),
        (lines("drop RequestVote S1 -> S2"), "a.md:4: no RequestVote S1 -> S2 is in transit"),
        (lines("drop RequestVode S1 -> S2"), "did you mean `RequestVote`?"),
        (lines("expect violated Log Macthing"), "did you mean `Log Matching`?"),
        (lines("expect answer to get x at S1 is 1"), "a.md:4: no client has sent `get x at S1`"),
        (lines("restart S1"), "a.md:4: S1 is running; crash it first"),
        (lines("kept: elect S1"), "a.md:4: `kept:` and `broken:` need the key `breaks`"),
        (lines("put x = \"1 at S1"), "a.md:4: a `\"` is not closed"),
        ("# A\n## Runn\n".to_owned(), "a.md:2: unknown part `Runn`; did you mean `Run`?"),
        ("# A\n## Run\n## Predict\n".to_owned(), "a.md:3: `Predict` is too late or appears twice"),
        ("# A\n# B\n".to_owned(), "a.md:2: a scenario must have a single title"),
        ("text\n".to_owned(), "a.md:1: the title, `# …`, must come first"),
        ("---\nservres: 3\n---\n# A\n".to_owned(), "a.md:2: unknown key `servres`"),
        ("---\nservers: 0\n---\n# A\n".to_owned(), "a.md:2: expected 1 to 9 servers"),
        ("---\nbreaks: votes twice\n---\n# A\n".to_owned(), "did you mean `vote twice`?"),
        ("---\nbreaks: vote twice\n---\n# A\n".to_owned(), "`fails`"),
        ("---\nlesson: 1\n---\n# A\n".to_owned(), "a lesson needs a part `## Predict`"),
        ("# A\n```Raft\n```\n".to_owned(), "a.md:2: write the language of the block as `raft`"),
    ];
    for (text, expected) in cases {
        let fault = fault_of(&text);
        assert!(fault.contains(expected), "expected {expected:?} in {fault:?}");
    }
}

/// Guards that every choice of a question has its comment, and exactly one choice is right.
#[check]
fn a_question_has_one_right_answer() {
    let text = |answers: &str| {
        format!(
            "# A\n## Predict\nWhat?\n\n1. This.\n2. That.\n## Explain\n### The answers\n{answers}"
        )
    };
    let good = Scenario::parse("a.md", &text("1. No.\n2. **Right.** Since\n   so.\n"));
    let question = good.expect("is well-formed").question.expect("it asks");
    let right: Vec<bool> = question.choices.iter().map(|choice| choice.right).collect();
    assert_eq!(right, [false, true]);
    assert_eq!(question.choices[1].text, "That.");
    assert_eq!(question.choices[1].comment, "Since so.");
    for (answers, expected) in [
        ("1. No.\n", "2 choices in `Predict`, but 1 comments"),
        ("1. No.\n2. No.\n", "one answer must begin with `**Right.**`"),
        ("1. **Right.** a\n2. **Right.** b\n", "one answer must begin with `**Right.**`"),
    ] {
        assert!(fault_of(&text(answers)).contains(expected));
    }
}

/// Guards that a lesson that promises the wrong failure is refused, and the error says what failed.
#[check]
fn a_wrong_promise_is_refused() {
    let source = find("1").expect("lesson 1");
    let wrong = source.text.replace("fails: Election Safety", "fails: Log Matching");
    let scenario = Scenario::parse("a.md", &wrong).expect("is well-formed");
    let fault = play(&scenario, Arm::Broken, Arm::Broken).expect_err("another one fails first");
    assert!(
        fault.contains("expected Log Matching to be violated first, found Election Safety"),
        "{fault}"
    );
}

/// Guards that every scenario file is built in, because the page has no disk.
#[cfg(not(target_family = "wasm"))]
#[test]
fn every_file_is_built_in() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files = BTreeSet::new();
    for directory in ["", "rules"] {
        for entry in std::fs::read_dir(root.join(directory)).expect("there are scenarios") {
            let path = entry.expect("can be read").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let file = path.strip_prefix(&root).expect("lies below");
                files.insert(file.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    let built_in: BTreeSet<String> = LIBRARY.iter().map(|it| it.file.to_owned()).collect();
    assert_eq!(files, built_in);
}

/// Guards that a scenario without a header leaves nothing to chance.
#[check]
fn a_scenario_without_a_header_leaves_nothing_to_chance() {
    let scenario = Scenario::parse("a.md", &lines("elect S1")).expect("is well-formed");
    let config: SimConfig = scenario.config(Arm::Kept);
    assert_eq!(config.network.delay_min, config.network.delay_max);
    assert_eq!(config.disk.sync_min, config.disk.sync_max);
    assert!(config.manual_elections);
}
