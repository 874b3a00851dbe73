//! Linearizable reads (§8; dissertation §6.4).

use raft_core::event::Outcome;
use raft_core::message::Body;
use raft_core::replica::Input;
use raft_core::sim::Action;
use raft_core::types::{LogIndex, RequestId, Term};

use crate::lab::{Alone, Cluster, S2, check};

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

/// Guards pitfall 8: an acknowledgement of a round that began before the read came says nothing
/// about it; one later round answers all that waited.
#[check]
fn only_a_round_that_began_after_the_read_confirms_it() {
    let mut alone = Alone::leader();
    alone.step(Input::Read { request: RequestId(1), lease: false });
    alone.step(Input::Read { request: RequestId(2), lease: false });
    alone.step(Input::Read { request: RequestId(3), lease: false });
    let rounds = |sent: &[raft_core::message::Message]| -> Vec<u64> {
        sent.iter()
            .filter_map(|message| match &message.body {
                Body::AppendEntries { round, .. } if message.to == S2 => Some(*round),
                _ => None,
            })
            .collect()
    };
    let first = rounds(&alone.sent);
    assert_eq!(first.len(), 1, "the first read begins a round, the others wait");
    alone.accept(S2, 1);
    assert_eq!(alone.answers, [(RequestId(1), Outcome::ReadReady { read_index: LogIndex(1) })]);
    assert_eq!(rounds(&alone.sent).len(), 2, "one more round for both that waited");
    alone.accept(S2, 1);
    assert_eq!(alone.answers.len(), 3);
}

/// Guards pitfall 6: before the first commit of its term a leader does not know what is
/// committed, so a read waits.
#[check]
fn a_new_leader_reads_only_after_its_first_commit() {
    let mut alone = Alone::new();
    alone.time_out();
    alone.receive(S2, 0, Body::PreVoteReply { next_term: Term(1), granted: true });
    alone.persist_all();
    alone.receive(S2, 1, Body::RequestVoteReply { granted: true });
    alone.step(Input::Read { request: RequestId(1), lease: false });
    alone.accept(S2, 0);
    assert!(alone.answers.is_empty());
    alone.persist_all();
    alone.accept(S2, 1);
    alone.accept(S2, 1);
    assert_eq!(alone.answers, [(RequestId(1), Outcome::ReadReady { read_index: LogIndex(1) })]);
}

/// Guards the answer to a read whose leader lost its office: nothing happened, ask another.
#[check]
fn a_deposed_leader_refuses_waiting_reads() {
    let mut alone = Alone::leader();
    alone.step(Input::Read { request: RequestId(1), lease: false });
    alone.receive(S2, 2, Body::RequestVoteReply { granted: false });
    assert_eq!(alone.answers, [(RequestId(1), Outcome::NotLeader { leader: None })]);
}
