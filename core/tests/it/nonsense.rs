//! Messages that no correct peer sends are refused and counted. They stop no server, exhaust no
//! terms or indexes, and change nothing that is committed.

use proptest::prelude::*;
use raft_core::config::Config;
use raft_core::durable::{HardState, Recovered, Write};
use raft_core::event::{MessageRefusal, RoleName};
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::limits::MAX_CURSOR_BYTES;
use raft_core::log::{Entries, Entry, Log, Payload};
use raft_core::membership::Membership;
use raft_core::message::{AppendResult, Body, Message, SnapshotChunk, SnapshotProgress};
use raft_core::replica::{Halt, Input};
use raft_core::rules::{INDEX_HORIZON, Rules, TERM_HORIZON, TERM_STEP};
use raft_core::snapshot::{Cursor, SnapshotMeta};
use raft_core::types::{LogIndex, LogPosition, MILLISECOND, NodeId, RequestId, Term};

use crate::lab::{Alone, S1, S2, S3};

fn entry(term: u64, index: u64) -> Entry {
    Entry { index: LogIndex(index), term: Term(term), payload: Payload::Noop }
}

fn append(prev_log: (u64, u64), entries: Vec<Entry>, commit: u64) -> Body {
    Body::AppendEntries {
        prev_log: LogPosition::new(prev_log.0, prev_log.1),
        entries: Entries::from(entries),
        leader_commit: LogIndex(commit),
        round: 1,
    }
}

/// A server in term 3 with a snapshot, entries 3 to 6 after it, and commit index 4.
fn started() -> Alone {
    let recovered = Recovered {
        hard_state: HardState { current_term: Term(3), ..HardState::default() },
        base: LogPosition::new(1, 2),
        entries: vec![entry(1, 3), entry(2, 4), entry(2, 5), entry(2, 6)],
        commit_index: LogIndex(4),
    };
    let config = Config { max_in_flight: 2, max_batch_bytes: 60, ..Config::default() };
    Alone::recovered(recovered, Some(compacted()), config)
}

/// The snapshot of [`started`].
fn compacted() -> Snapshot {
    let meta = SnapshotMeta {
        last: LogPosition::new(1, 2),
        membership: Membership { learners: [NodeId(4)].into(), ..Membership::of([S1, S2, S3]) },
    };
    let mut store = KvStore::default();
    store.apply(Command::put("x", "1"));
    Snapshot { meta, store }
}

/// The server of [`started`] in this role. A follower follows S2.
fn in_role(role: RoleName) -> Alone {
    let mut alone = started();
    match role {
        RoleName::Follower => alone.receive(S2, 3, append((2, 6), Vec::new(), 4)),
        RoleName::PreCandidate => alone.time_out(),
        RoleName::Candidate | RoleName::Leader => {
            alone.time_out();
            let next_term = Term(4);
            alone.receive(S2, 3, Body::PreVoteReply { next_term, granted: true });
        }
    }
    if role == RoleName::Leader {
        alone.persist_all();
        alone.receive(S2, 4, Body::RequestVoteReply { granted: true });
    }
    alone.persist_all();
    assert_eq!(alone.replica.status().role, role);
    alone.take_sent();
    alone
}

fn chunk(last: (u64, u64), membership: Membership, next: Option<&'static [u8]>) -> Body {
    let chunk = SnapshotChunk {
        meta: SnapshotMeta { last: LogPosition::new(last.0, last.1), membership },
        cursor: Cursor::default(),
        data: bytes::Bytes::new(),
        next: next.map(|next| Cursor(next.into())),
    };
    Body::InstallSnapshot { chunk: Box::new(chunk), round: 1 }
}

/// One byte longer than a cursor may be.
static LONG: [u8; MAX_CURSOR_BYTES + 1] = [b'c'; MAX_CURSOR_BYTES + 1];

fn wants(cursor: &'static [u8]) -> Body {
    let result = SnapshotProgress::Wants(Cursor(cursor.into()));
    Body::InstallSnapshotReply { last: LogPosition::new(2, 6), round: 1, result }
}

