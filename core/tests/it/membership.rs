//! Membership changes: §6, dissertation chapter 4.

use std::collections::BTreeSet;

use raft_core::config::Config;
use raft_core::durable::HardState;
use raft_core::event::{EventKind, Outcome, RequestRefusal, RoleName, RoleReason};
use raft_core::log::{Entry, Payload};
use raft_core::membership::{ChangeRefusal, Membership, MembershipChange};
use raft_core::message::Body;
use raft_core::replica::{Input, Replica};
use raft_core::rules::VoteRefusal;
use raft_core::sim::{Action, SimConfig, Simulation};
use raft_core::types::{LogIndex, LogPosition, MILLISECOND, NodeId, RequestId, SECOND, Term};

use crate::lab::{Alone, Cluster, S1, S2, S3, check};

const S4: NodeId = NodeId(4);
const S5: NodeId = NodeId(5);

fn members(sim: &Simulation, node: NodeId) -> Membership {
    sim.replica(node).map(|it| it.status().membership).unwrap_or_default()
}

/// Requests a change from the leader and waits until all expected voters know it to be complete.
fn change(cluster: &mut Cluster, change: &MembershipChange, expected: &[u64]) {
    let voters: BTreeSet<NodeId> = expected.iter().copied().map(NodeId).collect();
    let complete = |sim: &Simulation| {
        voters.iter().all(|node| {
            let members = members(sim, *node);
            members.voters == voters && members.is_settled()
        })
    };
    let leader = cluster.await_leader();
    cluster.until("the commit of the change before", |sim| {
        let status = sim.replica(leader).map(Replica::status);
        status.is_some_and(|status| status.commit_index == status.last.index)
    });
    cluster.act(Action::ChangeMembership { node: leader, change: change.clone() });
    cluster.until("the change", complete);
}

fn answers(cluster: &Cluster) -> Vec<Outcome> {
    let answer = |event: &raft_core::event::Event| match &event.kind {
        EventKind::ClientAnswer { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    cluster.events.iter().filter_map(answer).collect()
}

/// Guards dissertation §4.2.1: a new server catches up as a learner, then votes. The client is
/// answered when the change is committed.
#[check]
fn a_new_server_learns_and_then_votes() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        cluster.put("x", "1");
        cluster.act(Action::AddServer(S4));
        change(&mut cluster, &MembershipChange::AddVoter(S4), &[1, 2, 3, 4]);
        cluster.await_value(&[S4], "x", "1");
        cluster.pass(200 * MILLISECOND);
        let told = |outcome: &Outcome| matches!(outcome, Outcome::MembershipChanged { .. });
        assert!(answers(&cluster).iter().any(told), "seed {seed}");
        let was_learner = cluster.events.iter().any(|event| {
            matches!(&event.kind, EventKind::ConfigurationAppended { membership, .. }
                if membership.learners.contains(&S4))
        });
        assert!(was_learner, "seed {seed}: it voted from the start");
    }
}

/// Guards that a learner does not count: with two of three voters down, its acknowledgement commits
/// nothing.
#[check]
fn a_learner_replicates_and_counts_for_nothing() {
    let mut cluster = Cluster::led(3, 1);
    let leader = cluster.sim.leader().expect("led");
    cluster.act(Action::AddServer(S4));
    let learner = MembershipChange::AddLearner(S4);
    cluster.act(Action::ChangeMembership { node: leader, change: learner });
    cluster.until("the learner", |sim| members(sim, S4).learners.contains(&S4));
    for other in cluster.others(leader) {
        if other != S4 {
            cluster.act(Action::Crash(other));
        }
    }
    let before = cluster.sim.replica(leader).expect("runs").status().commit_index;
    let command = raft_core::kv::Command::put("x", "1");
    cluster.act(Action::Write { node: leader, command });
    cluster.pass(100 * MILLISECOND);
    let status = cluster.sim.replica(leader).expect("runs").status();
    assert_eq!(status.commit_index, before);
    let there = cluster.sim.replica(S4).expect("runs").status();
    assert_eq!(there.last, status.last, "the learner has the entry");
    cluster.pass(5 * SECOND);
    let role = cluster.sim.replica(S4).expect("runs").status().role;
    assert_eq!(role, RoleName::Follower, "a learner never campaigns");
}

