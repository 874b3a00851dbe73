//! Elections: §5.2, §5.4.1; PreVote and CheckQuorum of the dissertation.

use raft_core::event::{EventKind, RoleName, RoleReason};
use raft_core::log::Entries;
use raft_core::message::Body;
use raft_core::sim::Action;
use raft_core::types::{LogPosition, SECOND, Term};

use crate::lab::{Alone, Cluster, S1, S2, S3, check};

/// Guards §5.2: clusters of 1 to 9 servers elect a leader.
#[check]
fn clusters_of_every_size_elect_a_leader() {
    for servers in 1..=9 {
        for seed in 0..10 {
            Cluster::led(servers, seed);
        }
    }
}

/// Guards §5.2: another server replaces a crashed leader in a later term, and the old leader
/// follows it after a restart.
#[check]
fn a_crashed_leader_is_replaced_and_follows_when_it_returns() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(3, seed);
        let first = cluster.sim.leader().expect("led");
        let term = cluster.sim.replica(first).expect("runs").status().term;
        cluster.act(Action::Crash(first));
        let second = cluster.await_leader();
        assert_ne!(first, second);
        assert!(cluster.sim.replica(second).expect("runs").status().term > term);
        cluster.act(Action::Restart(first));
        cluster.until("the old leader following", |sim| {
            sim.replica(first).is_some_and(|it| it.status().leader == Some(second))
        });
    }
}

/// Guards dissertation §6.2: a leader without a majority steps down, to not leave its clients
/// waiting forever.
#[check]
fn a_leader_without_a_majority_steps_down() {
    let mut cluster = Cluster::led(5, 3);
    let leader = cluster.sim.leader().expect("led");
    cluster.isolate(leader);
    cluster.until("stepping down", |sim| {
        sim.replica(leader).is_some_and(|it| it.status().role != RoleName::Leader)
    });
    let why = cluster.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::RoleChanged { why, .. } if event.id.node == leader => Some(*why),
        _ => None,
    });
    assert_eq!(why, Some(RoleReason::QuorumLost));
}

/// Guards pitfall 38: a leader that can send but not receive steps down, because it cannot commit.
#[check]
fn a_leader_that_cannot_hear_steps_down() {
    let mut cluster = Cluster::led(3, 5);
    let leader = cluster.sim.leader().expect("led");
    for other in cluster.others(leader) {
        cluster.act(Action::SetLink { from: other, to: leader, up: false });
    }
    cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != leader));
}

/// Guards dissertation §9.6: an isolated server does not increase its term, and does not depose a
/// working leader when it returns.
#[check]
fn a_returning_server_does_not_depose_the_leader() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(5, seed);
        let leader = cluster.sim.leader().expect("led");
        let term = cluster.sim.replica(leader).expect("runs").status().term;
        let returner = cluster.others(leader)[0];
        cluster.isolate(returner);
        cluster.pass(3 * SECOND);
        cluster.act(Action::Heal);
        cluster.pass(3 * SECOND);
        let status = cluster.sim.replica(returner).expect("runs").status();
        assert_eq!((status.leader, status.term), (Some(leader), term), "seed {seed}");
    }
}

/// Guards pitfall 16: a pre-vote is not a vote, and an answer to an earlier request does not count.
#[check]
fn late_or_foreign_answers_do_not_elect() {
    let mut alone = Alone::new();
    alone.time_out();
    alone.receive(S2, 0, Body::PreVoteReply { next_term: Term(7), granted: true });
    alone.receive(S2, 0, Body::RequestVoteReply { granted: true });
    assert_eq!(alone.replica.status().role, RoleName::PreCandidate);
    alone.receive(S2, 0, Body::PreVoteReply { next_term: Term(1), granted: true });
    assert_eq!(alone.replica.status().role, RoleName::Candidate);
    alone.persist_all();
    alone.receive(S3, 1, Body::PreVoteReply { next_term: Term(2), granted: true });
    assert_eq!(alone.replica.status().role, RoleName::Candidate);
}

/// Guards pitfall 14: only a message of the leader or a granted vote resets the timer.
#[check]
fn refused_votes_and_pre_votes_do_not_reset_the_timer() {
    let mut alone = Alone::new();
    alone.receive(
        S2,
        3,
        Body::AppendEntries {
            prev_log: LogPosition::ZERO,
            entries: Entries::default(),
            leader_commit: 0.into(),
            round: 1,
        },
    );
    let due = alone.replica.deadline();
    alone.now = alone.now.after(160_000);
    alone.receive(S3, 3, Body::PreVote { next_term: Term(4), last_log: LogPosition::ZERO });
    alone.receive(S3, 2, Body::RequestVote { last_log: LogPosition::new(9, 9), transfer: false });
    alone.receive(
        S2,
        2,
        Body::AppendEntries {
            prev_log: LogPosition::ZERO,
            entries: Entries::default(),
            leader_commit: 0.into(),
            round: 1,
        },
    );
    assert_eq!(alone.replica.deadline(), due);
    alone.receive(S3, 4, Body::RequestVote { last_log: LogPosition::ZERO, transfer: false });
    assert_eq!(alone.replica.status().voted_for, Some(S3));
    assert!(alone.replica.deadline() > due);
}

/// Guards §5.2: one vote per term, and the same answer to a repeated request.
#[check]
fn a_server_votes_once_a_term() {
    let mut alone = Alone::new();
    for (candidate, expected) in [(S2, true), (S3, false), (S2, true)] {
        alone.receive(
            candidate,
            1,
            Body::RequestVote { last_log: LogPosition::ZERO, transfer: false },
        );
        alone.persist_all();
        let answer = alone.take_sent().pop().expect("an answer");
        assert_eq!(answer.body, Body::RequestVoteReply { granted: expected });
    }
    assert_eq!(alone.replica.status().voted_for, Some(S2));
    assert_eq!(alone.replica.status().id, S1);
}
