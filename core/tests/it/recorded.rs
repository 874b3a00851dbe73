//! The history checker against histories that somebody else recorded and judged: a real register
//! of an early etcd (see `tests/data/linearizability/README.md`). A checker that gives all these
//! verdicts is fit to judge our own histories.

#![expect(clippy::disallowed_types, reason = "it measures how long the checker takes")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::history::{self, Effect, Operation};

/// The longest that one history may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest that all may take.
const PATIENCE_IN_ALL: Duration = Duration::from_mins(2);

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/linearizability")
}

/// What one line says of one process's operation.
#[derive(Debug)]
struct Line<'a> {
    process: u64,
    stage: &'a str,
    action: &'a str,
    value: String,
}

impl<'a> Line<'a> {
    /// `INFO  jepsen.util - PROCESS :STAGE :ACTION VALUE`; other lines say nothing of operations.
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

/// The register starts as `nil`, as a key starts as not existing.
fn register(text: &str) -> Option<Bytes> {
    (text != "nil").then(|| Bytes::copy_from_slice(text.as_bytes()))
}

/// `[from to]`.
fn swap(text: &str) -> (Option<Bytes>, Option<Bytes>) {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let (from, to) = inner.and_then(|it| it.split_once(' ')).expect("a swap is `[from to]`");
    (register(from), register(to))
}

/// What the operation did; `None` when it certainly had no effect and saw nothing.
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

/// Time is the number of the line.
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
    // What had not ended when the recording did is of unknown outcome.
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

/// Guards the judge of all random runs.
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