/// Guards §6: a change of several voters goes through a joint configuration, and the cluster stays
/// available.
#[check]
fn several_voters_change_through_a_joint_configuration() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        cluster.put("x", "1");
        cluster.act(Action::AddServer(S4));
        cluster.act(Action::AddServer(S5));
        let voters = BTreeSet::from([S3, S4, S5]);
        change(&mut cluster, &MembershipChange::SetVoters(voters), &[3, 4, 5]);
        let was_joint = cluster.events.iter().any(|event| {
            matches!(&event.kind, EventKind::ConfigurationCommitted { membership, .. }
                if membership.is_joint())
        });
        assert!(was_joint, "seed {seed}");
        cluster.act(Action::Crash(S1));
        cluster.act(Action::Crash(S2));
        cluster.put("y", "2");
        cluster.await_value(&[S3, S4, S5], "x", "1");
    }
}

/// Guards dissertation §4.2.2: a removed leader completes the change, hands over and does not
/// disturb the others afterwards.
#[check]
fn a_removed_leader_steps_down_and_keeps_quiet() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        let old = cluster.sim.leader().expect("led");
        let rest: Vec<u64> = cluster.others(old).iter().map(|node| node.0).collect();
        change(&mut cluster, &MembershipChange::Remove(old), &rest);
        cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != old));
        let new = cluster.await_leader();
        let term = cluster.sim.replica(new).expect("runs").status().term;
        cluster.pass(5 * SECOND);
        assert_eq!(cluster.sim.leader(), Some(new), "seed {seed}: pitfall 18");
        assert_eq!(cluster.sim.replica(new).expect("runs").status().term, term, "seed {seed}");
        let why = cluster.events.iter().find_map(|event| match &event.kind {
            EventKind::RoleChanged { why: RoleReason::Removed, .. } => Some(event.id.node),
            _ => None,
        });
        assert_eq!(why, Some(old), "seed {seed}");
    }
}

/// Guards dissertation §4.2.1: a server that does not catch up in time is removed again, and
/// another change is possible then.
#[check]
fn a_server_that_does_not_catch_up_is_removed_again() {
    let node = Config { promotion_timeout: 2 * SECOND, ..Config::default() };
    let mut cluster = Cluster::new(SimConfig { node, ..SimConfig::default() });
    let leader = cluster.await_leader();
    // There is no server 4.
    let change = MembershipChange::AddVoter(S4);
    cluster.act(Action::ChangeMembership { node: leader, change });
    cluster.until("giving up", |sim| {
        let members = members(sim, leader);
        members.is_settled() && members == Membership::of([S1, S2, S3])
    });
    let refused = Outcome::Refused(RequestRefusal::Membership(ChangeRefusal::DidNotCatchUp));
    cluster.pass(SECOND);
    assert!(answers(&cluster).contains(&refused));
}

/// Guards pitfall 20: truncating a configuration entry restores the previous configuration.
#[check]
fn a_configuration_is_rolled_back_with_its_entry() {
    let mut alone = Alone::new();
    let entry = |index, term, payload| Entry { index: LogIndex(index), term: Term(term), payload };
    let append = |prev_log, entries: Vec<Entry>| Body::AppendEntries {
        prev_log,
        entries: entries.into(),
        leader_commit: LogIndex(0),
        round: 1,
    };
    let four = Membership::of([S1, S2, S3, S4]);
    let change = entry(2, 1, Payload::Membership(four.clone().into()));
    alone.receive(S2, 1, append(LogPosition::ZERO, vec![entry(1, 1, Payload::Noop), change]));
    assert_eq!(alone.replica.status().membership, four);
    alone.receive(S3, 2, append(LogPosition::new(1, 1), vec![entry(2, 2, Payload::Noop)]));
    assert_eq!(alone.replica.status().membership, Membership::of([S1, S2, S3]));
}

/// Guards pitfall 20: the configuration survives a snapshot and a restart.
#[check]
fn a_configuration_survives_snapshots_and_restarts() {
    for seed in 0..5 {
        let node = Config { compact_after_entries: 20, keep_entries: 0, ..Config::default() };
        let mut cluster = Cluster::new(SimConfig { seed, node, ..SimConfig::default() });
        cluster.await_leader();
        cluster.act(Action::AddServer(S4));
        change(&mut cluster, &MembershipChange::AddVoter(S4), &[1, 2, 3, 4]);
        for _ in 0..30 {
            cluster.put("x", "1");
            cluster.put("x", "2");
        }
        for node in cluster.sim.ids() {
            cluster.act(Action::Crash(node));
        }
        for node in cluster.sim.ids() {
            cluster.act(Action::Restart(node));
            let status = cluster.sim.replica(node).expect("runs").status();
            assert!(status.base.index > LogIndex(5), "seed {seed}: nothing was compacted");
            assert_eq!(status.membership.voters.len(), 4, "seed {seed}");
        }
        // A server that joins gets the configuration with the snapshot.
        cluster.act(Action::AddServer(S5));
        change(&mut cluster, &MembershipChange::AddVoter(S5), &[1, 2, 3, 4, 5]);
    }
}

