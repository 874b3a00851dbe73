//! Each checker reports its property when a rule is broken or a fault is planted.

use raft_core::event::{
    CommitReason, Event, EventKind, NodeState, Outcome, RequestKind, RoleName, RoleReason,
    TermReason,
};
use raft_core::history;
use raft_core::invariant::{Checker, Property};
use raft_core::kv::{Answer, Applied, Command};
use raft_core::log::{Entry, Payload};
use raft_core::membership::Membership;
use raft_core::message::{Body, Message};
use raft_core::rules::Mutation;
use raft_core::sim::Swarm;
use raft_core::types::{
    EventId, LogIndex, LogPosition, NodeId, RequestId, SECOND, SessionId, Term, Time, WriteId,
};

use crate::lab::{S1, S2, check};

/// The number of seeds; at least one run must trip the checker.
const SEEDS: u64 = 400;

/// Runs with the rule broken until the property fails. Often another property fails first, so each
/// run continues for a second.
fn assert_trips(mutation: Mutation, property: Property) {
    let tripped = (0..SEEDS).any(|seed| {
        let mut swarm = Swarm::new(seed, Some(mutation));
        if swarm.run().is_ok() {
            return false;
        }
        let mut simulation = swarm.simulation().clone();
        simulation.run_until(simulation.now().after(SECOND));
        simulation.violations().iter().any(|it| it.property == property)
    });
    assert!(tripped, "no run of {SEEDS} with {mutation:?} violates {property}");
}

/// Guards the check of §5.2.
#[check]
fn election_safety_fails_when_servers_vote_twice() {
    assert_trips(Mutation::VoteTwice, Property::ElectionSafety);
}

/// Guards the check of figure 2's persistent vote.
#[check]
fn election_safety_fails_when_votes_are_forgotten() {
    assert_trips(Mutation::ForgetVote, Property::ElectionSafety);
}

/// Guards the check of §5.3, Log Matching: an entry with other content, or after another entry.
/// (Lesson 5 violates it without the consistency check.)
#[check]
fn log_matching_fails_when_logs_differ_before_a_common_entry() {
    let entry =
        |term, index| Entry { index: LogIndex(index), term: Term(term), payload: Payload::Noop };
    let other = Entry { payload: Payload::Command(b"x".to_vec().into()), ..entry(2, 2) };
    let append = |first, second: Entry| EventKind::EntriesAppended {
        last: second.position(),
        entries: vec![first, second].into(),
    };
    let run =
        |first, second| vec![(S1, append(entry(1, 1), entry(2, 2))), (S2, append(first, second))];
    assert_eq!(violations(run(entry(1, 1), entry(2, 2))), []);
    assert_eq!(violations(run(entry(1, 1), other)), [Property::LogMatching]);
    assert_eq!(violations(run(entry(2, 1), entry(2, 2))), [Property::LogMatching]);
}

/// Guards the check of §5.4.
#[check]
fn leader_completeness_fails_when_stale_logs_may_win() {
    assert_trips(Mutation::IgnoreStaleLog, Property::LeaderCompleteness);
}

/// Guards the check of §5.4.3.
#[check]
fn state_machine_safety_fails_without_majorities() {
    assert_trips(Mutation::HalfIsMajority, Property::StateMachineSafety);
}

/// Guards the linearizability check: it detects a leader that answers unconfirmed reads (§8).
#[check]
fn linearizability_fails_when_reads_are_unconfirmed() {
    let found = (0..SEEDS).any(|seed| {
        let mut swarm = Swarm::new(seed, Some(Mutation::UnconfirmedReads));
        swarm.run().is_err() && history::check(&swarm.simulation().history()).is_err()
    });
    assert!(found);
}

/// Guards the check of Leader Append-Only with a planted event, because no mutation makes a leader
/// truncate its log.
#[check]
fn leader_append_only_fails_when_a_leader_truncates() {
    let event =
        |node, seq, kind| Event { id: EventId { node, seq }, time: Time(seq), cause: None, kind };
    let truncated = |node, seq| {
        event(
            node,
            seq,
            EventKind::LogTruncated { from: LogIndex(3), last: LogPosition::new(1, 2) },
        )
    };
    let mut checker = Checker::default();
    checker.observe(&truncated(S2, 1));
    assert_eq!(checker.violations(), []);
    let why = RoleReason::VotesWon;
    checker.observe(&event(
        S1,
        1,
        EventKind::RoleChanged { role: RoleName::Leader, term: Term(1), why },
    ));
    checker.observe(&truncated(S1, 2));
    assert_eq!(checker.violations()[0].property, Property::LeaderAppendOnly);
}

/// The properties that planted events violate; the events are numbered in order.
fn violations(events: Vec<(NodeId, EventKind)>) -> Vec<Property> {
    let mut checker = Checker::default();
    for (seq, (node, kind)) in (1..).zip(events) {
        let id = EventId { node, seq };
        checker.observe(&Event { id, time: Time(seq), cause: None, kind });
    }
    checker.violations().iter().map(|violation| violation.property).collect()
}

fn committed(from: u64, to: u64, proof: &[(NodeId, u64)]) -> EventKind {
    let proof = proof.iter().map(|(node, index)| (*node, LogIndex(*index))).collect();
    let (from, to) = (LogIndex(from), LogIndex(to));
    EventKind::CommitAdvanced { from, to, why: CommitReason::Majority(proof) }
}

fn persisted(index: u64) -> EventKind {
    EventKind::WritePersisted { write: WriteId(1), durable_index: LogIndex(index) }
}

