//! The state machine: what each command does. Its result depends only on the command and the state.

use raft_core::kv::{
    Answer, Command, Comparison, Expected, KeyRange, KvStore, Operation, OperationResult, Pair,
    Relation, Target, Transaction,
};

use crate::lab::check;

fn store(pairs: &[(&'static str, &'static str)]) -> KvStore {
    let mut store = KvStore::default();
    for (key, value) in pairs {
        store.apply(Command::put(*key, *value));
    }
    store
}

fn value<'a>(store: &'a KvStore, key: &str) -> Option<&'a str> {
    store.get(key.as_bytes()).map(|it| std::str::from_utf8(&it.value).expect("texts only"))
}

fn keys<'a>(pairs: impl Iterator<Item = &'a Pair>) -> Vec<&'a [u8]> {
    pairs.map(|pair| &pair.key[..]).collect()
}

/// Guards compare-and-set with each kind of expectation. A failed comparison returns what it found
/// and changes nothing.
#[check]
fn a_compare_and_set_sets_only_what_is_as_expected() {
    let cases = [
        (Expected::Absent, false),
        (Expected::Present, true),
        (Expected::Value("1".into()), true),
        (Expected::Value("2".into()), false),
        (Expected::Revision(1), true),
        (Expected::Revision(2), false),
    ];
    for (expected, succeeds) in cases {
        let mut store = store(&[("x", "1")]);
        let applied = store.apply(Command::compare_and_set("x", expected.clone(), "new"));
        let Answer::Compared { succeeded, found } = applied.answer else { panic!("{applied}") };
        assert_eq!(succeeded, succeeds, "{expected}");
        assert_eq!(found.map(|pair| pair.value.value), Some("1".into()));
        assert_eq!(value(&store, "x"), Some(if succeeds { "new" } else { "1" }));
        assert_eq!(applied.revision, 1 + u64::from(succeeds));
    }
    let mut store = store(&[]);
    for (expected, succeeds) in [(Expected::Present, false), (Expected::Absent, true)] {
        let applied = store.apply(Command::compare_and_set("x", expected, "new"));
        assert_eq!(applied.answer, Answer::Compared { succeeded: succeeds, found: None });
    }
}

fn compare(key: &'static str, target: Target, relation: Relation) -> Comparison {
    Comparison { key: key.into(), target, relation }
}

fn put(key: &'static str, value: &'static str) -> Operation {
    Operation::Put { key: key.into(), value: value.into(), lease: None }
}

/// Guards transactions: all comparisons must hold, operations see the operations before them, and
/// all changes share one revision.
#[check]
fn a_transaction_is_one_step() {
    let mut store = store(&[("a", "1"), ("b", "2")]);
    let transaction = Transaction {
        compare: vec![
            compare("a", Target::Value(Some("1".into())), Relation::Equal),
            compare("b", Target::ModRevision(1), Relation::Greater),
            compare("c", Target::Version(0), Relation::Equal),
        ],
        then: vec![
            put("c", "3"),
            Operation::Get { key: "c".into() },
            Operation::Delete { key: "a".into() },
            Operation::Range { range: KeyRange::all(), limit: 1 },
            Operation::DeleteRange(KeyRange::prefix("b")),
        ],
        otherwise: vec![put("lost", "1")],
    };
    let applied = store.apply(Command::Transaction(transaction.clone()));
    assert_eq!(applied.revision, 3);
    let Answer::Transaction { succeeded: true, results } = applied.answer else { panic!() };
    let [_, OperationResult::Found(Some(c)), deleted, OperationResult::Pairs(pairs), removed] =
        &results[..]
    else {
        panic!("{results:?}")
    };
    assert_eq!((&c.value.value[..], c.value.mod_revision), (&b"3"[..], 3));
    assert_eq!(*deleted, OperationResult::Done { existed: true });
    assert_eq!(keys(pairs.iter()), [b"b"]);
    assert_eq!(*removed, OperationResult::Removed { keys: 1 });
    assert_eq!(store.len(), 1);
    // Now the comparisons fail.
    let applied = store.apply(Command::Transaction(transaction));
    assert!(matches!(applied.answer, Answer::Transaction { succeeded: false, .. }));
    assert_eq!(value(&store, "lost"), Some("1"));
}

/// Guards that only changes of keys create a revision.
#[check]
fn what_changes_nothing_makes_no_revision() {
    let mut store = store(&[("a", "1")]);
    let reads = Transaction {
        then: vec![Operation::Get { key: "a".into() }, Operation::Delete { key: "z".into() }],
        ..Transaction::default()
    };
    for command in [
        Command::Transaction(reads),
        Command::delete("z"),
        Command::DeleteRange(KeyRange::prefix("z")),
        Command::GrantLease { ttl: 1_000 },
        Command::AdvanceClock { to: 1 },
    ] {
        assert_eq!(store.apply(command).revision, 1);
    }
}

/// Guards ranges: start included, end excluded, and only matching keys for a prefix.
#[check]
fn a_range_holds_its_start_and_not_its_end() {
    let store = store(&[("a", "1"), ("ab", "2"), ("b", "3"), ("c", "4")]);
    let names = |range: &KeyRange| -> Vec<String> {
        let name = |(key, _): (&bytes::Bytes, _)| String::from_utf8_lossy(key).into_owned();
        store.range(range).map(name).collect()
    };
    let between = |start: &'static str, end: &'static str| KeyRange {
        start: start.into(),
        end: Some(end.into()),
    };
    assert_eq!(names(&KeyRange::all()), ["a", "ab", "b", "c"]);
    assert_eq!(names(&KeyRange::prefix("a")), ["a", "ab"]);
    assert_eq!(names(&between("ab", "c")), ["ab", "b"]);
    assert!(names(&between("c", "a")).is_empty());
    assert!(names(&between("a", "a")).is_empty());
}

/// Guards that watchers get every change in order, and that changes of one command share a
/// revision.
#[check]
fn changes_tell_all_that_happened_to_keys() {
    let mut store = store(&[("a", "1")]);
    store.apply(Command::Transaction(Transaction {
        then: vec![put("b", "2"), Operation::Delete { key: "a".into() }],
        ..Transaction::default()
    }));
    store.apply(Command::delete("nothing"));
    store.apply(Command::put("c", "3"));
    let told: Vec<(u64, &[u8], bool)> = store
        .changes()
        .after(1)
        .expect("all are kept")
        .map(|change| (change.revision, &change.key[..], change.value.is_some()))
        .collect();
    assert_eq!(told, [(2, &b"b"[..], true), (2, b"a", false), (3, b"c", true)]);
}
