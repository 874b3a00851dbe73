//! Histories of client operations, and the check that they are linearizable.
//!
//! The search is that of Wing and Gong with the improvements of Lowe ("Testing for
//! linearizability", 2017). It orders the operations one by one and remembers each pair of ordered
//! set and state. It never continues twice from the same pair. Keys are independent of each other,
//! so each key is checked by itself.

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One operation of one client on one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The key.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub key: Bytes,
    /// When the client sent the request, on a clock that all clients share.
    pub called: u64,
    /// When the client got the answer; `None` if the outcome is unknown. Such an operation may take
    /// effect at any later time, or never. Operations that certainly had no effect are left out.
    pub returned: Option<u64>,
    /// What the operation did or saw.
    pub effect: Effect,
}

/// What an operation did or saw. `None` stands for a key that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The operation set or deleted the key.
    Write(Option<Bytes>),
    /// The operation found this value.
    Read(Option<Bytes>),
    /// The operation changed the key from `from` to `to`.
    Swap {
        /// The value that it found.
        from: Option<Bytes>,
        /// The value that it set.
        to: Option<Bytes>,
    },
    /// A swap that changed nothing, because the key did not have this value.
    Missed(Option<Bytes>),
}

impl Effect {
    /// Whether the effect is possible in `state`.
    fn fits(&self, state: Option<&Bytes>) -> bool {
        match self {
            Self::Write(_) => true,
            Self::Read(found) | Self::Swap { from: found, .. } => found.as_ref() == state,
            Self::Missed(expected) => expected.as_ref() != state,
        }
    }

    /// Whether the effect depends on the state.
    const fn looks(&self) -> bool {
        !matches!(self, Self::Write(_))
    }

    /// Whether the effect leaves the state unchanged.
    const fn only_looks(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Missed(_))
    }

    /// The state after the effect on `state`.
    fn after<'a>(&'a self, state: Option<&'a Bytes>) -> Option<&'a Bytes> {
        match self {
            Self::Write(after) | Self::Swap { to: after, .. } => after.as_ref(),
            Self::Read(_) | Self::Missed(_) => state,
        }
    }
}

/// The states that the answers of one key's operations reveal.
#[derive(Default)]
struct Sightings<'a> {
    found: BTreeSet<Option<&'a Bytes>>,
    /// Values that swaps expected and did not find. Each may reveal any other state.
    missed: BTreeSet<Option<&'a Bytes>>,
}

impl<'a> Sightings<'a> {
    fn of(operations: &[&'a Operation]) -> Self {
        let mut sightings = Self::default();
        for operation in operations {
            match &operation.effect {
                Effect::Write(_) => false,
                Effect::Read(found) | Effect::Swap { from: found, .. } => {
                    sightings.found.insert(found.as_ref())
                }
                Effect::Missed(expected) => sightings.missed.insert(expected.as_ref()),
            };
        }
        sightings
    }

    /// Whether an answer may reveal the state after a change.
    fn may_tell_of(&self, change: &Effect) -> bool {
        let state = change.after(None);
        let missed = self.missed.iter().any(|expected| *expected != state);
        !change.only_looks() && (missed || self.found.contains(&state))
    }
}

/// A key whose operations no order explains.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NotLinearizable {
    /// The key.
    pub key: Bytes,
    /// The operations of the key, by the time of their call.
    pub operations: Vec<Operation>,
    /// The maximum number of returned operations that an order could explain.
    pub explained: usize,
}

/// Checks a history. Each key needs one order of its operations that explains every answer. In it,
/// each operation takes effect between its call and its return. At the start no key exists.
pub fn check(history: &[Operation]) -> Result<(), Box<NotLinearizable>> {
    let mut by_key: BTreeMap<&Bytes, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    for (key, mut operations) in by_key {
        drop_unseen(&mut operations);
        operations.sort_by_key(|operation| operation.called);
        search::explain(&operations).map_err(|explained| {
            let operations = operations.iter().map(|it| (*it).clone()).collect();
            Box::new(NotLinearizable { key: key.clone(), operations, explained })
        })?;
    }
    Ok(())
}

/// Drops operations of unknown outcome that changed nothing or whose value no operation saw. An
/// order with such an operation explains as much without it. Each operation that stays can double
/// the search.
fn drop_unseen(operations: &mut Vec<&Operation>) {
    let sightings = Sightings::of(operations);
    operations.retain(|it| it.returned.is_some() || sightings.may_tell_of(&it.effect));
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = String::from_utf8_lossy(&self.key);
        writeln!(
            f,
            "no order explains all operations on {key:?} (at most {} of those that returned):",
            self.explained
        )?;
        for operation in &self.operations {
            writeln!(f, "  {operation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.returned {
            Some(returned) => write!(f, "[{}, {returned}] ", self.called)?,
            None => write!(f, "[{}, ?] ", self.called)?,
        }
        let text = |value: &Option<Bytes>| match value {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => "nothing".to_owned(),
        };
        match &self.effect {
            Effect::Write(value) => write!(f, "write {}", text(value)),
            Effect::Read(value) => write!(f, "read {}", text(value)),
            Effect::Swap { from, to } => write!(f, "swap {} for {}", text(from), text(to)),
            Effect::Missed(expected) => write!(f, "find no {} to swap", text(expected)),
        }
    }
}
