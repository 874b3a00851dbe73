//! Figure 2: a server answers only with what is durable.

use raft_core::durable::{HardState, Recovered};
use raft_core::event::{Outcome, RoleName};
use raft_core::log::{Entries, Entry, Payload};
use raft_core::message::{AppendResult, Body};
use raft_core::replica::Input;
use raft_core::sim::{Action, SimConfig};
use raft_core::types::{LogIndex, LogPosition, RequestId, SECOND, Term};

use crate::lab::{Alone, Cluster, S2, S3, SHORT, check};

fn append(entries: u64, commit: u64) -> Body {
    let entry = |index| Entry { index: LogIndex(index), term: Term(1), payload: Payload::Noop };
    Body::AppendEntries {
        prev_log: LogPosition::ZERO,
        entries: (1..=entries).map(entry).collect(),
        leader_commit: LogIndex(commit),
        round: 1,
    }
}

/// Guards pitfall 2: a vote is sent only once it is on disk.
#[check]
fn a_vote_waits_for_the_disk() {
    let mut alone = Alone::new();
    alone.receive(S2, 1, Body::RequestVote { last_log: LogPosition::ZERO, transfer: false });
    assert!(alone.sent.is_empty());
    assert_eq!(
        alone.writes[0].hard_state,
        HardState { current_term: Term(1), voted_for: Some(S2), stranger_until: None }
    );
    alone.persist_all();
    assert_eq!(alone.sent[0].body, Body::RequestVoteReply { granted: true });
}

/// Guards pitfall 3: entries never reach the disk without their term.
#[check]
fn entries_and_their_term_share_a_batch() {
    let mut alone = Alone::new();
    alone.receive(S2, 1, append(2, 0));
    assert_eq!(alone.writes.len(), 1);
    assert_eq!(alone.writes[0].hard_state.current_term, Term(1));
    assert_eq!(alone.writes[0].entries.len(), 2);
}

/// Guards that entries are acknowledged once durable, and that a heartbeat is answered meanwhile
/// with the durable index.
#[check]
fn entries_are_acknowledged_once_durable_and_heartbeats_at_once() {
    let mut alone = Alone::new();
    alone.receive(
        S2,
        1,
        Body::AppendEntries {
            prev_log: LogPosition::ZERO,
            entries: Entries::default(),
            leader_commit: LogIndex(0),
            round: 1,
        },
    );
    alone.persist_all();
    alone.take_sent();
    alone.receive(S2, 1, append(2, 0));
    assert!(alone.sent.is_empty());
    let heartbeat = Body::AppendEntries {
        prev_log: LogPosition::new(1, 2),
        entries: Entries::default(),
        leader_commit: LogIndex(0),
        round: 2,
    };
    alone.receive(S2, 1, heartbeat);
    let accepted = |index| AppendResult::Accepted { match_index: LogIndex(index) };
    let answer = alone.take_sent().pop().expect("a heartbeat is answered at once");
    assert_eq!(answer.body, Body::AppendEntriesReply { round: 2, result: accepted(0) });
    alone.persist_all();
    let answer = alone.take_sent().pop().expect("the entries are durable");
    assert_eq!(answer.body, Body::AppendEntriesReply { round: 1, result: accepted(2) });
}

/// Guards dissertation §10.2.1: a leader sends entries while its own disk works, and counts itself
/// only afterwards.
#[check]
fn a_leader_sends_at_once_and_counts_itself_once_durable() {
    let mut alone = Alone::leader();
    alone.propose(1, "x", "1");
    let sent = alone.take_sent();
    assert!(sent.iter().any(|message| message.to == S2), "{sent:?}");
    assert_eq!(alone.writes.len(), 1);
    alone.accept(S2, 2);
    assert!(alone.answers.is_empty(), "one durable copy of three is no majority");
    alone.persist_all();
    assert!(matches!(alone.answers[0], (RequestId(1), Outcome::Applied { .. })));
}

/// Guards pitfalls 4 and 5: the only voter of a cluster does not commit before its own disk has
/// written.
#[check]
fn a_single_server_waits_for_its_disk() {
    let config = SimConfig { servers: 1, ..SimConfig::default() };
    let mut cluster = Cluster::new(config);
    cluster.await_leader();
    cluster.act(Action::SetDiskDelay { min: SECOND / 10, max: SECOND / 10 });
    let node = cluster.sim.leader().expect("led");
    let before = cluster.sim.replica(node).expect("runs").status().commit_index;
    cluster.act(Action::Write { node, command: raft_core::kv::Command::put("x", "1") });
    cluster.pass(SECOND / 20);
    assert_eq!(cluster.sim.replica(node).expect("runs").status().commit_index, before);
    cluster.await_value(&[node], "x", "1");
}

/// Guards pitfall 31: after a power loss of all servers every answered write is still there.
#[check]
fn answered_writes_survive_a_power_loss_everywhere() {
    for seed in 0..20 {
        let mut cluster = Cluster::led(3, seed);
        cluster.put("x", "1");
        for node in cluster.sim.ids() {
            cluster.act(Action::Crash(node));
        }
        for node in cluster.sim.ids() {
            cluster.act(Action::Restart(node));
        }
        let all = cluster.sim.ids();
        cluster.await_value(&all, "x", "1");
    }
}