fn accepted(round: u64, index: u64) -> Body {
    let result = AppendResult::Accepted { match_index: LogIndex(index) };
    Body::AppendEntriesReply { round, result }
}

fn reply(read_index: Option<u64>) -> Body {
    Body::ReadIndexReply { question: 1, read_index: read_index.map(LogIndex) }
}

/// Guards that each refused message is counted with its sender and reason, changes no term, delays
/// no election and gets no answer.
#[test]
fn nonsense_is_refused_and_counted() {
    use MessageRefusal as R;
    use RoleName::{Candidate, Follower, Leader, PreCandidate};
    const MAX: u64 = u64::MAX;
    let voters = || Membership::of([S1, S2, S3]);
    let nobody = Entry { payload: Payload::Membership(Box::default()), ..entry(3, 7) };
    let last_log = LogPosition::new(2, 6);
    for (role, from, term, body, why) in [
        (Follower, 0, 3, append((2, 6), vec![], 4), R::WrongAddress),
        (Follower, 1, 3, append((2, 6), vec![], 4), R::WrongAddress),
        (Follower, 3, MAX, append((2, 6), vec![], 4), R::ImpossibleNumber),
        (Candidate, 3, MAX - 1_000_000, Body::TimeoutNow, R::ImpossibleNumber),
        (Leader, 3, MAX / 2, Body::RequestVoteReply { granted: false }, R::ImpossibleNumber),
        (Leader, 3, MAX, Body::RequestVote { last_log, transfer: true }, R::ImpossibleNumber),
        (PreCandidate, 3, 3, Body::PreVote { next_term: Term(MAX), last_log }, R::ImpossibleNumber),
        (Follower, 2, 3, append((2, MAX), vec![], 4), R::ImpossibleNumber),
        (Follower, 2, 3, append((2, MAX), vec![entry(3, MAX)], 4), R::ImpossibleNumber),
        (Follower, 2, 3, append((2, 6), vec![], MAX), R::ImpossibleNumber),
        (Follower, 2, 3, chunk((3, MAX), voters(), None), R::ImpossibleNumber),
        (Leader, 2, 4, accepted(1, MAX), R::ImpossibleNumber),
        (Follower, 2, 3, append((2, 6), vec![entry(3, 8)], 4), R::Malformed),
        (Follower, 2, 3, append((2, 6), vec![entry(3, 7), entry(3, 9)], 4), R::Malformed),
        (Follower, 2, 3, append((2, 6), vec![entry(3, 7), entry(2, 8)], 4), R::Malformed),
        (Follower, 2, 3, append((2, 6), vec![entry(4, 7)], 4), R::Malformed),
        (Follower, 2, 3, append((4, 6), vec![], 4), R::Malformed),
        (Follower, 2, 3, append((2, 0), vec![], 4), R::Malformed),
        (Follower, 2, 3, append((0, 5), vec![], 4), R::Malformed),
        (Follower, 2, 3, append((2, 6), vec![nobody], 4), R::Malformed),
        (Follower, 2, 3, chunk((4, 9), voters(), None), R::Malformed),
        (Follower, 2, 3, chunk((0, 0), voters(), None), R::Malformed),
        (Follower, 2, 3, chunk((0, 9), voters(), None), R::Malformed),
        (Follower, 2, 3, chunk((3, 9), Membership::default(), None), R::Malformed),
        (Follower, 2, 3, chunk((3, 9), voters(), Some(b"")), R::Malformed),
        (Follower, 2, 3, chunk((3, 9), voters(), Some(&LONG)), R::Malformed),
        (Leader, 2, 4, wants(&LONG), R::Malformed),
        (Follower, 3, 3, append((2, 6), vec![], 4), R::SecondLeader),
        (Follower, 3, 3, chunk((3, 9), voters(), None), R::SecondLeader),
        (Leader, 2, 4, append((2, 6), vec![], 4), R::SecondLeader),
        (Follower, 3, 3, Body::TimeoutNow, R::NotTheLeader),
        (Leader, 2, 4, Body::TimeoutNow, R::NotTheLeader),
        (Follower, 3, 3, reply(Some(4)), R::NotTheLeader),
        (Follower, 2, 3, append((1, 4), vec![], 4), R::ContradictsCommitted),
        (Follower, 2, 3, append((1, 3), vec![entry(3, 4)], 4), R::ContradictsCommitted),
        (Follower, 2, 3, append((2, 1), vec![], 4), R::ContradictsCommitted),
        (Follower, 2, 3, append((1, 5), vec![], 4), R::ContradictsCommitted),
        (Candidate, 2, 9, append((1, 3), vec![entry(3, 4)], 4), R::ContradictsCommitted),
        (Leader, 2, 9, append((1, 4), vec![], 4), R::ContradictsCommitted),
        (Follower, 2, 3, chunk((3, 4), voters(), None), R::ContradictsCommitted),
        (Follower, 2, 3, chunk((1, 9), voters(), None), R::ContradictsCommitted),
        (Follower, 2, 3, reply(Some(MAX)), R::ImpossibleNumber),
        (Leader, 2, 4, accepted(1, 99), R::Unasked),
        (Leader, 2, 4, accepted(99, 6), R::Unasked),
    ] {
        let mut alone = in_role(role);
        let before = (alone.replica.status(), alone.replica.deadline());
        alone.now = alone.now.after(MILLISECOND);
        alone.receive(NodeId(from), term, body.clone());
        let mut status = alone.replica.status();
        assert_eq!(status.latest_refused, Some((NodeId(from), why)), "{body:?} as {role:?}");
        assert_eq!(status.refused_messages, 1, "{body:?}");
        (status.refused_messages, status.latest_refused) = (0, None);
        assert_eq!((status, alone.replica.deadline()), before, "{body:?} as {role:?}");
        assert!(alone.sent.is_empty() && alone.writes.is_empty(), "{body:?}");
    }
}