/// Guards pitfall 19: a leader refuses a change before it has committed in its own term, and while
/// another change is in progress.
#[check]
fn a_change_waits_for_the_own_term_and_for_the_one_before() {
    let mut alone = Alone::new();
    alone.time_out();
    alone.receive(S2, 0, Body::PreVoteReply { next_term: Term(1), granted: true });
    alone.persist_all();
    alone.receive(S2, 1, Body::RequestVoteReply { granted: true });
    let ask = |request| Input::ChangeMembership {
        request: RequestId(request),
        change: MembershipChange::Remove(S3),
    };
    alone.step(ask(1));
    let refused = |why| Outcome::Refused(RequestRefusal::Membership(why));
    assert_eq!(alone.answers.pop(), Some((RequestId(1), refused(ChangeRefusal::NoCommitInTerm))));
    alone.persist_all();
    alone.accept(S2, 1);
    alone.step(ask(2));
    assert_eq!(alone.answers, [], "the change is under way");
    alone.step(ask(3));
    assert_eq!(alone.answers.pop(), Some((RequestId(3), refused(ChangeRefusal::InProgress))));
    alone.persist_all();
    alone.accept(S2, 2);
    let done = Outcome::MembershipChanged {
        index: LogIndex(2),
        membership: Box::new(Membership::of([S1, S2])),
    };
    assert_eq!(alone.answers, [(RequestId(2), done)]);
}

/// Guards pitfall 29: a server that lost its disk neither votes nor campaigns until it is removed
/// and added again. Log entries about its earlier membership do not count.
#[check]
fn a_server_without_memory_does_not_vote() {
    let mut alone = Alone::stranger();
    let vote = Body::RequestVote { last_log: LogPosition::new(9, 9), transfer: false };
    alone.receive(S2, 5, vote.clone());
    alone.persist_all();
    let refusal = alone.take_sent().pop().expect("an answer");
    assert_eq!(refusal.body, Body::RequestVoteReply { granted: false });
    let entry = |index, membership| Entry {
        index: LogIndex(index),
        term: Term(5),
        payload: Payload::Membership(Box::new(membership)),
    };
    let append = |prev_log, entries: Vec<Entry>, commit| Body::AppendEntries {
        prev_log,
        entries: entries.into(),
        leader_commit: LogIndex(commit),
        round: 1,
    };
    // Old entries: a learner at index 1, a voter at index 2. The leader has committed both.
    let all = Membership::of([S1, S2, S3]);
    let learner = Membership { learners: [S1].into(), ..Membership::of([S2, S3]) };
    let old = vec![entry(1, learner.clone()), entry(2, all.clone())];
    alone.receive(S2, 5, append(LogPosition::ZERO, old, 2));
    assert!(alone.replica.status().membership.is_voter(S1));
    alone.now = alone.now.after(SECOND);
    alone.receive(S3, 6, vote.clone());
    alone.persist_all();
    assert_eq!(
        alone.take_sent().pop().map(|it| it.body),
        Some(Body::RequestVoteReply { granted: false })
    );
    alone.time_out();
    assert_eq!(alone.replica.status().role, RoleName::Follower, "it does not campaign either");
    let HardState { stranger_until, .. } = alone.hard_state;
    assert!(stranger_until.is_some(), "and remembers that over a restart");
    // New entries: it is removed, added as a learner, promoted.
    let news = vec![entry(3, Membership::of([S2, S3])), entry(4, learner), entry(5, all)];
    let news = news.into_iter().map(|it| Entry { term: Term(6), ..it }).collect();
    alone.receive(S3, 6, append(LogPosition::new(5, 2), news, 2));
    alone.now = alone.now.after(SECOND);
    alone.persist_all();
    alone.take_sent();
    alone.receive(S2, 7, vote);
    alone.persist_all();
    assert_eq!(
        alone.take_sent().pop().map(|it| it.body),
        Some(Body::RequestVoteReply { granted: true })
    );
}

