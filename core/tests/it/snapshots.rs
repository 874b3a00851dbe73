//! Snapshots and compaction (§7).

use raft_core::config::Config;
use raft_core::durable::{HardState, Recovered};
use raft_core::event::EventKind;
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::log::{Entry, Payload};
use raft_core::membership::Membership;
use raft_core::message::{Body, Cursor, SnapshotChunk, SnapshotMeta, SnapshotProgress};
use raft_core::replica::Input;
use raft_core::sim::{Action, SimConfig};
use raft_core::types::{LogIndex, LogPosition, SECOND, Term};

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

/// Guards against unbounded logs: they are cut, and keep a tail for slow followers.
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

/// Guards §7: a follower that is behind the compaction point gets the state in chunks, though
/// some are lost, and goes on from there.
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

/// Guards pitfall 27: a received state counts only once it is durable, and a transfer goes on
/// after repeated chunks and a change of leader.
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
        // Another leader with the same state goes on where the first stopped.
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

/// Guards pitfall 27: a crash between saving a snapshot and shortening the log.
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

/// Guards memory: what a log keeps for slow followers is bounded in bytes, also while no snapshot
/// comes about; who lacks what went gets the state, also one that nobody has saved.
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
        // What is not in memory any more is on the disks.
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

/// Guards the disk: a log that memory holds only a little of is shortened there, too, once a snapshot
/// covers it, though not beyond that.
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