/// Guards that messages that a correct peer may send, such as late or reordered messages, are not
/// counted as refused.
#[test]
fn what_only_came_late_is_not_counted() {
    let last_log = LogPosition::new(2, 6);
    for (role, from, term, body) in [
        (RoleName::Follower, 3, 3, Body::RequestVoteReply { granted: true }),
        (RoleName::Follower, 3, 3, reply(None)),
        (RoleName::Follower, 3, 1, append((1, 9), vec![entry(1, 10)], 99)),
        (RoleName::Follower, 9, 7, append((2, 6), vec![], 4)),
        (RoleName::Follower, 2, 3, append((3, 99), vec![], 4)),
        (RoleName::Follower, 2, 3, append((1, 2), vec![entry(1, 3), entry(2, 4)], 4)),
        (RoleName::Candidate, 3, 4, Body::TimeoutNow),
        // The members may have changed since the request.
        (RoleName::Candidate, 9, 4, Body::RequestVoteReply { granted: true }),
        (RoleName::PreCandidate, 9, 3, Body::PreVoteReply { next_term: Term(4), granted: true }),
        (RoleName::Candidate, 9, 4, Body::RequestVote { last_log, transfer: false }),
        (RoleName::Leader, 3, 3, accepted(99, 99)),
        (RoleName::Leader, 9, 4, accepted(0, 3)),
        (RoleName::Leader, 9, 4, Body::ReadIndex { question: 1 }),
    ] {
        let mut alone = in_role(role);
        alone.receive(NodeId(from), term, body.clone());
        assert_eq!(alone.replica.status().refused_messages, 0, "{body:?} as {role:?}");
        let voted = matches!(body, Body::RequestVoteReply { .. } | Body::PreVoteReply { .. });
        assert!(!voted || alone.replica.status().role == role, "who has no vote elects nobody");
    }
}

