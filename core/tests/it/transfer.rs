//! Leadership transfer (dissertation §3.10).

use raft_core::event::{EventKind, Outcome, RequestRefusal, RoleName};
use raft_core::kv::Command;
use raft_core::log::Entries;
use raft_core::message::Body;
use raft_core::replica::Input;
use raft_core::sim::Action;
use raft_core::types::{LogPosition, MILLISECOND, NodeId, RequestId};

use crate::lab::{Alone, Cluster, S2, S3, SHORT, check};

/// Guards that the named server leads within less than an election timeout, and that no write is
/// lost.
#[check]
fn leadership_goes_where_it_is_wanted() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(5, seed);
        cluster.put("x", "1");
        let old = cluster.sim.leader().expect("led");
        let heir = cluster.others(old)[usize::try_from(seed % 4).expect("small")];
        let began = cluster.sim.now();
        cluster.act(Action::Transfer { node: old, to: Some(heir) });
        cluster.until("the heir", |sim| sim.leader() == Some(heir));
        let took = cluster.sim.now().since(began);
        assert!(took < 150 * MILLISECOND, "seed {seed}: {took} µs");
        let all = cluster.sim.ids();
        cluster.await_value(&all, "x", "1");
        cluster.pass(200 * MILLISECOND);
        let told = |event: &raft_core::event::Event| {
            matches!(&event.kind, EventKind::ClientAnswer { outcome: Outcome::Transferred { to }, .. }
                if *to == heir)
        };
        assert!(cluster.events.iter().any(told), "seed {seed}");
    }
}

/// Guards that a write that the old leader accepted before the transfer does not get an unknown
/// outcome.
#[check]
fn writes_before_the_hand_over_are_answered() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(3, seed);
        let old = cluster.sim.leader().expect("led");
        for key in ["a", "b", "c"] {
            cluster.act(Action::Write { node: old, command: Command::put(key, "1") });
        }
        cluster.act(Action::Transfer { node: old, to: None });
        cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != old));
        cluster.pass(100 * MILLISECOND);
        let unknown = |event: &raft_core::event::Event| {
            matches!(&event.kind, EventKind::ClientAnswer { outcome: Outcome::Unknown, .. })
        };
        assert!(!cluster.events.iter().any(unknown), "seed {seed}");
    }
}

/// Guards that the leader aborts a transfer whose target does not take over, and accepts writes
/// again.
#[check]
fn a_hand_over_that_fails_is_given_up() {
    let mut alone = Alone::leader();
    alone.step(Input::TransferLeadership { request: RequestId(1), to: Some(S3) });
    alone.propose(2, "x", "1");
    assert_eq!(alone.answers, [(RequestId(2), Outcome::NotLeader { leader: None })]);
    for _ in 0..6 {
        alone.pass(SHORT);
        alone.accept(S2, 1);
    }
    let refused = Outcome::Refused(RequestRefusal::TransferTimedOut);
    assert_eq!(alone.answers.last(), Some(&(RequestId(1), refused)));
    assert!(!alone.sent.iter().any(|it| it.body == Body::TimeoutNow), "S3 never caught up");
    alone.propose(3, "x", "1");
    alone.persist_all();
    alone.accept(S2, 2);
    assert!(matches!(alone.answers.last(), Some((RequestId(3), Outcome::Applied { .. }))));
}

/// Guards that impossible transfers are refused, each with its own reason.
#[check]
fn impossible_hand_overs_are_refused() {
    let mut alone = Alone::leader();
    let own = alone.id();
    for (request, to, why) in [
        (1, Some(own), RequestRefusal::AlreadyLeads),
        (2, Some(NodeId(9)), RequestRefusal::NotAVoter),
    ] {
        alone.step(Input::TransferLeadership { request: RequestId(request), to });
        let refused = Outcome::Refused(why);
        assert_eq!(alone.answers.pop(), Some((RequestId(request), refused)));
    }
    alone.step(Input::TransferLeadership { request: RequestId(3), to: Some(S2) });
    alone.step(Input::TransferLeadership { request: RequestId(4), to: Some(S2) });
    let refused = Outcome::Refused(RequestRefusal::TransferInProgress);
    assert_eq!(alone.answers, [(RequestId(4), refused)]);
    alone.receive(S2, 2, Body::RequestVote { last_log: LogPosition::new(1, 1), transfer: true });
    assert_eq!(alone.replica.status().role, RoleName::Follower);
    assert_eq!(alone.answers.len(), 1, "S2 asks for votes and does not lead yet");
    alone.receive(
        S2,
        2,
        Body::AppendEntries {
            prev_log: LogPosition::new(1, 1),
            entries: Entries::default(),
            leader_commit: 1.into(),
            round: 1,
        },
    );
    assert_eq!(alone.answers.last(), Some(&(RequestId(3), Outcome::Transferred { to: S2 })));
}

