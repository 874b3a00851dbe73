//! Several comparisons, reads and changes as one: if all comparisons hold the one list of operations
//! is carried out, else the other.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::LeaseId;
use super::range::KeyRange;
use super::store::{KvStore, Pair, Versioned};
use crate::codec::{optional_text_or_bytes, text_or_bytes};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transaction {
    /// All must hold; with none they do.
    #[serde(default)]
    pub compare: Vec<Comparison>,
    /// Carried out if they hold.
    #[serde(default)]
    pub then: Vec<Operation>,
    /// Carried out if not.
    #[serde(default)]
    pub otherwise: Vec<Operation>,
}

/// A comparison of what a key is with what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Comparison {
    /// The key.
    #[serde(with = "text_or_bytes")]
    pub key: Bytes,
    /// What of it is compared, and with what.
    pub target: Target,
    /// How they must relate: key first.
    #[serde(default)]
    pub relation: Relation,
}

/// What of a key is compared. A key that is not there has the numbers 0 and no value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Its value; `None` stands for a key that is not there, which comes before all values.
    Value(#[serde(with = "optional_text_or_bytes")] Option<Bytes>),
    /// How often it was set.
    Version(u64),
    /// The revision at which it came into being.
    CreateRevision(u64),
    /// The revision at which it last changed.
    ModRevision(u64),
}

/// How two things relate.
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

/// One operation.
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
        /// Which keys.
        range: KeyRange,
        /// At most so many.
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
        /// The lease with which it ends, if any. Where there is no such lease the whole transaction
        /// is refused.
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

/// What one operation did or saw.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationResult {
    /// What a key was.
    Found(Option<Pair>),
    /// What the keys of a range were.
    Pairs(Vec<Pair>),
    /// A key was set or removed.
    Done {
        /// Whether it was there before.
        existed: bool,
    },
    /// The keys of a range were removed.
    Removed {
        /// How many.
        keys: u64,
    },
}

impl Comparison {
    /// Whether it holds.
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

impl Operation {
    /// Whether it may make the state larger.
    pub const fn grows(&self) -> bool {
        matches!(self, Self::Put { .. })
    }
}

impl Transaction {
    /// All that it may do, in either case.
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
