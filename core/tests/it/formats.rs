//! The encoded bytes of all values that are stored or sent, per release. A release reads what the
//! previous release wrote, and writes that format until all members can read a newer format.
//!
//! The first release wrote `formats-2.txt`, one value per line. No line of it may change. What a
//! later release adds goes to the end of its type and into a list of its own.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};

use raft_core::codec;
use raft_core::config::Config;
use raft_core::durable::{HardState, Recovered, Write};
use raft_core::kv::{
    Answer, Applied, Command, Comparison, Expected, KeyRange, KvStore, LeaseId, Operation,
    OperationResult, Pair, Refusal, Relation, Snapshot, SnapshotBuilder, Target, Transaction,
    Versioned,
};
use raft_core::limits::Semantics;
use raft_core::log::{Entry, Payload};
use raft_core::membership::Membership;
use raft_core::message::{AppendResult, Body, Message, SnapshotChunk, SnapshotProgress};
use raft_core::replica::Input;
use raft_core::snapshot::{Cursor, SnapshotMeta};
use raft_core::types::{LogIndex, LogPosition, NodeId, SessionId, Term, WriteId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::lab::{Alone, S1, S2, S3, check};

const FIRST_RELEASE: &str = include_str!("formats-2.txt");

/// Collects the encoding of each value, and asserts that it decodes to the same value.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        let bytes = codec::encode(value);
        let read: T = codec::decode(&bytes).expect("what was written can be read");
        assert_eq!(&read, value, "{name}");
        self.line(name, &bytes);
    }

    fn line(&mut self, name: &str, bytes: &[u8]) {
        write!(self.0, "{name} ").expect("text can always grow");
        for byte in bytes {
            write!(self.0, "{byte:02x}").expect("text can always grow");
        }
        self.0.push('\n');
    }
}

fn position(term: u64, index: u64) -> LogPosition {
    LogPosition::new(term, index)
}

fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn membership() -> Membership {
    Membership {
        voters: nodes(&[1, 2, 300]),
        outgoing: nodes(&[1, 2]),
        learners: nodes(&[4]),
        target: nodes(&[1, 4]),
    }
}

fn entries() -> Vec<Entry> {
    let payloads = [
        Payload::Noop,
        Payload::Command("command".into()),
        Payload::Membership(Box::new(membership())),
    ];
    let numbered = payloads.into_iter().zip(70_000..);
    numbered
        .map(|(payload, index)| Entry { index: LogIndex(index), term: Term(7), payload })
        .collect()
}

fn versioned() -> Versioned {
    let (create_revision, mod_revision) = (300, 70_000);
    Versioned {
        value: "value".into(),
        create_revision,
        mod_revision,
        version: 2,
        lease: Some(LeaseId(9)),
    }
}

fn pair() -> Pair {
    Pair { key: "key".into(), value: versioned() }
}

fn messages(lines: &mut Lines) {
    let last = position(6, 70_000);
    let meta = SnapshotMeta { last, membership: membership() };
    let chunk = SnapshotChunk {
        meta,
        cursor: Cursor("from".into()),
        data: "data".into(),
        next: Some(Cursor("next".into())),
    };
    let accepted = AppendResult::Accepted { match_index: LogIndex(70_000) };
    let rejected = AppendResult::Rejected { prev_log: last, hint: position(5, 300) };
    let wants = SnapshotProgress::Wants(Cursor("next".into()));
    let installed = SnapshotProgress::Installed { match_index: LogIndex(70_000) };
    let append = |entries: Vec<Entry>| Body::AppendEntries {
        prev_log: last,
        entries: entries.into(),
        leader_commit: LogIndex(69_999),
        round: 12,
    };
    for (name, body) in [
        ("pre_vote", Body::PreVote { next_term: Term(8), last_log: last }),
        ("pre_vote_reply", Body::PreVoteReply { next_term: Term(8), granted: true }),
        ("request_vote", Body::RequestVote { last_log: last, transfer: true }),
        ("request_vote_reply", Body::RequestVoteReply { granted: false }),
        ("append_entries", append(entries())),
        ("heartbeat", append(Vec::new())),
        ("append_accepted", Body::AppendEntriesReply { round: 12, result: accepted }),
        ("append_rejected", Body::AppendEntriesReply { round: 12, result: rejected }),
        ("install_snapshot", Body::InstallSnapshot { chunk: Box::new(chunk), round: 12 }),
        ("snapshot_wants", Body::InstallSnapshotReply { last, round: 12, result: wants }),
        ("snapshot_installed", Body::InstallSnapshotReply { last, round: 12, result: installed }),
        ("timeout_now", Body::TimeoutNow),
        ("read_index", Body::ReadIndex { question: 900 }),
        ("read_index_reply", Body::ReadIndexReply { question: 900, read_index: Some(LogIndex(5)) }),
        ("read_index_refused", Body::ReadIndexReply { question: 900, read_index: None }),
    ] {
        let message =
            Message { from: NodeId(1), to: NodeId(300), seq: 1 << 40, term: Term(7), body };
        lines.add(&format!("message/{name}"), &message);
    }
}