/// Guards that while a leader is active, only a vote request of a transfer is granted (dissertation
/// §3.10).
#[check]
fn only_an_election_that_the_leader_wanted_is_heard_while_it_is_alive() {
    for (transfer, granted) in [(false, false), (true, true)] {
        let mut alone = Alone::new();
        let heartbeat = Body::AppendEntries {
            prev_log: LogPosition::ZERO,
            entries: Entries::default(),
            leader_commit: 0.into(),
            round: 1,
        };
        alone.receive(S2, 1, heartbeat);
        alone.persist_all();
        alone.take_sent();
        alone.receive(S3, 2, Body::RequestVote { last_log: LogPosition::ZERO, transfer });
        alone.persist_all();
        let answer = alone.take_sent().pop().expect("an answer");
        assert_eq!(answer.body, Body::RequestVoteReply { granted });
    }
}

/// Guards that the answer to a transfer names the server that leads, not the target. If another
/// server won, a transfer to a named target failed; a transfer without a target succeeded.
#[check]
fn a_hand_over_is_done_when_the_heir_leads() {
    let heartbeat = Body::AppendEntries {
        prev_log: LogPosition::new(1, 1),
        entries: Entries::default(),
        leader_commit: 1.into(),
        round: 1,
    };
    let failed = Outcome::Refused(RequestRefusal::TransferTimedOut);
    for (wanted, winner, expected) in [
        (Some(S2), S2, Outcome::Transferred { to: S2 }),
        (Some(S2), S3, failed.clone()),
        (None, S2, Outcome::Transferred { to: S2 }),
        (None, S3, Outcome::Transferred { to: S3 }),
    ] {
        for asked_for_votes in [false, true] {
            let mut alone = Alone::leader();
            alone.step(Input::TransferLeadership { request: RequestId(1), to: wanted });
            assert!(alone.sent.iter().any(|it| it.to == S2 && it.body == Body::TimeoutNow));
            let last_log = LogPosition::new(1, 1);
            if asked_for_votes {
                alone.receive(S2, 2, Body::RequestVote { last_log, transfer: true });
            } else {
                alone.receive(S3, 2, Body::RequestVoteReply { granted: false });
            }
            assert_eq!(alone.replica.status().role, RoleName::Follower);
            assert_eq!(alone.answers, [], "nobody leads yet");
            alone.receive(winner, 3, heartbeat.clone());
            assert_eq!(alone.answers, [(RequestId(1), expected.clone())]);
        }
    }
}

/// Guards that a transfer whose outcome stays open is answered in time.
#[check]
fn a_hand_over_that_nobody_completes_ends_in_time() {
    let given_away = || {
        let mut alone = Alone::leader();
        alone.step(Input::TransferLeadership { request: RequestId(1), to: Some(S2) });
        alone.receive(S3, 2, Body::RequestVoteReply { granted: false });
        alone.persist_all();
        assert_eq!(alone.answers, []);
        alone
    };
    let failed = Outcome::Refused(RequestRefusal::TransferTimedOut);
    let mut alone = given_away();
    alone.pass(300 * MILLISECOND);
    assert_eq!(alone.answers, [(RequestId(1), failed)]);
    // After a disk failure the outcome is unknown.
    let mut alone = given_away();
    alone.propose(2, "x", "1");
    alone.receive(S3, 3, Body::RequestVoteReply { granted: false });
    let write = alone.writes.pop().expect("the term").id;
    alone.step(Input::PersistFailed(write));
    assert_eq!(alone.answers.last(), Some(&(RequestId(1), Outcome::Unknown)));
}

/// Guards that a server follows TimeoutNow only from the leader of its term.
#[check]
fn only_the_leader_gives_its_office_away() {
    let mut alone = Alone::new();
    let heartbeat = Body::AppendEntries {
        prev_log: LogPosition::ZERO,
        entries: Entries::default(),
        leader_commit: 0.into(),
        round: 1,
    };
    // The leader of the term is not known yet.
    alone.receive(S3, 1, Body::TimeoutNow);
    assert_eq!(alone.replica.status().role, RoleName::Follower);
    alone.receive(S2, 1, heartbeat);
    alone.receive(S3, 1, Body::TimeoutNow);
    assert_eq!(alone.replica.status().role, RoleName::Follower);
    assert_eq!(alone.replica.status().term.0, 1);
    // Also as a pre-candidate that has missed its leader.
    alone.time_out();
    assert_eq!(alone.replica.status().role, RoleName::PreCandidate);
    alone.receive(S3, 1, Body::TimeoutNow);
    assert_eq!(alone.replica.status().role, RoleName::PreCandidate);
    alone.receive(S2, 1, Body::TimeoutNow);
    assert_eq!(alone.replica.status().role, RoleName::Candidate);
    assert_eq!(alone.replica.status().term.0, 2);
}
