//! Identifiers and units that the whole crate uses.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares a `u64` newtype: ordered, hashable, serialised as the bare number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The next number. It saturates at the maximum, which only a lying peer can reach.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The previous number; 0 stays 0.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }
    };
}

number! {
    /// A server of the cluster, displayed as `S1`. IDs start at 1; 0 is [`NodeId::ENVIRONMENT`].
    NodeId
}
number! {
    /// A period with at most one leader (§5.1). Terms start at 1; 0 means "before any election".
    Term
}
number! {
    /// The position of an entry in the log (§5.3). The first entry has index 1; 0 is the position
    /// before it.
    LogIndex
}
number! {
    /// A point in time, in microseconds since an origin that the driver chooses.
    Time
}
number! {
    /// A client request, numbered by the driver. The number is unique while one process runs.
    RequestId
}
number! {
    /// A lease, numbered by the store. The store deletes the attached keys when the lease ends.
    LeaseId
}
number! {
    /// A client session, numbered by the store. Each request of a session takes effect once.
    SessionId
}
number! {
    /// A batch of disk writes, numbered by the node in the order of submission.
    WriteId
}

/// A span of time in microseconds.
pub type Micros = u64;

/// One millisecond, as [`Micros`].
pub const MILLISECOND: Micros = 1_000;

/// One second, as [`Micros`].
pub const SECOND: Micros = 1_000_000;

impl NodeId {
    /// Outside faults (a crash, a cut link, a lost message) are recorded under this ID. No server
    /// may use it.
    pub const ENVIRONMENT: Self = Self(0);
}

impl Time {
    /// This time plus `span`; saturates instead of wrapping.
    #[must_use]
    pub const fn after(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// The time since `earlier`; 0 if `earlier` lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Micros {
        self.0.saturating_sub(earlier.0)
    }
}

/// An entry's term and index, ordered by term first and then by index (§5.4.1). This order defines
/// "at least as up to date"; comparing the two fields separately is a known mistake.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogPosition {
    /// The term in which a leader created the entry.
    pub term: Term,
    /// The index of the entry in the log.
    pub index: LogIndex,
}

impl LogPosition {
    /// The position before the first entry of every log.
    pub const ZERO: Self = Self { term: Term(0), index: LogIndex(0) };

    /// Makes a position from plain numbers.
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term: Term(term), index: LogIndex(index) }
    }
}

/// Identifies one event of a run: the `seq`-th event of `node`. A message carries the ID of the
/// event that sent it, to connect the send event with the receive event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId {
    /// The server where the event happened.
    pub node: NodeId,
    /// The number of the event on that server; it keeps growing across restarts.
    pub seq: u64,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ENVIRONMENT { f.write_str("world") } else { write!(f, "S{}", self.0) }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Milliseconds with three decimals: `1234.567 ms`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0 / MILLISECOND, self.0 % MILLISECOND)
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (term {})", self.index, self.term)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::LogPosition;

    /// Guards the order of §5.4.1: a longer log with an older last term is not more up to date.
    #[test]
    fn positions_compare_by_term_before_index() {
        assert!(LogPosition::new(3, 1) > LogPosition::new(2, 9));
        assert!(LogPosition::new(2, 9) > LogPosition::new(2, 8));
    }
}