fn records(lines: &mut Lines) {
    let hard_state = HardState {
        current_term: Term(7),
        voted_for: Some(NodeId(2)),
        stranger_until: Some(LogIndex(20)),
    };
    let write = Write {
        id: WriteId(1000),
        hard_state,
        truncate_from: Some(LogIndex(69_000)),
        compact_to: Some(position(3, 60_000)),
        entries: entries().into(),
        commit_index: LogIndex(69_999),
    };
    lines.add("record/write", &write);
    let least = Write {
        id: WriteId(1),
        hard_state: HardState::default(),
        truncate_from: None,
        compact_to: None,
        entries: Vec::new().into(),
        commit_index: LogIndex(0),
    };
    lines.add("record/least", &least);
}

fn transaction() -> Transaction {
    let comparison = |target, relation| Comparison { key: "key".into(), target, relation };
    Transaction {
        compare: vec![
            comparison(Target::Value(Some("value".into())), Relation::Equal),
            comparison(Target::Value(None), Relation::NotEqual),
            comparison(Target::Version(1), Relation::Less),
            comparison(Target::CreateRevision(2), Relation::Greater),
            comparison(Target::ModRevision(3), Relation::Equal),
        ],
        then: vec![
            Operation::Get { key: "key".into() },
            Operation::Range { range: KeyRange::prefix("k"), limit: 1000 },
            Operation::Put { key: "key".into(), value: "value".into(), lease: Some(LeaseId(9)) },
            Operation::Delete { key: "key".into() },
        ],
        otherwise: vec![Operation::DeleteRange(KeyRange::all())],
    }
}

fn commands(lines: &mut Lines) {
    let put = Command::Put { key: "key".into(), value: "value".into(), lease: Some(LeaseId(9)) };
    let swap = |expected| Command::compare_and_set("key", expected, "value");
    for (name, command) in [
        ("put", put.clone()),
        ("delete", Command::delete("key")),
        ("delete_range", Command::DeleteRange(KeyRange::prefix("k"))),
        ("if_absent", swap(Expected::Absent)),
        ("if_present", swap(Expected::Present)),
        ("if_value", swap(Expected::Value("old".into()))),
        ("if_revision", swap(Expected::Revision(70_000))),
        ("transaction", Command::Transaction(transaction())),
        ("grant_lease", Command::GrantLease { ttl: 5_000_000 }),
        ("keep_lease_alive", Command::KeepLeaseAlive(LeaseId(9))),
        ("revoke_lease", Command::RevokeLease(LeaseId(9))),
        ("open_session", Command::OpenSession { ttl: 5_000_000 }),
        ("close_session", Command::CloseSession(SessionId(8))),
        ("in_session", put.in_session(SessionId(8), 3)),
        ("advance_clock", Command::AdvanceClock { to: 1 << 40 }),
        ("once", put.once(1 << 60, 1 << 61, 5_000_000)),
    ] {
        lines.add(&format!("command/{name}"), &command);
    }
}

