//! Model checking: every state that a small cluster of real replicas can get into, within bounds.
//!
//! Nothing is modelled but the outside: network, disks, power, clients and the moments at which
//! timers fire. The servers are [`raft_core::replica::Replica`]s. What is left out, and why nothing
//! is lost by it:
//!
//! - **Time.** The clock stands still and every timer is due, so an election timer may run out at
//!   any moment. Heartbeats are not sent by themselves (they repeat what is lost; a loss here is not
//!   repeated). States that differ in nothing but times and numbers of events count as one.
//! - **The question before an election** is told yes at once, in all runs but one, so servers
//!   campaign also when nobody would have encouraged them: more behaviours, not fewer.
//! - **Links** keep the order of messages, as a connection does, but for a bounded number that
//!   overtake others. Each may be late by any time, and what stands on a link may never arrive.
//! - **Disks** finish at once, but for one that stalls until it goes on or the power fails.
//! - **Who is first.** Servers are alike, so the first timer to run out is that of server 1.
//! - **Messages that say nothing new** are taken off at once; that each of them is without effect is
//!   checked in all but the largest runs.
//!
//! Properties: Election Safety, Log Matching, Leader Completeness, State Machine Safety (figure 3),
//! and that what a client was told is on the disks of a majority. Each run also has to reach a state
//! in which all that it is about has happened, and to find at least as many states as when its floor
//! was written down: a change that quietly leaves states out is noticed.

#![cfg(not(target_family = "wasm"))]
#![expect(clippy::disallowed_types, reason = "it says how long the exploration took")]

mod cluster;
mod server;

use std::time::Instant;

use cluster::{Bounds, Cluster};
use raft_core::rules::Mutation;
use stateright::{Checker, HasDiscoveries, Model};

/// Nothing happens in them.
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

/// One leader and two commands, with a message that comes late and one that comes twice.
const LATE: Bounds =
    Bounds { terms: 1, timeouts: 1, proposals: 2, overtakings: 1, duplicates: 1, ..NONE };

const THREADS: usize = 2;

/// Explores all states; there must be at least `floor` of them, and all properties hold.
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

/// With the rule broken the property must fail; prints a way to it.
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

/// Two terms, two commands, one lost message and one crash: all of it together.
#[test]
fn two_commands_survive_an_election_a_loss_and_a_crash() {
    holds(Bounds { proposals: 2, crashes: 1, losses: 1, ..NONE }, 4_500_000);
}

/// A disk that stalls, and loses what it had not written when the power fails.
#[test]
fn elections_survive_a_slow_disk_and_a_crash() {
    holds(Bounds { crashes: 1, stalls: 1, losses: 1, ..NONE }, 450_000);
}

/// A message that comes late, and one that comes twice.
#[test]
fn a_command_survives_late_and_repeated_messages() {
    // A leader sends nothing new for an answer without news, nor for a refusal from before what has
    // been acknowledged since, so that repeated and late ones lead to few states.
    holds(Bounds { losses: 1, ..LATE }, 106_000);
}

/// Three candidacies: votes split, and the loser tries again.
#[test]
fn a_split_vote_is_settled() {
    holds(Bounds { timeouts: 3, losses: 1, ..NONE }, 70_000);
}

/// The questions before an election are messages like others here.
#[test]
fn questions_before_an_election_bind_nobody() {
    holds(Bounds { terms: 1, crashes: 1, pre_votes: true, ..NONE }, 13_000);
}

/// Guards the explorer itself: each property fails when the rule behind it is broken.
#[test]
fn broken_rules_are_found() {
    breaks(Mutation::VoteTwice, NONE, "Election Safety");
    breaks(Mutation::ForgetVote, Bounds { crashes: 1, ..NONE }, "Election Safety");
    let slow = Bounds { terms: 1, timeouts: 1, proposals: 1, stalls: 1, ..NONE };
    breaks(Mutation::AcknowledgeEarly, slow, "Durability");
    breaks(Mutation::IgnoreStaleLog, NONE, "Leader Completeness");
    breaks(Mutation::AlwaysTruncate, LATE, "Durability");
}
