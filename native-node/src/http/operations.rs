//! What transactions and batches are made of, as clients write and read it in JSON.
//!
//! These are forms of the interface: the core's own, which stand in logs and snapshots, may change
//! without them.

use bytes::Bytes;
use raft_core::kv::{
    Comparison, KeyRange, LeaseId, Operation, OperationResult, Relation, Target, Versioned,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Document;
use super::error::ApiError;
use super::json_bytes::JsonBytes;
use super::kv::Found;
use super::range::MAX_LIMIT;
use super::request;
use crate::addresses::without_reserved;

/// A comparison of what a key is with what it should be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Comparison)]
pub(super) struct JsonComparison {
    key: JsonBytes,
    target: JsonTarget,
    /// How they must relate, key first.
    #[serde(default)]
    #[schema(inline)]
    relation: JsonRelation,
}

/// What of a key is compared, and with what. A key that is not there has the numbers 0 and no
/// value, which comes before all values.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Target)]
pub(super) enum JsonTarget {
    /// Its value; `null` for a key that is not there.
    Value(Option<JsonBytes>),
    /// How often it was set.
    Version(u64),
    /// The revision at which it came into being.
    CreateRevision(u64),
    /// The revision at which it last changed.
    ModRevision(u64),
}

/// How two things relate.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JsonRelation {
    #[default]
    Equal,
    NotEqual,
    Less,
    Greater,
}

/// One operation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Operation)]
pub(super) enum JsonOperation {
    /// Reads a key.
    Get(JsonKey),
    /// Reads a range.
    Range(JsonRange),
    /// Sets a key.
    Put(JsonPut),
    /// Removes a key.
    Delete(JsonKey),
    /// Removes the keys of a range.
    DeleteRange(JsonKeyRange),
}

/// A key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Key)]
pub(super) struct JsonKey {
    /// At least one byte and at most 4 KiB.
    pub(super) key: JsonBytes,
}

/// A key and what it is set to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Put)]
pub(super) struct JsonPut {
    /// At least one byte and at most 4 KiB.
    pub(super) key: JsonBytes,
    /// At most 1 MiB.
    pub(super) value: JsonBytes,
    /// The lease with which the key ends.
    #[serde(default)]
    pub(super) lease: Option<u64>,
}

/// Some keys of a range.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Range)]
pub(super) struct JsonRange {
    range: JsonKeyRange,
    /// At most so many.
    #[schema(maximum = 1000)]
    limit: u64,
}

/// The keys from `start` on, up to but not including `end`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyRange)]
pub(super) struct JsonKeyRange {
    /// The first key; empty for the very first.
    start: JsonBytes,
    /// Where it ends; `null` for the end of all keys.
    #[serde(default)]
    end: Option<JsonBytes>,
}

/// What one operation did or saw.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OperationResult)]
pub(super) enum JsonResult {
    /// Of a `get`: the key, `null` when it is not there.
    Found(Option<Found>),
    /// Of a `range`.
    Pairs(Vec<Found>),
    /// Of a `put` or `delete`: whether the key was there before.
    Existed(bool),
    /// Of a `delete_range`: how many keys there were.
    Removed(u64),
    /// It was carried out, but there is no room for what it saw.
    Error(ApiError),
}

/// The room that an answer has for keys and values, in bytes.
pub(super) struct Room(usize);

impl Room {
    pub(super) const fn of(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Takes the room for these pairs, if there is so much.
    pub(super) fn take<'a>(
        &mut self,
        pairs: impl IntoIterator<Item = (&'a Bytes, &'a Versioned)>,
    ) -> Result<(), ApiError> {
        let bytes = pairs.into_iter().map(|(key, found)| key.len() + found.value.len()).sum();
        self.0 = self.0.checked_sub(bytes).ok_or(ApiError::AnswerTooLarge)?;
        Ok(())
    }
}

