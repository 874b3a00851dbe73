//! Each checker bites: with a rule broken, or a fault planted, it reports its property.

use raft_core::event::{Event, EventKind, RoleName, RoleReason};
use raft_core::invariant::{Checker, Property};
use raft_core::rules::Mutation;
use raft_core::sim::{Failure, Swarm};
use raft_core::types::{EventId, LogIndex, LogPosition, SECOND, Term, Time};

use crate::lab::{S1, S2, check};

/// The seeds among which a run must trip the checker.
const SEEDS: u64 = 400;

/// Runs with the rule broken until the property fails. One that is broken first is often not the
/// last: the run goes on for a while.
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

/// Guards the check of §5.3, Log Matching.
#[check]
fn log_matching_fails_without_the_consistency_check() {
    assert_trips(Mutation::SkipPrevLogCheck, Property::LogMatching);
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

/// Guards the linearizability check: a leader that answers reads unconfirmed is found out (§8).
#[check]
fn linearizability_fails_when_reads_are_unconfirmed() {
    let found = (0..SEEDS).any(|seed| {
        matches!(Swarm::new(seed, Some(Mutation::UnconfirmedReads)).run(), Err(Failure::History(_)))
    });
    assert!(found);
}

/// Guards the check of Leader Append-Only with a planted event, for no rule of ours lets a leader
/// cut its log.
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