/// Guards pitfall 29 against old messages: a wiped server may first receive a message from before
/// it acknowledged more. A message of a later term's leader raises `stranger_until`.
#[check]
fn a_late_word_of_an_earlier_leader_makes_no_full_member() {
    let mut alone = Alone::stranger();
    let append = |prev_log, entries: Vec<Entry>, commit| Body::AppendEntries {
        prev_log,
        entries: entries.into(),
        leader_commit: LogIndex(commit),
        round: 1,
    };
    // A message of term 2, when the log ended at 3.
    alone.receive(S2, 2, append(LogPosition::new(2, 3), Vec::new(), 3));
    alone.persist_all();
    assert_eq!(alone.hard_state.stranger_until, Some(LogIndex(3)));
    // Before the loss it was a voter in term 5, and acknowledged up to 10.
    alone.receive(S3, 6, append(LogPosition::new(5, 10), Vec::new(), 9));
    alone.persist_all();
    assert_eq!(alone.hard_state.stranger_until, Some(LogIndex(10)));
    let noop = |index| Entry { index: LogIndex(index), term: Term(2), payload: Payload::Noop };
    let member = |index, membership| Entry {
        index: LogIndex(index),
        term: Term(5),
        payload: Payload::Membership(Box::new(membership)),
    };
    let learner = Membership { learners: [S1].into(), ..Membership::of([S2, S3]) };
    let all = Membership::of([S1, S2, S3]);
    let mut log: Vec<Entry> = (1..=3).map(noop).collect();
    log.extend([member(4, learner), member(5, all)]);
    alone.receive(S3, 6, append(LogPosition::ZERO, log, 9));
    alone.persist_all();
    assert!(alone.replica.status().membership.is_voter(S1));
    assert_eq!(alone.hard_state.stranger_until, Some(LogIndex(10)), "old news");
}

/// The reverse: if the first leader's log had a tail that was lost, the next leader's index counts.
/// A promotion below that tail is then new.
#[check]
fn a_tail_that_died_keeps_no_stranger_from_voting() {
    let mut alone = Alone::stranger();
    let append = |prev_log, entries: Vec<Entry>, commit| Body::AppendEntries {
        prev_log,
        entries: entries.into(),
        leader_commit: LogIndex(commit),
        round: 1,
    };
    alone.receive(S2, 2, append(LogPosition::new(2, 20), Vec::new(), 10));
    alone.receive(S3, 3, append(LogPosition::new(1, 10), Vec::new(), 10));
    let noop = |index| Entry { index: LogIndex(index), term: Term(1), payload: Payload::Noop };
    let member = |index, membership| Entry {
        index: LogIndex(index),
        term: Term(3),
        payload: Payload::Membership(Box::new(membership)),
    };
    let learner = Membership { learners: [S1].into(), ..Membership::of([S2, S3]) };
    let mut log: Vec<Entry> = (1..=10).map(noop).collect();
    log.extend([member(11, learner), member(12, Membership::of([S1, S2, S3]))]);
    alone.receive(S3, 3, append(LogPosition::ZERO, log, 10));
    alone.persist_all();
    assert_eq!(alone.hard_state.stranger_until, None);
}

/// Guards pitfalls 23 and 29 in a whole cluster: a wiped server is detected and not counted. It
/// becomes a full member when it is removed and added.
#[check]
fn a_wiped_server_is_found_out_and_joins_anew() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        cluster.put("x", "1");
        cluster.pass(200 * MILLISECOND);
        let leader = cluster.sim.leader().expect("led");
        let wiped = cluster.others(leader)[0];
        let rest: Vec<u64> = cluster.others(wiped).iter().map(|node| node.0).collect();
        cluster.act(Action::Crash(wiped));
        cluster.act(Action::Wipe(wiped));
        cluster.act(Action::Restart(wiped));
        cluster.pass(SECOND);
        let found_out = cluster
            .events
            .iter()
            .any(|event| matches!(&event.kind, EventKind::PeerLostLog { peer } if *peer == wiped));
        assert!(found_out, "seed {seed}");
        change(&mut cluster, &MembershipChange::Remove(wiped), &rest);
        change(&mut cluster, &MembershipChange::AddVoter(wiped), &[1, 2, 3]);
        cluster.await_value(&[wiped], "x", "1");
        let other = cluster.others(wiped).into_iter().find(|it| Some(*it) != cluster.sim.leader());
        cluster.act(Action::Crash(other.expect("of three servers one is neither")));
        cluster.put("y", "2");
        cluster.await_value(&[wiped], "y", "2");
    }
}

