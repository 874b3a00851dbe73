//! Atomic transactions of comparisons, reads and changes. If all comparisons hold, one list of
//! operations is executed, otherwise the other list.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::LeaseId;
use super::range::KeyRange;
use super::store::{KvStore, Pair, Versioned};
use crate::codec::{optional_text_or_bytes, text_or_bytes};

/// A list of comparisons, and the operations for both results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// The comparisons, which must all hold. An empty list always holds.
    #[serde(default)]
    pub compare: Vec<Comparison>,
    /// The operations if all comparisons hold.
    #[serde(default)]
    pub then: Vec<Operation>,
    /// The operations if a comparison does not hold.
    #[serde(default)]
    pub otherwise: Vec<Operation>,
}

/// Compares a property of a key with a given value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Comparison {
    /// The key.
    #[serde(with = "text_or_bytes")]
    pub key: Bytes,
    /// The property and the value to compare it with.
    pub target: Target,
    /// The required relation, with the key on the left.
    #[serde(default)]
    pub relation: Relation,
}

/// The compared property of a key. A missing key has the numbers 0 and no value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The value; `None` stands for a missing key, which sorts before all values.
    Value(#[serde(with = "optional_text_or_bytes")] Option<Bytes>),
    /// How often the key was set since its creation.
    Version(u64),
    /// The revision at which the key was created.
    CreateRevision(u64),
    /// The revision at which the key last changed.
    ModRevision(u64),
}

/// The relation of two values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// `==`
    #[default]
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `>`
    Greater,
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Reads a key.
    Get {
        /// The key.
        #[serde(with = "text_or_bytes")]
        key: Bytes,
    },
    /// Reads a range.
    Range {
        /// The range.
        range: KeyRange,
        /// The maximum number of keys.
        limit: u64,
    },
    /// Sets a key.
    Put {
        /// The key.
        #[serde(with = "text_or_bytes")]
        key: Bytes,
        /// Its new value.
        #[serde(with = "text_or_bytes")]
        value: Bytes,
        /// The lease to which the key is attached, if any. If it does not exist, the whole
        /// transaction is rejected.
        #[serde(default)]
        lease: Option<LeaseId>,
    },
    /// Removes a key.
    Delete {
        /// The key.
        #[serde(with = "text_or_bytes")]
        key: Bytes,
    },
    /// Removes the keys of a range.
    DeleteRange(KeyRange),
}

/// The result of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationResult {
    /// The pair that was read; `None` if the key does not exist.
    Found(Option<Pair>),
    /// The pairs that were read from a range.
    Pairs(Vec<Pair>),
    /// A key was set or removed.
    Done {
        /// Whether the key existed before.
        existed: bool,
    },
    /// The keys of a range were removed.
    Removed {
        /// The number of removed keys.
        keys: u64,
    },
}

impl Operation {
    /// Whether the operation reads values.
    pub(super) const fn reads(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::Range { .. })
    }

    /// Whether the operation may enlarge the state.
    pub const fn grows(&self) -> bool {
        matches!(self, Self::Put { .. })
    }
}

impl OperationResult {
    /// The size that counts toward the read limit of a transaction. The encoded result is not
    /// larger than this and the operation itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Found(pair) => pair.as_ref().map_or(0, Pair::bytes),
            Self::Pairs(pairs) => pairs.iter().map(Pair::bytes).sum(),
            Self::Done { .. } | Self::Removed { .. } => 0,
        }
    }
}

impl Comparison {
    /// Whether the comparison holds in this state.
    pub fn holds(&self, store: &KvStore) -> bool {
        let found = store.get(&self.key);
        let number = |of: fn(&Versioned) -> u64| found.map_or(0, of);
        let order = match &self.target {
            Target::Value(value) => found.map(|it| &it.value).cmp(&value.as_ref()),
            Target::Version(version) => number(|it| it.version).cmp(version),
            Target::CreateRevision(revision) => number(|it| it.create_revision).cmp(revision),
            Target::ModRevision(revision) => number(|it| it.mod_revision).cmp(revision),
        };
        match self.relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Less => order.is_lt(),
            Relation::Greater => order.is_gt(),
        }
    }
}

impl Transaction {
    /// The operations of both lists.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.then.iter().chain(&self.otherwise)
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a transaction of {} comparisons and {} or {} operations",
            self.compare.len(),
            self.then.len(),
            self.otherwise.len()
        )
    }
}
