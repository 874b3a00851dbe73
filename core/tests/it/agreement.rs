//! Servers whose state differs from the others are detected while they run.

use raft_core::config::Config;
use raft_core::durable::{HardState, Recovered};
use raft_core::event::RoleName;
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::membership::Membership;
use raft_core::message::{Body, SnapshotChunk};
use raft_core::replica::{Halt, Input};
use raft_core::sim::{Action, SimConfig};
use raft_core::snapshot::{Cursor, SnapshotMeta};
use raft_core::types::{LogIndex, LogPosition, NodeId, RequestId, SECOND, Term};

use crate::lab::{Alone, Cluster, S1, S2, S3, check};

const EVERY: u64 = 4;

/// The digest of a different state.
const OTHER: u64 = 0x0dd;

fn config() -> Config {
    Config { digest_every: EVERY, ..Config::default() }
}

/// A leader that has applied `count` entries.
fn applied(count: u64) -> Alone {
    let mut alone = Alone::leader_with(config());
    apply(&mut alone, count);
    alone
}

fn apply(alone: &mut Alone, count: u64) {
    for number in alone.replica.last_applied().index.0..count {
        alone.propose(number, "x", "1");
    }
    alone.persist_all();
    alone.accept(S2, count);
    assert_eq!(alone.replica.last_applied().index, LogIndex(count));
}

/// A restarted server with these members, at index `EVERY`.
fn one_of(members: Membership) -> Alone {
    let meta = SnapshotMeta { last: LogPosition::new(1, EVERY - 1), membership: members };
    let snapshot = Snapshot { meta, store: KvStore::default() };
    let entries = vec![entry(EVERY)];
    let recovered = Recovered {
        base: LogPosition::new(1, EVERY - 1),
        entries,
        commit_index: LogIndex(EVERY),
        hard_state: HardState { current_term: Term(1), ..HardState::default() },
    };
    Alone::recovered(recovered, Some(snapshot), config())
}

fn entry(index: u64) -> raft_core::log::Entry {
    let payload = raft_core::log::Payload::Command(Command::put("x", "1").encode());
    raft_core::log::Entry { index: LogIndex(index), term: Term(1), payload }
}

fn says(alone: &mut Alone, from: NodeId, index: u64, digest: u64) {
    let index = LogIndex(index);
    alone.receive(from, 0, Body::StateDigest { index, digest, reply: false });
}

fn own(alone: &Alone, index: u64) -> u64 {
    alone.replica.digest_at(LogIndex(index)).expect("it is kept")
}

/// The digests sent since the last call: to which server, of which entry, and whether as a reply.
fn told(alone: &mut Alone) -> Vec<(NodeId, u64, bool)> {
    let digest = |message: raft_core::message::Message| match message.body {
        Body::StateDigest { index, reply, .. } => Some((message.to, index.0, reply)),
        _ => None,
    };
    alone.take_sent().into_iter().filter_map(digest).collect()
}

/// Guards that each new digest goes to each member once, at most one per heartbeat interval. The
/// newest is sent again after a while, because messages may be lost.
#[check]
fn a_new_digest_is_told_once_and_again_after_a_while() {
    let mut alone = applied(EVERY - 1);
    assert_eq!(told(&mut alone), []);
    apply(&mut alone, EVERY);
    assert_eq!(told(&mut alone), [(S2, EVERY, false), (S3, EVERY, false)]);
    apply(&mut alone, 3 * EVERY);
    assert_eq!(told(&mut alone), [], "not twice in one interval");
    let beat = config().heartbeat_interval;
    alone.pass(beat);
    assert_eq!(told(&mut alone), [(S2, 3 * EVERY, false), (S3, 3 * EVERY, false)]);
    for _ in 0..90 {
        alone.pass(beat);
        alone.accept(S2, 3 * EVERY);
    }
    assert_eq!(told(&mut alone), []);
    for _ in 0..20 {
        alone.pass(beat);
        alone.accept(S2, 3 * EVERY);
    }
    assert_eq!(told(&mut alone), [(S2, 3 * EVERY, false), (S3, 3 * EVERY, false)]);
}

/// Guards that only a digest that differs is answered, and that the answer is not answered again.
#[check]
fn only_a_digest_that_differs_is_answered() {
    let mut alone = applied(EVERY);
    told(&mut alone);
    let same = own(&alone, EVERY);
    says(&mut alone, S2, EVERY, same);
    assert_eq!(told(&mut alone), []);
    assert_eq!(alone.replica.status().differing, []);
    says(&mut alone, S2, EVERY, OTHER);
    assert_eq!(told(&mut alone), [(S2, EVERY, true)]);
    let answer = Body::StateDigest { index: LogIndex(EVERY), digest: OTHER, reply: true };
    alone.receive(S2, 0, answer);
    assert_eq!(told(&mut alone), []);
    assert_eq!(alone.replica.status().differing, [S2]);
    apply(&mut alone, 2 * EVERY);
    let same = own(&alone, 2 * EVERY);
    says(&mut alone, S2, 2 * EVERY, same);
    assert_eq!(alone.replica.status().differing, [], "they agree again");
}

/// Guards that a server whose state differs from that of a majority halts with a reason.
#[check]
fn a_majority_that_agrees_on_another_state_stops_a_server() {
    let mut alone = applied(EVERY);
    says(&mut alone, S2, EVERY, OTHER);
    assert_eq!(alone.replica.halt(), None);
    says(&mut alone, S3, EVERY, OTHER);
    let Some(halt @ Halt::StateDiffers { index, .. }) = alone.replica.halt() else {
        panic!("it goes on: {:?}", alone.replica.halt());
    };
    assert_eq!(*index, LogIndex(EVERY));
    assert!(halt.to_string().contains("member remove"), "{halt}");
    assert!(alone.replica.status().halted);
    alone.step(Input::Read { request: RequestId(1), lease: false });
    assert!(matches!(alone.answers.last(), Some((_, raft_core::event::Outcome::Halted))));
}

