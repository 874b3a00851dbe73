//! Each bound, at its value and one above; what fits must pass through a snapshot.

use bytes::Bytes;
use raft_core::codec;
use raft_core::kv::{
    Answer, Applied, Command, Expected, KeyRange, KvStore, Operation, OperationResult, Refusal,
    SessionId, Snapshot, SnapshotBuilder, Transaction,
};
use raft_core::limits::{
    CHUNK_ENVELOPE_BYTES, MAX_ANSWER_BYTES, MAX_CHUNK_BYTES, MAX_ENCODED_CHUNK_BYTES,
    MAX_KEY_BYTES, MAX_LEASES, MAX_REMEMBERED_BYTES, MAX_RESULT_BYTES, MAX_SESSION_TTL,
    MAX_SESSIONS, MAX_TTL, MAX_VALUE_BYTES, MIN_IDLE, MIN_REMEMBERED, MIN_TTL, NAMED_GRACE,
    PAIR_OVERHEAD, Semantics,
};
use raft_core::message::{Body, Message, SnapshotChunk};
use raft_core::snapshot::{Cursor, SnapshotMeta};
use raft_core::types::{LeaseId, MILLISECOND, Micros, NodeId, SECOND, Term};

use crate::lab::check;

fn value(bytes: usize) -> Bytes {
    vec![b'v'; bytes].into()
}

fn transaction(then: Vec<Operation>) -> Command {
    Command::Transaction(Transaction { then, ..Transaction::default() })
}

fn gets(count: usize) -> Command {
    transaction(vec![Operation::Get { key: "a".into() }; count])
}

fn refused(refusal: Refusal) -> Answer {
    Answer::Refused(refusal)
}

