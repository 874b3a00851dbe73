//! The guarantees that a broken rule can violate. Most are properties that are checked after every
//! event. Three guarantees show only over time or in what clients see.

use std::fmt;

use super::words::{self, Unknown};
use crate::event::{Event, EventKind, RoleName, RoleReason};
use crate::invariant::Property;
use crate::sim::Simulation;
use crate::types::{EventId, Micros, NodeId, RequestId, SECOND, Term, Time};

/// A guarantee that a broken rule can violate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// A property of [`crate::invariant`].
    Property(Property),
    /// One order of all operations explains every answer to a client (§8).
    Linearizability,
    /// If a majority can communicate, it elects a leader within ten terms. A client gets some
    /// answer within five seconds.
    Liveness,
    /// A leader that a majority follows is not deposed (dissertation §4.2.3, §9.6).
    LeaderStability,
}

/// This many consecutive terms without a leader violate [`Guarantee::Liveness`].
pub(super) const LEADERLESS_TERMS: u64 = 10;

/// A request that waits this long for any answer, in µs, violates [`Guarantee::Liveness`].
pub(super) const PATIENCE: Micros = 5 * SECOND;

impl Guarantee {
    /// All guarantees.
    pub fn all() -> Vec<Self> {
        let properties = Property::ALL.into_iter().map(Self::from);
        properties.chain([Self::Liveness, Self::LeaderStability]).collect()
    }

    /// Whether a violation is a wrong event, and not only a missing event.
    pub const fn is_safety(self) -> bool {
        match self {
            Self::Property(_) | Self::Linearizability => true,
            Self::Liveness | Self::LeaderStability => false,
        }
    }

    /// The guarantee with this name.
    pub(super) fn named(name: &str) -> Result<Self, Unknown> {
        let all = Self::all();
        let found = all.iter().find(|it| it.to_string().eq_ignore_ascii_case(name));
        found
            .copied()
            .ok_or_else(|| words::unknown("guarantee", name, all.iter().map(ToString::to_string)))
    }
}

/// A linearizability violation is the same guarantee in one event and in the whole history.
impl From<Property> for Guarantee {
    fn from(property: Property) -> Self {
        if property == Property::Linearizability {
            Self::Linearizability
        } else {
            Self::Property(property)
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property(property) => write!(f, "{property}"),
            Self::Linearizability => f.write_str("Linearizability"),
            Self::Liveness => f.write_str("Liveness"),
            Self::LeaderStability => f.write_str("Leader Stability"),
        }
    }
}

/// Watches for violations that no single event shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// The highest term seen, and the term of the latest election.
    highest: Term,
    led: Term,
    /// The requests without an answer, and when they were sent.
    open: Vec<(RequestId, Time)>,
    /// When each guarantee was first seen violated, in that order.
    broken: Vec<(Guarantee, Time)>,
}

impl Watch {
    pub(super) fn broken(&self) -> &[(Guarantee, Time)] {
        &self.broken
    }

    pub(super) fn asked(&mut self, request: RequestId, at: Time) {
        self.open.push((request, at));
    }

    pub(super) fn observe(&mut self, event: &Event, simulation: &Simulation) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds do not concern it")]
        match &event.kind {
            EventKind::TermChanged { to, .. } => self.highest = self.highest.max(*to),
            EventKind::RoleChanged { role: RoleName::Leader, term, .. } => self.led = *term,
            EventKind::RoleChanged { why: RoleReason::HigherTerm, .. }
                if was_followed(event.id, simulation) =>
            {
                self.report(Guarantee::LeaderStability, event.time);
            }
            EventKind::ClientAnswer { request, .. } => {
                self.open.retain(|(open, _)| open != request);
            }
            _ => {}
        }
        if self.highest.0 - self.led.0.min(self.highest.0) >= LEADERLESS_TERMS {
            self.report(Guarantee::Liveness, event.time);
        }
        if self.open.iter().any(|(_, asked)| event.time.since(*asked) >= PATIENCE) {
            self.report(Guarantee::Liveness, event.time);
        }
    }

    /// Checks whether the clients' history is linearizable.
    pub(super) fn judge_history(&mut self, simulation: &Simulation) {
        let known = self.broken.iter().any(|(it, _)| *it == Guarantee::Linearizability);
        if !known && crate::history::check(&simulation.history()).is_err() {
            self.report(Guarantee::Linearizability, simulation.now());
        }
    }

    fn report(&mut self, guarantee: Guarantee, at: Time) {
        if self.broken.iter().all(|(known, _)| *known != guarantee) {
            self.broken.push((guarantee, at));
        }
    }
}

/// Whether a majority still knows the deposed server as its leader.
fn was_followed(event: EventId, simulation: &Simulation) -> bool {
    let replicas = || simulation.ids().into_iter().filter_map(|id| simulation.replica(id));
    let follows =
        |leader: NodeId| replicas().filter(|it| it.status().leader == Some(leader)).count();
    let voters = simulation.replica(event.node).map(|it| it.status().membership.voters.len());
    // The deposed leader no longer follows itself, but it was part of its majority.
    voters.is_some_and(|voters| 2 * (follows(event.node) + 1) > voters)
}