fn answers(lines: &mut Lines) {
    let results = vec![
        OperationResult::Found(Some(pair())),
        OperationResult::Found(None),
        OperationResult::Pairs(vec![pair()]),
        OperationResult::Done { existed: true },
        OperationResult::Removed { keys: 3 },
    ];
    let refusals = [
        Refusal::NoSuchLease,
        Refusal::NoSuchSession,
        Refusal::SupersededRequest,
        Refusal::NotInSession,
        Refusal::TimeToLive,
        Refusal::TooMany,
        Refusal::Malformed,
        Refusal::NameReused,
    ];
    let refused = refusals.map(|refusal| ("refused", Answer::Refused(refusal)));
    let others = [
        ("done", Answer::Done { existed: true }),
        ("removed", Answer::Removed { keys: 3 }),
        ("compared", Answer::Compared { succeeded: false, found: Some(Box::new(pair())) }),
        ("transaction", Answer::Transaction { succeeded: true, results }),
        ("lease", Answer::Lease { id: LeaseId(9), ttl: 5_000_000 }),
        ("lease_revoked", Answer::LeaseRevoked { keys: 3 }),
        ("session", Answer::Session(SessionId(8))),
        ("session_closed", Answer::SessionClosed),
        ("clock", Answer::Clock { keys: 3 }),
    ];
    for (name, answer) in others.into_iter().chain(refused) {
        lines.add(&format!("answer/{name}"), &Applied { revision: 70_000, answer });
    }
}

/// A state with every kind of content, made by the rules of the first release.
fn fill(mut store: KvStore) -> Snapshot {
    let put =
        |key: &'static str, lease| Command::Put { key: key.into(), value: "value".into(), lease };
    for command in [
        Command::AdvanceClock { to: 1_000_000 },
        Command::GrantLease { ttl: 5_000_000 },
        put("tied", Some(LeaseId(1))),
        put("key", None),
        put("key", None),
        Command::OpenSession { ttl: 9_000_000 },
        put("x", None).in_session(SessionId(2), 3),
        put("y", None).once(4, 5, 6_000_000),
        Command::delete("x"),
    ] {
        store.apply(command);
    }
    Snapshot { meta: SnapshotMeta { last: position(7, 9), membership: membership() }, store }
}

fn lines(first_release: KvStore) -> String {
    let mut lines = Lines::default();
    messages(&mut lines);
    records(&mut lines);
    commands(&mut lines);
    answers(&mut lines);
    let snapshot = fill(first_release);
    let (chunk, next) = snapshot.chunk(&Cursor::default(), 1 << 20);
    assert_eq!(next, None, "the state is one chunk");
    lines.line("snapshot/chunk", &chunk);
    lines.add("snapshot/meta", &snapshot.meta);
    lines.0
}

/// Guards compatibility: what the first release wrote decodes, and encodes to the same bytes. A
/// failure shows a change that the previous release cannot read.
#[check]
fn the_first_release_is_read_and_written_to_the_byte() {
    let now = lines(KvStore::under(Semantics::FIRST));
    for (now, then) in now.lines().zip(FIRST_RELEASE.lines()) {
        assert_eq!(now, then, "name and bytes");
    }
    assert_eq!(now.lines().count(), FIRST_RELEASE.lines().count());
}

/// Guards that the encoding of a message that a later release added does not change.
#[check]
fn a_digest_is_written_to_the_byte() {
    let (index, digest, reply) = (LogIndex(70_000), 0x0102_0304_0506_0708, true);
    let body = Body::StateDigest { index, digest, reply };
    let message = Message { from: NodeId(1), to: NodeId(300), seq: 1 << 40, term: Term(7), body };
    let mut lines = Lines::default();
    lines.add("message/state_digest", &message);
    let then =
        "message/state_digest 01fb2c01fd0000000000010000070bfc70110100fd080706050403020101\n";
    assert_eq!(lines.0, then);
}

fn bytes_of(name: &str) -> Vec<u8> {
    let line = FIRST_RELEASE.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let digits = line.expect("a line of this name").as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("hexadecimal digits");
    let byte = |pair: &[u8]| u8::try_from(16 * digit(pair[0]) + digit(pair[1])).expect("a byte");
    digits.chunks(2).map(byte).collect()
}

fn rebuilt(chunk: &[u8]) -> Snapshot {
    let mut builder = SnapshotBuilder::new(SnapshotMeta::default());
    let built = builder.add(chunk, None).expect("it can be read");
    built.expect("it is the only chunk")
}

/// Guards that a state of the first release loads and continues under the rules of that release.
#[check]
fn a_state_of_the_first_release_goes_on_by_its_rules() {
    let read = rebuilt(&bytes_of("snapshot/chunk"));
    let expected = fill(KvStore::under(Semantics::FIRST));
    assert_eq!(read.store.digest(), expected.store.digest());
    assert_eq!(read.store.semantics(), Semantics::FIRST);
}

