//! Log replication: §5.3 and §5.4.2.

use std::collections::BTreeSet;

use raft_core::kv::Command;
use raft_core::log::{Entry, Payload};
use raft_core::message::{AppendResult, Body};
use raft_core::sim::Action;
use raft_core::types::{LogIndex, LogPosition, NodeId, SECOND, Term};

use crate::lab::{Alone, Cluster, S1, S2, S3, check, value_at};

fn noop(term: u64, index: u64) -> Entry {
    Entry { index: LogIndex(index), term: Term(term), payload: Payload::Noop }
}

fn append(prev_log: LogPosition, entries: Vec<Entry>, commit: u64) -> Body {
    let entries = entries.into();
    Body::AppendEntries { prev_log, entries, leader_commit: LogIndex(commit), round: 1 }
}

/// The number of messages with entries sent to `to`.
fn with_entries(alone: &Alone, to: NodeId) -> usize {
    let has_entries =
        |body: &Body| matches!(body, Body::AppendEntries { entries, .. } if !entries.is_empty());
    alone.sent.iter().filter(|message| message.to == to && has_entries(&message.body)).count()
}

/// Guards §5.3: a write reaches every server.
#[check]
fn a_write_reaches_every_server() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(5, seed);
        cluster.put("x", "1");
        let all = cluster.sim.ids();
        cluster.await_value(&all, "x", "1");
    }
}

/// Guards lessons 4 and 5: the entries of the majority replace those that an isolated leader
/// appended.
#[check]
fn a_divergent_log_is_mended() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(5, seed);
        let old = cluster.sim.leader().expect("led");
        cluster.isolate(old);
        for key in ["lost1", "lost2", "lost3"] {
            cluster.act(Action::Write { node: old, command: Command::put(key, "1") });
        }
        cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != old));
        cluster.put("kept", "1");
        cluster.act(Action::Heal);
        let all = cluster.sim.ids();
        cluster.await_value(&all, "kept", "1");
        assert_eq!(value_at(&cluster.sim, old, "lost1"), None);
    }
}

/// Guards that a follower that does not answer gets no more than the window allows.
#[check]
fn the_window_bounds_what_is_under_way() {
    let mut alone = Alone::leader();
    for request in 0..200 {
        alone.propose(request, "x", "1");
    }
    let window = raft_core::config::Config::default().max_in_flight;
    assert_eq!(with_entries(&alone, S2), window);
    assert!(with_entries(&alone, S3) <= 1, "S3 has never answered");
}

/// Guards that the leader does not flood a follower that answers but appends nothing, as with a
/// full disk (pitfall 39). It resends the entries once per heartbeat, not after each answer, and
/// continues at once when they are appended.
#[check]
fn a_follower_that_takes_no_entries_is_not_flooded() {
    let mut alone = Alone::leader();
    for request in 0..10 {
        alone.propose(request, "x", "1");
    }
    alone.persist_all();
    alone.accept(S2, 11);
    alone.accept(S3, 1);
    let (prev_log, hint) = (LogPosition::new(1, 11), LogPosition::new(1, 1));
    let result = AppendResult::Rejected { prev_log, hint };
    alone.take_sent();
    alone.receive(S3, 1, Body::AppendEntriesReply { round: 1, result });
    for _ in 0..5 {
        for _ in 0..3 {
            alone.accept(S3, 1);
        }
        assert_eq!(with_entries(&alone, S3), 1);
        alone.take_sent();
        alone.time_out();
        alone.accept(S2, 11);
    }
    alone.accept(S3, 11);
    alone.take_sent();
    alone.propose(99, "y", "1");
    assert_eq!(with_entries(&alone, S3), 1, "no wait for a heartbeat any more");
}

