//! Client sessions, leases and the clock in the log (§8; dissertation §6.3).

use bytes::Bytes;
use raft_core::config::Config;
use raft_core::durable::{HardState, Recovered};
use raft_core::event::{EventKind, Outcome};
use raft_core::kv::{Answer, Applied, Command, LeaseId, Refusal, SessionId};
use raft_core::log::{Entry, Payload};
use raft_core::message::Body;
use raft_core::replica::{Halt, Input, Proposal};
use raft_core::sim::{Action, NetworkConfig, SimConfig, Simulation};
use raft_core::types::{LogIndex, LogPosition, MILLISECOND, NodeId, RequestId, SECOND, Term, Time};

use crate::lab::{Alone, Cluster, S2, check, value_at};

/// Writes at the leader and returns the answer.
fn ask(cluster: &mut Cluster, command: Command) -> Applied {
    let node = cluster.await_leader();
    let request = cluster.act(Action::Write { node, command }).expect("a write has a number");
    let answer = |cluster: &Cluster| {
        cluster.events.iter().rev().find_map(|event| match &event.kind {
            EventKind::ClientAnswer { request: own, outcome: Outcome::Applied { applied, .. } }
                if *own == request =>
            {
                Some(applied.clone())
            }
            _ => None,
        })
    };
    let limit = cluster.sim.now().after(10 * SECOND);
    while cluster.sim.now() < limit {
        cluster.pass(1_000);
        if let Some(applied) = answer(cluster) {
            return applied;
        }
    }
    panic!("seed {}: no answer", cluster.sim.config().seed);
}

fn open_session(cluster: &mut Cluster, ttl: u64) -> SessionId {
    match ask(cluster, Command::OpenSession { ttl }).answer {
        Answer::Session(id) => id,
        other => panic!("{other:?}"),
    }
}