fn open_session(store: &mut KvStore, ttl: Micros) -> SessionId {
    match store.apply(Command::OpenSession { ttl }).answer {
        Answer::Session(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Sends the state as a leader would, with each message encoded and decoded, and returns what
/// arrives. Asserts that all messages are within the bounds of the reader.
fn sent(store: &KvStore, chunk_bytes: usize) -> KvStore {
    let meta = SnapshotMeta::default();
    let snapshot = Snapshot { meta: meta.clone(), store: store.clone() };
    let mut builder = SnapshotBuilder::new(meta.clone());
    loop {
        let cursor = builder.cursor().clone();
        let (data, next) = snapshot.chunk(&cursor, chunk_bytes);
        assert!(data.len() <= MAX_ENCODED_CHUNK_BYTES);
        let length = data.len();
        let chunk = Box::new(SnapshotChunk { meta: meta.clone(), cursor, data, next });
        let (from, to, term) = (NodeId(1), NodeId(2), Term(1));
        let body = Body::InstallSnapshot { chunk, round: 1 };
        let bytes = codec::encode(&[Message { from, to, seq: 1, term, body }][..]);
        assert!(bytes.len() <= length + CHUNK_ENVELOPE_BYTES);
        let messages: Vec<Message> = codec::decode(&bytes).expect("what is sent can be read");
        let [Message { body: Body::InstallSnapshot { chunk, .. }, .. }] = &messages[..] else {
            panic!("one chunk was sent")
        };
        let added = builder.add(&chunk.data, chunk.next.clone());
        if let Some(Snapshot { store: copy, .. }) = added.expect("the chunk fits") {
            assert_eq!(copy.digest(), store.digest());
            assert_eq!(copy.memory(), store.memory(), "it is counted up again to the same");
            return copy;
        }
    }
}

/// Guards that the answers that a session remembers never make a state that cannot be saved or
/// sent. A refused command changes nothing.
#[check]
fn large_answers_in_a_session_never_spoil_the_state() {
    let mut store = KvStore::default();
    store.apply(Command::put("a", value(MAX_VALUE_BYTES)));
    for number in 0..1000 {
        store.apply(Command::put(format!("p{number:04}"), value(17_000)));
    }
    let session = open_session(&mut store, SECOND);
    let range = Operation::Range { range: KeyRange::prefix("p"), limit: 1000 };
    let swap = Command::compare_and_set("a", Expected::Absent, "b");
    for (sequence, command, fits) in [
        (1, gets(70), false),
        (2, gets(20), false),
        (3, gets(1), true),
        (4, transaction(vec![range]), false),
        (5, swap, true),
    ] {
        let before = store.digest();
        let applied = store.apply(command.clone());
        assert_eq!(store.digest(), before, "it only reads");
        assert_eq!(applied.answer != refused(Refusal::ResultTooLarge), fits, "{command}");
        assert_eq!(store.apply(command.in_session(session, sequence)), applied);
        for chunk_bytes in [1, 512 << 10, MAX_CHUNK_BYTES] {
            sent(&store, chunk_bytes);
        }
        let kept = store.session(session).and_then(|it| it.answer.clone()).expect("answered");
        assert!(codec::encode(&kept).len() <= MAX_REMEMBERED_BYTES + 64);
    }
}

/// Guards that ten thousand sessions with large answers take little memory.
#[check]
fn many_sessions_with_large_answers_take_little_memory() {
    let mut store = KvStore::default();
    store.apply(Command::put("a", value(MAX_VALUE_BYTES)));
    let before = store.memory();
    for _ in 0..MAX_SESSIONS {
        let session = open_session(&mut store, SECOND);
        let swap = Command::compare_and_set("a", Expected::Absent, "b");
        let applied = store.apply(swap.in_session(session, 1));
        assert!(matches!(applied.answer, Answer::Compared { succeeded: false, found: Some(_) }));
        let again = store.apply(swap.in_session(session, 1));
        let forgotten = Answer::Transaction { succeeded: false, results: Vec::new() };
        assert_eq!(again, Applied { revision: applied.revision, answer: forgotten });
    }
    assert!(store.memory() - before < 4 << 20, "{}", store.memory() - before);
}

/// Guards the bound on what a transaction reads, to the byte: with existing values and values that
/// it has just set. With one byte more the transaction does nothing.
#[check]
fn a_transaction_reads_so_much_and_no_more() {
    let rest = MAX_RESULT_BYTES - 3 * (PAIR_OVERHEAD + 1) - 2 * 700_000;
    for (surplus, fits) in [(0, true), (1, false)] {
        let mut store = KvStore::default();
        store.apply(Command::put("a", value(700_000)));
        store.apply(Command::put("b", value(1)));
        let read = transaction(vec![
            Operation::Get { key: "a".into() },
            Operation::Put { key: "b".into(), value: value(rest + surplus), lease: None },
            Operation::Range { range: KeyRange::all(), limit: 10 },
            Operation::Delete { key: "a".into() },
        ]);
        let (digest, changes) = (store.digest(), store.changes().after(0).map(Iterator::count));
        let applied = store.apply(read);
        if fits {
            assert!(matches!(applied.answer, Answer::Transaction { succeeded: true, .. }));
            assert_eq!((applied.revision, store.len()), (3, 1));
            let Answer::Transaction { results, .. } = applied.answer else { unreachable!() };
            assert!(codec::encode(&results).len() <= MAX_RESULT_BYTES);
            assert!(matches!(&results[2], OperationResult::Pairs(pairs) if pairs.len() == 2));
        } else {
            assert_eq!(applied, Applied { revision: 2, answer: refused(Refusal::ResultTooLarge) });
            assert_eq!(store.digest(), digest);
            assert_eq!(store.changes().after(0).map(Iterator::count), changes);
        }
    }
}

/// Guards the bound on the answers that sessions and names remember, to the byte.
#[check]
fn an_answer_is_remembered_up_to_its_bound() {
    // The list length, result kind and option tag; the key; the value length; the revisions, the
    // version and the missing lease.
    let rest = MAX_REMEMBERED_BYTES - (1 + 1 + 1) - (1 + 1) - 3 - 4;
    for (surplus, remembered) in [(0, true), (1, false)] {
        let mut store = KvStore::default();
        store.apply(Command::put("a", value(rest + surplus)));
        let session = open_session(&mut store, SECOND);
        for command in [gets(1).in_session(session, 1), gets(1).once(1, 1, SECOND)] {
            let first = store.apply(command.clone());
            let again = store.apply(command);
            assert_eq!(first == again, remembered);
            assert!(matches!(again.answer, Answer::Transaction { succeeded: true, .. }));
        }
    }
}

/// Guards that a chunk of many tiny parts stays within the bounds of the encoder and the decoder.
#[check]
fn tiny_parts_do_not_add_up_to_a_chunk_that_cannot_be_read() {
    let mut store = KvStore::default();
    for number in 0_u32..200_000 {
        store.apply(Command::put(number.to_le_bytes().to_vec(), ""));
    }
    for _ in 0..1000 {
        store.apply(Command::GrantLease { ttl: MAX_TTL });
    }
    sent(&store, MAX_CHUNK_BYTES);
}

/// Guards that the largest key, value and lease pass through commands and snapshots.
#[check]
fn the_largest_pairs_travel() {
    let mut store = KvStore::default();
    let lease = Command::GrantLease { ttl: MAX_TTL };
    assert_eq!(store.apply(lease).answer, Answer::Lease { id: LeaseId(1), ttl: MAX_TTL });
    for fill in 0..3 {
        let put = Command::Put {
            key: vec![fill; MAX_KEY_BYTES].into(),
            value: value(MAX_VALUE_BYTES),
            lease: Some(LeaseId(1)),
        };
        store.apply(Command::decode(&put.encode()).expect("just encoded"));
    }
    for chunk_bytes in [1, MAX_CHUNK_BYTES] {
        let copy = sent(&store, chunk_bytes);
        assert_eq!(copy.lease_keys(LeaseId(1)).count(), 3);
    }
}

/// Guards that a state of an earlier release, whose sessions kept whole answers, loads and is then
/// brought within the bounds.
#[check]
fn an_earlier_releases_large_answer_is_cut_when_it_is_loaded() {
    let mut old = KvStore::under(Semantics::FIRST);
    old.apply(Command::put("a", value(MAX_VALUE_BYTES)));
    let session = open_session(&mut old, SECOND);
    for (sequence, count) in [(1, 7), (2, 20)] {
        let applied = old.apply(gets(count).in_session(session, sequence));
        let Answer::Transaction { results, .. } = &applied.answer else { panic!("{applied}") };
        assert_eq!(results.len(), count, "these rules bound no results");
        let kept = old.session(session).and_then(|it| it.answer.clone()).expect("answered");
        let whole = codec::encode(&applied).len() <= MAX_ANSWER_BYTES;
        assert_eq!(kept == applied, whole, "{count} gets");
        sent(&old, MAX_CHUNK_BYTES);
    }
    let applied = old.apply(gets(20));
    // The state as that release left it.
    let timekeeping = {
        let mut timekeeping = old.timekeeping(10);
        timekeeping.sessions[0].1.answer = Some(applied);
        timekeeping
    };
    let mut loaded = KvStore::of_parts(1, &[], &timekeeping);
    loaded.forget_large_answers();
    sent(&loaded, MAX_CHUNK_BYTES);
    let kept = loaded.session(session).and_then(|it| it.answer.clone()).expect("answered");
    assert_eq!(kept.answer, Answer::Transaction { succeeded: true, results: Vec::new() });
}

/// Guards the bounds of times to live, at both ends and one beyond.
#[check]
fn times_to_live_are_bounded() {
    let mut store = KvStore::default();
    for (ttl, lease, session) in [
        (MIN_TTL - 1, false, false),
        (MIN_TTL, true, true),
        (MAX_SESSION_TTL, true, true),
        (MAX_SESSION_TTL + 1, true, false),
        (MAX_TTL, true, false),
        (MAX_TTL + 1, false, false),
    ] {
        let granted = store.apply(Command::GrantLease { ttl }).answer;
        assert_eq!(matches!(granted, Answer::Lease { .. }), lease, "{ttl} µs");
        let opened = store.apply(Command::OpenSession { ttl }).answer;
        assert_eq!(matches!(opened, Answer::Session(_)), session, "{ttl} µs");
    }
    sent(&store, 1);
}

/// Guards that at the maximum number of sessions, the session idle longest makes room after a
/// minute.
#[check]
fn an_idle_session_makes_room_for_another() {
    let mut store = KvStore::default();
    let first = open_session(&mut store, MAX_SESSION_TTL);
    let second = open_session(&mut store, SECOND * 3600);
    for _ in 2..MAX_SESSIONS {
        open_session(&mut store, MAX_SESSION_TTL);
    }
    let another = Command::OpenSession { ttl: SECOND };
    assert_eq!(store.apply(another.clone()).answer, refused(Refusal::TooMany));
    store.apply(Command::AdvanceClock { to: MIN_IDLE - 1 });
    assert_eq!(store.apply(another.clone()).answer, refused(Refusal::TooMany));
    let write = Command::put("x", "1");
    store.apply(write.in_session(first, 1));
    store.apply(Command::AdvanceClock { to: MIN_IDLE });
    store.apply(Command::AdvanceClock { to: 2 * MIN_IDLE });
    assert!(matches!(store.apply(another).answer, Answer::Session(_)));
    assert_eq!(store.session_count(), MAX_SESSIONS);
    assert!(store.session(first).is_some(), "it was used");
    assert!(store.session(second).is_none(), "it idled longest, with the lowest number");
    let late = store.apply(write.in_session(second, 1)).answer;
    assert_eq!(late, refused(Refusal::NoSuchSession), "and is never carried out twice");
}

/// Guards that leases are bounded: a lease beyond the bound is refused until another lease ends.
#[check]
fn leases_are_bounded_in_number() {
    let mut store = KvStore::default();
    let grant = Command::GrantLease { ttl: MAX_TTL };
    for _ in 0..MAX_LEASES {
        assert!(matches!(store.apply(grant.clone()).answer, Answer::Lease { .. }));
    }
    assert_eq!(store.apply(grant.clone()).answer, refused(Refusal::TooMany));
    store.apply(Command::RevokeLease(LeaseId(1)));
    assert!(matches!(store.apply(grant).answer, Answer::Lease { .. }));
}

/// Guards idempotency keys against a client that uses very many: a hundred thousand at once leave
/// room for more. Without room a request is refused and changes nothing. The oldest make room, but
/// never within the time in which a client may retry.
#[check]
fn many_names_shut_nobody_out_and_forget_nothing_early() {
    const TTL: Micros = 600 * SECOND;
    let mut store = KvStore::default();
    let put = |name: u64| Command::put("x", "1").once(name, name, TTL);
    let mut count = 0;
    while store.apply(put(count)).answer != refused(Refusal::TooMany) {
        count += 1;
    }
    assert!(count > 500_000, "{count}");
    assert_eq!(store.named_requests() as u64, count);
    let revision = store.revision();
    for name in [0, count - 1] {
        assert!(store.apply(put(name)).revision <= revision, "all are remembered");
    }
    let time = MIN_REMEMBERED + NAMED_GRACE;
    store.apply(Command::AdvanceClock { to: time - 1 });
    assert_eq!(store.apply(put(count)).answer, refused(Refusal::TooMany));
    assert!(store.apply(put(0)).revision <= revision, "the oldest may be sent again until then");
    store.apply(Command::AdvanceClock { to: time });
    assert_eq!(store.apply(put(count)).revision, revision + 1, "there is room");
    assert_eq!(store.named_requests() as u64, count);
    assert!(store.apply(put(count - 1)).revision <= revision, "the newest are remembered");
}

/// Guards that the memory count of the state includes all that is added, and drops when it is
/// removed.
#[check]
fn memory_is_counted_and_given_back() {
    let mut store = KvStore::default();
    let empty = store.memory();
    assert_eq!(empty, 0);
    store.apply(Command::GrantLease { ttl: SECOND });
    let session = open_session(&mut store, SECOND);
    let put = |key: &'static str| Command::Put {
        key: key.into(),
        value: value(1000),
        lease: Some(LeaseId(1)),
    };
    store.apply(put("a"));
    store.apply(put("a"));
    store.apply(put("b").in_session(session, 1));
    store.apply(gets(3).in_session(session, 2));
    store.apply(put("c").once(1, 1, SECOND));
    assert!(store.memory() > 3 * 1000 + 3 * 1000, "{}", store.memory());
    for to in [1, 2, 3 * SECOND] {
        store.apply(Command::AdvanceClock { to });
    }
    assert_eq!(store.memory(), empty);
}

/// Guards the way out of a full state: a command that only removes does not grow it.
#[check]
fn what_removes_something_does_not_grow_the_state() {
    let put = Operation::Put { key: "a".into(), value: "1".into(), lease: None };
    let delete = Operation::Delete { key: "a".into() };
    let swap = Command::compare_and_set("a", Expected::Absent, "1");
    for (command, grows) in [
        (Command::put("a", "1"), true),
        (swap, true),
        (transaction(vec![delete.clone(), put]), true),
        (Command::GrantLease { ttl: SECOND }, true),
        (Command::OpenSession { ttl: SECOND }, false),
        (Command::delete("a"), false),
        (Command::DeleteRange(KeyRange::all()), false),
        (transaction(vec![delete]), false),
        (gets(1), false),
        (Command::KeepLeaseAlive(LeaseId(1)), false),
        (Command::RevokeLease(LeaseId(1)), false),
        (Command::CloseSession(SessionId(1)), false),
        (Command::AdvanceClock { to: MILLISECOND }, false),
    ] {
        assert_eq!(command.grows(), grows, "{command}");
        assert_eq!(command.in_session(SessionId(1), 1).grows(), grows, "{command}");
        assert_eq!(command.once(1, 1, SECOND).grows(), grows, "{command}");
    }
}

/// Guards that a change of more keys than history holds is kept whole for watchers of the previous
/// revision.
#[check]
fn a_change_of_very_many_keys_is_there_as_a_whole() {
    let mut store = KvStore::default();
    store.apply(Command::GrantLease { ttl: SECOND });
    for number in 0..13_000 {
        let lease = (number % 2 == 0).then_some(LeaseId(1));
        let key = format!("k{number:05}").into();
        store.apply(Command::Put { key, value: "1".into(), lease });
    }
    store.apply(Command::put("other", "1"));
    let seen = store.revision();
    let revoked = store.apply(Command::RevokeLease(LeaseId(1))).answer;
    assert_eq!(revoked, Answer::LeaseRevoked { keys: 6_500 });
    let removed = store.apply(Command::DeleteRange(KeyRange::prefix("k"))).answer;
    assert_eq!(removed, Answer::Removed { keys: 6_500 });
    store.apply(Command::put("other", "2"));
    let changes = store.changes().after(seen).expect("they are kept");
    assert_eq!(changes.count(), 13_000 + 1);
    sent(&store, MAX_CHUNK_BYTES);
}

/// Guards that each chunk begins where the previous chunk ends.
#[check]
fn chunks_follow_each_other_without_gap() {
    let mut store = KvStore::default();
    for number in 0..50 {
        store.apply(Command::put(format!("{number}"), value(number * 97 % 300)));
        open_session(&mut store, SECOND);
        store.apply(Command::delete("1").once(number as u64, 1, SECOND));
    }
    for chunk_bytes in 1..500 {
        let copy = sent(&store, chunk_bytes);
        assert_eq!((copy.session_count(), copy.named_requests()), (50, 50));
    }
    let start = Snapshot { meta: SnapshotMeta::default(), store };
    assert!(start.chunk(&Cursor::default(), usize::MAX).1.is_none());
}