/// Guards that a stranger's refusal says why, and that a stranger never campaigns.
#[check]
fn a_stranger_says_why_it_refuses() {
    let mut cluster = Cluster::led(3, 1);
    cluster.act(Action::AddServer(S4));
    assert_eq!(VoteRefusal::Stranger.to_string().matches("does not vote yet").count(), 1);
    cluster.pass(5 * SECOND);
    let campaigns = |event: &raft_core::event::Event| {
        event.id.node == S4 && matches!(&event.kind, EventKind::RoleChanged { .. })
    };
    assert!(!cluster.events.iter().any(campaigns));
}

/// Guards dissertation §4.2.2 and figure 4.6, found by a random run. In a cluster of two, a leader
/// that removes itself may step down before that is committed. Only this server can still commit
/// it, so it may campaign again.
#[check]
fn a_leader_on_its_way_out_may_be_needed_once_more() {
    let mut cluster = Cluster::led(2, 3);
    let leaving = cluster.sim.leader().expect("led");
    let staying = cluster.others(leaving)[0];
    cluster.put("x", "1");
    cluster.act(Action::Freeze(staying));
    let change = MembershipChange::Remove(leaving);
    cluster.act(Action::ChangeMembership { node: leaving, change });
    cluster.until("the loss of office", |sim| sim.leader().is_none());
    assert!(!members(&cluster.sim, leaving).is_voter(leaving));
    cluster.act(Action::Thaw(staying));
    cluster.until("the end of the change", |sim| {
        sim.leader() == Some(staying)
            && members(sim, staying) == Membership::of([staying])
            && members(sim, leaving) == Membership::of([staying])
    });
}

/// Guards a new server that loses its promotion in a power loss, found by a random run: the leader
/// may need its vote. A learner past its first contact has no promises to keep. A server that only
/// repeats an old log may have.
#[check]
fn a_learner_that_is_no_stranger_any_more_votes_before_its_promotion() {
    let entry = |index, membership: Membership| Entry {
        index: LogIndex(index),
        term: Term(5),
        payload: Payload::Membership(Box::new(membership)),
    };
    let append = |prev_log, entry, commit| Body::AppendEntries {
        prev_log,
        entries: vec![entry].into(),
        leader_commit: LogIndex(commit),
        round: 1,
    };
    let learner = Membership { learners: [S1].into(), ..Membership::of([S2, S3]) };
    let answer = |alone: &mut Alone| {
        alone.now = alone.now.after(SECOND);
        alone.persist_all();
        alone.take_sent();
        let vote = Body::RequestVote { last_log: LogPosition::new(9, 9), transfer: false };
        alone.receive(S2, 6, vote);
        alone.persist_all();
        alone.take_sent().pop().map(|it| it.body)
    };
    let mut new = Alone::stranger();
    new.receive(S2, 5, append(LogPosition::ZERO, entry(1, learner.clone()), 0));
    assert_eq!(answer(&mut new), Some(Body::RequestVoteReply { granted: true }));
    // The leader has committed its promotion at index 2, from before it lost its disk.
    let mut wiped = Alone::stranger();
    wiped.receive(S2, 5, append(LogPosition::ZERO, entry(1, learner), 2));
    assert_eq!(answer(&mut wiped), Some(Body::RequestVoteReply { granted: false }));
    // The same with a leader that does not know yet what is committed.
    let mut wiped = Alone::stranger();
    let all = Membership::of([S1, S2, S3]);
    wiped.receive(S2, 5, append(LogPosition::new(5, 2), entry(3, all.clone()), 0));
    let learner = Membership { learners: [S1].into(), ..Membership::of([S2, S3]) };
    wiped.receive(S2, 5, append(LogPosition::ZERO, entry(1, learner), 0));
    wiped.receive(S2, 5, append(LogPosition::new(5, 1), entry(2, all), 0));
    assert_eq!(answer(&mut wiped), Some(Body::RequestVoteReply { granted: false }));
}