fn grant_lease(cluster: &mut Cluster, ttl: u64) -> LeaseId {
    match ask(cluster, Command::GrantLease { ttl }).answer {
        Answer::Lease { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn tied(key: &'static str, lease: LeaseId) -> Command {
    Command::Put { key: key.into(), value: "1".into(), lease: Some(lease) }
}

fn refused(refusal: Refusal) -> Answer {
    Answer::Refused(refusal)
}

/// Guards pitfall 34: a request that is retried after a leader change takes effect once and gets
/// its first answer.
#[check]
fn a_repeated_request_takes_effect_once() {
    for seed in 0..10 {
        let mut cluster = Cluster::led(3, seed);
        let session = open_session(&mut cluster, 60 * SECOND);
        let first = Command::put("n", "1").in_session(session, 1);
        let answer = ask(&mut cluster, first.clone());
        ask(&mut cluster, Command::put("n", "2"));
        let leader = cluster.sim.leader().expect("led");
        cluster.act(Action::Crash(leader));
        assert_eq!(ask(&mut cluster, first.clone()), answer, "seed {seed}");
        let node = cluster.sim.leader().expect("just answered");
        assert_eq!(value_at(&cluster.sim, node, "n").as_deref(), Some("2"));
        let second = Command::put("n", "3").in_session(session, 2);
        assert_eq!(ask(&mut cluster, second).answer, Answer::Done { existed: true });
        assert_eq!(ask(&mut cluster, first).answer, refused(Refusal::SupersededRequest));
    }
}

/// Guards that a named request that is retried after a leader change takes effect once. No other
/// request takes effect under its name until the name is forgotten.
#[check]
fn a_named_request_takes_effect_once_until_it_is_forgotten() {
    let mut cluster = Cluster::led(3, 4);
    let named = |value: &'static str, fingerprint| {
        Command::put("n", value).once(7, fingerprint, 8 * SECOND)
    };
    let answer = ask(&mut cluster, named("1", 10));
    ask(&mut cluster, Command::put("n", "2"));
    let leader = cluster.sim.leader().expect("led");
    cluster.act(Action::Crash(leader));
    assert_eq!(ask(&mut cluster, named("1", 10)), answer);
    let node = cluster.sim.leader().expect("just answered");
    assert_eq!(value_at(&cluster.sim, node, "n").as_deref(), Some("2"));
    assert_eq!(ask(&mut cluster, named("3", 11)).answer, refused(Refusal::NameReused));
    let nested = named("3", 12).once(8, 12, SECOND);
    assert_eq!(ask(&mut cluster, nested).answer, refused(Refusal::NotInSession));
    cluster.until("it is forgotten", |sim| {
        let mut replicas = sim.ids().into_iter().filter_map(|id| sim.replica(id));
        replicas.all(|replica| replica.store().named_requests() == 0)
    });
    assert_eq!(ask(&mut cluster, named("3", 11)).answer, Answer::Done { existed: true });
}

/// Guards dissertation §6.3: a session ends at the same entry on every server. Its requests are
/// then refused, never executed a second time.
#[check]
fn a_request_of_an_ended_session_is_refused() {
    let mut cluster = Cluster::led(3, 2);
    let session = open_session(&mut cluster, SECOND);
    let command = Command::put("n", "1").in_session(session, 1);
    ask(&mut cluster, command.clone());
    cluster.until("the end of the session", |sim| {
        sim.ids()
            .iter()
            .all(|id| sim.replica(*id).is_some_and(|it| it.store().session(session).is_none()))
    });
    assert_eq!(ask(&mut cluster, command).answer, refused(Refusal::NoSuchSession));
}

/// Guards that nested sessions, bad times to live and unknown leases are refused.
#[check]
fn a_session_carries_only_plain_requests() {
    let mut cluster = Cluster::led(1, 1);
    let session = open_session(&mut cluster, SECOND);
    let nested = Command::put("n", "1").in_session(session, 1).in_session(session, 2);
    assert_eq!(ask(&mut cluster, nested).answer, refused(Refusal::NotInSession));
    for ttl in [0, u64::MAX] {
        assert_eq!(
            ask(&mut cluster, Command::OpenSession { ttl }).answer,
            refused(Refusal::TimeToLive)
        );
        assert_eq!(
            ask(&mut cluster, Command::GrantLease { ttl }).answer,
            refused(Refusal::TimeToLive)
        );
    }
    assert_eq!(ask(&mut cluster, tied("n", LeaseId(99))).answer, refused(Refusal::NoSuchLease));
}

/// Guards replicas of different releases: a server never skips an unknown command. It halts at that
/// entry with a reason, and again after a restart.
#[check]
fn an_unknown_command_stops_the_server() {
    let garbage = Bytes::from_static(&[0xff, 0xff]);
    let unknown = [
        garbage.clone(),
        Command::InSession { session: SessionId(1), sequence: 1, command: garbage.clone() }
            .encode(),
        Command::Once { name: 1, fingerprint: 1, ttl: SECOND, command: garbage }.encode(),
    ];
    for unknown in unknown {
        let open = Command::OpenSession { ttl: SECOND }.encode();
        let payloads = [open, unknown, Command::put("x", "1").encode()].map(Payload::Command);
        let entries: Vec<Entry> = (1..)
            .zip(payloads)
            .map(|(index, payload)| Entry { index: LogIndex(index), term: Term(1), payload })
            .collect();
        let mut alone = Alone::new();
        let prev_log = LogPosition::ZERO;
        let (leader_commit, entries) = (LogIndex(3), entries.into());
        alone.receive(S2, 1, Body::AppendEntries { prev_log, entries, leader_commit, round: 1 });
        // The commit index is known before the entries are durable. Nothing is acknowledged yet.
        assert!(alone.take_sent().is_empty());
        stopped_at_the_second(&alone);
        let entries = alone.replica.log().iter().cloned().collect();
        let hard_state = HardState { current_term: Term(1), ..HardState::default() };
        let recovered =
            Recovered { hard_state, base: LogPosition::ZERO, entries, commit_index: LogIndex(3) };
        let mut again = Alone::recovered(recovered, None, Config::default());
        stopped_at_the_second(&again);
        again.propose(1, "x", "2");
        assert_eq!(again.answers, [(RequestId(1), Outcome::Halted)]);
    }
}

fn stopped_at_the_second(alone: &Alone) {
    let replica = &alone.replica;
    assert_eq!(replica.last_applied(), LogPosition::new(1, 1));
    let Some(Halt::UnknownCommand { position, .. }) = replica.halt() else {
        panic!("{:?}", replica.halt())
    };
    assert_eq!(*position, LogPosition::new(1, 2));
    assert!(replica.status().halted && replica.deadline().is_none());
    let words = replica.halt().map(ToString::to_string).expect("it stopped");
    assert!(words.contains("release"), "{words}");
    assert!(replica.store().get(b"x").is_none());
}

/// Guards that no lease or session ends before its time to live has passed since the answer, nor
/// much later. The time of the grant and the commit latency vary.
#[check]
fn no_lease_or_session_ends_early() {
    for seed in 0..40 {
        let latency = (1 + seed % 4 * 10) * MILLISECOND;
        let network = NetworkConfig {
            delay_min: latency,
            delay_max: latency + 5 * MILLISECOND,
            ..NetworkConfig::default()
        };
        let mut cluster = Cluster::new(SimConfig { seed, network, ..SimConfig::default() });
        cluster.await_leader();
        // The clock in the log runs already, at any phase.
        open_session(&mut cluster, 60 * SECOND);
        cluster.pass(SECOND + seed * 37 * MILLISECOND);
        let ttl = if seed % 2 == 0 { SECOND / 5 } else { SECOND };
        let lease = grant_lease(&mut cluster, ttl);
        let granted = cluster.sim.now();
        let session = open_session(&mut cluster, ttl);
        let opened = cluster.sim.now();
        let leader = cluster.await_leader();
        let store = |sim: &Simulation| sim.replica(leader).expect("it runs").store().clone();
        let (mut lease_lasted, mut session_lasted) = (None, None);
        while lease_lasted.is_none() || session_lasted.is_none() {
            cluster.pass(MILLISECOND);
            let (now, store) = (cluster.sim.now(), store(&cluster.sim));
            if store.lease(lease).is_none() {
                lease_lasted.get_or_insert(now.since(granted));
            }
            if store.session(session).is_none() {
                session_lasted.get_or_insert(now.since(opened));
            }
        }
        // The test sees the answer up to a millisecond late.
        for lasted in [lease_lasted, session_lasted].into_iter().flatten() {
            assert!(lasted + MILLISECOND >= ttl, "seed {seed}: {lasted} µs of {ttl}");
            assert!(lasted < ttl + 2 * SECOND, "seed {seed}: {lasted} µs of {ttl}");
        }
    }
}

/// Guards that a leader has at most one pending `AdvanceClock` entry, and that no timer fires in
/// vain meanwhile.
#[check]
fn one_telling_of_the_time_is_on_its_way_at_once() {
    let mut alone = Alone::leader();
    let open = Command::GrantLease { ttl: SECOND }.encode();
    alone.step(Input::Propose(vec![Proposal { request: RequestId(1), command: open }]));
    alone.persist_all();
    let last = alone.replica.status().last.index.0;
    alone.accept(S2, last);
    let told = |alone: &Alone| alone.replica.status().last.index.0 - last;
    // Short enough that the disk does not count as stalled.
    for _ in 0..4 {
        alone.pass(SECOND / 20);
        alone.accept(S2, last);
    }
    assert_eq!(told(&alone), 1, "it is not committed");
    alone.persist_all();
    alone.accept(S2, last + 1);
    assert_eq!(told(&alone), 2, "the next follows at once, since the lease does not count yet");
}

/// Guards that a key is deleted on all servers soon after its lease ends and not before, and that
/// keep-alive prolongs a lease.
#[check]
fn keys_go_with_their_lease() {
    for seed in 0..5 {
        let mut cluster = Cluster::led(3, seed);
        let (short, kept) = (grant_lease(&mut cluster, SECOND), grant_lease(&mut cluster, SECOND));
        ask(&mut cluster, tied("short", short));
        ask(&mut cluster, tied("kept", kept));
        ask(&mut cluster, tied("freed", short));
        ask(&mut cluster, Command::put("freed", "2"));
        let granted = cluster.sim.now();
        let gone =
            |sim: &Simulation| sim.ids().iter().all(|id| value_at(sim, *id, "short").is_none());
        while !gone(&cluster.sim) {
            ask(&mut cluster, Command::KeepLeaseAlive(kept));
            cluster.pass(SECOND / 5);
            let waited = cluster.sim.now().since(granted);
            assert!(waited < 3 * SECOND, "seed {seed}: the lease does not end");
        }
        let waited = cluster.sim.now().since(granted);
        assert!(waited > SECOND * 9 / 10, "seed {seed}: it ended after {waited} µs");
        let leader = cluster.await_leader();
        assert_eq!(value_at(&cluster.sim, leader, "kept").as_deref(), Some("1"));
        assert_eq!(value_at(&cluster.sim, leader, "freed").as_deref(), Some("2"));
        assert_eq!(
            ask(&mut cluster, Command::RevokeLease(kept)).answer,
            Answer::LeaseRevoked { keys: 1 }
        );
    }
}

/// Guards that a leader change ends no lease early: the clock continues from its last value in the
/// log.
#[check]
fn a_change_of_leaders_shortens_no_lease() {
    for seed in 0..5 {
        let mut cluster = Cluster::led(3, seed);
        let lease = grant_lease(&mut cluster, 3 * SECOND);
        ask(&mut cluster, tied("x", lease));
        let granted = cluster.sim.now();
        for _ in 0..2 {
            let leader = cluster.await_leader();
            cluster.act(Action::Crash(leader));
            cluster.await_leader();
            cluster.act(Action::Restart(leader));
        }
        let leader = cluster.await_leader();
        let early = granted.after(3 * SECOND - SECOND / 4);
        while cluster.sim.now() < early {
            let there = value_at(&cluster.sim, leader, "x").is_some();
            assert!(there || cluster.sim.leader() != Some(leader), "seed {seed}");
            cluster.pass(SECOND / 10);
        }
        cluster.until("the end of the lease", |sim| value_at(sim, leader, "x").is_none());
    }
}

/// Guards pitfall 35: servers whose clocks differ by hours and in rate reach equal states.
#[check]
fn skewed_clocks_give_equal_states() {
    for seed in 0..5 {
        let mut cluster = Cluster::new(SimConfig { seed, ..SimConfig::default() });
        for (node, jump, rate_permille) in [(1, 7_200_000_000, 1_030), (2, 0, 970)] {
            cluster.act(Action::SetClock { node: NodeId(node), jump, rate_permille });
        }
        cluster.await_leader();
        let lease = grant_lease(&mut cluster, SECOND);
        ask(&mut cluster, tied("x", lease));
        open_session(&mut cluster, SECOND);
        cluster.pass(3 * SECOND);
        let digests: Vec<u64> = cluster
            .sim
            .ids()
            .iter()
            .map(|id| cluster.sim.replica(*id).expect("runs").store().digest())
            .collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "seed {seed}");
        assert!(cluster.sim.now() > Time(3 * SECOND));
    }
}

/// Guards that a cluster without leases and sessions writes no time to the log.
#[check]
fn an_idle_cluster_writes_no_time() {
    let mut cluster = Cluster::led(3, 1);
    cluster.put("x", "1");
    cluster.pass(SECOND);
    let leader = cluster.sim.leader().expect("led");
    let last = cluster.sim.replica(leader).expect("runs").status().last;
    cluster.pass(10 * SECOND);
    assert_eq!(cluster.sim.replica(leader).expect("runs").status().last, last);
}