/// Guards that replicas follow the same rules: the log raises them, snapshots carry them, they
/// never go back, and unknown rules are refused.
#[check]
fn rules_are_raised_by_the_log_and_travel_with_the_state() {
    let mut snapshot = fill(KvStore::under(Semantics::FIRST));
    let before = snapshot.store.digest();
    let raised = snapshot.store.apply(Command::RaiseSemantics { to: Semantics::LATEST });
    assert_eq!(raised.answer, Answer::Semantics { now: Semantics::LATEST });
    assert_ne!(snapshot.store.digest(), before, "states under other rules are told apart");
    let lowered = snapshot.store.apply(Command::RaiseSemantics { to: Semantics::FIRST });
    assert_eq!(lowered.answer, Answer::Semantics { now: Semantics::LATEST });
    let (chunk, _) = snapshot.chunk(&Cursor::default(), 1 << 20);
    let read = rebuilt(&chunk);
    assert_eq!(read.store.semantics(), Semantics::LATEST);
    assert_eq!(read.store.digest(), snapshot.store.digest());
    let beyond = Semantics(Semantics::LATEST.0 + 1);
    let refused = snapshot.store.apply(Command::RaiseSemantics { to: beyond });
    assert_eq!(refused.answer, Answer::Refused(Refusal::Malformed));
    assert_eq!(snapshot.store.semantics(), Semantics::LATEST);
}

/// Guards an upgraded cluster: its leader raises the rules through the log once all members know
/// them, and only once.
#[check]
fn a_leader_raises_the_rules_once_all_members_know_them() {
    let mut alone = Alone::leader_under(Semantics::FIRST);
    alone.propose(1, "x", "1");
    alone.persist_all();
    alone.accept(S2, 2);
    assert_eq!(alone.replica.store().semantics(), Semantics::FIRST);
    alone.step(Input::MembersKnow(Semantics::LATEST));
    alone.persist_all();
    let last = alone.replica.status().last.index.0;
    alone.accept(S2, last);
    assert_eq!(alone.replica.store().semantics(), Semantics::LATEST);
    alone.step(Input::MembersKnow(Semantics::LATEST));
    assert_eq!(alone.replica.status().last.index.0, last, "once is enough");
}

/// Guards that what is known of the members does not count for a member that joined later.
#[check]
fn of_members_that_came_since_nothing_is_known() {
    let three = Membership::of([S1, S2, S3]);
    let meta = SnapshotMeta { membership: three.clone(), ..SnapshotMeta::default() };
    let snapshot = Snapshot { meta, store: KvStore::under(Semantics::FIRST) };
    let mut alone = Alone::recovered(Recovered::default(), Some(snapshot), Config::default());
    alone.step(Input::MembersKnow(Semantics::LATEST));
    let joined = Membership { learners: [NodeId(4)].into(), ..three };
    let payload = Payload::Membership(Box::new(joined));
    let entries = vec![Entry { index: LogIndex(1), term: Term(1), payload }].into();
    let (prev_log, leader_commit) = (LogPosition::ZERO, LogIndex(0));
    alone.receive(S2, 1, Body::AppendEntries { prev_log, entries, leader_commit, round: 1 });
    alone.persist_all();
    let mut alone = alone.elected_in(2);
    assert_eq!(alone.replica.status().last.index, LogIndex(2), "its own first entry is the last");
    alone.step(Input::MembersKnow(Semantics::LATEST));
    assert_eq!(alone.replica.status().last.index, LogIndex(3), "now it is known of all");
}

/// Guards that answers that the first release remembers whole stay whole until later rules apply.
#[check]
fn a_named_comparison_is_remembered_as_the_first_release_does() {
    for (semantics, whole) in [(Semantics::FIRST, true), (Semantics::LATEST, false)] {
        let mut store = KvStore::under(semantics);
        store.apply(Command::put("key", vec![b'x'; 5_000]));
        let swap = Command::compare_and_set("key", Expected::Present, "new").once(1, 2, 5_000_000);
        let first = store.apply(swap.clone());
        assert!(matches!(first.answer, Answer::Compared { found: Some(_), .. }));
        assert_eq!(store.apply(swap) == first, whole, "{semantics:?}");
    }
}
