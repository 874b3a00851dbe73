//! Model checking: every state that a small cluster of real replicas can reach, within bounds.
//!
//! Only the environment is a model: network, disks, power, clients and the times at which timers
//! expire. The servers are [`raft_core::replica::Replica`]s. What the model leaves out, and why
//! nothing is lost by it:
//!
//! - **Time.** The clock stands still and every timer is due, so an election timer may expire at
//!   any time. Heartbeats are not sent by themselves: they would repeat lost messages, and the
//!   model does not repeat these. States that differ only in times and event numbers count as one
//!   state.
//! - **PreVote** is granted at once in all runs but one. So servers also campaign when no voter
//!   would have supported them: more behaviours, not fewer.
//! - **Links** keep the order of messages, as a connection does, except for a bounded number of
//!   overtaking messages. Each message may be late by any time, and messages on a link may never
//!   arrive.
//! - **Disks** finish at once, except for one disk that stalls until it resumes or the power fails.
//! - **The first server.** Servers are alike, so the first timer to expire is that of server 1.
//! - **Messages without news** are removed at once. All but the largest runs check that each of
//!   them has no effect.
//!
//! Properties: Election Safety, Log Matching, Leader Completeness, State Machine Safety (figure 3),
//! and durability on a majority of everything that clients were told. Each run must also reach a
//! state in which everything that it covers has happened. It must find at least as many states as
//! when its floor was written down, which reveals a change that leaves out states.

#![cfg(not(target_family = "wasm"))]
#![expect(clippy::disallowed_types, reason = "it says how long the exploration took")]

mod cluster;
mod server;

use std::time::Instant;

use cluster::{Bounds, Cluster};
use raft_core::rules::Mutation;
use stateright::{Checker, HasDiscoveries, Model};

/// No commands and no faults.
const NONE: Bounds = Bounds {
    servers: 3,
    terms: 2,
    timeouts: 2,
    proposals: 0,
    crashes: 0,
    stalls: 0,
    losses: 0,
    overtakings: 0,
    duplicates: 0,
    pre_votes: false,
};

/// One leader and two commands, with one late message and one message that arrives twice.
const LATE: Bounds =
    Bounds { terms: 1, timeouts: 1, proposals: 2, overtakings: 1, duplicates: 1, ..NONE };

const THREADS: usize = 2;

/// Explores all states. There must be at least `floor` of them, and all properties must hold.
fn holds(bounds: Bounds, floor: usize) {
    let begun = Instant::now();
    let cluster = Cluster { bounds, mutation: None };
    let checker = cluster.checker().threads(THREADS).spawn_dfs().join();
    let states = checker.unique_state_count();
    println!(
        "{states} states by {} steps, at most {} in a row, in {:.1} s: {bounds:?}",
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64(),
    );
    checker.assert_properties();
    assert!(states >= floor, "only {states} states, where there were {floor}: are some left out?");
}

/// With the rule broken, the property must fail. Prints a path to the failure.
fn breaks(mutation: Mutation, bounds: Bounds, property: &'static str) {
    let cluster = Cluster { bounds, mutation: Some(mutation) };
    let finish = HasDiscoveries::AnyOf([property].into());
    let checker = cluster.checker().threads(THREADS).finish_when(finish).spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{mutation:?} does no harm to {property}"));
    println!("{mutation:?} breaks {property}:");
    for action in path.into_actions() {
        println!("  {action}");
    }
}

/// Two terms, two commands, one lost message and one crash, all together.
#[test]
fn two_commands_survive_an_election_a_loss_and_a_crash() {
    holds(Bounds { proposals: 2, crashes: 1, losses: 1, ..NONE }, 4_500_000);
}

/// A disk stalls, and loses what it had not written when the power fails.
#[test]
fn elections_survive_a_slow_disk_and_a_crash() {
    holds(Bounds { crashes: 1, stalls: 1, losses: 1, ..NONE }, 450_000);
}

/// One message is late, and one arrives twice.
#[test]
fn a_command_survives_late_and_repeated_messages() {
    // A leader sends nothing new after an answer without news, or after a refusal older than a
    // later acknowledgement. So repeated and late messages lead to few states.
    holds(Bounds { losses: 1, ..LATE }, 106_000);
}

/// Three campaigns: votes split, and the loser tries again.
#[test]
fn a_split_vote_is_settled() {
    holds(Bounds { timeouts: 3, losses: 1, ..NONE }, 70_000);
}

/// Here PreVote messages are sent like other messages.
#[test]
fn questions_before_an_election_bind_nobody() {
    holds(Bounds { terms: 1, crashes: 1, pre_votes: true, ..NONE }, 13_000);
}

/// Guards the explorer itself: each of these properties fails when the rule behind it is broken.
#[test]
fn broken_rules_are_found() {
    breaks(Mutation::VoteTwice, NONE, "Election Safety");
    breaks(Mutation::ForgetVote, Bounds { crashes: 1, ..NONE }, "Election Safety");
    let slow = Bounds { terms: 1, timeouts: 1, proposals: 1, stalls: 1, ..NONE };
    breaks(Mutation::AcknowledgeEarly, slow, "Durability");
    breaks(Mutation::IgnoreStaleLog, NONE, "Leader Completeness");
    breaks(Mutation::AlwaysTruncate, LATE, "Durability");
}
