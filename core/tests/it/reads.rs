//! Linearizable reads (§8; dissertation §6.4).

use raft_core::config::Config;
use raft_core::durable::{HardState, Recovered};
use raft_core::event::{EventKind, Outcome, RoleName};
use raft_core::log::Entries;
use raft_core::membership::MembershipChange;
use raft_core::message::Body;
use raft_core::replica::Input;
use raft_core::sim::{Action, NetworkConfig, SimConfig};
use raft_core::types::{LogIndex, LogPosition, MILLISECOND, NodeId, RequestId, SECOND, Term};

use crate::lab::{Alone, Cluster, S2, S3, check};

/// Guards pitfall 7: a leader that cannot reach a majority answers no read.
#[check]
fn a_cut_off_leader_answers_no_read() {
    let mut cluster = Cluster::led(5, 2);
    cluster.put("x", "1");
    let old = cluster.sim.leader().expect("led");
    cluster.isolate(old);
    cluster.act(Action::Read { node: old, key: "x".into(), lease: false });
    cluster.until("another leader", |sim| sim.leader().is_some_and(|it| it != old));
    cluster.put("x", "2");
    assert!(cluster.sim.readings().is_empty());
    raft_core::history::check(&cluster.sim.history()).expect("linearizable");
}

/// Guards pitfall 8, found by a random run: a re-elected leader must not count an answer to its
/// earlier term for a current round. Therefore the answer to a stale message names no round.
#[check]
fn an_answer_to_a_message_of_an_earlier_term_names_no_round() {
    let mut alone = Alone::new();
    let heartbeat = |round| Body::AppendEntries {
        prev_log: LogPosition::ZERO,
        entries: Entries::default(),
        leader_commit: LogIndex(0),
        round,
    };
    alone.receive(S2, 5, heartbeat(1));
    alone.persist_all();
    let _ = alone.take_sent();
    let snapshot = Body::InstallSnapshot {
        chunk: Box::new(raft_core::message::SnapshotChunk {
            meta: raft_core::snapshot::SnapshotMeta {
                last: LogPosition::new(2, 9),
                membership: raft_core::membership::Membership::of([S2, S3]),
            },
            cursor: raft_core::snapshot::Cursor::default(),
            data: bytes::Bytes::new(),
            next: None,
        }),
        round: 70,
    };
    for stale in [heartbeat(70), snapshot] {
        alone.receive(S2, 2, stale);
        let sent = alone.take_sent();
        let [answer] = sent.as_slice() else { panic!("one answer: {sent:?}") };
        assert!(matches!(answer.body, Body::AppendEntriesReply { round: 0, .. }), "{answer:?}");
        assert_eq!(answer.term, Term(5), "it tells the newer term");
    }
}

/// Guards dissertation §6.4: a follower answers reads from its own state after it has applied the
/// leader's read index. Such reads see all earlier writes.
#[check]
fn a_follower_answers_reads() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        let leader = cluster.sim.leader().expect("led");
        let follower = cluster.others(leader)[0];
        for value in ["1", "2", "3"] {
            cluster.put("x", value);
            cluster.act(Action::Read { node: follower, key: "x".into(), lease: false });
            cluster.act(Action::Read { node: follower, key: "x".into(), lease: false });
            let before = cluster.sim.readings().len();
            cluster.until("the readings", |sim| sim.readings().len() == before + 2);
            let readings = cluster.sim.readings();
            let seen = readings.last().expect("just read");
            assert_eq!(seen.value.as_deref(), Some(value.as_bytes()), "seed {seed}");
            assert_eq!(seen.node, follower);
        }
    }
}

/// Guards that a follower retries lost questions, and refuses reads if it knows no leader.
#[check]
fn a_follower_asks_again_and_gives_up_without_a_leader() {
    let mut cluster = Cluster::led(3, 4);
    cluster.put("x", "1");
    let leader = cluster.sim.leader().expect("led");
    let follower = cluster.others(leader)[0];
    cluster.act(Action::SetLink { from: follower, to: leader, up: false });
    cluster.act(Action::Read { node: follower, key: "x".into(), lease: false });
    cluster.pass(60_000);
    assert!(cluster.sim.readings().is_empty());
    cluster.act(Action::Heal);
    cluster.until("the reading", |sim| sim.readings().len() == 1);
    cluster.isolate(follower);
    cluster.act(Action::Read { node: follower, key: "x".into(), lease: false });
    cluster.pass(2_000_000);
    assert_eq!(cluster.sim.readings().len(), 1);
    let refused = cluster.events.iter().any(|event| {
        event.id.node == follower
            && matches!(
                &event.kind,
                EventKind::ClientAnswer { outcome: Outcome::NotLeader { leader: None }, .. }
            )
    });
    assert!(refused);
}