/// Guards the check that terms and indexes never go back, in each of its forms.
#[check]
fn monotonicity_fails_when_something_goes_back() {
    let term =
        |to| EventKind::TermChanged { from: Term(0), to: Term(to), why: TermReason::SeenInMessage };
    let applied = |index| EventKind::Applied {
        position: LogPosition::new(1, index),
        digest: index,
        revision: index,
    };
    let said = |term| {
        let body = Body::TimeoutNow;
        EventKind::MessageSent(Message { from: S1, to: S2, seq: 1, term: Term(term), body })
    };
    let started =
        |term| EventKind::Started(Box::new(NodeState { term: Term(term), ..NodeState::default() }));
    let back = [Property::Monotonicity];
    assert_eq!(violations(vec![(S1, term(3)), (S1, term(2))]), back);
    assert_eq!(violations(vec![(S1, committed(0, 5, &[])), (S1, committed(5, 4, &[]))]), back);
    assert_eq!(violations(vec![(S1, applied(5)), (S1, applied(4))]), back);
    assert_eq!(violations(vec![(S1, said(3)), (S1, started(2))]), back);
    // Over a restart the commit index may go back, and each server has its own commit index.
    let fine = vec![
        (S1, committed(0, 5, &[])),
        (S1, started(0)),
        (S1, committed(0, 4, &[])),
        (S2, committed(0, 1, &[])),
    ];
    assert_eq!(violations(fine), []);
    assert_trips(Mutation::AcceptOldSnapshot, Property::Monotonicity);
}

/// Guards the check of figure 2: a leader counts only entries that are on disk.
#[check]
fn durability_fails_when_acknowledgements_come_too_early() {
    let counted = |index| vec![(S2, persisted(index)), (S1, committed(0, 3, &[(S2, 3)]))];
    assert_eq!(violations(counted(3)), []);
    assert_eq!(violations(counted(2)), [Property::Durability]);
    assert_trips(Mutation::AcknowledgeEarly, Property::Durability);
}

/// Guards the check that equal entries give equal states.
#[check]
fn state_agreement_fails_when_states_differ() {
    let applied =
        |digest| EventKind::Applied { position: LogPosition::new(1, 1), digest, revision: 1 };
    assert_eq!(violations(vec![(S1, applied(7)), (S2, applied(7))]), []);
    let differ = violations(vec![(S1, applied(7)), (S2, applied(8))]);
    assert_eq!(differ, [Property::StateAgreement]);
}

/// Guards the check of §6: a leader appends one change at a time; a follower may get two at once.
#[check]
fn one_configuration_fails_when_a_leader_appends_two() {
    let lead =
        EventKind::RoleChanged { role: RoleName::Leader, term: Term(1), why: RoleReason::VotesWon };
    let appended = |index| EventKind::ConfigurationAppended {
        position: LogPosition::new(1, index),
        membership: Membership::of([S1]),
    };
    let two = |between: Vec<(NodeId, EventKind)>| {
        let first = [(S1, lead.clone()), (S1, appended(2))];
        first.into_iter().chain(between).chain([(S1, appended(3))]).collect()
    };
    assert_eq!(violations(two(vec![])), [Property::OneConfiguration]);
    assert_eq!(violations(two(vec![(S1, committed(0, 2, &[]))])), []);
    assert_eq!(violations(vec![(S2, appended(2)), (S2, appended(3))]), []);
}

/// Guards the check of §8: a read sees what was answered before the read began.
#[check]
fn linearizability_fails_at_the_read_that_misses_something() {
    let done = Outcome::Applied {
        position: LogPosition::new(1, 5),
        applied: Applied { revision: 1, answer: Answer::Done { existed: false } },
    };
    let answer =
        |request, outcome| EventKind::ClientAnswer { request: RequestId(request), outcome };
    let read = EventKind::ClientRequest { request: RequestId(2), operation: RequestKind::Read };
    let ready = |index| answer(2, Outcome::ReadReady { read_index: LogIndex(index) });
    let run = |index| vec![(S1, answer(1, done.clone())), (S2, read.clone()), (S2, ready(index))];
    assert_eq!(violations(run(5)), []);
    assert_eq!(violations(run(4)), [Property::Linearizability]);
    // A read that began before the answer may miss it.
    let beside = vec![(S2, read.clone()), (S1, answer(1, done.clone())), (S2, ready(4))];
    assert_eq!(violations(beside), []);
    assert_trips(Mutation::UnconfirmedReads, Property::Linearizability);
}

/// Guards the check of dissertation §6.3: a request is not executed twice.
#[check]
fn exactly_once_fails_when_retries_are_executed() {
    let command = Command::put("n", "1").in_session(SessionId(1), 1);
    let entry = |index| Entry {
        index: LogIndex(index),
        term: Term(1),
        payload: Payload::Command(command.encode()),
    };
    let entries = vec![entry(1), entry(2)].into();
    let appended = EventKind::EntriesAppended { last: LogPosition::new(1, 2), entries };
    let applied = |index, revision| EventKind::Applied {
        position: LogPosition::new(1, index),
        digest: index,
        revision,
    };
    let started = EventKind::Started(Box::default());
    let run = |second| {
        let before = [(S1, started.clone()), (S1, appended.clone()), (S1, applied(1, 1))];
        before.into_iter().chain([(S1, applied(2, second))]).collect()
    };
    assert_eq!(violations(run(1)), []);
    assert_eq!(violations(run(2)), [Property::ExactlyOnce]);
}