/// Guards that a learner that answers but has nothing on disk is not promoted, found by a random
/// run. After a power loss it would be a voter that must not vote.
#[check]
fn a_learner_durably_holds_its_configuration_before_it_is_promoted() {
    let mut cluster = Cluster::led(1, 3);
    cluster.act(Action::AddServer(S2));
    let slow = 300 * MILLISECOND;
    cluster.act(Action::SlowDisk { node: S2, min: slow, max: slow });
    let change = MembershipChange::AddVoter(S2);
    cluster.act(Action::ChangeMembership { node: S1, change });
    let learner_since = cluster.sim.replica(S1).expect("it runs").status().last.index;
    cluster.until("the promotion", |sim| members(sim, S1).is_voter(S2));
    let status = cluster.sim.replica(S2).expect("it runs").status();
    assert!(status.durable_index >= learner_since, "{status:?}");
}

/// The answer to a vote request in this term.
fn asked_for_its_vote(alone: &mut Alone, term: u64) -> Body {
    alone.now = alone.now.after(SECOND);
    alone.persist_all();
    alone.take_sent();
    let vote = Body::RequestVote { last_log: LogPosition::new(term, 99), transfer: false };
    alone.receive(S2, term, vote);
    alone.persist_all();
    alone.take_sent().pop().expect("an answer").body
}

fn entries(entries: impl IntoIterator<Item = (u64, u64, Payload)>) -> raft_core::log::Entries {
    let entry =
        |(term, index, payload)| Entry { index: LogIndex(index), term: Term(term), payload };
    entries.into_iter().map(entry).collect()
}

fn learner() -> Payload {
    let membership = Membership { learners: [S1].into(), ..Membership::of([S2, S3]) };
    Payload::Membership(Box::new(membership))
}

fn promoted() -> Payload {
    Payload::Membership(Box::new(Membership::of([S1, S2, S3])))
}

fn append_all(prev_log: LogPosition, entries: raft_core::log::Entries, commit: u64) -> Body {
    Body::AppendEntries { prev_log, entries, leader_commit: LogIndex(commit), round: 1 }
}

/// Guards pitfall 29 against a voter that never votes: the next leader has a shorter log, and the
/// first leader's index no longer counts. The stranger is a full member once it holds an entry of
/// the new term.
#[check]
fn a_stranger_waits_for_nothing_that_died_with_its_first_leader() {
    let mut alone = Alone::stranger();
    alone.receive(S2, 5, append_all(LogPosition::new(5, 20), entries([]), 10));
    let granted = |granted| Body::RequestVoteReply { granted };
    let log = (1..=10).map(|index| (1, index, Payload::Noop)).chain([(1, 11, learner())]);
    alone.receive(S3, 6, append_all(LogPosition::new(1, 11), entries([]), 10));
    alone.receive(S3, 6, append_all(LogPosition::ZERO, entries(log), 10));
    // This may still be the log from before it lost its disk.
    let own = vec![(6, 12, Payload::Noop)];
    let mut early = alone.replica.clone();
    early.step(
        alone.now.after(SECOND),
        Input::Receive(raft_core::message::Message {
            from: S2,
            to: S1,
            seq: 0,
            term: Term(7),
            body: Body::RequestVote { last_log: LogPosition::new(7, 99), transfer: false },
        }),
    );
    assert_eq!(early.status().voted_for, None);
    alone.receive(S3, 6, append_all(LogPosition::new(1, 11), entries(own), 10));
    assert_eq!(asked_for_its_vote(&mut alone, 7), granted(true));
}

/// The same in a cluster that grows from one to two servers across a power loss. Both are needed
/// then, so the second must vote.
#[check]
fn a_cluster_that_grows_through_a_power_loss_elects_again() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(1, seed);
        cluster.put("x", "1");
        cluster.act(Action::AddServer(S2));
        // What the leader appends before its crash stays in memory.
        let slow = 250 * MILLISECOND;
        cluster.act(Action::SlowDisk { node: S1, min: slow, max: slow });
        for value in ["2", "3", "4", "5", "6", "7", "8", "9"] {
            let command = raft_core::kv::Command::put("x", value);
            cluster.act(Action::Write { node: S1, command });
        }
        let change = MembershipChange::AddVoter(S2);
        cluster.act(Action::ChangeMembership { node: S1, change });
        cluster.until("the first contact", |sim| {
            sim.replica(S2).is_some_and(|it| it.status().leader == Some(S1))
        });
        cluster.act(Action::Crash(S1));
        let fast = MILLISECOND;
        cluster.act(Action::SlowDisk { node: S1, min: fast, max: fast });
        cluster.act(Action::Restart(S1));
        cluster.until("a leader", |sim| sim.leader() == Some(S1));
        change_until_both_vote(&mut cluster);
        cluster.act(Action::Crash(S1));
        cluster.act(Action::Restart(S1));
        cluster.put("y", "1");
    }
}