/// Guards pitfall 32: a leader whose disk hangs steps down, although its heartbeats still arrive.
#[check]
fn a_leader_with_a_stalled_disk_steps_down() {
    let mut alone = Alone::leader();
    alone.propose(1, "x", "1");
    for _ in 0..8 {
        alone.pass(SHORT);
        alone.accept(S2, 1);
        alone.accept(S3, 1);
    }
    assert_eq!(alone.replica.status().role, RoleName::Follower);
    assert_eq!(alone.answers, [(RequestId(1), Outcome::Unknown)]);
}

/// Guards that the only voter keeps leading while its disk hangs: nobody could take over, and its
/// clients would only get an unknown outcome.
#[check]
fn the_only_voter_waits_for_its_disk() {
    let mut cluster = Cluster::new(SimConfig { servers: 1, ..SimConfig::default() });
    cluster.await_leader();
    let node = cluster.sim.leader().expect("led");
    let term = cluster.sim.replica(node).expect("runs").status().term;
    cluster.act(Action::StallDisk(node));
    cluster.act(Action::Write { node, command: raft_core::kv::Command::put("x", "1") });
    cluster.pass(3 * SECOND);
    assert_eq!(cluster.sim.leader(), Some(node));
    cluster.act(Action::MendDisk(node));
    cluster.await_value(&[node], "x", "1");
    assert_eq!(cluster.sim.replica(node).expect("runs").status().term, term, "it led all along");
}

/// Guards that a leader whose disk is busy keeps leading while batches complete, however old the
/// pending batches are. If no batch completes, it steps down.
#[check]
fn a_busy_disk_is_not_a_stalled_one() {
    let mut alone = Alone::leader();
    for request in 0..40 {
        alone.propose(request, "x", "1");
    }
    let writes = std::mem::take(&mut alone.writes);
    for write in &writes {
        alone.pass(SHORT);
        alone.accept(S2, 1);
        alone.step(Input::Persisted(write.id));
        assert_eq!(alone.replica.status().role, RoleName::Leader, "after {:?}", write.id);
    }
    alone.propose(99, "x", "1");
    for _ in 0..8 {
        alone.pass(SHORT);
        alone.accept(S2, 1);
    }
    assert_eq!(alone.replica.status().role, RoleName::Follower);
}

/// Guards pitfall 30: after a failed write the server sends and writes nothing any more.
#[check]
fn a_failed_write_stops_the_server() {
    let mut alone = Alone::leader();
    alone.propose(1, "x", "1");
    alone.take_sent();
    let write = alone.writes.pop().expect("a batch").id;
    alone.step(Input::PersistFailed(write));
    assert_eq!(alone.answers, [(RequestId(1), Outcome::Unknown)]);
    assert_eq!(alone.replica.deadline(), None);
    alone.propose(2, "y", "2");
    alone.receive(S2, 9, Body::RequestVote { last_log: LogPosition::new(9, 9), transfer: false });
    assert_eq!(alone.answers.last(), Some(&(RequestId(2), Outcome::Halted)));
    assert!(alone.sent.is_empty() && alone.writes.is_empty());
}

/// Guards pitfall 36: a late completion of an earlier batch neither blocks nor reverts progress.
#[check]
fn completions_may_be_merged_and_come_late() {
    let mut alone = Alone::leader();
    for (request, key) in [(1, "a"), (2, "b"), (3, "c")] {
        alone.propose(request, key, "1");
    }
    let ids: Vec<_> = alone.writes.drain(..).map(|write| write.id).collect();
    alone.accept(S2, 4);
    alone.step(Input::Persisted(ids[2]));
    assert_eq!(alone.answers.len(), 3);
    alone.step(Input::Persisted(ids[0]));
    assert_eq!(alone.replica.status().durable_index, LogIndex(4));
}

/// Guards figure 2's persistent state: a restarted server continues from its disk.
#[check]
fn a_restart_remembers_term_vote_log_and_commit() {
    let entry = |index| Entry { index: LogIndex(index), term: Term(2), payload: Payload::Noop };
    let recovered = Recovered {
        hard_state: HardState { current_term: Term(3), voted_for: Some(S2), stranger_until: None },
        base: LogPosition::ZERO,
        entries: (1..=3).map(entry).collect(),
        commit_index: LogIndex(2),
    };
    let mut alone = Alone::recovered(recovered, None, raft_core::config::Config::default());
    let status = alone.replica.status();
    assert_eq!((status.term, status.voted_for), (Term(3), Some(S2)));
    assert_eq!((status.last.index, status.last_applied.index), (LogIndex(3), LogIndex(2)));
    alone.receive(S3, 3, Body::RequestVote { last_log: LogPosition::new(9, 9), transfer: false });
    assert_eq!(alone.sent[0].body, Body::RequestVoteReply { granted: false });
}
