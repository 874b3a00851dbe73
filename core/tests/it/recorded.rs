//! The history checker against histories that others recorded and judged: a real register of an
//! early etcd (see `tests/data/linearizability/README.md`). A checker that gives all these verdicts
//! can judge our own histories.

#![expect(clippy::disallowed_types, reason = "it measures how long the checker takes")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::history::{self, Effect, Operation};

/// The time limit for one history.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time limit for all histories.
const PATIENCE_IN_ALL: Duration = Duration::from_mins(2);

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/linearizability")
}

/// A line about an operation of one process.
#[derive(Debug)]
struct Line<'a> {
    process: u64,
    stage: &'a str,
    action: &'a str,
    value: String,
}

impl<'a> Line<'a> {
    /// `INFO  jepsen.util - PROCESS :STAGE :ACTION VALUE`; other lines are skipped.
    fn parse(text: &'a str) -> Option<Self> {
        let (_, operation) = text.split_once("jepsen.util - ")?;
        let mut words = operation.split_whitespace();
        let mut word = || words.next().unwrap_or_else(|| panic!("a word is missing: {text:?}"));
        let process = word().parse().unwrap_or_else(|_| panic!("no process number: {text:?}"));
        let (stage, action) = (word(), word());
        let value = words.collect::<Vec<_>>().join(" ");
        Some(Self { process, stage, action, value })
    }
}

/// `nil`, the initial value of the register, is a missing key.
fn register(text: &str) -> Option<Bytes> {
    (text != "nil").then(|| Bytes::copy_from_slice(text.as_bytes()))
}

/// Parses `[from to]`.
fn swap(text: &str) -> (Option<Bytes>, Option<Bytes>) {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let (from, to) = inner.and_then(|it| it.split_once(' ')).expect("a swap is `[from to]`");
    (register(from), register(to))
}

/// The effect of the operation; `None` if it certainly changed and observed nothing.
fn effect(call: &Line<'_>, end: &Line<'_>) -> Option<Effect> {
    match (call.action, end.stage) {
        (":read", ":ok") => Some(Effect::Read(register(&end.value))),
        (":write", ":ok" | ":info") => Some(Effect::Write(register(&call.value))),
        (":cas", ":ok" | ":info") => {
            let (from, to) = swap(&call.value);
            Some(Effect::Swap { from, to })
        }
        (":cas", ":fail") => Some(Effect::Missed(swap(&call.value).0)),
        (":read" | ":write", ":fail") | (":read", ":info") => None,
        other => panic!("not known: {other:?}"),
    }
}

/// The line number serves as the time.
fn parse(text: &str) -> Vec<Operation> {
    let mut open: BTreeMap<u64, (u64, Line<'_>)> = BTreeMap::new();
    let mut history = Vec::new();
    let mut take = |called, returned, effect: Option<Effect>| {
        let key = Bytes::from_static(b"register");
        history.extend(effect.map(|effect| Operation { key, called, returned, effect }));
    };
    for (number, line) in (0..).zip(text.lines()) {
        let Some(line) = Line::parse(line) else { continue };
        if line.stage == ":invoke" {
            let before = open.insert(line.process, (number, line));
            assert!(before.is_none(), "line {number}: one operation at a time and process");
            continue;
        }
        let (called, call) = open.remove(&line.process).expect("what ends was called");
        let returned = (line.stage != ":info").then_some(number);
        take(called, returned, effect(&call, &line));
    }
    // Operations that had not ended when the recording stopped have an unknown outcome.
    for (called, call) in open.into_values() {
        let end = Line {
            process: call.process,
            stage: ":info",
            action: call.action,
            value: String::new(),
        };
        take(called, None, effect(&call, &end));
    }
    history
}

/// Guards the checker that judges all random runs.
#[test]
fn recorded_histories_get_their_known_verdicts() {
    let verdicts = std::fs::read_to_string(directory().join("verdicts.tsv")).expect("the verdicts");
    let begun = Instant::now();
    let (mut judged, mut slowest) = (0, Duration::ZERO);
    for line in verdicts.lines() {
        let (file, verdict) = line.split_once('\t').expect("a file and its verdict");
        let text = std::fs::read_to_string(directory().join(file)).expect("a history");
        let operations = parse(&text);
        assert!(operations.len() > 50, "{file}: only {} operations", operations.len());
        let one = Instant::now();
        let found = history::check(&operations);
        let took = one.elapsed();
        let expected = match verdict {
            "linearizable" => true,
            "violation" => false,
            other => panic!("{file}: no such verdict: {other}"),
        };
        assert_eq!(found.is_ok(), expected, "{file}: {verdict} is known, but: {found:?}");
        assert!(took < PATIENCE, "{file} took {took:?}");
        slowest = slowest.max(took);
        judged += 1;
    }
    assert_eq!(judged, 52, "a verdict for every recorded history");
    assert!(begun.elapsed() < PATIENCE_IN_ALL, "all took {:?}", begun.elapsed());
    println!("{judged} histories in {:?}, the slowest in {slowest:?}", begun.elapsed());
}
