//! Mistakes that other Raft systems made, each with a test that fails if it is made here.
//!
//! `docs/PROTOCOL.md` lists all forty with their tests. This file has the tests that fit no single
//! part of the protocol.

use std::collections::BTreeSet;

use raft_core::config::Config;
use raft_core::event::{Event, EventKind, ProgressMode, RoleName};
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::membership::Membership;
use raft_core::message::{AppendResult, Body, Message, SnapshotChunk};
use raft_core::replica::Input;
use raft_core::rules::{Rules, VoteRequest, Voter};
use raft_core::sim::{Action, NetworkConfig, SimConfig, Simulation};
use raft_core::snapshot::{Cursor, SnapshotMeta};
use raft_core::types::{LogIndex, LogPosition, MILLISECOND, NodeId, SECOND, Term};

use crate::lab::{Alone, Cluster, S1, S2, S3, check, value_at};

/// Guards pitfall 5: a new leader counts its own copy of its no-op only once it is durable.
#[check]
fn a_new_leader_counts_its_noop_once_durable() {
    let mut alone = Alone::new();
    alone.time_out();
    alone.receive(S2, 0, Body::PreVoteReply { next_term: Term(1), granted: true });
    alone.persist_all();
    alone.receive(S2, 1, Body::RequestVoteReply { granted: true });
    assert_eq!(alone.replica.status().role, RoleName::Leader);
    alone.accept(S2, 1);
    assert_eq!(alone.replica.status().commit_index, LogIndex(0), "one durable copy of three");
    alone.persist_all();
    assert_eq!(alone.replica.status().commit_index, LogIndex(1));
}

