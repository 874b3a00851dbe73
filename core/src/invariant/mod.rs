//! The properties that must hold at all times (figure 3 and more), checked after every event.
//!
//! Each property has its own file, reads only events, and names the events that prove a violation.
//! A property that no broken rule can violate would check nothing. For each property, the tests
//! show a mutation that violates it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a property looks at a few kinds of events; new kinds do not concern it"
)]

mod durability;
mod election_safety;
mod exactly_once;
mod fresh_reads;
mod leader_append_only;
mod leader_completeness;
mod log_matching;
mod logs;
mod monotonicity;
mod one_configuration;
mod state_agreement;
mod state_machine_safety;

use std::fmt;

use crate::event::Event;
use crate::types::{EventId, Time};
use durability::Durability;
use election_safety::ElectionSafety;
use exactly_once::ExactlyOnce;
use fresh_reads::FreshReads;
use leader_append_only::LeaderAppendOnly;
use leader_completeness::LeaderCompleteness;
use log_matching::LogMatching;
use logs::Logs;
use monotonicity::Monotonicity;
use one_configuration::OneConfiguration;
use state_agreement::StateAgreement;
use state_machine_safety::StateMachineSafety;

/// The properties of figure 3, by their names there, and further guarantees of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// At most one leader is elected in a term (§5.2).
    ElectionSafety,
    /// A leader only appends entries to its log; it never overwrites or removes them (§5.3).
    LeaderAppendOnly,
    /// Logs that contain an entry with the same index and term are equal up to it (§5.3).
    LogMatching,
    /// An entry committed in a term is in the logs of the leaders of all later terms (§5.4).
    LeaderCompleteness,
    /// Servers apply the same entry at the same index, and so have the same state (§5.4.3).
    StateMachineSafety,
    /// Terms, commit and applied indexes never go back (§5.1, figure 2).
    Monotonicity,
    /// Every server that is counted for a commit holds the entry durably (figure 2).
    Durability,
    /// After the same entry all servers have the same state (§5.4.3).
    StateAgreement,
    /// A leader begins no change of the members while an earlier one is uncommitted (§6).
    OneConfiguration,
    /// A read sees everything that any client knew before the read was requested (§8).
    Linearizability,
    /// A request of a session takes effect once (§8; dissertation §6.3).
    ExactlyOnce,
}

impl Property {
    /// All properties.
    pub const ALL: [Self; 11] = [
        Self::ElectionSafety,
        Self::LeaderAppendOnly,
        Self::LogMatching,
        Self::LeaderCompleteness,
        Self::StateMachineSafety,
        Self::Monotonicity,
        Self::Durability,
        Self::StateAgreement,
        Self::OneConfiguration,
        Self::Linearizability,
        Self::ExactlyOnce,
    ];
}

/// A violated property, and the events that prove the violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The violated property.
    pub property: Property,
    /// When the violation was detected.
    pub time: Time,
    /// A description of the violation.
    pub explanation: String,
    /// The events that contradict each other, as far as they are known. The last one completed the
    /// proof.
    pub evidence: Vec<EventId>,
}

/// The verdict of one property on one event.
type Verdict = Result<(), (String, Vec<EventId>)>;

/// Checks all properties during a run.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    logs: Logs,
    election_safety: ElectionSafety,
    leader_append_only: LeaderAppendOnly,
    log_matching: LogMatching,
    leader_completeness: LeaderCompleteness,
    state_machine_safety: StateMachineSafety,
    monotonicity: Monotonicity,
    durability: Durability,
    state_agreement: StateAgreement,
    one_configuration: OneConfiguration,
    fresh_reads: FreshReads,
    exactly_once: ExactlyOnce,
    violations: Vec<Violation>,
}

impl Checker {
    /// Checks one event. Only the first violation of each property is kept.
    pub fn observe(&mut self, event: &Event) {
        let verdicts = [
            (Property::ElectionSafety, self.election_safety.observe(event)),
            (Property::LeaderAppendOnly, self.leader_append_only.observe(event)),
            (Property::LogMatching, self.log_matching.observe(event, &self.logs)),
            (Property::LeaderCompleteness, self.leader_completeness.observe(event, &self.logs)),
            (Property::StateMachineSafety, self.state_machine_safety.observe(event)),
            (Property::Monotonicity, self.monotonicity.observe(event)),
            (Property::Durability, self.durability.observe(event)),
            (Property::StateAgreement, self.state_agreement.observe(event)),
            (Property::OneConfiguration, self.one_configuration.observe(event)),
            (Property::Linearizability, self.fresh_reads.observe(event)),
            (Property::ExactlyOnce, self.exactly_once.observe(event)),
        ];
        for (property, verdict) in verdicts {
            if let Err((explanation, mut evidence)) = verdict {
                evidence.push(event.id);
                self.report(Violation { property, time: event.time, explanation, evidence });
            }
        }
        self.logs.observe(event);
    }

    /// The violations so far, in the order of their detection.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn report(&mut self, violation: Violation) {
        if self.violations.iter().all(|known| known.property != violation.property) {
            self.violations.push(violation);
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ElectionSafety => "Election Safety",
            Self::LeaderAppendOnly => "Leader Append-Only",
            Self::LogMatching => "Log Matching",
            Self::LeaderCompleteness => "Leader Completeness",
            Self::StateMachineSafety => "State Machine Safety",
            Self::Monotonicity => "Monotonicity",
            Self::Durability => "Durability",
            Self::StateAgreement => "State Agreement",
            Self::OneConfiguration => "One Configuration at a Time",
            Self::Linearizability => "Linearizability",
            Self::ExactlyOnce => "Exactly Once",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is violated at {}: {}", self.property, self.time, self.explanation)
    }
}
