//! The promise of a voter to its leader, and what ends it (dissertation §4.2.3, §6.4.1).

use raft_core::config::Config;
use raft_core::durable::{HardState, Recovered};
use raft_core::event::{EventKind, RoleName};
use raft_core::kv::Command;
use raft_core::log::{Entries, Entry, Payload};
use raft_core::message::{AppendResult, Body, Message, MessageName, SnapshotProgress};
use raft_core::sim::{Action, NetworkConfig, SimConfig, Simulation};
use raft_core::snapshot::Cursor;
use raft_core::types::{LogIndex, LogPosition, MILLISECOND, SECOND, Term, Time};

use crate::lab::{Alone, Cluster, S1, S2, S3, check, value_at};

fn with_leases() -> Config {
    Config { lease_reads: true, ..Config::default() }
}

fn heartbeat() -> Body {
    Body::AppendEntries {
        prev_log: LogPosition::ZERO,
        entries: Entries::default(),
        leader_commit: LogIndex(0),
        round: 1,
    }
}

/// A server that has just heard from S2, the leader of term 5.
fn bound(config: Config) -> Alone {
    let mut alone = Alone::recovered(Recovered::default(), None, config);
    alone.receive(S2, 5, heartbeat());
    alone.persist_all();
    alone.take_sent();
    alone
}

/// Requests a vote in this term; returns whether it was granted.
fn asks(alone: &mut Alone, term: u64, pre: bool, transfer: bool) -> bool {
    let last_log = LogPosition::new(5, 9);
    alone.take_sent();
    if pre {
        alone.receive(S3, term - 1, Body::PreVote { next_term: Term(term), last_log });
    } else {
        alone.receive(S3, term, Body::RequestVote { last_log, transfer });
    }
    alone.persist_all();
    let answer = alone.take_sent().pop().expect("an answer");
    match answer.body {
        Body::PreVoteReply { granted, .. } | Body::RequestVoteReply { granted } => granted,
        body => panic!("no answer to a candidate: {body:?}"),
    }
}

/// Every message, except a leader's, that can carry a higher term to a server.
fn tidings() -> Vec<Body> {
    let last = LogPosition::new(5, 9);
    vec![
        Body::PreVoteReply { next_term: Term(6), granted: false },
        Body::PreVoteReply { next_term: Term(7), granted: true },
        Body::RequestVoteReply { granted: false },
        Body::AppendEntriesReply {
            round: 0,
            result: AppendResult::Rejected { prev_log: last, hint: LogPosition::ZERO },
        },
        Body::InstallSnapshotReply {
            last,
            round: 0,
            result: SnapshotProgress::Wants(Cursor::default()),
        },
        Body::TimeoutNow,
        Body::ReadIndex { question: 7 },
        Body::ReadIndexReply { question: 7, read_index: None },
        Body::PreVote { next_term: Term(7), last_log: last },
        Body::RequestVote { last_log: last, transfer: false },
    ]
}

/// Guards that no message of a higher term ends the promise to a leader. When the promise expires,
/// the server can vote.
#[check]
fn no_message_of_a_higher_term_ends_a_promise() {
    for config in [Config::default(), with_leases()] {
        for tiding in tidings() {
            for pre in [true, false] {
                let mut alone = bound(config.clone());
                alone.receive(S3, 6, tiding.clone());
                alone.persist_all();
                alone.now = alone.now.after(MILLISECOND);
                assert!(!asks(&mut alone, 7, pre, false), "after {tiding:?}, pre: {pre}");
                alone.now = alone.now.after(148 * MILLISECOND);
                assert!(!asks(&mut alone, 7, pre, false), "at its end after {tiding:?}");
                alone.now = alone.now.after(MILLISECOND);
                assert!(asks(&mut alone, 7, pre, false), "over after {tiding:?}, pre: {pre}");
            }
        }
    }
}

/// Guards that a change of roles ends no promise: neither a lost campaign that the leader asked
/// for, nor a short leadership.
#[check]
fn no_change_of_roles_ends_a_promise() {
    let mut alone = bound(with_leases());
    alone.receive(S2, 5, Body::TimeoutNow);
    assert_eq!(alone.replica.status().role, RoleName::Candidate, "the leader asked for it");
    alone.receive(S3, 7, Body::RequestVoteReply { granted: false });
    assert_eq!(alone.replica.status().role, RoleName::Follower);
    assert!(!asks(&mut alone, 8, false, false));
    let mut alone = bound(with_leases());
    alone.receive(S2, 5, Body::TimeoutNow);
    alone.persist_all();
    alone.receive(S2, 6, Body::RequestVoteReply { granted: true });
    assert_eq!(alone.replica.status().role, RoleName::Leader);
    alone.receive(
        S3,
        7,
        Body::AppendEntriesReply {
            round: 0,
            result: AppendResult::Rejected { prev_log: LogPosition::ZERO, hint: LogPosition::ZERO },
        },
    );
    assert_eq!(alone.replica.status().role, RoleName::Follower);
    assert!(!asks(&mut alone, 8, false, false));
}

