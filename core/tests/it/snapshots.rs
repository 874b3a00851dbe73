//! Snapshots and compaction (§7).

use raft_core::config::Config;
use raft_core::durable::{HardState, Recovered};
use raft_core::event::{EventKind, Outcome};
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::log::{Entry, Payload};
use raft_core::membership::Membership;
use raft_core::message::{AppendResult, Body, SnapshotChunk, SnapshotProgress};
use raft_core::replica::Input;
use raft_core::sim::{Action, SimConfig, Simulation};
use raft_core::snapshot::{Cursor, SnapshotMeta};
use raft_core::types::{LogIndex, LogPosition, MILLISECOND, RequestId, SECOND, Term};

use crate::lab::{Alone, Cluster, S1, S2, S3, check};

fn small() -> Config {
    Config { compact_after_entries: 20, keep_entries: 5, max_chunk_bytes: 100, ..Config::default() }
}

const KEYS: [&str; 10] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8", "k9"];

fn snapshot_at(last: LogPosition) -> Snapshot {
    let mut store = KvStore::default();
    for key in KEYS {
        store.apply(Command::put(key, "v".repeat(40)));
    }
    Snapshot { meta: SnapshotMeta { last, membership: Membership::of([S1, S2, S3]) }, store }
}

/// Guards that logs are compacted, but keep a tail for slow followers.
#[check]
fn logs_stay_bounded() {
    let config = SimConfig { node: small(), ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.await_leader();
    for _ in 0..20 {
        for key in KEYS {
            cluster.put(key, "1");
            cluster.put(key, "2");
        }
    }
    cluster.pass(SECOND);
    for node in cluster.sim.ids() {
        let status = cluster.sim.replica(node).expect("runs").status();
        assert!(status.log_entries < 60, "{node} holds {} entries", status.log_entries);
        assert!(status.log_entries >= 5, "{node} keeps no tail");
    }
}

/// Guards §7: a follower behind the compaction point gets the state in chunks, although some are
/// lost, and continues from there.
#[check]
fn a_follower_far_behind_gets_the_state_in_chunks() {
    for seed in 0..10 {
        let config = SimConfig { seed, node: small(), ..SimConfig::default() };
        let mut cluster = Cluster::new(config);
        let leader = cluster.await_leader();
        let behind = cluster.others(leader)[0];
        cluster.act(Action::Crash(behind));
        for _ in 0..5 {
            for key in KEYS {
                cluster.put(key, "a value of some length");
            }
        }
        cluster.until("compaction", |sim| {
            sim.replica(leader).is_some_and(|it| it.status().base.index > LogIndex(10))
        });
        cluster.act(Action::SetLoss { permille: 100 });
        cluster.act(Action::Restart(behind));
        cluster.until("the snapshot", |sim| {
            sim.replica(behind).is_some_and(|it| it.store().len() == KEYS.len())
        });
        let installed = cluster.events.iter().any(|event| {
            event.id.node == behind && matches!(event.kind, EventKind::SnapshotInstalled { .. })
        });
        assert!(installed, "seed {seed}");
        cluster.act(Action::Heal);
        cluster.put("after", "1");
        cluster.await_value(&[behind], "after", "1");
    }
}

fn install(snapshot: &Snapshot, cursor: &Cursor) -> (Body, Option<Cursor>) {
    let (data, next) = snapshot.chunk(cursor, 150);
    let (meta, cursor) = (snapshot.meta.clone(), cursor.clone());
    let chunk = Box::new(SnapshotChunk { meta, cursor, data, next: next.clone() });
    (Body::InstallSnapshot { chunk, round: 1 }, next)
}

/// Guards lesson 11 and pitfall 26: an old or repeated snapshot does not replace newer state.
#[check]
fn an_old_snapshot_is_ignored() {
    let mut alone = Alone::new();
    let entries = (1..=3)
        .map(|index| Entry { index: LogIndex(index), term: Term(1), payload: Payload::Noop })
        .collect();
    let prev_log = LogPosition::ZERO;
    let leader_commit = LogIndex(3);
    alone.receive(S2, 1, Body::AppendEntries { prev_log, entries, leader_commit, round: 1 });
    alone.persist_all();
    alone.take_sent();
    let (body, _) = install(&snapshot_at(LogPosition::new(1, 2)), &Cursor::default());
    alone.receive(S2, 1, body);
    assert_eq!(alone.replica.last_applied(), LogPosition::new(1, 3));
    assert!(alone.snapshots.is_empty());
    let answer = alone.take_sent().pop().expect("the leader learns how far this server is");
    let installed = SnapshotProgress::Installed { match_index: LogIndex(3) };
    assert!(
        matches!(answer.body, Body::InstallSnapshotReply { result, .. } if result == installed)
    );
}

/// Guards pitfall 27: a received snapshot takes effect only once it is durable. The transfer
/// survives repeated chunks and a change of leader.
#[check]
fn a_received_state_counts_once_durable() {
    let mut alone = Alone::new();
    let snapshot = snapshot_at(LogPosition::new(1, 40));
    let mut cursor = Cursor::default();
    let mut leader = (S2, 1);
    loop {
        let (body, next) = install(&snapshot, &cursor);
        alone.receive(leader.0, leader.1, body.clone());
        alone.receive(leader.0, leader.1, body);
        alone.persist_all();
        let Some(next) = next else { break };
        cursor = next;
        // Another leader with the same snapshot continues where the first stopped.
        leader = (S3, 2);
    }
    assert_eq!(alone.snapshots.len(), 1);
    assert_eq!(alone.replica.status().commit_index, LogIndex(0));
    alone.take_sent();
    alone.step(Input::SnapshotSaved(snapshot.meta.clone()));
    let status = alone.replica.status();
    assert_eq!((status.commit_index, status.base), (LogIndex(40), LogPosition::new(1, 40)));
    assert_eq!(status.digest, snapshot.store.digest());
    assert_eq!(alone.writes.last().expect("a batch").compact_to, Some(snapshot.meta.last));
    alone.persist_all();
    let answer = alone.take_sent().pop().expect("an answer");
    assert_eq!(answer.to, S3);
}

/// Guards pitfall 27: a crash between saving a snapshot and compacting the log.
#[check]
fn a_log_that_does_not_reach_its_snapshot_gives_way() {
    for (last_term, entries) in [(1, 3), (2, 50)] {
        let entry =
            |index| Entry { index: LogIndex(index), term: Term(last_term), payload: Payload::Noop };
        let recovered = Recovered {
            hard_state: HardState { current_term: Term(3), voted_for: None, stranger_until: None },
            base: LogPosition::ZERO,
            entries: (1..=entries).map(entry).collect(),
            commit_index: LogIndex(2),
        };
        let snapshot = snapshot_at(LogPosition::new(1, 40));
        let alone = Alone::recovered(recovered, Some(snapshot.clone()), Config::default());
        let status = alone.replica.status();
        assert_eq!((status.base, status.last), (snapshot.meta.last, snapshot.meta.last));
        assert_eq!(status.last_applied, snapshot.meta.last);
        assert_eq!(alone.writes[0].compact_to, Some(snapshot.meta.last));
    }
}

/// A leader whose snapshot is due. Compaction then keeps no entry.
fn due_for_a_snapshot() -> Alone {
    let config = Config { compact_after_entries: 20, keep_entries: 0, ..Config::default() };
    let mut alone = Alone::leader_with(config);
    for request in 0..30 {
        alone.propose(request, "x", "1");
    }
    alone.persist_all();
    alone.accept(S2, 31);
    alone
}

/// Guards that a failed snapshot, for example on a full disk, is retried with growing, bounded
/// backoff, and that the status shows it.
#[check]
fn a_snapshot_that_fails_is_tried_again_after_longer_and_longer() {
    let mut alone = due_for_a_snapshot();
    let mut attempts = Vec::new();
    for failures in 1..=12 {
        let mut waited = 0;
        while alone.snapshots.is_empty() {
            alone.pass(500 * MILLISECOND);
            alone.accept(S2, 31);
            waited += 500 * MILLISECOND;
            assert!(waited <= 301 * SECOND, "after {failures} failures");
        }
        attempts.push(waited);
        let meta = alone.snapshots.pop().expect("one").meta;
        alone.step(Input::SnapshotFailed(meta));
        let status = alone.replica.status();
        assert_eq!(status.snapshot_failures, failures);
        assert!(status.snapshot_retry_in.is_some());
    }
    assert!(attempts[1] >= SECOND / 2);
    assert!(attempts.windows(2).skip(1).all(|pair| pair[1] >= pair[0]), "{attempts:?}");
    assert!(attempts[11] >= 299 * SECOND, "{attempts:?}");
    // A manual compaction does not wait; success resets the backoff.
    alone.step(Input::Compact);
    let meta = alone.snapshots.pop().expect("at once").meta;
    alone.step(Input::SnapshotSaved(meta));
    let status = alone.replica.status();
    assert_eq!((status.snapshot_failures, status.snapshot_retry_in), (0, None));
}

/// Guards that a received snapshot that cannot be saved is kept, retried after a pause, and not
/// requested again.
#[check]
fn a_received_state_that_cannot_be_saved_is_kept_for_later() {
    let mut alone = Alone::new();
    let snapshot = snapshot_at(LogPosition::new(1, 40));
    let whole = || {
        let (data, next) = snapshot.chunk(&Cursor::default(), 10_000);
        let (meta, cursor) = (snapshot.meta.clone(), Cursor::default());
        let chunk = Box::new(SnapshotChunk { meta, cursor, data, next });
        Body::InstallSnapshot { chunk, round: 1 }
    };
    alone.receive(S2, 1, whole());
    alone.persist_all();
    for _ in 0..5 {
        let meta = alone.snapshots.pop().expect("an attempt").meta;
        alone.step(Input::SnapshotFailed(meta));
        alone.take_sent();
        alone.receive(S2, 1, whole());
        assert!(alone.snapshots.is_empty(), "not at once");
        assert!(alone.take_sent().is_empty(), "and it asks for nothing");
        alone.now = alone.now.after(20 * SECOND);
        alone.receive(S2, 1, whole());
    }
    let meta = alone.snapshots.pop().expect("an attempt").meta;
    alone.step(Input::SnapshotSaved(meta));
    assert_eq!(alone.replica.last_applied(), snapshot.meta.last);
}

/// Guards that a late chunk is not sent twice over a slow link. The leader sends a question after
/// the chunk, and resends only if the follower lacks the chunk.
#[check]
fn a_chunk_is_sent_again_only_when_it_is_lost() {
    let mut alone = due_for_a_snapshot();
    let meta = alone.snapshots.pop().expect("it is due").meta;
    alone.step(Input::SnapshotSaved(meta.clone()));
    alone.take_sent();
    let chunks = |alone: &mut Alone| -> Vec<(Cursor, u64, bool)> {
        let sent = alone.take_sent().into_iter().filter(|message| message.to == S3);
        sent.filter_map(|message| match message.body {
            Body::InstallSnapshot { chunk, round } => {
                Some((chunk.cursor, round, chunk.data.is_empty()))
            }
            _ => None,
        })
        .collect()
    };
    let (prev_log, hint) = (LogPosition::new(1, 1), LogPosition::ZERO);
    let result = AppendResult::Rejected { prev_log, hint };
    alone.receive(S3, 1, Body::AppendEntriesReply { round: 1, result });
    let first = chunks(&mut alone);
    assert_eq!(first.len(), 1, "{first:?}");
    let (start, sent_in) = (first[0].0.clone(), first[0].1);
    let mut questions = Vec::new();
    for _ in 0..40 {
        alone.time_out();
        alone.persist_all();
        alone.accept(S2, 31);
        questions.extend(chunks(&mut alone));
    }
    assert!((35..=40).contains(&questions.len()), "one a heartbeat: {questions:?}");
    assert!(questions.iter().all(|(cursor, _, empty)| *cursor == Cursor::NOWHERE && *empty));
    let wants = |round| Body::InstallSnapshotReply {
        last: meta.last,
        round,
        result: SnapshotProgress::Wants(start.clone()),
    };
    alone.receive(S3, 1, wants(sent_in));
    assert_eq!(chunks(&mut alone), [], "an answer from before the chunk was sent");
    alone.receive(S3, 1, wants(questions[0].1));
    let again = chunks(&mut alone);
    assert_eq!(again.len(), 1, "it is lost");
    assert_eq!((&again[0].0, again[0].2), (&start, false));
    alone.receive(S3, 1, wants(questions[1].1));
    assert_eq!(chunks(&mut alone), [], "an answer from before it was sent again");
    // After a transport failure the leader asks at the next heartbeat.
    alone.step(Input::SendFailed(S3));
    alone.time_out();
    assert_eq!(chunks(&mut alone).len(), 1);
}

/// Guards that the leader waits while a follower with a slow disk saves a snapshot. It replicates
/// from that snapshot even if it already sends a newer snapshot.
#[check]
fn who_saves_for_long_is_waited_for() {
    let mut alone = due_for_a_snapshot();
    let meta = alone.snapshots.pop().expect("it is due").meta;
    alone.step(Input::SnapshotSaved(meta.clone()));
    alone.take_sent();
    let (prev_log, hint) = (LogPosition::new(1, 1), LogPosition::ZERO);
    let result = AppendResult::Rejected { prev_log, hint };
    alone.receive(S3, 1, Body::AppendEntriesReply { round: 1, result });
    let begins = |alone: &mut Alone, span: u64| -> Option<(Cursor, LogPosition)> {
        let until = alone.now.after(span);
        let mut begun = None;
        while alone.now < until {
            alone.time_out();
            alone.persist_all();
            alone.accept(S2, alone.replica.status().last.index.0);
            alone.accept(S3, 0);
            begun = begun.or(alone.take_sent().into_iter().find_map(|message| {
                let Body::InstallSnapshot { chunk, .. } = message.body else { return None };
                (chunk.cursor != Cursor::NOWHERE).then_some((chunk.cursor, chunk.meta.last))
            }));
        }
        begun
    };
    alone.take_sent();
    alone.propose(90, "y", "1");
    alone.persist_all();
    let patience = Config::default().promotion_timeout;
    assert_eq!(begins(&mut alone, 9 * patience), None, "it is left alone");
    let newer = begins(&mut alone, 2 * patience).expect("not for ever");
    assert!(newer.1.index > meta.last.index, "{newer:?}");
    let result = SnapshotProgress::Installed { match_index: meta.last.index };
    alone.receive(S3, 1, Body::InstallSnapshotReply { last: meta.last, round: 0, result });
    let sent = alone.take_sent().into_iter().filter(|message| message.to == S3);
    let entries = sent.filter_map(|message| match message.body {
        Body::AppendEntries { prev_log, entries, .. } => Some((prev_log, entries.len())),
        _ => None,
    });
    assert_eq!(entries.last(), Some((meta.last, 1)), "it goes on after the state that it has");
}

/// Guards that the leader keeps the log after a snapshot that it sends, even if it takes more
/// snapshots meanwhile under load.
#[check]
fn one_snapshot_is_enough_under_load() {
    let node = Config { compact_after_entries: 300, ..small() };
    let config = SimConfig { node, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    let leader = cluster.await_leader();
    let behind = cluster.others(leader)[0];
    cluster.act(Action::Crash(behind));
    let write = |cluster: &mut Cluster, key: String, value: String| {
        cluster.act(Action::Write { node: leader, command: Command::put(key, value) });
        cluster.pass(2 * MILLISECOND);
    };
    for number in 0..400 {
        write(&mut cluster, format!("k{}", number % 200), "v".repeat(90));
    }
    cluster.until("compaction", |sim| {
        sim.replica(leader).is_some_and(|it| it.status().base.index > LogIndex(100))
    });
    cluster.act(Action::Restart(behind));
    let applied = |sim: &Simulation, node| {
        sim.replica(node).map_or(0, |replica| replica.status().last_applied.index.0)
    };
    let mut writes = 0;
    while applied(&cluster.sim, behind) + 20 < applied(&cluster.sim, leader) {
        writes += 1;
        assert!(writes < 5_000, "it never gets there");
        write(&mut cluster, "k0".to_owned(), writes.to_string());
    }
    assert!(writes > 600, "the leader takes no snapshot meanwhile: {writes} writes");
    let installed = cluster.events.iter().filter(|event| {
        event.id.node == behind && matches!(event.kind, EventKind::SnapshotInstalled { .. })
    });
    // The leader may have chosen the first while the follower was down.
    let installed = installed.count();
    assert!((1..=2).contains(&installed), "{installed} snapshots in {writes} writes");
}

/// Guards that a follower answers a question with the cursor that it wants, and changes nothing. It
/// discards a partial snapshot if the sender is silent for long.
#[check]
fn a_question_is_answered_with_the_cursor_that_is_wanted() {
    let mut alone = Alone::new();
    let snapshot = snapshot_at(LogPosition::new(1, 40));
    let (body, next) = install(&snapshot, &Cursor::default());
    let next = next.expect("several chunks");
    let question = || {
        let (meta, cursor) = (snapshot.meta.clone(), Cursor::NOWHERE);
        let chunk = Box::new(SnapshotChunk { meta, cursor, data: bytes::Bytes::new(), next: None });
        Body::InstallSnapshot { chunk, round: 9 }
    };
    let wants = |alone: &mut Alone, cursor: &Cursor| {
        alone.persist_all();
        alone.take_sent();
        alone.receive(S2, 1, question());
        let answer = alone.take_sent().pop().expect("an answer").body;
        let result = SnapshotProgress::Wants(cursor.clone());
        let last = snapshot.meta.last;
        assert_eq!(answer, Body::InstallSnapshotReply { last, round: 9, result });
    };
    alone.receive(S2, 1, question());
    wants(&mut alone, &Cursor::default());
    alone.receive(S2, 1, body);
    wants(&mut alone, &next);
    wants(&mut alone, &next);
    alone.now = alone.now.after(Config::default().promotion_timeout);
    wants(&mut alone, &Cursor::default());
}

/// Guards that a snapshot answers the reads that wait for its index, although nothing is committed
/// after it.
#[check]
fn a_snapshot_answers_the_reads_that_waited_for_it() {
    let mut alone = Alone::new();
    let snapshot = snapshot_at(LogPosition::new(1, 9));
    alone.receive(
        S2,
        1,
        Body::AppendEntries {
            prev_log: LogPosition::ZERO,
            entries: raft_core::log::Entries::default(),
            leader_commit: LogIndex(9),
            round: 1,
        },
    );
    alone.persist_all();
    alone.take_sent();
    alone.step(Input::Read { request: RequestId(1), lease: false });
    let asked = alone.take_sent().pop().expect("a question");
    let Body::ReadIndex { question } = asked.body else { panic!("{asked}") };
    alone.receive(S2, 1, Body::ReadIndexReply { question, read_index: Some(LogIndex(9)) });
    let (data, next) = snapshot.chunk(&Cursor::default(), 10_000);
    let (meta, cursor) = (snapshot.meta.clone(), Cursor::default());
    let chunk = Box::new(SnapshotChunk { meta, cursor, data, next });
    alone.receive(S2, 1, Body::InstallSnapshot { chunk, round: 1 });
    assert_eq!(alone.answers, []);
    alone.step(Input::SnapshotSaved(snapshot.meta.clone()));
    let ready = Outcome::ReadReady { read_index: LogIndex(9) };
    assert_eq!(alone.answers, [(RequestId(1), ready)]);
    assert_eq!(alone.replica.last_applied(), snapshot.meta.last);
}

/// Guards that the log in memory is bounded in bytes, even while no snapshot is taken. A follower
/// that lacks removed entries gets the state, even if no server has saved it.
#[check]
fn the_log_in_memory_is_bounded_in_bytes() {
    const KEEP: usize = 8 << 10;
    let never = u64::MAX;
    let node = Config {
        keep_bytes: KEEP,
        keep_entries: never,
        compact_after_entries: never,
        compact_after_bytes: never,
        ..Config::default()
    };
    for seed in 0..5 {
        let mut cluster =
            Cluster::new(SimConfig { seed, node: node.clone(), ..SimConfig::default() });
        let leader = cluster.await_leader();
        let behind = cluster.others(leader)[0];
        cluster.act(Action::Crash(behind));
        for _ in 0..30 {
            for key in KEYS {
                cluster.put(key, "1");
                cluster.put(key, "2");
            }
        }
        cluster.act(Action::Restart(behind));
        cluster.await_value(&[behind], KEYS[9], "2");
        cluster.put("after", "1");
        cluster.await_value(&cluster.sim.ids(), "after", "1");
        let servers = cluster.sim.ids();
        for node in &servers {
            let replica = cluster.sim.replica(*node).expect("it runs");
            assert!(replica.log().memory() <= KEEP, "seed {seed}: {node} holds too much");
        }
        let snapshot = cluster.sim.replica(leader).expect("it runs").status().snapshot_index;
        assert_eq!(snapshot, LogIndex(0), "seed {seed}: the leader has saved nothing");
        // Entries that are no longer in memory are on disk.
        for node in &servers {
            cluster.act(Action::Crash(*node));
        }
        for node in &servers {
            cluster.act(Action::Restart(*node));
        }
        cluster.await_value(&servers, KEYS[9], "2");
        cluster.await_value(&servers, "after", "1");
    }
}

/// Guards that a snapshot compacts the log on disk even if memory holds little of it, but not
/// beyond the snapshot.
#[check]
fn a_log_on_disk_is_shortened_whatever_memory_holds() {
    for (keep_bytes, keep_entries, tail) in [(0, 5, 0), (0, 0, 0), (1 << 20, 5, 5)] {
        let config =
            Config { keep_bytes, keep_entries, compact_after_entries: 20, ..Config::default() };
        let mut alone = Alone::leader_with(config);
        for request in 1..=30 {
            alone.propose(request, "k", "v");
            alone.persist_all();
            alone.accept(S2, request + 1);
        }
        let first = alone.snapshots[0].meta.clone();
        assert!(alone.snapshots.len() == 1 && first.last.index >= LogIndex(20));
        let covered = first.last.index.0;
        alone.writes.clear();
        alone.step(Input::SnapshotSaved(first));
        let compacted = alone.writes.iter().find_map(|write| write.compact_to);
        let compacted = compacted.expect("the disk is told").index.0;
        assert_eq!(compacted, covered - tail, "{keep_bytes} {keep_entries}");
    }
}

/// Guards that a server without known members takes no snapshot. An added server learns the members
/// from the entry that adds it; an earlier snapshot would name none.
#[check]
fn a_server_that_knows_of_no_members_takes_no_snapshot() {
    let mut alone = Alone::stranger();
    let entry = |index, payload| Entry { index: LogIndex(index), term: Term(1), payload };
    let append = |prev_log, entries: Vec<Entry>, commit| Body::AppendEntries {
        prev_log,
        entries: entries.into(),
        leader_commit: LogIndex(commit),
        round: 1,
    };
    let noops = (1..=3).map(|index| entry(index, Payload::Noop)).collect();
    alone.receive(S2, 1, append(LogPosition::ZERO, noops, 3));
    alone.persist_all();
    assert_eq!(alone.replica.last_applied().index, LogIndex(3));
    alone.step(Input::Compact);
    assert!(alone.snapshots.is_empty(), "it names nobody");
    let members = Membership { learners: [S1].into(), ..Membership::of([S2, S3]) };
    let added = entry(4, Payload::Membership(Box::new(members.clone())));
    alone.receive(S2, 1, append(LogPosition::new(1, 3), vec![added], 4));
    alone.persist_all();
    alone.step(Input::Compact);
    assert_eq!(alone.snapshots.pop().map(|it| it.meta.membership), Some(members));
}