fn heartbeat(commit: u64) -> Body {
    Body::AppendEntries {
        prev_log: LogPosition::ZERO,
        entries: Entries::default(),
        leader_commit: LogIndex(commit),
        round: 1,
    }
}

fn with_leases() -> Config {
    Config { lease_reads: true, ..Config::default() }
}

/// Guards dissertation §6.4.1: a valid lease answers a read without a message. After it, or with
/// leases disabled, a round confirms the read.
#[check]
fn a_lease_answers_reads_while_it_lasts() {
    let mut alone = Alone::leader_with(with_leases());
    let read = |request, lease| Input::Read { request: RequestId(request), lease };
    alone.pass(50_000);
    alone.accept(S2, 1);
    alone.take_sent();
    alone.step(read(1, true));
    assert_eq!(alone.answers.len(), 1);
    assert!(alone.sent.is_empty());
    alone.step(read(2, false));
    assert_eq!(alone.answers.len(), 1, "this one wants to be confirmed");
    // 150 ms less a tenth for clock drift, counted from the start of the round.
    alone.accept(S2, 1);
    let until = alone.now.after(135_000);
    while alone.now < until {
        assert_eq!(alone.answers.len(), 2);
        alone.now = alone.now.after(15_000);
    }
    alone.step(read(3, true));
    assert_eq!(alone.answers.len(), 2, "the lease is over");
    let mut without = Alone::leader();
    without.step(read(1, true));
    assert!(without.answers.is_empty());
}

/// Guards pitfall 9: after a leader has sent TimeoutNow, no lease of its term is valid.
#[check]
fn a_lease_ends_with_a_transfer() {
    let mut alone = Alone::leader_with(with_leases());
    alone.pass(50_000);
    alone.accept(S2, 1);
    alone.step(Input::TransferLeadership { request: RequestId(1), to: Some(S2) });
    assert!(alone.sent.iter().any(|message| message.body == Body::TimeoutNow));
    alone.step(Input::Read { request: RequestId(2), lease: true });
    assert!(alone.answers.is_empty());
    // Also if the target did not take over: its request may still be in flight.
    for _ in 0..5 {
        alone.pass(75_000);
        alone.accept(S2, 1);
        alone.accept(S3, 1);
    }
    assert_eq!(alone.replica.status().role, RoleName::Leader);
    let before = alone.answers.len();
    alone.pass(50_000);
    alone.accept(S2, 1);
    alone.step(Input::Read { request: RequestId(3), lease: true });
    assert_eq!(alone.answers.len(), before);
}

/// Guards pitfall 10: a restarted voter keeps the promise of its acknowledgements, although it has
/// forgotten them.
#[check]
fn a_restarted_voter_keeps_a_lease_that_it_may_have_granted() {
    for (config, promised) in [(with_leases(), true), (Config::default(), false)] {
        let recovered = Recovered {
            hard_state: HardState { current_term: Term(1), voted_for: None, stranger_until: None },
            ..Recovered::default()
        };
        let mut alone = Alone::recovered(recovered, None, config);
        let vote = Body::RequestVote { last_log: LogPosition::new(1, 1), transfer: false };
        alone.now = alone.now.after(149_000);
        alone.receive(S2, 2, vote.clone());
        alone.persist_all();
        let answer = alone.take_sent().pop().expect("an answer");
        assert_eq!(answer.body, Body::RequestVoteReply { granted: !promised });
        alone.now = alone.now.after(1_000);
        alone.receive(S3, 3, vote);
        alone.persist_all();
        let answer = alone.take_sent().pop().expect("an answer");
        assert_eq!(answer.body, Body::RequestVoteReply { granted: true });
    }
}

/// Guards that followers answer reads if a round trip is longer than the retry interval of a
/// question, even on an idle cluster.
#[check]
fn followers_answer_over_slow_links_on_an_idle_cluster() {
    for delay in [30, 40, 50].map(|delay| delay * MILLISECOND) {
        let network =
            NetworkConfig { delay_min: delay, delay_max: delay, ..NetworkConfig::default() };
        let config = SimConfig { seed: delay, network, ..SimConfig::default() };
        let mut cluster = Cluster::new(config);
        let leader = cluster.await_leader();
        let mut asked = 0;
        for pause in 0..50 {
            for follower in cluster.others(leader) {
                cluster.act(Action::Read { node: follower, key: "x".into(), lease: false });
                asked += 1;
            }
            cluster.pass((pause * 37 % 100) * MILLISECOND);
        }
        let before = cluster.sim.now();
        cluster.until("the readings", |sim| sim.readings().len() == asked);
        assert!(cluster.sim.now().since(before) < 500 * MILLISECOND, "{delay} µs one way");
    }
}