/// Guards that a restart ends no promise. Until it expires, a restarted voter votes only in an
/// election that a leader asked for, of a term above its own.
#[check]
fn a_restart_ends_no_promise_either() {
    let restarted = || {
        let hard_state = HardState { current_term: Term(5), ..HardState::default() };
        let recovered = Recovered { hard_state, ..Recovered::default() };
        Alone::recovered(recovered, None, with_leases())
    };
    for tiding in tidings() {
        let mut alone = restarted();
        alone.receive(S3, 6, tiding.clone());
        alone.persist_all();
        alone.now = alone.now.after(149 * MILLISECOND);
        assert!(!asks(&mut alone, 7, false, false), "after {tiding:?}");
        alone.now = alone.now.after(MILLISECOND);
        assert!(asks(&mut alone, 7, false, false), "after {tiding:?}");
    }
    assert!(!asks(&mut restarted(), 5, false, true));
    assert!(asks(&mut restarted(), 6, false, true));
}

/// Guards that a transfer ends the promise to the leader that began it, but not the promise to its
/// successor.
#[check]
fn a_transfer_ends_the_promise_to_the_leader_that_began_it() {
    let mut alone = bound(with_leases());
    assert!(asks(&mut alone, 6, false, true));
    assert!(asks(&mut alone, 6, false, true), "the same question again");
    // S2 has won term 6; the request for the same term arrives late.
    let mut alone = bound(with_leases());
    alone.receive(S2, 6, heartbeat());
    alone.persist_all();
    assert!(!asks(&mut alone, 6, false, true));
}