/// The same for entries larger than a heartbeat: the leader resends them only when the follower
/// says that it lacks them.
#[check]
fn a_follower_that_takes_no_large_entries_is_not_flooded() {
    let mut alone = Alone::leader();
    let value: &'static str = "0".repeat(200).leak();
    for request in 0..10 {
        alone.propose(request, "x", value);
    }
    alone.persist_all();
    alone.accept(S2, 11);
    alone.accept(S3, 1);
    let (prev_log, hint) = (LogPosition::new(1, 11), LogPosition::new(1, 1));
    let rejected = || AppendResult::Rejected { prev_log, hint };
    alone.take_sent();
    alone.receive(S3, 1, Body::AppendEntriesReply { round: 1, result: rejected() });
    for _ in 0..5 {
        for _ in 0..3 {
            alone.accept(S3, 1);
        }
        assert_eq!(with_entries(&alone, S3), 1);
        alone.take_sent();
        let is_question = |message: &&raft_core::message::Message| {
            message.to == S3
                && matches!(&message.body, Body::AppendEntries { prev_log: asked, entries, round, .. }
                    if *asked == prev_log && entries.is_empty() && *round == Body::NO_ROUND)
        };
        let mut heartbeats = 0;
        while !alone.sent.iter().any(|message| is_question(&message)) {
            alone.accept(S3, 1);
            assert_eq!(with_entries(&alone, S3), 0, "it has not been asked yet");
            alone.time_out();
            alone.accept(S2, 11);
            heartbeats += 1;
            assert!(heartbeats <= 2, "it is asked with each heartbeat");
        }
        alone.take_sent();
        let result = rejected();
        alone.receive(S3, 1, Body::AppendEntriesReply { round: Body::NO_ROUND, result });
    }
    alone.accept(S3, 11);
    alone.take_sent();
    alone.propose(99, "y", "1");
    assert_eq!(with_entries(&alone, S3), 1, "no wait for a heartbeat any more");
}

/// Guards that a heartbeat that overtakes entries is accepted. It checks nothing that has not
/// arrived, and its answer causes no resend.
#[check]
fn a_heartbeat_that_overtakes_entries_is_accepted() {
    let mut alone = Alone::leader();
    alone.propose(1, "x", "1");
    alone.propose(2, "y", "1");
    alone.take_sent();
    alone.time_out();
    let mut follower = Alone::new();
    follower.receive(S2, 1, append(LogPosition::ZERO, vec![noop(1, 1)], 1));
    follower.persist_all();
    follower.take_sent();
    let mut sent = alone.take_sent().into_iter();
    let heartbeat = sent.find(|message| message.to == S2 && message.body.is_urgent());
    let heartbeat = heartbeat.expect("a heartbeat").body;
    follower.receive(S2, 1, heartbeat);
    let answer = follower.take_sent().pop().expect("an answer").body;
    let accepted = AppendResult::Accepted { match_index: LogIndex(1) };
    assert!(matches!(&answer, Body::AppendEntriesReply { result, .. } if *result == accepted));
    alone.receive(S2, 1, answer);
    assert_eq!(with_entries(&alone, S2), 0, "they are on their way");
    assert_eq!(alone.replica.status().peers[&S2].in_flight, 2);
}

/// Guards that replication continues under heavy message loss.
#[check]
fn writes_pass_a_lossy_network() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        cluster.act(Action::SetLoss { permille: 200 });
        cluster.put("x", "1");
        let all = cluster.sim.ids();
        cluster.await_value(&all, "x", "1");
    }
}

/// Guards the majority of three servers: writes commit without one server and not without two.
#[check]
fn a_majority_is_needed_and_enough() {
    let mut cluster = Cluster::led(3, 4);
    let leader = cluster.sim.leader().expect("led");
    let others = cluster.others(leader);
    cluster.act(Action::Crash(others[0]));
    cluster.put("x", "1");
    cluster.act(Action::Partition(vec![BTreeSet::from([others[1]])]));
    let leader = cluster.sim.leader().expect("led");
    cluster.act(Action::Write { node: leader, command: Command::put("y", "1") });
    cluster.pass(3 * SECOND);
    for node in [leader, others[1]] {
        assert_eq!(value_at(&cluster.sim, node, "y"), None);
    }
    assert_eq!(cluster.sim.leader(), None);
    assert_eq!(cluster.sim.ids(), [S1, S2, S3]);
}

/// Guards that servers keep the state digests of the same entries, and that these digests agree.
#[check]
fn servers_keep_the_digests_of_the_same_entries() {
    let mut cluster = Cluster::led(3, 1);
    let node = cluster.await_leader();
    for number in 0..600 {
        let command = Command::put("x", format!("{number}"));
        cluster.act(Action::Write { node, command });
    }
    cluster.put("last", "1");
    let ids = cluster.sim.ids();
    cluster.await_value(&ids, "last", "1");
    let replica = |id| cluster.sim.replica(id).expect("it runs");
    let kept: Vec<_> = replica(node).digests().collect();
    let indices: Vec<u64> = kept.iter().map(|(index, _)| index.0).collect();
    assert_eq!(indices, [256, 512]);
    for id in ids {
        assert!(replica(id).digests().eq(kept.iter().copied()), "server {id}");
        assert_eq!(replica(id).digest_at(kept[1].0), Some(kept[1].1));
        assert_eq!(replica(id).digest_at(LogIndex(257)), None);
        let last = replica(id).last_applied().index;
        assert_eq!(replica(id).digest_at(last), Some(replica(id).store().digest()));
    }
}