fn change_until_both_vote(cluster: &mut Cluster) {
    cluster.await_leader();
    let change = MembershipChange::AddVoter(S2);
    cluster.act(Action::ChangeMembership { node: S1, change });
    cluster.until("the promotion", |sim| {
        [S1, S2].iter().all(|node| members(sim, *node) == Membership::of([S1, S2]))
    });
}

fn snapshot_of(index: u64, membership: Payload) -> Body {
    let Payload::Membership(membership) = membership else { panic!("members") };
    let last = LogPosition::new(5, index);
    let meta = raft_core::snapshot::SnapshotMeta { last, membership: *membership };
    let snapshot = raft_core::kv::Snapshot { meta: meta.clone(), ..Default::default() };
    let cursor = raft_core::snapshot::Cursor::default();
    let (data, next) = snapshot.chunk(&cursor, 1000);
    let chunk = raft_core::message::SnapshotChunk { meta, cursor, data, next };
    Body::InstallSnapshot { chunk: Box::new(chunk), round: 1 }
}

fn saved(alone: &mut Alone) {
    alone.persist_all();
    let meta = alone.snapshots.pop().expect("a snapshot to save").meta;
    alone.step(Input::SnapshotSaved(meta));
}

/// Guards pitfall 29: a snapshot newer than the first contact makes no full member of a stranger.
/// Its promotion may be from before the disk was lost.
#[check]
fn a_snapshot_makes_no_voter_of_a_stranger() {
    let mut alone = Alone::stranger();
    alone.receive(S2, 5, append_all(LogPosition::new(5, 50), entries([]), 50));
    for (index, membership) in [(40, learner()), (60, promoted())] {
        alone.receive(S2, 5, snapshot_of(index, membership));
        saved(&mut alone);
    }
    assert!(alone.replica.status().membership.is_voter(S1));
    assert_eq!(asked_for_its_vote(&mut alone, 6), Body::RequestVoteReply { granted: false });
}

/// Guards pitfall 29 over a crash: a snapshot is saved only after the mark of a stranger is
/// durable. With the snapshot alone the server would count itself a member.
#[check]
fn a_snapshot_waits_for_the_mark_of_a_stranger() {
    let mut alone = Alone::stranger();
    alone.receive(S2, 5, snapshot_of(40, promoted()));
    assert!(alone.snapshots.is_empty(), "the mark is not durable yet");
    alone.persist_all();
    assert_eq!(alone.snapshots.len(), 1);
    assert!(alone.hard_state.stranger_until.is_some());
}

/// Guards that a learner that had caught up is not promoted if it loses its disk while the leader
/// waits for another learner.
#[check]
fn a_learner_that_is_lost_while_others_catch_up_is_not_promoted() {
    let node = Config { promotion_timeout: 2 * SECOND, ..Config::default() };
    let mut cluster = Cluster::new(SimConfig { node, ..SimConfig::default() });
    cluster.await_leader();
    cluster.put("x", "1");
    let leader = cluster.await_leader();
    cluster.act(Action::AddServer(S4));
    let voters = BTreeSet::from([S1, S2, S3, S4, S5]);
    let change = MembershipChange::SetVoters(voters);
    cluster.act(Action::ChangeMembership { node: leader, change });
    cluster.await_value(&[S4], "x", "1");
    cluster.pass(200 * MILLISECOND);
    cluster.act(Action::Crash(S4));
    cluster.act(Action::Wipe(S4));
    cluster.act(Action::Restart(S4));
    cluster.pass(200 * MILLISECOND);
    cluster.act(Action::AddServer(S5));
    let refused = Outcome::Refused(RequestRefusal::Membership(ChangeRefusal::DidNotCatchUp));
    cluster.until("giving up", |sim| members(sim, leader) == Membership::of([S1, S2, S3]));
    cluster.pass(SECOND);
    assert!(answers(&cluster).contains(&refused));
    let promoted = cluster.events.iter().any(|event| {
        matches!(&event.kind, EventKind::ConfigurationAppended { membership, .. }
            if membership.is_voter(S4))
    });
    assert!(!promoted);
}