/// Guards that a server does not campaign against its own promise, even if its timer fires early.
#[check]
fn nobody_campaigns_against_its_own_promise() {
    let node = with_leases();
    let config = SimConfig { node, manual_elections: true, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.pass(200 * MILLISECOND);
    cluster.act(Action::Elect(S1));
    cluster.await_leader();
    cluster.pass(100 * MILLISECOND);
    let role = |cluster: &Cluster| cluster.sim.replica(S2).expect("it runs").status().role;
    cluster.act(Action::Elect(S2));
    assert_eq!(role(&cluster), RoleName::Follower);
    cluster.isolate(S1);
    cluster.pass(200 * MILLISECOND);
    cluster.act(Action::Elect(S2));
    cluster.until("the election", |sim| sim.leader() == Some(S2));
}

/// Guards leases in a whole cluster with correct clocks. S2 hears S1 again; then a late answer of
/// S3 carries term 2, and S3, which began that term, requests S2's vote. With this vote S3 would
/// lead and accept a write while the lease of S1 is valid.
#[check]
fn a_late_answer_of_a_higher_term_makes_no_read_stale() {
    let delay = 5 * MILLISECOND;
    let network = NetworkConfig { delay_min: delay, delay_max: delay, ..NetworkConfig::default() };
    let config =
        SimConfig { node: with_leases(), network, manual_elections: true, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.pass(200 * MILLISECOND);
    cluster.act(Action::Elect(S1));
    cluster.put("x", "1");
    cluster.await_value(&[S2, S3], "x", "1");
    cluster.isolate(S1);
    cluster.pass(180 * MILLISECOND);
    let hold = |cluster: &mut Cluster, from, to, name| {
        let fits =
            |message: &Message| (message.from, message.to, message.body.name()) == (from, to, name);
        let is_there = |sim: &Simulation| sim.flying().any(|it| fits(&it.message));
        cluster.until("the message", is_there);
        let found = cluster.sim.flying().find(|it| fits(&it.message)).expect("just seen").id;
        cluster.act(Action::Hold(found));
        found
    };
    cluster.act(Action::Elect(S2));
    let question = hold(&mut cluster, S2, S3, MessageName::PreVote);
    cluster.act(Action::Elect(S3));
    let request = hold(&mut cluster, S3, S2, MessageName::RequestVote);
    for (from, to) in [(S1, S2), (S2, S1)] {
        cluster.act(Action::SetLink { from, to, up: true });
    }
    cluster.until("S2 following S1", |sim| {
        sim.replica(S2).is_some_and(|it| it.status().leader == Some(S1))
    });
    cluster.pass(2 * delay);
    cluster.act(Action::SetLink { from: S2, to: S1, up: false });
    cluster.act(Action::Release(question));
    cluster.until("word of term 2", |sim| {
        sim.replica(S2).is_some_and(|it| it.status().term == Term(2))
    });
    cluster.act(Action::Release(request));
    cluster.pass(40 * MILLISECOND);
    cluster.act(Action::Write { node: S3, command: Command::put("x", "2") });
    cluster.pass(40 * MILLISECOND);
    let before = cluster.sim.readings().len();
    cluster.act(Action::Read { node: S1, key: "x".into(), lease: true });
    assert_eq!(cluster.sim.readings().len(), before + 1, "the lease of S1 holds");
    raft_core::history::check(&cluster.sim.history()).expect("linearizable");
}

/// Shows the assumption about the driver's clock: if it stops while the machine sleeps, a lease
/// outlives its time.
#[check]
fn a_lease_relies_on_a_clock_that_goes_on_during_sleep() {
    for sleeps_with_its_machine in [false, true] {
        let config =
            SimConfig { node: with_leases(), manual_elections: true, ..SimConfig::default() };
        let mut cluster = Cluster::new(config);
        cluster.pass(200 * MILLISECOND);
        cluster.act(Action::Elect(S1));
        cluster.put("x", "1");
        cluster.pass(60 * MILLISECOND);
        cluster.act(Action::Freeze(S1));
        for from in [S2, S3] {
            cluster.act(Action::SetLink { from, to: S1, up: false });
        }
        cluster.pass(200 * MILLISECOND);
        cluster.act(Action::Elect(S2));
        cluster.until("another leader", |sim| sim.leader() == Some(S2));
        cluster.act(Action::Write { node: S2, command: Command::put("x", "2") });
        cluster.until("the write", |sim| value_at(sim, S2, "x").as_deref() == Some("2"));
        cluster.pass(MILLISECOND);
        if sleeps_with_its_machine {
            let slept = i64::try_from(cluster.sim.now().0).expect("a moment");
            let jump = -(slept - 260_000);
            cluster.act(Action::SetClock { node: S1, jump, rate_permille: 1000 });
        }
        cluster.act(Action::Thaw(S1));
        cluster.act(Action::Read { node: S1, key: "x".into(), lease: true });
        let judged = raft_core::history::check(&cluster.sim.history());
        assert_eq!(judged.is_err(), sleeps_with_its_machine);
    }
}

/// Guards that a message older than the shortest election timeout resets no timer, binds no voter
/// and confirms no round. Its log entries still count.
#[check]
fn a_leaders_late_word_does_not_tell_that_it_is_alive() {
    let entry = |index| Entry { index: LogIndex(index), term: Term(5), payload: Payload::Noop };
    let late = Body::AppendEntries {
        prev_log: LogPosition::ZERO,
        entries: [entry(1), entry(2)].into_iter().collect(),
        leader_commit: LogIndex(2),
        round: 70,
    };
    for (age, fresh) in [(150 * MILLISECOND, true), (151 * MILLISECOND, false)] {
        let mut alone = bound(Config::default());
        let due = alone.replica.deadline().expect("a timer runs");
        alone.now = Time(due.0 - MILLISECOND);
        alone.receive_aged(S2, 5, late.clone(), age);
        alone.persist_all();
        assert_eq!(alone.replica.deadline() > Some(due), fresh, "{age} µs");
        assert_eq!(alone.replica.last_applied().index, LogIndex(2));
        let answer = alone.take_sent().pop().expect("an answer");
        let result = AppendResult::Accepted { match_index: LogIndex(2) };
        let round = if fresh { 70 } else { 0 };
        assert_eq!(answer.body, Body::AppendEntriesReply { round, result });
        assert_eq!(asks(&mut alone, 6, false, false), !fresh);
    }
    // A pre-candidate continues and need not begin again.
    let mut alone = bound(Config::default());
    alone.time_out();
    let due = alone.replica.deadline();
    alone.receive_aged(S2, 5, late.clone(), SECOND);
    assert_eq!(alone.replica.deadline(), due);
    assert_eq!(alone.replica.status().role, RoleName::PreCandidate);
    alone.receive(S3, 5, Body::PreVoteReply { next_term: Term(6), granted: true });
    assert_eq!(alone.replica.status().role, RoleName::Candidate);
    // In the candidate's term a leader's message of any age shows that another server won.
    alone.persist_all();
    let due = alone.replica.deadline();
    alone.receive_aged(S2, 6, heartbeat(), SECOND);
    let status = alone.replica.status();
    assert_eq!((status.role, status.leader), (RoleName::Follower, Some(S2)));
    assert_eq!(alone.replica.deadline(), due);
}

/// The same for snapshot chunks, and for a transfer that was given up long ago.
#[check]
fn late_parts_and_hand_overs_put_nothing_off_either() {
    let mut alone = bound(Config::default());
    let due = alone.replica.deadline();
    let chunk = raft_core::message::SnapshotChunk {
        meta: raft_core::snapshot::SnapshotMeta {
            last: LogPosition::new(5, 9),
            membership: raft_core::membership::Membership::of([S1, S2, S3]),
        },
        cursor: Cursor::default(),
        data: bytes::Bytes::new(),
        next: None,
    };
    alone.now = alone.now.after(100 * MILLISECOND);
    let late = Body::InstallSnapshot { chunk: Box::new(chunk), round: 70 };
    alone.receive_aged(S2, 5, late, SECOND);
    assert_eq!(alone.replica.deadline(), due);
    let answer = alone.take_sent().pop().expect("an answer");
    assert!(matches!(answer.body, Body::InstallSnapshotReply { round: 0, .. }), "{answer}");
    alone.receive_aged(S2, 5, Body::TimeoutNow, SECOND);
    assert_eq!(alone.replica.status().role, RoleName::Follower);
    alone.receive(S2, 5, Body::TimeoutNow);
    assert_eq!(alone.replica.status().role, RoleName::Candidate);
}

/// Guards the case that revealed this: a leader is cut off, and its heartbeats wait in a buffer.
/// When they arrive, the followers elect, instead of waiting again for a leader that is about to
/// step down.
#[check]
fn heartbeats_that_waited_in_a_buffer_put_no_election_off() {
    for seed in 0..10 {
        let took = [true, false].map(|message_ages| {
            let node = Config {
                election_timeout_min: SECOND,
                election_timeout_max: 2 * SECOND,
                heartbeat_interval: 5 * MILLISECOND,
                ..Config::default()
            };
            let config = SimConfig { seed, node, message_ages, ..SimConfig::default() };
            let mut cluster = Cluster::new(config);
            let leader = cluster.await_leader();
            cluster.pass(SECOND);
            let cut_at = cluster.sim.now();
            // The leader's messages arrive late, and no answer reaches it.
            for other in cluster.others(leader) {
                cluster.act(Action::SetLink { from: other, to: leader, up: false });
                let slow = NetworkConfig {
                    delay_min: 1_001 * MILLISECOND,
                    delay_max: 1_001 * MILLISECOND,
                    ..NetworkConfig::default()
                };
                let quality = Some(slow);
                cluster.act(Action::SetLinkQuality { from: leader, to: other, quality });
            }
            cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != leader));
            cluster.sim.now().since(cut_at)
        });
        let [told, untold] = took;
        assert!(told < 2_200 * MILLISECOND, "seed {seed}: {told} µs");
        assert!(
            untold > told + 500 * MILLISECOND,
            "seed {seed}: {told} µs with ages, {untold} µs without"
        );
    }
}