impl JsonComparison {
    /// Checked against the store's bounds.
    pub(super) fn into_core(self) -> Result<Comparison, ApiError> {
        let Self { key: JsonBytes(key), target, relation } = self;
        request::check_key(&key)?;
        let target = match target {
            JsonTarget::Value(None) => Target::Value(None),
            JsonTarget::Value(Some(JsonBytes(value))) => {
                request::check_value(&value)?;
                Target::Value(Some(value))
            }
            JsonTarget::Version(number) => Target::Version(number),
            JsonTarget::CreateRevision(number) => Target::CreateRevision(number),
            JsonTarget::ModRevision(number) => Target::ModRevision(number),
        };
        let relation = match relation {
            JsonRelation::Equal => Relation::Equal,
            JsonRelation::NotEqual => Relation::NotEqual,
            JsonRelation::Less => Relation::Less,
            JsonRelation::Greater => Relation::Greater,
        };
        Ok(Comparison { key, target, relation })
    }
}

impl JsonOperation {
    /// Checked against the store's bounds; ranges without the cluster's own keys.
    pub(super) fn into_core(self) -> Result<Operation, ApiError> {
        Ok(match self {
            Self::Get(key) => Operation::Get { key: key.checked()? },
            Self::Delete(key) => Operation::Delete { key: key.checked()? },
            Self::Put(put) => {
                let (key, value, lease) = put.checked()?;
                Operation::Put { key, value, lease }
            }
            Self::Range(JsonRange { range, limit }) => {
                Operation::Range { range: range.into_core(), limit }
            }
            Self::DeleteRange(range) => Operation::DeleteRange(range.into_core()),
        })
    }
}

impl JsonKey {
    pub(super) fn checked(self) -> Result<Bytes, ApiError> {
        request::check_key(&self.key.0)?;
        Ok(self.key.0)
    }
}

impl JsonPut {
    pub(super) fn checked(self) -> Result<(Bytes, Bytes, Option<LeaseId>), ApiError> {
        request::check_key(&self.key.0)?;
        request::check_value(&self.value.0)?;
        Ok((self.key.0, self.value.0, self.lease.map(LeaseId)))
    }
}

impl JsonKeyRange {
    fn into_core(self) -> KeyRange {
        without_reserved(KeyRange { start: self.start.0, end: self.end.map(|end| end.0) })
    }
}

impl JsonResult {
    /// What is to be shown, as far as there is room.
    pub(super) fn new(result: &OperationResult, room: &mut Room) -> Self {
        let fits = match result {
            OperationResult::Found(pair) => room.take(pair.iter().map(|it| (&it.key, &it.value))),
            OperationResult::Pairs(pairs) => room.take(pairs.iter().map(|it| (&it.key, &it.value))),
            OperationResult::Done { .. } | OperationResult::Removed { .. } => Ok(()),
        };
        if let Err(error) = fits {
            return Self::Error(error);
        }
        match result {
            OperationResult::Found(pair) => {
                Self::Found(pair.as_ref().map(|pair| Found::new(&pair.key, &pair.value)))
            }
            OperationResult::Pairs(pairs) => {
                Self::Pairs(pairs.iter().map(|pair| Found::new(&pair.key, &pair.value)).collect())
            }
            OperationResult::Done { existed } => Self::Existed(*existed),
            OperationResult::Removed { keys } => Self::Removed(*keys),
        }
    }

    /// Adds it to a document, in the form that it has for serde.
    pub(super) fn show(&self, document: &mut Document) {
        match self {
            Self::Found(Some(found)) => {
                document.raw("{\"found\":");
                found.show(document);
                document.raw("}");
            }
            Self::Pairs(pairs) => {
                document.raw("{\"pairs\":");
                document.list(pairs, |document, pair| pair.show(document));
                document.raw("}");
            }
            Self::Found(None) | Self::Existed(_) | Self::Removed(_) | Self::Error(_) => {
                document.plain(self);
            }
        }
    }
}

/// Pairs that the operations' ranges may show together.
pub(super) fn check_ranges(operations: &[Operation]) -> Result<(), ApiError> {
    let pairs = operations.iter().map(|operation| match operation {
        Operation::Range { limit, .. } => *limit,
        Operation::Get { .. }
        | Operation::Put { .. }
        | Operation::Delete { .. }
        | Operation::DeleteRange(_) => 0,
    });
    if pairs.fold(0, u64::saturating_add) > MAX_LIMIT as u64 {
        return Err(ApiError::TooMany { what: "pairs in all ranges", limit: MAX_LIMIT });
    }
    Ok(())
}
