//! The operations of transactions and batches, as clients write and read them in JSON.
//!
//! These types belong to the API. The core's own types, which are in logs and snapshots, may change
//! independently.

use api::json_bytes::JsonBytes;
use api::kv::Found;
use bytes::Bytes;
use raft_core::kv::{
    Comparison, KeyRange, LeaseId, Operation, OperationResult, Relation, Target, Versioned,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Document;
use super::error::ApiError;
use super::range::MAX_LIMIT;
use super::request;
use crate::addresses::without_reserved;

/// Compares a property of a key with an expected value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Comparison)]
pub(super) struct JsonComparison {
    key: JsonBytes,
    target: JsonTarget,
    /// The required relation, with the key's property on the left.
    #[serde(default)]
    #[schema(inline)]
    relation: JsonRelation,
}

/// The property of a key to compare, and the expected value. For a key that does not exist, the
/// numbers are 0 and the value is `null`, which is less than all values.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Target)]
pub(super) enum JsonTarget {
    /// The key's value; `null` if the key does not exist.
    Value(Option<JsonBytes>),
    /// How often the key was set.
    Version(u64),
    /// The revision at which the key was created.
    CreateRevision(u64),
    /// The revision at which the key last changed.
    ModRevision(u64),
}

/// The relation of two values.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JsonRelation {
    #[default]
    Equal,
    NotEqual,
    Less,
    Greater,
}

/// An operation.
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

/// A key and its new value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Put)]
pub(super) struct JsonPut {
    /// At least one byte and at most 4 KiB.
    pub(super) key: JsonBytes,
    /// At most 1 MiB.
    pub(super) value: JsonBytes,
    /// The lease that removes the key when it ends.
    #[serde(default)]
    pub(super) lease: Option<u64>,
}

/// The first keys of a range.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Range)]
pub(super) struct JsonRange {
    range: JsonKeyRange,
    /// The maximum number of keys.
    #[schema(maximum = 1000)]
    limit: u64,
}

/// The keys from `start` (inclusive) to `end` (exclusive).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyRange)]
pub(super) struct JsonKeyRange {
    /// The first key; empty for the start of all keys.
    start: JsonBytes,
    /// The end, exclusive; `null` for the end of all keys.
    #[serde(default)]
    end: Option<JsonBytes>,
}

/// The result of one operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OperationResult)]
pub(super) enum JsonResult {
    /// For `get`: the key, or `null` if it does not exist.
    Found(Option<Found>),
    /// For `range`: the keys.
    Pairs(Vec<Found>),
    /// For `put` and `delete`: whether the key existed before.
    Existed(bool),
    /// For `delete_range`: how many keys were removed.
    Removed(u64),
    /// The operation was carried out, but there is no room for its result.
    Error(ApiError),
}

/// The room of an answer for keys and values, in bytes.
pub(super) struct Room(usize);

impl Room {
    pub(super) const fn of(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Reserves the room for these pairs, or fails.
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
    /// Converts the comparison and checks it against the store's bounds.
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
    /// Converts the operation and checks it against the store's bounds. Ranges exclude the
    /// cluster's own keys.
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
    /// The result, or an error if there is no room for it.
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

    /// Adds the result to a document, in the form in which serde writes it.
    pub(super) fn show(&self, document: &mut Document) {
        match self {
            Self::Found(Some(found)) => {
                document.raw("{\"found\":");
                document.found(found);
                document.raw("}");
            }
            Self::Pairs(pairs) => {
                document.raw("{\"pairs\":");
                document.list(pairs, Document::found);
                document.raw("}");
            }
            Self::Found(None) | Self::Existed(_) | Self::Removed(_) | Self::Error(_) => {
                document.plain(self);
            }
        }
    }
}

/// Bounds the number of pairs in the ranges of the operations.
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