/// Guards that a late refusal, for example of a repeated request, does not revoke a granted vote.
#[check]
fn a_late_refusal_takes_no_vote_back() {
    let mut alone = Alone::new();
    alone.time_out();
    alone.receive(S2, 0, Body::PreVoteReply { next_term: Term(1), granted: true });
    // Its own vote is missing: it is not durable yet.
    alone.receive(S2, 1, Body::RequestVoteReply { granted: true });
    alone.receive(S2, 1, Body::RequestVoteReply { granted: false });
    alone.receive(S3, 1, Body::RequestVoteReply { granted: false });
    alone.persist_all();
    assert_eq!(alone.replica.status().role, RoleName::Leader);
}

/// Guards availability: a leader that steps down without a majority hands over at once, so the
/// others do not wait for a timeout.
#[check]
fn a_leader_without_a_majority_hands_over() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(3, seed);
        cluster.put("x", "1");
        let leader = cluster.sim.leader().expect("led");
        for other in cluster.others(leader) {
            cluster.act(Action::SetLink { from: other, to: leader, up: false });
        }
        cluster.until("stepping down", |sim| {
            sim.replica(leader).is_some_and(|it| it.status().role != RoleName::Leader)
        });
        let before = cluster.sim.now();
        cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != leader));
        let took = cluster.sim.now().since(before);
        assert!(took < 100 * MILLISECOND, "seed {seed}: {took} µs");
        cluster.pass(SECOND);
        let wins = |event: &&raft_core::event::Event| {
            matches!(event.kind, EventKind::RoleChanged { role: RoleName::Leader, .. })
        };
        assert_eq!(cluster.events.iter().filter(wins).count(), 2, "seed {seed}");
    }
}
