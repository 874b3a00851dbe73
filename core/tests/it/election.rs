//! Elections: §5.2, §5.4.1; PreVote and CheckQuorum of the dissertation.

use raft_core::event::{EventKind, RoleName, RoleReason};
use raft_core::sim::Action;
use raft_core::types::SECOND;

use crate::lab::{Cluster, check};

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