/// Guards that a repeated question keeps its place, and that an older, overtaken question changes
/// nothing. A later question replaces it.
#[check]
fn a_repeated_question_keeps_its_place() {
    let mut alone = Alone::leader();
    let told = |alone: &mut Alone| -> Vec<u64> {
        let sent = alone.take_sent();
        sent.iter()
            .filter_map(|message| match message.body {
                Body::ReadIndexReply { question, read_index: Some(_) } => Some(question),
                _ => None,
            })
            .collect()
    };
    // Rounds overlap: each begins before the previous round is acknowledged.
    alone.receive(S2, 1, Body::ReadIndex { question: 7 });
    let asked_in = round(&alone);
    for _ in 0..5 {
        alone.pass(50 * MILLISECOND);
        alone.receive(S2, 1, Body::ReadIndex { question: 7 });
        alone.receive(S2, 1, Body::ReadIndex { question: 6 });
        assert!(told(&mut alone).is_empty());
    }
    accept_round(&mut alone, S2, asked_in + 1);
    assert_eq!(told(&mut alone), [7]);
    alone.receive(S2, 1, Body::ReadIndex { question: 8 });
    alone.receive(S2, 1, Body::ReadIndex { question: 9 });
    alone.pass(50 * MILLISECOND);
    alone.pass(50 * MILLISECOND);
    let latest = round(&alone);
    accept_round(&mut alone, S2, latest);
    assert_eq!(told(&mut alone), [9]);
}

fn round(alone: &Alone) -> u64 {
    let rounds = alone.sent.iter().filter_map(|message| match &message.body {
        Body::AppendEntries { round, .. } => Some(*round),
        _ => None,
    });
    rounds.max().unwrap_or(1)
}

fn accept_round(alone: &mut Alone, from: NodeId, round: u64) {
    let result = raft_core::message::AppendResult::Accepted { match_index: LogIndex(1) };
    alone.receive(from, 1, Body::AppendEntriesReply { round, result });
}

/// Guards that a waiting read is always answered in time, and the client can retry elsewhere. Here
/// the leader is alive but never answers the question.
#[check]
fn a_read_whose_question_is_never_answered_ends_in_time() {
    let mut alone = Alone::new();
    alone.receive(S2, 1, heartbeat(0));
    alone.persist_all();
    alone.step(Input::Read { request: RequestId(1), lease: false });
    alone.now = alone.now.after(50 * MILLISECOND);
    alone.receive(S2, 1, heartbeat(0));
    alone.step(Input::Read { request: RequestId(2), lease: false });
    await_answers(&mut alone, 2, |alone| alone.receive(S2, 1, heartbeat(0)));
    let ended: Vec<_> = alone.answers.clone();
    assert_eq!(ended, [(RequestId(1), Outcome::Unknown), (RequestId(2), Outcome::Unknown)]);
}

/// The same if the read index is known but never committed here.
#[check]
fn a_read_whose_index_is_never_reached_ends_in_time() {
    let mut alone = Alone::new();
    alone.receive(S2, 1, heartbeat(0));
    alone.persist_all();
    alone.take_sent();
    alone.step(Input::Read { request: RequestId(1), lease: false });
    let asked = alone.take_sent().pop().expect("a question");
    let Body::ReadIndex { question } = asked.body else { panic!("{asked}") };
    alone.receive(S2, 1, Body::ReadIndexReply { question, read_index: Some(LogIndex(9)) });
    await_answers(&mut alone, 1, |alone| alone.receive(S2, 1, heartbeat(0)));
    assert_eq!(alone.answers, [(RequestId(1), Outcome::Unknown)]);
}

/// The same at a leader that cannot commit in its term, because the disks of its followers hang.
#[check]
fn a_read_at_a_leader_that_cannot_commit_ends_in_time() {
    let mut alone = Alone::new();
    alone.time_out();
    alone.receive(S2, 0, Body::PreVoteReply { next_term: Term(1), granted: true });
    alone.persist_all();
    alone.receive(S2, 1, Body::RequestVoteReply { granted: true });
    alone.persist_all();
    alone.step(Input::Read { request: RequestId(1), lease: false });
    alone.receive(S3, 1, Body::ReadIndex { question: 7 });
    await_answers(&mut alone, 1, |alone| {
        alone.accept(S2, 0);
        alone.accept(S3, 0);
    });
    assert_eq!(alone.answers, [(RequestId(1), Outcome::Unknown)]);
    assert_eq!(alone.replica.status().role, RoleName::Leader);
    alone.pass(50 * MILLISECOND);
    let told = Body::ReadIndexReply { question: 7, read_index: None };
    assert!(alone.sent.iter().any(|it| it.to == S3 && it.body == told), "the follower is told too");
}