/// Guards that a lying peer, or peers that each report a different digest, stop no server: no
/// majority agrees.
#[check]
fn a_peer_that_lies_stops_nobody() {
    let mut alone = applied(3 * EVERY);
    for lie in 0..1_000 {
        says(&mut alone, S2, EVERY * (1 + lie % 3), lie);
    }
    assert_eq!(alone.replica.halt(), None);
    says(&mut alone, S3, EVERY, OTHER);
    says(&mut alone, S3, 2 * EVERY, OTHER + 1);
    assert_eq!(alone.replica.halt(), None);
    let status = alone.replica.status();
    assert_eq!((status.differing, status.differences), (vec![S2, S3], 1_002));
    assert_eq!(status.role, RoleName::Leader);
}

/// Guards that only a majority of voters stops a server. Two servers cannot tell which is wrong,
/// and learners do not count.
#[check]
fn who_is_no_majority_stops_nobody() {
    let mut alone = one_of(Membership::of([S1, S2]));
    says(&mut alone, S2, EVERY, OTHER);
    assert_eq!(alone.replica.halt(), None);
    assert_eq!(alone.replica.status().differing, [S2]);
    let learners = [NodeId(4), NodeId(5)].into();
    let mut alone = one_of(Membership { learners, ..Membership::of([S1, S2, S3]) });
    for peer in [S2, NodeId(4), NodeId(5), NodeId(6)] {
        says(&mut alone, peer, EVERY, OTHER);
    }
    assert_eq!(alone.replica.halt(), None);
    assert_eq!(alone.replica.status().differing, [S2, NodeId(4), NodeId(5)], "6 is no member");
    let learner = [S1].into();
    let mut alone = one_of(Membership { learners: learner, ..Membership::of([S2]) });
    says(&mut alone, S2, EVERY, OTHER);
    assert!(alone.replica.halt().is_some(), "a learner stops as well");
}

/// Guards that a digest of an unapplied entry waits, and that digests of entries that this server
/// keeps no digest of are ignored.
#[check]
fn a_digest_waits_until_its_entry_is_applied() {
    let mut alone = applied(EVERY);
    says(&mut alone, S2, EVERY + 1, OTHER);
    says(&mut alone, S3, EVERY - 1, OTHER);
    says(&mut alone, S2, 2 * EVERY, OTHER);
    says(&mut alone, S3, 2 * EVERY, OTHER);
    apply(&mut alone, 2 * EVERY - 1);
    assert_eq!(alone.replica.status().differences, 0);
    alone.propose(100, "x", "1");
    alone.persist_all();
    alone.accept(S2, 2 * EVERY);
    assert!(alone.replica.halt().is_some(), "both were kept");
}

/// Guards that the term of a digest is ignored: it neither deposes a leader nor is too old.
#[check]
fn the_term_of_a_digest_is_not_looked_at() {
    let mut alone = applied(EVERY);
    let body = Body::StateDigest { index: LogIndex(EVERY), digest: OTHER, reply: false };
    alone.receive(S2, 77, body);
    let status = alone.replica.status();
    assert_eq!((status.role, status.term.0), (RoleName::Leader, 1));
    assert_eq!(status.differing, [S2]);
}

/// Guards that installing the leader's snapshot clears earlier differences.
#[check]
fn a_snapshot_ends_a_difference() {
    let members = Membership::of([S1, S2, S3]);
    let mut alone = one_of(members.clone());
    says(&mut alone, S2, EVERY, OTHER);
    assert_eq!(alone.replica.status().differing, [S2]);
    let meta = SnapshotMeta { last: LogPosition::new(1, 100), membership: members };
    let store = KvStore::default();
    let (data, next) = Snapshot { meta: meta.clone(), store }.chunk(&Cursor::default(), 1 << 20);
    assert_eq!(next, None, "it fits into one chunk");
    let chunk =
        Box::new(SnapshotChunk { meta: meta.clone(), cursor: Cursor::default(), data, next });
    alone.receive(S2, 1, Body::InstallSnapshot { chunk, round: 1 });
    alone.persist_all();
    alone.step(Input::SnapshotSaved(meta));
    assert_eq!(alone.replica.last_applied().index, LogIndex(100));
    assert_eq!(alone.replica.status().differing, []);
    says(&mut alone, S3, EVERY, OTHER);
    says(&mut alone, S2, EVERY, OTHER);
    assert_eq!(alone.replica.halt(), None);
}

/// Guards that healthy servers report no difference, through compactions, crashes and restarts.
#[check]
fn states_that_agree_are_told_and_never_alarm() {
    let config = SimConfig { seed: 3, node: config(), ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.await_leader();
    for round in ["1", "2", "3"] {
        for _ in 0..10 {
            cluster.put("x", "0");
            cluster.put("x", round);
        }
        let node = cluster.others(cluster.sim.leader().expect("it leads"))[0];
        cluster.act(Action::Compact(node));
        cluster.act(Action::Crash(node));
        cluster.put("y", round);
        cluster.act(Action::Restart(node));
    }
    cluster.pass(10 * SECOND);
    let told = |text: &&String| text.contains("StateDigest");
    let words: Vec<String> = cluster.events.iter().map(ToString::to_string).collect();
    assert!(words.iter().filter(told).count() > 20);
    for id in cluster.sim.ids() {
        let status = cluster.sim.replica(id).expect("it runs").status();
        assert_eq!((status.differences, status.halted), (0, false), "{id}");
    }
}
