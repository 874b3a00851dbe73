//! Responses to reads and writes of keys.

use bytes::Bytes;
use raft_core::codec::text_or_bytes;
use raft_core::kv::{LeaseId, Versioned};
use raft_core::types::LogPosition;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_bytes::JsonBytes;

/// Which writes a read sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// All writes that were committed before the read began (§8).
    #[default]
    Linearizable,
    /// The same, if clocks drift at most as configured. The leader does not contact a quorum for
    /// each read (dissertation §6.4.1).
    Lease,
    /// The local state of this server, which may be old.
    Stale,
}

impl Consistency {
    /// The value in a header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Lease => "lease",
            Self::Stale => "stale",
        }
    }
}

/// A key with its value and revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// The key.
    #[serde(with = "text_or_bytes")]
    #[schema(value_type = JsonBytes)]
    pub key: Bytes,
    /// Its value.
    #[serde(with = "text_or_bytes")]
    #[schema(value_type = JsonBytes)]
    pub value: Bytes,
    /// The store's revision at which the key was created.
    pub create_revision: u64,
    /// The store's revision at which the key last changed; it is the key's ETag.
    pub mod_revision: u64,
    /// The number of writes to the key since it was created.
    pub version: u64,
    /// The lease that the key is attached to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, nullable = false, required = false)]
    pub lease: Option<LeaseId>,
}

impl Found {
    /// Converts a key of the store.
    pub fn new(key: &Bytes, found: &Versioned) -> Self {
        let Versioned { value, create_revision, mod_revision, version, lease } = found.clone();
        Self { key: key.clone(), value, create_revision, mod_revision, version, lease }
    }
}

/// The response to a write of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Written {
    /// The store's revision after the write.
    pub revision: u64,
    /// Whether the key existed before.
    pub existed: bool,
    /// The log index of the write.
    pub index: u64,
    /// The log term of the write.
    pub term: u64,
}

impl Written {
    /// The response to a write at this log position.
    pub const fn new(position: LogPosition, revision: u64, existed: bool) -> Self {
        Self { revision, existed, index: position.index.0, term: position.term.0 }
    }
}