/// Guards that a peer cannot exhaust the terms: beyond the horizon a message raises the term by at
/// most `TERM_STEP`. To use up all terms takes more messages than a peer can ever send.
#[test]
fn terms_grow_in_small_steps_beyond_the_horizon() {
    let rules = Rules::default();
    let horizon = TERM_HORIZON.0;
    for (term, current, believed) in [
        (horizon, 0, true),
        (horizon + 1, 0, false),
        (horizon + 1, horizon, true),
        (horizon + TERM_STEP, horizon, true),
        (horizon + TERM_STEP + 1, horizon, false),
        (u64::MAX, u64::MAX - 1, true),
        (0, u64::MAX, true),
    ] {
        assert_eq!(rules.believes_term(Term(term), Term(current)), believed, "{term} at {current}");
    }
    const { assert!(u64::MAX / TERM_STEP > 1 << 40) };
    assert!(rules.believes_index(INDEX_HORIZON) && !rules.believes_index(INDEX_HORIZON.next()));
    // A cluster at the horizon still elects a leader.
    let mut alone = started();
    alone.receive(S3, horizon, Body::RequestVoteReply { granted: false });
    alone.persist_all();
    assert_eq!(alone.replica.status().term, TERM_HORIZON);
    alone.time_out();
    let next_term = TERM_HORIZON.next();
    alone.receive(S2, horizon, Body::PreVoteReply { next_term, granted: true });
    alone.persist_all();
    alone.receive(S2, horizon + 1, Body::RequestVoteReply { granted: true });
    assert_eq!(alone.replica.status().role, RoleName::Leader);
}

// Arbitrary messages

/// A number at which something may go wrong, usually a small one.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => 0_u64..10,
        1 => Just(u64::MAX),
        1 => u64::MAX - 10..u64::MAX,
        1 => Just(u64::MAX / 2),
        1 => (1_u64 << 40) - 2..(1 << 40) + 2,
        1 => (1_u64 << 56) - 2..(1 << 56) + 2,
        1 => any::<u64>(),
    ]
}

fn node() -> impl Strategy<Value = NodeId> {
    prop_oneof![8 => 1_u64..5, 1 => number()].prop_map(NodeId)
}

fn position() -> impl Strategy<Value = LogPosition> {
    // Positions in the log, close to it, and arbitrary.
    prop_oneof![
        2 => (2_u64..7).prop_map(|index| LogPosition::new(if index < 4 { 1 } else { 2 }, index)),
        1 => (1_u64..5, 1_u64..9).prop_map(|(term, index)| LogPosition::new(term, index)),
        1 => (number(), number()).prop_map(|(term, index)| LogPosition::new(term, index)),
    ]
}