/// Exchanges heartbeats until there are `answers` answers.
fn await_answers(alone: &mut Alone, answers: usize, mut beat: impl FnMut(&mut Alone)) {
    let limit = alone.now.after(10 * SECOND);
    while alone.answers.len() < answers {
        assert!(alone.now < limit, "a read is never answered");
        alone.pass(50 * MILLISECOND);
        beat(alone);
        alone.persist_all();
    }
}

/// Guards that a confirmed read index stays valid after a leader change.
#[check]
fn a_confirmed_read_survives_its_leader() {
    let mut alone = Alone::new();
    alone.receive(S2, 1, heartbeat(0));
    alone.persist_all();
    alone.take_sent();
    alone.step(Input::Read { request: RequestId(1), lease: false });
    let asked = alone.take_sent().pop().expect("a question");
    let Body::ReadIndex { question } = asked.body else { panic!("{asked}") };
    alone.receive(S2, 1, Body::ReadIndexReply { question, read_index: Some(LogIndex(1)) });
    assert_eq!(alone.answers, []);
    let noop = |term| raft_core::log::Entry {
        index: LogIndex(1),
        term: Term(term),
        payload: raft_core::log::Payload::Noop,
    };
    alone.receive(
        S3,
        2,
        Body::AppendEntries {
            prev_log: LogPosition::ZERO,
            entries: Entries::from(vec![noop(1)]),
            leader_commit: LogIndex(1),
            round: 1,
        },
    );
    assert_eq!(alone.answers, [(RequestId(1), Outcome::ReadReady { read_index: LogIndex(1) })]);
}

/// Guards that a learner that misses its leader for an election timeout names no leader and refuses
/// reads.
#[check]
fn a_learner_does_not_hold_on_to_a_dead_leader() {
    let learner = NodeId(4);
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        let leader = cluster.sim.leader().expect("led");
        cluster.act(Action::AddServer(learner));
        let change = MembershipChange::AddLearner(learner);
        cluster.act(Action::ChangeMembership { node: leader, change });
        cluster.until("the learner", |sim| {
            sim.replica(learner).is_some_and(|it| it.status().leader == Some(leader))
        });
        for node in cluster.others(learner) {
            cluster.act(Action::Crash(node));
        }
        cluster.act(Action::Read { node: learner, key: "x".into(), lease: false });
        cluster.pass(300 * MILLISECOND);
        assert_eq!(cluster.sim.replica(learner).expect("runs").status().leader, None);
        let refused = |event: &raft_core::event::Event| {
            let none = Outcome::NotLeader { leader: None };
            matches!(&event.kind, EventKind::ClientAnswer { outcome, .. } if *outcome == none)
        };
        assert!(cluster.events.iter().any(refused), "seed {seed}");
        cluster.events.clear();
        cluster.act(Action::Read { node: learner, key: "x".into(), lease: false });
        cluster.pass(0);
        assert!(cluster.events.iter().any(refused), "seed {seed}");
    }
}

/// The same for a voter whose disk hangs. It follows a leader again after healing.
#[check]
fn a_voter_whose_disk_hangs_does_not_hold_on_to_a_dead_leader() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        let leader = cluster.sim.leader().expect("led");
        let hung = cluster.others(leader)[0];
        cluster.act(Action::StallDisk(hung));
        let command = raft_core::kv::Command::put("x", "1");
        cluster.act(Action::Write { node: leader, command });
        cluster.pass(400 * MILLISECOND);
        assert_eq!(cluster.sim.replica(hung).expect("runs").status().leader, Some(leader));
        cluster.isolate(hung);
        cluster.act(Action::Read { node: hung, key: "x".into(), lease: false });
        cluster.pass(300 * MILLISECOND);
        assert_eq!(cluster.sim.replica(hung).expect("runs").status().leader, None);
        let refused = cluster.events.iter().any(|event| {
            event.id.node == hung
                && matches!(
                    &event.kind,
                    EventKind::ClientAnswer { outcome: Outcome::NotLeader { leader: None }, .. }
                )
        });
        assert!(refused, "seed {seed}");
        cluster.act(Action::Heal);
        cluster.until("following again", |sim| {
            sim.replica(hung).is_some_and(|it| it.status().leader.is_some())
        });
    }
}
