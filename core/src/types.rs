//! The identifiers and units that everything else speaks in.

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
            /// The number after this one. The last one stays: only a peer that lies gets there.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The number before this one; zero stays zero.
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
    /// A server of the cluster, shown as `S1`. Servers count from 1; 0 is [`NodeId::ENVIRONMENT`].
    NodeId
}
number! {
    /// A period with at most one leader (§5.1). Terms count from 1; 0 means "before any election".
    Term
}
number! {
    /// The position of an entry in the log (§5.3). The first entry has index 1; 0 means "before it".
    LogIndex
}
number! {
    /// A point in time, in microseconds since an origin that the driver chooses.
    Time
}
number! {
    /// A client's request, numbered by the driver; unique while one process runs.
    RequestId
}
number! {
    /// A lease: keys that are tied to it go when it ends. Numbered by the store.
    LeaseId
}
number! {
    /// A client's session, within which a request takes effect once. Numbered by the store.
    SessionId
}
number! {
    /// A batch handed to the disk, numbered by the node in the order of submission.
    WriteId
}

/// A span of time in microseconds.
pub type Micros = u64;

/// One millisecond, as [`Micros`].
pub const MILLISECOND: Micros = 1_000;

/// One second, as [`Micros`].
pub const SECOND: Micros = 1_000_000;

impl NodeId {
    /// What happens to the cluster from outside (a crash, a cut link, a lost message) is recorded
    /// under this identity, which no server may carry.
    pub const ENVIRONMENT: Self = Self(0);
}

impl Time {
    /// This time and `span` more; stops at the end of time instead of wrapping.
    #[must_use]
    pub const fn after(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// How long ago `earlier` was, zero when it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Micros {
        self.0.saturating_sub(earlier.0)
    }
}

/// An entry's term and index. The order is that of §5.4.1: first the term, then the index, which
/// is what "at least as up to date" means (comparing the two apart is a known mistake).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogPosition {
    /// The term in which a leader created the entry.
    pub term: Term,
    /// Where the entry stands in the log.
    pub index: LogIndex,
}

impl LogPosition {
    /// The position before the first entry of every log.
    pub const ZERO: Self = Self { term: Term(0), index: LogIndex(0) };

    /// A position from its plain numbers.
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term: Term(term), index: LogIndex(index) }
    }
}

/// Names one event of a run: the `seq`-th of `node`. A message carries the id of the event that
/// sent it, so that a send and its receipt elsewhere meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId {
    /// Where it happened.
    pub node: NodeId,
    /// Its number there; grows also across restarts.
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

    /// Guards §5.4.1's order: a longer log of an older term is not more up to date.
    #[test]
    fn positions_compare_by_term_before_index() {
        assert!(LogPosition::new(3, 1) > LogPosition::new(2, 9));
        assert!(LogPosition::new(2, 9) > LogPosition::new(2, 8));
    }
}