fn membership() -> impl Strategy<Value = Membership> {
    let set = || prop::collection::btree_set(node(), 0..4);
    (set(), set(), set(), set()).prop_map(|(voters, outgoing, learners, target)| Membership {
        voters,
        outgoing,
        learners,
        target,
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        2 => Just(Payload::Noop),
        2 => Just(Payload::Command(Command::put("y", "2").encode())),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(|it| Payload::Command(it.into())),
        1 => membership().prop_map(|it| Payload::Membership(Box::new(it))),
    ]
}

/// Consecutive entries after `prev_log`, or arbitrary entries.
fn entries(prev_log: LogPosition) -> impl Strategy<Value = Entries> {
    let in_order = prop::collection::vec((0_u64..2, payload()), 0..4).prop_map(move |steps| {
        let (mut index, mut term) = (prev_log.index, prev_log.term.0);
        let next = |(step, payload)| {
            index = index.next();
            term = term.saturating_add(step);
            Entry { index, term: Term(term), payload }
        };
        steps.into_iter().map(next).collect::<Entries>()
    });
    let any = prop::collection::vec((number(), number(), payload()), 0..4).prop_map(|entries| {
        let entry =
            |(index, term, payload)| Entry { index: LogIndex(index), term: Term(term), payload };
        entries.into_iter().map(entry).collect::<Entries>()
    });
    prop_oneof![4 => in_order, 1 => any]
}

fn cursor() -> impl Strategy<Value = Cursor> {
    let bytes = prop::collection::vec(prop_oneof![3 => 0_u8..3, 1 => any::<u8>()], 0..5);
    prop_oneof![2 => Just(Cursor::default()), 1 => bytes.prop_map(|it| Cursor(it.into()))]
}

fn part() -> impl Strategy<Value = SnapshotChunk> {
    let data = prop_oneof![
        Just(true).prop_map(|_| {
            let mut store = KvStore::default();
            store.apply(Command::put("z", "3"));
            let snapshot = Snapshot { meta: SnapshotMeta::default(), store };
            snapshot.chunk(&Cursor::default(), 1_000).0
        }),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(bytes::Bytes::from),
    ];
    let next = prop::option::weighted(0.3, cursor());
    (position(), membership(), cursor(), data, next).prop_map(
        |(last, membership, cursor, data, next)| SnapshotChunk {
            meta: SnapshotMeta { last, membership },
            cursor,
            data,
            next,
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let append = position().prop_flat_map(|prev_log| {
        (Just(prev_log), entries(prev_log), number(), number()).prop_map(
            |(prev_log, entries, leader_commit, round)| Body::AppendEntries {
                prev_log,
                entries,
                leader_commit: LogIndex(leader_commit),
                round,
            },
        )
    });
    let result = prop_oneof![
        number().prop_map(|index| AppendResult::Accepted { match_index: LogIndex(index) }),
        (position(), position())
            .prop_map(|(prev_log, hint)| AppendResult::Rejected { prev_log, hint }),
    ];
    let progress = prop_oneof![
        cursor().prop_map(SnapshotProgress::Wants),
        number().prop_map(|it| SnapshotProgress::Installed { match_index: LogIndex(it) }),
    ];
    prop_oneof![
        4 => append,
        2 => (part(), number())
            .prop_map(|(chunk, round)| Body::InstallSnapshot { chunk: Box::new(chunk), round }),
        2 => (number(), result)
            .prop_map(|(round, result)| Body::AppendEntriesReply { round, result }),
        1 => (position(), number(), progress)
            .prop_map(|(last, round, result)| Body::InstallSnapshotReply { last, round, result }),
        1 => (number(), position())
            .prop_map(|(term, last_log)| Body::PreVote { next_term: Term(term), last_log }),
        1 => (number(), any::<bool>())
            .prop_map(|(term, granted)| Body::PreVoteReply { next_term: Term(term), granted }),
        1 => (position(), any::<bool>())
            .prop_map(|(last_log, transfer)| Body::RequestVote { last_log, transfer }),
        1 => any::<bool>().prop_map(|granted| Body::RequestVoteReply { granted }),
        1 => Just(Body::TimeoutNow),
        1 => number().prop_map(|question| Body::ReadIndex { question }),
        1 => (number(), prop::option::of(number())).prop_map(|(question, index)| {
            Body::ReadIndexReply { question, read_index: index.map(LogIndex) }
        }),
        1 => (number(), any::<u64>(), any::<bool>()).prop_map(|(index, digest, reply)| {
            Body::StateDigest { index: LogIndex(index), digest, reply }
        }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Message { from: NodeId, to: NodeId, term: u64, body: Body, age: u64 },
    TimeOut,
    Persist,
    SaveSnapshots,
    Write,
    Read,
    Transfer(NodeId),
}

fn step() -> impl Strategy<Value = Step> {
    let term = prop_oneof![4 => 3_u64..7, 1 => number()];
    let to = prop_oneof![20 => Just(S1), 1 => node()];
    let age = prop_oneof![4 => Just(0), 1 => number()];
    prop_oneof![
        20 => (node(), to, term, body(), age)
            .prop_map(|(from, to, term, body, age)| Step::Message { from, to, term, body, age }),
        2 => Just(Step::TimeOut),
        4 => Just(Step::Persist),
        2 => Just(Step::SaveSnapshots),
        1 => Just(Step::Write),
        1 => Just(Step::Read),
        1 => node().prop_map(Step::Transfer),
    ]
}

/// What the disk would hold. `take` asserts its invariants.
#[derive(Debug)]
struct Disk {
    hard_state: HardState,
    log: Log,
    commit_index: LogIndex,
    snapshot: Snapshot,
}

impl Disk {
    fn take(&mut self, write: &Write) {
        let (old, new) = (self.hard_state, write.hard_state);
        assert!(new.current_term >= old.current_term, "the term fell: {write:?}");
        let kept = old.voted_for.is_none() || new.voted_for == old.voted_for;
        assert!(new.current_term > old.current_term || kept, "a second vote: {write:?}");
        self.hard_state = new;
        if let Some(from) = write.truncate_from {
            let committed = self.commit_index.max(self.log.base().index);
            let replaced = write.compact_to.is_some_and(|to| to.index > committed);
            assert!(from > committed || replaced, "committed entries go: {write:?}");
            if from > self.log.base().index {
                self.log.truncate(from);
            }
        }
        if let Some(to) = write.compact_to {
            self.log.compact(to);
        }
        self.log.extend(write.entries.clone());
        assert!(write.commit_index >= self.commit_index, "the commit index fell: {write:?}");
        assert!(write.commit_index <= self.log.last().index);
        self.commit_index = write.commit_index;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Guards that messages with arbitrary fields neither stop a server in any role nor violate the
    /// invariants of its durable state. The server can continue and restart.
    #[test]
    fn no_message_of_a_peer_harms_a_server(
        role in prop_oneof![
            Just(RoleName::Follower),
            Just(RoleName::PreCandidate),
            Just(RoleName::Candidate),
            Just(RoleName::Leader),
        ],
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut alone = in_role(role);
        let status = alone.replica.status();
        let mut disk = Disk {
            hard_state: alone.hard_state,
            log: alone.replica.log().clone(),
            commit_index: status.commit_index,
            snapshot: compacted(),
        };
        let mut committed: Vec<LogPosition> = Vec::new();
        let mut request = 0;
        for step in steps {
            let before = alone.replica.status();
            alone.now = alone.now.after(10 * MILLISECOND);
            request += 1;
            match step {
                Step::Message { from, to, term, body, age } => {
                    let message = Message { from, to, seq: term, term: Term(term), body };
                    alone.step(Input::ReceiveAged { message, age });
                    let impossible = term > TERM_HORIZON.0 + (TERM_STEP << 10);
                    let refused = alone.replica.status().refused_messages - before.refused_messages;
                    prop_assert!(!impossible || refused == 1);
                }
                Step::TimeOut => alone.time_out(),
                Step::Persist => {
                    for write in std::mem::take(&mut alone.writes) {
                        let id = write.id;
                        disk.take(&write);
                        alone.step(Input::Persisted(id));
                    }
                }
                Step::SaveSnapshots => {
                    for snapshot in std::mem::take(&mut alone.snapshots) {
                        let meta = snapshot.meta.clone();
                        disk.snapshot = snapshot;
                        alone.step(Input::SnapshotSaved(meta));
                    }
                }
                Step::Write => alone.propose(request, "w", "4"),
                Step::Read => {
                    alone.step(Input::Read { request: RequestId(request), lease: false });
                }
                Step::Transfer(to) => {
                    let request = RequestId(request);
                    alone.step(Input::TransferLeadership { request, to: Some(to) });
                }
            }
            let after = alone.replica.status();
            prop_assert!(after.term >= before.term && after.term.0 < 1 << 41);
            prop_assert!(after.commit_index >= before.commit_index);
            prop_assert!(after.commit_index <= after.last.index);
            prop_assert!(after.last.index <= INDEX_HORIZON.next());
            // Only an unknown committed command stops a server.
            if let Some(halt) = alone.replica.halt() {
                prop_assert!(matches!(halt, Halt::UnknownCommand { .. }), "{halt}");
                break;
            }
            prop_assert!(alone.replica.deadline().is_some());
            let log = alone.replica.log();
            for position in &committed {
                let here = log.term_at(position.index);
                let same = position.index <= log.base().index || here == Some(position.term);
                prop_assert!(same, "{position} was committed");
            }
            let news = before.commit_index.max(log.base().index).next().0..=after.commit_index.0;
            committed.extend(news.map(|index| log.get(LogIndex(index)).expect("held").position()));
        }
        // A server can start from the durable state.
        let recovered = Recovered {
            hard_state: disk.hard_state,
            base: disk.log.base(),
            entries: disk.log.iter().cloned().collect(),
            commit_index: disk.commit_index,
        };
        let again = Alone::recovered(recovered, Some(disk.snapshot), Config::default());
        prop_assert_eq!(again.replica.status().term, disk.hard_state.current_term);
    }
}