/// Guards pitfall 10: a leader whose process was paused does not use its old lease, although it
/// still believes that it leads.
#[check]
fn a_paused_leader_does_not_read_by_its_old_lease() {
    let node = Config { lease_reads: true, ..Config::default() };
    let config = SimConfig { node, manual_elections: true, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.pass(200 * MILLISECOND);
    cluster.act(Action::Elect(S1));
    cluster.put("x", "1");
    cluster.pass(60 * MILLISECOND);
    let read = |cluster: &mut Cluster| {
        let before = cluster.sim.readings().len();
        cluster.act(Action::Read { node: S1, key: "x".into(), lease: true });
        cluster.sim.readings()[before..].iter().any(|it| it.node == S1)
    };
    assert!(read(&mut cluster), "it has a lease");
    // S1 is paused, and no message about a newer leader reaches it.
    cluster.act(Action::Freeze(S1));
    for other in [S2, S3] {
        cluster.act(Action::SetLink { from: other, to: S1, up: false });
    }
    cluster.pass(160 * MILLISECOND);
    cluster.act(Action::Elect(S2));
    cluster.until("another leader", |sim| sim.leader() == Some(S2));
    cluster.act(Action::Write { node: S2, command: Command::put("x", "2") });
    cluster.until("the write", |sim| value_at(sim, S2, "x").as_deref() == Some("2"));
    cluster.pass(MILLISECOND);
    cluster.act(Action::Thaw(S1));
    let role = cluster.sim.replica(S1).expect("it runs").status().role;
    assert_eq!(role, RoleName::Leader, "it does not know better");
    assert!(!read(&mut cluster), "it answered from before its pause");
    raft_core::history::check(&cluster.sim.history()).expect("linearizable");
}

/// Guards pitfall 13: logs compare by their last term first, and by length only within a term.
#[check]
fn logs_compare_by_last_term_before_length() {
    let positions: Vec<LogPosition> =
        (0..5).flat_map(|term| (0..5).map(move |index| LogPosition::new(term, index))).collect();
    for own in &positions {
        for other in &positions {
            let better =
                other.term > own.term || (other.term == own.term && other.index >= own.index);
            let voter =
                Voter { current_term: Term(9), voted_for: None, last_log: *own, stranger: false };
            let request =
                VoteRequest { candidate: S2, term: Term(9), last_log: *other, pre: false };
            let granted = Rules::default().grant_vote(&voter, &request).is_ok();
            assert_eq!(granted, better, "own log ends at {own}, the candidate's at {other}");
        }
    }
}

/// Guards pitfall 15: two servers, one with the better log and one with the higher term, need each
/// other's votes. Refused pre-votes must not block an election forever.
#[check]
fn servers_of_different_terms_elect_one_of_them() {
    let config = SimConfig { manual_elections: true, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.act(Action::Elect(S1));
    cluster.await_leader();
    cluster.pass(100 * MILLISECOND);
    // Only S1 appends this entry: the better log.
    cluster.act(Action::Partition(vec![BTreeSet::from([S1])]));
    cluster.act(Action::Write { node: S1, command: Command::put("x", "1") });
    cluster.pass(SECOND);
    // S3 votes for S2 and gets no entry from it: the higher term.
    cluster.act(Action::Elect(S2));
    cluster.until("the election", |sim| sim.leader() == Some(S2));
    cluster.act(Action::Crash(S2));
    let flying: Vec<_> = cluster.sim.flying().map(|flying| flying.id).collect();
    for message in flying {
        cluster.act(Action::Drop(message));
    }
    cluster.act(Action::Heal);
    cluster.pass(SECOND);
    let status = |cluster: &Cluster, node| cluster.sim.replica(node).expect("it runs").status();
    assert!(status(&cluster, S1).term < status(&cluster, S3).term);
    assert!(status(&cluster, S1).last > status(&cluster, S3).last);
    // Only S1 can win, and only the replies to its requests can tell it the term.
    for _ in 0..3 {
        if cluster.sim.leader().is_none() {
            cluster.act(Action::Elect(S1));
            cluster.pass(200 * MILLISECOND);
        }
    }
    assert_eq!(cluster.sim.leader(), Some(S1));
}

/// Guards pitfall 17: with two of three servers alive, a server elects a former leader that it
/// remembers as the leader. No other server could win.
#[check]
fn a_former_leader_is_elected_by_the_one_that_remembers_it() {
    let config = SimConfig { manual_elections: true, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.act(Action::Elect(S1));
    cluster.await_leader();
    cluster.pass(100 * MILLISECOND);
    cluster.act(Action::Crash(S3));
    cluster.isolate(S1);
    cluster.act(Action::Write { node: S1, command: Command::put("x", "1") });
    cluster.until("stepping down", |sim| sim.leader().is_none());
    let remembers = |sim: &Simulation| sim.replica(S2).expect("it runs").status().leader;
    assert_eq!(remembers(&cluster.sim), Some(S1));
    cluster.act(Action::Heal);
    cluster.act(Action::Elect(S1));
    cluster.await_value(&[S1, S2], "x", "1");
}

/// The same with automatic elections: a restarted former leader is no obstacle.
#[check]
fn a_former_leader_and_one_other_elect() {
    for seed in 0..50 {
        let mut cluster = Cluster::led(3, seed);
        let leader = cluster.sim.leader().expect("led");
        let dead = cluster.others(leader)[0];
        cluster.act(Action::Crash(dead));
        cluster.act(Action::Crash(leader));
        cluster.act(Action::Restart(leader));
        let before = cluster.sim.now();
        cluster.put("x", "1");
        let took = cluster.sim.now().since(before);
        assert!(took < 3 * SECOND, "seed {seed}: {took} µs");
    }
}

/// All configurations of `servers` servers: each is a voter, an outgoing voter, both, a learner, or
/// absent.
fn configurations(servers: u64) -> Vec<Membership> {
    let count = 5_u64.pow(u32::try_from(servers).expect("a few"));
    let all = (0..count).map(|mut code| {
        let mut membership = Membership::default();
        for node in (1..=servers).map(NodeId) {
            let part = code % 5;
            code /= 5;
            if part == 0 || part == 2 {
                membership.voters.insert(node);
            }
            if part == 1 || part == 2 {
                membership.outgoing.insert(node);
            }
            if part == 3 {
                membership.learners.insert(node);
            }
        }
        membership
    });
    all.filter(|membership| !membership.voters.is_empty()).collect()
}

fn subsets(servers: u64) -> impl Iterator<Item = BTreeSet<NodeId>> {
    (0..1_u64 << servers).map(move |bits| {
        (1..=servers).filter(|node| bits >> (node - 1) & 1 == 1).map(NodeId).collect()
    })
}

/// The definition: more than half of the voters, and in a joint configuration more than half of
/// each set.
fn is_majority(membership: &Membership, agreeing: &BTreeSet<NodeId>) -> bool {
    let of = |voters: &BTreeSet<NodeId>| 2 * voters.intersection(agreeing).count() > voters.len();
    of(&membership.voters) && (membership.outgoing.is_empty() || of(&membership.outgoing))
}

/// Guards pitfall 21: for every small configuration, also joint or with learners, exactly the
/// majorities decide, and any two majorities share a server.
#[check]
fn exactly_the_majorities_decide() {
    const SERVERS: u64 = 4;
    let rules = Rules::default();
    for membership in configurations(SERVERS) {
        let mut deciding = Vec::new();
        for agreeing in subsets(SERVERS) {
            let decides = rules.has_majority(&membership, |node| agreeing.contains(&node));
            assert_eq!(decides, is_majority(&membership, &agreeing), "{membership}: {agreeing:?}");
            let blocked = rules.is_blocked(&membership, |node| !agreeing.contains(&node));
            assert_eq!(blocked, !decides, "{membership}: {agreeing:?}");
            if decides {
                deciding.push(agreeing);
            }
        }
        for one in &deciding {
            assert!(deciding.iter().all(|other| !one.is_disjoint(other)), "{membership}");
        }
    }
}

/// Guards pitfall 22: the sorted scan equals counting, for every small configuration and every
/// assignment of three values to it.
#[check]
fn the_majority_value_equals_the_naive_one() {
    const SERVERS: u64 = 4;
    for membership in configurations(SERVERS) {
        for code in 0..3_u64.pow(4) {
            let value_of =
                |node: NodeId| code / 3_u64.pow(u32::try_from(node.0 - 1).expect("small")) % 3;
            let reached = |level: u64| {
                let there = (1..=SERVERS).map(NodeId).filter(|node| value_of(*node) >= level);
                is_majority(&membership, &there.collect())
            };
            let naive = (0..3).rev().find(|level| reached(*level)).unwrap_or_default();
            assert_eq!(Rules::default().majority_value(&membership, value_of), naive);
        }
    }
}

fn appends(events: &[Event]) -> impl Iterator<Item = &Message> {
    events.iter().filter_map(|event| match &event.kind {
        EventKind::MessageSent(message) if matches!(message.body, Body::AppendEntries { .. }) => {
            Some(message)
        }
        _ => None,
    })
}

/// Guards pitfalls 24 and 25: with the log compacted to its tip, `next_index` stays above
/// `match_index`. No message names an empty predecessor in place of a compacted entry.
#[check]
fn a_log_compacted_to_its_tip_confuses_nobody() {
    for seed in 0..10 {
        let node = Config { keep_entries: 0, ..Config::default() };
        let mut cluster = Cluster::new(SimConfig { seed, node, ..SimConfig::default() });
        let leader = cluster.await_leader();
        let behind = cluster.others(leader)[0];
        cluster.isolate(behind);
        for value in ["1", "2", "3"] {
            cluster.put("x", value);
        }
        let leader = cluster.await_leader();
        cluster.act(Action::Compact(leader));
        cluster.until("compaction", |sim| {
            sim.replica(leader).is_some_and(|it| it.status().base == it.status().last)
        });
        cluster.act(Action::Heal);
        cluster.await_value(&[behind], "x", "3");
        cluster.put("x", "4");
        cluster.await_value(&[behind], "x", "4");
        let mut seen = 0;
        for event in &cluster.events {
            if let EventKind::ProgressChanged { progress, .. } = &event.kind {
                assert!(progress.next_index > progress.match_index, "seed {seed}: {event}");
                seen += 1;
            }
        }
        assert!(seen > 0, "seed {seed}: no progress was told");
        for message in appends(&cluster.events) {
            let Body::AppendEntries { prev_log, .. } = &message.body else { continue };
            let empty = prev_log.term == Term(0);
            assert_eq!(empty, prev_log.index == LogIndex(0), "seed {seed}: {message}");
        }
    }
}

/// Guards pitfall 24: an overtaken rejection whose hint is below `match_index` does not take
/// `next_index` back to it.
#[check]
fn a_rejection_does_not_go_below_what_is_known() {
    let mut alone = Alone::leader();
    for (request, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        alone.propose(request, key, "1");
    }
    alone.accept(S2, 3);
    for rejected in [2, 4, 5] {
        let prev_log = LogPosition::new(1, rejected);
        let result = AppendResult::Rejected { prev_log, hint: LogPosition::new(1, 1) };
        alone.receive(S2, 1, Body::AppendEntriesReply { round: 1, result });
        let progress = &alone.replica.status().peers[&S2];
        assert_eq!(progress.match_index, LogIndex(3));
        assert!(progress.next_index > progress.match_index, "rejected at {rejected}");
    }
}

fn snapshot_at(index: u64, value: &'static str) -> Snapshot {
    let mut store = KvStore::default();
    store.apply(Command::put("x", value));
    let last = LogPosition::new(1, index);
    Snapshot { meta: SnapshotMeta { last, membership: Membership::of([S1, S2, S3]) }, store }
}

fn install(snapshot: &Snapshot) -> Body {
    let (data, next) = snapshot.chunk(&Cursor::default(), 10_000);
    assert_eq!(next, None, "all in one part");
    let (meta, cursor) = (snapshot.meta.clone(), Cursor::default());
    let chunk = Box::new(SnapshotChunk { meta, cursor, data, next });
    Body::InstallSnapshot { chunk, round: 1 }
}

/// Guards pitfall 26: a second snapshot arrives while the first is being saved, and the first is
/// repeated after both.
#[check]
fn snapshots_in_quick_succession_never_go_back() {
    let mut alone = Alone::new();
    let (older, newer) = (snapshot_at(5, "old"), snapshot_at(9, "new"));
    alone.receive(S2, 1, install(&older));
    alone.receive(S2, 1, install(&newer));
    alone.persist_all();
    assert_eq!(alone.snapshots.len(), 1, "one is saved at a time");
    alone.step(Input::SnapshotSaved(older.meta.clone()));
    assert_eq!(alone.replica.last_applied(), older.meta.last);
    alone.receive(S2, 1, install(&newer));
    assert_eq!(alone.snapshots.len(), 2);
    alone.receive(S2, 1, install(&older));
    alone.step(Input::SnapshotSaved(newer.meta.clone()));
    alone.receive(S2, 1, install(&older));
    alone.persist_all();
    assert_eq!(alone.replica.last_applied(), newer.meta.last);
    assert_eq!(alone.replica.status().commit_index, LogIndex(9));
    let value = alone.replica.store().get(b"x").expect("it is there").value.clone();
    assert_eq!(value.as_ref(), b"new");
    assert_eq!(alone.snapshots.len(), 2);
}

/// Guards pitfall 28: a follower behind a slow link catches up during writes and compactions,
/// instead of getting snapshot after snapshot.
#[check]
fn a_slow_follower_converges_under_load() {
    let node = Config {
        compact_after_entries: 40,
        // More than are written while a state of 20 keys crosses the slow link.
        keep_entries: 200,
        max_chunk_bytes: 200,
        ..Config::default()
    };
    let mut cluster = Cluster::new(SimConfig { seed: 3, node, ..SimConfig::default() });
    let leader = cluster.await_leader();
    let slow = cluster.others(leader)[0];
    let way = NetworkConfig {
        delay_min: 60 * MILLISECOND,
        delay_max: 60 * MILLISECOND,
        ..NetworkConfig::default()
    };
    cluster.act(Action::Crash(slow));
    for (from, to) in [(leader, slow), (slow, leader)] {
        cluster.act(Action::SetLinkQuality { from, to, quality: Some(way) });
    }
    let write = |cluster: &mut Cluster, number: u32| {
        let key = format!("key {}", number % 20);
        let command = Command::put(key, format!("{number:0>100}"));
        cluster.act(Action::Write { node: leader, command });
        cluster.pass(20 * MILLISECOND);
    };
    for number in 0..400 {
        write(&mut cluster, number);
    }
    cluster.act(Action::Restart(slow));
    cluster.events.clear();
    let mut caught_up = false;
    for number in 400..800 {
        write(&mut cluster, number);
        let status = cluster.sim.replica(leader).expect("it runs").status();
        assert_eq!(status.role, RoleName::Leader);
        let progress = &status.peers[&slow];
        let lag = status.last.index.0 - progress.match_index.0;
        caught_up |= progress.mode == ProgressMode::Replicate && lag < 20;
    }
    let installed = |event: &&Event| {
        event.id.node == slow && matches!(event.kind, EventKind::SnapshotInstalled { .. })
    };
    let installed = cluster.events.iter().filter(installed).count();
    assert!(caught_up, "not caught up after {installed} snapshots");
    assert!((1..=3).contains(&installed), "{installed} snapshots");
}

/// Guards pitfall 32 in a whole cluster: a leader whose disk hangs is replaced within two election
/// timeouts, although it could still send heartbeats.
#[check]
fn a_leader_whose_disk_hangs_is_replaced() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(3, seed);
        let stalled = cluster.sim.leader().expect("led");
        cluster.act(Action::StallDisk(stalled));
        cluster.act(Action::Write { node: stalled, command: Command::put("x", "1") });
        let before = cluster.sim.now();
        cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != stalled));
        let took = cluster.sim.now().since(before);
        let two_timeouts = 2 * Config::default().election_timeout_max;
        assert!(took <= two_timeouts, "seed {seed}: {took} µs");
    }
}

/// Guards pitfall 40 in the core: a peer that is down for long grows neither the log nor the number
/// of messages.
#[check]
fn a_dead_peer_costs_no_memory() {
    let node = Config {
        compact_after_entries: 50,
        keep_entries: 20,
        max_in_flight: 4,
        ..Config::default()
    };
    let mut cluster = Cluster::new(SimConfig { seed: 5, node, ..SimConfig::default() });
    let leader = cluster.await_leader();
    let dead = cluster.others(leader)[0];
    cluster.act(Action::Crash(dead));
    let mut most = (0, 0);
    for number in 0_u32..1_000 {
        let command = Command::put("x", number.to_string());
        cluster.act(Action::Write { node: leader, command });
        cluster.pass(10 * MILLISECOND);
        cluster.events.clear();
        let status = cluster.sim.replica(leader).expect("it runs").status();
        let to_the_dead = cluster.sim.flying().filter(|it| it.message.to == dead).count();
        most = (most.0.max(status.log_entries), most.1.max(to_the_dead));
        assert!(status.peers[&dead].in_flight <= 4);
    }
    assert!(most.0 < 150, "{} entries in the log", most.0);
    assert!(most.1 < 20, "{} messages to a dead peer at once", most.1);
}
